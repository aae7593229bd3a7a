//! The Internet checksum (RFC 1071) with 64-bit loads.
//!
//! smoltcp sums 16-bit words, which costs two and a half times as much where the target has no
//! vector unit (x86_64-unknown-uefi), and every received byte passes through here. Sums are kept
//! in the machine's byte order (RFC 1071 section 2 (B)).

use core::net::IpAddr;

/// The ones' complement sum of `bytes`, folded to 16 bits, in native byte order.
///
/// Sums of parts add up if every part but the last has an even length.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let (lines, rest) = bytes.as_chunks::<32>();
    let mut total = 0;
    for line in lines {
        for word in line.as_chunks().0 {
            total += halves(*word);
        }
    }
    let (words, tail) = rest.as_chunks();
    total += words.iter().map(|word| halves(*word)).sum::<u64>();
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(tail) {
        *to = *from;
    }
    fold(total + halves(last))
}

/// Eight bytes as two numbers, added: the carries of a whole frame have room above them, which is
/// cheaper than to take each into account where it arises.
fn halves(word: [u8; 8]) -> u64 {
    let word = u64::from_ne_bytes(word);
    (word & 0xffff_ffff) + (word >> 32)
}

/// Adds folded sums.
pub(crate) fn add(sums: &[u16]) -> u16 {
    fold(sums.iter().map(|sum| u64::from(*sum)).sum())
}

/// The sum of the pseudo header of a transport protocol (RFC 9293 section 3.1, RFC 8200 section
/// 8.1: the zeros between the fields of the two versions change nothing).
pub(crate) fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: u16) -> u16 {
    let address = |address| match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    };
    let [high, low] = length.to_be_bytes();
    add(&[address(from), address(to), sum(&[0, protocol, high, low])])
}

fn fold(mut total: u64) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_example_of_rfc_1071_and_word_by_word() {
        // RFC 1071 section 3: the bytes sum to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&bytes).to_ne_bytes(), [0xdd, 0xf2]);

        let long: Vec<u8> = (0..1460u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for length in [0, 1, 2, 3, 7, 8, 9, 15, 53, 1459, 1460] {
            let part = &long[..length];
            assert_eq!(sum(part).to_ne_bytes(), slow(part), "{length} bytes");
        }
        assert_eq!(add(&[sum(&long[..20]), sum(&long[20..])]), sum(&long));
    }

    /// Word by word, as the RFC defines it.
    fn slow(bytes: &[u8]) -> [u8; 2] {
        let mut total = 0u32;
        for pair in bytes.chunks(2) {
            total += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        (total as u16).to_be_bytes()
    }
}
