//! One TCP connection as the budget sees it: what its peer was promised and what has come.

use core::net::IpAddr;
use core::time::Duration;

use super::{IDLE, QUIET, QUIET_FULL, REORDERING, REORDERING_TIME, SHARE_MIN};
use crate::frame::{
    self, ACK, ETHERNET, ETHERTYPE_IPV6, FIN, IPV4, IPV6, Ip, RST, SYN, Segment, Seq, TCP,
};

/// Ethernet, IP and TCP headers without options, at most.
const HEADERS: usize = ETHERNET + IPV6 + TCP;

/// Names a connection of a card; our own address is not part of it, as each VLAN has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowKey {
    pub(crate) vlan: Option<u16>,
    pub(crate) local_port: u16,
    pub(crate) remote: IpAddr,
    pub(crate) remote_port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Our SYN is out; it carries this window.
    Opening,
    /// Both sequence numbers are known.
    Open,
    /// The peer's FIN or RST has come: nothing more can.
    Ended,
}

/// What a segment that came in means for the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// New data, at the end of what we have.
    InOrder(usize),
    /// Data that we had.
    Duplicate,
    /// Something before this segment got lost.
    Loss,
    /// No data, or too early to tell.
    Nothing,
}

/// Data is missing; later data has come.
#[derive(Clone, Copy, Debug)]
struct Hole {
    /// Segments that came beyond it.
    segments: u8,
    since: Duration,
    counted: bool,
}

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    pub(super) phase: Phase,
    /// The shift that our SYN offered.
    shift_offered: u8,
    /// The shift of our window fields: 0 unless the peer scales too (RFC 7323 section 2.2).
    shift: u8,
    /// The window in our SYN.
    syn_window: usize,
    /// The next byte that is missing, by smoltcp's last acknowledgement.
    confirmed: Seq,
    /// The same, by what was seen coming in since.
    received: Seq,
    /// The acknowledgement number that the peer was last sent.
    acknowledged: Seq,
    /// The right edge of the window that the peer was last sent.
    pub(super) edge: Seq,
    /// The end of smoltcp's buffer when it sent last: the edge must not pass it, because smoltcp
    /// takes nothing beyond.
    buffer_end: Seq,
    /// What the connection could have outstanding, if there is room in smoltcp's buffer.
    share: usize,
    /// The owner has read all that came.
    is_drained: bool,
    /// Our next sequence number.
    next: Seq,
    /// The headers of the last segment we sent, for acknowledgements of our own.
    headers: [u8; HEADERS],
    /// An acknowledgement is being held back.
    pub(super) held: bool,
    pub(super) last_arrival: Duration,
    /// When data last went either way, if any has.
    last_data: Option<Duration>,
    /// Bytes that the peer still has to send, if the owner has said so.
    pub(super) expected: Option<usize>,
    /// Payload of the peer's full segments: what our SYN names (RFC 9293 section 3.7.1), or what
    /// the peer's does if that is less.
    pub(super) full: usize,
    /// Mean payload of the peer's segments, between a quarter of a full one and a full one.
    pub(super) payload_mean: usize,
    hole: Option<Hole>,
    /// Holes before this one belong to a loss that was counted (as in RFC 6675 section 5).
    recovery: Seq,
}

/// The segment size of a SYN that names none (RFC 9293 section 3.7.1).
const DEFAULT_SEGMENT: usize = 536;

impl Flow {
    /// A connection that begins with our SYN or SYN-ACK `segment`.
    pub(super) fn new(key: FlowKey, frame: &[u8], segment: &Segment, now: Duration) -> Self {
        let full = segment
            .segment_size(frame)
            .unwrap_or(DEFAULT_SEGMENT)
            .max(1);
        Self {
            key,
            phase: Phase::Opening,
            shift_offered: 0,
            shift: 0,
            syn_window: 0,
            confirmed: Seq(0),
            received: Seq(0),
            acknowledged: Seq(0),
            edge: Seq(0),
            buffer_end: Seq(0),
            share: 0,
            is_drained: false,
            next: Seq(0),
            headers: [0; HEADERS],
            held: false,
            last_arrival: now,
            last_data: None,
            expected: None,
            full,
            payload_mean: full,
            hole: None,
            recovery: Seq(0),
        }
    }

