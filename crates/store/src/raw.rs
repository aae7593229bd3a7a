//! A raw image: byte `n` of the disk is byte `n` of the file or block device.
//!
//! Writes go to the system's page cache; [`RawDisk::flush`] is `fdatasync`. So several writes and
//! one flush cost one wait for the storage, which is how a guest's journal expects a disk with a
//! write cache to behave.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::disk::{check_range, write_zeros};
use crate::{Disk, DiskError, Extent, Storage};

/// A raw image on a [`Storage`].
#[derive(Debug)]
pub struct RawDisk<S = File> {
    storage: S,
    len: u64,
    read_only: bool,
    /// A flush has failed; see [`DiskError::Failed`].
    failed: AtomicBool,
}

impl<S: Storage> RawDisk<S> {
    /// A disk of `len` bytes on `storage`. [`open`](crate::open()) is the way to get one from a path.
    pub fn new(storage: S, len: u64, read_only: bool) -> Self {
        Self {
            storage,
            len,
            read_only,
            failed: AtomicBool::new(false),
        }
    }

    fn check_write(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        check_range(self.len, offset, len)?;
        self.check_failed()
    }

    fn zero(&self, offset: u64, len: u64, free: bool) -> Result<(), DiskError> {
        self.check_write(offset, len)?;
        let done = self
            .storage
            .zero(offset, len, free)
            .map_err(|source| DiskError::Write {
                offset,
                len,
                source,
            })?;
        if done {
            Ok(())
        } else {
            write_zeros(self, offset, len)
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

impl<S: Storage> Disk for RawDisk<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let len = buffer.len() as u64;
        check_range(self.len, offset, len)?;
        self.storage
            .read(offset, buffer)
            .map_err(|source| DiskError::Read {
                offset,
                len,
                source,
            })
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> bool {
        check_range(self.len, offset, buffer.len() as u64).is_ok()
            && self.storage.read_now(offset, buffer)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.check_write(offset, data.len() as u64)?;
        self.storage
            .write(offset, data)
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
        self.storage.sync().map_err(|error| {
            self.failed.store(true, Ordering::Release);
            DiskError::Flush(error)
        })?;
        // Another thread's flush may have failed while this one was under way, and may have taken
        // the error of our writes with it.
        self.check_failed()
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.zero(offset, len, false)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.zero(offset, len, true)
    }

    fn discard_granularity(&self) -> Option<u32> {
        Some(HOLE_BYTES)
    }

    fn extent(&self, offset: u64) -> Result<Extent, DiskError> {
        let rest = self.len.saturating_sub(offset);
        let extent = self.storage.extent(offset, rest);
        let (len, allocated) = extent.map_err(|source| DiskError::Read {
            offset,
            len: rest,
            source,
        })?;
        Ok(Extent { len, allocated })
    }
}

/// The block size of nearly every file system, and so the least that leaves a hole.
const HOLE_BYTES: u32 = 4096;

#[cfg(test)]
mod tests;
