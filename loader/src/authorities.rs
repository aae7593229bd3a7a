//! The certificate authorities that the firmware's own HTTPS trusts.

use alloc::vec::Vec;

use bowline_boot::platform::FirmwareError;
use bowline_loader::signature_list;
use uefi::runtime::{self, VariableAttributes, VariableVendor};
use uefi::{CStr16, Status, cstr16, guid};

use crate::error::{firmware_error, of};

/// The variable of the edk2 network stack: a list of signatures.
const NAME: &CStr16 = cstr16!("TlsCaCertificate");
const VENDOR: VariableVendor = VariableVendor(guid!("fd2340d0-3dab-4349-a6c7-3b4f12b48eae"));

/// The certificates in DER.
///
/// A variable that an operating system could have written is refused: whoever once was root on
/// this machine could add himself to it.
pub(crate) fn certificates() -> Result<Vec<Vec<u8>>, FirmwareError> {
    let (lists, attributes) =
        runtime::get_variable_boxed(NAME, &VENDOR).map_err(of("GetVariable(TlsCaCertificate)"))?;
    if attributes.contains(VariableAttributes::RUNTIME_ACCESS) {
        let call = "GetVariable(TlsCaCertificate): operating systems may write it";
        return Err(firmware_error(call, Status::SECURITY_VIOLATION));
    }
    let certificates = signature_list::certificates(&lists).ok_or_else(|| {
        let call = "GetVariable(TlsCaCertificate): no list of certificates";
        firmware_error(call, Status::COMPROMISED_DATA)
    })?;
    Ok(certificates.into_iter().map(<[u8]>::to_vec).collect())
}
