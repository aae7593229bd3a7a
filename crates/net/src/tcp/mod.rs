//! TCP connections as byte streams (RFC 9293, by smoltcp).
//!
//! Nagle's algorithm is off: iSCSI and TLS write whole messages and wait for answers. Sending is
//! under congestion control (Reno, RFC 5681); receiving is under the card's receive budget.
//! Retransmission timers are smoltcp's: one second to begin with and at least (RFC 6298).

mod error;
mod race;

use alloc::vec;
use core::future::poll_fn;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::RangeInclusive;
use core::task::Poll;
use core::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};
use smoltcp::wire::{IpAddress, IpEndpoint};

use crate::Stack;
use crate::budget::FlowKey;
use crate::card::VlanTag;
use crate::stack::{DYNAMIC_PORTS, Inner};
use crate::time::{Alarm, again};

pub use error::{ConnectError, StreamError};
pub use race::{End, Ends};

/// Room for data that the application has not read, beyond the largest window.
const RECEIVE_SLACK: usize = 64 * 1024;
/// Data that may wait to be sent or acknowledged.
const SEND_BUFFER: usize = 64 * 1024;
/// A neighbour that was not found by then is asked for by ourselves.
const NEIGHBOR_PATIENCE: Duration = Duration::from_millis(20);
/// Time between two such questions (RFC 4861 section 10).
const NEIGHBOR_PAUSE: Duration = Duration::from_secs(1);
/// How long [`TcpStream::close`] waits for the other side to make progress: several
/// retransmissions.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(8);
/// How long it waits for the other side to close too, once it has everything.
const FIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A TCP connection. [`Self::close`] ends it in order; dropping it resets it, unless the other side
/// has closed and everything was read.
#[derive(Debug)]
pub struct TcpStream {
    stack: Stack,
    handle: SocketHandle,
    key: FlowKey,
    local: SocketAddr,
    remote: SocketAddr,
}

impl TcpStream {
    /// Connects to `remote`.
    ///
    /// # Errors
    /// [`ConnectError`]: refused, no answer within `timeout`, no way to get there.
    pub async fn connect(
        stack: &Stack,
        remote: SocketAddr,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        Self::connect_from(stack, DYNAMIC_PORTS, remote, timeout).await
    }

