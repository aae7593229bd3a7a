//! Disk images, put together without root, loop devices or running anything foreign.
//!
//! The boot disk is what Debian's installer would make: GPT, an EFI system partition with Debian's
//! signed GRUB and with systemd-boot (here with kernel and initial RAM disk beside them), an ext4
//! root file system. Images are kept in the cache under a hash of everything that went into them.

mod cpio;
mod initrd;
mod modules;
pub(crate) mod system;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::packages::{self, Package, Packages, Suite};
use crate::sh;
use crate::workspace::Workspace;

const ROOT_INIT: &str = include_str!("../../guest/root-init");
const INITRD_INIT: &str = include_str!("../../guest/initrd-init");
/// The logical blocks of a disk, unless a scenario says otherwise.
pub(crate) const BLOCK_SIZE: u32 = 512;
const MIB: u64 = 1 << 20;
/// FAT32 with clusters of 4 KiB, as installers make it, takes more than 256 MiB.
const ESP_MIB: u64 = 280;
const ROOT_MIB: u64 = 64;
/// The first partition begins at 1 MiB, the backup table ends the disk.
const ROOT_OFFSET: u64 = (1 + ESP_MIB) * MIB;
/// Raise when the code below builds something else from the same inputs.
const RECIPE: u32 = 4;

/// What the Linux of a boot disk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Linux {
    /// Has its root file system on the disk (`guest/root-init`).
    Boots,
    /// Stays in its initial RAM disk and tries out the target's other disks (`guest/disk-tests`).
    TestsDisks,
}

impl Linux {
    fn userland(self, arch: Arch) -> Vec<Package> {
        let mut list: Vec<_> = packages::userland(arch).collect();
        if self == Self::TestsDisks {
            list.extend(packages::disk_tests(arch));
        }
        list
    }
}

/// How the Linux inside reaches its disk.
#[derive(Debug, Clone, Hash)]
pub(crate) struct Access {
    /// The initiator's own name.
    pub(crate) initiator: String,
    /// The target's name, address and port.
    pub(crate) target: String,
    pub(crate) address: String,
    pub(crate) port: u16,
    /// CHAP, both directions.
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) mutual_username: String,
    pub(crate) mutual_password: String,
}

/// What is on a boot disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BootDisk {
    pub(crate) arch: Arch,
    /// Where its boot loaders and its kernel are from.
    pub(crate) release: Suite,
    pub(crate) linux: Linux,
    /// Tell its Linux how to reach the disk; without them it has to find out by itself.
    pub(crate) kernel_words: String,
    /// Bytes of a logical block of the disk.
    pub(crate) block_size: u32,
}

impl BootDisk {
    /// Its image, from the cache or built now.
    pub(crate) fn image(&self, workspace: &Workspace, packages: &Packages) -> Result<PathBuf> {
        let mut hasher = DefaultHasher::new();
        (
            self,
            RECIPE,
            ROOT_INIT,
            INITRD_INIT,
            include_str!("../../guest/udhcpc"),
            initrd::HANDOFF,
            modules::INITIATOR,
            self.grub_cfg(),
            self.loader_entry(),
        )
            .hash(&mut hasher);
        if self.linux == Linux::TestsDisks {
            include_str!("../../guest/disk-tests").hash(&mut hasher);
        }
        let boot = packages::boot(self.arch, self.release);
        for package in self.linux.userland(self.arch).into_iter().chain(boot) {
            packages.file(package)?.hash(&mut hasher);
        }
        let folder = workspace.cache.join("images");
        let hash = hasher.finish();
        let image = folder.join(format!("debian-{}-{hash:016x}.img", self.arch.name()));
        if image.exists() {
            return Ok(image);
        }
        println!(
            "  building the {} boot disk of {} (GPT, ESP with boot loaders and kernel, ext4)",
            self.arch.name(),
            self.release.name()
        );
        fs::create_dir_all(&folder)?;
        let scratch = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(&folder)?;
        let parts = Parts {
            disk: self,
            packages,
            scratch: scratch.path(),
        };
        fs::rename(parts.assemble()?, &image)?;
        Ok(image)
    }

