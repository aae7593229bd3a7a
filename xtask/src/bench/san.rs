//! The loader's disk beside iPXE's: reads through Block IO and the way to the kernel, over a good
//! wire and with added round trip; and beside the limits: raw frames from the same firmware, not even
//! looked at, or copied once and added up as any TCP has to. Prints
//! tables for docs/performance.md.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{Spread, median};
use crate::e2e;
use crate::run::{self, Report};
use crate::scenario::{Instance, Loader};
use crate::workspace::Workspace;

/// Each in turns with the other.
const LOADERS: [&str; 2] = ["bowline", "ipxe"];

/// Something that `reader.efi` does several times in a run.
struct Rounds {
    kind: &'static str,
    count: usize,
    /// Megabytes in each.
    megabytes: f64,
}

impl Rounds {
    /// Megabytes per second, of each round.
    fn rates(&self, report: &Report) -> Option<Vec<f64>> {
        let rate = |round| {
            let stage = |moment| format!("{} {round} {moment}", self.kind);
            Some(self.megabytes / between(report, &stage("begins"), &stage("ends"))?)
        };
        (1..=self.count).map(rate).collect()
    }
}

/// What it reads (loader/src/reader.rs).
const SEQUENTIAL: Rounds = Rounds {
    kind: "sequential",
    count: 3,
    megabytes: 33.554_432,
};
const RANDOM_READS: f64 = 400.0;

/// What it counts of raw frames, the payload that they have room for (loader/src/frames.rs): as they
/// are, and copied and added up.
const PLAIN: Rounds = Rounds {
    kind: "plain",
    count: 5,
    megabytes: 67.108_864,
};
const COPIED: Rounds = Rounds {
    kind: "copied",
    ..PLAIN
};

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
        let reports: Result<Vec<Report>> = (0..runs).map(|_| self.run(FRAMES)).collect();
        let limits = Limits::of(&reports?)?;
        let mut text = limits.rows();
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
                text.push_str(&limits.share_rows(&reports)?);
            }
        }
        Ok(text)
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
    let frames = fs::read_to_string(source.join("frames"))?;
    let frames = frames.replace("@rounds@", &steps(&[PLAIN, COPIED], 60));
    fs::write(folder.join(format!("{FRAMES}.toml")), frames)?;
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
                .replace("@network@", &network)
                .replace("@rounds@", &steps(&[SEQUENTIAL], 100));
            let name = format!("{}.toml", contestant(loader, *round_trip));
            fs::write(folder.join(name), text)?;
        }
    }
    Ok(folder.display().to_string())
}

