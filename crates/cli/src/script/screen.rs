//! Shows the console of a simulated machine: text as it comes; menus and forms as pictures where
//! the output is no terminal.

use std::io::{IsTerminal as _, Write as _, stdout};

use bowline_boot::ansi::{Action, Ansi};
use bowline_boot::terminal::Terminal;

/// The console, shown on standard output.
#[derive(Debug)]
pub(crate) struct Screens {
    is_terminal: bool,
    ansi: Ansi,
    /// What a menu or form has drawn, and the picture that was shown last.
    full: Option<(Terminal, String)>,
}

impl Screens {
    pub(crate) fn new() -> Self {
        Self {
            is_terminal: stdout().is_terminal(),
            ansi: Ansi::default(),
            full: None,
        }
    }

    /// Takes a text that the machine writes.
    pub(crate) fn write(&mut self, text: &str) {
        if self.is_terminal {
            print!("{text}");
            let _ = stdout().flush();
            return;
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(ERASE) {
            self.write_piece(before);
            // A full screen begins and ends with erasing everything.
            self.full = match self.full.take() {
                None => {
                    let mut terminal = Terminal::new(80, 25);
                    // It was hidden right before.
                    terminal.write("\x1b[?25l");
                    Some((terminal, String::new()))
                }
                Some(_) => None,
            };
            rest = after;
        }
        self.write_piece(rest);
        self.show();
    }

    /// The machine has ended.
    pub(crate) fn end(&mut self) {
        self.full = None;
        // A reader that is gone needs nothing more.
        let _ = stdout().flush();
    }

    fn write_piece(&mut self, text: &str) {
        if let Some((terminal, _)) = &mut self.full {
            terminal.write(text);
            return;
        }
        let mut plain = String::new();
        self.ansi.feed(text, &mut |action| {
            if let Action::Text(text) = action {
                plain.push_str(text);
            }
        });
        print!("{plain}");
    }

    fn show(&mut self) {
        if let Some((terminal, last)) = &mut self.full {
            let picture = terminal.picture();
            if picture != *last {
                println!("{picture}");
                *last = picture;
            }
        }
    }
}

const ERASE: &str = "\x1b[2J";
