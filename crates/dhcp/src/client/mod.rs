//! The client: RFC 2131 §4.4 as a machine without I/O, in a hurry.
//!
//! ```text
//!            +-> Rebooting --no answer/NAK--+
//!   start ---+                              v
//!            +-------------------------> Selecting --offer--> Requesting --ACK--> Bound
//!                       ^                   ^  ^                  |               |  ^
//!                       |                   |  +--- NAK, silence -+            T1 v  | ACK
//!                     Pausing <- NAK, DECLINE         Expired <--- Rebinding <- Renewing
//! ```
//!
//! The first offer that can be used is taken at once; nothing is waited for, unless
//! [`Config::proxy_wait`] says so, and the random delay of RFC 2131 §4.4.1 (1 to 10 s, against
//! many machines in step) is replaced by jitter on every pause. The first retransmission comes after a quarter of a second,
//! because on some firmware the first frames are lost while the card's link comes up. The pauses
//! double up to [`Config::retry_pause_max`]; after [`Config::give_up_after`] the client fails with
//! a [`Failure`] that tells what it has seen.

mod boot_menu;
mod boot_server;
mod compose;
mod config;
mod failure;
mod lease;
mod receive;
#[cfg(test)]
mod tests;
mod timeout;

pub use boot_menu::{BootMenu, BootMenuItem, BootMenuPrompt};
pub use boot_server::{BootServerDiscovery, DiscoveryEvent, DiscoveryFailure};
pub use config::Config;
pub use failure::{Failure, FailureReason, Seen};
pub use lease::{Lease, ProxyOffer};

use crate::limits;
use crate::random::Random;
use crate::wire::{HardwareAddress, Message, MessageType, Op};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// A DHCP payload to send from port 68.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub to: Destination,
    /// The UDP payload.
    pub payload: Vec<u8>,
}

/// Where a client's message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To 255.255.255.255, port 67, from 0.0.0.0 or the address the client has.
    Broadcast,
    /// From the client's address to a PXE boot server or a multicast group of them, port 4011.
    BootServer(Ipv4Addr),
    /// From the leased address to the server, port 67.
    Unicast {
        /// Source address.
        client: Ipv4Addr,
        /// Destination address.
        server: Ipv4Addr,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// There is an address. Check it for a conflict if you can, and call [`Client::decline`] if
    /// somebody has it.
    Bound(Box<Lease>),
    /// The lease goes on; options may have changed.
    Renewed(Box<Lease>),
    /// A server refused; the client goes on by itself.
    Refused {
        /// The server, where it tells.
        server: Option<Ipv4Addr>,
        /// Its text (option 56), raw.
        message: Vec<u8>,
    },
    /// The lease ran out without an answer: stop using the address. The client starts again.
    Expired(Ipv4Addr),
    /// No address was got; the client has stopped. [`Client::restart`] tries again.
    Failed(Box<Failure>),
}

/// A DHCP client for one network card.
#[derive(Debug)]
pub struct Client {
    config: Config,
    random: Random,
    state: State,
    xid: u32,
    /// When the attempt began that is under way: for `secs` and for giving up.
    began: Duration,
    give_up_at: Duration,
    seen: Seen,
    sent: u32,
    declines: u32,
    refusals: u32,
    /// Replies are asked for by broadcast, because unicast ones did not come.
    broadcast: bool,
    last_failure: FailureReason,
    proxy: Option<ProxyOffer>,
    outputs: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// A message that is repeated until it is answered.
#[derive(Clone, Copy, Debug)]
struct Retry {
    sent: u32,
    pause: Duration,
    next: Duration,
}

impl Retry {
    fn first(config: &Config, random: &mut Random, now: Duration) -> Self {
        let pause = config.retry_pause_first;
        Self {
            sent: 1,
            pause,
            next: now.saturating_add(random.jitter(pause)),
        }
    }

    fn again(self, config: &Config, random: &mut Random, now: Duration) -> Self {
        let pause = self.pause.saturating_mul(2).min(config.retry_pause_max);
        Self {
            sent: self.sent.saturating_add(1),
            pause,
            next: now.saturating_add(random.jitter(pause)),
        }
    }
}

#[derive(Debug)]
enum State {
    /// Sends DISCOVER. `chosen` is an offer that waits for a proxy's until the given time.
    Selecting {
        retry: Retry,
        chosen: Option<(Box<Message>, Duration)>,
    },
    /// Sends REQUEST for `offer`.
    Requesting {
        retry: Retry,
        offer: Box<Message>,
        server: Ipv4Addr,
    },
    /// Sends REQUEST for the address of an earlier life (INIT-REBOOT).
    Rebooting { retry: Retry, address: Ipv4Addr },
    /// Waits before it starts again.
    Pausing { until: Duration },
    /// Has an address; `next` is the next time to ask for its extension.
    Bound {
        lease: Box<Lease>,
        phase: Phase,
        next: Option<Duration>,
    },
    /// Failed or released.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Holding,
    Renewing,
    Rebinding,
}

impl Client {
    /// A client that starts at once: poll its output.
    #[must_use]
    pub fn new(config: Config, now: Duration) -> Self {
        let mut client = Self {
            random: Random::new(config.seed),
            config,
            state: State::Stopped,
            xid: 0,
            began: now,
            give_up_at: now,
            seen: Seen::default(),
            sent: 0,
            declines: 0,
            refusals: 0,
            broadcast: false,
            last_failure: FailureReason::NoAnswer,
            proxy: None,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        };
        client.restart(now);
        client
    }

