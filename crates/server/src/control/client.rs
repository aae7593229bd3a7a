//! The other end of the socket.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::{Reply, Request};

/// Why there is no reply.
#[derive(Debug, Error)]
#[error("cannot ask the server at {}: {source}; {}", path.display(), advice(source))]
pub struct AskError {
    /// The socket.
    path: PathBuf,
    /// What the system said.
    source: io::Error,
}

/// Asks the server that listens at `socket`, and waits for its reply.
///
/// # Errors
/// [`AskError`] where no server answers; that it cannot do what is asked is [`Reply::Failed`].
pub fn ask(socket: &Path, request: Request) -> Result<Reply, AskError> {
    try_ask(socket, request).map_err(|source| AskError {
        path: socket.into(),
        source,
    })
}

fn try_ask(socket: &Path, request: Request) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(REPLY_TIME))?;
    let mut text = serde_json::to_string(&request)?;
    text.push('\n');
    stream.write_all(text.as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "is `bowline serve` running, with the same configuration?"
        }
        io::ErrorKind::PermissionDenied => "only the user that the server runs as may, and root",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            "it is still busy; its log tells what with"
        }
        _ => "its log may tell more",
    }
}

/// Sessions that are asked to log out take some seconds.
const REPLY_TIME: Duration = Duration::from_secs(60);
