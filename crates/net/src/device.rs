//! The layer between smoltcp and the card: a `phy::Device` over a [`Nic`].
//!
//! Incoming: frames for others, fragments and broken ones end here; DHCP goes to its port
//! whatever its IP destination (RFC 2131 section 4.1: a client without an address must take
//! unicasts to the address it is offered); TCP checksums are verified here. Outgoing: the
//! receive budget has its say, TCP checksums are computed, short frames are padded. One buffer
//! each way: nothing is allocated for a frame, except for DHCP.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::phy::{Checksum, ChecksumCapabilities, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::bootp::{self, Received};
use crate::budget::{Budget, Verdict};
use crate::frame::{
    self, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, IPV4, Ip, PROTOCOL_TCP, PROTOCOL_UDP, SHORTEST,
    Segment, TCP,
};
use crate::stack::Statistics;
use crate::{FRAME_MAX, Nic, NicError};

/// Frames that one poll takes, so that timers run however fast frames come.
const BATCH: usize = 64;
/// DHCP messages kept for their reader.
const BOOTP_QUEUE: usize = 16;
/// IP MTU of Ethernet (RFC 894).
pub(crate) const MTU: u16 = 1500;

/// The card with the layer on it.
pub(crate) struct Device {
    nic: Box<dyn Nic>,
    mac: [u8; 6],
    mtu: u16,
    received: Box<[u8; FRAME_MAX]>,
    sending: Box<[u8; FRAME_MAX]>,
    /// Frames that this poll may still take.
    left: usize,
    now: Duration,
    pub(crate) budget: Budget,
    pub(crate) statistics: Statistics,
    /// DHCP messages, while a port is open.
    pub(crate) bootp: Option<VecDeque<Received>>,
    /// The neighbour that was asked for by ARP last and has not answered.
    unanswered: Option<Ipv4Addr>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("mac", &self.mac)
            .field("mtu", &self.mtu)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl Device {
    pub(crate) fn new(nic: Box<dyn Nic>, mac: [u8; 6]) -> Self {
        let ring = nic.receive_ring();
        Self {
            nic,
            mac,
            mtu: MTU,
            received: Box::new([0; FRAME_MAX]),
            sending: Box::new([0; FRAME_MAX]),
            left: 0,
            now: Duration::ZERO,
            budget: Budget::new(ring, segment_for(MTU)),
            statistics: Statistics::default(),
            bootp: None,
            unanswered: None,
        }
    }

    pub(crate) fn nic(&self) -> &dyn Nic {
        self.nic.as_ref()
    }

    pub(crate) fn nic_mut(&mut self) -> &mut dyn Nic {
        self.nic.as_mut()
    }

    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu;
        self.budget.set_segment(segment_for(mtu));
    }

    /// Payload of a full TCP segment.
    pub(crate) fn segment(&self) -> usize {
        segment_for(self.mtu)
    }

    pub(crate) fn unanswered(&self) -> Option<Ipv4Addr> {
        self.unanswered
    }

    /// A new poll begins.
    pub(crate) fn begin(&mut self, now: Duration) {
        self.now = now;
        self.left = BATCH;
    }

    /// Sends the acknowledgements that are due; `everything` includes those that could wait.
    pub(crate) fn send_due(&mut self, now: Duration, everything: bool) -> bool {
        let mut sent = false;
        while let Some(length) = self
            .budget
            .due(self.sending.as_mut_slice(), now, everything)
        {
            let (nic, statistics) = (self.nic.as_mut(), &mut self.statistics);
            transmit(nic, self.sending.as_mut_slice(), length, statistics);
            sent = true;
        }
        sent
    }

    /// Sends a frame made elsewhere.
    pub(crate) fn send(&mut self, make: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let Some(length) = make(self.sending.as_mut_slice()) else {
            return false;
        };
        let (nic, statistics) = (self.nic.as_mut(), &mut self.statistics);
        transmit(nic, self.sending.as_mut_slice(), length, statistics);
        true
    }

