//! Finds a section in a PE image that the firmware has loaded (Microsoft PE format).
//!
//! In memory a section is where its virtual address says, not where the file had it, and the
//! firmware has copied the headers to the base of the image.

use core::ops::Range;

use crate::bytes::{u16_at, u32_at};

/// Where the offset of the PE signature is.
const SIGNATURE_OFFSET: usize = 0x3c;
/// The signature, the COFF header behind it, and the size of a section header.
const SIGNATURE: &[u8] = b"PE\0\0";
const COFF_HEADER: usize = 20;
const SECTION_HEADER: usize = 40;

/// The bytes of the section `name` of the loaded `image`.
///
/// `None` where the image has no such section or the firmware has not mapped it.
#[must_use]
pub fn section<'a>(image: &'a [u8], name: &[u8; 8]) -> Option<&'a [u8]> {
    image.get(section_range(image, name)?)
}

fn section_range(image: &[u8], name: &[u8; 8]) -> Option<Range<usize>> {
    let signature = usize::try_from(u32_at(image, SIGNATURE_OFFSET)?).ok()?;
    let coff = signature.checked_add(SIGNATURE.len())?;
    if image.get(signature..coff)? != SIGNATURE {
        return None;
    }
    let sections = u16_at(image, coff.checked_add(2)?)?;
    let optional_header = u16_at(image, coff.checked_add(16)?)?;
    let table = coff.checked_add(COFF_HEADER + usize::from(optional_header))?;
    image
        .get(table..)?
        .chunks_exact(SECTION_HEADER)
        .take(usize::from(sections))
        .find(|header| header.starts_with(name))
        .and_then(|header| {
            let length = usize::try_from(u32_at(header, 8)?).ok()?;
            let start = usize::try_from(u32_at(header, 12)?).ok()?;
            Some(start..start.checked_add(length)?)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// A loaded image with the headers at 0 and one section.
    fn image(name: &[u8; 8], virtual_address: u32, virtual_size: u32) -> Vec<u8> {
        let mut image = vec![0; 0x3000];
        let mut put = |offset: usize, bytes: &[u8]| {
            image[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0x3c, &0x80_u32.to_le_bytes());
        put(0x80, b"PE\0\0");
        put(0x84 + 2, &2_u16.to_le_bytes());
        put(0x84 + 16, &0xf0_u16.to_le_bytes());
        let table = 0x84 + 20 + 0xf0;
        put(table, b".text\0\0\0");
        put(table + 40, name);
        put(table + 48, &virtual_size.to_le_bytes());
        put(table + 52, &virtual_address.to_le_bytes());
        put(0x2000, b"packed");
        image
    }

    #[test]
    fn finds_the_section_by_its_virtual_address() {
        let image = image(b".bowline", 0x2000, 6);
        assert_eq!(section(&image, b".bowline"), Some(b"packed".as_slice()));
    }

    #[test]
    fn an_image_without_the_section_has_none() {
        assert_eq!(section(&image(b".other\0\0", 0x2000, 6), b".bowline"), None);
        assert_eq!(section(b"MZ", b".bowline"), None);
        assert_eq!(section(&[0; 0x200], b".bowline"), None);
    }

    #[test]
    fn a_section_beyond_the_mapped_image_is_not_read() {
        assert_eq!(section(&image(b".bowline", 0x2ff8, 16), b".bowline"), None);
        assert_eq!(
            section(&image(b".bowline", u32::MAX, u32::MAX), b".bowline"),
            None
        );
    }

    #[test]
    fn a_section_table_that_lies_about_its_length_is_cut_off() {
        let mut image = image(b".bowline", 0x2000, 6);
        image[0x86..0x88].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(section(&image, b".missing"), None);
    }
}
