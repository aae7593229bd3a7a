//! PXE boot server discovery (PXE 2.1 §2.2): a client that has an address asks for the boot
//! servers of a type what to boot.
//!
//! Option 43 of the DHCP answer tells where they are. The servers that it names for the type are
//! asked in their order, then its multicast group, then everybody, as far as its discovery
//! control allows; the first answer is taken. A proxyDHCP server whose offer names no file is asked
//! in the same way, and not for a type.

use super::compose::encode_shortened;
use super::receive::is_host_address;
use super::{Config, Destination, Retry, Transmit};
use crate::limits;
use crate::random::Random;
use crate::wire::{HardwareAddress, Message, MessageType, Op, Options, code};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryEvent {
    /// The ACK of a boot server, whose address is in option 54: siaddr and file, or option 67,
    /// tell what to boot.
    Found(Box<Message>),
    /// Nobody answered, or nobody may be asked.
    Failed(DiscoveryFailure),
}

/// The discovery found no boot server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryFailure {
    /// The type that was looked for; none where a proxyDHCP server was asked.
    pub server_type: Option<u16>,
    /// Who was asked, in this order; nobody where option 43 allows none.
    pub asked: Vec<Destination>,
    /// How long it tried.
    pub waited: Duration,
    /// How many messages it sent.
    pub sent: u32,
    /// Answers to them that are no boot server's of the type, or not of one that may be used.
    pub strangers: u32,
}

/// The search for one boot server.
#[derive(Debug)]
pub struct BootServerDiscovery {
    config: Config,
    random: Random,
    xid: u32,
    address: Ipv4Addr,
    server_type: Option<u16>,
    destinations: Vec<Destination>,
    /// The only servers to take an answer of; any where there is none.
    accepted: Option<Vec<Ipv4Addr>>,
    /// Which destination is being asked; none at the end.
    asking: Option<(Destination, Retry)>,
    began: Duration,
    failure: DiscoveryFailure,
    output: Option<Transmit>,
    event: Option<DiscoveryEvent>,
}

impl BootServerDiscovery {
    /// A discovery that starts at once: poll its output and its event. `address` is the client's;
    /// `vendor` are the sub-options of option 43.
    #[must_use]
    pub fn new(
        config: Config,
        address: Ipv4Addr,
        server_type: u16,
        vendor: &Options,
        now: Duration,
    ) -> Self {
        let directions = directions(vendor, server_type);
        Self::start(config, address, Some(server_type), directions, now)
    }

    /// Asks a proxyDHCP server whose offer names no file (PXE 2.1 §2.2.3), which it then does.
    #[must_use]
    pub fn of_proxy(config: Config, address: Ipv4Addr, proxy: Ipv4Addr, now: Duration) -> Self {
        let directions = (
            [Destination::BootServer(proxy)].into(),
            Some([proxy].into()),
        );
        Self::start(config, address, None, directions, now)
    }

    fn start(
        config: Config,
        address: Ipv4Addr,
        server_type: Option<u16>,
        (destinations, accepted): Directions,
        now: Duration,
    ) -> Self {
        let mut random = Random::new(config.seed);
        let mut discovery = Self {
            xid: random.next_u32(),
            config,
            random,
            address,
            server_type,
            destinations,
            accepted,
            asking: None,
            began: now,
            failure: DiscoveryFailure {
                server_type,
                asked: Vec::new(),
                waited: Duration::ZERO,
                sent: 0,
                strangers: 0,
            },
            output: None,
            event: None,
        };
        discovery.ask_next(now);
        discovery
    }

    /// Takes the UDP payload of a message that came to port 68.
    pub fn handle_input(&mut self, payload: &[u8]) {
        let Ok(message) = Message::parse(payload) else {
            return;
        };
        if self.asking.is_none()
            || message.op != Op::Reply
            || message.xid != self.xid
            || message.chaddr != HardwareAddress::ethernet(self.config.mac)
        {
            return;
        }
        if self.is_answer(&message) {
            self.asking = None;
            self.event = Some(DiscoveryEvent::Found(Box::new(message)));
        } else {
            self.failure.strangers = self.failure.strangers.saturating_add(1);
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        let Some((destination, retry)) = self.asking.filter(|(_, retry)| now >= retry.next) else {
            return;
        };
        if retry.sent < limits::REQUESTS_PER_BOOT_SERVER {
            let retry = retry.again(&self.config, &mut self.random, now);
            self.asking = Some((destination, retry));
            self.send(now, destination);
        } else {
            self.ask_next(now);
        }
    }

    /// The next message to send.
    pub fn poll_output(&mut self) -> Option<Transmit> {
        self.output.take()
    }

    /// The next event; there is one in all.
    pub fn poll_event(&mut self) -> Option<DiscoveryEvent> {
        self.event.take()
    }

    /// When to call [`BootServerDiscovery::handle_timeout`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.asking.map(|(_, retry)| retry.next)
    }

    fn ask_next(&mut self, now: Duration) {
        let next = self.destinations.get(self.failure.asked.len());
        let Some(&destination) = next else {
            self.asking = None;
            self.failure.waited = now.saturating_sub(self.began);
            self.event = Some(DiscoveryEvent::Failed(self.failure.clone()));
            return;
        };
        self.failure.asked.push(destination);
        self.asking = Some((
            destination,
            Retry::first(&self.config, &mut self.random, now),
        ));
        self.send(now, destination);
    }

