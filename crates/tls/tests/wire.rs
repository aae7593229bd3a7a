//! What can happen on the way: streams cut short, records changed or too long, floods, peers that
//! speak something else.

mod common;

use bowline_tls::identity::Identity;
use bowline_tls::{Client, Config, Error, Limits, provider};
use common::*;
use rcgen::CustomExtension;
use rustls::{AlertDescription, Error as RustlsError};
use std::io::Write;

fn connected(version: Version) -> Wire {
    let root = root("Test Root");
    let credentials = Credentials::for_host(Algorithm::P256, &root);
    let server = server(&credentials, &ServerOptions::only(version));
    let mut wire = Wire::new(client(anchors(&[&root]), HOST), server);
    wire.run().unwrap();
    wire
}

/// A client that has said hello, and what it trusts does not matter.
fn greeting() -> Client {
    let root = root("Test Root");
    let mut client = client(anchors(&[&root]), HOST);
    while client.poll_output().is_some() {}
    client
}

#[test]
fn stream_cut_short_is_an_error() {
    for version in VERSIONS {
        let mut wire = connected(version);
        wire.server.writer().write_all(b"half of it").unwrap();
        wire.run().unwrap();
        let error = wire.client.handle_eof().unwrap_err();
        assert_eq!(error, Error::Truncated { handshake: false });
        assert!(error.to_string().contains("cut short"));
        // And stays one.
        assert_eq!(wire.client.handle_input(b"x").unwrap_err(), error);
        assert_eq!(wire.client.write(b"x").unwrap_err(), error);
        let mut buffer = [0; 20];
        assert_eq!(
            wire.client.read(&mut buffer),
            10,
            "what arrived can still be had"
        );
    }
    let mut client = greeting();
    assert_eq!(
        client.handle_eof().unwrap_err(),
        Error::Truncated { handshake: true }
    );
}

#[test]
fn stream_cut_in_the_middle_of_a_record_is_an_error() {
    for version in VERSIONS {
        let mut wire = connected(version);
        wire.server.writer().write_all(&[1; 1000]).unwrap();
        wire.server.send_close_notify();
        let bytes = wire.take_server_output();
        wire.client.handle_input(&bytes[..500]).unwrap();
        assert_eq!(
            wire.client.readable(),
            0,
            "nothing may be given out before it is authenticated"
        );
        assert!(wire.client.handle_eof().is_err());
    }
}

#[test]
fn data_after_the_end_is_ignored() {
    let mut wire = connected(Version::Tls13);
    wire.server.send_close_notify();
    wire.run().unwrap();
    assert!(wire.closed);
    wire.client.handle_input(b"anything at all").unwrap();
    wire.client.handle_eof().unwrap();
    assert_eq!(wire.client.readable(), 0);
}

#[test]
fn after_our_end_nothing_can_be_written_but_everything_be_read() {
    let mut wire = connected(Version::Tls13);
    wire.client.close();
    wire.client.close();
    assert_eq!(wire.client.write(b"more").unwrap_err(), Error::Closed);
    wire.download(100_000).unwrap();
}

#[test]
fn changed_record_is_refused() {
    for version in VERSIONS {
        // Of a record's header only the length matters to no one but the framing.
        for position in [5, 6, 20, 300, 1000] {
            let mut wire = connected(version);
            wire.server.writer().write_all(&[1; 1000]).unwrap();
            let mut bytes = wire.take_server_output();
            bytes[position] ^= 1;
            let error = wire.client.handle_input(&bytes).unwrap_err();
            assert_eq!(error, Error::BadRecord, "{version:?}, byte {position}");
            assert!(error.to_string().contains("integrity"));
            assert_eq!(wire.client.readable(), 0);
            wire.deliver_to_server();
            let alert = RustlsError::AlertReceived(AlertDescription::BadRecordMac);
            assert_eq!(wire.server_error, Some(alert));
        }
    }
}

