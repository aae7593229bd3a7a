//! AES-GCM (NIST SP 800-38D) with the carry-less multiplication of x86_64: RustCrypto's takes that
//! only where there is AVX too, which firmware leaves off.
//!
//! GHASH is computed as POLYVAL (RFC 8452 appendix A), whose bits are in the order of the
//! instruction: field elements modulo x^128 + x^127 + x^126 + x^121 + 1, and a product that is
//! divided by x^128.

use core::arch::x86_64::{
    __m128i, _mm_clmulepi64_si128, _mm_cvtsi128_si64, _mm_extract_epi64, _mm_set_epi64x,
    _mm_setzero_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_srli_si128, _mm_xor_si128,
};
use core::hint::black_box;

use aes::cipher::consts::U16;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

use crate::{NONCE, TAG};

const BLOCK: usize = 16;

/// Blocks that are multiplied before their sum is reduced.
const STRIDE: usize = 4;

/// Blocks that the cipher takes at once.
const PARALLEL: usize = 8;

/// The longest text (section 5.2.1.1), in bytes.
const TEXT_MAX: u64 = (1 << 36) - 32;

/// As `aes_gcm_seal` of the crate, for one length of keys.
pub(crate) fn seal<C>(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG]>
where
    C: BlockCipherEncrypt<BlockSize = U16> + KeyInit,
{
    let cipher = cipher::<C>(key, text)?;
    crypt(&cipher, nonce, text);
    // SAFETY: the module is compiled only for targets that have the instructions.
    Some(unsafe { tag(&cipher, nonce, aad, text) })
}

/// As `aes_gcm_open` of the crate, for one length of keys.
pub(crate) fn open<C>(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
    expected: &[u8; TAG],
) -> Option<()>
where
    C: BlockCipherEncrypt<BlockSize = U16> + KeyInit,
{
    let cipher = cipher::<C>(key, text)?;
    // SAFETY: the module is compiled only for targets that have the instructions.
    let tag = unsafe { tag(&cipher, nonce, aad, text) };
    // All of it, wherever they differ.
    let difference = tag.iter().zip(expected).fold(0, |all, (a, b)| all | a ^ b);
    if black_box(difference) != 0 {
        return None;
    }
    crypt(&cipher, nonce, text);
    Some(())
}

fn cipher<C: KeyInit>(key: &[u8], text: &[u8]) -> Option<C> {
    let fits = u64::try_from(text.len()).is_ok_and(|length| length <= TEXT_MAX);
    fits.then(|| C::new_from_slice(key).ok())?
}

/// The counter block `count` (section 7.1, for nonces of 96 bits).
fn counter(nonce: &[u8; NONCE], count: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..NONCE].copy_from_slice(nonce);
    block[NONCE..].copy_from_slice(&count.to_be_bytes());
    block
}

