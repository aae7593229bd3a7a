//! The settings of a scope on the screen, to walk through.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::full_screen::{Next, Widget, gives_up};
use super::palette::{Pair, Palette};
use super::screen::Screen;
use crate::platform::Key;

/// What stands on a line. Values may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// A scope, by its full name.
    Scope(String),
    /// A setting.
    Setting {
        /// `scope/name:type`.
        name: String,
        /// As text.
        value: String,
    },
}

/// What a person wants of the selected line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Go into the scope, or change the setting.
    Enter,
    /// Clear the setting.
    Clear,
    /// Go to the scope above.
    Back,
}

/// A scope that is being looked at. Its outcome is the number of the selected line and what is
/// to be done.
pub(crate) struct Browser<'l> {
    scope: &'l str,
    lines: &'l [Line],
    selected: usize,
    top: usize,
    page: usize,
    message: Option<String>,
}

impl<'l> Browser<'l> {
    /// The scope with a line selected; `message` is what went wrong before.
    pub(crate) fn new(
        scope: &'l str,
        lines: &'l [Line],
        selected: usize,
        message: Option<String>,
    ) -> Self {
        Self {
            scope,
            lines,
            selected: selected.min(lines.len().saturating_sub(1)),
            top: 0,
            page: 1,
            message,
        }
    }
}

impl Widget for Browser<'_> {
    type Outcome = (usize, Deed);

    fn draw(&mut self, screen: &mut Screen, palette: &Palette, _now: Duration) {
        let heading = palette.style(Pair::Heading);
        let title = match self.scope {
            "" => String::from("Settings"),
            scope => format!("Settings of {scope}"),
        };
        screen.put_centered(1, heading, &title);
        self.page = screen.rows().saturating_sub(FIRST_ROW + 4);
        self.top = self.top.min(self.selected);
        self.top = self.top.max((self.selected + 1).saturating_sub(self.page));
        let half = screen.columns() / 2;
        let shown = self.lines.iter().enumerate().skip(self.top).take(self.page);
        for ((index, line), row) in shown.zip(FIRST_ROW..) {
            let mut style = screen.normal();
            if index == self.selected {
                style = palette.style(Pair::Selected);
                let width = screen.columns().saturating_sub(2 * (MARGIN - 1));
                screen.colour(row, MARGIN - 1, width, style);
            }
            match line {
                Line::Scope(name) => screen.put(row, MARGIN, style, &format!("{name}/")),
                Line::Setting { name, value } => {
                    let name: String = name.chars().take(half - MARGIN - 1).collect();
                    let room = screen.columns().saturating_sub(half + MARGIN);
                    let value: String = value.chars().take(room).collect();
                    screen.put(row, MARGIN, style, &name);
                    screen.put(row, half, style, &value);
                }
            }
        }
        if self.lines.is_empty() {
            screen.put(FIRST_ROW, MARGIN, screen.normal(), "Nothing is set here.");
        }
        let bottom = screen.rows();
        if let Some(message) = &self.message {
            screen.put_centered(bottom - 4, palette.style(Pair::Alert), message);
        }
        let hint = "Enter: change or enter   Ctrl-D: clear   Left: back   Esc: leave";
        screen.put_centered(bottom - 2, screen.normal(), hint);
    }

    fn handle_key(&mut self, key: Key, _now: Duration) -> Next<Self::Outcome> {
        let last = self.lines.len().saturating_sub(1);
        self.selected = match key {
            key if gives_up(key) => return Next::Cancelled,
            Key::Char('\x18') => return Next::Cancelled,
            Key::Char('\r' | '\n') | Key::Right => return Next::Done((self.selected, Deed::Enter)),
            Key::Char('\x04') | Key::Delete => return Next::Done((self.selected, Deed::Clear)),
            Key::Left | Key::Char('\x7f' | '\x08') => {
                return Next::Done((self.selected, Deed::Back));
            }
            Key::Up => self.selected.saturating_sub(1),
            Key::Down => (self.selected + 1).min(last),
            Key::PageUp => self.selected.saturating_sub(self.page),
            Key::PageDown => (self.selected + self.page).min(last),
            Key::Home => 0,
            Key::End => last,
            Key::Char(_) | Key::F8 => self.selected,
        };
        Next::Stay
    }
}

const FIRST_ROW: usize = 3;

const MARGIN: usize = 4;
