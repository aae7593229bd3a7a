//! HTTPS: whose word is taken, who we are, what time it is, and TLS under HTTP.
//!
//! Trust comes from the packed configuration, and from the firmware if that says so. Without it, or without
//! randomness, `https` is refused in words before a connection is made.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::time::Duration;

use bowline_net::http::secure::{Either, Secured, Session};
use bowline_net::http::{Connect, FetchError, Scheme, Trouble, Url};
use bowline_net::{Stack, TcpStream};
use bowline_tls::identity::Identity;
use bowline_tls::provider::{Fastest, prefer_faster};
use bowline_tls::time::{Clock, Reading, Source, TimePolicy, Timestamp};
use bowline_tls::trust::Anchors;
use bowline_tls::{CertificateDer, Client, Config, Error, cms, entropy, envelope};

use crate::certificates::Certificates;
use crate::failure::{Code, Failure};
use crate::network::Network;
use crate::packed::{Packed, PackedIdentity};
use crate::platform::Platform;

/// What HTTP runs over in this loader.
pub(crate) type Transport = Either<TcpStream, Secured<TcpStream, TlsSession>>;

/// Everything that TLS needs besides a connection.
pub(crate) struct Security {
    ready: RefCell<Result<Ready, Failure>>,
    pub(crate) certificates: Certificates,
    /// What a verified server said of the time, and when by our own clock.
    told: Cell<Option<(Timestamp, Duration)>>,
    /// The same of somebody who could be anyone.
    rumoured: Cell<Option<(Timestamp, Duration)>>,
}

#[derive(Clone)]
struct Ready {
    config: Config,
    policy: TimePolicy,
    /// The packed client certificate, with its key.
    identity: Option<Identity>,
}

impl Security {
    /// Nothing is trusted yet.
    pub(crate) fn new() -> Self {
        Self {
            ready: RefCell::new(Err(no_trust())),
            certificates: Certificates::default(),
            told: Cell::new(None),
            rumoured: Cell::new(None),
        }
    }

    /// Takes note of the time that an answer over `https` bears: seconds since 1970.
    pub(crate) fn note_date(&self, platform: &dyn Platform, seconds: u64) {
        let now = platform.clock().now();
        self.told.set(Some((Timestamp(seconds), now)));
    }

    /// Takes note of the time that NTP tells, which nobody vouches for: seconds since 1970.
    pub(crate) fn note_network_time(&self, platform: &dyn Platform, seconds: u64) {
        let now = platform.clock().now();
        self.rumoured.set(Some((Timestamp(seconds), now)));
    }

    /// What NTP told, gone on since.
    pub(crate) fn network_time(&self, platform: &dyn Platform) -> Option<Timestamp> {
        self.rumoured.get().map(|told| gone_on(platform, told))
    }

    /// Takes the packed trust into use. A failure is also kept for whoever wants `https`.
    pub(crate) fn configure(
        &self,
        platform: &dyn Platform,
        packed: &Packed,
    ) -> Result<(), Failure> {
        if packed.trust.is_empty() && !packed.trusts_firmware && packed.identity.is_none() {
            return Ok(());
        }
        let ready = configuration(platform, packed, &self.certificates);
        let result = ready.as_ref().map(|_| ()).map_err(Failure::clone);
        *self.ready.borrow_mut() = ready;
        result
    }

    /// The configuration for one connection, its clock set.
    fn config(&self, platform: &dyn Platform) -> Result<Config, Failure> {
        let Ready { config, policy, .. } = self.ready.borrow().clone()?;
        config.set_clock(self.clock(platform, policy));
        config.set_intermediates(self.certificates.stored());
        Ok(config)
    }

    /// Who has signed `content`, if `signature` holds and the packed trust vouches for them.
    pub(crate) fn verify_image(
        &self,
        platform: &dyn Platform,
        content: &[u8],
        signature: &[u8],
        signer: Option<&str>,
    ) -> Result<Vec<String>, Failure> {
        // Without trust that is said, as for https.
        let Ready { policy, .. } = self.ready.borrow().clone()?;
        let anchors = self.certificates.packed.borrow();
        let request = cms::Request {
            signature,
            content,
            signer,
            anchors: &anchors,
            intermediates: &self.certificates.stored(),
            clock: self.clock(platform, policy),
        };
        cms::verify(&request).map_err(|fault| Failure::new(Code::ImageSignature, fault.to_string()))
    }

    /// Decrypts `content` in place with the packed client's key.
    pub(crate) fn open_image(&self, envelope: &[u8], content: &mut [u8]) -> Result<(), Failure> {
        let Ready { identity, .. } = self.ready.borrow().clone()?;
        let no_key = "no client certificate with a key is packed into this loader (bowline loader \
                      pack --cert --key)";
        let identity = identity.ok_or_else(|| Failure::new(Code::ImageEnvelope, no_key))?;
        envelope::open(envelope, content, &identity)
            .map_err(|fault| Failure::new(Code::ImageEnvelope, fault.to_string()))
    }

