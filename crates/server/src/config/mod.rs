//! `bowline.toml`: what the server serves, checked before anything is bound.
//!
//! Each service decodes its own table (`http::Config`, `iscsi::Config`) with the readers of
//! `decode`, which report every problem with its line and carry on, so that one run shows all
//! of them. What can be known without taking anything into use is checked here: files exist and
//! have a whole number of blocks, no two things claim one address, pools lie in their subnet.
//!
//! Keys and their meaning: docs/configuration.md.

pub(crate) mod decode;
mod report;
mod secret;
mod suggest;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use decode::{Claim, Document, Section};

pub use report::{ConfigError, Problem};
pub use secret::Secret;

use crate::{dhcp, http, iscsi};

/// Everything in a `bowline.toml`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Where the server keeps what must survive a restart, such as leases.
    pub state: PathBuf,
    /// `[dhcp]`.
    pub dhcp: Option<dhcp::Config>,
    /// `[http]`.
    pub http: Option<http::Config>,
    /// `[https]`.
    pub https: Option<http::Config>,
    /// `[iscsi]`.
    pub iscsi: Option<iscsi::Config>,
}

/// A configuration that can be served, and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but should be changed.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and checks the file at `path`. Relative paths in it start at its own directory.
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Checks `text` as if it had been read from `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Loaded, ConfigError> {
        let document = Document::new(path, text);
        let config = document.root().map(|root| Self::decode(&document, root));
        let (problems, warnings) = document.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, warnings }),
            _ => Err(ConfigError::Invalid { problems, warnings }),
        }
    }

    /// The `state` folder of the configuration at `path`, whatever else may be wrong with it.
    pub fn load_state(path: &Path) -> Result<PathBuf, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        let document = Document::new(path, &text);
        let state = document.root().map(|mut root| state_folder(&mut root));
        let (problems, warnings) = document.into_problems();
        state.ok_or(ConfigError::Invalid { problems, warnings })
    }

    fn decode(document: &Document<'_>, mut root: Section<'_>) -> Self {
        let state = state_folder(&mut root);
        let dhcp = root
            .optional("dhcp")
            .and_then(|value| dhcp::Config::decode(value.section()?, &state));
        let http = root
            .optional("http")
            .and_then(|value| http::Config::decode(value.section()?));
        let https = root
            .optional("https")
            .and_then(|value| http::Config::decode_tls(value.section()?));
        let iscsi = root
            .optional("iscsi")
            .and_then(|value| iscsi::Config::decode(value.section()?, &state));
        let empty = !["dhcp", "http", "https", "iscsi"]
            .iter()
            .any(|service| root.has(service));
        root.finish();
        if empty {
            document.problem(
                None,
                "",
                "nothing to serve: add a table [dhcp], [http], [https] or [iscsi] \
                 (docs/configuration.md)",
            );
        }
        Self {
            state,
            dhcp,
            http,
            https,
            iscsi,
        }
    }
}

fn state_folder(root: &mut Section<'_>) -> PathBuf {
    let state = root.optional("state").and_then(|value| value.path());
    state.unwrap_or_else(|| PathBuf::from(STATE))
}

/// Reads `listen = ["address:port", ...]` and claims each address for `section`.
pub(crate) fn listen_addresses(section: &mut Section<'_>) -> Option<Vec<SocketAddr>> {
    let value = section.required("listen", "give the addresses to listen on")?;
    let items = value.list()?;
    if items.is_empty() {
        value.problem("lists no address; write it like [\"192.168.1.1:80\"]");
    }
    let mut addresses = Vec::new();
    for item in items {
        if let Some(address) = item.parse(socket_address) {
            let taken = format!("{address} is taken already");
            // Port 0 lets the system choose a free one each time.
            if address.port() == 0
                || item.claim(&format!("tcp {address}"), Claim::Exclusive, &taken)
            {
                addresses.push(address);
            }
        }
    }
    (!addresses.is_empty()).then_some(addresses)
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an address with a port; write it like 192.168.1.1:80 or [fd00::1]:80"
        )
    })
}

const STATE: &str = "/var/lib/bowline";

#[cfg(test)]
mod tests;
