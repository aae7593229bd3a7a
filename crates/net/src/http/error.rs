//! What can go wrong with a download, in words.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use super::{TransportError, Trouble, Url};
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
        error: Box<ConnectError>,
    },
    /// The head of the answer did not end in time.
    HeadTimedOut {
        /// Who answered.
        url: Url,
        /// How long it was waited for.
        after: Duration,
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
    /// A layer that this crate does not know failed: TLS, or the choice of a card.
    Layer {
        /// What was to be loaded.
        url: Url,
        /// How.
        trouble: Trouble,
    },
    /// The server took the request and closed the connection.
    NoAnswer {
        /// Who did.
        url: Url,
    },
    /// The server sends the whole instead of the part that was asked for.
    NoParts {
        /// Who answered.
        url: Url,
    },
    /// The name has no address.
    Resolve {
        /// What was to be loaded.
        url: Url,
        /// Why.
        error: Box<DnsError>,
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
    /// The server does not let us in.
    Unauthorized {
        /// What was to be loaded.
        url: Url,
        /// Why.
        reason: Refusal,
    },
    /// The server asks to come back later, and that is too late or was too often.
    Unavailable {
        /// What was to be loaded.
        url: Url,
        /// 429 or 503.
        code: u16,
        /// When to come back.
        after: Duration,
    },
    /// The server sent another part than the one that was asked for.
    WrongPart {
        /// Who answered.
        url: Url,
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

/// Why a server does not let us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It wants a user name and a password, and there are none for it.
    NoCredentials,
    /// It wants them in ways that we do not know.
    UnknownSchemes {
        /// What it offers.
        offered: String,
    },
    /// A user name with a colon cannot be sent in the way that it wants (RFC 7617 section 2).
    Colon,
    /// It does not accept them.
    Wrong {
        /// The user name.
        user: String,
    },
}

impl FetchError {
    /// A connection to the server of `url` failed.
    #[must_use]
    pub fn of_transport(url: &Url, error: TransportError) -> Self {
        let url = url.clone();
        match error {
            TransportError::Stream(error) => Self::Stream { url, error },
            TransportError::Layer(trouble) => Self::Layer { url, trouble },
        }
    }

    /// Whether trying again may help, once it had gone well for a while.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::HeadTimedOut { .. }
            | Self::NoAnswer { .. }
            | Self::Resolve { .. }
            | Self::Stream { .. }
            | Self::TimedOut { .. }
            | Self::Truncated { .. }
            | Self::WrongPart { .. } => true,
            Self::Layer { trouble, .. } => trouble.is_transient,
            // RFC 9110 section 15.6: of the server's own failures those that pass.
            Self::Status { code, .. } => matches!(code, 429 | 500 | 502..=504),
            _ => false,
        }
    }
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
            Self::HeadTimedOut { url, after } => write!(
                f,
                "{} did not finish the header of its answer in {}",
                url.authority(),
                Seconds(*after)
            ),
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
            Self::Layer { trouble, .. } => write!(f, "{trouble}"),
            Self::NoAnswer { url } => write!(
                f,
                "{} closed the connection without an answer",
                url.authority()
            ),
            Self::NoParts { url } => write!(
                f,
                "{} does not send parts of a file (no Range requests)",
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
            Self::Unauthorized { url, reason } => refusal(f, url, reason),
            Self::Unavailable { url, code, after } => write!(
                f,
                "{} answered {code} and asks to come back in {}",
                url.authority(),
                Seconds(*after)
            ),
            Self::WrongPart { url } => write!(
                f,
                "{} sent another part of the file than the one that was asked for",
                url.authority()
            ),
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

fn refusal(f: &mut fmt::Formatter<'_>, url: &Url, reason: &Refusal) -> fmt::Result {
    let server = url.authority();
    match reason {
        Refusal::NoCredentials => write!(
            f,
            "{server} answered 401 and wants a user name and a password: write {}://USER:PASSWORD@{server}/...",
            url.scheme().name()
        ),
        Refusal::UnknownSchemes { offered } if offered.is_empty() => {
            write!(
                f,
                "{server} answered 401 without saying what it wants to know"
            )
        }
        Refusal::UnknownSchemes { offered } => write!(
            f,
            "{server} wants authentication by {offered}; this loader knows Basic and Digest (MD5, SHA-256)"
        ),
        Refusal::Colon => write!(
            f,
            "{server} wants Basic authentication, in which a user name cannot have a colon"
        ),
        Refusal::Wrong { user } => write!(
            f,
            "{server} does not accept the user name {user:?} with this password"
        ),
    }
}
