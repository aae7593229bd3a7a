//! inflater.efi: the outside of `bowline.efi`, which firmware starts. It inflates the loader, which
//! `cargo xtask build` has put into a section of this program, and calls it as the firmware would
//! have: little more than half has to be fetched and kept.
//!
//! The loader gets the handle of this image, so its load options, its volume and its packed
//! configuration are those of `bowline.efi`. When it returns it has taken back what leads into its
//! code, as every program must before the firmware unloads it, and its pages can go.
#![no_std]
#![no_main]

extern crate alloc;

mod code;
mod handles;
mod sections;

use core::ffi::c_void;
use core::mem;
use core::ops::Range;
use core::panic::PanicInfo;
use core::ptr::{self, NonNull};
use core::slice;

use bowline_pe::PeError;
use bowline_pe::memory::{Access, Part, prepare};
use bowline_pe::payload::{self, Payload};
use uefi::allocator::Allocator;
use uefi::boot::{self, AllocateType, MemoryType, PAGE_SIZE, ScopedProtocol};
use uefi::mem::memory_map::MemoryAttribute;
use uefi::prelude::*;
use uefi::println;
use uefi::proto::security::MemoryProtection;
use uefi::runtime::{self, ResetType};
use uefi::table;

#[global_allocator]
static HEAP: Allocator = Allocator;

/// An entry point (UEFI 2.10 section 4.1.1).
type Entry = unsafe extern "efiapi" fn(Handle, *const c_void) -> Status;

#[entry]
fn main() -> Status {
    match unpack() {
        Ok(loader) => loader.run(),
        Err(Refusal(why, status)) => {
            println!(
                "bowline.efi cannot start: {why} ({status}).\n\
                 Is this file as it was built? Compare it with its source, or fetch it again."
            );
            status
        }
    }
}

/// Why the loader does not start, and the status that says so.
struct Refusal(PeError, Status);

impl From<PeError> for Refusal {
    fn from(error: PeError) -> Self {
        let status = match error {
            PeError::Damaged(_) => Status::CRC_ERROR,
            _ => Status::LOAD_ERROR,
        };
        Self(error, status)
    }
}

/// Out of line, so that its buffers are off the stack when the loader runs.
#[inline(never)]
fn unpack() -> Result<Loader, Refusal> {
    let missing = PeError::Damaged("it is not there");
    let payload = Payload::parse(sections::section(payload::SECTION).ok_or(missing)?)?;
    let mut pages = Pages::allocate(payload.image_bytes())?;
    payload.inflate(pages.bytes())?;
    let address = pages.addresses(0..0).start;
    let program = prepare(pages.bytes(), address)?;
    code::synchronise(pages.base.as_ptr(), pages.length());
    for part in &program.parts {
        pages.allow(part)?;
    }
    Ok(Loader {
        entry: pages.base.as_ptr().wrapping_add(program.entry),
        _pages: pages,
    })
}

/// The loader, ready to run.
struct Loader {
    entry: *const u8,
    _pages: Pages,
}

impl Loader {
    fn run(self) -> Status {
        let system = table::system_table_raw().map_or(ptr::null_mut(), NonNull::as_ptr);
        // SAFETY: `prepare` has found the entry point in the code of a program that the firmware
        // could have loaded, and entry points have this type.
        let entry = unsafe { mem::transmute::<*const u8, Entry>(self.entry) };
        // SAFETY: the loader is given what the firmware has given us, and its pages stay until it
        // has returned.
        unsafe { entry(boot::image_handle(), system.cast::<c_void>().cast_const()) }
    }
}

/// Memory for the loader, given back when dropped.
struct Pages {
    base: NonNull<u8>,
    count: usize,
    protection: Option<Protection>,
}

/// The firmware's way to say what memory is for, and what it has said of ours.
struct Protection {
    protocol: ScopedProtocol<MemoryProtection>,
    before: MemoryAttribute,
}

