//! Finding the words for what webpki refused.
//!
//! webpki says what kind of fault ended its search, not in which certificate. Here the chain is
//! walked once more, by the names in it, to find the certificate that fits the fault.

use super::{Offender, Purpose, Reason, Refusal, Request, build, is_usable};
use crate::certificate::{Certificate, Key, Name, ORGANIZATION, attribute, dotted, printable};
use crate::provider::verification;
use crate::time::Timestamp;
use crate::trust::Anchor;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use rustls_pki_types::{AlgorithmIdentifier, SubjectPublicKeyInfoDer};
use webpki::{EndEntityCert, Error, RawPublicKeyEntity};

/// The chain as names alone suggest it.
struct Walk<'a> {
    /// Certificates from the peer's own upwards, with their place in what was presented.
    steps: Vec<(usize, Certificate<'a>)>,
    /// The trusted certificate that the last step names as its issuer.
    anchor: Option<&'a Anchor>,
}

impl<'a> Walk<'a> {
    fn new(request: &Request<'a>) -> Option<Self> {
        let read = |(at, der): (usize, &'a rustls_pki_types::CertificateDer<'a>)| {
            Some((at, Certificate::parse(der)?))
        };
        let mut presented: Vec<_> = request.chain.iter().enumerate().filter_map(read).collect();
        if presented.first()?.0 != 0 {
            return None;
        }
        let mut steps = Vec::from([presented.remove(0)]);
        loop {
            let (_, last) = steps.last()?;
            // A valid anchor of that name is preferred to one that is not.
            let named = || {
                let issuer = last.issuer;
                request
                    .anchors
                    .iter()
                    .filter(move |anchor| anchor.trust.subject.as_ref() == issuer)
            };
            let anchor = named()
                .find(|anchor| anchor.is_valid_at(&request.clock))
                .or_else(|| named().next());
            let next = presented
                .iter()
                .position(|(_, next)| next.subject == last.issuer);
            match (anchor, next) {
                (None, Some(next)) if !is_self_signed(last) => steps.push(presented.remove(next)),
                (anchor, _) => return Some(Self { steps, anchor }),
            }
        }
    }

