//! Programs of Debian packages that are unpacked, not installed: whatever the host is, they are
//! started by their own dynamic linker with their own libraries.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::packages::{Package, Packages};

/// Unpacked packages.
#[derive(Debug)]
pub(crate) struct Unpacked {
    arch: Arch,
    trees: Vec<PathBuf>,
}

impl Unpacked {
    /// Unpacks packages of this architecture, which must have all libraries among them.
    pub(crate) fn open(
        packages: &Packages,
        arch: Arch,
        list: impl Iterator<Item = Package>,
    ) -> Result<Self> {
        let trees = list
            .map(|package| packages.tree(package))
            .collect::<Result<_>>()?;
        Ok(Self { arch, trees })
    }

    /// A file, by its path as installed. Some releases have `/lib` inside `/usr`.
    pub(crate) fn find(&self, path: &str) -> Result<PathBuf> {
        let places = self
            .trees
            .iter()
            .flat_map(|tree| [tree.join(path), tree.join("usr").join(path)]);
        let found = places.into_iter().find(|place| place.exists());
        found.with_context(|| format!("the packages have no {path}"))
    }

    /// The words of a command that starts a program.
    pub(crate) fn words(&self, program: &str) -> Result<Vec<String>> {
        let libraries: Vec<String> = ["lib", "usr/lib"]
            .iter()
            .flat_map(|lib| self.trees.iter().map(move |tree| tree.join(lib)))
            .flat_map(|lib| [lib.join(self.arch.multiarch()), lib.join("ganesha")])
            .filter(|folder| folder.exists())
            .map(|folder| folder.display().to_string())
            .collect();
        let linker = format!(
            "lib/{}/{}",
            self.arch.multiarch(),
            self.arch.dynamic_linker()
        );
        Ok(vec![
            self.find(&linker)?.display().to_string(),
            "--library-path".to_owned(),
            libraries.join(":"),
            self.find(program)?.display().to_string(),
        ])
    }
}
