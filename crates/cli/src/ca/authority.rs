//! A private certificate authority in a directory.
//!
//! `ca.pem` and `ca.key`, and below `hosts/` and `clients/` one `NAME.pem` and `NAME.key` for each
//! that has been issued. There is no other record: the directory is what has been issued.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;
use zeroize::Zeroizing;

use super::KeyType;
use super::name::{COMMON_NAME_MAX, HostName};
use crate::file::{self, Existing, Mode};

/// An authority whose key is at hand.
pub(crate) struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    not_after: OffsetDateTime,
}

/// What to issue.
#[derive(Debug)]
pub(crate) struct Order {
    /// For whom.
    pub(crate) subject: Subject,
    /// For how long.
    pub(crate) days: u32,
    /// With what kind of key.
    pub(crate) key_type: KeyType,
    /// What to do if there is one already.
    pub(crate) existing: Existing,
}

/// For whom a certificate is.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A server, by all of its names.
    Host(Vec<HostName>),
    /// A machine that boots.
    Client(String),
}

/// What has been written.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) not_after: OffsetDateTime,
    /// Whether the authority's own end is the reason for that of the certificate.
    pub(crate) shortened: bool,
}

impl Authority {
    /// Makes a new authority; `name` is for people, by default one that tells it from others.
    pub(crate) fn create(
        directory: &Path,
        name: Option<&str>,
        days: u32,
        key_type: KeyType,
        existing: Existing,
    ) -> anyhow::Result<Issued> {
        let serial = random_serial()?;
        let mut params = CertificateParams::default();
        // Two authorities of one name would make paths hard to build and to read.
        let number: String = serial
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let name = name.map_or_else(|| format!("Bowline CA {number}"), str::to_owned);
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        (params.not_before, params.not_after) = validity(days);
        // It issues leaves and no further authorities, RFC 5280 §4.2.1.9.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(key_type.algorithm()).context("cannot make a key")?;
        let certificate = params.self_signed(&key).context("cannot sign")?;
        file::make_private_directory(directory)?;
        let issued = Issued {
            certificate: directory.join(CERTIFICATE),
            key: directory.join(KEY),
            not_after: params.not_after,
            shortened: false,
        };
        let loss = "everything that it has issued would have to be issued again";
        issued.write(&certificate.pem(), &key, existing, loss)?;
        Ok(issued)
    }

    /// The authority in `directory`.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
        if !certificate.exists() && !key.exists() {
            let place = directory.display();
            bail!("there is no authority in {place}; make one with: bowline ca init {place}");
        }
        let pem = read(&certificate)?;
        let text = String::from_utf8_lossy(&pem);
        let place = certificate.display();
        let (_, parsed) = parse_x509_pem(&pem).with_context(|| format!("{place}: not in PEM"))?;
        let parsed = parsed
            .parse_x509()
            .with_context(|| format!("{place}: no certificate"))?;
        ensure!(
            parsed.is_ca(),
            "{place}: not the certificate of an authority"
        );
        let not_after = parsed.validity().not_after.to_datetime();
        ensure!(
            not_after > now(),
            "{place}: has expired on {}",
            not_after.date()
        );
        let place = key.display();
        let key_pem = Zeroizing::new(read(&key)?);
        let key_text =
            std::str::from_utf8(&key_pem).with_context(|| format!("{place}: not PEM"))?;
        let key = KeyPair::from_pem(key_text).with_context(|| format!("{place}: no usable key"))?;
        ensure!(
            parsed.public_key().subject_public_key.data == key.public_key_raw(),
            "{place}: not the key of {}",
            certificate.display()
        );
        let issuer = Issuer::from_ca_cert_pem(&text, key)
            .with_context(|| format!("{}: cannot issue with it", certificate.display()))?;
        Ok(Self {
            directory: directory.into(),
            issuer,
            not_after,
        })
    }

    /// The certificate that those who trust the authority need.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join(CERTIFICATE)
    }

    /// Makes a key and a certificate for it.
    pub(crate) fn issue(&self, order: &Order) -> anyhow::Result<Issued> {
        let (folder, stem, usage, names) = match &order.subject {
            Subject::Host(names) => {
                let stem = names.first().context("no name")?.file_stem();
                (
                    HOSTS,
                    stem,
                    ExtendedKeyUsagePurpose::ServerAuth,
                    names.clone(),
                )
            }
            Subject::Client(name) => {
                let names = vec![HostName::Dns(name.clone())];
                (
                    CLIENTS,
                    name.clone(),
                    ExtendedKeyUsagePurpose::ClientAuth,
                    names,
                )
            }
        };
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // For people only: who verifies a host looks at subjectAltName, RFC 9525 §6.3.
        let common = names.first().map(ToString::to_string);
        if let Some(common) = common.filter(|common| common.len() <= COMMON_NAME_MAX) {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        for name in names {
            params.subject_alt_names.push(match name {
                HostName::Dns(name) => SanType::DnsName(name.try_into().context("not a name")?),
                HostName::Ip(address) => SanType::IpAddress(address),
            });
        }
        params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
        (params.not_before, params.not_after) = validity(order.days);
        let shortened = params.not_after > self.not_after;
        params.not_after = params.not_after.min(self.not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(order.key_type.algorithm()).context("cannot make a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign")?;
        let folder = self.directory.join(folder);
        file::make_private_directory(&folder)?;
        let issued = Issued {
            certificate: folder.join(format!("{stem}.pem")),
            key: folder.join(format!("{stem}.key")),
            not_after: params.not_after,
            shortened,
        };
        let loss = "its certificate and its key would no longer be here";
        issued.write(&certificate.pem(), &key, order.existing, loss)?;
        Ok(issued)
    }
}

impl Issued {
    fn write(
        &self,
        certificate: &str,
        key: &KeyPair,
        existing: Existing,
        loss: &str,
    ) -> anyhow::Result<()> {
        for path in [&self.certificate, &self.key] {
            if existing == Existing::Keep && path.exists() {
                bail!(
                    "{} is there already; --force replaces it ({loss})",
                    path.display()
                );
            }
        }
        let key = Zeroizing::new(key.serialize_pem());
        file::write(&self.key, key.as_bytes(), Mode::Secret, existing)?;
        file::write(
            &self.certificate,
            certificate.as_bytes(),
            Mode::Public,
            existing,
        )
    }
}

/// Positive and of the same length always, RFC 5280 §4.1.2.2: 126 bits that nobody can guess.
fn random_serial() -> anyhow::Result<[u8; SERIAL_BYTES]> {
    let mut serial = [0; SERIAL_BYTES];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::rand::getrandom(&mut serial, flags).context("no random numbers")?;
    ensure!(filled == serial.len(), "too few random numbers");
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// From a moment ago, for clocks that are behind, until `days` from now.
fn validity(days: u32) -> (OffsetDateTime, OffsetDateTime) {
    (now() - CLOCKS_DIFFER, now() + Duration::days(days.into()))
}

/// To the second, as certificates tell it.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now - Duration::nanoseconds(now.nanosecond().into())
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(crate) const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const CLIENTS: &str = "clients";
const SERIAL_BYTES: usize = 16;
const CLOCKS_DIFFER: Duration = Duration::hours(1);
