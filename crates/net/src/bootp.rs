//! UDP port 68 before there is an address: whole DHCP messages (RFC 2131 section 4.1).
//!
//! Frames for UDP port 68 are taken out below smoltcp, whatever their IP destination.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::net::{IpAddr, Ipv4Addr};
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
/// Where PXE boot servers listen (PXE 2.1 section 2.2).
const BOOT_SERVER_PORT: u16 = 4011;
/// Where DHCP clients listen.
pub(crate) const CLIENT_PORT: u16 = 68;
const UDP: usize = 8;

/// A DHCP client's port of one card. While it is open, DHCP messages are kept for it; of several,
/// each gets all of them.
pub struct BootpPort {
    stack: Stack,
    /// For what is not broadcast: unicasts need ARP.
    socket: SocketHandle,
}

/// Where a DHCP message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To everybody on the network, from our address if we have one.
    Broadcast,
    /// To this server, from our address (RENEWING, RELEASE). Lost if we have none.
    Unicast(Ipv4Addr),
    /// To this PXE boot server, or to all of a multicast group, from our address. Lost if we have
    /// none.
    BootServer(Ipv4Addr),
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
    /// Opens the port.
    #[must_use]
    pub fn open(stack: &Stack) -> Self {
        let socket = stack.with(|inner| {
            let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 2], vec![0; 2048]);
            let mut socket = Socket::new(buffer(), buffer());
            // Fails only for port 0.
            let _ = socket.bind(CLIENT_PORT);
            let socket = inner.sockets.add(socket);
            inner.device.bootp.push((socket, VecDeque::new()));
            socket
        });
        Self {
            stack: stack.clone(),
            socket,
        }
    }

    /// Sends a DHCP message, at most 1472 bytes. Like all of UDP it may get lost.
    pub fn send(&self, to: Destination, payload: &[u8]) {
        self.stack.with(|inner| {
            let (server, port) = match to {
                Destination::Unicast(server) => (server, SERVER_PORT),
                Destination::BootServer(server) => (server, BOOT_SERVER_PORT),
                Destination::Broadcast => {
                    let from = inner.config.as_ref().map(|config| config.address);
                    let from = from.unwrap_or(Ipv4Addr::UNSPECIFIED);
                    let mac = self.stack.mac();
                    inner
                        .device
                        .send(|frame| write_broadcast(frame, mac, from, payload));
                    return;
                }
            };
            if inner.config.is_some() && !server.is_unspecified() {
                let socket = inner.sockets.get_mut::<Socket<'_>>(self.socket);
                // Full while ARP is still waiting: lost, and sent again by its owner.
                let _ = socket.send_slice(payload, (IpAddress::Ipv4(server), port));
            }
        });
    }

    /// Whether a message waits for the station address of its receiver.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.stack.with(|inner| {
            let socket = inner.sockets.get_mut::<Socket<'_>>(self.socket);
            socket.send_queue() > 0
        })
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
        self.stack.with(|inner| {
            let mut queues = inner.device.bootp.iter_mut();
            let (_, queue) = queues.find(|(socket, _)| *socket == self.socket)?;
            queue.pop_front()
        })
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
            let queues = &mut inner.device.bootp;
            queues.retain(|(socket, _)| *socket != self.socket);
            inner.sockets.remove(self.socket);
        });
    }
}

