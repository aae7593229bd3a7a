//! A managed Ethernet switch: access and trunk ports (IEEE 802.1Q), addresses learned per VLAN,
//! counters and captures, and faults on each port's cable.
//!
//! The switch itself does no I/O and has no clock: [`Switch::receive`] takes a frame and the time,
//! [`Switch::poll_transmit`] gives frames that are due, [`Switch::poll_at`] says when the next one
//! is. [`realtime`] runs it between virtual machines and servers.

mod capture;
mod line;
pub mod realtime;
mod tag;
mod tcp;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

pub use capture::{Captures, TcpSegment, tcp_segments};
pub use line::Impairment;

use self::line::Line;
use crate::rng::Rng;

type Mac = [u8; 6];

/// How a port is configured.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// For captures and counters.
    pub name: String,
    /// The VLAN of frames without a tag; None: they are dropped.
    pub untagged: Option<u16>,
    /// The VLANs whose frames have a tag on this port.
    pub tagged: BTreeSet<u16>,
    /// The TCP ports that can be reached on it, as a firewall's rules say; None: all.
    pub services: Option<BTreeSet<u16>>,
    /// Breaks TCP connections: each time that so many bytes of theirs have left by this port.
    pub reset_every: Option<u64>,
    /// What its cable does.
    pub impairment: Impairment,
}

impl PortConfig {
    /// The port of an ordinary computer: member of one VLAN, without tags.
    pub fn access(name: &str, vlan: u16) -> Self {
        Self {
            name: name.to_owned(),
            untagged: Some(vlan),
            tagged: BTreeSet::new(),
            services: None,
            reset_every: None,
            impairment: Impairment::default(),
        }
    }

    fn is_member(&self, vlan: u16) -> bool {
        self.untagged == Some(vlan) || self.tagged.contains(&vlan)
    }
}

/// What happened on one VLAN of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames from the port.
    pub received: u64,
    /// Frames to the port.
    pub sent: u64,
    /// Frames from the port that are not allowed on it.
    pub refused: u64,
    /// Frames to the port for services that it does not have.
    pub filtered: u64,
    /// Frames that its cable lost, either way.
    pub lost: u64,
}

/// A frame that passed, with its tag as it was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When.
    pub at: Duration,
    /// Where.
    pub place: Place,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Where a frame was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Between a port and its cable, as it is there.
    Port(usize),
    /// Inside the switch, on a VLAN: always with that VLAN's tag.
    Vlan(u16),
}

#[derive(Debug)]
struct Port {
    config: PortConfig,
    /// Bytes of TCP that left since the last reset.
    since_reset: u64,
    inward: Line,
    outward: Line,
}

/// A frame inside the switch.
#[derive(Debug)]
struct Classified {
    vlan: u16,
    /// Tag control information: priority and that VLAN.
    control: u16,
    destination: Mac,
    source: Mac,
    /// The frame without a tag.
    bare: Vec<u8>,
}

impl Classified {
    /// Another frame in the same VLAN.
    fn with(&self, bare: Vec<u8>) -> Self {
        Self { bare, ..*self }
    }
}

/// What the switch does to a frame beyond switching it.
enum Interference {
    None,
    Filtered,
    Reset(tcp::Segment),
}

/// Where a frame under way is going.
#[derive(Debug)]
enum Leg {
    IntoSwitch(usize),
    OutOfSwitch(usize),
}

/// The switch.
#[derive(Debug)]
pub struct Switch {
    ports: Vec<Port>,
    learned: HashMap<(u16, Mac), usize>,
    under_way: BTreeMap<(Duration, u64), (Leg, Vec<u8>)>,
    sequence: u64,
    rng: Rng,
    counters: BTreeMap<(usize, u16), Counters>,
    captured: Vec<Captured>,
}

impl Switch {
    /// A switch with these ports; `seed` decides which frames are lost.
    pub fn new(ports: Vec<PortConfig>, seed: u64) -> Self {
        let port = |config| Port {
            config,
            since_reset: 0,
            inward: Line::default(),
            outward: Line::default(),
        };
        Self {
            ports: ports.into_iter().map(port).collect(),
            learned: HashMap::new(),
            under_way: BTreeMap::new(),
            sequence: 0,
            rng: Rng::new(seed),
            counters: BTreeMap::new(),
            captured: Vec::new(),
        }
    }

    /// A frame is put into the cable of `port` at its far end. Unknown ports are ignored.
    pub fn receive(&mut self, now: Duration, port: usize, frame: &[u8]) {
        let Some(from) = self.ports.get_mut(port) else {
            return;
        };
        let impairment = from.config.impairment;
        match from
            .inward
            .carry(now, frame.len(), &impairment, &mut self.rng)
        {
            Some(at) => self.schedule(at, Leg::IntoSwitch(port), frame.to_vec()),
            None => {
                let vlan = self.classify(port, frame).map_or(0, |frame| frame.vlan);
                self.count(port, vlan).lost += 1;
            }
        }
    }

    /// When the next frame arrives somewhere.
    pub fn poll_at(&self) -> Option<Duration> {
        self.under_way.keys().next().map(|(at, _)| *at)
    }

