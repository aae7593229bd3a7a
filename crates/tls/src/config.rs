//! What all connections have in common: trust, identity, cryptography, clock, tickets.

use crate::identity::Identity;
use crate::provider::{Backend, provider};
use crate::session::Sessions;
use crate::time::Clock;
use crate::trust::Anchors;
use crate::verify::ServerVerifier;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use rustls::client::{ClientConfig, Resumption};
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::{CertificateDer, UnixTime};

/// Bounds on what a server may make us hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a server may send before the handshake is done. (A single message may have 64 KiB.)
    pub handshake: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: 128 << 10,
        }
    }
}

/// Seconds between two settings of the clock from which on the time is another: more than passes
/// between two connections.
const LEAP: u64 = 3600;

/// A configuration, cheap to clone. Connections made from clones of one share its session tickets.
///
/// Fixed choices: TLS 1.3 and 1.2 only; extended master secret (RFC 7627) required in TLS 1.2; no
/// early data, since it can be replayed; no renegotiation; server name indication for DNS names;
/// `http/1.1` offered in ALPN unless changed.
#[derive(Clone)]
pub struct Config {
    pub(crate) rustls: Arc<ClientConfig>,
    pub(crate) verifier: Arc<ServerVerifier>,
    pub(crate) limits: Limits,
    sessions: Arc<Sessions>,
    has_identity: bool,
}

/// Collects the parts of a [`Config`].
#[derive(Clone, Debug)]
pub struct Builder {
    anchors: Anchors,
    clock: Clock,
    identity: Option<Identity>,
    limits: Limits,
    alpn: Vec<Vec<u8>>,
    resumption: bool,
}

impl Config {
    /// Starts a configuration that trusts `anchors` and judges by `clock`.
    pub fn builder(anchors: Anchors, clock: Clock) -> Builder {
        Builder {
            anchors,
            clock,
            identity: None,
            limits: Limits::default(),
            alpn: Vec::from([b"http/1.1".to_vec()]),
            resumption: true,
        }
    }

    /// The clock in use.
    pub fn clock(&self) -> Clock {
        self.verifier.clock()
    }

    /// Sets the clock for all connections of this configuration from now on.
    ///
    /// Where it turns out to be another time than was thought, sessions are forgotten: the
    /// certificates behind them may not hold any more.
    pub fn set_clock(&self, clock: Clock) {
        let old = self.clock();
        let leap = old.time.0.abs_diff(clock.time.0);
        if old.certainty != clock.certainty || leap > LEAP {
            self.sessions.forget();
        }
        self.verifier.set_clock(clock);
    }

    /// Sets the certificates that chains may be built with, besides those that servers present.
    /// None of them is trusted for that.
    pub fn set_intermediates(&self, certificates: Vec<CertificateDer<'static>>) {
        self.verifier.set_intermediates(certificates);
    }

    /// Whether there is a certificate to show to a server that asks.
    pub fn has_identity(&self) -> bool {
        self.has_identity
    }
}

impl Builder {
    /// The certificate to show to servers that ask for one.
    pub fn identity(mut self, identity: Option<Identity>) -> Self {
        self.identity = identity;
        self
    }

    /// Bounds on what a server may make us hold.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The application protocols to offer, the preferred one first; none: no ALPN.
    pub fn alpn(mut self, protocols: &[&str]) -> Self {
        self.alpn = protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        self
    }

    /// Whether sessions are resumed (they are unless changed).
    pub fn resumption(mut self, resumption: bool) -> Self {
        self.resumption = resumption;
        self
    }

    /// The configuration, with the cryptography of back end `B`.
    pub fn build<B: Backend>(self) -> Config {
        self.with_provider(provider::<B>())
    }

    fn with_provider(self, provider: Arc<rustls::crypto::CryptoProvider>) -> Config {
        let has_identity = self.identity.is_some();
        let verifier = Arc::new(ServerVerifier::new(self.anchors, self.clock));
        let time = Arc::new(VerifierTime(verifier.clone()));
        let versions = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&TLS13, &TLS12]);
        // Fails only for a provider that lacks a suite for each version; ours has them.
        let Ok(versions) = versions else {
            unreachable!("the provider has suites for both versions");
        };
        let config = versions
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match self.identity {
            Some(identity) => config
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified))),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        config.require_ems = true;
        let sessions = Arc::new(Sessions::default());
        config.resumption = match self.resumption {
            true => Resumption::store(sessions.clone()),
            false => Resumption::disabled(),
        };
        Config {
            rustls: Arc::new(config),
            verifier,
            limits: self.limits,
            sessions,
            has_identity,
        }
    }
}

/// The verifier's clock, for the age of tickets.
#[derive(Debug)]
struct VerifierTime(Arc<ServerVerifier>);

impl TimeProvider for VerifierTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0.clock().time.into())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("clock", &self.clock())
            .field("limits", &self.limits)
            .field("has_identity", &self.has_identity)
            .finish_non_exhaustive()
    }
}
