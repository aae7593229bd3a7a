//! The machine's ACPI tables, for `${acpi/...}`.

use alloc::vec::Vec;

use bowline_loader::acpi::{self, HEADER_BYTES, POINTER_BYTES};
use uefi::system;
use uefi::table::cfg::ConfigTableEntry;

/// A table longer than this is not one.
const TABLE_MAX: usize = 16 << 20;

/// The table of this signature, the `index`-th of them.
pub(crate) fn find(signature: [u8; 4], index: u8) -> Option<Vec<u8>> {
    let pointer = system::with_config_table(|entries| {
        let is_acpi = |entry: &&ConfigTableEntry| entry.guid == ConfigTableEntry::ACPI2_GUID;
        entries.iter().find(is_acpi).map(|entry| entry.address)
    });
    let pointer = pointer.filter(|address| !address.is_null())?;
    // SAFETY: the firmware says that the pointer of ACPI 2.0 is there, which is this long.
    let pointer = unsafe { core::slice::from_raw_parts(pointer.cast(), POINTER_BYTES) };
    acpi::addresses(at(acpi::root(pointer)?)?)
        .filter_map(at)
        .filter(|table| table.starts_with(&signature))
        .nth(usize::from(index))
        .map(<[u8]>::to_vec)
}

/// The table at an address that the firmware gave.
fn at(address: u64) -> Option<&'static [u8]> {
    let address = usize::try_from(address)
        .ok()
        .filter(|&address| address != 0)?;
    let address: *const u8 = core::ptr::with_exposed_provenance(address);
    // SAFETY: the firmware says that a table is there, which begins with its header.
    let header = unsafe { core::slice::from_raw_parts(address, HEADER_BYTES) };
    let length = acpi::length(header)?;
    if !(HEADER_BYTES..=TABLE_MAX).contains(&length) {
        return None;
    }
    // SAFETY: the header says how long the table is, which nobody changes while we read.
    Some(unsafe { core::slice::from_raw_parts(address, length) })
}
