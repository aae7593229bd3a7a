//! The packed configuration: what `bowline loader pack` adds to a finished `bowline.efi`.
//!
//! It is the content of a PE section named [`SECTION`]. All numbers are little-endian. The bytes:
//!
//! ```text
//! offset  size  field
//!      0     8  magic "BOWLINE" and a zero byte
//!      8     2  version, 1: a reader refuses any other
//!     10     2  reserved, 0
//!     12     4  length of all records that follow, in bytes
//!     16     -  records, one after the other without gaps
//! ```
//!
//! Bytes after the stated length are ignored, because a PE section is padded to the file alignment.
//! A section that is empty or all zeros packs nothing. Every record:
//!
//! ```text
//! offset  size  field
//!      0     2  kind; bit 15 set: a reader that does not know the kind skips the record,
//!               clear: it refuses the whole configuration
//!      2     2  reserved, 0
//!      4     4  length of the value, in bytes
//!      8     -  value
//! ```
//!
//! | kind | record | value |
//! |---|---|---|
//! | 1 | script, at most one | 2 bytes length of the name, the name, the text to the end |
//! | 2 | setting, in order | 2 bytes length of the name, the name, the text to the end |
//! | 16 | trusted certificate, any number | X.509 certificate in DER |
//! | 17 | client certificate, the own one first, then its issuers | X.509 certificate in DER |
//! | 18 | private key of the first client certificate, at most one | PKCS #8, SEC 1 or PKCS #1, in DER |
//! | 19 | time of packing, at most one | 8 bytes, seconds since 1970-01-01 00:00:00 UTC |
//! | 20 | the firmware's own authorities are trusted too | nothing |
//!
//! Names and texts are UTF-8. Kinds 16 to 31 are kept for what widens or narrows trust and are
//! always critical (bit 15 clear). A setting is applied before the script starts as `set NAME TEXT`
//! would be, so a name may carry a scope and a type (`user-class:hex`). The time of packing is what
//! the clock is at least: a machine without one judges certificates by it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

/// The name of the PE section that holds the packed configuration.
pub const SECTION: &str = ".bowline";

/// The longest packed configuration that is read, in bytes.
pub const LENGTH_MAX: usize = 16 * 1024 * 1024;

/// What was packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The script that runs at start-up.
    pub script: Option<PackedScript>,
    /// Settings, applied in order before the script starts.
    pub settings: Vec<PackedSetting>,
    /// Certificates whose word is taken, in DER.
    pub trust: Vec<Vec<u8>>,
    /// Whether the authorities that the firmware trusts are trusted too.
    pub trusts_firmware: bool,
    /// Who the loader says it is to servers that ask.
    pub identity: Option<PackedIdentity>,
    /// When this was packed: seconds since 1970-01-01 00:00:00 UTC.
    pub packed_at: Option<u64>,
}

/// A packed client certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedIdentity {
    /// Certificates in DER, the own one first.
    pub chain: Vec<Vec<u8>>,
    /// The private key in DER; wiped when it is dropped.
    pub key: Zeroizing<Vec<u8>>,
}

/// A packed script.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedScript {
    /// What messages call it: the name of the file it was packed from.
    pub name: String,
    /// The text, `#!ipxe` line included.
    pub text: String,
}

/// A packed setting.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedSetting {
    /// The name as `set` takes it: `[scope/]name[:type]`.
    pub name: String,
    /// The value as `set` takes it.
    pub value: String,
}

/// A script may hold secrets: only the name shows.
impl fmt::Debug for PackedScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedScript")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Values may be secrets: only the name shows.
impl fmt::Debug for PackedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedSetting")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The key does not show.
impl fmt::Debug for PackedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedIdentity")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

