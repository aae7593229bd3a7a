//! libiscsi's conformance suite, `iscsi-test-cu`.
//!
//! The tool is that of Debian 13, whatever the host is.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::arch::Arch;
use crate::initiators::limited;
use crate::packages::{self, Packages};
use crate::scenario::Conformance;
use crate::sh;
use crate::unpacked::Unpacked;

/// A single test takes seconds, or hangs for ever.
const TEST_LIMIT: Duration = Duration::from_secs(30);

/// The tool, and the names of all its tests.
pub(crate) struct Suite {
    program: Vec<String>,
    tests: Vec<String>,
}

impl Suite {
    /// Unpacks the tool and asks what tests it has.
    pub(crate) fn open(packages: &Packages) -> Result<Self> {
        let arch = Arch::host()?;
        let unpacked = Unpacked::open(packages, arch, packages::libiscsi(arch))?;
        let mut suite = Self {
            program: unpacked.words("bin/iscsi-test-cu")?,
            tests: Vec::new(),
        };
        let list = sh::output(suite.command().arg("--list"))?;
        suite.tests = tests_in(&list);
        Ok(suite)
    }

    fn command(&self) -> Command {
        let (program, rest) = self
            .program
            .split_first()
            .map_or(("", &[][..]), |(a, b)| (a, b));
        let mut command = sh::command(program);
        command.args(rest);
        command
    }

    /// Every family of the tool must be named, so that none is forgotten.
    pub(crate) fn covers(&self, families: &[Conformance]) -> Result<()> {
        for test in &self.tests {
            ensure!(
                families
                    .iter()
                    .any(|family| test.starts_with(&family.prefix())),
                "{test} belongs to no family of the scenario"
            );
        }
        Ok(())
    }

    /// Runs every test of a family, each in a process of its own (some tests disturb the ones after
    /// them), and counts by its summary: the exit status says nothing.
    pub(crate) fn run(&self, family: &Conformance, url: &str, folder: &Path) -> Result<String> {
        let prefix = family.prefix();
        let mut count = Count::default();
        for test in self.tests.iter().filter(|test| test.starts_with(&prefix)) {
            let mut command = self.command();
            command.args(["--dataloss", "--verbose", "--test", test, url]);
            if family.multipath {
                command.arg(url);
            }
            let log = folder.join(format!("{test}.log"));
            let said = limited(&mut command, TEST_LIMIT, &log)?;
            match verdict(&said.text) {
                Verdict::Passed => count.passed += 1,
                Verdict::Skipped => count.skipped += 1,
                Verdict::Failed => {
                    let tail = sh::tail(&said.text, 12);
                    count.failed.push(format!("{test}:\n{tail}"));
                }
            }
        }
        let Count {
            passed,
            skipped,
            failed,
        } = count;
        ensure!(
            failed.is_empty(),
            "conformance tests failed:\n{}",
            failed.join("\n")
        );
        ensure!(
            passed >= family.passes && skipped <= family.skips,
            "{}: {passed} tests passed and {skipped} were skipped, but {} must pass and at most {} \
             may be skipped",
            family.family,
            family.passes,
            family.skips
        );
        Ok(format!(
            "{} ({passed} passed, {skipped} skipped)",
            family.family
        ))
    }
}

impl Conformance {
    fn prefix(&self) -> String {
        format!("ALL.{}.", self.family)
    }
}

#[derive(Default)]
struct Count {
    passed: usize,
    skipped: usize,
    failed: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped,
    Failed,
}

/// The list has a line for each test: `ALL.Read10.Simple`.
fn tests_in(list: &str) -> Vec<String> {
    list.lines()
        .map(str::trim)
        .filter(|line| line.starts_with("ALL.") && line.split('.').count() == 3)
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

#[cfg(test)]
mod tests {
    use super::*;

    const SUMMARY: &str = "Run Summary:    Type  Total    Ran Passed Failed Inactive\n\
                           \u{20}             suites      1      1    n/a      0        0\n\
                           \u{20}              tests      1      1      1      0        0\n";

    #[test]
    fn tests_are_listed_once() {
        let list = "ALL.Read1\nALL.Read10\nALL.Read10.Simple\nSCSI.Read10.Simple\n ALL.Read16.A\n";
        assert_eq!(tests_in(list), ["ALL.Read10.Simple", "ALL.Read16.A"]);
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
