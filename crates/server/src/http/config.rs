//! The `[http]` and `[https]` tables.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::credentials::{ClientAuth, Credentials, Fault, Place, TlsFiles};
use crate::config::decode::{Section, Value};
use crate::config::listen_addresses;

/// Where to listen and what to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The directory whose files are served.
    pub root: PathBuf,
    /// What makes it HTTPS; `None` is plain HTTP.
    pub tls: Option<Tls>,
}

/// The certificate of HTTPS and whom it lets in.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where it comes from, to be read again when it changes.
    pub files: TlsFiles,
    /// What was in the files.
    pub credentials: Credentials,
}

impl Config {
    /// Reads `[http]`.
    pub(crate) fn decode(mut section: Section<'_>) -> Option<Self> {
        let listen = listen_addresses(&mut section);
        let root = root(&mut section);
        section.finish();
        Some(Self {
            listen: listen?,
            root: root?,
            tls: None,
        })
    }

    /// Reads `[https]`.
    pub(crate) fn decode_tls(mut section: Section<'_>) -> Option<Self> {
        let listen = listen_addresses(&mut section);
        let root = root(&mut section);
        let tls = Tls::decode(&mut section);
        section.finish();
        Some(Self {
            listen: listen?,
            root: root?,
            tls: Some(tls?),
        })
    }
}

fn root(section: &mut Section<'_>) -> Option<PathBuf> {
    let value = section.required("root", "give the directory to serve")?;
    let root = value.path()?;
    match root.metadata() {
        Ok(metadata) if metadata.is_dir() => return Some(root),
        Ok(_) => value.problem(&format!("{} is not a directory", root.display())),
        Err(error) => value.problem(&format!("cannot open {}: {error}", root.display())),
    }
    None
}

impl Tls {
    fn decode(section: &mut Section<'_>) -> Option<Self> {
        let certificate = section.required("certificate", CERTIFICATE_ADVICE);
        let key = section.required("key", "give the file of the certificate's private key");
        let ca = section.optional("client-ca");
        let clients = client_auth(section, ca.as_ref());
        let (certificate, key) = (certificate?, key?);
        let files = TlsFiles {
            certificate: certificate.path()?,
            key: key.path()?,
            clients: clients?,
        };
        let place = |fault: &Fault| match (fault.place, &ca) {
            (Place::Key, _) => &key,
            (Place::ClientCa, Some(ca)) => ca,
            _ => &certificate,
        };
        match Credentials::load(&files) {
            Ok(credentials) => {
                for warning in &credentials.warnings {
                    place(warning).warning(&warning.message);
                }
                Some(Self { files, credentials })
            }
            Err(faults) => {
                for fault in &faults {
                    place(fault).problem(&fault.message);
                }
                None
            }
        }
    }
}

/// `client-auth`, which is `required` where there is a `client-ca` and nothing else is said.
fn client_auth(section: &mut Section<'_>, ca: Option<&Value<'_>>) -> Option<ClientAuth> {
    let path = match ca {
        Some(value) => Some(value.path()?),
        None => None,
    };
    let Some(value) = section.optional("client-auth") else {
        return Some(path.map_or(ClientAuth::None, |ca| ClientAuth::Required { ca }));
    };
    match (value.text()?, path) {
        ("none", None) => Some(ClientAuth::None),
        ("none", Some(_)) => {
            value.problem("is \"none\", but `client-ca` is given; leave one of them out");
            None
        }
        ("optional", Some(ca)) => Some(ClientAuth::Optional { ca }),
        ("required", Some(ca)) => Some(ClientAuth::Required { ca }),
        (word @ ("optional" | "required"), None) => {
            value.problem(&format!(
                "is \"{word}\", but `client-ca` is missing: give the certificate of who issues \
                 those of clients"
            ));
            None
        }
        (word, _) => {
            value.problem(&format!(
                "{word:?} is none of \"none\", \"optional\" and \"required\""
            ));
            None
        }
    }
}

const CERTIFICATE_ADVICE: &str =
    "give the file of the server's certificate; `bowline ca issue host` makes one";
