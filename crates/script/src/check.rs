//! Looks a script over without running it: unknown commands and labels, wrong options, values
//! that do not fit, `${...}` that is malformed. What depends on settings is left alone.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::script::{Condition, Script, is_space, without_mark, without_return};
use crate::settings::{SettingError, Settings};
use crate::syntax::{UsageError, table};
use crate::{ParseError, similar};

/// Something that is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The line, counted from 1.
    pub line: usize,
    /// The character of the line, counted from 1.
    pub column: usize,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, and what may have been meant.
    pub message: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The script fails when it comes there.
    Error,
    /// It probably means something else than was meant.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// `3:7: error: ...`
impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            line,
            column,
            severity,
            message,
        } = self;
        write!(out, "{line}:{column}: {}: {message}", severity.name())
    }
}

/// Everything that is wrong with a script, in the order of its lines.
#[must_use]
pub fn check(bytes: &[u8]) -> Vec<Diagnostic> {
    if let Err(error) = Script::parse(bytes) {
        let line = match error {
            ParseError::LineTooLong { line }
            | ParseError::NotUtf8 { line }
            | ParseError::TooManyWords { line } => line,
            ParseError::NoMagic | ParseError::TooLong => 1,
        };
        return Vec::from([Diagnostic {
            line,
            column: 1,
            severity: Severity::Error,
            message: error.to_string(),
        }]);
    }
    let lines = logical_lines(bytes);
    let mut settings = Settings::new();
    settings.set_last_opened(Some("net0"));
    let mut checker = Checker {
        labels: lines.iter().filter_map(LogicalLine::label).collect(),
        lone_words: lines.iter().filter_map(LogicalLine::lone_word).collect(),
        settings,
        found: Vec::new(),
    };
    checker.check_labels(&lines);
    for line in &lines {
        checker.check_line(line);
    }
    let mut found = checker.found;
    found.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
    found
}

/// A line with those that it goes on in.
struct LogicalLine {
    text: String,
    /// Where in `text` each line of the file begins, and its number.
    parts: Vec<(usize, usize)>,
    ends_open: bool,
}

/// A word and where it begins in its line.
#[derive(Clone)]
struct Word {
    at: usize,
    text: String,
}

