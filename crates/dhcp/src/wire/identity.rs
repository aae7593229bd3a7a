//! Who a client is: hardware address, architecture, user class, machine UUID.

use super::{Options, code};
use core::fmt;

/// A hardware address as the fields htype, hlen and chaddr carry it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress {
    kind: u8,
    len: u8,
    field: [u8; 16],
}

impl HardwareAddress {
    /// An Ethernet address (hardware type 1).
    #[must_use]
    pub fn ethernet(mac: [u8; 6]) -> Self {
        let mut field = [0; 16];
        for (to, from) in field.iter_mut().zip(mac) {
            *to = from;
        }
        Self {
            kind: ETHERNET,
            len: 6,
            field,
        }
    }

    /// From the fields of a message; `None` where `len` is above 16. Bytes after `len` are
    /// cleared, so equal addresses compare equal.
    #[must_use]
    pub fn from_fields(kind: u8, len: u8, field: [u8; 16]) -> Option<Self> {
        if usize::from(len) > field.len() {
            return None;
        }
        let mut clean = [0; 16];
        for (to, from) in clean.iter_mut().zip(field).take(usize::from(len)) {
            *to = from;
        }
        Some(Self {
            kind,
            len,
            field: clean,
        })
    }

    /// The Ethernet address, if this is one.
    #[must_use]
    pub fn mac(&self) -> Option<[u8; 6]> {
        if self.kind != ETHERNET {
            return None;
        }
        self.as_bytes().try_into().ok()
    }

    /// The bytes of the address.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.field.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Hardware type (htype).
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    pub(super) fn len(&self) -> u8 {
        self.len
    }

    pub(super) fn field(&self) -> [u8; 16] {
        self.field
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != ETHERNET {
            write!(f, "type {} ", self.kind)?;
        }
        for (index, byte) in self.as_bytes().iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Client system architecture (option 93; the IANA registry of processor architecture types,
/// begun by RFC 4578 §2.1 and RFC 5970 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Architecture(pub u16);

impl Architecture {
    /// x86 BIOS.
    pub const BIOS: Self = Self(0);
    /// 32-bit x86 UEFI.
    pub const IA32: Self = Self(6);
    /// x86_64 UEFI, as nearly all firmware and iPXE number it.
    pub const X86_64: Self = Self(7);
    /// The other number of x86_64 UEFI: RFC 4578 calls 7 "EFI BC" and 9 "EFI x86-64".
    pub const X86_64_OTHER: Self = Self(9);
    /// 32-bit ARM UEFI.
    pub const ARM32: Self = Self(10);
    /// 64-bit ARM UEFI.
    pub const ARM64: Self = Self(11);
    /// x86_64 UEFI that boots over HTTP.
    pub const X86_64_HTTP: Self = Self(16);
    /// 64-bit ARM UEFI that boots over HTTP.
    pub const ARM64_HTTP: Self = Self(19);
    /// 64-bit RISC-V UEFI.
    pub const RISCV64: Self = Self(27);

    /// Whether option 93 of `options`, a list, names this architecture.
    #[must_use]
    pub fn is_in(self, options: &Options) -> bool {
        let value = options.get(code::CLIENT_ARCHITECTURE).unwrap_or_default();
        value
            .as_chunks::<2>()
            .0
            .iter()
            .any(|pair| u16::from_be_bytes(*pair) == self.0)
    }
}

/// Whether a user class option (77) names `class`.
///
/// RFC 3004 §4 makes the value a list of length-prefixed classes; iPXE and others send the bare
/// text. Both readings are tried, because neither can be mistaken for the other in practice.
#[must_use]
pub fn user_class_contains(value: &[u8], class: &[u8]) -> bool {
    if value == class {
        return true;
    }
    let mut rest = value;
    let mut found = false;
    while let [len, tail @ ..] = rest {
        let Some((item, next)) = tail.split_at_checked(usize::from(*len)) else {
            return false;
        };
        found |= item == class;
        rest = next;
    }
    found
}

/// The machine UUID of option 97 in the byte order of the wire, which is that of SMBIOS.
#[must_use]
pub fn uuid_of(options: &Options) -> Option<[u8; 16]> {
    match options.get(code::CLIENT_UUID)? {
        [0, uuid @ ..] => uuid.try_into().ok(),
        _ => None,
    }
}

const ETHERNET: u8 = 1;
