//! The layer between smoltcp and the card: a `phy::Device` over a [`Card`].
//!
//! Incoming: frames for others, fragments and broken ones end here; DHCP goes to its port
//! whatever its IP destination (RFC 2131 section 4.1: a client without an address must take
//! unicasts to the address it is offered); TCP checksums are verified here. Outgoing: the
//! receive budget has its say, TCP checksums are computed, short frames are padded. One buffer
//! each way: nothing is allocated for a frame, except for DHCP. Segments that go on from one another
//! reach smoltcp as one ([`Merged`]).

mod transmit;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;
use core::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::{Checksum, ChecksumCapabilities, DeviceCapabilities, Medium, RxToken};
use smoltcp::time::Instant;

use crate::FRAME_MAX;
use crate::arp;
use crate::bootp::{self, Received};
use crate::budget::FlowKey;
use crate::card::{Arrival, Card, TAG, VlanTag};
use crate::conflict::{Claim, Trials};
use crate::frame::{
    self, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4, Ip, PROTOCOL_ICMPV6,
    PROTOCOL_TCP, PROTOCOL_UDP, Segment, TCP,
};
use crate::merge::{MERGED_MAX, Merged};
use crate::ndp::{self, Advertisement};
use crate::neighbors::{Neighbor, Neighbors};
use crate::statistics::Statistics;

use self::transmit::Transmit;

/// Frames that one poll takes, so that timers run however fast frames come.
const BATCH: usize = 64;
/// DHCP messages kept for their reader.
const BOOTP_QUEUE: usize = 16;
/// IP MTU of Ethernet (RFC 894).
pub(crate) const MTU: u16 = 1500;

/// One network of a card with the layer on it.
pub(crate) struct Device {
    card: Rc<RefCell<Card>>,
    tag: Option<VlanTag>,
    mac: [u8; 6],
    mtu: u16,
    received: Box<[u8]>,
    /// A frame that came after those that were merged, and does not go on from them.
    next: Option<Taken>,
    kept: Box<[u8; FRAME_MAX]>,
    sending: Box<[u8; FRAME_MAX]>,
    /// Frames that this poll may still take.
    left: usize,
    now: Duration,
    /// Frames for other stacks were taken from the card since the poll began.
    delivered: bool,
    pub(crate) statistics: Statistics,
    /// DHCP messages for each open port, which its socket names.
    pub(crate) bootp: Vec<(SocketHandle, VecDeque<Received>)>,
    /// Router advertisements, while a port is open.
    pub(crate) routers: Option<VecDeque<Advertisement>>,
    /// The neighbour that was asked for by ARP or NDP last and has not answered.
    unanswered: Option<IpAddr>,
    pub(crate) neighbors: Neighbors,
    /// Addresses that may turn out to be others'.
    pub(crate) trials: Trials,
}

/// A frame that is for smoltcp.
#[derive(Clone, Copy)]
struct Taken {
    length: usize,
    /// The TCP segment in it.
    segment: Option<Segment>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("mac", &self.mac)
            .field("tag", &self.tag)
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

impl Device {
    /// The device of a stack that has joined `card`.
    pub(crate) fn new(card: Rc<RefCell<Card>>, tag: Option<VlanTag>, mac: [u8; 6]) -> Self {
        Self {
            card,
            tag,
            mac,
            mtu: MTU,
            received: vec![0; MERGED_MAX].into_boxed_slice(),
            next: None,
            kept: Box::new([0; FRAME_MAX]),
            sending: Box::new([0; FRAME_MAX]),
            left: 0,
            now: Duration::ZERO,
            delivered: false,
            statistics: Statistics::default(),
            bootp: Vec::new(),
            routers: None,
            unanswered: None,
            neighbors: Neighbors::default(),
            trials: Trials::default(),
        }
    }

    /// The time of the present poll.
    #[cfg(test)]
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn tag(&self) -> Option<VlanTag> {
        self.tag
    }

    /// Sends with another tag for the same VLAN from now on.
    pub(crate) fn set_tag(&mut self, tag: VlanTag) {
        if self.vlan() == Some(tag.id()) {
            self.tag = Some(tag);
        }
    }

