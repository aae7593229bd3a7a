//! Files that are there whole or not at all.

use std::fs::{DirBuilder, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::Context as _;

/// Who may read a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// Its owner.
    Secret = 0o600,
    /// Everybody.
    Public = 0o644,
}

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and there is an error.
    Keep,
    /// The new one takes its place.
    Replace,
}

/// Writes beside the goal and renames, so that nobody ever reads half a file or one with the wrong
/// permissions.
pub(crate) fn write(
    path: &Path,
    bytes: &[u8],
    mode: Mode,
    existing: Existing,
) -> anyhow::Result<()> {
    let directory = path.parent().context("not the path of a file")?;
    let written = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode as u32))
        .tempfile_in(directory)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            let put = match existing {
                Existing::Keep => file.persist_noclobber(path),
                Existing::Replace => file.persist(path),
            };
            put.map_err(|error| error.error)
        });
    written.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Makes a directory that only its owner may look into, if it is not there.
pub(crate) fn make_private_directory(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make the directory {}", path.display()))
}
