//! A protected transport: a sans-IO session, such as TLS, over any other transport.
//!
//! This crate knows no TLS. Whoever does implements [`Session`] for it (one line a method), does
//! the [`Secured::handshake`] in a [`super::Connect`], and gives HTTP an [`Either`].

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::{Transport, TransportError, Trouble};

/// Read at once: a TLS record and its overhead.
const BUFFER: usize = 18 * 1024;
/// Plaintext given to the session at once: a TLS record.
const PIECE: usize = 16 * 1024;
/// What protection adds to a record, at most: header, nonce and tag of TLS 1.2 (RFC 5288).
const OVERHEAD: usize = 5 + 8 + 16;

/// Two ends that protect what goes between them. Takes and gives bytes, does no I/O.
pub trait Session {
    /// Takes what came from the other side, all of it.
    ///
    /// # Errors
    /// [`Trouble`] when that ends the session. What [`Self::poll_output`] gives is still sent.
    fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Trouble>;

    /// The other side has closed the connection below.
    ///
    /// # Errors
    /// [`Trouble`] where it must not have: the end was not announced.
    fn handle_eof(&mut self) -> Result<(), Trouble>;

    /// What is to be sent.
    fn poll_output(&mut self) -> Option<Vec<u8>>;

    /// Takes plaintext that came; how much. 0 where there is none.
    fn read(&mut self, buffer: &mut [u8]) -> usize;

    /// How much plaintext has come and was not taken yet.
    fn readable(&self) -> usize;

    /// Plaintext to be protected and sent.
    ///
    /// # Errors
    /// [`Trouble`] when the session is over.
    fn write(&mut self, plaintext: &[u8]) -> Result<(), Trouble>;

    /// Nothing more is written: what is left to say about that comes from [`Self::poll_output`].
    fn close(&mut self);

    /// Whether the two sides do not know each other yet.
    fn is_handshaking(&self) -> bool;

    /// Whether the other side has announced that nothing more comes.
    fn peer_has_closed(&self) -> bool;
}

/// A transport over another one. Dropping it tells the other side, in the session's own way.
#[derive(Debug)]
pub struct Secured<T: Transport, S: Session> {
    below: T,
    session: S,
    buffer: Box<[u8]>,
}

impl<T: Transport, S: Session> Secured<T, S> {
    /// Does the handshake. Takes as long as the other side likes: limit it from outside.
    ///
    /// # Errors
    /// [`TransportError`]: the other side is not who it should be, or the connection failed.
    pub async fn handshake(below: T, session: S) -> Result<Self, TransportError> {
        let mut secured = Self {
            below,
            session,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        };
        secured.flush().await?;
        while secured.session.is_handshaking() {
            if !secured.fill().await? {
                return Err(TransportError::Layer(Trouble {
                    code: "handshake-ended",
                    words: "the server closed the connection within the handshake".into(),
                    is_transient: true,
                }));
            }
        }
        Ok(secured)
    }

    /// The session, which knows who the other side is.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// Reads once from below; false at its end.
    async fn fill(&mut self) -> Result<bool, TransportError> {
        let count = self.below.read(&mut self.buffer).await?;
        let taken = self.take(count);
        // On failure too: the alert tells the other side why.
        let sent = self.flush().await;
        taken?;
        sent?;
        Ok(count > 0)
    }

    fn take(&mut self, count: usize) -> Result<(), Trouble> {
        match self.buffer.get(..count) {
            Some(bytes) if count > 0 => self.session.handle_input(bytes),
            _ => self.session.handle_eof(),
        }
    }

    async fn flush(&mut self) -> Result<(), TransportError> {
        while let Some(bytes) = self.session.poll_output() {
            self.below.write_all(&bytes).await?;
        }
        Ok(())
    }
}

impl<T: Transport, S: Session> Transport for Secured<T, S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.session.read(buffer);
            if count > 0 || self.session.peer_has_closed() {
                return Ok(count);
            }
            if !self.fill().await? {
                return Ok(0);
            }
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, TransportError>> {
        if buffer.is_empty() {
            return Some(Ok(0));
        }
        loop {
            let count = self.session.read(buffer);
            if count > 0 || self.session.peer_has_closed() {
                return Some(Ok(count));
            }
            // What the session wants to send about it goes out with the next write.
            let taken = match self.below.try_read(&mut self.buffer)? {
                Ok(0) => return Some(self.take(0).map(|()| 0).map_err(TransportError::from)),
                Ok(count) => self.take(count).map_err(TransportError::from),
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                return Some(Err(error));
            }
        }
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), TransportError> {
        for piece in data.chunks(PIECE) {
            self.session.write(piece)?;
            self.flush().await?;
        }
        Ok(())
    }

    fn expect(&mut self, bytes: Option<usize>) {
        let left = bytes.map(|bytes| bytes.saturating_sub(self.session.readable()));
        let protected = left.map(|left| left.saturating_add(left.div_ceil(PIECE) * OVERHEAD));
        self.below.expect(protected);
    }

    fn send_last(&mut self, data: &[u8]) {
        // A session that is over has nothing more to say.
        if self.session.write(data).is_ok() {
            self.say_last();
        }
    }
}

impl<T: Transport, S: Session> Secured<T, S> {
    fn say_last(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            self.below.send_last(&bytes);
        }
    }
}

impl<T: Transport, S: Session> Drop for Secured<T, S> {
    fn drop(&mut self) {
        self.session.close();
        self.say_last();
    }
}

/// One of two transports: in clear or protected, by the scheme.
#[derive(Debug)]
pub enum Either<P, S> {
    /// For `http`.
    Plain(P),
    /// For `https`.
    Secured(S),
}

impl<P: Transport, S: Transport> Transport for Either<P, S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        match self {
            Self::Plain(transport) => transport.read(buffer).await,
            Self::Secured(transport) => transport.read(buffer).await,
        }
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Option<Result<usize, TransportError>> {
        match self {
            Self::Plain(transport) => transport.try_read(buffer),
            Self::Secured(transport) => transport.try_read(buffer),
        }
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), TransportError> {
        match self {
            Self::Plain(transport) => transport.write_all(data).await,
            Self::Secured(transport) => transport.write_all(data).await,
        }
    }

    fn expect(&mut self, bytes: Option<usize>) {
        match self {
            Self::Plain(transport) => transport.expect(bytes),
            Self::Secured(transport) => transport.expect(bytes),
        }
    }

    fn send_last(&mut self, data: &[u8]) {
        match self {
            Self::Plain(transport) => transport.send_last(data),
            Self::Secured(transport) => transport.send_last(data),
        }
    }
}
