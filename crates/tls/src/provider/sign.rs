//! Signing the handshake with a client's key: ECDSA P-256 and P-384, Ed25519, RSA.

use crate::entropy::Random;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use p256::ecdsa::signature::Signer as _;
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::{PaddingScheme as _, PublicKeyParts, SignatureScheme as Padding};
use rsa::{Pkcs1v15Encrypt, Pkcs1v15Sign, Pss, RsaPrivateKey};
use rustls::crypto::KeyProvider;
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id};
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// Loads client keys for `rustls`.
#[derive(Debug)]
pub(super) struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let key = load(&der).map_err(|why| Error::General(why.into()))?;
        Ok(key.signing())
    }
}

/// Reads a private key in PKCS #8, SEC 1 or PKCS #1 form. The error says what is wrong with it.
pub(crate) fn load(der: &PrivateKeyDer<'_>) -> Result<PrivateKey, &'static str> {
    let key = match der {
        PrivateKeyDer::Pkcs8(der) => {
            let der = der.secret_pkcs8_der();
            p256::SecretKey::from_pkcs8_der(der)
                .map(Key::p256)
                .or_else(|_| p384::SecretKey::from_pkcs8_der(der).map(Key::p384))
                .or_else(|_| ed25519_dalek::SigningKey::from_pkcs8_der(der).map(Key::ed25519))
                .or_else(|_| RsaPrivateKey::from_pkcs8_der(der).map(Key::Rsa))
                .map_err(|_| UNKNOWN_KEY)?
        }
        PrivateKeyDer::Sec1(der) => {
            let der = der.secret_sec1_der();
            p256::SecretKey::from_sec1_der(der)
                .map(Key::p256)
                .or_else(|_| p384::SecretKey::from_sec1_der(der).map(Key::p384))
                .map_err(|_| UNKNOWN_KEY)?
        }
        PrivateKeyDer::Pkcs1(der) => RsaPrivateKey::from_pkcs1_der(der.secret_pkcs1_der())
            .map(Key::Rsa)
            .map_err(|_| UNKNOWN_KEY)?,
        _ => return Err(UNKNOWN_KEY),
    };
    if let Key::Rsa(rsa) = &key
        && !super::verification::RSA_BITS.contains(&(rsa.n().bits_vartime() as usize))
    {
        return Err("the RSA key is not between 2048 and 8192 bits long");
    }
    Ok(PrivateKey(Arc::new(key)))
}

/// A private key. Clones share it.
#[derive(Clone)]
pub(crate) struct PrivateKey(Arc<Key>);

impl PrivateKey {
    /// As the handshake wants it.
    pub(crate) fn signing(&self) -> Arc<dyn SigningKey> {
        Arc::new(Shared(self.0.clone()))
    }

    /// Decrypts what was encrypted with the public key (RSAES-PKCS1-v1_5, RFC 8017 section 7.2.2),
    /// the private operation blinded. `None` where the key is not RSA; nothing inside where that
    /// fails.
    pub(crate) fn decrypt(&self, text: &[u8]) -> Option<Option<Zeroizing<Vec<u8>>>> {
        let Key::Rsa(key) = &*self.0 else {
            return None;
        };
        let opened = Pkcs1v15Encrypt.decrypt(Some(&mut Random), key, text);
        Some(opened.ok().map(Zeroizing::new))
    }
}

const UNKNOWN_KEY: &str = "the private key is not ECDSA P-256, ECDSA P-384, Ed25519 or RSA in \
                           PKCS #8, SEC 1 or PKCS #1 form";

/// A private key. Every variant is wiped on drop by its own crate.
enum Key {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
    Rsa(RsaPrivateKey),
}

impl Key {
    fn p256(key: p256::SecretKey) -> Self {
        Self::P256(key.into())
    }

    fn p384(key: p384::SecretKey) -> Self {
        Self::P384(key.into())
    }

    fn ed25519(key: ed25519_dalek::SigningKey) -> Self {
        Self::Ed25519(key)
    }

    /// The schemes this key can sign with, the preferred one first. An RSA key is expected to do
    /// PSS for TLS 1.3 and PKCS #1 for old TLS 1.2 peers.
    fn schemes(&self) -> &'static [SignatureScheme] {
        match self {
            Self::P256(_) => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Self::P384(_) => &[SignatureScheme::ECDSA_NISTP384_SHA384],
            Self::Ed25519(_) => &[SignatureScheme::ED25519],
            Self::Rsa(_) => &[
                SignatureScheme::RSA_PSS_SHA256,
                SignatureScheme::RSA_PSS_SHA384,
                SignatureScheme::RSA_PSS_SHA512,
                SignatureScheme::RSA_PKCS1_SHA256,
                SignatureScheme::RSA_PKCS1_SHA384,
                SignatureScheme::RSA_PKCS1_SHA512,
            ],
        }
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
        // ECDSA nonces are derived from key and message (RFC 6979): no randomness to get wrong.
        Some(match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::DerSignature = key.try_sign(message).ok()?;
                signature.as_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::DerSignature = key.try_sign(message).ok()?;
                signature.as_bytes().to_vec()
            }
            Self::Ed25519(key) => key.try_sign(message).ok()?.to_bytes().to_vec(),
            Self::Rsa(key) => sign_rsa(key, scheme, message)?,
        })
    }
}

