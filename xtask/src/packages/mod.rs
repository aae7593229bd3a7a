//! Debian packages used as data: firmware, kernels, GRUB, peers.
//!
//! They are for other architectures and other Debian releases than the host's, so they are never
//! installed: a private apt (own sources, state and cache; the host's proxy, certificates and
//! mirror) fetches and verifies them, `dpkg -x` unpacks each into a folder of its own. Needs no
//! root. What has been fetched is noted in `packages.lock` and is not asked for again, so that
//! later runs need no network; `cargo xtask setup --refresh` starts over.

mod apt;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use self::apt::PrivateApt;
pub(crate) use self::apt::{host_mirror, mirror};
use crate::arch::Arch;
use crate::firmware::Firmware;
use crate::sh;
use crate::workspace::Workspace;

/// A Debian release that packages are taken from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Suite {
    /// Debian 12.
    #[default]
    Bookworm,
    /// Its security updates.
    BookwormSecurity,
    /// Debian 13.
    Trixie,
}

impl Suite {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::BookwormSecurity => "bookworm-security",
            Self::Trixie => "trixie",
        }
    }

    /// The release as people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Bookworm | Self::BookwormSecurity => "Debian 12",
            Self::Trixie => "Debian 13",
        }
    }
}

/// One package: from which release and for which architecture.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    name: &'static str,
    suite: Suite,
    arch: Arch,
}

impl Package {
    /// Architecture-independent packages are found under any architecture.
    pub(crate) const fn new(name: &'static str, suite: Suite, arch: Arch) -> Self {
        Self { name, suite, arch }
    }

    fn key(self) -> String {
        format!("{}/{}", self.qualified(), self.suite.name())
    }

    fn qualified(self) -> String {
        format!("{}:{}", self.name, self.arch.debian())
    }
}

/// Firmware and the peer loader: `all` packages.
pub(crate) const UBOOT_2023: Package = Package::new("u-boot-qemu", Suite::Bookworm, Arch::X86_64);
pub(crate) const UBOOT_2025: Package = Package::new("u-boot-qemu", Suite::Trixie, Arch::X86_64);
pub(crate) const EDK2_ARM64_2022: Package =
    Package::new("qemu-efi-aarch64", Suite::Bookworm, Arch::X86_64);
pub(crate) const EDK2_X86_64_2022: Package = Package::new("ovmf", Suite::Bookworm, Arch::X86_64);
pub(crate) const EDK2_ARM64: Package =
    Package::new("qemu-efi-aarch64", Suite::Trixie, Arch::X86_64);
pub(crate) const EDK2_X86_64: Package = Package::new("ovmf", Suite::Trixie, Arch::X86_64);
const IPXE: Package = Package::new("ipxe", Suite::Trixie, Arch::X86_64);

/// Debian's signed GRUB.
pub(crate) const fn grub(arch: Arch, release: Suite) -> Package {
    let name = match arch {
        Arch::Arm64 => "grub-efi-arm64-signed",
        Arch::X86_64 => "grub-efi-amd64-signed",
    };
    Package::new(name, release, arch)
}

/// systemd's boot loader.
pub(crate) const fn systemd_boot(arch: Arch, release: Suite) -> Package {
    Package::new("systemd-boot-efi", release, arch)
}

/// The metapackage that names the current kernel. Not the `cloud` flavour: it has no e1000.
pub(crate) const fn kernel(arch: Arch, release: Suite) -> Package {
    let name = match arch {
        Arch::Arm64 => "linux-image-arm64",
        Arch::X86_64 => "linux-image-amd64",
    };
    Package::new(name, release, arch)
}

/// What boots of a release: its boot loaders and its kernel.
pub(crate) const fn boot(arch: Arch, release: Suite) -> [Package; 3] {
    [
        grub(arch, release),
        systemd_boot(arch, release),
        kernel(arch, release),
    ]
}

/// The programs and libraries of the initial RAM disk and of the root file system.
pub(crate) fn userland(arch: Arch) -> impl Iterator<Item = Package> {
    const NAMES: [&str; 9] = [
        "base-files",
        "busybox-static",
        "libc6",
        "libkmod2",
        "liblzma5",
        "libopeniscsiusr",
        "libssl3",
        "libzstd1",
        "open-iscsi",
    ];
    NAMES
        .into_iter()
        .map(move |name| Package::new(name, Suite::Bookworm, arch))
}

