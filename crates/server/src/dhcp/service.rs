//! The loop between the sockets, the machine and the lease file.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use bowline_dhcp::server::{self, Destination, EventKind, Lease, Output, Server, Transmit};
use bowline_dhcp::{CLIENT_PORT, SERVER_PORT, limits};
use tokio::net::UdpSocket;

use super::Error;
use super::interface::{Interface, PacketSocket};
use super::lease_file::LeaseFile;

/// Settings of the service.
#[derive(Clone, Debug)]
pub struct Config {
    /// The interface to serve, by name. Nothing is heard or said on any other.
    pub interface: String,
    /// What is given to whom. `server.server` must be an address of the interface.
    pub server: server::Config,
    /// Where leases are kept; its directory is created.
    pub lease_file: PathBuf,
}

/// A DHCP service that has its socket and its leases.
#[derive(Debug)]
pub struct Service {
    socket: UdpSocket,
    packet_socket: Option<PacketSocket>,
    identifier: Ipv4Addr,
    ports: Ports,
    machine: Server,
    lease_file: Option<LeaseFile>,
    clock: Clock,
}

/// Binds and serves until `shutdown` is ready.
///
/// # Errors
/// Those of [`Service::bind`].
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Service::bind(config)?.run(shutdown).await;
    Ok(())
}

impl Service {
    /// Takes the socket and reads the leases. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Error`] says what is missing and what to do about it.
    pub fn bind(config: Config) -> Result<Self, Error> {
        Self::bind_ports(
            config,
            Ports {
                server: SERVER_PORT,
                client: CLIENT_PORT,
            },
        )
    }