#[test]
fn records_swapped_or_repeated_are_refused() {
    for version in VERSIONS {
        let mut wire = connected(version);
        wire.server.writer().write_all(b"first").unwrap();
        let first = wire.take_server_output();
        wire.server.writer().write_all(b"second").unwrap();
        let second = wire.take_server_output();
        assert_eq!(
            wire.client.handle_input(&second).unwrap_err(),
            Error::BadRecord
        );
        let mut wire = connected(version);
        wire.server.writer().write_all(b"first").unwrap();
        let first_of_other = wire.take_server_output();
        wire.client.handle_input(&first_of_other).unwrap();
        assert_eq!(
            wire.client.handle_input(&first_of_other).unwrap_err(),
            Error::BadRecord
        );
        assert!(
            first != first_of_other,
            "two connections have different keys"
        );
    }
}

#[test]
fn oversized_record_is_refused_at_its_header() {
    for version in VERSIONS {
        let mut wire = connected(version);
        // RFC 8446 section 5.2: at most 2^14 + 256; RFC 5246 section 6.2.3: 2^14 + 2048.
        let length: u16 = (1 << 14) + 2049;
        let [high, low] = length.to_be_bytes();
        let error = wire
            .client
            .handle_input(&[23, 3, 3, high, low])
            .unwrap_err();
        assert_eq!(error, Error::OversizedRecord, "{version:?}");
        assert!(error.to_string().contains("longer than TLS allows"));
    }
    let error = greeting()
        .handle_input(&[22, 3, 3, 0xff, 0xff])
        .unwrap_err();
    assert_eq!(error, Error::OversizedRecord);
}

#[test]
fn certificate_of_a_megabyte_is_refused_at_its_header() {
    let root = root("Test Root");
    let mut params = leaf_params(&[HOST]);
    let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![0; 1 << 20]);
    params.custom_extensions.push(extension);
    let credentials = Credentials::new(&params, Algorithm::P256, &root);
    for version in VERSIONS {
        let server = server(&credentials, &ServerOptions::only(version));
        let mut wire = Wire::new(client(anchors(&[&root]), HOST), server);
        wire.deliver_to_server();
        let bytes = wire.take_server_output();
        assert!(bytes.len() > 1 << 20);
        let mut taken = 0;
        let error = bytes
            .chunks(1400)
            .find_map(|chunk| {
                taken += chunk.len();
                wire.client.handle_input(chunk).err()
            })
            .unwrap();
        assert_eq!(
            error,
            Error::HandshakeTooLarge { limit: 64 << 10 },
            "{version:?}"
        );
        assert_eq!(
            error.to_string(),
            "the server's handshake is too large, more than 64 KiB"
        );
        assert!(
            taken < 20_000,
            "{taken} bytes were taken in before it was refused"
        );
    }
}

#[test]
fn handshake_is_bounded_as_a_whole() {
    let root = root("Test Root");
    let credentials = Credentials::for_host(Algorithm::P256, &root);
    seed();
    let config = Config::builder(anchors(&[&root]), clock())
        .limits(Limits { handshake: 700 })
        .build::<provider::Portable>();
    for version in VERSIONS {
        let server = server(&credentials, &ServerOptions::only(version));
        let mut wire = Wire::new(Client::new(&config, HOST).unwrap(), server);
        wire.chunk = 100;
        assert_eq!(
            wire.run().unwrap_err(),
            Error::HandshakeTooLarge { limit: 700 }
        );
    }
}

/// A ServerHello that chooses `version`.
fn server_hello(version: [u8; 2]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]); // random
    body.push(0); // legacy_session_id_echo
    body.extend([0xc0, 0x2f]); // TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    body.push(0); // compression
    let mut bytes = vec![22, 3, 1, 0, body.len() as u8 + 4, 2, 0, 0, body.len() as u8];
    bytes.extend(body);
    bytes
}

