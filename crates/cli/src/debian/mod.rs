//! `bowline image build debian`: a bootable disk from Debian's own packages, ready for a root file
//! system on iSCSI.
//!
//! mmdebstrap makes the tree, `customize.sh` the settings, [`disk`] the disk image. For another
//! architecture than the host's the packages' own scripts run under QEMU's user emulation, with the
//! host's own shell and tools (`native.sh`); for the host's nothing is emulated.

mod check;
mod disk;
mod layout;
mod prepare;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};

pub(crate) use self::check::Check;
pub(crate) use self::prepare::Prepare;
use crate::library::{parse_size, size};

/// A shell script that begins with the functions of `settings.sh`.
macro_rules! script {
    ($name:literal) => {
        concat!(
            "#!/bin/sh\nset -eu\n",
            include_str!("settings.sh"),
            include_str!($name)
        )
    };
}
use script;

const CUSTOMIZE: &str = script!("customize.sh");
const NATIVE: &str = script!("native.sh");

/// What every image has. The rest is the user's choice (`--package`).
const PACKAGES: [&str; 12] = [
    "busybox",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "open-iscsi",
    "openssh-server",
    "shim-signed",
    "systemd",
    "systemd-sysv",
    "udev",
];

/// Programs of the host, and the packages they are in.
const TOOLS: [(&str, &str); 5] = [
    ("mmdebstrap", "mmdebstrap"),
    ("sgdisk", "gdisk"),
    ("mkfs.fat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mke2fs", "e2fsprogs"),
];

/// Arguments of `bowline image build debian`.
#[derive(Args, Debug)]
pub(crate) struct Debian {
    /// The processor of the machines that boot it
    #[arg(long, default_value = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86-64" })]
    arch: Arch,
    /// The raw disk image to make
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Debian's release
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// Where packages come from; by default Debian's own servers, security updates included
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Size of the disk
    #[arg(long, default_value = "4G", value_parser = parse_size)]
    size: u64,
    /// Another package: its name, or the path of a .deb; may be given more than once
    #[arg(long = "package", value_name = "NAME|FILE.deb")]
    packages: Vec<String>,
    /// For the kernel command line (`console=ttyS0`); may be given more than once
    #[arg(long = "kernel-option", value_name = "OPTION")]
    kernel_options: Vec<String>,
    /// A program that is run last, with the folder of the tree as its argument
    #[arg(long, value_name = "PROGRAM")]
    hook: Option<PathBuf>,
}

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Arch {
    Arm64,
    #[value(name = "x86-64", alias = "x86_64", alias = "amd64")]
    X86_64,
}

impl Arch {
    /// As Debian calls it.
    const fn debian(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }

    /// As the kernel calls it.
    const fn linux(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// As UEFI names files (UEFI 2.11 table 3.2).
    const fn uefi(self) -> &'static str {
        match self {
            Self::Arm64 => "aa64",
            Self::X86_64 => "x64",
        }
    }

    /// As GRUB calls its folders.
    const fn grub(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64-efi-signed",
            Self::X86_64 => "x86_64-efi-signed",
        }
    }
}

