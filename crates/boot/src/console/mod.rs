//! What a person sees and types: keys, the line editor, progress lines.

pub(crate) mod editor;
pub(crate) mod keyboard;
pub(crate) mod progress;
