//! Variables of the firmware, for `${efi/...}`.

use alloc::vec::Vec;

use uefi::runtime::{self, VariableVendor};
use uefi::{CString16, Guid};

/// The variable of this name and vendor, else the first one of this name.
pub(crate) fn get(name: &str, vendor: Option<[u8; 16]>) -> Option<Vec<u8>> {
    let name = CString16::try_from(name).ok()?;
    let vendor = match vendor {
        Some(bytes) => VariableVendor(Guid::from_bytes(bytes)),
        None => runtime::variable_keys()
            .filter_map(Result::ok)
            .find(|key| key.name == name)
            .map(|key| key.vendor)?,
    };
    let (value, _attributes) = runtime::get_variable_boxed(&name, &vendor).ok()?;
    Some(value.into_vec())
}