    /// The kernel's command line.
    pub(crate) fn command_line(&self) -> String {
        let console = self.arch.linux_console();
        format!("console={console} panic=-1 {}", self.kernel_words)
    }

    /// GRUB's menu: one entry, no waiting.
    fn grub_cfg(&self) -> String {
        format!(
            "terminal_input console\n\
             terminal_output console\n\
             echo \"GRUB: loading Linux\"\n\
             linux /vmlinuz {}\n\
             initrd /initrd.img\n\
             echo \"GRUB: starting Linux\"\n\
             boot\n",
            self.command_line(),
        )
    }

    /// The one entry of systemd-boot's menu (UAPI Group, Boot Loader Specification, type #1).
    fn loader_entry(&self) -> String {
        format!(
            "title Debian by systemd-boot\nlinux /vmlinuz\ninitrd /initrd.img\noptions {}\n",
            self.command_line()
        )
    }
}

/// Copies a file of the ESP of a boot disk to `to`.
pub(crate) fn copy_from_esp(disk: &Path, file: &str, to: &Path) -> Result<()> {
    sh::run(
        sh::command("mcopy")
            .args(["-n", "-i"])
            .arg(format!("{}@@{MIB}", disk.display()))
            .arg(format!("::/{file}"))
            .arg(to),
    )
}

/// What a machine starts from that is an iSCSI target.
#[derive(Debug)]
pub(crate) struct TargetSystem {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
}

/// That of an x86_64 machine, from the cache or built now.
pub(crate) fn target_system(workspace: &Workspace, packages: &Packages) -> Result<TargetSystem> {
    let arch = Arch::X86_64;
    let kernel = packages::kernel(arch, Suite::Bookworm);
    let tree = packages.tree(kernel)?;
    let used = packages.file(kernel)?;
    let kernel = only_entry(&tree.join("boot"), "vmlinuz-")?;
    let mut hasher = DefaultHasher::new();
    (RECIPE, initrd::TARGET_INIT, modules::TARGET, used).hash(&mut hasher);
    let folder = workspace.cache.join("images");
    let initrd = folder.join(format!("target-{:016x}.initrd", hasher.finish()));
    if !initrd.exists() {
        fs::create_dir_all(&folder)?;
        let modules = only_entry(&tree.join("lib/modules"), "")?;
        let file = tempfile::NamedTempFile::new_in(&folder)?;
        fs::write(file.path(), initrd::build_target(packages, arch, &modules)?)?;
        file.persist(&initrd)?;
    }
    Ok(TargetSystem { kernel, initrd })
}

/// A disk with a partition table and an ext4 file system but no ESP: nothing to boot from.
pub(crate) fn disk_without_esp(at: &Path) -> Result<()> {
    sparse_file(at, 32 * MIB)?;
    partition(at, BLOCK_SIZE, "", &[&format!("start=1MiB, type={LINUX}")])
}

/// A small ESP for the machine's own disk: the loader where firmware looks for it, and other files.
pub(crate) fn loader_disk(
    at: &Path,
    arch: Arch,
    loader: &Path,
    files: &[(&str, &[u8])],
) -> Result<()> {
    const SIZE_MIB: u64 = 64;
    sparse_file(at, (SIZE_MIB + 2) * MIB)?;
    let esp = format!("start=1MiB, size={SIZE_MIB}MiB, type={ESP}, name=EFI");
    partition(at, BLOCK_SIZE, "", &[&esp])?;
    let scratch = tempfile::tempdir()?;
    let fat = scratch.path().join("esp.fat");
    let boot = format!("EFI/BOOT/BOOT{}.EFI", arch.uefi_suffix().to_uppercase());
    let mut content = vec![(boot, fs::read(loader)?)];
    content.extend(
        files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())),
    );
    fat_file_system(&fat, SIZE_MIB, BLOCK_SIZE, "LOADER", &content)?;
    copy_into(&fat, at, MIB)
}

