//! HTTPS beside HTTP in the loader: the same file from the same server, one after the other.

use anyhow::{Context, Result, ensure};

use super::Spread;
use crate::e2e;
use crate::workspace::Workspace;

/// Downloads 64 MiB over HTTPS and then over HTTP, `runs` times on each machine.
pub(crate) fn run(workspace: &Workspace, runs: usize) -> Result<()> {
    ensure!(runs > 0, "`--runs` is at least 1");
    let all = e2e::select(&workspace.e2e(), "bench", &["https-bowline".to_owned()])?;
    e2e::prepare(workspace, &all)?;
    let mut rows = String::new();
    for instance in &all {
        let (mut secured, mut plain) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            let report = e2e::run_one(workspace, "bench", instance, &instance.name, false)?;
            if let Some(failure) = &report.failure {
                anyhow::bail!("{} failed: {failure}", instance.name);
            }
            let speed = |from, to| {
                let seconds = report.stage(to)? - report.stage(from)?;
                Some(DOWNLOAD / seconds)
            };
            let missing = "a stage is missing";
            let (https, http) = (speed("begin", "https"), speed("again", "http"));
            let (https, http) = (https.context(missing)?, http.context(missing)?);
            println!(
                "run {run}: {:36} {https:5.1} {http:5.1} MB/s",
                instance.name
            );
            secured.push(https);
            plain.push(http);
        }
        let machine = instance.machine.map_or("", |(firmware, _)| firmware.name());
        let (https, http) = (Spread::of(secured), Spread::of(plain));
        if let (Some(https), Some(http)) = (https, http) {
            rows.push_str(&format!(
                "| {machine} | {} | {} | {:.2} |\n",
                https.display(),
                http.display(),
                https.median / http.median
            ));
        }
    }
    print!(
        "\nMB/s over 64 MiB from nginx, median (least to most) of {runs} runs, in QEMU (TCG).\n\n\
         | firmware | HTTPS | HTTP | ratio |\n|---|---|---|---|\n{rows}"
    );
    Ok(())
}

/// Megabytes of the file that is downloaded.
const DOWNLOAD: f64 = 67.108_864;
