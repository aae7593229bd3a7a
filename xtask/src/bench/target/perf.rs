//! libiscsi's `iscsi-perf`: one process for each session.

use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::server::Server;
use super::{Load, Sample};
use crate::sh;

/// How `iscsi-perf` counts blocks.
const BLOCK: usize = 512;
/// Beyond its time `iscsi-perf` logs in and out, many of them on a busy machine.
const GRACE: Duration = Duration::from_secs(30);

/// Runs an `iscsi-perf` for each session.
pub(super) fn measure(server: &Server, load: &Load, seconds: u32) -> Result<Sample> {
    let url = server.url();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_average_counts() {
        let said = "will run for 2 seconds.\n\n\r00:00:01 - lba 3, iops current 100 (1 MB/s), iops \
                    average 100 (1 MB/s)\riops average 640 (2 MB/s)      \n\nfinished.\n";
        assert_eq!(average(said), Some(640.0));
        assert_eq!(average("iscsi-perf version 0.1\nFailed to connect"), None);
    }
}
