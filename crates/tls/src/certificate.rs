//! What a certificate says (RFC 5280), for people.
//!
//! Verification proper is done by rustls-webpki. This reader exists so that a refusal can name the
//! certificate, its names and its dates, and so that a few things webpki leaves alone (key usage,
//! the strength of the leaf's key, the dates of roots) can be checked too.

use crate::der::{Element, Reader, tag};
use crate::time::Timestamp;
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use sha2::{Digest, Sha256};

/// A certificate, read but not verified.
#[derive(Clone, Debug)]
pub struct Certificate<'a> {
    pub(crate) der: &'a [u8],
    pub(crate) signed: &'a [u8],
    pub(crate) signature_algorithm: &'a [u8],
    pub(crate) signature: &'a [u8],
    pub(crate) serial: &'a [u8],
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    /// All of `SubjectPublicKeyInfo`.
    pub(crate) public_key_info: &'a [u8],
    pub(crate) extensions: Extensions<'a>,
    not_before: Timestamp,
    not_after: Timestamp,
    key: Key,
}

/// The extensions we have words for (RFC 5280 section 4.2.1).
#[derive(Clone, Debug, Default)]
pub(crate) struct Extensions<'a> {
    /// cA and pathLenConstraint.
    pub(crate) basic_constraints: Option<(bool, Option<u8>)>,
    /// The two bytes of KeyUsage, first bit in the highest place.
    pub(crate) key_usage: Option<u16>,
    /// The object identifiers of ExtKeyUsageSyntax.
    pub(crate) purposes: Option<Vec<&'a [u8]>>,
    /// What the issuer calls the key.
    pub(crate) key_identifier: Option<&'a [u8]>,
    pub(crate) names: Vec<Name>,
    pub(crate) permitted: Vec<Name>,
    pub(crate) excluded: Vec<Name>,
    /// Where the issuer's certificate can be had (authority information access).
    pub(crate) issuer_at: Option<String>,
    /// Object identifiers of critical extensions that are not among these.
    pub(crate) unknown_critical: Vec<&'a [u8]>,
}

/// RFC 5280 section 4.2.1.12: id-kp-codeSigning.
pub(crate) const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
/// RFC 5280 section 4.2.1.3: bit 0, digitalSignature.
pub(crate) const DIGITAL_SIGNATURE: u16 = 0x8000;
/// RFC 5280 section 4.2.1.3: bit 5, keyCertSign.
pub(crate) const KEY_CERT_SIGN: u16 = 0x0400;

/// A name in a subject alternative name or name constraint (RFC 5280 section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A DNS name, possibly with a wildcard label.
    Dns(String),
    /// An IP address, or in a constraint an address with its mask.
    Ip(Vec<u8>),
    /// Any other kind; the number is its tag.
    Other(u8),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(&printable(name.as_bytes())),
            Self::Ip(bytes) => write_ip(f, bytes),
            Self::Other(1) => f.write_str("an e-mail address"),
            Self::Other(4) => f.write_str("a directory name"),
            Self::Other(6) => f.write_str("a URI"),
            Self::Other(kind) => write!(f, "a name of kind {kind}"),
        }
    }
}

fn write_ip(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    let half = bytes.len() / 2;
    if let Ok(address) = <[u8; 4]>::try_from(bytes) {
        write!(f, "{}", Ipv4Addr::from(address))
    } else if let Ok(address) = <[u8; 16]>::try_from(bytes) {
        write!(f, "{}", Ipv6Addr::from(address))
    } else if let (8 | 32, Some((address, mask))) = (bytes.len(), bytes.split_at_checked(half)) {
        let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
        write_ip(f, address)?;
        write!(f, "/{ones}")
    } else {
        f.write_str("a malformed IP address")
    }
}