/// Why a packed configuration is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackedError {
    /// The first eight bytes are not the magic.
    Magic,
    /// A version this loader does not read.
    Version(u16),
    /// The stated length of the whole or of a record goes beyond what is there.
    Length {
        /// Offset of the length field.
        at: usize,
        /// What it states.
        stated: usize,
        /// What is left after it.
        left: usize,
    },
    /// Longer than [`LENGTH_MAX`], or a name longer than its length field can say.
    TooLong,
    /// A reserved field is not zero.
    Reserved {
        /// Offset of the field.
        at: usize,
    },
    /// A critical record of a kind this loader does not know.
    UnknownCritical {
        /// The kind.
        kind: u16,
        /// Offset of the record.
        at: usize,
    },
    /// A second script, key or time.
    Second {
        /// What there are two of.
        what: &'static str,
        /// Offset of the record.
        at: usize,
    },
    /// A client certificate without its key, or the reverse.
    HalfIdentity,
    /// A name or text is not UTF-8.
    Text {
        /// Offset of the record.
        at: usize,
    },
}

impl fmt::Display for PackedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it does not begin with the BOWLINE mark"),
            Self::Version(version) => write!(
                f,
                "it has format version {version}, this loader reads version {VERSION}: \
                 pack with the `bowline` of the same release"
            ),
            Self::Length { at, stated, left } => {
                write!(
                    f,
                    "the length at byte {at} says {stated}, but only {left} bytes are left"
                )
            }
            Self::TooLong => write!(
                f,
                "it is longer than {LENGTH_MAX} bytes or a name is too long"
            ),
            Self::Reserved { at } => write!(f, "the reserved field at byte {at} is not zero"),
            Self::UnknownCritical { kind, at } => write!(
                f,
                "the record at byte {at} is of kind {kind}, which this loader does not know \
                 and may not skip: pack with the `bowline` of the same release"
            ),
            Self::Second { what, at } => write!(f, "there is a second {what} at byte {at}"),
            Self::HalfIdentity => {
                f.write_str("a client certificate goes with its private key, and one is missing")
            }
            Self::Text { at } => write!(f, "the record at byte {at} holds text that is not UTF-8"),
        }
    }
}

impl core::error::Error for PackedError {}

impl Packed {
    /// Reads the content of the section.
    ///
    /// # Errors
    /// [`PackedError`] when any byte is not as the module says.
    pub fn parse(section: &[u8]) -> Result<Self, PackedError> {
        if section.iter().all(|&byte| byte == 0) {
            return Ok(Self::default());
        }
        let mut input = Cursor {
            bytes: section,
            at: 0,
        };
        if input.take(MAGIC.len()) != Some(&MAGIC[..]) {
            return Err(PackedError::Magic);
        }
        match input.u16()? {
            VERSION => {}
            version => return Err(PackedError::Version(version)),
        }
        input.reserved()?;
        let records = input.counted()?;
        if records.bytes.len() > LENGTH_MAX {
            return Err(PackedError::TooLong);
        }
        Self::parse_records(records)
    }

    fn parse_records(mut input: Cursor<'_>) -> Result<Self, PackedError> {
        let mut packed = Self::default();
        let (mut chain, mut key) = (Vec::new(), None);
        let second = |what, at| PackedError::Second { what, at };
        while !input.is_empty() {
            let at = input.at;
            let kind = input.u16()?;
            input.reserved()?;
            let mut value = input.counted()?;
            match kind {
                KIND_SCRIPT => {
                    let (name, text) = value.named_text(at)?;
                    if packed.script.replace(PackedScript { name, text }).is_some() {
                        return Err(second("script", at));
                    }
                }
                KIND_SETTING => {
                    let (name, value) = value.named_text(at)?;
                    packed.settings.push(PackedSetting { name, value });
                }
                KIND_TRUST => packed.trust.push(value.bytes.to_vec()),
                KIND_CERTIFICATE => chain.push(value.bytes.to_vec()),
                KIND_KEY => {
                    if key.replace(Zeroizing::new(value.bytes.to_vec())).is_some() {
                        return Err(second("private key", at));
                    }
                }
                KIND_TIME => {
                    let time = value.array().map(u64::from_le_bytes)?;
                    if packed.packed_at.replace(time).is_some() {
                        return Err(second("time of packing", at));
                    }
                }
                KIND_TRUST_FIRMWARE if value.is_empty() => packed.trusts_firmware = true,
                kind if kind & KIND_SKIPPABLE != 0 => {}
                kind => return Err(PackedError::UnknownCritical { kind, at }),
            }
        }
        packed.identity = match (chain.is_empty(), key) {
            (false, Some(key)) => Some(PackedIdentity { chain, key }),
            (true, None) => None,
            _ => return Err(PackedError::HalfIdentity),
        };
        Ok(packed)
    }

