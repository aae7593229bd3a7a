//! The settings tree: named values in nested scopes, searched by priority.
//!
//! A look-up without a scope starts at the root: the scope's own values come first, then those
//! of its children by descending `priority` (iPXE option 175.1), those registered earlier
//! first. So what a script sets wins over what a DHCP server sent, and `net0` over `net1`.
//! DHCP options are kept as they came; a tag such as `175.190` is found inside them.

mod error;
mod name;
mod names_list;
mod options;
mod tree;
mod value;

#[cfg(test)]
mod tests;

use alloc::borrow::ToOwned;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;

use zeroize::Zeroizing;

pub use error::SettingError;
use name::{Key, SettingName};
pub use name::{PREDEFINED, Predefined, tag_number};
use tree::{Block, Entry, Value};
pub(crate) use value::parse_base64;
pub use value::{SettingType, ValueError};

use crate::limits;
use crate::parse_integer;

/// All settings of the loader.
#[derive(Default)]
pub struct Settings {
    root: Block,
    last_opened: Option<String>,
    generation: u64,
}

/// A source of values that are computed when they are asked for.
pub type Computed = Rc<dyn Fn() -> Option<Vec<u8>>>;

/// A source of the values of a scope, asked by the name after the slash, as it was written, and by
/// the type that is wanted, if one is. What it answers is of that type, or of the one it names.
pub type Source = Rc<dyn Fn(&str, Option<SettingType>) -> Option<(SettingType, Vec<u8>)>>;

impl Settings {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks a setting up; `None` if it is not set anywhere it is searched for.
    ///
    /// # Errors
    /// [`SettingError`] when `name` is no setting name.
    pub fn fetch(&self, name: &str) -> Result<Option<Setting>, SettingError> {
        let name = SettingName::parse(name)?;
        let Some(path) = self.path(name.scope) else {
            return Ok(None);
        };
        let Some(block) = self.root.descend(&path) else {
            return Ok(None);
        };
        Ok(block.find(&name).map(|found| {
            let scope: Vec<&str> = path.iter().copied().chain(found.path).collect();
            Setting {
                scope: scope.join("."),
                name: name.key.name().into_owned(),
                kind: found
                    .answered
                    .or(name.kind)
                    .or(found.kind)
                    .unwrap_or(SettingType::String),
                value: found.value,
            }
        }))
    }

