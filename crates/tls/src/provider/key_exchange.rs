//! Ephemeral Diffie-Hellman: X25519 (RFC 7748), P-256 and P-384 (RFC 8446 section 4.2.8.2).

use crate::entropy;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use p256::elliptic_curve;
use p256::elliptic_curve::sec1::ToSec1Point;
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// The groups we offer, the preferred one first.
pub(super) static GROUPS: [&dyn SupportedKxGroup; 3] = [
    &Group {
        name: NamedGroup::X25519,
        start: X25519::start,
    },
    &Group {
        name: NamedGroup::secp256r1,
        start: P256::start,
    },
    &Group {
        name: NamedGroup::secp384r1,
        start: P384::start,
    },
];

struct Group {
    name: NamedGroup,
    start: fn() -> Result<Box<dyn ActiveKeyExchange>, Error>,
}

impl SupportedKxGroup for Group {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        (self.start)()
    }

    fn name(&self) -> NamedGroup {
        self.name
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

struct X25519 {
    secret: StaticSecret,
    public: PublicKey,
}

impl X25519 {
    fn start() -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy::fill(&mut bytes[..]).map_err(|_| GetRandomFailed)?;
        let secret = StaticSecret::from(*bytes);
        let public = PublicKey::from(&secret);
        Ok(Box::new(Self { secret, public }))
    }
}

impl ActiveKeyExchange for X25519 {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = <[u8; 32]>::try_from(peer).map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(peer));
        // RFC 8446 section 7.4.2: the all-zero value means a point of small order.
        if !shared.was_contributory() {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(&shared.as_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

macro_rules! nist_curve {
    ($name:ident, $curve:ident, $group:expr, scalar $length:literal) => {
        struct $name {
            secret: $curve::SecretKey,
            public: Vec<u8>,
        }

        impl $name {
            fn start() -> Result<Box<dyn ActiveKeyExchange>, Error> {
                let secret = loop {
                    let mut bytes = Zeroizing::new([0; $length]);
                    entropy::fill(&mut bytes[..]).map_err(|_| GetRandomFailed)?;
                    // Zero and values of the group order or more are drawn again (FIPS 186-5 A.2.2).
                    if let Ok(secret) = $curve::SecretKey::from_slice(&bytes[..]) {
                        break secret;
                    }
                };
                let public = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
                Ok(Box::new(Self { secret, public }))
            }
        }

        impl ActiveKeyExchange for $name {
            fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
                // RFC 8446 section 4.2.8.2: only the uncompressed form, and the point must be on
                // the curve (`from_sec1_bytes` checks).
                let peer = match peer.first() {
                    Some(4) => $curve::PublicKey::from_sec1_bytes(peer).ok(),
                    _ => None,
                };
                let peer = peer.ok_or(PeerMisbehaved::InvalidKeyShare)?;
                let shared = elliptic_curve::ecdh::diffie_hellman(
                    self.secret.to_nonzero_scalar(),
                    peer.as_affine(),
                );
                Ok(SharedSecret::from(&shared.raw_secret_bytes()[..]))
            }

            fn pub_key(&self) -> &[u8] {
                &self.public
            }

            fn group(&self) -> NamedGroup {
                $group
            }
        }
    };
}

nist_curve!(P256, p256, NamedGroup::secp256r1, scalar 32);
nist_curve!(P384, p384, NamedGroup::secp384r1, scalar 48);