/// The steps in which rounds of these kinds, in turns, begin and end within so many seconds.
fn steps(kinds: &[Rounds], within: u32) -> String {
    let mut text = String::new();
    for round in 1..=kinds.first().map_or(0, |rounds| rounds.count) {
        for Rounds { kind, .. } in kinds {
            for moment in ["begins", "ends"] {
                let stage = format!("{kind} {round} {moment}");
                text.push_str(&format!(
                    "[[step]]\nstage = \"{stage}\"\nexpect = \"reader: {stage}\"\nwithin = {within}\n\n"
                ));
            }
        }
    }
    text
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
    median(&mut SEQUENTIAL.rates(report)?)
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

/// Megabytes per second of raw frames, as they are and copied and added up.
struct Limits {
    plain: Spread,
    copied: Spread,
}

impl Limits {
    fn of(reports: &[Report]) -> Result<Self> {
        let spread = |rounds: Rounds| {
            let rates: Option<Vec<_>> = reports.iter().map(|it| rounds.rates(it)).collect();
            let spread = rates.and_then(|rates| Spread::of(rates.concat()));
            spread.context("a stage is missing")
        };
        Ok(Self {
            plain: spread(PLAIN)?,
            copied: spread(COPIED)?,
        })
    }

    fn rows(&self) -> String {
        format!(
            "| 0 ms | raw frames from the firmware, MB/s | {} | | |\n\
             | 0 ms | the same, copied and added up, MB/s | {} | | |\n",
            self.plain.display(),
            self.copied.display()
        )
    }

    /// How much of them sequential reads reach. iPXE may have a driver of its own for the card.
    fn share_rows(&self, reports: &[Vec<Report>; 2]) -> Result<String> {
        let reads = |reports: &[Report]| {
            let values: Option<Vec<f64>> = reports.iter().map(sequential).collect();
            values.and_then(Spread::of).context("a stage is missing")
        };
        let [ours, theirs] = reports;
        let (ours, theirs) = (reads(ours)?.median, reads(theirs)?.median);
        let row = |of, limit: &Spread| {
            let share = |reads: f64| reads / limit.median * 100.0;
            let (ours, theirs) = (share(ours), share(theirs));
            format!("| 0 ms | sequential reads of {of} | {ours:.0} % | {theirs:.0} % | |\n")
        };
        Ok(row("raw frames", &self.plain) + &row("copied ones", &self.copied))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(times: &[(&str, f64)]) -> Report {
        let stages = times.iter();
        Report {
            stages: stages.map(|&(name, at)| (name.to_owned(), at)).collect(),
            seconds: 0.0,
            failure: None,
        }
    }

    /// One whose rounds take so long, and the rest a second for each step.
    fn reads(rounds: [f64; 3], address: f64) -> Report {
        let mut times = vec![("script", 0.0), ("address", address)];
        let mut at = address;
        let names = [
            ("sequential 1 begins", "sequential 1 ends"),
            ("sequential 2 begins", "sequential 2 ends"),
            ("sequential 3 begins", "sequential 3 ends"),
        ];
        for ((begins, ends), time) in names.into_iter().zip(rounds) {
            times.extend([(begins, at), (ends, at + time)]);
            at += time;
        }
        for stage in ["random begins", "random ends", "again", "GRUB", "loaded"] {
            times.push((stage, at));
            at += address;
        }
        report(&times)
    }

    #[test]
    fn ratios_above_one_are_in_our_favour() {
        let ours = [reads([9.0, 1.0, 0.5], 1.0)];
        let theirs = [reads([2.0, 2.0, 2.0], 2.0)];
        let text = rows(5, &ours, &theirs).unwrap();
        for line in [
            "| 5 ms | sequential, MB/s | 33.55 (33.55 to 33.55) | 16.78 (16.78 to 16.78) | **2.00** |",
            "| 5 ms | GRUB to kernel, s | 1.00 (1.00 to 1.00) | 2.00 (2.00 to 2.00) | **2.00** |",
            "| 5 ms | script to kernel, s | 3.00 (3.00 to 3.00) | 6.00 (6.00 to 6.00) | **2.00** |",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn shares_are_of_the_medians_of_all_rounds() {
        let mut times = Vec::new();
        for (kind, seconds) in [("plain", 1.0), ("copied", 0.5)] {
            for round in 1..=5 {
                let late = if round == 1 { 7.0 } else { 0.0 };
                times.push((format!("{kind} {round} begins"), 0.0));
                times.push((format!("{kind} {round} ends"), seconds + late));
            }
        }
        let times: Vec<_> = times.iter().map(|(name, at)| (&**name, *at)).collect();
        let limits = Limits::of(&[report(&times)]).unwrap();
        let reports = [[1.0; 3], [2.0; 3]].map(|rounds| vec![reads(rounds, 1.0)]);
        let share = limits.share_rows(&reports).unwrap();
        assert_eq!(
            share,
            "| 0 ms | sequential reads of raw frames | 50 % | 25 % | |\n\
             | 0 ms | sequential reads of copied ones | 25 % | 12 % | |\n"
        );
    }

    #[test]
    fn rounds_of_two_kinds_take_turns() {
        let text = steps(&[PLAIN, COPIED], 9);
        let stages = text.lines().filter(|line| line.starts_with("stage"));
        let stages: Vec<_> = stages.take(5).collect();
        assert_eq!(stages[0], "stage = \"plain 1 begins\"");
        assert_eq!(stages[2], "stage = \"copied 1 begins\"");
        assert_eq!(stages[4], "stage = \"plain 2 begins\"");
    }
}
