//! What the switch knows of TCP over IPv4: which service a segment is for, and how to break its
//! connection as a bad middlebox does.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol,
    Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

const ETHERNET_HEADER: usize = 14;
const IPV4_HEADER: usize = 20;
const TCP_HEADER: usize = 20;

/// One end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    mac: EthernetAddress,
    address: Ipv4Address,
    port: u16,
}

/// A TCP segment in a frame without tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    from: End,
    to: End,
    sequence: TcpSeqNumber,
    acknowledged: TcpSeqNumber,
    /// Bytes of data.
    pub(super) length: usize,
}

impl Segment {
    /// The segment in `frame`, if that is one.
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        if frame.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
        if packet.next_header() != IpProtocol::Tcp || packet.frag_offset() != 0 {
            return None;
        }
        let tcp = TcpPacket::new_checked(packet.payload()).ok()?;
        Some(Self {
            from: End {
                mac: frame.src_addr(),
                address: packet.src_addr(),
                port: tcp.src_port(),
            },
            to: End {
                mac: frame.dst_addr(),
                address: packet.dst_addr(),
                port: tcp.dst_port(),
            },
            sequence: tcp.seq_number(),
            acknowledged: tcp.ack_number(),
            length: tcp.payload().len(),
        })
    }

    /// The port it is sent to.
    pub(super) const fn service(&self) -> u16 {
        self.to.port
    }

    /// From which port to which.
    pub(super) const fn ports(&self) -> [u16; 2] {
        [self.from.port, self.to.port]
    }

    /// Frames that reset the connection: for the receiver, in the sender's name, and the reverse.
    /// Each has the sequence number that its receiver expects next (RFC 9293 3.10.7.4).
    pub(super) fn resets(&self) -> [Vec<u8>; 2] {
        [
            reset(self.from, self.to, self.sequence),
            reset(self.to, self.from, self.acknowledged),
        ]
    }
}

fn reset(from: End, to: End, sequence: TcpSeqNumber) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET_HEADER + IPV4_HEADER + TCP_HEADER];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    EthernetRepr {
        src_addr: from.mac,
        dst_addr: to.mac,
        ethertype: EthernetProtocol::Ipv4,
    }
    .emit(&mut frame);
    let checksums = ChecksumCapabilities::default();
    let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
    Ipv4Repr {
        src_addr: from.address,
        dst_addr: to.address,
        next_header: IpProtocol::Tcp,
        payload_len: TCP_HEADER,
        hop_limit: 64,
    }
    .emit(&mut packet, &checksums);
    TcpRepr {
        src_port: from.port,
        dst_port: to.port,
        control: TcpControl::Rst,
        seq_number: sequence,
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
    .emit(
        &mut TcpPacket::new_unchecked(packet.payload_mut()),
        &IpAddress::Ipv4(from.address),
        &IpAddress::Ipv4(to.address),
        &checksums,
    );
    bytes
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A frame with a segment of `length` bytes from 10.0.0.1:1000 to 10.0.0.2 and `service`.
    pub(crate) fn segment(service: u16, length: usize) -> Vec<u8> {
        let end = |number: u8, port| End {
            mac: EthernetAddress([2, 0, 0, 0, 0, number]),
            address: Ipv4Address::new(10, 0, 0, number),
            port,
        };
        let mut frame = reset(end(1, 1000), end(2, service), TcpSeqNumber(7));
        frame.resize(frame.len() + length, 0xaa);
        let total = (IPV4_HEADER + TCP_HEADER + length) as u16;
        frame[16..18].copy_from_slice(&total.to_be_bytes());
        // ACK of 9 instead of RST.
        frame[42..46].copy_from_slice(&9u32.to_be_bytes());
        frame[47] = 0x10;
        frame
    }

    #[test]
    fn both_ends_are_told_what_they_expect_next() {
        let frame = segment(3260, 100);
        let parsed = Segment::parse(&frame).unwrap();
        assert_eq!((parsed.service(), parsed.length), (3260, 100));
        let [to_receiver, to_sender] = parsed.resets().map(|frame| {
            let frame = EthernetFrame::new_checked(&frame[..]).unwrap();
            let packet = Ipv4Packet::new_checked(frame.payload()).unwrap();
            assert!(packet.verify_checksum());
            let tcp = TcpPacket::new_checked(packet.payload()).unwrap();
            assert!(tcp.rst() && !tcp.ack());
            assert!(tcp.verify_checksum(
                &IpAddress::Ipv4(packet.src_addr()),
                &IpAddress::Ipv4(packet.dst_addr())
            ));
            (tcp.src_port(), tcp.dst_port(), tcp.seq_number())
        });
        assert_eq!(to_receiver, (1000, 3260, TcpSeqNumber(7)));
        assert_eq!(to_sender, (3260, 1000, TcpSeqNumber(9)));
    }

    #[test]
    fn other_frames_are_no_segments() {
        assert_eq!(Segment::parse(&[0; 60]), None);
        let mut udp = segment(53, 10);
        udp[23] = 17;
        assert_eq!(Segment::parse(&udp), None);
        assert_eq!(Segment::parse(&segment(53, 10)[..40]), None);
    }
}
