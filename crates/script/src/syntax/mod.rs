//! What commands accept, as data, and the reading of arguments by it.
//!
//! Options are read as C's `getopt_long` reads them: `--drive 0x80`, `--drive=0x80`, `-d 0x80`,
//! `-d0x80`, and `-nd0x80` for several short ones together. They end at the first word that is
//! none, and at `--`. As in iPXE a long option has to be written in full: an abbreviation that
//! is unique today is not tomorrow. An error names the nearest option.

mod error;
pub mod table;

#[cfg(test)]
mod tests;

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::fmt::Write;
use core::time::Duration;

pub use error::{UnknownCommand, UsageError};

use crate::{parse_integer, similar};

/// The syntax of a command. What it does is bound to [`Self::name`] elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// The name that behaviour is bound to.
    pub name: &'static str,
    /// Other names for the same.
    pub synonyms: &'static [&'static str],
    /// Options, besides `--help`, which every command has.
    pub options: &'static [OptionSpec],
    /// What follows the options.
    pub arguments: ArgumentSpec,
    /// What it does, in one line for the list of commands.
    pub summary: &'static str,
    /// What a user should know beyond that; may be empty.
    pub details: &'static str,
    /// Words that begin with `-` and are no option are arguments (`echo`).
    pub takes_any_dash: bool,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its name after `--`.
    pub long: &'static str,
    /// Its letter after `-`.
    pub short: char,
    /// The value it takes.
    pub value: ValueKind,
    /// What it does, in a few words.
    pub help: &'static str,
}