/// The image of a CD as installers have it: ISO 9660 with an El Torito image for UEFI (UEFI 2.10
/// section 13.3.2.1), in which Debian's GRUB shows `text` and powers off.
pub(crate) fn cd(at: &Path, packages: &Packages, arch: Arch, text: &str) -> Result<()> {
    const SIZE_MIB: u64 = 8;
    let tree = tempfile::tempdir()?;
    let suffix = arch.uefi_suffix().to_uppercase();
    let grub_cfg = format!("terminal_output console\necho \"{text}\"\nhalt\n");
    let content = [(
        format!("EFI/BOOT/BOOT{suffix}.EFI"),
        signed_grub(packages, arch, Suite::Bookworm)?,
    )];
    // For GRUB the disk that it came from is the CD as a whole.
    let folder = tree.path().join("EFI/debian");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("grub.cfg"), grub_cfg)?;
    let efi = tree.path().join("efi.img");
    fat_file_system(&efi, SIZE_MIB, BLOCK_SIZE, "CDBOOT", &content)?;
    sh::run(
        sh::command("xorriso")
            .args(["-as", "mkisofs", "-quiet", "-volid", "BOWLINE"])
            .args(["-e", "efi.img", "-no-emul-boot", "-o"])
            .arg(at)
            .arg(tree.path()),
    )
}

fn signed_grub(packages: &Packages, arch: Arch, release: Suite) -> Result<Vec<u8>> {
    let grub = packages.tree(packages::grub(arch, release))?.join(format!(
        "usr/lib/grub/{}-efi-signed/grub{}.efi.signed",
        match arch {
            Arch::Arm64 => "arm64",
            Arch::X86_64 => "x86_64",
        },
        arch.uefi_suffix()
    ));
    fs::read(&grub).with_context(|| format!("no {}", grub.display()))
}

/// Copies the partition `bowline-root` out of a boot disk and reads a file in it.
pub(crate) fn read_root_file(disk: &Path, path: &str) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let part = scratch.path().join("root.ext4");
    sh::run(
        sh::command("dd")
            .args(["bs=1M", "conv=sparse", "status=none"])
            .arg(format!("skip={}", ROOT_OFFSET / MIB))
            .arg(format!("count={ROOT_MIB}"))
            .arg(format!("if={}", disk.display()))
            .arg(format!("of={}", part.display())),
    )?;
    read_file(&part, path)
}

/// Reads a file of the ext4 file system in an image.
pub(crate) fn read_file(ext4: &Path, path: &str) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let out = scratch.path().join("file");
    let request = format!("dump {path} {}", out.display());
    sh::run(sh::command("debugfs").args(["-R", &request]).arg(ext4))?;
    fs::read(&out).with_context(|| format!("the file system has no {path}"))
}

impl Access {
    /// As Debian's open-iscsi reads it from the kernel command line.
    pub(crate) fn kernel_words(&self) -> String {
        let Self {
            initiator,
            target,
            address,
            port,
            username,
            password,
            mutual_username,
            mutual_password,
        } = self;
        format!(
            "iscsi_initiator={initiator} iscsi_target_name={target} iscsi_target_ip={address} \
             iscsi_target_port={port} iscsi_username={username} iscsi_password={password} \
             iscsi_in_username={mutual_username} iscsi_in_password={mutual_password}"
        )
    }
}

/// The pieces of a boot disk under construction.
struct Parts<'a> {
    disk: &'a BootDisk,
    packages: &'a Packages,
    scratch: &'a Path,
}

