//! Against OpenSSL's `s_server`, over sockets: an implementation that has nothing in common with
//! ours.

mod common;

use bowline_tls::identity::Identity;
use bowline_tls::trust::Anchors;
use bowline_tls::verify::Reason;
use bowline_tls::{Client, Config, Error, Event, Session, provider};
use common::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server with a certificate of the given key for [`HOST`].
struct Server {
    process: Child,
    port: u16,
    /// Its files, as long as it runs.
    _folder: tempfile::TempDir,
    root: Authority,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    fn start(algorithm: Algorithm, options: &[&str]) -> Self {
        let root = root("Test Root");
        let leaf_key = key(algorithm);
        let leaf = leaf_params(&[HOST]).signed_by(&leaf_key, &root).unwrap();
        let mut key = leaf_key.serialize_der();
        if algorithm == Algorithm::Ed25519 {
            // OpenSSL 3.0 does not read a key with its public half (RFC 5958 section 2): the other
            // form has other lengths, version 0 and ends with the private one.
            key.truncate(48);
            (key[1], key[4]) = (46, 0);
        }
        Self::with_files(root, &leaf.pem(), &key, options)
    }

    fn with_files(root: Authority, chain: &str, key: &[u8], options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
        write("chain.pem", chain.as_bytes());
        write("key", key);
        write("root.pem", root.pem().as_bytes());
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(["-cert", "chain.pem", "-key", "key"])
            .args(options)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program openssl is needed");
        let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = log.find_map(|line| {
            line.ok()?
                .strip_prefix("ACCEPT ")?
                .rsplit(':')
                .next()?
                .parse()
                .ok()
        });
        // It would be stopped by a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        Self {
            port: port.expect("openssl s_server does not start"),
            process,
            _folder: folder,
            root,
        }
    }

    fn config(&self, identity: Option<Identity>) -> Config {
        seed();
        let anchors = anchors(&[&self.root]);
        let config = Config::builder(anchors, clock()).identity(identity);
        config.build::<provider::Portable>()
    }

    fn get(&self, config: &Config) -> Result<(Session, String), Error> {
        get(config, self.port)
    }
}

/// Downloads the status page of the server to its proper end.
fn get(config: &Config, port: u16) -> Result<(Session, String), Error> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut client = Client::new(config, HOST)?;
    client.write(b"GET / HTTP/1.0\r\n\r\n")?;
    let (mut session, mut page) = (None, Vec::new());
    let mut buffer = [0; 4096];
    loop {
        while let Some(bytes) = client.poll_output() {
            let _ = socket.write_all(&bytes);
        }
        while let Some(event) = client.poll_event() {
            match event {
                Event::Established(agreed) => session = Some(*agreed),
                Event::Closed => return Ok((session.unwrap(), String::from_utf8(page).unwrap())),
            }
        }
        let count = socket.read(&mut buffer).unwrap_or(0);
        let result = match count {
            0 => client.handle_eof(),
            _ => client.handle_input(&buffer[..count]),
        };
        page.extend(client.take_plaintext());
        if let Err(error) = result {
            while let Some(alert) = client.poll_output() {
                let _ = socket.write_all(&alert);
            }
            return Err(error);
        }
    }
}

