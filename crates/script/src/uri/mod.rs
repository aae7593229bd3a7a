//! URIs (RFC 3986), as scripts write them.
//!
//! A reference without scheme is resolved against the URI of the running script. Characters
//! that may not stand in a URI are percent-coded on the way in, because scripts put names with
//! spaces together. What follows a scheme without a slash (`iscsi:...`, `file:...`) is kept as
//! it is. A password never shows in `Display` and `Debug`.

mod data;
pub(crate) mod percent;
mod root_path;

#[cfg(test)]
mod tests;

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr};
use core::str::FromStr;

pub use root_path::{RootPath, RootPathError};

use crate::limits;

/// A URI, or a relative reference to one. Components are kept percent-coded.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Uri {
    scheme: Option<String>,
    authority: Option<Authority>,
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Authority {
    user: Option<String>,
    password: Option<String>,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: Option<u16>,
}

impl Uri {
    /// A file on a TFTP server, by its plain (not percent-coded) name.
    #[must_use]
    pub fn tftp(server: IpAddr, file: &str) -> Self {
        let slash = if file.starts_with('/') { "" } else { "/" };
        let path = percent::encode_except(file.as_bytes(), PATH_KEEP);
        Self {
            scheme: Some("tftp".to_owned()),
            authority: Some(Authority {
                host: server.to_string(),
                ..Authority::default()
            }),
            path: format!("{slash}{path}"),
            ..Self::default()
        }
    }

    /// The scheme in lower case; none in a relative reference.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// Whether it says by itself where the thing is.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.scheme.is_some()
    }

    /// The host, an IPv6 address without its brackets; none where there is no authority, or an
    /// empty one.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let authority = self.authority.as_ref()?;
        (!authority.host.is_empty()).then_some(authority.host.as_str())
    }

    /// The port, if one is given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.authority.as_ref()?.port
    }

    /// The user name, decoded.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        self.authority.as_ref()?.user.as_deref().map(decode_text)
    }

    /// The password, decoded.
    #[must_use]
    pub fn password(&self) -> Option<String> {
        self.authority
            .as_ref()?
            .password
            .as_deref()
            .map(decode_text)
    }

    /// The path, percent-coded.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path, decoded: the name of a file on a TFTP server.
    #[must_use]
    pub fn decoded_path(&self) -> String {
        decode_text(&self.path)
    }

    /// The query without its `?`, percent-coded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// The fragment without its `#`, percent-coded.
    #[must_use]
    pub fn fragment(&self) -> Option<&str> {
        self.fragment.as_deref()
    }

    /// What an HTTP request asks for (RFC 9112 section 3.2.1): path and query, at least `/`.
    #[must_use]
    pub fn request_target(&self) -> String {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }

    /// The last segment of the path, decoded: what an image from there is called.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        let segment = self.path.rsplit('/').next().unwrap_or_default();
        (!segment.is_empty()).then(|| decode_text(segment))
    }

    /// What `reference` means when it stands in a document at `self` (RFC 3986 section 5.2).
    ///
    /// # Errors
    /// [`UriError`] when `reference` is malformed.
    pub fn resolve(&self, reference: &str) -> Result<Self, UriError> {
        let mut reference: Self = reference.parse()?;
        if reference.is_absolute() {
            if reference.path.starts_with('/') {
                reference.path = remove_dot_segments(&reference.path);
            }
            return Ok(reference);
        }
        let mut target = Self {
            scheme: self.scheme.clone(),
            ..reference
        };
        if target.authority.is_some() {
            target.path = remove_dot_segments(&target.path);
            return Ok(target);
        }
        target.authority.clone_from(&self.authority);
        if target.path.is_empty() {
            target.path.clone_from(&self.path);
            if target.query.is_none() {
                target.query.clone_from(&self.query);
            }
        } else if target.path.starts_with('/') {
            target.path = remove_dot_segments(&target.path);
        } else {
            target.path = remove_dot_segments(&self.merge(&target.path));
        }
        Ok(target)
    }

    /// The text with the password in it: for the peer, never for a screen or a log.
    #[must_use]
    pub fn to_string_with_password(&self) -> String {
        struct Whole<'a>(&'a Uri);
        impl fmt::Display for Whole<'_> {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(
                    out,
                    self.0
                        .authority
                        .as_ref()
                        .and_then(|it| it.password.as_deref()),
                )
            }
        }
        Whole(self).to_string()
    }

    /// RFC 3986 section 5.2.3.
    fn merge(&self, path: &str) -> String {
        if self.authority.is_some() && self.path.is_empty() {
            return format!("/{path}");
        }
        match self.path.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{path}"),
            None => path.to_owned(),
        }
    }

    /// RFC 3986 section 5.3.
    fn write(&self, out: &mut fmt::Formatter<'_>, password: Option<&str>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(out, "{scheme}:")?;
        }
        if let Some(authority) = &self.authority {
            out.write_str("//")?;
            if let Some(user) = &authority.user {
                out.write_str(user)?;
                if let Some(password) = password {
                    write!(out, ":{password}")?;
                }
                out.write_str("@")?;
            }
            if authority.host.contains(':') {
                write!(out, "[{}]", authority.host)?;
            } else {
                out.write_str(&authority.host)?;
            }
            if let Some(port) = authority.port {
                write!(out, ":{port}")?;
            }
        }
        out.write_str(&self.path)?;
        if let Some(query) = &self.query {
            write!(out, "?{query}")?;
        }
        if let Some(fragment) = &self.fragment {
            write!(out, "#{fragment}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self
            .authority
            .as_ref()
            .and_then(|authority| authority.password.as_ref());
        self.write(out, hidden.map(|_| "***"))
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Uri({self})")
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(UriError::Empty);
        }
        if text.len() > limits::URI_BYTES {
            return Err(UriError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(UriError::ControlCharacter);
        }
        let (scheme, rest) = split_scheme(text);
        if scheme.is_some() && !rest.starts_with('/') {
            // Each such scheme has its own rules, and none of them is percent coding.
            return Ok(Self {
                scheme,
                path: rest.to_owned(),
                ..Self::default()
            });
        }
        let (rest, fragment) = split_off(rest, '#');
        let (rest, query) = split_off(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(Authority::parse(authority)?), path)
            }
            None => (None, rest),
        };
        Ok(Self {
            scheme,
            authority,
            path: percent::repair(path, PATH_KEEP),
            query: query.map(|query| percent::repair(query, QUERY_KEEP)),
            fragment: fragment.map(|fragment| percent::repair(fragment, FRAGMENT_KEEP)),
        })
    }
}