/// The kind of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA with a modulus of this many bits.
    Rsa(u32),
    /// An elliptic curve we use.
    P256,
    /// An elliptic curve we use.
    P384,
    /// Ed25519.
    Ed25519,
    /// P-521, which we do not use.
    P521,
    /// RSA restricted to PSS, which we do not use in certificates.
    RsaPss,
    /// Something else.
    Other,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits} bits"),
            Self::P256 => f.write_str("ECDSA P-256"),
            Self::P384 => f.write_str("ECDSA P-384"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::P521 => f.write_str("ECDSA P-521"),
            Self::RsaPss => f.write_str("RSA for PSS only"),
            Self::Other => f.write_str("an unknown kind of key"),
        }
    }
}

impl<'a> Certificate<'a> {
    /// Reads a DER certificate; `None` if it is malformed.
    pub fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outside = Reader::new(der);
        let mut certificate = outside.enter(tag::SEQUENCE)?;
        let signed = certificate.expect(tag::SEQUENCE)?;
        let signature_algorithm = certificate.expect(tag::SEQUENCE)?.contents;
        let (0, signature) = bits(certificate.expect(tag::BIT_STRING)?)? else {
            return None;
        };
        if !certificate.is_empty() || !outside.is_empty() {
            return None;
        }
        let mut fields = Reader::new(signed.contents);
        fields.optional(tag::context_constructed(0)); // version
        let serial = fields.expect(tag::INTEGER)?.contents;
        fields.expect(tag::SEQUENCE)?; // signature
        let issuer = fields.expect(tag::SEQUENCE)?.contents;
        let mut validity = fields.enter(tag::SEQUENCE)?;
        let (not_before, not_after) = (time(validity.element()?)?, time(validity.element()?)?);
        let subject = fields.expect(tag::SEQUENCE)?.contents;
        let public_key_info = fields.expect(tag::SEQUENCE)?;
        fields.optional(tag::context(1)); // issuerUniqueID
        fields.optional(tag::context(2)); // subjectUniqueID
        let extensions = match fields.enter(tag::context_constructed(3)) {
            Some(mut list) => Extensions::parse(list.enter(tag::SEQUENCE)?)?,
            None => Extensions::default(),
        };
        Some(Self {
            der,
            signed: signed.whole,
            signature_algorithm,
            signature,
            serial,
            issuer,
            subject,
            public_key_info: public_key_info.whole,
            extensions,
            not_before,
            not_after,
            key: key(public_key_info.contents)?,
        })
    }

    /// Whom the certificate is about, in a form fit for the console: the common name if there is
    /// one, else the first alternative name, else whatever the distinguished name holds.
    pub fn subject(&self) -> String {
        if let Some(name) = self.common_name() {
            return name;
        }
        match self.extensions.names.first() {
            Some(name) => name.to_string(),
            None => display_name(self.subject),
        }
    }

    /// Who issued it, in the same form.
    pub fn issuer(&self) -> String {
        display_name(self.issuer)
    }

    /// The common name of the subject. Never used to match a server's name.
    pub fn common_name(&self) -> Option<String> {
        attribute(self.subject, COMMON_NAME)
    }

    /// The subject alternative names.
    pub fn names(&self) -> &[Name] {
        &self.extensions.names
    }

    /// First moment of validity.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last moment of validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The kind of its public key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Whether it says it may issue certificates.
    pub fn is_authority(&self) -> bool {
        matches!(self.extensions.basic_constraints, Some((true, _)))
    }

    /// Whether it says that it is for signing programs (RFC 5280 section 4.2.1.12,
    /// id-kp-codeSigning).
    pub fn is_for_code_signing(&self) -> bool {
        let purposes = self.extensions.purposes.iter().flatten();
        purposes.into_iter().any(|purpose| *purpose == CODE_SIGNING)
    }

    /// SHA-256 of the whole certificate, as other tools show it.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(self.der).into()
    }

    /// How it was signed, in words.
    pub fn signature_name(&self) -> Cow<'static, str> {
        let algorithm = Reader::new(self.signature_algorithm).expect(tag::OBJECT_IDENTIFIER);
        let algorithm = algorithm
            .map(|algorithm| algorithm.contents)
            .unwrap_or_default();
        SIGNATURES
            .iter()
            .find(|(identifier, ..)| *identifier == algorithm)
            .map_or_else(
                || format!("algorithm {}", dotted(algorithm)).into(),
                |(_, name, _)| (*name).into(),
            )
    }

    /// Whether it was signed with a hash for which collisions can be made.
    pub fn has_weak_signature(&self) -> bool {
        let algorithm = Reader::new(self.signature_algorithm).expect(tag::OBJECT_IDENTIFIER);
        SIGNATURES.iter().any(|(identifier, _, weak)| {
            *weak && Some(*identifier) == algorithm.map(|algorithm| algorithm.contents)
        })
    }
}

