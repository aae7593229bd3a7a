//! Signatures on files, made by OpenSSL.

mod common;

use bowline_tls::cms::{self, Fault};
use bowline_tls::time::{Clock, Timestamp};
use bowline_tls::trust::Anchors;
use bowline_tls::verify::Reason;
use common::*;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose};
use std::process::Command;

const PROGRAM: &[u8] = b"MZ a program";

const NAME: &str = "Release key";

/// A signer's certificate and files to sign with.
struct Signer {
    folder: tempfile::TempDir,
}

fn code_params() -> CertificateParams {
    let mut params = leaf_params(&["release.example"]);
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.key_identifier_method = rcgen::KeyIdMethod::Sha256;
    params
}

impl Signer {
    fn new(params: &CertificateParams, algorithm: Algorithm, issuer: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own_key = key(algorithm);
        let certificate = params.signed_by(&own_key, issuer).unwrap();
        let write =
            |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
        write("certificate.pem", certificate.pem().as_bytes());
        write("issuer.pem", issuer.pem().as_bytes());
        write("key", &own_key.serialize_der());
        write("program", PROGRAM);
        Self { folder }
    }

    /// What `openssl cms -sign` makes with these options.
    fn sign(&self, options: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl")
            .args([
                "cms", "-sign", "-binary", "-in", "program", "-outform", "DER",
            ])
            .args([
                "-signer",
                "certificate.pem",
                "-inkey",
                "key",
                "-keyform",
                "DER",
            ])
            .args(options)
            .current_dir(self.folder.path())
            .output()
            .expect("the program openssl is needed");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{options:?}: {errors}");
        output.stdout
    }
}

fn verify(signature: &[u8], anchors: &Anchors) -> Result<Vec<String>, Fault> {
    cms::verify(&request(signature, anchors))
}

fn request<'a>(signature: &'a [u8], anchors: &'a Anchors) -> cms::Request<'a> {
    cms::Request {
        signature,
        content: PROGRAM,
        signer: None,
        anchors,
        intermediates: &[],
        clock: clock(),
    }
}

#[test]
fn signatures_of_every_kind_of_key_hold() {
    let root = root("Test Root");
    let anchors = anchors(&[&root]);
    for (algorithm, options) in [
        (Algorithm::P256, &["-md", "sha256"][..]),
        (Algorithm::P256, &["-md", "sha384", "-noattr"]),
        (Algorithm::P256, &["-md", "sha512", "-keyid"]),
        (Algorithm::P384, &["-md", "sha256"]),
        (Algorithm::P384, &["-md", "sha384", "-noattr"]),
        (Algorithm::Rsa, &["-md", "sha256"]),
        // As iPXE's documents have it.
        (Algorithm::Rsa, &["-md", "sha256", "-noattr", "-nosmimecap"]),
        (Algorithm::Rsa, &["-md", "sha512", "-keyid"]),
        (
            Algorithm::Rsa,
            &[
                "-md",
                "sha256",
                "-keyopt",
                "rsa_padding_mode:pss",
                "-keyopt",
                "rsa_pss_saltlen:digest",
            ],
        ),
    ] {
        let signature = Signer::new(&code_params(), algorithm, &root).sign(options);
        let verdict = verify(&signature, &anchors);
        assert_eq!(verdict, Ok(vec![NAME.into()]), "{algorithm:?} {options:?}");
        // Every byte counts, wherever the signature covers it.
        let other = [PROGRAM, b"!"].concat();
        let changed = cms::Request {
            content: &other,
            ..request(&signature, &anchors)
        };
        let mismatch = Fault::Mismatch {
            signer: NAME.into(),
        };
        assert_eq!(
            cms::verify(&changed),
            Err(mismatch),
            "{algorithm:?} {options:?}"
        );
    }
}

#[test]
fn the_chain_may_need_certificates_of_the_message() {
    let root = root("Test Root");
    let intermediate = intermediate("Signing CA", &root);
    let signer = Signer::new(&code_params(), Algorithm::P256, &intermediate);
    let anchors = anchors(&[&root]);
    let whole = signer.sign(&["-md", "sha256", "-certfile", "issuer.pem"]);
    assert_eq!(verify(&whole, &anchors), Ok(vec![NAME.into()]));
    let without = signer.sign(&["-md", "sha256"]);
    let Err(Fault::Untrusted(refusal)) = verify(&without, &anchors) else {
        panic!("a chain without its middle");
    };
    assert!(refusal.words.contains("Signing CA"), "{refusal}");
    let known = [intermediate.der().clone()];
    let with_known = cms::Request {
        intermediates: &known,
        ..request(&without, &anchors)
    };
    assert_eq!(cms::verify(&with_known), Ok(vec![NAME.into()]));
}

