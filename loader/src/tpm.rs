//! The one command that we ask of a TPM 2.0: random bytes. Its structures are big-endian.

use core::ops::Range;

/// TPM2_GetRandom (TPM 2.0 Library part 3, section 16.1) for `count` bytes: TPM_ST_NO_SESSIONS,
/// the length of the command, TPM_CC_GetRandom, and the count. It may answer with fewer.
#[must_use]
pub fn get_random(count: u8) -> [u8; 12] {
    [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, count]
}

/// The longest answer to [`get_random`]: header, length, bytes.
pub const RESPONSE_MAX: usize = HEADER + 2 + u8::MAX as usize;

/// Tag, length and code of a response (part 1, section 18).
const HEADER: usize = 2 + 4 + 4;
/// Where the length of the random bytes is.
const LENGTH: Range<usize> = HEADER..HEADER + 2;

/// The random bytes of a response. None if the TPM refused, or the lengths do not fit.
#[must_use]
pub fn random_bytes(response: &[u8]) -> Option<&[u8]> {
    // TPM_ST_NO_SESSIONS and TPM_RC_SUCCESS.
    if response.get(..2)? != [0x80, 0x01] || response.get(6..HEADER)? != [0; 4] {
        return None;
    }
    let whole = u32::from_be_bytes(response.get(2..6)?.try_into().ok()?);
    let response = response.get(..usize::try_from(whole).ok()?)?;
    let length = u16::from_be_bytes(response.get(LENGTH)?.try_into().ok()?);
    let bytes = response.get(LENGTH.end..)?;
    (bytes.len() == usize::from(length)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_as_the_library_has_it() {
        assert_eq!(get_random(32), *b"\x80\x01\0\0\0\x0c\0\0\x01\x7b\0\x20");
    }

    #[test]
    fn bytes_come_out_of_a_good_response_only() {
        let good = b"\x80\x01\0\0\0\x0f\0\0\0\0\0\x03abc";
        assert_eq!(random_bytes(good), Some(&b"abc"[..]));
        // The buffer is longer than the response.
        assert_eq!(
            random_bytes(&[&good[..], &[0; 9]].concat()),
            Some(&b"abc"[..])
        );
        for length in 0..good.len() {
            assert_eq!(random_bytes(&good[..length]), None, "{length}");
        }
        // The tag, the length of the whole, the code, the length of the bytes.
        for at in [0, 2, 5, 6, 9, 10, 11] {
            let mut bad = good.to_vec();
            bad[at] ^= 1;
            assert_eq!(random_bytes(&bad), None, "byte {at}");
        }
        // TPM_RC_INITIALIZE: ten bytes and nothing behind them.
        assert_eq!(random_bytes(b"\x80\x01\0\0\0\x0a\0\0\x01\0"), None);
    }
}