/// Reads the DHCP message out of a frame for port 68, if its checksums hold.
pub(crate) fn parse(frame: &[u8], ip: Ip) -> Option<Received> {
    let IpAddr::V4(from) = ip.from else {
        return None;
    };
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
        from,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{self, SHORTEST};
    use crate::testing::{CLIENT, Card, Faults, Net, SERVER, config};

    /// A frame as a server sends it, UDP checksum and all.
    fn answer(to_mac: [u8; 6], to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 1514];
        let length = write_broadcast(&mut frame, [2; 6], SERVER, payload).unwrap();
        frame.truncate(length);
        frame[..6].copy_from_slice(&to_mac);
        frame[30..34].copy_from_slice(&to.octets());
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        seal(&mut frame, length);
        frame.resize(length.max(SHORTEST), 0);
        frame
    }

    /// Makes both checksums right.
    fn seal(frame: &mut [u8], end: usize) {
        use crate::checksum::{add, pseudo_header, sum};
        frame[24..26].fill(0);
        let ip = !sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&ip.to_ne_bytes());
        frame[40..42].fill(0);
        let (from, to) = (
            frame::address(frame, 26).unwrap(),
            frame::address(frame, 30).unwrap(),
        );
        let pseudo = pseudo_header(from.into(), to.into(), 17, (end - 34) as u16);
        let udp = !add(&[pseudo, sum(&frame[34..end])]);
        frame[40..42].copy_from_slice(&udp.to_ne_bytes());
    }

    #[test]
    fn a_discover_without_an_address_is_the_frame_of_rfc_2131() {
        let net = Net::new(1, Faults::default());
        net.wire.borrow_mut().log = Some(Vec::new());
        let client = net.stack(Card::u_boot(), None);
        let port = BootpPort::open(&client);
        port.send(Destination::Broadcast, b"discover");
        let frames = net.wire.borrow_mut().log.take().unwrap();
        let expected = [
            // Ethernet: to everybody, from us, IPv4.
            &[0xff; 6][..],
            &[0x52, 0x54, 0, 0, 0, 1, 8, 0],
            // IPv4: 36 bytes, do not fragment, TTL 64, UDP, 0.0.0.0 to 255.255.255.255.
            &[0x45, 0, 0, 36, 0, 0, 0x40, 0, 64, 17, 0x3a, 0xca],
            &[0, 0, 0, 0, 255, 255, 255, 255],
            // UDP: 68 to 67, 16 bytes.
            &[0, 68, 0, 67, 0, 16, 0x52, 0x92],
            b"discover",
            &[0; 10],
        ]
        .concat();
        assert_eq!(frames, [(0, expected)]);
        assert_eq!(port.try_receive(), None);
        port.send(Destination::Broadcast, &[0; 1473]);
        assert_eq!(client.statistics().sent, 1);
    }

    #[test]
    fn answers_come_in_whatever_their_destination() {
        let net = Net::new(1, Faults::default());
        let client = net.stack(Card::u_boot(), None);
        let _other = net.stack(Card::large(), None);
        let mac = client.mac();
        let send = |frame: &[u8]| net.wire.borrow_mut().send(1, frame);
        let settle = || {
            net.run(client.sleep(core::time::Duration::from_millis(1)));
        };
        // Nobody listens yet.
        send(&answer([0xff; 6], Ipv4Addr::BROADCAST, b"early"));
        settle();
        let port = BootpPort::open(&client);
        let message = |payload: &[u8]| Received {
            payload: payload.to_vec(),
            from: SERVER,
        };
        for (mac, to) in [([0xff; 6], Ipv4Addr::BROADCAST), (mac, CLIENT)] {
            send(&answer(mac, to, b"offer"));
            assert_eq!(net.run(port.receive()), message(b"offer"));
        }
        // No UDP checksum is right too (RFC 768); a wrong one is not, nor a wrong length.
        let mut plain = answer(mac, CLIENT, b"plain");
        plain[40..42].fill(0);
        let mut wrong = answer(mac, CLIENT, b"wrong");
        wrong[40] ^= 1;
        let mut long = answer(mac, CLIENT, b"long");
        long[39] = 200;
        let mut header = answer(mac, CLIENT, b"header");
        header[24] ^= 1;
        let stranger = answer([2; 6], CLIENT, b"stranger");
        for frame in [wrong, long, header, stranger, plain] {
            send(&frame);
        }
        assert_eq!(net.run(port.receive()), message(b"plain"));
        assert_eq!(port.try_receive(), None);
        assert_eq!(
            (client.statistics().bad, client.statistics().strangers),
            (3, 1)
        );
    }

    #[test]
    fn boot_servers_are_asked_at_their_port() {
        let net = Net::new(1, Faults::default());
        let (client, _server) = net.pair(Card::u_boot());
        let [port, other] = [(); 2].map(|()| BootpPort::open(&client));
        net.wire.borrow_mut().log = Some(Vec::new());
        port.send(Destination::BootServer([224, 0, 1, 2].into()), b"group");
        port.send(Destination::BootServer(SERVER), b"server");
        net.run(client.sleep(core::time::Duration::from_millis(10)));
        let frames = net.wire.borrow_mut().log.take().unwrap();
        let (_, group) = &frames[0];
        // RFC 1112 section 6.4.
        assert_eq!(group[..6], [1, 0, 0x5e, 0, 1, 2]);
        assert_eq!(frame::address(group, 26), Some(CLIENT));
        assert_eq!(group[34..38], [0, 68, 0x0f, 0xab]);
        let mut sent = frames.iter().map(|(_, frame)| frame);
        let server = sent
            .find(|frame| frame[42..].starts_with(b"server"))
            .unwrap();
        assert_eq!(server[..6], [0x52, 0x54, 0, 0, 0, 2]);
        assert_eq!(server[34..38], [0, 68, 0x0f, 0xab]);

        // Each port gets every message, and goes on when the other one is closed.
        let (mac, send) = (client.mac(), |frame: &[u8]| {
            net.wire.borrow_mut().send(1, frame)
        });
        send(&answer(mac, CLIENT, b"ack"));
        for port in [&port, &other] {
            assert_eq!(net.run(port.receive()).payload, b"ack");
        }
        drop(port);
        send(&answer(mac, CLIENT, b"more"));
        assert_eq!(net.run(other.receive()).payload, b"more");
    }

    #[test]
    fn a_renewal_goes_to_the_server_alone() {
        let net = Net::new(1, Faults::default());
        let (client, _server) = net.pair(Card::u_boot());
        let port = BootpPort::open(&client);
        net.wire.borrow_mut().log = Some(Vec::new());
        port.send(Destination::Unicast(SERVER), b"renew");
        net.run(client.sleep(core::time::Duration::from_millis(10)));
        let frames = net.wire.borrow_mut().log.take().unwrap();
        // ARP question and answer, the message, and the server's "port unreachable".
        let (from, frame) = &frames[2];
        assert_eq!((*from, frames.len()), (0, 4));
        assert_eq!(frame[..6], [0x52, 0x54, 0, 0, 0, 2]);
        assert_eq!(frame::address(frame, 26), Some(CLIENT));
        assert_eq!(frame[34..38], [0, 68, 0, 67]);
        assert_eq!(&frame[42..47], b"renew");
        client.configure_ipv4(Some(config(CLIENT))).unwrap();
    }
}