/// RSASSA-PSS or RSASSA-PKCS1-v1_5 (RFC 8017 section 8), the private operation blinded.
fn sign_rsa(key: &RsaPrivateKey, scheme: SignatureScheme, message: &[u8]) -> Option<Vec<u8>> {
    fn with(key: &RsaPrivateKey, padding: impl Padding, digest: &[u8]) -> Option<Vec<u8>> {
        padding.sign(Some(&mut Random), key, digest).ok()
    }
    let sha256 = || Sha256::digest(message);
    let sha384 = || Sha384::digest(message);
    let sha512 = || Sha512::digest(message);
    match scheme {
        SignatureScheme::RSA_PSS_SHA256 => with(key, Pss::<Sha256>::new(), &sha256()),
        SignatureScheme::RSA_PSS_SHA384 => with(key, Pss::<Sha384>::new(), &sha384()),
        SignatureScheme::RSA_PSS_SHA512 => with(key, Pss::<Sha512>::new(), &sha512()),
        SignatureScheme::RSA_PKCS1_SHA256 => with(key, Pkcs1v15Sign::new::<Sha256>(), &sha256()),
        SignatureScheme::RSA_PKCS1_SHA384 => with(key, Pkcs1v15Sign::new::<Sha384>(), &sha384()),
        SignatureScheme::RSA_PKCS1_SHA512 => with(key, Pkcs1v15Sign::new::<Sha512>(), &sha512()),
        _ => None,
    }
}

/// The key as the handshake shares it.
struct Shared(Arc<Key>);

impl SigningKey for Shared {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self
            .0
            .schemes()
            .iter()
            .find(|scheme| offered.contains(scheme))?;
        Some(Box::new(Chosen {
            key: self.0.clone(),
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(match &*self.0 {
            Key::P256(key) => public_key_to_spki(
                &alg_id::ECDSA_P256,
                key.verifying_key().to_sec1_point(false),
            ),
            Key::P384(key) => public_key_to_spki(
                &alg_id::ECDSA_P384,
                key.verifying_key().to_sec1_point(false),
            ),
            Key::Ed25519(key) => {
                public_key_to_spki(&alg_id::ED25519, key.verifying_key().as_bytes())
            }
            Key::Rsa(key) => {
                let public = key.to_public_key().to_pkcs1_der().ok()?;
                public_key_to_spki(&alg_id::RSA_ENCRYPTION, public.as_bytes())
            }
        })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match &*self.0 {
            Key::P256(_) | Key::P384(_) => SignatureAlgorithm::ECDSA,
            Key::Ed25519(_) => SignatureAlgorithm::ED25519,
            Key::Rsa(_) => SignatureAlgorithm::RSA,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey")
            .field(&self.algorithm())
            .finish()
    }
}

/// The key with the scheme both sides agreed on.
struct Chosen {
    key: Arc<Key>,
    scheme: SignatureScheme,
}

impl Signer for Chosen {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.key
            .sign(self.scheme, message)
            .ok_or_else(|| Error::General(String::from("the client key could not sign")))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.scheme).finish()
    }
}
