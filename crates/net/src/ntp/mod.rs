//! The time of day from a server: a client of SNTP (RFC 4330, RFC 5905 section 14).
//!
//! One question, one answer. Nobody vouches for either: what the time may be used for is up to
//! whoever asks.

#[cfg(test)]
mod tests;

use alloc::string::String;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::card::{OnVlan, VlanTag};
use crate::frame::{field32, put};
use crate::time::Seconds;
use crate::{Stack, UdpSocket};

/// Where servers listen (RFC 5905 section 7.2).
pub const PORT: u16 = 123;
/// Length of a message without extensions (RFC 5905 section 7.3).
const MESSAGE: usize = 48;
/// How long each question waits for its answer: a server is never pressed (RFC 4330 section 10).
const PAUSES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// From 1900-01-01, where NTP begins, to 1970-01-01, in seconds (RFC 5905 figure 4).
const UNIX_EPOCH: u64 = 2_208_988_800;
/// The largest stratum of a server that knows the time (RFC 5905 section 7.3).
const STRATUM_MAX: u8 = 15;

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// The time since 1970-01-01 00:00:00 UTC when the answer came.
    pub unix: Duration,
    /// How long question and answer were on their way; the time is right to half of it.
    pub delay: Duration,
    /// How far the server is from a reference clock: 1 has one.
    pub stratum: u8,
}

/// Why there is no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NtpError {
    /// All local ports are in use.
    NoPort,
    /// The server is silent.
    NoAnswer {
        /// The server.
        server: SocketAddr,
        /// The VLAN that it was asked on, where it was tagged.
        vlan: Option<VlanTag>,
        /// How long.
        after: Duration,
    },
    /// The server does not want to be asked (RFC 5905 section 7.4).
    KissOfDeath {
        /// The server.
        server: SocketAddr,
        /// Its reason: four letters.
        code: String,
    },
    /// The server does not know the time itself.
    NotSynchronized {
        /// The server.
        server: SocketAddr,
    },
}

impl fmt::Display for NtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => f.write_str("all local ports are in use"),
            Self::NoAnswer {
                server,
                vlan,
                after,
            } => write!(
                f,
                "no answer from the NTP server {} for {}{}",
                server.ip(),
                Seconds(*after),
                OnVlan(*vlan)
            ),
            Self::KissOfDeath { server, code } => {
                let meaning = match code.as_str() {
                    "DENY" | "RSTR" => "it does not serve this machine",
                    "RATE" => "it is asked too often",
                    _ => "it does not want to be asked",
                };
                write!(f, "NTP server {}: {meaning} ({code})", server.ip())
            }
            Self::NotSynchronized { server } => {
                let server = server.ip();
                write!(f, "NTP server {server} does not know the time itself")
            }
        }
    }
}

impl core::error::Error for NtpError {}

/// Asks a server for the time.
///
/// # Errors
/// [`NtpError`]
pub async fn ask(stack: &Stack, server: SocketAddr) -> Result<Time, NtpError> {
    let socket = UdpSocket::bind(stack, None, 4, 2 * MESSAGE).map_err(|_| NtpError::NoPort)?;
    for pause in PAUSES {
        // Whoever cannot see the question cannot answer it (RFC 5905 section 8, packet sanity
        // test 2); and our own idea of the time is nobody's business.
        let cookie = stack.with(|inner| inner.random());
        let asked = stack.now();
        socket.send(server, &request(cookie));
        let answer = async {
            loop {
                let (packet, from) = socket.receive().await;
                if from == server
                    && let Some(answer) = read(&packet, cookie)
                {
                    return answer;
                }
            }
        };
        match stack.timeout(pause, answer).await {
            Ok(Answer::Time(answer)) => return Ok(answer.arrived(stack.now() - asked)),
            Ok(Answer::Kiss(code)) => return Err(NtpError::KissOfDeath { server, code }),
            Ok(Answer::NotSynchronized) => return Err(NtpError::NotSynchronized { server }),
            Err(_) => {}
        }
    }
    Err(NtpError::NoAnswer {
        server,
        vlan: stack.vlan(),
        after: PAUSES.iter().sum(),
    })
}

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Time(Stamps),
    /// RFC 5905 section 7.4.
    Kiss(String),
    NotSynchronized,
}

/// When the server had the question and sent the answer, since 1970.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stamps {
    received: Duration,
    sent: Duration,
    stratum: u8,
}

impl Stamps {
    /// The time `elapsed` after the question was sent (RFC 4330 section 5).
    fn arrived(&self, elapsed: Duration) -> Time {
        let delay = elapsed.saturating_sub(self.sent.saturating_sub(self.received));
        Time {
            unix: self.sent + delay / 2,
            delay,
            stratum: self.stratum,
        }
    }
}

/// A question: version 4, mode 3, and nothing else but the cookie as transmit timestamp (RFC 4330
/// section 5).
fn request(cookie: u64) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    put(&mut message, 0, &[0x23]);
    put(&mut message, 40, &cookie.to_be_bytes());
    message
}

/// Reads the answer to the question with this cookie; `None` if it is not one.
pub(crate) fn read(message: &[u8], cookie: u64) -> Option<Answer> {
    let (first, stratum) = (*message.first()?, *message.get(1)?);
    let (leap, version, mode) = (first >> 6, first >> 3 & 7, first & 7);
    let origin = message.get(24..)?.first_chunk()?;
    if mode != 4 || !(1..=4).contains(&version) || u64::from_be_bytes(*origin) != cookie {
        return None;
    }
    if stratum == 0 {
        let code = message.get(12..16)?;
        let letters = code.iter().filter(|byte| byte.is_ascii_graphic());
        return Some(Answer::Kiss(letters.copied().map(char::from).collect()));
    }
    // The last 8 bytes are looked at here, so that they must be there.
    let (received, sent) = (timestamp(message, 32)?, timestamp(message, 40)?);
    let is_synchronized = leap != 3 && stratum <= STRATUM_MAX && field32(message, 40)? != 0;
    Some(match is_synchronized {
        true => Answer::Time(Stamps {
            received,
            sent,
            stratum,
        }),
        false => Answer::NotSynchronized,
    })
}

/// A timestamp as time since 1970. Seconds without their highest bit are of the era that begins
/// in 2036 (RFC 4330 section 3).
fn timestamp(message: &[u8], at: usize) -> Option<Duration> {
    let (seconds, fraction) = (field32(message, at)?, field32(message, at + 4)?);
    let era = if seconds >> 31 == 0 { 1 << 32 } else { 0 };
    let unix = (u64::from(seconds) + era).checked_sub(UNIX_EPOCH)?;
    let nanoseconds = (u64::from(fraction) * 1_000_000_000) >> 32;
    Some(Duration::new(unix, nanoseconds as u32))
}
