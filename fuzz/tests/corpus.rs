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

/// The seeds are kept. They need not be what our encoders write today: old ones serve as well.
#[test]
fn no_seed_is_missing() {
    for seed in seeds::all() {
        let path = seed.path();
        assert!(
            path.exists(),
            "{} is missing: cargo run -p bowline-fuzz -- seed",
            path.display()
        );
    }
}
