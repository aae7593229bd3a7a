//! The full Debian systems: golden images made by `bowline image build debian`, and an overlay of
//! one for each machine.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::arch::Arch;
use crate::build;
use crate::deb;
use crate::netns;
use crate::packages::{self, Packages};
use crate::setup;
use crate::sh;
use crate::workspace::Workspace;

/// Makes it one that a test can talk to.
const HOOK: &str = include_str!("../../guest/debian-hook");
/// And one that was installed on a disk of its own, from one with nothing for iSCSI.
const INSTALLED: &str = include_str!("../../guest/installed-hook");
const PREPARE: &str = include_str!("../../../crates/cli/src/debian/prepare.sh");
/// Its settings are part of what the image is.
const CUSTOMIZE: [&str; 2] = [
    include_str!("../../../crates/cli/src/debian/settings.sh"),
    include_str!("../../../crates/cli/src/debian/customize.sh"),
];
const SIZE: &str = "3G";

/// How a golden image comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// By `bowline image build debian`.
    Built,
    /// Installed on a disk of its own, without a thought of iSCSI; made ready by `bowline image
    /// prepare`.
    Prepared,
}

/// The library of golden images and the name of the system's image in it; both are made if they
/// are not there. Needs root.
fn golden(
    workspace: &Workspace,
    packages: &Packages,
    arch: Arch,
    kind: Kind,
) -> Result<(PathBuf, String)> {
    let new_kernel = packages.deb(packages::new_kernel(arch))?;
    let package = deb::build(workspace)?;
    let mut hasher = DefaultHasher::new();
    (
        HOOK,
        CUSTOMIZE,
        SIZE,
        new_kernel.file_name(),
        fs::read(&package)?,
        kernel_options(arch).collect::<Vec<_>>(),
    )
        .hash(&mut hasher);
    let name = match kind {
        Kind::Built => "system",
        Kind::Prepared => {
            (INSTALLED, PREPARE).hash(&mut hasher);
            "prepared"
        }
    };
    let name = format!("{name}-{}-{:016x}", arch.name(), hasher.finish());
    let library = workspace.cache.join("systems");
    fs::create_dir_all(&library)?;
    if golden_disk(&library, &name).exists() {
        return Ok((library, name));
    }
    let bowline = build::bowline(workspace)?;
    ensure!(netns::is_root()?, "making a Debian system needs root");
    setup::systems(arch)?;
    println!("  building {name} with bowline image build debian");
    let scratch = tempfile::Builder::new()
        .prefix("build-")
        .tempdir_in(&library)?;
    let image = make(
        &bowline,
        (arch, kind),
        [&new_kernel, &package],
        scratch.path(),
    )?;
    sh::run(Command::new(&bowline).args(["image", "check"]).arg(&image))?;
    sh::run(
        library_command(&bowline, &library)
            .args(["import", "--name", &name])
            .arg(&image),
    )?;
    Ok((library, name))
}

/// Makes the image in `scratch`, with the kernel to upgrade to and the package bowline-initramfs.
fn make(
    bowline: &Path,
    (arch, kind): (Arch, Kind),
    [new_kernel, package]: [&Path; 2],
    scratch: &Path,
) -> Result<PathBuf> {
    let hook = scratch.join("hook");
    let image = scratch.join("system.img");
    let mut build = Command::new(bowline);
    build
        .args(["image", "build", "debian", "--size", SIZE])
        .args(["--arch", arch.name()])
        // Without security updates, so that there is a newer kernel to upgrade to.
        .args(["--mirror", &packages::mirror(), "--package", "zstd"])
        .args(kernel_options(arch).map(|option| format!("--kernel-option={option}")))
        .arg("--hook")
        .arg(&hook)
        .arg("--output")
        .arg(&image)
        .env("NEW_KERNEL", new_kernel);
    match kind {
        Kind::Built => {
            super::write_program(&hook, HOOK.as_bytes())?;
            sh::run_loud(build.arg("--package").arg(package))?;
            Ok(image)
        }
        Kind::Prepared => {
            // Each begins with a line for the kernel, which is a comment to the shell.
            super::write_program(&hook, [HOOK, INSTALLED].concat().as_bytes())?;
            sh::run_loud(build.args(["--package", "ifupdown", "--package", "isc-dhcp-client"]))?;
            prepare_installed(bowline, &image, package)
        }
    }
}