/// GCTR (section 6.5) from the second counter block on.
fn crypt<C>(cipher: &C, nonce: &[u8; NONCE], text: &mut [u8])
where
    C: BlockCipherEncrypt<BlockSize = U16>,
{
    let mut count = 2_u32;
    for piece in text.chunks_mut(PARALLEL * BLOCK) {
        let mut stream: [Array<u8, U16>; PARALLEL] =
            core::array::from_fn(|i| counter(nonce, count.wrapping_add(i as u32)).into());
        count = count.wrapping_add(PARALLEL as u32);
        cipher.encrypt_blocks(&mut stream);
        let (blocks, rest) = piece.as_chunks_mut::<BLOCK>();
        let whole = blocks.len();
        for (block, mask) in blocks.iter_mut().zip(&stream) {
            let mask = u128::from_ne_bytes((*mask).into());
            *block = (u128::from_ne_bytes(*block) ^ mask).to_ne_bytes();
        }
        if let Some(mask) = stream.get(whole) {
            rest.iter_mut()
                .zip(mask)
                .for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

/// The tag of an encrypted text (section 7.1, steps 4 to 6).
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn tag<C>(cipher: &C, nonce: &[u8; NONCE], aad: &[u8], text: &[u8]) -> [u8; TAG]
where
    C: BlockCipherEncrypt<BlockSize = U16>,
{
    let encrypt = |block: [u8; BLOCK]| -> [u8; BLOCK] {
        let mut block = block.into();
        cipher.encrypt_block(&mut block);
        block.into()
    };
    let mut hash = Ghash::new(encrypt([0; BLOCK]));
    hash.update(aad);
    hash.update(text);
    let bits = |bytes: &[u8]| bytes.len() as u128 * 8;
    hash.update(&(bits(aad) << 64 | bits(text)).to_be_bytes());
    let mask = u128::from_be_bytes(encrypt(counter(nonce, 1)));
    (hash.sum ^ mask).to_be_bytes()
}

/// GHASH (section 6.4) in progress.
struct Ghash {
    /// The fourth power of the key first.
    powers: [u128; STRIDE],
    sum: u128,
}

impl Ghash {
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn new(key: [u8; BLOCK]) -> Self {
        // RFC 8452 appendix A: the key of POLYVAL is that of GHASH times x.
        let key = u128::from_be_bytes(key);
        let carry = 0_u128.wrapping_sub(key >> 127);
        let key = key << 1 ^ carry & (0xc2 << 120 | 1);
        let mut powers = [key; STRIDE];
        for i in (0..STRIDE - 1).rev() {
            powers[i] = number(reduce(product(element(powers[i + 1]), element(key))));
        }
        Self { powers, sum: 0 }
    }

    /// Takes in some bytes, with zeros up to a whole block.
    #[target_feature(enable = "pclmulqdq,sse4.1")]
    fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for group in blocks.chunks(STRIDE) {
            let powers = &self.powers[STRIDE - group.len()..];
            let mut all = [_mm_setzero_si128(); 3];
            for (block, power) in group.iter().zip(powers) {
                // The sum so far goes with the first one.
                let value = core::mem::take(&mut self.sum) ^ u128::from_be_bytes(*block);
                let parts = product(element(value), element(*power));
                for (all, part) in all.iter_mut().zip(parts) {
                    *all = _mm_xor_si128(*all, part);
                }
            }
            self.sum = number(reduce(all));
        }
        if !rest.is_empty() {
            let mut last = [0; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            self.update(&last);
        }
    }
}

impl Drop for Ghash {
    fn drop(&mut self) {
        self.powers = [0; STRIDE];
        // Somebody may look: the zeros are written.
        black_box(&self.powers);
    }
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
fn element(value: u128) -> __m128i {
    _mm_set_epi64x((value >> 64) as i64, value as i64)
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
fn number(element: __m128i) -> u128 {
    let low = _mm_cvtsi128_si64(element) as u64;
    let high = _mm_extract_epi64::<1>(element) as u64;
    u128::from(high) << 64 | u128::from(low)
}

/// The product of two polynomials: its low half, its high half, and what lies over both.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn product(a: __m128i, b: __m128i) -> [__m128i; 3] {
    let middle = _mm_xor_si128(
        _mm_clmulepi64_si128::<0x01>(a, b),
        _mm_clmulepi64_si128::<0x10>(a, b),
    );
    let low = _mm_clmulepi64_si128::<0x00>(a, b);
    let high = _mm_clmulepi64_si128::<0x11>(a, b);
    [low, high, middle]
}

/// Divides a product by x^128 modulo the field's polynomial. A multiple of that which cancels the
/// lowest 64 bits is added, twice: the polynomial ends in one, so it is the bits' own.
#[target_feature(enable = "pclmulqdq,sse4.1")]
fn reduce([low, high, middle]: [__m128i; 3]) -> __m128i {
    // x^63 + x^62 + x^57: the polynomial's middle, 64 bits down.
    let polynomial = _mm_set_epi64x(0, 0xc2 << 56);
    let mut low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
    let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
    for _ in 0..2 {
        let multiple = _mm_clmulepi64_si128::<0x00>(low, polynomial);
        low = _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(low), multiple);
    }
    _mm_xor_si128(high, low)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use aes::{Aes128Enc, Aes256Enc};
    use std::vec::Vec;

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2);
        let byte = |digits| u8::from_str_radix(core::str::from_utf8(digits).unwrap(), 16).unwrap();
        digits.map(byte).collect()
    }

    /// Test case 4 of the GCM specification (McGrew and Viega, appendix B).
    #[test]
    fn agrees_with_the_specification() {
        let key = hex("feffe9928665731c6d6a8f9467308308");
        let nonce = hex("cafebabefacedbaddecaf888").try_into().unwrap();
        let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        let mut text = hex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        ));
        let tag = seal::<Aes128Enc>(&key, &nonce, &aad, &mut text).unwrap();
        assert_eq!(tag.to_vec(), hex("5bc94fbc3221a5db94fae95ae7121a47"));
        assert!(text.starts_with(&hex("42831ec2217774244b7221b784d0d49c")));
    }

    #[test]
    fn agrees_with_rustcrypto_at_every_length() {
        use aead::inout::InOutBuf;
        use aead::{AeadInOut, KeyInit};
        let plain: Vec<u8> = (0..700_u32).map(|i| (i * 13 + i / 255) as u8).collect();
        let key = [0x5a; 32];
        let reference = aes_gcm::Aes256Gcm::new_from_slice(&key).unwrap();
        for length in 0..plain.len() {
            let nonce = [length as u8; NONCE];
            let aad = &plain[..length % 40];
            let mut ours = plain[..length].to_vec();
            let mut theirs = ours.clone();
            let tag = seal::<Aes256Enc>(&key, &nonce, aad, &mut ours).unwrap();
            let buffer = InOutBuf::from(&mut theirs[..]);
            let expected = reference.encrypt_inout_detached((&nonce).into(), aad, buffer);
            assert_eq!(ours, theirs, "{length} bytes");
            assert_eq!(tag, <[u8; TAG]>::from(expected.unwrap()), "{length} bytes");
            let mut forged = tag;
            forged[length % TAG] ^= 1;
            assert!(open::<Aes256Enc>(&key, &nonce, aad, &mut ours, &forged).is_none());
            assert_eq!(ours, theirs, "left alone");
            assert!(open::<Aes256Enc>(&key, &nonce, aad, &mut ours, &tag).is_some());
            assert_eq!(ours, plain[..length]);
        }
    }
}
