//! What boots what: firmware, architecture, network card, boot loader and system in one table, made
//! by runs of the usual scenarios on more machines.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::e2e;
use crate::firmware::Firmware;
use crate::packages::{self, Packages, Suite};
use crate::qemu::Nic;
use crate::run::{self, Report};
use crate::scenario::{self, Instance, Scenario};
use crate::sh;
use crate::workspace::Workspace;

/// The name of these runs among the folders of `e2e/`.
pub(crate) const NAME: &str = "matrix";

const INTRODUCTION: &str = include_str!("matrix.md");

/// What a scenario is to be run with besides, and what that is called in the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Matrix {
    /// What is started, if anything is.
    boot_loader: Option<BootLoader>,
    runs: Vec<Runs>,
}

/// What the loader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BootLoader {
    Grub,
    SystemdBoot,
    /// The kernel itself, by its EFI stub.
    None,
}

/// Every machine with every release.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Runs {
    machines: Vec<String>,
    releases: Vec<Suite>,
    /// What a good run shows.
    #[serde(default = "boots")]
    shows: String,
}

fn boots() -> String {
    "boots".to_owned()
}

impl Matrix {
    /// The scenario once for each release, with the name and the summary that it has there.
    pub(crate) fn expand(&self, name: &str, scenario: &Scenario) -> Vec<(String, Scenario)> {
        let mut variants = Vec::new();
        for runs in &self.runs {
            for release in &runs.releases {
                let mut variant = scenario.clone();
                variant.machines.clone_from(&runs.machines);
                variant.release = *release;
                variant.summary.clone_from(&runs.shows);
                variants.push((format!("{NAME}/{name}/{}", release.name()), variant));
            }
        }
        variants
    }
}

/// Runs those whose names begin with one of `names`, or all, and writes docs/matrix.md from the last
/// run of each; whether everything was as it should be.
pub(crate) fn make(workspace: &Workspace, names: &[String], jobs: usize) -> Result<bool> {
    let chosen = e2e::select(&workspace.e2e(), NAME, names)?;
    e2e::prepare(workspace, &chosen)?;
    let failed = e2e::table(&e2e::run_all(workspace, NAME, &chosen, jobs)?);
    let all = scenario::load(&workspace.e2e(), NAME)?;
    let wanted: Vec<_> = all.iter().flat_map(Instance::packages).collect();
    let packages = Packages::obtain(workspace, &wanted, false)?;
    let mut rows = Vec::new();
    let systems = scenario::load(&workspace.e2e(), "os")?;
    for instance in all.iter().chain(&systems) {
        if let Some(report) = last_report(&run::folder(workspace, &instance.name)) {
            rows.extend(Row::of(instance, &report, &packages)?);
        } else if instance.scenario.matrix.is_some() {
            println!("{} has left no result: there is no table", instance.name);
            return Ok(false);
        }
    }
    rows.sort();
    let page = workspace.root.join("docs/matrix.md");
    fs::write(&page, text(&rows)?).with_context(|| format!("cannot write {}", page.display()))?;
    println!("{} has {} rows", page.display(), rows.len());
    Ok(failed == 0)
}

/// What the last run in a folder showed, if there was one.
fn last_report(folder: &Path) -> Option<Report> {
    let result = fs::read(folder.join("result.json")).ok()?;
    serde_json::from_slice(&result).ok()
}

/// A row of the table, in the order of the table.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    firmware: Firmware,
    nic: Nic,
    boot_loader: Option<BootLoader>,
    /// The other cells.
    text: String,
}

impl Row {
    /// `None` for a run without a machine.
    fn of(instance: &Instance, report: &Report, packages: &Packages) -> Result<Option<Self>> {
        let Some((firmware, nic)) = instance.machine else {
            return Ok(None);
        };
        let Scenario { matrix, disk, .. } = &instance.scenario;
        let is_whole = disk.system().is_some();
        let boot_loader = match matrix {
            Some(matrix) => matrix.boot_loader,
            None => Some(BootLoader::Grub),
        };
        let arch = firmware.arch();
        let release = instance.scenario.release;
        let version = |package| packages.upstream_version(package);
        let what = match boot_loader {
            Some(BootLoader::Grub) => format!("GRUB {}", version(packages::grub(arch, release))?),
            Some(BootLoader::SystemdBoot) => {
                let package = packages::systemd_boot(arch, release);
                format!("systemd-boot {}", version(package)?)
            }
            Some(BootLoader::None) => "none: the kernel's EFI stub".to_owned(),
            None => String::new(),
        };
        let system = match boot_loader {
            Some(_) if is_whole => format!("{}, whole, with systemd", release.title()),
            Some(_) => {
                let kernel = version(packages::kernel(arch, release))?;
                format!("{}, Linux {kernel}", release.title())
            }
            None => String::new(),
        };
        let result = match &report.failure {
            None => &instance.scenario.summary,
            Some(failure) => &format!(
                "FAILED: {}",
                failure
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .replace('|', "\\|")
            ),
        };
        let start = report.stage("script").or(report.stage("loader"));
        let seconds = match (start, report.stage("Linux")) {
            (Some(start), Some(linux)) => format!("{:.1}", linux - start),
            _ => String::new(),
        };
        let (name, card) = (firmware.kind(), nic.title(firmware));
        let (number, arch) = (version(firmware.package())?, arch.name());
        Ok(Some(Self {
            firmware,
            nic,
            boot_loader,
            text: format!(
                "| {name} {number} | {arch} | {card} | {what} | {system} | {result} | {seconds} |"
            ),
        }))
    }
}

fn text(rows: &[Row]) -> Result<String> {
    let mut qemu = sh::command("qemu-system-x86_64");
    let qemu = sh::output(qemu.arg("--version"))?;
    let qemu = qemu.lines().next().unwrap_or_default();
    let mut text = INTRODUCTION.replace("@qemu@", qemu);
    for row in rows {
        writeln!(text, "{}", row.text)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_is_run_with_every_release() {
        let e2e = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e");
        let instances = scenario::load(&e2e, NAME).unwrap();
        for release in ["bookworm", "trixie"] {
            for machine in ["u-boot-2023.01", "edk2-2022.11-x86_64"] {
                let name = format!("matrix/systemd-boot/{release}/{machine}");
                let instance = instances.iter().find(|it| it.name == name).unwrap();
                assert_eq!(instance.scenario.release.name(), release);
                assert_eq!(instance.machine.unwrap().0.name(), machine);
            }
        }
        let folders: std::collections::BTreeSet<_> = instances
            .iter()
            .map(|it| it.name.split('/').next())
            .collect();
        assert_eq!(folders.into_iter().collect::<Vec<_>>(), [Some(NAME)]);
    }
}
