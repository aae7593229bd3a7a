//! Names to addresses (RFC 1035): a stub resolver over UDP, and TCP for long answers.

#[cfg(test)]
mod tests;

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::task::Poll;
use core::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::{
    DnsFlags, DnsOpcode, DnsPacket, DnsQueryType, DnsQuestion, DnsRcode, DnsRecord, DnsRecordData,
    DnsRepr, IpAddress,
};

use crate::card::{OnVlan, VlanTag};
use crate::time::{Alarm, Seconds, again};
use crate::{Stack, TcpStream};

const PORT: u16 = 53;
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
        server: Ipv4Addr,
    },
    /// The name exists, but has no IPv4 address.
    NoIpv4 {
        /// The name.
        name: String,
        /// Who said so.
        server: Ipv4Addr,
    },
    /// Every server refused or failed; the last one did so with this code.
    Failed {
        /// The name.
        name: String,
        /// The last server.
        server: Ipv4Addr,
        /// RFC 1035 section 4.1.1.
        code: u8,
    },
    /// No server answered.
    TimedOut {
        /// The name.
        name: String,
        /// The servers that were asked.
        servers: Vec<Ipv4Addr>,
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
            Self::NoIpv4 { name, server } => {
                write!(
                    f,
                    "{name} has no IPv4 address (name server {server} says so)"
                )
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

/// What a server's message says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Addresses(Vec<Ipv4Addr>),
    /// An alias whose address is not in the message.
    Alias(String),
    Empty,
    NotFound,
    Failed(u8),
    /// Ask again over TCP.
    Truncated,
}

impl Stack {
    /// The addresses of `name`. An address in text is its own answer. Servers are asked in turn,
    /// a second each, until `timeout`.
    ///
    /// # Errors
    /// [`DnsError`]: what went wrong and which server said so.
    pub async fn resolve(&self, name: &str, timeout: Duration) -> Result<Vec<IpAddr>, DnsError> {
        let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(name).parse() {
            return Ok(vec![address]);
        }
        let Some(config) = self.ipv4() else {
            return Err(DnsError::NoAddress);
        };
        let mut servers = config.dns;
        servers.retain(|server| !server.is_unspecified() && !server.is_multicast());
        if servers.is_empty() {
            return Err(DnsError::NoServer { name: name.into() });
        }
        let looked_up = self.timeout(timeout, lookup(self, name, &servers)).await;
        looked_up.unwrap_or_else(|_| {
            Err(DnsError::TimedOut {
                name: name.into(),
                servers,
                vlan: self.vlan(),
                after: timeout,
            })
        })
    }
}

async fn lookup(stack: &Stack, name: &str, servers: &[Ipv4Addr]) -> Result<Vec<IpAddr>, DnsError> {
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
                encode(&current, id).map(|query| (id, query))
            })
            .ok_or_else(|| DnsError::InvalidName { name: name.into() })?;
        let mut answer = ask(stack, server, id, &query, &current).await;
        if answer == Some(Answer::Truncated) {
            answer = ask_tcp(stack, server, id, &query, &current).await;
        }
        let (name, server) = (name.into(), server);
        match answer {
            // Silence: the next server, until the caller's time is up.
            None => {}
            // TCP failed, perhaps at once: not again and again without a pause.
            Some(Answer::Truncated) => stack.sleep(PATIENCE).await,
            Some(Answer::Addresses(addresses)) => {
                return Ok(addresses.into_iter().map(IpAddr::V4).collect());
            }
            Some(Answer::Alias(alias)) if aliases < ALIASES_MAX => {
                aliases += 1;
                current = alias;
            }
            Some(Answer::Empty | Answer::Alias(_)) => {
                return Err(DnsError::NoIpv4 { name, server });
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

/// A UDP socket, closed when dropped.
struct Port<'a> {
    stack: &'a Stack,
    handle: SocketHandle,
}

impl Drop for Port<'_> {
    fn drop(&mut self) {
        self.stack.with(|inner| inner.sockets.remove(self.handle));
    }
}

/// Asks over UDP; `None` when no answer came in a second.
async fn ask(stack: &Stack, server: Ipv4Addr, id: u16, query: &[u8], name: &str) -> Option<Answer> {
    let alarm = Alarm::new(stack, PATIENCE);
    let port = stack.with(|inner| {
        let number = inner.ephemeral_port(|_, _| false)?;
        let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 2], vec![0; MESSAGE_MAX]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.bind(number).ok()?;
        socket
            .send_slice(query, (IpAddress::Ipv4(server), PORT))
            .ok()?;
        let handle = inner.sockets.add(socket);
        Some(Port { stack, handle })
    });
    let Some(port) = port else {
        stack.sleep(PATIENCE).await;
        return None;
    };
    poll_fn(|context| {
        let answer = stack.with(|inner| {
            let socket = inner.sockets.get_mut::<Socket<'_>>(port.handle);
            while let Ok((message, from)) = socket.recv() {
                // Only the server that was asked may answer (RFC 5452 section 9).
                let expected = (IpAddress::Ipv4(server), PORT);
                if (from.endpoint.addr, from.endpoint.port) == expected
                    && let Some(answer) = decode(message, id, name)
                {
                    return Some(answer);
                }
            }
            None
        });
        match answer {
            Some(answer) => Poll::Ready(Some(answer)),
            None if alarm.rings() => Poll::Ready(None),
            None => again(context),
        }
    })
    .await
}

