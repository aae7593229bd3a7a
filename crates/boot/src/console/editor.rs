//! The line editor of the shell and of `read`: iPXE's keys, and nothing but printable text,
//! carriage return and backspace on the wire, because EFI consoles and serial lines know no more.

use alloc::string::String;
use alloc::vec::Vec;

use crate::platform::Key;

/// What a key did to the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// The line goes on; print this.
    Continue(String),
    /// Enter: the line is done.
    Done,
    /// Ctrl-C: the line is given up.
    Cancelled,
}

/// A line being edited, with the lines before it to walk through. It may be a secret.
pub(crate) struct Editor<'h> {
    line: Vec<char>,
    cursor: usize,
    history: &'h [String],
    /// Where in `history` the line came from; `history.len()` is the new line.
    position: usize,
    /// The new line, while an old one is shown.
    draft: Vec<char>,
}

impl<'h> Editor<'h> {
    /// An empty line; cursor up walks back through `history`, whose last entry is the newest.
    pub(crate) fn new(history: &'h [String]) -> Self {
        Self {
            line: Vec::new(),
            cursor: 0,
            history,
            position: history.len(),
            draft: Vec::new(),
        }
    }

    /// A line that begins as `text`.
    pub(crate) fn with_text(text: &str) -> Self {
        let line: Vec<char> = text.chars().collect();
        Self {
            cursor: line.len(),
            line,
            ..Editor::new(&[])
        }
    }

    /// The line.
    pub(crate) fn text(&self) -> String {
        self.line.iter().collect()
    }

    /// The line up to the cursor.
    pub(crate) fn before_cursor(&self) -> String {
        self.line.iter().take(self.cursor).collect()
    }

    /// Puts text in at the cursor; returns what to print.
    pub(crate) fn insert(&mut self, text: &str) -> String {
        let typed = text
            .chars()
            .map(|character| self.handle_key(Key::Char(character)));
        typed
            .filter_map(|edit| match edit {
                Edit::Continue(text) => Some(text),
                Edit::Done | Edit::Cancelled => None,
            })
            .collect()
    }

    /// What prints the line anew on an empty one.
    pub(crate) fn redraw(&self) -> String {
        let mut out = self.text();
        let mut column = self.line.len();
        move_to(&mut out, &self.line, &mut column, self.cursor);
        out
    }

    /// How many characters are before the cursor.
    pub(crate) fn cursor(&self) -> usize {
        self.cursor
    }

    /// Takes a key.
    pub(crate) fn handle_key(&mut self, key: Key) -> Edit {
        let (line, cursor) = match key {
            Key::Char('\r' | '\n') => return Edit::Done,
            Key::Char('\x03') => return Edit::Cancelled,
            Key::Char('\x01') | Key::Home => (self.line.clone(), 0),
            Key::Char('\x05') | Key::End => (self.line.clone(), self.line.len()),
            Key::Char('\x02') | Key::Left => (self.line.clone(), self.cursor.saturating_sub(1)),
            Key::Char('\x06') | Key::Right => {
                (self.line.clone(), self.line.len().min(self.cursor + 1))
            }
            Key::Char('\x04') | Key::Delete => self.without(self.cursor, self.cursor + 1),
            Key::Char('\x08' | '\x7f') => self.without(self.cursor.saturating_sub(1), self.cursor),
            Key::Char('\x0b') => self.without(self.cursor, self.line.len()),
            Key::Char('\x15') => self.without(0, self.cursor),
            Key::Char('\x17') => self.without(self.word_start(), self.cursor),
            Key::Char('\x10') | Key::Up => self.recalled(self.position.checked_sub(1)),
            Key::Char('\x0e') | Key::Down => self.recalled(self.position.checked_add(1)),
            Key::Char(character) if !character.is_control() && self.line.len() < LINE_MAX => {
                self.with(character)
            }
            Key::Char(_) | Key::PageUp | Key::PageDown | Key::F8 => {
                return Edit::Continue(String::new());
            }
        };
        Edit::Continue(self.change(line, cursor))
    }

    fn with(&self, character: char) -> (Vec<char>, usize) {
        let mut line = self.line.clone();
        line.insert(self.cursor.min(line.len()), character);
        (line, self.cursor + 1)
    }

    fn without(&self, from: usize, to: usize) -> (Vec<char>, usize) {
        let mut line = self.line.clone();
        let to = to.min(line.len());
        line.drain(from.min(to)..to);
        (line, from)
    }

    /// Where the word before the cursor begins.
    fn word_start(&self) -> usize {
        let before = self.line.get(..self.cursor).unwrap_or_default();
        let word_end = before
            .iter()
            .rposition(|c| !c.is_whitespace())
            .map_or(0, |at| at + 1);
        let word = before.get(..word_end).unwrap_or_default();
        word.iter()
            .rposition(|c| c.is_whitespace())
            .map_or(0, |at| at + 1)
    }

    /// The line at a place in the history, or the line as it is where there is none.
    fn recalled(&mut self, position: Option<usize>) -> (Vec<char>, usize) {
        let Some(position) = position.filter(|&position| position <= self.history.len()) else {
            return (self.line.clone(), self.cursor);
        };
        if self.position == self.history.len() {
            self.draft.clone_from(&self.line);
        }
        self.position = position;
        let line = match self.history.get(position) {
            Some(text) => text.chars().collect(),
            None => self.draft.clone(),
        };
        let end = line.len();
        (line, end)
    }

