//! Our iSCSI target beside tgt: the same raw image in the page cache, libiscsi's `iscsi-perf` on
//! both in turns, over the loopback of a network namespace.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{loopback, median};
use crate::workspace::Workspace;
use crate::{build, netns, sh};

const IMAGE_MIB: usize = 256;
const TARGET: &str = "iqn.2000-01.com.example:disk";
/// How `iscsi-perf` counts blocks.
const BLOCK: usize = 512;
/// Processor time in /proc is in hundredths of a second on every architecture we run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Beyond its time `iscsi-perf` logs in and out, many of them on a busy machine.
const GRACE: Duration = Duration::from_secs(30);
/// A client that ends this long after its time has waited for an answer, and is told of.
const LATE: Duration = Duration::from_secs(1);

/// What is asked of the targets.
#[derive(Debug, Clone, Copy)]
struct Load {
    name: &'static str,
    bytes: usize,
    random: bool,
    depth: usize,
    sessions: usize,
}

fn loads() -> Vec<Load> {
    let patterns = [
        ("4 KiB random", 4 << 10, true),
        ("64 KiB random", 64 << 10, true),
        ("1 MiB sequential", 1 << 20, false),
    ];
    let mut loads = Vec::new();
    for (name, bytes, random) in patterns {
        for depth in [1, 32] {
            for sessions in [1, 8, 64] {
                loads.push(Load {
                    name,
                    bytes,
                    random,
                    depth,
                    sessions,
                });
            }
        }
    }
    loads
}

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

/// All samples of a load: Bowline's, tgt's, and those of bare TCP.
#[derive(Debug, Default)]
struct Samples {
    bowline: Vec<Sample>,
    tgt: Vec<Sample>,
    loopback: Vec<f64>,
}

/// Prepares the image and measures inside new namespaces.
pub(crate) fn race(workspace: &Workspace, runs: u32, seconds: u32) -> Result<()> {
    ensure!(
        runs > 0 && seconds > 0,
        "`--runs` and `--seconds` are at least 1"
    );
    build::bowline(workspace)?;
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
    let path = folder.path().display().to_string();
    let (runs, seconds) = (runs.to_string(), seconds.to_string());
    sh::run_loud(&mut netns::enter(&[
        "inside-bench-target",
        &path,
        &runs,
        &seconds,
    ])?)
}

/// Inside the namespaces: starts both targets, measures in turns, prints the table.
pub(crate) fn inside(workspace: &Workspace, folder: &Path, runs: u32, seconds: u32) -> Result<()> {
    sh::run(sh::command("ip").args(["link", "set", "lo", "up"]))?;
    let tgt = Server::start_tgt(folder)?;
    let bowline = Server::start_bowline(&build::bowline(workspace)?, folder)?;
    let loads = loads();
    let mut all: Vec<Samples> = loads.iter().map(|_| Samples::default()).collect();
    for run in 1..=runs {
        println!("run {run} of {runs}");
        for (load, samples) in loads.iter().zip(&mut all) {
            // Who begins changes from run to run.
            if run % 2 == 0 {
                samples.bowline.push(measure(&bowline, load, seconds)?);
                samples.tgt.push(measure(&tgt, load, seconds)?);
            } else {
                samples.tgt.push(measure(&tgt, load, seconds)?);
                samples.bowline.push(measure(&bowline, load, seconds)?);
            }
            if load.sessions == 1 {
                let time = Duration::from_secs(1);
                let rate = loopback::rate(load.bytes, load.depth, time)?;
                samples.loopback.push(rate);
            }
            if let (Some(ours), Some(theirs)) = (samples.bowline.last(), samples.tgt.last()) {
                println!(
                    "  {}, depth {}, {} sessions: {:.0} against {:.0}",
                    load.name, load.depth, load.sessions, ours.rate, theirs.rate
                );
                for (name, sample) in [("Bowline", ours), ("tgt", theirs)] {
                    if sample.late > LATE {
                        println!("    {name} was {:.1} s late", sample.late.as_secs_f64());
                    }
                }
            }
        }
    }
    print!("{}", table(&loads, &mut all, runs, seconds)?);
    let busy = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("\nLoad average at the end: {}", busy.trim());
    Ok(())
}

