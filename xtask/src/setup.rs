//! Makes this machine ready: looks what is missing, says what it installs and why, and installs it
//! with apt; then fetches the packages that are only data.
//!
//! One trap is handled: the QEMU packages must all be of one version. If the machine already has
//! some of them from backports, the others have to come from there too.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::netns;
use crate::packages::{self, Packages};
use crate::sh;
use crate::toolchain::{self, Toolchain};
use crate::workspace::Workspace;

/// A system package: the file that shows it is there, its name, and what it is for.
struct Need {
    /// A program in `PATH`, or with slashes a file.
    sign: &'static str,
    package: &'static str,
    purpose: &'static str,
}

const fn need(sign: &'static str, package: &'static str, purpose: &'static str) -> Need {
    Need {
        sign,
        package,
        purpose,
    }
}

const NEEDS: [Need; 23] = [
    need(
        "qemu-system-aarch64",
        "qemu-system-arm",
        "the arm64 machine that is booted",
    ),
    need(
        "qemu-system-x86_64",
        "qemu-system-x86",
        "the x86_64 machine that is booted",
    ),
    need(
        "qemu-img",
        "qemu-utils",
        "an independent iSCSI initiator, and disk images",
    ),
    need(
        "block-iscsi.so",
        "qemu-block-extra",
        "the iSCSI driver of qemu-utils",
    ),
    need(
        "mcopy",
        "mtools",
        "files into FAT file systems without root",
    ),
    need("mkfs.fat", "dosfstools", "FAT file systems"),
    need("fdisk", "fdisk", "partition tables"),
    need("sgdisk", "gdisk", "those of whole Debian systems"),
    need("xorriso", "xorriso", "the image of a CD"),
    need("mkfs.ext4", "e2fsprogs", "ext4 file systems"),
    need(
        "dnsmasq",
        "dnsmasq-base",
        "an independent DHCP and DNS server to test against",
    ),
    need(
        "nginx",
        "nginx-light",
        "an independent web server to test against",
    ),
    need(
        "openssl",
        "openssl",
        "an independent TLS server to test against",
    ),
    need("swtpm", "swtpm", "a TPM for virtual machines"),
    need("tgtd", "tgt", "an independent iSCSI target to test against"),
    need(
        "iscsi-ls",
        "libiscsi-bin",
        "independent iSCSI initiators to test against",
    ),
    need("ip", "iproute2", "the virtual network"),
    need(
        "unshare",
        "util-linux",
        "namespaces: the tests touch no network of yours",
    ),
    need("gzip", "gzip", "the initial RAM disk"),
    need("xz", "xz-utils", "kernel modules of Debian 13"),
    need("dpkg", "dpkg", "unpacking Debian packages"),
    need("apt-get", "apt", "fetching Debian packages"),
    need(
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "debian-archive-keyring",
        "verifying Debian packages",
    ),
];

/// For whole Debian systems: `bowline image build debian` runs it.
const BOOTSTRAP: Need = need(
    "mmdebstrap",
    "mmdebstrap",
    "whole Debian systems from Debian's packages",
);

/// For systems of another processor than this machine's: their packages' own scripts are run.
const EMULATOR: Need = need(
    "",
    "qemu-user-static",
    "running the scripts of packages for another processor",
);

/// Daemons that Debian would start on installation; the tests start their own.
const DAEMONS: [&str; 2] = ["nginx", "tgt"];

/// Installs and fetches everything that the demo and the tests need.
pub(crate) fn all(workspace: &Workspace, refresh: bool) -> Result<()> {
    system()?;
    let mut targets: Vec<&str> = Arch::ALL.iter().map(|arch| arch.uefi_target()).collect();
    targets.push(toolchain::BARE_METAL);
    if let Err(error) = Toolchain::choose(&targets) {
        println!("{error:#}");
        install_missing(debian_toolchain())?;
        Toolchain::choose(&targets)?;
    }
    for arch in Arch::ALL {
        let (target, _) = arch.accelerator_target();
        if let Err(error) = Toolchain::choose(&[target]) {
            println!("{error:#}");
            install_missing(debian_toolchain())?;
        }
    }
    Packages::obtain(workspace, &packages::all(), refresh)?;
    Ok(())
}

/// Installs only the programs, for what boots nothing.
pub(crate) fn system() -> Result<()> {
    install_missing(missing()?)
}