#[test]
fn old_versions_are_refused_by_name() {
    for (version, name) in [
        ([3, 0], "SSL 3.0"),
        ([3, 1], "TLS 1.0"),
        ([3, 2], "TLS 1.1"),
    ] {
        let mut client = greeting();
        let error = client.handle_input(&server_hello(version)).unwrap_err();
        assert_eq!(
            error,
            Error::OldVersion {
                version: Some(name)
            }
        );
        let expected = format!("the server speaks only {name}; TLS 1.2 or 1.3 is needed");
        assert_eq!(error.to_string(), expected);
        let alert = client.poll_output().unwrap();
        assert_eq!(alert[5..], [2, 70], "a fatal protocol_version alert");
    }
    // A server that finds no version in our hello says so with an alert.
    let error = greeting()
        .handle_input(&[21, 3, 1, 0, 2, 2, 70])
        .unwrap_err();
    assert_eq!(error, Error::OldVersion { version: None });
}

#[test]
fn peers_that_do_not_speak_tls_are_recognized() {
    let error = greeting()
        .handle_input(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .unwrap_err();
    assert_eq!(error, Error::NotTls { http: true });
    assert!(error.to_string().contains("plain HTTP"));
    let error = greeting()
        .handle_input(b"SSH-2.0-OpenSSH_9.2\r\n")
        .unwrap_err();
    assert_eq!(error, Error::NotTls { http: false });
}

#[test]
fn server_that_wants_a_client_certificate_is_understood() {
    let root = root("Test Root");
    let credentials = Credentials::for_host(Algorithm::P256, &root);
    let attempt = |version, identity: Option<Identity>| {
        let options = ServerOptions {
            clients: Some(root.der().clone()),
            ..ServerOptions::only(version)
        };
        seed();
        let config = Config::builder(anchors(&[&root]), clock())
            .identity(identity)
            .build::<provider::Portable>();
        let client = Client::new(&config, HOST).unwrap();
        Wire::new(client, server(&credentials, &options))
            .run()
            .unwrap_err()
    };
    let error = attempt(Version::Tls13, None);
    assert_eq!(
        error.to_string(),
        "the server wants a client certificate, and this loader carries none (alert 116, \
         CertificateRequired)"
    );
    assert!(
        attempt(Version::Tls12, None)
            .to_string()
            .contains("client certificate")
    );
    // One that the server does not trust.
    let other = common::root("Other Root");
    for version in VERSIONS {
        let client = Credentials::client(Algorithm::P256, &other);
        let identity = Identity::from_der(client.chain, client.key).unwrap();
        let error = attempt(version, Some(identity));
        assert!(
            error.to_string().contains("refused our client certificate"),
            "{error}"
        );
    }
}

/// Where in a flight the versions in the record headers stand.
fn record_versions(bytes: &[u8]) -> Vec<usize> {
    let mut positions = Vec::new();
    let mut at = 0;
    while let Some([_, _, _, high, low]) = bytes.get(at..at + 5) {
        positions.extend([at + 1, at + 2]);
        at += 5 + usize::from(u16::from_be_bytes([*high, *low]));
    }
    positions
}

#[test]
fn any_byte_of_the_handshake_may_be_changed_and_none_gets_through() {
    let root = root("Test Root");
    let credentials = Credentials::for_host(Algorithm::P256, &root);
    for version in VERSIONS {
        let flight = |wire: &mut Wire| {
            wire.deliver_to_server();
            wire.take_server_output()
        };
        let fresh = || {
            let server = server(&credentials, &ServerOptions::only(version));
            Wire::new(client(anchors(&[&root]), HOST), server)
        };
        let length = flight(&mut fresh()).len();
        for position in (0..length).step_by(3) {
            let mut wire = fresh();
            let mut bytes = flight(&mut wire);
            // What records say of their version is ignored (RFC 8446 section 5.1); ECDSA signatures
            // vary in length.
            if record_versions(&bytes).contains(&position) || position >= bytes.len() {
                continue;
            }
            bytes[position] ^= 1 << (position % 8);
            let failed = wire.client.handle_input(&bytes).is_err() || wire.run().is_err();
            // A length that is too long leaves both sides waiting.
            let waiting = wire.session.is_none();
            assert!(
                failed || waiting || wire.server_error.is_some(),
                "{version:?}: a change of byte {position} went unnoticed"
            );
        }
    }
}
