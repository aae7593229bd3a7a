//! HTTP/1.1 (RFC 9110, RFC 9112): requests whose answers go into a sink, piece by piece.
//!
//! A [`Client`] follows redirects, authenticates, waits where the server asks it to, keeps
//! connections for the next request, and resumes a download that breaks. It runs over a
//! [`Transport`], which a [`Connect`] opens by the scheme of the URL.

mod auth;
mod date;
mod download;
mod error;
mod exchange;
mod head;
mod pool;
mod range;
mod request;
mod response;
pub mod secure;
#[cfg(test)]
mod tests;
mod transport;
mod url;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

pub use self::auth::{BadCredentials, Credentials};
use self::download::Download;
pub use self::error::{FetchError, Refusal};
pub use self::pool::Pool;
pub use self::request::{BadHeader, Method, Part, Request};
pub use self::transport::{Connect, Transport, TransportError, Trouble};
pub use self::url::{Scheme, Url, UrlError};

/// How requests are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// For looking up the name, and for each connection.
    pub connect_timeout: Duration,
    /// From the request to the end of the answer's head.
    pub head_timeout: Duration,
    /// How long the server may be silent within a body.
    pub idle_timeout: Duration,
    /// Redirects followed.
    pub redirects_max: usize,
    /// Bytes of the response's head.
    pub head_max: usize,
    /// How long an idle connection is kept for another request; zero to close each.
    pub keep_alive: Duration,
    /// How often in a row a broken download is taken up again without a new byte.
    pub retries_max: u32,
    /// How often a server may ask to come back later (Retry-After).
    pub waits_max: u32,
    /// The longest such wait.
    pub wait_max: Duration,
    /// The User-Agent header.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(15),
            redirects_max: 5,
            head_max: 16 * 1024,
            keep_alive: Duration::from_secs(10),
            retries_max: 5,
            waits_max: 5,
            wait_max: Duration::from_secs(120),
            user_agent: format!("Bowline/{}", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the body so far, these included.
    pub received: u64,
    /// All bytes of the body, where the server tells.
    pub total: Option<u64>,
}

/// Takes a body piece by piece.
pub trait Sink {
    /// A body begins, of so many bytes where that is known. What was taken before is void: the
    /// server could not go on where it had stopped.
    ///
    /// # Errors
    /// [`Stop`] ends the download.
    fn begin(&mut self, total: Option<u64>) -> Result<(), Stop>;

    /// Takes the next piece.
    ///
    /// # Errors
    /// [`Stop`] ends the download.
    fn write(&mut self, piece: &[u8], progress: Progress) -> Result<(), Stop>;

    /// Nothing comes for a while: why, and how long until the next try.
    fn paused(&mut self, reason: &FetchError, pause: Duration) {
        let _ = (reason, pause);
    }
}

/// Keeps it all.
impl Sink for Vec<u8> {
    fn begin(&mut self, _: Option<u64>) -> Result<(), Stop> {
        self.clear();
        Ok(())
    }

    fn write(&mut self, piece: &[u8], _: Progress) -> Result<(), Stop> {
        self.extend_from_slice(piece);
        Ok(())
    }
}

/// A sink's wish to end the download; it keeps the reason itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl core::error::Error for Stop {}

/// A finished request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Where it came from in the end, redirects followed.
    pub url: Url,
    /// The status code, 2xx.
    pub status: u16,
    /// The Content-Type header, where it is text.
    pub content_type: Option<String>,
    /// When the server sent it, by its own clock (the Date header, RFC 9110 section 6.6.1):
    /// seconds since 1970-01-01 00:00:00 UTC.
    pub date: Option<u64>,
    /// Bytes of the body that the sink has.
    pub received: u64,
    /// Bytes of the body by the header: all that is known after [`Request::head`].
    pub length: Option<u64>,
}

/// Makes requests. Put together from its parts for each: it owns nothing.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a, C: Connect> {
    /// Opens connections.
    pub connector: &'a C,
    /// Keeps them.
    pub pool: &'a Pool<C::Transport>,
    /// How it goes about it.
    pub options: &'a Options,
}

impl<C: Connect> Client<'_, C> {
    /// Makes a request; `sink` gets each piece of the answer's body as it comes.
    ///
    /// # Errors
    /// [`FetchError`]: everything from the name to the last byte. Pieces may have been sunk then.
    pub async fn fetch(
        &self,
        request: &Request,
        sink: &mut dyn Sink,
    ) -> Result<Response, FetchError> {
        Download::new(self, request, sink).run().await
    }
}
