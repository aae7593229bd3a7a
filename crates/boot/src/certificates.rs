//! The certificates that the loader knows, and what each is good for.

use alloc::format;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt;

use bowline_tls::CertificateDer;
use bowline_tls::trust::Anchors;

use crate::failure::{Code, Failure};

type Certificate = CertificateDer<'static>;

/// All of them.
#[derive(Default)]
pub(crate) struct Certificates {
    /// What was packed: it also vouches for images, as the firmware's authorities do not.
    pub(crate) packed: RefCell<Anchors>,
    /// What vouches for servers.
    pub(crate) trusted: RefCell<Anchors>,
    /// What is shown to servers that ask who we are.
    pub(crate) client: RefCell<Vec<Certificate>>,
    stored: RefCell<Vec<Certificate>>,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its word is taken.
    Trusted,
    /// It is shown to servers that ask who we are.
    Client,
    /// Chains may be built with it.
    Stored,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "TRUSTED",
            Self::Client => "CLIENT",
            Self::Stored => "STORED",
        })
    }
}

impl Certificates {
    /// All certificates with what they are good for.
    pub(crate) fn list(&self) -> Vec<(Standing, Certificate)> {
        let trusted = self.trusted.borrow();
        let client = self.client.borrow();
        let stored = self.stored.borrow();
        let with = |standing| move |der: &Certificate| (standing, der.clone());
        let trusted = trusted.certificates().map(with(Standing::Trusted));
        trusted
            .chain(client.iter().map(with(Standing::Client)))
            .chain(stored.iter().map(with(Standing::Stored)))
            .collect()
    }

    /// Keeps a certificate to build chains with, which nobody vouches for.
    pub(crate) fn store(&self, certificate: Certificate) -> Result<(), Failure> {
        let mut stored = self.stored.borrow_mut();
        if stored.contains(&certificate) {
            return Ok(());
        }
        if stored.len() >= STORED_MAX {
            let message = format!("no more than {STORED_MAX} certificates are kept");
            return Err(Failure::new(Code::CertificateImage, message));
        }
        stored.push(certificate);
        Ok(())
    }

    /// Forgets a stored certificate.
    pub(crate) fn forget(&self, certificate: &Certificate) {
        self.stored
            .borrow_mut()
            .retain(|known| known != certificate);
    }

    /// The stored ones.
    pub(crate) fn stored(&self) -> Vec<Certificate> {
        self.stored.borrow().clone()
    }
}

/// Certificates to build chains with. Each makes the search longer.
const STORED_MAX: usize = 4;
