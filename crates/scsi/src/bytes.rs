//! Big-endian reads that cannot panic and a few ways to grow a buffer.

use alloc::vec::Vec;

/// The 16-bit number at `at`, if it is all there.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 32-bit number at `at`, if it is all there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The 64-bit number at `at`, if it is all there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Appends `text` cut or padded with spaces to `width` bytes, as SPC-4 section 4.3.1 wants
/// left-aligned ASCII fields.
pub(crate) fn push_padded(to: &mut Vec<u8>, text: &str, width: usize) {
    let printable = text.bytes().map(|byte| {
        if matches!(byte, 0x20..=0x7e) {
            byte
        } else {
            b'?'
        }
    });
    to.extend(printable.chain(core::iter::repeat(b' ')).take(width));
}
