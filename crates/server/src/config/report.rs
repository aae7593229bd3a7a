//! How a bad configuration is told: file, line, key, what is wrong and what would be right.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// One thing that is wrong, or doubtful, in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the operator named it.
    pub path: PathBuf,
    /// The line, from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// The key, like `iscsi.target.name`; empty where no key is meant.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says something that cannot be served.
    Invalid {
        /// What must be changed, in the order of the file.
        problems: Vec<Problem>,
        /// What should be changed.
        warnings: Vec<Problem>,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => {
                write!(
                    f,
                    "{}: cannot read the configuration: {source}",
                    path.display()
                )
            }
            Self::Invalid { problems, warnings } => {
                let lines = problems.iter().map(|problem| problem.to_string());
                let warnings = warnings
                    .iter()
                    .map(|warning| format!("{warning} (warning)"));
                write!(
                    f,
                    "{}",
                    lines.chain(warnings).collect::<Vec<_>>().join("\n")
                )
            }
        }
    }
}

impl std::error::Error for ConfigError {}
