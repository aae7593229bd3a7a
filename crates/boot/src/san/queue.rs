//! What a cached disk asks of the session below it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

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

/// A command that has ended, and what it read.
pub(crate) type Finished = (CommandId, Result<Vec<u8>, Failure>);

/// A goodbye on its way.
pub(crate) type Closing<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The queue of a drive, which lives as long as the drive.
pub(crate) trait DriveQueue: CommandQueue {
    /// When [`CommandQueue::turn`] has something to do by itself.
    fn wake_up(&self) -> Option<Duration> {
        None
    }

    /// The next line about what happened to the way to the disk.
    fn take_news(&self) -> Option<String> {
        None
    }

    /// Says goodbye.
    fn close(&self) -> Closing<'_>;
}

impl CommandQueue for Box<dyn DriveQueue> {
    fn submit(&self, request: Request) -> CommandId {
        (**self).submit(request)
    }

    fn turn(&self) -> bool {
        (**self).turn()
    }

    fn take_finished(&self) -> Option<Finished> {
        (**self).take_finished()
    }

    fn is_idle(&self) -> bool {
        (**self).is_idle()
    }
}

/// Several commands at a time, to one logical unit. A queue that loses its way to the unit finds
/// it again by itself; commands that it cannot carry out end with the failure.
pub(crate) trait CommandQueue {
    /// Queues a command. Never waits.
    fn submit(&self, request: Request) -> CommandId;

    /// Sends and receives what can be without waiting; true if something happened.
    fn turn(&self) -> bool;

    /// The next command that has ended.
    fn take_finished(&self) -> Option<Finished>;

    /// Nothing is under way.
    fn is_idle(&self) -> bool;
}