    /// The value as text; `None` if it is not set, or the name or the value is malformed.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.fetch(name).ok()??.text().ok()
    }

    /// The value as bytes; `None` if it is not set.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.fetch(name).ok()??.value.to_vec())
    }

    /// The value as a number, written as text or in bytes; `None` if it is not set or is none.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.fetch(name).ok()??.number().ok()
    }

    /// The value as an IPv4 address; `None` if it is not set or is none.
    #[must_use]
    pub fn ipv4(&self, name: &str) -> Option<Ipv4Addr> {
        self.ipv4_list(name).first().copied()
    }

    /// The value as a list of IPv4 addresses; empty if it is not set.
    #[must_use]
    pub fn ipv4_list(&self, name: &str) -> Vec<Ipv4Addr> {
        let Some(setting) = self.fetch(name).ok().flatten() else {
            return Vec::new();
        };
        if setting.kind == SettingType::String {
            return setting
                .text()
                .ok()
                .and_then(|text| text.parse().ok())
                .into_iter()
                .collect();
        }
        setting
            .value
            .as_chunks::<4>()
            .0
            .iter()
            .copied()
            .map(Ipv4Addr::from)
            .collect()
    }

    /// Stores `text`, read by the setting's type; the empty text clears the setting. Scopes
    /// that do not exist are made.
    ///
    /// # Errors
    /// [`SettingError`] when the name or the text is malformed, the setting is read-only, or a
    /// limit is reached.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), SettingError> {
        let parsed = SettingName::parse(name)?;
        let kind = parsed.kind.unwrap_or(SettingType::String);
        let value = kind.parse(text).map_err(|error| bad_value(name, error))?;
        self.store(name, &parsed, Some(kind), value)
    }

    /// Stores bytes as a DHCP option or a card would carry them; no bytes clear the setting.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn set_bytes(&mut self, name: &str, value: impl Into<Vec<u8>>) -> Result<(), SettingError> {
        let parsed = SettingName::parse(name)?;
        self.store(name, &parsed, parsed.kind, value.into())
    }

    /// Registers a setting that `source` computes at each look-up. Scripts cannot change it.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn set_computed(&mut self, name: &str, source: Computed) -> Result<(), SettingError> {
        let parsed = SettingName::parse(name)?;
        let entry = Entry {
            kind: parsed.kind,
            value: Value::Computed(source),
            key: parsed.key,
        };
        let block = self.block_for(parsed.scope)?;
        block.remove(&entry.key);
        block.insert(entry);
        self.changed();
        Ok(())
    }

    /// Has `source` answer for every name of a scope that is not set there, as in
    /// `${smbios/0.1.27.0}`.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn set_source(&mut self, scope: &str, source: Source) -> Result<(), SettingError> {
        self.block_for(Some(scope))?.set_source(source);
        self.changed();
        Ok(())
    }

    /// Clears a setting in its scope.
    ///
    /// # Errors
    /// [`SettingError`] when the name is malformed or the setting is read-only.
    pub fn clear(&mut self, name: &str) -> Result<(), SettingError> {
        let parsed = SettingName::parse(name)?;
        self.store(name, &parsed, None, Vec::new())
    }

    /// Adds `by` to a number. A setting that is not set counts as zero, and becomes an `int32`
    /// where its name has no type.
    ///
    /// # Errors
    /// [`SettingError`] when the value is no number, or the sum does not fit its type.
    pub fn increment(&mut self, name: &str, by: i64) -> Result<(), SettingError> {
        let parsed = SettingName::parse(name)?;
        let found = self.fetch(name)?;
        let kind = found
            .as_ref()
            .map(|setting| setting.kind)
            .or(parsed.kind)
            .unwrap_or(SettingType::Int32);
        let number = found.map_or(Ok(0), |setting| setting.number());
        let number = number.map_err(|error| bad_value(name, error))?;
        let sum = number.checked_add(by).ok_or_else(|| {
            bad_value(
                name,
                ValueError::Range {
                    least: i64::MIN,
                    most: i64::MAX,
                },
            )
        })?;
        let value = if kind.is_number() {
            kind.encode(sum)
        } else {
            kind.parse(&sum.to_string())
        };
        let value = value.map_err(|error| bad_value(name, error))?;
        self.store(name, &parsed, Some(kind), value)
    }

    /// Makes an empty scope, unless it exists. Scopes of equal priority are searched in the
    /// order in which they were made.
    ///
    /// # Errors
    /// [`SettingError`] when `scope` is malformed or a limit is reached.
    pub fn register(&mut self, scope: &str) -> Result<(), SettingError> {
        self.block_for(Some(scope)).map(|_| ())
    }

    /// Replaces all that a scope holds (not its child scopes) by DHCP options.
    ///
    /// # Errors
    /// [`SettingError`] when `scope` is malformed or a limit is reached; options beyond the
    /// limit are left out.
    pub fn set_options(
        &mut self,
        scope: &str,
        options: impl IntoIterator<Item = (u8, Vec<u8>)>,
    ) -> Result<(), SettingError> {
        self.block_for(Some(scope))?.clear();
        self.changed();
        for (code, value) in options {
            let parsed = SettingName {
                scope: Some(scope),
                key: Key::Tag(Vec::from([code])),
                text: "",
                written: None,
                kind: None,
            };
            let name = parsed.key.name();
            self.store(&name, &parsed, None, value)?;
        }
        Ok(())
    }

    /// Removes a scope and its children; false if there is none.
    pub fn remove_scope(&mut self, scope: &str) -> bool {
        let Some(path) = self.path(Some(scope)) else {
            return false;
        };
        let path: Vec<String> = path.into_iter().map(ToOwned::to_owned).collect();
        let Some((last, above)) = path.split_last() else {
            return false;
        };
        let removed = self
            .root
            .descend_mut(above)
            .is_some_and(|block| block.remove_child(last));
        if removed {
            self.changed();
        }
        removed
    }

    /// Says which network interface `netX` stands for: the one opened last.
    pub fn set_last_opened(&mut self, interface: Option<&str>) {
        self.last_opened = interface.map(ToOwned::to_owned);
        self.changed();
    }

    /// The values that a scope itself holds (`""`: the root), in the order they were set; options
    /// inside options are not taken apart. Empty where there is no such scope.
    #[must_use]
    pub fn list(&self, scope: &str) -> Vec<Setting> {
        let Some((path, block)) = self.block(scope) else {
            return Vec::new();
        };
        let scope = path.join(".");
        let entries = block.entries().filter_map(|entry| {
            let kind = entry.kind.or_else(|| entry.key.predefined_kind());
            Some(Setting {
                scope: scope.clone(),
                name: entry.key.name().into_owned(),
                kind: kind.unwrap_or_else(|| entry.natural_kind()),
                value: entry.value.get()?,
            })
        });
        entries.collect()
    }

    /// The full names of the scopes inside a scope (`""`: the root), but for those that hold nothing
    /// and only answer for names.
    #[must_use]
    pub fn scopes(&self, within: &str) -> Vec<String> {
        let Some((path, block)) = self.block(within) else {
            return Vec::new();
        };
        let full = |name: &str| {
            let parts: Vec<&str> = path.iter().copied().chain([name]).collect();
            parts.join(".")
        };
        block.child_names().map(full).collect()
    }

    /// Whether a setting is computed, so that it cannot be changed.
    #[must_use]
    pub fn is_read_only(&self, name: &str) -> bool {
        SettingName::parse(name).is_ok_and(|name| {
            let block = self.block(name.scope.unwrap_or_default());
            block.is_some_and(|(_, block)| block.is_computed(&name.key))
        })
    }

    fn block<'a>(&'a self, scope: &'a str) -> Option<(Vec<&'a str>, &'a Block)> {
        let path = self.path((!scope.is_empty()).then_some(scope))?;
        let block = self.root.descend(&path)?;
        Some((path, block))
    }

    /// The network interface that `netX` stands for.
    #[must_use]
    pub fn last_opened(&self) -> Option<&str> {
        self.last_opened.as_deref()
    }

    /// A number that grows with every change, so that a caller can tell when to look again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    fn store(
        &mut self,
        name: &str,
        parsed: &SettingName<'_>,
        kind: Option<SettingType>,
        value: Vec<u8>,
    ) -> Result<(), SettingError> {
        if value.len() > limits::VALUE_BYTES {
            return Err(SettingError::TooLarge {
                name: name.to_owned(),
            });
        }
        let block = self.block_for(parsed.scope)?;
        if block.is_computed(&parsed.key) {
            return Err(SettingError::ReadOnly {
                name: name.to_owned(),
            });
        }
        block.remove(&parsed.key);
        self.changed();
        if value.is_empty() {
            return Ok(());
        }
        let (entries, bytes) = self.root.size();
        if entries >= limits::SETTINGS || bytes + value.len() > limits::SETTINGS_BYTES {
            return Err(SettingError::TooMany);
        }
        let value = Value::Bytes(Zeroizing::new(value));
        let entry = Entry {
            key: parsed.key.clone(),
            kind,
            value,
        };
        self.block_for(parsed.scope)?.insert(entry);
        Ok(())
    }

    /// The scopes from the root to the named one, aliases resolved; `None` for `netX` while no
    /// interface has been opened.
    fn path<'a>(&'a self, scope: Option<&'a str>) -> Option<Vec<&'a str>> {
        let Some(scope) = scope else {
            return Some(Vec::new());
        };
        let mut path = Vec::new();
        for (depth, part) in scope.split('.').enumerate() {
            if depth > 0 {
                path.push(part);
            } else if part == LAST_OPENED {
                path.push(self.last_opened.as_deref()?);
            } else if DHCP_SCOPES.contains(&part)
                && !self.root.has_child(part)
                && let Some(interface) = self.last_opened.as_deref()
            {
                path.extend([interface, part]);
            } else {
                path.push(part);
            }
        }
        Some(path)
    }

    fn block_for(&mut self, scope: Option<&str>) -> Result<&mut Block, SettingError> {
        if let Some(scope) = scope {
            SettingName::check_scope(scope)?;
        }
        let path = self.path(scope).ok_or(SettingError::NoInterface)?;
        let path: Vec<String> = path.into_iter().map(ToOwned::to_owned).collect();
        let room = limits::SCOPES.saturating_sub(self.root.count_blocks());
        self.root
            .descend_or_make(&path, room)
            .ok_or(SettingError::TooMany)
    }

    fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names only: values may be secrets.
        out.debug_struct("Settings")
            .field("root", &self.root)
            .field("last_opened", &self.last_opened)
            .field("generation", &self.generation)
            .finish()
    }
}

