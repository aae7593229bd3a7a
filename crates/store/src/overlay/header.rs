//! The first 4096 bytes of an overlay; docs/overlay-format.md draws them.
//!
//! They are written once, when the overlay is made, and never change.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::map::{BLOCK_BYTES, BLOCKS_PER_PAGE, PAGE_BYTES};
use super::{Identity, OverlayError};
use crate::Format;
use crate::wire::{Cursor, checksum};

/// What tells an overlay from other files.
pub(crate) const MAGIC: [u8; 8] = *b"BOWLOVLY";

/// What an overlay was made on. It is refused on anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    /// Where it is: absolute, or relative to the directory of the overlay.
    pub path: PathBuf,
    /// How it is to be read.
    pub format: Format,
    /// Its length, time and content, as far as they can be checked at every opening.
    pub identity: Identity,
}

/// The header of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Length of the disk in bytes.
    pub(crate) disk_len: u64,
    pub(crate) golden: Golden,
}

impl Header {
    pub(crate) const BYTES: usize = PAGE_BYTES;

    /// How many map pages there are.
    pub(crate) fn pages(&self) -> u64 {
        self.blocks().div_ceil(BLOCKS_PER_PAGE)
    }

    pub(crate) fn blocks(&self) -> u64 {
        self.disk_len.div_ceil(BLOCK_BYTES)
    }

    /// Where in the file the first block of the disk is.
    pub(crate) fn data_offset(&self) -> u64 {
        let map_end = Self::BYTES as u64 + self.pages() * 2 * PAGE_BYTES as u64;
        map_end.next_multiple_of(DATA_ALIGNMENT)
    }

    /// How long the file is, but for the mirror.
    pub(crate) fn file_len(&self) -> u64 {
        self.mirror_offset(0)
    }

    /// Where in the file the mirror of map page `index` is.
    pub(crate) fn mirror_offset(&self, index: u64) -> u64 {
        self.data_offset() + self.blocks() * BLOCK_BYTES + index * PAGE_BYTES as u64
    }

    /// `None`: the path is too long.
    pub(crate) fn encode(&self) -> Option<[u8; Self::BYTES]> {
        let path = self.golden.path.as_os_str().as_bytes();
        let identity = &self.golden.identity;
        let mut out = Vec::with_capacity(Self::BYTES);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(self.disk_len.to_le_bytes());
        out.extend(self.data_offset().to_le_bytes());
        out.extend(identity.len.to_le_bytes());
        out.extend(identity.modified.0.to_le_bytes());
        out.extend(identity.modified.1.to_le_bytes());
        out.extend(format_code(self.golden.format).to_le_bytes());
        out.extend(identity.fingerprint);
        out.extend(u32::try_from(path.len()).ok()?.to_le_bytes());
        out.extend(path);
        if out.len() > CHECKSUM_AT {
            return None;
        }
        out.resize(CHECKSUM_AT, 0);
        out.extend(checksum(&out).to_le_bytes());
        out.try_into().ok()
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, OverlayError> {
        let (body, sum) = bytes.split_at(CHECKSUM_AT);
        let mut cursor = Cursor::new(body);
        let damaged = OverlayError::DamagedHeader;
        if cursor.array::<8>() != Some(MAGIC) {
            return Err(OverlayError::NotAnOverlay);
        }
        // Before the checksum: another version may keep it elsewhere.
        let version = cursor.u32().ok_or(damaged)?;
        let damaged = OverlayError::DamagedHeader;
        if version != VERSION {
            return Err(OverlayError::Version(version));
        }
        if sum != checksum(body).to_le_bytes() {
            return Err(damaged);
        }
        let features = cursor.u32().ok_or(OverlayError::DamagedHeader)?;
        if features != 0 {
            return Err(OverlayError::Features(features));
        }
        let (header, data_offset) = Self::fields(&mut cursor).ok_or(damaged)?;
        if header.disk_len > MAX_DISK_BYTES || data_offset != header.data_offset() {
            return Err(OverlayError::DamagedHeader);
        }
        Ok(header)
    }

    fn fields(cursor: &mut Cursor<'_>) -> Option<(Self, u64)> {
        let disk_len = cursor.u64()?;
        let data_offset = cursor.u64()?;
        let len = cursor.u64()?;
        let modified = (cursor.u64()?.cast_signed(), cursor.u32()?);
        let format = match cursor.u32()? {
            0 => Format::Raw,
            1 => Format::Qcow2,
            2 => Format::Overlay,
            _ => return None,
        };
        let fingerprint = cursor.array()?;
        let path_len = usize::try_from(cursor.u32()?).ok()?;
        let path = cursor.bytes(path_len)?.to_vec();
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        let identity = Identity {
            len,
            modified,
            fingerprint,
        };
        let golden = Golden {
            path,
            format,
            identity,
        };
        Some((Self { disk_len, golden }, data_offset))
    }
}

fn format_code(format: Format) -> u32 {
    match format {
        Format::Raw => 0,
        Format::Qcow2 => 1,
        Format::Overlay => 2,
    }
}

/// The largest disk an overlay can have: more than any file system takes, and small enough that
/// no sum above can overflow.
pub(crate) const MAX_DISK_BYTES: u64 = 1 << 50;

const VERSION: u32 = 1;
const CHECKSUM_AT: usize = PAGE_BYTES - 4;
/// Huge pages, RAID stripes and erase blocks are no larger.
const DATA_ALIGNMENT: u64 = 1024 * 1024;
