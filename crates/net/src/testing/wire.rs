//! The wire: a switch that delays, loses, repeats and reorders frames, and model cards.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::spy::Spy;
use super::{TestClock, ring};
use crate::{Clock, Link, Nic, NicError, ReceiveRing};

/// What the wire does to frames, in thousandths.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) duplicate: u64,
    pub(crate) reorder: u64,
}

/// What a card does with a frame that it has no buffer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    Drop,
    /// As U-Boot's virtio-net before 2025.10: it never receives again.
    Die,
}

/// A model card.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    pub(crate) buffers: usize,
    pub(crate) overflow: Overflow,
    /// What it says of itself.
    pub(crate) ring: ReceiveRing,
    /// The limit that it says it has once it has received a frame.
    pub(crate) limit_later: Option<usize>,
    /// What a call costs.
    pub(crate) receive_cost: Duration,
    pub(crate) transmit_cost: Duration,
    /// Bytes that it leaves behind each frame (a frame check sequence).
    pub(crate) trailer: usize,
}

impl Card {
    pub(crate) fn large() -> Self {
        Self {
            buffers: usize::MAX,
            overflow: Overflow::Drop,
            ring: ring(4096, 4096),
            limit_later: None,
            receive_cost: Duration::ZERO,
            transmit_cost: Duration::ZERO,
            trailer: 0,
        }
    }

    /// U-Boot 2025.01 on virtio-net, with the costs that were measured there.
    pub(crate) fn u_boot() -> Self {
        Self {
            buffers: 32,
            overflow: Overflow::Die,
            ring: ring(24, 24),
            receive_cost: Duration::from_micros(10),
            transmit_cost: Duration::from_micros(120),
            ..Self::large()
        }
    }
}

/// One end of the wire.
#[derive(Debug)]
struct Port {
    card: Card,
    waiting: VecDeque<Vec<u8>>,
    dead: bool,
    /// When the cable towards the card is free again.
    free_at: Duration,
    /// TCP segments with data on the way to the card or in it, and their bytes.
    in_flight: usize,
    in_flight_bytes: usize,
}

/// What was seen on the way to the first card.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// TCP segments with data towards it.
    pub(crate) data: u64,
    /// Frames from it.
    pub(crate) from: u64,
    /// The most data segments on the way to it or waiting in it.
    pub(crate) in_flight_max: usize,
    /// And the most bytes of data.
    pub(crate) in_flight_bytes_max: usize,
}

/// A switch: frames go to every other port.
#[derive(Debug)]
pub(crate) struct Wire {
    clock: Rc<TestClock>,
    random: u64,
    pub(crate) faults: Faults,
    pub(crate) delay: Duration,
    ports: Vec<Port>,
    flying: BTreeMap<(Duration, u64), (usize, Vec<u8>)>,
    count: u64,
    pub(crate) seen: Seen,
    /// What the first card's peers may send.
    pub(crate) spy: Spy,
    /// Every frame, by the port that sent it, where a test wants them.
    pub(crate) log: Option<Vec<(usize, Vec<u8>)>>,
}

/// One gigabit per second.
const FRAME_TIME: Duration = Duration::from_micros(12);

impl Wire {
    pub(crate) fn new(clock: Rc<TestClock>, seed: u64, faults: Faults) -> Self {
        Self {
            clock,
            random: seed ^ 0x5851_f42d_4c95_7f2d,
            faults,
            delay: Duration::from_micros(50),
            ports: Vec::new(),
            flying: BTreeMap::new(),
            count: 0,
            seen: Seen::default(),
            spy: Spy::default(),
            log: None,
        }
    }

    pub(crate) fn plug(wire: &Rc<RefCell<Self>>, card: Card) -> TestNic {
        let mut inner = wire.borrow_mut();
        inner.ports.push(Port {
            card,
            waiting: VecDeque::new(),
            dead: false,
            free_at: Duration::ZERO,
            in_flight: 0,
            in_flight_bytes: 0,
        });
        TestNic {
            wire: wire.clone(),
            clock: inner.clock.clone(),
            index: inner.ports.len() - 1,
            card,
        }
    }

    pub(crate) fn is_dead(&self, port: usize) -> bool {
        self.ports[port].dead
    }

    fn chance(&mut self, thousandths: u64) -> bool {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % 1000 < thousandths
    }

