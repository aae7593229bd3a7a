//! Questions for a neighbour's address besides smoltcp's own (RFC 826).
//!
//! smoltcp asks for one neighbour at a time and then for nobody during a second, so that one that
//! is not there keeps all others from being found. Whatever answers, smoltcp learns from it.

use core::net::Ipv4Addr;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
};

use crate::frame::ETHERNET;

/// Writes a request for the station address of `neighbor` into `frame` and returns its length.
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
    let length = ETHERNET + request.buffer_len();
    let mut ethernet = EthernetFrame::new_checked(frame.get_mut(..length)?).ok()?;
    ethernet.set_dst_addr(EthernetAddress::BROADCAST);
    ethernet.set_src_addr(EthernetAddress(mac));
    ethernet.set_ethertype(EthernetProtocol::Arp);
    request.emit(&mut ArpPacket::new_unchecked(ethernet.payload_mut()));
    Some(length)
}
