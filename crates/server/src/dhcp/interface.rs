//! The network interface: its addresses, and the sockets on it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::LinkAddr;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::Error;
use super::frame::Frame;

/// An interface that exists.
#[derive(Debug)]
pub(super) struct Interface {
    name: String,
    link: Option<LinkAddr>,
    addresses: Vec<Ipv4Addr>,
}

impl Interface {
    /// Looks an interface up by name.
    pub(super) fn find(name: &str) -> Result<Self, Error> {
        let mut found = Self {
            name: name.into(),
            link: None,
            addresses: Vec::new(),
        };
        let mut present: Vec<String> = Vec::new();
        for entry in getifaddrs().map_err(|errno| Error::Interfaces(errno.into()))? {
            if !present.contains(&entry.interface_name) {
                present.push(entry.interface_name.clone());
            }
            let Some(address) = entry.address.filter(|_| entry.interface_name == name) else {
                continue;
            };
            if let Some(link) = address.as_link_addr() {
                found.link = Some(*link);
            } else if let Some(address) = address.as_sockaddr_in() {
                found.addresses.push(address.ip());
            }
        }
        if present.iter().any(|other| other == name) {
            Ok(found)
        } else {
            Err(Error::NoInterface {
                name: name.into(),
                present,
            })
        }
    }

    /// Whether `address` is one of its own.
    pub(super) fn check_address(&self, address: Ipv4Addr) -> Result<(), Error> {
        if self.addresses.contains(&address) {
            return Ok(());
        }
        Err(Error::NoAddress {
            interface: self.name.clone(),
            address,
            present: self.addresses.clone(),
        })
    }

    /// A UDP socket that hears and speaks on this interface only, broadcasts included.
    pub(super) fn udp_socket(&self, port: u16) -> Result<UdpSocket, Error> {
        self.bind(port).map_err(|source| Error::Bind {
            interface: self.name.clone(),
            port,
            source,
        })
    }

    fn bind(&self, port: u16) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        // The address stays open, because a socket bound to an address hears no broadcasts.
        socket.bind_device(Some(self.name.as_bytes()))?;
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        UdpSocket::from_std(socket.into())
    }

    /// A socket for whole frames. It sends only: it is bound to no protocol.
    pub(super) fn packet_socket(&self) -> io::Result<PacketSocket> {
        let link = self
            .link
            .ok_or_else(|| io::Error::other("it has no hardware address"))?;
        let source = link
            .addr()
            .filter(|_| link.hatype() == ARPHRD_ETHER && link.halen() == 6);
        let source = source.ok_or_else(|| io::Error::other("it is not an Ethernet interface"))?;
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        nix::sys::socket::bind(socket.as_raw_fd(), &link)?;
        Ok(PacketSocket { socket, source })
    }
}

/// Sends Ethernet frames out of an interface.
#[derive(Debug)]
pub(super) struct PacketSocket {
    socket: Socket,
    source: [u8; 6],
}

impl PacketSocket {
    /// Sends a UDP payload in one frame.
    pub(super) fn send(
        &self,
        hardware: [u8; 6],
        from: SocketAddrV4,
        to: SocketAddrV4,
        payload: &[u8],
    ) -> io::Result<()> {
        let frame = Frame {
            source: self.source,
            destination: hardware,
            from,
            to,
            payload,
        };
        let bytes = frame
            .to_bytes()
            .ok_or_else(|| io::Error::other("the message is longer than an IP packet"))?;
        self.socket.send(&bytes).map(drop)
    }
}

/// Ethernet in the numbering of ARP (RFC 826), as Linux names hardware types.
const ARPHRD_ETHER: u16 = 1;
