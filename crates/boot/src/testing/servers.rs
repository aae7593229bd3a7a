//! Servers for tests: DHCP beside the far end of the wire, HTTP with canned answers.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use bowline_dhcp::BOOT_SERVER_PORT;
use bowline_dhcp::server::{AddressRange, Config, Output, Profile, Server, Subnet};
use bowline_dhcp::wire::{Message, MessageType, Op, Options, code};
use bowline_net::{
    Clock, Link, Nic, NicError, ReceiveRing, Stack, TcpListener, TcpStream, UdpSocket, ntp,
};

use super::{Task, WireEnd};

/// The far end of the wire; answers DHCP by itself when it is told to.
pub(crate) struct FarEnd {
    pub(crate) wire: WireEnd,
    pub(crate) clock: Rc<dyn Clock>,
    pub(crate) dhcp: Rc<RefCell<Option<Server>>>,
    /// What a router says when it is asked (ICMPv6, without the checksum), where there is one.
    pub(crate) router: Rc<RefCell<Option<Vec<u8>>>>,
    /// DHCP messages that came in.
    pub(crate) seen: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl FarEnd {
    /// Answers a router solicitation (RFC 4861 section 6.2.6).
    fn advertise_router(&self, frame: &[u8]) -> bool {
        let is_solicitation = frame.get(12..14) == Some(&[0x86, 0xdd])
            && frame.get(20) == Some(&58)
            && frame.get(54) == Some(&133);
        let Some(message) = self.router.borrow().clone().filter(|_| is_solicitation) else {
            return false;
        };
        let answer = icmpv6_frame(&message);
        self.wire.outgoing.borrow_mut().push_back(answer);
        true
    }

    fn serve_dhcp(&self, frame: &[u8]) -> bool {
        let mut slot = self.dhcp.borrow_mut();
        let Some(server) = slot.as_mut() else {
            return false;
        };
        // IPv4 without options, UDP, to port 67.
        if frame.get(12..14) != Some(&[8, 0]) || frame.get(36..38) != Some(&[0, 67]) {
            return false;
        }
        self.seen.borrow_mut().push(frame[42..].to_vec());
        server.handle_input(self.clock.now(), &frame[42..]);
        while let Some(output) = server.poll_output() {
            if let Output::Send(transmit) = output {
                self.wire
                    .outgoing
                    .borrow_mut()
                    .push_back(dhcp_frame(&transmit.payload));
            }
        }
        true
    }
}

impl Nic for FarEnd {
    fn mac(&self) -> [u8; 6] {
        self.wire.mac()
    }

    fn receive(&mut self, frame: &mut [u8]) -> Result<Option<usize>, NicError> {
        loop {
            match self.wire.receive(frame)? {
                Some(length) if self.serve_dhcp(&frame[..length]) => {}
                Some(length) if self.advertise_router(&frame[..length]) => {}
                received => return Ok(received),
            }
        }
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), NicError> {
        self.wire.transmit(frame)
    }

    fn link(&self) -> Link {
        self.wire.link()
    }

    fn receive_ring(&self) -> ReceiveRing {
        self.wire.receive_ring()
    }