/// Asks over TCP (RFC 7766), where the answer did not fit into a datagram.
async fn ask_tcp(
    stack: &Stack,
    server: Ipv4Addr,
    id: u16,
    query: &[u8],
    name: &str,
) -> Option<Answer> {
    let server = SocketAddr::new(IpAddr::V4(server), PORT);
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

/// The name in wire format (RFC 1035 section 3.1); `None` if it is not one.
fn wire_name(name: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        if label.is_empty() || label.len() > 63 || !label.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

fn encode(name: &str, id: u16) -> Option<Vec<u8>> {
    let name = wire_name(name)?;
    let query = DnsRepr {
        transaction_id: id,
        opcode: DnsOpcode::Query,
        flags: DnsFlags::RECURSION_DESIRED,
        question: DnsQuestion {
            name: &name,
            type_: DnsQueryType::A,
        },
    };
    let mut message = vec![0; query.buffer_len()];
    query.emit(&mut DnsPacket::new_unchecked(&mut message));
    Some(message)
}

/// The addresses in an answer for `name`, whatever its number.
#[cfg(feature = "fuzzing")]
pub(crate) fn addresses(message: &[u8], name: &str) -> Vec<Ipv4Addr> {
    let id = message
        .first_chunk()
        .map_or(0, |id| u16::from_be_bytes(*id));
    match decode(message, id, name) {
        Some(Answer::Addresses(addresses)) => addresses,
        _ => Vec::new(),
    }
}

/// Reads an answer to the question `id` for `name`; `None` if it is not one.
fn decode(message: &[u8], id: u16, name: &str) -> Option<Answer> {
    let packet = DnsPacket::new_checked(message).ok()?;
    let flags = packet.flags();
    if packet.transaction_id() != id
        || !flags.contains(DnsFlags::RESPONSE)
        || packet.opcode() != DnsOpcode::Query
        || packet.question_count() != 1
    {
        return None;
    }
    let (mut rest, question) = DnsQuestion::parse(packet.payload()).ok()?;
    let mut current = readable(&packet, question.name)?;
    let asked = name.strip_suffix('.').unwrap_or(name);
    if question.type_ != DnsQueryType::A || !current.eq_ignore_ascii_case(asked) {
        return None;
    }
    if flags.contains(DnsFlags::TRUNCATED) {
        return Some(Answer::Truncated);
    }
    match packet.rcode() {
        DnsRcode::NoError => {}
        DnsRcode::NXDomain => return Some(Answer::NotFound),
        other => return Some(Answer::Failed(other.into())),
    }
    let mut records = Vec::new();
    for _ in 0..packet.answer_record_count() {
        let Ok((after, record)) = DnsRecord::parse(rest) else {
            break;
        };
        rest = after;
        records.push((readable(&packet, record.name)?, record.data));
    }
    // Aliases may stand in any order; each is followed once.
    for _ in 0..=records.len() {
        let of_current = || {
            let owned = records.iter();
            owned.filter(|(owner, _)| owner.eq_ignore_ascii_case(&current))
        };
        let addresses: Vec<Ipv4Addr> = of_current()
            .filter_map(|(_, data)| match data {
                DnsRecordData::A(address) => Some(*address),
                _ => None,
            })
            .collect();
        if !addresses.is_empty() {
            return Some(Answer::Addresses(addresses));
        }
        let alias = of_current().find_map(|(_, data)| match data {
            DnsRecordData::Cname(alias) => readable(&packet, alias),
            _ => None,
        });
        match alias {
            Some(alias) => current = alias,
            None if current.eq_ignore_ascii_case(asked) => return Some(Answer::Empty),
            None => return Some(Answer::Alias(current)),
        }
    }
    Some(Answer::Empty)
}

/// A name of a message as text, pointers followed.
fn readable(packet: &DnsPacket<&[u8]>, name: &[u8]) -> Option<String> {
    let mut text = String::new();
    for label in packet.parse_name(name) {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(core::str::from_utf8(label.ok()?).ok()?);
    }
    Some(text)
}
