//! The control socket: how `bowline iscsi` and `bowline reload` speak with a server that runs.
//!
//! A Unix socket in the folder `state`, for its owner only. One request and one reply a connection,
//! each a line of JSON:
//!
//! ```text
//! {"request":"kick","session":3}
//! {"reply":"failed","reason":"there is no session 3"}
//! ```

mod client;
mod operator;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::iscsi::{Reloaded, SessionReport, TargetReport};

pub use client::{AskError, ask};
pub(crate) use operator::Operator;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The targets and their sessions.
    Sessions,
    /// Ask the initiator of a session to log out, and end the session.
    Kick {
        /// Its number.
        session: u16,
    },
    /// Read the configuration again.
    Reload,
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Sessions`].
    Sessions {
        /// In the order of their names.
        targets: Vec<TargetReport>,
    },
    /// To [`Request::Kick`]: the session that was.
    Kicked(SessionReport),
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// It could not be done.
    Failed {
        /// Why, for the administrator.
        reason: String,
    },
}

/// Where the server with this `state` folder listens.
#[must_use]
pub fn socket(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// The socket, listened on. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens in the folder `state`. A socket that a server left behind is replaced.
    pub(crate) fn bind(state: &Path) -> io::Result<Self> {
        let path = socket(state);
        fs::create_dir_all(state)?;
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another server with the same `state` is running",
            ));
        }
        // Under another name until nobody else can open it.
        let hidden = path.with_extension("new");
        let _ = fs::remove_file(&hidden);
        let listener = UnixListener::bind(&hidden)?;
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))?;
        fs::rename(&hidden, &path)?;
        Ok(Self { listener, path })
    }

    /// Answers requests for ever.
    pub(crate) async fn serve(&self, operator: &Arc<Operator>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let operator = Arc::clone(operator);
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &operator).await {
                            tracing::warn!("control: {error}");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("control: cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(REQUEST_MAX));
    timeout(REQUEST_TIME, reader.read_line(&mut line)).await??;
    let reply = match serde_json::from_str(&line) {
        Ok(request) => operator.answer(request).await,
        Err(error) => Reply::Failed {
            reason: format!("the request is not understood: {error}"),
        },
    };
    let mut text = serde_json::to_string(&reply)?;
    text.push('\n');
    writer.write_all(text.as_bytes()).await
}

const REQUEST_MAX: u64 = 4096;
const REQUEST_TIME: Duration = Duration::from_secs(5);
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
