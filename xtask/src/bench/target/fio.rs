//! fio with its libiscsi engine: a thread for each session. Debian's fio has no such engine, so it is
//! built here, from Debian's source.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::server::Server;
use super::{Load, Sample};
use crate::packages::{self, Suite};
use crate::workspace::Workspace;
use crate::{setup, sh};

/// What fio says as JSON.
#[derive(Debug, Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Debug, Deserialize)]
struct Job {
    error: i32,
    read: Reads,
}

/// All reads of all threads.
#[derive(Debug, Deserialize)]
struct Reads {
    iops: f64,
    total_ios: f64,
    /// Milliseconds.
    runtime: u64,
}

/// The program, built if it is not there.
pub(super) fn program(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.cache.join("sources/fio");
    if let Some(program) = built(&folder) {
        return Ok(program);
    }
    setup::fio_builder()?;
    let source = packages::source(workspace, "fio", Suite::Bookworm, &folder)?;
    println!("  building fio with its libiscsi engine");
    let mut configure = Command::new(source.join("configure"));
    configure.args(["--enable-libiscsi", "--disable-native"]);
    sh::run(configure.current_dir(&source))?;
    sh::run(
        sh::command("make")
            .args(["-j2", "fio"])
            .current_dir(&source),
    )?;
    built(&folder).with_context(|| format!("make left no fio in {}", source.display()))
}

/// The program in a folder of unpacked sources.
fn built(folder: &Path) -> Option<PathBuf> {
    let sources = folder.read_dir().ok()?.flatten();
    sources
        .map(|source| source.path().join("fio"))
        .find(|program| program.is_file())
}

/// Runs one fio with all sessions.
pub(super) fn measure(
    program: &Path,
    server: &Server,
    load: &Load,
    seconds: u32,
) -> Result<Sample> {
    let before = server.processor_seconds()?;
    let pattern = if load.random { "randread" } else { "read" };
    let mut command = Command::new(program);
    command
        .args(["--name=load", "--ioengine=libiscsi", "--output-format=json"])
        .args(["--group_reporting", "--time_based", "--norandommap"])
        // It shall not spend its time on asking for the time.
        .args(["--gtod_reduce=1", "--randrepeat=0"])
        // A colon would separate two files.
        .arg(format!("--filename={}", server.url().replace(':', "\\:")))
        .arg(format!("--rw={pattern}"))
        .arg(format!("--bs={}", load.bytes))
        .arg(format!("--iodepth={}", load.depth))
        .arg(format!("--numjobs={}", load.sessions))
        .arg(format!("--runtime={seconds}"));
    let said = sh::output(&mut command)
        .with_context(|| format!("fio's libiscsi engine against {}", server.name))?;
    let used = server.processor_seconds()? - before;
    let reads = reads(&said)
        .with_context(|| format!("fio against {} said:\n{}", server.name, sh::tail(&said, 15)))?;
    let took = Duration::from_millis(reads.runtime);
    Ok(Sample {
        rate: reads.iops,
        cost: used * 1e6 / reads.total_ios,
        late: took.saturating_sub(Duration::from_secs(seconds.into())),
    })
}

/// The reads of the one group of threads. Before the JSON there may be remarks.
fn reads(said: &str) -> Result<Reads> {
    let start = said.find('{').context("no report")?;
    let report: Report = serde_json::from_str(&said[start..])?;
    let job = report.jobs.into_iter().next().context("no job")?;
    ensure!(job.error == 0, "error {}", job.error);
    ensure!(job.read.total_ios > 0.0, "nothing was read");
    Ok(job.read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_behind_remarks() {
        let said = "note: a remark\n{\"fio version\": \"fio-3.33\", \"jobs\": [{\"error\": 0, \
                    \"read\": {\"iops\": 12.5, \"total_ios\": 25, \"runtime\": 2001}}]}\n";
        let reads = reads(said).unwrap();
        assert_eq!((reads.iops, reads.total_ios), (12.5, 25.0));
        assert_eq!(reads.runtime, 2001);
    }

    #[test]
    fn an_error_or_no_reads_are_no_measurement() {
        let job = |error: i32, ios: u32| {
            format!(
                "{{\"jobs\": [{{\"error\": {error}, \"read\": \
                 {{\"iops\": 0, \"total_ios\": {ios}, \"runtime\": 0}}}}]}}"
            )
        };
        assert!(reads(&job(5, 1)).is_err());
        assert!(reads(&job(0, 0)).is_err());
        assert!(reads("fio: no engine").is_err());
    }
}
