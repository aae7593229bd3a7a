//! The loader's disk beside iPXE's: reads through Block IO and the way to the kernel, over a good
//! wire and with added round trip; and beside the limit, raw frames from the same firmware. Prints
//! tables for docs/performance.md.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::Spread;
use crate::e2e;
use crate::run::{self, Report};
use crate::scenario::{Instance, Loader};
use crate::workspace::Workspace;

/// Each in turns with the other.
const LOADERS: [&str; 2] = ["bowline", "ipxe"];

/// What `reader.efi` reads (loader/src/reader.rs).
const SEQUENTIAL_MB: f64 = 33.554_432;
const RANDOM_READS: f64 = 400.0;

/// What `reader.efi` counts of raw frames: the payload that they have room for (loader/src/frames.rs).
const FRAMES_MB: f64 = 67.108_864;

/// The scenario of raw frames.
const FRAMES: &str = "san-frames";

/// Reads and boots `runs` times with each loader on each of `machines` (`edk2-arm64`), from
/// `servers`, at each of the round trips (milliseconds).
pub(crate) fn race(
    workspace: &Workspace,
    runs: usize,
    machines: &[String],
    servers: &str,
    round_trips: &[u32],
) -> Result<()> {
    ensure!(runs > 0, "`--runs` is at least 1");
    let folder = write_scenarios(workspace, round_trips)?;
    let mut all = e2e::select(&workspace.e2e(), &folder, &[])?;
    all.retain(|instance| {
        let is_on = |machine| instance.name.ends_with(&format!("/{machine}/{servers}"));
        machines.iter().any(is_on)
    });
    e2e::prepare(workspace, &all)?;
    for machine in machines {
        let track = Track {
            workspace,
            folder: &folder,
            instances: &all,
            place: format!("{machine}/{servers}"),
        };
        let rows = track.race(runs, round_trips)?;
        println!("{}{rows}", heading(runs, machine, servers));
    }
    Ok(())
}

/// One machine with one kind of servers.
struct Track<'a> {
    workspace: &'a Workspace,
    folder: &'a str,
    instances: &'a [Instance],
    /// The end of its scenarios' names.
    place: String,
}

