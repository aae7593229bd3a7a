//! What can go wrong, in words.

use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::time::Seconds;
use crate::{ConnectError, StreamError};

/// Why a file did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NfsError {
    /// The path is longer than NFS allows.
    BadName,
    /// One of the server's programs cannot be reached.
    Connect(ConnectError),
    /// The server closed a connection.
    HungUp {
        /// The server.
        server: SocketAddr,
        /// Which of its programs.
        program: &'static str,
    },
    /// The server's answer cannot be read.
    Malformed {
        /// The server.
        server: SocketAddr,
        /// Which of its programs.
        program: &'static str,
    },
    /// The server does not run a program.
    NoProgram {
        /// The server.
        server: SocketAddr,
        /// Which one.
        program: &'static str,
    },
    /// The server lets us mount no folder on the way to the file.
    NotMounted {
        /// The server.
        server: IpAddr,
        /// The file's own folder.
        folder: String,
        /// Why not that one.
        why: &'static str,
    },
    /// The server says no (RFC 1813 section 2.6).
    Refused {
        /// The server.
        server: IpAddr,
        /// The file or folder, or nothing while a file is read.
        name: String,
        /// What it says.
        why: &'static str,
    },
    /// The server does not carry the call out (RFC 5531 section 9).
    Rpc {
        /// The server.
        server: SocketAddr,
        /// Which of its programs.
        program: &'static str,
        /// Why.
        why: &'static str,
    },
    /// The server is silent.
    Silent {
        /// The server.
        server: SocketAddr,
        /// Which of its programs.
        program: &'static str,
        /// How long.
        after: Duration,
    },
    /// Whoever takes the file wants no more of it.
    Stopped,
    /// A connection broke.
    Stream(StreamError),
    /// Symbolic links lead on and on.
    TooManyLinks {
        /// The server.
        server: IpAddr,
    },
}

impl From<StreamError> for NfsError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl fmt::Display for NfsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => f.write_str("the path is longer than NFS allows"),
            Self::Connect(error) => error.fmt(f),
            Self::HungUp { server, program } => {
                write!(f, "the {program} at {server} closed the connection")
            }
            Self::Malformed { server, program } => {
                write!(f, "what the {program} at {server} answers cannot be read")
            }
            Self::NoProgram { server, program } => {
                write!(f, "{} has no {program} for TCP", server.ip())
            }
            Self::NotMounted {
                server,
                folder,
                why,
            } => write!(
                f,
                "NFS server {server} does not let us mount {folder}: {why}"
            ),
            Self::Refused { server, name, why } if name.is_empty() => {
                write!(f, "NFS server {server}: {why}")
            }
            Self::Refused { server, name, why } => {
                write!(f, "NFS server {server}: {name}: {why}")
            }
            Self::Rpc {
                server,
                program,
                why,
            } => write!(f, "the {program} at {server} does not answer: {why}"),
            Self::Silent {
                server,
                program,
                after,
            } => {
                let after = Seconds(*after);
                write!(f, "no answer from the {program} at {server} for {after}")
            }
            Self::Stopped => f.write_str("the transfer was ended"),
            Self::Stream(error) => error.fmt(f),
            Self::TooManyLinks { server } => {
                write!(f, "NFS server {server}: symbolic links lead on and on")
            }
        }
    }
}

impl core::error::Error for NfsError {}
