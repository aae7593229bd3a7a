//! Accepts connections and gives each a task, up to a limit.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower_http::services::ServeDir;

use super::Config;
use super::session;
use crate::listen::{accept, bind, limit_silence};
use crate::{BindError, Shutdown};

/// The HTTP service, bound.
#[derive(Debug)]
pub struct Service {
    listeners: Vec<TcpListener>,
    files: ServeDir,
}

impl Service {
    /// Listens where `config` says.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let listeners = bind("http", &config.listen)?;
        let files = ServeDir::new(&config.root).with_buf_chunk_size(READ_BYTES);
        let service = Self { listeners, files };
        for address in service.addresses() {
            tracing::info!("http: {} on http://{address}/", config.root.display());
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
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut listeners = JoinSet::new();
        for listener in self.listeners {
            let (files, places) = (self.files.clone(), Arc::clone(&places));
            listeners.spawn(listen(listener, files, places, shutdown.clone()));
        }
        listeners.join_all().await;
    }
}

async fn listen(
    listener: TcpListener,
    files: ServeDir,
    places: Arc<Semaphore>,
    mut shutdown: Shutdown,
) {
    let mut sessions = JoinSet::new();
    loop {
        let next = async {
            // Waiting peers stay in the backlog until somebody leaves.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (accept(&listener).await, place)
        };
        tokio::select! {
            ((stream, peer), place) = next => {
                if let Err(error) = limit_silence(&stream, SILENCE_MAX) {
                    tracing::debug!("http: {peer}: connection lost before it began: {error}");
                    continue;
                }
                let session = session::run(stream, peer, files.clone(), shutdown.clone());
                sessions.spawn(async move {
                    session.await;
                    drop(place);
                });
            }
            Some(_) = sessions.join_next() => {}
            () = shutdown.requested() => break,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

const CONNECTIONS_MAX: usize = 512;
/// Bytes read from a file at a time: large enough that reads do not bound a gigabit.
const READ_BYTES: usize = 256 * 1024;

/// How long a client may leave what it is sent unread.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How long a client may take to send a request's head, and how long a kept connection may idle.
pub(super) const HEAD_MAX: Duration = Duration::from_secs(30);
