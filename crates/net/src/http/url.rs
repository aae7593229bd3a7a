//! HTTP URLs (RFC 3986, RFC 9110 section 4.2), as far as a request needs them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

/// The schemes that are HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Its port where the URL names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// An HTTP URL, without user information and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    host: String,
    port: u16,
    target: String,
}

/// Not an HTTP URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    Scheme,
    /// No host, or one with characters that no host has.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL begins neither with http:// nor with https://",
            Self::Host => "the URL names no proper host",
            Self::Port => "the port of the URL is not a number from 1 to 65535",
        })
    }
}

impl core::error::Error for UrlError {}

impl Url {
    /// A URL from its parts. `target` is the path and query; bytes that must not stand in a
    /// request line are percent-encoded.
    ///
    /// # Errors
    /// [`UrlError`] for a host or port that cannot be.
    pub fn new(scheme: Scheme, host: &str, port: u16, target: &str) -> Result<Self, UrlError> {
        if !is_host(host) {
            return Err(UrlError::Host);
        }
        if port == 0 {
            return Err(UrlError::Port);
        }
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self {
            scheme,
            host: host.to_ascii_lowercase(),
            port,
            target: format!("{slash}{}", encode(target)),
        })
    }

    /// Reads an absolute URL. User information and fragment are dropped.
    ///
    /// # Errors
    /// [`UrlError`]
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = scheme(text).ok_or(UrlError::Scheme)?;
        Self::after_scheme(scheme, rest.strip_prefix("//").ok_or(UrlError::Scheme)?)
    }

    fn after_scheme(scheme: Scheme, rest: &str) -> Result<Self, UrlError> {
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let authority = authority.rsplit('@').next().unwrap_or_default();
        // The colons of an IPv6 address are inside its brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (authority, ""),
        };
        let port = match port {
            "" => scheme.default_port(),
            port => port.parse().map_err(|_| UrlError::Port)?,
        };
        Self::new(scheme, host, port, target)
    }

    /// The URL that `reference` means when it stands in a document at this one (RFC 3986
    /// section 5.2).
    ///
    /// # Errors
    /// [`UrlError`] when that is not an HTTP URL.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = reference.split('#').next().unwrap_or_default();
        let first = reference.split(['/', '?']).next().unwrap_or_default();
        if first.contains(':') {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::after_scheme(self.scheme, rest);
        }
        let (base_path, _) = split_query(&self.target);
        let target = if reference.is_empty() {
            self.target.clone()
        } else if reference.starts_with('?') {
            format!("{base_path}{reference}")
        } else {
            let (path, query) = split_query(reference);
            let directory = base_path.rsplit_once('/').map_or("", |(before, _)| before);
            let path = if path.starts_with('/') {
                path.to_string()
            } else {
                format!("{directory}/{path}")
            };
            format!("{}{query}", without_dots(&path))
        };
        Self::new(self.scheme, &self.host, self.port, &target)
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as they stand in the request line.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Whether the other URL is on the same server, reached in the same way (RFC 9110
    /// section 4.3.1).
    #[must_use]
    pub fn has_same_origin(&self, other: &Self) -> bool {
        (self.scheme, self.port) == (other.scheme, other.port) && self.host == other.host
    }

    /// Host and port, as they stand in the Host header: the scheme's own port is left out.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.name(),
            self.authority(),
            self.target
        )
    }
}

fn scheme(text: &str) -> Option<(Scheme, &str)> {
    let (name, rest) = text.split_once(':')?;
    [Scheme::Http, Scheme::Https]
        .into_iter()
        .find(|scheme| name.eq_ignore_ascii_case(scheme.name()))
        .map(|scheme| (scheme, rest))
}

/// A name, an IPv4 address, or an IPv6 address in brackets (RFC 3986 section 3.2.2).
fn is_host(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if let Some(address) = bracketed {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let proper = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !host.is_empty() && host.bytes().all(proper)
}

/// The path, and the query with its question mark.
fn split_query(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // What ends in a dot segment names a directory.
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

fn encode(target: &str) -> String {
    let mut encoded = String::with_capacity(target.len());
    for byte in target.bytes() {
        match byte {
            0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f.. => {
                encoded.push_str(&format!("%{byte:02X}"));
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        let cases = [
            (
                "http://192.168.1.1/boot.ipxe",
                "http://192.168.1.1/boot.ipxe",
            ),
            ("HTTP://Boot.Example:8080", "http://boot.example:8080/"),
            (
                "https://boot.example:443/a?b=c#d",
                "https://boot.example/a?b=c",
            ),
            ("http://u:p@host/x", "http://host/x"),
            ("http://[fd00::1]:81/x", "http://[fd00::1]:81/x"),
            ("http://[fd00::1]/x", "http://[fd00::1]/x"),
            ("http://h/a b\r\nX: y", "http://h/a%20b%0D%0AX:%20y"),
            ("http://h?q", "http://h/?q"),
            ("http://h/\u{e9}%20", "http://h/%C3%A9%20"),
        ];
        for (text, expected) in cases {
            assert_eq!(Url::parse(text).unwrap().to_string(), expected);
        }
        let bad = [
            ("ftp://h/", UrlError::Scheme),
            ("http:/h/", UrlError::Scheme),
            ("boot.ipxe", UrlError::Scheme),
            ("http:///x", UrlError::Host),
            ("http://a b/", UrlError::Host),
            ("http://[fd00::1]:81:80/", UrlError::Host),
            ("http://[fd00::1/", UrlError::Host),
            ("http://[boot]/", UrlError::Host),
            ("http://a:b:80/", UrlError::Host),
            ("http://h:99999/", UrlError::Port),
            ("http://h:0/", UrlError::Port),
            ("http://h:x/", UrlError::Port),
        ];
        for (text, error) in bad {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn references_resolve_as_in_rfc_3986_section_5_4() {
        let base = Url::parse("http://a/b/c/d;p?q").unwrap();
        let cases = [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://b:8443/x", "https://b:8443/x"),
        ];
        for (reference, expected) in cases {
            let joined = base.join(reference).unwrap();
            assert_eq!(joined.to_string(), expected, "{reference:?}");
        }
        assert_eq!(base.join("g:h"), Err(UrlError::Scheme));
    }
}
