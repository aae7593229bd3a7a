//! The network of one card, or of a VLAN on it: the stack that everything above shares.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

use smoltcp::iface::{
    Config, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet,
};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};

use crate::budget::FlowKey;
use crate::card::{Card, VlanTag};
use crate::device::{Device, MTU};
use crate::{Clock, Link, Nic, NicError};

/// Rounds of sending in one poll: each sends at most one frame a socket.
const SEND_ROUNDS: usize = 64;
/// How long a socket without an owner may take to say its last word.
const LINGER: Duration = Duration::from_secs(1);
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
    /// Sockets whose owner is gone and that still have something to say.
    closing: Vec<Closing>,
    alarms: Vec<(u64, Duration)>,
    next_alarm: u64,
    random: Random,
}

/// A TCP socket without an owner.
struct Closing {
    handle: SocketHandle,
    key: FlowKey,
    until: Duration,
}

/// An IPv4 configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4Config {
    /// Our address.
    pub address: Ipv4Addr,
    /// Length of the network prefix.
    pub prefix_len: u8,
    /// The default router.
    pub router: Option<Ipv4Addr>,
    /// Name servers, the first is asked first.
    pub dns: Vec<Ipv4Addr>,
    /// The IP MTU, where it is not Ethernet's 1500 (DHCP option 26).
    pub mtu: Option<u16>,
}

/// An address that no host can have: multicast, broadcast or unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotUnicast {
    /// The address.
    pub address: Ipv4Addr,
}

impl fmt::Display for NotUnicast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not an address that a host can have", self.address)
    }
}

impl core::error::Error for NotUnicast {}

/// What the stack has counted since it began, and the receive budget of its card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames taken from the card.
    pub received: u64,
    /// Frames given to the card.
    pub sent: u64,
    /// Frames for others and of protocols that we do not speak.
    pub strangers: u64,
    /// Frames that were malformed, fragments, or failed their checksum.
    pub bad: u64,
    /// Times that the card failed to receive.
    pub receive_errors: u64,
    /// Frames that the card did not take.
    pub transmit_errors: u64,
    /// The last error of the card.
    pub last_error: Option<NicError>,
    /// Acknowledgements held back, to be sent together.
    pub held: u64,
    /// TCP segments sent again over the card.
    pub retransmissions: u64,
    /// TCP segments received again over the card.
    pub duplicates: u64,
    /// Losses seen by the receive budget.
    pub losses: u64,
    /// Frames that may be outstanding towards the card now.
    pub budget: usize,
    /// Frames that may be outstanding at most.
    pub budget_limit: usize,
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
        let mut random = Random(seed);
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
                closing: Vec::new(),
                alarms: Vec::new(),
                next_alarm: 0,
                random,
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
        if let Some(config) = &config {
            for address in [Some(config.address), config.router].into_iter().flatten() {
                if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
                    return Err(NotUnicast { address });
                }
            }
        }
        let now = self.now();
        self.with(|inner| inner.configure(config, self.0.mac, now));
        Ok(())
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

    pub(crate) fn with<R>(&self, run: impl FnOnce(&mut Inner) -> R) -> R {
        run(&mut self.0.inner.borrow_mut())
    }

    /// Whether the card was shut down, or the stack has left its VLAN.
    pub(crate) fn is_down(&self) -> bool {
        self.0.left.get() || self.0.card.borrow().is_down()
    }

    /// Says how many bytes the peer of a connection still has to send, if that is known.
    pub(crate) fn expect(&self, key: FlowKey, bytes: Option<usize>) {
        self.0.card.borrow_mut().budget.expect(key, bytes);
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
        active |= self.send(at);
        active |= self.device.send_due(now, everything);
        self.reap(now);
        active || self.device.has_delivered()
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

    fn configure(&mut self, config: Option<Ipv4Config>, mac: [u8; 6], now: Duration) {
        let mtu = config.as_ref().and_then(|config| config.mtu);
        self.device.set_mtu(mtu.unwrap_or(MTU).clamp(MTU_MIN, MTU));
        // The MTU is fixed in an interface, and neighbours of the old network must go.
        self.interface = interface(&mut self.device, mac, &mut self.random, now);
        if let Some(config) = &config {
            let cidr = Ipv4Cidr::new(config.address, config.prefix_len.min(32));
            self.interface.update_ip_addrs(|addresses| {
                // There is room: the interface is new.
                let _ = addresses.push(IpCidr::Ipv4(cidr));
            });
            if let Some(router) = config.router {
                // There is room: the interface is new.
                let _ = self.interface.routes_mut().add_default_ipv4_route(router);
            }
        }
        self.config = config;
    }

    /// A random number.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next()
    }

    /// A port from the dynamic range (RFC 6335 section 6) that `taken` does not have.
    pub(crate) fn ephemeral_port(&mut self, taken: impl Fn(&Self, u16) -> bool) -> Option<u16> {
        const FIRST: u64 = 49152;
        const COUNT: u64 = 65536 - FIRST;
        let start = self.random();
        (0..COUNT)
            .map(|offset| (FIRST + start.wrapping_add(offset) % COUNT) as u16)
            .find(|port| !taken(self, *port))
    }

    /// Where a packet to `remote` goes first: itself or the router. `None` without a route.
    pub(crate) fn next_hop(&self, remote: Ipv4Addr) -> Option<Ipv4Addr> {
        let config = self.config.as_ref()?;
        let network = Ipv4Cidr::new(config.address, config.prefix_len.min(32));
        if network.contains_addr(&remote) {
            return Some(remote);
        }
        config.router
    }

    pub(crate) fn open_bootp(&mut self) {
        self.device.bootp.get_or_insert_with(VecDeque::new);
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

/// SplitMix64 (Steele, Lea, Flood 2014): enough for ports and identifiers; the seed is the secret.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
