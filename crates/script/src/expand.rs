//! `${[scope/]name[:type]}` expansion.
//!
//! The innermost `${...}` is replaced first, so `${menu-${x}}` works, and what a value brings
//! in is expanded again until nothing is left. A setting that is not set is empty. iPXE goes on
//! for ever on a value that contains itself; here [`limits`] end it.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::limits;
use crate::settings::{SettingError, Settings};

/// Expands all of `text`.
///
/// # Errors
/// [`ExpandError`] when a type is unknown or a limit is reached.
pub fn expand(text: &str, settings: &Settings) -> Result<String, ExpandError> {
    expand_within(text, settings, limits::COMMAND_BYTES)
}

/// Expands to no more than `bytes_max`.
pub(crate) fn expand_within(
    text: &str,
    settings: &Settings,
    bytes_max: usize,
) -> Result<String, ExpandError> {
    let mut text = text.to_owned();
    // Where each `${` that is still open begins, outermost first.
    let mut open: Vec<usize> = Vec::new();
    let mut position = 0;
    let mut expansions = 0;
    loop {
        if text.len() > bytes_max {
            return Err(ExpandError::TooLong);
        }
        let Some(&byte) = text.as_bytes().get(position) else {
            return Ok(text);
        };
        position += 1;
        if byte == b'$' && text.as_bytes().get(position) == Some(&b'{') {
            open.push(position - 1);
            position += 1;
        } else if byte == b'}'
            && let Some(start) = open.pop()
        {
            let name = text.get(start + 2..position - 1).unwrap_or_default();
            expansions += 1;
            if expansions > limits::WORD_EXPANSIONS {
                return Err(ExpandError::Endless {
                    name: name.to_owned(),
                });
            }
            let value = value(name, settings)?;
            text.replace_range(start..position, &value);
            // The byte before may be a `$` that now has its brace.
            position = start.saturating_sub(1);
            open.retain(|open| *open < position);
        }
    }
}

fn value(name: &str, settings: &Settings) -> Result<String, ExpandError> {
    match settings.fetch(name) {
        // What a DHCP server sends may fit no type; the script sees it as not set.
        Ok(setting) => Ok(setting
            .and_then(|setting| setting.text().ok())
            .unwrap_or_default()),
        // A slip in the script, as opposed to a setting that happens not to be there.
        Err(error @ SettingError::UnknownType { .. }) => Err(ExpandError::Setting {
            name: name.to_owned(),
            error,
        }),
        Err(_) => Ok(String::new()),
    }
}

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpandError {
    /// Over [`limits::WORD_EXPANSIONS`].
    Endless {
        /// The setting that was to be expanded next.
        name: String,
    },
    /// The name is malformed.
    Setting {
        /// What stands between the braces.
        name: String,
        /// What is wrong.
        error: SettingError,
    },
    /// Over [`limits::COMMAND_BYTES`].
    TooLong,
}

impl fmt::Display for ExpandError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endless { name } => write!(
                out,
                "`${{{name}}}` has no end after {} expansions: does its value contain itself?",
                limits::WORD_EXPANSIONS
            ),
            Self::Setting { name, error } => write!(out, "`${{{name}}}`: {error}"),
            Self::TooLong => {
                write!(
                    out,
                    "longer than {} bytes once expanded",
                    limits::COMMAND_BYTES
                )
            }
        }
    }
}

impl core::error::Error for ExpandError {}

#[cfg(test)]
mod tests {
    use super::{ExpandError, expand};
    use crate::Settings;
    use crate::limits;

    fn settings() -> Settings {
        let mut settings = Settings::new();
        for (name, value) in [
            ("a", "1"),
            ("b", "two words"),
            ("name", "a"),
            ("menu-1", "first"),
            ("again", "<${a}>"),
            ("dollar", "$"),
            ("brace", "{a}"),
            ("close", "a}"),
            ("loop", "${loop}"),
            ("ping", "${pong}"),
            ("pong", "${ping}"),
            ("grow", "${grow}${grow}"),
            ("net0/ip", "192.168.1.5"),
            ("net0.dhcp/hostname", "node1"),
            ("mac:hex", "52:54:00"),
            ("uri", "a b/c"),
        ] {
            settings.set(name, value).unwrap();
        }
        settings.set_last_opened(Some("net0"));
        settings
    }

    #[test]
    fn expands() {
        let settings = settings();
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("${a}", "1"),
            ("x${a}y", "x1y"),
            ("${a}${a}", "11"),
            ("${b}", "two words"),
            ("${missing}", ""),
            ("x${missing}y", "xy"),
            ("${nowhere/missing}", ""),
            ("${}", ""),
            ("${/}", ""),
            ("${menu-${a}}", "first"),
            ("${menu-${${name}}}", "first"),
            ("${${missing}}", ""),
            ("${again}", "<1>"),
            ("$${brace}", "1"),
            ("${dollar}{a}", "1"),
            ("${dollar}${brace}", "1"),
            ("${${close}}", "1}"),
            ("${a", "${a"),
            ("${a${a}", "${a1"),
            ("a}b", "a}b"),
            ("a}${a}", "a}1"),
            ("$a {a} $", "$a {a} $"),
            ("$$", "$$"),
            ("$${a}", "$1"),
            ("${{a}}", "}"),
            ("${ip}", "192.168.1.5"),
            ("${net0/ip}", "192.168.1.5"),
            ("${netX/ip}", "192.168.1.5"),
            ("${net0/hostname}", "node1"),
            ("${dhcp/hostname}", "node1"),
            ("${net1/ip}", ""),
            ("${ip:hexraw}", "c0a80105"),
            ("${mac}", "52:54:00"),
            ("${mac:hexhyp}", "52-54-00"),
            ("${uri:uristring}", "a%20b%2Fc"),
            ("${hostname:ipv4}", "110.111.100.101"),
            ("${a:ipv4}", ""),
            ("é${a}é", "é1é"),
        ] {
            assert_eq!(expand(text, &settings).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn ends_what_has_no_end() {
        let settings = settings();
        for text in ["${loop}", "${ping}", "x${loop}"] {
            assert!(
                matches!(expand(text, &settings), Err(ExpandError::Endless { .. })),
                "{text}"
            );
        }
        assert!(expand("${grow}", &settings).is_err());
        let error = expand("${loop}", &settings).unwrap_err();
        assert_eq!(
            std::format!("{error}"),
            "`${loop}` has no end after 1000 expansions: does its value contain itself?"
        );
    }

    #[test]
    fn holds_the_size_limit() {
        let mut settings = Settings::new();
        settings
            .set("half", &"x".repeat(limits::COMMAND_BYTES / 2))
            .unwrap();
        assert!(expand("${half}${half}", &settings).is_ok());
        assert_eq!(
            expand("${half}${half}x", &settings),
            Err(ExpandError::TooLong)
        );
    }

    #[test]
    fn names_an_unknown_type() {
        let error = expand("${net0/mac:hexhypp}", &settings()).unwrap_err();
        assert_eq!(
            std::format!("{error}"),
            "`${net0/mac:hexhypp}`: `hexhypp` is no type of settings, did you mean `hexhyp`?"
        );
    }
}