/// Runs an `iscsi-perf` for each session.
fn measure(server: &Server, load: &Load, seconds: u32) -> Result<Sample> {
    let url = format!("iscsi://127.0.0.1:{}/{TARGET}/1", server.port);
    let before = server.processor_seconds()?;
    let mut clients = Clients(Vec::new());
    for session in 0..load.sessions {
        let mut command = sh::command("iscsi-perf");
        command
            .args(["-i", &format!("iqn.2000-01.com.example:client{session}")])
            .args(["-m", &load.depth.to_string()])
            .args(["-b", &(load.bytes / BLOCK).to_string()])
            .args(["-t", &seconds.to_string()])
            .args(load.random.then_some("-r"))
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let client = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", sh::display(&command)))?;
        clients.0.push((client, Instant::now()));
    }
    let time = Duration::from_secs(seconds.into());
    let deadline = Instant::now() + time + GRACE;
    let mut ended: Vec<Option<Duration>> = vec![None; clients.0.len()];
    while ended.contains(&None) {
        ensure!(
            Instant::now() < deadline,
            "iscsi-perf against {} did not end in its time",
            server.name
        );
        for ((client, start), ended) in clients.0.iter_mut().zip(&mut ended) {
            if ended.is_none() && client.try_wait()?.is_some() {
                *ended = Some(start.elapsed());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let used = server.processor_seconds()? - before;
    let (mut rate, mut count, mut longest) = (0.0, 0.0, Duration::ZERO);
    for ((client, _), ended) in clients.0.iter_mut().zip(ended.into_iter().flatten()) {
        let said = output(client)?;
        let average = average(&said).with_context(|| {
            format!(
                "iscsi-perf against {} did not say what it reached:\n{}",
                server.name,
                sh::tail(&said, 15)
            )
        })?;
        rate += average;
        // By the time it really took, which is longer if answers were late.
        count += average * ended.as_secs_f64();
        longest = longest.max(ended);
    }
    ensure!(rate > 0.0, "{} did nothing", server.name);
    Ok(Sample {
        rate,
        cost: used * 1e6 / count,
        late: longest.saturating_sub(time),
    })
}

/// The client processes of a measurement, gone when it ends.
struct Clients(Vec<(Child, Instant)>);

impl Drop for Clients {
    fn drop(&mut self) {
        for (client, _) in &mut self.0 {
            // Already gone is fine.
            let _ = client.kill();
            let _ = client.wait();
        }
    }
}

/// What a client that has ended said. It says too little to fill a pipe.
fn output(client: &mut Child) -> Result<String> {
    let mut said = Vec::new();
    if let Some(mut output) = client.stdout.take() {
        output.read_to_end(&mut said)?;
    }
    if let Some(mut output) = client.stderr.take() {
        output.read_to_end(&mut said)?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// I/Os per second of the whole run: the last line, which begins with `iops average`.
fn average(said: &str) -> Option<f64> {
    said.split(['\r', '\n'])
        .filter_map(|line| line.strip_prefix("iops average "))
        .next_back()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// A target that runs until the value is dropped.
struct Server {
    name: &'static str,
    port: u16,
    process: Child,
}

impl Server {
    fn start(name: &'static str, port: u16, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start `{}`", sh::display(command)))?;
        let server = Self {
            name,
            port,
            process,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > deadline {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!(
                    "{name} does not listen on port {port}:\n{}",
                    sh::tail(&said, 15)
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn start_bowline(program: &Path, folder: &Path) -> Result<Self> {
        let config = folder.join("bowline.toml");
        let text = format!(
            "state = \"{folder}/state\"\n\n\
             [iscsi]\nlisten = [\"127.0.0.1:3261\"]\n\n\
             [[iscsi.target]]\nname = \"{TARGET}\"\n\n\
             [[iscsi.target.lun]]\nlun = 1\nfile = \"{folder}/disk.img\"\n",
            folder = folder.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.args(["serve", "--config"]).arg(&config);
        Self::start("bowline", 3261, &mut command, folder)
    }

    fn start_tgt(folder: &Path) -> Result<Self> {
        let socket = folder.join("tgt");
        let mut command = sh::command("tgtd");
        command.env("TGT_IPC_SOCKET", &socket).args([
            "-f",
            "-C",
            "0",
            "--iscsi",
            "portal=127.0.0.1:3260",
        ]);
        let server = Self::start("tgtd", 3260, &mut command, folder)?;
        let target = format!("--targetname={TARGET}");
        let store = format!("--backing-store={}", folder.join("disk.img").display());
        let steps: [&[&str]; 3] = [
            &["--op=new", "--mode=target", "--tid=1", &target],
            &[
                "--op=new",
                "--mode=logicalunit",
                "--tid=1",
                "--lun=1",
                "--bstype=rdwr",
                &store,
            ],
            &[
                "--op=bind",
                "--mode=target",
                "--tid=1",
                "--initiator-address=ALL",
            ],
        ];
        for step in steps {
            let mut command = sh::command("tgtadm");
            command.env("TGT_IPC_SOCKET", &socket);
            sh::run(command.arg("--lld=iscsi").args(step))?;
        }
        Ok(server)
    }

    /// Processor time of the process so far, all threads, user and system.
    fn processor_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))
            .with_context(|| format!("{} has ended", self.name))?;
        ticks(&stat)
            .map(|ticks| ticks / TICKS_PER_SECOND)
            .with_context(|| format!("/proc/PID/stat is not as expected: {stat}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine. tgtd does not heed anything gentler while it has targets.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `utime` and `stime`, the 14th and 15th field; the name, the 2nd, may hold anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// A Markdown table of medians.
fn table(loads: &[Load], all: &mut [Samples], runs: u32, seconds: u32) -> Result<String> {
    let mut text = format!(
        "\nMedians of {runs} runs of {seconds} s each, in turns; CPU is processor time of the server \
         per I/O.\n\n\
         | load | depth | sessions | Bowline I/O/s | tgt I/O/s | ratio | Bowline CPU | tgt CPU | \
         ratio | bare TCP I/O/s |\n|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for (load, samples) in loads.iter().zip(all) {
        let ours = middle(&samples.bowline).context("nothing measured")?;
        let theirs = middle(&samples.tgt).context("nothing measured")?;
        let limit =
            median(&mut samples.loopback).map_or_else(String::new, |rate| format!("{rate:.0}"));
        writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.0} | **{:.2}** | {:.1} µs | {:.1} µs | **{:.2}** | {limit} |",
            load.name,
            load.depth,
            load.sessions,
            ours.rate,
            theirs.rate,
            ours.rate / theirs.rate,
            ours.cost,
            theirs.cost,
            ours.cost / theirs.cost
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
    fn the_last_average_counts() {
        let said = "will run for 2 seconds.\n\n\r00:00:01 - lba 3, iops current 100 (1 MB/s), iops \
                    average 100 (1 MB/s)\r\riops average 640 (2 MB/s)      \n\nfinished.\n";
        assert_eq!(average(said), Some(640.0));
        assert_eq!(average("iscsi-perf version 0.1\nFailed to connect"), None);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194560 900 0 0 0 31 11 7 7 20 0 3 0 100";
        assert_eq!(ticks(stat), Some(42.0));
    }

    #[test]
    fn the_table_has_medians_and_ratios() {
        let late = Duration::ZERO;
        let sample = |rate, cost| Sample { rate, cost, late };
        let samples = Samples {
            bowline: vec![sample(10.0, 3.0), sample(50.0, 1.0), sample(20.0, 2.0)],
            tgt: vec![sample(10.0, 4.0); 3],
            loopback: vec![100.0],
        };
        let text = table(&loads()[..1], &mut [samples], 3, 2).unwrap();
        let row =
            "| 4 KiB random | 1 | 1 | 20 | 10 | **2.00** | 2.0 µs | 4.0 µs | **0.50** | 100 |";
        assert!(text.contains(row), "{text}");
    }
}
