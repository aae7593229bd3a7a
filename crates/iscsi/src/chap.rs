//! CHAP (RFC 1994, RFC 7143 section 12.1.3): responses, binary values, secrets.
//!
//! The rules that keep CHAP honest live where the exchange is driven, in the login of the two
//! machines: nobody answers its own challenge, a response that equals one's own is refused, and
//! responses are compared in constant time.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use sha3::Sha3_256;
use zeroize::Zeroizing;

/// Random bytes that one exchange uses up: an identifier and the longest challenge.
pub const ENTROPY_LENGTH: usize = 33;

/// The longest binary value (RFC 7143 section 12.1.3).
const BINARY_MAX: usize = 1024;

/// A hash of CHAP (RFC 7143 section 12.1.3 and the IANA registry of PPP authentication algorithms).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// MD5, number 5.
    Md5,
    /// SHA1, number 6.
    Sha1,
    /// SHA-256, number 7.
    Sha256,
    /// SHA3-256, number 8.
    Sha3_256,
}

impl Algorithm {
    /// All, the strongest first.
    pub const STRONGEST_FIRST: [Self; 4] = [Self::Sha3_256, Self::Sha256, Self::Sha1, Self::Md5];

    /// All, in the order an initiator best offers them; a target takes the first it knows.
    ///
    /// SHA-256 comes last: tgt takes its number 7 for an SHA1 of its own, and could not be logged
    /// in to if it came before MD5. Targets that know SHA-256 (LIO, SCST, ours) know SHA3-256.
    pub const OFFERED: [Self; 4] = [Self::Sha3_256, Self::Sha1, Self::Md5, Self::Sha256];

    /// Its number in CHAP_A.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Md5 => 5,
            Self::Sha1 => 6,
            Self::Sha256 => 7,
            Self::Sha3_256 => 8,
        }
    }

    /// The algorithm with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::STRONGEST_FIRST
            .into_iter()
            .find(|algorithm| u32::from(algorithm.number()) == number)
    }

    /// Bytes of its result; our challenges are as long.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Sha3_256 => 32,
        }
    }

    /// The response to a challenge (RFC 1994 section 4.1): the hash over identifier, secret and
    /// challenge.
    #[must_use]
    pub fn response(self, identifier: u8, secret: &Secret, challenge: &[u8]) -> Vec<u8> {
        fn hash<D: Digest>(parts: [&[u8]; 3]) -> Vec<u8> {
            let mut hash = D::new();
            parts.into_iter().for_each(|part| hash.update(part));
            hash.finalize().as_slice().to_vec()
        }
        let parts = [&[identifier][..], &secret.0, challenge];
        match self {
            Self::Md5 => hash::<Md5>(parts),
            Self::Sha1 => hash::<Sha1>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha3_256 => hash::<Sha3_256>(parts),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA-256",
            Self::Sha3_256 => "SHA3-256",
        })
    }
}

/// A shared secret. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes of a password.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(Zeroizing::new(secret.to_vec()))
    }

    /// The bytes, for those who have to hand them on.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Below the 96 bits that RFC 7143 section 9.2.1 asks for on a connection without IPsec. Such
    /// secrets are in use, so they work; whoever configures one deserves a warning.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.0.len() < 12
    }

    /// Whether two secrets are the same.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        is_same(&self.0, &other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A name and the secret that proves it.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// CHAP_N.
    pub name: String,
    /// The secret.
    pub secret: Secret,
}

impl Credentials {
    /// From a user name and a password.
    #[must_use]
    pub fn new(name: &str, secret: &str) -> Self {
        Self {
            name: name.into(),
            secret: Secret::new(secret.as_bytes()),
        }
    }
}

/// An identifier and a challenge that nobody has seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) identifier: u8,
    pub(crate) bytes: Vec<u8>,
}

impl Challenge {
    pub(crate) fn new(entropy: &[u8; ENTROPY_LENGTH], algorithm: Algorithm) -> Self {
        let [identifier, random @ ..] = entropy;
        let bytes = random.iter().copied().take(algorithm.length()).collect();
        Self {
            identifier: *identifier,
            bytes,
        }
    }
}

/// Compares in a time that depends on the lengths only.
#[must_use]
pub fn is_same(a: &[u8], b: &[u8]) -> bool {
    let difference = a
        .iter()
        .zip(b)
        .fold(0, |sum, (a, b)| core::hint::black_box(sum | (a ^ b)));
    a.len() == b.len() && difference == 0
}

