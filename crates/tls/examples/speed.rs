//! How fast records are sealed and opened here, and what a signature costs. Informative only.
//!
//! `cargo run --release -p bowline-tls --example speed`; with the `*_backend="soft"` flags of
//! `.cargo/config.toml` in `RUSTFLAGS` it shows what firmware without SIMD would get.

use bowline_tls::identity::Identity;
use bowline_tls::provider::{Aead, Backend, Portable};
use bowline_tls::time::Clock;
use bowline_tls::trust::{Anchors, certificates};
use bowline_tls::verify::{Purpose, Request, check};
use bowline_tls::{Client, Config, Event, entropy};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RECORD: usize = 16 << 10;
const TIME: Duration = Duration::from_millis(500);

fn main() {
    let key = [7; 32];
    let short = [7; 16];
    record_speed("AES-128-GCM", &*Portable::aes_128_gcm(&short));
    record_speed("AES-256-GCM", &*Portable::aes_256_gcm(&key));
    record_speed("ChaCha20-Poly1305", &*Portable::chacha20_poly1305(&key));
    connection_speed();
    verification_speed();
}

fn record_speed(name: &str, aead: &dyn Aead) {
    let mut record = vec![0; RECORD];
    let (nonce, aad) = ([1; 12], [2; 5]);
    let seal = repeat(|| {
        aead.seal(&nonce, &aad, &mut record)
            .expect("sealing failed");
    });
    let tag = aead
        .seal(&nonce, &aad, &mut record)
        .expect("sealing failed");
    let sealed = record.clone();
    let open = repeat(|| {
        record.copy_from_slice(&sealed);
        aead.open(&nonce, &aad, &mut record, &tag)
            .expect("opening failed");
    });
    let speed = |each: Duration| RECORD as f64 / each.as_secs_f64() / 1e6;
    println!(
        "{name}: seal {:.0} MB/s, open {:.0} MB/s",
        speed(seal),
        speed(open)
    );
}

/// Mean time of one call.
fn repeat(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < TIME {
        work();
        count += 1;
    }
    start.elapsed() / count
}

/// The client's share of a handshake and a download, with a server by ring.
fn connection_speed() {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["boot.example".to_string()]).unwrap();
    let leaf = leaf.signed_by(&key, &root).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    let server = Arc::new(server);
    entropy::add(b"not random: this is a benchmark", 256).unwrap();
    let mut anchors = Anchors::new();
    anchors.add(root.der().clone()).unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    let clock = Clock::at(bowline_tls::time::Timestamp(now));
    let config = Config::builder(anchors, clock).build::<Portable>();
    let mut spent = Duration::ZERO;
    let mut client = measured(&mut spent, || Client::new(&config, "boot.example").unwrap());
    let mut server = rustls::ServerConnection::new(server).unwrap();
    let mut buffer = Vec::new();
    let mut established = false;
    while !established {
        while let Some(bytes) = client.poll_output() {
            server.read_tls(&mut &bytes[..]).unwrap();
            server.process_new_packets().unwrap();
        }
        server.write_tls(&mut buffer).unwrap();
        measured(&mut spent, || client.handle_input(&buffer).unwrap());
        buffer.clear();
        established = matches!(client.poll_event(), Some(Event::Established(_)));
    }
    while let Some(bytes) = client.poll_output() {
        server.read_tls(&mut &bytes[..]).unwrap();
        server.process_new_packets().unwrap();
    }
    let suite = server.negotiated_cipher_suite().unwrap().suite();
    println!("handshake (client's share, P-256, no client certificate): {spent:.2?}");
    let (mut spent, mut received) = (Duration::ZERO, 0);
    while received < 64 << 20 {
        server.writer().write_all(&[0; RECORD]).unwrap();
        while server.wants_write() {
            server.write_tls(&mut buffer).unwrap();
        }
        measured(&mut spent, || {
            for segment in buffer.chunks(1448) {
                client.handle_input(segment).unwrap();
            }
            received += client.take_plaintext().len();
        });
        buffer.clear();
    }
    let speed = received as f64 / spent.as_secs_f64() / 1e6;
    println!("download in the client, {suite:?}, by TCP segments: {speed:.0} MB/s");
}

fn measured<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *spent += start.elapsed();
    result
}

fn verification_speed() {
    let fixture = |name: &str| {
        std::fs::read(format!(
            "{}/tests/fixtures/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    };
    let chain = certificates(&fixture("rsa-leaf.pem")).unwrap();
    let anchors = Anchors::from_bytes(&fixture("rsa-root.pem")).unwrap();
    let clock = Clock::at(bowline_tls::time::Timestamp::from_rfc3339("2027-06-01").unwrap());
    let purpose = Purpose::Server {
        name: "boot.example",
    };
    let request = Request {
        chain: &chain,
        anchors: &anchors,
        clock,
        purpose,
    };
    let each = repeat(|| {
        check(&request).unwrap();
    });
    println!("check of a chain with one RSA-2048 signature: {each:.2?}");
    let (chain, key) = (fixture("rsa-leaf.pem"), fixture("rsa-leaf.key"));
    let each = repeat(|| {
        Identity::from_bytes(&chain, &key).unwrap();
    });
    println!("loading an RSA-2048 client key: {each:.2?}");
}
