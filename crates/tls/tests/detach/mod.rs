//! Takes a CMS envelope and the content that it encrypts apart, as iPXE's `cmsdetach` does.

extern crate alloc;

use alloc::vec;
use alloc::vec::Vec;

/// Takes the encrypted content, `[0]` in the EncryptedContentInfo (RFC 5652 section 6.1), out.
pub(crate) fn detach(whole: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (info, _) = element(whole, 0);
    let (_, kind_end) = element(whole, info);
    let (explicit, _) = element(whole, kind_end);
    let (mut at, end) = element(whole, explicit);
    let (kind, mut fields, mut content) = (&whole[info..kind_end], vec![], vec![]);
    while at < end {
        let (start, next) = element(whole, at);
        if whole[at] == 0x30 {
            let (_, kind_end) = element(whole, start);
            let (_, cipher_end) = element(whole, kind_end);
            let (inside, content_end) = element(whole, cipher_end);
            assert_eq!((whole[cipher_end], content_end), (0x80, next));
            content = whole[inside..next].to_vec();
            fields.extend(wrapped(0x30, &whole[start..cipher_end]));
        } else {
            fields.extend(&whole[at..next]);
        }
        at = next;
    }
    let envelope = wrapped(0xa0, &wrapped(0x30, &fields));
    (wrapped(0x30, &[kind, &envelope].concat()), content)
}

/// An element: where its contents begin, and where it ends.
fn element(der: &[u8], at: usize) -> (usize, usize) {
    let first = usize::from(der[at + 1]);
    let count = if first < 0x80 { 0 } else { first & 0x7f };
    let length = der[at + 2..at + 2 + count]
        .iter()
        .fold(if count == 0 { first } else { 0 }, |sum, byte| {
            sum << 8 | usize::from(*byte)
        });
    let start = at + 2 + count;
    (start, start + length)
}

fn wrapped(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = (contents.len() as u16).to_be_bytes();
    let mut head = match contents.len() {
        0..0x80 => vec![tag, length[1]],
        0x80..0x100 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    head.extend(contents);
    head
}
