//! The initial RAM disk of a kernel: a file that Linux's EFI stub asks the firmware for
//! (`EFI_LOAD_FILE2_PROTOCOL`, UEFI 2.10 section 13.2; Linux,
//! Documentation/admin-guide/efi-stub.rst).

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::fmt;

use bowline_boot::platform::FirmwareError;
use bowline_loader::device_path::INITRD;
use uefi::boot;
use uefi::proto::device_path::DevicePath;
use uefi::{Handle, Identify, Status};
use uefi_raw::Boolean;
use uefi_raw::protocol::device_path::DevicePathProtocol;
use uefi_raw::protocol::media::LoadFile2Protocol;

use crate::error;

/// The file, for as long as this exists.
pub(crate) struct Offered {
    handle: Handle,
    /// `None` once it was left to firmware that did not give it back.
    file: Option<Box<File>>,
}

/// The protocol with the file behind it.
#[repr(C)]
struct File {
    /// First, so that the protocol's `this` points to the whole.
    protocol: LoadFile2Protocol,
    parts: Vec<Rc<Vec<u8>>>,
}

impl fmt::Debug for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offered")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl Offered {
    /// Offers `parts`, one behind the other.
    ///
    /// # Errors
    /// The firmware's when it refuses the handle.
    pub(crate) fn new(parts: Vec<Rc<Vec<u8>>>) -> Result<Self, FirmwareError> {
        let protocol = LoadFile2Protocol { load_file };
        let file = Box::new(File { protocol, parts });
        // SAFETY: the path is well formed up to its end node and lives for ever.
        let handle = unsafe {
            boot::install_protocol_interface(None, &DevicePath::GUID, INITRD.as_ptr().cast())
        };
        let handle = handle.map_err(error::of(
            "InstallProtocolInterface(EFI_DEVICE_PATH_PROTOCOL)",
        ))?;
        let interface = (&raw const *file).cast();
        // SAFETY: the interface is a complete protocol that lives until it is uninstalled.
        let installed = unsafe {
            boot::install_protocol_interface(Some(handle), &LoadFile2Protocol::GUID, interface)
        };
        installed.map_err(|refused| {
            uninstall_path(handle);
            error::of("InstallProtocolInterface(EFI_LOAD_FILE2_PROTOCOL)")(refused)
        })?;
        Ok(Self {
            handle,
            file: Some(file),
        })
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else {
            return;
        };
        let interface = (&raw const *file).cast();
        // SAFETY: the image that could use the interface has ended.
        let gone = unsafe {
            boot::uninstall_protocol_interface(self.handle, &LoadFile2Protocol::GUID, interface)
        };
        uninstall_path(self.handle);
        if gone.is_err() {
            Box::leak(file);
        }
    }
}

fn uninstall_path(handle: Handle) {
    // SAFETY: the path stays where it is for those who still have a pointer to it.
    let _ = unsafe {
        boot::uninstall_protocol_interface(handle, &DevicePath::GUID, INITRD.as_ptr().cast())
    };
}

/// `EFI_LOAD_FILE2_PROTOCOL.LoadFile()` (UEFI 2.10 section 13.2.2).
unsafe extern "efiapi" fn load_file(
    this: *mut LoadFile2Protocol,
    _rest_of_the_path: *const DevicePathProtocol,
    boot_policy: Boolean,
    size: *mut usize,
    buffer: *mut c_void,
) -> Status {
    if this.is_null() || size.is_null() {
        return Status::INVALID_PARAMETER;
    }
    if boot_policy != Boolean::FALSE {
        return Status::UNSUPPORTED;
    }
    // SAFETY: `this` is the pointer that was installed, to a `File` that lives until the protocol
    // is uninstalled.
    let parts = unsafe { &(*this.cast::<File>()).parts };
    let length = parts.iter().map(|part| part.len()).sum();
    // SAFETY: not null, and the caller's to read and write.
    let room = unsafe { size.replace(length) };
    if buffer.is_null() || room < length {
        return Status::BUFFER_TOO_SMALL;
    }
    let mut place = buffer.cast::<u8>();
    for part in parts {
        // SAFETY: the caller owns `length` bytes at `buffer`, and the parts are that together.
        unsafe { place.copy_from_nonoverlapping(part.as_ptr(), part.len()) };
        place = place.wrapping_add(part.len());
    }
    Status::SUCCESS
}