    fn shutdown(&mut self) {}
}

/// A DHCP server for 192.168.1.50 with a router, a name server and a root path.
pub(crate) fn dhcp_server() -> Server {
    dhcp_server_of(1)
}

/// The same with so many addresses to give, from 192.168.1.50 on.
pub(crate) fn dhcp_server_of(count: u8) -> Server {
    Server::new(dhcp_config(count), vec![]).unwrap()
}

/// The same with one address and more options, and without a disk.
pub(crate) fn dhcp_server_with(set: impl FnOnce(&mut Options)) -> Server {
    let mut config = dhcp_config(1);
    config.profile.options.remove(code::ROOT_PATH);
    set(&mut config.profile.options);
    Server::new(config, vec![]).unwrap()
}

fn dhcp_config(count: u8) -> Config {
    let mut config = Config::new(Ipv4Addr::new(192, 168, 1, 1));
    let address = Ipv4Addr::new(192, 168, 1, 50);
    config.subnets = vec![Subnet {
        network: Ipv4Addr::new(192, 168, 1, 0),
        prefix_len: 24,
        pools: vec![AddressRange {
            first: address,
            last: Ipv4Addr::new(192, 168, 1, 49 + count),
        }],
        profile: Profile::default(),
    }];
    let options = &mut config.profile.options;
    options.set_ipv4(code::ROUTER, Ipv4Addr::new(192, 168, 1, 1));
    options.set_ipv4(code::DOMAIN_NAME_SERVER, Ipv4Addr::new(192, 168, 1, 1));
    options.set(
        code::ROOT_PATH,
        &b"iscsi:192.168.1.1::::iqn.2000-01.com.example:disk1"[..],
    );
    config.lease_time = Duration::from_secs(600);
    config.profile.filename = Some(b"boot.ipxe".to_vec());
    config
}

/// A message of the router fe80::ff:fe00:1 to all nodes.
fn icmpv6_frame(message: &[u8]) -> Vec<u8> {
    let length = message.len() as u16;
    let mut frame = vec![
        0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0,
    ];
    frame.extend(length.to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(ROUTER.octets());
    frame.extend(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
    frame.extend(message);
    // The checksum covers the addresses, the length and the protocol (RFC 8200 section 8.1).
    let words = frame[22..].as_chunks::<2>().0.iter();
    let sum: u32 = words.map(|&pair| u32::from(u16::from_be_bytes(pair))).sum();
    let sum = sum + u32::from(length) + 58;
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[56..58].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// The link-local address of the far end.
pub(crate) const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);

fn dhcp_frame(payload: &[u8]) -> Vec<u8> {
    let udp_length = (8 + payload.len()) as u16;
    let ip_length = 20 + udp_length;
    let mut ip = vec![0x45, 0];
    ip.extend(ip_length.to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 1, 1, 255, 255, 255, 255]);
    let sum: u32 = ip
        .as_chunks::<2>()
        .0
        .iter()
        .map(|&pair| u32::from(u16::from_be_bytes(pair)))
        .sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1, 8, 0]);
    frame.extend(ip);
    frame.extend([0, 67, 0, 68]);
    frame.extend(udp_length.to_be_bytes());
    // No checksum (RFC 768).
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// Paths and what they give; everything else is 404. `/private` wants a user name and a
/// password, the transfer of `/broken` breaks, and `/told` is a script that tells the request.
pub(crate) type Pages = &'static [(&'static str, &'static [u8])];

/// An HTTP server on port 80.
pub(crate) fn http_server(stack: &Stack, pages: Pages) -> Task {
    let mut listener = TcpListener::bind(stack, 80).unwrap();
    Box::pin(async move {
        loop {
            let stream = listener.accept().await.unwrap();
            answer(stream, pages).await;
        }
    })
}

async fn answer(mut stream: TcpStream, pages: Pages) {
    let mut request = Vec::new();
    let mut piece = [0; 512];
    let (request, mut sent) = loop {
        let count = stream.read(&mut piece).await.unwrap_or(0);
        if count == 0 {
            return;
        }
        request.extend_from_slice(&piece[..count]);
        let text = str::from_utf8(&request).unwrap();
        if let Some((head, sent)) = text.split_once("\r\n\r\n") {
            break (head.to_string(), sent.as_bytes().to_vec());
        }
    };
    let path = request.split(' ').nth(1).unwrap().to_string();
    let field = |name| {
        request
            .split("\r\n")
            .find_map(|line| line.strip_prefix(name))
    };
    let length = field("Content-Length: ").map_or(0, |length| length.parse().unwrap());
    let came = sent.len();
    sent.resize(length, 0);
    stream.read_exact(&mut sent[came..]).await.unwrap();
    let told = format!(
        "#!ipxe\necho {} {} for {}\n",
        request.split(' ').next().unwrap(),
        String::from_utf8(sent).unwrap(),
        field("Accept: ").unwrap()
    );
    let page = pages.iter().find(|(page, _)| *page == path);
    let (status, body) = page.map_or(("404 Not Found", &b""[..]), |(_, body)| ("200 OK", body));
    let head = format!("Content-Length: {}\r\nETag: \"one\"\r\n", body.len());
    let (status, head, body) = match (&*path, field("Range: "), field("Authorization: ")) {
        ("/private", _, None) => {
            let head = "Content-Length: 0\r\nWWW-Authenticate: Basic realm=\"x\"\r\n";
            ("401 Unauthorized", head.to_string(), &b""[..])
        }
        ("/private", _, Some(token)) if token != USER_SECRET => ("403 Forbidden", head, body),
        // The first connection breaks in the middle.
        ("/broken", None, _) => (status, head, &body[..body.len() / 2]),
        ("/broken", Some(_), _) => {
            let (length, half) = (body.len(), body.len() / 2);
            let last = length - 1;
            let head = format!(
                "Content-Range: bytes {half}-{last}/{length}\r\nContent-Length: {}\r\n",
                length - half
            );
            ("206 Partial Content", head, &body[half..])
        }
        ("/told", ..) => {
            let head = format!("Content-Length: {}\r\n", told.len());
            ("200 OK", head, told.as_bytes())
        }
        (_, Some(range), _) => {
            let (first, last) = range
                .strip_prefix("bytes=")
                .unwrap()
                .split_once('-')
                .unwrap();
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            let head = format!(
                "Content-Range: bytes {first}-{last}/{}\r\nContent-Length: {}\r\n",
                body.len(),
                last + 1 - first
            );
            ("206 Partial Content", head, &body[first..=last])
        }
        _ => (status, head, body),
    };
    let body = if request.starts_with("HEAD ") {
        &[]
    } else {
        body
    };
    let head = format!("HTTP/1.1 {status}\r\n{head}\r\n");
    if stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(body).await.is_ok() {
        let _ = stream.close().await;
    }
}

/// What `/private` wants to be told: `user:secret`.
const USER_SECRET: &str = "Basic dXNlcjpzZWNyZXQ=";

/// A PXE boot server of one type (PXE 2.1 section 2.2), which names `/s` of the HTTP server.
pub(crate) async fn boot_server(stack: Stack, server_type: u16) {
    let socket = UdpSocket::bind(&stack, Some(BOOT_SERVER_PORT), 4, 1500).unwrap();
    loop {
        let (question, client) = socket.receive().await;
        let request = Message::parse(&question).unwrap();
        let vendor = request.options.encapsulated(code::VENDOR_SPECIFIC).unwrap();
        let item = vendor.get(code::PXE_BOOT_ITEM).unwrap();
        // RFC 4578 section 3: the class tells the architecture, too.
        let class = request.options.get(code::VENDOR_CLASS).unwrap();
        if !item.starts_with(&server_type.to_be_bytes()) || !class.starts_with(b"PXEClient:Arch:") {
            continue;
        }
        let address = Ipv4Addr::new(192, 168, 1, 1);
        let mut ack = Message::new(Op::Reply, request.chaddr, request.xid);
        ack.siaddr = address;
        ack.file = b"http://192.168.1.1/s".to_vec();
        let options = &mut ack.options;
        options.set_u8(code::MESSAGE_TYPE, MessageType::ACK.0);
        options.set_ipv4(code::SERVER_IDENTIFIER, address);
        options.set(code::VENDOR_CLASS, b"PXEClient");
        options.set_encapsulated(code::VENDOR_SPECIFIC, &vendor);
        socket.send(client, &ack.encode(1472).unwrap());
    }
}

/// An NTP server of this stratum (RFC 5905 section 7.3) whose clock stands still at `unix`.
pub(crate) async fn ntp_server(stack: Stack, unix: u64, stratum: u8) {
    let socket = UdpSocket::bind(&stack, Some(ntp::PORT), 4, 100).unwrap();
    loop {
        let (question, client) = socket.receive().await;
        let mut answer = vec![0x24, stratum];
        answer.resize(24, 0);
        answer.extend_from_slice(&question[40..48]);
        for _ in 0..2 {
            answer.extend(((unix + 2_208_988_800) as u32).to_be_bytes());
            answer.extend([0; 4]);
        }
        socket.send(client, &answer);
    }
}
