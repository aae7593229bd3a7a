//! Disk images behind one trait.
//!
//! [`Disk`] is all that the services know of storage: a length, reads, writes and a flush. What is
//! behind it today is [`RawDisk`], a raw image file or a block device; formats with overlays are
//! further implementations of the same trait.
//!
//! The promise of every implementation: **a write that was followed by a successful
//! [`Disk::flush`] survives a kill of the process and a power cut.** A write that was not may be
//! lost, wholly or in part, in any order. After a flush has failed nothing is promised about the
//! writes before it, so the disk refuses further writes instead of guessing
//! ([`DiskError::Failed`]).
#![forbid(unsafe_code)]

mod disk;
mod open;
mod overlay;
mod raw;
mod storage;
#[cfg(test)]
mod testing;
mod wire;

pub use disk::{Disk, DiskError, Extent};
pub use open::{Access, Format, OpenError, open, probe};
pub use overlay::{Golden, Identity, OverlayDisk, OverlayError};
pub use raw::RawDisk;
pub use storage::Storage;
