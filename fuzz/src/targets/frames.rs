//! Frames from a card into the loader's network: whatever comes, a connection delivers the bytes that
//! its peer has sent, in their order, or none.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_net::{
    FRAME_MAX, Ipv4Config, Ipv6Config, Link, Nic, NicError, ReceiveRing, Stack, TcpListener,
    TcpStream, checksum,
};

use super::http::VirtualClock;
use crate::records;

/// What a record is, in its two lowest bits: a frame as it is,
pub(crate) const FRAME: u8 = 0;
/// a segment of the connection (offset from what is acknowledged, flags, length),
pub(crate) const SEGMENT: u8 = 1;
/// or milliseconds that pass.
pub(crate) const TIME: u8 = 2;
/// The card leaves the frame check sequence on.
pub(crate) const CHECK_SEQUENCE: u8 = 4;
/// Nobody looks at the card yet.
pub(crate) const QUEUED: u8 = 8;

const OURS: ([u8; 6], Ipv4Addr) = ([2, 0, 0, 0, 0, 1], Ipv4Addr::new(192, 168, 1, 1));
const PEER: ([u8; 6], Ipv4Addr) = ([2, 0, 0, 0, 0, 2], Ipv4Addr::new(192, 168, 1, 2));
const PORTS: (u16, u16) = (7, 4000);
/// The peer's first sequence number: it wraps soon.
const ISN: u32 = u32::MAX - 3000;
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;
/// As much as a full frame carries.
const PAYLOAD_MAX: usize = 1460;
const POLLS_MAX: usize = 200;

/// Frames on their way to the card, and from it.
#[derive(Default)]
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

struct Card(Rc<RefCell<Wire>>);

impl Nic for Card {
    fn mac(&self) -> [u8; 6] {
        OURS.0
    }
    fn receive(&mut self, frame: &mut [u8]) -> Result<Option<usize>, NicError> {
        let Some(next) = self.0.borrow_mut().incoming.pop_front() else {
            return Ok(None);
        };
        let length = next.len().min(frame.len());
        frame[..length].copy_from_slice(&next[..length]);
        Ok(Some(length))
    }
    fn transmit(&mut self, frame: &[u8]) -> Result<(), NicError> {
        assert!(frame.len() <= FRAME_MAX - 4, "{} bytes", frame.len());
        self.0.borrow_mut().outgoing.push(frame.to_vec());
        Ok(())
    }
    fn link(&self) -> Link {
        Link::Up
    }
    fn receive_ring(&self) -> ReceiveRing {
        ReceiveRing {
            initial: 24,
            limit: 256,
        }
    }
    fn shutdown(&mut self) {}
}

/// A stack with an open connection, and the peer's view of that.
struct Connection {
    stack: Stack,
    clock: Rc<VirtualClock>,
    wire: Rc<RefCell<Wire>>,
    stream: TcpStream,
    /// Our side's first sequence number.
    isn: u32,
    /// Bytes that the stack has acknowledged,
    acknowledged: u32,
    /// that were in frames that are well-formed, and
    offered: u32,
    /// that were read.
    read: u32,
}

/// Frames, segments and time, one after the other.
pub(super) fn frames(data: &[u8]) {
    let mut connection = connect();
    for (how, record) in records::split(data) {
        connection.happen(how, record);
        if how & QUEUED == 0 {
            connection.look();
        }
    }
    connection.look();
}

/// Opens the connection from outside.
fn connect() -> Connection {
    let wire = Rc::new(RefCell::new(Wire::default()));
    let clock = Rc::new(VirtualClock::default());
    let stack = Stack::new(Box::new(Card(Rc::clone(&wire))), clock.clone(), 7);
    let ipv4 = Ipv4Config {
        address: OURS.1,
        prefix_len: 24,
        router: None,
        dns: Vec::new(),
        mtu: None,
    };
    stack.configure_ipv4(Some(ipv4)).unwrap();
    stack.configure_ipv6(Some(Ipv6Config::default())).unwrap();
    // Whether anybody else has the address has been found out.
    clock.advance(Duration::from_secs(2));
    let mut listener = TcpListener::bind(&stack, PORTS.0).unwrap();
    let mut accept = pin!(listener.accept());
    let mut give = |frame: Vec<u8>| {
        wire.borrow_mut().incoming.push_back(frame);
        poll(&stack);
        poll_once(accept.as_mut())
    };
    let _ = give(arp_request());
    let _ = give(segment(ISN, 0, SYN, &[]));
    let sent = wire.borrow_mut().outgoing.split_off(0);
    let isn = sent.iter().rev().find_map(|frame| tcp_of(frame)).unwrap().0;
    let opened = give(segment(ISN.wrapping_add(1), isn.wrapping_add(1), ACK, &[]));
    let Poll::Ready(stream) = opened else {
        panic!("no connection");
    };
    Connection {
        stack,
        clock,
        stream: stream.unwrap(),
        isn,
        wire,
        acknowledged: 0,
        offered: 0,
        read: 0,
    }
}

