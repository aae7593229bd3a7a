//! HTTPS in the loader: the same file from the same server, over HTTPS and over HTTP, and over HTTPS
//! with iPXE where it can run, in turns. Prints a table for docs/performance.md.

use anyhow::{Context, Result, ensure};

use super::Spread;
use crate::e2e;
use crate::run::Report;
use crate::scenario::{Instance, Loader};
use crate::workspace::Workspace;

/// Megabytes of the file that is downloaded.
const DOWNLOAD: f64 = 67.108_864;

/// What is downloaded, by the stages before and after it.
const HTTPS: (&str, &str) = ("begin", "https");
const HTTP: (&str, &str) = ("again", "http");

/// Downloads 64 MiB over HTTPS and over HTTP, `runs` times on each of `machines` (`edk2-arm64`).
pub(crate) fn run(workspace: &Workspace, runs: usize, machines: &[String]) -> Result<()> {
    ensure!(runs > 0, "`--runs` is at least 1");
    let mut all = e2e::select(
        &workspace.e2e(),
        "bench",
        &["https-bowline", "https-ipxe"].map(str::to_owned),
    )?;
    all.retain(|instance| {
        let machine = instance.machine.map(|(firmware, _)| firmware.name());
        machine.is_some_and(|name| machines.iter().any(|wanted| wanted == name))
    });
    e2e::prepare(workspace, &all)?;
    let of = |loader| {
        all.iter()
            .filter(move |instance| instance.scenario.loader == loader)
    };
    let mut rows = String::new();
    for ours in of(Loader::Bowline) {
        let theirs = of(Loader::Ipxe).find(|theirs| theirs.machine == ours.machine);
        let (mut bowline, mut ipxe) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            bowline.push(measure(workspace, ours)?);
            if let Some(theirs) = theirs {
                ipxe.push(measure(workspace, theirs)?);
            }
        }
        let machine = ours.machine.map_or("", |(firmware, _)| firmware.name());
        rows.push_str(&row(machine, &bowline, &ipxe)?);
    }
    print!(
        "\nMB/s over 64 MiB from nginx, median (least to most) of {runs} runs, in turns, in QEMU \
         (TCG).\n\n\
         | firmware | Bowline HTTPS | Bowline HTTP | HTTPS / HTTP | iPXE HTTPS | Bowline / iPXE |\n\
         |---|---|---|---|---|---|\n{rows}"
    );
    Ok(())
}

fn measure(workspace: &Workspace, instance: &Instance) -> Result<Report> {
    let report = e2e::run_one(workspace, "bench", instance, &instance.name, false)?;
    if let Some(failure) = &report.failure {
        anyhow::bail!("{} failed: {failure}", instance.name);
    }
    print!("{:28}", instance.name);
    for (name, stages) in [("HTTPS", HTTPS), ("HTTP", HTTP)] {
        if let Some(speed) = speed(&report, stages) {
            print!(" {name} {speed:5.1} MB/s");
        }
    }
    println!();
    Ok(report)
}

/// Megabytes per second from one stage to another.
fn speed(report: &Report, (from, to): (&str, &str)) -> Option<f64> {
    Some(DOWNLOAD / (report.stage(to)? - report.stage(from)?))
}

fn row(machine: &str, bowline: &[Report], ipxe: &[Report]) -> Result<String> {
    let spread = |reports: &[Report], stages| {
        let speeds = reports.iter().map(|report| speed(report, stages));
        Spread::of(speeds.collect::<Option<_>>()?)
    };
    let missing = "a stage is missing";
    let https = spread(bowline, HTTPS).context(missing)?;
    let http = spread(bowline, HTTP).context(missing)?;
    let (theirs, ratio) = match spread(ipxe, HTTPS) {
        Some(theirs) => (
            theirs.display(),
            format!("**{:.2}**", https.median / theirs.median),
        ),
        None => ("cannot".to_owned(), String::new()),
    };
    Ok(format!(
        "| {machine} | {} | {} | **{:.2}** | {theirs} | {ratio} |\n",
        https.display(),
        http.display(),
        https.median / http.median
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(stages: &[(&str, f64)]) -> Report {
        let stages = stages
            .iter()
            .map(|(name, time)| ((*name).to_owned(), *time));
        Report {
            stages: stages.collect(),
            seconds: 0.0,
            failure: None,
        }
    }

    #[test]
    fn speeds_are_of_the_downloads_alone() {
        let megabytes = DOWNLOAD;
        let ours = report(&[
            ("begin", 10.0),
            ("https", 10.0 + megabytes / 20.0),
            ("again", 30.0),
            ("http", 30.0 + megabytes / 40.0),
        ]);
        let theirs = report(&[("begin", 5.0), ("https", 5.0 + megabytes / 5.0)]);
        let row_of_both = row("edk2", std::slice::from_ref(&ours), &[theirs]).unwrap();
        assert!(
            row_of_both.contains("| 20.00 (20.00 to 20.00) | 40.00 (40.00 to 40.00) | **0.50** |")
        );
        assert!(row_of_both.ends_with("| 5.00 (5.00 to 5.00) | **4.00** |\n"));
        let alone = row("u-boot", &[ours], &[]).unwrap();
        assert!(alone.ends_with("| cannot |  |\n"));
    }
}
