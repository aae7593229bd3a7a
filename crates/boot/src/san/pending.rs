//! Commands of a session that have not ended: those that wait, those that were sent, and the
//! answers that nobody has taken yet.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use litemap::LiteMap;

use bowline_iscsi::initiator::TaskId;

use crate::failure::Failure;
use crate::san::cache::CommandId;
use crate::san::queue::{Finished, Request};

/// The commands of a session.
#[derive(Default)]
pub(super) struct Commands {
    pub(super) next: CommandId,
    /// Every command that has not ended.
    pub(super) open: LiteMap<CommandId, Open>,
    /// Those that wait to be sent, in order.
    pub(super) unsent: VecDeque<CommandId>,
    /// Those that wait for a busy target.
    pub(super) delayed: Vec<(Duration, CommandId)>,
    /// What the initiator calls those that were sent.
    pub(super) tasks: LiteMap<TaskId, CommandId>,
    pub(super) finished: VecDeque<Finished>,
}

/// A command that has not ended.
pub(super) struct Open {
    pub(super) request: Request,
    /// How often it was repeated.
    pub(super) repeats: u32,
}

impl Commands {
    pub(super) fn finish(&mut self, id: CommandId, result: Result<Vec<u8>, Failure>) {
        self.open.remove(&id);
        self.finished.push_back((id, result));
    }

    /// Everything that has not ended is sent in its first order.
    pub(super) fn send_all_again(&mut self) {
        self.tasks.clear();
        self.delayed.clear();
        self.unsent = self.open.keys().copied().collect();
    }

    pub(super) fn fail_all(&mut self, failure: &Failure) {
        self.send_all_again();
        while let Some(id) = self.unsent.pop_front() {
            self.finish(id, Err(failure.clone()));
        }
    }

    pub(super) fn end_delays(&mut self, now: Duration) {
        let unsent = &mut self.unsent;
        self.delayed.retain(|&(at, id)| {
            if now >= at {
                unsent.push_back(id);
            }
            now < at
        });
    }
}
