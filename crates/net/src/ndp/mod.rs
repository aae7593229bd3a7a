//! Routers by neighbour discovery (RFC 4861): asking for them, and what they say.
//!
//! smoltcp finds neighbours; router advertisements are taken out below it, because what they say
//! (which addresses to make, whether to ask DHCPv6, name servers) is for the owner of the
//! interface to follow.

#[cfg(test)]
pub(crate) mod tests;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};

use crate::Stack;
use crate::checksum;
use crate::frame::{
    self, ETHERNET, ETHERTYPE_IPV6, IPV6, Ip, PROTOCOL_ICMPV6, address6, field16, field32,
};

/// RFC 4861 section 4.
const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// All nodes and all routers on the link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// The hop limit that shows that a message comes from this link (RFC 4861 section 6.1).
const HOP_LIMIT: u8 = 255;

/// What a router says (RFC 4861 section 4.2, RFC 8106).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The router's link-local address.
    pub router: Ipv6Addr,
    /// It is a default router: its lifetime is not zero.
    pub is_default: bool,
    /// Addresses are had from DHCPv6 (M).
    pub managed: bool,
    /// Other things are had from DHCPv6 (O).
    pub other: bool,
    /// Prefixes of 64 bits to make addresses of, and those that are no more than on the link.
    pub prefixes: Vec<Prefix>,
    /// Recursive name servers.
    pub dns: Vec<Ipv6Addr>,
    /// Domains to look names up in, in the format of RFC 1035 section 3.1.
    pub search: Vec<u8>,
}

/// A prefix information option (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The prefix; the bits behind it are zero.
    pub prefix: Ipv6Addr,
    /// Its length in bits.
    pub length: u8,
    /// Hosts make addresses of it (A), and it has not expired.
    pub autonomous: bool,
    /// Its addresses are on this link (L).
    pub on_link: bool,
}

/// The router advertisements of one stack. While it is open, they are kept for it.
pub struct AdvertisementPort(Stack);

impl AdvertisementPort {
    /// Opens the port. One at a time: a second one shares its messages with the first.
    #[must_use]
    pub fn open(stack: &Stack) -> Self {
        stack.with(|inner| {
            inner
                .device
                .routers
                .get_or_insert_with(VecDeque::new)
                .clear()
        });
        Self(stack.clone())
    }

    /// Asks the routers on the link to advertise themselves now (RFC 4861 section 6.3.7).
    pub fn solicit(&self) {
        let mac = self.0.mac();
        let solicitation = Outgoing {
            kind: ROUTER_SOLICITATION,
            words: [0; 4],
            target: None,
            option: Some(SOURCE_STATION),
            ends: (self.0.link_local(), ALL_ROUTERS),
            station: group_station(ALL_ROUTERS),
        };
        let write = |frame: &mut [u8]| solicitation.write(frame, mac);
        self.0.with(|inner| inner.device.send(write));
    }

    /// The stack that the port is on.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.0
    }

    /// The next advertisement, if there is one.
    #[must_use]
    pub fn try_receive(&self) -> Option<Advertisement> {
        self.0
            .with(|inner| inner.device.routers.as_mut()?.pop_front())
    }
}

impl fmt::Debug for AdvertisementPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdvertisementPort").finish_non_exhaustive()
    }
}

impl Drop for AdvertisementPort {
    fn drop(&mut self) {
        self.0.with(|inner| inner.device.routers = None);
    }
}

/// The ICMPv6 message of a type in a frame, if its hop limit shows that it comes from this link.
fn message(frame: &[u8], ip: Ip, kind: u8) -> Option<&[u8]> {
    let message = frame.get(ip.start..ip.end)?;
    let is_near = ip.protocol == PROTOCOL_ICMPV6 && frame.get(ETHERNET + 7) == Some(&HOP_LIMIT);
    (is_near && message.get(..2) == Some(&[kind, 0])).then_some(message)
}

/// The neighbour that a frame asks for (section 4.3).
pub(crate) fn solicited_neighbor(frame: &[u8], ip: Ip) -> Option<Ipv6Addr> {
    address6(message(frame, ip, NEIGHBOR_SOLICITATION)?, 8)
}

