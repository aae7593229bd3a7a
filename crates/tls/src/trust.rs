//! Trust anchors: the certificates whose word is taken.
//!
//! An anchor counts only while its own certificate is valid. RFC 5280 section 6.1.1 leaves that
//! open; a root that promised to end in 2030 is not asked in 2031.

use crate::certificate::Certificate;
use crate::time::{Certainty, Clock, Timestamp};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, TrustAnchor};

/// A set of trust anchors.
#[derive(Clone, Default)]
pub struct Anchors {
    anchors: Vec<Anchor>,
}

/// One trusted certificate.
#[derive(Clone)]
pub(crate) struct Anchor {
    pub(crate) trust: TrustAnchor<'static>,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) subject: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

/// What is wrong with a file of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PemError {
    /// No certificate in it.
    Empty,
    /// It is not PEM where it should be.
    NotPem,
    /// Certificate number so-and-so, counted from 1, cannot be read.
    Malformed {
        /// Its number.
        number: usize,
    },
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no certificate in it"),
            Self::NotPem => f.write_str("it is not well-formed PEM"),
            Self::Malformed { number } => write!(f, "certificate {number} in it is malformed"),
        }
    }
}

impl core::error::Error for PemError {}

impl Anchors {
    /// No anchors: nothing is trusted.
    pub fn new() -> Self {
        Self::default()
    }

    /// All certificates in a PEM file, or the one in a DER file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PemError> {
        let mut anchors = Self::new();
        for (at, der) in certificates(bytes)?.into_iter().enumerate() {
            anchors
                .add(der)
                .map_err(|_| PemError::Malformed { number: at + 1 })?;
        }
        Ok(anchors)
    }

    /// Adds one certificate.
    pub fn add(&mut self, der: CertificateDer<'static>) -> Result<(), PemError> {
        let malformed = PemError::Malformed { number: 1 };
        let certificate = Certificate::parse(&der).ok_or(malformed.clone())?;
        let trust = webpki::anchor_from_trusted_cert(&der)
            .map_err(|_| malformed)?
            .to_owned();
        let anchor = Anchor {
            subject: certificate.subject(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
            trust,
            der: der.clone(),
        };
        if !self.anchors.iter().any(|known| known.der == anchor.der) {
            self.anchors.push(anchor);
        }
        Ok(())
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        for anchor in &other.anchors {
            if !self.anchors.iter().any(|known| known.der == anchor.der) {
                self.anchors.push(anchor.clone());
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.anchors.len()
    }

    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// The certificates themselves.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.anchors.iter().map(|anchor| &anchor.der)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.anchors.iter()
    }

    /// The anchors that count at the time of `clock`, as webpki wants them.
    pub(crate) fn valid_at(&self, clock: &Clock) -> Vec<TrustAnchor<'static>> {
        let valid = |anchor: &&Anchor| anchor.is_valid_at(clock);
        self.anchors
            .iter()
            .filter(valid)
            .map(|anchor| anchor.trust.clone())
            .collect()
    }
}

impl Anchor {
    pub(crate) fn is_valid_at(&self, clock: &Clock) -> bool {
        clock.time <= self.not_after
            && (clock.certainty == Certainty::AtLeast || self.not_before <= clock.time)
    }
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.anchors.iter().map(|anchor| &anchor.subject))
            .finish()
    }
}

/// The certificates in a PEM file in their order, or the one in a DER file.
pub fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    // A certificate in DER starts with a SEQUENCE; no PEM file starts with '0' and such a length.
    if bytes.starts_with(&[0x30, 0x82]) || bytes.starts_with(&[0x30, 0x81]) {
        return Ok([CertificateDer::from(bytes.to_vec())].into());
    }
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bytes) {
        match certificate {
            Ok(certificate) => certificates.push(certificate),
            Err(pem::Error::NoItemsFound) => {}
            Err(_) => return Err(PemError::NotPem),
        }
    }
    if certificates.is_empty() {
        return Err(PemError::Empty);
    }
    Ok(certificates)
}
