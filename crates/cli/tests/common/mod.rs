//! The command as a user runs it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

/// Runs it in `directory`.
pub(crate) fn bowline(
    directory: &Path,
    arguments: impl IntoIterator<Item: AsRef<OsStr>>,
) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bowline"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}
