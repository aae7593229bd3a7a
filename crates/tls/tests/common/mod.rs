//! A private public-key infrastructure, a server by other people (rustls with ring), and the wire
//! between it and the client, all in memory.
#![allow(dead_code)] // Not every test file uses all of it.

use bowline_tls::time::{Clock, Timestamp};
use bowline_tls::trust::{Anchors, certificates};
use bowline_tls::verify::{Accepted, Purpose, Refusal, Request, check};
use bowline_tls::{CertificateDer, Client, Config, Error, Event, Session, entropy, provider};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    date_time_ymd,
};
use rustls::ServerConnection;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use std::io::{Read, Write};
use std::sync::Arc;

pub(crate) const HOST: &str = "boot.example";

/// The time of all tests: every certificate is valid from 2027 to 2028 unless the test is about that.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_calendar((2027, 6, 1), (12, 0, 0)).unwrap()
}

pub(crate) fn clock() -> Clock {
    Clock::at(now())
}

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    P256,
    P384,
    Ed25519,
    /// There is one RSA key for authorities and one for the rest: making them takes seconds.
    Rsa,
}

pub(crate) fn key(algorithm: Algorithm) -> KeyPair {
    match algorithm {
        Algorithm::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
        Algorithm::P384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
        Algorithm::Ed25519 => KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        Algorithm::Rsa => KeyPair::from_pem(&fixture_text("rsa-leaf.key")).unwrap(),
    }
}

pub(crate) fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2027, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

pub(crate) fn root(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), key(Algorithm::P384)).unwrap()
}

pub(crate) fn rsa_root(name: &str) -> Authority {
    let key = KeyPair::from_pem(&fixture_text("rsa-root.key")).unwrap();
    CertifiedIssuer::self_signed(authority_params(name), key).unwrap()
}

pub(crate) fn intermediate(name: &str, issuer: &Authority) -> Authority {
    CertifiedIssuer::signed_by(authority_params(name), key(Algorithm::P256), issuer).unwrap()
}

/// A server's certificate for these names.
pub(crate) fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.not_before = date_time_ymd(2027, 1, 1);
    params.not_after = date_time_ymd(2028, 1, 1);
    params
}

/// A chain, own certificate first, and the key of that.
pub(crate) struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Credentials {
    pub(crate) fn new(
        params: &CertificateParams,
        algorithm: Algorithm,
        issuer: &Authority,
    ) -> Self {
        let key = key(algorithm);
        let leaf = params.signed_by(&key, issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Self {
            chain: vec![leaf.der().clone()],
            key,
        }
    }

    pub(crate) fn for_host(algorithm: Algorithm, issuer: &Authority) -> Self {
        Self::new(&leaf_params(&[HOST]), algorithm, issuer)
    }

    pub(crate) fn client(algorithm: Algorithm, issuer: &Authority) -> Self {
        let mut params = leaf_params(&[]);
        params.distinguished_name.push(DnType::CommonName, "node1");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Self::new(&params, algorithm, issuer)
    }

    pub(crate) fn with(mut self, authorities: &[&Authority]) -> Self {
        self.chain
            .extend(authorities.iter().map(|authority| authority.der().clone()));
        self
    }

    /// From files made by `fixtures/make.sh`.
    pub(crate) fn fixture(chain: &[&str], key: &str) -> Self {
        let chain = chain
            .iter()
            .flat_map(|name| certificates(&fixture(name)).unwrap())
            .collect();
        Self {
            chain,
            key: PrivateKeyDer::from_pem_slice(&fixture(key)).unwrap(),
        }
    }
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

pub(crate) fn fixture_text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

pub(crate) fn anchors(authorities: &[&Authority]) -> Anchors {
    let mut anchors = Anchors::new();
    for authority in authorities {
        anchors.add(authority.der().clone()).unwrap();
    }
    anchors
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tls12,
    Tls13,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

/// What the other people's server does.
pub(crate) struct ServerOptions {
    pub(crate) versions: Vec<Version>,
    /// Require client certificates that these vouch for.
    pub(crate) clients: Option<CertificateDer<'static>>,
    pub(crate) suite: Option<rustls::CipherSuite>,
    pub(crate) group: Option<rustls::NamedGroup>,
    pub(crate) alpn: Vec<Vec<u8>>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            versions: VERSIONS.to_vec(),
            clients: None,
            suite: None,
            group: None,
            alpn,
        }
    }
}

impl ServerOptions {
    pub(crate) fn only(version: Version) -> Self {
        Self {
            versions: vec![version],
            ..Self::default()
        }
    }
}

pub(crate) fn server_config(
    credentials: &Credentials,
    options: &ServerOptions,
) -> Arc<rustls::ServerConfig> {
    let mut provider = rustls::crypto::ring::default_provider();
    if let Some(suite) = options.suite {
        provider
            .cipher_suites
            .retain(|known| known.suite() == suite);
    }
    if let Some(group) = options.group {
        provider.kx_groups.retain(|known| known.name() == group);
    }
    let provider = Arc::new(provider);
    let versions: Vec<_> = options
        .versions
        .iter()
        .map(|version| match version {
            Version::Tls12 => &rustls::version::TLS12,
            Version::Tls13 => &rustls::version::TLS13,
        })
        .collect();
    let time = Arc::new(TestTime);
    let config = rustls::ServerConfig::builder_with_details(provider.clone(), time)
        .with_protocol_versions(&versions)
        .unwrap();
    let config = match &options.clients {
        None => config.with_no_client_auth(),
        Some(root) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(root.clone()).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider.clone(),
            );
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    // Around the usual check that key and certificate belong together: the bad ones do not parse.
    let key = provider
        .key_provider
        .load_private_key(credentials.key.clone_key())
        .unwrap();
    let certified = rustls::sign::CertifiedKey::new(credentials.chain.clone(), key);
    let resolver = rustls::sign::SingleCertAndKey::from(certified);
    let mut config = config.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = options.alpn.clone();
    config.send_tls13_tickets = 2;
    Arc::new(config)
}

#[derive(Debug)]
struct TestTime;

impl rustls::time_provider::TimeProvider for TestTime {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(now().into())
    }
}

