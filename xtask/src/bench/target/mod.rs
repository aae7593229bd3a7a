//! Our iSCSI target beside tgt: the same raw image in the page cache, libiscsi's `iscsi-perf` and
//! fio's libiscsi engine on both in turns, over the loopback of a network namespace.

mod fio;
mod load;
mod perf;
mod server;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

pub(crate) use self::load::Arguments;
use self::load::{Client, Load};
use self::server::Server;
use super::{loopback, median};
use crate::workspace::Workspace;
use crate::{build, netns, setup, sh};

const IMAGE_MIB: usize = 256;
const TARGET: &str = "iqn.2000-01.com.example:disk";
/// A client that ends this long after its time has waited for an answer, and is told of.
const LATE: Duration = Duration::from_secs(1);

/// What one target did under one load.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// I/Os per second.
    rate: f64,
    /// Microseconds of processor time per I/O.
    cost: f64,
    /// How long after its time the last client ended.
    late: Duration,
}

/// All samples of a load: Bowline's and tgt's.
#[derive(Debug, Default)]
struct Samples {
    bowline: Vec<Sample>,
    tgt: Vec<Sample>,
}

/// A load, what each client saw of it, and what bare TCP does.
#[derive(Debug)]
struct Row {
    load: Load,
    by_client: Vec<Samples>,
    loopback: Vec<f64>,
}

/// Prepares the image and measures inside new namespaces.
pub(crate) fn race(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if let Some(folder) = &arguments.inside {
        return inside(workspace, folder, arguments);
    }
    setup::system()?;
    build::server(workspace)?;
    fio::program(workspace)?;
    let folder = tempfile::Builder::new()
        .prefix("bench-target-")
        .tempdir_in(&workspace.target)?;
    let mut image = File::create(folder.path().join("disk.img"))?;
    // Not zeros: nobody shall find a hole. What was just written is in the page cache.
    let mebibyte: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    for _ in 0..IMAGE_MIB {
        image.write_all(&mebibyte)?;
    }
    image.sync_all()?;
    let mut again: Vec<String> = std::env::args().skip(1).collect();
    again.push(format!("--inside={}", folder.path().display()));
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    sh::run_loud(&mut netns::enter(&again)?)
}

/// Inside the namespaces: starts both targets, measures in turns, prints the tables.
fn inside(workspace: &Workspace, folder: &Path, arguments: &Arguments) -> Result<()> {
    sh::run(sh::command("ip").args(["link", "set", "lo", "up"]))?;
    let tgt = Server::start_tgt(folder)?;
    let bowline = Server::start_bowline(&build::bowline(workspace)?, folder)?;
    let &Arguments { runs, seconds, .. } = arguments;
    let fio = fio::program(workspace)?;
    let measure = |client: &Client, server: &Server, load: &Load| match client {
        Client::IscsiPerf => perf::measure(server, load, seconds),
        Client::Fio => fio::measure(&fio, server, load, seconds),
    };
    let clients = &arguments.clients;
    let row = |load| Row {
        load,
        by_client: clients.iter().map(|_| Samples::default()).collect(),
        loopback: Vec::new(),
    };
    let mut rows: Vec<Row> = arguments.loads().into_iter().map(row).collect();
    for run in 1..=runs {
        println!("run {run} of {runs}");
        for row in &mut rows {
            let load = &row.load;
            if load.sessions == 1 {
                let time = Duration::from_secs(1);
                let rate = loopback::rate(load.bytes, load.depth, time)?;
                row.loopback.push(rate);
            }
            for (client, samples) in clients.iter().zip(&mut row.by_client) {
                // Who begins changes from run to run.
                let (ours, theirs);
                if run % 2 == 0 {
                    ours = measure(client, &bowline, load)?;
                    theirs = measure(client, &tgt, load)?;
                } else {
                    theirs = measure(client, &tgt, load)?;
                    ours = measure(client, &bowline, load)?;
                }
                samples.bowline.push(ours);
                samples.tgt.push(theirs);
                tell(*client, load, &ours, &theirs);
            }
        }
    }
    for (place, client) in clients.iter().enumerate() {
        println!("\nAsked by {}:", client.name());
        print!("{}", table(&mut rows, place, runs, seconds)?);
    }
    let busy = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\nLoad average at the end: {}", busy.trim());
    Ok(())
}

