//! Odd but good chains, which must work, in TLS 1.2 and 1.3 and by the check without a connection.

mod common;

use bowline_tls::time::Timestamp;
use bowline_tls::verify::{Purpose, Reason};
use common::*;
use rcgen::{CertifiedIssuer, date_time_ymd};

#[test]
fn good_roots_and_intermediates() {
    for root in [root("ECDSA Root"), rsa_root("RSA Root")] {
        let middle = intermediate("Intermediate", &root);
        let last = intermediate("Second Intermediate", &middle);
        let credentials = || Credentials::for_host(Algorithm::P256, &last);
        assert_works(
            &credentials().with(&[&last, &middle]),
            anchors(&[&root]),
            HOST,
        );
        // In the wrong order, and with the root.
        assert_works(
            &credentials().with(&[&root, &middle, &last]),
            anchors(&[&root]),
            HOST,
        );
    }
}

#[test]
fn cross_signed_chain_whose_other_root_expired() {
    let new = root("New Root");
    let mut params = authority_params("Old Root");
    params.not_after = date_time_ymd(2027, 5, 1);
    let old = CertifiedIssuer::self_signed(params, key(Algorithm::P256)).unwrap();
    let middle = intermediate("Intermediate", &new);
    // The new root's key certified by the old one, until that expired.
    let mut params = authority_params("New Root");
    params.not_after = date_time_ymd(2027, 5, 1);
    let cross = params.signed_by(new.key(), &old).unwrap();
    let mut credentials = Credentials::for_host(Algorithm::P256, &middle).with(&[&middle]);
    credentials.chain.push(cross.der().clone());
    assert_works(&credentials, anchors(&[&new]), HOST);
    assert_works(&credentials, anchors(&[&old, &new]), HOST);
    // Trusting only the old root there is no way left.
    let refusal = verdict(&credentials.chain, &anchors(&[&old]), HOST).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.certificate.unwrap().index),
        (Reason::Expired, Some(2))
    );
}

#[test]
fn names_and_addresses() {
    let root = root("Test Root");
    let names = [
        "other.example",
        HOST,
        "*.wild.example",
        "192.0.2.1",
        "2001:db8::1",
    ];
    let credentials = Credentials::new(&leaf_params(&names), Algorithm::P256, &root);
    for host in [
        HOST,
        "BOOT.example",
        "boot.example.",
        "a.wild.example",
        "192.0.2.1",
        "2001:db8::1",
        "[2001:db8::1]",
    ] {
        assert_works(&credentials, anchors(&[&root]), host);
    }
    for host in [
        "wild.example",
        "a.b.wild.example",
        "192.0.2.2",
        "[2001:db8::2]",
        "example",
    ] {
        let refusal = verdict(&credentials.chain, &anchors(&[&root]), host).unwrap_err();
        assert_eq!(refusal.reason, Reason::NameMismatch, "{host}");
    }
}

#[test]
fn accepted_chain_says_its_path_and_when_it_ends() {
    let root = root("Test Root");
    let middle = intermediate("Intermediate", &root);
    let mut params = leaf_params(&[HOST]);
    params.not_after = date_time_ymd(2027, 7, 1);
    let credentials = Credentials::new(&params, Algorithm::P256, &middle).with(&[&middle]);
    let accepted = verdict(&credentials.chain, &anchors(&[&root]), HOST).unwrap();
    assert_eq!(accepted.path, [HOST, "Intermediate", "Test Root"]);
    assert_eq!(
        Some(accepted.expires),
        Timestamp::from_calendar((2027, 7, 1), (0, 0, 0))
    );
}

#[test]
fn client_certificates_are_checked_for_their_own_purpose() {
    let root = root("Test Root");
    let ask = |credentials: &Credentials| {
        let anchors = anchors(&[&root]);
        verdict_at(clock(), &credentials.chain, &anchors, Purpose::Client)
    };
    ask(&Credentials::client(Algorithm::P256, &root)).unwrap();
    let refusal = ask(&Credentials::for_host(Algorithm::P256, &root)).unwrap_err();
    assert_eq!(refusal.reason, Reason::WrongPurpose);
    assert!(
        refusal.words.contains("the client's certificate"),
        "{refusal}"
    );
    assert!(refusal.words.contains("needed is clientAuth"), "{refusal}");
}