/// The value an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// None: it is there or not.
    Flag,
    /// Any text; the name stands for it in the help.
    Text(&'static str),
    /// An integer as C writes them, not below zero; the name stands for it in the help.
    Number(&'static str),
    /// A time in milliseconds.
    Milliseconds,
    /// A key: one character, or the number of its code.
    Key,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// How many words follow the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentSpec {
    /// How the help shows them.
    pub usage: &'static str,
    /// At least so many.
    pub min: usize,
    /// At most so many; `None` for any number.
    pub max: Option<usize>,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// `--help`: show [`CommandSpec::help`].
    Help,
    /// Carry the command out.
    Run(Matches),
}

impl CommandSpec {
    /// Whether `name` is its name or one of its synonyms.
    #[must_use]
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.synonyms.contains(&name)
    }

    /// Reads the words after the command's name.
    ///
    /// # Errors
    /// [`UsageError`] says which word is wrong.
    pub fn parse(&self, words: &[String]) -> Result<Parsed, UsageError> {
        let mut options = Vec::new();
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            if word == "--" {
                rest = after;
                break;
            }
            let found = if let Some(option) = word.strip_prefix("--") {
                self.parse_long(option, after)
            } else if let Some(letters) = word.strip_prefix('-').filter(|it| !it.is_empty()) {
                self.parse_short(letters, after)
            } else {
                break;
            };
            match found {
                Ok(Found::Help) => return Ok(Parsed::Help),
                Ok(Found::Options { found, rest: after }) => {
                    options.extend(found);
                    rest = after;
                }
                Err(UsageError::UnknownOption { .. }) if self.takes_any_dash => break,
                Err(error) => return Err(error),
            }
        }
        let ArgumentSpec { min, max, .. } = self.arguments;
        if rest.len() < min {
            return Err(UsageError::MissingArgument {
                usage: self.usage(),
            });
        }
        if let Some(extra) = max.and_then(|max| rest.get(max)) {
            return Err(UsageError::ExtraArgument {
                argument: extra.clone(),
                usage: self.usage(),
            });
        }
        Ok(Parsed::Run(Matches {
            spec: *self,
            options,
            arguments: rest.to_vec(),
        }))
    }

    /// `sanhook [-d|--drive <drive>] [-n|--no-describe] <uri>...`
    #[must_use]
    pub fn usage(&self) -> String {
        let mut usage = self.name.to_owned();
        for OptionSpec {
            long, short, value, ..
        } in self.options
        {
            // Writing to a string cannot fail.
            let _ = match value.placeholder() {
                Some(value) => write!(usage, " [-{short}|--{long} {value}]"),
                None => write!(usage, " [-{short}|--{long}]"),
            };
        }
        if !self.arguments.usage.is_empty() {
            usage.push(' ');
            usage.push_str(self.arguments.usage);
        }
        usage
    }

    /// The whole help text, line by line.
    #[must_use]
    pub fn help(&self) -> String {
        let mut help = String::new();
        let _ = writeln!(help, "{}\n\nUsage: {}", self.summary, self.usage());
        if !self.synonyms.is_empty() {
            let _ = writeln!(help, "Also:  {}", self.synonyms.join(", "));
        }
        if !self.options.is_empty() {
            help.push('\n');
        }
        for OptionSpec {
            long,
            short,
            value,
            help: words,
        } in self.options
        {
            let mut option = alloc::format!("-{short}, --{long}");
            if let Some(value) = value.placeholder() {
                let _ = write!(option, " {value}");
            }
            let _ = writeln!(help, "  {option:<28} {words}");
        }
        if !self.details.is_empty() {
            let _ = writeln!(help, "\n{}", self.details);
        }
        help
    }

    fn parse_long<'a>(&self, text: &str, after: &'a [String]) -> Result<Found<'a>, UsageError> {
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if name == HELP_LONG {
            return Ok(Found::Help);
        }
        let Some(option) = self.options.iter().find(|option| option.long == name) else {
            let known = self
                .options
                .iter()
                .map(|option| option.long)
                .chain([HELP_LONG]);
            let near = similar::closest(name, known).map(ToOwned::to_owned);
            return Err(UsageError::UnknownOption {
                option: alloc::format!("--{name}"),
                near,
            });
        };
        let spelling = || alloc::format!("--{name}");
        if option.value == ValueKind::Flag {
            return match inline {
                Some(_) => Err(UsageError::UnexpectedValue { option: spelling() }),
                None => Ok(Found::one(option, Value::Flag, after)),
            };
        }
        let (value, rest) = match (inline, after.split_first()) {
            (Some(value), _) => (value, after),
            (None, Some((value, rest))) => (value.as_str(), rest),
            (None, None) => return Err(UsageError::MissingValue { option: spelling() }),
        };
        Ok(Found::one(
            option,
            option.value.parse(value, spelling)?,
            rest,
        ))
    }

    fn parse_short<'a>(&self, text: &str, after: &'a [String]) -> Result<Found<'a>, UsageError> {
        let mut found = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            if letter == HELP_SHORT {
                return Ok(Found::Help);
            }
            let spelling = || alloc::format!("-{letter}");
            let Some(option) = self.options.iter().find(|option| option.short == letter) else {
                return Err(UsageError::UnknownOption {
                    option: spelling(),
                    near: None,
                });
            };
            if option.value == ValueKind::Flag {
                found.push((option.long, Value::Flag));
                continue;
            }
            let (value, rest) = match (letters.as_str(), after.split_first()) {
                ("", Some((value, rest))) => (value.as_str(), rest),
                ("", None) => return Err(UsageError::MissingValue { option: spelling() }),
                (inline, _) => (inline, after),
            };
            found.push((option.long, option.value.parse(value, spelling)?));
            return Ok(Found::Options { found, rest });
        }
        Ok(Found::Options { found, rest: after })
    }
}

/// What one word (and perhaps the next) turned out to be.
enum Found<'a> {
    Help,
    Options {
        found: Vec<(&'static str, Value)>,
        rest: &'a [String],
    },
}

