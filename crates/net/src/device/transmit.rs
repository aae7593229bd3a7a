//! A frame on its way out: the budget has its say, and the checksum of TCP is computed.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::IpAddr;
use core::time::Duration;

use smoltcp::phy::TxToken;

use crate::FRAME_MAX;
use crate::budget::Verdict;
use crate::card::{Card, VlanTag};
use crate::frame::{
    self, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ip, PROTOCOL_TCP, Segment,
};
use crate::ndp;
use crate::statistics::Statistics;

/// The right to send one frame.
pub(crate) struct Transmit<'a> {
    pub(super) card: &'a RefCell<Card>,
    pub(super) tag: Option<VlanTag>,
    pub(super) buffer: &'a mut [u8; FRAME_MAX],
    pub(super) statistics: &'a mut Statistics,
    pub(super) unanswered: &'a mut Option<IpAddr>,
    /// In answer to the frame that came last.
    pub(super) reply: bool,
    pub(super) now: Duration,
}

impl Transmit<'_> {
    /// Sends the first `length` bytes of the buffer.
    pub(super) fn transmit(self, length: usize) {
        let mut card = self.card.borrow_mut();
        match card.transmit(self.tag, self.buffer, length) {
            Ok(()) => {
                self.statistics.sent += 1;
                if let Some(packets) = self.statistics.packets(self.buffer) {
                    packets.sent += 1;
                }
            }
            Err(error) => {
                self.statistics.transmit_errors += 1;
                self.statistics.last_error = Some(error);
            }
        }
    }
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
                *self.unanswered = frame::address(frame, 38).map(IpAddr::V4);
            }
            Some(ETHERTYPE_IPV4 | ETHERTYPE_IPV6) => {
                let ip = Ip::parse(frame);
                if let Some(target) = ip.and_then(|ip| ndp::solicited_neighbor(frame, ip)) {
                    *self.unanswered = Some(target.into());
                }
                if let Some(ip) = ip.filter(|ip| ip.protocol == PROTOCOL_TCP) {
                    if let Some(mut segment) = Segment::parse(frame, ip) {
                        let vlan = self.tag.map(VlanTag::id);
                        let (reply, now) = (self.reply, self.now);
                        let budget = &mut self.card.borrow_mut().budget;
                        let verdict = budget.outgoing(vlan, frame, &mut segment, reply, now);
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
        self.transmit(length);
        result
    }
}
