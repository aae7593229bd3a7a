//! HTTPS over loopback, by a client of rustls.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::http::testing::{Authority, Leaf, Pair};
use crate::http::{ClientAuth, Config, Credentials, Service, Tls, TlsFiles};
use crate::{Shutdown, Trigger};

/// A running service, its authority, and that of its clients.
struct Site {
    address: SocketAddr,
    directory: tempfile::TempDir,
    hosts: Authority,
    clients: Authority,
    _trigger: Trigger,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Not,
    Optional,
    Required,
}

fn site(asked: Asked) -> Site {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("www");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("hello"), "Hello, world").unwrap();
    fs::write(root.join("own.ipxe.in"), "echo {{client}}").unwrap();
    let (hosts, clients) = (Authority::new("Hosts"), Authority::new("Clients"));
    hosts.issue(&Leaf::host()).write(directory.path(), "host");
    let ca = directory.path().join("clients.pem");
    fs::write(&ca, &clients.pem).unwrap();
    let files = TlsFiles {
        certificate: directory.path().join("host.pem"),
        key: directory.path().join("host.key"),
        clients: match asked {
            Asked::Not => ClientAuth::None,
            Asked::Optional => ClientAuth::Optional { ca },
            Asked::Required => ClientAuth::Required { ca },
        },
    };
    let credentials = Credentials::load(&files).unwrap();
    let mut service = Service::bind(Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        root,
        tls: Some(Tls { files, credentials }),
    })
    .unwrap();
    service.times.look_every = Duration::from_millis(20);
    service.times.handshake_max = Duration::from_secs(2);
    let address = service.addresses()[0];
    let (trigger, shutdown) = Shutdown::new();
    tokio::spawn(service.run(shutdown));
    Site {
        address,
        directory,
        hosts,
        clients,
        _trigger: trigger,
    }
}

/// A client that trusts `authority` and shows `identity`.
fn client(
    authority: &Authority,
    identity: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

impl Site {
    async fn connect(&self, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    async fn get(&self, config: ClientConfig, path: &str) -> io::Result<String> {
        let mut stream = self.connect(config).await?;
        ask(&mut stream, path, "close").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Whether a client without a certificate is served.
    async fn serves(&self) -> bool {
        let answer = self
            .get(client(&self.hosts, None, &[&TLS13]), "/hello")
            .await;
        answer.is_ok_and(|answer| answer.ends_with("\r\n\r\nHello, world"))
    }
}

async fn ask(stream: &mut TlsStream<TcpStream>, path: &str, connection: &str) -> io::Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await
}

#[tokio::test]
async fn files_are_served_in_both_versions() {
    let site = site(Asked::Not);
    for (version, number) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = client(&site.hosts, None, &[version]);
        let mut stream = site.connect(config).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(number));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        ask(&mut stream, "/hello", "close").await.unwrap();
        let mut answer = String::new();
        // An end without close_notify would be an error here.
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nHello, world"), "{answer}");
    }
}

