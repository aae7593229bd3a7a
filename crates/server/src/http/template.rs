//! Text with `{{name}}` in it, and values put in their places.

use std::fmt;

/// Replaces every `{{name}}` in `text` by what `value` gives for the name. Blanks around the name
/// do not count.
pub(super) fn render<E>(
    text: &str,
    mut value: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, Error<E>> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        out.push_str(before);
        let line = || 1 + text[..text.len() - after.len()].matches('\n').count();
        let on_one_line = after.lines().next().unwrap_or_default();
        let Some((name, _)) = on_one_line.split_once(CLOSE) else {
            return Err(Error::Open { line: line() });
        };
        let filled = value(name.trim()).map_err(|error| Error::Value {
            line: line(),
            error,
        })?;
        out.push_str(&filled);
        rest = &after[name.len() + CLOSE.len()..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Why a template cannot be filled in, and the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Error<E> {
    /// `{{` without `}}` on its line.
    Open {
        /// The line, from 1.
        line: usize,
    },
    /// There is no value for a name.
    Value {
        /// The line, from 1.
        line: usize,
        /// Why not.
        error: E,
    },
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { line } => write!(f, "line {line}: {{{{ without }}}} on its line"),
            Self::Value { line, error } => write!(f, "line {line}: {error}"),
        }
    }
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, Error<String>> {
        render(text, |name| match name {
            "mac" => Ok("52:54".into()),
            "braces" => Ok("{{mac}}".into()),
            other => Err(other.to_owned()),
        })
    }

    #[test]
    fn names_are_replaced_and_nothing_else() {
        for (text, expected) in [
            ("", ""),
            ("echo ${net0/mac} { } }} {", "echo ${net0/mac} { } }} {"),
            ("{{mac}}", "52:54"),
            ("a {{ mac }} b{{mac}}\nc", "a 52:54 b52:54\nc"),
            // What is put in is not looked at again.
            ("{{braces}}!", "{{mac}}!"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors_tell_the_line() {
        let value = |line, error: &str| Error::Value {
            line,
            error: error.to_owned(),
        };
        for (text, expected) in [
            ("a\nb {{gone}}", value(2, "gone")),
            ("{{mac}}\n{{mac}} {{}}", value(2, "")),
            ("a\n\n{{mac", Error::Open { line: 3 }),
            ("{{mac\n}}", Error::Open { line: 1 }),
            ("{{{mac}}}", value(1, "{mac")),
        ] {
            assert_eq!(of(text), Err(expected), "{text}");
        }
    }
}
