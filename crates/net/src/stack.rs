//! The network of one card, or of a VLAN on it: the stack that everything above shares.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::ops::RangeInclusive;
use core::time::Duration;

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr, Ipv6Cidr};

use crate::arp;
use crate::budget::FlowKey;
use crate::card::{Card, VlanTag};
use crate::config::link_local;
use crate::conflict::Conflict;
use crate::device::{Device, MTU};
use crate::dns::Names;
use crate::ndp;
use crate::neighbors::Neighbor;
use crate::random::Random;
use crate::statistics::Statistics;
use crate::{Clock, Ipv4Config, Ipv6Config, Link, Nic, NotUnicast};

/// Rounds of sending in one poll: each sends at most one frame a socket.
const SEND_ROUNDS: usize = 64;
/// How long a socket without an owner may take to say its last word.
const LINGER: Duration = Duration::from_secs(1);
/// The dynamic ports (RFC 6335 section 6).
pub(crate) const DYNAMIC_PORTS: RangeInclusive<u16> = 49152..=65535;
/// The least MTU that IPv4 allows a host to assume (RFC 791 section 3.1).
const MTU_MIN: u16 = 576;

/// The network of one card, or of a VLAN on it. Clones share it.
///
/// Lives on one thread. No borrow of the inside is held while a future waits or anybody else's
/// code runs, except the [`Nic`]'s: what runs inside a call to the card (a firmware timer) may
/// call [`Self::poll`], which then does nothing, and [`Self::now`], but nothing else.
#[derive(Clone)]
pub struct Stack(Rc<Shared>);

struct Shared {
    clock: Rc<dyn Clock>,
    mac: [u8; 6],
    card: Rc<RefCell<Card>>,
    /// The stack has left its VLAN for good.
    left: Cell<bool>,
    inner: RefCell<Inner>,
}

pub(crate) struct Inner {
    pub(crate) interface: Interface,
    pub(crate) device: Device,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) config: Option<Ipv4Config>,
    pub(crate) ipv6: Option<Ipv6Config>,
    mac: [u8; 6],
    /// Sockets whose owner is gone and that still have something to say.
    closing: Vec<Closing>,
    alarms: Vec<(u64, Duration)>,
    next_alarm: u64,
    random: Random,
    /// What name servers have said.
    pub(crate) names: Names,
}

/// Part of a card's receive budget.
pub struct Reservation {
    card: Rc<RefCell<Card>>,
    frames: usize,
}

impl Reservation {
    /// Frames that may be outstanding.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} frames)", self.frames)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Also from a destructor inside a panic: never a second one.
        if let Ok(mut card) = self.card.try_borrow_mut() {
            card.budget.release(self.frames);
        }
    }
}

/// A TCP socket without an owner.
struct Closing {
    handle: SocketHandle,
    key: FlowKey,
    until: Duration,
}

impl Stack {
    /// A stack on `nic`. `seed` chooses ports, initial sequence numbers and DNS identifiers: take
    /// it from the best source of randomness there is.
    #[must_use]
    pub fn new(nic: Box<dyn Nic>, clock: Rc<dyn Clock>, seed: u64) -> Self {
        let mut mac = nic.mac();
        // A station address is never a group address (IEEE 802.3 section 3.2.3).
        if let Some(first) = mac.first_mut() {
            *first &= 0xfe;
        }
        let mut card = Card::new(nic);
        card.join(None);
        Self::on(Rc::new(RefCell::new(card)), None, mac, clock, seed)
    }

    /// A stack on a VLAN of this card (IEEE 802.1Q), beside this one and with the same station
    /// address. They share the card's receive budget and nothing else; the card must be polled
    /// through all of its stacks. `None` when the VLAN has a stack already, or this is one.
    #[must_use]
    pub fn on_vlan(&self, tag: VlanTag, seed: u64) -> Option<Self> {
        let card = Rc::clone(&self.0.card);
        let can_join = self.vlan().is_none() && card.borrow_mut().join(Some(tag.id()));
        can_join.then(|| Self::on(card, Some(tag), self.0.mac, Rc::clone(&self.0.clock), seed))
    }

