//! The control sequences (ECMA-48) that a console understands, as the loader writes them and as
//! scripts print them: cursor position, erasing, colours.

/// How characters look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// The colour of the letters.
    pub foreground: Colour,
    /// The colour behind them.
    pub background: Colour,
    /// Bold, or bright.
    pub is_bold: bool,
}

/// A colour of a text terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// What the terminal has by itself.
    #[default]
    Default,
    /// Black, red, green, yellow, blue, magenta, cyan, white: 0 to 7.
    Basic(u8),
}

/// What a text asks a console to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'t> {
    /// Print this at the cursor; it has no escape characters.
    Text(&'t str),
    /// Put the cursor there, counted from 0. Beyond the edge is the edge.
    MoveTo {
        /// From the top.
        row: u16,
        /// From the left.
        column: u16,
    },
    /// Erase everything in the current style; the cursor stays.
    Clear,
    /// Erase from the cursor to the end of its line in the current style; the cursor stays.
    ClearToEnd,
    /// Print like this from now on.
    Style(Style),
    /// Show or hide the cursor.
    ShowCursor(bool),
}

/// Takes text apart into what a console has to do.
///
/// A sequence is never spread over two texts. Sequences that are none of ours are left out.
#[derive(Debug, Default)]
pub struct Ansi {
    style: Style,
    is_reverse: bool,
}

impl Ansi {
    /// Gives every action of `text` to `act`.
    pub fn feed<'t>(&mut self, text: &'t str, act: &mut dyn FnMut(Action<'t>)) {
        let mut rest = text;
        while let Some((plain, after)) = rest.split_once(ESCAPE) {
            if !plain.is_empty() {
                act(Action::Text(plain));
            }
            rest = self.sequence(after, act);
        }
        if !rest.is_empty() {
            act(Action::Text(rest));
        }
    }

    /// Takes a sequence without its escape character; returns what follows it.
    fn sequence<'t>(&mut self, text: &'t str, act: &mut dyn FnMut(Action<'t>)) -> &'t str {
        let Some(body) = text.strip_prefix('[') else {
            // Two characters, of which the first was the escape.
            let mut characters = text.chars();
            characters.next();
            return characters.as_str();
        };
        // ECMA-48 section 5.4: the final byte is 4/0 to 7/14.
        let Some(end) = body.find(|c: char| ('\x40'..='\x7e').contains(&c)) else {
            return "";
        };
        let (parameters, rest) = body.split_at(end);
        let mut after = rest.chars();
        let final_byte = after.next();
        let number = |index: usize, default: u16| {
            let text = parameters.split(';').nth(index).unwrap_or_default();
            text.parse().unwrap_or(default)
        };
        match final_byte {
            Some('H' | 'f') => act(Action::MoveTo {
                row: number(0, 1).max(1) - 1,
                column: number(1, 1).max(1) - 1,
            }),
            Some('J') if number(0, 0) == 2 => act(Action::Clear),
            Some('K') if number(0, 0) == 0 => act(Action::ClearToEnd),
            Some('h') if parameters == "?25" => act(Action::ShowCursor(true)),
            Some('l') if parameters == "?25" => act(Action::ShowCursor(false)),
            Some('m') => {
                parameters.split(';').for_each(|code| self.rendition(code));
                act(Action::Style(self.current()));
            }
            _ => {}
        }
        after.as_str()
    }

    /// One parameter of SGR (ECMA-48 section 8.3.117).
    fn rendition(&mut self, code: &str) {
        let basic = |code: u8, base: u8| Colour::Basic(code - base);
        match code.parse().unwrap_or(0_u8) {
            0 => *self = Self::default(),
            1 => self.style.is_bold = true,
            22 => self.style.is_bold = false,
            7 => self.is_reverse = true,
            27 => self.is_reverse = false,
            code @ 30..=37 => self.style.foreground = basic(code, 30),
            39 => self.style.foreground = Colour::Default,
            code @ 40..=47 => self.style.background = basic(code, 40),
            49 => self.style.background = Colour::Default,
            code @ 90..=97 => {
                self.style.foreground = basic(code, 90);
                self.style.is_bold = true;
            }
            _ => {}
        }
    }

    fn current(&self) -> Style {
        let Style {
            foreground,
            background,
            is_bold,
        } = self.style;
        if !self.is_reverse {
            return self.style;
        }
        let or = |colour, default| match colour {
            Colour::Default => Colour::Basic(default),
            colour @ Colour::Basic(_) => colour,
        };
        Style {
            foreground: or(background, 0),
            background: or(foreground, 7),
            is_bold,
        }
    }
}

const ESCAPE: char = '\x1b';

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    fn actions(text: &str) -> String {
        let mut shown: Vec<String> = Vec::new();
        Ansi::default().feed(text, &mut |action| {
            shown.push(match action {
                Action::Text(text) => format!("{text:?}"),
                Action::MoveTo { row, column } => format!("{row},{column}"),
                Action::Clear => "clear".into(),
                Action::ClearToEnd => "end".into(),
                Action::Style(Style {
                    foreground,
                    background,
                    is_bold,
                }) => format!("{foreground:?}/{background:?}/{is_bold}"),
                Action::ShowCursor(on) => format!("cursor {on}"),
            });
        });
        shown.join(" ")
    }

    #[test]
    fn sequences_are_understood() {
        for (text, expected) in [
            ("", ""),
            ("plain", "\"plain\""),
            ("a\x1b[2Jb", "\"a\" clear \"b\""),
            ("\x1b[H", "0,0"),
            ("\x1b[3;10Hx", "2,9 \"x\""),
            ("\x1b[0;0f", "0,0"),
            ("\x1b[K", "end"),
            ("\x1b[?25l\x1b[?25h", "cursor false cursor true"),
            ("\x1b[1;31m", "Basic(1)/Default/true"),
            (
                "\x1b[31;44m\x1b[m",
                "Basic(1)/Basic(4)/false Default/Default/false",
            ),
            ("\x1b[7m", "Basic(0)/Basic(7)/false"),
            ("\x1b[97m", "Basic(7)/Default/true"),
            ("\x1b[99;300;xy", "\"y\""),
            ("\x1b[1J\x1b[5A\x1b[2K", ""),
            ("\x1bcx", "\"x\""),
            ("\x1b", ""),
            ("\x1b[12;", ""),
            ("\x1b[99999;1H", "0,0"),
        ] {
            assert_eq!(actions(text), expected, "{text:?}");
        }
    }
}
