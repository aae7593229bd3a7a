//! What can go wrong, in words.

use alloc::string::String;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::time::Seconds;
use crate::{ConnectError, StreamError};

/// Why a file did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FtpError {
    /// A name has control characters in it.
    BadName,
    /// The data connection was not made.
    Data(ConnectError),
    /// Less came than the server had said.
    Incomplete {
        /// The server.
        server: SocketAddr,
        /// What came, in bytes.
        received: u64,
    },
    /// The server closed the control connection.
    HungUp {
        /// The server.
        server: SocketAddr,
    },
    /// The server does not accept the user or the password.
    Login {
        /// The server.
        server: SocketAddr,
        /// RFC 959 section 4.2.
        code: u16,
        /// What it says about it.
        text: String,
    },
    /// What the server says is not FTP.
    NotFtp {
        /// The server.
        server: SocketAddr,
    },
    /// The server says no.
    Refused {
        /// The server.
        server: SocketAddr,
        /// To what.
        command: &'static str,
        /// RFC 959 section 4.2.
        code: u16,
        /// What it says about it.
        text: String,
    },
    /// The server is silent.
    Silent {
        /// The server, and the port of the connection.
        server: SocketAddr,
        /// How long.
        after: Duration,
    },
    /// Whoever takes the file wants no more of it.
    Stopped,
    /// A connection broke.
    Stream(StreamError),
}

impl From<StreamError> for FtpError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

impl fmt::Display for FtpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName => f.write_str("no file, user or password has control characters"),
            Self::Data(error) => write!(f, "FTP data connection: {error}"),
            Self::Incomplete { server, received } => {
                let server = server.ip();
                write!(
                    f,
                    "FTP server {server} sent {received} bytes and not the whole file"
                )
            }
            Self::HungUp { server } => {
                write!(f, "FTP server {} closed the connection", server.ip())
            }
            Self::Login { server, code, text } => {
                let server = server.ip();
                write!(f, "FTP server {server} does not let us in ({code} {text})")
            }
            Self::NotFtp { server } => write!(f, "what answers at {server} does not speak FTP"),
            Self::Refused {
                server,
                command,
                code,
                text,
            } => {
                let meaning = match code {
                    421 => "it is closing down or full",
                    450 | 550 => "no such file, or access is not allowed",
                    426 | 451 => "it broke off",
                    _ => "it refuses",
                };
                let server = server.ip();
                write!(
                    f,
                    "FTP server {server}: {meaning} ({command}: {code} {text})"
                )
            }
            Self::Silent { server, after } => {
                write!(f, "no answer from {server} for {}", Seconds(*after))
            }
            Self::Stopped => f.write_str("the transfer was ended"),
            Self::Stream(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FtpError {}