/// The neighbour that a frame tells of (section 4.4).
pub(crate) fn advertised_neighbor(frame: &[u8], ip: Ip) -> Option<Ipv6Addr> {
    address6(message(frame, ip, NEIGHBOR_ADVERTISEMENT)?, 8)
}

/// Reads a router advertisement whose checksum holds (RFC 4861 section 6.1.2).
pub(crate) fn parse(frame: &[u8], ip: Ip) -> Option<Advertisement> {
    let message = message(frame, ip, ROUTER_ADVERTISEMENT)?;
    let IpAddr::V6(router) = ip.from else {
        return None;
    };
    if !router.is_unicast_link_local() {
        return None;
    }
    let flags = *message.get(5)?;
    let mut advertisement = Advertisement {
        router,
        is_default: field16(message, 6)? != 0,
        managed: flags & 0x80 != 0,
        other: flags & 0x40 != 0,
        prefixes: Vec::new(),
        dns: Vec::new(),
        search: Vec::new(),
    };
    let mut options = message.get(16..)?;
    while let [kind, length, ..] = options {
        // Units of eight bytes; none is an error (section 4.6).
        let length = usize::from(*length) * 8;
        let option = options.get(..length).filter(|option| !option.is_empty())?;
        advertisement.take(*kind, option);
        options = options.get(length..)?;
    }
    Some(advertisement)
}

impl Advertisement {
    /// Takes an option in; what cannot be read is left out.
    fn take(&mut self, kind: u8, option: &[u8]) {
        match kind {
            3 => self.prefixes.extend(read_prefix(option)),
            // RFC 8106 section 5.1: pairs of eight bytes behind a header of eight.
            25 if field32(option, 4).is_some_and(|lifetime| lifetime > 0) => {
                let addresses = (8..option.len()).step_by(16);
                self.dns
                    .extend(addresses.map_while(|at| address6(option, at)));
            }
            // Section 5.2: names in the format of RFC 1035, padded with zeros.
            31 if field32(option, 4).is_some_and(|lifetime| lifetime > 0) => {
                self.search = without_padding(option.get(8..).unwrap_or_default());
            }
            _ => {}
        }
    }
}

impl Prefix {
    /// Whether an address begins so.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        address.to_bits() & mask(self.length) == self.prefix.to_bits()
    }
}

/// The first `length` bits.
fn mask(length: u8) -> u128 {
    let rest = 128_u32.saturating_sub(length.into());
    u128::MAX.checked_shl(rest).unwrap_or(0)
}

fn read_prefix(option: &[u8]) -> Option<Prefix> {
    let length = *option.get(2)?;
    let flags = *option.get(3)?;
    let prefix = address6(option, 16)?;
    if length > 128 || prefix.is_unicast_link_local() || prefix.is_multicast() {
        return None;
    }
    Some(Prefix {
        prefix: Ipv6Addr::from_bits(prefix.to_bits() & mask(length)),
        length,
        // The interface identifier has 64 bits (RFC 4862 section 5.5.3 (d), RFC 2464 section 4).
        autonomous: flags & 0x40 != 0 && length == 64 && field32(option, 4)? != 0,
        on_link: flags & 0x80 != 0,
    })
}

/// Names in the format of RFC 1035 section 3.1 without the zeros behind them; none where they
/// cannot be read.
fn without_padding(wire: &[u8]) -> Vec<u8> {
    let mut at = 0;
    // A name begins here: only padding begins with a zero.
    while wire.get(at).is_some_and(|length| *length != 0) {
        while let Some(length) = wire.get(at) {
            at += 1 + usize::from(*length);
            if *length == 0 {
                break;
            }
        }
    }
    wire.get(..at).unwrap_or_default().to_vec()
}

