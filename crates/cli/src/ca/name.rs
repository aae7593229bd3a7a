//! The names that certificates are issued for.

use std::fmt;
use std::net::IpAddr;

/// What a host is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostName {
    /// A DNS name, in lower case; its first label may be `*`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl HostName {
    /// A DNS name or an address.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        dns_name(name)?;
        Ok(Self::Dns(text.to_ascii_lowercase()))
    }

    /// How its files are called: the name, without a star that a shell would take for its own.
    pub(crate) fn file_stem(&self) -> String {
        self.to_string().replace('*', "wildcard")
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => write!(f, "{address}"),
        }
    }
}

/// The name of a client: of the form of a DNS name, so that it can stand in a URL, in a file name
/// and in a script.
pub(crate) fn client_name(text: &str) -> Result<String, String> {
    dns_name(text)?;
    if text.len() > COMMON_NAME_MAX {
        return Err(format!("longer than {COMMON_NAME_MAX} characters"));
    }
    Ok(text.to_ascii_lowercase())
}

/// The name of an authority, for people.
pub(crate) fn authority_name(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("empty".into()),
        _ if text.chars().any(char::is_control) => Err("holds a control character".into()),
        1..=COMMON_NAME_MAX => Ok(text.into()),
        _ => Err(format!("longer than {COMMON_NAME_MAX} characters")),
    }
}

/// The preferred syntax of RFC 1034 §3.5, as RFC 1123 §2.1 has relaxed it.
fn dns_name(text: &str) -> Result<(), String> {
    if !text.is_ascii() {
        return Err("not ASCII; write an international name in its xn-- form".into());
    }
    if text.len() > DNS_NAME_MAX {
        return Err(format!("longer than {DNS_NAME_MAX} characters"));
    }
    let label = |label: &str| {
        (1..=DNS_LABEL_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !text.split('.').all(label) {
        return Err(
            "made of letters, digits, dots and inner dashes only, like boot.example.com".into(),
        );
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    if text.contains('.') && last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("neither a name nor a whole address".into());
    }
    Ok(())
}

/// RFC 1035 §3.1, without the dot at the end.
const DNS_NAME_MAX: usize = 253;
/// RFC 1035 §2.3.4.
const DNS_LABEL_MAX: usize = 63;
/// RFC 5280 Appendix A.1, ub-common-name.
pub(crate) const COMMON_NAME_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts() {
        for (text, expected) in [
            ("boot", "boot"),
            ("Boot.Example.COM", "boot.example.com"),
            ("*.example", "*.example"),
            ("192.168.1.1", "192.168.1.1"),
            ("fd00:0::1", "fd00::1"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let name = HostName::parse(text).map(|name| name.to_string());
            assert_eq!(name.as_deref(), Ok(expected));
        }
        let long = format!("{}.example", "x".repeat(64));
        for text in [
            "",
            ".",
            "a..b",
            "a.",
            "-a",
            "a-",
            "a b",
            "a/b",
            "../x",
            "*",
            "a.*.b",
            "*.",
            "a\nb",
            "bücher.example",
            "1.2.3",
            "192.168.1.256",
            "a_b",
            &long,
            &"a.".repeat(130),
        ] {
            assert!(HostName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_of_clients() {
        assert_eq!(client_name("Node-1").as_deref(), Ok("node-1"));
        assert_eq!(
            client_name("52-54-00-12-34-56").as_deref(),
            Ok("52-54-00-12-34-56")
        );
        for text in ["*.example", "192.168.1.1", "fd00::1", "a/b", "--force", ""] {
            assert!(client_name(text).is_err(), "{text:?}");
        }
    }
}
