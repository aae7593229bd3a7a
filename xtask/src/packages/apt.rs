//! An apt of our own: its sources, state and cache are apart from the system's, whose proxy,
//! certificates and mirror it uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{Package, Suite};
use crate::arch::Arch;
use crate::sh;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// An apt of our own, beside the system's.
pub(super) struct PrivateApt {
    folder: PathBuf,
}

impl PrivateApt {
    /// Prepares the folder and reads the lists of the releases' packages (`deb`) or of their sources
    /// (`deb-src`).
    pub(super) fn open(folder: &Path, kind: &str) -> Result<Self> {
        ensure!(
            sh::find("apt-get").is_some() && sh::find("dpkg").is_some(),
            "firmware, kernels and GRUB come from Debian packages, and `apt-get` and `dpkg` are \
             needed to fetch them (many other systems have them as packages `apt` and `dpkg`)"
        );
        ensure!(
            Path::new(KEYRING).exists(),
            "{KEYRING} is missing: install the package debian-archive-keyring, \
             with which downloaded packages are verified"
        );
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        let mirror = mirror();
        let sources: String = [Suite::Bookworm, Suite::BookwormSecurity, Suite::Trixie]
            .iter()
            .map(|suite| {
                let archive = match suite {
                    Suite::BookwormSecurity => "-security",
                    Suite::Bookworm | Suite::Trixie => "",
                };
                let name = suite.name();
                format!("{kind} [signed-by={KEYRING}] {mirror}{archive} {name} main\n")
            })
            .collect();
        fs::write(folder.join("sources.list"), sources)?;
        let apt = Self {
            folder: folder.to_path_buf(),
        };
        println!("  reading the package lists of Debian 12 and 13 from {mirror}");
        sh::run(
            apt.command("apt-get")
                .args(["update", "--quiet", "--error-on=any"]),
        )
        .context(
            "cannot read Debian's package lists. Is this machine online, and does apt need a proxy \
             (Acquire::http::Proxy in /etc/apt/apt.conf.d)?",
        )?;
        Ok(apt)
    }

    /// Options given on the command line win over the host's files, which stay in force for
    /// everything else (proxies, certificates, retries).
    pub(super) fn command(&self, program: &str) -> Command {
        let at = |part: &str| self.folder.join(part).display().to_string();
        let mut command = sh::command(program);
        for (name, value) in [
            ("Dir::State::lists", at("lists")),
            ("Dir::State::status", at("status")),
            ("Dir::State::extended_states", at("extended_states")),
            ("Dir::Cache", at("")),
            ("Dir::Cache::archives", at("archives")),
            ("Dir::Etc::sourcelist", at("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".to_owned()),
            ("Dir::Etc::preferences", "/dev/null".to_owned()),
            ("Dir::Etc::preferencesparts", "/dev/null".to_owned()),
            ("APT::Architecture", "amd64".to_owned()),
            ("APT::Architectures", "amd64,arm64".to_owned()),
            // apt as root would fetch as user _apt, which may not write here.
            ("APT::Sandbox::User", "root".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            (
                "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled",
                "false".to_owned(),
            ),
        ] {
            command.arg("-o").arg(format!("{name}={value}"));
        }
        command
    }

    /// Downloads packages into `debs` and returns their file names.
    pub(super) fn fetch(&self, wanted: &[Package], debs: &Path) -> Result<Vec<(Package, String)>> {
        let names: Vec<String> = wanted.iter().map(|package| package.qualified()).collect();
        let table = sh::output(self.command("apt-cache").arg("madison").args(&names))?;
        let mut exact = Vec::new();
        for package in wanted {
            let version = version_in(&table, *package)?;
            exact.push(match self.points_to(*package, &version)? {
                Some(real) => real,
                None => (package.name.to_owned(), version),
            });
        }
        let requests: Vec<String> = wanted
            .iter()
            .zip(&exact)
            .map(|(package, (name, version))| format!("{name}:{}={version}", package.arch.debian()))
            .collect();
        println!("  fetching (not installing) {}", requests.join(" "));
        let plan = sh::output(
            self.command("apt-get")
                .args(["--print-uris", "download"])
                .args(&requests),
        )?;
        sh::run(
            self.command("apt-get")
                .args(["--quiet", "download"])
                .args(&requests)
                .current_dir(debs),
        )
        .context("cannot download Debian packages")?;
        let mut fetched = Vec::new();
        for (package, (name, version)) in wanted.iter().zip(&exact) {
            let file = file_in(&plan, name, version, package.arch)
                .with_context(|| format!("apt does not say where {name} {version} is:\n{plan}"))?;
            ensure!(debs.join(&file).exists(), "apt did not store {file}");
            fetched.push((*package, file));
        }
        Ok(fetched)
    }

    /// A kernel metapackage stands for the one real package it depends on.
    fn points_to(&self, package: Package, version: &str) -> Result<Option<(String, String)>> {
        if !package.name.starts_with("linux-image-") {
            return Ok(None);
        }
        let exact = format!("{}={version}", package.qualified());
        let record = sh::output(self.command("apt-cache").args(["show", &exact]))?;
        let depends = record
            .lines()
            .find_map(|line| line.strip_prefix("Depends: "))
            .with_context(|| format!("{exact} depends on no kernel"))?;
        let first = depends.split([',', '|']).next().unwrap_or(depends).trim();
        Ok(Some(match first.split_once(" (= ") {
            Some((name, version)) => (name.to_owned(), version.trim_end_matches(')').to_owned()),
            None => (first.to_owned(), version.to_owned()),
        }))
    }
}

/// The version that the package's release has, from the rows `name | version | source` of
/// `apt-cache madison`.
fn version_in(table: &str, package: Package) -> Result<String> {
    let suite = format!(" {}/", package.suite.name());
    for line in table.lines() {
        let mut columns = line.split('|').map(str::trim);
        let (Some(name), Some(version), Some(source)) =
            (columns.next(), columns.next(), columns.next())
        else {
            continue;
        };
        let architecture = format!(" {} ", package.arch.debian());
        // The name has its architecture behind it if that is not apt's own.
        if name.split(':').next() == Some(package.name)
            && format!(" {source}").contains(&suite)
            && format!("{source} ").contains(&architecture)
        {
            return Ok(version.to_owned());
        }
    }
    bail!(
        "Debian {} has no package {}",
        package.suite.name(),
        package.qualified()
    )
}

/// The file name of a package among `'address' file size hash` lines; colons are escaped in it.
fn file_in(plan: &str, name: &str, version: &str, arch: Arch) -> Option<String> {
    let start = format!("{name}_{}_", version.replace(':', "%3a"));
    [arch.debian(), "all"].iter().find_map(|arch| {
        let whole = format!("{start}{arch}.deb");
        plan.split_whitespace()
            .find(|word| **word == whole)
            .map(str::to_owned)
    })
}

/// The mirror that the host itself uses for Debian, if it does.
pub(crate) fn host_mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(folder.flatten().map(|entry| entry.path()));
    }
    files.sort();
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| mirror_in(&text))
}

