//! Certificates with any byte changed, or cut anywhere: never a panic, never accepted.

mod common;

use bowline_tls::CertificateDer;
use bowline_tls::certificate::Certificate;
use bowline_tls::trust::Anchors;
use common::*;
use rcgen::{GeneralSubtree, NameConstraints};

fn chain() -> (Vec<CertificateDer<'static>>, Anchors) {
    let root = root("Test Root");
    let mut params = authority_params("Intermediate");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example".into())],
        excluded_subtrees: vec![GeneralSubtree::DnsName("bad.example".into())],
    });
    let middle = rcgen::CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    let leaf = leaf_params(&[HOST, "other.example"]);
    let credentials = Credentials::new(&leaf, Algorithm::P256, &middle).with(&[&middle]);
    (credentials.chain, anchors(&[&root]))
}

#[test]
fn any_byte_changed() {
    let (chain, anchors) = chain();
    verdict(&chain, &anchors, HOST).unwrap();
    for index in [0, 1] {
        for position in 0..chain[index].len() {
            let mut changed = chain.clone();
            let mut der = changed[index].to_vec();
            der[position] ^= 1 << (position % 8);
            changed[index] = der.into();
            let refusal = verdict(&changed, &anchors, HOST);
            let refusal = refusal.expect_err(&format!("certificate {index}, byte {position}"));
            assert!(!refusal.words.is_empty());
            assert!(!refusal.words.contains(char::is_control), "{refusal}");
        }
    }
}

#[test]
fn cut_anywhere() {
    let (chain, anchors) = chain();
    for length in 0..chain[0].len() {
        let mut cut = chain.clone();
        cut[0] = chain[0][..length].to_vec().into();
        assert!(Certificate::parse(&cut[0]).is_none());
        verdict(&cut, &anchors, HOST).unwrap_err();
        // As a trusted certificate neither.
        assert!(Anchors::new().add(cut[0].clone()).is_err());
    }
}

#[test]
fn anything_may_be_packed_as_trust() {
    for bytes in [
        &b""[..],
        b"x",
        b"0\x82",
        b"-----BEGIN CERTIFICATE-----",
        &[0x30, 0x82, 1, 1],
    ] {
        assert!(Anchors::from_bytes(bytes).is_err(), "{bytes:02x?}");
    }
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert_eq!(
        Anchors::from_bytes(broken.as_bytes())
            .unwrap_err()
            .to_string(),
        "it is not well-formed PEM"
    );
    let two = [
        fixture("rsa-root.pem"),
        fixture("rsa-leaf.key"),
        fixture("weak-ca.pem"),
    ]
    .concat();
    assert_eq!(
        Anchors::from_bytes(&two).unwrap().len(),
        2,
        "what is no certificate is passed over"
    );
}