/// Writes a neighbour solicitation (RFC 4861 section 4.3). One without an address to come from asks
/// whether anybody has the target (RFC 4862 section 5.4.2).
pub(crate) fn write_neighbor_solicitation(
    frame: &mut [u8],
    mac: [u8; 6],
    from: Ipv6Addr,
    target: Ipv6Addr,
) -> Option<usize> {
    // The solicited-node multicast address (RFC 4291 section 2.7.1).
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);
    let to = Ipv6Addr::from_bits(GROUP.to_bits() | (target.to_bits() & 0xff_ffff));
    let solicitation = Outgoing {
        kind: NEIGHBOR_SOLICITATION,
        words: [0; 4],
        target: Some(target),
        option: (!from.is_unspecified()).then_some(SOURCE_STATION),
        ends: (from, to),
        station: group_station(to),
    };
    solicitation.write(frame, mac)
}

/// Writes the answer to a solicitation for our address `target` (RFC 4861 section 4.4): to who asked
/// from an address, or to all, who are to believe it over others (O).
pub(crate) fn write_neighbor_advertisement(
    frame: &mut [u8],
    mac: [u8; 6],
    target: Ipv6Addr,
    asked_by: Option<(Ipv6Addr, [u8; 6])>,
) -> Option<usize> {
    const SOLICITED: u8 = 0x40;
    const OVERRIDE: u8 = 0x20;
    let to = asked_by.map_or(ALL_NODES, |(from, _)| from);
    let flags = asked_by.map_or(OVERRIDE, |_| SOLICITED);
    let advertisement = Outgoing {
        kind: NEIGHBOR_ADVERTISEMENT,
        words: [flags, 0, 0, 0],
        target: Some(target),
        option: Some(TARGET_STATION),
        ends: (target, to),
        station: asked_by.map_or_else(|| group_station(to), |(_, station)| station),
    };
    advertisement.write(frame, mac)
}

/// Options of one station address (RFC 4861 section 4.6.1).
const SOURCE_STATION: u8 = 1;
const TARGET_STATION: u8 = 2;

/// The station address of a group (RFC 2464 section 7).
fn group_station(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

/// A message of neighbour discovery.
struct Outgoing {
    kind: u8,
    /// What follows the checksum,
    words: [u8; 4],
    /// and that.
    target: Option<Ipv6Addr>,
    /// The option that our station address is put into.
    option: Option<u8>,
    /// From whom, and to whom.
    ends: (Ipv6Addr, Ipv6Addr),
    /// The station that it goes to.
    station: [u8; 6],
}

impl Outgoing {
    fn write(&self, frame: &mut [u8], mac: [u8; 6]) -> Option<usize> {
        let (from, to) = self.ends;
        let mut body = [self.kind, 0, 0, 0].to_vec();
        body.extend(self.words);
        body.extend(self.target.iter().flat_map(Ipv6Addr::octets));
        if let Some(option) = self.option {
            body.extend([option, 1]);
            body.extend(mac);
        }
        let end = ETHERNET + IPV6 + body.len();
        let out = frame.get_mut(..end)?;
        frame::put(out, 0, &self.station);
        frame::put(out, 6, &mac);
        frame::put(out, 12, &ETHERTYPE_IPV6.to_be_bytes());
        // RFC 8200 section 3.
        let length = body.len() as u8;
        let header = [0x60, 0, 0, 0, 0, length, PROTOCOL_ICMPV6, HOP_LIMIT];
        frame::put(out, ETHERNET, &header);
        frame::put(out, ETHERNET + 8, &from.octets());
        frame::put(out, ETHERNET + 24, &to.octets());
        frame::put(out, ETHERNET + IPV6, &body);
        fill_checksum(out, from.into(), to.into());
        Some(end)
    }
}

/// Puts the checksum into an ICMPv6 message that ends with the frame.
fn fill_checksum(frame: &mut [u8], from: IpAddr, to: IpAddr) {
    const MESSAGE: usize = ETHERNET + IPV6;
    frame::put(frame, MESSAGE + 2, &[0; 2]);
    let Some(message) = frame.get(MESSAGE..) else {
        return;
    };
    let length = message.len() as u16;
    let pseudo = checksum::pseudo_header(from, to, PROTOCOL_ICMPV6, length);
    let sum = !checksum::add(&[pseudo, checksum::sum(message)]);
    frame::put(frame, MESSAGE + 2, &sum.to_ne_bytes());
}