/// Installs what building fio with its libiscsi engine takes.
pub(crate) fn fio_builder() -> Result<()> {
    const PURPOSE: &str = "fio with its libiscsi engine";
    let needs = [
        need("cc", "gcc", PURPOSE),
        need("make", "make", PURPOSE),
        need("dpkg-source", "dpkg-dev", PURPOSE),
        need("/usr/include/iscsi/iscsi.h", "libiscsi-dev", PURPOSE),
    ];
    install_missing(
        needs
            .into_iter()
            .filter(|need| !is_there(need.sign))
            .collect(),
    )
}

/// What making a whole Debian system needs besides.
pub(crate) fn systems(arch: Arch) -> Result<()> {
    if !is_there(BOOTSTRAP.sign) {
        install_missing(vec![BOOTSTRAP])?;
    }
    if arch == Arch::host()? {
        return Ok(());
    }
    emulate(arch)
}

/// Has the kernel run programs of another processor by QEMU's user emulation.
fn emulate(arch: Arch) -> Result<()> {
    let name = format!("qemu-{}", arch.linux());
    let kernel = Path::new("/proc/sys/fs/binfmt_misc");
    let description = Path::new("/usr/lib/binfmt.d").join(format!("{name}.conf"));
    if kernel.join(&name).exists() {
        return Ok(());
    }
    if !description.exists() {
        install_missing(vec![EMULATOR])?;
    }
    // systemd reads what was installed (binfmt.d(5)); a container often has none.
    if kernel.join(&name).exists() {
        return Ok(());
    }
    if !kernel.join("register").exists() {
        sh::run(
            sh::command("mount")
                .args(["-t", "binfmt_misc", "binfmt_misc"])
                .arg(kernel),
        )
        .context("the kernel does not run programs of other processors (binfmt_misc)")?;
    }
    if !kernel.join(&name).exists() {
        let lines = fs::read_to_string(&description)
            .with_context(|| format!("qemu-user-static has no {}", description.display()))?;
        fs::write(kernel.join("register"), lines.trim())
            .with_context(|| format!("the kernel does not take {}", description.display()))?;
    }
    Ok(())
}

/// What is missing.
fn missing() -> Result<Vec<Need>> {
    let mut missing: Vec<Need> = NEEDS
        .into_iter()
        .filter(|need| !is_there(need.sign))
        .collect();
    // A file of the driver lies where only the package manager knows.
    if sh::find("dpkg-query").is_some() && installed_version("qemu-block-extra")?.is_some() {
        missing.retain(|need| need.package != "qemu-block-extra");
    }
    Ok(missing)
}

fn is_there(sign: &str) -> bool {
    match sign {
        path if path.starts_with('/') => Path::new(path).exists(),
        "block-iscsi.so" => ["/usr/lib/qemu", "/usr/lib64/qemu"]
            .iter()
            .any(|folder| Path::new(folder).join(sign).exists()),
        program => sh::find(program).is_some(),
    }
}

fn debian_toolchain() -> Vec<Need> {
    toolchain::DEBIAN_PACKAGES
        .into_iter()
        .map(|(name, why)| need("", name, why))
        .collect()
}

fn install_missing(missing: Vec<Need>) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    println!("This machine lacks:");
    for Need {
        package, purpose, ..
    } in &missing
    {
        println!("  {package:24} {purpose}");
    }
    let names: Vec<&str> = missing.iter().map(|need| need.package).collect();
    ensure!(
        sh::find("apt-get").is_some() && Path::new("/etc/debian_version").exists(),
        "this is not a Debian system, so nothing was installed. Please install what these Debian \
         packages contain: {}. Everything else is fetched without root",
        names.join(" ")
    );
    let requests = requests(&names)?;
    println!("Installing them by apt, which takes a minute or two.");
    // Daemons that are here because of us are switched off again, others are left alone.
    let ours: Vec<&str> = DAEMONS
        .into_iter()
        .filter(|daemon| names.iter().any(|name| name.starts_with(daemon)))
        .collect();
    let mut install = as_root("apt-get")?;
    install
        .args(["install", "--yes", "--no-install-recommends"])
        .args(&requests);
    sh::run(&mut install).with_context(|| {
        format!(
            "the packages were not installed. To do it by hand, as root: \
             apt-get update && apt-get install {}",
            requests.join(" ")
        )
    })?;
    stop_daemons(&ours)
}