/// Signature algorithms with their names, and whether the hash is broken.
const SIGNATURES: [(&[u8], &str, bool); 12] = [
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x02],
        "RSA with MD2",
        true,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04],
        "RSA with MD5",
        true,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05],
        "RSA with SHA-1",
        true,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
        "RSA with SHA-256",
        false,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        "RSA with SHA-384",
        false,
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        "RSA with SHA-512",
        false,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01],
        "ECDSA with SHA-1",
        true,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
        "ECDSA with SHA-256",
        false,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
        "ECDSA with SHA-384",
        false,
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
        "ECDSA with SHA-512",
        false,
    ),
    (&[0x2b, 0x65, 0x70], "Ed25519", false),
    (&[0x2b, 0x0e, 0x03, 0x02, 0x1d], "RSA with SHA-1", true),
];

impl<'a> Extensions<'a> {
    fn parse(mut list: Reader<'a>) -> Option<Self> {
        let mut extensions = Self::default();
        while !list.is_empty() {
            let mut extension = list.enter(tag::SEQUENCE)?;
            let identifier = extension.expect(tag::OBJECT_IDENTIFIER)?.contents;
            let critical = extension
                .optional(tag::BOOLEAN)
                .is_some_and(|e| e.contents == [0xff]);
            let value = Reader::new(extension.expect(tag::OCTET_STRING)?.contents);
            match identifier {
                // id-ce (2.5.29): subjectKeyIdentifier, keyUsage, subjectAltName, basicConstraints,
                // nameConstraints, extKeyUsage
                [0x55, 0x1d, 14] => {
                    let mut value = value;
                    let identifier = value.expect(tag::OCTET_STRING)?;
                    extensions.key_identifier = Some(identifier.contents);
                }
                [0x55, 0x1d, 15] => extensions.key_usage = Some(key_usage(value)?),
                [0x55, 0x1d, 17] => extensions.names = names(value)?,
                [0x55, 0x1d, 19] => extensions.basic_constraints = Some(basic_constraints(value)?),
                [0x55, 0x1d, 30] => extensions.name_constraints(value)?,
                [0x55, 0x1d, 37] => extensions.purposes = Some(purposes(value)?),
                // id-pe-authorityInfoAccess
                [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01] => {
                    extensions.issuer_at = issuer_at(value);
                }
                // id-ce-cRLDistributionPoints
                [0x55, 0x1d, 31] => {}
                other if critical => extensions.unknown_critical.push(other),
                _ => {}
            }
        }
        Some(extensions)
    }

    /// `NameConstraints ::= SEQUENCE { permittedSubtrees [0], excludedSubtrees [1] }`
    fn name_constraints(&mut self, mut value: Reader<'a>) -> Option<()> {
        let mut constraints = value.enter(tag::SEQUENCE)?;
        for (n, list) in [(0, &mut self.permitted), (1, &mut self.excluded)] {
            if let Some(mut subtrees) = constraints.enter(tag::context_constructed(n)) {
                while !subtrees.is_empty() {
                    list.push(name(subtrees.enter(tag::SEQUENCE)?.element()?));
                }
            }
        }
        Some(())
    }
}

fn key_usage(mut value: Reader<'_>) -> Option<u16> {
    let (_, bits) = bits(value.expect(tag::BIT_STRING)?)?;
    let byte = |n: usize| u16::from(bits.get(n).copied().unwrap_or(0));
    Some(byte(0) << 8 | byte(1))
}

