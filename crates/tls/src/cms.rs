//! Signatures on files: CMS SignedData whose content is elsewhere (RFC 5652 section 5), in DER, as
//! `openssl cms -sign -binary -outform DER` makes them.
//!
//! Every signer that counts must have signed, with a certificate for code signing whose chain ends
//! in trust. Hashes and keys are those of TLS.

use crate::certificate::Certificate;
use crate::der::{Element, Reader, tag};
use crate::provider::verification::ALGORITHMS;
use crate::time::Clock;
use crate::trust::Anchors;
use crate::verify::{self, MAX_CERTIFICATES, Purpose, Refusal};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::EndEntityCert;

/// The longest signature that is read, in bytes.
pub const LENGTH_MAX: usize = 64 * 1024;

/// The most signers that are looked at.
pub const SIGNERS_MAX: usize = 10;

/// A question to [`verify`].
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The signature, in DER.
    pub signature: &'a [u8],
    /// What is said to be signed.
    pub content: &'a [u8],
    /// Only this signer counts: the common name or a DNS name of its certificate.
    pub signer: Option<&'a str>,
    /// Whose word is taken.
    pub anchors: &'a Anchors,
    /// Certificates that chains may be built with, besides those of the signature.
    pub intermediates: &'a [CertificateDer<'static>],
    /// What time it is.
    pub clock: Clock,
}

/// Why a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no signature of this kind.
    Malformed,
    /// It is longer than [`LENGTH_MAX`], or has more certificates or signers than are looked at.
    TooLong,
    /// It brings what it signs along: nobody looks at that.
    WithContent,
    /// Nobody has signed.
    Unsigned,
    /// Others have signed.
    OtherSigners {
        /// Who should have.
        wanted: String,
        /// Who did.
        signers: Vec<String>,
    },
    /// The certificate of a signer is not in it.
    NoCertificate,
    /// A signer's hash or key is of a kind that is not used here, as SHA-1 is not.
    Algorithm {
        /// Who signed.
        signer: String,
    },
    /// What was signed is something else, or was changed.
    Mismatch {
        /// Who signed.
        signer: String,
    },
    /// A signer's certificate is not for code signing.
    NotForCode {
        /// Who signed.
        signer: String,
    },
    /// A signer's certificate is not trusted.
    Untrusted(Refusal),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str(
                "it is no CMS signature in DER (openssl cms -sign -binary -outform DER)",
            ),
            Self::TooLong => write!(
                f,
                "it is longer than {LENGTH_MAX} bytes, or has more than {SIGNERS_MAX} signers or \
                 {MAX_CERTIFICATES} certificates"
            ),
            Self::WithContent => f.write_str(
                "it holds the file that it signs; a signature apart is wanted (openssl cms -sign \
                 without -nodetach)",
            ),
            Self::Unsigned => f.write_str("nobody has signed it"),
            Self::OtherSigners { wanted, signers } => {
                write!(f, "{wanted} has not signed it, but {}", signers.join(", "))
            }
            Self::NoCertificate => {
                f.write_str("the signer's certificate is not in it (openssl cms without -nocerts)")
            }
            Self::Algorithm { signer } => write!(
                f,
                "{signer} has signed with a hash or key that is not accepted here: SHA-256 to \
                 SHA-512 are, with RSA of 2048 bits and more or ECDSA P-256 and P-384"
            ),
            Self::Mismatch { signer } => write!(
                f,
                "{signer} has signed something else: the file was changed, or the signature is not \
                 its own"
            ),
            Self::NotForCode { signer } => write!(
                f,
                "the certificate of {signer} is not for code signing: it lacks the extended key \
                 usage codeSigning"
            ),
            Self::Untrusted(refusal) => write!(f, "{refusal}"),
        }
    }
}

impl core::error::Error for Fault {}

/// Checks a signature; the names of those who signed.
pub fn verify(request: &Request<'_>) -> Result<Vec<String>, Fault> {
    if request.signature.len() > LENGTH_MAX {
        return Err(Fault::TooLong);
    }
    let message = SignedData::parse(request.signature).ok_or(Fault::Malformed)?;
    if message.has_content {
        return Err(Fault::WithContent);
    }
    if message.certificates.len() > MAX_CERTIFICATES || message.signers.len() > SIGNERS_MAX {
        return Err(Fault::TooLong);
    }
    let mut names = Vec::new();
    let mut others = Vec::new();
    for signer in &message.signers {
        let own = message.certificates.iter().find(|it| signer.is(&it.1));
        let (der, certificate) = own.ok_or(Fault::NoCertificate)?;
        let name = certificate.subject();
        if request
            .signer
            .is_some_and(|wanted| !answers_to(certificate, wanted))
        {
            others.push(name);
            continue;
        }
        signer.verify(der, &name, request.content)?;
        check_certificate(request, &message, der, certificate)?;
        names.push(name);
    }
    match (names.is_empty(), request.signer) {
        (false, _) => Ok(names),
        (true, Some(wanted)) if !others.is_empty() => Err(Fault::OtherSigners {
            wanted: wanted.to_string(),
            signers: others,
        }),
        (true, _) => Err(Fault::Unsigned),
    }
}