    /// The least that the mean payload is taken for.
    fn shortest_mean(&self) -> usize {
        self.full / 4
    }

    /// Bytes that the peer may have in flight.
    fn outstanding(&self) -> usize {
        match self.phase {
            Phase::Opening => self.syn_window,
            Phase::Open => self.edge.beyond(self.confirmed),
            Phase::Ended => 0,
        }
    }

    /// The same in frames. Short segments are the ends of answers; where none is on its way, a
    /// window counts as what it was when it was promised: full segments.
    pub(super) fn frames_outstanding(&self, now: Duration) -> usize {
        let payload = if self.is_active(now) {
            self.payload_mean
        } else {
            self.full
        };
        self.outstanding().div_ceil(payload.max(1))
    }

    /// Frames that may really come: a peer that owes little sends little, whatever it was promised
    /// when its segments were longer.
    pub(super) fn frames_possible(&self, now: Duration) -> usize {
        let outstanding = self.frames_outstanding(now);
        self.expected.map_or(outstanding, |bytes| {
            let owed = bytes.div_ceil(self.payload_mean.max(1));
            outstanding.min(owed + SHARE_MIN)
        })
    }

    /// Whether the connection counts when the budget is divided.
    pub(super) fn is_active(&self, now: Duration) -> bool {
        match (self.phase, self.expected) {
            (Phase::Opening | Phase::Ended, _) => false,
            (Phase::Open, Some(bytes)) => bytes > 0,
            (Phase::Open, None) => self.last_data.is_some_and(|last| now < last + IDLE),
        }
    }

    /// Whether the owner has said that the peer still has something to send.
    pub(super) fn owes_more(&self) -> bool {
        self.expected.is_some_and(|bytes| bytes > 0)
    }

    /// Whether all that the peer was asked for has come, or so much that no full segment is left: it
    /// needs no acknowledgement to go on, and ours may ride on the next question.
    fn owes_little(&self) -> bool {
        self.expected
            .is_some_and(|bytes| bytes < self.shortest_mean())
    }

    /// The most bytes that the connection has use for, where `least` is for the unexpected.
    pub(super) fn wanted(&self, least: usize) -> usize {
        match (self.expected, self.last_data) {
            (Some(bytes), _) => bytes.saturating_add(least),
            // Nobody has asked for anything yet.
            (None, None) => least,
            (None, Some(_)) => usize::MAX,
        }
    }

    /// Whether the buffer is the limit, and not the card: the owner has much to read before it
    /// needs more.
    fn is_full(&self) -> bool {
        !self.is_drained && self.confirmed.plus(self.share).after(self.buffer_end) > 0
    }

    /// Takes note that the owner has read all that came.
    pub(super) fn note_drained(&mut self) {
        self.is_drained = true;
    }

    /// When a held acknowledgement is sent even so, if nothing comes until then.
    pub(super) fn quiet_at(&self) -> Duration {
        let quiet = if self.is_full() { QUIET_FULL } else { QUIET };
        self.last_arrival + quiet
    }

    /// What a window field cannot say is rounded away.
    fn scaled(&self, bytes: usize) -> usize {
        bytes >> self.shift << self.shift
    }

    /// Less than one segment may come.
    pub(super) fn is_starved(&self) -> bool {
        self.phase == Phase::Open && self.outstanding() < self.scaled(self.payload_mean)
    }

    pub(super) fn is_half_used(&self) -> bool {
        let came = self.received.beyond(self.acknowledged);
        let may_wait = self.is_full() || self.owes_little();
        came > 0 && !may_wait && came * 2 >= self.edge.beyond(self.acknowledged)
    }