#[test]
fn a_signer_may_be_asked_for_by_name() {
    let root = root("Test Root");
    let anchors = anchors(&[&root]);
    let signature = Signer::new(&code_params(), Algorithm::P256, &root).sign(&["-md", "sha256"]);
    let by = |name| {
        cms::verify(&cms::Request {
            signer: Some(name),
            ..request(&signature, &anchors)
        })
    };
    assert_eq!(by(NAME), Ok(vec![NAME.into()]));
    assert_eq!(by("release.example"), Ok(vec![NAME.into()]));
    let fault = by("Somebody").unwrap_err();
    assert_eq!(
        fault.to_string(),
        "Somebody has not signed it, but Release key"
    );
}

/// What is refused, and the words that must be in the refusal.
#[test]
fn what_proves_nothing_is_refused() {
    let root = root("Test Root");
    let stranger = common::root("Another Root");
    let trusted = anchors(&[&root]);
    let mut for_servers = code_params();
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut for_anything = code_params();
    for_anything.extended_key_usages.clear();
    let p256 = Algorithm::P256;
    let good = Signer::new(&code_params(), p256, &root);
    for (signature, words) in [
        (
            Signer::new(&for_servers, p256, &root).sign(&["-md", "sha256"]),
            "Release key is not for code signing",
        ),
        (
            Signer::new(&for_anything, p256, &root).sign(&["-md", "sha256"]),
            "Release key is not for code signing",
        ),
        (
            Signer::new(&code_params(), p256, &stranger).sign(&["-md", "sha256"]),
            "Another Root",
        ),
        (
            good.sign(&["-md", "sha1"]),
            "hash or key that is not accepted",
        ),
        (
            good.sign(&["-md", "sha1", "-noattr"]),
            "hash or key that is not accepted",
        ),
        (good.sign(&["-md", "sha256", "-nodetach"]), "holds the file"),
        (good.sign(&["-md", "sha256", "-nocerts"]), "is not in it"),
        (PROGRAM.to_vec(), "no CMS signature in DER"),
        (Vec::new(), "no CMS signature in DER"),
        (vec![0x30; cms::LENGTH_MAX + 1], "longer than"),
    ] {
        let fault = verify(&signature, &trusted).unwrap_err();
        assert!(fault.to_string().contains(words), "{words}: {fault}");
    }
    let signature = good.sign(&["-md", "sha256"]);
    let fault = verify(&signature, &Anchors::new()).unwrap_err();
    let Fault::Untrusted(refusal) = fault else {
        panic!("{fault}");
    };
    assert_eq!(refusal.reason, Reason::NoAnchors);
    let later = Timestamp::from_calendar((2028, 6, 1), (0, 0, 0)).unwrap();
    let expired = cms::Request {
        clock: Clock::at(later),
        ..request(&signature, &trusted)
    };
    let Err(Fault::Untrusted(refusal)) = cms::verify(&expired) else {
        panic!("an expired certificate");
    };
    assert!(
        matches!(refusal.reason, Reason::Expired | Reason::AnchorNotValid),
        "{refusal}"
    );
}

/// No byte of a signature can be changed so that it panics, and hardly any so that it still holds:
/// what is not signed are certificates' own signatures of trusted roots, versions and the like.
#[test]
fn damaged_signatures_never_panic() {
    let root = root("Test Root");
    let anchors = anchors(&[&root]);
    for options in [&["-md", "sha256"][..], &["-md", "sha256", "-noattr"]] {
        let signature = Signer::new(&code_params(), Algorithm::P256, &root).sign(options);
        for length in 0..signature.len() {
            assert!(verify(&signature[..length], &anchors).is_err(), "{length}");
        }
        let mut held = 0;
        for at in 0..signature.len() {
            let mut damaged = signature.clone();
            damaged[at] ^= 0x01;
            held += usize::from(verify(&damaged, &anchors).is_ok());
        }
        assert!(
            held < 40,
            "{held} of {} bytes do not matter",
            signature.len()
        );
    }
}

/// Those that hostile input starts from.
#[test]
fn the_fixtures_hold() {
    let root = Anchors::from_bytes(&fixture("rsa-root.pem")).unwrap();
    for name in ["code-attr.cms", "code-noattr.cms"] {
        let signature = fixture(name);
        let request = cms::Request {
            content: b"MZ",
            ..request(&signature, &root)
        };
        assert_eq!(cms::verify(&request), Ok(vec![NAME.into()]), "{name}");
    }
}