#[test]
fn versions_suites_groups_and_keys() {
    use Algorithm::{Ed25519, P256, P384, Rsa};
    let tls13 = |suite| ["-tls1_3", "-ciphersuites", suite];
    let tls12 = |suite| ["-tls1_2", "-cipher", suite];
    let cases = [
        (P256, tls13("TLS_AES_128_GCM_SHA256"), "X25519"),
        (P384, tls13("TLS_AES_256_GCM_SHA384"), "P-256"),
        (Ed25519, tls13("TLS_CHACHA20_POLY1305_SHA256"), "P-384"),
        (Rsa, tls13("TLS_AES_128_GCM_SHA256"), "P-256"),
        (P256, tls12("ECDHE-ECDSA-AES128-GCM-SHA256"), "X25519"),
        (P384, tls12("ECDHE-ECDSA-AES256-GCM-SHA384"), "P-384"),
        (Ed25519, tls12("ECDHE-ECDSA-CHACHA20-POLY1305"), "X25519"),
        (Rsa, tls12("ECDHE-RSA-AES128-GCM-SHA256"), "P-256"),
        (Rsa, tls12("ECDHE-RSA-AES256-GCM-SHA384"), "X25519"),
        (Rsa, tls12("ECDHE-RSA-CHACHA20-POLY1305"), "X25519"),
    ];
    for (algorithm, suite, group) in cases {
        let what = format!("{algorithm:?}, {suite:?}, {group}");
        let options = [&suite[..], &["-groups", group, "-alpn", "h2,http/1.1"]].concat();
        let server = Server::start(algorithm, &options);
        let config = server.config(None);
        let (session, page) = server
            .get(&config)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(page.starts_with("HTTP/1.0 200 ok"), "{what}: {page}");
        assert_eq!(session.alpn.as_deref(), Some("http/1.1"), "{what}");
        assert!(!session.resumed);
        let version = if suite[0] == "-tls1_3" {
            "TLS 1.3"
        } else {
            "TLS 1.2"
        };
        assert_eq!(session.version, version, "{what}");
        // The next connection takes the session up again, in either version.
        let (session, page) = server.get(&config).unwrap();
        assert!(session.resumed, "{what}");
        assert!(page.starts_with("HTTP/1.0 200 ok"), "{what}: {page}");
    }
}

#[test]
fn client_certificates() {
    for version in ["-tls1_3", "-tls1_2"] {
        let options = [
            version,
            "-Verify",
            "1",
            "-CAfile",
            "root.pem",
            "-verify_return_error",
            "-attime",
            "1811851200",
        ];
        let server = Server::start(Algorithm::P256, &options);
        for algorithm in [Algorithm::P256, Algorithm::Ed25519, Algorithm::Rsa] {
            let client = Credentials::client(algorithm, &server.root);
            let identity = Identity::from_der(client.chain, client.key).unwrap();
            let (_, page) = server.get(&server.config(Some(identity))).unwrap();
            assert!(page.contains("node1"), "{version}, {algorithm:?}: {page}");
        }
        let error = server.get(&server.config(None)).unwrap_err().to_string();
        assert!(error.contains("client certificate"), "{version}: {error}");
    }
}

/// Everything that a TLS peer on a socket can get wrong by its configuration.
#[test]
fn bad_servers_are_refused_in_words() {
    let old = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"];
    let server = Server::start(Algorithm::Rsa, &old);
    let error = server.get(&server.config(None)).unwrap_err();
    assert_eq!(error.code(), "old-version", "{error}");

    let cbc = ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"];
    let server = Server::start(Algorithm::Rsa, &cbc);
    let error = server.get(&server.config(None)).unwrap_err();
    assert!(
        error.to_string().contains("no cipher suite in common"),
        "{error}"
    );

    let server = Server::start(Algorithm::P256, &["-alpn", "h2"]);
    let error = server.get(&server.config(None)).unwrap_err();
    assert!(error.to_string().contains("http/1.1"), "{error}");

    for (chain, key, reason) in [
        ("sha1-leaf.pem", "sha1-leaf.key", Reason::WeakSignature),
        ("weak-issued.pem", "weak-issued.key", Reason::WeakKey),
    ] {
        // What is issued by the weak authority comes with that authority's certificate.
        let chain = [fixture_text(chain), fixture_text("weak-ca.pem")].concat();
        let weak = ["-cipher", "ALL:@SECLEVEL=0", "-cert_chain", "chain.pem"];
        let server = Server::with_files(root("Test Root"), &chain, &fixture(key), &weak);
        let anchors = Anchors::from_bytes(&fixture("rsa-root.pem")).unwrap();
        match get(&config(anchors), server.port).unwrap_err() {
            Error::Certificate(refusal) => assert_eq!(refusal.reason, reason, "{refusal}"),
            error => panic!("{error}"),
        }
    }
}
