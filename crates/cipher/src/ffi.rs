//! The C interface of the accelerator: pointers and lengths, because the loader and this library
//! are compiled for different targets and share nothing else. `loader/src/accelerator.rs` declares
//! the same functions.
//!
//! Every pointer must be valid for the length that goes with it (nonce 12, tag 16, state 8 words)
//! for the time of the call, and what is written must overlap nothing else. A length may be zero,
//! the pointer may then be any that is not null.

use core::panic::PanicInfo;
use core::slice::{from_raw_parts, from_raw_parts_mut};

use crate::{NONCE, TAG, aes_gcm_open, aes_gcm_seal, sha256_blocks};

/// [`aes_gcm_seal`]; false for `None`.
///
/// # Safety
///
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bowline_aes_gcm_seal(
    key: *const u8,
    key_len: usize,
    nonce: *const [u8; NONCE],
    aad: *const u8,
    aad_len: usize,
    text: *mut u8,
    text_len: usize,
    tag: *mut [u8; TAG],
) -> bool {
    // SAFETY: the caller vouches for all pointers and lengths, as the module says.
    let (key, nonce, aad) = unsafe { input(key, key_len, nonce, aad, aad_len) };
    // SAFETY: the same.
    let text = unsafe { from_raw_parts_mut(text, text_len) };
    match aes_gcm_seal(key, nonce, aad, text) {
        Some(made) => {
            // SAFETY: the same.
            unsafe { tag.write(made) };
            true
        }
        None => false,
    }
}

/// [`aes_gcm_open`]; false for `None`.
///
/// # Safety
///
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bowline_aes_gcm_open(
    key: *const u8,
    key_len: usize,
    nonce: *const [u8; NONCE],
    aad: *const u8,
    aad_len: usize,
    text: *mut u8,
    text_len: usize,
    tag: *const [u8; TAG],
) -> bool {
    // SAFETY: the caller vouches for all pointers and lengths, as the module says.
    let (key, nonce, aad) = unsafe { input(key, key_len, nonce, aad, aad_len) };
    // SAFETY: the same.
    let text = unsafe { from_raw_parts_mut(text, text_len) };
    // SAFETY: the same.
    let tag = unsafe { &*tag };
    aes_gcm_open(key, nonce, aad, text, tag).is_some()
}

/// [`sha256_blocks`] over `count` blocks of 64 bytes.
///
/// # Safety
///
/// See the module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bowline_sha256_blocks(
    state: *mut [u32; 8],
    blocks: *const [u8; 64],
    count: usize,
) {
    // SAFETY: the caller vouches for all pointers and lengths, as the module says.
    let state = unsafe { &mut *state };
    // SAFETY: the same.
    let blocks = unsafe { from_raw_parts(blocks, count) };
    sha256_blocks(state, blocks);
}

/// # Safety
///
/// See the module.
unsafe fn input<'a>(
    key: *const u8,
    key_len: usize,
    nonce: *const [u8; NONCE],
    aad: *const u8,
    aad_len: usize,
) -> (&'a [u8], &'a [u8; NONCE], &'a [u8]) {
    // SAFETY: the caller vouches for all pointers and lengths, as the module says.
    let key = unsafe { from_raw_parts(key, key_len) };
    // SAFETY: the same.
    let nonce = unsafe { &*nonce };
    // SAFETY: the same.
    let aad = unsafe { from_raw_parts(aad, aad_len) };
    (key, nonce, aad)
}

/// A library needs one by itself; nothing above panics, and no panic may cross a C interface.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
