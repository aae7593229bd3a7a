//! A virtual Ethernet switch with its clock: frames are delayed, lost, doubled and overtaken by
//! one another as the seed says, and a card that is not polled overflows as real ones do.
//!
//! Time moves only by [`Wire::advance`] and by what a card's calls cost; there is no thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bowline_net::{Clock, Link, Nic, NicError, ReceiveRing};

use crate::rng::Rng;

/// What the wire does to frames.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// Time from one port to another.
    pub latency: Duration,
    /// Up to this much more, drawn for each frame: frames overtake one another.
    pub jitter: Duration,
    /// Frames lost in a thousand.
    pub loss: u32,
    /// Frames doubled in a thousand.
    pub duplication: u32,
}

impl Conditions {
    /// A short, faultless cable.
    pub const GOOD: Self = Self {
        latency: Duration::from_micros(50),
        jitter: Duration::ZERO,
        loss: 0,
        duplication: 0,
    };
}

/// What happens to a card when a frame arrives and its ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The frame is lost.
    Drops,
    /// The card never receives again, as U-Boot's virtio-net before 2025.10.
    Dies,
}

/// A model of a card and of the firmware that drives it.
#[derive(Clone, Copy, Debug)]
pub struct CardModel {
    /// Station address.
    pub mac: [u8; 6],
    /// Frames it holds while nobody polls.
    pub ring: usize,
    /// What the frame after those does.
    pub overflow: Overflow,
    /// What it tells the receive budget.
    pub budget: ReceiveRing,
    /// Time a receive call takes when it returns a frame.
    pub receive_cost: Duration,
    /// Time a transmit call takes.
    pub transmit_cost: Duration,
    /// Bytes that the card appends to each frame (U-Boot's e1000: the check sequence, 4).
    pub trailer: usize,
}

impl CardModel {
    /// virtio-net as U-Boot before 2025.10 drives it: 32 buffers, and dead on the 33rd frame.
    pub const UBOOT_VIRTIO: Self = Self {
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
        ring: 32,
        overflow: Overflow::Dies,
        budget: ReceiveRing {
            initial: 24,
            limit: 24,
        },
        receive_cost: Duration::from_micros(20),
        transmit_cost: Duration::from_micros(120),
        trailer: 0,
    };

    /// A card of a real board: few descriptors, frames beyond them are dropped.
    pub const SMALL_BOARD: Self = Self {
        ring: 8,
        overflow: Overflow::Drops,
        budget: ReceiveRing {
            initial: 24,
            limit: 64,
        },
        ..Self::UBOOT_VIRTIO
    };

    /// e1000 as U-Boot drives it: the frame check sequence comes along.
    pub const UBOOT_E1000: Self = Self {
        trailer: 4,
        overflow: Overflow::Drops,
        ..Self::UBOOT_VIRTIO
    };

    /// virtio-net as EDK2 drives it.
    pub const EDK2_VIRTIO: Self = Self {
        ring: 512,
        overflow: Overflow::Drops,
        budget: ReceiveRing {
            initial: 24,
            limit: 256,
        },
        receive_cost: Duration::from_micros(10),
        transmit_cost: Duration::from_micros(30),
        ..Self::UBOOT_VIRTIO
    };
}

/// The switch, its ports and the clock. Cloning gives another handle to the same wire.
#[derive(Clone, Debug)]
pub struct Wire(Rc<RefCell<State>>);

#[derive(Debug)]
struct State {
    now: Duration,
    rng: Rng,
    conditions: Conditions,
    ports: Vec<PortState>,
    learned: HashMap<[u8; 6], usize>,
    in_flight: BTreeMap<(Duration, u64), (usize, Vec<u8>)>,
    sequence: u64,
    trace: Vec<(Duration, Vec<u8>)>,
}

#[derive(Debug)]
struct PortState {
    model: CardModel,
    ring: VecDeque<Vec<u8>>,
    dead: bool,
    stopped: bool,
    unplugged: bool,
    peak: usize,
    overflowed: u64,
}

impl Wire {
    /// A switch without ports.
    pub fn new(seed: u64, conditions: Conditions) -> Self {
        Self(Rc::new(RefCell::new(State {
            now: Duration::ZERO,
            rng: Rng::new(seed),
            conditions,
            ports: Vec::new(),
            learned: HashMap::new(),
            in_flight: BTreeMap::new(),
            sequence: 0,
            trace: Vec::new(),
        })))
    }

