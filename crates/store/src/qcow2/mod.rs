//! A qcow2 image, with its backing files: QEMU's format, by the `imago` library.
//!
//! The library maps the guest's clusters to those of the file and allocates them. What reaches the
//! file when is ours, because its own order does not survive a power cut: see [`layer`] and
//! [`journal`]. A flush with new clusters costs three syncs, and writers wait for each other while
//! clusters are allocated, so for many machines an [overlay](crate::OverlayDisk) is the better
//! format; this one is for images that come from elsewhere.

mod header;
mod journal;
mod layer;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use imago::qcow2::Qcow2;
use imago::{FormatAccess, ShallowMapping};
use thiserror::Error;

use crate::disk::{check_range, write_zeros};
use crate::{Disk, DiskError, Extent, Storage};
pub use header::Qcow2Header;
pub(crate) use header::{MAGIC, read_header};
use journal::{Journal, JournalError};
use layer::{CommitError, Layer};

type Access<S> = FormatAccess<Layer<S>>;

/// A qcow2 image.
#[derive(Debug)]
pub struct Qcow2Disk<S: Storage + 'static = File> {
    format: RwLock<Access<S>>,
    len: u64,
    cluster: u64,
    read_only: bool,
    /// Tables have changed since the last flush.
    dirty: AtomicBool,
    /// A sync has failed; see [`DiskError::Failed`].
    failed: AtomicBool,
}

/// Why a qcow2 image could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Qcow2Error {
    /// The file begins otherwise.
    #[error("it is not a qcow2 image")]
    NotQcow2,
    /// The data is in another file, which the header names.
    #[error(
        "it keeps its data in another file, which is not supported: \
         copy it with qemu-img convert -O qcow2"
    )]
    DataFile,
    /// The header does not say what format the backing file has, and guessing would be unsafe.
    #[error(
        "it does not say what format its backing file has: \
         tell it with qemu-img rebase -u -b BACKING -F raw|qcow2"
    )]
    BackingFormat,
    /// The image or one below has a journal of another image beside it.
    #[error("the journal beside it belongs to another image: move that file away")]
    ForeignJournal,
    /// The library could not make sense of it, or the system did not do what it was asked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<JournalError> for Qcow2Error {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Foreign => Self::ForeignJournal,
            JournalError::Io(error) => Self::Io(error),
        }
    }
}

/// An image below another one.
#[derive(Debug)]
pub struct Backing<S: Storage + 'static = File>(Access<S>);

impl<S: Storage + 'static> Backing<S> {
    /// A raw file.
    pub fn raw(file: S) -> Result<Self, Qcow2Error> {
        let layer = Layer::read_only(file, journal::Sectors::default());
        let raw = imago::raw::Raw::open_image(layer, false)?;
        Ok(Self(FormatAccess::new(raw)))
    }

    /// A qcow2 file, with the file of its journal if there is one and what is below it.
    pub fn qcow2(file: S, journal: Option<S>, below: Option<Self>) -> Result<Self, Qcow2Error> {
        let held = match journal.map(Journal::new) {
            Some(journal) => journal.read(&file)?,
            None => journal::Sectors::default(),
        };
        access(Layer::read_only(file, held), false, below).map(Self)
    }
}

