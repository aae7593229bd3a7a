//! The Debian package of the scripts in `packages/bowline-initramfs`: the same bytes from the same
//! sources, whoever builds it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::sh;
use crate::workspace::Workspace;

const NAME: &str = "bowline-initramfs";

/// What becomes of each file of the folder: its place and its mode. `control` and `triggers` are
/// the package's own (deb(5)).
const FILES: [(&str, &str, u32); 5] = [
    ("control", "DEBIAN/control", 0o644),
    ("triggers", "DEBIAN/triggers", 0o644),
    ("ibft.sh", "usr/share/bowline/ibft.sh", 0o644),
    ("hook", "usr/share/initramfs-tools/hooks/bowline", 0o755),
    (
        "init-premount",
        "usr/share/initramfs-tools/scripts/init-premount/bowline",
        0o755,
    ),
];

/// The time in the package, so that it does not tell when it was built: 2026-01-01.
const EPOCH: &str = "1767225600";

/// Builds the package into `target/`; its path.
pub(crate) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let sources = workspace.root.join("packages").join(NAME);
    let tree = tempfile::tempdir()?;
    for (source, place, mode) in FILES {
        let text = fs::read_to_string(sources.join(source))
            .with_context(|| format!("no {source} in {}", sources.display()))?;
        let place = tree.path().join(place);
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&place, text.replace("@version@", env!("CARGO_PKG_VERSION")))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))?;
    }
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755))?;
    let package = workspace
        .target
        .join(format!("{NAME}_{}_all.deb", env!("CARGO_PKG_VERSION")));
    sh::run(
        sh::command("dpkg-deb")
            .env("SOURCE_DATE_EPOCH", EPOCH)
            .args(["--root-owner-group", "-Zxz", "--build"])
            .arg(tree.path())
            .arg(&package),
    )?;
    Ok(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_the_same_bytes_each_time() {
        let target = tempfile::tempdir().unwrap();
        let workspace = Workspace {
            target: target.path().to_path_buf(),
            ..Workspace::find()
        };
        let read = || fs::read(build(&workspace).unwrap()).unwrap();
        assert!(read() == read());
        let package = build(&workspace).unwrap();
        let list = sh::output(sh::command("dpkg-deb").arg("--contents").arg(&package)).unwrap();
        for (_, place, _) in &FILES[2..] {
            assert!(list.contains(place), "{list}");
        }
    }
}
