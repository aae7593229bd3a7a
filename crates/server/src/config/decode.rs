//! Readers for the values of a TOML document.
//!
//! A reader that does not like a value reports a [`Problem`] at the value's line and answers
//! `None`; the caller goes on with the next key. So `?` here means "already reported". Keys that
//! nobody asked for are reported by [`Section::finish`], with the nearest known key.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Problem;
use super::suggest::nearest;

/// A document under examination.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    path: &'a Path,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// What has been claimed, by which line, and whether it may be shared.
    claims: RefCell<HashMap<String, (usize, Claim)>>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(path: &'a Path, text: &'a str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self {
            path,
            text,
            root,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            claims: RefCell::default(),
        };
        for error in errors {
            let message = error.message().replace('\n', ", ");
            document.problem(error.span(), "", &format!("not valid TOML: {message}"));
        }
        document
    }

    /// The top of the document; `None` if it is not valid TOML, whose remains would only produce
    /// misleading complaints.
    pub(crate) fn root(&self) -> Option<Section<'_>> {
        self.problems.borrow().is_empty().then(|| Section {
            document: self,
            key: String::new(),
            span: None,
            table: self.root.get_ref(),
            known: Vec::new(),
        })
    }

    pub(crate) fn problem(&self, span: Option<Range<usize>>, key: &str, message: &str) {
        self.problems
            .borrow_mut()
            .push(self.describe(span, key, message));
    }

    /// Problems and warnings, each in the order of the file.
    pub(crate) fn into_problems(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|problem| problem.line);
            list
        };
        (sorted(self.problems), sorted(self.warnings))
    }

    fn describe(&self, span: Option<Range<usize>>, key: &str, message: &str) -> Problem {
        Problem {
            path: self.path.into(),
            line: span.map(|span| self.line(span.start)),
            key: key.into(),
            message: message.into(),
        }
    }

    fn line(&self, offset: usize) -> usize {
        1 + self
            .text
            .bytes()
            .take(offset)
            .filter(|byte| *byte == b'\n')
            .count()
    }
}

/// How a place takes something that others may want too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// For itself alone.
    Exclusive,
    /// Together with others that share.
    Shared,
}

/// A table, and which of its keys have been asked for.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    document: &'a Document<'a>,
    /// Dotted path of the table; empty at the top.
    key: String,
    span: Option<Range<usize>>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Whether the key is there, whatever its value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The value of a key that may be left out.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.known.push(name);
        let value = self.table.get(name)?;
        Some(Value {
            document: self.document,
            key: self.path_of(name),
            span: value.span(),
            value: value.get_ref(),
        })
    }

    /// The value of a key that must be there; `advice` says what to do if it is not.
    pub(crate) fn required(&mut self, name: &'static str, advice: &str) -> Option<Value<'a>> {
        let value = self.optional(name);
        if value.is_none() {
            self.problem(&format!("`{name}` is missing: {advice}"));
        }
        value
    }

    /// The entries of a key that holds a list of tables (`[[...]]`), none if it is left out.
    pub(crate) fn sections(&mut self, name: &'static str) -> Vec<Self> {
        let items = self
            .optional(name)
            .and_then(|value| value.list())
            .unwrap_or_default();
        items
            .into_iter()
            .filter_map(|item| item.section())
            .collect()
    }

    /// Reports something about the table as a whole, at the line where it starts.
    pub(crate) fn problem(&self, message: &str) {
        self.document.problem(self.span.clone(), &self.key, message);
    }

    /// Reports the keys that nobody asked for.
    pub(crate) fn finish(self) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let advice = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("unknown key; did you mean `{near}`?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.document
                .problem(Some(key.span()), &self.path_of(name), &advice);
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.key.is_empty() {
            name.into()
        } else {
            format!("{}.{name}", self.key)
        }
    }
}

/// One value and where it stands.
#[derive(Debug)]
pub(crate) struct Value<'a> {
    document: &'a Document<'a>,
    key: String,
    span: Range<usize>,
    value: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// Reports something wrong with this value.
    pub(crate) fn problem(&self, message: &str) {
        self.document
            .problem(Some(self.span.clone()), &self.key, message);
    }

    /// Reports something doubtful about this value.
    pub(crate) fn warning(&self, message: &str) {
        let warning = self
            .document
            .describe(Some(self.span.clone()), &self.key, message);
        self.document.warnings.borrow_mut().push(warning);
    }

    /// A string.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match self.value {
            DeValue::String(text) => Some(text.as_ref()),
            _ => self.expected("a string in quotes"),
        }
    }

    /// A string that `parse` understands; its error is the message.
    pub(crate) fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(self.text()?)
            .map_err(|message| self.problem(&message))
            .ok()
    }

    /// A whole number within `range`.
    pub(crate) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.value else {
            return self.expected("a whole number");
        };
        let value = u64::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.problem(&format!(
                "{number} is not between {} and {}",
                range.start(),
                range.end()
            ));
        }
        value
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.expected("true or false"),
        }
    }

    /// The items of a list.
    pub(crate) fn list(&self) -> Option<Vec<Self>> {
        self.as_list()
            .or_else(|| self.expected("a list in brackets, like [\"...\"]"))
    }

    /// The items of a list; `None` without a word if this is something else.
    pub(crate) fn as_list(&self) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value else {
            return None;
        };
        let item = |item: &'a Spanned<DeValue<'a>>| Value {
            document: self.document,
            key: self.key.clone(),
            span: item.span(),
            value: item.get_ref(),
        };
        Some(array.iter().map(item).collect())
    }

    /// A table.
    pub(crate) fn section(&self) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.value else {
            return self.expected("a table");
        };
        Some(Section {
            document: self.document,
            key: self.key.clone(),
            span: Some(self.span.clone()),
            table,
            known: Vec::new(),
        })
    }

    /// A path; a relative one starts at the directory of the configuration file.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            self.problem("is empty; give a path");
            return None;
        }
        Some(
            self.document
                .path
                .parent()
                .unwrap_or(Path::new(""))
                .join(text),
        )
    }

    /// Takes `what` for this place; reports `message` and the line that has it if it is taken.
    pub(crate) fn claim(&self, what: &str, claim: Claim, message: &str) -> bool {
        let line = self.document.line(self.span.start);
        let mut claims = self.document.claims.borrow_mut();
        match claims.get(what) {
            None => {
                claims.insert(what.into(), (line, claim));
                true
            }
            Some((_, Claim::Shared)) if claim == Claim::Shared => true,
            Some((other, _)) => {
                self.problem(&format!("{message}, on line {other}"));
                false
            }
        }
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.problem(&format!("should be {what}, not {found}"));
        None
    }
}
