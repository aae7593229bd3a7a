//! The `[http]` table.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::decode::Section;
use crate::config::listen_addresses;

/// Where to listen and what to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// The directory whose files are served.
    pub root: PathBuf,
}

impl Config {
    pub(crate) fn decode(mut section: Section<'_>) -> Option<Self> {
        let listen = listen_addresses(&mut section);
        let root = section
            .required("root", "give the directory to serve")
            .and_then(|value| {
                let root = value.path()?;
                match root.metadata() {
                    Ok(metadata) if metadata.is_dir() => return Some(root),
                    Ok(_) => value.problem(&format!("{} is not a directory", root.display())),
                    Err(error) => {
                        value.problem(&format!("cannot open {}: {error}", root.display()))
                    }
                }
                None
            });
        section.finish();
        Some(Self {
            listen: listen?,
            root: root?,
        })
    }
}
