//! Reading and patching the headers of a frame: Ethernet II, IPv4, IPv6, TCP.
//!
//! [`Ip::parse`] and [`Segment::parse`] check every length once; frames that break a rule are
//! `None`. Trailing bytes after the IP packet (Ethernet padding, or the frame check sequence
//! that U-Boot's e1000 driver leaves on) are ignored.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum;

/// Length of an Ethernet II header.
pub(crate) const ETHERNET: usize = 14;
/// Length of an IPv4 header without options, as all of ours are.
pub(crate) const IPV4: usize = 20;
/// Length of an IPv6 header.
pub(crate) const IPV6: usize = 40;
/// Length of a TCP header without options.
pub(crate) const TCP: usize = 20;
/// The shortest frame without its check sequence (IEEE 802.3 section 4.4.2).
pub(crate) const SHORTEST: usize = 60;

pub(crate) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(crate) const ETHERTYPE_ARP: u16 = 0x0806;
pub(crate) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(crate) const PROTOCOL_TCP: u8 = 6;
pub(crate) const PROTOCOL_UDP: u8 = 17;
pub(crate) const PROTOCOL_ICMPV6: u8 = 58;
/// The fragment header of IPv6 (RFC 8200 section 4.5).
const PROTOCOL_FRAGMENT: u8 = 44;

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;

/// The big-endian 16-bit field at `at`.
pub(crate) fn field16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u16::from_be_bytes(*b))
}

/// The big-endian 32-bit field at `at`.
pub(crate) fn field32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|b| u32::from_be_bytes(*b))
}

/// Writes `value` at `at`, where the frame reaches that far.
pub(crate) fn put(frame: &mut [u8], at: usize, value: &[u8]) {
    if let Some(field) = frame.get_mut(at..at + value.len()) {
        field.copy_from_slice(value);
    }
}

/// Writes the length of the packet in `frame` into its IP header, which has no options: total length
/// and header checksum (RFC 791 section 3.1), or payload length (RFC 8200 section 3).
pub(crate) fn put_packet_length(frame: &mut [u8], length: usize) {
    if field16(frame, 12) == Some(ETHERTYPE_IPV6) {
        put(frame, ETHERNET + 4, &((length - IPV6) as u16).to_be_bytes());
        return;
    }
    put(frame, ETHERNET + 2, &(length as u16).to_be_bytes());
    put(frame, ETHERNET + 10, &[0, 0]);
    let header = frame.get(ETHERNET..ETHERNET + IPV4);
    let sum = !checksum::sum(header.unwrap_or_default());
    put(frame, ETHERNET + 10, &sum.to_ne_bytes());
}

/// The IPv4 address at `at`.
pub(crate) fn address(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    field32(bytes, at).map(Ipv4Addr::from_bits)
}

/// The IPv6 address at `at`.
pub(crate) fn address6(bytes: &[u8], at: usize) -> Option<Ipv6Addr> {
    let octets: &[u8; 16] = bytes.get(at..)?.first_chunk()?;
    Some(Ipv6Addr::from(*octets))
}

/// An IP packet inside a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    /// What follows the header; an extension header of IPv6 is not looked into.
    pub(crate) protocol: u8,
    /// More fragments, or not the first one.
    pub(crate) fragment: bool,
    /// Where the payload begins in the frame.
    pub(crate) start: usize,
    /// Where it ends: the IP header says so, not the length of the frame.
    pub(crate) end: usize,
}

impl Ip {
    /// Reads the header of a frame whose ethertype is IPv4 or IPv6. The header checksum is not
    /// verified.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        match field16(frame, 12)? {
            ETHERTYPE_IPV6 => Self::parse6(frame),
            _ => Self::parse4(frame),
        }
    }

    fn parse6(frame: &[u8]) -> Option<Self> {
        let start = ETHERNET + IPV6;
        let end = start + usize::from(field16(frame, ETHERNET + 4)?);
        if frame.get(ETHERNET)? >> 4 != 6 || frame.len() < end {
            return None;
        }
        let protocol = *frame.get(ETHERNET + 6)?;
        Some(Self {
            from: address6(frame, ETHERNET + 8)?.into(),
            to: address6(frame, ETHERNET + 24)?.into(),
            protocol,
            fragment: protocol == PROTOCOL_FRAGMENT,
            start,
            end,
        })
    }

    fn parse4(frame: &[u8]) -> Option<Self> {
        let first = *frame.get(ETHERNET)?;
        let header = usize::from(first & 0x0f) * 4;
        let total = usize::from(field16(frame, ETHERNET + 2)?);
        let end = ETHERNET + total;
        if first >> 4 != 4 || header < IPV4 || total < header || frame.len() < end {
            return None;
        }
        Some(Self {
            from: address(frame, ETHERNET + 12)?.into(),
            to: address(frame, ETHERNET + 16)?.into(),
            protocol: *frame.get(ETHERNET + 9)?,
            fragment: field16(frame, ETHERNET + 6)? & 0x3fff != 0,
            start: ETHERNET + header,
            end,
        })
    }

    /// Whether the checksum of the IPv4 header holds (RFC 791 section 3.1).
    pub(crate) fn header_checksum_holds(&self, frame: &[u8]) -> bool {
        frame
            .get(ETHERNET..self.start)
            .is_some_and(|header| checksum::sum(header) == 0xffff)
    }

    /// Whether the checksum of the TCP or UDP packet inside holds.
    pub(crate) fn payload_checksum_holds(&self, frame: &[u8]) -> bool {
        let Some(payload) = frame.get(self.start..self.end) else {
            return false;
        };
        let pseudo =
            checksum::pseudo_header(self.from, self.to, self.protocol, payload.len() as u16);
        checksum::add(&[pseudo, checksum::sum(payload)]) == 0xffff
    }

    /// Computes the checksum of the TCP segment inside and writes it.
    pub(crate) fn fill_tcp_checksum(&self, frame: &mut [u8]) {
        put(frame, self.start + 16, &[0, 0]);
        let Some(payload) = frame.get(self.start..self.end) else {
            return;
        };
        let pseudo =
            checksum::pseudo_header(self.from, self.to, self.protocol, payload.len() as u16);
        let sum = !checksum::add(&[pseudo, checksum::sum(payload)]);
        put(frame, self.start + 16, &sum.to_ne_bytes());
    }
}