    /// Plugs a card in.
    pub fn plug(&self, model: CardModel) -> Card {
        let mut state = self.0.borrow_mut();
        state.ports.push(PortState {
            model,
            ring: VecDeque::new(),
            dead: false,
            stopped: false,
            unplugged: false,
            peak: 0,
            overflowed: 0,
        });
        Card {
            wire: self.clone(),
            port: state.ports.len() - 1,
            model,
        }
    }

    /// When the next frame arrives somewhere.
    pub fn next_arrival(&self) -> Option<Duration> {
        self.0.borrow().in_flight.keys().next().map(|(at, _)| *at)
    }

    /// Moves the clock to `to` (never back) and delivers what arrives until then.
    pub fn advance(&self, to: Duration) {
        self.0.borrow_mut().advance(to);
    }

    /// Changes the weather.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.0.borrow_mut().conditions = conditions;
    }

    /// Every frame that was sent, with its time: for a failing seed's diagnosis.
    pub fn trace(&self) -> Vec<(Duration, Vec<u8>)> {
        self.0.borrow().trace.clone()
    }
}

impl Clock for Wire {
    fn now(&self) -> Duration {
        self.0.borrow().now
    }
}

impl State {
    fn advance(&mut self, to: Duration) {
        while let Some(entry) = self.in_flight.first_entry() {
            if entry.key().0 > to {
                break;
            }
            let ((at, _), (port, frame)) = entry.remove_entry();
            self.now = self.now.max(at);
            self.ports[port].arrive(frame);
        }
        self.now = self.now.max(to);
    }

    fn send(&mut self, from: usize, frame: &[u8]) {
        let (Some(destination), Some(source)) = (address(frame, 0), address(frame, 6)) else {
            return;
        };
        self.trace.push((self.now, frame.to_vec()));
        self.learned.insert(source, from);
        let group = destination[0] & 1 == 1;
        match self.learned.get(&destination) {
            Some(&port) if !group => self.dispatch(from, port, frame),
            _ => (0..self.ports.len()).for_each(|port| self.dispatch(from, port, frame)),
        }
    }

    fn dispatch(&mut self, from: usize, port: usize, frame: &[u8]) {
        if from == port || self.ports[from].unplugged || self.ports[port].unplugged {
            return;
        }
        let Conditions {
            latency,
            jitter,
            loss,
            duplication,
        } = self.conditions;
        let copies = 1 + usize::from(self.rng.chance(duplication));
        for _ in 0..copies {
            if self.rng.chance(loss) {
                continue;
            }
            let late = self.rng.below(jitter.as_micros() as u64 + 1);
            let at = self.now + latency + Duration::from_micros(late);
            self.sequence += 1;
            self.in_flight
                .insert((at, self.sequence), (port, frame.to_vec()));
        }
    }
}

impl PortState {
    fn arrive(&mut self, mut frame: Vec<u8>) {
        if self.dead || self.stopped {
            return;
        }
        if self.ring.len() == self.model.ring {
            self.overflowed += 1;
            self.dead = self.model.overflow == Overflow::Dies;
            return;
        }
        frame.resize(frame.len().max(60) + self.model.trailer, 0);
        self.ring.push_back(frame);
        self.peak = self.peak.max(self.ring.len());
    }
}

fn address(frame: &[u8], at: usize) -> Option<[u8; 6]> {
    frame.get(at..at + 6)?.try_into().ok()
}

/// A card on the wire. Cloning gives another handle to the same card.
#[derive(Clone, Debug)]
pub struct Card {
    wire: Wire,
    port: usize,
    model: CardModel,
}

impl Card {
    /// Frames wait to be received.
    pub fn has_frames(&self) -> bool {
        !self.wire.0.borrow().ports[self.port].ring.is_empty()
    }

    /// The most frames that ever waited.
    pub fn peak(&self) -> usize {
        self.wire.0.borrow().ports[self.port].peak
    }

    /// Frames that found the ring full.
    pub fn overflowed(&self) -> u64 {
        self.wire.0.borrow().ports[self.port].overflowed
    }

    /// The card has died of an overflow.
    pub fn is_dead(&self) -> bool {
        self.wire.0.borrow().ports[self.port].dead
    }

    /// Pulls the cable (`false`) or plugs it in again.
    pub fn set_plugged(&self, plugged: bool) {
        self.wire.0.borrow_mut().ports[self.port].unplugged = !plugged;
    }
}