/// The archive that packages come from.
pub(crate) fn mirror() -> String {
    host_mirror().unwrap_or_else(|| DEFAULT_MIRROR.to_owned())
}

/// The first address of a whole Debian archive (not of security or third parties) in a sources
/// file of either format.
fn mirror_in(text: &str) -> Option<String> {
    text.lines()
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_read_from_both_source_formats() {
        let line = "# c\ndeb [arch=amd64] https://example.net/debian/ bookworm main\n";
        assert_eq!(
            mirror_in(line).as_deref(),
            Some("https://example.net/debian")
        );
        let deb822 = "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\n";
        assert_eq!(
            mirror_in(deb822).as_deref(),
            Some("http://m.example/debian")
        );
    }

    #[test]
    fn versions_and_files_are_found_by_release_and_architecture() {
        let table = "ovmf | 2025.02-8 | http://m trixie/main amd64 Packages\n\
                     ovmf | 2025.02-8 | http://m trixie/main arm64 Packages\n\
                     libc6:arm64 | 2.41-1 | http://m trixie/main arm64 Packages\n\
                     libc6:arm64 | 2.36-9 | http://m bookworm/main arm64 Packages\n";
        let libc = Package::new("libc6", Suite::Bookworm, Arch::Arm64);
        assert_eq!(version_in(table, libc).unwrap(), "2.36-9");
        assert!(version_in(table, Package::new("libc6", Suite::Bookworm, Arch::X86_64)).is_err());
        let plan = "'http://m/b_1%3a1.35_arm64.deb' b_1%3a1.35_arm64.deb 822236 SHA256:00\n\
                    'http://m/o_2_all.deb' o_2_all.deb 1 SHA256:00\n";
        assert_eq!(
            file_in(plan, "b", "1:1.35", Arch::Arm64).unwrap(),
            "b_1%3a1.35_arm64.deb"
        );
        assert_eq!(
            file_in(plan, "o", "2", Arch::X86_64).unwrap(),
            "o_2_all.deb"
        );
        assert_eq!(file_in(plan, "b", "1:1.35", Arch::X86_64), None);
    }

    #[test]
    fn security_and_foreign_archives_are_not_mirrors() {
        let text = "deb http://example.net/debian-security bookworm-security main\n\
                    deb https://deb.nodesource.com/node_20.x nodistro main\n";
        assert_eq!(mirror_in(text), None);
    }
}
