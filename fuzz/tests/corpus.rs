//! Every target on its corpus and on some mutations of it.

use bowline_fuzz::smoke::{self, Plan};
use bowline_fuzz::{TARGETS, seeds};

/// Mutations of each input.
const MUTATIONS: u64 = 100;

#[test]
fn no_target_fails() {
    for target in TARGETS {
        let plan = Plan {
            mutations: MUTATIONS,
            time: None,
        };
        let tally = smoke::run(target, plan).unwrap();
        assert_eq!(tally.mutations, tally.inputs * MUTATIONS, "{}", target.name);
    }
}

/// What the project's own encoders write today is in the corpus.
#[test]
fn the_seeds_are_up_to_date() {
    for seed in seeds::all() {
        let path = seed.path();
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(
            kept == seed.bytes,
            "{} is out of date: cargo run -p bowline-fuzz -- seed",
            path.display()
        );
    }
}
