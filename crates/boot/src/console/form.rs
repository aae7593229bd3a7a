//! The form on the screen: fields one below the other, each with a line to edit.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use zeroize::Zeroize as _;

use super::editor::Editor;
use super::full_screen::{Next, Widget, gives_up};
use super::palette::{Pair, Palette};
use super::screen::Screen;
use crate::platform::Key;

/// A form that is being filled in. Its outcome is the texts of the fields; headings have none.
pub(crate) struct Form {
    title: String,
    fields: Vec<Field>,
    active: usize,
    top: usize,
}

/// A line of a form.
pub(crate) struct Field {
    label: String,
    /// None for a heading.
    editor: Option<Editor<'static>>,
    is_secret: bool,
}

impl Field {
    /// A field that begins as `text`.
    pub(crate) fn new(label: &str, text: &str, is_secret: bool) -> Self {
        Self {
            label: label.into(),
            editor: Some(Editor::with_text(text)),
            is_secret,
        }
    }

    /// A line that cannot be edited.
    pub(crate) fn heading(label: &str) -> Self {
        Self {
            label: label.into(),
            editor: None,
            is_secret: false,
        }
    }
}

impl Form {
    /// A form, its first field active.
    pub(crate) fn new(title: &str, fields: Vec<Field>) -> Self {
        let active = fields.iter().position(|field| field.editor.is_some());
        Self {
            title: title.into(),
            fields,
            active: active.unwrap_or(0),
            top: 0,
        }
    }

    /// Makes another field the active one.
    pub(crate) fn activate(&mut self, field: usize) {
        if self.is_editable(field) {
            self.active = field;
        }
    }

    fn is_editable(&self, index: usize) -> bool {
        self.fields
            .get(index)
            .is_some_and(|field| field.editor.is_some())
    }

    fn after(&self) -> Option<usize> {
        (self.active + 1..self.fields.len()).find(|&index| self.is_editable(index))
    }

    fn before(&self) -> Option<usize> {
        (0..self.active)
            .rev()
            .find(|&index| self.is_editable(index))
    }

    fn texts(&self) -> Vec<String> {
        let text = |field: &Field| field.editor.as_ref().map(Editor::text).unwrap_or_default();
        self.fields.iter().map(text).collect()
    }
}

impl Widget for Form {
    type Outcome = Vec<String>;

    fn draw(&mut self, screen: &mut Screen, palette: &Palette, _now: Duration) {
        let heading = palette.style(Pair::Heading);
        screen.put_centered(1, heading, &self.title);
        let page = screen.rows().saturating_sub(FIRST_ROW + 3);
        if self.active < self.top {
            self.top = self.active;
        }
        self.top = self.top.max((self.active + 1).saturating_sub(page));
        let labels = self.fields.iter().filter(|field| field.editor.is_some());
        let widest = labels
            .map(|field| field.label.chars().count())
            .max()
            .unwrap_or(0);
        let column = MARGIN + widest.min(screen.columns() / 2 - MARGIN) + 2;
        let width = screen.columns().saturating_sub(column + MARGIN);
        let mut cursor = None;
        let shown = self.fields.iter().enumerate().skip(self.top).take(page);
        for ((index, field), row) in shown.zip(FIRST_ROW..) {
            let Some(editor) = &field.editor else {
                screen.put(row, MARGIN, heading, &field.label);
                continue;
            };
            let label: String = field.label.chars().take(column - MARGIN - 1).collect();
            screen.put(row, MARGIN, screen.normal(), &label);
            let at = draw_text(
                screen,
                palette,
                (row, column, width),
                editor,
                field.is_secret,
            );
            if index == self.active {
                cursor = Some((row, at));
            }
        }
        let hint = "Up/Down: move   Enter: next   Ctrl-X: done   Esc: cancel";
        screen.put_centered(screen.rows() - 2, screen.normal(), hint);
        if let Some((row, column)) = cursor {
            screen.set_cursor(row, column);
        }
    }

    fn handle_key(&mut self, key: Key, _now: Duration) -> Next<Vec<String>> {
        if gives_up(key) {
            return Next::Cancelled;
        }
        match key {
            Key::Char('\x18') => return Next::Done(self.texts()),
            Key::Char('\r' | '\n') => match self.after() {
                Some(next) => self.active = next,
                None => return Next::Done(self.texts()),
            },
            Key::Char('\t') => {
                let first = || (0..self.fields.len()).find(|&index| self.is_editable(index));
                self.active = self.after().or_else(first).unwrap_or(self.active);
            }
            Key::Down => self.active = self.after().unwrap_or(self.active),
            Key::Up => self.active = self.before().unwrap_or(self.active),
            key => {
                let field = self.fields.get_mut(self.active);
                if let Some(editor) = field.and_then(|field| field.editor.as_mut()) {
                    // The screen is drawn anew: what the editor would print is not needed.
                    editor.handle_key(key);
                }
            }
        }
        Next::Stay
    }
}

/// Draws what is edited, around its cursor where it is longer than its place; returns the column
/// of the cursor.
fn draw_text(
    screen: &mut Screen,
    palette: &Palette,
    (row, column, width): (usize, usize, usize),
    editor: &Editor<'_>,
    is_secret: bool,
) -> usize {
    let cursor = editor.cursor();
    let first = (cursor + 1).saturating_sub(width);
    let mut text = editor.text();
    let mut shown: String = text
        .chars()
        .skip(first)
        .take(width)
        .map(|character| if is_secret { '*' } else { character })
        .collect();
    let edited = palette.style(Pair::Edited);
    screen.colour(row, column, width, edited);
    screen.put(row, column, edited, &shown);
    text.zeroize();
    shown.zeroize();
    column + cursor - first
}

/// The row of the first field.
const FIRST_ROW: usize = 4;

const MARGIN: usize = 4;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn fields_are_walked_through_and_edited() {
        let fields = vec![
            Field::heading("Who"),
            Field::new("Name", "jo", false),
            Field::heading(""),
            Field::new("Secret", "", true),
        ];
        let mut form = Form::new("Login", fields);
        let mut press = |key| form.handle_key(key, Duration::ZERO);
        for key in [
            Key::Char('e'),
            Key::Up,
            Key::Down,
            Key::Char('x'),
            Key::Down,
            Key::Char('y'),
            Key::Char('\t'),
            Key::Char('!'),
            Key::Char('\r'),
            Key::Char('z'),
        ] {
            assert_eq!(press(key), Next::Stay, "{key:?}");
        }
        let texts: Vec<String> = ["", "joe!", "", "xyz"].map(String::from).into();
        assert_eq!(press(Key::Char('\r')), Next::Done(texts.clone()));
        assert_eq!(press(Key::Char('\x18')), Next::Done(texts));
        assert_eq!(press(Key::Char('\x1b')), Next::Cancelled);
    }

    #[test]
    fn a_form_without_fields_can_be_left() {
        let mut form = Form::new("", vec![Field::heading("only")]);
        assert_eq!(form.handle_key(Key::Char('x'), Duration::ZERO), Next::Stay);
        let done = form.handle_key(Key::Char('\r'), Duration::ZERO);
        assert_eq!(done, Next::Done(vec![String::new()]));
    }
}
