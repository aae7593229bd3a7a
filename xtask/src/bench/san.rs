//! The loader's disk beside iPXE's: reads through Block IO and the way to the kernel, over a good
//! wire and with added round trip. Prints tables for docs/performance.md.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::Spread;
use crate::e2e;
use crate::run::{self, Report};
use crate::workspace::Workspace;

/// Each in turns with the other.
const LOADERS: [&str; 2] = ["bowline", "ipxe"];

/// What `reader.efi` reads (loader/src/reader.rs).
const SEQUENTIAL_MB: f64 = 67.108_864;
const RANDOM_READS: f64 = 400.0;

/// Reads and boots `runs` times with each loader on `machine` (`edk2-arm64`), from `servers`, at
/// each of the round trips (milliseconds).
pub(crate) fn race(
    workspace: &Workspace,
    runs: usize,
    machine: &str,
    servers: &str,
    round_trips: &[u32],
) -> Result<()> {
    ensure!(runs > 0, "`--runs` is at least 1");
    let folder = write_scenarios(workspace, round_trips)?;
    let mut all = e2e::select(&workspace.e2e(), &folder, &[])?;
    let place = format!("/{machine}/{servers}");
    all.retain(|instance| instance.name.ends_with(&place));
    e2e::prepare(workspace, &all)?;
    let named = |name: &str| {
        all.iter()
            .find(|instance| instance.name == name)
            .with_context(|| format!("there is no contestant {name}"))
    };
    let mut text = heading(runs, machine, servers);
    for &round_trip in round_trips {
        let mut reports: [Vec<Report>; 2] = [Vec::new(), Vec::new()];
        for run in 1..=runs {
            for (loader, reports) in LOADERS.iter().zip(&mut reports) {
                let name = format!("{}/{machine}/{servers}", contestant(loader, round_trip));
                let instance = named(&name)?;
                let report = e2e::run_one(workspace, &folder, instance, &name, false)?;
                if let Some(failure) = &report.failure {
                    bail!("{name} failed: {failure}");
                }
                println!("run {run}: {name}");
                reports.push(report);
            }
            same_bytes(workspace, machine, servers, round_trip)?;
        }
        text.push_str(&rows(round_trip, &reports[0], &reports[1])?);
    }
    print!("{text}");
    Ok(())
}

fn contestant(loader: &str, round_trip: u32) -> String {
    format!("san-{loader}-{round_trip}ms")
}

/// A scenario for each loader and round trip, in a folder that [`e2e::select`] takes.
fn write_scenarios(workspace: &Workspace, round_trips: &[u32]) -> Result<String> {
    let template = workspace.e2e().join("bench/san/template");
    let template = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    let folder = workspace.target.join("bench-san");
    fs::create_dir_all(&folder)?;
    for round_trip in round_trips {
        // Half of it in each direction. Without any, the one wire that there is otherwise.
        let network = match round_trip {
            0 => String::new(),
            milliseconds => {
                let delay = milliseconds * 500;
                format!("[network]\nmachine = {{ delay = \"{delay}us\" }}\n")
            }
        };
        for loader in LOADERS {
            let text = template
                .replace("@loader@", loader)
                .replace("@network@", &network);
            let name = format!("{}.toml", contestant(loader, *round_trip));
            fs::write(folder.join(name), text)?;
        }
    }
    Ok(folder.display().to_string())
}

/// Both loaders must have given the reader the same bytes.
fn same_bytes(workspace: &Workspace, machine: &str, servers: &str, round_trip: u32) -> Result<()> {
    let sums = |loader: &str| -> Result<Vec<String>> {
        let name = format!("{}/{machine}/{servers}", contestant(loader, round_trip));
        let log = fs::read(run::folder(workspace, &name).join("console.log"))?;
        let log = String::from_utf8_lossy(&log).into_owned();
        let sums = log.split("ends, sum ").skip(1);
        Ok(sums.map(|rest| rest.chars().take(16).collect()).collect())
    };
    let (ours, theirs) = (sums(LOADERS[0])?, sums(LOADERS[1])?);
    ensure!(
        ours.len() == 2 && ours == theirs,
        "the loaders read different bytes: {ours:?} and {theirs:?}"
    );
    Ok(())
}

fn heading(runs: usize, machine: &str, servers: &str) -> String {
    format!(
        "\n{machine} in QEMU (TCG), servers: {servers}; median (least to most) of {runs} runs in \
         turns.\n\n| added round trip | | Bowline | iPXE | ratio |\n|---|---|---|---|---|\n"
    )
}

/// What is compared: its name, whether more is better, and its value in a report.
type Measure = (&'static str, bool, fn(&Report) -> Option<f64>);

const MEASURES: [Measure; 5] = [
    ("sequential, MB/s", true, |report| {
        Some(SEQUENTIAL_MB / between(report, "sequential begins", "sequential ends")?)
    }),
    ("4 KiB random, reads/s", true, |report| {
        Some(RANDOM_READS / between(report, "random begins", "random ends")?)
    }),
    ("disk to GRUB, s", false, |report| {
        between(report, "again", "GRUB")
    }),
    ("GRUB to kernel, s", false, |report| {
        between(report, "GRUB", "loaded")
    }),
    // The reader's part is left out.
    ("script to kernel, s", false, |report| {
        Some(between(report, "script", "address")? + between(report, "again", "loaded")?)
    }),
];

fn between(report: &Report, from: &str, to: &str) -> Option<f64> {
    Some(report.stage(to)? - report.stage(from)?)
}

/// A row for each measure; a ratio above 1 is in our favour.
fn rows(round_trip: u32, bowline: &[Report], ipxe: &[Report]) -> Result<String> {
    let mut text = String::new();
    for (name, more_is_better, value) in MEASURES {
        let spread = |reports: &[Report]| {
            let values: Option<Vec<f64>> = reports.iter().map(value).collect();
            values.and_then(Spread::of).context("a stage is missing")
        };
        let (ours, theirs) = (spread(bowline)?, spread(ipxe)?);
        let ratio = if more_is_better {
            ours.median / theirs.median
        } else {
            theirs.median / ours.median
        };
        text.push_str(&format!(
            "| {round_trip} ms | {name} | {} | {} | **{ratio:.2}** |\n",
            ours.display(),
            theirs.display()
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(times: [f64; 9]) -> Report {
        let names = [
            "script",
            "address",
            "sequential begins",
            "sequential ends",
            "random begins",
            "random ends",
            "again",
            "GRUB",
            "loaded",
        ];
        let stages = names.iter().map(|name| (*name).to_owned()).zip(times);
        Report {
            stages: stages.collect(),
            seconds: 0.0,
            failure: None,
        }
    }

    #[test]
    fn ratios_above_one_are_in_our_favour() {
        let ours = [report([0.0, 1.0, 2.0, 3.0, 3.0, 4.0, 5.0, 6.0, 7.0])];
        let theirs = [report([0.0, 2.0, 2.0, 4.0, 4.0, 8.0, 9.0, 12.0, 13.0])];
        let text = rows(5, &ours, &theirs).unwrap();
        for line in [
            "| 5 ms | sequential, MB/s | 67.11 (67.11 to 67.11) | 33.55 (33.55 to 33.55) | **2.00** |",
            "| 5 ms | GRUB to kernel, s | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | **1.00** |",
            "| 5 ms | script to kernel, s | 3.00 (3.00 to 3.00) | 6.00 (6.00 to 6.00) | **2.00** |",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
