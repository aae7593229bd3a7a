//! A disk of one machine on a golden image that many machines share.
//!
//! The golden image is only read. What the machine writes goes to a sparse file of its own, at
//! the place that it has on the disk; a map says for every 4096 bytes whether they are there, in
//! the golden image, or zeros. The format, and why it survives a power cut at any moment, is in
//! docs/overlay-format.md.
//!
//! ```text
//!   write ──> block in the file ──> mirror of the map page ──> map in memory ─┐
//!   flush ──> sync the blocks ──> write the changed map pages ──> sync them ──> done
//! ```

mod header;
mod identity;
mod load;
mod map;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thiserror::Error;

pub use header::Golden;
pub(crate) use header::MAGIC as OVERLAY_MAGIC;
use header::{Header, MAX_DISK_BYTES};
pub use identity::Identity;

use crate::disk::check_range;
use crate::{Disk, DiskError, Extent, Storage};
use load::{read_header, read_map, read_mirror};
use map::{BLOCK_BYTES, Map, PAGE_BYTES, Page, Place};

/// An overlay on a golden image.
#[derive(Debug)]
pub struct OverlayDisk<S: Storage = File> {
    storage: S,
    header: Header,
    golden: Arc<dyn Disk>,
    read_only: bool,
    map: RwLock<Map>,
    /// Blocks that come into the overlay or leave it are locked by what lane they are in, so that
    /// two writes to one golden block do not undo each other.
    lanes: [Mutex<()>; LANES as usize],
    /// One change of the map at a time, so that no mirror is older than the one before.
    changing: Mutex<()>,
    /// One flush at a time.
    flushing: Mutex<()>,
    /// A sync has failed; see [`DiskError::Failed`].
    failed: AtomicBool,
}

