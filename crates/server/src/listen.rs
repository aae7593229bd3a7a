//! TCP listeners as every service wants them, and what it means when one cannot be had.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};

/// An address cannot be listened on.
#[derive(Debug, Error)]
#[error("{service}: cannot listen on {address}: {source}; {}", advice(source, *address))]
pub struct BindError {
    /// The service that wanted it.
    pub service: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// Listens on every one of `addresses`.
pub(crate) fn bind(
    service: &'static str,
    addresses: &[SocketAddr],
) -> Result<Vec<TcpListener>, BindError> {
    let bind = |address: &SocketAddr| {
        bind_one(*address).map_err(|source| BindError {
            service,
            address: *address,
            source,
        })
    };
    addresses.iter().map(bind).collect()
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // [::] and 0.0.0.0 are two addresses of the configuration, so they are two sockets.
        socket.set_only_v6(true)?;
    }
    // Connections of a server that has just ended must not keep the next one from starting.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The next connection, ready for use. Errors of single connections are logged and passed over.
pub(crate) async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match prepare(&stream) {
                Ok(()) => return (stream, peer),
                Err(error) => tracing::debug!(%peer, %error, "connection lost before it began"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of descriptors, most likely: give others time to close theirs.
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    // Answers are written whole; waiting for more to send would only add 40 ms to each.
    stream.set_nodelay(true)?;
    // A machine that was switched off says no goodbye. With the system's times (two hours), since
    // one that waits in a boot menu may not look at its network card for long.
    SockRef::from(stream).set_keepalive(true)
}

/// Gives the connection up when the peer leaves what it is sent for `time`.
pub(crate) fn limit_silence(stream: &TcpStream, time: Duration) -> io::Result<()> {
    // Linux counts the time for which a closed window keeps data waiting, too.
    SockRef::from(stream).set_tcp_user_timeout(Some(time))
}

fn advice(error: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program has it (ss -ltnp 'sport = :{port}' shows which)")
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address (ip address shows those it has)".into()
        }
        io::ErrorKind::PermissionDenied => format!(
            "port {port} needs root or the capability CAP_NET_BIND_SERVICE \
             (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
        ),
        _ => "check the address in `listen`".into(),
    }
}

const BACKLOG: i32 = 256;
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bind_error_says_what_to_do() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let cases = [
            (
                taken.local_addr().unwrap(),
                "another program has it (ss -ltnp",
            ),
            (
                "192.0.2.1:8080".parse().unwrap(),
                "no interface of this machine has that address",
            ),
        ];
        for (address, expected) in cases {
            let error = bind("http", &[address]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("http: cannot listen on {address}: ")),
                "{error}"
            );
            assert!(error.contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let listener = bind("test", &["127.0.0.1:0".parse().unwrap()])
            .unwrap()
            .remove(0);
        let address = listener.local_addr().unwrap();
        let _peer = std::net::TcpStream::connect(address).unwrap();
        let (stream, _) = accept(&listener).await;
        limit_silence(&stream, Duration::from_millis(500)).unwrap();
        let fill = async {
            loop {
                stream.writable().await.unwrap();
                match stream.try_write(&[0; 65536]) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return error.kind(),
                    _ => {}
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), fill).await;
        assert_eq!(ended, Ok(io::ErrorKind::TimedOut));
    }
}
