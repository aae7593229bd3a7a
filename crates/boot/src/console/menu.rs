//! The menu on the screen: arrows move, Enter or an item's own key chooses, a countdown chooses
//! by itself.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::full_screen::{Next, Widget, gives_up};
use super::palette::{Pair, Palette};
use super::screen::Screen;
use crate::dynamic_ui::{DynamicUi, Item};
use crate::platform::Key;

/// A menu that is being shown. Its outcome is the number of the chosen item.
#[derive(Debug)]
pub(crate) struct Menu<'u> {
    ui: &'u DynamicUi,
    /// The item that Enter chooses.
    selected: usize,
    /// The first item on the screen.
    top: usize,
    /// Items that fit on the screen.
    page: usize,
    /// When the countdown chooses.
    until: Option<Duration>,
    /// What the countdown begins with again after a key.
    retimeout: Option<Duration>,
}

impl<'u> Menu<'u> {
    /// The menu with the item of this number selected, which the countdown chooses at `until`.
    /// After a key the countdown begins again with `retimeout`, if there is one.
    pub(crate) fn new(
        ui: &'u DynamicUi,
        selected: usize,
        until: Option<Duration>,
        retimeout: Option<Duration>,
    ) -> Self {
        Self {
            ui,
            selected,
            top: 0,
            page: 1,
            until,
            retimeout,
        }
    }

    /// The nearest item that can be chosen from `from` on, onward or back.
    fn choosable(&self, from: usize, onward: bool) -> Option<usize> {
        let can = |index: &usize| {
            self.ui
                .items
                .get(*index)
                .is_some_and(|item| item.name.is_some())
        };
        if onward {
            (from..self.ui.items.len()).find(can)
        } else {
            (0..=from.min(self.ui.items.len().saturating_sub(1)))
                .rev()
                .find(can)
        }
    }

    fn select(&mut self, found: Option<usize>) {
        self.selected = found.unwrap_or(self.selected);
    }

    fn handle_motion(&mut self, key: Key) {
        let last = self.ui.items.len().saturating_sub(1);
        let found = match key {
            Key::Up => {
                let before = self.selected.checked_sub(1);
                before.and_then(|from| self.choosable(from, false))
            }
            Key::Down => self.choosable(self.selected + 1, true),
            // Tab goes round.
            Key::Char('\t') => self
                .choosable(self.selected + 1, true)
                .or_else(|| self.choosable(0, true)),
            Key::PageUp => {
                let from = self.selected.saturating_sub(self.page);
                self.choosable(from, false)
                    .or_else(|| self.choosable(from, true))
            }
            Key::PageDown => {
                let from = (self.selected + self.page).min(last);
                self.choosable(from, true)
                    .or_else(|| self.choosable(from, false))
            }
            Key::Home => self.choosable(0, true),
            Key::End => self.choosable(last, false),
            _ => None,
        };
        self.select(found);
    }

    /// Seconds until the countdown chooses, begun ones included.
    fn seconds_left(&self, now: Duration) -> Option<u64> {
        let left = self.until?.saturating_sub(now);
        Some(left.as_millis().div_ceil(1000) as u64)
    }

    /// Scrolls so that the selected item is on the screen, and the headings right above the first
    /// item with it.
    fn scroll(&mut self, page: usize) {
        self.page = page;
        let first = self.choosable(0, true);
        if first == Some(self.selected) && self.selected < page {
            self.top = 0;
        } else if self.selected < self.top {
            self.top = self.selected;
        } else if self.selected >= self.top + page {
            self.top = self.selected + 1 - page;
        }
    }
}

