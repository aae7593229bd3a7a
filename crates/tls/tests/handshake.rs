//! Good servers: every version, key, suite and group, with and without client certificates.

mod common;

use bowline_tls::identity::Identity;
use bowline_tls::time::{Certainty, Source};
use bowline_tls::{Client, Config, Session, provider};
use common::*;
use rustls::{CipherSuite, NamedGroup};

/// Shakes hands, moves data both ways, closes in the proper way.
fn exchange(mut wire: Wire) -> Session {
    wire.run().unwrap();
    let session = wire.session.clone().expect("no session was established");
    assert_eq!(wire.server.server_name(), Some(HOST), "RFC 6066 section 3");
    wire.client.write(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    wire.run().unwrap();
    assert_eq!(wire.server_received(), b"GET / HTTP/1.1\r\n\r\n");
    wire.download(200_000).unwrap();
    wire.server.send_close_notify();
    wire.run().unwrap();
    assert!(wire.closed && wire.client.peer_has_closed());
    wire.client.handle_eof().unwrap();
    wire.client.close();
    wire.run().unwrap();
    assert_eq!(wire.server_error, None);
    session
}

#[test]
fn versions_keys_and_client_certificates() {
    let root = root("Test Root");
    let roots = [("ECDSA root", &root), ("RSA root", &rsa_root("RSA Root"))];
    let algorithms = [
        Algorithm::P256,
        Algorithm::P384,
        Algorithm::Ed25519,
        Algorithm::Rsa,
    ];
    for (root_name, root) in roots {
        for algorithm in algorithms {
            for version in VERSIONS {
                for client_algorithm in [None, Some(algorithm)] {
                    let what =
                        format!("{root_name}, {algorithm:?}, {version:?}, {client_algorithm:?}");
                    println!("{what}");
                    let credentials = Credentials::for_host(algorithm, root);
                    let mut options = ServerOptions::only(version);
                    options.clients = client_algorithm.map(|_| root.der().clone());
                    let identity = client_algorithm.map(|algorithm| {
                        let client = Credentials::client(algorithm, root);
                        Identity::from_der(client.chain, client.key).unwrap()
                    });
                    seed();
                    let config = Config::builder(anchors(&[root]), clock())
                        .identity(identity)
                        .build::<provider::Portable>();
                    let client = Client::new(&config, HOST).unwrap();
                    let session = exchange(Wire::new(client, server(&credentials, &options)));
                    let expected = match version {
                        Version::Tls12 => "TLS 1.2",
                        Version::Tls13 => "TLS 1.3",
                    };
                    assert_eq!(session.version, expected, "{what}");
                    assert_eq!(session.alpn.as_deref(), Some("http/1.1"), "{what}");
                    assert!(!session.resumed, "{what}");
                    assert_eq!(session.peer.names, [HOST], "{what}");
                }
            }
        }
    }
}

#[test]
fn every_suite() {
    let root = root("Test Root");
    for (suite, algorithm) in [
        (CipherSuite::TLS13_AES_128_GCM_SHA256, Algorithm::P256),
        (CipherSuite::TLS13_AES_256_GCM_SHA384, Algorithm::P256),
        (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, Algorithm::P256),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            Algorithm::P256,
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            Algorithm::P256,
        ),
        (
            CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            Algorithm::P256,
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            Algorithm::Rsa,
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            Algorithm::Rsa,
        ),
        (
            CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            Algorithm::Rsa,
        ),
    ] {
        let version = if suite.as_str().unwrap().starts_with("TLS13") {
            Version::Tls13
        } else {
            Version::Tls12
        };
        let options = ServerOptions {
            suite: Some(suite),
            ..ServerOptions::only(version)
        };
        let server = server(&Credentials::for_host(algorithm, &root), &options);
        let session = exchange(Wire::new(client(anchors(&[&root]), HOST), server));
        assert_eq!(
            session.suite,
            suite.as_str().unwrap().replace("TLS13_", "TLS_")
        );
    }
}

