//! Setting types: how the bytes of a value are written as text and read back.
//!
//! Integers are big-endian, as DHCP options carry them. Signed types print in decimal and
//! unsigned ones in hexadecimal, as in iPXE.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr};

use super::names_list;
use crate::number::parse_integer;
use crate::uri::percent;

/// The type of a setting, as written after the colon in `${name:type}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingType {
    /// Text as it is.
    String,
    /// Text, percent-coded when shown so that it can stand in a URI (RFC 3986 section 2.1).
    UriString,
    /// An IPv4 address; of a list of them, the first.
    Ipv4,
    /// An IPv6 address; of a list of them, the first.
    Ipv6,
    /// Signed 8-bit integer.
    Int8,
    /// Signed 16-bit integer.
    Int16,
    /// Signed 32-bit integer.
    Int32,
    /// Unsigned 8-bit integer.
    Uint8,
    /// Unsigned 16-bit integer.
    Uint16,
    /// Unsigned 32-bit integer.
    Uint32,
    /// Hexadecimal bytes with colons: `04:69`.
    Hex,
    /// Hexadecimal bytes with hyphens: `04-69`.
    HexHyp,
    /// Hexadecimal bytes without anything between: `0469`.
    HexRaw,
    /// Base 64 (RFC 4648 section 4).
    Base64,
    /// A UUID in wire order (RFC 9562).
    Uuid,
    /// A UUID in the mixed byte order of UEFI and SMBIOS (UEFI 2.10 appendix A).
    Guid,
    /// A PCI segment, bus, device and function: `0000:00:1f.3`. Cannot be written as text.
    BusDevFn,
    /// A domain search list (RFC 3397), names separated by spaces.
    Dnssl,
}

impl SettingType {
    /// All types, in the order of the reference.
    pub const ALL: [Self; 18] = [
        Self::String,
        Self::UriString,
        Self::Ipv4,
        Self::Ipv6,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Hex,
        Self::HexHyp,
        Self::HexRaw,
        Self::Base64,
        Self::Uuid,
        Self::Guid,
        Self::BusDevFn,
        Self::Dnssl,
    ];

