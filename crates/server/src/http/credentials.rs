//! The files behind HTTPS, read and checked: certificate, key, and whom clients are issued by.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error as TlsError, InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::certificate::{Age, Certificate};

/// The files that HTTPS is made of.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's certificate in PEM, followed by those of its issuers up to the root, which may
    /// be left out.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// Whether clients are asked for a certificate.
    pub clients: ClientAuth,
}

/// Whether clients are asked for a certificate, and whose certificates count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked and need not have one. One that does not verify is refused.
    Optional {
        /// The certificates in PEM of who issues those of clients.
        ca: PathBuf,
    },
    /// Without one that verifies there is no connection.
    Required {
        /// The certificates in PEM of who issues those of clients.
        ca: PathBuf,
    },
}

impl ClientAuth {
    fn ca(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::Optional { ca } | Self::Required { ca } => Some(ca),
        }
    }
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The server's certificate.
    Certificate,
    /// Its key.
    Key,
    /// Who issues the certificates of clients.
    ClientCa,
}

/// What is wrong, or doubtful, with one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub place: Place,
    /// What is wrong and what would be right; begins with the file's path.
    pub message: String,
}

/// What the files held when they were read.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// What is doubtful about them.
    pub warnings: Vec<Fault>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) stamp: Stamp,
    /// The server's certificate first.
    certificates: Vec<(Place, PathBuf, Certificate)>,
}

impl Credentials {
    /// Reads and checks `files`; tells everything that is wrong.
    pub fn load(files: &TlsFiles) -> Result<Self, Vec<Fault>> {
        let provider = Arc::new(ring::default_provider());
        let mut load = Load::default();
        let stamp = Stamp::of(files);
        let chain = load.chain(&files.certificate);
        let key = load.key(&files.key);
        let clients = load.clients(&files.clients, &provider);
        let certified = match (chain, key) {
            (Some(chain), Some(key)) => load.certified(chain, key, files, &provider),
            _ => None,
        };
        load.ages(now());
        let (true, Some(certified), Some(clients)) = (load.faults.is_empty(), certified, clients)
        else {
            return Err(load.faults);
        };
        // The defaults of rustls: TLS 1.3 and 1.2, suites with forward secrecy only, resumption by
        // state that the server keeps and that ends with this configuration.
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| {
            let message = format!("{}: {error}", files.certificate.display());
            vec![Fault {
                place: Place::Certificate,
                message,
            }]
        })?;
        let builder = match clients {
            Verifier::Nobody => builder.with_no_client_auth(),
            Verifier::Clients(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            warnings: load.warnings,
            config: Arc::new(config),
            stamp,
            certificates: load.certificates,
        })
    }

    /// The names and addresses that the server's certificate is for.
    pub fn names(&self) -> &[String] {
        self.certificates
            .first()
            .map_or(&[], |(_, _, certificate)| &certificate.names)
    }

    /// The last day of the server's certificate, as 2027-01-31.
    pub fn last_day(&self) -> String {
        self.certificates
            .first()
            .map_or_else(String::new, |(_, _, it)| it.last_day())
    }

    /// The certificates that should be renewed, or should have been.
    pub(super) fn aging(&self) -> Vec<String> {
        let mut told = Vec::new();
        for (_, path, certificate) in &self.certificates {
            if let Age::Late(words) | Age::Expired(words) = certificate.age(now()) {
                told.push(describe(path, certificate, &words));
            }
        }
        told
    }
}

enum Verifier {
    Nobody,
    Clients(Arc<dyn ClientCertVerifier>),
}

/// Reading under way, and what has been found.
#[derive(Default)]
struct Load {
    faults: Vec<Fault>,
    warnings: Vec<Fault>,
    certificates: Vec<(Place, PathBuf, Certificate)>,
}

impl Load {
    fn fault<T>(&mut self, place: Place, path: &Path, words: &str) -> Option<T> {
        let message = format!("{}: {words}", path.display());
        self.faults.push(Fault { place, message });
        None
    }

    fn warning(&mut self, place: Place, path: &Path, words: &str) {
        let message = format!("{}: {words}", path.display());
        self.warnings.push(Fault { place, message });
    }

