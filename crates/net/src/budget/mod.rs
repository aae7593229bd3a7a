//! The receive budget: bytes in flight never exceed what the card below can hold.
//!
//! The virtio-net driver of U-Boot before 2025.10 has 32 receive buffers and dies for good when
//! a 33rd frame waits unpolled; drivers for real boards have 4 to 16 and drop. So the sum of the
//! windows of all TCP connections, counted in frames, stays within a budget: it starts at
//! [`ReceiveRing::initial`](crate::ReceiveRing), doubles for every clean round (a whole budget of
//! data in order) until the first loss, is halved at a loss, grows by an eighth per clean round
//! from then on, and never passes [`ReceiveRing::limit`](crate::ReceiveRing).
//!
//! smoltcp's window is the free space of its buffer, so this layer sits below it: it narrows the
//! window field of outgoing segments, holds acknowledgements back until half a window is due, and
//! watches the sequence numbers of incoming segments.
//!
//! What always holds: the windows that peers have been told (the right edge of each connection
//! less the data that has come in order, RFC 9293 section 3.8.6) add up to at most the budget of
//! the moment they were told; a right edge never goes back, so after a loss the budget is halved
//! for new promises and old ones are waited out. A connection that is dropped keeps its part
//! for [`GHOST`], because its peer may not have heard yet.
//!
//! What does not: a window counts bytes and a card counts frames. A peer that writes short
//! segments (an iSCSI target writes a 48-byte header on its own) puts more frames into a window
//! than the layer counts. Three things stand against it. The layer keeps the mean payload of each
//! connection, beginning with the segment size that the peer names, and counts its window at
//! that, down to a quarter of a full segment. Short segments come from the ends of answers, so
//! their number is bounded by the questions asked, and an idle connection counts in full segments
//! again. And the limit leaves room: 24 of U-Boot's 32 buffers. The same room is for broadcasts,
//! for frames to others (U-Boot's card does not filter) and for retransmissions while nobody
//! polls. It is a margin, not a proof: the proof is to poll, and
//! [`Stack::settle`](crate::Stack::settle) before a time without polling. Losses are seen as
//! holes; where only the last segments of a burst are lost there is none.

mod flow;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::time::Duration;

pub(crate) use self::flow::FlowKey;
use self::flow::{Flow, Phase};
use crate::ReceiveRing;
use crate::frame::{ACK, RST, SYN, Segment};

/// The budget never falls below this many frames (or the card's limit, if that is less).
const FLOOR: usize = 4;
/// Every connection may have this many frames outstanding, as long as the budget lasts.
const SHARE_MIN: usize = 2;
/// A held acknowledgement is sent when nothing has come for this long: about what two transmits
/// cost on U-Boot. Senders wait for it in slow start (RFC 5681 section 3.1, ten frames and then
/// silence) and when Nagle's algorithm holds back the end of a message.
const QUIET: Duration = Duration::from_micros(250);
/// The same where the buffer is full and the owner still has to read what came: well before the
/// sender takes it for lost (RFC 6298 section 2.4; a fifth of a second in practice).
const QUIET_FULL: Duration = Duration::from_millis(20);
/// A connection without data for this long does not count when the budget is divided.
const IDLE: Duration = Duration::from_millis(200);
/// How long a dropped connection keeps its part of the budget.
const GHOST: Duration = Duration::from_millis(50);
/// Segments beyond a hole that make it a loss and not a reordering (RFC 5681 section 3.2).
const REORDERING: u8 = 3;
/// A hole that is open for longer than this was a loss too.
const REORDERING_TIME: Duration = Duration::from_millis(5);

/// What is to become of an outgoing frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it, now.
    Send,
    /// An acknowledgement that can wait: the budget sends one in its place later.
    Hold,
}

/// Part of the budget that a dropped connection still holds.
#[derive(Debug)]
struct Ghost {
    frames: usize,
    until: Duration,
}

/// The budget of one card and the connections that share it.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Frames that may be outstanding.
    frames: usize,
    floor: usize,
    limit: usize,
    /// No loss yet: double per clean round.
    slow_start: bool,
    /// Payload bytes that came in order since the budget last changed.
    clean: usize,
    flows: Vec<Flow>,
    ghosts: Vec<Ghost>,
    /// Frames that UDP has asked for.
    reserved: usize,
    pub(crate) losses: u64,
    /// Incoming segments with nothing new in them.
    pub(crate) duplicates: u64,
    /// Outgoing segments that were sent before.
    pub(crate) retransmissions: u64,
}