fn basic_constraints(mut value: Reader<'_>) -> Option<(bool, Option<u8>)> {
    let mut fields = value.enter(tag::SEQUENCE)?;
    let authority = fields
        .optional(tag::BOOLEAN)
        .is_some_and(|e| e.contents == [0xff]);
    let length = fields
        .optional(tag::INTEGER)
        .and_then(|e| match e.contents {
            [length] => Some(*length),
            _ => None,
        });
    Some((authority, length))
}

fn names(mut value: Reader<'_>) -> Option<Vec<Name>> {
    let mut list = value.enter(tag::SEQUENCE)?;
    let mut names = Vec::new();
    while !list.is_empty() {
        names.push(name(list.element()?));
    }
    Some(names)
}

fn name(element: Element<'_>) -> Name {
    match element.tag {
        0x82 => Name::Dns(String::from_utf8_lossy(element.contents).into_owned()),
        0x87 => Name::Ip(element.contents.to_vec()),
        other => Name::Other(other & 0x1f),
    }
}

fn purposes<'a>(mut value: Reader<'a>) -> Option<Vec<&'a [u8]>> {
    let mut list = value.enter(tag::SEQUENCE)?;
    let mut purposes = Vec::new();
    while !list.is_empty() {
        purposes.push(list.expect(tag::OBJECT_IDENTIFIER)?.contents);
    }
    Some(purposes)
}

fn issuer_at(mut value: Reader<'_>) -> Option<String> {
    let mut list = value.enter(tag::SEQUENCE)?;
    while !list.is_empty() {
        let mut access = list.enter(tag::SEQUENCE)?;
        let method = access.expect(tag::OBJECT_IDENTIFIER)?.contents;
        let location = access.element()?;
        // id-ad-caIssuers with a URI
        if method == [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02] && location.tag == 0x86 {
            return Some(printable(location.contents));
        }
    }
    None
}

/// The number of unused bits and the bytes of a BIT STRING.
fn bits(element: Element<'_>) -> Option<(u8, &[u8])> {
    element
        .contents
        .split_first()
        .map(|(unused, bytes)| (*unused, bytes))
}

/// `Time` (RFC 5280 section 4.1.2.5): UTC, with seconds.
fn time(element: Element<'_>) -> Option<Timestamp> {
    let digits = element.contents.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = core::str::from_utf8(digits).ok()?;
    let (year, rest) = match element.tag {
        tag::UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: u16 = year.parse().ok()?;
            (if year >= 50 { 1900 + year } else { 2000 + year }, rest)
        }
        tag::GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let two = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let (date, time) = ((year, two(0)?, two(2)?), (two(4)?, two(6)?, two(8)?));
    // Before 1970 is as good as 1970 for what we do with it.
    Some(Timestamp::from_calendar(date, time).unwrap_or(Timestamp(0)))
}

/// The kind of key in a `SubjectPublicKeyInfo`.
fn key(info: &[u8]) -> Option<Key> {
    let mut fields = Reader::new(info);
    let mut algorithm = fields.enter(tag::SEQUENCE)?;
    let identifier = algorithm.expect(tag::OBJECT_IDENTIFIER)?.contents;
    let (_, key) = bits(fields.expect(tag::BIT_STRING)?)?;
    Some(match identifier {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01] => {
            let modulus = Reader::new(key)
                .enter(tag::SEQUENCE)?
                .expect(tag::INTEGER)?
                .contents;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            let modulus = modulus.get(zeros..)?;
            let unused = modulus.first()?.leading_zeros();
            Key::Rsa(u32::try_from(modulus.len()).ok()?.checked_mul(8)? - unused)
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a] => Key::RsaPss,
        [0x2b, 0x65, 0x70] => Key::Ed25519,
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01] => {
            match algorithm.optional(tag::OBJECT_IDENTIFIER)?.contents {
                [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Key::P256,
                [0x2b, 0x81, 0x04, 0x00, 0x22] => Key::P384,
                [0x2b, 0x81, 0x04, 0x00, 0x23] => Key::P521,
                _ => Key::Other,
            }
        }
        _ => Key::Other,
    })
}

