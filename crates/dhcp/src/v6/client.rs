//! The client's machine.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::lease::Lease;
use super::wire::{Message, MessageType, code};
use crate::limits;
use crate::random::Random;
use crate::wire::Architecture;

/// The first pause before a message is sent again (SOL_TIMEOUT, REQ_TIMEOUT, INF_TIMEOUT,
/// REL_TIMEOUT and DEC_TIMEOUT of RFC 8415 section 7.6); it doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The same of what keeps a lease (REN_TIMEOUT, REB_TIMEOUT),
const KEEPING_PAUSE: Duration = Duration::from_secs(10);
/// and the longest pause (REN_MAX_RT, REB_MAX_RT).
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// How often an address is given back (REL_MAX_RC, DEC_MAX_RC).
const RETURNS_MAX: u32 = 4;

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Config {
    /// The station address.
    pub mac: [u8; 6],
    /// The machine's UUID in the byte order of RFC 4122, which then identifies it.
    pub uuid: Option<[u8; 16]>,
    /// Ask for an address too.
    pub wants_address: bool,
    /// The processor and firmware.
    pub architecture: Architecture,
    /// User class.
    pub user_class: Vec<u8>,
    /// Chooses the transaction and the pauses.
    pub seed: u64,
    /// Fail after so long.
    pub give_up_after: Duration,
}

/// What a server has said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Our address, where one was asked for.
    pub address: Option<Ipv6Addr>,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// The domain search list, as names in the format of RFC 1035.
    pub search: Vec<u8>,
    /// The URL of what is to be booted,
    pub boot_file: Vec<u8>,
    /// and what it is started with.
    pub boot_parameters: Vec<String>,
    /// Every option as it came.
    pub options: Vec<(u16, Vec<u8>)>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A server has answered; again whenever the lease was renewed.
    Configured(Box<Configuration>),
    /// The lease has expired or was declined, and its address must not be used any more. The
    /// machine goes on and asks for another.
    Lost,
    /// Nobody has, in time. The machine is at its end.
    Failed(Failure),
}

/// Why there is no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Messages that were sent.
    pub sent: u32,
    /// How long.
    pub waited: Duration,
    /// The status that a server gave as its reason (RFC 8415 section 21.13).
    pub status: Option<u16>,
    /// Addresses that were declined, because other stations have them.
    pub declined: u32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.waited.as_secs();
        match self.status {
            _ if self.declined >= limits::DECLINES_MAX => write!(
                f,
                "the {} addresses that DHCPv6 servers gave are other stations'",
                self.declined
            ),
            Some(2) => write!(f, "the DHCPv6 server has no address for this machine"),
            Some(status) => write!(f, "the DHCPv6 server refused with status {status}"),
            None => write!(
                f,
                "no DHCPv6 server answered in {seconds} s ({} messages sent)",
                self.sent
            ),
        }
    }
}

impl core::error::Error for Failure {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Soliciting,
    Requesting { advertised: Message },
    Informing,
    Bound(Lease),
    Renewing(Lease),
    Rebinding(Lease),
    Declining(Lease),
    Releasing(Lease),
    Ended,
}

impl State {
    /// The lease that we hold.
    fn held(&self) -> Option<&Lease> {
        match self {
            Self::Bound(lease) | Self::Renewing(lease) | Self::Rebinding(lease) => Some(lease),
            _ => None,
        }
    }

    /// The lease that there is to talk about.
    fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Declining(lease) | Self::Releasing(lease) => Some(lease),
            _ => self.held(),
        }
    }
}

/// A client. Everything it sends goes to [`super::ALL_SERVERS`].
#[derive(Debug)]
pub struct Client {
    config: Config,
    state: State,
    transaction: u32,
    began: Duration,
    /// When the present exchange began: what the elapsed time counts from.
    exchange_began: Duration,
    pause: Duration,
    send_at: Duration,
    sent: u32,
    /// Of them those of the present exchange.
    exchange_sent: u32,
    declined: u32,
    refusal: Option<u16>,
    random: Random,
    output: Option<Vec<u8>>,
    event: Option<Event>,
}

impl Client {
    /// A client that begins at once.
    #[must_use]
    pub fn new(config: Config, now: Duration) -> Self {
        let mut random = Random::new(config.seed);
        let state = if config.wants_address {
            State::Soliciting
        } else {
            State::Informing
        };
        Self {
            config,
            state,
            transaction: random.next_u32() >> 8,
            began: now,
            exchange_began: now,
            pause: PAUSE,
            send_at: now,
            sent: 0,
            exchange_sent: 0,
            declined: 0,
            refusal: None,
            random,
            output: None,
            event: None,
        }
    }

