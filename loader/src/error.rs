//! Firmware status codes in the words of the specification.

use alloc::format;

use bowline_boot::platform::FirmwareError;
use uefi::Status;

/// The error of `call`, a service or protocol function by its name in the specification.
pub(crate) fn firmware_error(call: &'static str, status: Status) -> FirmwareError {
    // `Debug` prints the names of UEFI 2.10 appendix D without their prefix.
    FirmwareError {
        call,
        status: format!("EFI_{status:?}"),
    }
}

/// As a function to map errors of the `uefi` crate with.
pub(crate) fn of<T: core::fmt::Debug>(
    call: &'static str,
) -> impl Fn(uefi::Error<T>) -> FirmwareError {
    move |error| firmware_error(call, error.status())
}
