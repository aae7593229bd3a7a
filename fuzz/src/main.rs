//! `bowline-fuzz list | smoke [SECONDS] | run TARGET FILE... | seed`: see `cargo xtask fuzz`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bowline_fuzz::smoke::{self, Plan};
use bowline_fuzz::{TARGETS, Target, seeds};

/// Mutations of each input, where the time allows.
const MUTATIONS: u64 = 20_000;
/// For all targets together.
const SECONDS: u64 = 60;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["list"] => {
            TARGETS
                .iter()
                .for_each(|target| println!("{}", target.name));
            Ok(true)
        }
        ["smoke"] => smoke(SECONDS),
        ["smoke", seconds] => seconds.parse().context("how many seconds?").and_then(smoke),
        ["run", target, files @ ..] => run(target, files).map(|()| true),
        ["seed"] => seeds::write().map(|()| true),
        _ => {
            eprintln!("usage: bowline-fuzz list | smoke [SECONDS] | run TARGET FILE... | seed");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// All targets, one after the other; a failure does not keep the rest from running.
fn smoke(seconds: u64) -> Result<bool> {
    let started = Instant::now();
    let mut passed = true;
    for (done, target) in TARGETS.iter().enumerate() {
        let left = Duration::from_secs(seconds).saturating_sub(started.elapsed());
        let plan = Plan {
            mutations: MUTATIONS,
            time: Some(left / (TARGETS.len() - done) as u32),
        };
        let began = Instant::now();
        match smoke::run(target, plan) {
            Ok(tally) => println!(
                "{:24} ok: {} inputs, {} mutations ({:.1} s)",
                target.name,
                tally.inputs,
                tally.mutations,
                began.elapsed().as_secs_f64()
            ),
            Err(error) => {
                println!("{:24} FAILED\n{error:#}", target.name);
                passed = false;
            }
        }
    }
    Ok(passed)
}

fn run(name: &str, files: &[&str]) -> Result<()> {
    let Some(target) = Target::find(name) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("no target {name}; there are: {}", names.join(", "));
    };
    for file in files {
        let input = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
        (target.run)(&input);
        println!("{file}: ok");
    }
    Ok(())
}
