//! A terminal for tests: what is printed, as it looks.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::console::ansi::{Action, Ansi, Colour, Style};

/// A terminal that scrolls.
pub(crate) struct Terminal {
    columns: usize,
    rows: usize,
    cells: Vec<(char, Style)>,
    row: usize,
    column: usize,
    style: Style,
    ansi: Ansi,
    pub(crate) shows_cursor: bool,
    /// How often everything was erased.
    pub(crate) erasures: usize,
}

impl Terminal {
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            rows,
            cells: vec![(' ', Style::default()); columns * rows],
            row: 0,
            column: 0,
            style: Style::default(),
            ansi: Ansi::default(),
            shows_cursor: true,
            erasures: 0,
        }
    }

    pub(crate) fn write(&mut self, text: &str) {
        let mut ansi = core::mem::take(&mut self.ansi);
        ansi.feed(text, &mut |action| self.act(action));
        self.ansi = ansi;
    }

    pub(crate) fn cells(&self) -> Vec<(char, Style)> {
        self.cells.clone()
    }

    fn act(&mut self, action: Action<'_>) {
        match action {
            Action::Text(text) => text.chars().for_each(|character| self.print(character)),
            Action::MoveTo { row, column } => {
                self.row = usize::from(row).min(self.rows - 1);
                self.column = usize::from(column).min(self.columns - 1);
            }
            Action::Clear => {
                self.erasures += 1;
                self.cells.fill((' ', self.style));
            }
            Action::ClearToEnd => {
                let (start, end) = (self.row * self.columns, (self.row + 1) * self.columns);
                self.cells[start + self.column.min(self.columns)..end].fill((' ', self.style));
            }
            Action::Style(style) => self.style = style,
            Action::ShowCursor(on) => self.shows_cursor = on,
        }
    }

    fn print(&mut self, character: char) {
        match character {
            '\r' => self.column = 0,
            '\n' => {
                self.column = 0;
                self.line_feed();
            }
            '\x08' => self.column = self.column.saturating_sub(1),
            character => {
                if self.column >= self.columns {
                    self.column = 0;
                    self.line_feed();
                }
                self.cells[self.row * self.columns + self.column] = (character, self.style);
                self.column += 1;
            }
        }
    }

    fn line_feed(&mut self) {
        if self.row + 1 < self.rows {
            self.row += 1;
        } else {
            self.cells.drain(..self.columns);
            self.cells
                .extend(vec![(' ', Style::default()); self.columns]);
        }
    }

    /// The screen as lines. Text with a background stands in `[ ]`, bold text between `*`, and
    /// the cursor, where it is shown, is `_`.
    pub(crate) fn picture(&self) -> String {
        let mut picture = String::new();
        let mut empty = 0;
        for (row, cells) in self.cells.chunks(self.columns).enumerate() {
            let mut line = String::new();
            let mut before = (false, false);
            for (column, (character, style)) in cells.iter().enumerate() {
                let has_background = style.background != Colour::Default;
                let now = (has_background, style.is_bold && !has_background);
                line += match (before, now) {
                    (before, now) if before == now => "",
                    ((_, true), (true, _)) => "*[",
                    ((true, _), (_, true)) => "]*",
                    ((true, _), _) => "]",
                    (_, (true, _)) => "[",
                    _ => "*",
                };
                before = now;
                let is_cursor = self.shows_cursor && (row, column) == (self.row, self.column);
                line.push(if is_cursor { '_' } else { *character });
            }
            line += match before {
                (true, _) => "]",
                (_, true) => "*",
                _ => "",
            };
            if line.trim_end().is_empty() {
                empty += 1;
                continue;
            }
            picture += &empty_lines(empty);
            empty = 0;
            picture += &format!("|{}\n", line.trim_end());
        }
        picture + &empty_lines(empty)
    }
}

fn empty_lines(count: usize) -> String {
    match count {
        0..3 => "|\n".repeat(count),
        count => format!("|: {count} empty lines\n"),
    }
}