    fn clock(&self, platform: &dyn Platform, policy: TimePolicy) -> Clock {
        let told = self.told.get().map(|told| Reading {
            time: gone_on(platform, told),
            source: Source::Authenticated,
        });
        let rumoured = self.network_time(platform).map(|time| Reading {
            time,
            source: Source::Network,
        });
        let readings = [firmware_clock(platform), told, rumoured];
        let readings: Vec<_> = readings.into_iter().flatten().collect();
        policy.decide(&readings)
    }
}

/// A time that was true at a moment of our own clock, now.
fn gone_on(platform: &dyn Platform, (time, at): (Timestamp, Duration)) -> Timestamp {
    let since = platform.clock().now().saturating_sub(at);
    Timestamp(time.0.saturating_add(since.as_secs()))
}

fn configuration(
    platform: &dyn Platform,
    packed: &Packed,
    certificates: &Certificates,
) -> Result<Ready, Failure> {
    let mut anchors = Anchors::new();
    for (index, der) in packed.trust.iter().enumerate() {
        let refused = |error| {
            let message = format!("packed root {}: {error}", index + 1);
            Failure::new(Code::Packed, message)
        };
        anchors
            .add(CertificateDer::from(der.clone()))
            .map_err(refused)?;
    }
    *certificates.packed.borrow_mut() = anchors.clone();
    if packed.trusts_firmware {
        add_firmware_trust(platform, &mut anchors)?;
    }
    if anchors.is_empty() {
        return Err(no_trust());
    }
    *certificates.trusted.borrow_mut() = anchors.clone();
    if let Some(identity) = &packed.identity {
        let chain = identity.chain.iter().cloned().map(CertificateDer::from);
        *certificates.client.borrow_mut() = chain.collect();
    }
    seed_generator(platform)?;
    let identity = packed.identity.as_ref().map(identity).transpose()?;
    let floor = packed.packed_at.unwrap_or(0).max(SOURCE_DATE);
    let policy = TimePolicy::new(Timestamp(floor));
    let time = platform.clock();
    prefer_faster(&|| time.now());
    let clock = policy.decide(firmware_clock(platform).as_slice());
    let config = Config::builder(anchors, clock)
        .identity(identity.clone())
        .build::<Fastest>();
    Ok(Ready {
        config,
        policy,
        identity,
    })
}

/// Adds what the firmware trusts; what is no certificate vouches for nobody.
fn add_firmware_trust(platform: &dyn Platform, anchors: &mut Anchors) -> Result<(), Failure> {
    match platform.trusted_certificates() {
        Ok(certificates) => certificates.into_iter().for_each(|der| {
            let _ = anchors.add(CertificateDer::from(der));
        }),
        // Packed roots are as good without the firmware's.
        Err(error) if anchors.is_empty() => {
            let message = format!(
                "https: no server can be trusted: the authorities of the firmware cannot be had \
                 ({error}), and no others are packed"
            );
            return Err(Failure::new(Code::TlsNoAnchors, message));
        }
        Err(_) => {}
    }
    Ok(())
}

fn no_trust() -> Failure {
    let message = "https: no trust roots are packed into this loader, so no server can be trusted \
                   (bowline loader pack --trust ca.pem)";
    Failure::new(Code::TlsNoAnchors, message)
}

fn identity(packed: &PackedIdentity) -> Result<Identity, Failure> {
    let chain: Vec<_> = packed
        .chain
        .iter()
        .cloned()
        .map(CertificateDer::from)
        .collect();
    let refused = |error: &dyn ToString| {
        let message = format!("packed client certificate: {}", error.to_string());
        Failure::new(Code::Packed, message)
    };
    let key = packed.key.to_vec().try_into();
    let key = key.map_err(|error: &'static str| refused(&error))?;
    Identity::from_der(chain, key).map_err(|error| refused(&error))
}

/// The machine's randomness goes into the generator that TLS draws from.
fn seed_generator(platform: &dyn Platform) -> Result<(), Failure> {
    let mut bytes = zeroize::Zeroizing::new([0; 64]);
    let no_entropy = |words: &dyn ToString| {
        let message = format!("TLS is not possible: {}", words.to_string());
        Failure::new(Code::TlsNoEntropy, message)
    };
    platform
        .entropy(&mut bytes[..])
        .map_err(|error| no_entropy(&error))?;
    entropy::add(&bytes[..], entropy::SECURITY_BITS).map_err(|error| no_entropy(&error))
}

fn firmware_clock(platform: &dyn Platform) -> Option<Reading> {
    platform.wall_clock().map(|seconds| Reading {
        time: Timestamp(seconds),
        source: Source::Firmware,
    })
}

/// The failure for a `Trouble` that [`trouble`] or the choice of a card made.
pub(crate) fn describe(trouble: &Trouble) -> Failure {
    let code = Code::find(&format!("tls-{}", trouble.code)).or_else(|| Code::find(trouble.code));
    let code = code.unwrap_or(Code::TlsProtocol);
    Failure::new(code, trouble.to_string())
}

/// A TLS connection, as HTTP wants to see it.
#[derive(Debug)]
pub(crate) struct TlsSession {
    client: Client,
    stack: Stack,
}

impl TlsSession {
    /// The card is looked after before anything that takes long: what was received is taken off it,
    /// and what was held back is sent, so that the other side does not send it again.
    fn before_work(&self) {
        if self.client.is_handshaking() {
            self.stack.settle();
        } else {
            self.stack.poll();
        }
    }
}

impl Session for TlsSession {
    fn handle_input(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        for piece in bytes.chunks(WORK) {
            self.before_work();
            self.client.handle_input(piece).map_err(trouble)?;
        }
        Ok(())
    }

    fn handle_eof(&mut self) -> Result<(), Trouble> {
        self.client.handle_eof().map_err(trouble)
    }

    fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.client.poll_output()
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.client.read(buffer)
    }

    fn readable(&self) -> usize {
        self.client.readable()
    }

    fn write(&mut self, plaintext: &[u8]) -> Result<(), Trouble> {
        self.client.write(plaintext).map_err(trouble)
    }

    /// `close_notify` (RFC 8446 section 6.1).
    fn close(&mut self) {
        self.client.close();
    }

    fn is_handshaking(&self) -> bool {
        self.client.is_handshaking()
    }

    fn peer_has_closed(&self) -> bool {
        self.client.peer_has_closed()
    }
}