    pub(super) fn bind_ports(config: Config, ports: Ports) -> Result<Self, Error> {
        config.server.check()?;
        let interface = Interface::find(&config.interface)?;
        let identifier = config.server.server;
        interface.check_address(identifier)?;
        let socket = interface.udp_socket(ports.server)?;
        let packet_socket = match interface.packet_socket() {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(
                    interface = config.interface,
                    "dhcp: no packet socket ({error}); clients without an address are answered \
                     by broadcast (the capability CAP_NET_RAW would spare the other machines)"
                );
                None
            }
        };
        let (lease_file, replay) = LeaseFile::open(&config.lease_file)?;
        for damage in &replay.damage {
            tracing::warn!(file = %config.lease_file.display(), "dhcp: lease file: {damage}");
        }
        let clock = Clock::start();
        let leases = credible(replay.leases, clock.now(), config.server.lease_time);
        let machine = Server::new(config.server, leases)?;
        tracing::info!(
            interface = config.interface,
            address = %identifier,
            leases = machine.leases().count(),
            "dhcp: serving"
        );
        let lease_file = Some(lease_file);
        Ok(Self {
            socket,
            packet_socket,
            identifier,
            ports,
            machine,
            lease_file,
            clock,
        })
    }

    /// Serves until `shutdown` is ready. Errors of single messages are logged.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut buffer = vec![0; limits::MESSAGE_LEN_MAX + 1];
        loop {
            let received = tokio::select! {
                () = &mut shutdown => return,
                received = self.socket.recv(&mut buffer) => received,
            };
            match received {
                Ok(len) => self.take(&buffer, len),
                Err(error) => {
                    // The interface is down, for instance.
                    tracing::warn!(%error, "dhcp: cannot receive");
                    tokio::time::sleep(RECEIVE_RETRY).await;
                    continue;
                }
            }
            for _ in 1..BATCH_MAX {
                match self.socket.try_recv(&mut buffer) {
                    Ok(len) => self.take(&buffer, len),
                    Err(_) => break,
                }
            }
            self.answer().await;
        }
    }

    /// Makes the next write a rewrite, as after a write that failed.
    #[cfg(test)]
    pub(super) fn fail_next_write(&mut self) {
        if let Some(file) = &mut self.lease_file {
            file.mark_torn();
        }
    }

    fn take(&mut self, buffer: &[u8], len: usize) {
        let now = self.clock.now();
        self.machine
            .handle_input(now, buffer.get(..len).unwrap_or(buffer));
        while let Some(event) = self.machine.poll_event() {
            match event.kind {
                kind if kind.is_trouble() => tracing::warn!("dhcp: {event}"),
                EventKind::Offered(_) | EventKind::Bootp | EventKind::Malformed(_) => {
                    tracing::debug!("dhcp: {event}");
                }
                _ => tracing::info!("dhcp: {event}"),
            }
        }
    }

    /// Writes and syncs all records, then sends all replies. Without the records on disk no reply
    /// goes out: the clients ask again.
    async fn answer(&mut self) {
        let mut records = Vec::new();
        let mut replies = Vec::new();
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Store(lease) => records.push(lease),
                Output::Send(transmit) => replies.push(transmit),
            }
        }
        if !records.is_empty()
            && let Err(error) = self.store(records).await
        {
            tracing::error!(%error, "dhcp: cannot write the lease file; {} unsent", replies.len());
            return;
        }
        for reply in replies {
            if let Err(error) = self.send(&reply).await {
                tracing::warn!(%error, to = ?reply.to, "dhcp: cannot send");
            }
        }
    }

    async fn store(&mut self, records: Vec<Lease>) -> io::Result<()> {
        let Some(mut file) = self.lease_file.take() else {
            return Err(io::Error::other("a write that was under way has panicked"));
        };
        let all: Option<Vec<Lease>> = file
            .wants_rewrite(self.machine.leases().count())
            .then(|| self.machine.leases().cloned().collect());
        let write = tokio::task::spawn_blocking(move || {
            let result = match all {
                Some(all) => file.rewrite(&all),
                None => file.append(&records),
            };
            (file, result)
        });
        let (file, result) = write.await.map_err(io::Error::other)?;
        self.lease_file = Some(file);
        result
    }

    async fn send(&self, reply: &Transmit) -> io::Result<()> {
        let (address, port, hardware) = match reply.to {
            Destination::Relay(relay) => (relay, self.ports.server, None),
            Destination::Client(client) => (client, self.ports.client, None),
            Destination::Hardware { hardware, address } => match hardware.mac() {
                Some(mac) => (address, self.ports.client, Some(mac)),
                None => (Ipv4Addr::BROADCAST, self.ports.client, Some(MAC_BROADCAST)),
            },
            Destination::Broadcast => (Ipv4Addr::BROADCAST, self.ports.client, Some(MAC_BROADCAST)),
        };
        let mut to = SocketAddrV4::new(address, port);
        if let Some(hardware) = hardware {
            if let Some(socket) = &self.packet_socket {
                let from = SocketAddrV4::new(self.identifier, self.ports.server);
                match socket.send(hardware, from, to, &reply.payload) {
                    Ok(()) => return Ok(()),
                    Err(error) => tracing::debug!(%error, "dhcp: frame not sent, broadcasting"),
                }
            }
            to.set_ip(Ipv4Addr::BROADCAST);
        }
        self.socket.send_to(&reply.payload, to).await.map(drop)
    }
}

/// The ports in use; other than 67 and 68 only in tests, which have no right to those.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) server: u16,
    pub(super) client: u16,
}

/// Time since 1970 that never goes back: the system's time at the start, and from there on the
/// monotonic clock.
#[derive(Debug)]
struct Clock {
    epoch: Duration,
    started: Instant,
}

impl Clock {
    fn start() -> Self {
        let epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            epoch,
            started: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.epoch.saturating_add(self.started.elapsed())
    }
}

/// Records that end later than any lease of ours does were written while the clock was wrong:
/// they are cut, so that they do not block their addresses for years. The limit is generous,
/// because the lease time may have been shortened, and clients still hold the longer leases.
fn credible(leases: Vec<Lease>, now: Duration, lease_time: Duration) -> Vec<Lease> {
    let limit = now.saturating_add(lease_time.max(CREDIBLE_LEASE));
    let shorten = |mut lease: Lease| {
        if lease.expires != Duration::MAX {
            lease.expires = lease.expires.min(limit);
        }
        lease
    };
    leases.into_iter().map(shorten).collect()
}

const BATCH_MAX: usize = 64;
const CREDIBLE_LEASE: Duration = Duration::from_secs(30 * 24 * 3600);
const RECEIVE_RETRY: Duration = Duration::from_millis(200);
const MAC_BROADCAST: [u8; 6] = [0xff; 6];
