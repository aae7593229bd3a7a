//! Stepping through a script: one expanded command out, its result in.
//!
//! ```text
//!   next() -> Step::Command --- carried out by the caller ---> complete(result)
//!     ^                                                        goto(label)
//!     |                                                        exit(result)
//!     +------------------------------------------------------------+
//!   next() -> Step::Finished(result of the script)
//! ```
//!
//! `&&`, `||` and `;` are taken from left to right, none before another. A line whose last
//! result is a failure ends the script. Every command passes through the caller, which can so
//! stop an endless loop.

use alloc::borrow::ToOwned;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use crate::expand::{ExpandError, expand_within};
use crate::limits;
use crate::script::{Condition, Script};
use crate::settings::Settings;
use crate::similar;

/// A script being run. `E` is the caller's error, that commands fail with.
#[derive(Debug)]
pub struct Execution<E> {
    script: Rc<Script>,
    /// Index of the line being run, and of the next command on it.
    next_line: usize,
    next_command: usize,
    /// Of the last command on this line.
    result: Result<(), E>,
    /// The caller has a command it has not yet given the result of.
    awaiting: bool,
    /// What `exit` was given.
    exit: Option<Result<(), E>>,
    /// The number of the line being run.
    line: usize,
}

/// What to do next.
#[derive(Debug)]
pub enum Step<E> {
    /// Carry this command out and tell [`Execution::complete`].
    Command(Command),
    /// The script has ended.
    Finished(Result<(), Failure<E>>),
}

/// A command, all settings expanded.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The line it begins on.
    pub line: usize,
    /// Its name and arguments; never empty.
    pub words: Vec<String>,
}

impl Command {
    /// The name of the command.
    #[must_use]
    pub fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// What follows the name.
    #[must_use]
    pub fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be secrets.
        write!(
            out,
            "Command({}, {} arguments)",
            self.name(),
            self.arguments().len()
        )
    }
}

/// The failure that ended a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure<E> {
    /// The line that failed.
    pub line: usize,
    /// What its last command failed with.
    pub error: E,
}

impl<E: From<ExecutionError>> Execution<E> {
    /// Starts at the first line.
    #[must_use]
    pub fn new(script: Rc<Script>) -> Self {
        Self {
            script,
            next_line: 0,
            next_command: 0,
            result: Ok(()),
            awaiting: false,
            exit: None,
            line: 1,
        }
    }

    /// The next command to carry out. A command whose result was not told counts as done.
    ///
    /// After [`Step::Finished`] there is nothing more: `Finished(Ok)` again.
    pub fn next(&mut self, settings: &Settings) -> Step<E> {
        if mem::take(&mut self.awaiting) {
            self.result = Ok(());
        }
        loop {
            if let Some(result) = self.exit.take() {
                return self.finish(result);
            }
            let Some(line) = self.script.lines.get(self.next_line) else {
                return Step::Finished(Ok(()));
            };
            self.line = line.number;
            let Some(command) = line.commands.get(self.next_command) else {
                if let result @ Err(_) = mem::replace(&mut self.result, Ok(())) {
                    return self.finish(result);
                }
                (self.next_line, self.next_command) = (self.next_line + 1, 0);
                continue;
            };
            self.next_command += 1;
            let applies = match command.condition {
                Condition::Always => true,
                Condition::Success => self.result.is_ok(),
                Condition::Failure => self.result.is_err(),
            };
            if !applies {
                continue;
            }
            let words = expand_words(&command.words, settings);
            self.result = Ok(());
            match words {
                Ok(words) if words.is_empty() => {}
                Ok(words) => {
                    self.awaiting = true;
                    return Step::Command(Command {
                        line: line.number,
                        words,
                    });
                }
                Err(error) => {
                    let line = line.number;
                    self.result = Err(ExecutionError::Expand { line, error }.into());
                }
            }
        }
    }

    /// Tells the result of the command that [`Self::next`] gave.
    pub fn complete(&mut self, result: Result<(), E>) {
        self.awaiting = false;
        self.result = result;
    }

    /// Completes the command with a jump to the line labelled `:label`, the first of that name.
    /// What follows on the line of the `goto` is left out.
    ///
    /// # Errors
    /// [`ExecutionError`] when there is no such label. The command is not completed then: give
    /// the error to [`Self::complete`], so that `goto nowhere || ...` works.
    pub fn goto(&mut self, label: &str) -> Result<(), ExecutionError> {
        if !self.script.is_file {
            return Err(ExecutionError::NoScript);
        }
        let lines = &self.script.lines;
        let target = lines
            .iter()
            .position(|line| line.label.as_deref() == Some(label));
        self.next_line = target.ok_or_else(|| self.no_label(label))?;
        self.next_command = 0;
        self.complete(Ok(()));
        Ok(())
    }

    /// Completes the command by ending the script.
    pub fn exit(&mut self, result: Result<(), E>) {
        self.complete(Ok(()));
        self.exit = Some(result);
    }

    /// The number of the line being run.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    fn finish(&mut self, result: Result<(), E>) -> Step<E> {
        self.next_line = usize::MAX;
        let line = self.line;
        Step::Finished(result.map_err(|error| Failure { line, error }))
    }

    fn no_label(&self, label: &str) -> ExecutionError {
        let stray = self.script.lines.iter().find(|line| line.is_just(label));
        let hint = if let Some(line) = stray {
            LabelHint::ColonMissing { line: line.number }
        } else if let Some(near) = similar::closest(label, self.script.labels()) {
            LabelHint::Similar {
                label: near.to_owned(),
            }
        } else {
            LabelHint::None
        };
        ExecutionError::NoLabel {
            label: label.to_owned(),
            line: self.line,
            hint,
        }
    }
}

fn expand_words(words: &[String], settings: &Settings) -> Result<Vec<String>, ExpandError> {
    let mut room = limits::COMMAND_BYTES;
    words
        .iter()
        .map(|word| {
            let word = expand_within(word, settings, room)?;
            room -= word.len();
            Ok(word)
        })
        .collect()
}

/// What the language itself can fail with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecutionError {
    /// A word cannot be expanded.
    Expand {
        /// The line.
        line: usize,
        /// What is wrong.
        error: ExpandError,
    },
    /// `goto` to a label that is not in the script.
    NoLabel {
        /// The label, without colon.
        label: String,
        /// The line of the `goto`.
        line: usize,
        /// What may have been meant.
        hint: LabelHint,
    },
    /// `goto` at the prompt.
    NoScript,
}

/// What may have been meant by a label that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LabelHint {
    /// No guess.
    None,
    /// A line consists of the name alone.
    ColonMissing {
        /// That line.
        line: usize,
    },
    /// There is a label much like it.
    Similar {
        /// That label.
        label: String,
    },
}

impl fmt::Display for ExecutionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expand { line, error } => write!(out, "line {line}: {error}"),
            Self::NoLabel { label, line, hint } => {
                write!(out, "no label `:{label}` in script (goto at line {line})")?;
                match hint {
                    LabelHint::None => Ok(()),
                    LabelHint::ColonMissing { line } => {
                        write!(out, "; line {line} reads `{label}`: is its colon missing?")
                    }
                    LabelHint::Similar { label } => write!(out, ", did you mean `:{label}`?"),
                }
            }
            Self::NoScript => out.write_str("there are no labels at the prompt, only in scripts"),
        }
    }
}

impl core::error::Error for ExecutionError {}
