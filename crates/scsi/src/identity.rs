//! Which disk it is: the names of a logical unit that are the same by every path to it (vital
//! product data pages 80h and 83h, SPC-4 section 7.8).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::inquiry::{page, serial_number, vpd_payload};

/// What a logical unit says of who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    names: Vec<Name>,
    /// Empty where there is none.
    serial: String,
}

/// A designator of the logical unit (SPC-4 section 7.8.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    kind: u8,
    bytes: Vec<u8>,
}

impl Identity {
    /// Reads page 83h and page 80h; either is empty where the unit does not have it.
    #[must_use]
    pub fn parse(identification: &[u8], serial: &[u8]) -> Self {
        let payload = vpd_payload(identification, page::DEVICE_IDENTIFICATION);
        Self {
            names: names(payload.unwrap_or_default()),
            serial: serial_number(serial).unwrap_or_default(),
        }
    }

    /// Whether both are the same unit: by the strongest kind of name that both have, else by their
    /// serial numbers. `None` where they have nothing in common to tell.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> Option<bool> {
        for (kind, _) in KINDS {
            let of_kind = |name: &&Name| name.kind == kind;
            let mut ours = self.names.iter().filter(of_kind).peekable();
            let theirs = other.names.iter().filter(of_kind);
            if ours.peek().is_some() && theirs.clone().next().is_some() {
                return Some(ours.any(|name| theirs.clone().any(|theirs| theirs == name)));
            }
        }
        let is_told = !self.serial.is_empty() && !other.serial.is_empty();
        is_told.then(|| self.serial == other.serial)
    }
}

/// `naa.6001405aabbccdd`, or the best name that there is.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, prefix) in KINDS {
            let Some(name) = self.names.iter().find(|name| name.kind == kind) else {
                continue;
            };
            f.write_str(prefix)?;
            return match core::str::from_utf8(&name.bytes) {
                Ok(text) if kind == SCSI_NAME || kind == T10_VENDOR => {
                    f.write_str(text.trim_matches(['\0', ' ']))
                }
                _ => name
                    .bytes
                    .iter()
                    .try_for_each(|byte| write!(f, "{byte:02x}")),
            };
        }
        match self.serial.as_str() {
            "" => f.write_str("a disk without a name"),
            serial => write!(f, "serial number {serial}"),
        }
    }
}

/// The designators that name the logical unit, as far as they can be read.
fn names(mut rest: &[u8]) -> Vec<Name> {
    let mut names = Vec::new();
    while let Some((&[_, flags, _, length], behind)) = rest.split_first_chunk() {
        let Some((bytes, next)) = behind.split_at_checked(length.into()) else {
            break;
        };
        let (association, kind) = (flags >> 4 & 3, flags & 15);
        if association == LOGICAL_UNIT && KINDS.iter().any(|(known, _)| *known == kind) {
            names.push(Name {
                kind,
                bytes: bytes.to_vec(),
            });
        }
        rest = next;
    }
    names
}

/// ASSOCIATION: the name is not one of the port or of the target.
const LOGICAL_UNIT: u8 = 0;

const T10_VENDOR: u8 = 1;
const EUI_64: u8 = 2;
const NAA: u8 = 3;
const SCSI_NAME: u8 = 8;

/// Kinds of names that no two units share, strongest first, and what they are shown with.
const KINDS: [(u8, &str); 4] = [
    (NAA, "naa."),
    (EUI_64, "eui."),
    (SCSI_NAME, ""),
    (T10_VENDOR, "t10."),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn page(code: u8, payload: &[u8]) -> Vec<u8> {
        [&[0, code, 0, payload.len() as u8], payload].concat()
    }

    /// Designators: association, kind, bytes.
    fn identity(designators: &[(u8, u8, &[u8])], serial: &str) -> Identity {
        let mut payload = Vec::new();
        for (association, kind, bytes) in designators {
            payload.extend([1, association << 4 | kind, 0, bytes.len() as u8]);
            payload.extend(*bytes);
        }
        Identity::parse(&page(0x83, &payload), &page(0x80, serial.as_bytes()))
    }

    #[test]
    fn the_strongest_name_that_both_have_decides() {
        let naa = |byte: u8| [0x60, 1, 0x40, byte];
        let (one, two) = (naa(1), naa(2));
        let port: &[u8] = &[0, 0, 0, 1];
        let a = identity(
            &[(0, NAA, &one), (0, T10_VENDOR, b"LIO 1"), (1, 4, port)],
            "1",
        );
        let cases = [
            ("itself", a.clone(), Some(true)),
            (
                "another NAA name",
                identity(&[(0, NAA, &two)], "1"),
                Some(false),
            ),
            (
                "one of several",
                identity(&[(0, NAA, &two), (0, NAA, &one)], ""),
                Some(true),
            ),
            // Other kinds are compared only where both have them.
            (
                "no NAA",
                identity(&[(0, T10_VENDOR, b"LIO 1")], "2"),
                Some(true),
            ),
            (
                "another vendor's",
                identity(&[(0, T10_VENDOR, b"LIO 2")], "1"),
                Some(false),
            ),
            ("the serial number alone", identity(&[], "1"), Some(true)),
            ("another serial number", identity(&[], "2"), Some(false)),
            // The same port of the same target has many units.
            (
                "a name of the port",
                identity(&[(1, NAA, &one), (1, 4, port)], ""),
                None,
            ),
            ("nothing", Identity::default(), None),
        ];
        for (what, b, expected) in cases {
            assert_eq!(a.is_same(&b), expected, "{what}");
            assert_eq!(b.is_same(&a), expected, "{what}, the other way round");
        }
    }

    #[test]
    fn it_is_shown_by_its_best_name() {
        for (identity, shown) in [
            (
                identity(&[(0, T10_VENDOR, b"IET 1  "), (0, NAA, &[0x60, 0xab])], "7"),
                "naa.60ab",
            ),
            (identity(&[(0, T10_VENDOR, b"IET 1  ")], "7"), "t10.IET 1"),
            (
                identity(&[(0, SCSI_NAME, b"iqn.x,L,0\0\0")], "7"),
                "iqn.x,L,0",
            ),
            (identity(&[], "7"), "serial number 7"),
            (Identity::default(), "a disk without a name"),
        ] {
            assert_eq!(identity.to_string(), shown);
        }
    }

    #[test]
    fn pages_cut_short_are_read_as_far_as_they_go() {
        let whole = page(0x83, &[1, NAA, 0, 2, 0x60, 1, 1, NAA, 0, 2, 0x60, 2]);
        for length in 0..whole.len() {
            let cut = Identity::parse(&whole[..length], &[]);
            assert_eq!(cut.names.len(), usize::from(length >= 10), "{length}");
        }
    }
}