/// A TCP segment inside a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) ip: Ip,
    pub(crate) from_port: u16,
    pub(crate) to_port: u16,
    pub(crate) sequence: Seq,
    pub(crate) acknowledgement: Seq,
    pub(crate) flags: u8,
    /// The window field as it stands, unscaled.
    pub(crate) window: u16,
    /// Where the options begin in the frame; they end where the payload begins.
    options: usize,
    /// Where the payload begins in the frame.
    payload: usize,
}

impl Segment {
    /// Reads the TCP header of `frame`, whose IP header is `ip`.
    pub(crate) fn parse(frame: &[u8], ip: Ip) -> Option<Self> {
        let tcp = frame.get(ip.start..ip.end)?;
        let header = usize::from(*tcp.get(12)? >> 4) * 4;
        if ip.protocol != PROTOCOL_TCP || header < TCP || tcp.len() < header {
            return None;
        }
        Some(Self {
            ip,
            from_port: field16(tcp, 0)?,
            to_port: field16(tcp, 2)?,
            sequence: Seq(field32(tcp, 4)?),
            acknowledgement: Seq(field32(tcp, 8)?),
            flags: *tcp.get(13)?,
            window: field16(tcp, 14)?,
            options: ip.start + TCP,
            payload: ip.start + header,
        })
    }

    pub(crate) fn is(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Payload bytes.
    pub(crate) fn len(&self) -> usize {
        self.ip.end - self.payload
    }

    /// Where the payload begins in the frame.
    pub(crate) fn payload(&self) -> usize {
        self.payload
    }

    /// Data and an acknowledgement and nothing else: no options of IP or TCP, no other flag.
    pub(crate) fn is_plain_data(&self) -> bool {
        let ip = match self.ip.from {
            IpAddr::V4(_) => IPV4,
            IpAddr::V6(_) => IPV6,
        };
        self.flags & !PSH == ACK
            && self.len() > 0
            && self.ip.start == ETHERNET + ip
            && self.payload == self.options
    }

    /// An acknowledgement and nothing else: no payload, no options, no other flag.
    pub(crate) fn is_bare_acknowledgement(&self) -> bool {
        self.flags == ACK && self.len() == 0 && self.payload == self.options
    }

    /// Sequence numbers that the segment takes (RFC 9293 section 3.4).
    pub(crate) fn span(&self) -> u32 {
        self.len() as u32 + u32::from(self.is(SYN)) + u32::from(self.is(FIN))
    }

    /// The window scale option (RFC 7323 section 2.2), where there is one.
    pub(crate) fn window_scale(&self, frame: &[u8]) -> Option<u8> {
        let value = self.option(frame, 3)?;
        Some((*value.first()?).min(14))
    }

    /// The maximum segment size option (RFC 9293 section 3.7.1), where there is one.
    pub(crate) fn segment_size(&self, frame: &[u8]) -> Option<usize> {
        field16(self.option(frame, 2)?, 0).map(usize::from)
    }

    /// The value of the option `kind` (RFC 9293 section 3.1).
    fn option<'a>(&self, frame: &'a [u8], kind: u8) -> Option<&'a [u8]> {
        let mut options = frame.get(self.options..self.payload)?;
        loop {
            match options {
                // The end of the list, and padding.
                [0, ..] | [] | [_] => return None,
                [1, rest @ ..] => options = rest,
                [found, length, ..] => {
                    let length = usize::from(*length).max(2);
                    let option = options.get(..length)?;
                    if *found == kind {
                        return option.get(2..);
                    }
                    options = options.get(length..)?;
                }
            }
        }
    }

    /// Overwrites the window field.
    pub(crate) fn put_window(&mut self, frame: &mut [u8], window: u16) {
        self.window = window;
        put(frame, self.ip.start + 14, &window.to_be_bytes());
    }
}

/// A TCP sequence number: a position in a circle of 2^32 (RFC 9293 section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seq(pub(crate) u32);

impl Seq {
    /// How far `self` lies after `other`; negative if before it.
    pub(crate) fn after(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// How far `self` lies after `other`, or nothing.
    pub(crate) fn beyond(self, other: Self) -> usize {
        usize::try_from(self.after(other)).unwrap_or(0)
    }

    pub(crate) fn plus(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes as u32))
    }

    /// The later of two.
    pub(crate) fn later(self, other: Self) -> Self {
        if self.after(other) >= 0 { self } else { other }
    }
}
