//! Many inputs in a bounded time, on any compiler: the corpus, then mutations of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Target;
use crate::mutation::{Random, mutate, seed};

/// One input may take so long. Far above what any takes; what takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(20);
/// The stack that a target gets, as in the loader's own thread of control: deep recursion shows.
const STACK: usize = 2 * 1024 * 1024;

/// How much is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Mutations of each input.
    pub mutations: u64,
    /// No new mutations after this time; the corpus is always run whole.
    pub time: Option<Duration>,
}

/// What was run on a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Inputs of the corpus.
    pub inputs: u64,
    /// Mutations of them.
    pub mutations: u64,
}

/// What the thread with the target tells.
enum News {
    /// It begins with this input.
    Begin(Vec<u8>),
    /// The input made it panic.
    Panic,
    Done(Tally),
}

/// Runs a target by plan.
///
/// # Errors
/// A panic, or an input that takes for ever. The input is kept in a file, which the error names.
pub fn run(target: &'static Target, plan: Plan) -> Result<Tally> {
    let corpus = target.corpus()?;
    anyhow::ensure!(!corpus.is_empty(), "{} is empty", target.folder().display());
    let (sender, news) = mpsc::sync_channel(64);
    let work = move || {
        let tell = |what| {
            let _ = sender.send(what);
        };
        let tally = inputs(target, &corpus, plan, |input| {
            tell(News::Begin(input.to_vec()));
            let survived = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok();
            if !survived {
                tell(News::Panic);
            }
            survived
        });
        tell(News::Done(tally));
    };
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(work).context("cannot start a thread")?;
    watch(target, &news)
}

/// Gives every input of the plan to `run`, until that says no.
fn inputs(
    target: &Target,
    corpus: &[(String, Vec<u8>)],
    plan: Plan,
    mut run: impl FnMut(&[u8]) -> bool,
) -> Tally {
    let mut tally = Tally::default();
    let started = Instant::now();
    for (_, input) in corpus {
        tally.inputs += 1;
        if !run(input) {
            return tally;
        }
    }
    // Each input in turn, so that all get their share where time is short.
    for n in 0..plan.mutations {
        for (index, (name, input)) in corpus.iter().enumerate() {
            if plan.time.is_some_and(|time| started.elapsed() > time) {
                return tally;
            }
            let parts = [target.name.as_bytes(), name.as_bytes(), &n.to_be_bytes()];
            let mut random = Random::new(seed(&parts));
            let other = &corpus[(index + 1 + n as usize) % corpus.len()].1;
            let mut mutated = input.clone();
            mutate(&mut mutated, other, target.words, &mut random);
            tally.mutations += 1;
            if !run(&mutated) {
                return tally;
            }
        }
    }
    tally
}

fn watch(target: &Target, news: &mpsc::Receiver<News>) -> Result<Tally> {
    let mut current = Vec::new();
    loop {
        match news.recv_timeout(PATIENCE) {
            Ok(News::Begin(input)) => current = input,
            Ok(News::Done(tally)) => return Ok(tally),
            Ok(News::Panic) => return Err(finding(target, &current, "it panicked")),
            Err(RecvTimeoutError::Timeout) => {
                let what = format!("it did not end in {} s", PATIENCE.as_secs());
                return Err(finding(target, &current, &what));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(finding(target, &current, "its thread ended"));
            }
        }
    }
}

fn finding(target: &Target, input: &[u8], what: &str) -> anyhow::Error {
    let name = target.name;
    match keep(target, input) {
        Ok(path) => anyhow::anyhow!(
            "{name}: {what}\n  the input is kept in {path}\n  \
             again: cargo run -p bowline-fuzz -- run {name} {path}\n  \
             when it is mended, put it into {}",
            target.folder().display(),
            path = path.display(),
        ),
        Err(error) => anyhow::anyhow!("{name}: {what}, and the input cannot be kept: {error}"),
    }
}

fn keep(target: &Target, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "artifacts", target.name]
        .iter()
        .collect();
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{:016x}", seed(&[input])));
    std::fs::write(&path, input)?;
    Ok(path)
}
