//! UDP datagrams (RFC 768).

use alloc::vec;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::net::SocketAddr;
use core::task::Poll;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket, UdpMetadata};
use smoltcp::wire::IpEndpoint;

use crate::Stack;
use crate::stack::DYNAMIC_PORTS;
use crate::time::again;

/// Room for datagrams on their way out: questions are short.
const SEND_BUFFER: usize = 2048;
/// Datagrams that may wait to be sent.
const SEND_COUNT: usize = 4;

/// A UDP port of a stack, closed when dropped.
#[derive(Debug)]
pub struct UdpSocket {
    stack: Stack,
    handle: SocketHandle,
}

/// All ports are in use, or the one that was asked for is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPort;

impl UdpSocket {
    /// Opens a port, any where `port` is `None`, with room for `count` datagrams of `size` bytes
    /// that nobody has read.
    ///
    /// # Errors
    /// [`NoPort`]
    pub fn bind(
        stack: &Stack,
        port: Option<u16>,
        count: usize,
        size: usize,
    ) -> Result<Self, NoPort> {
        let handle = stack.with(|inner| {
            let port = port.or_else(|| inner.free_port(DYNAMIC_PORTS, |_, _| false));
            let buffer = |count, bytes| {
                PacketBuffer::new(vec![PacketMetadata::EMPTY; count], vec![0; bytes])
            };
            let received = buffer(count, count * size);
            let mut socket = Socket::new(received, buffer(SEND_COUNT, SEND_BUFFER));
            socket.bind(port.ok_or(NoPort)?).map_err(|_| NoPort)?;
            Ok(inner.sockets.add(socket))
        })?;
        Ok(Self {
            stack: stack.clone(),
            handle,
        })
    }

    /// Sends a datagram. Like all of UDP it may get lost, also for want of a route.
    pub fn send(&self, to: SocketAddr, payload: &[u8]) {
        self.stack.with(|inner| {
            let Some(source) = inner.source(to.ip()) else {
                return;
            };
            let mut meta = UdpMetadata::from(IpEndpoint::new(to.ip().into(), to.port()));
            meta.local_address = Some(source.into());
            if inner.device.unanswered().is_some() {
                inner.ask_neighbor(to.ip());
            }
            let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
            // Full while the neighbour is still being asked for: lost, and sent again.
            let _ = socket.send_slice(payload, meta);
        });
    }

    /// The next datagram and who sent it, if there is one.
    #[must_use]
    pub fn try_receive(&self) -> Option<(Vec<u8>, SocketAddr)> {
        self.stack.with(|inner| {
            let socket = inner.sockets.get_mut::<Socket<'_>>(self.handle);
            let (payload, meta) = socket.recv().ok()?;
            let from = SocketAddr::new(meta.endpoint.addr.into(), meta.endpoint.port);
            Some((payload.to_vec(), from))
        })
    }

    /// The next datagram and who sent it.
    pub async fn receive(&self) -> (Vec<u8>, SocketAddr) {
        poll_fn(|context| match self.try_receive() {
            Some(received) => Poll::Ready(received),
            None => again(context),
        })
        .await
    }

    /// The stack that the port is on.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.stack.with(|inner| inner.sockets.remove(self.handle));
    }
}
