//! Accepts connections and gives each a task.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Config;
use super::portal::Portal;
use super::session;
use crate::listen::{accept, bind};
use crate::{ServeError, Shutdown};

/// The iSCSI service, bound, with its disks open.
#[derive(Debug)]
pub struct Service {
    listeners: Vec<TcpListener>,
    portal: Arc<Portal>,
}

impl Service {
    /// Opens the disks and listens where `config` says.
    pub fn bind(config: Config) -> Result<Self, ServeError> {
        let portal = Arc::new(Portal::open(&config)?);
        let listeners = bind("iscsi", &config.listen)?;
        let service = Self { listeners, portal };
        for address in service.addresses() {
            for target in &config.targets {
                tracing::info!("iscsi: {} on {address}", target.name);
            }
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

    /// Serves until `shutdown`, then until the commands under way have been answered.
    pub async fn run(self, shutdown: Shutdown) {
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            listeners.spawn(listen(listener, Arc::clone(&self.portal), shutdown.clone()));
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
