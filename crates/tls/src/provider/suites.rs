//! The cipher suites, over any back end.

use super::backend::Backend;
use super::hash::{HashOf, HmacOf};
use super::record::{Cipher, Tls12ChaCha20, Tls12Gcm, keyed};
use alloc::vec::Vec;
use core::marker::PhantomData;
use rustls::crypto::hash::HashAlgorithm;
use rustls::crypto::tls12::PrfUsingHmac;
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::crypto::{CipherSuiteCommon, KeyExchangeAlgorithm};
use rustls::{
    CipherSuite, SignatureScheme, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite,
};

/// RFC 8446 section 5.5: records one AES-GCM key may protect.
const AES_GCM_RECORDS: u64 = 1 << 24;

/// RFC 8422 section 5.1.3: what may sign the key exchange of an ECDHE_ECDSA suite.
static ECDSA_SCHEMES: [SignatureScheme; 3] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
];

/// The same for an ECDHE_RSA suite.
static RSA_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

/// All suites in order of preference: TLS 1.3 first, within a version the fastest cipher first.
pub(super) fn preferred<B: Backend>() -> Vec<SupportedCipherSuite> {
    let mut tls13 = [
        Suites::<B>::TLS13_CHACHA20,
        Suites::<B>::TLS13_AES_128,
        Suites::<B>::TLS13_AES_256,
    ];
    let mut tls12 = [
        Suites::<B>::ECDSA_CHACHA20,
        Suites::<B>::RSA_CHACHA20,
        Suites::<B>::ECDSA_AES_128,
        Suites::<B>::RSA_AES_128,
        Suites::<B>::ECDSA_AES_256,
        Suites::<B>::RSA_AES_256,
    ];
    if B::has_fast_aes() {
        // ChaCha20 comes last.
        tls13.rotate_left(1);
        tls12.rotate_left(2);
    }
    let tls13 = tls13.into_iter().map(SupportedCipherSuite::Tls13);
    let tls12 = tls12.into_iter().map(SupportedCipherSuite::Tls12);
    tls13.chain(tls12).collect()
}

/// A place to hang constants that depend on the back end.
struct Suites<B>(PhantomData<B>);

impl<B: Backend> Suites<B> {
    const AES_128: Cipher = Cipher {
        key_len: 16,
        make: |key| keyed(key, B::aes_128_gcm),
    };
    const AES_256: Cipher = Cipher {
        key_len: 32,
        make: |key| keyed(key, B::aes_256_gcm),
    };
    const CHACHA20: Cipher = Cipher {
        key_len: 32,
        make: |key| keyed(key, B::chacha20_poly1305),
    };

    const fn sha256(suite: CipherSuite, records: u64) -> CipherSuiteCommon {
        CipherSuiteCommon {
            suite,
            hash_provider: &HashOf::<B::Sha256>(HashAlgorithm::SHA256, PhantomData),
            confidentiality_limit: records,
        }
    }

    const fn sha384(suite: CipherSuite, records: u64) -> CipherSuiteCommon {
        CipherSuiteCommon {
            suite,
            hash_provider: &HashOf::<B::Sha384>(HashAlgorithm::SHA384, PhantomData),
            confidentiality_limit: records,
        }
    }

    const TLS13_CHACHA20: &'static Tls13CipherSuite = &Tls13CipherSuite {
        common: Self::sha256(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, u64::MAX),
        hkdf_provider: &HkdfUsingHmac(&HmacOf::<B::Sha256>(PhantomData)),
        aead_alg: &Self::CHACHA20,
        quic: None,
    };

    const TLS13_AES_128: &'static Tls13CipherSuite = &Tls13CipherSuite {
        common: Self::sha256(CipherSuite::TLS13_AES_128_GCM_SHA256, AES_GCM_RECORDS),
        hkdf_provider: &HkdfUsingHmac(&HmacOf::<B::Sha256>(PhantomData)),
        aead_alg: &Self::AES_128,
        quic: None,
    };

    const TLS13_AES_256: &'static Tls13CipherSuite = &Tls13CipherSuite {
        common: Self::sha384(CipherSuite::TLS13_AES_256_GCM_SHA384, AES_GCM_RECORDS),
        hkdf_provider: &HkdfUsingHmac(&HmacOf::<B::Sha384>(PhantomData)),
        aead_alg: &Self::AES_256,
        quic: None,
    };

    const fn chacha20(suite: CipherSuite, sign: &'static [SignatureScheme]) -> Tls12CipherSuite {
        Tls12CipherSuite {
            common: Self::sha256(suite, u64::MAX),
            prf_provider: &PrfUsingHmac(&HmacOf::<B::Sha256>(PhantomData)),
            kx: KeyExchangeAlgorithm::ECDHE,
            sign,
            aead_alg: &Tls12ChaCha20(Self::CHACHA20),
        }
    }

    const fn aes_128(suite: CipherSuite, sign: &'static [SignatureScheme]) -> Tls12CipherSuite {
        Tls12CipherSuite {
            common: Self::sha256(suite, AES_GCM_RECORDS),
            prf_provider: &PrfUsingHmac(&HmacOf::<B::Sha256>(PhantomData)),
            kx: KeyExchangeAlgorithm::ECDHE,
            sign,
            aead_alg: &Tls12Gcm(Self::AES_128),
        }
    }

    const fn aes_256(suite: CipherSuite, sign: &'static [SignatureScheme]) -> Tls12CipherSuite {
        Tls12CipherSuite {
            common: Self::sha384(suite, AES_GCM_RECORDS),
            prf_provider: &PrfUsingHmac(&HmacOf::<B::Sha384>(PhantomData)),
            kx: KeyExchangeAlgorithm::ECDHE,
            sign,
            aead_alg: &Tls12Gcm(Self::AES_256),
        }
    }

    const ECDSA_CHACHA20: &'static Tls12CipherSuite = &Self::chacha20(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        &ECDSA_SCHEMES,
    );
    const RSA_CHACHA20: &'static Tls12CipherSuite = &Self::chacha20(
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        &RSA_SCHEMES,
    );
    const ECDSA_AES_128: &'static Tls12CipherSuite = &Self::aes_128(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        &ECDSA_SCHEMES,
    );
    const RSA_AES_128: &'static Tls12CipherSuite = &Self::aes_128(
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        &RSA_SCHEMES,
    );
    const ECDSA_AES_256: &'static Tls12CipherSuite = &Self::aes_256(
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        &ECDSA_SCHEMES,
    );
    const RSA_AES_256: &'static Tls12CipherSuite = &Self::aes_256(
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        &RSA_SCHEMES,
    );
}
