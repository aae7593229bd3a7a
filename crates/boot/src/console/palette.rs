//! The colours of menus and forms, which the commands `colour` and `cpair` change.

use super::ansi::{Colour, Style};

/// Kinds of text that have colours of their own, by the numbers of `cpair`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    Normal = 1,
    Selected = 2,
    Heading = 3,
    Edited = 4,
    Alert = 5,
}

/// What colours look like and which text has which.
#[derive(Clone, Debug)]
pub(crate) struct Palette {
    colours: [Colour; COLOURS],
    pairs: [(u8, u8); PAIRS],
}

impl Default for Palette {
    fn default() -> Self {
        let mut colours = [Colour::Default; COLOURS];
        for (number, colour) in (0..BASIC).zip(&mut colours) {
            *colour = Colour::Basic(number);
        }
        Self {
            colours,
            pairs: DEFAULT_PAIRS,
        }
    }
}

impl Palette {
    /// How a kind of text looks.
    pub(crate) fn style(&self, pair: Pair) -> Style {
        let (foreground, background) = self.pairs.get(pair as usize).copied().unwrap_or_default();
        let colour = |number: u8| {
            let colour = self.colours.get(usize::from(number));
            colour.copied().unwrap_or_default()
        };
        Style {
            foreground: colour(foreground),
            background: colour(background),
            is_bold: pair == Pair::Selected,
        }
    }

    /// Says what a colour looks like; false where there is no such number.
    pub(crate) fn set_colour(&mut self, number: i64, colour: Colour) -> bool {
        let slot = usize::try_from(number).ok();
        match slot.and_then(|number| self.colours.get_mut(number)) {
            Some(slot) => {
                *slot = colour;
                true
            }
            None => false,
        }
    }

    /// Changes a pair, where a colour is given; as at the start, where none is. False where there
    /// is no such pair.
    pub(crate) fn set_pair(
        &mut self,
        number: i64,
        foreground: Option<u8>,
        background: Option<u8>,
    ) -> bool {
        let Ok(number) = usize::try_from(number) else {
            return false;
        };
        let (Some(pair), Some(&default)) = (self.pairs.get_mut(number), DEFAULT_PAIRS.get(number))
        else {
            return false;
        };
        *pair = match (foreground, background) {
            (None, None) => default,
            (foreground, background) => {
                (foreground.unwrap_or(pair.0), background.unwrap_or(pair.1))
            }
        };
        true
    }
}

/// The basic colour that is nearest to 0xRRGGBB.
pub(crate) fn nearest(rgb: u32) -> Colour {
    let bright = |shift: u32| u8::from(rgb >> shift & 0xff >= 0x60);
    Colour::Basic(bright(16) | bright(8) << 1 | bright(0) << 2)
}

/// Colours that can have a look of their own.
pub(crate) const COLOURS: usize = 16;

/// Colours that a terminal has by itself: SGR 30 to 37.
const BASIC: u8 = 8;

/// The number of the colour that is the terminal's own, as in SGR 39 and 49.
const OWN: u8 = 9;

const PAIRS: usize = 8;

/// Letters and background of each kind of text.
const DEFAULT_PAIRS: [(u8, u8); PAIRS] = [
    (OWN, OWN),
    (OWN, OWN),
    (7, 4),
    (6, OWN),
    (0, 6),
    (7, 1),
    (6, OWN),
    (0, 7),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_pairs_change_what_text_looks_like() {
        let mut palette = Palette::default();
        assert_eq!(palette.style(Pair::Normal), Style::default());
        assert!(palette.set_pair(1, Some(7), Some(4)));
        assert_eq!(palette.style(Pair::Normal).background, Colour::Basic(4));
        assert!(palette.set_colour(4, nearest(0xff_0000)));
        assert_eq!(palette.style(Pair::Normal).background, Colour::Basic(1));
        assert!(palette.set_pair(1, None, None));
        assert_eq!(palette.style(Pair::Normal), Style::default());
        assert!(!palette.set_pair(8, Some(1), None) && !palette.set_pair(-1, None, None));
        assert!(!palette.set_colour(16, Colour::Default));
    }

    #[test]
    fn a_colour_becomes_the_nearest_basic_one() {
        for (rgb, basic) in [
            (0x00_0000, 0),
            (0xff_0000, 1),
            (0x00_ff00, 2),
            (0x40_40ff, 4),
            (0xff_ffff, 7),
            (0x10_c0c0, 6),
        ] {
            assert_eq!(nearest(rgb), Colour::Basic(basic), "{rgb:06x}");
        }
    }
}
