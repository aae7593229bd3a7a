//! Certificates and keys of the TLS client's tests, alone, as chains and as files, and what may
//! become of a connection; and certificates and random bytes as firmware has them.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Seed;
use crate::records::append;
use crate::targets::tls::{ANCHOR, CHANGE, CLOSE, ENVELOPE, LEAF, LEAF_KEY, RAW, ROOT, SAY, TLS12};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../crates/tls/tests/fixtures/", $name))
    };
}

/// Everything that an extension can say to us is in `every-extension`, which is only in the corpus.
const CERTIFICATES: &[(&str, &[u8])] = &[
    ("root", ROOT),
    ("leaf", LEAF),
    ("p521-leaf", fixture!("p521-leaf.pem")),
    ("sha1-leaf", fixture!("sha1-leaf.pem")),
    ("weak-ca", fixture!("weak-ca.pem")),
    ("weak-issued", fixture!("weak-issued.pem")),
];
const KEYS: &[(&str, &[u8])] = &[
    ("encrypted", fixture!("encrypted.key")),
    ("pkcs1-rsa", fixture!("pkcs1-rsa.key")),
    ("sec1-p256", fixture!("sec1-p256.key")),
];

pub(super) fn all() -> Vec<Seed> {
    let der =
        |pem: &[u8]| CertificateDer::from_pem_slice(pem).map_or(Vec::new(), |der| der.to_vec());
    let mut seeds = Vec::new();
    for (name, pem) in CERTIFICATES {
        seeds.push(Seed::new("tls_certificate", *name, der(pem)));
        let mut chain = Vec::new();
        append(&mut chain, ANCHOR, &der(ROOT));
        append(&mut chain, 0, &der(pem));
        append(&mut chain, 0, &der(fixture!("weak-ca.pem")));
        seeds.push(Seed::new("tls_chain", *name, chain));
    }
    seeds.push(Seed::new("cms_envelope", "gcm", ENVELOPE.0.clone()));
    seeds.push(Seed::new(
        "cms_signature",
        "attr",
        *fixture!("code-attr.cms"),
    ));
    seeds.push(Seed::new(
        "cms_signature",
        "noattr",
        *fixture!("code-noattr.cms"),
    ));
    for (name, pem) in KEYS {
        seeds.push(Seed::new("tls_files", *name, *pem));
    }
    seeds.push(Seed::new(
        "tls_files",
        "identity",
        [LEAF, LEAF_KEY].concat(),
    ));
    seeds.push(Seed::new("tls_files", "certificate-in-der", der(LEAF)));
    seeds.push(Seed::new("tls_files", "chain", [LEAF, ROOT].concat()));
    seeds.extend(connections());
    seeds.push(Seed::new(
        "signature_list",
        "one",
        signature_list(&der(LEAF)),
    ));
    let two = [signature_list(&der(ROOT)), signature_list(&der(LEAF))];
    seeds.push(Seed::new("signature_list", "two", two.concat()));
    let response = b"\x80\x01\0\0\0\x0f\0\0\0\0\0\x03abc";
    seeds.push(Seed::new("tpm_response", "three-bytes", *response));
    seeds
}

/// An EFI_SIGNATURE_LIST (UEFI 2.10 section 32.4.1) of one X.509 certificate.
fn signature_list(der: &[u8]) -> Vec<u8> {
    const X509: &[u8] = b"\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72";
    let one = 16 + der.len() as u32;
    let sizes = [28 + one, 0, one].map(u32::to_le_bytes);
    [X509, sizes.as_flattened(), &[0; 16], der].concat()
}

/// What the server does, and with which bytes.
type Step = (u8, &'static [u8]);

fn connections() -> Vec<Seed> {
    // Flights of the handshake, then what is said.
    const FLIGHT: Step = (0, &[]);
    let said: [Step; 4] = [FLIGHT, FLIGHT, FLIGHT, (SAY, b"HTTP/1.1 200 OK\r\n\r\n")];
    let connections: [(&str, &[Step]); 3] = [
        ("closed", &[(CLOSE, &[])]),
        ("changed", &[(SAY, b"x"), (CHANGE, &[0, 7, 1]), (SAY, b"y")]),
        // A ServerHello's header, an alert, a record that is too long.
        (
            "raw",
            &[
                (RAW, &[22, 3, 3, 0, 1, 2]),
                (RAW, &[21, 3, 3, 0, 2, 2, 40]),
                (RAW, &[23, 3, 3, 0, 0]),
            ],
        ),
    ];
    let mut seeds = Vec::new();
    for (name, end) in connections {
        for (version, first) in [("tls13", None), ("tls12", Some((TLS12, &[][..])))] {
            let mut bytes = Vec::new();
            let steps = first.into_iter().chain(said).chain(end.iter().copied());
            for (what, record) in steps {
                // An empty message is a record too.
                match record {
                    [] => bytes.extend([what, 0, 0]),
                    _ => append(&mut bytes, what, record),
                }
            }
            seeds.push(Seed::new("tls_client", format!("{version}-{name}"), bytes));
        }
    }
    let handshake = [CHANGE, 0, 3, 0, 50, 1];
    seeds.push(Seed::new("tls_client", "changed-hello", handshake));
    seeds
}
