//! The verdict on a chain of certificates, in words.
//!
//! rustls-webpki decides: it builds the path and checks signatures, dates, basic constraints,
//! extended key usage, name constraints and names (RFC 5280 section 6, RFC 9525). Around it:
//!
//! - anchors count only while they are valid, and the clock may be only a lower bound (see `time`);
//! - key usage is checked where a certificate has it (RFC 5280 section 4.2.1.3), and the leaf's key
//!   must be one that the handshake accepts;
//! - a refusal says which certificate, what was wrong, what was expected, and what the clock said.
//!
//! Revocation is not checked: a boot loader that waits for an OCSP server is a boot that fails.
//! Short lifetimes do that work.

mod explain;
mod server;

pub(crate) use server::ServerVerifier;

use crate::certificate::{CODE_SIGNING, Certificate, DIGITAL_SIGNATURE, KEY_CERT_SIGN, Key};
use crate::provider::verification;
use crate::time::{Certainty, Clock, Timestamp};
use crate::trust::Anchors;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use rustls_pki_types::{CertificateDer, IpAddr, ServerName, TrustAnchor};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// Certificates a peer may present.
pub const MAX_CERTIFICATES: usize = 10;

/// What the chain is to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// That its holder is the server of this name: a DNS name or an IP address (an IPv6 address may
    /// stand in brackets, as in a URL).
    Server {
        /// The name.
        name: &'a str,
    },
    /// That its holder is a client.
    Client,
    /// That its holder may sign programs.
    CodeSigning,
}

/// A question to [`check`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The certificates in the order in which they were presented, the peer's own first.
    pub chain: &'a [CertificateDer<'a>],
    /// Whose word is taken.
    pub anchors: &'a Anchors,
    /// What time it is.
    pub clock: Clock,
    /// What the chain is to prove.
    pub purpose: Purpose<'a>,
}

/// A chain that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Subjects along the path, from the peer's own certificate up to the anchor.
    pub path: Vec<String>,
    /// When the first certificate of the path expires: until then the chain holds.
    pub expires: Timestamp,
}

/// A chain that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of fault.
    pub reason: Reason,
    /// The certificate at fault, if it is one.
    pub certificate: Option<Offender>,
    /// The whole story in one or two sentences.
    pub words: String,
}

/// The certificate at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// Where it stood in what was presented, counted from 0; `None` for a trust anchor.
    pub index: Option<usize>,
    /// Whom it is about.
    pub subject: String,
    /// SHA-256 of it.
    pub fingerprint: [u8; 32],
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl core::error::Error for Refusal {}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kinds of fault a chain can have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// A name for machines that does not change.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reasons! {
    /// Every trust anchor that would have fitted has expired, or is not valid yet.
    AnchorNotValid = "anchor-not-valid",
    /// The name asked for is neither a DNS name nor an IP address.
    BadName = "bad-name",
    /// A certificate was not signed by the key of its issuer.
    BadSignature = "bad-signature",
    /// The peer's own certificate is an authority's.
    CaAsLeaf = "ca-as-leaf",
    /// A certificate has a critical extension that is not understood.
    CriticalExtension = "critical-extension",
    /// A certificate has expired.
    Expired = "expired",
    /// A certificate's validity ends before it begins.
    InvalidValidity = "invalid-validity",
    /// A certificate must not be used for this by its key usage.
    KeyUsage = "key-usage",
    /// A certificate that is not an authority's issued another.
    LeafAsCa = "leaf-as-ca",
    /// A certificate cannot be read.
    Malformed = "malformed",
    /// An intermediate certificate was not presented.
    MissingIntermediate = "missing-intermediate",
    /// An authority issued for a name outside the ones it is limited to.
    NameConstraint = "name-constraint",
    /// The certificate is for other names.
    NameMismatch = "name-mismatch",
    /// The name stands in the common name only, which does not count.
    NameOnlyInCommonName = "name-only-in-common-name",
    /// Nothing is trusted.
    NoAnchors = "no-anchors",
    /// The peer presented no certificate.
    NoCertificate = "no-certificate",
    /// A certificate is not valid yet.
    NotYetValid = "not-yet-valid",
    /// More certificates in a row than an authority allows.
    PathTooLong = "path-too-long",
    /// The peer's certificate vouches for itself, and is not trusted.
    SelfSigned = "self-signed",
    /// Checking the chain would take too long.
    TooComplex = "too-complex",
    /// Too many certificates were presented.
    TooManyCertificates = "too-many-certificates",
    /// The issuer is neither trusted nor was it presented.
    UnknownIssuer = "unknown-issuer",
    /// The chain ends at an authority that is not trusted.
    UnknownRoot = "unknown-root",
    /// A kind of key that is not used here.
    UnsupportedKey = "unsupported-key",
    /// A kind of signature that is not used here.
    UnsupportedSignature = "unsupported-signature",
    /// A key too short to resist.
    WeakKey = "weak-key",
    /// A signature with a broken hash: SHA-1 or older.
    WeakSignature = "weak-signature",
    /// The certificate is for another purpose.
    WrongPurpose = "wrong-purpose",
}

