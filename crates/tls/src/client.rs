//! A TLS client without I/O: bytes in, bytes and events out.
//!
//! ```text
//!            handle_input, handle_eof        read, poll_event
//!   TCP  ------------------------------> Client ------------> HTTP
//!        <------------------------------        <------------
//!                 poll_output                    write, close
//! ```
//!
//! After an error `poll_output` still has the alert that tells the server why; send it, then abort
//! the transport.

use crate::certificate::Certificate;
use crate::config::Config;
use crate::entropy;
use crate::error::{Context, Error, translate};
use crate::time::Timestamp;
use crate::verify::{name_text, server_name};
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{HandshakeKind, ProtocolVersion};

/// Plaintext per record that we send (RFC 8446 section 5.1).
const RECORD: usize = 1 << 14;

/// Something the owner of a connection wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done and the server is who it should be.
    Established(Box<Session>),
    /// The server has ended its side in the proper way: all data has arrived.
    Closed,
}

/// What was agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The version, as in "TLS 1.3".
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub suite: String,
    /// The key exchange group, if there was a key exchange.
    pub group: Option<String>,
    /// The application protocol the server chose, if it chose one.
    pub alpn: Option<String>,
    /// Whether an earlier session was taken up again; its certificate had been verified then.
    pub resumed: bool,
    /// The server's certificate.
    pub peer: Peer,
}

/// The server's certificate in brief.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Whom it is about.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The names it is for.
    pub names: Vec<String>,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// SHA-256 of it.
    pub fingerprint: [u8; 32],
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resumed = if self.resumed { ", resumed" } else { "" };
        write!(
            f,
            "{}, {}, {}{resumed}",
            self.version, self.suite, self.peer.subject
        )
    }
}

/// One connection.
pub struct Client {
    connection: UnbufferedClientConnection,
    config: Config,
    name: String,
    /// Received and not yet consumed by `rustls`, which wants to decrypt in place.
    incoming: Vec<u8>,
    /// The first bytes of the stream: a ServerHello up to its version.
    first: Vec<u8>,
    received: usize,
    outgoing: VecDeque<Vec<u8>>,
    /// Written before the handshake was done.
    waiting: Vec<u8>,
    plaintext: Vec<u8>,
    /// How much of `plaintext` has been read.
    read: usize,
    events: VecDeque<Event>,
    established: bool,
    peer_closed: bool,
    close: Close,
    failure: Option<Error>,
}

/// Our side of the closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    Open,
    Wanted,
    Sent,
}

/// How a turn of `rustls` ended.
enum Turn {
    Again,
    Idle,
    Failed(rustls::Error),
}

impl Client {
    /// A connection to the server `host`: a DNS name or an IP address as it stands in a URL. The
    /// first output is ready at once.
    pub fn new(config: &Config, host: &str) -> Result<Self, Error> {
        entropy::ready().map_err(Error::NoEntropy)?;
        let name = server_name(host).ok_or_else(|| Error::BadName {
            name: host.to_owned(),
        })?;
        let text = name_text(&name);
        let connection = UnbufferedClientConnection::new(config.rustls.clone(), name)
            .map_err(|error| Error::Internal(format!("{error}")))?;
        let mut client = Self {
            connection,
            config: config.clone(),
            name: text,
            incoming: Vec::new(),
            first: Vec::new(),
            received: 0,
            outgoing: VecDeque::new(),
            waiting: Vec::new(),
            plaintext: Vec::new(),
            read: 0,
            events: VecDeque::new(),
            established: false,
            peer_closed: false,
            close: Close::Open,
            failure: None,
        };
        client.run()?;
        Ok(client)
    }

