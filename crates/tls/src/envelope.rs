//! Files that only we can read: CMS AuthEnvelopedData whose content is elsewhere (RFC 5083), with
//! AES-GCM (RFC 5084) under a key that RSA carries to us (RFC 5652 section 6.2.1).
//!
//! `openssl cms -encrypt -aes-256-gcm -outform DER` makes such messages, with the content inside;
//! iPXE's `cmsdetach` takes the two apart. Ciphers that do not notice changes are not taken.

use crate::certificate::Certificate;
use crate::cms::names;
use crate::der::{Reader, tag};
use crate::identity::Identity;
use alloc::vec::Vec;
use core::fmt;
use zeroize::Zeroizing;

/// The longest envelope that is read, in bytes.
pub const LENGTH_MAX: usize = 64 * 1024;

/// Why an envelope does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is no envelope of this kind.
    Malformed,
    /// It is longer than [`LENGTH_MAX`].
    TooLong,
    /// It has the content inside.
    WithContent,
    /// The content is encrypted by a cipher that would not notice changes, or an unknown one.
    Cipher,
    /// It is for others.
    NotForUs,
    /// Our key, or the way in which the content's key is encrypted for it, is not RSA (PKCS #1 v1.5).
    KeyTransport,
    /// The content's key is not what our key opens, or the content was changed.
    Forged,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str(
                "it is no CMS AuthEnvelopedData in DER (openssl cms -encrypt -binary -aes-256-gcm \
                 -outform DER, and then iPXE's cmsdetach)",
            ),
            Self::TooLong => write!(f, "it is longer than {LENGTH_MAX} bytes"),
            Self::WithContent => {
                f.write_str("it holds the encrypted file itself: iPXE's cmsdetach takes the two apart")
            }
            Self::Cipher => f.write_str(
                "the file is not encrypted with AES-128-GCM or AES-256-GCM: other ciphers would not \
                 show that it was changed",
            ),
            Self::NotForUs => {
                f.write_str("it is not for the client certificate that was packed into the loader")
            }
            Self::KeyTransport => f.write_str(
                "its key is not encrypted by RSA (PKCS #1 v1.5), or the packed private key is not RSA",
            ),
            Self::Forged => f.write_str("the file does not belong to it, or was changed"),
        }
    }
}

impl core::error::Error for Fault {}

/// Decrypts `content` in place. It must not be used after an error.
pub fn open(envelope: &[u8], content: &mut [u8], identity: &Identity) -> Result<(), Fault> {
    if envelope.len() > LENGTH_MAX {
        return Err(Fault::TooLong);
    }
    let envelope = Envelope::parse(envelope).ok_or(Fault::Malformed)?;
    if envelope.has_content {
        return Err(Fault::WithContent);
    }
    let cipher = envelope.cipher.ok_or(Fault::Cipher)?;
    let own = identity.chain().first();
    let own = own.and_then(|der| Certificate::parse(der));
    let own = own.ok_or(Fault::NotForUs)?;
    let mut recipients = envelope.recipients.iter();
    let recipient = recipients.find(|it| names(&it.identifier, &own));
    let recipient = recipient.ok_or(Fault::NotForUs)?;
    if !recipient.is_rsa {
        return Err(Fault::KeyTransport);
    }
    let key = identity.decrypt(recipient.key).ok_or(Fault::KeyTransport)?;
    let key: Zeroizing<Vec<u8>> = key
        .filter(|key| key.len() == cipher.key)
        .ok_or(Fault::Forged)?;
    let aad = &envelope.attributes;
    bowline_cipher::aes_gcm_open(&key, cipher.nonce, aad, content, envelope.mac)
        .ok_or(Fault::Forged)
}

/// RFC 5083 section 2.1.
struct Envelope<'a> {
    recipients: Vec<Recipient<'a>>,
    /// None where it is another.
    cipher: Option<Cipher<'a>>,
    has_content: bool,
    /// The authenticated attributes as a set; nothing where there are none.
    attributes: Vec<u8>,
    mac: &'a [u8; bowline_cipher::TAG],
}

/// RFC 5652 section 6.2.1.
struct Recipient<'a> {
    identifier: crate::der::Element<'a>,
    is_rsa: bool,
    key: &'a [u8],
}

/// RFC 5084 section 3.2.
#[derive(Clone, Copy)]
struct Cipher<'a> {
    /// Bytes of its key.
    key: usize,
    nonce: &'a [u8; bowline_cipher::NONCE],
}

impl<'a> Envelope<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let mut outside = Reader::new(der);
        let mut info = outside.enter(tag::SEQUENCE)?;
        let kind = info.expect(tag::OBJECT_IDENTIFIER)?.contents;
        if kind != AUTH_ENVELOPED_DATA || !outside.is_empty() {
            return None;
        }
        let mut fields = info
            .enter(tag::context_constructed(0))?
            .enter(tag::SEQUENCE)?;
        fields.expect(tag::INTEGER)?; // version
        fields.optional(tag::context_constructed(0)); // originatorInfo
        let mut list = fields.enter(tag::SET)?;
        let mut recipients = Vec::new();
        while !list.is_empty() {
            // Others than KeyTransRecipientInfo have tags of their own.
            let recipient = list.element()?;
            if recipient.tag == tag::SEQUENCE {
                recipients.push(Recipient::parse(Reader::new(recipient.contents))?);
            }
        }
        let mut content = fields.enter(tag::SEQUENCE)?;
        content.expect(tag::OBJECT_IDENTIFIER)?; // contentType
        let cipher = Cipher::parse(content.enter(tag::SEQUENCE)?);
        let has_content = !content.is_empty();
        // RFC 5083 section 2.2: the attributes are authenticated as a set.
        let attributes = fields.optional(tag::context_constructed(1));
        let mut attributes = attributes.map_or_else(Vec::new, |it| it.whole.to_vec());
        if let Some(first) = attributes.first_mut() {
            *first = tag::SET;
        }
        let mac = fields.expect(tag::OCTET_STRING)?.contents.try_into().ok()?;
        Some(Self {
            recipients,
            cipher,
            has_content,
            attributes,
            mac,
        })
    }
}

impl<'a> Recipient<'a> {
    fn parse(mut fields: Reader<'a>) -> Option<Self> {
        fields.expect(tag::INTEGER)?; // version
        let identifier = fields.element()?;
        let mut algorithm = fields.enter(tag::SEQUENCE)?;
        let is_rsa = algorithm.expect(tag::OBJECT_IDENTIFIER)?.contents == RSA_ENCRYPTION;
        let key = fields.expect(tag::OCTET_STRING)?.contents;
        Some(Self {
            identifier,
            is_rsa,
            key,
        })
    }
}

impl<'a> Cipher<'a> {
    fn parse(mut algorithm: Reader<'a>) -> Option<Self> {
        let key = match algorithm.expect(tag::OBJECT_IDENTIFIER)?.contents {
            AES_128_GCM => 16,
            AES_256_GCM => 32,
            _ => return None,
        };
        let nonce = algorithm.enter(tag::SEQUENCE)?.expect(tag::OCTET_STRING)?;
        let nonce = nonce.contents.try_into().ok()?;
        Some(Self { key, nonce })
    }
}

/// 1.2.840.113549.1.9.16.1.23 (RFC 5083 section 2.1).
const AUTH_ENVELOPED_DATA: &[u8] = &[
    0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17,
];
/// 1.2.840.113549.1.1.1 (RFC 3370 section 4.2.1).
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 2.16.840.1.101.3.4.1.6 and 46 (RFC 5084 section 3.2).
const AES_128_GCM: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x06];
const AES_256_GCM: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e];
