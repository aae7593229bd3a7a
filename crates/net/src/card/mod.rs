//! One card, and the stacks that share it: one for untagged frames, one for each VLAN
//! (IEEE 802.1Q-2022).
//!
//! Whoever polls takes frames from the card; those for another stack wait in its mailbox. The
//! receive budget is the card's, whatever the network a connection runs over.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use crate::budget::Budget;
use crate::frame::{self, SHORTEST};
use crate::{FRAME_MAX, Link, Nic, NicError};

/// The type of a VLAN tag, the C-TAG TPID (IEEE 802.1Q-2022 section 9.5).
const ETHERTYPE_VLAN: u16 = 0x8100;
/// Where the tag stands: after both addresses (section 9.3).
const TAG_AT: usize = 12;
/// Length of a tag.
pub(crate) const TAG: usize = 4;
/// Frames that wait for one stack; the receive budget keeps TCP far below it.
const MAILBOX_MAX: usize = 256;

/// The tag of a VLAN's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VlanTag {
    id: u16,
    priority: u8,
}

impl VlanTag {
    /// The tag of VLAN `id`, 1 to 4094 (IEEE 802.1Q-2022 table 9-2), with a priority code point
    /// from 0 to 7 (section 6.9.3). `None` for other numbers.
    #[must_use]
    pub fn new(id: u16, priority: u8) -> Option<Self> {
        let is_valid = (1..=4094).contains(&id) && priority <= 7;
        is_valid.then_some(Self { id, priority })
    }

    /// The VLAN's number.
    #[must_use]
    pub fn id(self) -> u16 {
        self.id
    }

    /// The tag as it stands in a frame: type, priority, drop eligible indicator (0), number.
    fn bytes(self) -> [u8; TAG] {
        let [a, b] = ETHERTYPE_VLAN.to_be_bytes();
        let [c, d] = (u16::from(self.priority) << 13 | self.id).to_be_bytes();
        [a, b, c, d]
    }
}

/// `VLAN 2`, for messages.
impl fmt::Display for VlanTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VLAN {}", self.id)
    }
}

/// ` on VLAN 2` and what to look at, or nothing for untagged frames: the end of a message about
/// silence.
#[derive(Clone, Copy, Debug)]
pub struct OnVlan(pub Option<VlanTag>);

impl fmt::Display for OnVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(tag) => write!(
                f,
                " on {tag} (does the switch port carry {tag} tagged, and is the server in it?)"
            ),
            None => Ok(()),
        }
    }
}

/// A frame that came in.
pub(crate) enum Arrival {
    /// For the stack that asked, so many bytes without the tag.
    Ours(usize),
    /// For another stack, which finds it in its mailbox.
    Theirs,
    /// For a VLAN that nobody is in.
    Nobodys,
}

/// The frames that others took from the card for a stack; `None` is the untagged network.
struct Mailbox {
    vlan: Option<u16>,
    frames: VecDeque<Vec<u8>>,
}

pub(crate) struct Card {
    nic: Box<dyn Nic>,
    pub(crate) budget: Budget,
    mailboxes: Vec<Mailbox>,
    /// The card was shut down: nothing may touch it.
    is_down: bool,
}

impl Card {
    pub(crate) fn new(nic: Box<dyn Nic>) -> Self {
        Self {
            budget: Budget::new(nic.receive_ring()),
            nic,
            mailboxes: Vec::new(),
            is_down: false,
        }
    }

    /// Adds a stack's mailbox; `false` if there is one for this VLAN.
    pub(crate) fn join(&mut self, vlan: Option<u16>) -> bool {
        let is_new = !self.mailboxes.iter().any(|mailbox| mailbox.vlan == vlan);
        if is_new {
            let frames = VecDeque::new();
            self.mailboxes.push(Mailbox { vlan, frames });
        }
        is_new
    }

    /// Takes a stack's mailbox away.
    pub(crate) fn leave(&mut self, vlan: Option<u16>) {
        self.mailboxes.retain(|mailbox| mailbox.vlan != vlan);
    }

    pub(crate) fn link(&self) -> Link {
        self.nic.link()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down
    }

    /// Stops the card for good.
    pub(crate) fn shut_down(&mut self) {
        if !core::mem::replace(&mut self.is_down, true) {
            self.nic.shutdown();
        }
    }

    /// The most frames that may ever be outstanding, by what is known of the card now.
    pub(crate) fn frames_max(&mut self) -> usize {
        self.budget.raise_limit(self.nic.receive_ring().limit);
        self.budget.limit()
    }

    /// The next frame, for the stack of `vlan`: from its mailbox, else from the card. `None`
    /// where nothing waits.
    pub(crate) fn receive(
        &mut self,
        vlan: Option<u16>,
        buffer: &mut [u8; FRAME_MAX],
    ) -> Result<Option<Arrival>, NicError> {
        if let Some(frame) = self.mailbox(vlan).and_then(|it| it.frames.pop_front()) {
            frame::put(buffer, 0, &frame);
            return Ok(Some(Arrival::Ours(frame.len())));
        }
        let Some(length) = self.nic.receive(buffer)? else {
            return Ok(None);
        };
        let (of, length) = untag(buffer, length.min(FRAME_MAX));
        if of == vlan {
            return Ok(Some(Arrival::Ours(length)));
        }
        let Some(mailbox) = self.mailbox(of) else {
            return Ok(Some(Arrival::Nobodys));
        };
        if mailbox.frames.len() < MAILBOX_MAX
            && let Some(frame) = buffer.get(..length)
        {
            mailbox.frames.push_back(frame.to_vec());
        }
        Ok(Some(Arrival::Theirs))
    }

    /// Pads the frame of `length` bytes to the Ethernet minimum, tags it and sends it.
    pub(crate) fn transmit(
        &mut self,
        tag: Option<VlanTag>,
        buffer: &mut [u8; FRAME_MAX],
        length: usize,
    ) -> Result<(), NicError> {
        if let Some(padding) = buffer.get_mut(length..SHORTEST) {
            padding.fill(0);
        }
        let mut length = length.max(SHORTEST);
        if let Some(tag) = tag
            && length + TAG <= FRAME_MAX
        {
            buffer.copy_within(TAG_AT..length, TAG_AT + TAG);
            frame::put(buffer, TAG_AT, &tag.bytes());
            length += TAG;
        }
        match buffer.get(..length) {
            Some(frame) if !self.is_down => self.nic.transmit(frame),
            _ => Err(NicError { status: 0 }),
        }
    }

    fn mailbox(&mut self, vlan: Option<u16>) -> Option<&mut Mailbox> {
        let mut mailboxes = self.mailboxes.iter_mut();
        mailboxes.find(|mailbox| mailbox.vlan == vlan)
    }
}

/// Takes the tag out of a frame; its VLAN and its length then. A tag for VLAN 0 only tells a
/// priority (IEEE 802.1Q-2022 table 9-2).
pub(crate) fn untag(frame: &mut [u8], length: usize) -> (Option<u16>, usize) {
    if length < TAG_AT + TAG || frame::field16(frame, TAG_AT) != Some(ETHERTYPE_VLAN) {
        return (None, length);
    }
    let id = frame::field16(frame, TAG_AT + 2).unwrap_or(0) & 0x0fff;
    frame.copy_within(TAG_AT + TAG..length, TAG_AT);
    ((id != 0).then_some(id), length - TAG)
}