/// Checks a chain.
pub fn check(request: &Request<'_>) -> Result<Accepted, Refusal> {
    let name = match request.purpose {
        Purpose::Server { name } => Some(server_name(name).ok_or_else(|| bad_name(name))?),
        Purpose::Client | Purpose::CodeSigning => None,
    };
    let Some((leaf_der, others)) = request.chain.split_first() else {
        return Err(Refusal::new(
            Reason::NoCertificate,
            "no certificate was presented".into(),
        ));
    };
    if request.chain.len() > MAX_CERTIFICATES {
        let words = format!(
            "{} certificates were presented; at most {MAX_CERTIFICATES} are looked at",
            request.chain.len()
        );
        return Err(Refusal::new(Reason::TooManyCertificates, words));
    }
    if request.anchors.is_empty() {
        let words = "no certificate is trusted: none was packed into this loader";
        return Err(Refusal::new(Reason::NoAnchors, words.into()));
    }
    let leaf = EndEntityCert::try_from(leaf_der)
        .map_err(|error| explain::path(request, request.clock.time, &error))?;
    let anchors = request.anchors.valid_at(&request.clock);
    let (result, time) = build(request, &leaf, others, &anchors);
    let path = result.map_err(|error| explain::path(request, time, &error))?;
    let accepted = check_path(request, &path)?;
    if let Some(name) = name {
        leaf.verify_is_valid_for_subject_name(&name)
            .map_err(|error| explain::name(request, &error))?;
    }
    Ok(accepted)
}

/// Of the intermediate certificates that are known anyway, those that a chain lacks and has room
/// for.
pub(crate) fn extra(
    chain: &[CertificateDer<'_>],
    known: &[CertificateDer<'static>],
) -> Vec<CertificateDer<'static>> {
    let missing = known.iter().filter(|known| !chain.contains(known));
    let room = MAX_CERTIFICATES.saturating_sub(chain.len());
    missing.take(room).cloned().collect()
}

/// Lets webpki build the path. Where the clock is only a lower bound, it is moved on to the start of
/// a certificate that is not valid yet: the true time may well be after that.
fn build<'p>(
    request: &Request<'_>,
    leaf: &'p EndEntityCert<'p>,
    others: &'p [CertificateDer<'p>],
    anchors: &'p [TrustAnchor<'static>],
) -> (Result<VerifiedPath<'p>, webpki::Error>, Timestamp) {
    let usage = || match request.purpose {
        Purpose::Server { .. } => KeyUsage::server_auth(),
        Purpose::Client => KeyUsage::client_auth(),
        Purpose::CodeSigning => KeyUsage::required_if_present(CODE_SIGNING),
    };
    let mut time = request.clock.time;
    for _ in 0..=request.chain.len() {
        let result = leaf.verify_for_usage(
            verification::ALGORITHMS.all,
            anchors,
            others,
            time.into(),
            usage(),
            None,
            None,
        );
        match result {
            Err(webpki::Error::CertNotValidYet { not_before, .. })
                if request.clock.certainty == Certainty::AtLeast && time < not_before.into() =>
            {
                time = not_before.into();
            }
            result => return (result, time),
        }
    }
    (Err(webpki::Error::UnknownIssuer), time)
}

