//! iSCSI root paths: `iscsi:<server>:<protocol>:<port>:<LUN>:<target>` (RFC 4173 section 5).
//!
//! As iPXE reads them: the protocol is ignored, the port defaults to 3260 and the LUN to 0, an
//! IPv6 address stands in brackets, and everything after the fifth colon is the target's name.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

use crate::limits;

/// Where an iSCSI disk is. Credentials are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootPath {
    /// Name or address; an IPv6 address without brackets.
    pub server: String,
    /// TCP port of the portal.
    pub port: u16,
    /// The logical unit number as it stands in PDUs (RFC 7143 section 11.2.1.7).
    pub lun: [u8; 8],
    /// The target's iSCSI name.
    pub target: String,
}

impl RootPath {
    /// Whether `text` is meant to be one: its scheme is `iscsi`.
    #[must_use]
    pub fn is_root_path(text: &str) -> bool {
        strip_scheme(text).is_some()
    }

    /// Reads a root path.
    ///
    /// # Errors
    /// [`RootPathError`] says which field is wrong.
    pub fn parse(text: &str) -> Result<Self, RootPathError> {
        let rest = strip_scheme(text).ok_or(RootPathError::Scheme)?;
        if rest.starts_with("//") {
            return Err(RootPathError::Slashes);
        }
        let (server, rest) = split_server(rest)?;
        let mut fields = rest.splitn(4, ':');
        let mut field = || fields.next().ok_or(RootPathError::FieldMissing);
        let (_protocol, port, lun, target) = (field()?, field()?, field()?, field()?);
        if server.is_empty() {
            return Err(RootPathError::NoServer);
        }
        if target.is_empty() {
            return Err(RootPathError::NoTarget);
        }
        if target.len() > limits::ISCSI_NAME_BYTES || target.contains(char::is_whitespace) {
            return Err(RootPathError::BadTarget {
                target: target.to_owned(),
            });
        }
        Ok(Self {
            server: server.to_owned(),
            port: parse_port(port)?,
            lun: parse_lun(lun).ok_or_else(|| RootPathError::BadLun {
                lun: lun.to_owned(),
            })?,
            target: target.to_owned(),
        })
    }
}

impl FromStr for RootPath {
    type Err = RootPathError;

    fn from_str(text: &str) -> Result<Self, RootPathError> {
        Self::parse(text)
    }
}

impl fmt::Display for RootPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server.contains(':') {
            write!(out, "iscsi:[{}]::", self.server)?;
        } else {
            write!(out, "iscsi:{}::", self.server)?;
        }
        if self.port != PORT {
            write!(out, "{}", self.port)?;
        }
        out.write_str(":")?;
        let lun = u64::from_be_bytes(self.lun);
        if lun.trailing_zeros() >= 48 {
            // Zero is left out, and so are words that are zero.
            if lun != 0 {
                write!(out, "{:x}", lun >> 48)?;
            }
        } else {
            let word = |shift: u32| (lun >> shift) & 0xffff;
            write!(
                out,
                "{:x}-{:x}-{:x}-{:x}",
                word(48),
                word(32),
                word(16),
                word(0)
            )?;
        }
        write!(out, ":{}", self.target)
    }
}

/// Why a text is no iSCSI root path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RootPathError {
    /// Not hexadecimal words.
    BadLun {
        /// What stands in its place.
        lun: String,
    },
    /// Not a port.
    BadPort {
        /// What stands in its place.
        port: String,
    },
    /// Not a host.
    BadServer {
        /// What stands in its place.
        server: String,
    },
    /// Longer than an iSCSI name may be, or with spaces in it.
    BadTarget {
        /// What stands in its place.
        target: String,
    },
    /// Fewer than five fields.
    FieldMissing,
    /// The server's field is empty.
    NoServer,
    /// The target's field is empty.
    NoTarget,
    /// Does not begin with `iscsi:`.
    Scheme,
    /// Begins with `iscsi://`.
    Slashes,
}

impl fmt::Display for RootPathError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLun { lun } => write!(
                out,
                "`{lun}` is no LUN: up to four hexadecimal words, like 1 or 4001-0-0-0"
            ),
            Self::BadPort { port } => write!(out, "`{port}` is no port between 1 and 65535"),
            Self::BadServer { server } => write!(
                out,
                "`{server}` is no server: write a name, 192.168.1.1, or an IPv6 address in \
                 brackets, like [fd00::1]"
            ),
            Self::BadTarget { target } => write!(
                out,
                "`{target}` is no target name: it is longer than {} bytes or has spaces in it",
                limits::ISCSI_NAME_BYTES
            ),
            Self::FieldMissing => write!(out, "a colon is missing: the form is {FORM}"),
            Self::NoServer => write!(
                out,
                "the server is missing (discovery is not supported): the form is {FORM}"
            ),
            Self::NoTarget => write!(out, "the target's name is missing: the form is {FORM}"),
            Self::Scheme => write!(out, "not an iSCSI root path: the form is {FORM}"),
            Self::Slashes => {
                write!(
                    out,
                    "no `//` belongs in an iSCSI root path: the form is {FORM}"
                )
            }
        }
    }
}

impl core::error::Error for RootPathError {}

fn strip_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("iscsi").then_some(rest)
}

/// Splits at the colon after the server.
fn split_server(text: &str) -> Result<(&str, &str), RootPathError> {
    let bad = |server: &str| RootPathError::BadServer {
        server: server.to_owned(),
    };
    let Some(bracketed) = text.strip_prefix('[') else {
        let (server, rest) = text.split_once(':').ok_or(RootPathError::FieldMissing)?;
        let illegal = |character: char| character.is_whitespace() || "/@[]".contains(character);
        return if server.contains(illegal) {
            Err(bad(server))
        } else {
            Ok((server, rest))
        };
    };
    let (server, rest) = bracketed.split_once(']').ok_or_else(|| bad(text))?;
    let address = server.split('%').next().unwrap_or_default();
    if address.parse::<Ipv6Addr>().is_err() {
        return Err(bad(server));
    }
    Ok((
        server,
        rest.strip_prefix(':').ok_or(RootPathError::FieldMissing)?,
    ))
}

fn parse_port(text: &str) -> Result<u16, RootPathError> {
    if text.is_empty() {
        return Ok(PORT);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u16>() {
        // iPXE takes 0 for the default, too.
        Ok(0) if digits => Ok(PORT),
        Ok(port) if digits => Ok(port),
        _ => Err(RootPathError::BadPort {
            port: text.to_owned(),
        }),
    }
}

/// RFC 4173 section 5: 16-bit words, the most significant first; those left out are zero.
fn parse_lun(text: &str) -> Option<[u8; 8]> {
    if text.is_empty() {
        return Some([0; 8]);
    }
    let mut lun: u64 = 0;
    for (index, word) in text.split('-').enumerate() {
        let digits = (1..=4).contains(&word.len()) && word.bytes().all(|it| it.is_ascii_hexdigit());
        if !digits || index == 4 {
            return None;
        }
        lun |= u64::from_str_radix(word, 16).ok()? << (48 - 16 * index);
    }
    Some(lun.to_be_bytes())
}

/// The default of RFC 4173 section 5.
const PORT: u16 = 3260;

const FORM: &str = "iscsi:<server>:<protocol>:<port>:<LUN>:<target>";