    fn find(
        &self,
        fits: impl Fn(usize, &Certificate<'a>) -> bool,
    ) -> Option<&(usize, Certificate<'a>)> {
        self.steps
            .iter()
            .enumerate()
            .find(|(depth, (_, step))| fits(*depth, step))
            .map(|(_, step)| step)
    }

    /// The first certificate that the key above it did not sign, and who should have.
    fn badly_signed(&self) -> Option<(&(usize, Certificate<'a>), String, bool)> {
        for (depth, step) in self.steps.iter().enumerate() {
            let (key, issuer, trusted) = match self.steps.get(depth + 1) {
                Some((_, issuer)) => (issuer.public_key_info.to_vec(), issuer.subject(), false),
                None => {
                    let anchor = self.anchor?;
                    let info = Certificate::parse(&anchor.der)?.public_key_info.to_vec();
                    (info, anchor.subject.clone(), true)
                }
            };
            if !is_signed_by(&step.1, key) {
                return Some((step, issuer, trusted));
            }
        }
        None
    }
}

/// A certificate that vouches for itself. Equal names are not enough: they may both be empty.
fn is_self_signed(certificate: &Certificate<'_>) -> bool {
    certificate.subject == certificate.issuer
        && is_signed_by(certificate, certificate.public_key_info.to_vec())
}

fn is_signed_by(certificate: &Certificate<'_>, key: Vec<u8>) -> bool {
    let info = SubjectPublicKeyInfoDer::from(key);
    let Ok(key) = RawPublicKeyEntity::try_from(&info) else {
        return false;
    };
    let matches =
        |identifier: AlgorithmIdentifier| identifier.as_ref() == certificate.signature_algorithm;
    verification::ALGORITHMS
        .all
        .iter()
        .filter(|algorithm| matches(algorithm.signature_alg_id()))
        .any(|algorithm| {
            key.verify_signature(*algorithm, certificate.signed, certificate.signature)
                .is_ok()
        })
}

/// "certificate 0 (boot.example)", or for the only one "the server's certificate (boot.example)".
pub(super) fn which(request: &Request<'_>, index: usize, certificate: &Certificate<'_>) -> String {
    let subject = certificate.subject();
    let whose = match request.purpose {
        Purpose::Server { .. } => "server",
        Purpose::Client => "client",
        Purpose::CodeSigning => "signer",
    };
    match index {
        0 => format!("the {whose}'s certificate ({subject})"),
        _ => format!("certificate {index} of the {whose}'s chain ({subject})"),
    }
}

pub(super) fn malformed(request: &Request<'_>, index: usize) -> Refusal {
    let words = match index {
        0 => "the first certificate presented is malformed".to_owned(),
        _ => format!("certificate {index} of the chain presented is malformed"),
    };
    let der = request
        .chain
        .get(index)
        .map(|der| der.as_ref())
        .unwrap_or_default();
    let fingerprint = <sha2::Sha256 as sha2::Digest>::digest(der).into();
    let subject = Certificate::parse(der).map(|certificate| certificate.subject());
    let offender = Offender {
        index: Some(index),
        subject: subject.unwrap_or_default(),
        fingerprint,
    };
    Refusal {
        reason: Reason::Malformed,
        certificate: Some(offender),
        words,
    }
}

/// A refusal if the certificate's key is of no use.
pub(super) fn unusable_key(
    request: &Request<'_>,
    index: usize,
    certificate: &Certificate<'_>,
) -> Option<Refusal> {
    let key = certificate.key();
    if is_usable(key) {
        return None;
    }
    let which = which(request, index, certificate);
    let (reason, words) = match key {
        Key::Rsa(bits) if bits < 2048 => (
            Reason::WeakKey,
            format!("{which} has an RSA key of {bits} bits; at least 2048 are needed"),
        ),
        key => (
            Reason::UnsupportedKey,
            format!(
                "{which} has a key of a kind that is not used here ({key}); ECDSA P-256 and P-384, \
                 Ed25519 and RSA from 2048 to 8192 bits are"
            ),
        ),
    };
    Some(Refusal::at(reason, index, certificate, words))
}

/// Words for why no path was found.
pub(super) fn path(request: &Request<'_>, time: Timestamp, error: &Error) -> Refusal {
    let unreadable = request
        .chain
        .iter()
        .position(|der| EndEntityCert::try_from(der).is_err_and(|e| !is_critical(&e)));
    let Some(walk) = Walk::new(request) else {
        return malformed(request, unreadable.unwrap_or(0));
    };
    explain_validity(request, &walk, error)
        .or_else(|| explain_issuer(request, &walk, time, error))
        .or_else(|| explain_signature(request, &walk, error))
        .or_else(|| explain_role(request, &walk, error))
        .or_else(|| explain_extension(request, &walk, error))
        .or_else(|| unreadable.map(|index| malformed(request, index)))
        .unwrap_or_else(|| other(error))
}

fn is_critical(error: &Error) -> bool {
    matches!(error, Error::UnsupportedCriticalExtension)
}

fn other(error: &Error) -> Refusal {
    let (reason, words) = match error {
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => (
            Reason::TooComplex,
            "the chain has too many ways through it to check".to_owned(),
        ),
        error => (
            Reason::Malformed,
            format!("the chain cannot be verified ({error:?})"),
        ),
    };
    Refusal::new(reason, words)
}

fn explain_validity(request: &Request<'_>, walk: &Walk<'_>, error: &Error) -> Option<Refusal> {
    let clock = request.clock;
    let (reason, (index, certificate), words) = match error {
        Error::CertExpired { not_after, .. } => {
            let not_after = Timestamp::from(*not_after);
            let found = walk.find(|_, step| step.not_after() == not_after)?;
            (
                Reason::Expired,
                found,
                format!("expired: it was valid until {not_after}, {clock}"),
            )
        }
        Error::CertNotValidYet { not_before, .. } => {
            let not_before = Timestamp::from(*not_before);
            let found = walk.find(|_, step| step.not_before() == not_before)?;
            let words = format!("is not valid yet: it is valid from {not_before}, {clock}");
            (Reason::NotYetValid, found, words)
        }
        Error::InvalidCertValidity => {
            let found = walk.find(|_, step| step.not_before() > step.not_after())?;
            let words = "says it ends before it begins".to_owned();
            (Reason::InvalidValidity, found, words)
        }
        _ => return None,
    };
    let verb = if reason == Reason::Expired {
        " has "
    } else {
        " "
    };
    let words = format!("{}{verb}{words}", which(request, *index, certificate));
    Some(Refusal::at(reason, *index, certificate, words))
}

/// No issuer was found that is trusted.
fn explain_issuer(
    request: &Request<'_>,
    walk: &Walk<'_>,
    time: Timestamp,
    error: &Error,
) -> Option<Refusal> {
    if !matches!(error, Error::UnknownIssuer) {
        return None;
    }
    if let Some(refusal) = anchor_not_valid(request, time) {
        return Some(refusal);
    }
    let (index, last) = walk.steps.last()?;
    let (which, issuer) = (which(request, *index, last), last.issuer());
    let trusted = trusted_names(request);
    let self_signed = is_self_signed(last);
    let (reason, words) = if self_signed && *index == 0 {
        (
            Reason::SelfSigned,
            format!("{which} vouches for itself and is not trusted; trusted are {trusted}"),
        )
    } else if self_signed {
        (
            Reason::UnknownRoot,
            format!(
                "the chain ends at root '{issuer}', which is not trusted; trusted are {trusted}"
            ),
        )
    } else if let Some(evidence) = missing_intermediate(request, last) {
        (
            Reason::MissingIntermediate,
            format!(
                "{which} was issued by '{issuer}', whose certificate the peer did not present: an \
                 intermediate certificate is missing from its configuration ({evidence})"
            ),
        )
    } else if last.is_authority() {
        (
            Reason::UnknownRoot,
            format!(
                "{which} was issued by '{issuer}', which is not trusted; trusted are {trusted}"
            ),
        )
    } else {
        (
            Reason::UnknownIssuer,
            format!(
                "{which} was issued by '{issuer}', which is not trusted (trusted are {trusted}); if \
                 '{issuer}' is an intermediate authority, the peer has to present its certificate too"
            ),
        )
    };
    Some(Refusal::at(reason, *index, last, words))
}

/// Signs that the unknown issuer of a peer's certificate is an intermediate authority.
fn missing_intermediate(request: &Request<'_>, last: &Certificate<'_>) -> Option<String> {
    if let Some(location) = &last.extensions.issuer_at {
        return Some(format!("it can be had at {location}"));
    }
    let organization = attribute(last.issuer, ORGANIZATION)?;
    let same = |anchor: &&Anchor| {
        let subject = anchor.trust.subject.as_ref();
        attribute(subject, ORGANIZATION).as_ref() == Some(&organization)
    };
    let anchor = request.anchors.iter().find(same)?;
    Some(format!(
        "it is of {organization}, like the trusted '{}'",
        anchor.subject
    ))
}

/// The refusal for a path that would hold but for the dates of its anchor.
fn anchor_not_valid(request: &Request<'_>, time: Timestamp) -> Option<Refusal> {
    let (leaf, others) = request.chain.split_first()?;
    let leaf = EndEntityCert::try_from(leaf).ok()?;
    let all: Vec<_> = request
        .anchors
        .iter()
        .map(|anchor| anchor.trust.clone())
        .collect();
    let (Ok(path), _) = build(request, &leaf, others, &all) else {
        return None;
    };
    let anchor = request
        .anchors
        .iter()
        .find(|anchor| anchor.trust == *path.anchor())?;
    let certificate = Certificate::parse(&anchor.der)?;
    let (subject, clock) = (&anchor.subject, request.clock);
    let words = if time > anchor.not_after {
        let end = anchor.not_after;
        format!(
            "the trusted certificate '{subject}' has itself expired: it was valid until {end}, {clock}"
        )
    } else {
        let start = anchor.not_before;
        format!(
            "the trusted certificate '{subject}' is not valid yet: it is valid from {start}, {clock}"
        )
    };
    let mut refusal = Refusal::at(Reason::AnchorNotValid, 0, &certificate, words);
    if let Some(offender) = &mut refusal.certificate {
        offender.index = None;
    }
    Some(refusal)
}

fn trusted_names(request: &Request<'_>) -> String {
    const SHOWN: usize = 4;
    let names: Vec<_> = request
        .anchors
        .iter()
        .take(SHOWN)
        .map(|anchor| format!("'{}'", anchor.subject))
        .collect();
    let more = request.anchors.len().saturating_sub(SHOWN);
    match more {
        0 => names.join(", "),
        _ => format!("{} and {more} more", names.join(", ")),
    }
}

fn explain_signature(request: &Request<'_>, walk: &Walk<'_>, error: &Error) -> Option<Refusal> {
    match error {
        Error::InvalidSignatureForPublicKey
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            // A key that is too short or of a strange kind verifies nothing: that is the fault then.
            for (index, issuer) in walk.steps.iter().skip(1) {
                if let Some(refusal) = unusable_key(request, *index, issuer) {
                    return Some(refusal);
                }
            }
            let ((index, certificate), issuer, trusted) = walk.badly_signed()?;
            let which = which(request, *index, certificate);
            let words = if trusted {
                format!(
                    "{which} was not signed by the key of the trusted '{issuer}': another authority \
                     of the same name signed it, or that one was made anew since"
                )
            } else {
                format!("{which} was not signed by the key of '{issuer}', its issuer by name")
            };
            Some(Refusal::at(
                Reason::BadSignature,
                *index,
                certificate,
                words,
            ))
        }
        Error::UnsupportedSignatureAlgorithmContext(context) => {
            let identifier = &context.signature_algorithm_id;
            let (index, certificate) =
                walk.find(|_, step| step.signature_algorithm == identifier.as_slice())?;
            let (which, how) = (
                which(request, *index, certificate),
                certificate.signature_name(),
            );
            let (reason, words) = if certificate.has_weak_signature() {
                let words =
                    format!("{which} was signed by {how}, which can be forged; SHA-256 is needed");
                (Reason::WeakSignature, words)
            } else {
                let words = format!("{which} was signed by {how}, which is not used here");
                (Reason::UnsupportedSignature, words)
            };
            Some(Refusal::at(reason, *index, certificate, words))
        }
        _ => None,
    }
}

fn explain_role(request: &Request<'_>, walk: &Walk<'_>, error: &Error) -> Option<Refusal> {
    let (reason, (index, certificate), words) = match error {
        Error::CaUsedAsEndEntity => {
            let words = "is that of a certificate authority (CA:TRUE); the peer needs one of its own, \
                         issued by that authority";
            (Reason::CaAsLeaf, walk.steps.first()?, words.to_owned())
        }
        Error::EndEntityUsedAsCa => {
            let found = walk.find(|depth, step| depth > 0 && !step.is_authority())?;
            let words = "is not that of a certificate authority and must not have issued another";
            (Reason::LeafAsCa, found, words.to_owned())
        }
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => {
            let limit = |step: &Certificate<'_>| step.extensions.basic_constraints?.1;
            let found = walk.find(|depth, step| {
                limit(step).is_some_and(|limit| usize::from(limit) + 1 < depth)
            });
            let words = "stands above more authorities than it allows";
            (
                Reason::PathTooLong,
                found.or(walk.steps.last())?,
                words.to_owned(),
            )
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            let (wanted, name) = match request.purpose {
                Purpose::Server { .. } => (1, "serverAuth"),
                Purpose::Client => (2, "clientAuth"),
                Purpose::CodeSigning => (3, "codeSigning"),
            };
            let found = walk.find(|_, step| {
                step.extensions.purposes.as_ref().is_some_and(|purposes| {
                    !purposes.contains(&[KEY_PURPOSE, &[wanted]].concat().as_slice())
                })
            })?;
            let words = format!(
                "is not for this purpose: its extended key usage is {}, needed is {name}",
                purposes(&found.1)
            );
            (Reason::WrongPurpose, found, words)
        }
        _ => return None,
    };
    let words = format!("{} {words}", which(request, *index, certificate));
    Some(Refusal::at(reason, *index, certificate, words))
}

/// id-kp (RFC 5280 section 4.2.1.12)
const KEY_PURPOSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];

