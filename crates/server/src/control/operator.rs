//! What the administrator wants of a running server, by the socket or by SIGHUP.

use std::path::PathBuf;

use tokio::sync::Mutex;

use super::{Reply, Request};
use crate::iscsi::{Handle, Reloaded};
use crate::{Config, ServeError};

/// The parts of a server that can be looked at and changed while it runs.
#[derive(Debug)]
pub(crate) struct Operator {
    configuration: PathBuf,
    iscsi: Option<Handle>,
    /// One reload at a time.
    reloading: Mutex<()>,
}

impl Operator {
    pub(crate) fn new(configuration: PathBuf, iscsi: Option<Handle>) -> Self {
        Self {
            configuration,
            iscsi,
            reloading: Mutex::default(),
        }
    }

    pub(crate) async fn answer(&self, request: Request) -> Reply {
        match request {
            Request::Sessions => Reply::Sessions {
                targets: self.iscsi.as_ref().map(Handle::report).unwrap_or_default(),
            },
            Request::Kick { session } => {
                let kicked = match &self.iscsi {
                    Some(iscsi) => iscsi.kick(session).await,
                    None => None,
                };
                kicked.map_or_else(
                    || Reply::Failed {
                        reason: format!("there is no session {session}"),
                    },
                    Reply::Kicked,
                )
            }
            Request::Reload => match self.reload().await {
                Ok(reloaded) => Reply::Reloaded(reloaded),
                Err(reason) => Reply::Failed { reason },
            },
        }
    }

    /// Reads the configuration again and offers the targets that it has now. If it cannot be
    /// served, everything stays as it was, and the reason is told and logged.
    pub(crate) async fn reload(&self) -> Result<Reloaded, String> {
        let _alone = self.reloading.lock().await;
        let result = self.try_reload().await;
        match &result {
            Ok(Reloaded {
                added,
                changed,
                removed,
                unchanged,
            }) => tracing::info!(
                "reloaded: targets: {} unchanged, {} changed, {} new, {} gone",
                unchanged.len(),
                changed.len(),
                added.len(),
                removed.len()
            ),
            Err(reason) => tracing::error!("not reloaded, nothing has changed: {reason}"),
        }
        result
    }

    async fn try_reload(&self) -> Result<Reloaded, String> {
        let loaded = Config::load(&self.configuration).map_err(|error| error.to_string())?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let reloaded = match (&self.iscsi, &loaded.config.iscsi) {
            (None, None) => Ok(Reloaded::default()),
            (Some(iscsi), Some(config)) => iscsi.reload(config).await,
            _ => Err(ServeError::NeedsRestart("the table [iscsi]")),
        };
        reloaded.map_err(|error| error.to_string())
    }
}
