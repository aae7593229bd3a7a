//! What a person sees and types: keys, the line editor, progress lines, menus and forms.

pub mod ansi;
pub(crate) mod browser;
pub(crate) mod complete;
pub(crate) mod editor;
pub(crate) mod form;
pub(crate) mod full_screen;
pub(crate) mod keyboard;
pub(crate) mod menu;
pub(crate) mod pager;
pub(crate) mod palette;
pub(crate) mod progress;
pub(crate) mod screen;
pub mod terminal;
