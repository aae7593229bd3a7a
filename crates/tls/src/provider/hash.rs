//! Hash and HMAC (RFC 2104) over a back end's running hashes, as `rustls` wants them.

use super::backend::RunningHash;
use alloc::boxed::Box;
use core::marker::PhantomData;
use rustls::crypto::hash::{Context, Hash, HashAlgorithm, Output};
use rustls::crypto::hmac::{Hmac, Key, Tag};
use zeroize::Zeroizing;

/// The hash function `H`.
pub(super) struct HashOf<H>(pub(super) HashAlgorithm, pub(super) PhantomData<H>);

impl<H: RunningHash> Hash for HashOf<H> {
    fn start(&self) -> Box<dyn Context> {
        Box::new(Running(H::new()))
    }

    fn hash(&self, data: &[u8]) -> Output {
        let mut hash = H::new();
        hash.update(data);
        Output::new(digest(hash, &mut Zeroizing::new([0; 64])))
    }

    fn output_len(&self) -> usize {
        H::OUTPUT
    }

    fn algorithm(&self) -> HashAlgorithm {
        self.0
    }
}

struct Running<H>(H);

impl<H: RunningHash> Context for Running<H> {
    fn fork_finish(&self) -> Output {
        Output::new(digest(self.0.clone(), &mut Zeroizing::new([0; 64])))
    }

    fn fork(&self) -> Box<dyn Context> {
        Box::new(Self(self.0.clone()))
    }

    fn finish(self: Box<Self>) -> Output {
        Output::new(digest(self.0, &mut Zeroizing::new([0; 64])))
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
}

/// HMAC with hash function `H`.
pub(super) struct HmacOf<H>(pub(super) PhantomData<H>);

impl<H: RunningHash> Hmac for HmacOf<H> {
    fn with_key(&self, key: &[u8]) -> Box<dyn Key> {
        let mut shortened = Zeroizing::new([0; 64]);
        let key = if key.len() > H::BLOCK {
            let mut hash = H::new();
            hash.update(key);
            digest(hash, &mut shortened)
        } else {
            key
        };
        Box::new(HmacKey {
            inner: padded::<H>(key, 0x36),
            outer: padded::<H>(key, 0x5c),
        })
    }

    fn hash_output_len(&self) -> usize {
        H::OUTPUT
    }
}

/// A hash that has taken in the key, each byte of its block XORed with `pad`.
fn padded<H: RunningHash>(key: &[u8], pad: u8) -> H {
    let mut block = Zeroizing::new([pad; 128]);
    for (byte, key) in block.iter_mut().zip(key) {
        *byte ^= key;
    }
    let mut hash = H::new();
    hash.update(block.get(..H::BLOCK).unwrap_or_default());
    hash
}

struct HmacKey<H> {
    inner: H,
    outer: H,
}

impl<H: RunningHash> Key for HmacKey<H> {
    fn sign_concat(&self, first: &[u8], middle: &[&[u8]], last: &[u8]) -> Tag {
        let mut inner = self.inner.clone();
        inner.update(first);
        for part in middle {
            inner.update(part);
        }
        inner.update(last);
        let mut buffer = Zeroizing::new([0; 64]);
        let mut outer = self.outer.clone();
        outer.update(digest(inner, &mut buffer));
        Tag::new(digest(outer, &mut buffer))
    }

    fn tag_len(&self) -> usize {
        H::OUTPUT
    }
}

fn digest<H: RunningHash>(hash: H, buffer: &mut [u8; 64]) -> &[u8] {
    hash.finish(buffer);
    buffer.get(..H::OUTPUT).unwrap_or_default()
}
