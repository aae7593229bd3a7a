//! Independent programs on the host, such as libiscsi's tools and QEMU's iSCSI driver.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::scenario::HostRun;
use crate::sh;

/// Runs a program and looks for texts in what it says.
pub(crate) fn host_run(run: &HostRun, fill: impl Fn(&str) -> String, folder: &Path) -> Result<()> {
    let words: Vec<String> = run.command.iter().map(|word| fill(word)).collect();
    let (program, arguments) = words.split_first().context("an empty command")?;
    // `xtask` is this program.
    let mut command = match program.as_str() {
        "xtask" => Command::new(std::env::current_exe()?),
        other => sh::command(other),
    };
    command.args(arguments).current_dir(folder);
    let log = folder.join(format!("{}.log", run.stage.replace(' ', "-")));
    let said = limited(&mut command, Duration::from_secs(run.within), &log)?;
    ensure!(
        said.success,
        "`{}` failed:\n{}",
        words.join(" "),
        sh::tail(&said.text, 15)
    );
    for text in run.expect.iter().map(|text| fill(text)) {
        ensure!(
            said.text.contains(&text),
            "`{}` did not say `{text}`:\n{}",
            words.join(" "),
            sh::tail(&said.text, 15)
        );
    }
    Ok(())
}

/// How a program ended, and what it said.
pub(crate) struct Said {
    success: bool,
    pub(crate) text: String,
}

/// Runs a program with a time limit, its output in a log file.
pub(crate) fn limited(command: &mut Command, limit: Duration, log: &Path) -> Result<Said> {
    let file = File::create(log)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot start `{}`", sh::display(command)))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
            bail!(
                "`{}` did not end within {} s:\n{}",
                sh::display(command),
                limit.as_secs(),
                sh::tail(&text, 15)
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    Ok(Said {
        success: status.success(),
        text,
    })
}
