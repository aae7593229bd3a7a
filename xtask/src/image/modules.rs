//! Which kernel modules the initial RAM disk needs, and in which order they are loaded.
//!
//! Debian's kernel packages carry no `modules.dep` (depmod writes it on installation), so the
//! `depends=` entry that every module has in its `.modinfo` section is read instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What a machine that boots from iSCSI has to have at the end: cards, iSCSI and the table of its
/// disks, disks, the file system and its checksum.
pub(super) const INITIATOR: &[&str] = &[
    "virtio_mmio",
    "virtio_pci",
    "virtio_net",
    "e1000",
    "af_packet",
    "sd_mod",
    "iscsi_tcp",
    "iscsi_ibft",
    "crc32c_generic",
    "ext4",
];

/// What an iSCSI target has to have: its card and disk, digests, and the hashes of CHAP.
pub(super) const TARGET: &[&str] = &[
    "virtio_pci",
    "virtio_net",
    "virtio_blk",
    "crc32c_generic",
    "md5",
    "sha1_generic",
    "sha256_generic",
    "sha3_generic",
    "target_core_iblock",
    "iscsi_target_mod",
];

/// The files of the wanted modules and of those that they need, in loading order.
pub(crate) fn in_order(modules: &Path, wanted: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = BTreeMap::new();
    collect(&modules.join("kernel"), &mut files)?;
    let builtin = fs::read_to_string(modules.join("modules.builtin"))
        .with_context(|| format!("{} has no modules.builtin", modules.display()))?;
    let builtin: Vec<String> = builtin
        .lines()
        .map(|line| module_name(Path::new(line)))
        .collect();
    let mut order = Vec::new();
    for name in wanted {
        add(name, &files, &builtin, &mut order)?;
    }
    Ok(order)
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("no modules in {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "ko") {
            files.insert(module_name(&path), path);
        }
    }
    Ok(())
}

/// Module names have underscores where file names may have dashes.
fn module_name(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .replace('-', "_")
}

/// Adds a module after everything it depends on.
fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    builtin: &[String],
    order: &mut Vec<PathBuf>,
) -> Result<()> {
    let Some(file) = files.get(name) else {
        if builtin.iter().any(|known| known == name) {
            return Ok(());
        }
        bail!("the kernel has no module {name}");
    };
    if order.contains(file) {
        return Ok(());
    }
    let bytes = fs::read(file)?;
    for dependency in depends(&bytes) {
        add(&dependency, files, builtin, order)?;
    }
    order.push(file.clone());
    Ok(())
}

/// The `depends=a,b` string of a module.
fn depends(module: &[u8]) -> Vec<String> {
    let Some(list) = module
        .split(|byte| *byte == 0)
        .find_map(|text| text.strip_prefix(b"depends="))
    else {
        return Vec::new();
    };
    String::from_utf8_lossy(list)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_found_between_other_modinfo_strings() {
        let module = b"\x7fELF..\0license=GPL\0depends=jbd2,crc16,mb-cache\0retpoline=Y\0";
        assert_eq!(depends(module), ["jbd2", "crc16", "mb_cache"]);
        assert!(depends(b"\0depends=\0intree=Y\0").is_empty());
        assert!(depends(b"nothing here").is_empty());
    }
}
