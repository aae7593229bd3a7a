//! Names to addresses (RFC 1035): a stub resolver over UDP, and TCP for long answers.

mod message;
mod questions;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use smoltcp::wire::DnsQueryType;

#[cfg(feature = "fuzzing")]
pub(crate) use self::message::addresses;
use self::message::{Answer, decode, encode};
pub use self::questions::Found;
use self::questions::{Answered, Question, Questions};
use crate::card::{OnVlan, VlanTag};
use crate::time::Seconds;
use crate::{Stack, TcpStream, UdpSocket};

const PORT: u16 = 53;
/// How long an answer is kept at most, and how many answers are.
const CACHE_MAX: Duration = Duration::from_secs(600);
const NAMES_MAX: usize = 32;
/// How long one server may take before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// Aliases followed from answer to answer; an answer may hold a whole chain.
const ALIASES_MAX: usize = 8;
/// The longest message that we take: no server sends more over UDP unasked (RFC 1035
/// section 2.3.4, with some courtesy).
const MESSAGE_MAX: usize = 1500;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// We have no address to ask from.
    NoAddress,
    /// No name server is known.
    NoServer {
        /// The name.
        name: String,
    },
    /// Not a name: a label is empty or too long, or the whole is.
    InvalidName {
        /// The name.
        name: String,
    },
    /// The server says that there is no such name.
    NotFound {
        /// The name.
        name: String,
        /// Who said so.
        server: IpAddr,
    },
    /// The name exists, but has no address that we could reach.
    Empty {
        /// The name.
        name: String,
        /// Who said so.
        server: IpAddr,
    },
    /// Every server refused or failed; the last one did so with this code.
    Failed {
        /// The name.
        name: String,
        /// The last server.
        server: IpAddr,
        /// RFC 1035 section 4.1.1.
        code: u8,
    },
    /// No server answered.
    TimedOut {
        /// The name.
        name: String,
        /// The servers that were asked.
        servers: Vec<IpAddr>,
        /// The VLAN that they were asked on, where it was tagged.
        vlan: Option<VlanTag>,
        /// How long.
        after: Duration,
    },
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("no network address yet: run dhcp first"),
            Self::NoServer { name } => write!(f, "cannot look up {name}: no name server is known"),
            Self::InvalidName { name } => write!(f, "{name:?} is not a host name"),
            Self::NotFound { name, server } => {
                write!(f, "no such host: {name} (name server {server} says so)")
            }
            Self::Empty { name, server } => {
                write!(f, "{name} has no address (name server {server} says so)")
            }
            Self::Failed { name, server, code } => {
                let reason = match code {
                    1 => "it did not understand the question",
                    2 => "it failed itself, or the servers that it asked did",
                    5 => "it refuses to answer us",
                    _ => "it answered with an error",
                };
                write!(
                    f,
                    "cannot look up {name}: name server {server}: {reason} (code {code})"
                )
            }
            Self::TimedOut {
                name,
                servers,
                vlan,
                after,
            } => {
                let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "cannot look up {name}: no answer from name server {} in {}{}",
                    servers.join(", "),
                    Seconds(*after),
                    OnVlan(*vlan)
                )
            }
        }
    }
}

impl core::error::Error for DnsError {}

impl Stack {
    /// The addresses of `name`, those of IPv6 first where we have one that leads beyond the link,
    /// and in turns. An address in text is its own answer. Servers are asked in turn, a second
    /// each, until `timeout`; an answer is kept for as long as it says.
    ///
    /// # Errors
    /// [`DnsError`]: what went wrong and which server said so.
    pub async fn resolve(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, DnsError> {
        Ok(self.look_up(name, timeout).await?.addresses)
    }

    /// As [`Self::resolve`], for who goes on with the first addresses while others are asked for.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub async fn look_up(&self, name: &str, timeout: Duration) -> Result<Found, DnsError> {
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(name).parse() {
            return Ok(Found::from(vec![address]));
        }
        let now = self.now();
        if let Some(known) = self.with(|inner| inner.names.find(name, now)) {
            return Ok(Found::from(known));
        }
        let (ipv4, ipv6) = (self.ipv4(), self.ipv6());
        if ipv4.is_none() && ipv6.is_none() {
            return Err(DnsError::NoAddress);
        }
        let has_ipv6 = ipv6.as_ref().is_some_and(|config| config.address.is_some());
        let kinds: &[DnsQueryType] = match (ipv4.is_some(), has_ipv6) {
            (true, true) => &[DnsQueryType::Aaaa, DnsQueryType::A],
            (false, true) => &[DnsQueryType::Aaaa],
            _ => &[DnsQueryType::A],
        };
        let servers = ipv4.into_iter().flat_map(|config| config.dns);
        let mut servers: Vec<IpAddr> = servers.map(IpAddr::V4).collect();
        servers.extend(
            ipv6.into_iter()
                .flat_map(|config| config.dns)
                .map(IpAddr::V6),
        );
        servers.retain(|server| !server.is_unspecified() && !server.is_multicast());
        if servers.is_empty() {
            return Err(DnsError::NoServer { name: name.into() });
        }
        let ask = |kind: &DnsQueryType| {
            let asking = ask_in_time(self.clone(), name.into(), *kind, servers.clone(), timeout);
            Question::Asked(Box::pin(asking))
        };
        let questions = kinds.iter().map(ask).collect();
        Questions::new(self.clone(), name.into(), questions)
            .found()
            .await
    }
}

