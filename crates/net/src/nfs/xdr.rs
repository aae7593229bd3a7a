//! Data on the wire (XDR, RFC 4506): numbers of four bytes, most significant first, and everything
//! padded to a multiple of four.

use alloc::vec::Vec;

/// Puts arguments together.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// RFC 4506 section 4.2.
    pub(super) fn number(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Section 4.5.
    pub(super) fn hyper(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Bytes of any number, and strings (sections 4.10 and 4.11).
    pub(super) fn opaque(mut self, bytes: &[u8]) -> Self {
        self = self.number(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// Takes results apart; `None` where they end too early or break a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    pub(super) fn hyper(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    /// Section 4.4.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Bytes of a known number, with their padding (section 4.9).
    pub(super) fn fixed(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.0.get(..count)?;
        self.0 = self.0.get(count.checked_next_multiple_of(4)?..)?;
        Some(bytes)
    }

    /// Bytes of any number up to `most`, and strings.
    pub(super) fn opaque(&mut self, most: usize) -> Option<&'a [u8]> {
        let count = usize::try_from(self.number()?).ok()?;
        if count > most {
            return None;
        }
        self.fixed(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let writer = Writer::default();
        let Writer(bytes) = writer.number(7).hyper(1 << 40).opaque(b"abcde").opaque(b"");
        assert_eq!(bytes.len(), 4 + 8 + 4 + 8 + 4);
        let mut reader = Reader(&bytes);
        assert_eq!(reader.number(), Some(7));
        assert_eq!(reader.hyper(), Some(1 << 40));
        assert_eq!(reader.opaque(5), Some(&b"abcde"[..]));
        assert_eq!(reader.opaque(0), Some(&b""[..]));
        assert_eq!(reader.number(), None);
    }

    #[test]
    fn limits_and_ends_hold() {
        let Writer(bytes) = Writer::default().opaque(b"abcde");
        assert_eq!(Reader(&bytes).opaque(4), None, "longer than it may be");
        for length in 0..bytes.len() {
            assert_eq!(Reader(&bytes[..length]).opaque(5), None, "{length}");
        }
        assert_eq!(Reader(&[0xff; 8]).opaque(usize::MAX), None);
        assert_eq!(Reader(&[0xff; 8]).fixed(usize::MAX), None);
        assert_eq!(Reader(&[0, 0, 0, 2]).boolean(), None);
    }
}
