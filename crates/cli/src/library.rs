//! What `bowline image` and `bowline overlay` share: where the library of images is, when
//! something may be destroyed, and how sizes, tables and errors are told.

use std::fs;
use std::io::{ErrorKind, IsTerminal as _, Write as _, stderr};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use bowline_store::{Library, LibraryError, OpenError};
use clap::Args;

/// Where the images are.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The library: the directory of the golden images and the overlays
    #[arg(long, value_name = "DIR", global = true, default_value = DIRECTORY)]
    library: PathBuf,
}

impl Place {
    /// The library, which must be there: a mistyped directory is not made into one.
    pub(crate) fn open(&self) -> anyhow::Result<Library> {
        let place = self.library.display();
        match fs::metadata(self.library.join("images")) {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "there is no library of images in {place}: \
                 bowline image import makes one, --library names another"
            ),
            found => found.with_context(|| format!("cannot look into {place}"))?,
        };
        self.open_or_make()
    }

    /// The library; an empty one if there was none.
    pub(crate) fn open_or_make(&self) -> anyhow::Result<Library> {
        Library::open(&self.library).map_err(explain)
    }

    /// A further command, as the user would have to type it for this library.
    pub(crate) fn command(&self, command: &str) -> String {
        if self.library.as_os_str() == DIRECTORY {
            format!("bowline {command}")
        } else {
            format!("bowline {command} --library {}", self.library.display())
        }
    }
}

/// Whether something may be lost.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Force {
    /// Do it although what is there is lost; nobody asks again
    #[arg(long)]
    force: bool,
}

impl Force {
    /// Whether the user has said so.
    pub(crate) fn given(self) -> bool {
        self.force
    }
}

/// Adds what to do about an error where it does not tell that itself.
pub(crate) fn explain(error: LibraryError) -> anyhow::Error {
    let remedy = match &error {
        LibraryError::Open(OpenError::InUse { .. }) => {
            "stop that server, or take the disk out of its configuration and bowline reload"
        }
        LibraryError::HasOverlays { .. } => {
            "bowline overlay list shows all of them, bowline overlay rm removes one"
        }
        LibraryError::Io { source, .. } | LibraryError::Open(OpenError::Open { source, .. }) => {
            match source.kind() {
                ErrorKind::PermissionDenied => "run it as the user to whom the files belong",
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "nothing was changed; make room, or use a --library elsewhere"
                }
                _ => return error.into(),
            }
        }
        _ => return error.into(),
    };
    anyhow!("{error}; {remedy}")
}

/// Shows how far a copy is, to who looks at it.
#[derive(Debug)]
pub(crate) struct Meter {
    what: String,
    percent: Option<u64>,
    shown: bool,
}

impl Meter {
    pub(crate) fn new(what: String) -> Self {
        Self {
            what,
            percent: None,
            shown: stderr().is_terminal(),
        }
    }

    /// `done` of `total` bytes are.
    pub(crate) fn show(&mut self, done: u64, total: u64) {
        let percent = done.saturating_mul(100) / total.max(1);
        if self.shown && self.percent != Some(percent) {
            self.percent = Some(percent);
            // Who cannot see it needs no error about that.
            let _ = write!(stderr(), "\r{}: {percent} %", self.what);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.percent.is_some() {
            let _ = writeln!(stderr());
        }
    }
}

/// A number of bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let one = 1_u64 << (10 * unit);
    let name = UNITS.get(unit).unwrap_or(&"B");
    if bytes.is_multiple_of(one) {
        return format!("{} {name}", bytes / one);
    }
    // Never more than there is: 1023.99 MiB is 1023.9 MiB, not 1024.0.
    let tenths = (bytes % one) / (one / 1024) * 10 / 1024;
    format!("{}.{tenths} {name}", bytes / one)
}

/// A number of bytes that somebody typed: `20G`, `512M` or bytes; whole blocks of 4096.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let advice = || format!("{text:?} is not a size; write it like 20G, 512M or 21474836480");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (_, unit) = text.split_at(digits.len());
    let unit = unit.to_ascii_uppercase();
    let power = match unit.trim_end_matches("IB") {
        "" if unit.is_empty() => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(advice()),
    };
    let number: u64 = digits.parse().map_err(|_| advice())?;
    let bytes = number.checked_mul(1 << (10 * power)).ok_or_else(advice)?;
    if bytes == 0 || !bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(format!(
            "{text} is not a whole number of {BLOCK_BYTES} byte blocks"
        ));
    }
    Ok(bytes)
}

/// The library unless told otherwise.
const DIRECTORY: &str = "/var/lib/bowline/images";
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
/// The larger of the block sizes that a LUN may have.
const BLOCK_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_for_people() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (8 << 30, "8 GiB"),
            (5 << 50, "5120 TiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [
            ("20G", 20 << 30),
            ("512m", 512 << 20),
            ("4KiB", 4096),
            ("2T", 2 << 40),
            ("8192", 8192),
        ] {
            assert_eq!(parse_size(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "G",
            "0",
            "-1G",
            "1.5G",
            "20X",
            "20GB",
            "iB",
            "8iB",
            "1K",
            "4097",
            "99999999999T",
            "é",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