impl Widget for Menu<'_> {
    type Outcome = usize;

    fn draw(&mut self, screen: &mut Screen, palette: &Palette, now: Duration) {
        let normal = screen.normal();
        let heading = palette.style(Pair::Heading);
        screen.put_centered(TITLE_ROW, heading, &self.ui.title);
        let page = screen.rows().saturating_sub(FIRST_ROW + BELOW);
        self.scroll(page);
        if self.top > 0 {
            screen.put(FIRST_ROW - 1, MARGIN, heading, MORE);
        }
        if self.top + page < self.ui.items.len() {
            screen.put(FIRST_ROW + page, MARGIN, heading, MORE);
        }
        let shown = self.ui.items.iter().enumerate().skip(self.top).take(page);
        for ((index, item), row) in shown.zip(FIRST_ROW..) {
            if item.name.is_none() {
                screen.put(row, MARGIN, heading, &item.text);
                continue;
            }
            draw_item(screen, palette, row, item, index == self.selected);
            if index == self.selected
                && let Some(left) = self.seconds_left(now)
            {
                let text = format!("({left})");
                let column = screen.columns().saturating_sub(MARGIN + text.len());
                screen.put(row, column, palette.style(Pair::Selected), &text);
            }
        }
        let hint = "Up/Down: move   Enter: choose   Esc: cancel";
        screen.put_centered(screen.rows() - 2, normal, hint);
    }

    fn handle_key(&mut self, key: Key, now: Duration) -> Next<usize> {
        if gives_up(key) {
            return Next::Cancelled;
        }
        self.until = self.retimeout.map(|timeout| now.saturating_add(timeout));
        if let Key::Char('\r' | '\n') = key {
            return Next::Done(self.selected);
        }
        if let Key::Char(character) = key {
            let code = u32::from(character);
            let own = |item: &Item| item.name.is_some() && item.key == Some(code);
            if let Some(index) = self.ui.items.iter().position(own) {
                return Next::Done(index);
            }
        }
        self.handle_motion(key);
        Next::Stay
    }

    fn handle_time(&mut self, now: Duration) -> Next<usize> {
        match self.until {
            Some(until) if now >= until => Next::Done(self.selected),
            _ => Next::Stay,
        }
    }

    /// The next change of the seconds that are shown.
    fn wake_up(&self, now: Duration) -> Option<Duration> {
        let until = self.until?;
        let shown_after = Duration::from_secs(self.seconds_left(now)?.saturating_sub(1));
        Some(until.saturating_sub(shown_after))
    }
}

/// An item's text, its key made to stand out.
fn draw_item(screen: &mut Screen, palette: &Palette, row: usize, item: &Item, is_selected: bool) {
    let style = if is_selected {
        palette.style(Pair::Selected)
    } else {
        screen.normal()
    };
    let (text, key_at) = item_text(item);
    let width = screen.columns().saturating_sub(2 * (MARGIN - 1));
    if is_selected {
        screen.colour(row, MARGIN - 1, width, style);
    }
    screen.put(row, MARGIN, style, &text);
    if let Some(at) = key_at {
        let mut loud = if is_selected {
            style
        } else {
            palette.style(Pair::Heading)
        };
        loud.is_bold = !is_selected;
        screen.colour(row, MARGIN + at, 1, loud);
    }
}

/// The text that is shown, and where in it the key stands that chooses the item: where the text
/// has its letter, else in brackets behind it.
fn item_text(item: &Item) -> (String, Option<usize>) {
    let key = item.key.and_then(char::from_u32);
    let Some(key) = key.filter(|key| !key.is_control()) else {
        return (item.text.clone(), None);
    };
    let same = |c: char| c.eq_ignore_ascii_case(&key);
    let found = item.text.chars().position(same);
    match found {
        Some(at) => (item.text.clone(), Some(at)),
        None => {
            let text = format!("{} ({key})", item.text);
            let at = text.chars().count().saturating_sub(2);
            (text, Some(at))
        }
    }
}

const TITLE_ROW: usize = 1;

/// The row of the first item.
const FIRST_ROW: usize = 4;

/// Rows below the last item: the mark that there is more, the hint and the space around it.
const BELOW: usize = 4;

const MARGIN: usize = 4;