/// What a Linux that only tries out disks needs besides: fio, e2fsprogs, the libraries of these and
/// of open-iscsi's daemon. fio is linked with every storage system there is.
pub(crate) fn disk_tests(arch: Arch) -> impl Iterator<Item = Package> {
    const NAMES: &str = "e2fsprogs fio libacl1 libaio1 libargon2-1 libblkid1 \
        libboost-iostreams1.74.0 libboost-thread1.74.0 libbz2-1.0 libcap2 libcom-err2 \
        libcryptsetup12 libdaxctl1 libdevmapper1.02.1 libext2fs2 libffi8 libfmt9 libgcc-s1 \
        libgcrypt20 libgfapi0 libgfrpc0 libgfxdr0 libglusterfs0 libgmp10 libgnutls30 libgpg-error0 \
        libgssapi-krb5-2 libhogweed6 libibverbs1 libicu72 libidn2-0 libisns0 libjson-c5 \
        libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 liblz4-1 libmount1 libnbd0 libndctl6 \
        libnettle8 libnl-3-200 libnl-route-3-200 libnuma1 libp11-kit0 libpcre2-8-0 libpmem1 \
        libpmemblk1 librados2 librbd1 librdmacm1 libselinux1 libss2 libstdc++6 libsystemd0 \
        libtasn1-6 libtirpc3 libudev1 libunistring2 libuuid1 libxml2 zlib1g";
    NAMES
        .split_whitespace()
        .map(move |name| Package::new(name, Suite::Bookworm, arch))
}

/// The kernel that a Debian system is upgraded to: that of the security updates.
pub(crate) const fn new_kernel(arch: Arch) -> Package {
    kernel(arch, Suite::BookwormSecurity)
}

/// libiscsi's conformance suite and all that it runs on.
pub(crate) fn libiscsi(arch: Arch) -> impl Iterator<Item = Package> {
    const NAMES: [&str; 8] = [
        "libiscsi-bin",
        "libiscsi7",
        "libc6",
        "libcunit1",
        "libibverbs1",
        "libnl-3-200",
        "libnl-route-3-200",
        "librdmacm1t64",
    ];
    NAMES
        .into_iter()
        .map(move |name| Package::new(name, Suite::Trixie, arch))
}

/// chrony, vsftpd, rpcbind, nfs-ganesha and socklog, and all that they run on.
pub(crate) fn services(arch: Arch) -> impl Iterator<Item = Package> {
    const NAMES: &str = "chrony nfs-ganesha nfs-ganesha-vfs rpcbind socklog vsftpd libacl1 libaudit1 \
        libblkid1 libbsd0 libc6 libcap-ng0 libcap2 libcom-err2 libdbus-1-3 libffi8 libgcrypt20 \
        libgmp10 libgnutls30 libgpg-error0 libgssapi-krb5-2 libhogweed6 libidn2-0 libk5crypto3 \
        libkeyutils1 libkrb5-3 libkrb5support0 liblz4-1 liblzma5 libmd0 libnettle8 libnfsidmap1 \
        libnsl2 libntirpc4.3 libp11-kit0 libpam0g libseccomp2 libssl3 libsystemd0 libtasn1-6 \
        libtirpc3 libunistring2 liburcu8 libuuid1 libwbclient0 libwrap0 libzstd1";
    NAMES
        .split_whitespace()
        .map(move |name| Package::new(name, Suite::Bookworm, arch))
}

/// Everything the demo and the tests use.
pub(crate) fn all() -> Vec<Package> {
    let mut list: Vec<_> = Firmware::ALL.map(Firmware::package).into();
    list.push(IPXE);
    for arch in Arch::ALL {
        list.extend(boot(arch, Suite::Bookworm));
        list.extend(userland(arch));
    }
    // The scenarios try out disks on one architecture: what they test is the server.
    list.extend(disk_tests(Arch::Arm64));
    if let Ok(arch) = Arch::host() {
        list.extend(libiscsi(arch));
        list.extend(services(arch));
    }
    list
}

/// The packages at hand.
#[derive(Debug)]
pub(crate) struct Packages {
    debs: PathBuf,
    trees: PathBuf,
    /// From package key to the file name of its `.deb`.
    lock: BTreeMap<String, String>,
}

