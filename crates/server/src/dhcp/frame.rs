//! A UDP datagram in an Ethernet frame: IPv4 (RFC 791 §3.1), UDP (RFC 768), both checksummed.

use std::net::SocketAddrV4;

/// What goes into the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) source: [u8; 6],
    pub(super) destination: [u8; 6],
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// The frame; `None` where the payload is too long for IPv4.
    pub(super) fn to_bytes(self) -> Option<Vec<u8>> {
        let udp_len = u16::try_from(UDP_HEADER_LEN + self.payload.len()).ok()?;
        let total_len = udp_len.checked_add(IP_HEADER_LEN)?;

        let mut ip = Vec::with_capacity(usize::from(IP_HEADER_LEN));
        ip.extend([0x45, 0]);
        ip.extend(total_len.to_be_bytes());
        // Identification 0 with "don't fragment" (RFC 6864 §4.1).
        ip.extend([0, 0, 0x40, 0, TIME_TO_LIVE, PROTOCOL_UDP, 0, 0]);
        ip.extend(self.from.ip().octets());
        ip.extend(self.to.ip().octets());
        let sum = checksum(&[&ip]);
        ip.splice(10..12, sum.to_be_bytes());

        let mut udp = Vec::with_capacity(UDP_HEADER_LEN);
        udp.extend(self.from.port().to_be_bytes());
        udp.extend(self.to.port().to_be_bytes());
        udp.extend(udp_len.to_be_bytes());
        udp.extend([0, 0]);
        let [len_high, len_low] = udp_len.to_be_bytes();
        let pseudo = [0, PROTOCOL_UDP, len_high, len_low];
        let (from, to) = (self.from.ip().octets(), self.to.ip().octets());
        let sum = match checksum(&[&from, &to, &pseudo, &udp, self.payload]) {
            // Zero means "none" in UDP; all ones is the same number.
            0 => u16::MAX,
            sum => sum,
        };
        udp.splice(6..8, sum.to_be_bytes());

        let ethertype = ETHERTYPE_IPV4.to_be_bytes();
        let parts: [&[u8]; 6] = [
            &self.destination,
            &self.source,
            &ethertype,
            &ip,
            &udp,
            self.payload,
        ];
        Some(parts.concat())
    }
}

/// The Internet checksum (RFC 1071) over parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| match *pair {
            [high, low] => u32::from(u16::from_be_bytes([high, low])),
            [high] => u32::from(u16::from_be_bytes([high, 0])),
            _ => 0,
        });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // At most 0xffff now.
    !(sum as u16)
}

const IP_HEADER_LEN: u16 = 20;
const UDP_HEADER_LEN: usize = 8;
const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;
const TIME_TO_LIVE: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// Bytes written by hand, checksums worked out on paper; an odd payload.
    #[test]
    fn a_frame_byte_by_byte() {
        let frame = Frame {
            source: [2, 0, 0, 0, 0, 1],
            destination: [2, 0, 0, 0, 0, 2],
            from: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 67),
            to: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100), 68),
            payload: &[0x12, 0x34, 0x56],
        };
        let expected: &[u8] = &[
            2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, //
            0x45, 0, 0, 31, 0, 0, 0x40, 0, 64, 17, 0xb7, 0x18, //
            192, 168, 1, 1, 192, 168, 1, 100, //
            0, 67, 0, 68, 0, 11, 0x13, 0x67, 0x12, 0x34, 0x56,
        ];
        let bytes = frame.to_bytes().unwrap();
        assert_eq!(bytes[..14], expected[..14]);
        // Verified by the rule of RFC 1071: the sum over data with its checksum is zero.
        assert_eq!(checksum(&[&bytes[14..34]]), 0);
        let pseudo = [&bytes[26..34], &[0, 17, 0, 11], &bytes[34..]];
        assert_eq!(checksum(&pseudo), 0);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_ip_cannot_carry_is_refused() {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let frame = |payload| Frame {
            source: [0; 6],
            destination: [0; 6],
            from: address,
            to: address,
            payload,
        };
        assert!(frame(&[0; 65_507]).to_bytes().is_some());
        assert!(frame(&[0; 65_508]).to_bytes().is_none());
    }
}
