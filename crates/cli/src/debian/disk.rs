//! The disk image: GPT, an ESP with signed GRUB behind shim, an ext4 root file system.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::{Arch, run};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
const ESP_OFFSET: u64 = MIB;
const ROOT_OFFSET: u64 = ESP_OFFSET + ESP_SIZE;
const ESP_SIZE: u64 = 128 * MIB;
/// The backup partition table at the end, rounded up.
const BACKUP_SIZE: u64 = MIB;
/// Less holds no Debian.
const ROOT_MIN: u64 = 1024 * MIB;

/// By what the file systems find one another.
#[derive(Debug)]
pub(super) struct Identifiers {
    /// UUID of the root file system.
    pub(super) root: String,
    /// Serial number of the ESP: eight hexadecimal digits.
    esp: String,
}

impl Identifiers {
    /// New ones.
    pub(super) fn new() -> anyhow::Result<Self> {
        // Each reading is another one: random(4).
        let uuid = || -> anyhow::Result<String> {
            let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
            Ok(text.trim().to_owned())
        };
        let mut esp = uuid()?.to_uppercase();
        esp.truncate(8);
        Ok(Self { root: uuid()?, esp })
    }

    /// The ESP's serial number as Linux writes it: `1234-ABCD`.
    pub(super) fn esp_uuid(&self) -> String {
        let (high, low) = self.esp.split_at(4);
        format!("{high}-{low}")
    }
}

/// Makes the disk image `at` of `size` bytes from a Debian tree.
pub(super) fn write(
    at: &Path,
    tree: &Path,
    arch: Arch,
    size: u64,
    identifiers: &Identifiers,
) -> anyhow::Result<()> {
    let size = size / MIB * MIB;
    ensure!(
        size >= ROOT_OFFSET + ROOT_MIN + BACKUP_SIZE,
        "a disk of {} MiB is too small: `--size` is at least {} MiB",
        size / MIB,
        (ROOT_OFFSET + ROOT_MIN + BACKUP_SIZE) / MIB
    );
    let root_size = size - ROOT_OFFSET - BACKUP_SIZE;
    File::create(at)?.set_len(size)?;
    let last = |offset: u64, size: u64| (offset + size) / SECTOR - 1;
    run(Command::new("sgdisk")
        .arg("--set-alignment=2048")
        .arg(format!(
            "--new=1:{}:{}",
            ESP_OFFSET / SECTOR,
            last(ESP_OFFSET, ESP_SIZE)
        ))
        .args(["--typecode=1:ef00", "--change-name=1:EFI"])
        .arg(format!(
            "--new=2:{}:{}",
            ROOT_OFFSET / SECTOR,
            last(ROOT_OFFSET, root_size)
        ))
        .args(["--typecode=2:8300", "--change-name=2:root"])
        .arg(at)
        .stdout(Stdio::null()))?;
    let esp = at.with_extension("esp");
    write_esp(&esp, tree, arch, identifiers)?;
    copy_into(&esp, at, ESP_OFFSET)?;
    run(Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-L", "root", "-U", &identifiers.root])
        .arg("-E")
        .arg(format!("root_owner=0:0,offset={ROOT_OFFSET}"))
        .arg("-d")
        .arg(tree)
        .arg(at)
        .arg(format!("{}k", root_size / 1024)))
}

/// shim and GRUB on the removable path and in `\EFI\debian`, where GRUB looks for its menu, as
/// Debian's `grub-install --force-extra-removable` places them.
fn write_esp(at: &Path, tree: &Path, arch: Arch, identifiers: &Identifiers) -> anyhow::Result<()> {
    let uefi = arch.uefi();
    let shim = tree.join(format!("usr/lib/shim/shim{uefi}.efi.signed"));
    let mok = tree.join(format!("usr/lib/shim/mm{uefi}.efi.signed"));
    let grub = tree.join(format!(
        "usr/lib/grub/{}/grub{uefi}.efi.signed",
        arch.grub()
    ));
    let menu = at.with_extension("cfg");
    fs::write(
        &menu,
        format!(
            "search.fs_uuid {} root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n",
            identifiers.root
        ),
    )?;
    File::create(at)?.set_len(ESP_SIZE)?;
    run(Command::new("mkfs.fat")
        .args(["-F", "32", "-s", "1", "-n", "EFI", "-i", &identifiers.esp])
        .arg(at)
        .stdout(Stdio::null()))?;
    run(Command::new("mmd")
        .arg("-i")
        .arg(at)
        .args(["::/EFI", "::/EFI/BOOT", "::/EFI/debian"]))?;
    let removable = format!("BOOT/BOOT{}.EFI", uefi.to_uppercase());
    for (from, to) in [
        (&shim, removable),
        (&grub, format!("BOOT/grub{uefi}.efi")),
        (&mok, format!("BOOT/mm{uefi}.efi")),
        (&shim, format!("debian/shim{uefi}.efi")),
        (&grub, format!("debian/grub{uefi}.efi")),
        (&mok, format!("debian/mm{uefi}.efi")),
        (&menu, "debian/grub.cfg".to_owned()),
    ] {
        run(Command::new("mcopy")
            .arg("-i")
            .arg(at)
            .arg(from)
            .arg(format!("::/EFI/{to}")))
        .with_context(|| format!("cannot put {} on the ESP", from.display()))?;
    }
    Ok(())
}

/// Copies a file system to its place, leaving holes where it is zero.
fn copy_into(part: &Path, disk: &Path, offset: u64) -> anyhow::Result<()> {
    run(Command::new("dd")
        .args(["bs=1M", "conv=notrunc,sparse", "status=none"])
        .arg(format!("seek={}", offset / MIB))
        .arg(format!("if={}", part.display()))
        .arg(format!("of={}", disk.display())))
}