    /// The VLAN's number, where the frames are tagged.
    pub(crate) fn vlan(&self) -> Option<u16> {
        self.tag.map(VlanTag::id)
    }

    /// Sets the IP MTU. A VLAN's packets are never longer than leaves room for the tag: cards
    /// exist that carry 1514 bytes and no more.
    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        let most = if self.tag.is_some() {
            MTU - TAG as u16
        } else {
            MTU
        };
        self.mtu = mtu.min(most);
    }

    /// Payload of a full TCP segment.
    pub(crate) fn segment(&self) -> usize {
        usize::from(self.mtu).saturating_sub(IPV4 + TCP)
    }

    /// Whether a poll took frames that other stacks now have.
    pub(crate) fn has_delivered(&self) -> bool {
        self.delivered
    }

    /// Whether half a window has come in: time to let smoltcp acknowledge it.
    pub(crate) fn wants_acknowledgement(&self) -> bool {
        let vlan = self.vlan();
        self.card.borrow().budget.wants_acknowledgement(vlan)
    }

    pub(crate) fn unanswered(&self) -> Option<IpAddr> {
        self.unanswered
    }

    /// The connection's socket is gone.
    pub(crate) fn close_flow(&self, key: FlowKey, now: Duration) {
        self.card.borrow_mut().budget.close(key, now);
    }

    /// The most that the peers of all connections may have in flight, in bytes.
    pub(crate) fn window_max(&self) -> usize {
        self.card.borrow_mut().frames_max() * self.segment()
    }

