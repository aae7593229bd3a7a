//! AES-GCM of RustCrypto, for one length of keys.

use aead::consts::{U12, U16};
use aead::{AeadInOut, KeyInit};
use aes_gcm::AesGcm;

use crate::{NONCE, TAG};

/// As `aes_gcm_seal` of the crate.
pub(crate) fn seal<C>(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG]>
where
    AesGcm<C, U12>: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit,
{
    crate::seal(
        AesGcm::<C, U12>::new_from_slice(key).ok()?,
        nonce,
        aad,
        text,
    )
}

/// As `aes_gcm_open` of the crate.
pub(crate) fn open<C>(
    key: &[u8],
    nonce: &[u8; NONCE],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG],
) -> Option<()>
where
    AesGcm<C, U12>: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit,
{
    let cipher = AesGcm::<C, U12>::new_from_slice(key).ok()?;
    crate::open(cipher, nonce, aad, text, tag)
}
