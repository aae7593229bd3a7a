//! Connecting to whoever answers first (RFC 8305, happy eyeballs).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use super::{ConnectError, TcpStream};
use crate::Stack;
use crate::dns::Found;
use crate::time::{Alarm, again};

/// The head start that each address has (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// One way to a host: a stack, and an address and port.
pub type End = (Stack, SocketAddr);

/// The ways to a host, in the order in which they are to be tried.
pub struct Ends {
    /// Those that are known,
    pub known: Vec<End>,
    /// and those whose addresses are still being looked up.
    pub late: Option<Pin<Box<dyn Future<Output = Vec<End>>>>>,
}

impl From<Vec<End>> for Ends {
    fn from(known: Vec<End>) -> Self {
        let late = None;
        Self { known, late }
    }
}

impl Ends {
    /// The ends at the addresses that were found; `end` knows the way to one, where there is one.
    pub fn new(found: Found, end: impl Fn(IpAddr) -> Option<End> + 'static) -> Self {
        let known = found.addresses.into_iter().filter_map(&end).collect();
        let late = found.late.map(|late| -> Pin<Box<dyn Future<Output = _>>> {
            Box::pin(async move { late.await.into_iter().filter_map(end).collect() })
        });
        Self { known, late }
    }

    /// Takes the next end; waits for it where it is not known yet.
    pub async fn next(&mut self) -> Option<End> {
        if self.known.is_empty()
            && let Some(late) = self.late.take()
        {
            self.known = late.await;
        }
        let is_over = self.known.is_empty();
        (!is_over).then(|| self.known.remove(0))
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ends")
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl TcpStream {
    /// Connects to the first of several ends that answers: each is tried when the one before has
    /// failed or has not answered for a quarter of a second. The others are given up then.
    ///
    /// # Errors
    /// The last [`ConnectError`], when all have failed within `timeout` each;
    /// [`ConnectError::NoAddress`] when there are none.
    pub async fn connect_any(
        ends: impl Into<Ends>,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        type Attempt = Pin<Box<dyn Future<Output = Result<TcpStream, ConnectError>>>>;
        let Ends { known, mut late } = ends.into();
        let mut waiting = VecDeque::from(known);
        let mut attempts: Vec<Attempt> = Vec::new();
        let mut next: Option<Alarm> = None;
        let mut last = ConnectError::NoAddress;
        poll_fn(move |context| {
            if let Some(ends) = &mut late
                && let Poll::Ready(ends) = ends.as_mut().poll(context)
            {
                late = None;
                waiting = in_turns(ends, core::mem::take(&mut waiting));
            }
            loop {
                let mut index = 0;
                while let Some(attempt) = attempts.get_mut(index) {
                    match attempt.as_mut().poll(context) {
                        Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                        Poll::Ready(Err(error)) => {
                            last = error;
                            drop(attempts.remove(index));
                            next = None;
                        }
                        Poll::Pending => index += 1,
                    }
                }
                if next.as_ref().is_some_and(|next| !next.rings()) {
                    return again(context);
                }
                let Some((stack, remote)) = waiting.pop_front() else {
                    next = None;
                    return if attempts.is_empty() && late.is_none() {
                        Poll::Ready(Err(last))
                    } else {
                        again(context)
                    };
                };
                next = Some(Alarm::new(&stack, HEAD_START));
                let connect = async move { Self::connect(&stack, remote, timeout).await };
                attempts.push(Box::pin(connect));
            }
        })
        .await
    }
}

/// Addresses that come late are of the other protocol, whose turn it is (RFC 8305 section 3).
fn in_turns(late: Vec<End>, mut waiting: VecDeque<End>) -> VecDeque<End> {
    let mut ends = VecDeque::new();
    for end in late {
        ends.push_back(end);
        ends.extend(waiting.pop_front());
    }
    ends.append(&mut waiting);
    ends
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::testing::{CLIENT, Card, Faults, Net, SERVER, at, config, seconds};
    use crate::{Ipv6Config, TcpListener};

    /// A server with both protocols; what listens is up to the test.
    fn net() -> (Net, Stack, Stack) {
        let net = Net::new(1, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        let address = |last| Ipv6Config {
            address: Some(Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped()),
            prefix_len: 96,
            ..Ipv6Config::default()
        };
        client.configure_ipv6(Some(address(50))).unwrap();
        server.configure_ipv6(Some(address(1))).unwrap();
        (net, client, server)
    }

    fn ipv6(last: u8) -> SocketAddr {
        let address = Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped();
        SocketAddr::new(address.into(), 80)
    }

    #[test]
    fn the_first_that_answers_is_taken() {
        let nobody = ipv6(9);
        for (ends, expected, millis) in [
            // All is well: the first.
            (vec![ipv6(1), at(SERVER, 80)], ipv6(1), 0..250),
            // The first is silent: the second after its head start, and not after a timeout.
            (vec![nobody, at(SERVER, 80)], at(SERVER, 80), 250..500),
            (vec![nobody, nobody, ipv6(1)], ipv6(1), 500..750),
            // The first refuses: the second at once.
            (vec![at(SERVER, 81), at(SERVER, 80)], at(SERVER, 80), 0..250),
        ] {
            let (net, client, server) = net();
            let _listener = TcpListener::bind(&server, 80).unwrap();
            let start = client.now();
            let ends = ends.into_iter().map(|end| (client.clone(), end));
            let ends = ends.collect::<Vec<_>>();
            let stream = net.run(TcpStream::connect_any(ends, seconds(5))).unwrap();
            assert_eq!(stream.remote_addr(), expected);
            let took = (client.now() - start).as_millis() as u64;
            assert!(millis.contains(&took), "{took} ms to {expected}");
        }
    }

    /// Addresses that are known late are tried next, before those that wait already.
    #[test]
    fn late_addresses_take_their_turn() {
        let nobody = ipv6(9);
        for (known, late_after, late, expected, millis) in [
            // While the first is tried; and when all have failed.
            (
                vec![nobody, nobody],
                50,
                vec![at(SERVER, 80)],
                at(SERVER, 80),
                250..500,
            ),
            (vec![at(SERVER, 81)], 700, vec![ipv6(1)], ipv6(1), 700..950),
            // Too late to matter.
            (vec![ipv6(1)], 700, vec![at(SERVER, 80)], ipv6(1), 0..250),
        ] {
            let (net, client, server) = net();
            let _listener = TcpListener::bind(&server, 80).unwrap();
            let start = client.now();
            let ends = |ends: Vec<SocketAddr>| -> Vec<End> {
                ends.into_iter().map(|end| (client.clone(), end)).collect()
            };
            let (known, late, stack) = (ends(known), ends(late), client.clone());
            let late = async move {
                stack.sleep(Duration::from_millis(late_after)).await;
                late
            };
            let ends = Ends {
                known,
                late: Some(Box::pin(late)),
            };
            let stream = net.run(TcpStream::connect_any(ends, seconds(5))).unwrap();
            assert_eq!(stream.remote_addr(), expected);
            let took = (client.now() - start).as_millis() as u64;
            assert!(millis.contains(&took), "{took} ms to {expected}");
        }
    }

    #[test]
    fn the_last_failure_is_told() {
        let (net, client, _server) = net();
        let ends = |ends: &[SocketAddr]| -> Vec<End> {
            ends.iter().map(|end| (client.clone(), *end)).collect()
        };
        let connect = |list: &[SocketAddr]| net.run(TcpStream::connect_any(ends(list), seconds(5)));
        assert_eq!(connect(&[]).unwrap_err(), ConnectError::NoAddress);
        let start = client.now();
        let failure = connect(&[at(SERVER, 80), ipv6(9)]).unwrap_err();
        assert!(
            matches!(failure, ConnectError::Unreachable { .. }),
            "{failure}"
        );
        assert!(client.now() - start < seconds(6));
        client.configure_ipv4(Some(config(CLIENT))).unwrap();
    }
}
