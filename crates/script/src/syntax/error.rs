//! Why a command line cannot be read, in words.

use alloc::string::String;
use core::fmt;

/// Why the words of a command cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// Not one of the words that the option takes.
    BadChoice {
        /// The option as it was written.
        option: String,
        /// Its value.
        value: String,
        /// What it may be.
        words: &'static [&'static str],
    },
    /// Neither a character nor a number.
    BadKey {
        /// The option as it was written.
        option: String,
        /// Its value.
        value: String,
    },
    /// Not a number, or a negative one.
    BadNumber {
        /// The option as it was written.
        option: String,
        /// Its value.
        value: String,
    },
    /// More arguments than the command takes.
    ExtraArgument {
        /// The first of them.
        argument: String,
        /// How the command is written.
        usage: String,
    },
    /// Fewer arguments than the command needs.
    MissingArgument {
        /// How the command is written.
        usage: String,
    },
    /// The option needs a value, and the line ends.
    MissingValue {
        /// The option as it was written.
        option: String,
    },
    /// The option takes no value.
    UnexpectedValue {
        /// The option as it was written.
        option: String,
    },
    /// The command has no such option.
    UnknownOption {
        /// The option as it was written.
        option: String,
        /// The long option that was probably meant.
        near: Option<String>,
    },
}

impl fmt::Display for UsageError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadChoice {
                option,
                value,
                words,
            } => {
                write!(out, "{option}: `{value}` is none of {}", words.join(", "))
            }
            Self::BadKey { option, value } => {
                write!(
                    out,
                    "{option}: `{value}` is no key: one character, or a code like 0x02"
                )
            }
            Self::BadNumber { option, value } => {
                write!(out, "{option}: `{value}` is no number like 10 or 0x0a")
            }
            Self::ExtraArgument { argument, usage } => {
                write!(out, "`{argument}` is one argument too many; usage: {usage}")
            }
            Self::MissingArgument { usage } => {
                write!(out, "an argument is missing; usage: {usage}")
            }
            Self::MissingValue { option } => write!(out, "{option} needs a value"),
            Self::UnexpectedValue { option } => write!(out, "{option} takes no value"),
            Self::UnknownOption { option, near } => {
                write!(out, "unknown option `{option}`")?;
                match near {
                    Some(near) => write!(out, ", did you mean `--{near}`?"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl core::error::Error for UsageError {}

/// A command that is not in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCommand {
    /// As it was written.
    pub name: String,
    /// What was probably meant.
    pub near: Option<&'static str>,
    /// Why the loader leaves out this command of iPXE, if it is one.
    pub reason: Option<&'static str>,
}

impl fmt::Display for UnknownCommand {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = self.reason {
            return write!(out, "{}: left out: {reason}", self.name);
        }
        write!(out, "{}: command not found", self.name)?;
        match self.near {
            Some(near) => write!(out, ", did you mean `{near}`?"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for UnknownCommand {}