    /// Takes a datagram that came to our port.
    pub fn handle_input(&mut self, now: Duration, payload: &[u8]) {
        let Some(message) = Message::parse(payload) else {
            return;
        };
        // RFC 8415 sections 16.3 and 16.10.
        let is_ours = message.transaction == self.transaction
            && message.option(code::CLIENT_ID) == Some(&self.identifier())
            && message.option(code::SERVER_ID).is_some();
        if !is_ours {
            return;
        }
        match (&self.state, message.kind) {
            (State::Soliciting, MessageType::Advertise) => match message.address() {
                Some(_) => {
                    let advertised = message;
                    self.begin(State::Requesting { advertised }, PAUSE, now);
                }
                None => self.refusal = message.refusal(),
            },
            (State::Requesting { .. }, MessageType::Reply) => match Lease::parse(&message, now) {
                Some(lease) => self.bind(&message, lease),
                None => {
                    // Section 18.2.10.1: somebody else may have one.
                    self.refusal = message.refusal();
                    self.state = State::Soliciting;
                    self.send_at = now + PAUSE;
                }
            },
            (State::Informing, MessageType::Reply) => {
                self.state = State::Ended;
                self.tell(&message, None);
            }
            // Sections 18.2.4 and 18.2.5. A server that does not know the lease is not the one to
            // keep it: another may be, until it expires.
            (State::Renewing(held) | State::Rebinding(held), MessageType::Reply) => {
                if let Some(lease) = Lease::parse(&message, now)
                    && lease.address == held.address
                {
                    self.bind(&message, lease);
                }
            }
            // Sections 18.2.10.2 and 18.2.10.3: whatever the status.
            (State::Declining(_) | State::Releasing(_), MessageType::Reply) => {
                self.end_return(now);
            }
            _ => {}
        }
    }

    /// Refuses the address that is held, because another station has it (RFC 8415 section
    /// 18.2.8), and asks for another one then.
    pub fn decline(&mut self, now: Duration) {
        if let Some(lease) = self.state.held().cloned() {
            self.declined += 1;
            self.event = Some(Event::Lost);
            self.begin(State::Declining(lease), PAUSE, now);
        }
    }

    /// Gives the address that is held back (RFC 8415 section 18.2.7). It must not be used any more.
    /// The machine is at its end when a server has taken note, or none has after a few seconds.
    pub fn release(&mut self, now: Duration) {
        match self.state.held().cloned() {
            Some(lease) => self.begin(State::Releasing(lease), PAUSE, now),
            None => self.state = State::Ended,
        }
    }

    /// The server knows, or does not want to, that the address is not ours any more.
    fn end_return(&mut self, now: Duration) {
        if matches!(self.state, State::Releasing(_)) {
            self.state = State::Ended;
        } else if self.declined >= limits::DECLINES_MAX {
            self.fail(now);
        } else {
            (self.began, self.sent) = (now, 0);
            self.begin(State::Soliciting, PAUSE, now);
        }
    }

    fn fail(&mut self, now: Duration) {
        self.state = State::Ended;
        self.event = Some(Event::Failed(Failure {
            sent: self.sent,
            waited: now.saturating_sub(self.began),
            status: self.refusal,
            declined: self.declined,
        }));
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| now >= at);
        match self.state.clone() {
            State::Ended => return,
            State::Soliciting | State::Requesting { .. } | State::Informing => {
                let waited = now.saturating_sub(self.began);
                if waited >= self.config.give_up_after {
                    self.fail(now);
                    return;
                }
            }
            State::Bound(lease) | State::Renewing(lease) | State::Rebinding(lease)
                if is_due(lease.expires_at) =>
            {
                self.event = Some(Event::Lost);
                (self.began, self.sent) = (now, 0);
                self.begin(State::Soliciting, PAUSE, now);
            }
            State::Bound(lease) if is_due(lease.renew_at) => {
                self.begin(State::Renewing(lease), KEEPING_PAUSE, now);
            }
            State::Bound(_) => return,
            State::Renewing(lease) if is_due(lease.rebind_at) => {
                self.begin(State::Rebinding(lease), KEEPING_PAUSE, now);
            }
            State::Declining(_) | State::Releasing(_)
                if self.exchange_sent >= RETURNS_MAX && now >= self.send_at =>
            {
                self.end_return(now);
                return;
            }
            State::Renewing(_) | State::Rebinding(_) => {}
            State::Declining(_) | State::Releasing(_) => {}
        }
        if now >= self.send_at {
            self.output = Some(self.compose(now).encode());
            self.sent += 1;
            self.exchange_sent += 1;
            self.send_at = now + self.random.jitter(self.pause);
            self.pause = self.pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// The next datagram to send.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.output.take()
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let end = self.began.saturating_add(self.config.give_up_after);
        let (send, expires) = (Some(self.send_at), |lease: &Lease| lease.expires_at);
        let moments = match &self.state {
            State::Ended => [None; 3],
            State::Soliciting | State::Requesting { .. } | State::Informing => {
                [send, Some(end), None]
            }
            State::Bound(lease) => [lease.renew_at, expires(lease), None],
            State::Renewing(lease) => [send, lease.rebind_at, expires(lease)],
            State::Rebinding(lease) => [send, expires(lease), None],
            State::Declining(_) | State::Releasing(_) => [send, None, None],
        };
        moments.into_iter().flatten().min()
    }