impl Pages {
    fn allocate(bytes: usize) -> Result<Self, Refusal> {
        let count = bytes.div_ceil(PAGE_SIZE);
        let base = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_CODE, count)
            .map_err(|error| {
                let why = PeError::NotHere("the firmware has no memory for it");
                Refusal(why, error.status())
            })?;
        // SAFETY: these pages are ours alone, and memory without a value is none of Rust's.
        unsafe { base.write_bytes(0, count * PAGE_SIZE) };
        let mut pages = Self {
            base,
            count,
            protection: None,
        };
        pages.protection = pages.find_protection();
        Ok(pages)
    }

    /// `None` on firmware before UEFI 2.10, where memory may be read, written and executed.
    fn find_protection(&self) -> Option<Protection> {
        let handle = boot::get_handle_for_protocol::<MemoryProtection>().ok()?;
        let protocol = handles::peek::<MemoryProtection>(handle)?;
        let all = self.addresses(0..self.length());
        let before = protocol.get_memory_attributes(all).unwrap_or_default();
        Some(Protection { protocol, before })
    }

    fn length(&self) -> usize {
        self.count * PAGE_SIZE
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the pages are ours alone, were given a value, and live as long as this borrow.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.length()) }
    }

    fn addresses(&self, range: Range<usize>) -> Range<u64> {
        let base = self.base.as_ptr() as u64;
        base + range.start as u64..base + range.end as u64
    }

    /// Has the firmware allow what `part` is for, and nothing else.
    fn allow(&self, part: &Part) -> Result<(), Refusal> {
        let Some(Protection { protocol, .. }) = &self.protection else {
            return Ok(());
        };
        let (read_only, no_code) = (MemoryAttribute::READ_ONLY, MemoryAttribute::EXECUTE_PROTECT);
        let set = match part.access {
            Access::Read => read_only | no_code,
            Access::Write => no_code,
            Access::Execute => read_only,
        };
        let range = || self.addresses(part.range.clone());
        let clear = (read_only | no_code) - set;
        // Never both writable and executable: first what is forbidden.
        change(set, |it| protocol.set_memory_attributes(range(), it))
            .and_then(|()| change(clear, |it| protocol.clear_memory_attributes(range(), it)))
            .map_err(|error| {
                let why = PeError::NotHere("the firmware does not let its memory be used for code");
                Refusal(why, error.status())
            })
    }
}

/// Attributes to set or to clear, if there are any: EDK2 for arm64 takes "none" to mean all of them,
/// for x86_64 it is an invalid parameter.
fn change(
    attributes: MemoryAttribute,
    call: impl FnOnce(MemoryAttribute) -> uefi::Result,
) -> uefi::Result {
    match attributes.is_empty() {
        true => Ok(()),
        false => call(attributes),
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(Protection { protocol, before }) = &self.protection {
            let all = MemoryAttribute::READ_ONLY | MemoryAttribute::EXECUTE_PROTECT;
            let range = || self.addresses(0..self.length());
            // Who gets the pages next expects them as we got them. Where the firmware refuses, it
            // keeps its own rules for free memory.
            let _ = change(all - *before, |it| {
                protocol.clear_memory_attributes(range(), it)
            });
            let _ = change(*before, |it| protocol.set_memory_attributes(range(), it));
        }
        // SAFETY: the pages are ours, and nothing leads into them any more.
        let _ = unsafe { boot::free_pages(self.base, self.count) };
    }
}

/// Before the loader runs nothing has been changed that would have to be taken back.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("bowline.efi cannot start: {info}\nThis is a defect of it.");
    // SAFETY: no event and no protocol of ours leads into this image.
    let _ = unsafe { boot::exit(boot::image_handle(), Status::LOAD_ERROR, 0, ptr::null_mut()) };
    runtime::reset(ResetType::COLD, Status::LOAD_ERROR, None)
}