fn answers_to(certificate: &Certificate<'_>, name: &str) -> bool {
    let is_alternative = certificate.names().iter().any(|it| it.to_string() == name);
    is_alternative || certificate.common_name().as_deref() == Some(name)
}

/// The chain of a signer's certificate, with the others of the message to build it from.
fn check_certificate(
    request: &Request<'_>,
    message: &SignedData<'_>,
    der: &CertificateDer<'_>,
    certificate: &Certificate<'_>,
) -> Result<(), Fault> {
    // Many certificates have no extended key usage and may be used for anything; not for this.
    if !certificate.is_for_code_signing() {
        let signer = certificate.subject();
        return Err(Fault::NotForCode { signer });
    }
    let others = message.certificates.iter().map(|(other, _)| other);
    let mut chain: Vec<_> = core::iter::once(der)
        .chain(others.filter(|other| *other != der))
        .cloned()
        .collect();
    chain.extend(verify::extra(&chain, request.intermediates));
    let question = verify::Request {
        chain: &chain,
        anchors: request.anchors,
        clock: request.clock,
        purpose: Purpose::CodeSigning,
    };
    verify::check(&question).map(drop).map_err(Fault::Untrusted)
}

/// Whether a SignerIdentifier or RecipientIdentifier (RFC 5652 sections 5.3 and 6.2.1) means this
/// certificate.
pub(crate) fn names(identifier: &Element<'_>, certificate: &Certificate<'_>) -> bool {
    if identifier.tag == tag::context(0) {
        return certificate.extensions.key_identifier == Some(identifier.contents);
    }
    let mut fields = Reader::new(identifier.contents);
    let issuer = fields.expect(tag::SEQUENCE).map(|issuer| issuer.contents);
    let serial = fields.expect(tag::INTEGER).map(|serial| serial.contents);
    identifier.tag == tag::SEQUENCE
        && issuer == Some(certificate.issuer)
        && serial == Some(certificate.serial)
}

/// RFC 5652 section 5.1, as much as a signature apart from its content needs.
struct SignedData<'a> {
    has_content: bool,
    certificates: Vec<(CertificateDer<'a>, Certificate<'a>)>,
    signers: Vec<SignerInfo<'a>>,
}

impl<'a> SignedData<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outside = Reader::new(der);
        let mut info = outside.enter(tag::SEQUENCE)?;
        if info.expect(tag::OBJECT_IDENTIFIER)?.contents != SIGNED_DATA || !outside.is_empty() {
            return None;
        }
        let mut fields = info
            .enter(tag::context_constructed(0))?
            .enter(tag::SEQUENCE)?;
        fields.expect(tag::INTEGER)?; // version
        fields.expect(tag::SET)?; // digestAlgorithms
        let mut content = fields.enter(tag::SEQUENCE)?;
        let content_type = content.expect(tag::OBJECT_IDENTIFIER)?.contents;
        let mut certificates = Vec::new();
        if let Some(mut list) = fields.enter(tag::context_constructed(0)) {
            while !list.is_empty() {
                let der = list.expect(tag::SEQUENCE)?.whole;
                certificates.push((CertificateDer::from(der), Certificate::parse(der)?));
            }
        }
        fields.optional(tag::context_constructed(1)); // crls
        let mut list = fields.enter(tag::SET)?;
        let mut signers = Vec::new();
        while !list.is_empty() {
            signers.push(SignerInfo::parse(list.enter(tag::SEQUENCE)?, content_type)?);
        }
        Some(Self {
            has_content: !content.is_empty(),
            certificates,
            signers,
        })
    }
}

/// RFC 5652 section 5.3.
struct SignerInfo<'a> {
    identifier: Element<'a>,
    digest: &'a [u8],
    /// The signed attributes, where there are any.
    attributes: Option<Attributes<'a>>,
    /// What is inside the AlgorithmIdentifier.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

struct Attributes<'a> {
    whole: &'a [u8],
    message_digest: &'a [u8],
}

