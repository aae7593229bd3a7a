//! The bulk cryptography of TLS records, as plain functions over RustCrypto.
//!
//! The crate is compiled twice. As an ordinary library it is the portable code, which runs on any
//! processor. With `--cfg bowline_accelerator`, for a target that has the processor's AES,
//! carry-less multiplication and SHA instructions, it is a static library with a C interface
//! (`ffi`) that `bowline.efi` contains beside the portable code, and calls where the processor has
//! them: the UEFI targets of Rust cannot use them themselves. `cargo xtask build` makes both.
//!
//! It is apart from `tls` for a third reason: what every byte goes through is optimized for speed,
//! everything else in the loader for size.
#![no_std]
#![cfg_attr(
    not(any(bowline_accelerator, target_feature = "pclmulqdq")),
    forbid(unsafe_code)
)]

#[cfg(bowline_accelerator)]
pub mod ffi;
#[cfg(all(target_arch = "x86_64", target_feature = "pclmulqdq"))]
#[path = "gcm/x86_64.rs"]
mod gcm;
#[cfg(not(all(target_arch = "x86_64", target_feature = "pclmulqdq")))]
mod gcm;

use aead::consts::{U12, U16};
use aead::inout::InOutBuf;
use aead::{AeadInOut, KeyInit};
use aes::{Aes128Enc, Aes256Enc};
use chacha20poly1305::ChaCha20Poly1305;

/// Length of a nonce in bytes.
pub const NONCE: usize = 12;
/// Length of an authentication tag in bytes.
pub const TAG: usize = 16;

/// Encrypts `text` in place with AES-GCM (NIST SP 800-38D) and returns the tag. `None` unless the
/// key has 16 or 32 bytes, or if the text is too long for the cipher.
pub fn aes_gcm_seal(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG]> {
    match key.len() {
        16 => gcm::seal::<Aes128Enc>(key, nonce, aad, text),
        _ => gcm::seal::<Aes256Enc>(key, nonce, aad, text),
    }
}

/// Checks the tag and decrypts `text` in place with AES-GCM. `None` if the tag is wrong or the key
/// has another length than 16 or 32 bytes; `text` must not be used then.
pub fn aes_gcm_open(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG],
) -> Option<()> {
    match key.len() {
        16 => gcm::open::<Aes128Enc>(key, nonce, aad, text, tag),
        _ => gcm::open::<Aes256Enc>(key, nonce, aad, text, tag),
    }
}

/// Encrypts `text` in place with ChaCha20-Poly1305 (RFC 8439) and returns the tag. `None` unless
/// the key has 32 bytes, or if the text is too long for the cipher.
pub fn chacha20_poly1305_seal(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG]> {
    let cipher = ChaCha20Poly1305::new_from_slice(key).ok()?;
    seal(cipher, nonce, aad, text)
}

/// Checks the tag and decrypts `text` in place with ChaCha20-Poly1305. `None` if the tag is wrong or
/// the key has another length than 32 bytes; `text` must not be used then.
pub fn chacha20_poly1305_open(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG],
) -> Option<()> {
    let cipher = ChaCha20Poly1305::new_from_slice(key).ok()?;
    open(cipher, nonce, aad, text, tag)
}

/// The compression function of SHA-256 (FIPS 180-4 section 6.2.2) over some blocks.
pub fn sha256_blocks(state: &mut [u32; 8], blocks: &[[u8; 64]]) {
    sha2::block_api::compress256(state, blocks);
}

fn seal<C>(cipher: C, nonce: &[u8; NONCE], aad: &[u8], text: &mut [u8]) -> Option<[u8; TAG]>
where
    C: AeadInOut<NonceSize = U12, TagSize = U16>,
{
    let text = InOutBuf::from(text);
    let tag = cipher.encrypt_inout_detached(nonce.into(), aad, text);
    tag.ok().map(Into::into)
}

fn open<C>(
    cipher: C,
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG],
) -> Option<()>
where
    C: AeadInOut<NonceSize = U12, TagSize = U16>,
{
    let text = InOutBuf::from(text);
    let opened = cipher.decrypt_inout_detached(nonce.into(), aad, text, tag.into());
    opened.ok()
}
