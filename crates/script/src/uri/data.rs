//! What `data` URIs carry (RFC 2397).

use alloc::vec::Vec;

use super::{Uri, percent};
use crate::settings::parse_base64;

impl Uri {
    /// The bytes that a `data` URI itself carries: `data:,text`, or in base 64
    /// `data:text/plain;base64,dGV4dA==`. The media type is not looked at. `None` where it has no
    /// comma, or what follows is not base 64.
    #[must_use]
    pub fn data(&self) -> Option<Vec<u8>> {
        let (head, data) = self.path.split_once(',')?;
        let data = percent::decode(data);
        let last = head.rsplit(';').next().unwrap_or_default();
        if head.contains(';') && last.eq_ignore_ascii_case("base64") {
            return parse_base64(core::str::from_utf8(&data).ok()?);
        }
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_codings() {
        let data = |text: &str| text.parse::<Uri>().unwrap().data();
        for (text, expected) in [
            ("data:,A%20brief%20note", &b"A brief note"[..]),
            ("data:,", b""),
            ("data:,a,b?c#d", b"a,b?c#d"),
            ("data:,#!ipxe%0Aecho%20hi%0a", b"#!ipxe\necho hi\n"),
            ("data:text/plain;charset=utf-8,%ff", b"\xff"),
            ("data:text/plain;base64,Zm9v", b"foo"),
            ("DATA:;BASE64,Zm8%3D", b"fo"),
            ("data:base64,Zm9v", b"Zm9v"),
        ] {
            assert_eq!(data(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["data:", "data:text", "data:;base64,Zm9", "data:;base64,%ff"] {
            assert_eq!(data(text), None, "{text}");
        }
    }
}
