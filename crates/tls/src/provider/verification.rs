//! Signatures we accept, on certificates and in the handshake.
//!
//! SHA-1 and MD5 are not here, nor RSA keys under 2048 bits, nor other curves: such signatures are
//! refused as unknown or invalid, and `verify` finds the words for it.

use core::fmt;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::pkcs1::der::Decode;
use rsa::{BoxedUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use rustls::SignatureScheme;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// RSA moduli we verify with, in bits. The upper end bounds the time one signature can cost.
pub(crate) const RSA_BITS: core::ops::RangeInclusive<usize> = 2048..=8192;

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// Everything, and what each TLS signature scheme means. In TLS 1.2 an ECDSA scheme names only the
/// hash (RFC 8422 section 5.1.1), so each lists both curves; the first is TLS 1.3's.
pub(crate) const ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[
        ECDSA_P256_SHA256,
        ECDSA_P256_SHA384,
        ECDSA_P384_SHA256,
        ECDSA_P384_SHA384,
        ECDSA_P256_SHA512,
        ECDSA_P384_SHA512,
        ED25519,
        RSA_PSS_SHA256,
        RSA_PSS_SHA384,
        RSA_PSS_SHA512,
        RSA_PKCS1_SHA256,
        RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512,
        RSA_PKCS1_SHA256_NO_NULL,
        RSA_PKCS1_SHA384_NO_NULL,
        RSA_PKCS1_SHA512_NO_NULL,
    ],
    mapping: &[
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            &[ECDSA_P256_SHA256, ECDSA_P384_SHA256],
        ),
        (
            SignatureScheme::ECDSA_NISTP384_SHA384,
            &[ECDSA_P384_SHA384, ECDSA_P256_SHA384],
        ),
        (SignatureScheme::ED25519, &[ED25519]),
        (SignatureScheme::RSA_PSS_SHA256, &[RSA_PSS_SHA256]),
        (SignatureScheme::RSA_PSS_SHA384, &[RSA_PSS_SHA384]),
        (SignatureScheme::RSA_PSS_SHA512, &[RSA_PSS_SHA512]),
        (SignatureScheme::RSA_PKCS1_SHA256, &[RSA_PKCS1_SHA256]),
        (SignatureScheme::RSA_PKCS1_SHA384, &[RSA_PKCS1_SHA384]),
        (SignatureScheme::RSA_PKCS1_SHA512, &[RSA_PKCS1_SHA512]),
    ],
};

/// Takes public key, message and signature.
type Verify = fn(&[u8], &[u8], &[u8]) -> Option<()>;

struct Verification {
    name: &'static str,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
    verify: Verify,
}

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        (self.verify)(key, message, signature).ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! verifications {
    ($($name:ident: $key:expr, $signature:expr, $verify:expr;)*) => {
        $(const $name: Algorithm = &Verification {
            name: stringify!($name),
            key: $key,
            signature: $signature,
            verify: $verify,
        };)*
    };
}

verifications! {
    ECDSA_P256_SHA256: alg_id::ECDSA_P256, alg_id::ECDSA_SHA256, ecdsa_p256::<Sha256>;
    ECDSA_P256_SHA384: alg_id::ECDSA_P256, alg_id::ECDSA_SHA384, ecdsa_p256::<Sha384>;
    ECDSA_P256_SHA512: alg_id::ECDSA_P256, alg_id::ECDSA_SHA512, ecdsa_p256::<Sha512>;
    ECDSA_P384_SHA256: alg_id::ECDSA_P384, alg_id::ECDSA_SHA256, ecdsa_p384::<Sha256>;
    ECDSA_P384_SHA384: alg_id::ECDSA_P384, alg_id::ECDSA_SHA384, ecdsa_p384::<Sha384>;
    ECDSA_P384_SHA512: alg_id::ECDSA_P384, alg_id::ECDSA_SHA512, ecdsa_p384::<Sha512>;
    ED25519: alg_id::ED25519, alg_id::ED25519, ed25519;
    RSA_PSS_SHA256: alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA256, rsa_pss_sha256;
    RSA_PSS_SHA384: alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA384, rsa_pss_sha384;
    RSA_PSS_SHA512: alg_id::RSA_ENCRYPTION, alg_id::RSA_PSS_SHA512, rsa_pss_sha512;
    RSA_PKCS1_SHA256: alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA256, rsa_pkcs1_sha256;
    RSA_PKCS1_SHA384: alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA384, rsa_pkcs1_sha384;
    RSA_PKCS1_SHA512: alg_id::RSA_ENCRYPTION, alg_id::RSA_PKCS1_SHA512, rsa_pkcs1_sha512;
    RSA_PKCS1_SHA256_NO_NULL: alg_id::RSA_ENCRYPTION, NO_NULL_SHA256, rsa_pkcs1_sha256;
    RSA_PKCS1_SHA384_NO_NULL: alg_id::RSA_ENCRYPTION, NO_NULL_SHA384, rsa_pkcs1_sha384;
    RSA_PKCS1_SHA512_NO_NULL: alg_id::RSA_ENCRYPTION, NO_NULL_SHA512, rsa_pkcs1_sha512;
}

// RFC 4055 section 5: the parameters of these should be NULL, but their absence must be accepted.
const NO_NULL_SHA256: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b,
]);
const NO_NULL_SHA384: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c,
]);
const NO_NULL_SHA512: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d,
]);

fn ecdsa_p256<D: Digest>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(&D::digest(message), &signature).ok()
}

fn ecdsa_p384<D: Digest>(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
    let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(key).ok()?;
    key.verify_prehash(&D::digest(message), &signature).ok()
}

fn ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
    let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
    key.verify_strict(message, &signature).ok()
}

/// RFC 8017 appendix A.1.1: `RSAPublicKey`.
fn rsa_key(der: &[u8]) -> Option<RsaPublicKey> {
    let key = rsa::pkcs1::RsaPublicKey::<rsa::pkcs1::UintRef<'_>>::from_der(der).ok()?;
    let modulus = key.modulus.as_bytes();
    if modulus.len().checked_mul(8)? > *RSA_BITS.end() {
        return None;
    }
    let n = BoxedUint::from_be_slice_vartime(modulus);
    let e = BoxedUint::from_be_slice_vartime(key.public_exponent.as_bytes());
    RsaPublicKey::new_with_size_limits(n, e, RSA_BITS).ok()
}

macro_rules! rsa {
    ($pkcs1:ident, $pss:ident, $hash:ty) => {
        fn $pkcs1(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
            let padding = Pkcs1v15Sign::new::<$hash>();
            let digest = <$hash>::digest(message);
            rsa_key(key)?.verify(padding, &digest, signature).ok()
        }

        // RFC 8446 section 4.2.3: the salt is as long as the digest.
        fn $pss(key: &[u8], message: &[u8], signature: &[u8]) -> Option<()> {
            let padding = Pss::<$hash>::new();
            let digest = <$hash>::digest(message);
            rsa_key(key)?.verify(padding, &digest, signature).ok()
        }
    };
}

rsa!(rsa_pkcs1_sha256, rsa_pss_sha256, Sha256);
rsa!(rsa_pkcs1_sha384, rsa_pss_sha384, Sha384);
rsa!(rsa_pkcs1_sha512, rsa_pss_sha512, Sha512);
