//! Menus and forms take the whole screen while they last.

use alloc::rc::Rc;
use core::time::Duration;

use super::palette::Palette;
use super::screen::Screen;
use crate::machine::Machine;
use crate::platform::{Key, Platform};

/// What a widget does after a key or a moment of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next<T> {
    /// It goes on.
    Stay,
    /// It is done.
    Done(T),
    /// The person gave up.
    Cancelled,
}

/// Something that takes the whole screen: it is drawn, and it takes keys.
pub(crate) trait Widget {
    /// What it is for.
    type Outcome;

    /// Draws all of it on an empty screen.
    fn draw(&mut self, screen: &mut Screen, palette: &Palette, now: Duration);

    /// Takes a key.
    fn handle_key(&mut self, key: Key, now: Duration) -> Next<Self::Outcome>;

    /// Looks at the clock.
    fn handle_time(&mut self, _now: Duration) -> Next<Self::Outcome> {
        Next::Stay
    }

    /// When it wants to look at the clock and be drawn again without a key.
    fn wake_up(&self, _now: Duration) -> Option<Duration> {
        None
    }
}

/// Runs a widget to its end; none where the person gave up.
pub(crate) async fn run<W: Widget>(machine: &Machine, widget: &mut W) -> Option<W::Outcome> {
    let mut full_screen = FullScreen::open(machine);
    loop {
        let now = machine.now();
        let palette = machine.palette.borrow().clone();
        full_screen.screen.clear();
        widget.draw(&mut full_screen.screen, &palette, now);
        full_screen.show();
        let next = match next_key(machine, widget.wake_up(now)).await {
            Some(key) => widget.handle_key(key, machine.now()),
            None => widget.handle_time(machine.now()),
        };
        match next {
            Next::Stay => {}
            Next::Done(outcome) => return Some(outcome),
            Next::Cancelled => return None,
        }
    }
}

/// The next key, or none when a moment has come before one was pressed.
async fn next_key(machine: &Machine, until: Option<Duration>) -> Option<Key> {
    let key = machine.keyboard.read();
    match until {
        Some(until) => machine.executor.until(until, key).await,
        None => Some(key.await),
    }
}

/// The console while a widget has all of it; given back however the widget ends.
struct FullScreen {
    platform: Rc<dyn Platform>,
    screen: Screen,
}

impl FullScreen {
    fn open(machine: &Machine) -> Self {
        let platform = Rc::clone(&machine.platform);
        let (columns, rows) = platform.console().size();
        let normal = machine.palette.borrow().style(super::palette::Pair::Normal);
        Self {
            screen: Screen::new(columns.into(), rows.into(), normal),
            platform,
        }
    }

    fn show(&mut self) {
        let text = self.screen.refresh();
        if !text.is_empty() {
            self.platform.console().write(&text);
        }
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        self.platform.console().write(Screen::CLOSE);
    }
}

/// Keys that end a widget without result.
pub(crate) fn gives_up(key: Key) -> bool {
    matches!(key, Key::Char('\x1b' | '\x03'))
}
