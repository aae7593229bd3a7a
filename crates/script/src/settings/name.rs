//! Setting names: `[scope/]name[:type]`, and the names that every script may rely on.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{SettingError, SettingType};
use crate::limits;
use crate::parse_integer;

/// A name taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SettingName<'a> {
    /// What stands before the first slash.
    pub(super) scope: Option<&'a str>,
    /// What is looked for in the scope.
    pub(super) key: Key,
    /// That as it was written.
    pub(super) text: &'a str,
    /// The type after the colon.
    pub(super) written: Option<SettingType>,
    /// That, else the type of the predefined name.
    pub(super) kind: Option<SettingType>,
}

/// What identifies a setting in its scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A DHCP option, or options inside an option: `175.190`.
    Tag(Vec<u8>),
    /// Any other name.
    Name(String),
}

impl<'a> SettingName<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, SettingError> {
        if text.len() > limits::NAME_BYTES {
            return Err(SettingError::LongName);
        }
        let (scope, rest) = match text.split_once('/') {
            Some((scope, rest)) => (Some(scope), rest),
            None => (None, text),
        };
        let (name, written) = match rest.split_once(':') {
            Some((name, kind)) => {
                let kind =
                    SettingType::from_name(kind).ok_or_else(|| SettingError::UnknownType {
                        kind: kind.to_owned(),
                    })?;
                (name, Some(kind))
            }
            None => (rest, None),
        };
        if name.is_empty() {
            return Err(SettingError::NoName);
        }
        if let Some(scope) = scope {
            Self::check_scope(scope)?;
        }
        let key = Key::parse(name);
        let kind = written.or_else(|| key.predefined().map(|known| known.kind));
        Ok(Self {
            scope,
            key,
            text: name,
            written,
            kind,
        })
    }

    pub(super) fn check_scope(scope: &str) -> Result<(), SettingError> {
        if scope.len() > limits::NAME_BYTES {
            return Err(SettingError::LongName);
        }
        if scope.split('.').count() > limits::SCOPE_DEPTH || scope.split('.').any(str::is_empty) {
            return Err(SettingError::BadScope {
                scope: scope.to_owned(),
            });
        }
        Ok(())
    }
}

impl Key {
    fn parse(name: &str) -> Self {
        if let Some(known) = PREDEFINED.iter().find(|known| known.name == name) {
            return known.key();
        }
        parse_tag(name).map_or_else(|| Self::Name(name.to_owned()), Self::Tag)
    }

    /// The name that scripts know this key by.
    pub(super) fn name(&self) -> Cow<'static, str> {
        match (self.predefined(), self) {
            (Some(known), _) => Cow::Borrowed(known.name),
            (None, Self::Name(name)) => Cow::Owned(name.clone()),
            (None, Self::Tag(tag)) => {
                let numbers: Vec<String> = tag.iter().map(ToString::to_string).collect();
                Cow::Owned(numbers.join("."))
            }
        }
    }

    pub(super) fn predefined_kind(&self) -> Option<SettingType> {
        self.predefined().map(|known| known.kind)
    }

    fn predefined(&self) -> Option<&'static Predefined> {
        PREDEFINED.iter().find(|known| match self {
            Self::Tag(tag) => !known.tag.is_empty() && known.tag == tag,
            Self::Name(name) => known.tag.is_empty() && known.name == name,
        })
    }
}

/// A name with a fixed meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predefined {
    /// The name.
    pub name: &'static str,
    /// The DHCP option (and options inside it) that carries it; empty where none does.
    pub tag: &'static [u8],
    /// The type it has unless the script writes another.
    pub kind: SettingType,
}

impl Predefined {
    fn key(&self) -> Key {
        if self.tag.is_empty() {
            Key::Name(self.name.to_owned())
        } else {
            Key::Tag(self.tag.to_vec())
        }
    }
}

fn parse_tag(name: &str) -> Option<Vec<u8>> {
    // Most names are words: this is asked often.
    if !name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let tag: Vec<u8> = name
        .split('.')
        .map(|number| {
            let unsigned = number.starts_with(|first: char| first.is_ascii_digit());
            unsigned.then(|| parse_integer(number)).flatten()
        })
        .map(|number| u8::try_from(number?).ok())
        .collect::<Option<_>>()?;
    (tag.len() <= limits::TAG_DEPTH).then_some(tag)
}

