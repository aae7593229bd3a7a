//! Where the processor's own instructions can be plugged in.

use alloc::boxed::Box;
use bowline_cipher as cipher;
use core::fmt;
use sha2::{Digest, Sha256, Sha384};
use zeroize::Zeroizing;

pub use bowline_cipher::{NONCE, TAG};

/// An implementation of the bulk cryptography. All of its functions must be constant-time in keys
/// and data.
pub trait Backend: Send + Sync + 'static {
    /// SHA-256 (FIPS 180-4).
    type Sha256: RunningHash;
    /// SHA-384 (FIPS 180-4).
    type Sha384: RunningHash;

    /// Whether AES-GCM is the faster cipher here: then it is offered before ChaCha20-Poly1305.
    fn has_fast_aes() -> bool;

    /// AES-128-GCM (NIST SP 800-38D) with a 96-bit nonce.
    fn aes_128_gcm(key: &[u8; 16]) -> Box<dyn Aead>;

    /// AES-256-GCM with a 96-bit nonce.
    fn aes_256_gcm(key: &[u8; 32]) -> Box<dyn Aead>;

    /// ChaCha20-Poly1305 (RFC 8439).
    fn chacha20_poly1305(key: &[u8; 32]) -> Box<dyn Aead>;
}

/// Authenticated encryption in place, with a tag of 16 bytes kept apart.
pub trait Aead: Send + Sync {
    /// Encrypts `text` and returns the tag; `None` if the cipher cannot take that much.
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]>;

    /// Checks the tag, then decrypts `text`. When the tag is wrong `text` must not be used.
    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Forged>;
}

/// The tag does not fit the text: it was changed on the way, or the keys differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged;

/// A hash in progress. Dropping it wipes it.
pub trait RunningHash: Clone + Send + Sync + 'static {
    /// Length of the digest in bytes; at most 64.
    const OUTPUT: usize;
    /// Length of the compression function's block in bytes (HMAC needs it); at most 128.
    const BLOCK: usize;

    /// A hash of nothing so far.
    fn new() -> Self;

    /// Takes in `data`.
    fn update(&mut self, data: &[u8]);

    /// Writes the digest to the first [`Self::OUTPUT`] bytes of `output`.
    fn finish(self, output: &mut [u8; 64]);
}

/// The portable back end: RustCrypto, which on a hosted target finds the processor's instructions
/// by itself and in firmware uses none.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Backend for Portable {
    type Sha256 = Sha256;
    type Sha384 = Sha384;

    fn has_fast_aes() -> bool {
        false
    }

    fn aes_128_gcm(key: &[u8; 16]) -> Box<dyn Aead> {
        Keyed::boxed(key, cipher::aes_gcm_seal, cipher::aes_gcm_open)
    }

    fn aes_256_gcm(key: &[u8; 32]) -> Box<dyn Aead> {
        Keyed::boxed(key, cipher::aes_gcm_seal, cipher::aes_gcm_open)
    }

    fn chacha20_poly1305(key: &[u8; 32]) -> Box<dyn Aead> {
        Keyed::boxed(
            key,
            cipher::chacha20_poly1305_seal,
            cipher::chacha20_poly1305_open,
        )
    }
}

/// Takes key, nonce, additional data and text, which it encrypts; gives the tag.
pub(super) type Seal = fn(&[u8], &[u8; NONCE], &[u8], &mut [u8]) -> Option<[u8; TAG]>;
/// Takes key, nonce, additional data, text, which it decrypts, and tag, which it checks.
pub(super) type Open = fn(&[u8], &[u8; NONCE], &[u8], &mut [u8], &[u8; TAG]) -> Option<()>;

/// A key and the functions to use it with. They prepare it anew for each record, which is little
/// beside 16 KiB and lets them be plain functions.
pub(super) struct Keyed<const N: usize> {
    key: Zeroizing<[u8; N]>,
    seal: Seal,
    open: Open,
}

impl<const N: usize> Keyed<N> {
    pub(super) fn boxed(key: &[u8; N], seal: Seal, open: Open) -> Box<dyn Aead> {
        let key = Zeroizing::new(*key);
        Box::new(Self { key, seal, open })
    }
}

