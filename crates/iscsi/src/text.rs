//! Text: `key=value` pairs, each ended by a zero byte (RFC 7143 section 6.1).
//!
//! A text may be spread over several PDUs with the C bit; the machines put it together again,
//! within [`LENGTH_MAX`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// The longest text taken, over all its PDUs.
pub const LENGTH_MAX: usize = 256 * 1024;

/// The longest key (RFC 7143 section 6.1).
const KEY_MAX: usize = 63;

/// The key-value pairs of a text, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// No pairs.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`TextError`] where it is not made of pairs.
    pub fn parse(text: &[u8]) -> Result<Self, TextError> {
        let mut pairs = Vec::new();
        // Some peers end the text with more than one zero byte, some with none.
        for line in text
            .split(|&byte| byte == 0)
            .filter(|line| !line.is_empty())
        {
            let line = core::str::from_utf8(line).map_err(|_| TextError::NotUtf8)?;
            let (key, value) = line.split_once('=').ok_or(TextError::NoValue)?;
            if !is_key(key) {
                return Err(TextError::BadKey);
            }
            pairs.push((key.to_string(), value.to_string()));
        }
        Ok(Self(pairs))
    }

    /// Appends a pair.
    pub fn push(&mut self, key: &str, value: impl Into<String>) {
        self.0.push((key.to_string(), value.into()));
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// A key that is there more than once, which negotiations forbid (RFC 7143 section 6.2).
    #[must_use]
    pub fn repeated(&self) -> Option<&str> {
        let mut keys: Vec<&str> = self.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(*a),
            _ => None,
        })
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for (key, value) in self.iter() {
            text.extend_from_slice(key.as_bytes());
            text.push(b'=');
            text.extend_from_slice(value.as_bytes());
            text.push(0);
        }
        text
    }
}

/// RFC 7143 section 6.1: starts with a letter, then letters, digits and a few signs.
fn is_key(key: &str) -> bool {
    key.len() <= KEY_MAX
        && key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'.' | b'-' | b'+' | b'@' | b'_' | b'/' | b'#')
        })
}

/// The text is not made of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// It is no UTF-8.
    NotUtf8,
    /// A line has no `=`.
    NoValue,
    /// A key is too long or has characters that keys do not have.
    BadKey,
    /// It is longer than [`LENGTH_MAX`].
    TooLong,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "a text is not UTF-8",
            Self::NoValue => "a key has no value",
            Self::BadKey => "a key is too long or has forbidden characters",
            Self::TooLong => "a text is too long",
        })
    }
}

impl core::error::Error for TextError {}

/// Puts a text together that comes in pieces (C bit, RFC 7143 section 6.2).
#[derive(Debug, Default)]
pub(crate) struct Collector(Vec<u8>);

impl Collector {
    /// Takes a piece; returns the pairs with the last one.
    pub(crate) fn add(&mut self, piece: &[u8], more: bool) -> Result<Option<Pairs>, TextError> {
        if self.0.len() + piece.len() > LENGTH_MAX {
            return Err(TextError::TooLong);
        }
        self.0.extend_from_slice(piece);
        if more {
            return Ok(None);
        }
        Pairs::parse(&core::mem::take(&mut self.0)).map(Some)
    }
}

/// Reads a numerical value: decimal, or hexadecimal with 0x (RFC 7143 section 6.1).
#[must_use]
pub fn number(value: &str) -> Option<u32> {
    let (digits, radix) = match value
        .strip_prefix("0x")
        .or_else(|| value.strip_prefix("0X"))
    {
        Some(digits) => (digits, 16),
        None => (value, 10),
    };
    let clean = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if clean {
        u32::from_str_radix(digits, radix).ok()
    } else {
        None
    }
}

/// Reads a boolean value.
#[must_use]
pub fn boolean(value: &str) -> Option<bool> {
    match value {
        "Yes" => Some(true),
        "No" => Some(false),
        _ => None,
    }
}

/// Writes a boolean value.
#[must_use]
pub const fn yes_no(value: bool) -> &'static str {
    if value { "Yes" } else { "No" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back() {
        let text = b"InitiatorName=iqn.a\0CHAP_N=a=b\0Empty=\0";
        let pairs = Pairs::parse(text).unwrap();
        assert_eq!(pairs.get("CHAP_N"), Some("a=b"));
        assert_eq!(pairs.get("Empty"), Some(""));
        assert_eq!(pairs.to_bytes(), text);
        assert_eq!(Pairs::parse(b"A=1\0\0\0B=2").unwrap().iter().count(), 2);
        assert!(Pairs::parse(b"").unwrap().is_empty());
    }

    #[test]
    fn other_text_is_refused() {
        for (text, error) in [
            (&b"novalue\0"[..], TextError::NoValue),
            (b"=x\0", TextError::BadKey),
            (b"a b=x\0", TextError::BadKey),
            (b"A=\xff\0", TextError::NotUtf8),
        ] {
            assert_eq!(Pairs::parse(text), Err(error));
        }
        let long = alloc::format!("{}=1", "k".repeat(64));
        assert_eq!(Pairs::parse(long.as_bytes()), Err(TextError::BadKey));
    }

    #[test]
    fn repeated_keys_are_found() {
        assert_eq!(
            Pairs::parse(b"A=1\0B=1\0A=2\0").unwrap().repeated(),
            Some("A")
        );
        assert_eq!(Pairs::parse(b"A=1\0AB=1\0").unwrap().repeated(), None);
    }

    #[test]
    fn pieces_are_put_together_anywhere() {
        let text = b"Key=value\0Other=x\0";
        for cut in 0..text.len() {
            let mut collector = Collector::default();
            assert_eq!(collector.add(&text[..cut], true), Ok(None));
            let pairs = collector.add(&text[cut..], false).unwrap().unwrap();
            assert_eq!(pairs.to_bytes(), text);
        }
        let mut collector = Collector::default();
        collector.add(&vec![b'a'; LENGTH_MAX], true).unwrap();
        assert_eq!(collector.add(b"a", false), Err(TextError::TooLong));
    }

    #[test]
    fn numbers_have_two_notations() {
        for (text, value) in [
            ("0", Some(0)),
            ("262144", Some(262_144)),
            ("0x40000", Some(262_144)),
            ("0X1f", Some(31)),
            ("", None),
            ("0x", None),
            ("+1", None),
            ("-1", None),
            ("1a", None),
            ("4294967296", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }
}
