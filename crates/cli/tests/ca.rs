//! `bowline ca` as an operator runs it, and what a verifier says to its certificates.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use common::bowline;

/// What the command prints, if it does what it is asked for.
fn run(directory: &Path, arguments: &str) -> String {
    let output = bowline(directory, arguments.split_whitespace());
    assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What the command complains about.
fn refused(directory: &Path, arguments: &str, code: i32) -> String {
    let output = bowline(directory, arguments.split_whitespace());
    assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn certificate(directory: &Path, name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(directory.join(name)).unwrap()
}

/// What webpki says to a certificate, `days` from now.
fn verify(directory: &Path, name: &str, usage: KeyUsage, days: u64) -> Result<(), webpki::Error> {
    let (root, leaf) = (
        certificate(directory, "ca/ca.pem"),
        certificate(directory, name),
    );
    let now = UnixTime::now().as_secs() + days * 24 * 60 * 60;
    EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor_from_trusted_cert(&root)?],
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(now)),
            usage,
            None,
            None,
        )
        .map(|_| ())
}

fn names_match(directory: &Path, name: &str, host: &str) -> bool {
    let leaf = certificate(directory, name);
    let host = ServerName::try_from(host.to_owned()).unwrap();
    EndEntityCert::try_from(&leaf)
        .unwrap()
        .verify_is_valid_for_subject_name(&host)
        .is_ok()
}

#[test]
fn what_is_issued_verifies_and_serves_its_purpose_only() {
    let site = tempfile::tempdir().unwrap();
    let site = site.path();
    for (key_type, force) in [("p256", ""), ("p384", "--force"), ("ed25519", "--force")] {
        run(site, &format!("ca init ca --key-type {key_type} {force}"));
        let issue = format!("--ca ca --key-type {key_type} {force}");
        run(
            site,
            &format!("ca issue host {issue} boot.example *.lab.example 10.0.0.1 --ip fd00::1"),
        );
        run(site, &format!("ca issue client {issue} Node1"));

        let (host, client) = ("ca/hosts/boot.example.pem", "ca/clients/node1.pem");
        let (server_auth, client_auth) = (KeyUsage::server_auth, KeyUsage::client_auth);
        assert_eq!(verify(site, host, server_auth(), 0), Ok(()), "{key_type}");
        assert_eq!(verify(site, client, client_auth(), 0), Ok(()), "{key_type}");
        assert_eq!(verify(site, host, server_auth(), 396), Ok(()));
        assert!(
            verify(site, host, server_auth(), 398).is_err(),
            "lives too long"
        );
        assert!(
            verify(site, host, client_auth(), 0).is_err(),
            "a host poses as a client"
        );
        assert!(
            verify(site, client, server_auth(), 0).is_err(),
            "a client poses as a host"
        );
        for (name, expected) in [
            ("boot.example", true),
            ("x.lab.example", true),
            ("10.0.0.1", true),
            ("fd00::1", true),
            ("lab.example", false),
            ("10.0.0.2", false),
        ] {
            assert_eq!(names_match(site, host, name), expected, "{name}");
        }
        assert!(PrivateKeyDer::from_pem_file(site.join("ca/clients/node1.key")).is_ok());
    }
}