/// id-at-commonName
const COMMON_NAME: &[u8] = &[0x55, 0x04, 3];
/// id-at-organizationName
pub(crate) const ORGANIZATION: &[u8] = &[0x55, 0x04, 10];
/// id-at-organizationalUnitName
const ORGANIZATIONAL_UNIT: &[u8] = &[0x55, 0x04, 11];

/// One line for a distinguished name: its common name, else organization, else unit.
pub(crate) fn display_name(name: &[u8]) -> String {
    [COMMON_NAME, ORGANIZATION, ORGANIZATIONAL_UNIT]
        .into_iter()
        .find_map(|kind| attribute(name, kind))
        .unwrap_or_else(|| "(no name)".to_string())
}

/// The last attribute of kind `kind` in a distinguished name (RFC 5280 section 4.1.2.4).
pub(crate) fn attribute(name: &[u8], kind: &[u8]) -> Option<String> {
    let mut sets = Reader::new(name);
    let mut found = None;
    while let Some(mut set) = sets.enter(tag::SET) {
        while let Some(mut pair) = set.enter(tag::SEQUENCE) {
            if pair.expect(tag::OBJECT_IDENTIFIER)?.contents == kind {
                found = Some(printable(pair.element()?.contents));
            }
        }
    }
    found
}

/// Text from a certificate as the console may show it: no control characters, not without end.
pub(crate) fn printable(bytes: &[u8]) -> String {
    const MAX: usize = 100;
    let text = String::from_utf8_lossy(bytes);
    let clean = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    let mut short: String = text.chars().take(MAX).map(clean).collect();
    if text.chars().nth(MAX).is_some() {
        short.push_str("...");
    }
    short
}

/// An object identifier in its dotted form (X.690 section 8.19).
pub(crate) fn dotted(identifier: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0_u64;
    for byte in identifier {
        arc = arc.saturating_mul(128) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let first = (arc / 40).min(2);
                arcs.push(first);
                arc -= first * 40;
            }
            arcs.push(core::mem::take(&mut arc));
        }
    }
    arcs.iter()
        .map(u64::to_string)
        .collect::<Vec<_>>()
        .join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_shown_dotted() {
        assert_eq!(
            dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b]),
            "1.2.840.113549.1.1.11"
        );
        assert_eq!(dotted(&[0x55, 0x1d, 0x11]), "2.5.29.17");
    }

    #[test]
    fn names_cannot_play_with_the_console() {
        assert_eq!(printable(b"a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(printable(&[b'x'; 200]).len(), 103);
    }

    #[test]
    fn addresses_and_masks_are_shown() {
        assert_eq!(Name::Ip(vec![192, 0, 2, 1]).to_string(), "192.0.2.1");
        assert_eq!(
            Name::Ip(vec![10, 0, 0, 0, 255, 0, 0, 0]).to_string(),
            "10.0.0.0/8"
        );
        let mut v6 = vec![0x20, 0x01, 0x0d, 0xb8];
        v6.resize(16, 0);
        assert_eq!(Name::Ip(v6).to_string(), "2001:db8::");
        assert_eq!(
            Name::Ip(vec![1, 2, 3]).to_string(),
            "a malformed IP address"
        );
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let read = |tag, contents: &'static [u8]| {
            time(Element {
                tag,
                contents,
                whole: contents,
            })
            .map(|time| time.to_string())
        };
        assert_eq!(
            read(tag::UTC_TIME, b"491231235959Z").unwrap(),
            "2049-12-31 23:59:59 UTC"
        );
        assert_eq!(
            read(tag::UTC_TIME, b"991231235959Z").unwrap(),
            "1999-12-31 23:59:59 UTC"
        );
        assert_eq!(
            read(tag::GENERALIZED_TIME, b"20500101000000Z").unwrap(),
            "2050-01-01 00:00:00 UTC"
        );
        assert_eq!(read(tag::UTC_TIME, b"4912312359Z"), None);
        assert_eq!(read(tag::UTC_TIME, b"491231235959+0100"), None);
        assert_eq!(read(tag::OCTET_STRING, b"491231235959Z"), None);
    }
}