impl Authority {
    fn parse(text: &str) -> Result<Self, UriError> {
        let (userinfo, host) = match text.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, text),
        };
        let (user, password) = match userinfo.map(|userinfo| userinfo.split_once(':')) {
            Some(Some((user, password))) => (Some(user), Some(password)),
            Some(None) => (userinfo, None),
            None => (None, None),
        };
        let (host, port) = split_host_port(host)?;
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(parse_port(port)?),
        };
        if host
            .chars()
            .any(|character| character.is_whitespace() || "<>\"\\^`{|}@".contains(character))
        {
            return Err(UriError::BadHost {
                host: host.to_owned(),
            });
        }
        let repair = |part: &str| percent::repair(part, USERINFO_KEEP);
        Ok(Self {
            user: user.map(repair),
            password: password.map(repair),
            host: host.to_owned(),
            port,
        })
    }
}

/// Why a text is no URI.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// No host can be called so.
    BadHost {
        /// What stands in its place.
        host: String,
    },
    /// No port can be called so.
    BadPort {
        /// What stands in its place.
        port: String,
    },
    /// Line ends, tabs and the like.
    ControlCharacter,
    /// Nothing at all.
    Empty,
    /// Over [`limits::URI_BYTES`].
    TooLong,
}

impl fmt::Display for UriError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadHost { host } => write!(
                out,
                "`{host}` is no host: write a name, 192.168.1.1, or an IPv6 address in brackets, \
                 like [fd00::1]"
            ),
            Self::BadPort { port } => write!(out, "`{port}` is no port between 1 and 65535"),
            Self::ControlCharacter => out.write_str("the URI contains control characters"),
            Self::Empty => out.write_str("the URI is empty"),
            Self::TooLong => {
                write!(out, "the URI is longer than {} bytes", limits::URI_BYTES)
            }
        }
    }
}

impl core::error::Error for UriError {}

/// RFC 3986 section 3.1, and the underscore of iPXE's `ib_srp`.
fn split_scheme(text: &str) -> (Option<String>, &str) {
    let Some((scheme, rest)) = text.split_once(':') else {
        return (None, text);
    };
    let legal = |character: char| character.is_ascii_alphanumeric() || "+-._".contains(character);
    if scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.chars().all(legal) {
        (Some(scheme.to_ascii_lowercase()), rest)
    } else {
        (None, text)
    }
}

/// Splits off what follows the first `separator`.
fn split_off(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// RFC 3986 section 3.2.2: only in brackets may a host have colons.
fn split_host_port(text: &str) -> Result<(&str, Option<&str>), UriError> {
    let bad_host = || UriError::BadHost {
        host: text.to_owned(),
    };
    let Some(bracketed) = text.strip_prefix('[') else {
        return match text.split_once(':') {
            Some((_, port)) if port.contains(':') => Err(bad_host()),
            Some((host, port)) => Ok((host, Some(port))),
            None => Ok((text, None)),
        };
    };
    let (host, rest) = bracketed.split_once(']').ok_or_else(bad_host)?;
    // RFC 6874: a zone follows the address.
    let address = host.split('%').next().unwrap_or_default();
    if address.parse::<Ipv6Addr>().is_err() {
        return Err(bad_host());
    }
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, Some(port))),
        None if rest.is_empty() => Ok((host, None)),
        None => Err(bad_host()),
    }
}

fn parse_port(text: &str) -> Result<u16, UriError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<u16>()
        .ok()
        .filter(|port| digits && *port != 0)
        .ok_or_else(|| UriError::BadPort {
            port: text.to_owned(),
        })
}

/// RFC 3986 section 5.2.4.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                // The empty segment before the first slash stays.
                if kept.len() > 1 || kept.first().is_some_and(|first| !first.is_empty()) {
                    kept.pop();
                }
            }
            segment => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    kept.join("/")
}

fn decode_text(text: &str) -> String {
    String::from_utf8_lossy(&percent::decode(text)).into_owned()
}

// RFC 3986 appendix A: what may stand in each component besides unreserved characters.
const USERINFO_KEEP: &str = "!$&'()*+,;=";
const PATH_KEEP: &str = "!$&'()*+,;=:@/";
const QUERY_KEEP: &str = "!$&'()*+,;=:@/?";
/// The `#` is iPXE's: `uri##params`.
const FRAGMENT_KEEP: &str = "!$&'()*+,;=:@/?#";
