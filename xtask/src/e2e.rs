//! Runs scenarios, each in its own namespace, and reports.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::arch::Arch;
use crate::build;
use crate::image;
use crate::netns;
use crate::packages::{self, Packages};
use crate::run::{self, Report};
use crate::scenario::{self, Instance};
use crate::sh;
use crate::workspace::Workspace;

/// Time beyond a scenario's own limit for making disks and starting servers.
const PREPARATION: Duration = Duration::from_secs(60);

/// The scenarios whose names begin with one of `names`; all of them if there are none.
pub(crate) fn select(e2e: &Path, folder: &str, names: &[String]) -> Result<Vec<Instance>> {
    let all = scenario::load(e2e, folder)?;
    for name in names {
        ensure!(
            all.iter().any(|instance| matches(&instance.name, name)),
            "no scenario is called `{name}`: see `cargo xtask e2e --list`"
        );
    }
    let is_root = netns::is_root()?;
    let can_run = |instance: &Instance| {
        let needs_root = instance
            .scenario
            .services
            .iter()
            .any(|service| service.needs_root());
        if needs_root && !is_root {
            println!(
                "{:40} left out: its servers run as root only",
                instance.name
            );
        }
        is_root || !needs_root
    };
    Ok(all
        .into_iter()
        .filter(|instance| {
            names.is_empty() || names.iter().any(|name| matches(&instance.name, name))
        })
        .filter(can_run)
        .collect())
}

/// A name stands for itself and for everything below it.
fn matches(full: &str, name: &str) -> bool {
    full.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Prints the names and what they show.
pub(crate) fn list(instances: &[Instance]) {
    for instance in instances {
        println!("{:40} {}", instance.name, instance.scenario.summary);
    }
}

/// Everything that runs share: packages, programs, disk images.
pub(crate) fn prepare(workspace: &Workspace, instances: &[Instance]) -> Result<()> {
    let mut wanted = packages::all();
    wanted.extend(instances.iter().flat_map(Instance::packages));
    let packages = Packages::obtain(workspace, &wanted, false)?;
    let mut archs: Vec<Arch> = instances.iter().map(Instance::arch).collect();
    archs.sort_unstable();
    archs.dedup();
    if instances.iter().any(needs_our_programs) {
        build::all(workspace, &archs)?;
    }
    for arch in archs {
        let mut systems: Vec<_> = instances
            .iter()
            .filter(|instance| instance.arch() == arch)
            .filter_map(|instance| instance.scenario.disk.system())
            .collect();
        systems.dedup();
        for kind in systems {
            image::system::prepare(workspace, &packages, arch, kind)?;
        }
    }
    for disk in instances.iter().filter_map(Instance::boot_disk) {
        disk.image(workspace, &packages)?;
    }
    Ok(())
}

fn needs_our_programs(instance: &Instance) -> bool {
    instance.servers == crate::servers::Kind::Bowline
        || (instance.scenario.loader != scenario::Loader::Ipxe && instance.machine.is_some())
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) report: Report,
}

/// Runs all, at most `jobs` at a time; every run is reported as it ends.
pub(crate) fn run_all(
    workspace: &Workspace,
    kind: &str,
    instances: &[Instance],
    jobs: usize,
) -> Result<Vec<Outcome>> {
    let queue: Mutex<VecDeque<&Instance>> = Mutex::new(instances.iter().collect());
    let outcomes = Mutex::new(Vec::new());
    let worker = || -> Result<()> {
        loop {
            let next = queue
                .lock()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
                .pop_front();
            let Some(instance) = next else { return Ok(()) };
            let report = run_one(workspace, kind, instance, &instance.name, false)
                .unwrap_or_else(|error| Report::not_run(&error));
            let verdict = if report.failure.is_none() {
                "ok"
            } else {
                "FAILED"
            };
            println!("{:40} {verdict:6} {:6.1} s", instance.name, report.seconds);
            if let Some(failure) = &report.failure {
                println!("    {}", failure.replace('\n', "\n    "));
                let folder = run::folder(workspace, &instance.name);
                println!("    logs: {}", folder.display());
            }
            let outcome = Outcome {
                name: instance.name.clone(),
                report,
            };
            outcomes
                .lock()
                .map_err(|_| anyhow::anyhow!("a worker panicked"))?
                .push(outcome);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.clamp(1, 2)).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .try_for_each(|handle| match handle.join() {
                Ok(result) => result,
                Err(_) => bail!("a worker panicked"),
            })
    })?;
    outcomes
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a worker panicked"))
}