/// A setting that was found.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Setting {
    /// The scope that holds it, dots between; empty at the root.
    pub scope: String,
    /// Its predefined name where it has one, else as it was asked for.
    pub name: String,
    /// The type asked for, else its own.
    pub kind: SettingType,
    /// Its bytes.
    pub value: Zeroizing<Vec<u8>>,
}

impl Setting {
    /// The value as text.
    ///
    /// # Errors
    /// [`ValueError`] when the bytes are no value of the type.
    pub fn text(&self) -> Result<String, ValueError> {
        self.kind.format(&self.value)
    }

    /// The value as a number: strings are read as one, other types by their bytes.
    ///
    /// # Errors
    /// [`ValueError`] when it is none.
    pub fn number(&self) -> Result<i64, ValueError> {
        match self.kind {
            SettingType::String | SettingType::UriString => {
                let text = core::str::from_utf8(&self.value).map_err(|_| ValueError::Number)?;
                parse_integer(text).ok_or(ValueError::Number)
            }
            kind => kind.number(&self.value),
        }
    }

    /// `scope/name:type`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let Self {
            scope, name, kind, ..
        } = self;
        let slash = if scope.is_empty() { "" } else { "/" };
        alloc::format!("{scope}{slash}{name}:{}", kind.name())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} = ", self.full_name())?;
        match self.text() {
            Ok(text) => out.write_str(&text),
            Err(error) => write!(out, "({error})"),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be a secret.
        write!(
            out,
            "Setting({}, {} bytes)",
            self.full_name(),
            self.value.len()
        )
    }
}

fn bad_value(name: &str, error: ValueError) -> SettingError {
    SettingError::BadValue {
        name: name.to_owned(),
        error,
    }
}

/// Stands for the interface that was opened last.
const LAST_OPENED: &str = "netX";

/// Scopes that, without a scope of that name at the root, are those of the last interface.
const DHCP_SCOPES: [&str; 3] = ["dhcp", "proxydhcp", "pxebs"];