    /// Takes in what the transport received.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check()?;
        if self.peer_closed {
            // RFC 8446 section 6.1: data after a closure alert must be ignored.
            return Ok(());
        }
        let missing = FIRST.saturating_sub(self.first.len());
        self.first
            .extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        self.received = self.received.saturating_add(bytes.len());
        let limit = self.config.limits.handshake;
        if !self.established && self.received > limit {
            return self.fail(Error::HandshakeTooLarge { limit });
        }
        self.incoming.extend_from_slice(bytes);
        self.run()
    }

    /// Takes note that the transport has ended. An error unless the server had said so in TLS.
    ///
    /// A user that knows by itself that all data has arrived (HTTP with `Content-Length`) need not
    /// ask.
    pub fn handle_eof(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.peer_closed {
            return Ok(());
        }
        self.fail(Error::Truncated {
            handshake: !self.established,
        })
    }

    /// The next bytes for the transport.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many decrypted bytes are waiting. Let it not grow: what is not read stays in memory.
    pub fn readable(&self) -> usize {
        self.plaintext.len() - self.read
    }

    /// Moves decrypted bytes to `buffer` and returns how many; 0 when there are none now.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let waiting = self.plaintext.get(self.read..).unwrap_or_default();
        let count = waiting.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), waiting.get(..count)) {
            to.copy_from_slice(from);
        }
        self.read += count;
        if self.read == self.plaintext.len() {
            self.plaintext.clear();
            self.read = 0;
        }
        count
    }

    /// All decrypted bytes that are waiting.
    pub fn take_plaintext(&mut self) -> Vec<u8> {
        let mut plaintext = mem::take(&mut self.plaintext);
        plaintext.drain(..mem::take(&mut self.read));
        plaintext
    }

    /// Sends `bytes`. What is written before the handshake is done waits for it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check()?;
        if self.close != Close::Open {
            return Err(Error::Closed);
        }
        self.waiting.extend_from_slice(bytes);
        self.run()
    }

    /// Ends our side: after what has been written comes `close_notify`. Reading goes on.
    pub fn close(&mut self) {
        if self.close == Close::Open && self.failure.is_none() {
            self.close = Close::Wanted;
            // An error is remembered and met by the next call.
            let _ = self.run();
        }
    }

    /// Whether the handshake is still going on.
    pub fn is_handshaking(&self) -> bool {
        !self.established && self.failure.is_none()
    }

    /// Whether the server has ended its side in the proper way.
    pub fn peer_has_closed(&self) -> bool {
        self.peer_closed
    }

    /// The error that ended the connection.
    pub fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        match &self.failure {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        self.incoming = Vec::new();
        self.failure = Some(error.clone());
        Err(error)
    }

    /// Lets `rustls` work until it needs more input.
    fn run(&mut self) -> Result<(), Error> {
        let mut consumed = 0;
        loop {
            match self.turn(&mut consumed) {
                Turn::Again => {}
                Turn::Idle => break,
                Turn::Failed(error) => {
                    let error = self.explain(error);
                    self.send_alert();
                    return self.fail(error);
                }
            }
        }
        self.incoming.drain(..consumed.min(self.incoming.len()));
        if self.established || self.connection.is_handshaking() {
            return Ok(());
        }
        self.established = true;
        let session = self.session();
        self.events
            .push_front(Event::Established(Box::new(session)));
        Ok(())
    }

    fn turn(&mut self, consumed: &mut usize) -> Turn {
        let incoming = self.incoming.get_mut(*consumed..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(incoming);
        let turn = match state {
            Err(error) => Turn::Failed(error),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        self.plaintext.extend_from_slice(record.payload);
                        discard += record.discard;
                    }
                    Some(Err(error)) => break Turn::Failed(error),
                    None => break Turn::Again,
                }
            },
            Ok(ConnectionState::EncodeTlsData(data)) => {
                self.outgoing.extend(encoded(data));
                Turn::Again
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => {
                transmit.done();
                Turn::Again
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let mut turn = Turn::Idle;
                for chunk in mem::take(&mut self.waiting).chunks(RECORD) {
                    match sized(|buffer| encrypted(traffic.encrypt(chunk, buffer))) {
                        Some(record) => self.outgoing.push_back(record),
                        // The key has protected as many records as it may (RFC 8446 section 5.5).
                        None => turn = Turn::Failed(rustls::Error::EncryptError),
                    }
                }
                if self.close == Close::Wanted {
                    self.close = Close::Sent;
                    let alert = sized(|buffer| encrypted(traffic.queue_close_notify(buffer)));
                    self.outgoing.extend(alert);
                }
                turn
            }
            Ok(ConnectionState::PeerClosed) => {
                self.peer_closed = true;
                self.events.push_back(Event::Closed);
                Turn::Again
            }
            Ok(_) => Turn::Idle,
        };
        *consumed += discard;
        turn
    }

    /// Collects the alert that `rustls` has prepared for an error.
    ///
    /// `rustls` must not be asked for more than that: it would go on reading after the error.
    fn send_alert(&mut self) {
        while self.connection.wants_write() {
            match self.connection.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(data)) => self.outgoing.extend(encoded(data)),
                _ => return,
            }
        }
    }

    fn explain(&mut self, error: rustls::Error) -> Error {
        let context = Context {
            had_identity: self.config.has_identity(),
            first: &self.first,
            refusal: self.config.verifier.take_refusal(&self.name),
            handshaking: !self.established,
        };
        translate(error, context)
    }

    fn session(&self) -> Session {
        let connection = &self.connection;
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let suite = connection.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str());
        let group = connection.negotiated_key_exchange_group();
        let alpn = connection.alpn_protocol();
        let leaf = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        Session {
            version,
            // IANA has no 13 in the names of TLS 1.3 suites.
            suite: suite.unwrap_or_default().replacen("TLS13_", "TLS_", 1),
            group: group.and_then(|group| group.name().as_str().map(ToOwned::to_owned)),
            alpn: alpn.map(crate::certificate::printable),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            peer: leaf
                .and_then(|leaf| Certificate::parse(leaf))
                .map(peer)
                .unwrap_or_default(),
        }
    }
}

/// As much of the stream as is kept for error messages.
const FIRST: usize = 11;

fn peer(leaf: Certificate<'_>) -> Peer {
    Peer {
        subject: leaf.subject(),
        issuer: leaf.issuer(),
        names: leaf.names().iter().map(ToString::to_string).collect(),
        not_after: leaf.not_after(),
        fingerprint: leaf.fingerprint(),
    }
}

/// Runs an operation that writes to a buffer: first with none, then with one of the size it asks
/// for. An operation that asks for nothing has nothing to write.
fn sized(mut operation: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> Option<Vec<u8>> {
    let size = match operation(&mut []) {
        Err(size) => size?,
        Ok(_) => return None,
    };
    let mut buffer = vec![0; size];
    let length = operation(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

fn encoded(mut data: EncodeTlsData<'_, ClientConnectionData>) -> Option<Vec<u8>> {
    sized(|buffer| {
        data.encode(buffer).map_err(|error| match error {
            EncodeError::InsufficientSize(size) => Some(size.required_size),
            EncodeError::AlreadyEncoded => None,
        })
    })
}

fn encrypted(result: Result<usize, EncryptError>) -> Result<usize, Option<usize>> {
    result.map_err(|error| match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    })
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name)
            .field("established", &self.established)
            .field("peer_closed", &self.peer_closed)
            .field("close", &self.close)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
