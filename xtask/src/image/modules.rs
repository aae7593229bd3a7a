//! Which kernel modules the initial RAM disk needs, and in which order they are loaded.
//!
//! Debian's kernel packages carry no `modules.dep` (depmod writes it on installation), so the
//! `depends=` entry that every module has in its `.modinfo` section is read instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::sh;

/// What a machine that boots from iSCSI has to have at the end: cards, iSCSI and the table of its
/// disks, disks, the file system and its checksum.
pub(super) const INITIATOR: &[&str] = &[
    "virtio_mmio",
    "virtio_pci",
    "virtio_net",
    "e1000",
    "e1000e",
    "8139cp",
    "8139too",
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

/// The wanted modules and those that they need in loading order, by name.
pub(crate) fn in_order(modules: &Path, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = BTreeMap::new();
    collect(&modules.join("kernel"), &mut files)?;
    let builtin = fs::read_to_string(modules.join("modules.builtin"))
        .with_context(|| format!("{} has no modules.builtin", modules.display()))?;
    let builtin: Vec<String> = builtin
        .lines()
        .filter_map(|line| module_name(Path::new(line)))
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
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Module names have underscores where file names may have dashes. Newer kernels compress them.
fn module_name(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let name = file.strip_suffix(".xz").unwrap_or(file).strip_suffix(".ko");
    name.map(|name| name.replace('-', "_"))
}

/// Adds a module after everything it depends on.
fn add(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    builtin: &[String],
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let Some(file) = files.get(name) else {
        if builtin.iter().any(|known| known == name) {
            return Ok(());
        }
        bail!("the kernel has no module {name}");
    };
    if order.iter().any(|(known, _)| known == name) {
        return Ok(());
    }
    let bytes = if file.extension().is_some_and(|kind| kind == "xz") {
        sh::output_bytes(
            sh::command("xz")
                .args(["--decompress", "--stdout"])
                .arg(file),
        )?
    } else {
        fs::read(file)?
    };
    for dependency in depends(&bytes) {
        add(&dependency, files, builtin, order)?;
    }
    order.push((name.to_owned(), bytes));
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