impl Packages {
    /// Fetches what is missing of `wanted`.
    pub(crate) fn obtain(workspace: &Workspace, wanted: &[Package], refresh: bool) -> Result<Self> {
        let mut packages = Self {
            debs: workspace.cache.join("debs"),
            trees: workspace.cache.join("trees"),
            lock: BTreeMap::new(),
        };
        let lock_file = workspace.cache.join("packages.lock");
        if !refresh {
            packages.lock = read_lock(&lock_file);
        }
        let missing: BTreeMap<String, Package> = wanted
            .iter()
            .filter(|package| !packages.has(**package))
            .map(|package| (package.key(), *package))
            .collect();
        if missing.is_empty() {
            return Ok(packages);
        }
        fs::create_dir_all(&packages.debs)?;
        let apt = PrivateApt::open(&workspace.cache.join("apt"), "deb")?;
        let missing: Vec<Package> = missing.into_values().collect();
        for (package, file) in apt.fetch(&missing, &packages.debs)? {
            packages.lock.insert(package.key(), file);
        }
        write_lock(&lock_file, &packages.lock)?;
        Ok(packages)
    }

    fn has(&self, package: Package) -> bool {
        self.lock
            .get(&package.key())
            .is_some_and(|file| self.debs.join(file).exists())
    }

    /// The name of the `.deb` of a package: its name, version and architecture.
    pub(crate) fn file(&self, package: Package) -> Result<&str> {
        self.lock
            .get(&package.key())
            .map(String::as_str)
            .with_context(|| format!("package {} has not been fetched", package.key()))
    }

    /// The version of a package's upstream.
    pub(crate) fn upstream_version(&self, package: Package) -> Result<&str> {
        let file = self.file(package)?;
        let version = file.split('_').nth(1).and_then(upstream);
        version.with_context(|| format!("there is no version in {file}"))
    }

    /// The `.deb` of a package.
    pub(crate) fn deb(&self, package: Package) -> Result<PathBuf> {
        Ok(self.debs.join(self.file(package)?))
    }

    /// Debian's iPXE.
    pub(crate) fn ipxe(&self, arch: Arch) -> Result<PathBuf> {
        let program = format!("usr/lib/ipxe/ipxe-{}.efi", arch.debian());
        Ok(self.tree(IPXE)?.join(program))
    }

    /// The folder a package is unpacked in.
    pub(crate) fn tree(&self, package: Package) -> Result<PathBuf> {
        let file = self.file(package)?;
        let tree = self.trees.join(file.trim_end_matches(".deb"));
        if tree.exists() {
            return Ok(tree);
        }
        fs::create_dir_all(&self.trees)?;
        // Unpacked beside its place and renamed, so that a tree that exists is a whole one.
        let scratch = tempfile::Builder::new()
            .prefix("unpack-")
            .tempdir_in(&self.trees)?;
        let inside = scratch.path().join("tree");
        sh::run(
            sh::command("dpkg")
                .arg("-x")
                .arg(self.debs.join(file))
                .arg(&inside),
        )?;
        match fs::rename(&inside, &tree) {
            Err(error) if !tree.exists() => Err(error).context("cannot keep an unpacked package"),
            _ => Ok(tree),
        }
    }
}

/// The upstream part of a version (Debian Policy section 5.6.12). That of the signed GRUB is a version
/// of its own, with GRUB's behind it.
fn upstream(version: &str) -> Option<&str> {
    let version = version.strip_prefix("1+").unwrap_or(version);
    version.split(['+', '-', '~']).next()
}

/// Fetches a source package into `folder` and unpacks it there; the folder of its sources.
pub(crate) fn source(
    workspace: &Workspace,
    name: &str,
    suite: Suite,
    folder: &Path,
) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let apt = PrivateApt::open(&workspace.cache.join("apt-source"), "deb-src")?;
    println!("  fetching the sources of {name}");
    sh::run(
        apt.command("apt-get")
            .args(["--quiet", "source", &format!("{name}/{}", suite.name())])
            .current_dir(folder),
    )
    .with_context(|| format!("cannot fetch the sources of {name}"))?;
    let unpacked = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let mut folders = unpacked.filter(|path| path.is_dir());
    folders
        .next()
        .with_context(|| format!("apt unpacked nothing in {}", folder.display()))
}

fn read_lock(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(key, deb)| (key.to_owned(), deb.to_owned()))
        .collect()
}

fn write_lock(file: &Path, lock: &BTreeMap<String, String>) -> Result<()> {
    let text: String = lock
        .iter()
        .map(|(key, deb)| format!("{key} {deb}\n"))
        .collect();
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_versions_are_what_people_call_them() {
        let versions = [
            "2023.01+dfsg-2+deb12u1",
            "252.39-1~deb12u2",
            "1+2.06+13+deb12u2",
            "6.12.94-1",
        ];
        let upstreams = ["2023.01", "252.39", "2.06", "6.12.94"];
        assert_eq!(versions.map(|it| upstream(it).unwrap()), upstreams);
    }
}