impl Nic for Card {
    fn mac(&self) -> [u8; 6] {
        self.model.mac
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, NicError> {
        let mut state = self.wire.0.borrow_mut();
        let Some(frame) = state.ports[self.port].ring.pop_front() else {
            return Ok(None);
        };
        let length = frame.len().min(buffer.len());
        buffer[..length].copy_from_slice(&frame[..length]);
        let now = state.now;
        state.advance(now + self.model.receive_cost);
        Ok(Some(length))
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), NicError> {
        let mut state = self.wire.0.borrow_mut();
        let now = state.now;
        state.advance(now + self.model.transmit_cost);
        state.send(self.port, frame);
        Ok(())
    }

    fn link(&self) -> Link {
        if self.wire.0.borrow().ports[self.port].unplugged {
            Link::Down
        } else {
            Link::Up
        }
    }

    fn receive_ring(&self) -> ReceiveRing {
        self.model.budget
    }

    fn shutdown(&mut self) {
        self.wire.0.borrow_mut().ports[self.port].stopped = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn frame(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        let mut frame = [to.as_slice(), &from, &[8, 0]].concat();
        frame.resize(64, 7);
        frame
    }

    fn pair(seed: u64, conditions: Conditions, model: CardModel) -> (Wire, Card, Card) {
        let wire = Wire::new(seed, conditions);
        let client = wire.plug(model);
        let server = wire.plug(CardModel {
            mac: SERVER,
            ..CardModel::EDK2_VIRTIO
        });
        (wire, client, server)
    }

    #[test]
    fn a_frame_takes_the_latency_and_reaches_only_its_owner() {
        let (wire, mut client, mut server) = pair(1, Conditions::GOOD, CardModel::EDK2_VIRTIO);
        let mut stranger = wire.plug(CardModel {
            mac: [2, 0, 0, 0, 0, 9],
            ..CardModel::EDK2_VIRTIO
        });
        server.transmit(&frame([0xff; 6], SERVER)).unwrap();
        let at = wire.next_arrival().unwrap();
        assert_eq!(at - wire.now(), Conditions::GOOD.latency);
        wire.advance(at);
        assert!(client.has_frames() && stranger.has_frames());
        let mut buffer = [0; 1600];
        assert_eq!(stranger.receive(&mut buffer), Ok(Some(64)));
        client.transmit(&frame(SERVER, client.mac())).unwrap();
        wire.advance(Duration::from_secs(1));
        assert!(server.has_frames() && !stranger.has_frames());
    }

    #[test]
    fn the_33rd_unpolled_frame_kills_uboots_virtio_net() {
        let (wire, mut client, mut server) = pair(1, Conditions::GOOD, CardModel::UBOOT_VIRTIO);
        for _ in 0..32 {
            server.transmit(&frame(client.mac(), SERVER)).unwrap();
        }
        wire.advance(Duration::from_secs(1));
        assert!(!client.is_dead());
        server.transmit(&frame(client.mac(), SERVER)).unwrap();
        wire.advance(Duration::from_secs(2));
        assert!(client.is_dead());
        let mut buffer = [0; 1600];
        let received = (0..100)
            .filter(|_| client.receive(&mut buffer) != Ok(None))
            .count();
        assert_eq!(received, 32);
        server.transmit(&frame(client.mac(), SERVER)).unwrap();
        wire.advance(Duration::from_secs(3));
        assert!(!client.has_frames());
    }

    #[test]
    fn the_same_seed_gives_the_same_weather() {
        let storm = Conditions {
            latency: Duration::from_micros(200),
            jitter: Duration::from_micros(500),
            loss: 100,
            duplication: 50,
        };
        let run = |seed| {
            let (wire, mut client, mut server) = pair(seed, storm, CardModel::EDK2_VIRTIO);
            for number in 0..200 {
                let mut numbered = frame(client.mac(), SERVER);
                numbered[63] = number;
                server.transmit(&numbered).unwrap();
            }
            wire.advance(Duration::from_secs(1));
            let mut order = Vec::new();
            let mut buffer = [0; 1600];
            while let Ok(Some(_)) = client.receive(&mut buffer) {
                order.push(buffer[63]);
            }
            order
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!((150..230).contains(&run(7).len()), "lost and doubled");
        assert!(!run(7).is_sorted(), "overtaken");
    }
}
