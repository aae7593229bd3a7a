//! What goes wrong, and when: a list that is played while a boot runs.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::firmware::Peer;
use crate::iscsi::{Ailment, Target};
use crate::wire::Card;

/// One thing that goes wrong, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// It happens when the target has sent so many bytes.
    pub at: usize,
    /// What happens.
    pub kind: FaultKind,
    /// How long it lasts.
    pub lasts: Duration,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The target's process dies, and is started again afterwards.
    TargetDies,
    /// The target's process hangs.
    TargetHangs,
    /// The cable of the server of this number is out.
    CableOut(usize),
}

/// Plays a list of faults in their order; several may be present at once.
#[derive(Debug)]
pub struct Faults {
    waiting: VecDeque<Fault>,
    target: Rc<Target>,
    /// The cards of the servers.
    cards: Vec<Card>,
    /// Those that last until then.
    present: Vec<(Duration, Fault)>,
}

impl Faults {
    /// Faults of `target` and of the servers behind `cards`, in the order of the list.
    pub fn new(list: &[Fault], target: &Rc<Target>, cards: Vec<Card>) -> Self {
        Self {
            waiting: list.iter().copied().collect(),
            target: Rc::clone(target),
            cards,
            present: Vec::new(),
        }
    }

    fn apply(&self, kind: FaultKind, begins: bool) {
        match kind {
            FaultKind::TargetDies => self.target.ailment.set(begins.then_some(Ailment::Dead)),
            FaultKind::TargetHangs => self.target.ailment.set(begins.then_some(Ailment::Hangs)),
            FaultKind::CableOut(server) => self.cards[server].set_plugged(!begins),
        }
    }
}

impl Peer for Faults {
    fn poll(&mut self, now: Duration) {
        let (over, present) = self.present.drain(..).partition(|(until, _)| now >= *until);
        self.present = present;
        let over: Vec<(Duration, Fault)> = over;
        over.iter()
            .for_each(|(_, fault)| self.apply(fault.kind, false));
        while let Some(&fault) = self.waiting.front()
            && self.target.sent.get() >= fault.at
        {
            self.waiting.pop_front();
            self.present.push((now + fault.lasts, fault));
            self.apply(fault.kind, true);
        }
    }

    fn poll_at(&mut self, _now: Duration) -> Option<Duration> {
        self.present.iter().map(|(until, _)| *until).min()
    }
}
