//! The server: RFC 2131 §4.3 as a machine without I/O.
//!
//! [`Server::handle_input`] takes requests; [`Server::poll_output`] gives, in this order, records
//! to keep ([`Output::Store`]) and messages to send ([`Output::Send`]). A caller must have the
//! records on stable storage before it sends what follows them (RFC 2131 §2.2 and §3.1 step 4);
//! it may first take in many requests and store all their records at once.
//!
//! Time: `now` and the times in records must be comparable after a restart, so a caller with a
//! lease file counts from the Unix epoch. The server has no timers: a lease ends by comparison
//! with `now`.
//!
//! An address is looked for in the order of RFC 2131 §4.3.1: the reservation, the client's last
//! address, the one it asks for, one that was never used, the one that ended longest ago.

mod choose;
mod config;
mod event;
mod leases;
mod reply;
#[cfg(test)]
mod tests;

pub use config::{AddressRange, Config, ConfigError, Host, Match, Profile, Subnet};
pub use event::{Event, EventKind, Refusal};
pub use leases::{ClientKey, Lease, LeaseState};

use crate::limits;
use crate::wire::{HardwareAddress, Message, MessageType, Op, code, uuid_of};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;
use leases::Leases;

/// What the caller has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Keep this record. It replaces an earlier one of the same address.
    Store(Lease),
    /// Send this, once every record before it is on stable storage.
    Send(Transmit),
}

/// A DHCP payload to send from port 67.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Where a reply goes (RFC 2131 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a relay agent, port 67.
    Relay(Ipv4Addr),
    /// To a client that has this address, port 68.
    Client(Ipv4Addr),
    /// To a client that does not have `address` yet and so does not answer ARP for it: a frame to
    /// its hardware address, or a broadcast where that cannot be sent. Port 68.
    Hardware {
        /// Frame destination.
        hardware: HardwareAddress,
        /// IP destination.
        address: Ipv4Addr,
    },
    /// To 255.255.255.255, port 68.
    Broadcast,
}

/// A DHCP server for one interface.
#[derive(Debug)]
pub struct Server {
    config: Config,
    index: Index,
    leases: Leases,
    /// Per subnet: where to look for a free address first.
    cursors: Vec<u32>,
    /// Per subnet: until when no address can become free by itself.
    full_until: Vec<Duration>,
    outputs: VecDeque<Output>,
    events: VecDeque<Event>,
}

/// Hosts by identity, as positions in [`Config::hosts`].
#[derive(Debug, Default)]
struct Index {
    mac: BTreeMap<[u8; 6], usize>,
    client_identifier: BTreeMap<Vec<u8>, usize>,
    uuid: BTreeMap<[u8; 16], usize>,
    address: BTreeMap<Ipv4Addr, usize>,
}

/// A request with what the server knows about its sender.
#[derive(Debug)]
struct Request {
    message: Message,
    client: ClientKey,
    /// Position in [`Config::hosts`].
    host: Option<usize>,
    /// Position in [`Config::subnets`]: where the client is.
    subnet: usize,
}

impl Server {
    /// A server that remembers `leases`, the latest record of each address.
    ///
    /// # Errors
    /// What [`Config::check`] finds.
    pub fn new(
        config: Config,
        leases: impl IntoIterator<Item = Lease>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let mut index = Index::default();
        for (position, host) in config.hosts.iter().enumerate() {
            index.mac.extend(host.mac.map(|mac| (mac, position)));
            index.uuid.extend(host.uuid.map(|uuid| (uuid, position)));
            index
                .address
                .extend(host.address.map(|address| (address, position)));
            let identifier = host.client_identifier.clone();
            index
                .client_identifier
                .extend(identifier.map(|id| (id, position)));
        }
        let mut known = Leases::default();
        for lease in leases {
            known.insert(lease);
        }
        Ok(Self {
            cursors: config.subnets.iter().map(|_| 0).collect(),
            full_until: config.subnets.iter().map(|_| Duration::ZERO).collect(),
            config,
            index,
            leases: known,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        })
    }

    /// Takes the UDP payload of a message that came to port 67.
    pub fn handle_input(&mut self, now: Duration, payload: &[u8]) {
        let message = match Message::parse(payload) {
            Ok(message) if message.op == Op::Request => message,
            Ok(_) => return,
            Err(error) => {
                self.push_event(None, EventKind::Malformed(error));
                return;
            }
        };
        let hardware = message.chaddr;
        let Some(kind) = message.message_type() else {
            self.push_event(Some(hardware), EventKind::Bootp);
            return;
        };
        let Some(subnet) = self.subnet_of(&message) else {
            self.push_event(Some(hardware), EventKind::UnknownNetwork(message.giaddr));
            return;
        };
        let request = Request {
            client: ClientKey::of(&message),
            host: self.host_of(&message),
            subnet,
            message,
        };
        match kind {
            MessageType::DISCOVER => self.handle_discover(now, &request),
            MessageType::REQUEST => self.handle_request(now, &request),
            MessageType::DECLINE => self.handle_decline(now, &request),
            MessageType::RELEASE => self.handle_release(now, &request),
            MessageType::INFORM => self.handle_inform(&request),
            other => self.push_event(Some(hardware), EventKind::Unexpected(other)),
        }
    }