/// What the numbers of a name such as `0x18.0.2` make together: each moves those before it eight
/// bits up, and may itself be longer than that. `None` where it is none, or 64 bits are too few.
#[must_use]
pub fn tag_number(name: &str) -> Option<u64> {
    name.split('.').try_fold(0_u64, |tag, part| {
        let number = part.starts_with(|first: char| first.is_ascii_digit());
        let number = number.then(|| parse_integer(part)).flatten()?;
        let moved = tag.checked_mul(1 << 8)?;
        Some(moved | u64::try_from(number).ok()?)
    })
}

/// The priority that orders the search through sibling scopes.
pub(super) const PRIORITY_TAG: [u8; 2] = [175, 1];

const fn option(name: &'static str, tag: &'static [u8], kind: SettingType) -> Predefined {
    Predefined { name, tag, kind }
}

const fn plain(name: &'static str, kind: SettingType) -> Predefined {
    Predefined {
        name,
        tag: &[],
        kind,
    }
}

/// Every predefined name. Tags below 175 are those of RFC 2132 and the DHCP option registry;
/// 175.x is the Etherboot/iPXE encapsulated option space.
pub const PREDEFINED: &[Predefined] = {
    use SettingType::{
        Base64, Dnssl, Hex, Int8, Int16, Int32, Ipv4, Ipv6, String, Uint8, Uint32, Uuid,
    };
    &[
        // The interface and its network.
        option("ip", &[175, 2], Ipv4),
        option("netmask", &[1], Ipv4),
        option("gateway", &[3], Ipv4),
        option("static-routes", &[121], Hex),
        option("dns", &[6], Ipv4),
        option("domain", &[15], String),
        option("dnssl", &[119], Dnssl),
        option("hostname", &[12], String),
        option("ntp", &[42], Ipv4),
        option("syslog", &[7], Ipv4),
        option("syslogs", &[175, 85], String),
        option("mtu", &[26], Int16),
        plain("ip6", Ipv6),
        plain("len6", Uint8),
        plain("gateway6", Ipv6),
        plain("dns6", Ipv6),
        plain("syslog6", Ipv6),
        // Booting.
        option("next-server", &[175, 3], Ipv4),
        option("filename", &[67], String),
        option("root-path", &[17], String),
        option("dhcp-server", &[54], Ipv4),
        option("user-class", &[77], String),
        option("vendor-class", &[60], String),
        option("priority", &PRIORITY_TAG, Int8),
        option("keep-san", &[175, 8], Int8),
        option("skip-san-boot", &[175, 9], Int8),
        option("scriptlet", &[175, 81], String),
        option("trust", &[175, 90], Hex),
        option("cert", &[175, 91], Hex),
        option("privkey", &[175, 92], Hex),
        option("crosscert", &[175, 93], String),
        option("no-pxedhcp", &[175, 176], Uint8),
        option("bus-id", &[175, 177], Hex),
        option("use-cached", &[175, 178], Uint8),
        option("san-retries", &[175, 187], Int8),
        option("san-filename", &[175, 188], String),
        option("san-drive", &[175, 189], Uint8),
        option("username", &[175, 190], String),
        option("password", &[175, 191], String),
        option("reverse-username", &[175, 192], String),
        option("reverse-password", &[175, 193], String),
        option("uid", &[175, 194], Uint32),
        option("gid", &[175, 195], Uint32),
        option("initiator-iqn", &[203], String),
        // Each network interface.
        plain("mac", Hex),
        plain("hwaddr", Hex),
        plain("bustype", String),
        plain("busloc", Uint32),
        plain("busid", Hex),
        plain("linktype", String),
        plain("chip", String),
        plain("ifname", String),
        // The machine (SMBIOS).
        plain("uuid", Uuid),
        plain("manufacturer", String),
        plain("product", String),
        plain("serial", String),
        plain("asset", String),
        plain("board-serial", String),
        // The loader.
        plain("errno", String),
        plain("buildarch", String),
        plain("platform", String),
        plain("version", String),
        plain("unixtime", Uint32),
        plain("cwuri", String),
        plain("cwduri", String),
        plain("dmesg", String),
        plain("sysmac", Hex),
        plain("memsize", Int32),
        plain("vram", Base64),
        plain("keymap", String),
        plain("peerhost", String),
        plain("peerdist", Int8),
        plain("ssid", String),
        plain("key", String),
        plain("active-scan", Int8),
        plain("cpuvendor", String),
        plain("cpumodel", String),
    ]
};