impl LogicalLine {
    /// Line and column of a place in the text.
    fn position(&self, at: usize) -> (usize, usize) {
        let part = self.parts.iter().rev().find(|(start, _)| *start <= at);
        let (start, line) = part.copied().unwrap_or((0, 1));
        let before = self.text.get(start..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    fn line(&self) -> usize {
        self.parts.first().map_or(1, |(_, line)| *line)
    }

    /// The words up to a comment.
    fn words(&self) -> Vec<Word> {
        let mut words = Vec::new();
        let mut rest = self.text.as_str();
        loop {
            let trimmed = rest.trim_start_matches(is_space);
            let at = self.text.len() - trimmed.len();
            let end = trimmed.find(is_space).unwrap_or(trimmed.len());
            let (word, after) = trimmed.split_at(end);
            if word.is_empty() || word.starts_with('#') {
                return words;
            }
            words.push(Word {
                at,
                text: word.to_owned(),
            });
            rest = after;
        }
    }

    fn label(&self) -> Option<String> {
        let first = self.words().into_iter().next()?;
        first.text.strip_prefix(':').map(ToOwned::to_owned)
    }

    /// The only word of the line: perhaps a label that lost its colon.
    fn lone_word(&self) -> Option<(String, usize)> {
        match self.words().as_slice() {
            [only] => Some((only.text.clone(), self.line())),
            _ => None,
        }
    }

    /// The commands: their words, the name first.
    fn commands(&self) -> Vec<Vec<Word>> {
        let mut words = self.words();
        if words
            .first()
            .is_some_and(|first| first.text.starts_with(':'))
        {
            words.remove(0);
        }
        let commands = words.split(|word| Condition::of(&word.text).is_some());
        commands
            .filter(|words| !words.is_empty())
            .map(<[Word]>::to_vec)
            .collect()
    }
}

fn logical_lines(bytes: &[u8]) -> Vec<LogicalLine> {
    let mut lines = Vec::new();
    let mut physical = without_mark(bytes).split(|byte| *byte == b'\n').zip(1..);
    while let Some((first, number)) = physical.next() {
        let mut line = LogicalLine {
            text: String::new(),
            parts: Vec::from([(0, number)]),
            ends_open: false,
        };
        let mut piece = without_return(first);
        while let Some(joined) = piece.strip_suffix(b"\\") {
            line.text += &String::from_utf8_lossy(joined);
            let Some((next, number)) = physical.next() else {
                line.ends_open = true;
                piece = b"";
                break;
            };
            line.parts.push((line.text.len(), number));
            piece = without_return(next);
        }
        line.text += &String::from_utf8_lossy(piece);
        lines.push(line);
    }
    lines
}

struct Checker {
    labels: Vec<String>,
    lone_words: Vec<(String, usize)>,
    /// To try names and values on.
    settings: Settings,
    found: Vec<Diagnostic>,
}

impl Checker {
    fn report(&mut self, line: &LogicalLine, at: usize, severity: Severity, message: String) {
        let (line, column) = line.position(at);
        self.found.push(Diagnostic {
            line,
            column,
            severity,
            message,
        });
    }

    fn check_labels(&mut self, lines: &[LogicalLine]) {
        let mut seen: Vec<(String, usize)> = Vec::new();
        for line in lines {
            let Some(label) = line.label() else { continue };
            match seen.iter().find(|(other, _)| *other == label) {
                Some((_, first)) => {
                    let message =
                        format!("label `:{label}` is at line {first} already, where `goto` goes");
                    self.report(line, 0, Severity::Warning, message);
                }
                None => seen.push((label, line.line())),
            }
        }
    }

    fn check_line(&mut self, line: &LogicalLine) {
        if line.ends_open {
            let message = "the script ends with a `\\`, which joins nothing".to_owned();
            self.report(line, line.text.len(), Severity::Warning, message);
        }
        for words in line.commands() {
            for word in &words {
                self.check_expansions(line, word);
                self.check_operator(line, word);
            }
            self.check_command(line, &words);
        }
    }

    /// `dhcp||goto fail`: the operator is no word of its own.
    fn check_operator(&mut self, line: &LogicalLine, word: &Word) {
        let Some(at) = ["&&", "||"]
            .iter()
            .find_map(|operator| word.text.find(operator))
        else {
            return;
        };
        // Addresses and kernel arguments may well have one.
        let is_command = |text: &str| table::find(text).is_some();
        let before = word.text.get(..at).unwrap_or_default();
        let after = word.text.get(at + 2..).unwrap_or_default();
        if is_command(before) || is_command(after) || before.is_empty() || after.is_empty() {
            let message = format!(
                "`{}` is one word: operators need spaces around them",
                word.text
            );
            self.report(line, word.at, Severity::Warning, message);
        }
    }

    fn check_expansions(&mut self, line: &LogicalLine, word: &Word) {
        let mut open: Vec<usize> = Vec::new();
        let mut nested = false;
        for (at, _) in word.text.match_indices(['$', '}']) {
            let rest = word.text.get(at..).unwrap_or_default();
            if rest.starts_with("${") {
                nested = !open.is_empty();
                open.push(at);
            } else if rest.starts_with('}')
                && let Some(start) = open.pop()
            {
                // What holds another expansion is known only when the script runs.
                let name = word.text.get(start + 2..at).unwrap_or_default();
                if !name.contains("${")
                    && let Err(error @ SettingError::UnknownType { .. }) = self.settings.fetch(name)
                {
                    let message = format!("`${{{name}}}`: {error}");
                    self.report(line, word.at + start, Severity::Error, message);
                }
            }
        }
        if let Some(start) = open.first() {
            let hint = if nested { " (or one inside it)" } else { "" };
            let message = format!("this `${{` has no `}}`{hint}: it is printed as it is");
            self.report(line, word.at + start, Severity::Warning, message);
        }
    }

    fn check_command(&mut self, line: &LogicalLine, words: &[Word]) {
        let Some((name, arguments)) = words.split_first() else {
            return;
        };
        if is_open(&name.text) {
            return;
        }
        let Some(spec) = table::find(&name.text) else {
            let message = table::unknown(&name.text).to_string();
            self.report(line, name.at, Severity::Error, message);
            return;
        };
        let texts: Vec<String> = arguments.iter().map(|word| word.text.clone()).collect();
        if let Err(error) = spec.parse(&texts) {
            if let Some(at) = place_of(&error, name, arguments) {
                let message = format!("{}: {error}", name.text);
                self.report(line, at, Severity::Error, message);
            }
            return;
        }
        match spec.name {
            "goto" => self.check_goto(line, arguments),
            "set" | "clear" | "read" | "inc" | "show" => self.check_setting(line, arguments),
            _ => {}
        }
    }

    fn check_goto(&mut self, line: &LogicalLine, arguments: &[Word]) {
        let Some(target) = arguments.first().filter(|word| !is_open(&word.text)) else {
            return;
        };
        let label = &target.text;
        if self.labels.contains(label) {
            return;
        }
        let stray = self.lone_words.iter().find(|(word, _)| word == label);
        let hint = match stray {
            Some((_, line)) => format!("; line {line} reads `{label}`: is its colon missing?"),
            None => similar::closest(label, self.labels.iter().map(String::as_str))
                .map(|near| format!(", did you mean `:{near}`?"))
                .unwrap_or_default(),
        };
        let message = format!("no label `:{label}`{hint}");
        self.report(line, target.at, Severity::Error, message);
    }

    /// Name and value are tried on settings of our own.
    fn check_setting(&mut self, line: &LogicalLine, arguments: &[Word]) {
        let mut words = arguments
            .iter()
            .skip_while(|word| word.text.starts_with('-'));
        let Some(name) = words.next().filter(|word| !is_open(&word.text)) else {
            return;
        };
        let values: Vec<&str> = words.map(|word| word.text.as_str()).collect();
        let value = values.join(" ");
        let value = if is_open(&value) { "" } else { &value };
        if let Err(error) = self.settings.fetch(&name.text) {
            self.report(line, name.at, Severity::Error, error.to_string());
        } else if let Err(error) = self.settings.set(&name.text, value) {
            self.report(line, name.at, Severity::Error, error.to_string());
        } else if value.len() > 1 && value.starts_with('"') && value.ends_with('"') {
            let message = "the quote marks become part of the value: there is no quoting";
            self.report(line, name.at, Severity::Warning, message.to_owned());
        }
    }
}

/// Whether a text is known only when the script runs.
fn is_open(text: &str) -> bool {
    text.contains("${")
}

/// Where a usage error is; none where it is about something that is known only when the script
/// runs.
fn place_of(error: &UsageError, name: &Word, arguments: &[Word]) -> Option<usize> {
    let beginning = |text: &str| arguments.iter().find(|word| word.text.starts_with(text));
    let place = match error {
        UsageError::BadChoice { option, value, .. }
        | UsageError::BadKey { option, value }
        | UsageError::BadNumber { option, value } => {
            if is_open(value) {
                return None;
            }
            beginning(option)
        }
        UsageError::ExtraArgument { argument, .. } => {
            arguments.iter().rev().find(|word| word.text == *argument)
        }
        UsageError::UnknownOption { option, .. }
        | UsageError::UnexpectedValue { option }
        | UsageError::MissingValue { option } => beginning(option),
        UsageError::MissingArgument { .. } => None,
    };
    Some(place.map_or(name.at, |word| word.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(script: &str) -> Vec<String> {
        check(script.as_bytes())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_sound_script_is_not_blamed() {
        let script = "#!ipxe\r\n# comment with ${unclosed\n:start\nset i:int32 0\n\
                      isset ${net0/ip} || dhcp netX || goto ${menu-${x}}\n\
                      set net0/ip 10.0.0.1 ; set a b c\n\
                      prompt --timeout ${t} --key ${k} Press ${k}\n\
                      chain http://boot/x?a=1&&b=2 || goto start\n\
                      kernel vmlinuz --a ${b} && ${command} x ||\n\
                      echo --- \"text\" \\\n  more\nset user-class:hex 04:69\n${x} y\n";
        assert_eq!(shown(script), [""; 0]);
    }

    #[test]
    fn faults_are_named_with_their_place() {
        for (line, expected) in [
            (
                "dchp",
                "2:1: error: dchp: command not found, did you mean `dhcp`?",
            ),
            (
                "echo a && nonsense",
                "2:11: error: nonsense: command not found",
            ),
            (
                "iwstat",
                "2:1: error: iwstat: left out: the firmware's network protocol has no notion of Wi-Fi",
            ),
            (
                "  goto fial",
                "2:8: error: no label `:fial`, did you mean `:fail`?",
            ),
            (
                "goto lost\nlost",
                "2:6: error: no label `:lost`; line 3 reads `lost`: is its colon missing?",
            ),
            (
                "sanboot --filenam x",
                "2:9: error: sanboot: unknown option `--filenam`, did you mean `--filename`?",
            ),
            (
                "prompt --timeout soon",
                "2:8: error: prompt: --timeout: `soon` is no number like 10 or 0x0a",
            ),
            (
                "goto",
                "2:1: error: goto: an argument is missing; usage: goto <label>",
            ),
            (
                "shell now",
                "2:7: error: shell: `now` is one argument too many; usage: shell",
            ),
            (
                "echo é ${net0/mac:hexhip}",
                "2:8: error: `${net0/mac:hexhip}`: `hexhip` is no type of settings, did you mean `hexhyp`?",
            ),
            (
                "echo ${net0/mac",
                "2:6: warning: this `${` has no `}`: it is printed as it is",
            ),
            (
                "set net0/ip 10.0.0",
                "2:5: error: net0/ip: not an IPv4 address like 192.168.1.1",
            ),
            (
                "set a:int9 1",
                "2:5: error: `int9` is no type of settings, did you mean `int8`?",
            ),
            (
                "set a \"b c\"",
                "2:5: warning: the quote marks become part of the value: there is no quoting",
            ),
            (
                "dhcp||goto fail",
                "2:1: warning: `dhcp||goto` is one word: operators need spaces around them",
            ),
            (
                ":fail",
                "3:1: warning: label `:fail` is at line 2 already, where `goto` goes",
            ),
            (
                "echo \\\n  a ; \\\n  bogus",
                "4:3: error: bogus: command not found",
            ),
        ] {
            let found = shown(&format!("#!ipxe\n{line}\n:fail\n"));
            assert!(found.iter().any(|it| it == expected), "{line}: {found:#?}");
        }
        assert_eq!(
            shown("hello"),
            ["1:1: error: not a script: the first line is not `#!ipxe`"]
        );
        assert_eq!(
            shown("#!ipxe\necho a\\"),
            ["2:7: warning: the script ends with a `\\`, which joins nothing"]
        );
        let broken = check(b"#!ipxe\necho \xff\n");
        assert_eq!(
            broken[0].to_string(),
            "2:1: error: line 2 is not UTF-8 text"
        );
    }

    #[test]
    fn random_scripts_never_panic() {
        const PARTS: &[&str] = &[
            "goto", "set", " ", "${", "}", ":", "a", "\\\n", "\n", "||", "--x", "é", "#", "/", "$",
        ];
        for seed in 0..3000 {
            let mut random = crate::tests::Random::new(seed);
            let count = random.below(30);
            let script: String = (0..count).map(|_| random.pick(PARTS)).collect();
            let _ = check(format!("#!ipxe\n{script}").as_bytes());
        }
    }
}
