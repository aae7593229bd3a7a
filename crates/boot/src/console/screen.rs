//! A full screen: drawn as a whole each time, but only what changed goes over the wire, because
//! a serial line carries some eleven characters in a millisecond.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::ansi::{Colour, Style};

/// What is to be on the screen, and what is there already.
#[derive(Debug)]
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    blank: Cell,
    /// None before anything was shown.
    shown: Option<Vec<Cell>>,
    next: Vec<Cell>,
    cursor: Option<(usize, usize)>,
    /// Where the terminal shows its cursor.
    cursor_shown: Option<(usize, usize)>,
    /// In which style the terminal prints.
    style: Option<Style>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    character: char,
    style: Style,
}

impl Screen {
    /// An empty screen; `normal` is what empty places look like.
    pub(crate) fn new(columns: usize, rows: usize, normal: Style) -> Self {
        let columns = columns.clamp(COLUMNS_MIN, COLUMNS_MAX);
        let rows = rows.clamp(ROWS_MIN, ROWS_MAX);
        let blank = Cell {
            character: ' ',
            style: normal,
        };
        Self {
            columns,
            rows,
            blank,
            shown: None,
            next: vec![blank; columns * rows],
            cursor: None,
            cursor_shown: None,
            style: None,
        }
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn normal(&self) -> Style {
        self.blank.style
    }

    /// Begins a new picture.
    pub(crate) fn clear(&mut self) {
        self.next.fill(self.blank);
        self.cursor = None;
    }

    /// Writes text from a place on; what does not fit on the line is cut off.
    pub(crate) fn put(&mut self, row: usize, column: usize, style: Style, text: &str) {
        let room = self.columns.saturating_sub(column);
        let start = row * self.columns + column;
        for (offset, character) in text.chars().take(room).enumerate() {
            let character = if character.is_control() {
                '?'
            } else {
                character
            };
            if let Some(cell) = self.next.get_mut(start + offset) {
                *cell = Cell { character, style };
            }
        }
    }

    /// Writes text in the middle of a line.
    pub(crate) fn put_centered(&mut self, row: usize, style: Style, text: &str) {
        let margin = self.columns.saturating_sub(text.chars().count()) / 2;
        self.put(row, margin, style, text);
    }

    /// Gives places of a line a style without changing what is written there.
    pub(crate) fn colour(&mut self, row: usize, column: usize, width: usize, style: Style) {
        let end = self.columns.min(column + width);
        for column in column..end {
            if let Some(cell) = self.next.get_mut(row * self.columns + column) {
                cell.style = style;
            }
        }
    }

    /// Shows the cursor there; a picture without cursor hides it.
    pub(crate) fn set_cursor(&mut self, row: usize, column: usize) {
        self.cursor = Some((row, column.min(self.columns - 1)));
    }

    /// What to write to turn what is shown into the new picture.
    pub(crate) fn refresh(&mut self) -> String {
        let mut pen = Pen {
            style: self.style,
            ..Pen::default()
        };
        let mut shown = self.shown.take().unwrap_or_else(|| {
            pen.out.push_str("\x1b[?25l\x1b[0m");
            pen.set(self.blank.style);
            pen.out.push_str("\x1b[2J");
            vec![self.blank; self.next.len()]
        });
        // The last place of the last line: writing there would scroll some terminals.
        if let (Some(last), Some(shown)) = (self.next.last_mut(), shown.last()) {
            *last = *shown;
        }
        for (row, (new, old)) in self
            .rows_of(&self.next)
            .zip(self.rows_of(&shown))
            .enumerate()
        {
            refresh_row(&mut pen, row, new, old, self.blank);
        }
        let moved = !pen.out.is_empty() || self.cursor != self.cursor_shown;
        if let Some((row, column)) = self.cursor.filter(|_| moved) {
            pen.move_to(row, column);
        }
        match (self.cursor_shown, self.cursor) {
            (None, Some(_)) => pen.out.push_str("\x1b[?25h"),
            (Some(_), None) => pen.out.push_str("\x1b[?25l"),
            _ => {}
        }
        self.cursor_shown = self.cursor;
        self.style = pen.style;
        shown.clone_from(&self.next);
        self.shown = Some(shown);
        pen.out
    }

    /// What to write when the screen is done with: the terminal as it was, empty.
    pub(crate) const CLOSE: &str = "\x1b[0m\x1b[2J\x1b[H\x1b[?25h";

    fn rows_of<'c>(&self, cells: &'c [Cell]) -> impl Iterator<Item = &'c [Cell]> {
        cells.chunks(self.columns)
    }
}

