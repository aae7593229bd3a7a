//! A raw image: byte `n` of the disk is byte `n` of the file or block device.
//!
//! Writes go to the system's page cache; [`RawDisk::flush`] is `fdatasync`. So several writes and
//! one flush cost one wait for the storage, which is how a guest's journal expects a disk with a
//! write cache to behave.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Disk, DiskError};

/// What [`RawDisk`] needs of the system: positioned reads and writes, and a barrier. [`File`] is
/// the real one; tests insert others that fail or forget.
pub trait Backend: Debug + Send + Sync {
    /// Fills `buffer` from byte `offset` on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `data` from byte `offset` on.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Puts everything written so far on stable storage.
    fn sync_data(&self) -> io::Result<()>;
}

impl Backend for File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }
}

/// A raw image on a [`Backend`].
#[derive(Debug)]
pub struct RawDisk<B = File> {
    backend: B,
    len: u64,
    read_only: bool,
    /// A flush has failed; see [`DiskError::Failed`].
    failed: AtomicBool,
}

impl<B: Backend> RawDisk<B> {
    /// A disk of `len` bytes on `backend`. [`open`](crate::open) is the way to get one from a path.
    pub fn new(backend: B, len: u64, read_only: bool) -> Self {
        Self {
            backend,
            len,
            read_only,
            failed: AtomicBool::new(false),
        }
    }

    fn check_range(&self, offset: u64, len: usize) -> Result<(), DiskError> {
        let len = len as u64;
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(()),
            _ => Err(DiskError::OutOfRange {
                offset,
                len,
                disk_len: self.len,
            }),
        }
    }

    fn check_failed(&self) -> Result<(), DiskError> {
        if self.failed.load(Ordering::Acquire) {
            Err(DiskError::Failed)
        } else {
            Ok(())
        }
    }
}

impl<B: Backend> Disk for RawDisk<B> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.check_range(offset, buffer.len())?;
        let len = buffer.len() as u64;
        self.backend
            .read_exact_at(buffer, offset)
            .map_err(|source| DiskError::Read {
                offset,
                len,
                source,
            })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        self.check_range(offset, data.len())?;
        self.check_failed()?;
        self.backend
            .write_all_at(data, offset)
            .map_err(|source| DiskError::Write {
                offset,
                len: data.len() as u64,
                source,
            })
    }

    fn flush(&self) -> Result<(), DiskError> {
        if self.read_only {
            return Ok(());
        }
        self.check_failed()?;
        self.backend.sync_data().map_err(|error| {
            self.failed.store(true, Ordering::Release);
            DiskError::Flush(error)
        })?;
        // Another thread's flush may have failed while this one was under way, and may have taken
        // the error of our writes with it.
        self.check_failed()
    }
}

#[cfg(test)]
mod tests;