impl<'a> SignerInfo<'a> {
    fn parse(mut fields: Reader<'a>, content_type: &[u8]) -> Option<Self> {
        fields.expect(tag::INTEGER)?; // version
        let identifier = fields.element()?;
        let mut digest = fields.enter(tag::SEQUENCE)?;
        let digest = digest.expect(tag::OBJECT_IDENTIFIER)?.contents;
        let attributes = match fields.optional(tag::context_constructed(0)) {
            Some(attributes) => Some(Attributes::parse(attributes, content_type)?),
            None => None,
        };
        let algorithm = fields.expect(tag::SEQUENCE)?.contents;
        let signature = fields.expect(tag::OCTET_STRING)?.contents;
        Some(Self {
            identifier,
            digest,
            attributes,
            algorithm,
            signature,
        })
    }

    /// Whether this is the signer's certificate.
    fn is(&self, certificate: &Certificate<'_>) -> bool {
        names(&self.identifier, certificate)
    }

    /// Checks the signature itself (RFC 5652 sections 5.4 and 5.6).
    fn verify(&self, der: &CertificateDer<'_>, name: &str, content: &[u8]) -> Result<(), Fault> {
        let signer = || name.to_string();
        let algorithm = || Fault::Algorithm { signer: signer() };
        let mismatch = || Fault::Mismatch { signer: signer() };
        let signed = match &self.attributes {
            None => content,
            Some(attributes) => {
                let digest = digest(self.digest, content).ok_or_else(algorithm)?;
                if digest != attributes.message_digest {
                    return Err(mismatch());
                }
                &attributes.signed()
            }
        };
        let key = EndEntityCert::try_from(der).map_err(|_| Fault::Malformed)?;
        let mut is_known = false;
        for candidate in self.algorithms() {
            match key.verify_signature(candidate, signed, self.signature) {
                Ok(()) => return Ok(()),
                Err(webpki::Error::InvalidSignatureForPublicKey) => is_known = true,
                // Of another kind of key.
                Err(_) => {}
            }
        }
        Err(if is_known { mismatch() } else { algorithm() })
    }

    /// The algorithms that the signer may mean. RSA may be named without its hash (RFC 3370 section
    /// 3.2), which is then the one of the digest.
    fn algorithms(&self) -> impl Iterator<Item = &'static dyn SignatureVerificationAlgorithm> {
        let meant = match self.algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
            true => match self.digest {
                SHA_256 => alg_id::RSA_PKCS1_SHA256.as_ref(),
                SHA_384 => alg_id::RSA_PKCS1_SHA384.as_ref(),
                SHA_512 => alg_id::RSA_PKCS1_SHA512.as_ref(),
                _ => &[],
            },
            false => self.algorithm,
        };
        let all = ALGORITHMS.all.iter().copied();
        all.filter(move |known| known.signature_alg_id().as_ref() == meant)
    }
}

impl<'a> Attributes<'a> {
    /// RFC 5652 section 11: there must be a content type, that of the content, and its digest.
    fn parse(attributes: Element<'a>, content_type: &[u8]) -> Option<Self> {
        let mut list = Reader::new(attributes.contents);
        let (mut message_digest, mut is_of_type) = (None, false);
        while !list.is_empty() {
            let mut attribute = list.enter(tag::SEQUENCE)?;
            let kind = attribute.expect(tag::OBJECT_IDENTIFIER)?.contents;
            let mut values = attribute.enter(tag::SET)?;
            if kind == MESSAGE_DIGEST {
                message_digest = Some(values.expect(tag::OCTET_STRING)?.contents);
            } else if kind == CONTENT_TYPE {
                is_of_type = values.expect(tag::OBJECT_IDENTIFIER)?.contents == content_type;
            }
        }
        Some(Self {
            whole: attributes.whole,
            message_digest: message_digest.filter(|_| is_of_type)?,
        })
    }

    /// What is signed in place of the content: the same with the tag SET OF (section 5.4).
    fn signed(&self) -> Vec<u8> {
        let rest = self.whole.get(1..).unwrap_or_default();
        [&[tag::SET], rest].concat()
    }
}

fn digest(algorithm: &[u8], content: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        SHA_256 => Some(Sha256::digest(content).to_vec()),
        SHA_384 => Some(Sha384::digest(content).to_vec()),
        SHA_512 => Some(Sha512::digest(content).to_vec()),
        _ => None,
    }
}

/// id-signedData (RFC 5652 section 14), and attributes of section 11.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];

/// id-sha256 and its sisters (RFC 5754 section 2).
const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA_384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA_512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];