    /// The name scripts use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::UriString => "uristring",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Uint8 => "uint8",
            Self::Uint16 => "uint16",
            Self::Uint32 => "uint32",
            Self::Hex => "hex",
            Self::HexHyp => "hexhyp",
            Self::HexRaw => "hexraw",
            Self::Base64 => "base64",
            Self::Uuid => "uuid",
            Self::Guid => "guid",
            Self::BusDevFn => "busdevfn",
            Self::Dnssl => "dnssl",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Writes the bytes of a value as text.
    ///
    /// # Errors
    /// [`ValueError`] when the bytes are no value of this type.
    pub fn format(self, value: &[u8]) -> Result<String, ValueError> {
        match self {
            Self::String => {
                // Some DHCP servers end strings with a NUL (RFC 2132 section 2 allows for it).
                let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            Self::UriString => Ok(percent::encode(value)),
            Self::Ipv4 => Ok(Ipv4Addr::from(self.leading(value)?).to_string()),
            Self::Ipv6 => Ok(Ipv6Addr::from(self.leading(value)?).to_string()),
            Self::Int8 | Self::Int16 | Self::Int32 => Ok(self.number(value)?.to_string()),
            Self::Uint8 | Self::Uint16 | Self::Uint32 => Ok(format!("{:#x}", self.number(value)?)),
            Self::Hex => Ok(format_hex(value, ":")),
            Self::HexHyp => Ok(format_hex(value, "-")),
            Self::HexRaw => Ok(format_hex(value, "")),
            Self::Base64 => Ok(format_base64(value)),
            Self::Uuid => Ok(format_uuid(self.exactly(value)?)),
            Self::Guid => Ok(format_uuid(swap_guid(self.exactly(value)?))),
            Self::BusDevFn => Ok(format_bus_device_function(self.number(value)?)),
            Self::Dnssl => names_list::format(value).ok_or(ValueError::Names),
        }
    }

    /// Reads the bytes of a value from text.
    ///
    /// # Errors
    /// [`ValueError`] when the text is no value of this type.
    pub fn parse(self, text: &str) -> Result<Vec<u8>, ValueError> {
        match self {
            Self::String => Ok(text.as_bytes().to_owned()),
            Self::UriString => Ok(percent::decode(text)),
            Self::Ipv4 => text
                .parse::<Ipv4Addr>()
                .map(|address| address.octets().to_vec())
                .map_err(|_| ValueError::Ipv4),
            Self::Ipv6 => text
                .parse::<Ipv6Addr>()
                .map(|address| address.octets().to_vec())
                .map_err(|_| ValueError::Ipv6),
            Self::Int8 | Self::Int16 | Self::Int32 | Self::Uint8 | Self::Uint16 | Self::Uint32 => {
                self.encode(parse_integer(text).ok_or(ValueError::Number)?)
            }
            Self::Hex => parse_hex(text, Some(':')).ok_or(ValueError::Hex(self)),
            Self::HexHyp => parse_hex(text, Some('-')).ok_or(ValueError::Hex(self)),
            Self::HexRaw => parse_hex(text, None).ok_or(ValueError::Hex(self)),
            Self::Base64 => parse_base64(text).ok_or(ValueError::Base64),
            Self::Uuid => parse_uuid(text)
                .map(|uuid| uuid.to_vec())
                .ok_or(ValueError::Uuid),
            Self::Guid => parse_uuid(text)
                .map(|uuid| swap_guid(uuid).to_vec())
                .ok_or(ValueError::Uuid),
            Self::BusDevFn => Err(ValueError::ReadOnlyType),
            Self::Dnssl => names_list::parse(text).ok_or(ValueError::Names),
        }
    }

    /// Whether values of this type are numbers, big-endian ones.
    #[must_use]
    pub fn is_number(self) -> bool {
        self.integer_bytes().is_some()
    }

    /// The number that big-endian `value` stands for, of whatever length it came in.
    pub(super) fn number(self, value: &[u8]) -> Result<i64, ValueError> {
        let signed = matches!(self, Self::Int8 | Self::Int16 | Self::Int32);
        let first = value.first().copied().unwrap_or(0);
        let filling: i64 = if signed && first & 0x80 != 0 { -1 } else { 0 };
        value.iter().try_fold(filling, |number, byte| {
            let next = number
                .checked_mul(256)
                .ok_or(ValueError::Length(self, value.len()))?;
            Ok(next | i64::from(*byte))
        })
    }

    /// The big-endian bytes of `number` in this type's width.
    pub(super) fn encode(self, number: i64) -> Result<Vec<u8>, ValueError> {
        let bytes = self.integer_bytes().ok_or(ValueError::Number)?;
        let bits = bytes * 8;
        // Either reading of the same bits may be written: 255 and -1 are the same int8.
        let (least, most) = (-(1i64 << (bits - 1)), (1i64 << bits) - 1);
        if !(least..=most).contains(&number) {
            return Err(ValueError::Range { least, most });
        }
        Ok(number
            .to_be_bytes()
            .get(8 - bytes..)
            .unwrap_or_default()
            .to_vec())
    }

    fn integer_bytes(self) -> Option<usize> {
        match self {
            Self::Int8 | Self::Uint8 => Some(1),
            Self::Int16 | Self::Uint16 => Some(2),
            Self::Int32 | Self::Uint32 => Some(4),
            _ => None,
        }
    }

    fn leading<const N: usize>(self, value: &[u8]) -> Result<[u8; N], ValueError> {
        value
            .first_chunk()
            .copied()
            .ok_or(ValueError::Length(self, value.len()))
    }

    fn exactly<const N: usize>(self, value: &[u8]) -> Result<[u8; N], ValueError> {
        value
            .try_into()
            .map_err(|_| ValueError::Length(self, value.len()))
    }
}

/// A text or bytes that are no value of the setting's type.
///
/// Says nothing of the text itself, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueError {
    /// Not base 64.
    Base64,
    /// Not hexadecimal in this type's spelling.
    Hex(SettingType),
    /// Not an IPv4 address.
    Ipv4,
    /// Not an IPv6 address.
    Ipv6,
    /// So many bytes do not make a value of this type.
    Length(SettingType, usize),
    /// Not a list of domain names.
    Names,
    /// Not an integer.
    Number,
    /// An integer outside the type's range.
    Range {
        /// Smallest number.
        least: i64,
        /// Largest number.
        most: i64,
    },
    /// Values of this type can be shown, not written.
    ReadOnlyType,
    /// Not a UUID.
    Uuid,
}

