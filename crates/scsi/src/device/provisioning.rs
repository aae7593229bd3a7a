//! Blocks that hold nothing: UNMAP, WRITE SAME and GET LBA STATUS (SBC-3 sections 5.28, 5.48
//! and 5.4).

use alloc::vec::Vec;

use super::{Action, LogicalUnit, WRITE_SAME_BLOCKS_MAX};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::cdb::Cdb;
use crate::sense::Sense;

/// Ranges in one UNMAP.
pub(super) const UNMAP_RANGES_MAX: u32 = 256;

/// Extents that one GET LBA STATUS tells.
pub const LBA_STATUS_MAX: usize = 64;

/// Blocks that are all of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First block.
    pub lba: u64,
    /// Number of blocks.
    pub blocks: u32,
    /// Whether they may hold data.
    pub mapped: bool,
}

/// The data of GET LBA STATUS.
#[must_use]
pub fn lba_status(extents: &[Extent], allocation_length: u32) -> Vec<u8> {
    const HEADER: usize = 8;
    const DEALLOCATED: u8 = 1;
    let length = 4 + 16 * extents.len();
    let mut data = u32::try_from(length).unwrap_or(0).to_be_bytes().to_vec();
    data.resize(HEADER, 0);
    for extent in extents {
        data.extend(extent.lba.to_be_bytes());
        data.extend(extent.blocks.to_be_bytes());
        data.extend([if extent.mapped { 0 } else { DEALLOCATED }, 0, 0, 0]);
    }
    data.truncate(usize::try_from(allocation_length).unwrap_or(usize::MAX));
    data
}

impl LogicalUnit {
    pub(super) fn write_same(&self, cdb: Cdb) -> Result<Action, Sense> {
        let Cdb::WriteSame {
            transfer,
            unmap,
            anchor,
            no_data_out,
        } = cdb
        else {
            return Err(Sense::INVALID_OPCODE);
        };
        self.check_writable()?;
        // No space is reserved without data (ANC_SUP is zero), and UNMAP is for thin disks.
        if transfer.protect != 0 || anchor || (unmap && self.thin.is_none()) {
            return Err(Sense::INVALID_FIELD_IN_CDB);
        }
        self.check_range(transfer.lba, transfer.blocks)?;
        // "Up to the end" is not offered (WSNZ), since it could take for ever.
        if transfer.blocks == 0 || transfer.blocks > WRITE_SAME_BLOCKS_MAX {
            return Err(Sense::INVALID_FIELD_IN_CDB);
        }
        Ok(Action::WriteSame {
            lba: transfer.lba,
            blocks: transfer.blocks,
            unmap,
            zeros: no_data_out,
            force_unit_access: !self.write_cache,
        })
    }

    /// The parameter list of UNMAP, which is carried out as a whole or not at all.
    pub(super) fn unmap(&self, data: &[u8]) -> Result<Action, Sense> {
        let short = Sense::PARAMETER_LIST_LENGTH_ERROR;
        let described = usize::from(u16_at(data, 2).ok_or(short)?);
        let list = data.get(8..).ok_or(short)?;
        // A list that is longer than its descriptors has no meaning for the rest; one that is
        // shorter is cut off (SBC-3 section 5.28.2).
        let list = list.get(..described).ok_or(short)?;
        let (descriptors, _) = list.as_chunks::<16>();
        if descriptors.len() > UNMAP_RANGES_MAX as usize {
            return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
        }
        let mut ranges = Vec::with_capacity(descriptors.len());
        let mut total: u64 = 0;
        for descriptor in descriptors {
            let lba = u64_at(descriptor, 0).ok_or(short)?;
            let blocks = u32_at(descriptor, 8).ok_or(short)?;
            self.check_range(lba, blocks)?;
            total += u64::from(blocks);
            if blocks > 0 {
                ranges.push((lba, blocks));
            }
        }
        if total > u64::from(self.unmap_blocks_max()) {
            return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
        }
        Ok(Action::Unmap(ranges))
    }
}
