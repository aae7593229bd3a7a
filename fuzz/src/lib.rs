//! Hostile input for everything of ours that reads what others wrote.
//!
//! A [`Target`] is a function that takes any bytes. It must not panic, must end, and asserts what
//! always holds: what was written can be read again, a login without proof is no login. Each has
//! a folder of small inputs in `corpus/`. Ordinary tests run the targets on these and on some
//! mutations; [`smoke`] on many more, in a bounded time; libFuzzer (`libfuzzer/`) as long as
//! one likes. `cargo xtask fuzz` is the door to all of it.
#![forbid(unsafe_code)]

mod mutation;
mod records;
pub mod seeds;
pub mod smoke;
mod targets;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use targets::TARGETS;

/// One parser or machine under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called, on the command line and in `corpus/`.
    pub name: &'static str,
    /// Takes any bytes; panics where something is wrong.
    pub run: fn(&[u8]),
    /// Words of its language, that mutations put in.
    pub words: &'static [&'static str],
}

impl Target {
    /// The target of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Where its inputs are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "corpus", self.name]
            .iter()
            .collect()
    }

    /// Its inputs by file name, in the order of these.
    ///
    /// # Errors
    /// The folder or a file cannot be read, or there is none.
    pub fn corpus(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let folder = self.folder();
        let read = || -> std::io::Result<Vec<_>> {
            let mut entries = Vec::new();
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                entries.push((name, std::fs::read(entry.path())?));
            }
            Ok(entries)
        };
        let mut entries = read().with_context(|| format!("cannot read {}", folder.display()))?;
        entries.sort();
        Ok(entries)
    }
}