    /// Connects to `remote` from one of these ports.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_from(
        stack: &Stack,
        ports: RangeInclusive<u16>,
        remote: SocketAddr,
        timeout: Duration,
    ) -> Result<Self, ConnectError> {
        if stack.is_down() {
            return Err(ConnectError::CardDown);
        }
        let stream = stack.with(|inner| open(stack, inner, ports, remote))?;
        let alarm = Alarm::new(stack, timeout);
        let mut patience = Alarm::new(stack, NEIGHBOR_PATIENCE);
        poll_fn(|context| match stream.state() {
            State::Closed => Poll::Ready(Err(ConnectError::Refused { remote })),
            State::SynSent | State::SynReceived if alarm.rings() => {
                Poll::Ready(Err(stream.no_answer(timeout)))
            }
            State::SynSent if patience.rings() => {
                // smoltcp may be busy asking for another.
                stack.with(|inner| inner.ask_neighbor(remote.ip()));
                patience = Alarm::new(stack, NEIGHBOR_PAUSE);
                again(context)
            }
            State::SynSent | State::SynReceived => again(context),
            _ => Poll::Ready(Ok(())),
        })
        .await?;
        Ok(stream)
    }

    fn state(&self) -> State {
        self.with(|socket| socket.state())
    }

    fn no_answer(&self, after: Duration) -> ConnectError {
        let remote = self.remote;
        let hop = self.stack.with(|inner| {
            let hop = inner.next_hop(self.key.remote);
            hop.filter(|hop| inner.device.unanswered() == Some(*hop))
        });
        let vlan = self.stack.vlan();
        match hop {
            Some(neighbor) => ConnectError::Unreachable {
                remote,
                neighbor,
                vlan,
                after,
            },
            None => ConnectError::TimedOut {
                remote,
                vlan,
                after,
            },
        }
    }

    fn with<R>(&self, run: impl FnOnce(&mut Socket<'_>) -> R) -> R {
        self.stack
            .with(|inner| run(inner.sockets.get_mut::<Socket<'_>>(self.handle)))
    }

    fn gone(&self, reset: bool) -> StreamError {
        let remote = self.remote;
        if reset {
            StreamError::Reset { remote }
        } else {
            StreamError::Closed { remote }
        }
    }

    /// Reads what is there, at most `buffer.len()` bytes; waits if there is nothing. 0 means
    /// that the other side has closed, or that `buffer` is empty.
    ///
    /// # Errors
    /// [`StreamError`] when the connection was reset.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        poll_fn(|context| match self.try_read(buffer) {
            Some(result) => Poll::Ready(result),
            None => again(context),
        })
        .await
    }

    /// As [`Self::read`], but `None` where it would have to wait.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, StreamError>> {
        if buffer.is_empty() {
            return Some(Ok(0));
        }
        self.receive(|socket| socket.recv_slice(buffer))
    }

    /// As [`Self::try_read`], without a copy: what is there goes to `take` where it lies, all of it or
    /// up to the end of TCP's buffer.
    pub fn try_take(&mut self, take: impl FnOnce(&[u8])) -> Option<Result<usize, StreamError>> {
        self.receive(|socket| {
            socket.recv(|bytes| {
                if !bytes.is_empty() {
                    take(bytes);
                }
                (bytes.len(), bytes.len())
            })
        })
    }

    fn receive(
        &mut self,
        receive: impl FnOnce(&mut Socket<'_>) -> Result<usize, RecvError>,
    ) -> Option<Result<usize, StreamError>> {
        let (read, left) = self.with(|socket| (receive(socket), socket.recv_queue()));
        match read {
            Ok(0) => None,
            Ok(count) => {
                if left == 0 {
                    self.stack.note_drained(self.key);
                }
                Some(Ok(count))
            }
            Err(RecvError::Finished) => Some(Ok(0)),
            Err(RecvError::InvalidState) => Some(Err(self.gone(self.has_address()))),
        }
    }

    /// Fills `buffer`.
    ///
    /// # Errors
    /// [`StreamError`] when the connection was reset, or closed before `buffer` was full.
    pub async fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), StreamError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.read(rest).await? {
                0 => return Err(self.gone(false)),
                count => filled += count,
            }
        }
        Ok(())
    }

    /// Hands all of `data` to TCP; waits while its buffer is full. The data is on its way, not
    /// acknowledged, when this returns.
    ///
    /// # Errors
    /// [`StreamError`] when the connection was reset or we closed it.
    pub async fn write_all(&mut self, data: &[u8]) -> Result<(), StreamError> {
        let mut written = 0;
        poll_fn(|context| {
            match self.try_write(data.get(written..).unwrap_or_default()) {
                Ok(count) => written += count,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if written >= data.len() {
                Poll::Ready(Ok(()))
            } else {
                again(context)
            }
        })
        .await
    }

    /// Hands as much of `data` to TCP as it takes now; how much that was.
    ///
    /// # Errors
    /// As [`Self::write_all`].
    pub fn try_write(&mut self, data: &[u8]) -> Result<usize, StreamError> {
        let (sent, state) = self.with(|socket| (socket.send_slice(data), socket.state()));
        sent.map_err(|_| self.gone(state == State::Closed && self.has_address()))
    }

    /// Whether all that was written has been acknowledged by the other side.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.with(|socket| socket.send_queue() == 0)
    }

    /// Says how many bytes are still to be read before we ask for more; `None`, as in the
    /// beginning, if that is not known. A connection that expects nothing keeps only a small
    /// part of the receive budget, and others may have the rest. Counts down by itself. A wrong
    /// number costs time, never data.
    pub fn expect(&self, bytes: Option<usize>) {
        let queued = self.with(|socket| socket.recv_queue());
        let bytes = bytes.map(|bytes| bytes.saturating_sub(queued));
        self.stack.expect(self.key, bytes);
    }

    /// Sends `data` as far as that can be done at once: the last word before this is dropped.
    pub fn send_last(&mut self, data: &[u8]) {
        // Whoever does not hear it sees the connection end.
        let _ = self.try_write(data);
        self.stack.poll();
    }

    fn has_address(&self) -> bool {
        let address = self.local.ip();
        self.stack.with(|inner| inner.has_address(address))
    }

    /// Sends what is left, says that we send nothing more, and waits a little for the other side to
    /// agree.
    ///
    /// # Errors
    /// [`StreamError::Reset`] when the other side resets instead, [`StreamError::Closed`] when it
    /// does not answer; the connection is gone in any case.
    pub async fn close(self) -> Result<(), StreamError> {
        self.with(|socket| socket.close());
        let mut alarm = Alarm::new(&self.stack, CLOSE_TIMEOUT);
        let mut last = (self.state(), usize::MAX);
        poll_fn(|context| {
            let now = self.with(|socket| (socket.state(), socket.send_queue()));
            match (last.0, now.0) {
                (_, State::TimeWait) => return Poll::Ready(Ok(())),
                // Both FINs are acknowledged, or the other side resets what had come to its end.
                (State::LastAck | State::Closing | State::FinWait2, State::Closed) => {
                    return Poll::Ready(Ok(()));
                }
                (_, State::Closed) => return Poll::Ready(Err(self.gone(true))),
                // All that we sent has arrived; their FIN may never come.
                (_, State::FinWait2) if alarm.rings() => return Poll::Ready(Ok(())),
                _ if alarm.rings() => return Poll::Ready(Err(self.gone(false))),
                _ => {}
            }
            if now != last {
                last = now;
                let patience = match now.0 {
                    State::FinWait2 => FIN_TIMEOUT,
                    _ => CLOSE_TIMEOUT,
                };
                alarm = Alarm::new(&self.stack, patience);
            }
            again(context)
        })
        .await
    }

    /// Resets the connection.
    pub fn abort(self) {
        drop(self);
    }

    /// Our end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The other end.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote
    }

    /// The stack that the connection runs on.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.stack.release(self.handle, self.key);
    }
}