/// Package names, with versions where one is forced by what is installed.
fn requests(names: &[&str]) -> Result<Vec<String>> {
    update_lists()?;
    let Some(qemu) = installed_qemu()? else {
        return Ok(names.iter().map(|name| (*name).to_owned()).collect());
    };
    let mut requests = Vec::new();
    for name in names {
        // The user emulation shares nothing with the others.
        let shares = name.starts_with("qemu-") && !name.starts_with("qemu-user");
        if shares && candidate(name)?.as_deref() != Some(&qemu) {
            provide_version(name, &qemu)?;
            requests.push(format!("{name}={qemu}"));
        } else {
            requests.push((*name).to_owned());
        }
    }
    Ok(requests)
}

fn update_lists() -> Result<()> {
    sh::run(as_root("apt-get")?.args(["update", "--quiet"])).context(
        "apt cannot read its package lists. Is this machine online, and does apt need a proxy?",
    )
}

/// The version of the QEMU packages that are installed already.
fn installed_qemu() -> Result<Option<String>> {
    for package in [
        "qemu-utils",
        "qemu-system-common",
        "qemu-system-arm",
        "qemu-system-x86",
    ] {
        if let Some(version) = installed_version(package)? {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

fn installed_version(package: &str) -> Result<Option<String>> {
    let format = "-f=${db:Status-Abbrev}|${source:Version}|${Version}";
    let mut query = sh::command("dpkg-query");
    let result = query
        .args(["-W", format, package])
        .output()
        .context("cannot run dpkg-query")?;
    let text = String::from_utf8_lossy(&result.stdout).into_owned();
    let mut fields = text.split('|');
    let is_installed = fields.next().is_some_and(|status| status.starts_with("ii"));
    Ok(fields
        .nth(1)
        .filter(|_| is_installed)
        .map(|version| version.trim().to_owned()))
}

/// The version that apt would install.
fn candidate(package: &str) -> Result<Option<String>> {
    let text = sh::output(sh::command("apt-cache").args(["policy", package]))?;
    Ok(text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))
        .map(str::to_owned))
}

/// Makes a version of a package available: adds the backports suite if the installed QEMU is from
/// there. Backports never replace anything by themselves (the suite is `NotAutomatic`).
fn provide_version(package: &str, version: &str) -> Result<()> {
    if offers(package, version)? {
        return Ok(());
    }
    let suite = if version.contains("~bpo12") {
        "bookworm-backports"
    } else if version.contains("~bpo13") {
        "trixie-backports"
    } else {
        bail!(
            "QEMU {version} is installed, but apt offers no {package} of that version. \
             Upgrade QEMU, or install {package} {version} by hand"
        )
    };
    println!(
        "QEMU {version} is installed from {suite}, and {package} must match it: adding the suite \
         {suite} to apt (/etc/apt/sources.list.d/bowline-backports.list)."
    );
    let mirror =
        packages::host_mirror().unwrap_or_else(|| "http://deb.debian.org/debian".to_owned());
    let scratch = tempfile::NamedTempFile::new()?;
    fs::write(scratch.path(), format!("deb {mirror} {suite} main\n"))?;
    sh::run(
        as_root("install")?
            .args(["-m", "644"])
            .arg(scratch.path())
            .arg("/etc/apt/sources.list.d/bowline-backports.list"),
    )?;
    update_lists()?;
    ensure!(
        offers(package, version)?,
        "{suite} has no {package} {version} any more: upgrade the installed QEMU first, as root: \
         apt-get install --only-upgrade -t {suite} 'qemu-*'"
    );
    Ok(())
}

fn offers(package: &str, version: &str) -> Result<bool> {
    let text = sh::output(sh::command("apt-cache").args(["madison", package]))?;
    Ok(text.lines().any(|line| {
        line.split('|')
            .nth(1)
            .is_some_and(|have| have.trim() == version)
    }))
}

/// A program run as root, through sudo if need be.
fn as_root(program: &str) -> Result<Command> {
    if netns::is_root()? {
        let mut command = sh::command(program);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Ok(command);
    }
    ensure!(
        sh::find("sudo").is_some(),
        "installing packages needs root, and there is no sudo here: run \
         `cargo xtask setup` once as root"
    );
    let mut command = sh::command("sudo");
    command
        .args(["env", "DEBIAN_FRONTEND=noninteractive"])
        .arg(program);
    Ok(command)
}

/// Debian starts a daemon as soon as it is installed. Nobody asked for these to run.
fn stop_daemons(daemons: &[&str]) -> Result<()> {
    if daemons.is_empty() || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    println!(
        "Stopping the services {} again: the tests start their own.",
        daemons.join(", ")
    );
    sh::run(
        as_root("systemctl")?
            .args(["disable", "--now"])
            .args(daemons),
    )
}
