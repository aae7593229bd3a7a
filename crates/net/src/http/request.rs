//! What is asked for (RFC 9110 section 9, RFC 9112 section 3).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::{Credentials, Options, Url};

/// What a server is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Send what the URL names.
    Get,
    /// Send only the header of that.
    Head,
    /// Take the body and answer.
    Post,
    /// Keep the body under this name.
    Put,
}

impl Method {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }

    /// Whether a body goes with it.
    pub(super) fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }

    /// Whether twice is the same as once (RFC 9110 section 9.2.2).
    pub(super) fn is_idempotent(self) -> bool {
        self != Self::Post
    }
}

/// Bytes of what a URL names (RFC 9110 section 14.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first byte, from 0.
    pub first: u64,
    /// How many, at least 1; to the end if none.
    pub length: Option<u64>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) part: Option<Part>,
    pub(super) credentials: Option<Credentials>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// A header field that a request cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// The name is no token, or the value has line ends or other control characters.
    Characters,
    /// The loader itself sets it, because the connection depends on it.
    Reserved,
}

impl fmt::Display for BadHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Characters => "the header field has characters that no header field may have",
            Self::Reserved => "the loader sets this header field itself",
        })
    }
}

impl core::error::Error for BadHeader {}

/// Fields on which the framing of messages and the retries depend.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "if-range",
    "range",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl Request {
    fn new(method: Method, url: Url, body: Vec<u8>) -> Self {
        Self {
            method,
            url,
            part: None,
            credentials: None,
            headers: Vec::new(),
            body,
        }
    }

    /// Asks for what `url` names.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self::new(Method::Get, url, Vec::new())
    }

    /// Asks only for the header of that.
    #[must_use]
    pub fn head(url: Url) -> Self {
        Self::new(Method::Head, url, Vec::new())
    }

    /// Sends `body`, of a media type such as `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// [`BadHeader`] for a media type with improper characters.
    pub fn post(url: Url, media_type: &str, body: Vec<u8>) -> Result<Self, BadHeader> {
        Self::new(Method::Post, url, body).with_header("Content-Type", media_type)
    }

    /// As [`Self::post`], to be kept under the name of `url`.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn put(url: Url, media_type: &str, body: Vec<u8>) -> Result<Self, BadHeader> {
        Self::new(Method::Put, url, body).with_header("Content-Type", media_type)
    }

    /// What is asked for.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Asks only for a part. Only for a `GET`.
    #[must_use]
    pub fn with_part(mut self, part: Part) -> Self {
        self.part = Some(part);
        self
    }

    /// Who asks. Told only to the server of the first URL, and only when it wants to know.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// Adds a header field. It is sent to the server of the first URL only.
    ///
    /// # Errors
    /// [`BadHeader`]
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, BadHeader> {
        let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(BadHeader::Characters);
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err(BadHeader::Characters);
        }
        if RESERVED
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
        {
            return Err(BadHeader::Reserved);
        }
        self.headers.push((name.into(), value.trim_ascii().into()));
        Ok(self)
    }
}

/// One message to one server: the request as redirects, retries and challenges have changed it.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) method: Method,
    pub(super) url: &'a Url,
    /// Those of the caller.
    pub(super) headers: Vec<&'a (String, String)>,
    pub(super) body: &'a [u8],
    pub(super) part: Option<Part>,
    /// The entity tag or the date that the part must belong to.
    pub(super) if_range: Option<String>,
    pub(super) authorization: Option<Zeroizing<String>>,
}

impl Message<'_> {
    /// The head as it is sent.
    pub(super) fn head(&self, options: &Options) -> Zeroizing<String> {
        let mut head = Zeroizing::new(format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method.name(),
            self.url.target(),
            self.url.authority(),
        ));
        let mut add = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        };
        let defaults = [
            ("User-Agent", options.user_agent.as_str()),
            ("Accept", "*/*"),
            // What is loaded is kept as it is: not compressed on the way, so that ranges fit.
            ("Accept-Encoding", "identity"),
        ];
        let ours = |name: &str| {
            !self
                .headers
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(name))
        };
        for (name, value) in defaults {
            if ours(name) {
                add(name, value);
            }
        }
        if options.keep_alive.is_zero() {
            add("Connection", "close");
        }
        if let Some(part) = self.part {
            add("Range", &range(part));
        }
        if let Some(validator) = &self.if_range {
            add("If-Range", validator);
        }
        if let Some(authorization) = self
            .authorization
            .as_ref()
            .filter(|_| ours("Authorization"))
        {
            add("Authorization", authorization);
        }
        if self.method.has_body() {
            add("Content-Length", &format!("{}", self.body.len()));
        }
        for (name, value) in &self.headers {
            add(name, value);
        }
        head.push_str("\r\n");
        head
    }
}

fn range(part: Part) -> String {
    let first = part.first;
    match part.length {
        // RFC 9110 section 14.1.2: both ends are included.
        Some(length) => format!(
            "bytes={first}-{}",
            first.saturating_add(length.saturating_sub(1))
        ),
        None => format!("bytes={first}-"),
    }
}
