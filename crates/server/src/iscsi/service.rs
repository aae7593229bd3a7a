//! Accepts connections.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Config;
use crate::listen::bind;
use crate::{ServeError, Shutdown};

/// The iSCSI service, bound.
#[derive(Debug)]
pub struct Service {
    listeners: Vec<TcpListener>,
}

impl Service {
    /// Listens where `config` says.
    pub fn bind(config: Config) -> Result<Self, ServeError> {
        let listeners = bind("iscsi", &config.listen)?;
        Ok(Self { listeners })
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves until `shutdown`.
    pub async fn run(self, mut shutdown: Shutdown) {
        shutdown.requested().await;
    }
}
