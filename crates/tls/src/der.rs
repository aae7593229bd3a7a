//! A reader for DER (ITU-T X.690), as much of it as certificates need.

/// Tags, as they stand in the first byte.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// `[n]`, primitive.
    pub(crate) const fn context(n: u8) -> u8 {
        0x80 | n
    }

    /// `[n]`, constructed.
    pub(crate) const fn context_constructed(n: u8) -> u8 {
        0xa0 | n
    }
}

/// A cursor over DER elements. Every method returns `None` at anything that is not as expected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element: its tag, its contents, and all of its bytes.
    pub(crate) fn element(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.rest.split_first()?;
        // Tag numbers above 30 take more bytes; certificates have none.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, mut contents) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 3 {
                return None;
            }
            let (bytes, rest) = contents.split_at_checked(count)?;
            contents = rest;
            let length = bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            // X.690 section 10.1: the shortest form.
            if length < 0x80 || bytes.first() == Some(&0) {
                return None;
            }
            length
        };
        let (contents, rest) = contents.split_at_checked(length)?;
        let whole = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        Some(Element {
            tag,
            contents,
            whole,
        })
    }

    /// The next element, if it has tag `tag`.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.element().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }

    /// A reader for what is inside the next element, if that has tag `tag`.
    pub(crate) fn enter(&mut self, tag: u8) -> Option<Self> {
        Some(Self::new(self.expect(tag)?.contents))
    }

    /// An optional element: what is there if the next has tag `tag`.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        self.expect(tag)
    }
}

/// One element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    pub(crate) whole: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_one_by_one() {
        let bytes = [0x02, 0x01, 0x05, 0x30, 0x03, 0x01, 0x01, 0xff];
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.expect(tag::SEQUENCE).map(|e| e.whole), None);
        assert_eq!(reader.expect(tag::INTEGER).unwrap().contents, [5]);
        let mut inside = reader.enter(tag::SEQUENCE).unwrap();
        assert_eq!(
            inside.expect(tag::BOOLEAN).unwrap().whole,
            [0x01, 0x01, 0xff]
        );
        assert!(inside.is_empty() && reader.is_empty());
    }

    #[test]
    fn lengths_of_two_bytes_and_more() {
        let mut bytes = vec![0x04, 0x82, 0x01, 0x00];
        bytes.extend([7; 256]);
        assert_eq!(Reader::new(&bytes).element().unwrap().contents.len(), 256);
    }

    #[test]
    fn what_is_not_der_is_refused() {
        for bytes in [
            &[0x30][..],                                 // no length
            &[0x30, 0x02, 0x00],                         // shorter than it says
            &[0x30, 0x80, 0x00, 0x00],                   // indefinite length
            &[0x30, 0x81, 0x01, 0x00],                   // long form where short would do
            &[0x30, 0x82, 0x00, 0x80],                   // leading zero
            &[0x30, 0x84, 0x00, 0x00, 0x00, 0x01, 0x00], // absurd
            &[0x1f, 0x81, 0x01, 0x00],                   // high tag number
        ] {
            assert!(Reader::new(bytes).element().is_none(), "{bytes:02x?}");
        }
    }
}
