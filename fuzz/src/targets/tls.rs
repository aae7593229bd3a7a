//! Certificates, keys, and what a server sends in TLS.

use std::io::Write;
use std::sync::{Arc, LazyLock};

use bowline_tls::certificate::Certificate;
use bowline_tls::identity::Identity;
use bowline_tls::time::{Clock, Timestamp};
use bowline_tls::trust::{Anchors, certificates};
use bowline_tls::verify::{Purpose, Request, check};
use bowline_tls::{CertificateDer, Client, Config, Event, cms, entropy, envelope, provider};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ServerConfig, ServerConnection, version};

use crate::records;

/// The tests of the TLS client take envelopes apart in the same way.
#[path = "../../../crates/tls/tests/detach/mod.rs"]
mod detach;

pub(super) const PEM_WORDS: &[&str] = &[
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
    "-----BEGIN PRIVATE KEY-----\n",
    "-----BEGIN EC PRIVATE KEY-----\n",
    "-----BEGIN RSA PRIVATE KEY-----\n",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
    "Proc-Type: 4,ENCRYPTED\n",
];
/// A record of a chain: this is a trusted certificate, not a presented one.
pub(crate) const ANCHOR: u8 = 1;
/// What the server does in a record of `tls_client`: change its next bytes as the record says,
pub(crate) const CHANGE: u8 = 1;
/// send the record as it is,
pub(crate) const RAW: u8 = 2;
/// protect the record and send it,
pub(crate) const SAY: u8 = 3;
/// end its side,
pub(crate) const CLOSE: u8 = 4;
/// or TLS 1.2 only, if it comes first. Everything else: what it has to send.
pub(crate) const TLS12: u8 = 5;

/// An authority, a server's certificate for [`HOST`] and its key.
pub(crate) const ROOT: &[u8] = include_bytes!("../../../crates/tls/tests/fixtures/rsa-root.pem");
pub(crate) const LEAF: &[u8] = include_bytes!("../../../crates/tls/tests/fixtures/rsa-leaf.pem");
pub(crate) const LEAF_KEY: &[u8] =
    include_bytes!("../../../crates/tls/tests/fixtures/rsa-leaf.key");

const HOST: &str = "boot.example";

/// A moment in which they are valid.
fn clock() -> Clock {
    Clock::at(Timestamp::from_calendar((2027, 6, 1), (12, 0, 0)).expect("it is a date"))
}