/// Why an overlay could not be opened or made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// The file begins otherwise.
    #[error("it is not an overlay")]
    NotAnOverlay,
    /// The header does not match its checksum.
    #[error("its header is damaged: restore the file from a snapshot, or reset the overlay")]
    DamagedHeader,
    /// The file is of a later Bowline.
    #[error("its format has version {0}, this Bowline knows 1: use the Bowline that made it")]
    Version(u32),
    /// The file uses what this version does not know.
    #[error("it needs features that this Bowline does not know ({0:#x}): use the one that made it")]
    Features(u32),
    /// Both copies of a page of the map are damaged.
    #[error(
        "its map is damaged (page {page}): restore the file from a snapshot, or reset the overlay"
    )]
    DamagedMap {
        /// Which page.
        page: u64,
    },
    /// The file is shorter than its header says.
    #[error("it is cut off: {len} bytes of {expected}; restore it from a snapshot or reset it")]
    Truncated {
        /// How long the file is.
        len: u64,
        /// How long it should be.
        expected: u64,
    },
    /// The path of the golden image does not fit into the header.
    #[error("the path of its golden image is too long (at most 4000 bytes)")]
    PathTooLong,
    /// A disk beyond all reason, or none.
    #[error("a disk of {0} bytes cannot be: it must have at least 512 and at most 2^50")]
    Size(u64),
    /// The system did not do what it was asked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S: Storage> OverlayDisk<S> {
    /// Writes an empty overlay of `disk_len` bytes on `golden` to `storage`, which is empty.
    pub fn create(storage: &S, disk_len: u64, golden: Golden) -> Result<(), OverlayError> {
        if !(512..=MAX_DISK_BYTES).contains(&disk_len) {
            return Err(OverlayError::Size(disk_len));
        }
        let header = Header { disk_len, golden };
        let bytes = header.encode().ok_or(OverlayError::PathTooLong)?;
        storage.set_len(header.file_len())?;
        storage.write(0, &bytes)?;
        storage.sync()?;
        Ok(())
    }

    /// On what golden image the overlay in `storage` was made, and how long its disk is.
    pub fn describe(storage: &S) -> Result<(Golden, u64), OverlayError> {
        let header = read_header(storage)?;
        Ok((header.golden, header.disk_len))
    }

    /// Opens the overlay in `storage`. That `golden` is the right one is for the caller to see:
    /// [`open`](crate::open()) does.
    pub fn open(storage: S, golden: Arc<dyn Disk>, read_only: bool) -> Result<Self, OverlayError> {
        let header = read_header(&storage)?;
        if !read_only {
            // What a killed process has left in the page cache is read below as if it were on
            // disk, and the slots before it are overwritten next. So it must be on disk.
            storage.sync()?;
        }
        let mut map = read_map(&storage, header.pages())?;
        read_mirror(&storage, &header, &mut map, read_only)?;
        let found = if read_only {
            Vec::new()
        } else {
            map.take_dirty()
        };
        let disk = Self {
            storage,
            header,
            golden,
            read_only,
            map: RwLock::new(map),
            lanes: std::array::from_fn(|_| Mutex::new(())),
            changing: Mutex::new(()),
            flushing: Mutex::new(()),
            failed: AtomicBool::new(false),
        };
        if !found.is_empty() {
            // What is read from now on shall not be lost by a power cut.
            disk.write_map(&found).map_err(io::Error::other)?;
        }
        Ok(disk)
    }

    /// The golden image, as it is.
    pub fn golden(&self) -> &Arc<dyn Disk> {
        &self.golden
    }

    /// How many bytes of the disk are in the overlay itself.
    pub fn own_bytes(&self) -> u64 {
        self.own_runs().iter().map(|run| run.end - run.start).sum()
    }

    /// Which bytes of the disk are in the overlay itself.
    fn own_runs(&self) -> Vec<Range<u64>> {
        let map = self.map();
        let blocks = self.header.blocks();
        let (mut runs, mut block) = (Vec::new(), 0);
        while block < blocks {
            let (place, len) = map.run(block..blocks);
            if place == Place::Own {
                runs.push(block * BLOCK_BYTES..(block + len) * BLOCK_BYTES);
            }
            block += len;
        }
        runs
    }

    /// Copies the overlay as it is now to `target`, which is empty, and syncs that.
    pub fn copy_to(&self, target: &impl Storage, golden: Golden) -> Result<(), OverlayError> {
        let header = Header {
            disk_len: self.header.disk_len,
            golden,
        };
        target.set_len(header.file_len())?;
        for run in self.own_runs() {
            let mut piece = vec![0; COPY_BYTES];
            for start in run.clone().step_by(COPY_BYTES) {
                let len = (run.end - start).min(COPY_BYTES as u64) as usize;
                let piece = &mut piece[..len];
                self.storage
                    .read(self.header.data_offset() + start, piece)?;
                target.write(header.data_offset() + start, piece)?;
            }
        }
        for (index, page) in self.map().all_pages() {
            target.write(slot_offset(index, 1), &page.encode(index))?;
        }
        let bytes = header.encode().ok_or(OverlayError::PathTooLong)?;
        target.write(0, &bytes)?;
        target.sync()?;
        Ok(())
    }

    fn map(&self) -> RwLockReadGuard<'_, Map> {
        self.map.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn map_mut(&self) -> RwLockWriteGuard<'_, Map> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the lanes of `blocks`, in rising order, so that nobody waits in a circle.
    fn lock_lanes(&self, blocks: Range<u64>) -> Vec<MutexGuard<'_, ()>> {
        let first = blocks.start / LANE_BLOCKS;
        let count = blocks.end.div_ceil(LANE_BLOCKS) - first;
        let used = |lane: u64| (lane + LANES - first % LANES) % LANES < count;
        let lanes = (0u64..).zip(&self.lanes).filter(|(lane, _)| used(*lane));
        lanes
            .map(|(_, lane)| lane.lock().unwrap_or_else(PoisonError::into_inner))
            .collect()
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
        check_range(self.header.disk_len, offset, len)?;
        self.check_failed()
    }

    fn in_file(&self, offset: u64) -> u64 {
        self.header.data_offset() + offset
    }

    /// The part of `buffer` that the golden image has; the rest is made zeros.
    fn inside_golden<'a>(&self, offset: u64, buffer: &'a mut [u8]) -> &'a mut [u8] {
        let golden = self.golden.len().saturating_sub(offset);
        let (inside, beyond) = buffer.split_at_mut(golden.min(buffer.len() as u64) as usize);
        beyond.fill(0);
        inside
    }

    fn write_file(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let written = self.storage.write(self.in_file(offset), data);
        written.map_err(|source| DiskError::Write {
            offset,
            len: data.len() as u64,
            source,
        })
    }

    /// In which place byte `offset` is, and how many of the `len` from there on.
    fn run_at(&self, offset: u64, len: usize) -> (Place, usize) {
        let blocks = blocks(offset, len as u64);
        let (place, run) = self.map().run(blocks.clone());
        let end = (blocks.start + run) * BLOCK_BYTES;
        (place, (end - offset).min(len as u64) as usize)
    }

    /// Reads from `offset` on to the end of what is all in one place.
    fn read_run(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let (place, len) = self.run_at(offset, buffer.len());
        let buffer = &mut buffer[..len];
        match place {
            Place::Zero => buffer.fill(0),
            Place::Golden => match self.inside_golden(offset, buffer) {
                [] => {}
                inside => self.golden.read_at(offset, inside)?,
            },
            Place::Own => {
                let read = self.storage.read(self.in_file(offset), buffer);
                read.map_err(|source| DiskError::Read {
                    offset,
                    len: len as u64,
                    source,
                })?;
            }
        }
        Ok(len)
    }

    /// The same, if that needs no waiting.
    fn read_run_now(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let (place, len) = self.run_at(offset, buffer.len());
        let buffer = &mut buffer[..len];
        let done = match place {
            Place::Zero => {
                buffer.fill(0);
                true
            }
            Place::Golden => match self.inside_golden(offset, buffer) {
                [] => true,
                inside => self.golden.read_now(offset, inside),
            },
            Place::Own => self.storage.read_now(self.in_file(offset), buffer),
        };
        done.then_some(len)
    }

    /// Writes blocks of which some are not in the overlay yet. Whole blocks go there, filled up
    /// with what they held; whatever the file holds in their place is from another life.
    fn write_up(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        let blocks = blocks(offset, data.len() as u64);
        let _lanes = self.lock_lanes(blocks.clone());
        let place = |block| self.map().run(block..block + 1).0;
        let end = offset + data.len() as u64;
        let (first, last) = (blocks.start * BLOCK_BYTES, blocks.end * BLOCK_BYTES);
        let head = offset > first && place(blocks.start) != Place::Own;
        let tail = end < last && place(blocks.end - 1) != Place::Own;
        if head || tail {
            let start = if head { first } else { offset };
            let before = (offset - start) as usize;
            let mut whole = vec![0; before];
            self.read_old(start, &mut whole)?;
            whole.extend_from_slice(data);
            if tail {
                let mut after = vec![0; (last - end) as usize];
                self.read_old(end, &mut after)?;
                whole.extend_from_slice(&after);
            }
            self.write_file(start, &whole)?;
        } else {
            self.write_file(offset, data)?;
        }
        self.change(blocks, Place::Own)
    }

    /// All of `blocks` are in `place` from now on, even if the process is killed.
    fn change(&self, blocks: Range<u64>, place: Place) -> Result<(), DiskError> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = self.storage.cache_id() {
            let pages = self.map().with(blocks.clone(), place);
            for (index, page) in pages {
                let offset = self.header.mirror_offset(index);
                let written = self.storage.write(offset, &page.mirror(&cache));
                written.map_err(|source| DiskError::Write {
                    offset: blocks.start * BLOCK_BYTES,
                    len: (blocks.end - blocks.start) * BLOCK_BYTES,
                    source,
                })?;
            }
        }
        // Not before: who finds a block here writes to it without a word to the mirror.
        self.map_mut().set(blocks, place);
        Ok(())
    }

    /// The part of a block that a write leaves as it was. It may lie beyond the end of the disk.
    fn read_old(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        if buffer.is_empty() {
            return Ok(());
        }
        self.read_run(offset, buffer).map(|_| ())
    }

    fn fail(&self, error: io::Error) -> DiskError {
        self.failed.store(true, Ordering::Release);
        DiskError::Flush(error)
    }

    /// Writes the changed pages of the map, whose blocks are on stable storage, and syncs them.
    fn write_map(&self, dirty: &[(usize, Page)]) -> Result<(), DiskError> {
        for (index, page) in dirty {
            let index = *index as u64;
            let offset = slot_offset(index, page.generation);
            if let Err(error) = self.storage.write(offset, &page.encode(index)) {
                // Nothing is promised, and nothing is lost: the other slots are whole. The next
                // flush may find more room.
                let mut map = self.map_mut();
                for (index, _) in dirty {
                    map.not_written(*index);
                }
                return Err(DiskError::Flush(error));
            }
        }
        self.storage.sync().map_err(|error| self.fail(error))?;
        let mut map = self.map_mut();
        for (index, page) in dirty {
            map.written(*index, page.generation);
        }
        Ok(())
    }
}

