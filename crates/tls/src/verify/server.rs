//! The check as `rustls` calls it in the middle of a handshake.

use super::{Purpose, Reason, Refusal, Request, check, extra, name_text};
use crate::provider::verification;
use crate::time::Clock;
use crate::trust::Anchors;
use alloc::string::String;
use alloc::vec::Vec;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use spin::Mutex;

/// Verifies servers for all connections of one configuration.
///
/// `rustls` errors have no room for our words, so the refusal waits here, under the server's name,
/// until the connection that failed fetches it.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    anchors: Anchors,
    clock: Mutex<Clock>,
    intermediates: Mutex<Vec<CertificateDer<'static>>>,
    refusals: Mutex<Vec<(String, Refusal)>>,
}

/// Refusals kept for connections that never ask.
const KEPT: usize = 8;

impl ServerVerifier {
    pub(crate) fn new(anchors: Anchors, clock: Clock) -> Self {
        Self {
            anchors,
            clock: Mutex::new(clock),
            intermediates: Mutex::new(Vec::new()),
            refusals: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        *self.clock.lock()
    }

    pub(crate) fn set_clock(&self, clock: Clock) {
        *self.clock.lock() = clock;
    }

    pub(crate) fn set_intermediates(&self, certificates: Vec<CertificateDer<'static>>) {
        *self.intermediates.lock() = certificates;
    }

    /// Why the server of this name was refused last.
    pub(crate) fn take_refusal(&self, name: &str) -> Option<Refusal> {
        let mut refusals = self.refusals.lock();
        let at = refusals.iter().position(|(of, _)| of == name)?;
        Some(refusals.remove(at).1)
    }

    fn remember(&self, name: String, refusal: Refusal) {
        let mut refusals = self.refusals.lock();
        refusals.retain(|(of, _)| *of != name);
        if refusals.len() >= KEPT {
            refusals.remove(0);
        }
        refusals.push((name, refusal));
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut chain: Vec<_> = core::iter::once(leaf).chain(others).cloned().collect();
        chain.extend(extra(&chain, &self.intermediates.lock()));
        let name = name_text(name);
        let request = Request {
            chain: &chain,
            anchors: &self.anchors,
            clock: self.clock(),
            purpose: Purpose::Server { name: &name },
        };
        match check(&request) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(refusal) => {
                let error = alert_for(refusal.reason);
                self.remember(name, refusal);
                Err(Error::InvalidCertificate(error))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &verification::ALGORITHMS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &verification::ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        verification::ALGORITHMS.supported_schemes()
    }
}

/// The error whose alert (RFC 8446 section 6.2) tells the server what we think of its certificate.
fn alert_for(reason: Reason) -> CertificateError {
    match reason {
        Reason::Expired | Reason::AnchorNotValid => CertificateError::Expired,
        Reason::NotYetValid => CertificateError::NotValidYet,
        Reason::NameMismatch | Reason::NameOnlyInCommonName => CertificateError::NotValidForName,
        Reason::MissingIntermediate
        | Reason::NoAnchors
        | Reason::SelfSigned
        | Reason::UnknownIssuer
        | Reason::UnknownRoot => CertificateError::UnknownIssuer,
        Reason::BadSignature => CertificateError::BadSignature,
        // unsupported_certificate
        Reason::KeyUsage
        | Reason::UnsupportedKey
        | Reason::UnsupportedSignature
        | Reason::WeakKey
        | Reason::WeakSignature
        | Reason::WrongPurpose => CertificateError::InvalidPurpose,
        // bad_certificate
        _ => CertificateError::BadEncoding,
    }
}