    /// A frame from a card, or from a test that plays one.
    pub(crate) fn send(&mut self, from: usize, frame: &[u8]) {
        assert!(frame.len() >= 60, "runt of {} bytes", frame.len());
        assert!(frame.len() <= 1514, "giant of {} bytes", frame.len());
        if let Some(log) = &mut self.log {
            log.push((from, frame.to_vec()));
        }
        if from == 0 {
            self.seen.from += 1;
            self.spy.sent(frame);
        }
        for to in (0..self.ports.len()).filter(|to| *to != from) {
            if self.chance(self.faults.loss) {
                continue;
            }
            let copies = 1 + usize::from(self.chance(self.faults.duplicate));
            for _ in 0..copies {
                let late = self.chance(self.faults.reorder);
                self.fly(to, frame, late);
            }
        }
    }

    fn fly(&mut self, to: usize, frame: &[u8], late: bool) {
        let now = self.clock.now();
        let port = &mut self.ports[to];
        port.free_at = port.free_at.max(now) + FRAME_TIME;
        let extra = if late { FRAME_TIME * 4 } else { Duration::ZERO };
        let arrival = port.free_at + self.delay + extra;
        let payload = payload(frame);
        if payload > 0 {
            port.in_flight += 1;
            port.in_flight_bytes += payload;
            if to == 0 {
                let seen = &mut self.seen;
                seen.data += 1;
                seen.in_flight_max = seen.in_flight_max.max(port.in_flight);
                seen.in_flight_bytes_max = seen.in_flight_bytes_max.max(port.in_flight_bytes);
            }
        }
        self.count += 1;
        self.flying
            .insert((arrival, self.count), (to, frame.to_vec()));
    }

    pub(crate) fn next_delivery(&self) -> Option<Duration> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    /// Puts the frames whose time has come into the cards.
    pub(crate) fn deliver(&mut self) {
        let now = self.clock.now();
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (to, mut frame) = entry.remove();
            let port = &mut self.ports[to];
            if port.dead || port.waiting.len() >= port.card.buffers {
                port.dead |= port.card.overflow == Overflow::Die;
                port.gone(&frame);
                continue;
            }
            frame.extend(std::iter::repeat_n(0xfc, port.card.trailer));
            port.waiting.push_back(frame);
        }
    }
}

impl Port {
    /// A frame is no longer on its way.
    fn gone(&mut self, frame: &[u8]) {
        let payload = payload(frame);
        self.in_flight -= usize::from(payload > 0);
        self.in_flight_bytes -= payload;
    }
}

/// Bytes of TCP data in the frame.
fn payload(frame: &[u8]) -> usize {
    let frame = untagged(frame);
    crate::frame::Ip::parse(&frame)
        .and_then(|ip| crate::frame::Segment::parse(&frame, ip))
        .map_or(0, |segment| segment.len())
}

/// The frame without a VLAN tag.
pub(super) fn untagged(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let length = frame.len();
    let (_, length) = crate::card::untag(&mut frame, length);
    frame.truncate(length);
    frame
}

/// A card on the wire.
#[derive(Debug)]
pub(crate) struct TestNic {
    wire: Rc<RefCell<Wire>>,
    clock: Rc<TestClock>,
    index: usize,
    card: Card,
}

impl Nic for TestNic {
    fn mac(&self) -> [u8; 6] {
        [0x52, 0x54, 0, 0, 0, self.index as u8 + 1]
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, NicError> {
        let mut wire = self.wire.borrow_mut();
        wire.deliver();
        let port = &mut wire.ports[self.index];
        let Some(frame) = port.waiting.pop_front() else {
            return Ok(None);
        };
        port.gone(&frame);
        if self.index == 0 {
            wire.spy.taken(&frame);
        }
        self.clock.advance(self.card.receive_cost);
        buffer[..frame.len()].copy_from_slice(&frame);
        let ring = &mut self.card.ring;
        ring.limit = self.card.limit_later.unwrap_or(ring.limit);
        Ok(Some(frame.len()))
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), NicError> {
        self.clock.advance(self.card.transmit_cost);
        self.wire.borrow_mut().send(self.index, frame);
        Ok(())
    }

    fn link(&self) -> Link {
        Link::Unknown
    }

    fn receive_ring(&self) -> ReceiveRing {
        self.card.ring
    }

    fn shutdown(&mut self) {
        self.wire.borrow_mut().ports[self.index].dead = true;
    }
}
