//! What the loader was started with, as text (UEFI 2.10 section 9.1.1, `LoadOptions`).

use alloc::string::String;

/// The text of load options, without the program's own name that the UEFI Shell puts first. `None`
/// where there is nothing else, or no text: boot managers leave other things there as well.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<String> {
    let (units, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    let text: String = char::decode_utf16(units.take_while(|unit| *unit != 0))
        .collect::<Result<_, _>>()
        .ok()?;
    if text.contains(|c: char| c.is_control() && !c.is_ascii_whitespace()) {
        return None;
    }
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let is_name = first.to_ascii_lowercase().ends_with(".efi");
    let text = if is_name { rest.trim_start() } else { text };
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn bytes(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn text_is_found_without_the_programs_name() {
        for (options, expected) in [
            ("", None),
            ("\0", None),
            ("shell", Some("shell")),
            ("dhcp && echo é\0rest", Some("dhcp && echo é")),
            ("FS0:\\BOWLINE.EFI  chain a ", Some("chain a")),
            ("bowline.efi", None),
            ("#!ipxe\r\necho\tx\n", Some("#!ipxe\r\necho\tx")),
            ("\x01\x02", None),
        ] {
            assert_eq!(text(&bytes(options)).as_deref(), expected, "{options:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_none() {
        assert_eq!(text(&[b'a', 0, b'b']), None);
        assert_eq!(text(&[0x00, 0xd8, b'a', 0]), None);
    }
}
