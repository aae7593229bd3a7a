//! Everything that continuous integration runs, from a clean checkout on a clean machine.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::arch::Arch;
use crate::build;
use crate::e2e;
use crate::fuzz;
use crate::scripts;
use crate::setup;
use crate::sh;
use crate::toolchain::{self, BARE_METAL, Toolchain};
use crate::workspace::Workspace;

/// The crates that must build without an operating system.
const NO_STD: [&str; 8] = [
    "bowline-scsi",
    "bowline-iscsi",
    "bowline-dhcp",
    "bowline-script",
    "bowline-net",
    "bowline-pe",
    "bowline-tls",
    "bowline-boot",
];

/// What has been checked so far.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
}

/// Runs all of it and prints a closing line; whether everything passed. One failure does not stop
/// the rest.
pub(crate) fn run(workspace: &Workspace, jobs: Option<usize>) -> Result<bool> {
    let started = Instant::now();
    heading("set-up");
    setup::all(workspace, false)?;
    let mut tally = Tally::default();
    static_checks(workspace, &mut tally)?;
    heading("unit and simulation tests");
    let test = || {
        let mut command = toolchain::cargo(workspace);
        command.args(["test", "--no-fail-fast"]);
        command
    };
    // Ignored tests need independent programs, which the set-up has installed.
    tally.cargo_test(test().args([
        "--workspace",
        "--exclude",
        "bowline-loader",
        "--",
        "--include-ignored",
    ]))?;
    tally.step(
        "hostile input (fuzz --smoke)",
        &mut fuzz::smoke(workspace, None),
    );
    // What of the loader runs without firmware.
    tally.cargo_test(test().args(["--package", "bowline-loader", "--lib"]))?;
    // The ciphers with the instructions that processors of CI machines have.
    if cfg!(target_arch = "x86_64") {
        let (_, flags) = Arch::X86_64.accelerator_target();
        let folder = workspace.target.join("accelerator");
        tally.cargo_test(
            test()
                .env("RUSTFLAGS", flags)
                .args(["--package", "bowline-cipher", "--target-dir"])
                .arg(folder),
        )?;
    }
    heading("end-to-end tests");
    let instances = e2e::select(&workspace.e2e(), "scenarios", &[])?;
    match e2e::prepare(workspace, &instances) {
        Ok(()) => {
            for arch in Arch::ALL {
                let size = build::check_size(workspace, arch);
                if let Err(error) = &size {
                    println!("{error:#}");
                }
                tally.note(
                    &format!("size of the loader for {}", arch.name()),
                    size.is_ok(),
                );
            }
            let jobs = jobs.unwrap_or_else(default_jobs);
            let outcomes = e2e::run_all(workspace, "scenarios", &instances, jobs)?;
            e2e::table(&outcomes);
            for outcome in outcomes {
                tally.note(&outcome.name, outcome.report.failure.is_none());
            }
            heading("the same scripts with iPXE");
            let same = scripts::compare(workspace)?;
            tally.note("scripts show what they show with iPXE", same);
        }
        Err(error) => {
            println!("{error:#}");
            tally.note("building what the end-to-end tests run", false);
        }
    }
    println!();
    for failed in &tally.failed {
        println!("FAILED: {failed}");
    }
    println!("{} minutes", started.elapsed().as_secs().div_ceil(60));
    println!("{} passed, {} failed", tally.passed, tally.failed.len());
    Ok(tally.failed.is_empty())
}

fn static_checks(workspace: &Workspace, tally: &mut Tally) -> Result<()> {
    heading("format and lints");
    let cargo = || toolchain::cargo(workspace);
    tally.step(
        "format (cargo fmt)",
        cargo().args(["fmt", "--all", "--check"]),
    );
    let clippy = |arguments: &[&str]| {
        let mut command = cargo();
        command
            .args(["clippy", "--quiet"])
            .args(arguments)
            .args(["--", "-D", "warnings"]);
        command
    };
    tally.step(
        "lints of the host's crates (clippy)",
        &mut clippy(&[
            "--workspace",
            "--exclude",
            "bowline-loader",
            "--all-targets",
        ]),
    );
    tally.step(
        "lints of what the loader tests on the host",
        &mut clippy(&["--package", "bowline-loader", "--lib"]),
    );
    let mut targets: Vec<&str> = Arch::ALL.iter().map(|arch| arch.uefi_target()).collect();
    targets.push(BARE_METAL);
    let toolchain = Toolchain::choose(&targets)?;
    for arch in Arch::ALL {
        // Debian's compiler comes without clippy: there rustc's own warnings have to do.
        let (subcommand, rest): (_, &[&str]) = match toolchain {
            Toolchain::Rustup => ("clippy", &["--", "-D", "warnings"]),
            Toolchain::Debian => ("check", &[]),
        };
        tally.step(
            &format!("lints of the loader for {} ({subcommand})", arch.name()),
            toolchain
                .cargo(workspace, subcommand, arch.uefi_target())
                .args(["--quiet", "--package", "bowline-loader"])
                .args(rest),
        );
    }
    let mut build = toolchain.cargo(workspace, "build", BARE_METAL);
    build.arg("--quiet");
    for name in NO_STD {
        build.args(["--package", name]);
    }
    tally.step("protocol crates without an operating system", &mut build);
    Ok(())
}

/// Two machines at a time need four processors: QEMU is not one thread.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |count| if count.get() >= 4 { 2 } else { 1 })
}

fn heading(text: &str) {
    println!("\n== {text}");
}

impl Tally {
    fn note(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed.push(name.to_owned());
        }
    }

    /// A check that passes or fails as a whole.
    fn step(&mut self, name: &str, command: &mut Command) {
        let started = Instant::now();
        let result = sh::run_loud(command);
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!(
            "{name:48} {verdict} ({:.0} s)",
            started.elapsed().as_secs_f64()
        );
        if let Err(error) = &result {
            println!("{error:#}");
        }
        self.note(name, result.is_ok());
    }

    /// `cargo test`: shows what it says, and counts single tests by it.
    fn cargo_test(&mut self, command: &mut Command) -> Result<()> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", sh::display(command)))?;
        let output = child.stdout.take().context("cargo has no output")?;
        let failed_before = self.failed.len();
        for line in BufReader::new(output).lines() {
            let line = line?;
            self.count(&line);
            if !is_dull(&line) {
                println!("{line}");
            }
        }
        let ended_well = child.wait()?.success();
        if !ended_well && self.failed.len() == failed_before {
            self.note("building the tests", false);
        }
        Ok(())
    }

    /// `test name ... ok`, as the test harness prints it.
    fn count(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test ") else {
            return;
        };
        if let Some((name, verdict)) = rest.rsplit_once(" ... ") {
            match verdict {
                "FAILED" => self.failed.push(name.to_owned()),
                "ok" => self.passed += 1,
                _ => {}
            }
        }
    }
}

/// Lines of `cargo test` that nobody needs to see.
fn is_dull(line: &str) -> bool {
    line.is_empty()
        || line == "running 0 tests"
        || (line.starts_with("test ") && line.ends_with(" ... ok"))
        || line.starts_with("test result: ok. 0 passed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_their_lines() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test c - should panic ... ok",
            "test d ... FAILED",
            "test e ... ignored",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored",
        ] {
            tally.count(line);
        }
        assert_eq!((tally.passed, tally.failed), (2, vec!["d".to_owned()]));
    }
}
