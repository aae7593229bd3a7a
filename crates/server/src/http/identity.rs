//! Who a client is: where it asks from, and what its certificate says.

use std::fmt;
use std::net::SocketAddr;

use rustls_pki_types::CertificateDer;

use super::certificate::Certificate;

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// How it asks: `http` or `https`.
    pub(super) scheme: &'static str,
    /// Where it asks from.
    pub(super) address: SocketAddr,
    /// Who it is, if it has shown a certificate. Verified.
    pub(super) identity: Option<Identity>,
}

/// What a verified certificate says of its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The first DNS name of its subjectAltName, else its common name. As it stands there: anything.
    pub(super) name: Option<String>,
}

impl Identity {
    /// The identity in a certificate that has been verified.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let name = Certificate::parse(certificate)
            .ok()
            .and_then(|certificate| certificate.name);
        Self { name }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match &self.identity {
            None => Ok(()),
            Some(Identity { name: Some(name) }) => write!(f, " [{}]", name.escape_debug()),
            Some(Identity { name: None }) => f.write_str(" [certificate without a name]"),
        }
    }
}