    /// Makes `line` the line and returns what to print to turn the old picture into the new.
    fn change(&mut self, line: Vec<char>, cursor: usize) -> String {
        let common = self
            .line
            .iter()
            .zip(&line)
            .take_while(|(old, new)| old == new)
            .count();
        let mut out = String::new();
        let mut column = self.cursor;
        if self.line != line {
            move_to(&mut out, &self.line, &mut column, common);
            out.extend(line.iter().skip(common));
            column = line.len();
            for _ in line.len()..self.line.len() {
                out.push(' ');
                column += 1;
            }
        }
        self.line = line;
        self.cursor = cursor.min(self.line.len());
        move_to(&mut out, &self.line, &mut column, self.cursor);
        out
    }
}

/// Moves the cursor: left with backspaces, right by printing what stands there.
fn move_to(out: &mut String, line: &[char], column: &mut usize, to: usize) {
    while *column > to {
        out.push('\x08');
        *column -= 1;
    }
    out.extend(line.iter().skip(*column).take(to - *column));
    *column = to;
}

/// The longest line that can be typed.
const LINE_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    /// A terminal that knows backspace and printable text.
    #[derive(Default)]
    struct Terminal {
        cells: Vec<char>,
        column: usize,
    }

    impl Terminal {
        fn print(&mut self, text: &str) {
            for character in text.chars() {
                if character == '\x08' {
                    self.column -= 1;
                } else {
                    self.cells
                        .resize(self.cells.len().max(self.column + 1), ' ');
                    self.cells[self.column] = character;
                    self.column += 1;
                }
            }
        }

        fn shown(&self) -> String {
            self.cells.iter().collect::<String>().trim_end().to_string()
        }
    }

    fn keys(text: &str) -> Vec<Key> {
        text.chars()
            .map(|c| match c {
                '<' => Key::Left,
                '>' => Key::Right,
                '^' => Key::Up,
                'v' => Key::Down,
                '[' => Key::Home,
                ']' => Key::End,
                'x' => Key::Delete,
                'B' => Key::Char('\x7f'),
                'U' => Key::Char('\x15'),
                'K' => Key::Char('\x0b'),
                'W' => Key::Char('\x17'),
                c => Key::Char(c),
            })
            .collect()
    }

    /// Every step: the screen shows the line and the cursor stands where the editor says.
    fn check(history: &[&str], typed: &str, expected: &str) {
        let history: Vec<String> = history.iter().map(ToString::to_string).collect();
        let mut editor = Editor::new(&history);
        let mut terminal = Terminal::default();
        for key in keys(typed) {
            let Edit::Continue(text) = editor.handle_key(key) else {
                panic!("{key:?} ended it")
            };
            terminal.print(&text);
            assert_eq!(
                terminal.shown(),
                editor.text().trim_end(),
                "after {key:?} of {typed:?}"
            );
            assert_eq!(terminal.column, editor.cursor, "after {key:?} of {typed:?}");
        }
        assert_eq!(editor.text(), expected, "{typed:?}");
    }

    #[test]
    fn keys_edit_the_line() {
        check(&[], "dhcp", "dhcp");
        check(&[], "dhp<c", "dhcp");
        check(&[], "dhcpp<x", "dhcp");
        check(&[], "dhcppB", "dhcp");
        check(&[], "hcp[d]!", "dhcp!");
        check(&[], "junkUdhcp", "dhcp");
        check(&[], "dhcp junk<<<<<K", "dhcp");
        check(&[], "echo one two WW!", "echo !");
        check(&[], "<<>>BBxxUKW", "");
    }

    #[test]
    fn history_walks_and_keeps_the_draft() {
        let history = ["first", "second longer"];
        check(&history, "^", "second longer");
        check(&history, "^^", "first");
        check(&history, "^^^^", "first");
        check(&history, "dra^v", "dra");
        check(&history, "dra^^vvv", "dra");
        check(&history, "^^!", "first!");
    }

    #[test]
    fn enter_and_ctrl_c_end_it() {
        let mut editor = Editor::new(&[]);
        assert_eq!(editor.handle_key(Key::Char('\r')), Edit::Done);
        assert_eq!(editor.handle_key(Key::Char('\x03')), Edit::Cancelled);
        assert_eq!(
            editor.handle_key(Key::Char('\x07')),
            Edit::Continue(String::new())
        );
    }

    #[test]
    fn a_line_has_a_limit() {
        let mut editor = Editor::new(&[]);
        for _ in 0..LINE_MAX + 10 {
            editor.handle_key(Key::Char('a'));
        }
        assert_eq!(editor.text().len(), LINE_MAX);
    }

    #[test]
    fn begins_with_text() {
        let mut editor = Editor::with_text("10.0.0.1");
        assert_eq!(
            editor.handle_key(Key::Char('\x7f')),
            Edit::Continue("\x08 \x08".to_string())
        );
        assert_eq!(editor.text(), "10.0.0.");
    }
}
