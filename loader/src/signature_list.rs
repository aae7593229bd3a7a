//! Certificates in the firmware's own format, a sequence of EFI_SIGNATURE_LISTs (UEFI 2.10
//! section 32.4.1).

use alloc::vec::Vec;

use crate::bytes::{array, u32_at};

/// EFI_CERT_X509_GUID, a5c059a1-94e4-4aa7-87b5-ab155c2bf072, as it lies in memory.
const X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// SignatureType, SignatureListSize, SignatureHeaderSize, SignatureSize.
const HEADER: usize = 16 + 3 * 4;
/// The SignatureOwner in front of each signature.
const OWNER: usize = 16;

/// The X.509 certificates of all lists, in DER; lists of anything else are passed over. None if
/// a size does not fit.
#[must_use]
pub fn certificates(mut lists: &[u8]) -> Option<Vec<&[u8]>> {
    let mut certificates = Vec::new();
    while !lists.is_empty() {
        let kind: [u8; 16] = array(lists, 0)?;
        let size = |offset| usize::try_from(u32_at(lists, offset)?).ok();
        let (whole, header, one) = (size(16)?, size(20)?, size(24)?);
        let (list, rest) = lists.split_at_checked(whole)?;
        let signatures = list.get(HEADER.checked_add(header)?..)?;
        if one <= OWNER || !signatures.len().is_multiple_of(one) {
            return None;
        }
        if kind == X509 {
            let bodies = signatures.chunks(one).filter_map(|one| one.get(OWNER..));
            certificates.extend(bodies);
        }
        lists = rest;
    }
    Some(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// A list of signatures of one length, without a header of its own.
    fn list(kind: [u8; 16], signatures: &[&[u8]]) -> Vec<u8> {
        let one = OWNER + signatures.first().map_or(1, |it| it.len());
        let whole = HEADER + one * signatures.len();
        let mut bytes = kind.to_vec();
        for size in [whole, 0, one] {
            bytes.extend((size as u32).to_le_bytes());
        }
        for signature in signatures {
            bytes.extend([7; OWNER]);
            bytes.extend(*signature);
        }
        bytes
    }

    #[test]
    fn certificates_of_all_lists_are_found() {
        let lists = [
            list(X509, &[b"one"]),
            list([1; 16], &[b"a hash"]),
            list(X509, &[b"two", b"six"]),
            list(X509, &[]),
        ];
        let found = vec![&b"one"[..], b"two", b"six"];
        assert_eq!(certificates(&lists.concat()), Some(found));
        assert_eq!(certificates(&[]), Some(vec![]));
    }

    #[test]
    fn header_of_a_list_is_passed_over() {
        let mut bytes = list(X509, &[b"one"]);
        bytes.splice(HEADER..HEADER, [9; 4]);
        bytes[16] += 4;
        bytes[20] = 4;
        assert_eq!(certificates(&bytes), Some(vec![&b"one"[..]]));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let good = list(X509, &[b"one"]);
        for length in 1..good.len() {
            assert_eq!(certificates(&good[..length]), None, "{length}");
        }
        // Of the list, its header, and one signature; each too small or too large.
        for (at, byte) in [
            (16, 0),
            (16, 27),
            (16, 255),
            (20, 1),
            (20, 255),
            (24, 0),
            (24, 16),
            (24, 18),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(certificates(&bad), None, "byte {at} is {byte}");
        }
        for at in [19, 23, 27] {
            let mut bad = good.clone();
            bad[at] = 0xff;
            assert_eq!(certificates(&bad), None, "byte {at}");
        }
    }
}
