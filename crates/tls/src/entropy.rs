//! Randomness: one generator for the whole program, fed by whatever the platform has.
//!
//! TLS needs unpredictable bytes in places that have no context argument (`rustls` asks for
//! `&'static dyn SecureRandom`), so the generator is a static. It is ChaCha20 with fast key erasure:
//! each request replaces the key before any output leaves, so a later look at memory reveals
//! nothing that was handed out earlier. Contributions are hashed into the key, never exchanged for
//! it: a bad source can add nothing, but it cannot take anything away.
//!
//! Nothing comes out before [`SECURITY_BITS`] have been credited. The lock is held for one ChaCha20
//! block and is never waited for without end: code that a timer event runs in the middle of it gets
//! [`Unavailable::Busy`], not a dead machine.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use core::fmt;
use rsa::rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};
use spin::Mutex;
use zeroize::{Zeroize, Zeroizing};

/// Credited bits that must have been mixed in before the first byte is handed out.
pub const SECURITY_BITS: u32 = 256;

/// How often a busy lock is tried before the request fails.
const LOCK_ATTEMPTS: u32 = 1 << 20;

static GENERATOR: Mutex<Generator> = Mutex::new(Generator::new());

/// A place unpredictable bytes come from: the firmware's RNG protocol, a CPU instruction, a TPM,
/// timing jitter.
pub trait Entropy {
    /// What the console calls it.
    fn name(&self) -> &str;

    /// Fills `buffer` and returns how many bits of it an attacker cannot guess, carefully
    /// estimated; 0 when there was nothing to be had (what was written is mixed in all the same).
    fn gather(&mut self, buffer: &mut [u8; 64]) -> u32;
}

/// Why there are no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The sources have not credited enough yet.
    NotEnough {
        /// Credited bits so far.
        have: u32,
    },
    /// The generator was in use when a nested call wanted it.
    Busy,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotEnough { have } => write!(
                f,
                "not enough randomness: {have} of {SECURITY_BITS} bits; the firmware offers no \
                 random number generator that could be used"
            ),
            Self::Busy => write!(f, "the random number generator is in use"),
        }
    }
}

impl core::error::Error for Unavailable {}

/// Asks `source` once and mixes in what it gives. Returns the bits it credits.
pub fn mix(source: &mut dyn Entropy) -> Result<u32, Unavailable> {
    let mut buffer = Zeroizing::new([0_u8; 64]);
    let bits = source.gather(&mut buffer).min(512);
    with_generator(|generator| {
        generator.add(source.name().as_bytes(), 0);
        generator.add(&buffer[..], bits);
    })?;
    Ok(bits)
}

/// Mixes in `bytes`, of which `credited_bits` cannot be guessed.
pub fn add(bytes: &[u8], credited_bits: u32) -> Result<(), Unavailable> {
    with_generator(|generator| generator.add(bytes, credited_bits))
}

/// Whether [`fill`] would work.
pub fn ready() -> Result<(), Unavailable> {
    with_generator(|generator| generator.ready())?
}

/// Fills `output` with unpredictable bytes.
pub fn fill(output: &mut [u8]) -> Result<(), Unavailable> {
    let key = with_generator(Generator::request)??;
    stream(&key, output);
    Ok(())
}

fn with_generator<T>(work: impl FnOnce(&mut Generator) -> T) -> Result<T, Unavailable> {
    for _ in 0..LOCK_ATTEMPTS {
        if let Some(mut generator) = GENERATOR.try_lock() {
            return Ok(work(&mut generator));
        }
        core::hint::spin_loop();
    }
    Err(Unavailable::Busy)
}

/// The generator's state: a key that never leaves, and how much is in it.
struct Generator {
    key: [u8; 32],
    credited: u32,
}

impl Generator {
    const fn new() -> Self {
        Self {
            key: [0; 32],
            credited: 0,
        }
    }

    fn add(&mut self, bytes: &[u8], bits: u32) {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
        self.key.copy_from_slice(&hash.finalize());
        self.credited = self.credited.saturating_add(bits);
    }

    fn ready(&self) -> Result<(), Unavailable> {
        if self.credited < SECURITY_BITS {
            return Err(Unavailable::NotEnough {
                have: self.credited,
            });
        }
        Ok(())
    }

    /// A key for one request's output, and a new key in place of the one it came from.
    fn request(&mut self) -> Result<Zeroizing<[u8; 32]>, Unavailable> {
        self.ready()?;
        let mut block = Zeroizing::new([0_u8; 64]);
        stream(&self.key, &mut block[..]);
        let (next, output) = block.split_at(32);
        self.key.copy_from_slice(next);
        let mut key = Zeroizing::new([0_u8; 32]);
        key.copy_from_slice(output);
        Ok(key)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The ChaCha20 key stream of `key` (RFC 8439 section 2.4, nonce zero: every key is used once).
fn stream(key: &[u8; 32], output: &mut [u8]) {
    output.fill(0);
    ChaCha20::new(&(*key).into(), &[0_u8; 12].into()).apply_keystream(output);
}

/// The generator as the cryptographic crates want to see it.
///
/// It is only made after [`ready`] said yes; should the generator be busy all the same, the
/// operation that wanted it fails.
#[derive(Debug)]
pub(crate) struct Random;

impl TryRng for Random {
    type Error = Unavailable;

    fn try_next_u32(&mut self) -> Result<u32, Unavailable> {
        let mut bytes = [0; 4];
        fill(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Unavailable> {
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Unavailable> {
        fill(output)
    }
}

impl TryCryptoRng for Random {}

impl rustls::crypto::SecureRandom for Random {
    fn fill(&self, output: &mut [u8]) -> Result<(), rustls::crypto::GetRandomFailed> {
        fill(output).map_err(|_| rustls::crypto::GetRandomFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(bits: u32) -> Generator {
        let mut generator = Generator::new();
        generator.add(b"seed", bits);
        generator
    }

    fn draw(generator: &mut Generator) -> [u8; 40] {
        let key = generator.request().unwrap();
        let mut output = [0; 40];
        stream(&key, &mut output);
        output
    }

    #[test]
    fn nothing_comes_out_before_enough_went_in() {
        let mut generator = seeded(SECURITY_BITS - 1);
        assert_eq!(
            generator.request().unwrap_err(),
            Unavailable::NotEnough { have: 255 }
        );
        generator.add(b"", 1);
        assert!(generator.request().is_ok());
    }

    #[test]
    fn output_never_repeats_and_the_key_moves_on() {
        let mut generator = seeded(256);
        let before = generator.key;
        let first = draw(&mut generator);
        assert_ne!(generator.key, before);
        assert_ne!(draw(&mut generator), first);
    }

    #[test]
    fn same_contributions_same_output_and_any_difference_shows() {
        assert_eq!(draw(&mut seeded(256)), draw(&mut seeded(256)));
        let mut other = seeded(256);
        other.add(&[0], 0);
        assert_ne!(draw(&mut seeded(256)), draw(&mut other));
    }

    #[test]
    fn contributions_do_not_run_together() {
        let (mut one, mut two) = (seeded(256), seeded(256));
        one.add(b"ab", 0);
        one.add(b"c", 0);
        two.add(b"a", 0);
        two.add(b"bc", 0);
        assert_ne!(draw(&mut one), draw(&mut two));
    }

    /// RFC 8439 appendix A.1, test vector #1: key and nonce all zero.
    #[test]
    fn stream_is_chacha20() {
        let mut output = [0; 8];
        stream(&[0; 32], &mut output);
        assert_eq!(output, [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
    }
}
