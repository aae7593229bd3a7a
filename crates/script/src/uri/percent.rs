//! Percent coding (RFC 3986 section 2.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Codes everything but unreserved characters (RFC 3986 section 2.3).
pub(crate) fn encode(bytes: &[u8]) -> String {
    encode_except(bytes, "")
}

/// Codes everything but unreserved characters and those of `keep`.
pub(super) fn encode_except(bytes: &[u8], keep: &str) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes.iter().copied() {
        push(&mut text, byte, keep);
    }
    text
}

/// Codes what may not stand as it is, and leaves `%xx` alone: a `%` without two digits is coded.
pub(super) fn repair(component: &str, keep: &str) -> String {
    let mut text = String::with_capacity(component.len());
    let mut rest = component.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' && coded(after).is_some() {
            text.push('%');
        } else {
            push(&mut text, byte, keep);
        }
        rest = after;
    }
    text
}

/// Takes `%xx` for the byte it stands for; any other `%` stays.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        match coded(after).filter(|_| byte == b'%') {
            Some(decoded) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes
}

fn push(text: &mut String, byte: u8, keep: &str) {
    let character = char::from(byte);
    if character.is_ascii_alphanumeric()
        || "-._~".contains(character)
        || (byte.is_ascii() && keep.contains(character))
    {
        text.push(character);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(text, "%{byte:02X}");
    }
}

/// The byte whose two hexadecimal digits come first.
fn coded(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, repair};

    #[test]
    fn codes_and_decodes() {
        assert_eq!(encode(b"a b/\xff~"), "a%20b%2F%FF~");
        for (text, expected) in [
            ("a%20b", &b"a b"[..]),
            ("%2f%2F", b"//"),
            ("100%", b"100%"),
            ("%4", b"%4"),
            ("%zz%", b"%zz%"),
            ("%+1", b"%+1"),
        ] {
            assert_eq!(decode(text), expected, "{text:?}");
        }
    }

    #[test]
    fn repairs_once() {
        for (text, expected) in [
            ("a b", "a%20b"),
            ("a%20b", "a%20b"),
            ("50%/x", "50%25/x"),
            ("\u{e9}", "%C3%A9"),
        ] {
            assert_eq!(repair(text, "/"), expected, "{text:?}");
            assert_eq!(repair(expected, "/"), expected, "{text:?}");
        }
    }
}
