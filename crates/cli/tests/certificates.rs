//! `bowline cert check` and `bowline loader pack --trust` as an operator uses them.

mod common;

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use common::bowline;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A directory with an authority, a server's and a client's certificate, and another authority.
fn site() -> (
    tempfile::TempDir,
    CertificateDer<'static>,
    PrivateKeyDer<'static>,
) {
    let site = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| fs::write(site.path().join(name), text).unwrap();
    let root = authority("Root");
    write("ca.pem", root.pem());
    write("other.pem", authority("Other").pem());
    let issue = |name: &str, purpose| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2099, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &root).unwrap(), key)
    };
    let (server, key) = issue("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    write("server.pem", server.pem());
    let (client, client_key) = issue("node1", ExtendedKeyUsagePurpose::ClientAuth);
    write("client.pem", client.pem());
    write("client.key", client_key.serialize_pem());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (site, server.der().clone(), key)
}

#[test]
fn chain_in_a_file_is_judged_as_the_loader_would() {
    let (site, ..) = site();
    let check = |arguments: &[&str]| {
        let output = bowline(
            site.path(),
            [&["cert", "check", "--trust"], arguments].concat(),
        );
        (output.status.code(), text(&output.stdout))
    };
    let (code, told) = check(&["ca.pem", "--name", "127.0.0.1", "server.pem"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.starts_with("server.pem: accepted: "), "{told}");
    assert!(told.contains("issued by Root; holds until 2099"), "{told}");
    for (arguments, expected) in [
        (
            &["ca.pem", "--name", "boot.example", "server.pem"][..],
            "[tls-name-mismatch]",
        ),
        (
            &["other.pem", "--name", "127.0.0.1", "server.pem"],
            "[tls-unknown-",
        ),
        (&["ca.pem", "--client", "server.pem"], "[tls-wrong-purpose]"),
        (
            &[
                "ca.pem",
                "--name",
                "127.0.0.1",
                "--at",
                "2099-06-01T00:00:00Z",
                "server.pem",
            ],
            "[tls-expired]",
        ),
    ] {
        let (code, told) = check(arguments);
        assert_eq!(code, Some(1), "{told}");
        assert!(
            told.contains("refused") && told.contains(expected),
            "{told}"
        );
    }
    let (code, _) = check(&["ca.pem", "--client", "client.pem"]);
    assert_eq!(code, Some(0));
    let (code, told) = check(&[
        "ca.pem",
        "--json",
        "--at",
        "2100-06-01",
        "--client",
        "client.pem",
    ]);
    assert_eq!(code, Some(1));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["verdict"], "refused");
    assert_eq!(told["code"], "tls-expired");
    assert_eq!(told["time"], "2100-06-01T00:00:00Z");
    assert_eq!(told["details"]["certificate"]["index"], 0);
}

#[test]
fn server_is_asked_and_judged() {
    let (site, certificate, key) = site();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
            // A client that refuses us goes away.
            let _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    let output = bowline(site.path(), ["cert", "check", "--trust", "ca.pem", &url]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(told.contains("accepted: TLS 1.3"), "{told}");
    let output = bowline(site.path(), ["cert", "check", "--trust", "other.pem", &url]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        told.contains("refused: ") && told.contains("[tls-unknown-"),
        "{told}"
    );
}

#[test]
fn key_that_does_not_fit_is_not_packed() {
    let (site, ..) = site();
    let arguments = [
        "loader",
        "pack",
        "--trust",
        "ca.pem",
        "--cert",
        "server.pem",
    ];
    let rest = ["--key", "client.key", "-o", "out.efi", "loader.efi"];
    let output = bowline(site.path(), [&arguments[..], &rest].concat());
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(
        told.contains("does not belong to the certificate of 127.0.0.1"),
        "{told}"
    );
}
