//! Races: the same guest, the same servers and the same script, with our loader and with iPXE in
//! turns, so that a busy moment of the machine meets both. Prints a table for docs/performance.md.

use anyhow::{Context, Result, ensure};

use super::Spread;
use crate::e2e;
use crate::run::Report;
use crate::workspace::Workspace;

/// From here times are counted, and to here is what counts.
const START: &str = "script";
const END: &str = "EFI stub";

/// Boots `runs` times with each loader, from the servers `servers` (`bowline` or `peers`).
pub(crate) fn race(workspace: &Workspace, runs: usize, servers: &str) -> Result<()> {
    ensure!(runs > 0, "`--runs` is at least 1");
    let instances = e2e::select(&workspace.e2e(), "bench", &[])?;
    let named = |name: &str| {
        let full = format!("{name}/edk2-arm64/{servers}");
        instances
            .iter()
            .find(|instance| instance.name == full)
            .with_context(|| format!("e2e/bench has no {full}"))
    };
    let contestants = [named("boot-bowline")?, named("boot-ipxe")?];
    e2e::prepare(workspace, &contestants.map(Clone::clone))?;
    let mut reports: [Vec<Report>; 2] = [Vec::new(), Vec::new()];
    for run in 1..=runs {
        for (instance, reports) in contestants.iter().zip(&mut reports) {
            let report = e2e::run_one(workspace, "bench", instance, &instance.name, false)?;
            if let Some(failure) = &report.failure {
                anyhow::bail!("{} failed: {failure}", instance.name);
            }
            let time = since_start(&report, END).context("the stage of the end is missing")?;
            println!("run {run}: {:36} {time:6.2} s", instance.name);
            reports.push(report);
        }
    }
    print!("{}", table(&reports[0], &reports[1], servers));
    Ok(())
}

/// Seconds from the start of the script to a stage.
fn since_start(report: &Report, stage: &str) -> Option<f64> {
    Some(report.stage(stage)? - report.stage(START)?)
}

/// A Markdown table of medians, stage by stage.
fn table(bowline: &[Report], ipxe: &[Report], servers: &str) -> String {
    let mut text = format!(
        "\nSeconds since the start of the script, median (fastest to slowest) of {} runs each, in \
         turns; EDK2 arm64 in QEMU (TCG), servers: {servers}.\n\n\
         | stage | Bowline | iPXE | ratio |\n|---|---|---|---|\n",
        bowline.len()
    );
    let stages = bowline
        .first()
        .map(|report| report.stages.as_slice())
        .unwrap_or_default();
    for (stage, _) in stages
        .iter()
        .skip_while(|(stage, _)| stage != START)
        .skip(1)
    {
        let (Some(ours), Some(theirs)) = (spread(bowline, stage), spread(ipxe, stage)) else {
            continue;
        };
        text.push_str(&format!(
            "| {stage} | {} | {} | {:.2} |\n",
            ours.display(),
            theirs.display(),
            ours.median / theirs.median
        ));
    }
    text
}

fn spread(reports: &[Report], stage: &str) -> Option<Spread> {
    let times = reports.iter().map(|report| since_start(report, stage));
    Spread::of(times.collect::<Option<_>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(times: &[(&str, f64)]) -> Report {
        Report {
            stages: times
                .iter()
                .map(|(stage, time)| ((*stage).to_owned(), *time))
                .collect(),
            seconds: 0.0,
            failure: None,
        }
    }

    #[test]
    fn medians_are_counted_from_the_start_of_the_script() {
        let runs = [
            report(&[("loader", 1.0), (START, 2.0), (END, 5.0)]),
            report(&[("loader", 1.0), (START, 4.0), (END, 8.0)]),
        ];
        let spread = spread(&runs, END).unwrap();
        assert!((spread.median - 3.5).abs() < 1e-9 && (spread.least - 3.0).abs() < 1e-9);
        let text = table(&runs, &runs, "peers");
        assert!(text.contains("| EFI stub | 3.50 (3.00 to 4.00) | 3.50 (3.00 to 4.00) | 1.00 |"));
        assert!(!text.contains("| loader |"));
    }
}
