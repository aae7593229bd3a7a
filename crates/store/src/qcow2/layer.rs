//! The file below a qcow2 image, as the `imago` library sees it.
//!
//! `imago` writes its tables to the file as it goes along, in an order that a power cut, and in
//! places even a kill, turns into two owners of one cluster. So what it writes to a writable image
//! is kept back here, and goes to the file all at once, through the [journal](super::journal). Guest
//! data does not come this way: [`Qcow2Disk`](super::Qcow2Disk) writes that straight to clusters
//! that nothing on disk points to yet.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use imago::io_buffers::{IoVector, IoVectorMut};
use imago::storage::drivers::CommonStorageHelper;

use super::journal::{Journal, Sectors};
use crate::Storage;

/// One file of a chain of images.
#[derive(Debug)]
pub(super) struct Layer<S: Storage> {
    file: S,
    /// `None`: nothing is ever written.
    journal: Option<Journal<S>>,
    /// What the file will hold after the next commit.
    held: RwLock<Sectors>,
    /// A table has moved since the last commit.
    moved: AtomicBool,
    helper: CommonStorageHelper,
}

impl<S: Storage> Layer<S> {
    /// A file that is only read. `held` is what an interrupted commit would have written to it.
    pub(super) fn read_only(file: S, held: Sectors) -> Self {
        Self::new(file, None, held)
    }

    /// A file that is written to through `journal`.
    pub(super) fn writable(file: S, journal: Journal<S>) -> Self {
        Self::new(file, Some(journal), Sectors::default())
    }

    fn new(file: S, journal: Option<Journal<S>>, held: Sectors) -> Self {
        Self {
            file,
            journal,
            held: RwLock::new(held),
            moved: AtomicBool::new(false),
            helper: CommonStorageHelper::default(),
        }
    }

    /// Whether a table has moved, so that clusters may have become free that the tables on disk
    /// still point to. They must not be written to before the next [commit](Self::commit).
    pub(super) fn has_moved(&self) -> bool {
        self.moved.load(Ordering::Relaxed)
    }

    /// See [`has_moved`](Self::has_moved).
    pub(super) fn set_moved(&self) {
        self.moved.store(true, Ordering::Relaxed);
    }

    /// Writes guest data to a cluster of the file.
    pub(super) fn write_data(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    /// Puts the data on stable storage.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Puts the data, and then all tables at once, on stable storage.
    pub(super) fn commit(&self) -> Result<(), CommitError> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        // Data before the tables that point to it.
        self.file.sync().map_err(CommitError::Sync)?;
        if !held.is_empty() {
            journal.commit(&self.file, &mut held)?;
            held.clear();
        }
        self.moved.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Why a commit did not succeed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Something was not written; it may be tried again.
    Write(io::Error),
    /// A sync failed: nobody knows what is on stable storage.
    Sync(io::Error),
}

impl<S: Storage> fmt::Display for Layer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("qcow2")
    }
}

#[expect(
    unsafe_code,
    reason = "the trait declares three methods unsafe, for storage that needs aligned buffers; \
              nothing unsafe is done in them"
)]
impl<S: Storage> imago::Storage for Layer<S> {
    fn size(&self) -> io::Result<u64> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        Ok(self.file.len()?.max(held.end()))
    }

    unsafe fn pure_readv(&self, mut buffers: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let mut data = vec![0; length(buffers.len())?];
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        // What is beyond the end reads as zeros: clusters that were never written.
        let inside = self.file.len()?.saturating_sub(offset);
        let inside = inside.min(data.len() as u64) as usize;
        if let Some(data) = data.get_mut(..inside).filter(|data| !data.is_empty()) {
            self.file.read(offset, data)?;
        }
        held.overlay(offset, &mut data);
        drop(held);
        buffers.copy_from_slice(&data);
        Ok(())
    }

    unsafe fn pure_writev(&self, buffers: IoVector<'_>, offset: u64) -> io::Result<()> {
        if self.journal.is_none() {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let mut data = vec![0; length(buffers.len())?];
        buffers.copy_into_slice(&mut data);
        if data.len() <= POINTER_BYTES {
            self.set_moved();
        }
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.write(offset, &data)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }
}

fn length(len: u64) -> io::Result<usize> {
    usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// A write no longer than the header of an image (104 bytes) changes where a table is; whole
/// tables are never as short.
const POINTER_BYTES: usize = 104;
