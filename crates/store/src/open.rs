//! Opens an image by path and makes sure that nobody else of us writes to it.
//!
//! The lock is `flock` on the file: exclusive for a writable disk, shared for a read-only one. It
//! goes away with the process, however that ends, and it also holds between two openings in one
//! process. It is advisory: it keeps two Bowline servers, or two targets of one, from tearing an
//! image apart, not every other program.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::RawDisk;

/// How a disk is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only. Others may read too.
    ReadOnly,
    /// Reads and writes, for one owner.
    ReadWrite,
}

/// How the bytes of a disk are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As they are.
    Raw,
    /// QEMU's format, with backing files.
    Qcow2,
    /// What one machine has written over a golden image: [`OverlayDisk`](crate::OverlayDisk).
    Overlay,
}

/// Why a disk could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system would not open it.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than a file or a block device.
    #[error("{} is neither a file nor a block device", path.display())]
    NotADisk {
        /// What was found there.
        path: PathBuf,
    },
    /// Somebody has it open in a way that excludes us.
    #[error("{} is in use: another target or another bowline serves it", path.display())]
    InUse {
        /// The image.
        path: PathBuf,
    },
    /// The system would not say how long it is.
    #[error("cannot find the size of {}: {source}", path.display())]
    Length {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing in it.
    #[error("{} is empty: make it as large as the disk should be (truncate -s 8G {})", path.display(), path.display())]
    Empty {
        /// The image.
        path: PathBuf,
    },
}

/// Opens the raw image file or block device at `path` and locks it.
pub fn open(path: &Path, access: Access) -> Result<RawDisk<File>, OpenError> {
    let (file, len) = open_unlocked(path, access)?;
    lock(&file, access).map_err(|error| match error {
        TryLockError::WouldBlock => OpenError::InUse { path: path.into() },
        TryLockError::Error(source) => OpenError::Open {
            path: path.into(),
            source,
        },
    })?;
    Ok(RawDisk::new(file, len, access == Access::ReadOnly))
}

/// The length in bytes of the disk at `path`, after seeing that it could be opened, whoever has it
/// now.
pub fn probe(path: &Path, access: Access) -> Result<u64, OpenError> {
    open_unlocked(path, access).map(|(_, len)| len)
}

fn open_unlocked(path: &Path, access: Access) -> Result<(File, u64), OpenError> {
    let opened = |source| OpenError::Open {
        path: path.into(),
        source,
    };
    // Asked by path first: opening a FIFO would wait for its other end.
    let kind = std::fs::metadata(path).map_err(opened)?.file_type();
    if !(kind.is_file() || kind.is_block_device()) {
        return Err(OpenError::NotADisk { path: path.into() });
    }
    let writable = access == Access::ReadWrite;
    let mut file = OpenOptions::new()
        .read(true)
        .write(writable)
        .open(path)
        .map_err(opened)?;
    // A block device has no length in its metadata; the end of both can be sought.
    let len = file
        .seek(SeekFrom::End(0))
        .map_err(|source| OpenError::Length {
            path: path.into(),
            source,
        })?;
    if len == 0 {
        return Err(OpenError::Empty { path: path.into() });
    }
    Ok((file, len))
}

fn lock(file: &File, access: Access) -> Result<(), TryLockError> {
    match access {
        Access::ReadOnly => file.try_lock_shared(),
        Access::ReadWrite => file.try_lock(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disk as _, DiskError};

    fn image(len: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(len).unwrap();
        file
    }

    #[test]
    fn a_writable_image_has_one_owner() {
        let file = image(4096);
        let first = open(file.path(), Access::ReadWrite).unwrap();
        assert_eq!(probe(file.path(), Access::ReadWrite).unwrap(), 4096);
        for access in [Access::ReadWrite, Access::ReadOnly] {
            let error = open(file.path(), access).unwrap_err();
            assert!(matches!(error, OpenError::InUse { .. }), "{error}");
        }
        drop(first);
        open(file.path(), Access::ReadWrite).unwrap();
    }

    #[test]
    fn readers_share_an_image_and_keep_writers_out() {
        let file = image(4096);
        let one = open(file.path(), Access::ReadOnly).unwrap();
        let two = open(file.path(), Access::ReadOnly).unwrap();
        assert!(matches!(
            open(file.path(), Access::ReadWrite),
            Err(OpenError::InUse { .. })
        ));
        assert!(matches!(one.write_at(0, &[1]), Err(DiskError::ReadOnly)));
        one.flush().unwrap();
        let mut byte = [9];
        two.read_at(4095, &mut byte).unwrap();
        assert_eq!(byte, [0]);
    }

    #[test]
    fn what_is_not_a_disk_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.img");
        for (path, expected) in [
            (missing.as_path(), "cannot open"),
            (directory.path(), "neither a file nor a block device"),
            (Path::new("/dev/null"), "neither a file nor a block device"),
            (image(0).path(), "is empty: make it as large"),
        ] {
            let error = open(path, Access::ReadOnly).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