impl fmt::Display for ValueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base64 => out.write_str("not base 64"),
            Self::Hex(kind) => {
                let example = format_hex(&[0x52, 0x54, 0x0a], kind.delimiter());
                write!(
                    out,
                    "not hexadecimal bytes of two digits each, like {example}"
                )
            }
            Self::Ipv4 => out.write_str("not an IPv4 address like 192.168.1.1"),
            Self::Ipv6 => out.write_str("not an IPv6 address like fd00::1"),
            Self::Length(kind, length) => {
                write!(
                    out,
                    "its {length} bytes are not of the type {}",
                    kind.name()
                )
            }
            Self::Names => out.write_str("not a list of domain names"),
            Self::Number => out.write_str("not a number like 10, 0x0a or 012 (octal)"),
            Self::Range { least, most } => write!(out, "not between {least} and {most}"),
            Self::ReadOnlyType => out.write_str("values of this type can be shown, but not set"),
            Self::Uuid => out.write_str("not a UUID like 01234567-89ab-cdef-0123-456789abcdef"),
        }
    }
}

impl core::error::Error for ValueError {}

impl SettingType {
    fn delimiter(self) -> &'static str {
        match self {
            Self::Hex => ":",
            Self::HexHyp => "-",
            _ => "",
        }
    }
}

fn format_hex(value: &[u8], delimiter: &str) -> String {
    let mut text = String::with_capacity(value.len() * (2 + delimiter.len()));
    for byte in value {
        if !text.is_empty() {
            text.push_str(delimiter);
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse_hex(text: &str, delimiter: Option<char>) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(text.len() / 2);
    let mut digits = text.chars().peekable();
    while digits.peek().is_some() {
        if !value.is_empty()
            && let Some(delimiter) = delimiter
            && digits.next()? != delimiter
        {
            return None;
        }
        let high = digits.next()?.to_digit(16)?;
        let low = digits.next()?.to_digit(16)?;
        value.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(value)
}

fn format_uuid(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (position, byte) in uuid.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<&str> = text.split('-').collect();
    if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
        return None;
    }
    parse_hex(&groups.concat(), None)?.try_into().ok()
}

/// Swaps the three leading fields between big-endian and little-endian.
fn swap_guid(uuid: [u8; 16]) -> [u8; 16] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    let [i, j, k, l, m, n, o, p] = rest;
    [d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]
}

fn format_bus_device_function(number: i64) -> String {
    format!(
        "{:04x}:{:02x}:{:02x}.{:x}",
        (number >> 16) & 0xffff,
        (number >> 8) & 0xff,
        (number >> 3) & 0x1f,
        number & 0x07
    )
}

fn format_base64(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len().div_ceil(3) * 4);
    for chunk in value.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4usize {
            if place > chunk.len() {
                text.push('=');
                continue;
            }
            let digit = (bits >> (18 - 6 * place)) & 0x3f;
            let digit = usize::try_from(digit).unwrap_or(0);
            text.push(BASE64_DIGITS.get(digit).copied().map_or('=', char::from));
        }
    }
    text
}

/// The bytes that a text in base 64 stands for (RFC 4648 section 4).
pub(crate) fn parse_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    // RFC 4648 section 4: padding fills the last group of four, and a lone digit holds no byte.
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut value = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0u32);
    for digit in digits.bytes() {
        let digit = BASE64_DIGITS.iter().position(|known| *known == digit)?;
        bits = (bits << 6 | u32::try_from(digit).ok()?) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            value.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(value)
}

const BASE64_DIGITS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
