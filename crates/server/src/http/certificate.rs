//! What the server and its operator want to know of an X.509 certificate (RFC 5280).

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

/// The parts of a certificate that are looked at, taken out of it.
#[derive(Clone, Debug)]
pub(super) struct Certificate {
    /// The DNS names and addresses of its subjectAltName, as text, in its order.
    pub(super) names: Vec<String>,
    /// The first DNS name of its subjectAltName, else the common name of its subject.
    pub(super) name: Option<String>,
    /// Whether it may sign certificates.
    pub(super) ca: bool,
    /// What it may be used for; `true` for everything.
    pub(super) server_auth: bool,
    /// Where the certificate of its issuer is published, as public authorities tell.
    pub(super) issuer_url: Option<String>,
    issuer_text: String,
    subject_text: String,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    not_before: ASN1Time,
    not_after: ASN1Time,
}

impl Certificate {
    /// Reads `der`; the error says what is wrong with it.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let mut certificate = Self {
            names: Vec::new(),
            name: None,
            ca: parsed.is_ca(),
            server_auth: true,
            issuer_url: None,
            issuer_text: parsed.issuer().to_string(),
            subject_text: parsed.subject().to_string(),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject: parsed.subject().as_raw().to_vec(),
            not_before: parsed.validity().not_before,
            not_after: parsed.validity().not_after,
        };
        for extension in parsed.extensions() {
            certificate.extension(extension.parsed_extension());
        }
        if certificate.name.is_none() {
            let mut names = parsed.subject().iter_common_name();
            let name = names.next().and_then(|name| name.as_str().ok());
            certificate.name = name.map(str::to_owned);
        }
        Ok(certificate)
    }

    fn extension(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(alternatives) => {
                for name in &alternatives.general_names {
                    match name {
                        GeneralName::DNSName(name) => {
                            self.name.get_or_insert_with(|| (*name).to_owned());
                            self.names.push((*name).to_owned());
                        }
                        GeneralName::IPAddress(bytes) => self.names.extend(address(bytes)),
                        _ => {}
                    }
                }
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.server_auth = usage.server_auth || usage.any;
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                let mut issuers = access.accessdescs.iter().filter(|description| {
                    description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS
                });
                self.issuer_url =
                    issuers.find_map(|description| match description.access_location {
                        GeneralName::URI(url) => Some(url.to_owned()),
                        _ => None,
                    });
            }
            _ => {}
        }
    }

    /// Whether `other` carries the name of who issued this one.
    pub(super) fn issued_by(&self, other: &Self) -> bool {
        self.issuer == other.subject
    }

    /// Whether it is a root: issued by itself.
    pub(super) fn self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Who it is about, for messages.
    pub(super) fn subject(&self) -> String {
        readable(&self.subject_text)
    }

    /// Who issued it, for messages.
    pub(super) fn issuer(&self) -> String {
        readable(&self.issuer_text)
    }

    /// The day of its end, in UTC, as 2027-01-31.
    pub(super) fn last_day(&self) -> String {
        day(self.not_after)
    }

    /// What time says about it at `now`, in seconds since 1970.
    pub(super) fn age(&self, now: i64) -> Age {
        let (from, to) = (self.not_before.timestamp(), self.not_after.timestamp());
        let early = EARLY.min(to.saturating_sub(from) / EARLY_PART);
        if now > to {
            Age::Expired(format!("expired on {}", self.last_day()))
        } else if now < from {
            Age::Early(format!(
                "is not valid before {}; is the clock of this machine right?",
                day(self.not_before)
            ))
        } else if to - now < early {
            let days = (to - now) / DAY;
            let days = match days {
                0 => "today or tomorrow".to_owned(),
                1 => "in 1 day".to_owned(),
                days => format!("in {days} days"),
            };
            Age::Late(format!("expires {days}, on {}; renew it", self.last_day()))
        } else {
            Age::Good
        }
    }
}

/// Where a moment lies in the time for which a certificate is valid, with words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// Not valid yet.
    Early(String),
    /// Valid, and for a good while.
    Good,
    /// Valid, but it should be renewed.
    Late(String),
    /// No longer valid.
    Expired(String),
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(v6).to_string())
}

fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

/// A name of a certificate may hold anything, control characters too.
fn readable(text: &str) -> String {
    if text.is_empty() {
        return "(no name)".into();
    }
    text.escape_debug().to_string()
}

const DAY: i64 = 24 * 60 * 60;
/// How long before its end a certificate should be renewed,
const EARLY: i64 = 30 * DAY;
/// and for those that live shortly: the last third of their life.
const EARLY_PART: i64 = 3;