impl Parts<'_> {
    fn assemble(&self) -> Result<PathBuf> {
        let esp = self.esp()?;
        let root = self.root()?;
        let disk = self.scratch.join("disk.img");
        sparse_file(&disk, ROOT_OFFSET + (ROOT_MIB + 1) * MIB)?;
        let esp_line = format!(
            "start=1MiB, size={ESP_MIB}MiB, type={ESP}, name=EFI, \
             uuid=B0311E00-0000-4000-8000-000000000002"
        );
        let root_line = format!(
            "start={}MiB, size={ROOT_MIB}MiB, type={LINUX}, name=bowline-root, \
             uuid=B0311E00-0000-4000-8000-000000000003",
            ROOT_OFFSET / MIB
        );
        partition(
            &disk,
            self.disk.block_size,
            "label-id: B0311E00-0000-4000-8000-000000000001",
            &[&esp_line, &root_line],
        )?;
        copy_into(&esp, &disk, MIB)?;
        copy_into(&root, &disk, ROOT_OFFSET)?;
        Ok(disk)
    }

    /// Signed GRUB reads `grub.cfg` in `/EFI/debian` of the partition it was loaded from,
    /// systemd-boot `/loader` of it.
    fn esp(&self) -> Result<PathBuf> {
        let BootDisk {
            arch,
            release,
            linux,
            ..
        } = *self.disk;
        let suffix = arch.uefi_suffix();
        let grub = signed_grub(self.packages, arch, release)?;
        let systemd_boot = format!("systemd-boot{suffix}.efi");
        let systemd = self.packages.tree(packages::systemd_boot(arch, release))?;
        let systemd = systemd.join("usr/lib/systemd/boot/efi").join(&systemd_boot);
        let kernel_tree = self.packages.tree(packages::kernel(arch, release))?;
        let kernel = only_entry(&kernel_tree.join("boot"), "vmlinuz-")?;
        // Debian 13 has them below `usr`.
        let modules = ["lib/modules", "usr/lib/modules"].map(|name| kernel_tree.join(name));
        let [modules, merged] = modules;
        let modules = if modules.exists() { modules } else { merged };
        let modules = only_entry(&modules, "")?;
        let initrd = initrd::build(self.packages, arch, linux, &modules)?;
        let content = [
            (format!("EFI/debian/grub{suffix}.efi"), grub.clone()),
            (format!("EFI/BOOT/BOOT{}.EFI", suffix.to_uppercase()), grub),
            (
                "EFI/debian/grub.cfg".to_owned(),
                self.disk.grub_cfg().into_bytes(),
            ),
            (
                format!("EFI/systemd/{systemd_boot}"),
                fs::read(&systemd).with_context(|| format!("no {}", systemd.display()))?,
            ),
            // It shows its menu for a second: that it was there can be seen.
            ("loader/loader.conf".to_owned(), b"timeout 1\n".to_vec()),
            (
                "loader/entries/debian.conf".to_owned(),
                self.disk.loader_entry().into_bytes(),
            ),
            ("vmlinuz".to_owned(), fs::read(kernel)?),
            ("initrd.img".to_owned(), initrd),
        ];
        let file = self.scratch.join("esp.fat");
        fat_file_system(&file, ESP_MIB, self.disk.block_size, "ESP", &content)?;
        Ok(file)
    }

    fn root(&self) -> Result<PathBuf> {
        let tree = self.scratch.join("root");
        for folder in ["bin", "dev", "etc", "proc", "sbin", "sys", "tmp", "var"] {
            fs::create_dir_all(tree.join(folder))?;
        }
        write_program(
            &tree.join("bin/busybox"),
            &initrd::busybox(self.packages, self.disk.arch)?,
        )?;
        for applet in initrd::APPLETS {
            symlink("busybox", tree.join("bin").join(applet))?;
        }
        write_program(&tree.join("sbin/init"), ROOT_INIT.as_bytes())?;
        let base = Package::new("base-files", Suite::Bookworm, self.disk.arch);
        let base = self.packages.tree(base)?;
        for file in ["etc/debian_version", "usr/lib/os-release"] {
            let name = Path::new(file).file_name().unwrap_or_default();
            fs::copy(base.join(file), tree.join("etc").join(name))
                .with_context(|| format!("package base-files has no {file}"))?;
        }
        let file = self.scratch.join("root.ext4");
        sparse_file(&file, ROOT_MIB * MIB)?;
        sh::run(
            sh::command("mkfs.ext4")
                .env("SOURCE_DATE_EPOCH", "1700000000")
                .args([
                    "-q",
                    "-L",
                    "bowline-root",
                    "-U",
                    "b0311e00-0000-4000-8000-000000000004",
                ])
                .args([
                    "-E",
                    "root_owner=0:0,hash_seed=b0311e00-0000-4000-8000-000000000005",
                ])
                // A block is no shorter than the disk's.
                .args(["-b", &self.disk.block_size.max(1024).to_string()])
                .arg("-d")
                .arg(&tree)
                .arg(&file),
        )?;
        Ok(file)
    }
}

