//! The firmware's text console (UEFI 2.10 chapter 12).

use bowline_boot::platform::{Console, Key};
use uefi::proto::console::text::{Key as FirmwareKey, ScanCode};
use uefi::{CStr16, Char16, system, table};

/// UTF-16 units per `OutputString` call, the terminating null included.
const CHUNK: usize = 128;

/// `ConOut` and `ConIn` of the system table.
#[derive(Debug)]
pub(crate) struct TextConsole;

impl Console for TextConsole {
    fn write(&self, text: &str) {
        write(text);
    }

    fn read_key(&self) -> Option<Key> {
        if !has_input() {
            return None;
        }
        // An error is a key that is not UCS-2, or no keyboard: nothing to act upon.
        let key = system::with_stdin(|input| input.read_key()).ok()??;
        match key {
            FirmwareKey::Printable(character) => Some(Key::Char(char::from(character))),
            FirmwareKey::Special(code) => special(code),
        }
    }
}

/// Writes `text`; `\n` becomes `\r\n`, and what UCS-2 cannot hold becomes `?`.
///
/// A free function without allocation, because the panic handler needs it too.
pub(crate) fn write(text: &str) {
    if !has_output() {
        return;
    }
    let mut chunk = [0_u16; CHUNK];
    let mut used = 0;
    for character in text.chars() {
        // Two units may come, and the null after them.
        if used + 3 > CHUNK {
            output(&mut chunk, used);
            used = 0;
        }
        if character == '\n' {
            push(&mut chunk, &mut used, '\r');
        }
        push(&mut chunk, &mut used, character);
    }
    output(&mut chunk, used);
}

/// Adds one character, for which there is room.
fn push(chunk: &mut [u16; CHUNK], used: &mut usize, character: char) {
    let unit = Char16::try_from(character).map_or(u16::from(b'?'), u16::from);
    // A null would end the text early.
    if unit != 0
        && let Some(slot) = chunk.get_mut(*used)
    {
        *slot = unit;
        *used += 1;
    }
}

/// Prints the first `used` units of `chunk`.
fn output(chunk: &mut [u16; CHUNK], used: usize) {
    let Some(end) = chunk.get_mut(used) else {
        return;
    };
    *end = 0;
    if used == 0 {
        return;
    }
    let Ok(text) = CStr16::from_u16_until_nul(chunk) else {
        return;
    };
    // A console that fails leaves nobody to tell.
    system::with_stdout(|console| {
        let _ = console.output_string(text);
    });
}

/// Keys without a character (UEFI 2.10 table 12.2, "EFI Scan Codes").
fn special(code: ScanCode) -> Option<Key> {
    match code {
        ScanCode::UP => Some(Key::Up),
        ScanCode::DOWN => Some(Key::Down),
        ScanCode::RIGHT => Some(Key::Right),
        ScanCode::LEFT => Some(Key::Left),
        ScanCode::HOME => Some(Key::Home),
        ScanCode::END => Some(Key::End),
        ScanCode::DELETE => Some(Key::Delete),
        ScanCode::ESCAPE => Some(Key::Char('\x1b')),
        _ => None,
    }
}

/// Whether there is a console to write to; a machine may have none, and after
/// ExitBootServices none has.
fn has_output() -> bool {
    // SAFETY: a system table pointer that was set is valid for as long as the image runs.
    table::system_table_raw().is_some_and(|system_table| unsafe {
        let system_table = system_table.as_ref();
        !system_table.stdout.is_null() && !system_table.boot_services.is_null()
    })
}

/// Whether there is a console to read from.
fn has_input() -> bool {
    // SAFETY: a system table pointer that was set is valid for as long as the image runs.
    table::system_table_raw().is_some_and(|system_table| unsafe {
        let system_table = system_table.as_ref();
        !system_table.stdin.is_null() && !system_table.boot_services.is_null()
    })
}
