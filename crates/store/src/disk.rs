//! The [`Disk`] trait and the ways in which a disk can fail.

use std::fmt::Debug;
use std::io;

use thiserror::Error;

/// A disk of a fixed length, addressed by byte.
///
/// Calls may come from several threads at once. Two overlapping writes that are in flight together
/// end in any mixture of the two, as on a real disk; a read that starts after a write has returned
/// sees that write.
pub trait Disk: Debug + Send + Sync {
    /// Length in bytes. It does not change while the disk is open.
    fn len(&self) -> u64;

    /// Whether the disk has no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`write_at`](Self::write_at) is refused with [`DiskError::ReadOnly`].
    fn read_only(&self) -> bool;

    /// Fills `buffer` from byte `offset` on.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError>;

    /// Writes all of `data` from byte `offset` on. On stable storage only after
    /// [`flush`](Self::flush).
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Returns when every write that returned before this call is on stable storage.
    fn flush(&self) -> Result<(), DiskError>;
}

/// Why a disk did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The range is not inside the disk.
    #[error("bytes {offset} to {} are beyond the end of the disk ({disk_len} bytes)", .offset.saturating_add(*.len))]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// How many bytes were asked for.
        len: u64,
        /// How long the disk is.
        disk_len: u64,
    },
    /// A write to a disk that was opened for reading.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The system could not read.
    #[error("cannot read {len} bytes at {offset}: {source}")]
    Read {
        /// First byte asked for.
        offset: u64,
        /// How many bytes were asked for.
        len: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The system could not write.
    #[error("cannot write {len} bytes at {offset}: {source}")]
    Write {
        /// First byte asked for.
        offset: u64,
        /// How many bytes were asked for.
        len: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The system could not put the writes so far on stable storage.
    #[error("cannot flush: {0}")]
    Flush(io::Error),
    /// An earlier flush failed. Linux drops the pages that it could not write and reports the
    /// error once, so a later flush that succeeds would prove nothing.
    #[error("an earlier flush failed, writes may be lost: check the storage below and restart")]
    Failed,
}
