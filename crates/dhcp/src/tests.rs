//! Client and server against each other on a wire in memory, with a virtual clock and loss.

use crate::client::{self, Client};
use crate::random::Random;
use crate::server::{self, AddressRange, Output, Profile, Server, Subnet};
use crate::wire::{Architecture, Message, code};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

mod pair;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);

/// Bytes from hexadecimal digits; white space is only for the eye.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    assert!(
        digits.len().is_multiple_of(2),
        "an odd number of digits: {text}"
    );
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// One to four random edits: a byte changed, the end cut off, bytes put in.
pub(crate) fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..1 + random.next_u32() % 4 {
        let at = random.next_u32() as usize % bytes.len().max(1);
        let value = random.next_u32().to_be_bytes()[0];
        match random.next_u32() % 8 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), value),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
        }
    }
}

pub(crate) fn mac(last: u8) -> [u8; 6] {
    [0x52, 0x54, 0, 0x12, 0x34, last]
}

pub(crate) fn client_config(last: u8) -> client::Config {
    client::Config::new(
        mac(last),
        Architecture::ARM64,
        0x5eed_0000 + u64::from(last),
    )
}

/// 192.168.1.0/24 with the pool .100 to .100 + `addresses` - 1.
pub(crate) fn server_config(addresses: u8) -> server::Config {
    let mut config = server::Config::new(SERVER);
    config.subnets.push(Subnet {
        network: Ipv4Addr::new(192, 168, 1, 0),
        prefix_len: 24,
        pools: Vec::from([AddressRange {
            first: Ipv4Addr::new(192, 168, 1, 100),
            last: Ipv4Addr::new(192, 168, 1, 99 + addresses),
        }]),
        profile: Profile::default(),
    });
    config.profile.options.set_ipv4(code::ROUTER, SERVER);
    config.profile.options.set(
        code::ROOT_PATH,
        b"iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1",
    );
    config.profile.next_server = Some(SERVER);
    config.profile.filename = Some(b"bowline.efi".to_vec());
    config
}

/// A wire with clients and servers on it.
pub(crate) struct Network {
    pub(crate) now: Duration,
    pub(crate) clients: Vec<Client>,
    pub(crate) servers: Vec<Server>,
    /// What the servers had to keep, as a lease file would.
    pub(crate) kept: Vec<BTreeMap<Ipv4Addr, server::Lease>>,
    pub(crate) events: Vec<(usize, client::Event)>,
    pub(crate) log: Vec<server::Event>,
    /// Messages in a hundred that are lost.
    pub(crate) loss: u32,
    /// Servers are switched off.
    pub(crate) silent: bool,
    /// What a relay does to requests and undoes in replies.
    pub(crate) relay: Option<Relay>,
    /// Messages from clients, in order.
    pub(crate) requests: Vec<Message>,
    /// Messages from servers, in order, as the client sees them.
    pub(crate) replies: Vec<Message>,
    random: Random,
    in_flight: Vec<(Duration, Direction, Vec<u8>)>,
}

/// A relay agent (RFC 3046): its address and the option 82 that it adds and takes away.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) giaddr: Ipv4Addr,
    pub(crate) information: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    ToServers,
    ToClients,
}

impl Network {
    pub(crate) fn new(clients: Vec<Client>, servers: Vec<Server>) -> Self {
        Self {
            now: START,
            kept: servers.iter().map(|_| BTreeMap::new()).collect(),
            clients,
            servers,
            events: Vec::new(),
            log: Vec::new(),
            loss: 0,
            silent: false,
            relay: None,
            requests: Vec::new(),
            replies: Vec::new(),
            random: Random::new(1),
            in_flight: Vec::new(),
        }
    }