fn trouble(error: Error) -> Trouble {
    Trouble {
        code: error.code(),
        words: error.to_string(),
        // An attacker can cut a connection at will; a new one is verified like the first.
        is_transient: matches!(error, Error::Truncated { .. }),
    }
}

/// Connects `http` in clear and `https` with TLS.
#[derive(Clone, Copy)]
pub(crate) struct Connector<'a> {
    pub(crate) network: &'a Network,
    /// Any card: for the time.
    pub(crate) stack: &'a Stack,
    pub(crate) security: &'a Security,
    pub(crate) platform: &'a dyn Platform,
}

impl Connector<'_> {
    /// TCP to the host and port of `url`, over the card that leads there.
    async fn connect_tcp(&self, url: &Url, timeout: Duration) -> Result<TcpStream, FetchError> {
        let url = url.clone();
        match self.network.ends(url.host(), url.port()).await {
            Ok(ends) => TcpStream::connect_any(ends, timeout)
                .await
                .map_err(|error| FetchError::Connect {
                    url,
                    error: Box::new(error),
                }),
            Err(failure) => {
                let trouble = Trouble {
                    code: failure.code().slug(),
                    words: failure.message().into(),
                    is_transient: failure.code() == Code::DnsFailed,
                };
                Err(FetchError::Layer { url, trouble })
            }
        }
    }
}

impl Connect for Connector<'_> {
    type Transport = Transport;

    async fn connect(&self, url: &Url, timeout: Duration) -> Result<Transport, FetchError> {
        if url.scheme() == Scheme::Http {
            return Ok(Either::Plain(self.connect_tcp(url, timeout).await?));
        }
        let layer = |trouble| FetchError::Layer {
            url: url.clone(),
            trouble,
        };
        let config = self.security.config(self.platform).map_err(|failure| {
            let slug = failure.code().slug();
            layer(Trouble {
                code: slug.strip_prefix("tls-").unwrap_or(slug),
                words: failure.message().into(),
                is_transient: false,
            })
        })?;
        let tcp = self.connect_tcp(url, timeout).await?;
        let client = Client::new(&config, url.host()).map_err(|error| layer(trouble(error)))?;
        let stack = tcp.stack().clone();
        let handshake = Secured::handshake(tcp, TlsSession { client, stack });
        match self.stack.timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(secured)) => Ok(Either::Secured(secured)),
            Ok(Err(error)) => Err(FetchError::of_transport(url, error)),
            Err(_) => Err(layer(Trouble {
                code: "timeout",
                words: format!(
                    "the server did not finish the TLS handshake within {} seconds",
                    HANDSHAKE_TIMEOUT.as_secs()
                ),
                is_transient: true,
            })),
        }
    }

    fn stack(&self) -> &Stack {
        self.stack
    }
}

/// How long a server may take over the handshake, our own computing included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that are worked on at once: the card is not polled meanwhile. A record is opened in one go
/// anyway (RFC 8446 section 5.1), and each poll costs.
const WORK: usize = 16 * 1024;

/// The date of the source that the loader was built from: the clock is never before it.
const SOURCE_DATE: u64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => match u64::from_str_radix(text, 10) {
        Ok(seconds) => seconds,
        Err(_) => RELEASE_DATE,
    },
    None => RELEASE_DATE,
};

/// 2026-11-01 00:00:00 UTC; moved on with each release.
const RELEASE_DATE: u64 = 1_793_491_200;

#[cfg(test)]
mod tests;
