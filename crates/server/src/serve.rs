//! Everything a configuration asks for, bound first and then run together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::control::{Control, Operator, socket};
use crate::{BindError, Config, Shutdown, dhcp, http, iscsi};

/// Why the server did not start or did not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// An address could not be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// DHCP could not start.
    #[error(transparent)]
    Dhcp(#[from] dhcp::Error),
    /// A disk could not be taken into use.
    #[error("iscsi: {target}, LUN {lun}: {source}")]
    Disk {
        /// The target's name.
        target: String,
        /// The LUN's number.
        lun: u8,
        /// What is wrong with the image.
        source: bowline_store::OpenError,
    },
    /// The reservations of a disk could not be read.
    #[error("iscsi: {target}, LUN {lun}: persistent reservations: {source}")]
    Reservations {
        /// The target's name.
        target: String,
        /// The LUN's number.
        lun: u8,
        /// What is wrong with them.
        source: std::io::Error,
    },
    /// A reload cannot change this.
    #[error("{0} has changed, which takes a restart of the server")]
    NeedsRestart(&'static str),
    /// The system does not tell us when we should end.
    #[error("cannot watch for signals: {0}")]
    Signals(std::io::Error),
}

/// Runs `config`, which was read from `path`, until SIGTERM or SIGINT. SIGHUP reads it again.
pub async fn serve(path: &Path, config: Config) -> Result<(), ServeError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(ServeError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    allow_descriptors();
    let state = config.state.clone();
    let server = Server::bind(config)?;
    let operator = Arc::new(Operator::new(path.into(), server.iscsi_handle()));
    let control = Control::bind(&state);
    if let Err(error) = &control {
        tracing::warn!(
            "control: cannot listen on {}: {error}; `bowline iscsi` and `bowline reload` will not \
             work",
            socket(&state).display()
        );
    }
    let (trigger, shutdown) = Shutdown::new();
    tracing::info!("ready");
    let run = server.run(shutdown);
    tokio::pin!(run);
    let name = loop {
        tokio::select! {
            () = &mut run => return Ok(()),
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            _ = hangup.recv() => {
                let operator = Arc::clone(&operator);
                // The outcome is logged.
                tokio::spawn(async move { operator.reload().await });
            }
            () = serve_control(&control, &operator) => {}
        }
    };
    drop(control);
    tracing::info!("{name}: shutting down");
    trigger.request();
    tokio::select! {
        () = run => tracing::info!("stopped"),
        _ = terminate.recv() => tracing::warn!("second signal: stopped at once"),
        _ = interrupt.recv() => tracing::warn!("second signal: stopped at once"),
    }
    Ok(())
}

/// Lets the process have as many open files as it may: each connection is one, and many systems
/// begin with 1024.
fn allow_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
}

async fn serve_control(control: &std::io::Result<Control>, operator: &Arc<Operator>) {
    match control {
        Ok(control) => control.serve(operator).await,
        Err(_) => std::future::pending().await,
    }
}

/// Services that are bound and not yet running.
#[derive(Debug)]
pub struct Server {
    dhcp: Option<dhcp::Service>,
    http: Option<http::Service>,
    https: Option<http::Service>,
    iscsi: Option<iscsi::Service>,
}

impl Server {
    /// Takes every address, file and lock that `config` names, or none. Must be called inside a tokio
    /// runtime.
    pub fn bind(config: Config) -> Result<Self, ServeError> {
        let dhcp = config.dhcp.map(dhcp::Service::bind).transpose()?;
        let http = config.http.map(http::Service::bind).transpose()?;
        let https = config.https.map(http::Service::bind).transpose()?;
        let iscsi = config.iscsi.map(iscsi::Service::bind).transpose()?;
        Ok(Self {
            dhcp,
            http,
            https,
            iscsi,
        })
    }

    /// Where HTTP listens; tells the ports of a configuration that said 0.
    pub fn http_addresses(&self) -> Vec<SocketAddr> {
        self.http
            .as_ref()
            .map(http::Service::addresses)
            .unwrap_or_default()
    }

    /// Where HTTPS listens.
    pub fn https_addresses(&self) -> Vec<SocketAddr> {
        self.https
            .as_ref()
            .map(http::Service::addresses)
            .unwrap_or_default()
    }

    /// What the iSCSI service can be asked and told while it runs.
    pub fn iscsi_handle(&self) -> Option<iscsi::Handle> {
        self.iscsi.as_ref().map(iscsi::Service::handle)
    }

    /// Where iSCSI listens.
    pub fn iscsi_addresses(&self) -> Vec<SocketAddr> {
        self.iscsi
            .as_ref()
            .map(iscsi::Service::addresses)
            .unwrap_or_default()
    }

    /// Runs all services until `shutdown` is requested and they have finished, or a while after.
    pub async fn run(self, mut shutdown: Shutdown) {
        let mut services = JoinSet::new();
        if let Some(dhcp) = self.dhcp {
            let mut shutdown = shutdown.clone();
            services.spawn(dhcp.run(async move { shutdown.requested().await }));
        }
        for http in [self.http, self.https].into_iter().flatten() {
            services.spawn(http.run(shutdown.clone()));
        }
        if let Some(iscsi) = self.iscsi {
            services.spawn(iscsi.run(shutdown.clone()));
        }
        shutdown.requested().await;
        let ended = tokio::time::timeout(SHUTDOWN_MAX, services.join_all()).await;
        if ended.is_err() {
            tracing::warn!("some connections did not end within {SHUTDOWN_MAX:?}; closed");
        }
    }
}

const SHUTDOWN_MAX: Duration = Duration::from_secs(10);
