//! Accepts connections and gives each a task, up to a limit.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower_http::services::ServeDir;

use super::credentials::Credentials;
use super::handshake::{self, HANDSHAKE_MAX, HANDSHAKES_MAX};
use super::identity::Peer;
use super::reload::{self, LOOK_EVERY};
use super::session;
use super::{Config, Tls};
use crate::listen::{accept, bind, limit_silence};
use crate::{BindError, Shutdown};

/// The HTTP service, plain or in TLS, bound.
#[derive(Debug)]
pub struct Service {
    listeners: Vec<TcpListener>,
    site: Site,
    tls: Option<Tls>,
    pub(super) times: Times,
}

/// What is served.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) root: Arc<Path>,
    pub(super) files: ServeDir,
}

/// How long things take that tests cannot wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) look_every: Duration,
    pub(super) handshake_max: Duration,
}

impl Service {
    /// Listens where `config` says.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let scheme = scheme(config.tls.is_some());
        let listeners = bind(scheme, &config.listen)?;
        let files = ServeDir::new(&config.root).with_buf_chunk_size(READ_BYTES);
        let service = Self {
            listeners,
            site: Site {
                root: config.root.as_path().into(),
                files,
            },
            tls: config.tls,
            times: Times {
                look_every: LOOK_EVERY,
                handshake_max: HANDSHAKE_MAX,
            },
        };
        for address in service.addresses() {
            tracing::info!(
                "{scheme}: {} on {scheme}://{address}/",
                config.root.display()
            );
        }
        Ok(service)
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves until `shutdown`, then until the answers under way have been sent.
    pub async fn run(self, shutdown: Shutdown) {
        let mut tasks = JoinSet::new();
        let security = self.tls.map(|Tls { files, credentials }| {
            let (sender, current) = watch::channel(Arc::new(credentials));
            tasks.spawn(reload::keep(
                files,
                sender,
                self.times.look_every,
                shutdown.clone(),
            ));
            Security {
                current,
                turns: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
                handshake_max: self.times.handshake_max,
            }
        });
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        for listener in self.listeners {
            let listener = Listener {
                listener,
                site: self.site.clone(),
                security: security.clone(),
                places: Arc::clone(&places),
            };
            tasks.spawn(listener.run(shutdown.clone()));
        }
        tasks.join_all().await;
    }
}

/// What a listener needs to make TLS of its connections.
#[derive(Clone)]
struct Security {
    current: watch::Receiver<Arc<Credentials>>,
    turns: Arc<Semaphore>,
    handshake_max: Duration,
}

struct Listener {
    listener: TcpListener,
    site: Site,
    security: Option<Security>,
    places: Arc<Semaphore>,
}

impl Listener {
    async fn run(self, mut shutdown: Shutdown) {
        let mut sessions = JoinSet::new();
        loop {
            let next = async {
                // Waiting peers stay in the backlog until somebody leaves.
                let place = Arc::clone(&self.places).acquire_owned().await.ok();
                (accept(&self.listener).await, place)
            };
            tokio::select! {
                ((stream, address), place) = next => {
                    let session = self.session(stream, address, shutdown.clone());
                    sessions.spawn(async move {
                        session.await;
                        drop(place);
                    });
                }
                Some(_) = sessions.join_next() => {}
                () = shutdown.requested() => break,
            }
        }
        drop(self.listener);
        while sessions.join_next().await.is_some() {}
    }

    /// One connection from its first byte to its last.
    fn session(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        mut shutdown: Shutdown,
    ) -> impl Future<Output = ()> + use<> {
        let (site, security) = (self.site.clone(), self.security.clone());
        async move {
            let mut peer = Peer {
                scheme: scheme(security.is_some()),
                address,
                identity: None,
            };
            if let Err(error) = limit_silence(&stream, SILENCE_MAX) {
                let scheme = peer.scheme;
                tracing::debug!("{scheme}: {peer}: connection lost before it began: {error}");
                return;
            }
            let Some(security) = security else {
                return session::run(stream, peer, site, shutdown).await;
            };
            let config = Arc::clone(&security.current.borrow().config);
            let limit = security.handshake_max;
            let accepted = tokio::select! {
                accepted = handshake::accept(stream, address, config, &security.turns, limit) => accepted,
                () = shutdown.requested() => None,
            };
            let Some((stream, identity)) = accepted else {
                return;
            };
            peer.identity = identity;
            session::run(stream, peer, site, shutdown).await;
        }
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

const CONNECTIONS_MAX: usize = 512;
/// Bytes read from a file at a time: large enough that reads do not bound a gigabit.
const READ_BYTES: usize = 256 * 1024;

/// How long a client may leave what it is sent unread.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How long a client may take to send a request's head, and how long a kept connection may idle.
pub(super) const HEAD_MAX: Duration = Duration::from_secs(30);