/// What webpki leaves to others, for each certificate of the path it found.
fn check_path(request: &Request<'_>, path: &VerifiedPath<'_>) -> Result<Accepted, Refusal> {
    let mut accepted = Accepted {
        path: Vec::new(),
        expires: Timestamp(u64::MAX),
    };
    let leaf = path.end_entity().der();
    let issuers: Vec<_> = path
        .intermediate_certificates()
        .map(|issuer| issuer.der())
        .collect();
    for (depth, der) in core::iter::once(&leaf).chain(&issuers).enumerate() {
        let index = request
            .chain
            .iter()
            .position(|presented| presented.as_ref() == der.as_ref());
        let index = index.unwrap_or(depth);
        let Some(certificate) = Certificate::parse(der) else {
            return Err(explain::malformed(request, index));
        };
        let (needed, words) = if depth == 0 {
            (
                DIGITAL_SIGNATURE,
                "it lacks digitalSignature, without which it cannot authenticate",
            )
        } else {
            (
                KEY_CERT_SIGN,
                "it lacks keyCertSign, without which it cannot issue certificates",
            )
        };
        let usage = certificate.extensions.key_usage;
        if usage.is_some_and(|usage| usage & needed == 0) {
            let words = format!(
                "{} must not be used for this by its key usage: {words}",
                explain::which(request, index, &certificate)
            );
            return Err(Refusal::at(Reason::KeyUsage, index, &certificate, words));
        }
        if let Some(refusal) = explain::unusable_key(request, index, &certificate) {
            return Err(refusal);
        }
        accepted.expires = accepted.expires.min(certificate.not_after());
        accepted.path.push(certificate.subject());
    }
    let anchor = request
        .anchors
        .iter()
        .find(|anchor| anchor.is_valid_at(&request.clock) && anchor.trust == *path.anchor());
    if let Some(anchor) = anchor {
        accepted.expires = accepted.expires.min(anchor.not_after);
        accepted.path.push(anchor.subject.clone());
    }
    Ok(accepted)
}

/// Whether the handshake can be signed with such a key, and chains with it.
fn is_usable(key: Key) -> bool {
    match key {
        Key::Rsa(bits) => verification::RSA_BITS.contains(&(bits as usize)),
        Key::P256 | Key::P384 | Key::Ed25519 => true,
        Key::P521 | Key::RsaPss | Key::Other => false,
    }
}

/// A host as it stands in a URL, as a name that certificates can be checked against.
pub(crate) fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        // RFC 6066 section 3: the name without the dot of an absolute one.
        None => host.strip_suffix('.').unwrap_or(host),
    };
    let name = ServerName::try_from(bare).ok()?;
    let is_v6 = matches!(name, ServerName::IpAddress(IpAddr::V6(_)));
    (is_v6 || bare.len() == host.trim_end_matches('.').len()).then(|| name.to_owned())
}

/// The text of a name that [`server_name`] made.
pub(crate) fn name_text(name: &ServerName<'_>) -> String {
    match name {
        ServerName::DnsName(name) => name.as_ref().to_string(),
        ServerName::IpAddress(IpAddr::V4(address)) => Ipv4Addr::from(*address.as_ref()).to_string(),
        ServerName::IpAddress(IpAddr::V6(address)) => Ipv6Addr::from(*address.as_ref()).to_string(),
        _ => String::new(),
    }
}

fn bad_name(name: &str) -> Refusal {
    let name = crate::certificate::printable(name.as_bytes());
    Refusal::new(
        Reason::BadName,
        format!("'{name}' is neither a DNS name nor an IP address"),
    )
}

impl Refusal {
    fn new(reason: Reason, words: String) -> Self {
        Self {
            reason,
            certificate: None,
            words,
        }
    }

    fn at(reason: Reason, index: usize, certificate: &Certificate<'_>, words: String) -> Self {
        let certificate = Offender {
            index: Some(index),
            subject: certificate.subject(),
            fingerprint: certificate.fingerprint(),
        };
        Self {
            reason,
            certificate: Some(certificate),
            words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_urls_become_names() {
        for (host, name) in [
            ("boot.example", Some("boot.example")),
            ("boot.example.", Some("boot.example")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[192.0.2.1]", None),
            ("[boot.example]", None),
            ("[2001:db8::1", None),
            ("*.example", None),
            ("boot example", None),
            ("", None),
        ] {
            let found = server_name(host);
            assert_eq!(
                found
                    .as_ref()
                    .map(|name| name.to_str().into_owned())
                    .as_deref(),
                name,
                "{host}"
            );
        }
    }

    #[test]
    fn codes_are_distinct() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            assert!(
                Reason::ALL[..at]
                    .iter()
                    .all(|other| other.code() != reason.code())
            );
        }
    }
}
