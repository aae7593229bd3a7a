//! The nodes of the settings tree and the search through them.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use zeroize::Zeroizing;

use super::name::{Key, PRIORITY_TAG, SettingName};
use super::{Computed, SettingType, Source, options};

/// One scope.
#[derive(Default)]
pub(super) struct Block {
    name: String,
    entries: Vec<Entry>,
    children: Vec<Self>,
    /// Answers for names that are not among the entries.
    source: Option<Source>,
}

/// One value.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) kind: Option<SettingType>,
    pub(super) value: Value,
}

pub(super) enum Value {
    Bytes(Zeroizing<Vec<u8>>),
    Computed(Computed),
}

/// What a search came upon.
pub(super) struct Found<'a> {
    /// The scopes from where the search began to where it ended.
    pub(super) path: Vec<&'a str>,
    pub(super) kind: Option<SettingType>,
    /// The type that a source answered in, whatever its name means elsewhere.
    pub(super) answered: Option<SettingType>,
    pub(super) value: Zeroizing<Vec<u8>>,
}

impl Block {
    /// Searches this block, then its children by priority. A source answers only where the search
    /// begins.
    pub(super) fn find(&self, name: &SettingName<'_>) -> Option<Found<'_>> {
        self.search(&name.key).or_else(|| {
            let (kind, value) = self.source.as_ref()?(name.text, name.written)?;
            (!value.is_empty()).then(|| Found {
                path: Vec::new(),
                kind: None,
                answered: Some(kind),
                value: Zeroizing::new(value),
            })
        })
    }

    fn search(&self, key: &Key) -> Option<Found<'_>> {
        if let Some((kind, value)) = self.own(key) {
            return Some(Found {
                path: Vec::new(),
                kind,
                answered: None,
                value,
            });
        }
        let mut children: Vec<&Self> = self.children.iter().collect();
        // A stable sort: of equal priority, the one registered first comes first.
        children.sort_by_cached_key(|child| Reverse(child.priority().unwrap_or(0)));
        children.into_iter().find_map(|child| {
            let mut found = child.search(key)?;
            found.path.insert(0, &child.name);
            Some(found)
        })
    }

    /// The priority of the block itself, else the highest among its children.
    fn priority(&self) -> Option<i64> {
        if let Some((_, value)) = self.own(&Key::Tag(PRIORITY_TAG.to_vec())) {
            return SettingType::Int8.number(&value).ok();
        }
        self.children.iter().filter_map(Self::priority).max()
    }

    /// The value in this block: of that very key, or inside an option that encapsulates it.
    fn own(&self, key: &Key) -> Option<(Option<SettingType>, Zeroizing<Vec<u8>>)> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.key == *key) {
            return Some((entry.kind, entry.value.get()?));
        }
        let Key::Tag(tag) = key else { return None };
        self.entries.iter().find_map(|entry| {
            let inner = entry.encapsulated(tag)?;
            let value = options::find(&entry.value.get()?, inner)?;
            (!value.is_empty()).then(|| (None, Zeroizing::new(value)))
        })
    }

    pub(super) fn set_source(&mut self, source: Source) {
        self.source = Some(source);
    }

    pub(super) fn is_computed(&self, key: &Key) -> bool {
        let entry = self.entries.iter().find(|entry| entry.key == *key);
        entry.is_some_and(|entry| matches!(entry.value, Value::Computed(_)))
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Takes a key out, also out of options that encapsulate it.
    pub(super) fn remove(&mut self, key: &Key) {
        self.entries.retain(|entry| entry.key != *key);
        let Key::Tag(tag) = key else { return };
        for entry in &mut self.entries {
            let Some(inner) = entry.encapsulated(tag) else {
                continue;
            };
            if let Value::Bytes(value) = &mut entry.value
                && let Some(rest) = options::without(value, inner)
            {
                *value = Zeroizing::new(rest);
            }
        }
        self.entries
            .retain(|entry| !matches!(&entry.value, Value::Bytes(value) if value.is_empty()));
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Child scopes, but for those that hold nothing and only answer.
    pub(super) fn child_names(&self) -> impl Iterator<Item = &str> {
        let holds = |child: &&Self| {
            child.source.is_none() || !child.entries.is_empty() || !child.children.is_empty()
        };
        self.children
            .iter()
            .filter(holds)
            .map(|child| child.name.as_str())
    }

    /// Takes all values out.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn has_child(&self, name: &str) -> bool {
        self.children.iter().any(|child| child.name == name)
    }

    pub(super) fn remove_child(&mut self, name: &str) -> bool {
        let before = self.children.len();
        self.children.retain(|child| child.name != name);
        self.children.len() != before
    }

    pub(super) fn descend(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |block, name| {
            block.children.iter().find(|child| child.name == *name)
        })
    }

    pub(super) fn descend_mut(&mut self, path: &[String]) -> Option<&mut Self> {
        path.iter().try_fold(self, |block, name| {
            block.children.iter_mut().find(|child| child.name == *name)
        })
    }

    /// Goes down `path`, making what is missing of it; `None` if that is more than `room`.
    pub(super) fn descend_or_make(&mut self, path: &[String], room: usize) -> Option<&mut Self> {
        let mut room = room;
        path.iter().try_fold(self, |block, name| {
            if !block.has_child(name) {
                room = room.checked_sub(1)?;
                block.children.push(Self {
                    name: name.to_owned(),
                    ..Self::default()
                });
            }
            block.children.iter_mut().find(|child| child.name == *name)
        })
    }

    /// Entries in this block and below, and the bytes of their values.
    pub(super) fn size(&self) -> (usize, usize) {
        let own = self.entries.iter().map(|entry| entry.value.len()).sum();
        self.children.iter().map(Self::size).fold(
            (self.entries.len(), own),
            |(entries, bytes), (more, more_bytes)| (entries + more, bytes + more_bytes),
        )
    }

    pub(super) fn count_blocks(&self) -> usize {
        self.children.len() + self.children.iter().map(Self::count_blocks).sum::<usize>()
    }
}

impl Entry {
    /// The rest of `tag` when this entry is an option that may hold it.
    fn encapsulated<'a>(&self, tag: &'a [u8]) -> Option<&'a [u8]> {
        let Key::Tag(own) = &self.key else {
            return None;
        };
        tag.strip_prefix(own.as_slice())
            .filter(|inner| !inner.is_empty())
    }
}

impl Entry {
    /// The type to show a value in that nobody gave one: text where it is text.
    pub(super) fn natural_kind(&self) -> SettingType {
        let Some(value) = self.value.get() else {
            return SettingType::String;
        };
        let is_text = core::str::from_utf8(&value).is_ok_and(|text| {
            !text
                .trim_end_matches('\0')
                .contains(|c: char| c.is_control())
        });
        if is_text {
            SettingType::String
        } else {
            SettingType::Hex
        }
    }
}

impl Value {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(value) => value.len(),
            // Made anew each time.
            Self::Computed(_) => 0,
        }
    }

    pub(super) fn get(&self) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Bytes(value) => Some(value.clone()),
            Self::Computed(source) => source().map(Zeroizing::new),
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Block")
            .field("name", &self.name)
            .field("entries", &self.entries)
            .field("children", &self.children)
            .finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.key.name())
    }
}
