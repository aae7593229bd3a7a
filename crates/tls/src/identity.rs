//! Who we are: a certificate chain and its private key.

use crate::certificate::Certificate;
use crate::provider::sign::{self, PrivateKey};
use crate::trust::{PemError, certificates};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::{Zeroize, Zeroizing};

/// A client's certificate chain (own certificate first) with its private key.
#[derive(Clone)]
pub struct Identity {
    pub(crate) certified: Arc<CertifiedKey>,
    key: PrivateKey,
}

/// Why a certificate and key are no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// The file with the certificate.
    Certificate(PemError),
    /// No private key in the file.
    NoKey,
    /// The key is protected by a passphrase.
    KeyIsEncrypted,
    /// The key cannot be used; in words.
    Key(&'static str),
    /// The key belongs to another certificate.
    KeyDoesNotFit {
        /// The subject of the certificate.
        subject: String,
    },
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(error) => write!(f, "the client certificate: {error}"),
            Self::NoKey => f.write_str("there is no private key in the key file"),
            Self::KeyIsEncrypted => f.write_str(
                "the private key is protected by a passphrase; decrypt it first, for example with \
                 `openssl pkey`",
            ),
            Self::Key(words) => f.write_str(words),
            Self::KeyDoesNotFit { subject } => {
                write!(
                    f,
                    "the private key does not belong to the certificate of {subject}"
                )
            }
        }
    }
}

impl core::error::Error for IdentityError {}

impl Identity {
    /// From two files in PEM, or in DER. They may be the same PEM file.
    pub fn from_bytes(chain: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain = certificates(chain).map_err(IdentityError::Certificate)?;
        let key = if key.first() == Some(&0x30) {
            PrivateKeyDer::try_from(key.to_vec())
                .map_err(|_| IdentityError::Key("the private key is malformed"))?
        } else {
            PrivateKeyDer::from_pem_slice(key).map_err(|error| pem_error(&error, key))?
        };
        Self::from_der(chain, key)
    }

    /// From a chain and a key already taken apart. The key is wiped when it has been read.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        mut key: PrivateKeyDer<'static>,
    ) -> Result<Self, IdentityError> {
        let malformed = IdentityError::Certificate(PemError::Malformed { number: 1 });
        let leaf = chain
            .first()
            .ok_or(IdentityError::Certificate(PemError::Empty))?;
        let subject = Certificate::parse(leaf).ok_or(malformed)?.subject();
        let loaded = sign::load(&key);
        key.zeroize();
        let key = loaded.map_err(IdentityError::Key)?;
        let certified = CertifiedKey::new(chain, key.signing());
        certified
            .keys_match()
            .map_err(|_| IdentityError::KeyDoesNotFit { subject })?;
        Ok(Self {
            certified: Arc::new(certified),
            key,
        })
    }

    /// The chain, own certificate first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// What was encrypted with the public key; see [`PrivateKey::decrypt`].
    pub(crate) fn decrypt(&self, text: &[u8]) -> Option<Option<Zeroizing<Vec<u8>>>> {
        self.key.decrypt(text)
    }

    /// The subject of the own certificate.
    pub fn subject(&self) -> String {
        let leaf = self.chain().first().and_then(|der| Certificate::parse(der));
        leaf.map(|leaf| leaf.subject()).unwrap_or_default()
    }
}

fn pem_error(error: &pem::Error, file: &[u8]) -> IdentityError {
    let has = |text: &[u8]| file.windows(text.len()).any(|window| window == text);
    if has(b"ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return IdentityError::KeyIsEncrypted;
    }
    match error {
        pem::Error::NoItemsFound => IdentityError::NoKey,
        _ => IdentityError::Key("the key file is not well-formed PEM"),
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}
