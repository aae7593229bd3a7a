//! What HTTP runs over: connections, and how they are made.
//!
//! A [`Transport`] is a byte stream. [`Stack`] opens TCP for `http`; TLS is a
//! [`super::secure::Secured`] transport on top of it, which a [`Connect`] of the loader opens for
//! `https`.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::{FetchError, Scheme, Url};
use crate::{Ends, Stack, StreamError, TcpStream};

/// A connection that HTTP runs over.
#[allow(async_fn_in_trait, reason = "everything here runs on one thread")]
pub trait Transport {
    /// Reads what is there; waits if there is nothing. 0 means that the other side has closed.
    ///
    /// # Errors
    /// [`TransportError`] when the connection failed.
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError>;

    /// As [`Self::read`], but `None` where it would have to wait.
    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, TransportError>>;

    /// Sends all of `data`.
    ///
    /// # Errors
    /// [`TransportError`] when the connection failed.
    async fn write_all(&mut self, data: &[u8]) -> Result<(), TransportError>;

    /// Says how many bytes are still to be read before the next request, or `None` if that is not
    /// known. Nothing is expected in the beginning.
    fn expect(&mut self, bytes: Option<usize>);

    /// Sends `data` as far as that can be done at once: the last word before this is dropped.
    fn send_last(&mut self, data: &[u8]);
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

    /// A stack, which has the time.
    fn stack(&self) -> &Stack;
}

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// TCP.
    Stream(StreamError),
    /// A layer above it.
    Layer(Trouble),
}

/// The failure of a layer that this crate does not know, such as TLS or the choice of a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A stable name for the kind of failure.
    pub code: &'static str,
    /// For the person at the console.
    pub words: String,
    /// Trying again may help: the connection broke, and nothing was found wrong with the peer.
    pub is_transient: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(f),
            Self::Layer(trouble) => trouble.fmt(f),
        }
    }
}

impl core::error::Error for TransportError {}

impl From<StreamError> for TransportError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl From<Trouble> for TransportError {
    fn from(trouble: Trouble) -> Self {
        Self::Layer(trouble)
    }
}

impl Transport for TcpStream {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        Ok(Self::read(self, buffer).await?)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, TransportError>> {
        Self::try_read(self, buffer).map(|result| result.map_err(TransportError::from))
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), TransportError> {
        Ok(Self::write_all(self, data).await?)
    }

    fn expect(&mut self, bytes: Option<usize>) {
        Self::expect(self, bytes);
    }

    fn send_last(&mut self, data: &[u8]) {
        Self::send_last(self, data);
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

/// Connects TCP to the host and port of `url`: the address of the name that answers first.
///
/// # Errors
/// [`FetchError::Resolve`] or [`FetchError::Connect`], the last address's.
pub(super) async fn connect_tcp(
    stack: &Stack,
    url: &Url,
    timeout: Duration,
) -> Result<TcpStream, FetchError> {
    let found = stack.look_up(url.host(), timeout).await;
    let found = found.map_err(|error| FetchError::Resolve {
        url: url.clone(),
        error: Box::new(error),
    })?;
    let (stack, port) = (stack.clone(), url.port());
    let end = move |address| Some((stack.clone(), SocketAddr::new(address, port)));
    let ends = Ends::new(found, end);
    let stream = TcpStream::connect_any(ends, timeout).await;
    let stream = stream.map_err(|error| FetchError::Connect {
        url: url.clone(),
        error: Box::new(error),
    })?;
    // What is promised cannot be taken back: little until an answer says its length.
    stream.expect(Some(0));
    Ok(stream)
}
