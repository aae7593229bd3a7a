//! What can go wrong with a download, in words.

use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::Url;
use crate::time::Seconds;
use crate::{ConnectError, DnsError, StreamError};

/// Why a download failed. `url` is the one that failed, after any redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The server redirects to something that is not an HTTP URL.
    BadRedirect {
        /// Who redirects.
        url: Url,
        /// Where to.
        location: String,
    },
    /// The answer breaks the rules of HTTP.
    BadResponse {
        /// Who answered.
        url: Url,
        /// Which rule.
        problem: &'static str,
    },
    /// No connection.
    Connect {
        /// What was to be loaded.
        url: Url,
        /// Why.
        error: ConnectError,
    },
    /// The head of the answer is too long.
    HeadTooLong {
        /// Who answered.
        url: Url,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// TLS is not part of this build.
    HttpsNotBuiltIn {
        /// What was to be loaded.
        url: Url,
    },
    /// From `https` to `http`: what was protected would go on in clear.
    InsecureRedirect {
        /// Who redirects.
        url: Url,
        /// Where to.
        to: Url,
    },
    /// The name has no address.
    Resolve {
        /// What was to be loaded.
        url: Url,
        /// Why.
        error: DnsError,
    },
    /// The server says no.
    Status {
        /// What was to be loaded.
        url: Url,
        /// The status code (RFC 9110 section 15).
        code: u16,
        /// The server's words for it; may be empty.
        reason: String,
    },
    /// The sink wanted no more.
    Stopped,
    /// The connection failed.
    Stream {
        /// What was being loaded.
        url: Url,
        /// How.
        error: StreamError,
    },
    /// The server fell silent.
    TimedOut {
        /// What was being loaded.
        url: Url,
        /// For how long it was silent.
        after: Duration,
    },
    /// More redirects than are followed.
    TooManyRedirects {
        /// The first URL.
        url: Url,
        /// How many are followed.
        limit: usize,
    },
    /// The server closed before the end.
    Truncated {
        /// What was being loaded.
        url: Url,
        /// Bytes of the body that came.
        received: u64,
        /// Bytes that were announced.
        total: Option<u64>,
    },
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRedirect { url, location } => {
                write!(
                    f,
                    "{} redirects to {location:?}, which is no HTTP URL",
                    url.authority()
                )
            }
            Self::BadResponse { url, problem } => {
                write!(
                    f,
                    "{} does not speak proper HTTP: {problem}",
                    url.authority()
                )
            }
            Self::Connect { error, .. } => write!(f, "{error}"),
            Self::HeadTooLong { url, limit } => write!(
                f,
                "the header of the answer of {} is longer than {limit} bytes",
                url.authority()
            ),
            Self::HttpsNotBuiltIn { url } => write!(
                f,
                "{url}: HTTPS is not built into this loader yet; use http on a trusted network"
            ),
            Self::InsecureRedirect { url, to } => write!(
                f,
                "{} redirects from https to {to}, which is not protected: refused",
                url.authority()
            ),
            Self::Resolve { error, .. } => write!(f, "{error}"),
            Self::Status { url, code, reason } => {
                write!(f, "{} answered {code}", url.authority())?;
                if !reason.is_empty() {
                    write!(f, " {reason}")?;
                }
                Ok(())
            }
            Self::Stopped => f.write_str("stopped"),
            Self::Stream { error, .. } => write!(f, "{error}"),
            Self::TimedOut { url, after } => write!(
                f,
                "{} fell silent: nothing came for {}",
                url.authority(),
                Seconds(*after)
            ),
            Self::TooManyRedirects { url, limit } => {
                write!(f, "more than {limit} redirects, beginning at {url}")
            }
            Self::Truncated {
                url,
                received,
                total,
            } => {
                write!(
                    f,
                    "{} closed the connection after {received}",
                    url.authority()
                )?;
                match total {
                    Some(total) => write!(f, " of {total} bytes"),
                    None => write!(f, " bytes, before the end"),
                }
            }
        }
    }
}

impl core::error::Error for FetchError {}
