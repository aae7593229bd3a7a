//! Accepts connections and gives each a task.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::portal::Portal;
use super::session;
use super::{Config, Reloaded, SessionReport, TargetReport};
use crate::listen::{accept, bind};
use crate::{ServeError, Shutdown};

/// The iSCSI service, bound, with its disks open.
#[derive(Debug)]
pub struct Service {
    listeners: Vec<TcpListener>,
    handle: Handle,
}

/// The service as an administrator sees it, while it runs.
#[derive(Clone, Debug)]
pub struct Handle {
    portal: Arc<Portal>,
    listen: Vec<SocketAddr>,
}

impl Handle {
    /// All targets with their sessions, in the order of their names.
    #[must_use]
    pub fn report(&self) -> Vec<TargetReport> {
        self.portal.report()
    }

    /// Asks the initiator of a session to log out and waits until it is over; who that was, if
    /// there is such a session.
    pub async fn kick(&self, session: u16) -> Option<SessionReport> {
        self.portal.kick(session).await
    }

    /// Offers what `config` says from now on, without a break for targets that stay as they are.
    ///
    /// # Errors
    /// Addresses that are different, and disks that cannot be opened. Then nothing has changed.
    pub async fn reload(&self, config: &Config) -> Result<Reloaded, ServeError> {
        if config.listen != self.listen {
            return Err(ServeError::NeedsRestart("`listen` of [iscsi]"));
        }
        self.portal.reload(config).await
    }
}

impl Service {
    /// Opens the disks and listens where `config` says.
    pub fn bind(config: Config) -> Result<Self, ServeError> {
        let portal = Arc::new(Portal::open(&config)?);
        let listeners = bind("iscsi", &config.listen)?;
        let handle = Handle {
            portal,
            listen: config.listen.clone(),
        };
        let service = Self { listeners, handle };
        for address in service.addresses() {
            for target in &config.targets {
                tracing::info!("iscsi: {} on {address}", target.name);
            }
        }
        Ok(service)
    }

    /// What the service can be asked and told while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves until `shutdown`, then until the commands under way have been answered.
    pub async fn run(self, shutdown: Shutdown) {
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            let portal = Arc::clone(&self.handle.portal);
            listeners.spawn(listen(listener, portal, shutdown.clone()));
        }
        listeners.join_all().await;
    }
}

async fn listen(listener: TcpListener, portal: Arc<Portal>, mut shutdown: Shutdown) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            (stream, peer) = accept(&listener) => match portal.reserve() {
                Some(reservation) => {
                    let portal = Arc::clone(&portal);
                    sessions.spawn(session::run(portal, stream, peer, reservation, shutdown.clone()));
                }
                None => tracing::warn!(
                    "iscsi: {peer}: refused: {} connections are open already",
                    portal.limits.connections_max
                ),
            },
            Some(_) = sessions.join_next() => {}
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}