    /// The next frame that leaves a cable at its far end until now, and the port it is at.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<(usize, Vec<u8>)> {
        while let Some(next) = self.under_way.first_entry() {
            if next.key().0 > now {
                return None;
            }
            let ((at, _), (leg, frame)) = next.remove_entry();
            match leg {
                Leg::IntoSwitch(port) => self.forward(at, port, &frame),
                Leg::OutOfSwitch(port) => return Some((port, frame)),
            }
        }
        None
    }

    /// Frames captured since the last call.
    pub fn take_captured(&mut self) -> Vec<Captured> {
        std::mem::take(&mut self.captured)
    }

    /// The number of the port of that name.
    pub fn port(&self, name: &str) -> Option<usize> {
        self.ports.iter().position(|port| port.config.name == name)
    }

    /// The port's configuration, to be looked at or changed from now on. None: no such port.
    pub fn config_mut(&mut self, port: usize) -> Option<&mut PortConfig> {
        self.ports.get_mut(port).map(|port| &mut port.config)
    }

    /// What happened, by port and VLAN. VLAN 0 are frames of no VLAN.
    pub fn counters(&self) -> &BTreeMap<(usize, u16), Counters> {
        &self.counters
    }

    /// A line for each port and VLAN.
    pub fn report(&self) -> String {
        let mut text =
            "port         VLAN   received       sent    refused   filtered       lost\n".to_owned();
        for ((port, vlan), counters) in &self.counters {
            let name = self.ports.get(*port).map_or("", |port| &port.config.name);
            text += &format!(
                "{name:12} {vlan:4} {:10} {:10} {:10} {:10} {:10}\n",
                counters.received,
                counters.sent,
                counters.refused,
                counters.filtered,
                counters.lost
            );
        }
        text
    }

    fn count(&mut self, port: usize, vlan: u16) -> &mut Counters {
        self.counters.entry((port, vlan)).or_default()
    }

    fn schedule(&mut self, at: Duration, leg: Leg, frame: Vec<u8>) {
        self.sequence += 1;
        self.under_way.insert((at, self.sequence), (leg, frame));
    }

    /// Gives a frame from `port` its VLAN (802.1Q-2022 6.9.1). VLAN 0 in a tag is a priority only:
    /// the frame counts as untagged. None if it is too short to be a frame.
    fn classify(&self, port: usize, frame: &[u8]) -> Option<Classified> {
        let (control, bare) = tag::pop(frame)?;
        let control = control.unwrap_or(0);
        let vlan = match tag::vlan(control) {
            0 => self.ports.get(port)?.config.untagged.unwrap_or(0),
            vlan => vlan,
        };
        Some(Classified {
            control: tag::with_vlan(control, vlan),
            vlan,
            destination: address(&bare, 0)?,
            source: address(&bare, 6)?,
            bare,
        })
    }

    fn forward(&mut self, now: Duration, from: usize, frame: &[u8]) {
        self.capture(now, Place::Port(from), frame);
        let Some(frame) = self.classify(from, frame) else {
            self.count(from, 0).refused += 1;
            return;
        };
        let vlan = frame.vlan;
        if !self.ports[from].config.is_member(vlan) {
            self.count(from, vlan).refused += 1;
            return;
        }
        self.count(from, vlan).received += 1;
        self.capture(
            now,
            Place::Vlan(vlan),
            &tag::push(&frame.bare, frame.control),
        );
        if !is_group(frame.source) {
            self.learned.insert((vlan, frame.source), from);
        }
        match self.learned.get(&(vlan, frame.destination)) {
            Some(&to) if !is_group(frame.destination) => self.deliver(now, from, to, &frame),
            _ => (0..self.ports.len()).for_each(|to| self.deliver(now, from, to, &frame)),
        }
    }

    fn deliver(&mut self, now: Duration, from: usize, to: usize, frame: &Classified) {
        if from == to || !self.ports[to].config.is_member(frame.vlan) {
            return;
        }
        match self.interfere(to, &frame.bare) {
            Interference::None => self.send(now, to, frame),
            Interference::Filtered => self.count(to, frame.vlan).filtered += 1,
            Interference::Reset(segment) => {
                for (port, bare) in [to, from].into_iter().zip(segment.resets()) {
                    self.send(now, port, &frame.with(bare));
                }
            }
        }
    }

    /// What becomes of a frame that is about to leave by `to`.
    fn interfere(&mut self, to: usize, bare: &[u8]) -> Interference {
        let port = &mut self.ports[to];
        let Some(segment) = tcp::Segment::parse(bare) else {
            return Interference::None;
        };
        let services = port.config.services.as_ref();
        if services.is_some_and(|services| !services.contains(&segment.service())) {
            return Interference::Filtered;
        }
        port.since_reset += segment.length as u64;
        if port
            .config
            .reset_every
            .is_some_and(|limit| port.since_reset >= limit)
        {
            port.since_reset = 0;
            return Interference::Reset(segment);
        }
        Interference::None
    }

    fn send(&mut self, now: Duration, to: usize, frame: &Classified) {
        let port = &mut self.ports[to];
        let bytes = if port.config.untagged == Some(frame.vlan) {
            frame.bare.clone()
        } else {
            tag::push(&frame.bare, frame.control)
        };
        let impairment = port.config.impairment;
        let arrival = port
            .outward
            .carry(now, bytes.len(), &impairment, &mut self.rng);
        self.capture(now, Place::Port(to), &bytes);
        let counters = self.count(to, frame.vlan);
        counters.sent += 1;
        match arrival {
            Some(at) => self.schedule(at, Leg::OutOfSwitch(to), bytes),
            None => counters.lost += 1,
        }
    }

    fn capture(&mut self, at: Duration, place: Place, frame: &[u8]) {
        self.captured.push(Captured {
            at,
            place,
            frame: frame.to_vec(),
        });
    }
}

/// Whether an address is a group's: broadcast and multicast (802-2014 8.2.2).
const fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

fn address(frame: &[u8], at: usize) -> Option<Mac> {
    frame.get(at..at + 6)?.try_into().ok()
}

#[cfg(test)]
mod tests;
