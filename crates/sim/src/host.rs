//! A server on the simulated wire: a smoltcp host that runs sans-I/O server machines.
//!
//! Its TCP and its services are not the ones under test on the other side of the wire, except
//! for the protocol machines themselves: `bowline_dhcp` and `bowline_iscsi` serve here as they do
//! in `bowline serve`.

use std::net::Ipv4Addr;
use std::time::Duration;

use bowline_net::{Clock, Nic};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};

use crate::firmware::Peer;
use crate::wire::{Card, Wire};

/// One TCP connection's worth of a service: bytes in, bytes out.
pub trait Connection {
    /// Takes bytes from the client and appends the answer to `output`. Called with no bytes when
    /// time passes. Returns false when the connection is to be closed after `output` is sent.
    fn exchange(&mut self, now: Duration, input: &[u8], output: &mut Vec<u8>) -> bool;
}

/// Makes a [`Connection`] for each client that connects.
pub type Accept = Box<dyn FnMut() -> Box<dyn Connection>>;

/// A datagram service: an answer and where it goes, for each datagram.
pub trait Datagrams {
    /// Answers `payload` from `from`.
    fn datagram(
        &mut self,
        now: Duration,
        from: IpEndpoint,
        payload: &[u8],
    ) -> Vec<(IpEndpoint, Vec<u8>)>;
}

/// Connections that may wait to be accepted at once, and be open at once, per port.
const SOCKETS_PER_PORT: usize = 8;

/// The host.
pub struct Host {
    wire: Wire,
    device: CardDevice,
    interface: Interface,
    sockets: SocketSet<'static>,
    tcp: Vec<TcpSlot>,
    udp: Vec<(SocketHandle, Box<dyn Datagrams>)>,
    accepts: Vec<Accept>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

struct TcpSlot {
    handle: SocketHandle,
    port: u16,
    accept: usize,
    connection: Option<Box<dyn Connection>>,
    output: Vec<u8>,
    closing: bool,
}

impl Host {
    /// A host with `address` on `card`.
    pub fn new(wire: &Wire, card: Card, address: Ipv4Addr, prefix: u8, seed: u64) -> Self {
        let mac = HardwareAddress::Ethernet(EthernetAddress(card.mac()));
        let mut config = Config::new(mac);
        config.random_seed = seed;
        let mut device = CardDevice { card, vlan: None };
        let mut interface = Interface::new(config, &mut device, instant(wire.now()));
        interface.update_ip_addrs(|addresses| {
            let cidr = IpCidr::new(IpAddress::Ipv4(address), prefix);
            addresses.push(cidr).expect("one address fits");
        });
        Self {
            wire: wire.clone(),
            device,
            interface,
            sockets: SocketSet::new(Vec::new()),
            tcp: Vec::new(),
            udp: Vec::new(),
            accepts: Vec::new(),
        }
    }

    /// Puts the host into a VLAN: its frames are tagged (IEEE 802.1Q), and it takes no others.
    #[must_use]
    pub fn in_vlan(mut self, id: u16) -> Self {
        self.device.vlan = Some(id);
        self
    }

    /// Serves TCP connections to `port`.
    pub fn serve_tcp(&mut self, port: u16, accept: Accept) {
        self.accepts.push(accept);
        for _ in 0..SOCKETS_PER_PORT {
            let buffer = || tcp::SocketBuffer::new(vec![0; 256 * 1024]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket.set_nagle_enabled(false);
            let handle = self.sockets.add(socket);
            self.tcp.push(TcpSlot {
                handle,
                port,
                accept: self.accepts.len() - 1,
                connection: None,
                output: Vec::new(),
                closing: false,
            });
        }
    }

    /// Serves datagrams to `port`.
    pub fn serve_udp(&mut self, port: u16, service: Box<dyn Datagrams>) {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 65536]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).expect("a fresh socket binds");
        self.udp.push((self.sockets.add(socket), service));
    }

    fn serve(&mut self, now: Duration) {
        for slot in &mut self.tcp {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(slot.handle);
            slot.serve(now, socket, &mut self.accepts[slot.accept]);
        }
        for (handle, service) in &mut self.udp {
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(*handle);
            while let Ok((payload, meta)) = socket.recv() {
                let answers = service.datagram(now, meta.endpoint, payload);
                for (to, answer) in answers {
                    // A full buffer is a lost datagram, as anywhere.
                    let _ = socket.send_slice(&answer, to);
                }
            }
        }
    }
}

impl TcpSlot {
    fn serve(&mut self, now: Duration, socket: &mut tcp::Socket<'_>, accept: &mut Accept) {
        if !socket.is_open() {
            self.connection = None;
            self.output.clear();
            self.closing = false;
            socket.listen(self.port).expect("a closed socket listens");
        }
        if !socket.is_active() {
            return;
        }
        if self.connection.is_none() && !self.closing && socket.may_send() {
            self.connection = Some(accept());
        }
        if let Some(connection) = &mut self.connection {
            let mut input = vec![0; socket.recv_queue()];
            let length = socket.recv_slice(&mut input).unwrap_or(0);
            if !connection.exchange(now, &input[..length], &mut self.output) {
                self.connection = None;
                self.closing = true;
            }
        }
        let sent = socket.send_slice(&self.output).unwrap_or(0);
        self.output.drain(..sent);
        if self.output.is_empty()
            && (self.closing || !socket.may_recv() && self.connection.is_some())
        {
            socket.close();
        }
    }
}

impl Peer for Host {
    fn poll(&mut self, now: Duration) {
        self.interface
            .poll(instant(now), &mut self.device, &mut self.sockets);
        self.serve(now);
        let now = self.wire.now();
        self.interface
            .poll(instant(now), &mut self.device, &mut self.sockets);
    }

    fn poll_at(&mut self, now: Duration) -> Option<Duration> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Duration::from_micros(at.total_micros().unsigned_abs()))
    }
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(now.as_micros() as i64)
}

/// smoltcp's view of a card, or of a VLAN on it.
#[derive(Debug)]
struct CardDevice {
    card: Card,
    vlan: Option<u16>,
}

impl CardDevice {
    /// The next frame of the VLAN, without its tag.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut frame = vec![0; bowline_net::FRAME_MAX];
            let length = self.card.receive(&mut frame).ok()??;
            frame.truncate(length);
            let Some(id) = self.vlan else {
                return Some(frame);
            };
            if frame.get(12..16) == Some(&tag(id)[..]) {
                frame.drain(12..16);
                return Some(frame);
            }
        }
    }

    fn sender(&mut self) -> Sender<'_> {
        Sender {
            card: &mut self.card,
            vlan: self.vlan,
        }
    }
}

/// The tag of a VLAN's frames (IEEE 802.1Q-2022 section 9.3).
fn tag(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x81, 0, high, low]
}

impl Device for CardDevice {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Sender<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Sender<'_>)> {
        let frame = self.next_frame()?;
        Some((Frame(frame), self.sender()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sender<'_>> {
        Some(self.sender())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Frame(Vec<u8>);

impl RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sender<'a> {
    card: &'a mut Card,
    vlan: Option<u16>,
}

impl TxToken for Sender<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = vec![0; length];
        let result = f(&mut frame);
        if let Some(id) = self.vlan {
            frame.splice(12..12, tag(id));
        }
        // The simulated card takes every frame; the wire may lose it.
        let _ = self.card.transmit(&frame);
        result
    }
}
