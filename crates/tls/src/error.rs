//! What can go wrong with a connection, for the person at the console.

use crate::entropy;
use crate::verify::Refusal;
use alloc::format;
use alloc::string::String;
use core::fmt;
use rustls::{AlertDescription, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// Why a connection cannot be had or cannot go on.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The server sent an alert (RFC 8446 section 6).
    Alert {
        /// Which.
        alert: AlertDescription,
        /// Whether we had a certificate to show.
        had_identity: bool,
    },
    /// The name to connect to is neither a DNS name nor an IP address.
    BadName {
        /// The name.
        name: String,
    },
    /// A record was changed on the way, or belongs to another connection.
    BadRecord,
    /// The server's certificate was refused.
    Certificate(Refusal),
    /// The server's signature in the handshake does not fit its certificate.
    BadHandshakeSignature,
    /// Bytes were written after the connection was closed.
    Closed,
    /// The server sent more in the handshake than it may.
    HandshakeTooLarge {
        /// What it may.
        limit: usize,
    },
    /// Our side failed; this is a defect.
    Internal(String),
    /// No random numbers.
    NoEntropy(entropy::Unavailable),
    /// Both ends speak TLS but have nothing in common.
    NothingInCommon(String),
    /// The peer does not speak TLS.
    NotTls {
        /// Whether it seems to speak plain HTTP.
        http: bool,
    },
    /// The server speaks only versions before TLS 1.2.
    OldVersion {
        /// The version it chose, if it said so.
        version: Option<&'static str>,
    },
    /// A record is longer than records may be.
    OversizedRecord,
    /// The server broke the protocol.
    Protocol(String),
    /// The transport ended without a `close_notify`: someone may have cut the data short.
    Truncated {
        /// Whether the handshake was still going on.
        handshake: bool,
    },
}

impl Error {
    /// A name for machines that does not change.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Alert { .. } => "alert",
            Self::BadName { .. } => "bad-name",
            Self::BadRecord => "bad-record",
            Self::Certificate(refusal) => refusal.reason.code(),
            Self::BadHandshakeSignature => "bad-handshake-signature",
            Self::Closed => "closed",
            Self::HandshakeTooLarge { .. } => "handshake-too-large",
            Self::Internal(_) => "internal",
            Self::NoEntropy(_) => "no-entropy",
            Self::NothingInCommon(_) => "nothing-in-common",
            Self::NotTls { .. } => "not-tls",
            Self::OldVersion { .. } => "old-version",
            Self::OversizedRecord => "oversized-record",
            Self::Protocol(_) => "protocol",
            Self::Truncated { .. } => "truncated",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alert {
                alert,
                had_identity,
            } => write_alert(f, *alert, *had_identity),
            Self::BadName { name } => {
                write!(f, "'{name}' is neither a DNS name nor an IP address")
            }
            Self::BadRecord => f.write_str(
                "a record failed its integrity check: it was changed on the way, or the server is \
                 broken",
            ),
            Self::Certificate(refusal) => refusal.fmt(f),
            Self::BadHandshakeSignature => {
                f.write_str("the server could not prove that it holds the key of its certificate")
            }
            Self::Closed => f.write_str("the connection is closed"),
            Self::HandshakeTooLarge { limit } => {
                write!(
                    f,
                    "the server's handshake is too large, more than {} KiB",
                    limit >> 10
                )
            }
            Self::Internal(what) => write!(f, "internal error in TLS: {what}"),
            Self::NoEntropy(error) => write!(f, "TLS is not possible: {error}"),
            Self::NothingInCommon(what) => {
                write!(
                    f,
                    "the server and this loader have nothing in common: {what}"
                )
            }
            Self::NotTls { http: true } => f.write_str(
                "the server speaks plain HTTP on this port, not HTTPS; is the port right?",
            ),
            Self::NotTls { http: false } => f.write_str("the server does not speak TLS"),
            Self::OldVersion {
                version: Some(version),
            } => {
                write!(
                    f,
                    "the server speaks only {version}; TLS 1.2 or 1.3 is needed"
                )
            }
            Self::OldVersion { version: None } => {
                f.write_str("the server speaks neither TLS 1.2 nor TLS 1.3")
            }
            Self::OversizedRecord => f.write_str("the server sent a record longer than TLS allows"),
            Self::Protocol(what) => write!(f, "the server broke the TLS protocol: {what}"),
            Self::Truncated { handshake: true } => {
                f.write_str("the server closed the connection in the middle of the TLS handshake")
            }
            Self::Truncated { handshake: false } => f.write_str(
                "the connection ended without TLS's closing message: the data may have been cut \
                 short",
            ),
        }
    }
}

impl core::error::Error for Error {}

