//! What a cached disk asks of the session below it.

use alloc::vec::Vec;

use bowline_scsi::Cdb;

use crate::failure::Failure;
use crate::san::cache::CommandId;

/// A command for the disk.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Read blocks.
    Read { lba: u64, blocks: u32 },
    /// Write whole blocks.
    Write { lba: u64, data: Vec<u8> },
    /// Bring what was written to stable storage.
    Flush,
    /// Any other question with up to `length` bytes of answer.
    Ask { cdb: Cdb, length: u32 },
}

/// Several commands at a time, to one logical unit.
pub(crate) trait CommandQueue {
    /// Queues a command. Never waits.
    fn submit(&self, request: Request) -> CommandId;

    /// Sends and receives what can be without waiting; true if something happened.
    fn turn(&self) -> bool;

    /// The next command that has ended, with what it read.
    fn take_finished(&self) -> Option<(CommandId, Result<Vec<u8>, Failure>)>;

    /// The way to the disk is gone; commands wait for [`Self::recover`].
    fn is_lost(&self) -> bool;

    /// Tries once to find the way back and to repeat what was not answered. When that fails,
    /// every command ends with the failure.
    async fn recover(&self) -> Result<(), Failure>;
}
