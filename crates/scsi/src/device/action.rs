//! What is to become of a command.

use alloc::vec::Vec;

use crate::cdb::Cdb;
use crate::copy::Copy;
use crate::sense::Sense;
use crate::status::Status;

/// What is to become of a command. Block ranges lie within the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answer GOOD with this data.
    Respond(Vec<u8>),
    /// Read blocks from storage and answer with them.
    Read {
        /// First block.
        lba: u64,
        /// Number of blocks; may be zero.
        blocks: u32,
        /// From the medium, not a cache.
        force_unit_access: bool,
    },
    /// Take data from the initiator and write it.
    Write {
        /// First block.
        lba: u64,
        /// Number of blocks; may be zero.
        blocks: u32,
        /// On the medium before the answer.
        force_unit_access: bool,
    },
    /// Take data from the initiator, write it, bring it to the medium and read it again.
    WriteAndVerify {
        /// First block.
        lba: u64,
        /// Number of blocks; may be zero.
        blocks: u32,
        /// What is read must be what was written; otherwise it must be readable.
        compare: bool,
    },
    /// Read blocks and drop them: an error is what matters.
    Verify {
        /// First block.
        lba: u64,
        /// Number of blocks; may be zero.
        blocks: u32,
    },
    /// Take data from the initiator and compare it with the blocks; where it differs answer
    /// [`Sense::MISCOMPARE`] with the byte offset of the first difference in the data.
    Compare {
        /// First block.
        lba: u64,
        /// Number of blocks; may be zero.
        blocks: u32,
        /// The data is one block, and every block is to be like it.
        one_block: bool,
    },
    /// Take twice the data from the initiator; if the first half is what is in the blocks, write
    /// the second, and nothing may come between; otherwise as [`Action::Compare`].
    CompareAndWrite {
        /// First block.
        lba: u64,
        /// Number of blocks; may be zero.
        blocks: u32,
        /// On the medium before the answer.
        force_unit_access: bool,
    },
    /// Take data from the initiator and set the bits that are set in it; nothing may come between.
    OrWrite {
        /// First block.
        lba: u64,
        /// Number of blocks; may be zero.
        blocks: u32,
        /// On the medium before the answer.
        force_unit_access: bool,
    },
    /// Take one block from the initiator, or zeros, and write it to all blocks.
    WriteSame {
        /// First block.
        lba: u64,
        /// Number of blocks, not zero.
        blocks: u32,
        /// Blocks of zeros may be given back instead.
        unmap: bool,
        /// No block is taken: all become zero.
        zeros: bool,
        /// On the medium before the answer.
        force_unit_access: bool,
    },
    /// Give these blocks back: first block and number of each range. They read as zeros.
    Unmap(Vec<(u64, u32)>),
    /// Tell from `lba` on which blocks hold data: answer with [`lba_status`](super::lba_status).
    LbaStatus {
        /// First block.
        lba: u64,
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// Copy blocks between disks.
    Copy(Copy),
    /// Bring all that was written to the medium.
    Flush {
        /// Answering before it is done is allowed (and no promise is made then).
        immediate: bool,
    },
    /// Take this many bytes of parameters and ask [`Device::parameters`](super::Device::parameters) what becomes of them.
    Parameters {
        /// The command.
        cdb: Cdb,
        /// Length of its parameter list.
        length: u32,
    },
    /// About what initiators share: only a [`Device`](super::Device) knows.
    Shared(Cdb),
    /// Answer this status.
    Status(Status),
    /// Answer CHECK CONDITION.
    Check(Sense),
}

impl Action {
    /// How many bytes the command takes from the initiator.
    #[must_use]
    pub fn data_out_length(&self, block_size: u32) -> u64 {
        let blocks = match *self {
            Self::Parameters { length, .. } => return u64::from(length),
            Self::Compare {
                one_block: true,
                blocks,
                ..
            } => blocks.min(1),
            Self::WriteSame { zeros, .. } => u32::from(!zeros),
            Self::CompareAndWrite { blocks, .. } => 2 * blocks,
            Self::Write { blocks, .. }
            | Self::WriteAndVerify { blocks, .. }
            | Self::OrWrite { blocks, .. }
            | Self::Compare { blocks, .. } => blocks,
            _ => 0,
        };
        u64::from(blocks) * u64::from(block_size)
    }

    /// How many bytes the command gives to the initiator when all goes well.
    #[must_use]
    pub fn data_in_length(&self, block_size: u32) -> u64 {
        match self {
            Self::Respond(data) => data.len() as u64,
            Self::Read { blocks, .. } => u64::from(*blocks) * u64::from(block_size),
            _ => 0,
        }
    }
}