/// Has `bowline image prepare` work on an installed system, and looks at what `check` says before.
/// Returns the image, which is of QEMU's format, as those that are handed around often are.
fn prepare_installed(bowline: &Path, installed: &Path, package: &Path) -> Result<PathBuf> {
    // An installer that finds no other system uses no removable path.
    let mut forget = sh::command("mdeltree");
    forget.arg("-i").arg(format!("{}@@1M", installed.display()));
    sh::run(forget.arg("::/EFI/BOOT"))?;
    let image = installed.with_extension("qcow2");
    sh::run(
        sh::command("qemu-img")
            .args(["convert", "-O", "qcow2"])
            .args([installed, &image]),
    )?;
    let check = Command::new(bowline)
        .args(["image", "check"])
        .arg(&image)
        .output()?;
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    println!("{said}");
    for lack in [
        "BOOTX64.EFI",
        "apt install open-iscsi",
        "install bowline-initramfs",
        "noop_out_interval = 0",
        "noop_out_timeout = 0",
        "replacement_timeout = 86400",
        "recovery_tmo",
        "/dev/vda2",
        "/etc/network/interfaces",
        "same /etc/hostname",
        "same /etc/ssh/ssh_host_*_key",
    ] {
        ensure!(
            !check.status.success() && said.contains(lack),
            "`bowline image check` does not find that {lack} is missing:\n{said}"
        );
    }
    sh::run_loud(
        Command::new(bowline)
            .args(["image", "prepare", "--package"])
            .args([package, &image]),
    )?;
    Ok(image)
}

/// On a busy host Linux would find an emulated timer of x86_64 too slow to be one.
fn kernel_options(arch: Arch) -> impl Iterator<Item = String> {
    let quirk = match arch {
        Arch::Arm64 => None,
        Arch::X86_64 => Some("no_timer_check".to_owned()),
    };
    [format!("console={}", arch.linux_console())]
        .into_iter()
        .chain(quirk)
}

/// A golden image and the overlay of a machine on it.
#[derive(Debug)]
pub(crate) struct System {
    /// What no machine may change.
    pub(crate) golden: PathBuf,
    /// The machine's disk.
    pub(crate) overlay: PathBuf,
}

/// A fresh disk for `machine`.
pub(crate) fn clone(
    workspace: &Workspace,
    packages: &Packages,
    arch: Arch,
    kind: Kind,
    machine: &str,
) -> Result<System> {
    let (library, name) = golden(workspace, packages, arch, kind)?;
    let bowline = build::bowline(workspace)?;
    let overlay = library.join("overlays").join(format!("{machine}.overlay"));
    if overlay.exists() {
        sh::run(
            Command::new(&bowline)
                .args(["overlay", "rm", machine, "--force", "--library"])
                .arg(&library),
        )?;
    }
    sh::run(library_command(&bowline, &library).args(["clone", &name, machine]))?;
    let golden = golden_disk(&library, &name);
    Ok(System { golden, overlay })
}

/// Forgets what a machine has written.
pub(crate) fn reset(bowline: &Path, overlay: &Path) -> Result<()> {
    let machine = overlay.file_stem().context("an overlay has a name")?;
    let library = overlay.ancestors().nth(2).context("it is in a library")?;
    sh::run(
        Command::new(bowline)
            .args(["overlay", "reset"])
            .arg(machine)
            .args(["--force", "--library"])
            .arg(library),
    )
}

fn golden_disk(library: &Path, name: &str) -> PathBuf {
    library.join("images").join(name).join("disk.img")
}

/// Makes the system of an architecture, so that runs find it.
pub(crate) fn prepare(
    workspace: &Workspace,
    packages: &Packages,
    arch: Arch,
    kind: Kind,
) -> Result<()> {
    golden(workspace, packages, arch, kind).map(drop)
}

fn library_command(bowline: &Path, library: &Path) -> Command {
    let mut command = Command::new(bowline);
    command.args(["image", "--library"]).arg(library);
    command
}
