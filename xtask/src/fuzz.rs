//! Hostile input for every parser and protocol machine: a bounded run on any compiler, or
//! libFuzzer for as long as one likes.

use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::sh;
use crate::toolchain;
use crate::workspace::Workspace;

/// What to do.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The target for libFuzzer (a nightly compiler and cargo-fuzz); lists them if none.
    target: Option<String>,
    /// All targets on their corpora and on mutations of these, on any compiler.
    #[arg(long, conflicts_with = "target")]
    smoke: bool,
    /// How long: 60 with --smoke, until Ctrl-C with libFuzzer.
    #[arg(long)]
    seconds: Option<u64>,
}

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    match &arguments.target {
        _ if arguments.smoke => sh::run_loud(&mut smoke(workspace, arguments.seconds)),
        Some(target) => libfuzzer(workspace, target, arguments.seconds),
        None => {
            println!("cargo xtask fuzz --smoke runs all of these, cargo xtask fuzz TARGET one:");
            sh::run_loud(runner(workspace).arg("list"))
        }
    }
}

/// The bounded run.
pub(crate) fn smoke(workspace: &Workspace, seconds: Option<u64>) -> Command {
    let mut command = runner(workspace);
    command.arg("smoke");
    command.args(seconds.map(|seconds| seconds.to_string()));
    command
}

fn runner(workspace: &Workspace) -> Command {
    let mut command = toolchain::cargo(workspace);
    command.args(["run", "--quiet", "--package", "bowline-fuzz", "--"]);
    command
}

fn libfuzzer(workspace: &Workspace, target: &str, seconds: Option<u64>) -> Result<()> {
    let names = sh::output(runner(workspace).arg("list"))?;
    ensure!(
        names.lines().any(|name| name == target),
        "no fuzz target {target}; there are: {}",
        names.trim().replace('\n', ", ")
    );
    let toolchains = sh::output(sh::command("rustup").args(["toolchain", "list"]));
    let has_nightly = toolchains.is_ok_and(|list| list.contains("nightly"));
    if !has_nightly || sh::find("cargo-fuzz").is_none() {
        bail!(
            "libFuzzer needs a nightly compiler and cargo-fuzz:\n  \
             rustup toolchain install nightly && cargo install cargo-fuzz\n\
             without them: cargo xtask fuzz --smoke --seconds 600"
        );
    }
    // What it finds on the way stays out of the corpus, which is for chosen inputs.
    let found = workspace.target.join("fuzz").join(target);
    let artifacts = workspace.root.join("fuzz/artifacts").join(target);
    std::fs::create_dir_all(&found)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut command = sh::command("rustup");
    command
        .current_dir(&workspace.root)
        .env("BOWLINE_FUZZ_TARGET", target)
        // The compiler that runs this program must not be handed on.
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(["run", "nightly", "cargo", "fuzz", "run"])
        .args(["--fuzz-dir", "fuzz/libfuzzer", "--target-dir"])
        .arg(workspace.target.join("libfuzzer"))
        .arg("any")
        .arg(&found)
        .arg(workspace.root.join("fuzz/corpus").join(target))
        .args(["--", "-max_len=65536", "-timeout=20"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(seconds.map(|seconds| format!("-max_total_time={seconds}")));
    sh::run_loud(&mut command)
}