/// Sends the SYN.
fn open(
    stack: &Stack,
    inner: &mut Inner,
    ports: RangeInclusive<u16>,
    remote: SocketAddr,
) -> Result<TcpStream, ConnectError> {
    let address = remote.ip();
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    if address.is_multicast() || is_broadcast || address.is_unspecified() {
        return Err(ConnectError::Unsupported { remote });
    }
    let ours = inner.source(address).ok_or(ConnectError::NoAddress)?;
    if inner.next_hop(address).is_none() {
        return Err(ConnectError::NoRoute { remote });
    }
    let port = inner
        .free_port(ports, |inner, port| {
            inner.sockets.iter().any(|(_, socket)| match socket {
                smoltcp::socket::Socket::Tcp(tcp) => {
                    tcp.local_endpoint().is_some_and(|local| local.port == port)
                }
                smoltcp::socket::Socket::Udp(_) | smoltcp::socket::Socket::Icmp(_) => false,
            })
        })
        .ok_or(ConnectError::NoPort)?;
    let mut socket = socket(inner);
    let there = IpEndpoint::new(address.into(), remote.port());
    socket
        .connect(
            inner.interface.context(),
            there,
            (IpAddress::from(ours), port),
        )
        .map_err(|_| ConnectError::Unsupported { remote })?;
    Ok(TcpStream {
        stack: stack.clone(),
        handle: inner.sockets.add(socket),
        key: FlowKey {
            vlan: inner.device.vlan(),
            local_port: port,
            remote: address,
            remote_port: remote.port(),
        },
        local: SocketAddr::new(ours, port),
        remote,
    })
}

fn socket(inner: &Inner) -> Socket<'static> {
    let window = inner.device.window_max();
    let receive = SocketBuffer::new(vec![0; window.min(1 << 22) + RECEIVE_SLACK]);
    let mut socket = Socket::new(receive, SocketBuffer::new(vec![0; SEND_BUFFER]));
    socket.set_nagle_enabled(false);
    socket.set_congestion_control(CongestionControl::Reno);
    // The budget layer below holds acknowledgements back; here each poll has one.
    socket.set_ack_delay(None);
    socket
}

/// Accepts TCP connections: for servers in the simulator. The loader never listens.
#[derive(Debug)]
pub struct TcpListener {
    stack: Stack,
    port: u16,
    handle: SocketHandle,
}

impl TcpListener {
    /// Listens on `port` of every address of `stack`; one connection at a time can be opening.
    ///
    /// # Errors
    /// [`ConnectError::NoPort`] for port 0.
    pub fn bind(stack: &Stack, port: u16) -> Result<Self, ConnectError> {
        let handle = listen(stack, port)?;
        Ok(Self {
            stack: stack.clone(),
            port,
            handle,
        })
    }

    /// The next connection.
    ///
    /// # Errors
    /// [`ConnectError::CardDown`] when the card was shut down.
    pub async fn accept(&mut self) -> Result<TcpStream, ConnectError> {
        let (local, remote) = poll_fn(|context| {
            if self.stack.is_down() {
                return Poll::Ready(Err(ConnectError::CardDown));
            }
            let ends = self.stack.with(|inner| {
                let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
                match socket.state() {
                    State::Listen | State::SynReceived => None,
                    State::Closed => {
                        // Reset while it was opening: the port is free again.
                        let _ = socket.listen(self.port);
                        None
                    }
                    _ => socket.local_endpoint().zip(socket.remote_endpoint()),
                }
            });
            match ends {
                Some(ends) => Poll::Ready(Ok(ends)),
                None => again(context),
            }
        })
        .await?;
        let handle = core::mem::replace(&mut self.handle, listen(&self.stack, self.port)?);
        Ok(TcpStream {
            stack: self.stack.clone(),
            handle,
            key: FlowKey {
                vlan: self.stack.vlan().map(VlanTag::id),
                local_port: local.port,
                remote: remote.addr.into(),
                remote_port: remote.port,
            },
            local: SocketAddr::new(local.addr.into(), local.port),
            remote: SocketAddr::new(remote.addr.into(), remote.port),
        })
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let key = FlowKey {
            vlan: None,
            local_port: self.port,
            remote: Ipv4Addr::UNSPECIFIED.into(),
            remote_port: 0,
        };
        self.stack.release(self.handle, key);
    }
}

fn listen(stack: &Stack, port: u16) -> Result<SocketHandle, ConnectError> {
    stack.with(|inner| {
        let mut socket = socket(inner);
        socket.listen(port).map_err(|_| ConnectError::NoPort)?;
        Ok(inner.sockets.add(socket))
    })
}
