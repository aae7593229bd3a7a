//! Scripts: bytes to lines, lines to commands joined by operators.
//!
//! Words are split at white space before anything is expanded, so a value with spaces stays one
//! word. There is no quoting: quote marks are characters like any other.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str;

use crate::limits;

/// A script, or one line typed at the prompt.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    pub(crate) lines: Vec<Line>,
    /// False for a line typed at the prompt.
    pub(crate) is_file: bool,
}

/// A line that holds a label or a command; continuation lines are part of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1, the magic included.
    pub(crate) number: usize,
    pub(crate) label: Option<String>,
    pub(crate) commands: Vec<ConditionalCommand>,
}

/// A command and what has to become of the one before it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ConditionalCommand {
    pub(crate) condition: Condition,
    /// Not expanded yet. None at all is a command that succeeds.
    pub(crate) words: Vec<String>,
}

/// The operator before a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// First on its line, or after `;`.
    Always,
    /// After `&&`.
    Success,
    /// After `||`.
    Failure,
}

impl Script {
    /// Whether `bytes` begin as a script does: `#!ipxe` or `#!gpxe`, then white space.
    #[must_use]
    pub fn is_script(bytes: &[u8]) -> bool {
        MAGICS.iter().any(|magic| {
            without_mark(bytes)
                .strip_prefix(*magic)
                .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
        })
    }

    /// Takes a script apart.
    ///
    /// # Errors
    /// [`ParseError`] when it is no script, is not UTF-8 outside comments, or breaks a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if !Self::is_script(bytes) {
            return Err(ParseError::NoMagic);
        }
        if bytes.len() > limits::SCRIPT_BYTES {
            return Err(ParseError::TooLong);
        }
        let mut lines = Vec::new();
        let mut physical = without_mark(bytes).split(|byte| *byte == b'\n').zip(1..);
        while let Some((first, number)) = physical.next() {
            let mut line = Cow::Borrowed(without_return(first));
            while let Some(joined) = line.strip_suffix(b"\\") {
                let mut joined = joined.to_vec();
                let Some((next, _)) = physical.next() else {
                    line = Cow::Owned(joined);
                    break;
                };
                joined.extend_from_slice(without_return(next));
                line = Cow::Owned(joined);
                if line.len() > limits::LINE_BYTES {
                    return Err(ParseError::LineTooLong { line: number });
                }
            }
            lines.extend(Line::parse(&line, number)?);
        }
        Ok(Self {
            lines,
            is_file: true,
        })
    }

    /// Takes one line typed at the prompt apart.
    ///
    /// # Errors
    /// [`ParseError`] when it breaks a limit.
    pub fn command_line(text: &str) -> Result<Self, ParseError> {
        let lines = Line::parse(text.as_bytes(), 1)?.into_iter().collect();
        Ok(Self {
            lines,
            is_file: false,
        })
    }

    /// The labels, in the order of the script.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.label.as_deref())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Scripts set passwords: the text stays out.
        write!(out, "Script({} lines)", self.lines.len())
    }
}

impl Line {
    /// `None` for a line without label and command.
    fn parse(bytes: &[u8], number: usize) -> Result<Option<Self>, ParseError> {
        let bytes = bytes.trim_ascii();
        // Nothing in a comment is worth an error.
        if bytes.is_empty() || bytes.starts_with(b"#") {
            return Ok(None);
        }
        if bytes.len() > limits::LINE_BYTES {
            return Err(ParseError::LineTooLong { line: number });
        }
        let text = str::from_utf8(bytes).map_err(|_| ParseError::NotUtf8 { line: number })?;
        let (label, text) = match text.strip_prefix(':') {
            Some(rest) => {
                let (label, command) = rest.split_once(is_space).unwrap_or((rest, ""));
                (Some(label.to_owned()), command)
            }
            None => (None, text),
        };
        let mut commands = Vec::new();
        let mut condition = Condition::Always;
        let mut words = Vec::new();
        let mut room = limits::LINE_WORDS;
        for word in text.split(is_space).filter(|word| !word.is_empty()) {
            if word.starts_with('#') {
                break;
            }
            room = room
                .checked_sub(1)
                .ok_or(ParseError::TooManyWords { line: number })?;
            let Some(next) = Condition::of(word) else {
                words.push(word.to_owned());
                continue;
            };
            commands.push(ConditionalCommand { condition, words });
            (condition, words) = (next, Vec::new());
        }
        commands.push(ConditionalCommand { condition, words });
        Ok(Some(Self {
            number,
            label,
            commands,
        }))
    }

    /// Whether the line is that one word and nothing else: a label that lost its colon.
    pub(crate) fn is_just(&self, word: &str) -> bool {
        match self.commands.as_slice() {
            [only] if self.label.is_none() => {
                matches!(only.words.as_slice(), [single] if single == word)
            }
            _ => false,
        }
    }
}

impl Condition {
    /// The condition that an operator sets for the command after it.
    pub(crate) fn of(word: &str) -> Option<Self> {
        match word {
            "&&" => Some(Self::Success),
            "||" => Some(Self::Failure),
            ";" => Some(Self::Always),
            _ => None,
        }
    }
}

/// Why bytes are no script.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// Over [`limits::LINE_BYTES`].
    LineTooLong {
        /// Where the line begins.
        line: usize,
    },
    /// Does not begin with `#!ipxe`.
    NoMagic,
    /// A line that is not UTF-8.
    NotUtf8 {
        /// Where the line begins.
        line: usize,
    },
    /// Over [`limits::SCRIPT_BYTES`].
    TooLong,
    /// Over [`limits::LINE_WORDS`].
    TooManyWords {
        /// Where the line begins.
        line: usize,
    },
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong { line } => {
                write!(
                    out,
                    "line {line} is longer than {} bytes",
                    limits::LINE_BYTES
                )
            }
            Self::NoMagic => out.write_str("not a script: the first line is not `#!ipxe`"),
            Self::NotUtf8 { line } => write!(out, "line {line} is not UTF-8 text"),
            Self::TooLong => {
                write!(
                    out,
                    "the script is longer than {} bytes",
                    limits::SCRIPT_BYTES
                )
            }
            Self::TooManyWords { line } => {
                write!(
                    out,
                    "line {line} has more than {} words",
                    limits::LINE_WORDS
                )
            }
        }
    }
}

impl core::error::Error for ParseError {}

pub(crate) fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Leaves out the byte order mark that some editors write before the magic.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// What C's `isspace` takes for white space.
pub(crate) fn is_space(character: char) -> bool {
    character.is_ascii_whitespace() || character == '\x0b'
}

const MAGICS: [&[u8]; 2] = [b"#!ipxe", b"#!gpxe"];