    /// A new poll begins.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.now = now;
        self.left = BATCH;
        self.delivered = false;
    }

    /// Sends the acknowledgements that are due; `everything` includes those that could wait.
    pub(crate) fn send_due(&mut self, now: Duration, everything: bool) -> bool {
        let mut sent = false;
        while let Some(length) = self.write_due(now, everything) {
            self.transmitter().transmit(length);
            sent = true;
        }
        sent
    }

    fn write_due(&mut self, now: Duration, everything: bool) -> Option<usize> {
        let vlan = self.vlan();
        let mut card = self.card.borrow_mut();
        let frame = self.sending.as_mut_slice();
        card.budget.due(vlan, frame, now, everything)
    }

    /// Sends a frame made elsewhere.
    pub(crate) fn send(&mut self, make: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let Some(length) = make(self.sending.as_mut_slice()) else {
            return false;
        };
        self.transmitter().transmit(length);
        true
    }

    /// The right to send one frame of our own accord.
    fn transmitter(&mut self) -> Transmit<'_> {
        Transmit {
            card: &self.card,
            tag: self.tag,
            buffer: &mut self.sending,
            statistics: &mut self.statistics,
            unanswered: &mut self.unanswered,
            reply: false,
            now: self.now,
        }
    }

    /// Takes frames until one is for smoltcp, and with it those that go on from it; the length of all
    /// at the start of the buffer.
    fn next_frame(&mut self) -> Option<usize> {
        let first = match self.next.take() {
            Some(next) => {
                frame::put(&mut self.received, 0, self.kept.get(..next.length)?);
                next
            }
            None => self.take_frame(0)?,
        };
        let Some(segment) = first.segment else {
            return Some(first.length);
        };
        self.note_incoming(0, &segment);
        let Some(mut merged) = Merged::new(segment) else {
            return Some(first.length);
        };
        // Half a window is time for an acknowledgement.
        while !self.wants_acknowledgement()
            && let Some(place) = merged.place(&self.received)
        {
            let taken = self.take_frame(place);
            let segment = taken.and_then(|taken| taken.segment);
            let segment = segment.filter(|segment| merged.take(*segment));
            if let Some(segment) = &segment {
                self.note_incoming(place, segment);
            } else if let Some(taken) = taken {
                let frame = self.received.get(place..place + taken.length);
                frame::put(self.kept.as_mut_slice(), 0, frame?);
                self.next = Some(taken);
            }
            merged.uncover(&mut self.received, place);
            if segment.is_none() {
                break;
            }
        }
        Some(merged.finish(&mut self.received))
    }

    /// Tells the budget about the segment in the frame at `place`, which smoltcp will see before it sends
    /// anything.
    fn note_incoming(&self, place: usize, segment: &Segment) {
        let vlan = self.vlan();
        let frame = self.received.get(place..).unwrap_or_default();
        let budget = &mut self.card.borrow_mut().budget;
        budget.incoming(vlan, frame, segment, self.now);
    }

    /// Takes frames until one is for smoltcp; it is at `place` in the buffer then.
    fn take_frame(&mut self, place: usize) -> Option<Taken> {
        loop {
            self.left = self.left.checked_sub(1)?;
            let vlan = self.vlan();
            let buffer = self.received.get_mut(place..)?.first_chunk_mut()?;
            let arrival = self.card.borrow_mut().receive(vlan, buffer);
            let length = match arrival {
                Ok(Some(Arrival::Ours(length))) => length,
                Ok(Some(Arrival::Theirs)) => {
                    self.delivered = true;
                    continue;
                }
                Ok(Some(Arrival::Nobodys)) => {
                    self.statistics.received += 1;
                    self.statistics.strangers += 1;
                    continue;
                }
                Ok(None) => {
                    self.left = 0;
                    return None;
                }
                Err(error) => {
                    self.left = 0;
                    self.statistics.receive_errors += 1;
                    self.statistics.last_error = Some(error);
                    return None;
                }
            };
            self.statistics.received += 1;
            if let Some(taken) = self.admit(place, length) {
                return Some(taken);
            }
        }
    }

    /// Looks at the frame that was received at `place`; `None` where smoltcp is not to see it.
    fn admit(&mut self, place: usize, length: usize) -> Option<Taken> {
        let frame = self.received.get(place..place + length)?;
        let mut taken = Taken {
            length,
            segment: None,
        };
        let multicast = frame.first().is_some_and(|first| first & 1 != 0);
        if !multicast && frame.get(..6) != Some(&self.mac) {
            self.statistics.strangers += 1;
            return None;
        }
        match frame::field16(frame, 12) {
            Some(ETHERTYPE_ARP) => {
                // An ARP reply (RFC 826), or a request by the one we asked for: it is there.
                let station = frame.get(22..).and_then(|at| at.first_chunk().copied());
                let claim = arp::claim(frame);
                self.heard_of(frame::address(frame, 28).map(IpAddr::V4), station);
                // Who would like to have the address asks everybody (RFC 5227 section 2.1.1);
                // switches that keep track of us ask us alone, and want nothing.
                let is_tracking = claim.is_some_and(|claim| match claim {
                    Claim::Probes(address) => self.trials.is_on_trial(address, self.now),
                    Claim::Owns(_) => false,
                });
                if multicast || !is_tracking {
                    self.hear(claim, station);
                }
                return Some(taken);
            }
            Some(ETHERTYPE_IPV4 | ETHERTYPE_IPV6) => {}
            _ => {
                self.statistics.strangers += 1;
                return None;
            }
        }
        let Some(ip) = Ip::parse(frame).filter(|ip| !ip.fragment) else {
            self.statistics.bad += 1;
            return None;
        };
        if let Some(packets) = self.statistics.packets(frame) {
            packets.received += 1;
        }
        match ip.protocol {
            PROTOCOL_UDP if frame::field16(frame, ip.start + 2) == Some(bootp::CLIENT_PORT) => {
                self.divert(place..place + length, ip);
                return None;
            }
            PROTOCOL_ICMPV6 if !ip.payload_checksum_holds(frame) => {
                self.statistics.bad += 1;
                return None;
            }
            PROTOCOL_ICMPV6 => {
                return self.discover(place..place + length, ip).then_some(taken);
            }
            // Nobody whom we could answer.
            _ if ip.from.is_unspecified() || ip.from.is_multicast() || is_broadcast(ip.from) => {
                self.statistics.bad += 1;
                return None;
            }
            PROTOCOL_TCP if ip.payload_checksum_holds(frame) => {
                taken.segment = Segment::parse(frame, ip);
            }
            PROTOCOL_TCP => {
                self.statistics.bad += 1;
                return None;
            }
            _ => {}
        }
        Some(taken)
    }

    /// A neighbour is there; perhaps the one that was asked for last has answered.
    #[cold]
    fn heard_of(&mut self, neighbor: Option<IpAddr>, station: Option<[u8; 6]>) {
        if neighbor.is_some() && neighbor == self.unanswered {
            self.unanswered = None;
        }
        if let (Some(address), Some(mac)) = (neighbor, station) {
            let heard = self.now;
            let neighbor = Neighbor {
                address,
                mac,
                heard,
            };
            self.neighbors.note(neighbor);
        }
    }

    /// Somebody says something of an address that may be ours; our own words come back at times.
    fn hear(&mut self, claim: Option<Claim>, station: Option<[u8; 6]>) {
        let (Some(claim), Some(station)) = (claim, station) else {
            return;
        };
        if station == self.mac || !self.trials.hear(claim, station, self.now) {
            return;
        }
        let mac = self.mac;
        let (Claim::Owns(address) | Claim::Probes(address)) = claim;
        self.send(|frame| match address {
            IpAddr::V4(own) => arp::write_defence(frame, mac, own, station),
            IpAddr::V6(own) => ndp::write_neighbor_advertisement(frame, mac, own, None),
        });
    }

    /// Neighbour discovery that smoltcp does not do for us: who has answered, routers, who else
    /// claims our addresses, and who asks us alone. Whether smoltcp is to see the frame.
    #[cold]
    fn discover(&mut self, place: Range<usize>, ip: Ip) -> bool {
        let Some(frame) = self.received.get(place) else {
            return false;
        };
        let station = frame.get(6..).and_then(|at| at.first_chunk().copied());
        if let Some(target) = ndp::advertised_neighbor(frame, ip) {
            self.heard_of(Some(target.into()), station);
            self.hear(Some(Claim::Owns(target.into())), station);
        } else if let Some(target) = ndp::solicited_neighbor(frame, ip) {
            if ip.from.is_unspecified() {
                self.hear(Some(Claim::Probes(target.into())), station);
                return false;
            }
            if let (IpAddr::V6(from), Some(station)) = (ip.from, station)
                && !ip.to.is_multicast()
                && self.trials.is_held(target.into())
            {
                // Whether we are still there (RFC 4861 section 7.3.1).
                let mac = self.mac;
                let asked_by = Some((from, station));
                self.send(|frame| ndp::write_neighbor_advertisement(frame, mac, target, asked_by));
            }
        } else if let Some(queue) = &mut self.routers
            && let Some(advertisement) = ndp::parse(frame, ip)
            && queue.len() < BOOTP_QUEUE
        {
            queue.push_back(advertisement);
        }
        true
    }

    /// Hands a DHCP message to every open port: only its reader can tell whose it is.
    #[cold]
    fn divert(&mut self, place: Range<usize>, ip: Ip) {
        let Some(frame) = self.received.get(place) else {
            return;
        };
        for (_, queue) in &mut self.bootp {
            match bootp::parse(frame, ip) {
                Some(message) if queue.len() < BOOTP_QUEUE => queue.push_back(message),
                _ => self.statistics.bad += 1,
            }
        }
    }
}

impl smoltcp::phy::Device for Device {
    type RxToken<'a> = Receive<'a>;
    type TxToken<'a> = Transmit<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Receive<'_>, Transmit<'_>)> {
        let length = self.next_frame()?;
        let frame = self.received.get(..length)?;
        let answer = Transmit {
            card: &self.card,
            tag: self.tag,
            buffer: &mut self.sending,
            statistics: &mut self.statistics,
            unanswered: &mut self.unanswered,
            reply: true,
            now: self.now,
        };
        Some((Receive { frame }, answer))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        Some(self.transmitter())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        checksum.tcp = Checksum::None;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = ETHERNET + usize::from(self.mtu);
        capabilities.checksum = checksum;
        capabilities
    }
}

/// The address that stands for everybody on the link (RFC 919 section 7).
fn is_broadcast(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct Receive<'a> {
    frame: &'a [u8],
}

impl RxToken for Receive<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.frame)
    }
}
