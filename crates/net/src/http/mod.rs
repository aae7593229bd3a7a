//! HTTP/1.1 downloads (RFC 9110, RFC 9112): GET into a sink, with redirects and progress.
//!
//! HTTP runs over a [`Transport`], which a [`Connect`] opens by the scheme of the URL. [`Stack`]
//! connects `http`; TLS will be another [`Connect`] on top of it.

mod error;
mod response;
#[cfg(test)]
mod tests;
mod url;

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

pub use self::error::FetchError;
use self::response::Reader;
pub use self::url::{Scheme, Url, UrlError};
use crate::{Stack, StreamError, TcpStream};

/// A connection that HTTP runs over.
#[allow(async_fn_in_trait, reason = "everything here runs on one thread")]
pub trait Transport {
    /// Reads what is there; waits if there is nothing. 0 means that the other side has closed.
    ///
    /// # Errors
    /// [`StreamError`] when the connection failed.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError>;

    /// Sends all of `data`.
    ///
    /// # Errors
    /// [`StreamError`] when the connection failed.
    async fn write_all(&mut self, data: &[u8]) -> Result<(), StreamError>;
}

/// Opens connections.
#[allow(async_fn_in_trait, reason = "everything here runs on one thread")]
pub trait Connect {
    /// What it opens.
    type Transport: Transport;

    /// Connects to the host and port of `url`, by its scheme.
    ///
    /// # Errors
    /// [`FetchError`]: the name, the connection, or the scheme.
    async fn connect(&self, url: &Url, timeout: Duration) -> Result<Self::Transport, FetchError>;

    /// The stack, which has the time.
    fn stack(&self) -> &Stack;
}

/// How a download is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// For looking up the name, and for each connection.
    pub connect_timeout: Duration,
    /// How long the server may be silent.
    pub idle_timeout: Duration,
    /// Redirects followed.
    pub redirects_max: usize,
    /// Bytes of the response's head.
    pub head_max: usize,
    /// The User-Agent header.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            redirects_max: 5,
            head_max: 16 * 1024,
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
pub type Sink<'a> = dyn FnMut(&[u8], Progress) -> Result<(), Stop> + 'a;

/// A sink's wish to end the download; it keeps the reason itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl core::error::Error for Stop {}

/// A finished download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Where it came from in the end, redirects followed.
    pub url: Url,
    /// The status code, 2xx.
    pub status: u16,
    /// The Content-Type header, where it is text.
    pub content_type: Option<String>,
    /// Bytes of the body.
    pub received: u64,
}

/// Downloads `url` into `sink`, which gets each piece of the body as it comes.
///
/// # Errors
/// [`FetchError`]: everything from the name to the last byte. Pieces may have been sunk then.
pub async fn fetch<C: Connect>(
    connector: &C,
    url: &Url,
    options: &Options,
    sink: &mut Sink<'_>,
) -> Result<Response, FetchError> {
    let mut current = url.clone();
    for _ in 0..=options.redirects_max {
        match fetch_once(connector, &current, options, sink).await? {
            Outcome::Done(response) => return Ok(response),
            Outcome::Redirect(next) => current = next,
        }
    }
    Err(FetchError::TooManyRedirects {
        url: url.clone(),
        limit: options.redirects_max,
    })
}

enum Outcome {
    Done(Response),
    Redirect(Url),
}

async fn fetch_once<C: Connect>(
    connector: &C,
    url: &Url,
    options: &Options,
    sink: &mut Sink<'_>,
) -> Result<Outcome, FetchError> {
    let stack = connector.stack();
    let mut transport = connector.connect(url, options.connect_timeout).await?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.target(),
        url.authority(),
        options.user_agent
    );
    let silent = |_| FetchError::TimedOut {
        url: url.clone(),
        after: options.idle_timeout,
    };
    let broken = |error| FetchError::Stream {
        url: url.clone(),
        error,
    };
    stack
        .timeout(
            options.idle_timeout,
            transport.write_all(request.as_bytes()),
        )
        .await
        .map_err(silent)?
        .map_err(broken)?;
    let mut reader = Reader::new(transport, url, options, stack);
    let head = reader.head().await?;
    match (head.status, head.location) {
        (200..=299, _) => {}
        (301 | 302 | 303 | 307 | 308, Some(location)) => return redirect(url, &location),
        (code, _) => {
            return Err(FetchError::Status {
                url: url.clone(),
                code,
                reason: head.reason,
            });
        }
    }
    let received = reader.body(head.framing, sink).await?;
    Ok(Outcome::Done(Response {
        url: url.clone(),
        status: head.status,
        content_type: head.content_type,
        received,
    }))
}

fn redirect(from: &Url, location: &str) -> Result<Outcome, FetchError> {
    let Ok(to) = from.join(location) else {
        return Err(FetchError::BadRedirect {
            url: from.clone(),
            location: location.into(),
        });
    };
    // What TLS protected must not go on in clear.
    if from.scheme() == Scheme::Https && to.scheme() == Scheme::Http {
        return Err(FetchError::InsecureRedirect {
            url: from.clone(),
            to,
        });
    }
    Ok(Outcome::Redirect(to))
}

impl Transport for TcpStream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StreamError> {
        Self::read(self, buffer).await
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), StreamError> {
        Self::write_all(self, data).await
    }
}

/// Plain HTTP.
impl Connect for Stack {
    type Transport = TcpStream;

    async fn connect(&self, url: &Url, timeout: Duration) -> Result<TcpStream, FetchError> {
        if url.scheme() == Scheme::Https {
            return Err(FetchError::HttpsNotBuiltIn { url: url.clone() });
        }
        connect_tcp(self, url, timeout).await
    }

    fn stack(&self) -> &Stack {
        self
    }
}

/// Connects TCP to the host and port of `url`: every address of the name until one answers.
///
/// # Errors
/// [`FetchError::Resolve`] or [`FetchError::Connect`], the last address's.
pub async fn connect_tcp(
    stack: &Stack,
    url: &Url,
    timeout: Duration,
) -> Result<TcpStream, FetchError> {
    let addresses =
        stack
            .resolve(url.host(), timeout)
            .await
            .map_err(|error| FetchError::Resolve {
                url: url.clone(),
                error,
            })?;
    let mut last = crate::ConnectError::NoAddress;
    for address in addresses {
        let remote = SocketAddr::new(address, url.port());
        match TcpStream::connect(stack, remote, timeout).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(FetchError::Connect {
        url: url.clone(),
        error: last,
    })
}
