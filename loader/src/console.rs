//! The firmware's text console (UEFI 2.10 chapter 12).

use alloc::vec::Vec;
use core::cell::RefCell;

use bowline_boot::ansi::{Action, Ansi, Colour, Style};
use bowline_boot::platform::{Console, Key};
use uefi::proto::console::text::{Color, Key as FirmwareKey, Output, ScanCode};
use uefi::{CStr16, Char16, system, table};

/// UTF-16 units per `OutputString` call, the terminating null included.
const CHUNK: usize = 128;

/// The size of every console's first mode (UEFI 2.10 section 12.4.5).
const SIZE: (u16, u16) = (80, 25);

/// The firmware's colours in the order of ECMA-48: the eight basic ones, then their bright forms.
const COLOURS: [Color; 16] = [
    Color::Black,
    Color::Red,
    Color::Green,
    Color::Brown,
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::LightGray,
    Color::DarkGray,
    Color::LightRed,
    Color::LightGreen,
    Color::Yellow,
    Color::LightBlue,
    Color::LightMagenta,
    Color::LightCyan,
    Color::White,
];

/// `ConOut` and `ConIn` of the system table.
#[derive(Debug, Default)]
pub(crate) struct TextConsole {
    ansi: RefCell<Ansi>,
}

impl Console for TextConsole {
    fn write(&self, text: &str) {
        // Not borrowed while the firmware prints, which may run what prints.
        let mut ansi = self.ansi.take();
        ansi.feed(text, &mut perform);
        self.ansi.replace(ansi);
    }

    fn size(&self) -> (u16, u16) {
        if !has_output() {
            return SIZE;
        }
        let (columns, rows) = system::with_stdout(size);
        (
            u16::try_from(columns).unwrap_or(u16::MAX),
            u16::try_from(rows).unwrap_or(u16::MAX),
        )
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

/// Carries out what a text asks for. A console that cannot leaves nobody to tell.
fn perform(action: Action<'_>) {
    if let Action::Text(text) = action {
        return write(text);
    }
    if !has_output() {
        return;
    }
    system::with_stdout(|console| {
        let (columns, rows) = size(console);
        let (column, row) = console.cursor_position();
        let _ = match action {
            Action::Text(_) => Ok(()),
            Action::MoveTo { row, column } => {
                let column = usize::from(column).min(columns - 1);
                console.set_cursor_position(column, usize::from(row).min(rows - 1))
            }
            // `ClearScreen` moves the cursor.
            Action::Clear => console
                .clear()
                .and_then(|()| console.set_cursor_position(column, row)),
            // The firmware has no call for it. A blank in the screen's last place would scroll it.
            Action::ClearToEnd => {
                let end = if row + 1 < rows { columns } else { columns - 1 };
                let blanks = [u16::from(b' ')].repeat(end.saturating_sub(column));
                print(console, blanks).and_then(|()| console.set_cursor_position(column, row))
            }
            Action::Style(style) => {
                console.set_color(foreground(style), colour(style.background, Color::Black))
            }
            Action::ShowCursor(is_shown) => console.enable_cursor(is_shown),
        };
    });
}

/// Prints UCS-2 text without a null.
fn print(console: &mut Output, mut text: Vec<u16>) -> uefi::Result {
    text.push(0);
    match CStr16::from_u16_with_nul(&text) {
        Ok(text) => console.output_string(text),
        Err(_) => Ok(()),
    }
}

/// Columns and rows.
fn size(console: &mut Output) -> (usize, usize) {
    let mode = console.current_mode().ok().flatten();
    mode.map(|mode| (mode.columns(), mode.rows()))
        .filter(|(columns, rows)| *columns > 0 && *rows > 0)
        .unwrap_or((SIZE.0.into(), SIZE.1.into()))
}

fn foreground(style: Style) -> Color {
    match style.foreground {
        Colour::Basic(code) if style.is_bold => colour(Colour::Basic(code + 8), Color::White),
        Colour::Default if style.is_bold => Color::White,
        other => colour(other, Color::LightGray),
    }
}

fn colour(colour: Colour, default: Color) -> Color {
    match colour {
        Colour::Default => default,
        Colour::Basic(code) => COLOURS.get(usize::from(code)).copied().unwrap_or(default),
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
        ScanCode::PAGE_UP => Some(Key::PageUp),
        ScanCode::PAGE_DOWN => Some(Key::PageDown),
        ScanCode::FUNCTION_8 => Some(Key::F8),
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
