//! Known answers, and the back end's self-test with a back end that is wrong.

use super::*;
use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use rustls::crypto::hmac::Hmac;
use sha2::{Sha256, Sha384};

#[test]
fn portable_passes_its_own_test() {
    self_test::<Portable>().unwrap();
}

struct WrongAes;

struct Wrong(Box<dyn Aead>);

impl Aead for Wrong {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> Option<[u8; 16]> {
        let tag = self.0.seal(nonce, aad, text);
        if let Some(byte) = text.get_mut(64) {
            *byte ^= 1;
        }
        tag
    }

    fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Forged> {
        self.0.open(nonce, aad, text, tag)
    }
}

impl Backend for WrongAes {
    type Sha256 = Sha256;
    type Sha384 = Sha384;

    fn has_fast_aes() -> bool {
        true
    }

    fn aes_128_gcm(key: &[u8; 16]) -> Box<dyn Aead> {
        Portable::aes_128_gcm(key)
    }

    fn aes_256_gcm(key: &[u8; 32]) -> Box<dyn Aead> {
        Box::new(Wrong(Portable::aes_256_gcm(key)))
    }

    fn chacha20_poly1305(key: &[u8; 32]) -> Box<dyn Aead> {
        Portable::chacha20_poly1305(key)
    }
}

#[test]
fn wrong_back_end_is_found_out_and_named() {
    let mismatch = self_test::<WrongAes>().unwrap_err();
    assert_eq!(mismatch.algorithm, "AES-256-GCM");
}

/// One test, as there is one accelerator for all.
#[test]
fn accelerator_is_used_unless_it_is_wrong() {
    self_test::<Fastest>().unwrap();
    let portable = Accelerator {
        aes_gcm_seal: bowline_cipher::aes_gcm_seal,
        aes_gcm_open: bowline_cipher::aes_gcm_open,
        sha256_blocks: bowline_cipher::sha256_blocks,
    };
    let marked = Accelerator {
        aes_gcm_seal: |key, nonce, aad, text| {
            USED.store(true, Relaxed);
            bowline_cipher::aes_gcm_seal(key, nonce, aad, text)
        },
        ..portable
    };
    accelerate(marked).unwrap();
    USED.store(false, Relaxed);
    Fastest::aes_256_gcm(&[0; 32]).seal(&[0; 12], &[], &mut [0; 5]);
    assert!(USED.load(Relaxed));

    let wrong = Accelerator {
        sha256_blocks: |state, _| state[0] += 1,
        ..marked
    };
    assert_eq!(accelerate(wrong).unwrap_err().algorithm, "SHA-256");
    USED.store(false, Relaxed);
    Fastest::aes_256_gcm(&[0; 32]).seal(&[0; 12], &[], &mut [0; 5]);
    assert!(!USED.load(Relaxed));

    // A clock that lets every other pair of readings be far apart: AES is timed first, five times.
    for (aes, first) in [(1, true), (9, false)] {
        let readings = core::cell::Cell::new(0_u64);
        prefer_faster(&|| {
            let n = readings.replace(readings.get() + 1);
            let pace = if n < 10 { aes } else { 5 };
            core::time::Duration::from_micros(n * pace)
        });
        assert_eq!(Fastest::has_fast_aes(), first);
    }
}

static USED: AtomicBool = AtomicBool::new(false);

#[test]
fn chacha20_comes_first_unless_aes_is_fast() {
    let slow = provider::<Portable>().cipher_suites.clone();
    assert_eq!(slow.len(), 9);
    assert_eq!(
        slow[0].suite(),
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    );
    let fast = provider::<WrongAes>().cipher_suites.clone();
    assert_eq!(
        fast[0].suite(),
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256
    );
    assert_eq!(
        fast[2].suite(),
        rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
    );
    assert!(fast[3].tls13().is_none());
}

/// NIST SP 800-38D test case 4 (AES-128-GCM with additional data).
#[test]
fn aes_128_gcm_known_answer() {
    let aead = Portable::aes_128_gcm(&hex("feffe9928665731c6d6a8f9467308308"));
    let mut text: [u8; 60] = hex(concat!(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    ));
    let tag = aead
        .seal(
            &hex("cafebabefacedbaddecaf888"),
            &hex::<20>("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
            &mut text,
        )
        .unwrap();
    assert_eq!(tag, hex("5bc94fbc3221a5db94fae95ae7121a47"));
    assert_eq!(text[..8], hex::<8>("42831ec221777424"));
}

/// RFC 8439 section 2.8.2.
#[test]
fn chacha20_poly1305_known_answer() {
    let aead = Portable::chacha20_poly1305(&hex(
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
    ));
    let mut text =
        *b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for \
the future, sunscreen would be it.";
    let tag = aead
        .seal(
            &hex("070000004041424344454647"),
            &hex::<12>("50515253c0c1c2c3c4c5c6c7"),
            &mut text,
        )
        .unwrap();
    assert_eq!(tag, hex("1ae10b594f09e26a7e902ecbd0600691"));
    assert_eq!(text[..8], hex::<8>("d31a8d34648e60db"));
}

/// RFC 4231 test cases 2 (short key) and 6 (key longer than a block).
#[test]
fn hmac_known_answers() {
    let hmac = hash::HmacOf::<Sha256>(core::marker::PhantomData);
    let tag = hmac
        .with_key(b"Jefe")
        .sign(&[b"what do ya want ", b"for nothing?"]);
    assert_eq!(
        tag.as_ref(),
        hex::<32>("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    );
    let hmac = hash::HmacOf::<Sha384>(core::marker::PhantomData);
    let tag = hmac
        .with_key(&[0xaa; 131])
        .sign(&[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
    assert_eq!(
        tag.as_ref(),
        hex::<48>(
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"
        )
    );
}

fn hex<const N: usize>(digits: &str) -> [u8; N] {
    assert_eq!(digits.len(), 2 * N);
    core::array::from_fn(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
}