impl<S: Storage> Disk for OverlayDisk<S> {
    fn len(&self) -> u64 {
        self.header.disk_len
    }

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        check_range(self.header.disk_len, offset, buffer.len() as u64)?;
        let mut done = 0;
        while done < buffer.len() {
            done += self.read_run(offset + done as u64, &mut buffer[done..])?;
        }
        Ok(())
    }

    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> bool {
        if check_range(self.header.disk_len, offset, buffer.len() as u64).is_err() {
            return false;
        }
        let mut done = 0;
        while done < buffer.len() {
            match self.read_run_now(offset + done as u64, &mut buffer[done..]) {
                Some(len) => done += len,
                None => return false,
            }
        }
        true
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.check_write(offset, data.len() as u64)?;
        if data.is_empty() {
            return Ok(());
        }
        let own = self
            .map()
            .all(blocks(offset, data.len() as u64), Place::Own);
        if own {
            self.write_file(offset, data)
        } else {
            self.write_up(offset, data)
        }
    }

    fn flush(&self) -> Result<(), DiskError> {
        if self.read_only {
            return Ok(());
        }
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_failed()?;
        // Taken before the sync: these entries speak of blocks that are written, and the sync
        // puts those on disk before a page that speaks of them is even written.
        let dirty = self.map_mut().take_dirty();
        self.storage.sync().map_err(|error| self.fail(error))?;
        if dirty.is_empty() {
            return Ok(());
        }
        self.write_map(&dirty)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.discard(offset, len)
    }

    fn discard(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.check_write(offset, len)?;
        let end = offset + len;
        // The last block of the disk may be cut short; all of it goes with its last byte.
        let last = if end == self.header.disk_len {
            self.header.blocks()
        } else {
            end / BLOCK_BYTES
        };
        let whole = offset.div_ceil(BLOCK_BYTES)..last;
        if whole.is_empty() {
            return crate::disk::write_zeros(self, offset, len);
        }
        let (first, behind) = (whole.start * BLOCK_BYTES, whole.end * BLOCK_BYTES);
        crate::disk::write_zeros(self, offset, first - offset)?;
        for piece in whole.clone().step_by(LANE_BLOCKS as usize) {
            let piece = piece..(piece + LANE_BLOCKS).min(whole.end);
            self.discard_blocks(piece)?;
        }
        crate::disk::write_zeros(self, behind.min(end), end.saturating_sub(behind))
    }

    fn discard_granularity(&self) -> Option<u32> {
        Some(BLOCK_BYTES as u32)
    }

    fn extent(&self, offset: u64) -> Result<Extent, DiskError> {
        let rest = self.header.disk_len.saturating_sub(offset);
        if rest == 0 {
            return Ok(Extent {
                len: 0,
                allocated: false,
            });
        }
        let blocks = blocks(offset, rest);
        let (place, run) = self.map().run(blocks.clone());
        let len = ((blocks.start + run) * BLOCK_BYTES - offset).min(rest);
        if place != Place::Golden {
            let allocated = place == Place::Own;
            return Ok(Extent { len, allocated });
        }
        if offset >= self.golden.len() {
            return Ok(Extent {
                len,
                allocated: false,
            });
        }
        let below = self.golden.extent(offset)?;
        Ok(Extent {
            len: len.min(below.len),
            allocated: below.allocated,
        })
    }
}