impl Debian {
    /// Makes the image, or says why not.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        self.check()?;
        let folder = match self.output.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let scratch = tempfile::Builder::new()
            .prefix(".bowline-debian-")
            .tempdir_in(folder)
            .with_context(|| format!("cannot work in {}", folder.display()))?;
        let identifiers = disk::Identifiers::new()?;
        let tree = scratch.path().join("root");
        self.bootstrap(&tree, scratch.path(), &identifiers)?;
        let image = scratch.path().join("disk.img");
        disk::write(&image, &tree, self.arch, self.size, &identifiers)?;
        fs::rename(&image, &self.output)
            .with_context(|| format!("cannot write {}", self.output.display()))?;
        println!(
            "{}: Debian {} for {}, {}",
            self.output.display(),
            self.suite,
            self.arch.debian(),
            size(self.size)
        );
        Ok(())
    }

    /// What is needed, before anything is begun.
    fn check(&self) -> anyhow::Result<()> {
        needs_root("`image build debian` makes devices and changes its root")?;
        needs_tools(&TOOLS)?;
        if self.is_foreign() {
            let emulator = format!("qemu-{}", self.arch.linux());
            ensure!(
                Path::new("/proc/sys/fs/binfmt_misc")
                    .join(&emulator)
                    .exists(),
                "this machine does not run programs for {}: apt install qemu-user-static, \
                 and see that /proc/sys/fs/binfmt_misc/{emulator} is there. \
                 An image for {} needs no emulation",
                self.arch.debian(),
                std::env::consts::ARCH
            );
        }
        for file in self.packages.iter().filter(|package| is_file(package)) {
            ensure!(Path::new(file).exists(), "there is no file {file}");
        }
        Ok(())
    }

    /// Whether this machine's processor is another one.
    fn is_foreign(&self) -> bool {
        self.arch.linux() != std::env::consts::ARCH
    }

    /// Debian's tree, with our settings in it.
    fn bootstrap(
        &self,
        tree: &Path,
        scratch: &Path,
        identifiers: &disk::Identifiers,
    ) -> anyhow::Result<()> {
        let customize = hook(scratch, "customize", CUSTOMIZE)?;
        let arch = self.arch.debian();
        let own = [
            format!("linux-image-{arch}"),
            format!("grub-efi-{arch}-signed"),
        ];
        let (files, names): (Vec<_>, Vec<_>) =
            self.packages.iter().partition(|package| is_file(package));
        let names: Vec<_> = PACKAGES
            .into_iter()
            .chain(own.iter().map(String::as_str))
            .chain(names.into_iter().map(String::as_str))
            .collect();
        let mut command = Command::new("mmdebstrap");
        command
            .args(["--mode=root", "--variant=minbase", "--format=directory"])
            // Looked at by `check` already.
            .arg("--skip=check/qemu")
            .arg(format!("--architectures={arch}"))
            .arg(format!("--include={}", names.join(",")));
        let mut hooks = vec![("customize", customize)];
        if self.is_foreign() {
            // Once for the essential packages, once more for the others.
            let native = hook(scratch, "native", NATIVE)?;
            let lend = format!("{native} lend");
            hooks.insert(0, ("essential", lend.clone()));
            hooks.insert(1, ("customize", lend));
            hooks.push(("customize", format!("{native} return")));
        }
        for (when, what) in hooks {
            command.arg(format!("--{when}-hook={what} \"$1\""));
        }
        command
            .args([&self.suite])
            .arg(tree)
            .args(&self.mirror)
            // One initial RAM disk is enough: `customize.sh` makes it when all is in place.
            .env("INITRD", "No")
            .env("ROOT_UUID", &identifiers.root)
            .env("ESP_UUID", identifiers.esp_uuid())
            .env("KERNEL_OPTIONS", self.kernel_options.join(" "))
            .env("PACKAGE_FILES", absolute(files.into_iter())?.join(" "))
            .env("HOOK", absolute(self.hook.iter())?.join(" "));
        run(&mut command)
    }
}

/// Writes a script that mmdebstrap runs; its path.
fn hook(scratch: &Path, name: &str, text: &str) -> anyhow::Result<String> {
    let script = scratch.join(name);
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script.display().to_string())
}

fn needs_root(why: &str) -> anyhow::Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "{why}: run it as root"
    );
    Ok(())
}

/// Programs of the host, each with the package it is in.
fn needs_tools(tools: &[(&str, &str)]) -> anyhow::Result<()> {
    for (tool, package) in tools {
        ensure!(
            Command::new(tool).arg("--version").output().is_ok(),
            "`{tool}` is missing: apt install {package}"
        );
    }
    Ok(())
}

/// Whether a `--package` is a file rather than a name.
fn is_file(package: &str) -> bool {
    package.ends_with(".deb")
}

fn absolute(paths: impl Iterator<Item = impl AsRef<Path>>) -> anyhow::Result<Vec<String>> {
    paths
        .map(|path| {
            let path = path.as_ref();
            let found = fs::canonicalize(path);
            let found = found.with_context(|| format!("cannot find {}", path.display()))?;
            Ok(found.display().to_string())
        })
        .collect()
}

/// Runs a program of the host, whose messages go to the user.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{program}`"))?;
    if !status.success() {
        bail!("`{program}` failed ({status}); its last messages are above");
    }
    Ok(())
}