    fn on(
        card: Rc<RefCell<Card>>,
        tag: Option<VlanTag>,
        mac: [u8; 6],
        clock: Rc<dyn Clock>,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        let mut device = Device::new(Rc::clone(&card), tag, mac);
        device.set_mtu(MTU);
        let interface = interface(&mut device, mac, &mut random, clock.now());
        Self(Rc::new(Shared {
            clock,
            mac,
            card,
            left: Cell::new(false),
            inner: RefCell::new(Inner {
                interface,
                device,
                sockets: SocketSet::new(Vec::new()),
                config: None,
                ipv6: None,
                mac,
                closing: Vec::new(),
                alarms: Vec::new(),
                next_alarm: 0,
                random,
                names: Names::default(),
            }),
        }))
    }

    /// Drains the card (a batch at a time), runs the protocols and sends. Returns whether
    /// anything happened. Cheap when idle; does nothing inside itself and after
    /// [`Self::shutdown`].
    pub fn poll(&self) -> bool {
        self.poll_with(false)
    }

    /// As [`Self::poll`], and sends acknowledgements that could have waited: call it before a
    /// time in which nobody polls, such as the return into an image that the firmware runs.
    pub fn settle(&self) {
        self.poll_with(true);
    }

    fn poll_with(&self, everything: bool) -> bool {
        let Ok(mut inner) = self.0.inner.try_borrow_mut() else {
            return false;
        };
        // Neither inside a call to the card, which another stack on it may have made.
        let is_usable = self.0.card.try_borrow().is_ok_and(|card| !card.is_down());
        is_usable && !self.0.left.get() && inner.poll(self.now(), everything)
    }

