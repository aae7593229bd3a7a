//! Menus and forms as scripts put them together: `menu` or `form`, then `item` after `item`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::failure::{Code, Failure};

/// A menu or a form: iPXE knows no difference before it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DynamicUi {
    /// Its name; one has none.
    pub(crate) name: Option<String>,
    pub(crate) title: String,
    pub(crate) items: Vec<Item>,
}

/// An item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Item {
    /// What `choose` stores, or the setting that a form edits; a heading has none.
    pub(crate) name: Option<String>,
    pub(crate) text: String,
    /// The key that chooses it.
    pub(crate) key: Option<u32>,
    pub(crate) is_default: bool,
    pub(crate) is_secret: bool,
}

/// Those that exist.
#[derive(Debug, Default)]
pub(crate) struct DynamicUis(Vec<DynamicUi>);

impl DynamicUis {
    /// Begins one; an older one of the same name goes.
    pub(crate) fn begin(&mut self, name: Option<&str>, title: String) -> Result<(), Failure> {
        self.remove(name);
        if self.0.len() >= UIS_MAX {
            return Err(too_many("menus and forms", UIS_MAX));
        }
        self.0.push(DynamicUi {
            name: name.map(String::from),
            title,
            items: Vec::new(),
        });
        Ok(())
    }

    /// The one of this name.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<&DynamicUi, Failure> {
        let found = self.0.iter().find(|ui| ui.name.as_deref() == name);
        found.ok_or_else(|| missing(name))
    }

    pub(crate) fn add_item(&mut self, name: Option<&str>, item: Item) -> Result<(), Failure> {
        let found = self.0.iter_mut().find(|ui| ui.name.as_deref() == name);
        let ui = found.ok_or_else(|| missing(name))?;
        if ui.items.len() >= ITEMS_MAX {
            return Err(too_many("items", ITEMS_MAX));
        }
        ui.items.push(item);
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: Option<&str>) {
        self.0.retain(|ui| ui.name.as_deref() != name);
    }
}

fn missing(name: Option<&str>) -> Failure {
    let message = match name {
        Some(name) => {
            format!("there is no menu or form `{name}`; begin it with `menu --name {name}`")
        }
        None => String::from("there is no menu or form; begin one with `menu`"),
    };
    Failure::new(Code::MenuUnknown, message)
}

fn too_many(what: &str, limit: usize) -> Failure {
    Failure::new(
        Code::MenuUnknown,
        format!("there are {limit} {what} already"),
    )
}

/// Menus and forms at one time.
const UIS_MAX: usize = 64;

/// Items of one of them.
const ITEMS_MAX: usize = 1000;