    /// Starts from the beginning, whatever the state: with the remembered address if the
    /// configuration has one (INIT-REBOOT, RFC 2131 §3.2), else with a DISCOVER.
    pub fn restart(&mut self, now: Duration) {
        self.began = now;
        self.give_up_at = now.saturating_add(self.config.give_up_after);
        self.seen = Seen::default();
        self.sent = 0;
        self.declines = 0;
        self.refusals = 0;
        self.broadcast = self.config.unicast_tries == 0;
        self.last_failure = FailureReason::NoAnswer;
        self.proxy = None;
        self.outputs.clear();
        match self.config.previous_address {
            Some(address) => {
                self.xid = self.random.next_u32();
                self.state = State::Rebooting {
                    retry: self.first_try(now),
                    address,
                };
                self.send_reboot(now, address);
            }
            None => self.discover(now),
        }
    }

    /// Takes the UDP payload of a message that came to port 68.
    pub fn handle_input(&mut self, now: Duration, payload: &[u8]) {
        let Ok(message) = Message::parse(payload) else {
            self.seen.malformed = self.seen.malformed.saturating_add(1);
            return;
        };
        if message.op != Op::Reply
            || message.xid != self.xid
            || message.chaddr != HardwareAddress::ethernet(self.config.mac)
        {
            return;
        }
        match message.message_type() {
            Some(MessageType::OFFER) => self.handle_offer(now, message),
            Some(MessageType::ACK) => self.handle_ack(now, &message),
            Some(MessageType::NAK) => self.handle_nak(now, &message),
            Some(_) => {}
            None => self.seen.bootp = self.seen.bootp.saturating_add(1),
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.is_acquiring() && now >= self.give_up_at {
            self.fail(now);
            return;
        }
        match core::mem::replace(&mut self.state, State::Stopped) {
            State::Selecting { retry, chosen } => self.selecting_timeout(now, retry, chosen),
            State::Requesting {
                retry,
                offer,
                server,
            } => {
                self.requesting_timeout(now, retry, offer, server);
            }
            State::Rebooting { retry, address } => self.rebooting_timeout(now, retry, address),
            State::Pausing { until } if now >= until => self.discover(now),
            State::Bound { lease, phase, next } => self.bound_timeout(now, lease, phase, next),
            state => self.state = state,
        }
    }

    /// The next message to send.
    pub fn poll_output(&mut self) -> Option<Transmit> {
        self.outputs.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Client::handle_timeout`] at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = match &self.state {
            State::Selecting { retry, chosen } => match chosen {
                Some((_, until)) => Some(retry.next.min(*until)),
                None => Some(retry.next),
            },
            State::Requesting { retry, .. } | State::Rebooting { retry, .. } => Some(retry.next),
            State::Pausing { until } => Some(*until),
            State::Bound { next, .. } => return *next,
            State::Stopped => return None,
        };
        due.map(|due| due.min(self.give_up_at))
    }

    /// The lease, while there is one.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Bound { lease, .. } => Some(lease),
            _ => None,
        }
    }

    /// Adds what a proxyDHCP server has said to the question what to boot (PXE 2.1 §2.2.3); the
    /// lease that it is part of then, while there is one.
    pub fn note_proxy_answer(&mut self, answer: &Message) -> Option<Box<Lease>> {
        let proxy = self.proxy.as_mut()?;
        proxy.merge(answer);
        let State::Bound { lease, .. } = &mut self.state else {
            return None;
        };
        lease.proxy = Some(proxy.clone());
        Some(lease.clone())
    }

    /// Refuses the address just got, because somebody on the network has it already (RFC 2131
    /// §3.1 step 5), and starts again after [`Config::decline_pause`].
    pub fn decline(&mut self, now: Duration) {
        let State::Bound { lease, .. } = &self.state else {
            return;
        };
        let (address, server) = (lease.address, lease.server);
        self.send_decline(now, address, server);
        self.declines = self.declines.saturating_add(1);
        self.last_failure = FailureReason::AddressInUse { address };
        self.give_up_at = now.saturating_add(self.config.give_up_after);
        if self.declines >= limits::DECLINES_MAX {
            self.fail(now);
        } else {
            self.state = State::Pausing {
                until: now.saturating_add(self.config.decline_pause),
            };
        }
    }

    /// Gives the address back and stops (RFC 2131 §4.4.6).
    pub fn release(&mut self, now: Duration) {
        if let State::Bound { lease, .. } = core::mem::replace(&mut self.state, State::Stopped) {
            self.send_release(now, &lease);
        }
    }

    fn is_acquiring(&self) -> bool {
        !matches!(self.state, State::Bound { .. } | State::Stopped)
    }

    fn discover(&mut self, now: Duration) {
        self.xid = self.random.next_u32();
        self.state = State::Selecting {
            retry: self.first_try(now),
            chosen: None,
        };
        self.send_discover(now);
    }

    fn first_try(&mut self, now: Duration) -> Retry {
        Retry::first(&self.config, &mut self.random, now)
    }

    fn next_try(&mut self, now: Duration, retry: Retry) -> Retry {
        let retry = retry.again(&self.config, &mut self.random, now);
        self.broadcast |= retry.sent > self.config.unicast_tries;
        retry
    }

    fn pause_after(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.config
            .retry_pause_first
            .saturating_mul(factor)
            .min(self.config.retry_pause_max)
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() >= limits::QUEUE_LEN_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