/// Partition types (UEFI 2.10 section 5.3.3; UAPI Group, Discoverable Partitions Specification).
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

/// Writes a GPT with these partitions, in the words of sfdisk(8), and `header` before them. That
/// program itself knows blocks of 512 bytes only, before util-linux 2.39.
fn partition(disk: &Path, block_size: u32, header: &str, partitions: &[&str]) -> Result<()> {
    let script = tempfile::NamedTempFile::new()?;
    let lines = partitions.join("\n");
    fs::write(&script, format!("label: gpt\n{header}\n\n{lines}\n"))?;
    let keys = format!("I\n{}\nw\n", script.path().display());
    let size = block_size.to_string();
    let mut fdisk = sh::command("fdisk");
    sh::run_with(fdisk.args(["--sector-size", &size]).arg(disk), &keys)
}

/// A FAT file system for a disk with blocks of this size, with the given files; their folders are
/// made as needed.
fn fat_file_system(
    at: &Path,
    mib: u64,
    block_size: u32,
    label: &str,
    content: &[(String, Vec<u8>)],
) -> Result<()> {
    sparse_file(at, mib * MIB)?;
    // FAT32 has at least 65525 clusters, FAT16 fewer.
    let (bits, cluster) = match mib {
        0..34 => ("16", 512),
        34..=256 => ("32", 512),
        _ => ("32", 4096),
    };
    sh::run(
        sh::command("mkfs.fat")
            .args([
                "-F",
                bits,
                "-S",
                &block_size.to_string(),
                "-s",
                &(cluster / block_size).max(1).to_string(),
                "--invariant",
                "-n",
                label,
            ])
            .arg(at),
    )?;
    let tree = tempfile::tempdir()?;
    for (name, bytes) in content {
        let path = tree.path().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, bytes)?;
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(tree.path())?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    sh::run(
        sh::command("mcopy")
            .args(["-s", "-Q", "-i"])
            .arg(at)
            .args(entries)
            .arg("::/"),
    )
}

/// A file of `size` bytes, all of them a hole.
pub(crate) fn sparse_file(at: &Path, size: u64) -> Result<()> {
    let file = fs::File::create(at).with_context(|| format!("cannot create {}", at.display()))?;
    file.set_len(size)?;
    Ok(())
}

/// Copies a file system into a disk image at a whole number of MiB, leaving holes where it is zero.
fn copy_into(part: &Path, disk: &Path, offset: u64) -> Result<()> {
    sh::run(
        sh::command("dd")
            .args(["bs=1M", "conv=notrunc,sparse", "status=none"])
            .arg(format!("seek={}", offset / MIB))
            .arg(format!("if={}", part.display()))
            .arg(format!("of={}", disk.display())),
    )
}

fn write_program(at: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(at, bytes)?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The one entry of a folder whose name begins with `prefix`.
fn only_entry(folder: &Path, prefix: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    ensure!(
        found.len() == 1,
        "expected one {prefix}* in {}: {found:?}",
        folder.display()
    );
    Ok(found.remove(0))
}
