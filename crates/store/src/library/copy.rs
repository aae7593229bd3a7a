//! Copies a disk to a file and leaves out what is zeros.

use std::fs::File;
use std::io;
use std::path::Path;

use super::{LibraryError, Progress, at, of_disk};
use crate::{Disk, DiskError, Storage as _};

#[derive(Debug)]
pub(super) enum CopyError {
    Source(DiskError),
    Target(io::Error),
}

impl CopyError {
    pub(super) fn at(self, source: &Path, target: &Path) -> LibraryError {
        match self {
            Self::Source(error) => of_disk(source)(error),
            Self::Target(error) => at("write", target)(error),
        }
    }
}

/// Makes `target`, which is empty, a raw image of `disk`, with holes where it reads as zeros.
pub(super) fn copy_sparse(
    disk: &impl Disk,
    target: &File,
    progress: Progress<'_>,
) -> Result<(), CopyError> {
    let len = disk.len();
    target.set_len(len).map_err(CopyError::Target)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < len {
        progress(at, len);
        let extent = disk.extent(at).map_err(CopyError::Source)?;
        if !extent.allocated {
            at += extent.len;
            continue;
        }
        let piece = &mut piece[..extent.len.min(PIECE_BYTES as u64) as usize];
        disk.read_at(at, piece).map_err(CopyError::Source)?;
        for (block, offset) in piece.chunks(HOLE_BYTES).zip((at..).step_by(HOLE_BYTES)) {
            if block.iter().any(|byte| *byte != 0) {
                target.write(offset, block).map_err(CopyError::Target)?;
            }
        }
        at += piece.len() as u64;
    }
    progress(len, len);
    Ok(())
}

const PIECE_BYTES: usize = 1024 * 1024;
/// Smaller holes are not worth the pieces that the file falls into.
const HOLE_BYTES: usize = 64 * 1024;