/// Runs one scenario in namespaces of its own, ended by force when its time is over.
pub(crate) fn run_one(
    workspace: &Workspace,
    kind: &str,
    instance: &Instance,
    folder: &str,
    live: bool,
) -> Result<Report> {
    let started = Instant::now();
    let folder = run::folder(workspace, folder);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| {
            format!(
                "cannot remove the last run's {} (was it run by root?)",
                folder.display()
            )
        })?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let place = folder.display().to_string();
    let mut arguments = vec!["inside", kind, &instance.name, &place];
    if live {
        arguments.push("--live");
    }
    let mut command = netns::enter(&arguments)?;
    let log = fs::File::create(folder.join("run.log"))?;
    command.stdin(Stdio::null()).stderr(log.try_clone()?);
    if !live {
        command.stdout(log);
    }
    let mut child = command.spawn().context("cannot start unshare")?;
    let limit = instance.limit() + PREPARATION;
    let ended = wait(&mut child, limit)?;
    let failure = match ended {
        None => Some(format!(
            "not finished after {} s: ended by force",
            limit.as_secs()
        )),
        Some(true) => None,
        Some(false) => {
            let log = fs::read_to_string(folder.join("run.log")).unwrap_or_default();
            Some(format!("the run itself failed:\n{}", sh::tail(&log, 20)))
        }
    };
    if let Some(failure) = failure {
        let seconds = started.elapsed().as_secs_f64();
        return Ok(Report {
            stages: Vec::new(),
            seconds,
            failure: Some(failure),
        });
    }
    let result = fs::read(folder.join("result.json")).context("the run left no result")?;
    let mut report: Report = serde_json::from_slice(&result)?;
    if report.failure.is_none() {
        discard_disks(&folder)?;
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Waits for a child; None if it had to be ended. With it goes everything in its namespaces.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<bool>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Logs are kept; the disks of a good run are of no more use.
fn discard_disks(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let big = path
            .extension()
            .is_some_and(|kind| kind == "img" || kind == "fd" || kind == "qcow2");
        if big || path.file_name().is_some_and(|name| name == "written") {
            fs::remove_file(path)?;
        }
    }
    for files in ["http", "library"].map(|name| folder.join(name)) {
        if files.exists() {
            fs::remove_dir_all(files)?;
        }
    }
    Ok(())
}

/// Every stage of every run, for those that take minutes.
pub(crate) fn stages(outcomes: &[Outcome]) {
    for Outcome { name, report } in outcomes {
        let stages = report.stages.iter();
        let stages: Vec<_> = stages
            .map(|(stage, time)| format!("{stage} at {time:.0} s"))
            .collect();
        println!("\n{name}: {}", stages.join(", "));
    }
}

/// The closing table: name, verdict, seconds, and the last stage reached.
pub(crate) fn table(outcomes: &[Outcome]) -> usize {
    println!(
        "\n{:40} {:8} {:>8}  last stage",
        "scenario", "verdict", "seconds"
    );
    let mut sorted: Vec<&Outcome> = outcomes.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    for Outcome { name, report } in &sorted {
        let verdict = if report.failure.is_none() {
            "ok"
        } else {
            "FAILED"
        };
        let last = report
            .stages
            .last()
            .map(|(stage, time)| format!("{stage} at {time:.1} s"))
            .unwrap_or_default();
        println!("{name:40} {verdict:8} {:8.1}  {last}", report.seconds);
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.report.failure.is_some())
        .count();
    println!("{} passed, {failed} failed", outcomes.len() - failed);
    failed
}