#[test]
fn every_group() {
    let root = root("Test Root");
    // Where the server insists on another group than the first, TLS 1.3 takes a HelloRetryRequest.
    for group in [
        NamedGroup::X25519,
        NamedGroup::secp256r1,
        NamedGroup::secp384r1,
    ] {
        for version in VERSIONS {
            let options = ServerOptions {
                group: Some(group),
                ..ServerOptions::only(version)
            };
            let server = server(&Credentials::for_host(Algorithm::P256, &root), &options);
            let session = exchange(Wire::new(client(anchors(&[&root]), HOST), server));
            assert_eq!(session.group.as_deref(), group.as_str(), "{version:?}");
        }
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let root = root("Test Root");
    for version in VERSIONS {
        let credentials = Credentials::for_host(Algorithm::P256, &root);
        let server = server(&credentials, &ServerOptions::only(version));
        let mut wire = Wire::new(client(anchors(&[&root]), HOST), server);
        wire.chunk = 1;
        wire.run().unwrap();
        wire.download(40_000).unwrap();
    }
}

#[test]
fn sessions_are_resumed_with_and_without_a_client_certificate() {
    let root = root("Test Root");
    for version in VERSIONS {
        for with_identity in [false, true] {
            let mut options = ServerOptions::only(version);
            options.clients = with_identity.then(|| root.der().clone());
            let credentials = Credentials::for_host(Algorithm::P256, &root);
            let server_config = server_config(&credentials, &options);
            let identity = with_identity.then(|| {
                let client = Credentials::client(Algorithm::P256, &root);
                Identity::from_der(client.chain, client.key).unwrap()
            });
            seed();
            let config = Config::builder(anchors(&[&root]), clock())
                .identity(identity)
                .build::<provider::Portable>();
            for (turn, resumed) in [false, true, true].into_iter().enumerate() {
                let server = rustls::ServerConnection::new(server_config.clone()).unwrap();
                let client = Client::new(&config, HOST).unwrap();
                let session = exchange(Wire::new(client, server));
                assert_eq!(
                    session.resumed, resumed,
                    "{version:?}, {with_identity}, turn {turn}"
                );
                assert_eq!(session.peer.names, [HOST]);
            }
            // Another configuration shares nothing.
            let server = rustls::ServerConnection::new(server_config.clone()).unwrap();
            let fresh = Config::builder(anchors(&[&root]), clock())
                .identity(None)
                .resumption(false)
                .build::<provider::Portable>();
            if !with_identity {
                let client = Client::new(&fresh, HOST).unwrap();
                assert!(!exchange(Wire::new(client, server)).resumed);
            }
        }
    }
}

#[test]
fn sessions_are_forgotten_when_the_clock_turns_out_to_be_another() {
    let root = root("Test Root");
    let credentials = Credentials::for_host(Algorithm::P256, &root);
    let server_config = server_config(&credentials, &ServerOptions::default());
    seed();
    let config = Config::builder(anchors(&[&root]), clock()).build::<provider::Portable>();
    let resumed = || {
        let server = rustls::ServerConnection::new(server_config.clone()).unwrap();
        exchange(Wire::new(Client::new(&config, HOST).unwrap(), server)).resumed
    };
    assert!(!resumed() && resumed());
    let mut clock = clock();
    clock.time.0 += 1;
    config.set_clock(clock);
    assert!(resumed());
    clock.source = Source::Authenticated;
    config.set_clock(clock);
    assert!(resumed());
    clock.time.0 += 24 * 3600;
    config.set_clock(clock);
    assert!(!resumed() && resumed());
    clock.certainty = Certainty::AtLeast;
    config.set_clock(clock);
    assert!(!resumed() && resumed());
}

#[test]
fn what_is_written_early_arrives_after_the_handshake() {
    let root = root("Test Root");
    let server = server(
        &Credentials::for_host(Algorithm::P256, &root),
        &ServerOptions::default(),
    );
    let mut wire = Wire::new(client(anchors(&[&root]), HOST), server);
    wire.client.write(b"early").unwrap();
    assert!(wire.client.is_handshaking());
    wire.run().unwrap();
    assert_eq!(wire.server_received(), b"early");
}

#[test]
fn large_writes_are_cut_into_records() {
    let root = root("Test Root");
    let server = server(
        &Credentials::for_host(Algorithm::P256, &root),
        &ServerOptions::default(),
    );
    let mut wire = Wire::new(client(anchors(&[&root]), HOST), server);
    wire.run().unwrap();
    let body = vec![7; 100_000];
    wire.client.write(&body).unwrap();
    wire.run().unwrap();
    assert!(wire.server_received() == body);
}

#[test]
fn private_keys_in_every_form() {
    let chain = fixture("sha1-leaf.pem");
    for (chain, key) in [
        (&chain, "sha1-leaf.key"),
        (&chain, "sec1-p256.key"),
        (&fixture("rsa-leaf.pem"), "rsa-leaf.key"),
        (&fixture("rsa-leaf.pem"), "pkcs1-rsa.key"),
    ] {
        let identity = Identity::from_bytes(chain, &fixture(key)).unwrap();
        assert_eq!(identity.subject(), HOST, "{key}");
        assert!(!format!("{identity:?}").contains("PRIVATE"), "{key}");
    }
}

#[test]
fn identities_that_are_none_say_why() {
    let refused = |chain: &str, key: &str| {
        Identity::from_bytes(&fixture(chain), &fixture(key))
            .unwrap_err()
            .to_string()
    };
    assert!(refused("rsa-leaf.pem", "sha1-leaf.key").contains("does not belong"));
    assert!(refused("sha1-leaf.pem", "encrypted.key").contains("passphrase"));
    assert!(refused("sha1-leaf.pem", "sha1-leaf.pem").contains("no private key"));
    assert!(refused("sha1-leaf.key", "sha1-leaf.key").contains("no certificate"));
}
