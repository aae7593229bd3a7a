//! A text terminal in memory: what the loader prints, as it looks. For simulators and tests.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::ansi::{Action, Ansi, Colour, Style};

/// A terminal that scrolls.
#[derive(Debug)]
pub struct Terminal {
    columns: usize,
    rows: usize,
    cells: Vec<(char, Style)>,
    row: usize,
    column: usize,
    style: Style,
    ansi: Ansi,
    shows_cursor: bool,
}

impl Terminal {
    /// An empty terminal, its cursor shown in the corner.
    #[must_use]
    pub fn new(columns: usize, rows: usize) -> Self {
        let (columns, rows) = (columns.max(1), rows.max(1));
        Self {
            columns,
            rows,
            cells: vec![(' ', Style::default()); columns * rows],
            row: 0,
            column: 0,
            style: Style::default(),
            ansi: Ansi::default(),
            shows_cursor: true,
        }
    }

    /// Prints a text, which holds whole control sequences.
    pub fn write(&mut self, text: &str) {
        let mut ansi = core::mem::take(&mut self.ansi);
        ansi.feed(text, &mut |action| self.act(action));
        self.ansi = ansi;
    }

    /// Every place, line by line.
    #[must_use]
    pub fn cells(&self) -> Vec<(char, Style)> {
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
                self.cells.fill((' ', self.style));
            }
            Action::ClearToEnd => {
                let (start, end) = (self.row * self.columns, (self.row + 1) * self.columns);
                let start = start + self.column.min(self.columns);
                if let Some(cells) = self.cells.get_mut(start..end) {
                    cells.fill((' ', self.style));
                }
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
                let at = self.row * self.columns + self.column;
                if let Some(cell) = self.cells.get_mut(at) {
                    *cell = (character, self.style);
                }
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

    /// The screen as lines that begin with `|`. Text with a background stands in `[ ]`, bold text
    /// between `*`, and the cursor, where it is shown, is `_`. Three empty lines or more are told
    /// by their number.
    #[must_use]
    pub fn picture(&self) -> String {
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
