//! Envelopes made by OpenSSL, taken apart as iPXE's `cmsdetach` does.

mod common;
mod detach;

use bowline_tls::envelope::{self, Fault};
use bowline_tls::identity::Identity;
use detach::detach;
use std::path::Path;
use std::process::Command;

const CONTENT: &[u8] = b"#!ipxe\necho a secret\n";

fn openssl(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the program openssl is needed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    output.stdout
}

/// Somebody with a key of this kind, as files `NAME.pem` and `NAME.key`.
fn identity(folder: &Path, name: &str, key: &[&str]) -> Identity {
    let (subject, certificate) = (format!("/CN={name}"), format!("{name}.pem"));
    let file = format!("{name}.key");
    let request = ["req", "-x509", "-nodes", "-days", "1", "-subj", &subject];
    let files = ["-out", &certificate, "-keyout", &file];
    openssl(folder, &[&request, key, &files].concat());
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    Identity::from_bytes(&read(&certificate), &read(&file)).unwrap()
}

const RSA: &[&str] = &["-newkey", "rsa:2048"];
const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// The envelope with its content inside, encrypted for somebody.
fn encrypt(folder: &Path, options: &[&str], recipient: &str) -> Vec<u8> {
    std::fs::write(folder.join("content"), CONTENT).unwrap();
    let start = [
        "cms", "-encrypt", "-binary", "-in", "content", "-outform", "DER",
    ];
    openssl(folder, &[&start, options, &["-recip", recipient]].concat())
}

fn open(envelope: &[u8], content: &[u8], identity: &Identity) -> Result<Vec<u8>, Fault> {
    common::seed();
    let mut content = content.to_vec();
    envelope::open(envelope, &mut content, identity).map(|()| content)
}

#[test]
fn what_openssl_encrypts_for_us_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let us = identity(folder, "us", RSA);
    let other = identity(folder, "other", RSA);
    for options in [
        &["-aes-256-gcm"][..],
        &["-aes-128-gcm"],
        &["-aes-256-gcm", "-keyid"],
        &["-aes-256-gcm", "-recip", "other.pem"],
    ] {
        let (envelope, content) = detach(&encrypt(folder, options, "us.pem"));
        assert_eq!(content.len(), CONTENT.len());
        assert_ne!(content, CONTENT);
        let opened = open(&envelope, &content, &us);
        assert_eq!(opened.as_deref(), Ok(CONTENT), "{options:?}");
        let for_other = options.contains(&"other.pem");
        let opened = open(&envelope, &content, &other);
        let expected = if for_other {
            Ok(CONTENT)
        } else {
            Err(Fault::NotForUs)
        };
        assert_eq!(opened.as_deref().map_err(|it| *it), expected, "{options:?}");
    }
}

#[test]
fn what_was_changed_or_is_of_another_kind_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let us = identity(folder, "us", RSA);
    let whole = encrypt(folder, &["-aes-256-gcm"], "us.pem");
    let (envelope, content) = detach(&whole);
    assert_eq!(open(&whole, &content, &us), Err(Fault::WithContent));
    for at in 0..content.len() {
        let mut changed = content.clone();
        changed[at] ^= 1;
        assert_eq!(open(&envelope, &changed, &us), Err(Fault::Forged));
    }
    assert_eq!(open(&envelope, &content[1..], &us), Err(Fault::Forged));
    // No bit of the envelope can be changed for the better, and nothing panics.
    for at in 0..envelope.len() {
        let mut changed = envelope.clone();
        changed[at] ^= 0x10;
        let opened = open(&changed, &content, &us);
        assert!(opened.is_err() || opened.as_deref() == Ok(CONTENT), "{at}");
        assert!(open(&envelope[..at], &content, &us).is_err(), "{at}");
    }
    // Nobody would notice a change.
    let plain = encrypt(folder, &["-aes-256-cbc"], "us.pem");
    assert_eq!(open(&plain, &content, &us), Err(Fault::Malformed));
    let wide = encrypt(folder, &["-aes-192-gcm"], "us.pem");
    assert_eq!(open(&detach(&wide).0, &content, &us), Err(Fault::Cipher));
    let oaep = ["-aes-256-gcm", "-keyopt", "rsa_padding_mode:oaep"];
    let whole = openssl(
        folder,
        &[
            &[
                "cms", "-encrypt", "-binary", "-in", "content", "-outform", "DER",
            ][..],
            &["-aes-256-gcm", "-recip", "us.pem"],
            &oaep[1..],
        ]
        .concat(),
    );
    let (envelope, content) = detach(&whole);
    assert_eq!(open(&envelope, &content, &us), Err(Fault::KeyTransport));
    let elliptic = identity(folder, "elliptic", P256);
    assert_eq!(open(&envelope, &content, &elliptic), Err(Fault::NotForUs));
    let long = vec![0; envelope::LENGTH_MAX + 1];
    assert_eq!(open(&long, &content, &us), Err(Fault::TooLong));
}
