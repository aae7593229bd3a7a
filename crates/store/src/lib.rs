//! Disk images behind one trait.
//!
//! [`Disk`] is all that the services know of storage: a length, reads, writes, discards and a
//! flush. Behind it are [`RawDisk`], a raw image file or a block device; [`Qcow2Disk`], QEMU's
//! format with backing files; and [`OverlayDisk`], what one machine wrote over a golden image that
//! many share. [`open()`] finds the right one. [`Library`] manages golden images and overlays in a
//! directory. docs/overlay-format.md draws what is on disk.
//!
//! The promise of every implementation: **a write that was followed by a successful
//! [`Disk::flush`] survives a kill of the process and a power cut.** A write that was not may be
//! lost, wholly or in part, in any order. After a sync has failed nothing is promised about the
//! writes before it, so the disk refuses further writes instead of guessing
//! ([`DiskError::Failed`]).
//!
//! Formats stand on [`Storage`], five calls that [`File`](std::fs::File) has; tests put others
//! there, which lose power or fail.
#![deny(unsafe_code)]

mod disk;
mod library;
mod open;
mod overlay;
mod qcow2;
mod raw;
mod storage;
#[cfg(test)]
mod testing;
mod wire;

pub use disk::{Disk, DiskError, Extent};
pub use library::{ImageInfo, Library, LibraryError, Origin, OverlayInfo, Progress};
pub use open::{Access, Format, Image, OpenError, open, open_as, probe};
pub use overlay::{Golden, Identity, OverlayDisk, OverlayError};
pub use qcow2::{Backing, Qcow2Disk, Qcow2Error, Qcow2Header};
pub use raw::RawDisk;
pub use storage::{CacheId, Storage};