pub(crate) fn server(credentials: &Credentials, options: &ServerOptions) -> ServerConnection {
    ServerConnection::new(server_config(credentials, options)).unwrap()
}

pub(crate) fn seed() {
    entropy::add(&std::process::id().to_le_bytes(), 256).unwrap();
}

pub(crate) fn config(anchors: Anchors) -> Config {
    seed();
    Config::builder(anchors, clock()).build::<provider::Portable>()
}

pub(crate) fn client(anchors: Anchors, host: &str) -> Client {
    Client::new(&config(anchors), host).unwrap()
}

/// Client and server with a wire between them.
pub(crate) struct Wire {
    pub(crate) client: Client,
    pub(crate) server: ServerConnection,
    /// The error that ended the server's side.
    pub(crate) server_error: Option<rustls::Error>,
    received: Vec<u8>,
    pub(crate) session: Option<Session>,
    pub(crate) closed: bool,
    /// Handed to the client at most so many bytes at a time.
    pub(crate) chunk: usize,
}

impl Wire {
    pub(crate) fn new(client: Client, server: ServerConnection) -> Self {
        Self {
            client,
            server,
            server_error: None,
            received: Vec::new(),
            session: None,
            closed: false,
            chunk: 1400,
        }
    }

    /// Carries bytes both ways until nothing moves.
    pub(crate) fn run(&mut self) -> Result<(), Error> {
        loop {
            let mut moved = false;
            let result = self.deliver_to_client(&mut moved);
            moved |= self.deliver_to_server();
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::Established(session) => self.session = Some(*session),
                    Event::Closed => self.closed = true,
                }
            }
            result?;
            if !moved {
                return Ok(());
            }
        }
    }

    fn deliver_to_client(&mut self, moved: &mut bool) -> Result<(), Error> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        *moved |= !bytes.is_empty();
        bytes
            .chunks(self.chunk)
            .try_for_each(|chunk| self.client.handle_input(chunk))
    }

    pub(crate) fn deliver_to_server(&mut self) -> bool {
        let mut moved = false;
        while let Some(bytes) = self.client.poll_output() {
            moved = true;
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                if self.server.read_tls(&mut bytes).is_err() {
                    break;
                }
                if let Err(error) = self.server.process_new_packets() {
                    self.server_error.get_or_insert(error);
                }
                // Its buffer is small, and it takes no more when that is full.
                let _ = self.server.reader().read_to_end(&mut self.received);
            }
        }
        moved
    }

    /// What the server has for the client, taken off the wire.
    pub(crate) fn take_server_output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn server_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Sends `length` bytes from the server and reads them in the client.
    pub(crate) fn download(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let sent: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut received = Vec::new();
        for part in sent.chunks(50_000) {
            self.server.writer().write_all(part).unwrap();
            self.run()?;
            let mut buffer = [0; 1000];
            loop {
                match self.client.read(&mut buffer) {
                    0 => break,
                    count => received.extend_from_slice(&buffer[..count]),
                }
            }
        }
        assert!(received == sent, "what arrived is not what was sent");
        Ok(received)
    }
}

/// What the check says of a chain that a server of this name presents, at the time of the tests.
pub(crate) fn verdict(
    chain: &[CertificateDer<'_>],
    anchors: &Anchors,
    name: &str,
) -> Result<Accepted, Refusal> {
    verdict_at(clock(), chain, anchors, Purpose::Server { name })
}

pub(crate) fn verdict_at(
    clock: Clock,
    chain: &[CertificateDer<'_>],
    anchors: &Anchors,
    purpose: Purpose<'_>,
) -> Result<Accepted, Refusal> {
    check(&Request {
        chain,
        anchors,
        clock,
        purpose,
    })
}

/// The chain passes the check and both handshakes.
#[track_caller]
pub(crate) fn assert_works(credentials: &Credentials, anchors: Anchors, host: &str) {
    verdict(&credentials.chain, &anchors, host).unwrap();
    for version in VERSIONS {
        let server = server(credentials, &ServerOptions::only(version));
        let mut wire = Wire::new(client(anchors.clone(), host), server);
        wire.run()
            .unwrap_or_else(|error| panic!("{version:?}: {error}"));
        assert!(wire.session.is_some());
        wire.download(1000).unwrap();
    }
}