impl<S: Storage + 'static> Qcow2Disk<S> {
    /// Opens an image for reading and writing, with the file of its journal and what is below it.
    pub fn open(file: S, journal: S, below: Option<Backing<S>>) -> Result<Self, Qcow2Error> {
        let header = read_header(&file)?;
        let journal = Journal::new(journal);
        journal.recover(&file)?;
        let format = access(Layer::writable(file, journal), true, below)?;
        Ok(Self::new(format, &header, false))
    }

    /// Opens an image for reading.
    pub fn open_read_only(
        file: S,
        journal: Option<S>,
        below: Option<Backing<S>>,
    ) -> Result<Self, Qcow2Error> {
        let header = read_header(&file)?;
        let Backing(format) = Backing::qcow2(file, journal, below)?;
        Ok(Self::new(format, &header, true))
    }

    fn new(format: Access<S>, header: &Qcow2Header, read_only: bool) -> Self {
        Self {
            len: format.size(),
            format: RwLock::new(format),
            cluster: header.cluster,
            read_only,
            dirty: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    fn format_mut(&self) -> RwLockWriteGuard<'_, Access<S>> {
        self.format.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_failed(&self) -> Result<(), DiskError> {
        if self.failed.load(Ordering::Acquire) {
            Err(DiskError::Failed)
        } else {
            Ok(())
        }
    }

    fn check_write(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        if self.read_only {
            return Err(DiskError::ReadOnly);
        }
        check_range(self.len, offset, len)?;
        self.check_failed()
    }

    fn fail(&self, error: io::Error) -> DiskError {
        self.failed.store(true, Ordering::Release);
        DiskError::Flush(error)
    }

    /// Writes where clusters are allocated already, and says how many bytes that were.
    fn write_in_place(&self, offset: u64, data: &[u8]) -> io::Result<usize> {
        let format = self.format.read().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        while done < data.len() {
            let rest = &data[done..];
            let (mapping, len) =
                format.get_shallow_mapping(offset + done as u64, rest.len() as u64)?;
            let ShallowMapping::Raw {
                storage,
                offset: at,
                writable: true,
                ..
            } = mapping
            else {
                break;
            };
            storage.write_data(at, &rest[..len as usize])?;
            done += len as usize;
        }
        Ok(done)
    }

    /// Writes up to the end of the cluster in which `offset` is, which needs a new one in the
    /// file, and says how many bytes that were.
    fn write_up(&self, offset: u64, data: &[u8]) -> Result<usize, DiskError> {
        let format = self.format_mut();
        let failed = |source| DiskError::Write {
            offset,
            len: data.len() as u64,
            source,
        };
        let start = offset - offset % self.cluster;
        let end = (start + self.cluster).min(self.len);
        let (mapping, _) = format.get_shallow_mapping(offset, 1).map_err(failed)?;
        let frees = match mapping {
            // Somebody else has allocated it meanwhile.
            ShallowMapping::Raw { writable: true, .. } => return Ok(0),
            ShallowMapping::Raw { .. } | ShallowMapping::Special { .. } => true,
            _ => false,
        };
        if storage(&format).is_some_and(Layer::has_moved) {
            // A cluster that has become free may still be somebody's on disk. It must not be
            // written to before that is over.
            self.commit(&format)?;
        }
        self.dirty.store(true, Ordering::Release);
        // Whole clusters, so that the library has nothing to copy.
        let mut cluster = vec![0; (end - start) as usize];
        let len = data.len().min((end - offset) as usize);
        if len < cluster.len() {
            format.read(&mut cluster[..], start).map_err(failed)?;
        }
        cluster[(offset - start) as usize..][..len].copy_from_slice(&data[..len]);
        let mapping = format.prepare_data_mapping(start, end - start, true);
        let mapping = mapping.map_err(failed)?;
        let written = mapping.storage().write_data(mapping.offset(), &cluster);
        written.map_err(failed)?;
        format.commit_data_mapping(mapping).map_err(failed)?;
        if let Some(layer) = storage(&format).filter(|_| frees) {
            layer.set_moved();
        }
        Ok(len)
    }

    /// Puts data and tables on stable storage. Nobody writes meanwhile: `format` is locked.
    fn commit(&self, format: &Access<S>) -> Result<(), DiskError> {
        // Set back first: what fails below is to be done again.
        self.dirty.store(true, Ordering::Release);
        format.flush().map_err(DiskError::Flush)?;
        let Some(layer) = storage(format) else {
            return Ok(());
        };
        layer.commit().map_err(|error| match error {
            CommitError::Write(error) => DiskError::Flush(error),
            CommitError::Sync(error) => self.fail(error),
        })?;
        self.dirty.store(false, Ordering::Release);
        Ok(())
    }

    /// Makes whole clusters zeros.
    fn discard_clusters(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        let mut format = self.format_mut();
        self.dirty.store(true, Ordering::Release);
        let discarded = format.discard_to_zero(offset, len);
        if let Some(layer) = storage(&format) {
            layer.set_moved();
        }
        match discarded {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                drop(format);
                write_zeros(self, offset, len)
            }
            Err(source) => Err(DiskError::Write {
                offset,
                len,
                source,
            }),
        }
    }
}