    fn read(&mut self, place: Place, path: &Path) -> Option<Zeroizing<Vec<u8>>> {
        match read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => self.fault(place, path, &format!("cannot read it: {error}")),
        }
    }

    /// All certificates of a file in PEM, one at least.
    fn pem(&mut self, place: Place, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let bytes = self.read(place, path)?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let found = match found {
            Ok(found) => found,
            Err(error) => return self.fault(place, path, &format!("is not valid PEM: {error}")),
        };
        if found.is_empty() {
            let words = "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)";
            let der = bytes.first() == Some(&DER_SEQUENCE);
            let advice = "; it may be DER: openssl x509 -inform DER -in FILE -out FILE.pem";
            return self.fault(
                place,
                path,
                &format!("{words}{}", if der { advice } else { "" }),
            );
        }
        for (index, der) in found.iter().enumerate() {
            match Certificate::parse(der) {
                Ok(certificate) => self.certificates.push((place, path.into(), certificate)),
                Err(error) => {
                    let words = format!("certificate {} is damaged: {error}", index + 1);
                    return self.fault(place, path, &words);
                }
            }
        }
        Some(found)
    }

    /// The server's certificate and those of its issuers, each issued by the next.
    fn chain(&mut self, path: &Path) -> Option<Vec<CertificateDer<'static>>> {
        let place = Place::Certificate;
        let chain = self.pem(place, path)?;
        let certificates: Vec<_> = self
            .certificates
            .iter()
            .map(|(_, _, certificate)| certificate.clone())
            .collect();
        for (index, pair) in certificates.windows(2).enumerate() {
            let [certificate, next] = pair else { continue };
            if !certificate.issued_by(next) {
                let words = format!(
                    "the chain is incomplete: certificate {} is issued by {}, but what follows is \
                     {}; put the server's certificate first, then its issuer's, and so on",
                    index + 1,
                    certificate.issuer(),
                    next.subject()
                );
                return self.fault(place, path, &words);
            }
        }
        let server = certificates.first()?;
        if let (1, false, Some(url)) =
            (certificates.len(), server.self_issued(), &server.issuer_url)
        {
            let words = format!(
                "the chain may be incomplete: it holds the server's certificate only, and its \
                 issuer {} is published at {}; use the whole chain (fullchain.pem of certbot)",
                server.issuer(),
                url.escape_debug()
            );
            self.warning(place, path, &words);
        }
        if server.names.is_empty() {
            self.warning(
                place,
                path,
                "names no server (no subjectAltName); loaders refuse it",
            );
        }
        if server.ca {
            self.warning(
                place,
                path,
                "is the certificate of an authority, not of a server; loaders refuse it \
                 (bowline ca issue host makes one)",
            );
        }
        if !server.server_auth {
            self.warning(
                place,
                path,
                "is not for servers (no serverAuth); loaders refuse it",
            );
        }
        Some(chain)
    }

    fn key(&mut self, path: &Path) -> Option<PrivateKeyDer<'static>> {
        let bytes = self.read(Place::Key, path)?;
        if fs::metadata(path).is_ok_and(|metadata| metadata.mode() & READABLE_BY_ALL != 0) {
            let words = format!("can be read by everybody; chmod 600 {}", path.display());
            self.warning(Place::Key, path, &words);
        }
        match PrivateKeyDer::from_pem_slice(&bytes) {
            Ok(key) => Some(key),
            Err(_) if contains(&bytes, b"ENCRYPTED") => self.fault(
                Place::Key,
                path,
                "is encrypted, and nobody is there to type its passphrase when the server starts; \
                 openssl pkey -in FILE -out FILE.plain decrypts it",
            ),
            Err(_) => self.fault(
                Place::Key,
                path,
                "holds no private key in PEM (-----BEGIN PRIVATE KEY-----)",
            ),
        }
    }

    fn certified(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        files: &TlsFiles,
        provider: &CryptoProvider,
    ) -> Option<CertifiedKey> {
        match CertifiedKey::from_der(chain, key, provider) {
            Ok(certified) => Some(certified),
            Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                let words = format!(
                    "is not the key of the certificate in {}",
                    files.certificate.display()
                );
                self.fault(Place::Key, &files.key, &words)
            }
            Err(error) => {
                let words = format!("cannot be used: {error}; EC P-256 is the best choice");
                self.fault(Place::Key, &files.key, &words)
            }
        }
    }

    /// `None` if the file is bad, which has been said.
    fn clients(
        &mut self,
        clients: &ClientAuth,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Verifier> {
        let Some(path) = clients.ca() else {
            return Some(Verifier::Nobody);
        };
        let place = Place::ClientCa;
        let mut roots = RootCertStore::empty();
        for der in self.pem(place, path)? {
            if let Err(error) = roots.add(der) {
                return self.fault(place, path, &format!("cannot be used: {error}"));
            }
        }
        let builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = match clients {
            ClientAuth::Optional { .. } => builder.allow_unauthenticated(),
            ClientAuth::None | ClientAuth::Required { .. } => builder,
        };
        match builder.build() {
            Ok(verifier) => Some(Verifier::Clients(verifier)),
            Err(error) => self.fault(place, path, &format!("cannot be used: {error}")),
        }
    }

    /// Only the server's own certificate must be valid: clients ignore an expired root behind a
    /// chain that also leads elsewhere, and an old issuer of clients may stand beside a new one.
    fn ages(&mut self, now: i64) {
        for (index, (place, path, certificate)) in self.certificates.iter().enumerate() {
            let told = |words: &str| Fault {
                place: *place,
                message: describe(path, certificate, words),
            };
            match certificate.age(now) {
                Age::Expired(words) if index == 0 && *place == Place::Certificate => {
                    self.faults.push(told(&words));
                }
                Age::Expired(words) | Age::Early(words) | Age::Late(words) => {
                    self.warnings.push(told(&words));
                }
                Age::Good => {}
            }
        }
    }
}

fn describe(path: &Path, certificate: &Certificate, words: &str) -> String {
    format!(
        "{}: the certificate of {} {words}",
        path.display(),
        certificate.subject()
    )
}

/// Which versions of the files these are; another stamp means that one of them has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<Version>>);

/// Device, inode, length, and the time of the last change in seconds and nanoseconds.
type Version = (u64, u64, u64, i64, i64);

impl Stamp {
    pub(super) fn of(files: &TlsFiles) -> Self {
        let paths = [
            Some(files.certificate.as_path()),
            Some(&files.key),
            files.clients.ca(),
        ];
        let stamp = |path: &Path| {
            let it = fs::metadata(path).ok()?;
            Some((it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec()))
        };
        Self(paths.into_iter().flatten().map(stamp).collect())
    }
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // The whole size at once: a buffer that grows leaves copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX + 1));
    let limit = u64::try_from(FILE_BYTES_MAX + 1).unwrap_or(u64::MAX);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

const FILE_BYTES_MAX: usize = 256 * 1024;
const READABLE_BY_ALL: u32 = 0o004;
const DER_SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests;