impl<const N: usize> Aead for Keyed<N> {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        (self.seal)(&self.key[..], nonce, aad, text)
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Forged> {
        (self.open)(&self.key[..], nonce, aad, text, tag).ok_or(Forged)
    }
}

macro_rules! running_hash {
    ($hash:ty, output $output:literal, block $block:literal) => {
        impl RunningHash for $hash {
            const OUTPUT: usize = $output;
            const BLOCK: usize = $block;

            fn new() -> Self {
                <Self as Digest>::new()
            }

            fn update(&mut self, data: &[u8]) {
                Digest::update(self, data);
            }

            fn finish(self, output: &mut [u8; 64]) {
                for (to, from) in output.iter_mut().zip(self.finalize()) {
                    *to = from;
                }
            }
        }
    };
}

running_hash!(Sha256, output 32, block 64);
running_hash!(Sha384, output 48, block 128);

/// What a back end computed wrongly; it must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The algorithm.
    pub algorithm: &'static str,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} gives other results than the portable code",
            self.algorithm
        )
    }
}

impl core::error::Error for Mismatch {}

/// Compares back end `B` with the portable one on texts of many lengths, and checks that it refuses
/// a changed tag. Run it at start, before `B` is used.
pub fn self_test<B: Backend>() -> Result<(), Mismatch> {
    let aes_128 = [0x2b_u8; 16];
    let long = [0x7e_u8; 32];
    compare(
        "AES-128-GCM",
        &*B::aes_128_gcm(&aes_128),
        &*Portable::aes_128_gcm(&aes_128),
    )?;
    compare(
        "AES-256-GCM",
        &*B::aes_256_gcm(&long),
        &*Portable::aes_256_gcm(&long),
    )?;
    compare(
        "ChaCha20-Poly1305",
        &*B::chacha20_poly1305(&long),
        &*Portable::chacha20_poly1305(&long),
    )?;
    compare_hash::<B::Sha256, Sha256>("SHA-256")?;
    compare_hash::<B::Sha384, Sha384>("SHA-384")
}

/// Lengths around every block and batch size that back ends use.
const LENGTHS: [usize; 12] = [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 255, 1025];

fn compare(algorithm: &'static str, one: &dyn Aead, reference: &dyn Aead) -> Result<(), Mismatch> {
    let mismatch = Mismatch { algorithm };
    let mut plain = [0_u8; 1025];
    for (i, byte) in plain.iter_mut().enumerate() {
        *byte = (i % 251) as u8;
    }
    for length in LENGTHS {
        let (mut a, mut b) = (plain, plain);
        let (Some(text_a), Some(text_b)) = (a.get_mut(..length), b.get_mut(..length)) else {
            return Err(mismatch);
        };
        let nonce = [length as u8; 12];
        let aad = plain.get(..length % 14).unwrap_or_default();
        let tag = one.seal(&nonce, aad, text_a).ok_or(mismatch)?;
        if Some(tag) != reference.seal(&nonce, aad, text_b) || text_a != text_b {
            return Err(mismatch);
        }
        let mut forged = tag;
        forged[0] ^= 1;
        if one.open(&nonce, aad, text_b, &forged).is_ok()
            || one.open(&nonce, aad, text_a, &tag).is_err()
            || a != plain
        {
            return Err(mismatch);
        }
    }
    Ok(())
}

fn compare_hash<H: RunningHash, R: RunningHash>(algorithm: &'static str) -> Result<(), Mismatch> {
    let text = [0xa5_u8; 1025];
    for length in LENGTHS {
        let (mut one, mut reference) = (H::new(), R::new());
        let (first, second) = text.split_at(length);
        one.update(first);
        one.update(second);
        reference.update(&text);
        let (mut a, mut b) = ([0; 64], [0; 64]);
        one.finish(&mut a);
        reference.finish(&mut b);
        if a != b {
            return Err(Mismatch { algorithm });
        }
    }
    Ok(())
}