fn purposes(certificate: &Certificate<'_>) -> String {
    let purposes = certificate.extensions.purposes.iter().flatten();
    let names: Vec<_> = purposes
        .map(|purpose| match purpose.strip_prefix(KEY_PURPOSE) {
            Some([1]) => "serverAuth".to_owned(),
            Some([2]) => "clientAuth".to_owned(),
            Some([3]) => "codeSigning".to_owned(),
            Some([4]) => "emailProtection".to_owned(),
            Some([8]) => "timeStamping".to_owned(),
            Some([9]) => "OCSPSigning".to_owned(),
            _ => dotted(purpose),
        })
        .collect();
    if names.is_empty() {
        "empty".to_owned()
    } else {
        names.join(", ")
    }
}

fn explain_extension(request: &Request<'_>, walk: &Walk<'_>, error: &Error) -> Option<Refusal> {
    match error {
        Error::UnsupportedCriticalExtension => {
            let (index, certificate) =
                walk.find(|_, step| !step.extensions.unknown_critical.is_empty())?;
            let extension = certificate.extensions.unknown_critical.first().copied();
            let words = format!(
                "{} has a critical extension that is not understood ({})",
                which(request, *index, certificate),
                dotted(extension.unwrap_or_default())
            );
            Some(Refusal::at(
                Reason::CriticalExtension,
                *index,
                certificate,
                words,
            ))
        }
        Error::NameConstraintViolation | Error::UnsupportedNameType => {
            let limited = |e: &crate::certificate::Extensions<'_>| {
                !e.permitted.is_empty() || !e.excluded.is_empty()
            };
            let (leaf_index, leaf) = walk.steps.first()?;
            let names = list(leaf.names());
            let found = walk.find(|depth, step| depth > 0 && limited(&step.extensions));
            let (limits, authority) = match found {
                Some((_, authority)) => (limits(authority), authority.subject()),
                None => {
                    let authority = Certificate::parse(&walk.anchor?.der)?;
                    (limits(&authority), authority.subject())
                }
            };
            let words = format!(
                "{} is for {names}, but the authority '{authority}' above it may only vouch for \
                 {limits} (name constraints)",
                which(request, *leaf_index, leaf)
            );
            Some(Refusal::at(
                Reason::NameConstraint,
                *leaf_index,
                leaf,
                words,
            ))
        }
        _ => None,
    }
}

