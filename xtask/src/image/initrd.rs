//! The initial RAM disk: busybox, open-iscsi's programs with their libraries, kernel modules and an
//! `init` of ours. No foreign program runs while it is put together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::{Linux, cpio::Archive, modules};
use crate::arch::Arch;
use crate::packages::{self, Packages};
use crate::sh;

const INIT: &str = include_str!("../../guest/initrd-init");
pub(super) const TARGET_INIT: &str = include_str!("../../guest/lio-init");
const UDHCPC: &str = include_str!("../../guest/udhcpc");
const DISK_TESTS: &str = include_str!("../../guest/disk-tests");

/// What the package bowline-initramfs brings: where they are and what they say.
pub(super) const HANDOFF: [(&str, &str); 2] = [
    (
        "usr/share/bowline/ibft.sh",
        include_str!("../../../packages/bowline-initramfs/ibft.sh"),
    ),
    (
        "scripts/init-premount/bowline",
        include_str!("../../../packages/bowline-initramfs/init-premount"),
    ),
];

/// The applets that the scripts in `guest` call.
pub(super) const APPLETS: [&str; 29] = [
    "awk",
    "cat",
    "cmp",
    "cp",
    "dd",
    "dmesg",
    "echo",
    "grep",
    "head",
    "insmod",
    "ip",
    "ls",
    "mkdir",
    "mount",
    "od",
    "poweroff",
    "printf",
    "readlink",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "switch_root",
    "sync",
    "tail",
    "udhcpc",
    "umount",
    "uname",
];

/// The whole archive of a machine that boots from iSCSI, compressed.
pub(super) fn build(
    packages: &Packages,
    arch: Arch,
    linux: Linux,
    kernel_modules: &Path,
) -> Result<Vec<u8>> {
    let mut archive = start(packages, arch, INIT)?;
    archive.program("etc/udhcpc", UDHCPC.as_bytes());
    for folder in ["scripts/init-premount", "usr/share", "usr/share/bowline"] {
        archive.directory(folder);
    }
    for (name, text) in HANDOFF {
        archive.program(name, text.as_bytes());
    }
    let programs: &[_] = match linux {
        Linux::Boots => &["iscsistart"],
        Linux::TestsDisks => {
            archive.program("etc/disk-tests", DISK_TESTS.as_bytes());
            &["iscsid", "iscsiadm", "mkfs.ext4", "e2fsck", "fio"]
        }
    };
    add_programs(&mut archive, packages, arch, linux, programs)?;
    add_modules(&mut archive, kernel_modules, modules::INITIATOR)?;
    gzip(&archive.finish())
}

/// The whole archive of a machine that is an iSCSI target, compressed.
pub(super) fn build_target(
    packages: &Packages,
    arch: Arch,
    kernel_modules: &Path,
) -> Result<Vec<u8>> {
    let mut archive = start(packages, arch, TARGET_INIT)?;
    add_modules(&mut archive, kernel_modules, modules::TARGET)?;
    gzip(&archive.finish())
}

/// The folders, process 1, and busybox.
fn start(packages: &Packages, arch: Arch, init: &str) -> Result<Archive> {
    let mut archive = Archive::default();
    for folder in [
        "bin", "conf", "dev", "etc", "lib", "modules", "proc", "root", "run", "sbin", "scripts",
        "sys", "tmp", "usr",
    ] {
        archive.directory(folder);
    }
    archive.console("dev/console");
    archive.program("init", init.as_bytes());
    archive.program("bin/busybox", &busybox(packages, arch)?);
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    Ok(archive)
}

/// Kernel modules, and the list of them in the order in which they are loaded.
fn add_modules(archive: &mut Archive, kernel_modules: &Path, wanted: &[&str]) -> Result<()> {
    let mut list = String::new();
    for (name, module) in modules::in_order(kernel_modules, wanted)? {
        archive.file(&format!("modules/{name}.ko"), &module);
        list.push_str(&name);
        list.push_str(".ko\n");
    }
    archive.file("etc/modules", list.as_bytes());
    Ok(())
}

/// The static busybox of an architecture.
pub(super) fn busybox(packages: &Packages, arch: Arch) -> Result<Vec<u8>> {
    let package = packages::Package::new("busybox-static", packages::Suite::Bookworm, arch);
    let path = packages.tree(package)?.join("bin/busybox");
    fs::read(&path).with_context(|| format!("no {}", path.display()))
}

/// Programs, their dynamic linker, and every library they need directly or indirectly.
fn add_programs(
    archive: &mut Archive,
    packages: &Packages,
    arch: Arch,
    linux: Linux,
    programs: &[&str],
) -> Result<()> {
    let mut files = BTreeMap::new();
    for package in linux.userland(arch) {
        let tree = packages.tree(package)?;
        for folder in ["sbin", "usr/sbin", "usr/bin", "lib", "usr/lib", "lib64"] {
            for sub in ["", arch.multiarch(), &format!("{}/ceph", arch.multiarch())] {
                list_files(&tree.join(folder).join(sub), &mut files);
            }
        }
    }
    let mut to_read = Vec::new();
    for name in programs {
        let path = files
            .get(*name)
            .with_context(|| format!("no package has a program {name}"))?;
        let bytes = fs::read(path)?;
        archive.program(&format!("sbin/{name}"), &bytes);
        to_read.push(bytes);
    }
    let mut needed: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(object) = to_read.pop() {
        for name in libraries_named(&object) {
            let Some(path) = files.get(&name) else {
                continue;
            };
            if let Entry::Vacant(place) = needed.entry(name) {
                let bytes = fs::read(path)?;
                to_read.push(bytes.clone());
                place.insert(bytes);
            }
        }
    }
    ensure!(
        needed.contains_key("libc.so.6"),
        "{programs:?} seem to need no C library"
    );
    if arch == Arch::X86_64 {
        archive.link("lib64", "lib");
    }
    for (name, bytes) in &needed {
        archive.program(&format!("lib/{name}"), bytes);
    }
    Ok(())
}

/// The libraries that an ELF object names as DT_NEEDED entries and interpreters do: in a string of
/// its own. A few that it only mentions do no harm.
fn libraries_named(object: &[u8]) -> Vec<String> {
    object
        .split(|byte| *byte == 0)
        .filter(|text| text.len() < 128)
        .filter_map(|text| std::str::from_utf8(text).ok())
        .filter_map(|text| text.rsplit('/').next())
        .filter(|name| name.contains(".so"))
        .map(str::to_owned)
        .collect()
}

fn list_files(folder: &Path, files: &mut BTreeMap<String, PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
    {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        files.entry(name).or_insert(path);
    }
}

/// Compresses by the host's gzip, without a time stamp.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut child = sh::command("gzip")
        .args(["-n", "-6"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start gzip")?;
    let mut input = child.stdin.take().context("gzip has no input")?;
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(bytes));
        let output = child.wait_with_output();
        writer
            .join()
            .map_err(|_| anyhow::anyhow!("the writer to gzip panicked"))??;
        output.map_err(anyhow::Error::from)
    })?;
    ensure!(output.status.success(), "gzip failed");
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_named_exactly() {
        let object = b"\0libc.so.6\0/lib/ld-linux.so.1\0not a library\0";
        assert_eq!(libraries_named(object), ["libc.so.6", "ld-linux.so.1"]);
    }
}