/// What the alerts that people meet mean, and what to do.
fn write_alert(
    f: &mut fmt::Formatter<'_>,
    alert: AlertDescription,
    had_identity: bool,
) -> fmt::Result {
    let words = match alert {
        AlertDescription::CertificateRequired => "the server wants a client certificate",
        AlertDescription::HandshakeFailure if !had_identity => {
            "the server refused the handshake: no cipher suite in common, or it wants a client \
             certificate"
        }
        AlertDescription::HandshakeFailure => {
            "the server refused the handshake: it found nothing in common with this loader"
        }
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the server refused our client certificate"
        }
        AlertDescription::UnsupportedCertificate => {
            "the server refused our client certificate: its kind or its purpose does not suit"
        }
        AlertDescription::CertificateExpired => {
            "the server refused our client certificate: it has expired (or the server's clock is \
             wrong)"
        }
        AlertDescription::CertificateRevoked => {
            "the server refused our client certificate: it has been revoked"
        }
        AlertDescription::UnknownCA => {
            "the server refused our client certificate: it does not trust the authority that \
             issued it"
        }
        AlertDescription::AccessDenied => {
            "the server knows our client certificate and does not let it in"
        }
        AlertDescription::DecryptError => "the server could not verify our part of the handshake",
        AlertDescription::UnrecognisedName => "the server does not know the name we asked for",
        AlertDescription::NoApplicationProtocol => "the server does not offer http/1.1",
        AlertDescription::BadRecordMac => "a record that we sent arrived changed",
        AlertDescription::InternalError => "the server has an internal error",
        _ => "the server broke off",
    };
    let missing = alert == AlertDescription::CertificateRequired && !had_identity;
    let advice = if missing {
        ", and this loader carries none"
    } else {
        ""
    };
    write!(f, "{words}{advice} (alert {}, {alert:?})", u8::from(alert))
}

/// What is known about the connection when `rustls` reports an error.
pub(crate) struct Context<'a> {
    pub(crate) had_identity: bool,
    /// The first bytes the server sent.
    pub(crate) first: &'a [u8],
    pub(crate) refusal: Option<Refusal>,
    pub(crate) handshaking: bool,
}

/// Our error for an error of `rustls`.
pub(crate) fn translate(error: rustls::Error, context: Context<'_>) -> Error {
    use rustls::Error as R;
    match error {
        R::InvalidCertificate(_) if context.refusal.is_some() => match context.refusal {
            Some(refusal) => Error::Certificate(refusal),
            None => Error::BadHandshakeSignature,
        },
        // The chain passed; what is left is CertificateVerify or ServerKeyExchange.
        R::InvalidCertificate(_) => Error::BadHandshakeSignature,
        R::AlertReceived(AlertDescription::ProtocolVersion) => Error::OldVersion { version: None },
        R::AlertReceived(alert) => Error::Alert {
            alert,
            had_identity: context.had_identity,
        },
        R::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => Error::OldVersion {
            version: hello_version(context.first),
        },
        R::PeerIncompatible(PeerIncompatible::ExtendedMasterSecretExtensionRequired) => {
            Error::NothingInCommon(
                "in TLS 1.2 it lacks the extended master secret (RFC 7627)".into(),
            )
        }
        R::PeerIncompatible(what) => Error::NothingInCommon(format!("{what:?}")),
        R::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol)
        | R::NoApplicationProtocol => {
            Error::NothingInCommon("it does not offer the application protocol".into())
        }
        R::DecryptError => Error::BadRecord,
        R::PeerSentOversizedRecord | R::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            Error::OversizedRecord
        }
        R::InvalidMessage(
            InvalidMessage::CertificatePayloadTooLarge | InvalidMessage::HandshakePayloadTooLarge,
        ) => Error::HandshakeTooLarge { limit: 64 << 10 },
        R::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) if context.handshaking && !looks_like_tls(context.first) => Error::NotTls {
            http: context.first.starts_with(b"HTTP/"),
        },
        R::NoCertificatesPresented => Error::Protocol("it presented no certificate".into()),
        R::FailedToGetRandomBytes => {
            Error::NoEntropy(entropy::ready().err().unwrap_or(entropy::Unavailable::Busy))
        }
        R::EncryptError
        | R::General(_)
        | R::FailedToGetCurrentTime
        | R::BadMaxFragmentSize
        | R::HandshakeNotComplete
        | R::InconsistentKeys(_) => Error::Internal(format!("{error}")),
        other => Error::Protocol(format!("{other}")),
    }
}

/// A record of type alert, handshake or the like, of a version 3.x (RFC 8446 section 5.1).
fn looks_like_tls(first: &[u8]) -> bool {
    matches!(first, [20..=24, 3, ..])
}

/// The version in a ServerHello at the start of the stream: after the record header (5 bytes) and
/// the handshake header (4 bytes).
fn hello_version(first: &[u8]) -> Option<&'static str> {
    match first {
        [22, 3, _, _, _, 2, _, _, _, major, minor, ..] => match (major, minor) {
            (3, 0) => Some("SSL 3.0"),
            (3, 1) => Some("TLS 1.0"),
            (3, 2) => Some("TLS 1.1"),
            _ => None,
        },
        _ => None,
    }
}