async fn ask_in_time(
    stack: Stack,
    name: String,
    kind: DnsQueryType,
    servers: Vec<IpAddr>,
    timeout: Duration,
) -> Answered {
    let asked = lookup(&stack, &name, kind, &servers);
    let answer = stack.timeout(timeout, asked).await;
    answer.unwrap_or_else(|_| {
        Err(DnsError::TimedOut {
            name: name.clone(),
            servers: servers.clone(),
            vlan: stack.vlan(),
            after: timeout,
        })
    })
}

/// Names whose addresses are known, until a moment each.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<(String, Vec<IpAddr>, Duration)>);

impl Names {
    fn find(&self, name: &str, now: Duration) -> Option<Vec<IpAddr>> {
        let mut names = self.0.iter();
        let known = names.find(|(known, _, until)| known == name && now < *until)?;
        Some(known.1.clone())
    }

    fn keep(&mut self, name: &str, addresses: &[IpAddr], until: Duration) {
        self.0.retain(|(known, ..)| known != name);
        if self.0.len() >= NAMES_MAX {
            self.0.remove(0);
        }
        self.0.push((name.into(), addresses.to_vec(), until));
    }
}

async fn lookup(
    stack: &Stack,
    name: &str,
    kind: DnsQueryType,
    servers: &[IpAddr],
) -> Result<(Vec<IpAddr>, Duration), DnsError> {
    let mut current = String::from(name);
    let mut aliases = 0;
    let mut failures = 0;
    for server in servers.iter().copied().cycle() {
        let failed = |code| DnsError::Failed {
            name: name.into(),
            server,
            code,
        };
        let (id, query) = stack
            .with(|inner| {
                let id = inner.random() as u16;
                encode(&current, kind, id).map(|query| (id, query))
            })
            .ok_or_else(|| DnsError::InvalidName { name: name.into() })?;
        let mut answer = ask(stack, server, (id, kind), &query, &current).await;
        if answer == Some(Answer::Truncated) {
            answer = ask_tcp(stack, server, (id, kind), &query, &current).await;
        }
        let (name, server) = (name.into(), server);
        match answer {
            // Silence: the next server, until the caller's time is up.
            None => {}
            // TCP failed, perhaps at once: not again and again without a pause.
            Some(Answer::Truncated) => stack.sleep(PATIENCE).await,
            Some(Answer::Addresses(addresses, ttl)) => return Ok((addresses, ttl)),
            Some(Answer::Alias(alias)) if aliases < ALIASES_MAX => {
                aliases += 1;
                current = alias;
            }
            Some(Answer::Empty | Answer::Alias(_)) => {
                return Err(DnsError::Empty { name, server });
            }
            Some(Answer::NotFound) => return Err(DnsError::NotFound { name, server }),
            Some(Answer::Failed(code)) => {
                failures += 1;
                if failures >= servers.len() {
                    return Err(failed(code));
                }
            }
        }
    }
    Err(DnsError::NoServer { name: name.into() })
}

/// Asks over UDP; `None` when no answer came in a second.
async fn ask(
    stack: &Stack,
    server: IpAddr,
    id: (u16, DnsQueryType),
    query: &[u8],
    name: &str,
) -> Option<Answer> {
    let Ok(socket) = UdpSocket::bind(stack, None, 2, MESSAGE_MAX) else {
        stack.sleep(PATIENCE).await;
        return None;
    };
    let server = SocketAddr::new(server, PORT);
    socket.send(server, query);
    let answer = async {
        loop {
            let (message, from) = socket.receive().await;
            // Only the server that was asked may answer (RFC 5452 section 9).
            if from == server
                && let Some(answer) = decode(&message, id, name)
            {
                return answer;
            }
        }
    };
    stack.timeout(PATIENCE, answer).await.ok()
}

/// Asks over TCP (RFC 7766), where the answer did not fit into a datagram.
async fn ask_tcp(
    stack: &Stack,
    server: IpAddr,
    id: (u16, DnsQueryType),
    query: &[u8],
    name: &str,
) -> Option<Answer> {
    let server = SocketAddr::new(server, PORT);
    let mut stream = TcpStream::connect(stack, server, PATIENCE).await.ok()?;
    let mut request = (query.len() as u16).to_be_bytes().to_vec();
    request.extend_from_slice(query);
    stream.write_all(&request).await.ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).await.ok()?;
    decode(&message, id, name).filter(|answer| *answer != Answer::Truncated)
}
