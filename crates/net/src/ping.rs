//! Echo requests (RFC 792, RFC 4443 section 4.1): is a host there, and how far away?

use alloc::vec;
use core::fmt;
use core::future::poll_fn;
use core::net::IpAddr;
use core::task::Poll;
use core::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp::{Endpoint, PacketBuffer, PacketMetadata, Socket};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr};

use crate::Stack;
use crate::device::MTU;
use crate::frame::{IPV4, IPV6, field16};
use crate::time::again;

/// The header of an echo message.
const ECHO: usize = 8;
/// Messages that may wait for their reader.
const QUEUE: usize = 4;
/// What a question carries, as often as it is asked for.
const PAYLOAD: u8 = b'b';

/// Asks one host, as one asker among others: its questions have an identifier of their own.
#[derive(Debug)]
pub struct Pinger {
    stack: Stack,
    handle: SocketHandle,
    host: IpAddr,
    identifier: u16,
}

/// Why nothing can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingError {
    /// We have no address towards the host.
    NoAddress,
    /// The payload does not fit into a packet.
    TooLong {
        /// What does.
        most: usize,
    },
}

impl fmt::Display for PingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("there is no address of ours towards it"),
            Self::TooLong { most } => {
                write!(f, "a packet has room for {most} bytes, and is never split")
            }
        }
    }
}

impl core::error::Error for PingError {}

impl Pinger {
    /// Prepares to ask `host`.
    #[must_use]
    pub fn open(stack: &Stack, host: IpAddr) -> Self {
        let (handle, identifier) = stack.with(|inner| {
            let identifier = inner.random() as u16;
            let buffer = || {
                let bytes = vec![0; usize::from(MTU)];
                PacketBuffer::new(vec![PacketMetadata::EMPTY; QUEUE], bytes)
            };
            let mut socket = Socket::new(buffer(), buffer());
            // A socket that is new is bound to nothing yet.
            let _ = socket.bind(Endpoint::Ident(identifier));
            (inner.sockets.add(socket), identifier)
        });
        Self {
            stack: stack.clone(),
            handle,
            host,
            identifier,
        }
    }

    /// Sends a question with `size` bytes of payload and waits for its answer; how long that took,
    /// or `None` when none came in time.
    ///
    /// # Errors
    /// [`PingError`]
    pub async fn ask(
        &self,
        number: u16,
        size: usize,
        timeout: Duration,
    ) -> Result<Option<Duration>, PingError> {
        let header = if self.host.is_ipv4() { IPV4 } else { IPV6 } + ECHO;
        let most = usize::from(MTU) - header;
        if size > most {
            return Err(PingError::TooLong { most });
        }
        let asked = self.stack.now();
        self.send(number, &vec![PAYLOAD; size])?;
        let answered = poll_fn(|context| match self.take_answer(number) {
            true => Poll::Ready(()),
            false => again(context),
        });
        let answered = self.stack.timeout(timeout, answered).await;
        Ok(answered.ok().map(|()| self.stack.now() - asked))
    }

    fn send(&self, number: u16, payload: &[u8]) -> Result<(), PingError> {
        self.stack.with(|inner| {
            let source = inner.source(self.host).ok_or(PingError::NoAddress)?;
            if inner.device.unanswered().is_some() {
                inner.ask_neighbor(self.host);
            }
            let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
            let Ok(message) = socket.send(ECHO + payload.len(), self.host.into()) else {
                // Full while the neighbour is still being asked for: lost like any other.
                return Ok(());
            };
            let (identifier, checksums) = (self.identifier, ChecksumCapabilities::default());
            match (self.host, source) {
                (IpAddr::V6(host), IpAddr::V6(source)) => Icmpv6Repr::EchoRequest {
                    ident: identifier,
                    seq_no: number,
                    data: payload,
                }
                .emit(
                    &source,
                    &host,
                    &mut Icmpv6Packet::new_unchecked(message),
                    &checksums,
                ),
                _ => Icmpv4Repr::EchoRequest {
                    ident: identifier,
                    seq_no: number,
                    data: payload,
                }
                .emit(&mut Icmpv4Packet::new_unchecked(message), &checksums),
            }
            Ok(())
        })
    }

    /// Whether the answer to this question has come; anything else that came is forgotten.
    fn take_answer(&self, number: u16) -> bool {
        self.stack.with(|inner| {
            let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
            while let Ok((message, from)) = socket.recv() {
                if IpAddr::from(from) == self.host && answers(self.host, message, number) {
                    return true;
                }
            }
            false
        })
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.stack.with(|inner| inner.sockets.remove(self.handle));
    }
}

/// Whether a message is an echo reply with this number. smoltcp has looked at the checksum and at
/// the identifier.
fn answers(host: IpAddr, message: &[u8], number: u16) -> bool {
    let reply = if host.is_ipv4() { 0 } else { 129 };
    message.first() == Some(&reply) && field16(message, 6) == Some(number)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::Ipv6Config;
    use crate::testing::{CLIENT, Card, Faults, Net, SERVER, seconds};

    const SERVER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

    fn ask(host: IpAddr, size: usize) -> Result<Option<Duration>, PingError> {
        let net = Net::new(3, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        for (stack, last) in [(&client, 2), (&server, 1)] {
            let config = Ipv6Config {
                address: Some(Ipv6Addr::from_bits(SERVER6.to_bits() + last - 1)),
                prefix_len: 64,
                ..Ipv6Config::default()
            };
            stack.configure_ipv6(Some(config)).unwrap();
        }
        let pinger = Pinger::open(&client, host);
        net.run(pinger.ask(7, size, seconds(1)))
    }

    #[test]
    fn hosts_answer_in_both_protocols() {
        for (host, most) in [(IpAddr::V4(SERVER), 1472), (IpAddr::V6(SERVER6), 1452)] {
            for size in [0, 64, most] {
                let took = ask(host, size).unwrap().expect("an answer");
                assert!(took < Duration::from_millis(10), "{host} {size}: {took:?}");
            }
            assert_eq!(ask(host, most + 1), Err(PingError::TooLong { most }));
        }
    }

    #[test]
    fn nobody_does_not_answer() {
        assert_eq!(ask(Ipv4Addr::new(192, 168, 1, 9).into(), 64), Ok(None));
    }

    #[test]
    fn without_an_address_nothing_is_asked() {
        let net = Net::new(3, Faults::default());
        let (client, _server) = net.pair(Card::u_boot());
        let pinger = Pinger::open(&client, SERVER6.into());
        let asked = net.run(pinger.ask(1, 64, seconds(1)));
        assert_eq!(asked, Err(PingError::NoAddress));
    }

    #[test]
    fn only_the_reply_with_the_number_is_an_answer() {
        let v4 = IpAddr::V4(CLIENT);
        assert!(answers(v4, &[0, 0, 0, 0, 0, 1, 0, 7], 7));
        assert!(!answers(v4, &[0, 0, 0, 0, 0, 1, 0, 7], 8));
        assert!(!answers(v4, &[8, 0, 0, 0, 0, 1, 0, 7], 7), "a question");
        assert!(!answers(v4, &[0, 0, 0, 0, 0, 1, 0], 7));
        assert!(answers(SERVER6.into(), &[129, 0, 0, 0, 0, 1, 0, 7], 7));
        assert!(!answers(SERVER6.into(), &[128, 0, 0, 0, 0, 1, 0, 7], 7));
    }
}