    /// Takes frames from the card until one is for smoltcp; its length.
    fn next_frame(&mut self) -> Option<usize> {
        loop {
            self.left = self.left.checked_sub(1)?;
            let length = match self.nic.receive(self.received.as_mut_slice()) {
                Ok(Some(length)) => length.min(FRAME_MAX),
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
            if self.admit(length) {
                return Some(length);
            }
        }
    }

    /// Whether smoltcp is to see the received frame.
    fn admit(&mut self, length: usize) -> bool {
        let Some(frame) = self.received.get(..length) else {
            return false;
        };
        let multicast = frame.first().is_some_and(|first| first & 1 != 0);
        if !multicast && frame.get(..6) != Some(&self.mac) {
            self.statistics.strangers += 1;
            return false;
        }
        match frame::field16(frame, 12) {
            Some(ETHERTYPE_ARP) => {
                // An ARP reply (RFC 826), or a request by the one we asked for: it is there.
                if self.unanswered.is_some() && frame::address(frame, 28) == self.unanswered {
                    self.unanswered = None;
                }
                return true;
            }
            Some(ETHERTYPE_IPV4) => {}
            _ => {
                self.statistics.strangers += 1;
                return false;
            }
        }
        let Some(ip) = Ip::parse(frame).filter(|ip| !ip.fragment) else {
            self.statistics.bad += 1;
            return false;
        };
        match ip.protocol {
            PROTOCOL_UDP if frame::field16(frame, ip.start + 2) == Some(bootp::CLIENT_PORT) => {
                self.divert(length, ip);
                return false;
            }
            // Nobody whom we could answer.
            _ if ip.from.is_unspecified() || ip.from.is_multicast() || ip.from.is_broadcast() => {
                self.statistics.bad += 1;
                return false;
            }
            PROTOCOL_TCP if ip.payload_checksum_holds(frame) => {
                if let Some(segment) = Segment::parse(frame, ip) {
                    self.budget.incoming(frame, &segment, self.now);
                }
            }
            PROTOCOL_TCP => {
                self.statistics.bad += 1;
                return false;
            }
            _ => {}
        }
        true
    }

    /// Hands a DHCP message to its port.
    fn divert(&mut self, length: usize, ip: Ip) {
        let (Some(queue), Some(frame)) = (&mut self.bootp, self.received.get(..length)) else {
            return;
        };
        match bootp::parse(frame, ip) {
            Some(message) if queue.len() < BOOTP_QUEUE => queue.push_back(message),
            _ => self.statistics.bad += 1,
        }
    }
}

fn segment_for(mtu: u16) -> usize {
    usize::from(mtu).saturating_sub(IPV4 + TCP)
}

/// Pads the frame to the Ethernet minimum and gives it to the card.
fn transmit(nic: &mut dyn Nic, buffer: &mut [u8], length: usize, statistics: &mut Statistics) {
    if let Some(padding) = buffer.get_mut(length..SHORTEST) {
        padding.fill(0);
    }
    let result = match buffer.get(..length.max(SHORTEST)) {
        Some(frame) => nic.transmit(frame),
        None => Err(NicError { status: 0 }),
    };
    match result {
        Ok(()) => statistics.sent += 1,
        Err(error) => {
            statistics.transmit_errors += 1;
            statistics.last_error = Some(error);
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
            nic: self.nic.as_mut(),
            buffer: self.sending.as_mut_slice(),
            budget: &mut self.budget,
            statistics: &mut self.statistics,
            unanswered: &mut self.unanswered,
            reply: true,
            now: self.now,
        };
        Some((Receive { frame }, answer))
    }

    fn transmit(&mut self, _: Instant) -> Option<Transmit<'_>> {
        Some(Transmit {
            nic: self.nic.as_mut(),
            buffer: self.sending.as_mut_slice(),
            budget: &mut self.budget,
            statistics: &mut self.statistics,
            unanswered: &mut self.unanswered,
            reply: false,
            now: self.now,
        })
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

/// The right to send one frame.
pub(crate) struct Transmit<'a> {
    nic: &'a mut dyn Nic,
    buffer: &'a mut [u8],
    budget: &'a mut Budget,
    statistics: &'a mut Statistics,
    unanswered: &'a mut Option<Ipv4Addr>,
    /// In answer to the frame that came last.
    reply: bool,
    now: Duration,
}

impl TxToken for Transmit<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let Some(frame) = self.buffer.get_mut(..length) else {
            // smoltcp keeps to the MTU, so this is never seen; a frame that is too long is lost.
            self.statistics.transmit_errors += 1;
            return write(&mut Vec::from_iter(core::iter::repeat_n(0, length)));
        };
        let result = write(frame);
        match frame::field16(frame, 12) {
            Some(ETHERTYPE_ARP) if frame::field16(frame, 20) == Some(1) => {
                *self.unanswered = frame::address(frame, 38);
            }
            Some(ETHERTYPE_IPV4) => {
                if let Some(ip) = Ip::parse(frame).filter(|ip| ip.protocol == PROTOCOL_TCP) {
                    if let Some(mut segment) = Segment::parse(frame, ip) {
                        let verdict =
                            self.budget
                                .outgoing(frame, &mut segment, self.reply, self.now);
                        if verdict == Verdict::Hold {
                            self.statistics.held += 1;
                            return result;
                        }
                    }
                    ip.fill_tcp_checksum(frame);
                }
            }
            _ => {}
        }
        transmit(self.nic, self.buffer, length, self.statistics);
        result
    }
}