    /// Our SYN or SYN-ACK; returns its window, which is never scaled (RFC 7323 section 2.2).
    pub(super) fn synchronize(&mut self, frame: &[u8], segment: &Segment, room: usize) -> u16 {
        let buffer = usize::from(segment.window);
        // A repeated SYN says what the first one said: both may be on their way.
        if self.syn_window == 0 {
            self.syn_window = room.min(buffer);
        }
        self.next = segment.sequence.plus(1);
        let ours = segment.window_scale(frame);
        if segment.is(ACK) {
            self.confirmed = segment.acknowledgement;
            self.open();
            self.shift = ours.unwrap_or(0);
        } else {
            self.shift_offered = ours.unwrap_or(0);
        }
        self.save_headers(frame);
        self.syn_window as u16
    }

    /// The peer's first sequence number is known.
    fn open(&mut self) {
        self.received = self.confirmed;
        self.acknowledged = self.confirmed;
        self.recovery = self.confirmed;
        self.edge = self.confirmed.plus(self.syn_window);
        self.buffer_end = self.edge;
        self.phase = Phase::Open;
    }

    /// Takes note of a segment from the peer.
    pub(super) fn arrive(&mut self, frame: &[u8], segment: &Segment, now: Duration) -> Arrival {
        if segment.is(SYN) {
            if self.phase == Phase::Opening
                && segment.is(ACK)
                && segment.acknowledgement == self.next
            {
                self.confirmed = segment.sequence.plus(1);
                self.open();
                let scales = segment.window_scale(frame).is_some();
                self.shift = if scales { self.shift_offered } else { 0 };
                // Who takes only short segments has an MTU that makes it send such ones too.
                let theirs = segment.segment_size(frame).unwrap_or(self.full);
                self.full = theirs.clamp(self.shortest_mean(), self.full);
                self.payload_mean = self.full;
            }
            return Arrival::Nothing;
        }
        let offset = segment.sequence.after(self.received);
        if self.phase != Phase::Open {
            return Arrival::Nothing;
        }
        if segment.is(RST) {
            if offset == 0 {
                self.phase = Phase::Ended;
            }
            return Arrival::Nothing;
        }
        let length = segment.len();
        if length == 0 {
            if offset == 0 && segment.is(FIN) {
                self.phase = Phase::Ended;
            }
            return Arrival::Nothing;
        }
        self.last_arrival = now;
        self.last_data = Some(now);
        self.is_drained = false;
        self.learn_length(segment);
        match offset {
            0 => {
                self.received = segment.sequence.plus(length);
                self.expected = self.expected.map(|n| n.saturating_sub(length));
                if segment.is(FIN) {
                    self.phase = Phase::Ended;
                }
                if self.hole.is_some() {
                    return Arrival::Nothing;
                }
                Arrival::InOrder(length)
            }
            ..0 => {
                self.received = self.received.later(segment.sequence.plus(length));
                Arrival::Duplicate
            }
            1.. => self.beyond_hole(segment, now),
        }
    }

    /// Takes the length of a segment into the mean.
    fn learn_length(&mut self, segment: &Segment) {
        let cut = segment.sequence.plus(segment.len()) == self.edge
            && self.edge.beyond(self.acknowledged) < self.full;
        // Cut short by a window that has no room for a full one: that says nothing of the peer.
        let sample = if cut { self.full } else { segment.len() };
        let mean = (self.payload_mean * 7 + sample).div_ceil(8);
        self.payload_mean = mean.clamp(self.shortest_mean(), self.full);
    }

    fn beyond_hole(&mut self, segment: &Segment, now: Duration) -> Arrival {
        if segment.sequence.after(self.edge) > 0 {
            return Arrival::Nothing;
        }
        let hole = self.hole.get_or_insert(Hole {
            segments: 0,
            since: now,
            // One loss makes many holes while the peer resends.
            counted: self.received.after(self.recovery) < 0,
        });
        hole.segments = hole.segments.saturating_add(1);
        let lost = hole.segments >= REORDERING || now >= hole.since + REORDERING_TIME;
        if hole.counted || !lost {
            return Arrival::Nothing;
        }
        hole.counted = true;
        self.recovery = self.edge;
        Arrival::Loss
    }