#[tokio::test]
async fn clients_are_let_in_by_their_certificates() {
    use Asked::{Not, Optional, Required};
    for asked in [Not, Optional, Required] {
        let site = site(asked);
        let stranger = Authority::new("Stranger");
        // The right name is not enough: the signature counts.
        let impostor = Authority::new("Clients");
        let node = Leaf::client("node1");
        let expired = Leaf {
            days: -1,
            ..Leaf::client("node1")
        };
        let host = Leaf {
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            ..Leaf::client("node1")
        };
        let shown = matches!(asked, Optional | Required);
        let cases = [
            ("none", None, !matches!(asked, Required)),
            ("good", Some(site.clients.issue(&node)), true),
            ("stranger's", Some(stranger.issue(&node)), !shown),
            ("impostor's", Some(impostor.issue(&node)), !shown),
            ("expired", Some(site.clients.issue(&expired)), !shown),
            ("host's", Some(site.clients.issue(&host)), !shown),
            (
                "of the hosts' authority",
                Some(site.hosts.issue(&node)),
                !shown,
            ),
        ];
        for version in [&TLS12, &TLS13] {
            for (what, pair, expected) in &cases {
                let config = client(&site.hosts, pair.as_ref(), &[version]);
                let answer = site.get(config, "/hello").await;
                let served = answer.as_ref().is_ok_and(|answer| answer.contains("Hello"));
                let version = version.version;
                assert_eq!(
                    served, *expected,
                    "{asked:?}, {version:?}, {what}: {answer:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn scripts_see_who_asks() {
    let site = site(Asked::Optional);
    for (leaf, expected) in [
        (Leaf::client("node1"), "echo node1"),
        (
            Leaf {
                names: &["node2.lab"],
                ..Leaf::client("Second node")
            },
            "echo node2.lab",
        ),
    ] {
        let pair = site.clients.issue(&leaf);
        let answer = site
            .get(client(&site.hosts, Some(&pair), &[&TLS13]), "/own.ipxe")
            .await;
        let answer = answer.unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n{expected}")), "{answer}");
    }
    for pair in [
        None,
        Some(site.clients.issue(&Leaf::client("node1\nshell"))),
    ] {
        let config = client(&site.hosts, pair.as_ref(), &[&TLS13]);
        let answer = site.get(config, "/own.ipxe").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 th"), "{answer}");
        assert!(!answer.contains("node1\nshell"), "{answer}");
    }
}

/// Who a session is resumed for has shown a certificate in its first connection.
#[tokio::test]
async fn a_resumed_session_keeps_its_identity() {
    let site = site(Asked::Required);
    let pair = site.clients.issue(&Leaf::client("node1"));
    for version in [&TLS12, &TLS13] {
        let config = client(&site.hosts, Some(&pair), &[version]);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut stream = site.connect(config.clone()).await.unwrap();
            ask(&mut stream, "/own.ipxe", "close").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("\r\n\r\necho node1"), "{answer}");
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds[1], rustls::HandshakeKind::Resumed, "{version:?}");
    }
}

/// New connections get a new certificate, an open one goes on, and bad files change nothing.
#[tokio::test]
async fn certificates_are_replaced_while_connections_run() {
    let site = site(Asked::Not);
    let open = client(&site.hosts, None, &[&TLS13]);
    let mut open = site.connect(open).await.unwrap();

    let other = Authority::new("Others");
    let new = other.issue(&Leaf::host());
    // Only one of the two files: cannot be used.
    fs::write(site.directory.path().join("host.pem"), &new.certificate).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(site.serves().await, "a bad file is used");

    new.write(site.directory.path(), "host");
    let config = client(&other, None, &[&TLS13]);
    let replaced = async {
        while site.get(config.clone(), "/hello").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), replaced)
        .await
        .unwrap();
    assert!(!site.serves().await, "the old certificate is still shown");

    ask(&mut open, "/hello", "close").await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("Hello, world"), "{answer}");
}

#[tokio::test]
async fn what_is_not_tls_does_no_harm() {
    let site = site(Asked::Not);
    let huge = [&b"\x16\x03\x01\xff\xff"[..], &[1; 70_000]].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"",
        b"\x16\x03\x01",
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        &huge,
    ] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        // The server may be gone before all of it is sent.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    assert!(site.serves().await);
}

/// Silent clients are given up, and however many there are, others get their turn.
#[tokio::test]
async fn handshakes_end_in_time() {
    let site = site(Asked::Not);
    let mut silent = Vec::new();
    for _ in 0..crate::http::handshake::HANDSHAKES_MAX + 8 {
        silent.push(TcpStream::connect(site.address).await.unwrap());
    }
    assert!(site.serves().await);
    let mut first = silent.swap_remove(0);
    let ended = tokio::time::timeout(Duration::from_secs(60), first.read(&mut [0])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}