impl Budget {
    pub(crate) fn new(ring: ReceiveRing) -> Self {
        let limit = ring.limit.max(1);
        Self {
            frames: ring.initial.clamp(1, limit),
            floor: FLOOR.min(ring.initial).clamp(1, limit),
            limit,
            slow_start: true,
            clean: 0,
            flows: Vec::new(),
            ghosts: Vec::new(),
            reserved: 0,
            losses: 0,
            duplicates: 0,
            retransmissions: 0,
        }
    }

    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The card has turned out to hold so many frames. Windows grow to that, clean round by clean
    /// round.
    pub(crate) fn raise_limit(&mut self, limit: usize) {
        self.limit = self.limit.max(limit);
    }

    /// Says how many bytes the peer still has to send, or `None` if that is unknown.
    pub(crate) fn expect(&mut self, key: FlowKey, bytes: Option<usize>) {
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.key == key) {
            flow.expected = bytes;
        }
    }

    /// Says that the owner of a connection has read all that came.
    pub(crate) fn note_drained(&mut self, key: FlowKey) {
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.key == key) {
            flow.note_drained();
        }
    }

    /// Takes up to `wanted` frames that nobody has been promised away from TCP; how many. One is
    /// always to be had: it is what the margin is for.
    pub(crate) fn reserve(&mut self, wanted: usize, now: Duration) -> usize {
        let flows = self.flows.iter().map(|flow| flow.frames_outstanding(now));
        let ghosts = self.ghosts.iter().map(|ghost| ghost.frames);
        let held = self.reserved + flows.chain(ghosts).sum::<usize>();
        let frames = wanted.min(self.frames.saturating_sub(held)).max(1);
        self.reserved += frames;
        frames
    }

    /// Gives reserved frames back to TCP.
    pub(crate) fn release(&mut self, frames: usize) {
        self.reserved = self.reserved.saturating_sub(frames);
    }

    /// Forgets a connection whose socket is gone.
    pub(crate) fn close(&mut self, key: FlowKey, now: Duration) {
        let Some(index) = self.flows.iter().position(|flow| flow.key == key) else {
            return;
        };
        let flow = self.flows.swap_remove(index);
        let frames = flow.frames_outstanding(now);
        if frames > 0 {
            let until = now + GHOST;
            self.ghosts.push(Ghost { frames, until });
        }
    }

    /// Looks at a segment that came in on `vlan`. `frame` has passed its checksums.
    pub(crate) fn incoming(
        &mut self,
        vlan: Option<u16>,
        frame: &[u8],
        segment: &Segment,
        now: Duration,
    ) {
        let key = FlowKey {
            vlan,
            local_port: segment.to_port,
            remote: segment.ip.from,
            remote_port: segment.from_port,
        };
        let Some(flow) = self.flows.iter_mut().find(|flow| flow.key == key) else {
            return;
        };
        let full = flow.full;
        match flow.arrive(frame, segment, now) {
            flow::Arrival::InOrder(bytes) => self.in_order(bytes, full),
            flow::Arrival::Duplicate => self.duplicates += 1,
            flow::Arrival::Loss => self.loss(),
            flow::Arrival::Nothing => {}
        }
    }

    /// So many bytes came in order, over a connection whose full segments carry `full`.
    fn in_order(&mut self, bytes: usize, full: usize) {
        self.clean += bytes;
        if self.clean >= self.frames * full {
            self.clean = 0;
            let step = if self.slow_start {
                self.frames
            } else {
                (self.frames / 8).max(1)
            };
            self.frames = (self.frames + step).min(self.limit);
        }
    }

    fn loss(&mut self) {
        self.losses += 1;
        self.slow_start = false;
        self.clean = 0;
        self.frames = (self.frames / 2).max(self.floor);
    }

    /// Whether half a window has come in on `vlan` since the last acknowledgement: time to let
    /// smoltcp send one.
    pub(crate) fn wants_acknowledgement(&self, vlan: Option<u16>) -> bool {
        self.flows
            .iter()
            .any(|flow| flow.key.vlan == vlan && flow.phase == Phase::Open && flow.is_half_used())
    }

    /// Looks at a frame that is about to be sent on `vlan`, narrows its window and decides about
    /// it. `reply` says that smoltcp sends it in answer to the segment that came last.
    pub(crate) fn outgoing(
        &mut self,
        vlan: Option<u16>,
        frame: &mut [u8],
        segment: &mut Segment,
        reply: bool,
        now: Duration,
    ) -> Verdict {
        let key = FlowKey {
            vlan,
            local_port: segment.from_port,
            remote: segment.ip.to,
            remote_port: segment.to_port,
        };
        let index = self.flows.iter().position(|flow| flow.key == key);
        if segment.is(SYN) {
            self.synchronize(frame, segment, key, index, now);
            return Verdict::Send;
        }
        let Some(index) = index else {
            return Verdict::Send;
        };
        if segment.is(RST) || !segment.is(ACK) {
            return Verdict::Send;
        }
        let noted = self.flows.get_mut(index);
        if noted.is_some_and(|flow| flow.note_outgoing(frame, segment, now)) {
            self.retransmissions += 1;
        }
        let room = self.room(index, now);
        let Some(flow) = self.flows.get_mut(index) else {
            return Verdict::Send;
        };
        let edge = flow.edge_for(room);
        if !reply && segment.is_bare_acknowledgement() && flow.can_hold(edge) {
            flow.held = true;
            return Verdict::Hold;
        }
        let window = flow.announce(edge);
        segment.put_window(frame, window);
        Verdict::Send
    }

    /// A SYN or SYN-ACK of ours: the connection begins here.
    fn synchronize(
        &mut self,
        frame: &mut [u8],
        segment: &mut Segment,
        key: FlowKey,
        index: Option<usize>,
        now: Duration,
    ) {
        // A repeated SYN must not promise less, but may not promise more either.
        let index = index.unwrap_or_else(|| {
            self.flows.push(Flow::new(key, frame, segment, now));
            self.flows.len() - 1
        });
        let room = self.room(index, now);
        let Some(flow) = self.flows.get_mut(index) else {
            return;
        };
        let window = flow.synchronize(frame, segment, room);
        segment.put_window(frame, window);
    }

    /// How many bytes the connection may have outstanding now.
    fn room(&self, index: usize, now: Duration) -> usize {
        let Some(flow) = self.flows.get(index) else {
            return 0;
        };
        // Never so few that connections which keep their least leave nothing to this one.
        let frames = self
            .frames
            .max((SHARE_MIN * self.flows.len()).min(self.limit));
        // Kept so that one more connection can open.
        let reserve = if frames >= 4 * SHARE_MIN {
            SHARE_MIN
        } else {
            0
        };
        let ghosts = self.ghosts.iter().map(|ghost| ghost.frames);
        let mut held = self.reserved + ghosts.sum::<usize>();
        let mut idle = held;
        let mut active = 1;
        for (other, flow) in self.flows.iter().enumerate() {
            if other == index {
                continue;
            }
            let theirs = flow.frames_possible(now);
            held += theirs;
            if flow.is_active(now) {
                active += 1;
            } else {
                idle += theirs;
            }
        }
        let free = frames.saturating_sub(held);
        let fair = (frames.saturating_sub(idle + reserve) / active).max(SHARE_MIN);
        let most = match free.saturating_sub(reserve).max(free.min(SHARE_MIN)) {
            // Linux sends segments of half the largest window it has seen: a window of one
            // segment now would make short segments for good. Better none, and two later.
            most if most < SHARE_MIN && most < frames => 0,
            most => most,
        };
        let bytes = fair.min(most) * flow.payload_mean;
        let least = SHARE_MIN * flow.payload_mean;
        bytes.min(flow.wanted(least))
    }

    /// Writes the next acknowledgement on `vlan` that is due by itself into `frame` and returns its
    /// length: one that was held and nothing came since, or a window for a connection that has
    /// none left. With `everything`, held ones are due at once.
    pub(crate) fn due(
        &mut self,
        vlan: Option<u16>,
        frame: &mut [u8],
        now: Duration,
        everything: bool,
    ) -> Option<usize> {
        self.ghosts.retain(|ghost| ghost.until > now);
        for index in 0..self.flows.len() {
            let flow = self.flows.get(index)?;
            let is_idle = flow.phase == Phase::Opening || !(flow.held || flow.is_starved());
            if flow.key.vlan != vlan || is_idle {
                continue;
            }
            let room = self.room(index, now);
            let flow = self.flows.get_mut(index)?;
            let edge = flow.edge_for(room);
            let quiet = everything || now >= flow.quiet_at();
            let starved = flow.is_starved() && edge != flow.edge;
            if (flow.held && (quiet || !flow.can_hold(edge))) || starved {
                if flow.held && quiet && !flow.owes_more() {
                    // The peer stopped before half a window because it had no more: what came does
                    // not show that the card could hold a whole one. One that has more waits for
                    // our acknowledgement, a round trip away.
                    self.clean = 0;
                }
                return flow.write_acknowledgement(frame, edge);
            }
        }
        None
    }

    /// When [`Self::due`] next has something to do by itself.
    pub(crate) fn due_at(&self) -> Option<Duration> {
        let held = self.flows.iter().filter(|flow| flow.held);
        let starved = self.flows.iter().any(|flow| flow.is_starved());
        held.map(Flow::quiet_at)
            .chain(
                self.ghosts
                    .iter()
                    .filter(|_| starved)
                    .map(|ghost| ghost.until),
            )
            .min()
    }
}
