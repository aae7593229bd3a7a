//! Domain search lists as DHCP carries them: RFC 3397, which takes the name coding of RFC 1035.

use alloc::string::String;
use alloc::vec::Vec;

/// Writes the list as names separated by spaces; `None` if it is malformed.
pub(super) fn format(list: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut position = 0;
    while position < list.len() {
        if !text.is_empty() {
            text.push(' ');
        }
        position = format_name(list, position, &mut text)?;
        if text.len() > crate::limits::VALUE_BYTES {
            return None;
        }
    }
    Some(text)
}

/// Reads names separated by spaces or commas; `None` if one is no domain name.
pub(super) fn parse(text: &str) -> Option<Vec<u8>> {
    let mut list = Vec::new();
    for name in text.split([' ', ',']).filter(|name| !name.is_empty()) {
        let start = list.len();
        for label in name.strip_suffix('.').unwrap_or(name).split('.') {
            // RFC 1035 section 3.1: a label has 1 to 63 octets.
            let length = u8::try_from(label.len())
                .ok()
                .filter(|length| (1..64).contains(length))?;
            list.push(length);
            list.extend_from_slice(label.as_bytes());
        }
        list.push(0);
        if list.len() - start > NAME_BYTES_MAX {
            return None;
        }
    }
    Some(list)
}

/// Writes the name at `start` and gives the position after it.
fn format_name(list: &[u8], start: usize, text: &mut String) -> Option<usize> {
    let mut position = start;
    let mut end = None;
    let mut length = 0;
    loop {
        let first = *list.get(position)?;
        match first >> 6 {
            0 if first == 0 => return Some(end.unwrap_or(position + 1)),
            0 => {
                let label = list.get(position + 1..position + 1 + usize::from(first))?;
                if length > 0 {
                    text.push('.');
                }
                text.push_str(&String::from_utf8_lossy(label));
                position += 1 + label.len();
                length += 1 + label.len();
                if length > NAME_BYTES_MAX {
                    return None;
                }
            }
            3 => {
                // RFC 1035 section 4.1.4: a pointer to a prior name. Only backwards, so it ends.
                let target = usize::from(first & 0x3f) << 8 | usize::from(*list.get(position + 1)?);
                if target >= position {
                    return None;
                }
                end.get_or_insert(position + 2);
                position = target;
                length += 1;
                if length > NAME_BYTES_MAX {
                    return None;
                }
            }
            _ => return None,
        }
    }
}

/// RFC 1035 section 2.3.4.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn follows_compression() {
        // The example of RFC 3397 section 2.
        let list = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(format(list).unwrap(), "eng.apple.com marketing.apple.com");
    }

    #[test]
    fn refuses_loops_and_truncation() {
        for list in [
            &b"\xc0\x00"[..],
            b"\x03eng\xc0\x04",
            b"\x03en",
            b"\x03eng",
            b"\x40a\x00",
        ] {
            assert_eq!(format(list), None, "{list:?}");
        }
        // A pointer back to its own name does not go on for ever.
        assert_eq!(format(b"\x01a\xc0\x00"), None);
    }

    #[test]
    fn writes_what_it_reads() {
        let list = parse("example.com, a.example.net.").unwrap();
        assert_eq!(format(&list).unwrap(), "example.com a.example.net");
        assert_eq!(parse("a..b"), None);
        assert_eq!(parse("."), None);
        assert_eq!(parse(&"a".repeat(64)), None);
        assert_eq!(parse(&["a"; 140].join(".")), None);
    }
}