/// Writes a binary value in hexadecimal (RFC 7143 section 6.1).
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]);
    ['0', 'x'].into_iter().chain(digits).collect()
}

/// Reads a binary value: hexadecimal with 0x, Base64 with 0b (RFC 7143 section 6.1).
/// `None` where it is neither, empty, or too long.
#[must_use]
pub fn decode(value: &str) -> Option<Vec<u8>> {
    let (prefix, digits) = value.split_at_checked(2)?;
    let bytes = match prefix {
        "0x" | "0X" => decode_hexadecimal(digits.as_bytes())?,
        "0b" | "0B" => decode_base64(digits.as_bytes())?,
        _ => return None,
    };
    (!bytes.is_empty() && bytes.len() <= BINARY_MAX).then_some(bytes)
}

fn decode_hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    // An odd number of digits starts with half a byte.
    let (half, pairs) = digits.split_at_checked(digits.len() % 2)?;
    let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
    for &digit in half {
        bytes.push(value(digit)?);
    }
    let (pairs, _) = pairs.as_chunks::<2>();
    for &[high, low] in pairs {
        bytes.push(value(high)? << 4 | value(low)?);
    }
    Some(bytes)
}

fn decode_base64(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let padding = digits
        .iter()
        .rev()
        .take_while(|&&digit| digit == b'=')
        .count();
    let digits = digits.get(..digits.len() - padding)?;
    if padding > 2 || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len());
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for &digit in group {
            bits = bits << 6 | u32::from(value(digit)?);
        }
        bits <<= 6 * (4 - group.len());
        let [_, whole @ ..] = bits.to_be_bytes();
        bytes.extend(whole.iter().take(group.len() - 1));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hashlib over identifier, secret, challenge.
    #[test]
    fn responses_are_those_of_an_independent_computation() {
        let challenge: Vec<u8> = (0..16).collect();
        let secret = Secret::new(b"password");
        for (algorithm, expected) in [
            (Algorithm::Md5, "0x3e0949a5572c2d338c182b7f6377471d"),
            (
                Algorithm::Sha1,
                "0x3f050d1f0c36529236a28813c1601f6f528cb9fc",
            ),
            (
                Algorithm::Sha256,
                "0xc3557ba525a229ffb5cfed51a8282ff3ecbd809ac8076a97b152fc53adbb07aa",
            ),
            (
                Algorithm::Sha3_256,
                "0xcf17bf23aa45b1e4d0c5b2a396c9b6e44651e1c3c4367b9f016b2c44577af866",
            ),
        ] {
            let response = algorithm.response(0x2a, &secret, &challenge);
            assert_eq!(encode(&response), expected);
            assert_eq!(response.len(), algorithm.length());
            assert_eq!(
                Algorithm::from_number(u32::from(algorithm.number())),
                Some(algorithm)
            );
        }
        assert_eq!(Algorithm::from_number(4), None);
    }

    #[test]
    fn binary_values_have_two_notations() {
        for (text, bytes) in [
            ("0x00ff", Some(&[0, 0xff][..])),
            ("0XAb", Some(&[0xab])),
            ("0xabc", Some(&[0x0a, 0xbc])),
            ("0bAAECAw==", Some(&[0, 1, 2, 3])),
            ("0BAAECAw", Some(&[0, 1, 2, 3])),
            ("0b/+8=", Some(&[0xff, 0xef])),
            ("0x", None),
            ("0xzz", None),
            ("0b", None),
            ("0bA", None),
            ("0bAA=A", None),
            ("0bAA===", None),
            ("1234", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes, "{text}");
        }
        assert_eq!(decode(&encode(&[7; 1024])).unwrap().len(), 1024);
        assert_eq!(decode(&encode(&[7; 1025])), None);
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = Credentials::new("user", "hunter22");
        assert!(!alloc::format!("{credentials:?}").contains("hunter"));
        assert!(credentials.secret.is_short());
        assert!(!Secret::new(b"twelve bytes").is_short());
    }

    #[test]
    fn comparison_sees_every_difference() {
        assert!(is_same(b"abc", b"abc"));
        for other in [&b"abd"[..], b"bbc", b"ab", b"abcd", b""] {
            assert!(!is_same(b"abc", other));
        }
    }
}