fn limits(authority: &Certificate<'_>) -> String {
    let extensions = &authority.extensions;
    match (
        extensions.permitted.is_empty(),
        extensions.excluded.is_empty(),
    ) {
        (false, true) => list(&extensions.permitted),
        (true, _) => format!("names other than {}", list(&extensions.excluded)),
        (false, false) => {
            format!(
                "{} except {}",
                list(&extensions.permitted),
                list(&extensions.excluded)
            )
        }
    }
}

fn list(names: &[Name]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<_> = names.iter().take(SHOWN).map(Name::to_string).collect();
    if names.len() > SHOWN {
        words.push(format!("{} more", names.len() - SHOWN));
    }
    if words.is_empty() {
        "no name".to_owned()
    } else {
        words.join(", ")
    }
}

/// Words for why the certificate is not for the name asked for.
pub(super) fn name(request: &Request<'_>, error: &Error) -> Refusal {
    let (Purpose::Server { name: wanted }, Some(walk)) = (request.purpose, Walk::new(request))
    else {
        return other(error);
    };
    let Some((index, leaf)) = walk.steps.first() else {
        return other(error);
    };
    let which = which(request, *index, leaf);
    let wanted = printable(wanted.as_bytes());
    let common_name = leaf
        .common_name()
        .filter(|common| common.eq_ignore_ascii_case(&wanted));
    let (reason, words) = match (common_name, leaf.names()) {
        (Some(common), []) => (
            Reason::NameOnlyInCommonName,
            format!(
                "{which} has the name '{common}' only in its common name, which does not count; it \
                 needs a subject alternative name"
            ),
        ),
        (_, []) => (
            Reason::NameMismatch,
            format!("{which} is not for '{wanted}': it has no subject alternative name at all"),
        ),
        (_, names) => (
            Reason::NameMismatch,
            format!("{which} is not for '{wanted}' but for {}", list(names)),
        ),
    };
    Refusal::at(reason, *index, leaf, words)
}