    fn send(&mut self, now: Duration, to: Destination) {
        let waited = now.saturating_sub(self.began);
        let kind = MessageType::REQUEST;
        let mut message = self.config.message(self.xid, waited, kind, true);
        message.ciaddr = self.address;
        if let Some(server_type) = self.server_type {
            let [high, low] = server_type.to_be_bytes();
            // Layer 0: the first file of this type (PXE 2.1 table 2-1).
            let item = [code::PXE_BOOT_ITEM, 4, high, low, 0, 0, code::END];
            message.options.set(code::VENDOR_SPECIFIC, item);
        }
        if let Some(payload) = encode_shortened(message) {
            self.failure.sent = self.failure.sent.saturating_add(1);
            self.output = Some(Transmit { to, payload });
        }
    }

    fn is_answer(&self, message: &Message) -> bool {
        let options = &message.options;
        let is_allowed = message.server_identifier().is_some_and(|server| {
            let accepted = self.accepted.as_ref();
            accepted.is_none_or(|accepted| accepted.contains(&server))
        });
        let class = options.get(code::VENDOR_CLASS).unwrap_or_default();
        let vendor = options.encapsulated(code::VENDOR_SPECIFIC);
        let vendor = vendor.unwrap_or_default();
        let is_of_type = match (self.server_type, vendor.get(code::PXE_BOOT_ITEM)) {
            (Some(server_type), Some(item)) => item.starts_with(&server_type.to_be_bytes()),
            // To a DHCP server a REQUEST by broadcast is that of a client which rebinds (RFC 2131
            // §4.3.2): it gives a lease, which no boot server does.
            _ => !options.contains(code::LEASE_TIME),
        };
        message.message_type() == Some(MessageType::ACK)
            && class.starts_with(b"PXEClient")
            && is_allowed
            && is_of_type
    }
}

impl fmt::Display for DiscoveryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.waited.as_secs();
        let Some(server_type) = self.server_type else {
            return write!(
                f,
                "the proxyDHCP server did not say what to boot in {seconds} s ({} messages sent)",
                self.sent
            );
        };
        if self.asked.is_empty() {
            return write!(
                f,
                "option 43 names no PXE boot server of type {server_type}, and does not allow to \
                 look for one"
            );
        }
        write!(
            f,
            "no PXE boot server of type {server_type} answered in {seconds} s (asked: "
        )?;
        for (index, destination) in self.asked.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            match destination {
                Destination::Broadcast => f.write_str("everybody")?,
                Destination::BootServer(server) | Destination::Unicast { server, .. } => {
                    write!(f, "{server}")?;
                }
            }
        }
        write!(f, "; {} messages sent", self.sent)?;
        if self.strangers != 0 {
            write!(
                f,
                "; answers that are not such a server's: {}",
                self.strangers
            )?;
        }
        f.write_str(")")
    }
}

impl core::error::Error for DiscoveryFailure {}

/// Whom to ask, and whose answers alone to take.
type Directions = (Vec<Destination>, Option<Vec<Ipv4Addr>>);

/// What option 43 says of that (PXE 2.1 table 2-1).
fn directions(vendor: &Options, server_type: u16) -> Directions {
    // The last byte: a script may have set a wider number, and dnsmasq puts a control of its own
    // before the configured one, which continues it (RFC 3396 §7).
    let control = vendor.get(code::PXE_DISCOVERY_CONTROL).unwrap_or_default();
    let control = control.last().copied().unwrap_or(0);
    let list = vendor.get(code::PXE_BOOT_SERVERS).unwrap_or_default();
    let named = servers_of(list, server_type);
    let asked = named.iter().flatten().take(limits::BOOT_SERVERS_MAX);
    let mut destinations: Vec<Destination> = asked.copied().map(Destination::BootServer).collect();
    // A type without addresses stands for any server of it.
    let is_any = control & ONLY_NAMED == 0 || named.as_ref().is_some_and(Vec::is_empty);
    let accepted = (!is_any).then(|| named.unwrap_or_default());
    // Where no server may be taken there is nobody to ask.
    if accepted.as_ref().is_none_or(|named| !named.is_empty()) {
        let group = vendor.ipv4(code::PXE_DISCOVERY_MCAST_ADDR);
        let group = group.filter(|group| control & NO_MULTICAST == 0 && group.is_multicast());
        destinations.extend(group.map(Destination::BootServer));
        if control & NO_BROADCAST == 0 {
            destinations.push(Destination::Broadcast);
        }
    }
    (destinations, accepted)
}

/// The addresses of a type in a list of types, counts and addresses; `None` where the list does
/// not have the type. What is cut off at the end is no address.
fn servers_of(list: &[u8], server_type: u16) -> Option<Vec<Ipv4Addr>> {
    let mut rest = list;
    let mut found = None;
    while let [high, low, count, tail @ ..] = rest {
        let length = (usize::from(*count) * 4).min(tail.len());
        let (addresses, next) = tail.split_at_checked(length)?;
        if u16::from_be_bytes([*high, *low]) == server_type {
            let servers: &mut Vec<Ipv4Addr> = found.get_or_insert_default();
            let octets = addresses.as_chunks::<4>().0.iter();
            let hosts = octets.copied().map(Ipv4Addr::from);
            servers.extend(hosts.filter(|address| is_host_address(*address)));
        }
        rest = next;
    }
    found
}

/// Bits of the discovery control.
const NO_BROADCAST: u8 = 1;
const NO_MULTICAST: u8 = 2;
const ONLY_NAMED: u8 = 4;

#[cfg(test)]
mod tests;
