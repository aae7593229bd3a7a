//! What stays of a disk in the firmware when the program ends.
//!
//! U-Boot makes a block device of its own from a Block IO handle and keeps it, and the partition
//! handles on it, after the handle is gone. Whoever reads from one of those later, such as the GRUB
//! of the next boot option, calls a function of a program that is no longer in memory. So the
//! functions are replaced by a few instructions in a page that stays: "there is no medium".

use core::ffi::c_void;
use core::mem;
use core::ptr;

use uefi::Status;
use uefi::boot::{self, AllocateType, MemoryType};
use uefi_raw::Boolean;
use uefi_raw::protocol::block::BlockIoProtocol;

use super::block_io::Functions;
use crate::code;

/// Functions that answer `EFI_NO_MEDIA` and outlive the program. `None` without memory for them.
pub(super) fn functions() -> Option<Functions> {
    let page = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_CODE, 1).ok()?;
    // SAFETY: the page was just allocated for code, and is longer than it.
    unsafe { ptr::copy_nonoverlapping(CODE.as_ptr(), page.as_ptr().cast(), CODE.len()) };
    code::synchronise(page.as_ptr(), size_of_val(&CODE));
    let code = page.as_ptr().cast_const().cast::<c_void>();
    Some(Functions {
        // SAFETY: the code takes no notice of its arguments and returns a status, so it is a
        // function of any of these types.
        reset: unsafe {
            mem::transmute::<*const c_void, unsafe extern "efiapi" fn(_, Boolean) -> Status>(code)
        },
        // SAFETY: as above.
        read_blocks: unsafe {
            mem::transmute::<
                *const c_void,
                unsafe extern "efiapi" fn(_, u32, u64, usize, *mut c_void) -> Status,
            >(code)
        },
        // SAFETY: as above.
        write_blocks: unsafe {
            mem::transmute::<
                *const c_void,
                unsafe extern "efiapi" fn(_, u32, u64, usize, *const c_void) -> Status,
            >(code)
        },
        // SAFETY: as above.
        flush_blocks: unsafe {
            mem::transmute::<*const c_void, unsafe extern "efiapi" fn(*mut BlockIoProtocol) -> Status>(
                code,
            )
        },
    })
}

/// `mov x0, #0xc`, `movk x0, #0x8000, lsl #48`, `ret`.
#[cfg(target_arch = "aarch64")]
const CODE: [u32; 3] = [0xd280_0180, 0xf2f0_0000, 0xd65f_03c0];

/// `movabs rax, 0x800000000000000c`, `ret`.
#[cfg(target_arch = "x86_64")]
const CODE: [u8; 11] = [0x48, 0xb8, 0x0c, 0, 0, 0, 0, 0, 0, 0x80, 0xc3];