    /// Takes note of a segment that smoltcp sends; true if it was sent before.
    pub(super) fn note_outgoing(&mut self, frame: &[u8], segment: &Segment, now: Duration) -> bool {
        let acknowledgement = segment.acknowledgement;
        if acknowledgement != self.confirmed {
            self.hole = None;
        }
        // A hole was filled.
        let jumped = acknowledgement.beyond(self.received);
        self.expected = self.expected.map(|bytes| bytes.saturating_sub(jumped));
        self.confirmed = acknowledgement;
        self.received = acknowledgement;
        let buffer = usize::from(segment.window) << self.shift;
        self.buffer_end = acknowledgement.plus(buffer);
        let resent = segment.span() > 0 && segment.sequence.after(self.next) < 0;
        self.next = self
            .next
            .later(segment.sequence.plus(segment.span() as usize));
        if segment.len() > 0 {
            self.last_data = Some(now);
        }
        self.save_headers(frame);
        resent
    }

    /// The right edge to announce where `room` bytes may be outstanding: never before the last
    /// one, and beyond it only by a segment or half of the room (RFC 9293 section 3.8.6.2.2); by
    /// half of the room where the owner reads more slowly than the peer sends, or each piece that
    /// it reads would be announced.
    pub(super) fn edge_for(&mut self, room: usize) -> Seq {
        self.share = self.scaled(room);
        let target = self.confirmed.plus(self.share);
        let target = if target.after(self.buffer_end) > 0 {
            self.buffer_end
        } else {
            target
        };
        let least = if self.is_full() {
            room / 2
        } else {
            self.payload_mean.min(room / 2)
        };
        if target.after(self.edge) >= least.max(1) as i32 {
            target
        } else {
            self.edge
        }
    }

    /// Whether an acknowledgement with this edge may wait: the peer has more than half of its
    /// window left, there is no more for it, or it has nothing to send; nothing is missing, and the peer
    /// has not finished.
    pub(super) fn can_hold(&self, edge: Seq) -> bool {
        let came = self.confirmed.beyond(self.acknowledged);
        let progress = came.max(edge.beyond(self.edge));
        let may_wait = if self.is_full() {
            edge == self.edge
        } else {
            self.owes_little() || progress * 2 < self.edge.beyond(self.acknowledged)
        };
        self.phase == Phase::Open && self.hole.is_none() && may_wait
    }

    /// The window field that announces `edge`; from now on the peer knows.
    pub(super) fn announce(&mut self, edge: Seq) -> u16 {
        let window = edge.beyond(self.confirmed);
        // Rounded up where rounding down would take back what was promised.
        let unit = 1usize << self.shift;
        let field = (window.div_ceil(unit)).min(usize::from(u16::MAX));
        self.acknowledged = self.confirmed;
        self.edge = self.edge.later(self.confirmed.plus(field << self.shift));
        self.held = false;
        field as u16
    }

    /// Keeps the headers of a segment that we send.
    fn save_headers(&mut self, frame: &[u8]) {
        for (to, from) in self.headers.iter_mut().zip(frame) {
            *to = *from;
        }
    }

    /// Writes an acknowledgement of all that smoltcp has confirmed, with this right edge.
    pub(super) fn write_acknowledgement(&mut self, frame: &mut [u8], edge: Seq) -> Option<usize> {
        let is_ipv6 = frame::field16(&self.headers, 12) == Some(ETHERTYPE_IPV6);
        let ip = if is_ipv6 { IPV6 } else { IPV4 };
        let length = ETHERNET + ip + TCP;
        let out = frame.get_mut(..length)?;
        out.copy_from_slice(self.headers.get(..length)?);
        let window = self.announce(edge);
        frame::put_packet_length(out, ip + TCP);
        // TCP (RFC 9293 section 3.1).
        let tcp = ETHERNET + ip;
        frame::put(out, tcp + 4, &self.next.0.to_be_bytes());
        frame::put(out, tcp + 8, &self.confirmed.0.to_be_bytes());
        frame::put(out, tcp + 12, &[(TCP as u8 / 4) << 4, ACK]);
        frame::put(out, tcp + 14, &window.to_be_bytes());
        frame::put(out, tcp + 18, &[0, 0]);
        Ip::parse(out)?.fill_tcp_checksum(out);
        Some(length)
    }
}