    pub(crate) fn seed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// Runs until nothing happens before `end`.
    pub(crate) fn run_until(&mut self, end: Duration) {
        loop {
            self.flush();
            let timers = self.clients.iter().filter_map(Client::poll_timeout);
            let arrivals = self.in_flight.iter().map(|(due, ..)| *due);
            match timers.chain(arrivals).min() {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => break,
            }
            self.deliver();
            for client in &mut self.clients {
                client.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// The lease of a client that must have one.
    pub(crate) fn lease(&self, client: usize) -> &client::Lease {
        self.clients[client].lease().unwrap_or_else(|| {
            panic!(
                "client {client} has no lease: {:?} {:?}",
                self.events, self.log
            )
        })
    }

    pub(crate) fn failure(&self, client: usize) -> Box<client::Failure> {
        let mut failures = self.events.iter().filter_map(|(who, event)| match event {
            client::Event::Failed(failure) if *who == client => Some(failure.clone()),
            _ => None,
        });
        failures
            .next_back()
            .unwrap_or_else(|| panic!("client {client} did not fail: {:?}", self.events))
    }

    fn flush(&mut self) {
        let mut sent = Vec::new();
        for (index, client) in self.clients.iter_mut().enumerate() {
            while let Some(transmit) = client.poll_output() {
                self.requests
                    .push(Message::parse(&transmit.payload).unwrap());
                sent.push((Direction::ToServers, transmit.payload));
            }
            while let Some(event) = client.poll_event() {
                self.events.push((index, event));
            }
        }
        for (server, kept) in self.servers.iter_mut().zip(&mut self.kept) {
            while let Some(output) = server.poll_output() {
                match output {
                    Output::Store(lease) => {
                        kept.insert(lease.address, lease);
                    }
                    Output::Send(transmit) => {
                        let payload = match &self.relay {
                            Some(relay) => relay.back(&transmit),
                            None => transmit.payload,
                        };
                        self.replies.push(Message::parse(&payload).unwrap());
                        sent.push((Direction::ToClients, payload));
                    }
                }
            }
            while let Some(event) = server.poll_event() {
                self.log.push(event);
            }
        }
        for (direction, payload) in sent {
            if self.random.next_u32() % 100 >= self.loss {
                self.in_flight
                    .push((self.now + LATENCY, direction, payload));
            }
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later) = self.in_flight.drain(..).partition(|(due, ..)| *due <= now);
        self.in_flight = later;
        let due: Vec<(Duration, Direction, Vec<u8>)> = due;
        for (_, direction, payload) in due {
            match direction {
                Direction::ToServers if self.silent => {}
                Direction::ToServers => {
                    let payload = match &self.relay {
                        Some(relay) => relay.forth(&payload),
                        None => payload,
                    };
                    for server in &mut self.servers {
                        server.handle_input(now, &payload);
                    }
                }
                Direction::ToClients => {
                    for client in &mut self.clients {
                        client.handle_input(now, &payload);
                    }
                }
            }
        }
    }
}

impl Relay {
    fn forth(&self, payload: &[u8]) -> Vec<u8> {
        let mut message = Message::parse(payload).unwrap();
        message.giaddr = self.giaddr;
        message.hops += 1;
        message
            .options
            .set(code::RELAY_AGENT_INFORMATION, self.information.clone());
        message.encode(1472).unwrap()
    }

    fn back(&self, transmit: &server::Transmit) -> Vec<u8> {
        assert_eq!(transmit.to, server::Destination::Relay(self.giaddr));
        let mut message = Message::parse(&transmit.payload).unwrap();
        assert_eq!(message.giaddr, self.giaddr);
        let echoed = message.options.remove(code::RELAY_AGENT_INFORMATION);
        assert_eq!(
            echoed.as_ref(),
            Some(&self.information),
            "RFC 3046 §2.2: echoed unchanged"
        );
        message.encode(1472).unwrap()
    }
}

/// Not zero, so that a time that was forgotten shows.
pub(crate) const START: Duration = Duration::from_secs(1_000_000);
const LATENCY: Duration = Duration::from_millis(1);