    /// Nothing is ever due; present because every machine has it.
    pub fn handle_timeout(&mut self, _now: Duration) {}

    /// Never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next event, for a log.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What is to be kept: the latest record of each address.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases
            .iter()
            .filter(|lease| lease.state != LeaseState::Offered)
    }

    fn handle_discover(&mut self, now: Duration, request: &Request) {
        let Some(address) = self.choose(now, request) else {
            let network = self
                .config
                .subnets
                .get(request.subnet)
                .map(|subnet| subnet.network);
            let network = network.unwrap_or(Ipv4Addr::UNSPECIFIED);
            self.push_event(Some(request.message.chaddr), EventKind::NoAddress(network));
            return;
        };
        // A client that discovers again while its lease runs keeps the lease until it asks.
        let holds = self.leases.get(address).is_some_and(|lease| {
            lease.client == request.client
                && lease.state == LeaseState::Bound
                && now < lease.expires
        });
        if !holds {
            let expires = now.saturating_add(self.config.offer_hold);
            self.leases
                .insert(lease_of(request, address, LeaseState::Offered, expires));
        }
        self.push_event(Some(request.message.chaddr), EventKind::Offered(address));
        self.send_lease(request, MessageType::OFFER, address);
    }

    fn handle_request(&mut self, now: Duration, request: &Request) {
        let message = &request.message;
        let requested = message.options.ipv4(code::REQUESTED_ADDRESS);
        match (message.server_identifier(), requested, message.ciaddr) {
            (Some(server), requested, ciaddr) => {
                self.handle_selecting(now, request, server, requested.unwrap_or(ciaddr));
            }
            (None, Some(address), Ipv4Addr::UNSPECIFIED) => {
                self.handle_reboot(now, request, address);
            }
            (None, _, Ipv4Addr::UNSPECIFIED) => {
                self.push_event(Some(message.chaddr), EventKind::NothingRequested);
            }
            (None, _, address) => self.handle_renewal(now, request, address),
        }
    }

    /// The client answers an offer (RFC 2131 §4.3.2, "generated during SELECTING state").
    fn handle_selecting(
        &mut self,
        now: Duration,
        request: &Request,
        server: Ipv4Addr,
        address: Ipv4Addr,
    ) {
        if server != self.identifier(&request.message) {
            // Our offer is not wanted: the address is free for others at once.
            let offered = self.leases.of_client(&request.client);
            if let Some(offer) = offered.filter(|lease| lease.state == LeaseState::Offered) {
                let address = offer.address;
                self.leases.remove(address);
                self.reset_full();
            }
            self.push_event(Some(request.message.chaddr), EventKind::ChoseOther(server));
            return;
        }
        match self.permit(now, request, address) {
            Ok(()) => self.grant(now, request, address),
            // The client named this server, so it is told even beside other servers.
            Err(refusal) => self.refuse(request, address, refusal),
        }
    }

    /// The client remembers an address (RFC 2131 §4.3.2, "generated during INIT-REBOOT state").
    fn handle_reboot(&mut self, now: Duration, request: &Request, address: Ipv4Addr) {
        let known = self.leases.of_client(&request.client).is_some()
            || self.reserved_address(request).is_some();
        match self.permit(now, request, address) {
            Err(Refusal::WrongNetwork) if self.config.authoritative => {
                self.refuse(request, address, Refusal::WrongNetwork);
            }
            // "If the DHCP server has no record of this client, then it MUST remain silent".
            _ if !known => {
                self.push_event(
                    Some(request.message.chaddr),
                    EventKind::UnknownClient(address),
                );
            }
            Ok(()) if self.is_last_address(request, address) => self.grant(now, request, address),
            // "or the requested IP address is incorrect".
            Ok(()) => self.refuse(request, address, Refusal::NotYours),
            Err(refusal) => self.refuse(request, address, refusal),
        }
    }

    /// The client wants more time (RFC 2131 §4.3.2, "RENEWING" and "REBINDING"). A server that lost
    /// its records learns them again from such requests, as long as nobody else has the address.
    fn handle_renewal(&mut self, now: Duration, request: &Request, address: Ipv4Addr) {
        match self.permit(now, request, address) {
            Ok(()) => self.grant(now, request, address),
            Err(refusal) if self.config.authoritative => self.refuse(request, address, refusal),
            Err(_) => {
                self.push_event(
                    Some(request.message.chaddr),
                    EventKind::UnknownClient(address),
                );
            }
        }
    }

    /// RFC 2131 §4.3.3. Only the client that was given the address can have found it in use.
    fn handle_decline(&mut self, now: Duration, request: &Request) {
        let Some(address) = request.message.options.ipv4(code::REQUESTED_ADDRESS) else {
            return;
        };
        let owns = self
            .leases
            .get(address)
            .is_some_and(|lease| lease.client == request.client);
        if !self.is_for_us(&request.message) || !owns {
            return;
        }
        let expires = now.saturating_add(self.config.decline_hold);
        self.keep(lease_of(request, address, LeaseState::Declined, expires));
        self.push_event(Some(request.message.chaddr), EventKind::Declined(address));
    }

    /// RFC 2131 §4.3.4.
    fn handle_release(&mut self, now: Duration, request: &Request) {
        let address = request.message.ciaddr;
        let owned = self.leases.get(address).is_some_and(|lease| {
            lease.client == request.client && lease.state == LeaseState::Bound
        });
        if !self.is_for_us(&request.message) || !owned {
            return;
        }
        self.keep(lease_of(request, address, LeaseState::Released, now));
        self.reset_full();
        self.push_event(Some(request.message.chaddr), EventKind::Released(address));
    }

    /// RFC 2131 §4.3.5: the client has an address and wants the options.
    fn handle_inform(&mut self, request: &Request) {
        let address = request.message.ciaddr;
        let here = self.config.subnets.get(request.subnet);
        if !here.is_some_and(|subnet| subnet.is_usable(address)) {
            self.push_event(
                Some(request.message.chaddr),
                EventKind::UnknownNetwork(address),
            );
            return;
        }
        self.push_event(Some(request.message.chaddr), EventKind::Informed(address));
        self.send_information(request);
    }

    fn grant(&mut self, now: Duration, request: &Request, address: Ipv4Addr) {
        let expires = match reply::lease_seconds(self.config.lease_time) {
            u32::MAX => Duration::MAX,
            seconds => now.saturating_add(Duration::from_secs(seconds.into())),
        };
        self.keep(lease_of(request, address, LeaseState::Bound, expires));
        self.push_event(
            Some(request.message.chaddr),
            EventKind::Acknowledged(address),
        );
        self.send_lease(request, MessageType::ACK, address);
    }

    fn refuse(&mut self, request: &Request, address: Ipv4Addr, refusal: Refusal) {
        self.push_event(
            Some(request.message.chaddr),
            EventKind::Refused(address, refusal),
        );
        self.send_nak(request, refusal);
    }

    fn keep(&mut self, lease: Lease) {
        self.leases.insert(lease.clone());
        self.outputs.push_back(Output::Store(lease));
    }

    fn is_for_us(&self, message: &Message) -> bool {
        message.server_identifier() == Some(self.identifier(message))
    }

    fn host_of(&self, message: &Message) -> Option<usize> {
        let by_mac = || self.index.mac.get(&message.chaddr.mac()?);
        let by_identifier = || {
            self.index
                .client_identifier
                .get(message.options.get(code::CLIENT_IDENTIFIER)?)
        };
        let by_uuid = || self.index.uuid.get(&uuid_of(&message.options)?);
        by_mac().or_else(by_identifier).or_else(by_uuid).copied()
    }

    /// Where the client is: what the relay says (RFC 3527, RFC 2131 §4.3.1), else the network of
    /// the address that it uses, else this server's own.
    fn subnet_of(&self, message: &Message) -> Option<usize> {
        let holding = |address| {
            self.config
                .subnets
                .iter()
                .position(|net| net.contains(address))
        };
        if message.giaddr.is_unspecified() {
            let by_ciaddr = Some(message.ciaddr)
                .filter(|ciaddr| !ciaddr.is_unspecified())
                .and_then(holding);
            return by_ciaddr.or_else(|| holding(self.config.server));
        }
        let selected = message.options.relay_agent(code::RELAY_LINK_SELECTION);
        match selected.and_then(|value| <[u8; 4]>::try_from(value).ok()) {
            Some(link) => holding(Ipv4Addr::from(link)),
            None => holding(message.giaddr),
        }
    }

    fn reset_full(&mut self) {
        self.full_until.fill(Duration::ZERO);
    }

    fn push_event(&mut self, hardware: Option<HardwareAddress>, kind: EventKind) {
        if self.events.len() >= limits::QUEUE_LEN_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event { hardware, kind });
    }
}

fn lease_of(request: &Request, address: Ipv4Addr, state: LeaseState, expires: Duration) -> Lease {
    let host_name = request
        .message
        .options
        .text(code::HOST_NAME)
        .unwrap_or_default();
    Lease {
        address,
        client: request.client.clone(),
        hardware: request.message.chaddr,
        state,
        expires,
        host_name: host_name
            .iter()
            .copied()
            .take(limits::TEXT_LEN_MAX)
            .collect(),
    }
}
