//! The root of the ACPI tables (ACPI 6.5 section 5.2).

use crate::bytes::{array, u32_at, u64_at};

/// Length of the root system description pointer, from ACPI 2.0 on.
pub const POINTER_BYTES: usize = 36;

/// Length of the header that every table has.
pub const HEADER_BYTES: usize = 36;

/// The address of the table of tables, XSDT (section 5.2.5.3). `None` where it is no pointer.
#[must_use]
pub fn root(pointer: &[u8]) -> Option<u64> {
    let is_pointer = array(pointer, 0) == Some(*b"RSD PTR ");
    is_pointer.then(|| u64_at(pointer, 24)).flatten()
}

/// The whole length of the table with this header (section 5.2.6).
#[must_use]
pub fn length(header: &[u8]) -> Option<usize> {
    usize::try_from(u32_at(header, 4)?).ok()
}

/// The addresses in the table of tables (section 5.2.8).
pub fn addresses(root: &[u8]) -> impl Iterator<Item = u64> {
    let entries = root.get(HEADER_BYTES..).unwrap_or_default();
    let (entries, _) = entries.as_chunks::<8>();
    entries.iter().map(|entry| u64::from_le_bytes(*entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn tables_are_found_from_the_pointer() {
        let mut pointer = vec![0; POINTER_BYTES];
        pointer[24..32].copy_from_slice(&0x1_0000_2000_u64.to_le_bytes());
        assert_eq!(root(&pointer), None);
        pointer[..8].copy_from_slice(b"RSD PTR ");
        assert_eq!(root(&pointer), Some(0x1_0000_2000));
        assert_eq!(root(&pointer[..31]), None);
    }

    #[test]
    fn the_table_of_tables_ends_with_its_last_whole_entry() {
        let mut table = vec![0; HEADER_BYTES];
        table[4..8].copy_from_slice(&55_u32.to_le_bytes());
        table.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 9, 9, 9]);
        assert_eq!(length(&table), Some(table.len()));
        assert_eq!(addresses(&table).collect::<Vec<_>>(), [1, 0x1_0000_0002]);
        assert_eq!(addresses(&table[..HEADER_BYTES - 1]).count(), 0);
    }
}