    /// When [`Self::poll`] or a waiting future next has something to do by itself, frames from
    /// the card apart. A moment in the past means now.
    #[must_use]
    pub fn poll_at(&self) -> Option<Duration> {
        let now = self.now();
        self.with(|inner| {
            let interface = inner
                .interface
                .poll_at(instant(now), &inner.sockets)
                .map(|at| Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)));
            let alarms = inner.alarms.iter().map(|(_, at)| *at);
            let closing = inner.closing.iter().map(|closing| closing.until);
            alarms
                .chain(closing)
                .chain(interface)
                .chain(self.0.card.borrow().budget.due_at())
                .min()
        })
    }

    /// The station address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.0.mac
    }

    /// Whether a cable is plugged in.
    #[must_use]
    pub fn link(&self) -> Link {
        self.0.card.borrow().link()
    }

    /// The VLAN that the stack is on; `None` where frames have no tag.
    #[must_use]
    pub fn vlan(&self) -> Option<VlanTag> {
        self.with(|inner| inner.device.tag())
    }

    /// The clock's time.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.clock.now()
    }

    /// Takes an address and routes, or gives them up. Connections over another address end.
    ///
    /// # Errors
    /// [`NotUnicast`] when the address is one that no host can have; nothing is changed then.
    pub fn configure_ipv4(&self, config: Option<Ipv4Config>) -> Result<(), NotUnicast> {
        config.as_ref().map_or(Ok(()), Ipv4Config::check)?;
        let now = self.now();
        self.with(|inner| {
            inner.config = config;
            inner.configure(now);
        });
        Ok(())
    }

    /// Speaks IPv6 with this configuration and the link-local address, or no longer. Connections
    /// over another address end.
    ///
    /// # Errors
    /// As [`Self::configure_ipv4`].
    pub fn configure_ipv6(&self, config: Option<Ipv6Config>) -> Result<(), NotUnicast> {
        config.as_ref().map_or(Ok(()), Ipv6Config::check)?;
        let now = self.now();
        self.with(|inner| {
            inner.ipv6 = config;
            inner.configure(now);
        });
        Ok(())
    }

    /// Asks whether anybody else has an address that is not used yet. Whoever does within a second
    /// is a [`Conflict`], as with every address that is configured.
    pub fn probe(&self, address: IpAddr) {
        let now = self.now();
        self.with(|inner| inner.probe(address, now));
    }

    /// Takes the next address, of those that are `wanted`, that another station turned out to have.
    /// It is no longer used.
    #[must_use]
    pub fn take_conflict(&self, wanted: impl Fn(IpAddr) -> bool) -> Option<Conflict> {
        self.with(|inner| inner.device.trials.take_conflict(wanted))
    }

    /// The IPv6 configuration, where IPv6 is spoken.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Config> {
        self.with(|inner| inner.ipv6.clone())
    }

    /// Where a packet to `remote` goes first: itself or the router. `None` without a route.
    #[must_use]
    pub fn next_hop(&self, remote: IpAddr) -> Option<IpAddr> {
        self.with(|inner| inner.next_hop(remote))
    }

    /// Our address towards `remote`. `None` without one of its kind.
    #[must_use]
    pub fn local_address(&self, remote: IpAddr) -> Option<IpAddr> {
        self.with(|inner| inner.source(remote))
    }

    /// The link-local address that goes with [`Self::configure_ipv6`].
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        link_local(self.0.mac)
    }

    /// The IPv4 configuration, where there is one.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Config> {
        self.with(|inner| inner.config.clone())
    }

    /// Stops the card for good, for all stacks on it. Safe at ExitBootServices: nothing is
    /// allocated or waited for.
    pub fn shutdown(&self) {
        if let Ok(mut card) = self.0.card.try_borrow_mut() {
            card.shut_down();
        }
    }

    /// Sends with another priority from now on, where `tag` is for the VLAN that the stack is on.
    pub fn set_tag(&self, tag: VlanTag) {
        self.with(|inner| inner.device.set_tag(tag));
    }

    /// Whether both are clones of one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Leaves the VLAN for good: connections end, and the number is free for a new stack. Does
    /// nothing to the stack of untagged frames, which is the card's own.
    pub fn leave_vlan(&self) {
        let Some(tag) = self.vlan() else { return };
        self.0.left.set(true);
        self.with(|inner| {
            inner.config = None;
            inner.ipv6 = None;
            for (_, socket) in inner.sockets.iter_mut() {
                if let smoltcp::socket::Socket::Tcp(socket) = socket {
                    socket.abort();
                }
            }
        });
        self.0.card.borrow_mut().leave(Some(tag.id()));
    }

    /// What has been counted.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.with(|inner| {
            let budget = &self.0.card.borrow().budget;
            Statistics {
                retransmissions: budget.retransmissions,
                duplicates: budget.duplicates,
                losses: budget.losses,
                budget: budget.frames(),
                budget_limit: budget.limit(),
                ..inner.device.statistics
            }
        })
    }

    /// Who has been heard of on the link, the last one last.
    #[must_use]
    pub fn neighbors(&self) -> Vec<Neighbor> {
        self.with(|inner| inner.device.neighbors.list())
    }

    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut Inner) -> R) -> R {
        run(&mut self.0.inner.borrow_mut())
    }

    /// Part of the card's receive budget for datagrams, as long as the result lives: up to `wanted`
    /// frames that may be outstanding, one at least.
    #[must_use]
    pub fn reserve(&self, wanted: usize) -> Reservation {
        let now = self.now();
        let frames = self.0.card.borrow_mut().budget.reserve(wanted, now);
        Reservation {
            card: Rc::clone(&self.0.card),
            frames,
        }
    }

    /// Whether the card was shut down, or the stack has left its VLAN.
    pub(crate) fn is_down(&self) -> bool {
        self.0.left.get() || self.0.card.borrow().is_down()
    }

    /// Says how many bytes the peer of a connection still has to send, if that is known.
    pub(crate) fn expect(&self, key: FlowKey, bytes: Option<usize>) {
        self.0.card.borrow_mut().budget.expect(key, bytes);
    }

    /// Says that the owner of a connection has read all that came.
    pub(crate) fn note_drained(&self, key: FlowKey) {
        self.0.card.borrow_mut().budget.note_drained(key);
    }

    pub(crate) fn set_alarm(&self, at: Duration) -> u64 {
        self.with(|inner| {
            inner.next_alarm += 1;
            inner.alarms.push((inner.next_alarm, at));
            inner.next_alarm
        })
    }

    pub(crate) fn clear_alarm(&self, id: u64) {
        // Also from a destructor inside a panic: never a second one.
        if let Ok(mut inner) = self.0.inner.try_borrow_mut() {
            inner.alarms.retain(|(other, _)| *other != id);
        }
    }

    /// Gives up a TCP socket whose owner is gone. It answers a FIN with a FIN where everything
    /// was read, and resets the connection otherwise.
    pub(crate) fn release(&self, handle: SocketHandle, key: FlowKey) {
        let until = self.now() + LINGER;
        if let Ok(mut inner) = self.0.inner.try_borrow_mut() {
            let socket = inner.sockets.get_mut::<tcp::Socket<'_>>(handle);
            match socket.state() {
                // RFC 9293 section 3.10.5: nobody needs to be told. Removed at the next poll.
                tcp::State::SynSent | tcp::State::TimeWait | tcp::State::Listen => {}
                tcp::State::CloseWait if socket.recv_queue() == 0 => socket.close(),
                tcp::State::LastAck | tcp::State::Closing => {}
                _ => socket.abort(),
            }
            inner.closing.push(Closing { handle, key, until });
        }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("mac", &self.0.mac)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn poll(&mut self, now: Duration, everything: bool) -> bool {
        let at = instant(now);
        self.device.begin(now);
        self.interface.poll_maintenance(at);
        let mut active = false;
        loop {
            let result =
                self.interface
                    .poll_ingress_single(at, &mut self.device, &mut self.sockets);
            if matches!(result, PollIngressSingleResult::None) {
                break;
            }
            active = true;
            // Half a window has come: let the peer go on while the rest is taken.
            if self.device.wants_acknowledgement() {
                self.send(at);
            }
        }
        self.give_up_conflicts(now);
        active |= self.send(at);
        active |= self.device.send_due(now, everything);
        self.reap(now);
        active || self.device.has_delivered()
    }

    /// Stops using addresses that other stations have.
    fn give_up_conflicts(&mut self, now: Duration) {
        for conflict in self.device.trials.take_fresh() {
            match conflict.address {
                IpAddr::V4(address) => {
                    self.config = self.config.take().filter(|it| it.address != address);
                }
                // Whoever made an address of our station address has that, too: there is no IPv6
                // for us (RFC 4862 section 5.4.5).
                IpAddr::V6(address) if address == link_local(self.mac) => self.ipv6 = None,
                IpAddr::V6(address) => {
                    if let Some(config) = &mut self.ipv6 {
                        config.address = config.address.filter(|it| *it != address);
                    }
                }
            }
            self.configure(now);
        }
    }

    /// Lets the sockets send; whether any had something.
    fn send(&mut self, at: Instant) -> bool {
        for round in 0..SEND_ROUNDS {
            let result = self
                .interface
                .poll_egress(at, &mut self.device, &mut self.sockets);
            if result == PollResult::None {
                return round > 0;
            }
        }
        true
    }

    /// Removes sockets that have nothing left to say.
    fn reap(&mut self, now: Duration) {
        let (sockets, device) = (&mut self.sockets, &self.device);
        self.closing.retain(|closing| {
            let socket = sockets.get::<tcp::Socket<'_>>(closing.handle);
            let silent = matches!(
                socket.state(),
                tcp::State::SynSent | tcp::State::TimeWait | tcp::State::Listen
            );
            // A socket has no peer any more once its last word is out and, for a FIN, heard.
            let done = silent || socket.remote_endpoint().is_none() || closing.until <= now;
            if done {
                sockets.remove(closing.handle);
                device.close_flow(closing.key, now);
            }
            !done
        });
    }

    /// Makes the interface that the configurations describe.
    fn configure(&mut self, now: Duration) {
        self.names = Names::default();
        let mtu = self.config.as_ref().and_then(|config| config.mtu);
        self.device.set_mtu(mtu.unwrap_or(MTU).clamp(MTU_MIN, MTU));
        // The MTU is fixed in an interface, and neighbours of the old network must go.
        self.interface = interface(&mut self.device, self.mac, &mut self.random, now);
        // In all of this there is room: the interface is new.
        let cidrs = self.cidrs();
        self.interface.update_ip_addrs(|addresses| {
            for cidr in cidrs {
                let _ = addresses.push(cidr);
            }
        });
        let addresses: Vec<IpAddr> = self.cidrs().map(|cidr| cidr.address().into()).collect();
        for address in &addresses {
            self.probe(*address, now);
        }
        self.device.trials.hold(addresses);
        let routes = self.interface.routes_mut();
        if let Some(router) = self.config.as_ref().and_then(|config| config.router) {
            let _ = routes.add_default_ipv4_route(router);
        }
        if let Some(router) = self.ipv6.as_ref().and_then(|config| config.router) {
            let _ = routes.add_default_ipv6_route(router);
        }
    }

    fn cidrs(&self) -> impl Iterator<Item = IpCidr> + use<> {
        let ipv4 = self
            .config
            .as_ref()
            .map(|config| IpCidr::Ipv4(Ipv4Cidr::new(config.address, config.prefix_len.min(32))));
        let global = self.ipv6.as_ref().and_then(|config| {
            let cidr = Ipv6Cidr::new(config.address?, config.prefix_len.min(128));
            Some(IpCidr::Ipv6(cidr))
        });
        let local = self.ipv6.as_ref();
        let local = local.map(|_| IpCidr::Ipv6(Ipv6Cidr::new(link_local(self.mac), 64)));
        [ipv4, global, local].into_iter().flatten()
    }

    /// Asks whether anybody else has an address that was not tried yet.
    fn probe(&mut self, address: IpAddr, now: Duration) {
        if !self.device.trials.begin(address, now) {
            return;
        }
        let mac = self.mac;
        self.device.send(|frame| match address {
            IpAddr::V4(address) => arp::write_request(frame, mac, Ipv4Addr::UNSPECIFIED, address),
            IpAddr::V6(address) => {
                ndp::write_neighbor_solicitation(frame, mac, Ipv6Addr::UNSPECIFIED, address)
            }
        });
    }

    /// A random number.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next()
    }

    /// A port of a range that `taken` does not have, from a random place on.
    pub(crate) fn free_port(
        &mut self,
        ports: RangeInclusive<u16>,
        taken: impl Fn(&Self, u16) -> bool,
    ) -> Option<u16> {
        let first = u64::from(*ports.start());
        let count = u64::from(*ports.end()).checked_sub(first)? + 1;
        let start = self.random();
        (0..count)
            .map(|offset| (first + start.wrapping_add(offset) % count) as u16)
            .find(|port| !taken(self, *port))
    }

    /// Where a packet to `remote` goes first: itself or the router. `None` without a route.
    pub(crate) fn next_hop(&self, remote: IpAddr) -> Option<IpAddr> {
        if self.cidrs().any(|cidr| cidr.contains_addr(&remote.into())) {
            return Some(remote);
        }
        match remote {
            IpAddr::V4(_) => self.config.as_ref()?.router.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.as_ref()?.router.map(IpAddr::V6),
        }
    }

    /// Asks for the neighbour on the way to `remote` ourselves: smoltcp asks for one at a time, and
    /// for ever.
    pub(crate) fn ask_neighbor(&mut self, remote: IpAddr) {
        let (Some(hop), Some(from)) = (self.next_hop(remote), self.source(remote)) else {
            return;
        };
        let mac = self.mac;
        self.device.send(|frame| match (hop, from) {
            (IpAddr::V4(hop), IpAddr::V4(from)) => arp::write_request(frame, mac, from, hop),
            (IpAddr::V6(hop), _) => {
                ndp::write_neighbor_solicitation(frame, mac, link_local(mac), hop)
            }
            _ => None,
        });
    }

    /// Our address towards `remote`.
    pub(crate) fn source(&self, remote: IpAddr) -> Option<IpAddr> {
        match remote {
            IpAddr::V4(_) => self.config.as_ref().map(|config| config.address.into()),
            IpAddr::V6(remote) => {
                let config = self.ipv6.as_ref()?;
                // The groups that we speak to are on the link.
                let is_near = remote.is_unicast_link_local() || remote.is_multicast();
                let global = config.address.filter(|_| !is_near);
                Some(global.unwrap_or(link_local(self.mac)).into())
            }
        }
    }

    /// Whether an address is one of ours.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        self.cidrs()
            .any(|cidr| IpAddr::from(cidr.address()) == address)
    }
}

fn interface(device: &mut Device, mac: [u8; 6], random: &mut Random, now: Duration) -> Interface {
    let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
    config.random_seed = random.next();
    Interface::new(config, device, instant(now))
}

/// smoltcp's time for ours.
pub(crate) fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
