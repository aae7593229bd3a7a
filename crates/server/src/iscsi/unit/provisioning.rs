//! Blocks that hold nothing, and blocks that are all alike.

use bowline_iscsi::target::Response;
use bowline_scsi::Sense;
use bowline_scsi::device::{Action, Extent, LBA_STATUS_MAX, lba_status};

use super::{CHUNK_BYTES, Unit};

impl Unit {
    /// SBC-3 §5.48. Zeros are written the cheap way, and given back where that is asked for.
    pub(super) fn write_same(&self, action: &Action, data: &[u8]) -> Result<Response, Sense> {
        let &Action::WriteSame {
            lba,
            blocks,
            unmap,
            zeros,
            force_unit_access,
        } = action
        else {
            return Err(Sense::INTERNAL_TARGET_FAILURE);
        };
        let moved = action.data_out_length(self.block_size);
        let block = if zeros {
            &[]
        } else {
            self.exactly(data, self.block_size())?
        };
        let (start, len) = (self.bytes(lba), self.bytes(u64::from(blocks)));
        if block.iter().all(|byte| *byte == 0) {
            let done = if unmap {
                self.disk.discard(start, len)
            } else {
                self.disk.write_zeroes(start, len)
            };
            done.map_err(|error| self.write_failed(&error))?;
        } else {
            self.repeat(lba, blocks, block)?;
        }
        if force_unit_access {
            self.flush()?;
        }
        Ok(Response::good(moved))
    }

    /// Writes `block` to each of the blocks.
    fn repeat(&self, lba: u64, blocks: u32, block: &[u8]) -> Result<(), Sense> {
        let step = u32::try_from(CHUNK_BYTES / self.block_size())
            .unwrap_or(1)
            .min(blocks);
        let chunk = block.repeat(step as usize);
        let mut done = 0;
        while done < blocks {
            let now = step.min(blocks - done);
            let piece = chunk.get(..self.whole(now)?).unwrap_or(&chunk);
            self.write_from(lba + u64::from(done), piece)?;
            done += now;
        }
        Ok(())
    }

    /// SBC-3 §5.28.
    pub(super) fn unmap(&self, ranges: &[(u64, u32)]) -> Result<Response, Sense> {
        for (lba, blocks) in ranges {
            let (start, len) = (self.bytes(*lba), self.bytes(u64::from(*blocks)));
            self.disk
                .discard(start, len)
                .map_err(|error| self.write_failed(&error))?;
        }
        Ok(Response::good(0))
    }

    /// SBC-3 §5.4: extents from `lba` on, as many as there is room for. A block is deallocated if
    /// all of it is.
    pub(super) fn lba_status(&self, lba: u64, allocation_length: u32) -> Result<Response, Sense> {
        let room = (allocation_length as usize).saturating_sub(8) / 16;
        let mut extents: Vec<Extent> = Vec::new();
        let blocks = self.disk.len() / u64::from(self.block_size);
        let mut at = lba;
        while at < blocks && extents.len() < room.clamp(1, LBA_STATUS_MAX) {
            let extent = self.extent(at, blocks)?;
            at += u64::from(extent.blocks);
            match extents.last_mut() {
                Some(last) if last.mapped == extent.mapped => {
                    match last.blocks.checked_add(extent.blocks) {
                        Some(sum) => last.blocks = sum,
                        None => extents.push(extent),
                    }
                }
                _ => extents.push(extent),
            }
        }
        Ok(Response::data(lba_status(&extents, allocation_length)))
    }

    /// The blocks from `lba` on that are of one kind, at least one.
    fn extent(&self, lba: u64, blocks: u64) -> Result<Extent, Sense> {
        let size = u64::from(self.block_size);
        let found = self.disk.extent(self.bytes(lba)).map_err(|error| {
            self.failed(&error);
            Sense::UNRECOVERED_READ_ERROR
        })?;
        let whole = found.len / size;
        let (count, mapped) = match (whole, found.allocated) {
            (0, _) => (1, true), // a hole begins or ends inside of the block
            (whole, false) => (whole, false),
            (_, true) => (found.len.div_ceil(size), true),
        };
        let count = count.min(blocks - lba);
        Ok(Extent {
            lba,
            blocks: u32::try_from(count).unwrap_or(u32::MAX),
            mapped,
        })
    }
}
