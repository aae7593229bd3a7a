//! A set of options: codes with values of any length.

use super::{ParseError, code};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use litemap::LiteMap;

/// Options by code. Also holds the sub-options of options 43, 82 and 175.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(LiteMap<u8, Vec<u8>>);

impl Options {
    /// No options.
    #[must_use]
    pub const fn new() -> Self {
        Self(LiteMap::new())
    }

    /// The raw value of an option.
    #[must_use]
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    /// Whether the option is there, with or without a value.
    #[must_use]
    pub fn contains(&self, code: u8) -> bool {
        self.0.contains_key(&code)
    }

    /// Sets an option to raw bytes. The codes 0 (pad) and 255 (end) cannot carry a value and are
    /// not kept.
    pub fn set(&mut self, code: u8, value: impl Into<Vec<u8>>) {
        if code != code::PAD && code != code::END {
            self.0.insert(code, value.into());
        }
    }

    /// Takes an option out.
    pub fn remove(&mut self, code: u8) -> Option<Vec<u8>> {
        self.0.remove(&code)
    }

    /// All options by code, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(&code, value)| (code, value.as_slice()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Sets every option of `other` here; where both have one, `other` wins.
    pub fn extend(&mut self, other: &Self) {
        for (&code, value) in &other.0 {
            self.0.insert(code, value.clone());
        }
    }

    /// A value of exactly one byte.
    #[must_use]
    pub fn u8(&self, code: u8) -> Option<u8> {
        self.array(code).map(|[byte]| byte)
    }

    /// A value of exactly two bytes.
    #[must_use]
    pub fn u16(&self, code: u8) -> Option<u16> {
        self.array(code).map(u16::from_be_bytes)
    }

    /// A value of exactly four bytes.
    #[must_use]
    pub fn u32(&self, code: u8) -> Option<u32> {
        self.array(code).map(u32::from_be_bytes)
    }

    /// The first address of an option that holds one or more.
    #[must_use]
    pub fn ipv4(&self, code: u8) -> Option<Ipv4Addr> {
        self.ipv4_list(code).next()
    }

    /// All addresses of an option; bytes left over at the end are not an address.
    pub fn ipv4_list(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> {
        let value = self.get(code).unwrap_or_default();
        value.as_chunks::<4>().0.iter().copied().map(Ipv4Addr::from)
    }

    /// A text without the zero bytes that some servers append (RFC 2132 §2 asks to tolerate them).
    #[must_use]
    pub fn text(&self, code: u8) -> Option<&[u8]> {
        let value = self.get(code)?;
        let end = value
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        value.get(..end).filter(|text| !text.is_empty())
    }

    /// Sets one byte.
    pub fn set_u8(&mut self, code: u8, value: u8) {
        self.set(code, [value]);
    }

    /// Sets two bytes.
    pub fn set_u16(&mut self, code: u8, value: u16) {
        self.set(code, value.to_be_bytes());
    }

    /// Sets four bytes.
    pub fn set_u32(&mut self, code: u8, value: u32) {
        self.set(code, value.to_be_bytes());
    }

    /// Sets one address.
    pub fn set_ipv4(&mut self, code: u8, value: Ipv4Addr) {
        self.set(code, value.octets());
    }

    /// Sets a list of addresses.
    pub fn set_ipv4_list(&mut self, code: u8, list: &[Ipv4Addr]) {
        let octets: Vec<u8> = list.iter().flat_map(|address| address.octets()).collect();
        self.set(code, octets);
    }

    /// The sub-options of option 43 or 175, which may be padded and ended like the options of a
    /// message (RFC 2132 §8.4).
    ///
    /// # Errors
    /// [`ParseError::OptionTruncated`] names the sub-option that runs over the end. An option 43
    /// without sub-options inside is legal for other vendors: take the raw value then.
    pub fn encapsulated(&self, code: u8) -> Result<Self, ParseError> {
        let mut inner = Self::new();
        inner.parse_area(self.get(code).unwrap_or_default())?;
        Ok(inner)
    }

    /// Sets an option to a list of sub-options.
    pub fn set_encapsulated(&mut self, code: u8, inner: &Self) {
        let mut value = Vec::new();
        for (inner_code, inner_value) in &inner.0 {
            super::encode::append_option(&mut value, *inner_code, inner_value);
        }
        self.set(code, value);
    }

    /// A sub-option of option 82, where neither padding nor an end mark exists (RFC 3046 §2.0).
    #[must_use]
    pub fn relay_agent(&self, wanted: u8) -> Option<&[u8]> {
        let mut rest = self.get(code::RELAY_AGENT_INFORMATION)?;
        while let [sub_code, len, tail @ ..] = rest {
            let (value, next) = tail.split_at_checked(usize::from(*len))?;
            if *sub_code == wanted {
                return Some(value);
            }
            rest = next;
        }
        None
    }

    /// Adds the options of one field of a message. A code that comes again continues the value
    /// that is there (RFC 3396 §7).
    pub(super) fn parse_area(&mut self, area: &[u8]) -> Result<(), ParseError> {
        let mut rest = area;
        while let [code, tail @ ..] = rest {
            match *code {
                code::PAD => rest = tail,
                code::END => break,
                code => {
                    let (len, tail) = tail
                        .split_first()
                        .ok_or(ParseError::OptionTruncated(code))?;
                    let (value, next) = tail
                        .split_at_checked(usize::from(*len))
                        .ok_or(ParseError::OptionTruncated(code))?;
                    self.0.entry(code).or_default().extend_from_slice(value);
                    rest = next;
                }
            }
        }
        Ok(())
    }

    fn array<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.get(code)?.try_into().ok()
    }
}

impl FromIterator<(u8, Vec<u8>)> for Options {
    fn from_iter<I: IntoIterator<Item = (u8, Vec<u8>)>>(iter: I) -> Self {
        let mut options = Self::new();
        for (code, value) in iter {
            options.set(code, value);
        }
        options
    }
}
