//! Options inside a DHCP option: code, length, data (RFC 2132 section 8.4), as in 43 and 175.

use alloc::vec::Vec;

/// The value at `tag` inside `options`, parts of the same code put together (RFC 3396).
pub(super) fn find(options: &[u8], tag: &[u8]) -> Option<Vec<u8>> {
    let (&code, deeper) = tag.split_first()?;
    let mut found: Option<Vec<u8>> = None;
    for option in Options(options) {
        if option.code == code {
            found.get_or_insert_default().extend_from_slice(option.data);
        }
    }
    let found = found?;
    if deeper.is_empty() {
        Some(found)
    } else {
        find(&found, deeper)
    }
}

/// `options` without the one at `tag`; `None` if it is not there.
pub(super) fn without(options: &[u8], tag: &[u8]) -> Option<Vec<u8>> {
    let (&code, deeper) = tag.split_first()?;
    let inner = find(options, &[code])?;
    let replacement = if deeper.is_empty() {
        Vec::new()
    } else {
        without(&inner, deeper)?
    };
    let mut rest = Vec::with_capacity(options.len());
    for option in Options(options).filter(|option| option.code != code) {
        push(&mut rest, option.code, option.data);
    }
    for part in replacement.chunks(usize::from(u8::MAX)) {
        push(&mut rest, code, part);
    }
    Some(rest)
}

fn push(options: &mut Vec<u8>, code: u8, data: &[u8]) {
    // Data comes out of an option or in chunks of 255, so it fits.
    if let Ok(length) = u8::try_from(data.len()) {
        options.extend_from_slice(&[code, length]);
        options.extend_from_slice(data);
    }
}

/// Walks over options; ends at the end option, the end of the bytes, or a cut-off option.
struct Options<'a>(&'a [u8]);

struct SubOption<'a> {
    code: u8,
    data: &'a [u8],
}

impl<'a> Iterator for Options<'a> {
    type Item = SubOption<'a>;

    fn next(&mut self) -> Option<SubOption<'a>> {
        loop {
            let (&code, rest) = self.0.split_first()?;
            match code {
                PAD => self.0 = rest,
                END => return None,
                code => {
                    let (&length, rest) = rest.split_first()?;
                    let (data, rest) = rest.split_at_checked(usize::from(length))?;
                    self.0 = rest;
                    return Some(SubOption { code, data });
                }
            }
        }
    }
}

const PAD: u8 = 0;
const END: u8 = 255;

#[cfg(test)]
mod tests {
    use super::{find, without};

    const OPTIONS: &[u8] = &[
        0, 8, 1, 1, 190, 2, b'm', b'e', 43, 4, 6, 2, 7, 7, 190, 1, b'!', 255, 9, 1, 1,
    ];

    #[test]
    fn finds_in_depth() {
        for (tag, expected) in [
            (&[8][..], Some(&b"\x01"[..])),
            (&[190], Some(b"me!")),
            (&[43, 6], Some(b"\x07\x07")),
            (&[43, 7], None),
            (&[9], None),
            (&[], None),
        ] {
            assert_eq!(find(OPTIONS, tag).as_deref(), expected, "{tag:?}");
        }
        assert_eq!(find(&[8, 2, 1], &[8]), None, "cut off");
        assert_eq!(find(&[8], &[8]), None, "cut off");
    }

    #[test]
    fn removes_in_depth() {
        let rest = without(OPTIONS, &[190]).unwrap();
        assert_eq!(rest, [8, 1, 1, 43, 4, 6, 2, 7, 7]);
        assert_eq!(without(&rest, &[43, 6]).unwrap(), [8, 1, 1]);
        assert_eq!(without(&rest, &[43, 7]), None);
    }
}
