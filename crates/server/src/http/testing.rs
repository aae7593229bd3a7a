//! Certificates for tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use time::{Duration, OffsetDateTime};

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate in PEM.
    pub(crate) pem: String,
}

/// A certificate and its key in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// What a certificate says; what is good for most tests unless changed.
pub(crate) struct Leaf<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) common_name: &'a str,
    pub(crate) usage: ExtendedKeyUsagePurpose,
    /// Days from now until its end.
    pub(crate) days: i64,
    pub(crate) ca: bool,
    /// Where its issuer's certificate is said to be.
    pub(crate) issuer_url: Option<&'a str>,
}

impl Leaf<'static> {
    pub(crate) fn host() -> Self {
        Self {
            names: &["localhost", "127.0.0.1"],
            common_name: "localhost",
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            days: 100,
            ca: false,
            issuer_url: None,
        }
    }

    pub(crate) fn client(name: &'static str) -> Self {
        Self {
            names: &[],
            common_name: name,
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            ..Self::host()
        }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> Pair {
        let names: Vec<_> = leaf.names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = named(leaf.common_name);
        let now = OffsetDateTime::now_utc();
        params.not_after = now + Duration::days(leaf.days);
        params.not_before = now.min(params.not_after) - Duration::days(100);
        params.extended_key_usages = vec![leaf.usage.clone()];
        if leaf.ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        if let Some(url) = leaf.issuer_url {
            params.custom_extensions.push(issuer_at(url));
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair {
            certificate,
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// Writes `NAME.pem` and, for its owner only, `NAME.key`.
    pub(crate) fn write(&self, directory: &Path, name: &str) {
        let key = directory.join(format!("{name}.key"));
        fs::write(&key, &self.key).unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        fs::write(directory.join(format!("{name}.pem")), &self.certificate).unwrap();
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Authority Information Access with one caIssuers, RFC 5280 §4.2.2.1.
fn issuer_at(url: &str) -> CustomExtension {
    let oid = [6, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
    let nest = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 0x80, "one byte of length is enough here");
        [&[tag, length], content].concat()
    };
    let description = [&oid[..], &nest(0x86, url.as_bytes())].concat();
    let content = nest(0x30, &nest(0x30, &description));
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], content)
}
