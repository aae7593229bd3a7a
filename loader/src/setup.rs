//! The firmware's own setup.

use bowline_boot::platform::FirmwareError;
use uefi::runtime::{self, VariableAttributes, VariableVendor};
use uefi::{CStr16, Status, cstr16};

use crate::error::{firmware_error, of};

/// `EFI_OS_INDICATIONS_BOOT_TO_FW_UI` (UEFI 2.10 section 8.5.4).
const BOOT_TO_FW_UI: u64 = 1;

/// Has the firmware enter its setup at the next start.
///
/// # Errors
/// The firmware's, and EFI_UNSUPPORTED where it does not say that it can.
pub(crate) fn enter_at_next_start() -> Result<(), FirmwareError> {
    if variable(cstr16!("OsIndicationsSupported")) & BOOT_TO_FW_UI == 0 {
        return Err(firmware_error(
            "GetVariable(OsIndicationsSupported)",
            Status::UNSUPPORTED,
        ));
    }
    let name = cstr16!("OsIndications");
    let wanted = variable(name) | BOOT_TO_FW_UI;
    // UEFI 2.10 table 3.1: NV, BS, RT.
    let attributes = VariableAttributes::NON_VOLATILE
        | VariableAttributes::BOOTSERVICE_ACCESS
        | VariableAttributes::RUNTIME_ACCESS;
    let vendor = VariableVendor::GLOBAL_VARIABLE;
    runtime::set_variable(name, &vendor, attributes, &wanted.to_le_bytes())
        .map_err(of("SetVariable(OsIndications)"))
}

/// A variable of 64 bits; 0 where there is none.
fn variable(name: &CStr16) -> u64 {
    let mut value = [0; 8];
    match runtime::get_variable(name, &VariableVendor::GLOBAL_VARIABLE, &mut value) {
        Ok(_) => u64::from_le_bytes(value),
        Err(_) => 0,
    }
}