impl Connection {
    fn happen(&mut self, how: u8, record: &[u8]) {
        let number = |at: usize| {
            let bytes = record.get(at..).and_then(|rest| rest.first_chunk());
            u16::from_be_bytes(bytes.copied().unwrap_or_default())
        };
        let mut frame = match how & 3 {
            SEGMENT => {
                // Cast: the offset has a sign.
                let offset = i32::from(number(0) as i16);
                let position = self.acknowledged.saturating_add_signed(offset);
                // What comes after a FIN has no place in the stream.
                let flags = ACK | record.get(2).copied().unwrap_or_default() & !FIN;
                let length = usize::from(number(3)) % (PAYLOAD_MAX + 1);
                let data: Vec<u8> = (position..).take(length).map(pattern).collect();
                self.offered = self.offered.max(position + length as u32);
                let sequence = ISN.wrapping_add(1).wrapping_add(position);
                segment(sequence, self.isn.wrapping_add(1), flags, &data)
            }
            TIME => {
                self.clock.advance(Duration::from_millis(number(0).into()));
                return;
            }
            _ => record.to_vec(),
        };
        if how & CHECK_SEQUENCE != 0 {
            frame.extend([0xfc; 4]);
        }
        self.wire.borrow_mut().incoming.push_back(frame);
    }

    /// Polls the stack, and holds what it says and what can be read to what was sent.
    fn look(&mut self) {
        poll(&self.stack);
        let mut buffer = [0; 4096];
        while let Some(Ok(length @ 1..)) = self.stream.try_read(&mut buffer) {
            for byte in &buffer[..length] {
                assert_eq!(*byte, pattern(self.read), "byte {}", self.read);
                self.read += 1;
            }
            poll(&self.stack);
        }
        assert!(self.read <= self.offered);
        let sent = self.wire.borrow_mut().outgoing.split_off(0);
        for (_, acknowledgement) in sent.iter().filter_map(|frame| tcp_of(frame)) {
            let bytes = acknowledgement.wrapping_sub(ISN.wrapping_add(1));
            if bytes <= self.offered {
                self.acknowledged = self.acknowledged.max(bytes);
            } else {
                // Where no connection is, a segment is answered with zero or what it says.
                assert_eq!(acknowledgement, 0, "more than was sent");
            }
        }
    }
}

/// Until there is nothing to do.
fn poll(stack: &Stack) {
    for _ in 0..POLLS_MAX {
        if !stack.poll() {
            return;
        }
    }
    panic!("the stack does not come to rest");
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The byte of the stream at `position`.
fn pattern(position: u32) -> u8 {
    (position.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// Sequence and acknowledgement number of a segment to the peer.
fn tcp_of(frame: &[u8]) -> Option<(u32, u32)> {
    let is_ours = frame.get(12..14)? == [8, 0] && frame.get(23)? == &6;
    let tcp = frame.get(ETHERNET + IPV4..).filter(|_| is_ours)?;
    let field = |at: usize| Some(u32::from_be_bytes(*tcp.get(at..)?.first_chunk()?));
    (tcp.get(2..4)? == PORTS.1.to_be_bytes()).then_some((field(4)?, field(8)?))
}

fn ethernet(ethertype: u16) -> Vec<u8> {
    [&OURS.0[..], &PEER.0, &ethertype.to_be_bytes()].concat()
}

/// The peer asks for us (RFC 826), so that it is known.
fn arp_request() -> Vec<u8> {
    let mut frame = ethernet(0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(PEER.0);
    frame.extend(PEER.1.octets());
    frame.extend([0; 6]);
    frame.extend(OURS.1.octets());
    frame
}

/// A TCP segment (RFC 9293 section 3.1) from the peer.
fn segment(sequence: u32, acknowledgement: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut tcp = [PORTS.1.to_be_bytes(), PORTS.0.to_be_bytes()].concat();
    tcp.extend(sequence.to_be_bytes());
    tcp.extend(acknowledgement.to_be_bytes());
    tcp.extend([5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    tcp.extend(data);
    let mut pseudo = [PEER.1.octets(), OURS.1.octets()].concat();
    pseudo.extend([0, 6]);
    pseudo.extend((tcp.len() as u16).to_be_bytes());
    pseudo.extend(&tcp);
    tcp[16..18].copy_from_slice(&(!checksum::sum(&pseudo)).to_ne_bytes());
    let mut ip = vec![0x45, 0];
    ip.extend(((IPV4 + tcp.len()) as u16).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 6, 0, 0]);
    ip.extend(PEER.1.octets());
    ip.extend(OURS.1.octets());
    let sum = !checksum::sum(&ip);
    ip[10..12].copy_from_slice(&sum.to_ne_bytes());
    [ethernet(0x0800), ip, tcp].concat()
}