impl Track<'_> {
    /// The rows of its table.
    fn race(&self, runs: usize, round_trips: &[u32]) -> Result<String> {
        let limit: Result<Vec<f64>> = (0..runs).map(|_| self.limit()).collect();
        let limit = Spread::of(limit?).context("there was no run")?;
        let mut text = limit_row(&limit);
        for &round_trip in round_trips {
            let mut reports: [Vec<Report>; 2] = [Vec::new(), Vec::new()];
            for _ in 0..runs {
                for (loader, reports) in LOADERS.iter().zip(&mut reports) {
                    reports.push(self.run(&contestant(loader, round_trip))?);
                }
                let has_both = reports.iter().flatten().all(|it| it.failure.is_none());
                if has_both {
                    self.same_bytes(round_trip)?;
                }
            }
            text.push_str(&rows(round_trip, &reports[0], &reports[1])?);
            if round_trip == 0 {
                text.push_str(&share_row(&limit, &reports)?);
            }
        }
        Ok(text)
    }

    /// Megabytes per second of raw frames.
    fn limit(&self) -> Result<f64> {
        let report = self.run(FRAMES)?;
        let time = between(&report, "frames begin", "frames end");
        Ok(FRAMES_MB / time.context("a stage is missing")?)
    }

    /// iPXE does not survive everything: its report may have a failure, and stages up to it.
    fn run(&self, scenario: &str) -> Result<Report> {
        let name = format!("{scenario}/{}", self.place);
        let mut instances = self.instances.iter();
        let instance = instances
            .find(|instance| instance.name == name)
            .with_context(|| format!("there is no contestant {name}"))?;
        let report = e2e::run_one(self.workspace, self.folder, instance, &name, false)?;
        if let Some(failure) = &report.failure {
            let message = format!("{name} failed: {failure}");
            ensure!(instance.scenario.loader == Loader::Ipxe, message);
            println!("{message}");
        }
        println!("{name}: {:.0} s", report.seconds);
        Ok(report)
    }

    /// Both loaders must have given the reader the same bytes.
    fn same_bytes(&self, round_trip: u32) -> Result<()> {
        let sums = |loader: &str| -> Result<Vec<String>> {
            let name = format!("{}/{}", contestant(loader, round_trip), self.place);
            let log = fs::read(run::folder(self.workspace, &name).join("console.log"))?;
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
}

fn contestant(loader: &str, round_trip: u32) -> String {
    format!("san-{loader}-{round_trip}ms")
}

/// A scenario for each loader and round trip, in a folder that [`e2e::select`] takes.
fn write_scenarios(workspace: &Workspace, round_trips: &[u32]) -> Result<String> {
    let source = workspace.e2e().join("bench/san");
    let template = source.join("template");
    let template = fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    let folder = workspace.target.join("bench-san");
    fs::create_dir_all(&folder)?;
    fs::copy(source.join("frames"), folder.join(format!("{FRAMES}.toml")))?;
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

fn heading(runs: usize, machine: &str, servers: &str) -> String {
    format!(
        "\n{machine} in QEMU (TCG), servers: {servers}; median (least to most) of {runs} runs in \
         turns.\n\n| added round trip | | Bowline | iPXE | ratio |\n|---|---|---|---|---|\n"
    )
}

/// What is compared: its name, whether more is better, and its value in a report.
type Measure = (&'static str, bool, fn(&Report) -> Option<f64>);

const MEASURES: [Measure; 5] = [
    ("sequential, MB/s", true, sequential),
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

fn sequential(report: &Report) -> Option<f64> {
    Some(SEQUENTIAL_MB / between(report, "sequential begins", "sequential ends")?)
}

fn between(report: &Report, from: &str, to: &str) -> Option<f64> {
    Some(report.stage(to)? - report.stage(from)?)
}

/// A row for each measure; a ratio above 1 is in our favour.
fn rows(round_trip: u32, bowline: &[Report], ipxe: &[Report]) -> Result<String> {
    let mut text = String::new();
    for (name, more_is_better, value) in MEASURES {
        let spread = |reports: &[Report]| {
            let values: Option<Vec<f64>> = reports.iter().map(value).collect();
            values.and_then(Spread::of)
        };
        let ours = spread(bowline).context("a stage is missing")?;
        let Some(theirs) = spread(ipxe) else {
            let ours = ours.display();
            text.push_str(&format!(
                "| {round_trip} ms | {name} | {ours} | cannot | |\n"
            ));
            continue;
        };
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

fn limit_row(limit: &Spread) -> String {
    format!(
        "| 0 ms | raw frames from the firmware, MB/s | {} | | |\n",
        limit.display()
    )
}

/// How much of the limit sequential reads reach. iPXE may have a driver of its own for the card.
fn share_row(limit: &Spread, reports: &[Vec<Report>; 2]) -> Result<String> {
    let share = |reports: &[Report]| {
        let values: Option<Vec<f64>> = reports.iter().map(sequential).collect();
        let reads = values.and_then(Spread::of).context("a stage is missing")?;
        anyhow::Ok(reads.median / limit.median * 100.0)
    };
    let [ours, theirs] = reports;
    Ok(format!(
        "| 0 ms | sequential reads of that | {:.0} % | {:.0} % | |\n",
        share(ours)?,
        share(theirs)?
    ))
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
        let limit = Spread::of(vec![67.0]).unwrap();
        let share = share_row(&limit, &[ours.to_vec(), theirs.to_vec()]).unwrap();
        assert_eq!(
            share,
            "| 0 ms | sequential reads of that | 50 % | 25 % | |\n"
        );
        let text = rows(5, &ours, &theirs).unwrap();
        for line in [
            "| 5 ms | sequential, MB/s | 33.55 (33.55 to 33.55) | 16.78 (16.78 to 16.78) | **2.00** |",
            "| 5 ms | GRUB to kernel, s | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) | **1.00** |",
            "| 5 ms | script to kernel, s | 3.00 (3.00 to 3.00) | 6.00 (6.00 to 6.00) | **2.00** |",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