/// What a certificate says is fit for a console.
pub(super) fn certificate(data: &[u8]) {
    let Some(certificate) = Certificate::parse(data) else {
        return;
    };
    let names = certificate.names().iter().map(ToString::to_string);
    let texts = [
        certificate.subject(),
        certificate.issuer(),
        certificate.common_name().unwrap_or_default(),
        certificate.signature_name().into_owned(),
        certificate.not_before().to_string(),
        certificate.not_after().to_string(),
    ];
    for text in texts.into_iter().chain(names) {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    let _ = (certificate.key(), certificate.is_authority());
    assert_eq!(certificate.fingerprint(), certificate.fingerprint());
}

/// A signature of a program, whose signer may be one that is trusted.
pub(super) fn signature(data: &[u8]) {
    let anchors = Anchors::from_bytes(ROOT).unwrap_or_default();
    for signer in [None, Some("Release key")] {
        let verdict = cms::verify(&cms::Request {
            signature: data,
            content: b"MZ",
            signer,
            anchors: &anchors,
            intermediates: &[],
            clock: clock(),
        });
        let words = match verdict {
            Ok(signers) => signers.join(", "),
            Err(fault) => fault.to_string(),
        };
        assert!(!words.contains(char::is_control), "{words:?}");
    }
}

/// The envelope of a program that is encrypted for us, or not. Nobody makes another one that opens.
pub(super) fn envelope(data: &[u8]) {
    let mut content = ENVELOPE.1.clone();
    match envelope::open(data, &mut content, &RECIPIENT) {
        Ok(()) => assert_eq!(content, b"MZ"),
        Err(fault) => assert!(!fault.to_string().contains(char::is_control)),
    }
}

/// A chain and those who vouch for it.
pub(super) fn chain(data: &[u8]) {
    let (mut anchors, mut chain) = (Anchors::new(), Vec::new());
    for (who, der) in records::split(data) {
        let der = CertificateDer::from(der.to_vec());
        if who & ANCHOR == 0 {
            chain.push(der);
        } else {
            let _ = anchors.add(der);
        }
    }
    for purpose in [Purpose::Server { name: HOST }, Purpose::Client] {
        let verdict = check(&Request {
            chain: &chain,
            anchors: &anchors,
            clock: clock(),
            purpose,
        });
        match verdict {
            Ok(accepted) => {
                assert!(!anchors.is_empty() && accepted.path.len() > 1);
                assert!(accepted.expires >= clock().time);
            }
            Err(refusal) => {
                assert!(!refusal.words.is_empty());
                assert!(!refusal.words.contains(char::is_control), "{refusal}");
            }
        }
    }
}

/// Files of certificates and keys, in PEM or DER.
pub(super) fn files(data: &[u8]) {
    if let Ok(anchors) = Anchors::from_bytes(data) {
        assert!(!anchors.is_empty());
        assert!(anchors.len() <= certificates(data).map_or(0, |all| all.len()));
    }
    match Identity::from_bytes(data, data) {
        Ok(identity) => assert!(!identity.chain().is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A server by other people (rustls with ring), whose bytes are changed on the way. What the client
/// gives out is what the server said, and after a change nothing more.
pub(super) fn client(data: &[u8]) {
    let mut records = records::split(data).peekable();
    let tls12 = records.next_if(|(what, _)| *what == TLS12).is_some();
    let server = &SERVERS[usize::from(tls12)];
    let mut pair = Pair {
        client: Client::new(&server.client, HOST).expect("it is a name"),
        server: ServerConnection::new(Arc::clone(&server.server)).expect("it is configured"),
        said: Vec::new(),
        heard: Vec::new(),
        tampered: false,
    };
    for (what, record) in records {
        pair.step(what, record);
    }
    let _ = pair.client.handle_eof();
    pair.listen();
}

struct Pair {
    client: Client,
    server: ServerConnection,
    said: Vec<u8>,
    heard: Vec<u8>,
    tampered: bool,
}

impl Pair {
    fn step(&mut self, what: u8, record: &[u8]) {
        while let Some(bytes) = self.client.poll_output() {
            let read = self.server.read_tls(&mut &bytes[..]);
            if read.is_ok() {
                let _ = self.server.process_new_packets();
            }
        }
        if what == SAY && !self.server.is_handshaking() {
            let said = self.server.writer().write(record).unwrap_or(0);
            self.said.extend(&record[..said]);
        }
        if what == CLOSE {
            self.server.send_close_notify();
        }
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            let _ = self.server.write_tls(&mut bytes);
        }
        match what {
            RAW => {
                self.tampered |= !record.is_empty();
                bytes.extend(record);
            }
            CHANGE => self.tampered |= change(&mut bytes, record),
            _ => {}
        }
        let result = self.client.handle_input(&bytes);
        if let Err(error) = result {
            assert!(self.tampered, "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
            assert_eq!(self.client.failure(), Some(&error));
        }
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(event) = self.client.poll_event() {
            if event == Event::Closed {
                assert_eq!(self.client.handle_eof(), Ok(()));
            }
        }
        self.heard.extend(self.client.take_plaintext());
        assert!(self.said.starts_with(&self.heard), "it made something up");
        // Data after a closure alert must be ignored (RFC 8446 section 6.1).
        let may_lack = self.tampered || self.client.peer_has_closed();
        assert!(may_lack || self.said == self.heard);
    }
}

/// Each three bytes of `record` are a position and what is added there; whether that changed
/// anything.
fn change(bytes: &mut [u8], record: &[u8]) -> bool {
    let mut changed = false;
    for edit in record.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = byte.wrapping_add(edit[2]);
            changed |= edit[2] != 0;
        }
    }
    changed
}

struct Server {
    client: Config,
    server: Arc<ServerConfig>,
}

/// An envelope, and the content that it is of.
pub(crate) static ENVELOPE: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let whole = include_bytes!("../../../crates/tls/tests/fixtures/rsa-leaf-envelope.cms");
    detach::detach(whole)
});

/// Whom it is for.
static RECIPIENT: LazyLock<Identity> = LazyLock::new(|| {
    // What somebody else has added already is as good.
    let _ = entropy::add(b"the same for every input", 256);
    Identity::from_bytes(LEAF, LEAF_KEY).expect("certificate and key fit")
});

/// One that speaks TLS 1.3 and 1.2, and one that speaks only 1.2.
static SERVERS: LazyLock<[Server; 2]> = LazyLock::new(|| {
    entropy::add(b"the same for every input", 256).expect("nobody else uses it");
    let anchors = Anchors::from_bytes(ROOT).expect("it is a certificate");
    let chain = certificates(LEAF).expect("it is a certificate");
    let key = || PrivateKeyDer::from_pem_slice(LEAF_KEY).expect("it is a key");
    let both: &[_] = &[&version::TLS13, &version::TLS12];
    [both, &[&version::TLS12]].map(|versions| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .and_then(|builder| {
                let builder = builder.with_no_client_auth();
                builder.with_single_cert(chain.clone(), key())
            });
        // Without resumption: every input begins anew.
        let client = Config::builder(anchors.clone(), clock()).resumption(false);
        Server {
            client: client.build::<provider::Portable>(),
            server: Arc::new(server.expect("certificate and key fit")),
        }
    })
});
