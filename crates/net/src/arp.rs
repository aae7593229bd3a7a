//! Questions for a neighbour's address besides smoltcp's own (RFC 826), and the probes of RFC 5227.
//!
//! smoltcp asks for one neighbour at a time and then for nobody during a second, so that one that
//! is not there keeps all others from being found. Whatever answers, smoltcp learns from it. It
//! does not answer probes, which come from no address.

use core::net::Ipv4Addr;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
};

use crate::conflict::Claim;
use crate::frame::{self, ETHERNET};

/// Writes a request for the station address of `neighbor` into `frame` and returns its length. It
/// is a probe when it comes from no address (RFC 5227 section 2.1.1).
pub(crate) fn write_request(
    frame: &mut [u8],
    mac: [u8; 6],
    own: Ipv4Addr,
    neighbor: Ipv4Addr,
) -> Option<usize> {
    let request = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: neighbor,
    };
    write(frame, EthernetAddress::BROADCAST, mac, &request)
}

/// Writes the answer to the probe of a station for our address.
pub(crate) fn write_defence(
    frame: &mut [u8],
    mac: [u8; 6],
    own: Ipv4Addr,
    station: [u8; 6],
) -> Option<usize> {
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(mac),
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress(station),
        target_protocol_addr: Ipv4Addr::UNSPECIFIED,
    };
    write(frame, EthernetAddress(station), mac, &reply)
}

/// What the sender of an ARP packet says of an address.
pub(crate) fn claim(frame: &[u8]) -> Option<Claim> {
    let sender = frame::address(frame, ETHERNET + 14)?;
    let target = frame::address(frame, ETHERNET + 24)?;
    Some(match sender.is_unspecified() {
        true => Claim::Probes(target.into()),
        false => Claim::Owns(sender.into()),
    })
}

fn write(frame: &mut [u8], to: EthernetAddress, mac: [u8; 6], packet: &ArpRepr) -> Option<usize> {
    let length = ETHERNET + packet.buffer_len();
    let mut ethernet = EthernetFrame::new_checked(frame.get_mut(..length)?).ok()?;
    ethernet.set_dst_addr(to);
    ethernet.set_src_addr(EthernetAddress(mac));
    ethernet.set_ethertype(EthernetProtocol::Arp);
    packet.emit(&mut ArpPacket::new_unchecked(ethernet.payload_mut()));
    Some(length)
}
