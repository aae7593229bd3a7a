//! Independent iSCSI initiators on the host: libiscsi's tools and conformance suite, QEMU's driver.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::scenario::{Conformance, HostRun};
use crate::sh;

/// A single conformance test takes seconds, or hangs for ever.
const TEST_LIMIT: Duration = Duration::from_secs(30);

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

/// Runs every test of a family, each in a process of its own (tests of the 1.19.0 tool disturb the
/// ones after them), and counts by its summary: the exit status says nothing.
pub(crate) fn conformance(family: &Conformance, url: &str, folder: &Path) -> Result<String> {
    let mut tests = list(&family.family)?;
    tests.retain(|test| {
        let name = test.rsplit('.').next().unwrap_or_default();
        !family.except.iter().any(|except| except == name)
    });
    ensure!(
        !tests.is_empty(),
        "iscsi-test-cu knows no tests {}",
        family.family
    );
    let mut count = Count::default();
    let mut failed = Vec::new();
    for test in &tests {
        let mut command = sh::command("iscsi-test-cu");
        command.args(["--dataloss", "--verbose", "--test", test, url]);
        if family.multipath {
            command.arg(url);
        }
        let said = limited(
            &mut command,
            TEST_LIMIT,
            &folder.join(format!("{test}.log")),
        )?;
        match verdict(&said.text) {
            Verdict::Passed => count.passed += 1,
            Verdict::Skipped => count.skipped += 1,
            Verdict::Failed => {
                failed.push(format!("{test}:\n{}", sh::tail(&said.text, 12)));
            }
        }
    }
    ensure!(
        failed.is_empty(),
        "conformance tests failed:\n{}",
        failed.join("\n")
    );
    ensure!(
        count.passed >= family.passes,
        "{}: only {} tests passed, {} were skipped; {} must pass",
        family.family,
        count.passed,
        count.skipped,
        family.passes
    );
    Ok(format!(
        "{} ({} passed, {} skipped)",
        family.family, count.passed, count.skipped
    ))
}

#[derive(Default)]
struct Count {
    passed: usize,
    skipped: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped,
    Failed,
}

/// The tests of a family, by the tool's own list.
fn list(family: &str) -> Result<Vec<String>> {
    let text = sh::output(sh::command("iscsi-test-cu").arg("--list"))?;
    Ok(tests_in(&text, family))
}

/// The list has a line for each test: `ALL.Read10.Simple`.
fn tests_in(list: &str, family: &str) -> Vec<String> {
    let prefix = format!("ALL.{family}.");
    list.lines()
        .map(str::trim)
        .filter(|line| line.starts_with(&prefix))
        .map(str::to_owned)
        .collect()
}

/// CUnit's summary: the row `tests  total ran passed failed inactive`.
fn verdict(text: &str) -> Verdict {
    let row: Vec<&str> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&"tests") && words.len() >= 5)
        .unwrap_or_default();
    match (row.get(3), row.get(4)) {
        (Some(&"1"), Some(&"0")) if is_skipped(text) => Verdict::Skipped,
        (Some(&"1"), Some(&"0")) => Verdict::Passed,
        _ => Verdict::Failed,
    }
}

/// Before and after every test the tool clears persistent reservations, and says each time that it
/// skips that where a target has none. Only what is skipped besides is the test.
fn is_skipped(text: &str) -> bool {
    const CLEARING: &str = "[SKIPPED] PERSISTENT RESERVE IN is not implemented";
    let clearing = text.matches(CLEARING).count();
    text.matches("[SKIPPED]").count() > clearing || clearing > 2
}

struct Said {
    success: bool,
    text: String,
}

/// Runs a program with a time limit, its output in a log file.
fn limited(command: &mut Command, limit: Duration, log: &Path) -> Result<Said> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "Run Summary:    Type  Total    Ran Passed Failed Inactive\n\
                           \u{20}             suites      1      1    n/a      0        0\n\
                           \u{20}              tests      1      1      1      0        0\n";

    #[test]
    fn tests_of_a_family_are_listed_once() {
        let list = "ALL.Read1\nALL.Read10\nALL.Read10.Simple\nSCSI.Read10.Simple\nALL.Read16.A\n";
        assert_eq!(tests_in(list, "Read10"), ["ALL.Read10.Simple"]);
    }

    #[test]
    fn the_summary_decides() {
        assert_eq!(verdict(SUMMARY), Verdict::Passed);
        assert_eq!(
            verdict(&format!("[SKIPPED] not there\n{SUMMARY}")),
            Verdict::Skipped
        );
        let clearing = "[SKIPPED] PERSISTENT RESERVE IN is not implemented.\n";
        assert_eq!(
            verdict(&format!("{clearing}{clearing}{SUMMARY}")),
            Verdict::Passed
        );
        let all = format!("{clearing}{clearing}{clearing}{SUMMARY}");
        assert_eq!(verdict(&all), Verdict::Skipped);
        assert_eq!(verdict("Segmentation fault"), Verdict::Failed);
        assert_eq!(
            verdict(&SUMMARY.replace("1      0        0\n", "0      1        0\n")),
            Verdict::Failed
        );
    }
}
