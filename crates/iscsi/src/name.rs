//! iSCSI names, initiator session identifiers and target addresses
//! (RFC 7143 sections 4.2.7, 11.12.5 and 13.8).

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use crate::PORT;

/// The longest iSCSI name in bytes (RFC 7143 section 4.2.7.2).
pub(crate) const NAME_MAX: usize = 223;

/// Whether `name` is an iSCSI name we would send or take: `iqn.`, `eui.` or `naa.`, lower case
/// as RFC 3722 normalizes it, no spaces (RFC 7143 section 4.2.7).
#[must_use]
pub fn is_valid_name(name: &str) -> bool {
    let typed = ["iqn.", "eui.", "naa."]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    let clean = |c: char| !c.is_ascii() || matches!(c, 'a'..='z' | '0'..='9' | '-' | '.' | ':');
    let exact = name.starts_with("iqn.") || name.chars().skip(4).all(|c| c.is_ascii_hexdigit());
    let allowed = name
        .chars()
        .all(|c| clean(c) || (c.is_ascii_hexdigit() && !name.starts_with("iqn.")));
    typed && exact && allowed && name.len() > 4 && name.len() <= NAME_MAX
}

/// An initiator session identifier: with the initiator's name and the target portal group it
/// names a session for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isid(pub [u8; 6]);

impl Isid {
    /// An identifier of the random format (T = 10b) from three random bytes and a qualifier.
    #[must_use]
    pub const fn random(random: [u8; 3], qualifier: u16) -> Self {
        let [high, low] = qualifier.to_be_bytes();
        Self([0x80, random[0], random[1], random[2], high, low])
    }
}

impl fmt::Display for Isid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a target can be reached: the value of TargetAddress (RFC 7143 section 13.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAddress {
    /// DNS name, IPv4 address, or IPv6 address without its brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Target portal group tag, where it is told.
    pub portal_group_tag: Option<u16>,
}

/// The text is no TargetAddress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseAddressError;

impl FromStr for TargetAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let (portal, tag) = match text.split_once(',') {
            None => (text, None),
            Some((portal, tag)) => (portal, Some(tag.parse().map_err(|_| ParseAddressError)?)),
        };
        let (host, port) = match portal.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(ParseAddressError)?;
                let port = rest.strip_prefix(':');
                if port.is_none() && !rest.is_empty() {
                    return Err(ParseAddressError);
                }
                (host, port)
            }
            None => match portal.split_once(':') {
                None => (portal, None),
                Some((host, port)) => (host, Some(port)),
            },
        };
        let port = match port {
            None => PORT,
            Some(port) => port.parse().map_err(|_| ParseAddressError)?,
        };
        if host.is_empty() || port == 0 {
            return Err(ParseAddressError);
        }
        Ok(Self {
            host: host.to_string(),
            port,
            portal_group_tag: tag,
        })
    }
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            portal_group_tag,
        } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")?;
        } else {
            write!(f, "{host}:{port}")?;
        }
        match portal_group_tag {
            Some(tag) => write!(f, ",{tag}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_other_text() {
        for name in [
            "iqn.2000-01.com.example:disk1",
            "eui.02004567A425678D",
            "naa.52004567ba64678d",
        ] {
            assert!(is_valid_name(name), "{name}");
        }
        let long = alloc::format!("iqn.{}", "a".repeat(220));
        for name in [
            "",
            "iqn.",
            "disk1",
            "iqn.2000-01.com.example:disk 1",
            "iqn.A",
            "eui.xyz",
            &long,
        ] {
            assert!(!is_valid_name(name), "{name}");
        }
    }

    #[test]
    fn addresses_come_back() {
        for (text, host, port, tag, shown) in [
            ("10.0.0.1:860,2", "10.0.0.1", 860, Some(2), "10.0.0.1:860,2"),
            ("10.0.0.1", "10.0.0.1", 3260, None, "10.0.0.1:3260"),
            ("10.0.0.1,1", "10.0.0.1", 3260, Some(1), "10.0.0.1:3260,1"),
            (
                "[fe80::1]:3261,1",
                "fe80::1",
                3261,
                Some(1),
                "[fe80::1]:3261,1",
            ),
            ("[::1]", "::1", 3260, None, "[::1]:3260"),
            (
                "san.example.com:3260",
                "san.example.com",
                3260,
                None,
                "san.example.com:3260",
            ),
        ] {
            let address: TargetAddress = text.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.portal_group_tag, tag);
            assert_eq!(address.to_string(), shown);
        }
        for text in [
            "",
            ":3260",
            "host:x",
            "host:0",
            "host:70000",
            "[::1",
            "[::1]x",
            "h,x",
            "fe80::1:2",
        ] {
            assert_eq!(
                text.parse::<TargetAddress>(),
                Err(ParseAddressError),
                "{text}"
            );
        }
    }
}
