//! Routers by neighbour discovery (RFC 4861): asking for them, and what they say.
//!
//! smoltcp finds neighbours; router advertisements are taken out below it, because what they say
//! (which addresses to make, whether to ask DHCPv6, name servers) is for the owner of the
//! interface to follow.

#[cfg(test)]
mod tests;

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
/// All routers on the link (RFC 4291 section 2.7.1).
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
        let (mac, from) = (self.0.mac(), self.0.link_local());
        let ends = (from, ALL_ROUTERS);
        // Four reserved bytes (section 4.1).
        let write =
            |frame: &mut [u8]| write_solicitation(frame, ROUTER_SOLICITATION, &[0; 4], mac, ends);
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

/// The neighbour that a frame of ours asks for.
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

/// Writes a neighbour solicitation (RFC 4861 section 4.3).
pub(crate) fn write_neighbor_solicitation(
    frame: &mut [u8],
    mac: [u8; 6],
    from: Ipv6Addr,
    target: Ipv6Addr,
) -> Option<usize> {
    // The solicited-node multicast address (RFC 4291 section 2.7.1).
    const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0);
    let to = Ipv6Addr::from_bits(GROUP.to_bits() | (target.to_bits() & 0xff_ffff));
    let mut body = [0; 20];
    frame::put(&mut body, 4, &target.octets());
    write_solicitation(frame, NEIGHBOR_SOLICITATION, &body, mac, (from, to))
}

/// Writes a solicitation: its type, what follows the checksum, and our station address.
fn write_solicitation(
    frame: &mut [u8],
    kind: u8,
    body: &[u8],
    mac: [u8; 6],
    (from, to): (Ipv6Addr, Ipv6Addr),
) -> Option<usize> {
    let length = 4 + body.len() + 8;
    let message = ETHERNET + IPV6;
    let end = message + length;
    let out = frame.get_mut(..end)?;
    out.fill(0);
    // The station address of a group (RFC 2464 section 7).
    let [.., a, b, c, d] = to.octets();
    frame::put(out, 0, &[0x33, 0x33, a, b, c, d]);
    frame::put(out, 6, &mac);
    frame::put(out, 12, &ETHERTYPE_IPV6.to_be_bytes());
    // RFC 8200 section 3.
    let header = [0x60, 0, 0, 0, 0, length as u8, PROTOCOL_ICMPV6, HOP_LIMIT];
    frame::put(out, ETHERNET, &header);
    frame::put(out, ETHERNET + 8, &from.octets());
    frame::put(out, ETHERNET + 24, &to.octets());
    frame::put(out, message, &[kind]);
    frame::put(out, message + 4, body);
    // The source link-layer address (section 4.6.1).
    frame::put(out, end - 8, &[1, 1]);
    frame::put(out, end - 6, &mac);
    let pseudo = checksum::pseudo_header(from.into(), to.into(), PROTOCOL_ICMPV6, length as u16);
    let sum = !checksum::add(&[pseudo, checksum::sum(out.get(message..)?)]);
    frame::put(out, message + 2, &sum.to_ne_bytes());
    Some(end)
}
