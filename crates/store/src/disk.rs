//! The [`Disk`] trait and the ways in which a disk can fail.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

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

    /// Fills `buffer` if that needs no waiting, because the bytes are in memory. Otherwise, or
    /// where that cannot be known, `false`: [`read_at`](Self::read_at) is the way then.
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let _ = (offset, buffer);
        false
    }

    /// Writes all of `data` from byte `offset` on. On stable storage only after
    /// [`flush`](Self::flush).
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError>;

    /// Returns when every write that returned before this call is on stable storage.
    fn flush(&self) -> Result<(), DiskError>;

    /// Makes the range zeros, by the cheapest way there is.
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        write_zeros(self, offset, len)
    }

    /// Makes the range zeros and gives back the space of whole
    /// [granules](Self::discard_granularity) in it, where that can be done.
    fn discard(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.write_zeroes(offset, len)
    }

    /// The unit in bytes in which [`discard`](Self::discard) gives space back; `None` if it does
    /// not.
    fn discard_granularity(&self) -> Option<u32> {
        None
    }

    /// What is at byte `offset`, and how far that goes at least.
    fn extent(&self, offset: u64) -> Result<Extent, DiskError> {
        let len = self.len().saturating_sub(offset);
        Ok(Extent {
            len,
            allocated: true,
        })
    }
}

/// A piece of a disk that is all of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Length in bytes; 0 only at the end of the disk.
    pub len: u64,
    /// Whether it may hold data. What is not allocated reads as zeros.
    pub allocated: bool,
}

impl<D: Disk + ?Sized> Disk for Arc<D> {
    fn len(&self) -> u64 {
        (**self).len()
    }
    fn read_only(&self) -> bool {
        (**self).read_only()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        (**self).read_at(offset, buffer)
    }
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> bool {
        (**self).read_now(offset, buffer)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        (**self).write_at(offset, data)
    }
    fn flush(&self) -> Result<(), DiskError> {
        (**self).flush()
    }
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        (**self).write_zeroes(offset, len)
    }
    fn discard(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        (**self).discard(offset, len)
    }
    fn discard_granularity(&self) -> Option<u32> {
        (**self).discard_granularity()
    }
    fn extent(&self, offset: u64) -> Result<Extent, DiskError> {
        (**self).extent(offset)
    }
}

/// Refuses a range that is not inside a disk of `disk_len` bytes.
pub(crate) fn check_range(disk_len: u64, offset: u64, len: u64) -> Result<(), DiskError> {
    match offset.checked_add(len) {
        Some(end) if end <= disk_len => Ok(()),
        _ => Err(DiskError::OutOfRange {
            offset,
            len,
            disk_len,
        }),
    }
}

/// Writes `len` zeros from `offset` on.
pub(crate) fn write_zeros(
    disk: &(impl Disk + ?Sized),
    offset: u64,
    len: u64,
) -> Result<(), DiskError> {
    check_range(disk.len(), offset, len)?;
    let zeros = vec![0; len.min(ZEROS_AT_ONCE) as usize];
    let mut done = 0;
    while done < len {
        let step = (len - done).min(ZEROS_AT_ONCE);
        disk.write_at(offset + done, &zeros[..step as usize])?;
        done += step;
    }
    Ok(())
}

const ZEROS_AT_ONCE: u64 = 1024 * 1024;

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
