//! SMBIOS (DMTF DSP0134): where the structure table is, and its system information (type 1).

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::bytes::{array, u16_at, u32_at, u64_at};

/// Length of an entry point structure, as far as it is read here.
pub const ENTRY_POINT_BYTES: usize = 32;

/// Type and length of a structure come first, then a two-byte handle.
const HEADER: usize = 4;
const SYSTEM_INFORMATION: u8 = 1;
const END_OF_TABLE: u8 = 127;

/// Where the structure table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StructureTable {
    /// Physical address.
    pub address: u64,
    /// Length in bytes at most.
    pub length: u32,
}

/// The fields of the system information structure that identify a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemInformation {
    /// The UUID as the structure has it.
    pub uuid: Option<[u8; 16]>,
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// Product name.
    pub product: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
}

/// Reads an entry point, of SMBIOS 3 (DSP0134 section 5.2.2) or of SMBIOS 2 (section 5.2.1).
#[must_use]
pub fn entry_point(bytes: &[u8]) -> Option<StructureTable> {
    if bytes.starts_with(b"_SM3_") {
        return Some(StructureTable {
            length: u32_at(bytes, 0x0c)?,
            address: u64_at(bytes, 0x10)?,
        });
    }
    if bytes.starts_with(b"_SM_") && bytes.get(0x10..0x15)? == b"_DMI_" {
        return Some(StructureTable {
            length: u32::from(u16_at(bytes, 0x16)?),
            address: u64::from(u32_at(bytes, 0x18)?),
        });
    }
    None
}

/// Finds the system information structure in the structure table.
#[must_use]
pub fn system_information(table: &[u8]) -> Option<SystemInformation> {
    let (structure, strings) =
        structures(table).find(|it| it.0.first() == Some(&SYSTEM_INFORMATION))?;
    Some(parse_system_information(structure, strings))
}

/// The `instance`-th structure of a type, counted from 0, with its strings and the empty one that
/// ends them.
#[must_use]
pub fn structure(table: &[u8], kind: u8, instance: u8) -> Option<Vec<u8>> {
    let (structure, strings) = structures(table)
        .filter(|it| it.0.first() == Some(&kind))
        .nth(instance.into())?;
    Some([structure, strings, &[0, 0]].concat())
}

/// Structures and their strings, up to the end of the table or to what is no structure.
fn structures(table: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = table;
    core::iter::from_fn(move || {
        let kind = *rest.first()?;
        let length = usize::from(*rest.get(1)?);
        if length < HEADER || kind == END_OF_TABLE {
            return None;
        }
        let (structure, behind) = rest.split_at_checked(length)?;
        // The strings end with an empty one (DSP0134 section 6.1.3).
        let end = behind.windows(2).position(|pair| pair == [0, 0])?;
        rest = behind.get(end + 2..)?;
        Some((structure, behind.get(..end)?))
    })
}

/// DSP0134 section 7.2.
fn parse_system_information(structure: &[u8], strings: &[u8]) -> SystemInformation {
    let string = |offset: usize| -> Option<String> {
        let number = usize::from(*structure.get(offset)?).checked_sub(1)?;
        let text = strings.split(|&byte| byte == 0).nth(number)?;
        let text = core::str::from_utf8(text).ok()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    SystemInformation {
        manufacturer: string(4),
        product: string(5),
        serial: string(7),
        // All zeros and all ones mean that there is none (section 7.2.1).
        uuid: array(structure, 8).filter(|uuid| *uuid != [0; 16] && *uuid != [0xff; 16]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(uuid: [u8; 16]) -> Vec<u8> {
        let mut table = Vec::new();
        // A type 0 structure with strings, then type 1, then the end.
        table.extend([0, 6, 0, 0, 1, 2]);
        table.extend(b"Vendor\x001.0\0\0");
        table.extend([1, 27, 1, 0, 1, 2, 0, 3]);
        table.extend(uuid);
        table.extend([6, 0, 0]);
        table.extend(b"QEMU\0Virtual Machine\0 42 \0\0");
        table.extend([127, 4, 2, 0, 0, 0]);
        table
    }

    #[test]
    fn finds_the_system_behind_other_structures() {
        let system = system_information(&table([7; 16])).unwrap();
        assert_eq!(
            system,
            SystemInformation {
                uuid: Some([7; 16]),
                manufacturer: Some("QEMU".into()),
                product: Some("Virtual Machine".into()),
                serial: Some("42".into()),
            }
        );
    }

    #[test]
    fn structures_come_with_their_strings() {
        let table = table([7; 16]);
        let firmware = b"\0\x06\0\0\x01\x02Vendor\x001.0\0\0";
        assert_eq!(structure(&table, 0, 0).unwrap(), firmware);
        assert_eq!(structure(&table, 0, 1), None);
        assert!(structure(&table, 1, 0).unwrap().ends_with(b" 42 \0\0"));
        assert_eq!(structure(&table, 127, 0), None);
        assert_eq!(structure(&[3, 2, 0, 0, 0, 0], 3, 0), None);
    }

    #[test]
    fn a_uuid_of_zeros_or_ones_is_none() {
        assert_eq!(system_information(&table([0; 16])).unwrap().uuid, None);
        assert_eq!(system_information(&table([0xff; 16])).unwrap().uuid, None);
    }

    #[test]
    fn a_table_cut_anywhere_gives_nothing_and_does_not_panic() {
        let table = table([7; 16]);
        let complete = table.len() - 6;
        for length in 0..complete {
            assert_eq!(system_information(&table[..length]), None, "{length}");
        }
        assert!(system_information(&table[..complete]).is_some());
    }

    #[test]
    fn reads_both_kinds_of_entry_point() {
        let mut three =
            *b"_SM3_\0\0\0\0\0\0\0\x34\x12\0\0\x78\x56\x34\x12\x01\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(
            entry_point(&three),
            Some(StructureTable {
                address: 0x1_1234_5678,
                length: 0x1234
            })
        );
        three[0] = b'x';
        assert_eq!(entry_point(&three), None);

        let two = b"_SM_\0\x1f\x02\x08\0\0\0\0\0\0\0\0_DMI_\0\x34\x12\x78\x56\x34\x12\0\0\0\0";
        assert_eq!(
            entry_point(two),
            Some(StructureTable {
                address: 0x1234_5678,
                length: 0x1234
            })
        );
    }
}
