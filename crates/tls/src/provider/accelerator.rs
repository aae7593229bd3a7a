//! The accelerator: functions that use the processor's own instructions. Whoever knows the processor
//! hands them in at start; from then on [`Fastest`] calls them, if they compute what the portable
//! code computes.

use super::backend::{Aead, Backend, Keyed, Mismatch, Open, RunningHash, Seal, self_test};
use alloc::boxed::Box;
use bowline_cipher as cipher;
use core::time::Duration;
use sha2::Sha384;
use spin::Mutex;
use zeroize::Zeroize;

/// Functions with the contract of those of the same name in `bowline_cipher`.
#[derive(Clone, Copy, Debug)]
pub struct Accelerator {
    /// Encrypts with AES-GCM: key of 16 or 32 bytes, nonce, additional data, text; gives the tag.
    pub aes_gcm_seal: Seal,
    /// Decrypts with AES-GCM and checks the tag.
    pub aes_gcm_open: Open,
    /// SHA-256's compression function over some blocks.
    pub sha256_blocks: Blocks,
}

type Blocks = fn(&mut [u32; 8], &[[u8; 64]]);

const PORTABLE: Accelerator = Accelerator {
    aes_gcm_seal: cipher::aes_gcm_seal,
    aes_gcm_open: cipher::aes_gcm_open,
    sha256_blocks: cipher::sha256_blocks,
};

struct Chosen {
    functions: Accelerator,
    aes_first: bool,
}

static CHOSEN: Mutex<Chosen> = Mutex::new(Chosen {
    functions: PORTABLE,
    aes_first: false,
});

/// Takes `accelerator` into use, unless it gives other results than the portable code, which is
/// used then.
pub fn accelerate(accelerator: Accelerator) -> Result<(), Mismatch> {
    CHOSEN.lock().functions = accelerator;
    let tested = self_test::<Fastest>();
    if tested.is_err() {
        CHOSEN.lock().functions = PORTABLE;
    }
    tested
}

/// Finds out which cipher is faster on this machine, to be offered first. Takes about a millisecond;
/// `now` is the time since any moment.
///
/// What the processor says it has does not decide it: an emulator may have AES instructions that
/// are slower than ChaCha20.
pub fn prefer_faster(now: &dyn Fn() -> Duration) {
    let aes = time(&*Fastest::aes_128_gcm(&[0; 16]), now);
    let chacha20 = time(&*Fastest::chacha20_poly1305(&[0; 32]), now);
    CHOSEN.lock().aes_first = aes < chacha20;
}

/// The shortest time that sealing took: interruptions only ever add.
fn time(aead: &dyn Aead, now: &dyn Fn() -> Duration) -> Duration {
    let mut text = [0; 4096];
    let once = || {
        let start = now();
        let _ = aead.seal(&[0; 12], &[], &mut text);
        now().saturating_sub(start)
    };
    core::iter::repeat_with(once)
        .take(5)
        .min()
        .unwrap_or_default()
}

/// The fastest that this machine can do: the accelerator where there is one, else portable code.
#[derive(Clone, Copy, Debug)]
pub struct Fastest;

impl Fastest {
    fn aes_gcm<const N: usize>(key: &[u8; N]) -> Box<dyn Aead> {
        let functions = CHOSEN.lock().functions;
        Keyed::boxed(key, functions.aes_gcm_seal, functions.aes_gcm_open)
    }
}

impl Backend for Fastest {
    type Sha256 = Sha256;
    type Sha384 = Sha384;

    fn has_fast_aes() -> bool {
        CHOSEN.lock().aes_first
    }

    fn aes_128_gcm(key: &[u8; 16]) -> Box<dyn Aead> {
        Self::aes_gcm(key)
    }

    fn aes_256_gcm(key: &[u8; 32]) -> Box<dyn Aead> {
        Self::aes_gcm(key)
    }

    fn chacha20_poly1305(key: &[u8; 32]) -> Box<dyn Aead> {
        super::Portable::chacha20_poly1305(key)
    }
}

/// SHA-256 (FIPS 180-4 section 6.2) around a compression function.
#[derive(Clone)]
pub struct Sha256 {
    blocks: Blocks,
    state: [u32; 8],
    /// Begun block: the first `length % 64` bytes count.
    buffer: [u8; BLOCK],
    length: u64,
}

const BLOCK: usize = 64;

impl Sha256 {
    /// How much of the buffer is filled.
    fn filled(&self) -> usize {
        (self.length % BLOCK as u64) as usize
    }
}

impl RunningHash for Sha256 {
    const OUTPUT: usize = 32;
    const BLOCK: usize = BLOCK;

    fn new() -> Self {
        Self {
            blocks: CHOSEN.lock().functions.sha256_blocks,
            // FIPS 180-4 section 5.3.3.
            state: [
                0x6a09_e667,
                0xbb67_ae85,
                0x3c6e_f372,
                0xa54f_f53a,
                0x510e_527f,
                0x9b05_688c,
                0x1f83_d9ab,
                0x5be0_cd19,
            ],
            buffer: [0; BLOCK],
            length: 0,
        }
    }

    fn update(&mut self, mut data: &[u8]) {
        let filled = self.filled();
        self.length = self.length.wrapping_add(data.len() as u64);
        if filled > 0 {
            let room = self.buffer.iter_mut().skip(filled);
            let taken = room.zip(data).map(|(to, from)| *to = *from).count();
            if filled + taken < BLOCK {
                return;
            }
            (self.blocks)(&mut self.state, &[self.buffer]);
            data = data.get(taken..).unwrap_or_default();
        }
        let (blocks, rest) = data.as_chunks();
        (self.blocks)(&mut self.state, blocks);
        for (to, from) in self.buffer.iter_mut().zip(rest) {
            *to = *from;
        }
    }

    fn finish(mut self, output: &mut [u8; 64]) {
        // FIPS 180-4 section 5.1.1: a one bit, zeros, and the length in bits fill the last block.
        let bits = self.length.wrapping_mul(8).to_be_bytes();
        let zeros = (2 * BLOCK - 1 - bits.len() - self.filled()) % BLOCK;
        self.update(&[0x80]);
        self.update([0; BLOCK].get(..zeros).unwrap_or_default());
        self.update(&bits);
        let digest = self.state.iter().flat_map(|word| word.to_be_bytes());
        for (to, from) in output.iter_mut().zip(digest) {
            *to = from;
        }
    }
}

impl Drop for Sha256 {
    fn drop(&mut self) {
        self.state.zeroize();
        self.buffer.zeroize();
    }
}

impl core::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sha256").finish_non_exhaustive()
    }
}
