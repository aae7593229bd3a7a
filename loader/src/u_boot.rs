//! Background work on U-Boot while an image uses the console.
//!
//! U-Boot has no interrupts: its timers, and with them ours, run only inside some of its calls.
//! The console's are none of those, and they are all that a boot menu calls. Without help nobody
//! takes frames off the card while the menu waits, and the virtio-net card of U-Boot before
//! 2025.10 is lost for good with the 33rd. So while an image runs, the functions that read a key
//! or print text do a turn of background work first.

use core::cell::Cell;
use core::ptr::NonNull;

use uefi::proto::console::text::InputEx;
use uefi::{Handle, Status, table};
use uefi_raw::Char16;
use uefi_raw::protocol::console::{
    InputKey, KeyData, SimpleTextInputExProtocol, SimpleTextInputProtocol, SimpleTextOutputProtocol,
};

use crate::{handles, hooks};

type Read = unsafe extern "efiapi" fn(*mut SimpleTextInputProtocol, *mut InputKey) -> Status;
type Print = unsafe extern "efiapi" fn(*mut SimpleTextOutputProtocol, *const Char16) -> Status;
type ReadEx = unsafe extern "efiapi" fn(*mut SimpleTextInputExProtocol, *mut KeyData) -> Status;

/// The firmware's own functions, while ours are in their place.
static READ: Original<Read> = Original(Cell::new(None));
static PRINT: Original<Print> = Original(Cell::new(None));
static READ_EX: Original<ReadEx> = Original(Cell::new(None));

struct Original<F>(Cell<Option<F>>);

// SAFETY: there is one thread, and U-Boot does not interrupt it.
unsafe impl<F> Sync for Original<F> {}

/// The functions are replaced for as long as this lives. There is one at a time: an image that was
/// started returns before the next is.
#[derive(Debug)]
pub(crate) struct ConsoleHook {
    output: Option<NonNull<SimpleTextOutputProtocol>>,
    input: Option<NonNull<SimpleTextInputProtocol>>,
    input_ex: Option<NonNull<SimpleTextInputExProtocol>>,
}

impl ConsoleHook {
    /// Replaces the functions of the console.
    pub(crate) fn install() -> Self {
        let mut hook = Self::console();
        if let Some(output) = &mut hook.output {
            // SAFETY: the protocol is a table in the firmware's memory that stays; nobody else
            // has a reference to it.
            let output = unsafe { output.as_mut() };
            PRINT.0.set(Some(output.output_string));
            output.output_string = output_string;
        }
        if let Some(input) = &mut hook.input {
            // SAFETY: as above.
            let input = unsafe { input.as_mut() };
            READ.0.set(Some(input.read_key_stroke));
            input.read_key_stroke = read_key_stroke;
        }
        if let Some(input) = &mut hook.input_ex {
            // SAFETY: as above.
            let input = unsafe { input.as_mut() };
            READ_EX.0.set(Some(input.read_key_stroke_ex));
            input.read_key_stroke_ex = read_key_stroke_ex;
        }
        hook
    }

    /// The protocols of the console (UEFI 2.10 sections 12.4, 12.3 and 12.2).
    fn console() -> Self {
        let Some(system_table) = table::system_table_raw() else {
            return Self {
                output: None,
                input: None,
                input_ex: None,
            };
        };
        // SAFETY: a system table pointer that was set is valid for as long as the image runs.
        let system_table = unsafe { system_table.as_ref() };
        // SAFETY: the firmware's handle, or null, which gives none.
        let handle = unsafe { Handle::from_ptr(system_table.stdin_handle) };
        Self {
            output: NonNull::new(system_table.stdout),
            input: NonNull::new(system_table.stdin),
            input_ex: handle
                .and_then(handles::peek::<InputEx>)
                .map(|mut input| NonNull::from(&mut *input).cast()),
        }
    }
}

impl Drop for ConsoleHook {
    fn drop(&mut self) {
        if let (Some(mut output), Some(original)) = (self.output, PRINT.0.take()) {
            // SAFETY: as in `install`.
            unsafe { output.as_mut() }.output_string = original;
        }
        if let (Some(mut input), Some(original)) = (self.input, READ.0.take()) {
            // SAFETY: as in `install`.
            unsafe { input.as_mut() }.read_key_stroke = original;
        }
        if let (Some(mut input), Some(original)) = (self.input_ex, READ_EX.0.take()) {
            // SAFETY: as in `install`.
            unsafe { input.as_mut() }.read_key_stroke_ex = original;
        }
    }
}

unsafe extern "efiapi" fn output_string(
    this: *mut SimpleTextOutputProtocol,
    text: *const Char16,
) -> Status {
    hooks::work();
    match PRINT.0.get() {
        // SAFETY: the firmware's own function, with the arguments it was called with.
        Some(original) => unsafe { original(this, text) },
        None => Status::DEVICE_ERROR,
    }
}

unsafe extern "efiapi" fn read_key_stroke(
    this: *mut SimpleTextInputProtocol,
    key: *mut InputKey,
) -> Status {
    hooks::work();
    match READ.0.get() {
        // SAFETY: the firmware's own function, with the arguments it was called with.
        Some(original) => unsafe { original(this, key) },
        None => Status::NOT_READY,
    }
}

unsafe extern "efiapi" fn read_key_stroke_ex(
    this: *mut SimpleTextInputExProtocol,
    key: *mut KeyData,
) -> Status {
    hooks::work();
    match READ_EX.0.get() {
        // SAFETY: the firmware's own function, with the arguments it was called with.
        Some(original) => unsafe { original(this, key) },
        None => Status::NOT_READY,
    }
}
