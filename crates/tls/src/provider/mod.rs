//! The cryptography under TLS: a `rustls` provider of our own over the RustCrypto crates.
//!
//! Only what the loader wants to speak is in it (RFC 8446, RFC 5288/5289, RFC 7905): AES-GCM and
//! ChaCha20-Poly1305, ECDHE over X25519, P-256 and P-384, signatures by ECDSA, RSA (PSS and PKCS #1
//! version 1.5, SHA-2 only) and Ed25519. What is not in it cannot be negotiated.
//!
//! The bulk work (record encryption and hashing) goes through [`Backend`]: [`Portable`], or
//! [`Fastest`], in which an [`Accelerator`] with the processor's AES instructions can take its place
//! at run time, once [`self_test`] has compared it with the portable code.
//!
//! Timing: the portable AES is bit-sliced and its GHASH uses multiplication without tables; the
//! curves use complete formulas and constant-time selection; RSA signing is blinded, yet the `rsa`
//! crate makes no promise against local timing attacks, so ECDSA client keys are the better choice.

mod accelerator;
mod backend;
mod hash;
mod key_exchange;
mod record;
pub(crate) mod sign;
mod suites;
pub(crate) mod verification;

pub use accelerator::{Accelerator, Fastest, accelerate, prefer_faster};
pub use backend::{Aead, Backend, Forged, Mismatch, NONCE, Portable, RunningHash, TAG, self_test};

use crate::entropy::Random;
use alloc::sync::Arc;
use rustls::crypto::CryptoProvider;

/// The provider over back end `B`. ChaCha20-Poly1305 comes first unless AES is faster.
pub fn provider<B: Backend>() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites::preferred::<B>(),
        kx_groups: key_exchange::GROUPS.to_vec(),
        signature_verification_algorithms: verification::ALGORITHMS,
        secure_random: &Random,
        key_provider: &sign::Keys,
    })
}

#[cfg(test)]
mod tests;