impl<S: Storage> Drop for OverlayDisk<S> {
    fn drop(&mut self) {
        // Nobody is left to tell of an error; nothing was promised either.
        let _ = self.flush();
    }
}

impl<S: Storage> OverlayDisk<S> {
    /// Makes whole blocks, which are in one or two lanes, zeros.
    fn discard_blocks(&self, blocks: Range<u64>) -> Result<(), DiskError> {
        let _lanes = self.lock_lanes(blocks.clone());
        let mut block = blocks.start;
        while block < blocks.end {
            let (place, run) = self.map().run(block..blocks.end);
            let range = block..block + run;
            block += run;
            let beyond = range.start * BLOCK_BYTES >= self.golden.len();
            if place == Place::Zero || place == Place::Golden && beyond {
                continue;
            }
            self.change(range.clone(), Place::Zero)?;
            if place == Place::Own {
                let (offset, len) = (range.start * BLOCK_BYTES, run * BLOCK_BYTES);
                // Where space cannot be given back it stays; the map says zeros all the same.
                let freed = self.storage.zero(self.in_file(offset), len, true);
                freed.map_err(|source| DiskError::Write {
                    offset,
                    len,
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// Where generation `generation` of map page `index` is in the file.
fn slot_offset(index: u64, generation: u64) -> u64 {
    Header::BYTES as u64 + (2 * index + generation % 2) * PAGE_BYTES as u64
}

/// The blocks that `len` bytes from `offset` on touch.
fn blocks(offset: u64, len: u64) -> Range<u64> {
    offset / BLOCK_BYTES..(offset + len).div_ceil(BLOCK_BYTES)
}

/// Copy-ups of as many places can go on at once.
const LANES: u64 = 64;
/// 256 KiB: most writes are in one lane.
const LANE_BLOCKS: u64 = 64;
const COPY_BYTES: usize = 1024 * 1024;