fn refresh_row(pen: &mut Pen, row: usize, new: &[Cell], old: &[Cell], blank: Cell) {
    let differs = |column: usize| new.get(column) != old.get(column);
    let Some(last) = (0..new.len()).rev().find(|&column| differs(column)) else {
        return;
    };
    // Behind this place there is nothing.
    let end = new
        .iter()
        .rposition(|cell| *cell != blank)
        .map_or(0, |column| column + 1);
    let mut column = 0;
    while column <= last {
        if !differs(column) {
            column += 1;
            continue;
        }
        pen.move_to(row, column);
        if column >= end && last - column >= CLEAR_WORTH {
            pen.set(blank.style);
            pen.out.push_str("\x1b[K");
            return;
        }
        // A short piece that did not change costs less than a jump over it.
        while column <= last && (column..=column + JUMP_WORTH).any(differs) {
            if column >= end && last - column >= CLEAR_WORTH {
                break;
            }
            if let Some(cell) = new.get(column) {
                pen.set(cell.style);
                pen.put(cell.character);
            }
            column += 1;
        }
    }
}

/// What was written, and in which state that left the terminal.
#[derive(Default)]
struct Pen {
    out: String,
    /// None: not known.
    style: Option<Style>,
    at: Option<(usize, usize)>,
}

impl Pen {
    fn move_to(&mut self, row: usize, column: usize) {
        if self.at != Some((row, column)) {
            self.out += &format!("\x1b[{};{}H", row + 1, column + 1);
            self.at = Some((row, column));
        }
    }

    fn put(&mut self, character: char) {
        self.out.push(character);
        if let Some((_, column)) = &mut self.at {
            *column += 1;
        }
    }

    fn set(&mut self, style: Style) {
        if self.style == Some(style) {
            return;
        }
        let code = |base: u8, colour| match colour {
            Colour::Default => base + 9,
            Colour::Basic(number) => base + number.min(7),
        };
        let bold = if style.is_bold { ";1" } else { "" };
        self.out += &format!(
            "\x1b[0{bold};{};{}m",
            code(30, style.foreground),
            code(40, style.background)
        );
        self.style = Some(style);
    }
}

/// Unchanged characters that are not worth a jump of the cursor.
const JUMP_WORTH: usize = 5;

/// Blanks at the end of a line for which erasing is shorter.
const CLEAR_WORTH: usize = 4;

const COLUMNS_MIN: usize = 40;
const COLUMNS_MAX: usize = 240;
const ROWS_MIN: usize = 12;
const ROWS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::terminal::Terminal;

    const NORMAL: Style = Style {
        foreground: Colour::Default,
        background: Colour::Default,
        is_bold: false,
    };
    const LOUD: Style = Style {
        foreground: Colour::Basic(7),
        background: Colour::Basic(4),
        is_bold: true,
    };

    #[test]
    fn only_changes_are_written() {
        let mut screen = Screen::new(80, 25, NORMAL);
        screen.put(2, 4, NORMAL, "Hello");
        let first = screen.refresh();
        assert!(first.ends_with("\x1b[2J\x1b[3;5HHello"), "{first:?}");
        screen.clear();
        screen.put(2, 4, NORMAL, "Hello");
        assert_eq!(screen.refresh(), "");
        screen.clear();
        screen.put(2, 4, NORMAL, "Hallo");
        assert_eq!(screen.refresh(), "\x1b[3;6Ha");
        screen.clear();
        assert_eq!(screen.refresh(), "\x1b[3;5H\x1b[K");
    }

    /// Random pictures: the terminal always shows what was drawn.
    #[test]
    fn the_terminal_follows() {
        let mut state = 1_u64;
        let mut random = |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as usize % bound
        };
        for (columns, rows) in [(80, 25), (40, 12)] {
            let mut screen = Screen::new(columns, rows, NORMAL);
            let mut terminal = Terminal::new(columns, rows);
            for _ in 0..300 {
                if random(3) == 0 {
                    screen.clear();
                }
                for _ in 0..random(6) {
                    let style = if random(3) == 0 { LOUD } else { NORMAL };
                    let text = &"ab  cd      ef gh é ij               kl"[..random(14)];
                    screen.put(random(rows), random(columns), style, text);
                }
                let out = screen.refresh();
                terminal.write(&out);
                let wanted: Vec<(char, Style)> = screen
                    .next
                    .iter()
                    .map(|cell| (cell.character, cell.style))
                    .collect();
                assert!(terminal.cells() == wanted, "{out:?}");
            }
        }
    }
}