    /// Builds the content of the section.
    ///
    /// # Errors
    /// [`PackedError::TooLong`]
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackedError> {
        let mut records = Vec::new();
        if let Some(time) = self.packed_at {
            push_record(&mut records, KIND_TIME, &[&time.to_le_bytes()])?;
        }
        for certificate in &self.trust {
            push_record(&mut records, KIND_TRUST, &[certificate])?;
        }
        if self.trusts_firmware {
            push_record(&mut records, KIND_TRUST_FIRMWARE, &[])?;
        }
        if let Some(identity) = &self.identity {
            for certificate in &identity.chain {
                push_record(&mut records, KIND_CERTIFICATE, &[certificate])?;
            }
            push_record(&mut records, KIND_KEY, &[&identity.key])?;
        }
        for setting in &self.settings {
            push_named(&mut records, KIND_SETTING, &setting.name, &setting.value)?;
        }
        if let Some(script) = &self.script {
            push_named(&mut records, KIND_SCRIPT, &script.name, &script.text)?;
        }
        if records.len() > LENGTH_MAX {
            return Err(PackedError::TooLong);
        }
        let length = u32::try_from(records.len()).map_err(|_| PackedError::TooLong)?;
        let mut bytes = Vec::with_capacity(HEADER_LENGTH + records.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&records);
        Ok(bytes)
    }
}

fn push_record(out: &mut Vec<u8>, kind: u16, parts: &[&[u8]]) -> Result<(), PackedError> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).map_err(|_| PackedError::TooLong)?;
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&length.to_le_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}

fn push_named(out: &mut Vec<u8>, kind: u16, name: &str, text: &str) -> Result<(), PackedError> {
    let length = u16::try_from(name.len()).map_err(|_| PackedError::TooLong)?;
    let length = length.to_le_bytes();
    push_record(out, kind, &[&length, name.as_bytes(), text.as_bytes()])
}

/// Reads forward and remembers where it is in the whole section.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        self.at += count;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PackedError> {
        let short = PackedError::Length {
            at: self.at,
            stated: N,
            left: self.bytes.len(),
        };
        self.take(N)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(short)
    }

    fn u16(&mut self) -> Result<u16, PackedError> {
        self.array().map(u16::from_le_bytes)
    }

    fn reserved(&mut self) -> Result<(), PackedError> {
        let at = self.at;
        if self.u16()? == 0 {
            Ok(())
        } else {
            Err(PackedError::Reserved { at })
        }
    }

    /// A four byte length and that many bytes.
    fn counted(&mut self) -> Result<Self, PackedError> {
        let at = self.at;
        let stated = self.array().map(u32::from_le_bytes)?;
        let stated = usize::try_from(stated).map_err(|_| PackedError::TooLong)?;
        let start = self.at;
        let left = self.bytes.len();
        let bytes = self
            .take(stated)
            .ok_or(PackedError::Length { at, stated, left })?;
        Ok(Self { bytes, at: start })
    }

    /// A two byte length, a name of that length, and a text to the end.
    fn named_text(&mut self, record: usize) -> Result<(String, String), PackedError> {
        let at = self.at;
        let stated = usize::from(self.u16()?);
        let left = self.bytes.len();
        let name = self
            .take(stated)
            .ok_or(PackedError::Length { at, stated, left })?;
        let text = |bytes: &[u8]| {
            core::str::from_utf8(bytes)
                .map(String::from)
                .map_err(|_| PackedError::Text { at: record })
        };
        Ok((text(name)?, text(self.bytes)?))
    }
}

const MAGIC: &[u8; 8] = b"BOWLINE\0";
const VERSION: u16 = 1;
const HEADER_LENGTH: usize = 16;
const KIND_SCRIPT: u16 = 1;
const KIND_SETTING: u16 = 2;
const KIND_TRUST: u16 = 16;
const KIND_CERTIFICATE: u16 = 17;
const KIND_KEY: u16 = 18;
const KIND_TIME: u16 = 19;
const KIND_TRUST_FIRMWARE: u16 = 20;
const KIND_SKIPPABLE: u16 = 0x8000;

#[cfg(test)]
mod tests;
