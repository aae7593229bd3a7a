//! UDP port 68 before there is an address: whole DHCP messages (RFC 2131 section 4.1).
//!
//! Frames for UDP port 68 are taken out below smoltcp, whatever their IP destination.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::net::Ipv4Addr;
use core::task::Poll;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol,
    Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
};

use crate::Stack;
use crate::frame::{ETHERNET, IPV4, Ip, field16};
use crate::time::again;

/// Where DHCP servers listen.
const SERVER_PORT: u16 = 67;
/// Where DHCP clients listen.
pub(crate) const CLIENT_PORT: u16 = 68;
const UDP: usize = 8;

/// The DHCP client's port of one card. While it is open, DHCP messages are kept for it.
pub struct BootpPort {
    stack: Stack,
    /// For unicasts, which need ARP.
    socket: SocketHandle,
}

/// Where a DHCP message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To everybody on the network, from our address if we have one.
    Broadcast,
    /// To this server, from our address (RENEWING, RELEASE). Lost if we have none.
    Unicast(Ipv4Addr),
}

/// A DHCP message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The whole message.
    pub payload: Vec<u8>,
    /// The IP address that it came from; a relay agent's or the server's.
    pub from: Ipv4Addr,
}

impl BootpPort {
    /// Opens the port. One at a time: a second one shares its messages with the first.
    #[must_use]
    pub fn open(stack: &Stack) -> Self {
        let socket = stack.with(|inner| {
            inner.open_bootp();
            let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 2], vec![0; 2048]);
            let mut socket = Socket::new(buffer(), buffer());
            // Fails only for port 0.
            let _ = socket.bind(CLIENT_PORT);
            inner.sockets.add(socket)
        });
        Self {
            stack: stack.clone(),
            socket,
        }
    }

    /// Sends a DHCP message, at most 1472 bytes. Like all of UDP it may get lost.
    pub fn send(&self, to: Destination, payload: &[u8]) {
        self.stack.with(|inner| match to {
            Destination::Broadcast => {
                let from = inner.config.as_ref().map(|config| config.address);
                let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
                let mac = self.stack.mac();
                inner
                    .device
                    .send(|frame| write_broadcast(frame, mac, from, payload));
            }
            Destination::Unicast(server) => {
                if inner.config.is_some() && !server.is_unspecified() {
                    let socket = inner.sockets.get_mut::<Socket<'_>>(self.socket);
                    // Full while ARP is still waiting: lost, and sent again by its owner.
                    let _ = socket.send_slice(payload, (IpAddress::Ipv4(server), SERVER_PORT));
                }
            }
        });
    }

    /// The next message.
    pub async fn receive(&self) -> Received {
        poll_fn(|context| match self.try_receive() {
            Some(received) => Poll::Ready(received),
            None => again(context),
        })
        .await
    }

    /// The next message, if there is one.
    #[must_use]
    pub fn try_receive(&self) -> Option<Received> {
        self.stack
            .with(|inner| inner.device.bootp.as_mut()?.pop_front())
    }
}

impl fmt::Debug for BootpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BootpPort").finish_non_exhaustive()
    }
}

impl Drop for BootpPort {
    fn drop(&mut self) {
        self.stack.with(|inner| {
            inner.device.bootp = None;
            inner.sockets.remove(self.socket);
        });
    }
}

/// Reads the DHCP message out of a frame for port 68, if its checksums hold.
pub(crate) fn parse(frame: &[u8], ip: Ip) -> Option<Received> {
    let udp = frame.get(ip.start..ip.end)?;
    let length = usize::from(field16(udp, 4)?);
    let payload = udp.get(UDP..length)?;
    // A checksum of 0 means that the sender computed none (RFC 768). The checksum covers the UDP
    // length, so a packet with bytes behind it is not judged by the IP length.
    let unchecked = field16(udp, 6)? == 0;
    let mut exact = ip;
    exact.end = ip.start + length;
    if !ip.header_checksum_holds(frame) || !(unchecked || exact.payload_checksum_holds(frame)) {
        return None;
    }
    Some(Received {
        payload: payload.to_vec(),
        from: ip.from,
    })
}

/// Writes the frame of a broadcast DHCP message; `None` if it does not fit.
fn write_broadcast(
    frame: &mut [u8],
    mac: [u8; 6],
    from: Ipv4Addr,
    payload: &[u8],
) -> Option<usize> {
    let length = ETHERNET + IPV4 + UDP + payload.len();
    if payload.len() > 1500 - IPV4 - UDP {
        return None;
    }
    let frame = frame.get_mut(..length)?;
    frame.fill(0);
    let checksums = ChecksumCapabilities::default();
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(mac),
        dst_addr: EthernetAddress::BROADCAST,
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut ethernet_frame = EthernetFrame::new_unchecked(frame);
    ethernet.emit(&mut ethernet_frame);
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: Ipv4Addr::BROADCAST,
        next_header: IpProtocol::Udp,
        payload_len: UDP + payload.len(),
        hop_limit: 64,
    };
    let mut packet = Ipv4Packet::new_unchecked(ethernet_frame.payload_mut());
    ip.emit(&mut packet, &checksums);
    let udp = UdpRepr {
        src_port: CLIENT_PORT,
        dst_port: SERVER_PORT,
    };
    let mut datagram = UdpPacket::new_unchecked(packet.payload_mut());
    udp.emit(
        &mut datagram,
        &IpAddress::Ipv4(from),
        &IpAddress::Ipv4(Ipv4Addr::BROADCAST),
        payload.len(),
        |to| to.copy_from_slice(payload),
        &checksums,
    );
    Some(length)
}