impl<'a> Found<'a> {
    fn one(option: &OptionSpec, value: Value, rest: &'a [String]) -> Self {
        Self::Options {
            found: Vec::from([(option.long, value)]),
            rest,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Flag,
    Text(String),
    Number(i64),
    Duration(Duration),
    Key(u32),
}

impl ValueKind {
    fn placeholder(self) -> Option<String> {
        match self {
            Self::Flag => None,
            Self::Text(name) | Self::Number(name) => Some(alloc::format!("<{name}>")),
            Self::Milliseconds => Some("<ms>".to_owned()),
            Self::Key => Some("<key>".to_owned()),
            Self::Choice(words) => Some(words.join("|")),
        }
    }

    fn parse(self, text: &str, option: impl Fn() -> String) -> Result<Value, UsageError> {
        let number = || {
            let number = parse_integer(text).filter(|number| *number >= 0);
            number.ok_or_else(|| UsageError::BadNumber {
                option: option(),
                value: text.to_owned(),
            })
        };
        match self {
            // Flags never come here: they have no text.
            Self::Flag => Ok(Value::Flag),
            Self::Text(_) => Ok(Value::Text(text.to_owned())),
            Self::Number(_) => Ok(Value::Number(number()?)),
            Self::Milliseconds => Ok(Value::Duration(Duration::from_millis(
                number()?.unsigned_abs(),
            ))),
            Self::Key => parse_key(text)
                .map(Value::Key)
                .ok_or_else(|| UsageError::BadKey {
                    option: option(),
                    value: text.to_owned(),
                }),
            Self::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::Choice(words) => Err(UsageError::BadChoice {
                option: option(),
                value: text.to_owned(),
                words,
            }),
        }
    }
}

/// The words of a command, sorted out.
#[derive(Clone)]
pub struct Matches {
    spec: CommandSpec,
    options: Vec<(&'static str, Value)>,
    arguments: Vec<String>,
}

impl Matches {
    /// Whether an option is there.
    #[must_use]
    pub fn flag(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// The value of a [`ValueKind::Text`] or [`ValueKind::Choice`] option.
    #[must_use]
    pub fn text(&self, long: &str) -> Option<&str> {
        match self.value(long)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a [`ValueKind::Number`] option; never negative.
    #[must_use]
    pub fn number(&self, long: &str) -> Option<i64> {
        match self.value(long)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of a [`ValueKind::Milliseconds`] option.
    #[must_use]
    pub fn duration(&self, long: &str) -> Option<Duration> {
        match self.value(long)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    /// The value of a [`ValueKind::Key`] option: the key's code.
    #[must_use]
    pub fn key(&self, long: &str) -> Option<u32> {
        match self.value(long)? {
            Value::Key(key) => Some(*key),
            _ => None,
        }
    }

    /// What follows the options.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The argument at `index`.
    #[must_use]
    pub fn argument(&self, index: usize) -> Option<&str> {
        self.arguments.get(index).map(String::as_str)
    }

    /// The arguments from `index` on with one space between them.
    #[must_use]
    pub fn joined(&self, index: usize) -> String {
        self.arguments.get(index..).unwrap_or_default().join(" ")
    }

    /// Of an option that was given twice, the last one counts.
    fn value(&self, long: &str) -> Option<&Value> {
        debug_assert!(
            self.spec.options.iter().any(|option| option.long == long),
            "{} has no option --{long}",
            self.spec.name
        );
        self.options
            .iter()
            .rev()
            .find(|(name, _)| *name == long)
            .map(|(_, value)| value)
    }
}

impl PartialEq for Matches {
    fn eq(&self, other: &Self) -> bool {
        (self.spec.name, &self.options, &self.arguments)
            == (other.spec.name, &other.options, &other.arguments)
    }
}

impl Eq for Matches {}

impl fmt::Debug for Matches {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be secrets.
        let options = self.options.iter().map(|(name, _)| *name);
        write!(out, "Matches({}, ", self.spec.name)?;
        out.debug_list().entries(options).finish()?;
        write!(out, ", {} arguments)", self.arguments.len())
    }
}

/// One character stands for itself, also where it is a digit.
fn parse_key(text: &str) -> Option<u32> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => Some(u32::from(only)),
        _ => u32::try_from(parse_integer(text)?).ok(),
    }
}

const HELP_LONG: &str = "help";
const HELP_SHORT: char = 'h';