/// How far it is.
fn tell(client: Client, load: &Load, ours: &Sample, theirs: &Sample) {
    println!(
        "  {}, depth {}, {} sessions, {}: {:.0} against {:.0}",
        load.name,
        load.depth,
        load.sessions,
        client.name(),
        ours.rate,
        theirs.rate
    );
    for (name, sample) in [("Bowline", ours), ("tgt", theirs)] {
        if sample.late > LATE {
            println!("    {name} was {:.1} s late", sample.late.as_secs_f64());
        }
    }
}

/// A Markdown table of the medians that the client at this place saw.
fn table(rows: &mut [Row], place: usize, runs: u32, seconds: u32) -> Result<String> {
    let mut text = format!(
        "\nMedians of {runs} runs of {seconds} s each, in turns; a ratio is the median of the runs' own \
         ratios, because the machine's speed changes from run to run; CPU is processor time of the \
         server per I/O.\n\n\
         | load | depth | sessions | Bowline I/O/s | tgt I/O/s | ratio | Bowline CPU | tgt CPU | \
         ratio | bare TCP I/O/s |\n|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let (load, samples) = (&row.load, &row.by_client[place]);
        let ours = middle(&samples.bowline).context("nothing measured")?;
        let theirs = middle(&samples.tgt).context("nothing measured")?;
        let ratio = |of: fn(&Sample) -> f64| {
            let pairs = samples.bowline.iter().zip(&samples.tgt);
            let ratios = pairs.map(|(ours, theirs)| of(ours) / of(theirs));
            median(&mut ratios.collect::<Vec<_>>()).context("nothing measured")
        };
        let limit = median(&mut row.loopback).map_or_else(String::new, |rate| format!("{rate:.0}"));
        writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.0} | **{:.2}** | {:.1} µs | {:.1} µs | **{:.2}** | {limit} |",
            load.name,
            load.depth,
            load.sessions,
            ours.rate,
            theirs.rate,
            ratio(|sample| sample.rate)?,
            ours.cost,
            theirs.cost,
            ratio(|sample| sample.cost)?
        )?;
    }
    Ok(text)
}

fn middle(samples: &[Sample]) -> Option<Sample> {
    let pick = |of: fn(&Sample) -> f64| median(&mut samples.iter().map(of).collect::<Vec<_>>());
    Some(Sample {
        rate: pick(|sample| sample.rate)?,
        cost: pick(|sample| sample.cost)?,
        late: samples.iter().map(|sample| sample.late).max()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_medians_and_ratios_of_runs() {
        let late = Duration::ZERO;
        let sample = |rate, cost| Sample { rate, cost, late };
        let samples = Samples {
            bowline: vec![sample(10.0, 3.0), sample(50.0, 1.0), sample(20.0, 2.0)],
            tgt: vec![sample(4.0, 4.0), sample(25.0, 4.0), sample(40.0, 4.0)],
        };
        let row = Row {
            load: Load {
                name: "4 KiB random",
                bytes: 4096,
                random: true,
                depth: 1,
                sessions: 1,
            },
            by_client: vec![Samples::default(), samples],
            loopback: vec![100.0],
        };
        let mut rows = [row];
        assert!(table(&mut rows, 0, 3, 2).is_err(), "nothing was measured");
        let text = table(&mut rows, 1, 3, 2).unwrap();
        let row =
            "| 4 KiB random | 1 | 1 | 20 | 25 | **2.00** | 2.0 µs | 4.0 µs | **0.50** | 100 |";
        assert!(text.contains(row), "{text}");
    }
}