/// Says that there are items above or below.
const MORE: &str = "...";

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    /// `=text` is a heading, everything else an item of that name.
    fn ui(items: &[&str]) -> DynamicUi {
        let items = items.iter().map(|text| match text.strip_prefix('=') {
            Some(heading) => Item {
                text: heading.to_string(),
                ..Item::default()
            },
            None => Item {
                name: Some(text.to_string()),
                text: text.to_string(),
                ..Item::default()
            },
        });
        DynamicUi {
            items: items.collect(),
            ..DynamicUi::default()
        }
    }

    #[test]
    fn keys_move_over_headings() {
        let ui = ui(&["=Systems", "a", "b", "=Tools", "c", "d", "=end"]);
        let mut menu = Menu::new(&ui, 1, None, None);
        menu.page = 3;
        for (key, expected) in [
            (Key::Up, "a"),
            (Key::Down, "b"),
            (Key::Down, "c"),
            (Key::Down, "d"),
            (Key::Down, "d"),
            (Key::Char('\t'), "a"),
            (Key::End, "d"),
            (Key::Home, "a"),
            (Key::PageDown, "c"),
            (Key::PageDown, "d"),
            (Key::PageUp, "b"),
            (Key::PageUp, "a"),
            (Key::Char('x'), "a"),
        ] {
            assert_eq!(menu.handle_key(key, Duration::ZERO), Next::Stay);
            let name = ui.items[menu.selected].name.as_deref();
            assert_eq!(name, Some(expected), "after {key:?}");
        }
        assert_eq!(
            menu.handle_key(Key::Char('\r'), Duration::ZERO),
            Next::Done(1)
        );
        for key in ['\x1b', '\x03'] {
            assert_eq!(
                menu.handle_key(Key::Char(key), Duration::ZERO),
                Next::Cancelled
            );
        }
    }

    #[test]
    fn the_countdown_chooses_and_keys_stop_or_restart_it() {
        let ui = ui(&["a", "b"]);
        let seconds = Duration::from_secs;
        let mut menu = Menu::new(&ui, 1, Some(seconds(3)), None);
        assert_eq!(menu.wake_up(seconds(0)), Some(seconds(1)));
        assert_eq!(menu.wake_up(Duration::from_millis(1500)), Some(seconds(2)));
        assert_eq!(menu.handle_time(seconds(2)), Next::Stay);
        assert_eq!(menu.handle_time(seconds(3)), Next::Done(1));
        menu.handle_key(Key::Up, seconds(1));
        assert_eq!(
            (menu.wake_up(seconds(1)), menu.handle_time(seconds(9))),
            (None, Next::Stay)
        );

        let mut menu = Menu::new(&ui, 1, Some(seconds(3)), Some(seconds(10)));
        menu.handle_key(Key::Up, seconds(2));
        assert_eq!(menu.handle_time(seconds(11)), Next::Stay);
        assert_eq!(menu.handle_time(seconds(12)), Next::Done(0));
    }

    #[test]
    fn an_items_key_chooses_it_and_stands_out() {
        let mut ui = ui(&["Boot", "Exit"]);
        ui.items[1].key = Some('x'.into());
        let mut menu = Menu::new(&ui, 0, None, None);
        assert_eq!(
            menu.handle_key(Key::Char('x'), Duration::ZERO),
            Next::Done(1)
        );
        for (text, key, expected) in [
            ("Exit", 'x', ("Exit", Some(1))),
            ("Shell", 's', ("Shell", Some(0))),
            ("Windows", 'w', ("Windows", Some(0))),
            ("Boot", 'q', ("Boot (q)", Some(6))),
            ("Boot", '\x1b', ("Boot", None)),
        ] {
            let item = Item {
                text: text.into(),
                key: Some(key.into()),
                ..Item::default()
            };
            let (shown, at) = item_text(&item);
            assert_eq!((shown.as_str(), at), expected);
        }
    }

    #[test]
    fn long_menus_scroll() {
        let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let ui = ui(&names);
        let mut menu = Menu::new(&ui, 0, None, None);
        for (selected, top) in [
            (0, 0),
            (9, 0),
            (10, 1),
            (30, 21),
            (21, 21),
            (20, 20),
            (0, 0),
        ] {
            menu.selected = selected;
            menu.scroll(10);
            assert_eq!(menu.top, top, "{selected}");
        }
    }
}
