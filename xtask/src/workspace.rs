//! Where things are: the sources, the build results, the cache of downloaded packages.

use std::path::{Path, PathBuf};

/// Folders of this checkout.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// Packages, unpacked trees and disk images that many runs share (`BOWLINE_CACHE`).
    pub(crate) cache: PathBuf,
}

impl Workspace {
    /// Finds them from the place this tool was built in and the environment.
    pub(crate) fn find() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest).to_path_buf();
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        let cache = std::env::var_os("BOWLINE_CACHE")
            .map_or_else(|| target.join("xtask"), |folder| root.join(folder));
        Self {
            root,
            target,
            cache,
        }
    }

    /// The `e2e` folder: scenarios, steps.
    pub(crate) fn e2e(&self) -> PathBuf {
        self.root.join("e2e")
    }
}