impl<S: Storage + 'static> Disk for Qcow2Disk<S> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let len = buffer.len() as u64;
        check_range(self.len, offset, len)?;
        let format = self.format.read().unwrap_or_else(PoisonError::into_inner);
        format
            .read(buffer, offset)
            .map_err(|source| DiskError::Read {
                offset,
                len,
                source,
            })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.check_write(offset, data.len() as u64)?;
        let mut done = 0;
        while done < data.len() {
            let (at, rest) = (offset + done as u64, &data[done..]);
            let written = self.write_in_place(at, rest);
            let written = written.map_err(|source| DiskError::Write {
                offset: at,
                len: rest.len() as u64,
                source,
            })?;
            done += written;
            if let Some(rest) = data.get(done..).filter(|rest| !rest.is_empty()) {
                done += self.write_up(offset + done as u64, rest)?;
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        if self.read_only {
            return Ok(());
        }
        self.check_failed()?;
        if self.dirty.load(Ordering::Acquire) {
            let format = self.format_mut();
            return self.commit(&format);
        }
        let format = self.format.read().unwrap_or_else(PoisonError::into_inner);
        let synced = storage(&format).map_or(Ok(()), Layer::sync_data);
        synced.map_err(|error| self.fail(error))?;
        self.check_failed()
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.discard(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.check_write(offset, len)?;
        let end = offset + len;
        let first = offset.next_multiple_of(self.cluster);
        // The last cluster of the disk may be cut short.
        let last = if end == self.len {
            end
        } else {
            end - end % self.cluster
        };
        if first >= last {
            return write_zeros(self, offset, len);
        }
        write_zeros(self, offset, first - offset)?;
        self.discard_clusters(first, last - first)?;
        write_zeros(self, last, end - last)
    }

    fn discard_granularity(&self) -> Option<u32> {
        u32::try_from(self.cluster).ok()
    }

    fn extent(&self, offset: u64) -> Result<Extent, DiskError> {
        let rest = self.len.saturating_sub(offset);
        let format = self.format.read().unwrap_or_else(PoisonError::into_inner);
        let mapping = format.get_mapping(offset, rest);
        let (mapping, len) = mapping.map_err(|source| DiskError::Read {
            offset,
            len: rest,
            source,
        })?;
        Ok(match mapping {
            imago::Mapping::Zero { .. } => Extent {
                len,
                allocated: false,
            },
            // Beyond the end of a shorter backing file.
            imago::Mapping::Eof { .. } => Extent {
                len: rest,
                allocated: false,
            },
            _ => Extent {
                len,
                allocated: true,
            },
        })
    }
}

impl<S: Storage + 'static> Drop for Qcow2Disk<S> {
    fn drop(&mut self) {
        // Nobody is left to tell of an error; nothing was promised either.
        let _ = self.flush();
    }
}

/// The topmost file of an image.
fn storage<S: Storage>(format: &Access<S>) -> Option<&Layer<S>> {
    format.inner().collect_storage_dependencies().pop()
}

fn access<S: Storage + 'static>(
    layer: Layer<S>,
    writable: bool,
    below: Option<Backing<S>>,
) -> Result<Access<S>, Qcow2Error> {
    let mut image = Qcow2::<Layer<S>>::open_image(layer, writable)?;
    if image.requires_external_data_file() {
        return Err(Qcow2Error::DataFile);
    }
    image.set_data_file(None);
    image.set_backing(below.map(|Backing(below)| below));
    Ok(FormatAccess::new(image))
}
