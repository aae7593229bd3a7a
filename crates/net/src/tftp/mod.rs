//! Files by TFTP (RFC 1350) with the options blksize (RFC 2348), tsize (RFC 2349) and windowsize
//! (RFC 7440).
//!
//! Blocks fill a frame, and a window of them is as large as the card's receive budget allows, of
//! which it takes its part away from TCP. A server that knows no options sends blocks of 512 bytes
//! one by one.

mod error;
mod receiver;
#[cfg(test)]
mod tests;

use core::net::SocketAddr;
use core::time::Duration;

pub use self::error::TftpError;
use self::receiver::{Receiver, Step};
use crate::http::{Progress, Sink};
use crate::{Stack, UdpSocket};

/// The bytes of a file that come of these packets.
#[cfg(feature = "fuzzing")]
pub(crate) fn received<'a>(block: usize, packets: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut receiver = Receiver::new("x", block, WINDOW_MAX);
    let lengths = packets.map(|packet| match receiver.handle(packet) {
        Step::Data { data, .. } => data.len(),
        _ => 0,
    });
    lengths.sum()
}

/// Where servers listen (RFC 1350 section 4).
pub const PORT: u16 = 69;
/// The longest block that we ask for: a frame of Ethernet with the headers of IPv6 and UDP, and a
/// VLAN tag.
const BLOCK: usize = 1448;
/// Blocks of a window, at most: more gain nothing.
const WINDOW_MAX: usize = 32;
/// What was sent last is sent again after so long,
const PAUSE: Duration = Duration::from_secs(1);
/// and so often, before the server is given up.
const TRIES: u32 = 8;

/// Fetches the file `path`, its name on the server, into `sink`.
///
/// # Errors
/// [`TftpError`]
pub async fn fetch(
    stack: &Stack,
    server: SocketAddr,
    path: &str,
    sink: &mut impl Sink,
) -> Result<(), TftpError> {
    let no_port = |_| TftpError::NoPort;
    let window = stack.reserve(WINDOW_MAX);
    let socket = UdpSocket::bind(stack, None, window.frames() + 1, BLOCK + 64).map_err(no_port)?;
    let mut receiver = Receiver::new(path, BLOCK, window.frames());
    // The server answers from a port of its own (RFC 1350 section 4).
    let mut peer: Option<SocketAddr> = None;
    let mut last = receiver.request();
    let (mut tries, mut received) = (0, 0);
    socket.send(server, &last);
    loop {
        let Ok((packet, from)) = stack.timeout(PAUSE, socket.receive()).await else {
            tries += 1;
            if tries >= TRIES {
                return Err(TftpError::NoAnswer {
                    server,
                    vlan: stack.vlan(),
                    after: PAUSE * TRIES,
                });
            }
            socket.send(peer.unwrap_or(server), &last);
            continue;
        };
        let is_peer = match peer {
            Some(peer) => from == peer,
            None => from.ip() == server.ip(),
        };
        if !is_peer {
            continue;
        }
        let step = receiver.handle(&packet);
        if !matches!(step, Step::Ignore) {
            peer = Some(from);
            tries = 0;
        }
        match step {
            Step::Ignore => {}
            Step::Begin { total } => {
                sink.begin(total).map_err(|_| TftpError::Stopped)?;
                last = receiver.acknowledgement();
                socket.send(from, &last);
            }
            Step::Data {
                data,
                acknowledge,
                ends,
            } => {
                if received == 0 && receiver.total().is_none() {
                    sink.begin(None).map_err(|_| TftpError::Stopped)?;
                }
                received += data.len() as u64;
                let progress = Progress {
                    received,
                    total: receiver.total(),
                };
                sink.write(data, progress).map_err(|_| TftpError::Stopped)?;
                if acknowledge {
                    last = receiver.acknowledgement();
                    socket.send(from, &last);
                }
                if ends {
                    return Ok(());
                }
            }
            Step::Repeat => {
                last = receiver.acknowledgement();
                socket.send(from, &last);
            }
            Step::Refused { code, message } => {
                return Err(TftpError::Refused {
                    server,
                    code,
                    message,
                });
            }
        }
    }
}
