//! Reads scenario files and makes of each one instance for every machine and kind of servers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{Instance, Scenario, Step, first};
use crate::arch::Arch;
use crate::corpus;
use crate::firmware::Firmware;
use crate::matrix;
use crate::qemu::Nic;
use crate::servers::Kind;

/// Loads all scenarios of a folder, in the order of their names. The folder `matrix` stands for what
/// the usual scenarios are told to run besides.
pub(crate) fn load(e2e: &Path, folder: &str) -> Result<Vec<Instance>> {
    let steps = e2e.join("steps.toml");
    let mut groups: BTreeMap<String, Vec<Step>> = read_toml(&steps)?;
    groups.insert(corpus::GROUP.to_owned(), corpus::steps(e2e)?);
    let is_matrix = folder == matrix::NAME;
    let folder = e2e.join(if is_matrix { "scenarios" } else { folder });
    let entries =
        fs::read_dir(&folder).with_context(|| format!("no scenarios in {}", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    let mut instances = Vec::new();
    for file in files {
        let scenario: Scenario = read_toml(&file)?;
        let name = file
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let variants = match &scenario.matrix {
            Some(matrix) if is_matrix => matrix.expand(&name, &scenario),
            _ if is_matrix => Vec::new(),
            _ => vec![(name, scenario)],
        };
        for (name, scenario) in variants {
            let expanded = expand(&name, &scenario, &groups);
            instances.extend(expanded.with_context(|| file.display().to_string())?);
        }
    }
    Ok(instances)
}

fn read_toml<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    toml::from_str(&text).with_context(|| file.display().to_string())
}

fn expand(
    name: &str,
    scenario: &Scenario,
    groups: &BTreeMap<String, Vec<Step>>,
) -> Result<Vec<Instance>> {
    if let Some(network) = &scenario.network {
        network.check()?;
    }
    ensure!(
        scenario.network.is_some() || !scenario.step.iter().any(|step| step.network.is_some()),
        "a step changes the network, but there is no [network] to change"
    );
    ensure!(
        scenario.network.is_some() || !scenario.servers.contains(&Kind::Lio),
        "the machine that is the target is plugged into the switch: there is no [network]"
    );
    ensure!(
        !scenario.neighbour
            || (scenario.disk.system().is_some()
                && scenario.network.is_some()
                && scenario.servers == [Kind::Bowline]),
        "a neighbour needs a disk that is an overlay (`system`), a [network] to be plugged in, and \
         our servers"
    );
    let mut machines = Vec::new();
    for machine in &scenario.machines {
        let (firmware, nic) = match machine.split_once('/') {
            Some((firmware, nic)) => (firmware, Nic::named(nic)?),
            None => (machine.as_str(), Nic::Virtio),
        };
        machines.push(Some((Firmware::named(firmware)?, nic)));
    }
    if machines.is_empty() {
        ensure!(
            !scenario.run.is_empty() || !scenario.conformance.is_empty(),
            "neither a machine nor a host program is run"
        );
        machines.push(None);
    }
    let mut instances = Vec::new();
    for machine in machines {
        let arch = machine.map(|(firmware, _)| firmware.arch());
        for servers in &scenario.servers {
            let mut full = name.to_owned();
            if let Some((firmware, nic)) = machine {
                full = format!("{full}/{}", firmware.name());
                if nic != Nic::Virtio {
                    full = format!("{full}/{}", nic.name());
                }
            }
            if scenario.servers.len() > 1 {
                full = format!("{full}/{}", servers.name());
            }
            instances.push(Instance {
                name: full,
                scenario: scenario.clone(),
                number: 1,
                machine,
                servers: *servers,
                steps: flatten(&scenario.step, groups, arch)?,
            });
        }
    }
    ensure!(!instances.is_empty(), "`servers` is empty");
    Ok(instances)
}

/// Replaces groups by their steps and leaves out those of other architectures.
fn flatten(
    steps: &[Step],
    groups: &BTreeMap<String, Vec<Step>>,
    arch: Option<Arch>,
) -> Result<Vec<Step>> {
    let mut flat = Vec::new();
    for step in steps {
        if step
            .arch
            .as_deref()
            .is_some_and(|only| arch.is_none_or(|arch| arch.name() != only))
        {
            continue;
        }
        if let Some(name) = &step.group {
            let group = groups
                .get(name)
                .with_context(|| format!("e2e/steps.toml has no group `{name}`"))?;
            let mut inner = flatten(group, groups, arch)?;
            if step.machine != first() {
                inner.iter_mut().for_each(|it| it.machine = step.machine);
            }
            flat.extend(inner);
            continue;
        }
        let waits = step.expect.is_some() || step.end;
        let kinds = [
            step.expect.is_some(),
            step.send.is_some(),
            step.network.is_some(),
            step.servers.is_some(),
            step.logged.is_some(),
            step.wait.is_some(),
            step.screen.is_some(),
            step.reset,
            step.power_on,
            step.end,
        ];
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            bail!(
                "a step has one of `expect`, `send`, `network`, `servers`, `logged`, `wait`, \
                 `screen`, `reset`, `power-on`, `end` and `group`: {step:?}"
            );
        }
        ensure!(
            !waits || step.within > 0,
            "a step has no `within`: {step:?}"
        );
        flat.push(step.clone());
    }
    Ok(flat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_in_the_tree_can_be_read() {
        let e2e = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e");
        let mut names = Vec::new();
        for folder in [
            "scenarios",
            "matrix",
            "bench",
            "os",
            "conformance",
            "screenshots",
        ] {
            names.extend(
                load(&e2e, folder)
                    .unwrap()
                    .into_iter()
                    .map(|instance| instance.name),
            );
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "two scenarios have the same name");
    }

    #[test]
    fn steps_of_other_architectures_are_left_out() {
        let text = "[[a]]\nexpect = \"x\"\nwithin = 1\narch = \"arm64\"\n\
                    [[b]]\ngroup = \"a\"\n[[b]]\nexpect = \"y\"\nwithin = 1\n";
        let groups: BTreeMap<String, Vec<Step>> = toml::from_str(text).unwrap();
        assert_eq!(
            flatten(&groups["b"], &groups, Some(Arch::Arm64))
                .unwrap()
                .len(),
            2
        );
        assert_eq!(
            flatten(&groups["b"], &groups, Some(Arch::X86_64))
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn a_step_without_a_time_limit_is_refused() {
        let step = Step {
            expect: Some("x".to_owned()),
            ..Step::default()
        };
        assert!(flatten(&[step], &BTreeMap::new(), None).is_err());
    }
}