#[test]
fn keys_are_for_their_owner_and_nothing_else_is_left() {
    let site = tempfile::tempdir().unwrap();
    let site = site.path();
    run(site, "ca init ca");
    run(site, "ca issue host --ca ca boot");
    let mode = |name: &str| {
        let metadata = fs::metadata(site.join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    for name in ["ca/ca.key", "ca/hosts/boot.key"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    for name in ["ca", "ca/hosts"] {
        assert_eq!(mode(name), 0o700, "{name}");
    }
    for (folder, count) in [("ca", 3), ("ca/hosts", 2)] {
        assert_eq!(
            fs::read_dir(site.join(folder)).unwrap().count(),
            count,
            "{folder}"
        );
    }
}

#[test]
fn nothing_is_replaced_unless_forced() {
    let site = tempfile::tempdir().unwrap();
    let site = site.path();
    run(site, "ca init ca");
    run(site, "ca issue client --ca ca node1");
    for (command, file) in [
        ("ca init ca", "ca/ca.pem"),
        ("ca issue client --ca ca node1", "ca/clients/node1.pem"),
    ] {
        let before = fs::read(site.join(file)).unwrap();
        let told = refused(site, command, 1);
        assert!(
            told.starts_with(&format!("{file} is there already; --force")),
            "{told}"
        );
        assert_eq!(fs::read(site.join(file)).unwrap(), before);
        run(site, &format!("{command} --force"));
        assert_ne!(fs::read(site.join(file)).unwrap(), before);
    }
    // A key alone is not replaced either.
    fs::remove_file(site.join("ca/clients/node1.pem")).unwrap();
    let told = refused(site, "ca issue client --ca ca node1", 1);
    assert!(
        told.starts_with("ca/clients/node1.key is there already"),
        "{told}"
    );
}

#[test]
fn an_authority_that_cannot_be_used_is_told() {
    let site = tempfile::tempdir().unwrap();
    let site = site.path();
    assert_eq!(
        refused(site, "ca issue client --ca ca node1", 1),
        "there is no authority in ca; make one with: bowline ca init ca\n"
    );
    run(site, "ca init ca");
    run(site, "ca init other");
    fs::copy(site.join("other/ca.key"), site.join("ca/ca.key")).unwrap();
    assert_eq!(
        refused(site, "ca issue client --ca ca node1", 1),
        "ca/ca.key: not the key of ca/ca.pem\n"
    );
    run(site, "ca issue host --ca other boot");
    fs::copy(site.join("other/hosts/boot.pem"), site.join("other/ca.pem")).unwrap();
    assert_eq!(
        refused(site, "ca issue client --ca other node1", 1),
        "other/ca.pem: not the certificate of an authority\n"
    );
}

#[test]
fn names_and_lifetimes_are_checked() {
    let site = tempfile::tempdir().unwrap();
    let site = site.path();
    run(site, "ca init ca --days 100");
    for (arguments, expected) in [
        ("host", "required"),
        ("host a..b", "made of letters, digits"),
        ("host ../x", "made of letters, digits"),
        ("host boot --ip 1.2.3", "invalid IP address"),
        ("host boot --days 0", "0 is not in 1..=36500"),
        (
            "host boot --key-type dsa",
            "[possible values: p256, p384, ed25519]",
        ),
        ("client *.lab", "made of letters, digits"),
        ("client 10.0.0.1", "neither a name nor a whole address"),
        ("client a/b", "made of letters, digits"),
    ] {
        let told = refused(site, &format!("ca issue {arguments}"), 2);
        assert!(told.contains(expected), "{arguments}: {told}");
    }
    let told = run(site, "ca issue host --ca ca boot");
    assert!(told.contains("when the authority itself expires"), "{told}");
    assert!(verify(site, "ca/hosts/boot.pem", KeyUsage::server_auth(), 99).is_ok());
    assert!(verify(site, "ca/hosts/boot.pem", KeyUsage::server_auth(), 101).is_err());
}

#[test]
fn the_list_shows_what_there_is() {
    let site = tempfile::tempdir().unwrap();
    let site = site.path();
    run(site, "ca init ca --name Lab");
    run(site, "ca issue host --ca ca boot.example 10.0.0.1");
    run(site, "ca issue client --ca ca node1 --days 20");
    fs::write(site.join("ca/clients/bad.pem"), "no certificate").unwrap();
    let told = run(site, "ca list --ca ca");
    let rows: Vec<Vec<_>> = told
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (row[0], *row.last().unwrap()))
        .collect();
    assert_eq!(
        shown,
        [
            ("kind", "file"),
            ("ca", "ca/ca.pem"),
            ("host", "ca/hosts/boot.example.pem"),
            ("client", "ca/clients/bad.pem"),
            ("client", "ca/clients/node1.pem"),
        ]
    );
    for part in ["Lab", "boot.example,10.0.0.1", " days)", "not in PEM"] {
        assert!(told.contains(part), "{told}");
    }
    // No two serial numbers are alike.
    let serial = |row: &Vec<&str>| row[row.len() - 2].to_owned();
    assert_ne!(serial(&rows[1]), serial(&rows[2]));
    refused(site, "ca list --ca gone", 1);
}

/// The way through: an authority, a certificate, a configuration that is good.
#[test]
fn the_server_takes_what_the_authority_makes() {
    let site = tempfile::tempdir().unwrap();
    let site = site.path();
    run(site, "ca init ca");
    run(site, "ca issue host --ca ca boot.example");
    let config = "[https]\nlisten = ['127.0.0.1:0']\nroot = '.'\n\
        certificate = 'ca/hosts/boot.example.pem'\nkey = 'ca/hosts/boot.example.key'\n\
        client-ca = 'ca/ca.pem'\n";
    fs::write(site.join("bowline.toml"), config).unwrap();
    let output = bowline(site, ["check", "--config", "bowline.toml"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("    as boot.example until 20"), "{told}");
    assert!(told.contains("client certificates: required"), "{told}");
    assert_eq!(output.stderr, b"", "no warnings");
}