    /// What happened, once.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    /// Begins an exchange of its own.
    fn begin(&mut self, state: State, pause: Duration, now: Duration) {
        self.state = state;
        self.transaction = self.random.next_u32() >> 8;
        self.exchange_began = now;
        self.exchange_sent = 0;
        self.pause = pause;
        self.send_at = now;
    }

    fn bind(&mut self, message: &Message, lease: Lease) {
        self.tell(message, Some(lease.address));
        self.state = State::Bound(lease);
    }

    fn tell(&mut self, message: &Message, address: Option<Ipv6Addr>) {
        let value = |code| message.option(code).unwrap_or_default().to_vec();
        self.event = Some(Event::Configured(Box::new(Configuration {
            address,
            dns: message.addresses(code::DNS_SERVERS),
            search: value(code::DOMAIN_LIST),
            boot_file: value(code::BOOT_FILE_URL),
            boot_parameters: message.texts(code::BOOT_FILE_PARAMETERS),
            options: message.options.clone(),
        })));
    }

    fn compose(&self, now: Duration) -> Message {
        let elapsed = now.saturating_sub(self.exchange_began).as_millis() / 10;
        let elapsed = u16::try_from(elapsed).unwrap_or(u16::MAX);
        let wanted = [
            code::DNS_SERVERS,
            code::DOMAIN_LIST,
            code::BOOT_FILE_URL,
            code::BOOT_FILE_PARAMETERS,
        ];
        let mut options = vec![
            (code::CLIENT_ID, self.identifier()),
            (code::ELAPSED_TIME, elapsed.to_be_bytes().to_vec()),
            (code::OPTION_REQUEST, wanted.map(u16::to_be_bytes).concat()),
            (
                code::CLIENT_ARCHITECTURE,
                self.config.architecture.0.to_be_bytes().to_vec(),
            ),
        ];
        if let Ok(length) = u16::try_from(self.config.user_class.len())
            && length > 0
        {
            let class = [&length.to_be_bytes(), &*self.config.user_class].concat();
            options.push((code::USER_CLASS, class));
        }
        let kind = match &self.state {
            State::Requesting { advertised } => {
                for code in [code::SERVER_ID, code::IA_NA] {
                    let value = advertised.option(code).unwrap_or_default();
                    options.push((code, value.to_vec()));
                }
                MessageType::Request
            }
            State::Soliciting => {
                options.push((code::IA_NA, self.association(None)));
                MessageType::Solicit
            }
            State::Renewing(lease) => {
                options.push((code::SERVER_ID, lease.server.clone()));
                MessageType::Renew
            }
            State::Rebinding(_) => MessageType::Rebind,
            State::Declining(lease) | State::Releasing(lease) => {
                options.push((code::SERVER_ID, lease.server.clone()));
                match self.state {
                    State::Declining(_) => MessageType::Decline,
                    _ => MessageType::Release,
                }
            }
            State::Informing | State::Bound(_) | State::Ended => MessageType::InformationRequest,
        };
        if let Some(lease) = self.state.lease() {
            options.push((code::IA_NA, self.association(Some(lease.address))));
        }
        Message {
            kind,
            transaction: self.transaction,
            options,
        }
    }

    /// The identity association: its identifier is the same at every boot (RFC 8415 section 12.1),
    /// and the server chooses T1, T2 and lifetimes (sections 21.4 and 21.6).
    fn association(&self, held: Option<Ipv6Addr>) -> Vec<u8> {
        let [.., a, b, c, d] = self.config.mac;
        let mut value = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
        if let Some(address) = held {
            value.extend(code::IA_ADDRESS.to_be_bytes());
            value.extend(24_u16.to_be_bytes());
            value.extend(address.octets());
            value.extend([0; 8]);
        }
        value
    }

    /// The DHCP unique identifier: by UUID (RFC 6355 section 4), else by station address (RFC 8415
    /// section 11.4).
    fn identifier(&self) -> Vec<u8> {
        match self.config.uuid {
            Some(uuid) => [&[0, 4], &uuid[..]].concat(),
            None => [&[0, 3, 0, 1], &self.config.mac[..]].concat(),
        }
    }
}
