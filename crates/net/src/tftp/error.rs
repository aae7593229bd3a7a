//! What can go wrong, in words.

use alloc::string::String;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::card::{OnVlan, VlanTag};
use crate::time::Seconds;

/// Why a file did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TftpError {
    /// All local ports are in use.
    NoPort,
    /// The server is silent, from the start or since.
    NoAnswer {
        /// The server.
        server: SocketAddr,
        /// The VLAN that it was asked on, where it was tagged.
        vlan: Option<VlanTag>,
        /// How long.
        after: Duration,
    },
    /// The server says no (RFC 1350 section 5).
    Refused {
        /// The server.
        server: SocketAddr,
        /// The error code.
        code: u16,
        /// What it says about it.
        message: String,
    },
    /// Whoever takes the file wants no more of it.
    Stopped,
}

impl fmt::Display for TftpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => f.write_str("all local ports are in use"),
            Self::NoAnswer {
                server,
                vlan,
                after,
            } => write!(
                f,
                "no answer from the TFTP server {} for {}{}",
                server.ip(),
                Seconds(*after),
                OnVlan(*vlan)
            ),
            Self::Refused {
                server,
                code,
                message,
            } => {
                // The codes of RFC 1350 section 5 and RFC 2347.
                let meaning = match code {
                    1 => "no such file",
                    2 => "access is not allowed",
                    8 => "it does not like our options",
                    _ => "it refuses",
                };
                let server = server.ip();
                write!(
                    f,
                    "TFTP server {server}: {meaning} (error {code}: {message})"
                )
            }
            Self::Stopped => f.write_str("the transfer was ended"),
        }
    }
}

impl core::error::Error for TftpError {}
