//! Boots that things happen to: connections reset, targets that die or hang, lost frames, cables
//! pulled. The boot image reads, writes and compares with a model of the disk; nothing it asks for
//! may fail, and in the end the disk must be the model. `--nocapture` shows how long it took.
//!
//! Seeds are played back and multiplied as in `boot.rs`.

mod common;

use std::cell::Cell;
use std::time::Duration;

use bowline_net::Clock;
use bowline_sim::faults::{Fault, FaultKind};
use bowline_sim::rng::Rng;
use bowline_sim::wire::{CardModel, Conditions};
use bowline_sim::world::Plan;

use common::{SECOND, assert_boots, for_seeds, plan};

/// Seeds of each: these boots are long.
const SEEDS: u64 = 10;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// Boots with what `trouble` adds to a good plan, for many seeds; the slowest must not take longer
/// than `within` (virtual time).
fn assert_survives(what: &str, within: Duration, trouble: impl Fn(&mut Plan, &mut Rng)) {
    let (slowest, logins) = (Cell::new(Duration::ZERO), Cell::new(0));
    for_seeds(SEEDS, |seed| {
        let mut plan = plan(seed);
        trouble(&mut plan, &mut Rng::new(seed));
        let (world, console) = assert_boots(&plan);
        let took = world.wire.now();
        assert!(took < within, "took {took:?}\n{plan:?}\n{console}");
        slowest.set(slowest.get().max(took));
        logins.set(logins.get().max(world.target.logins.get()));
    });
    println!(
        "{what}: the slowest boot took {:.1} s, the most logins were {}",
        slowest.get().as_secs_f64(),
        logins.get()
    );
    assert!(
        logins.get() > 1 || what.contains("lost"),
        "nothing happened"
    );
}

fn fault(kind: FaultKind, lasts: Duration, rng: &mut Rng) -> Fault {
    let at = 5_000 + rng.below(800_000) as usize;
    Fault { at, kind, lasts }
}

/// The script with a second path to the disk.
fn with_two_paths(plan: &mut Plan) {
    let uri = "iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1";
    let both = format!("{uri} {}", uri.replace("1.1:", "1.2:"));
    let script = SECOND.replace(uri, &both);
    assert_ne!(script, SECOND);
    plan.files.insert("/boot.ipxe".into(), script.into());
}

#[test]
fn a_connection_that_is_reset_again_and_again() {
    assert_survives("reset every 80 to 400 kB", SECONDS(10), |plan, rng| {
        plan.drop_every = Some(80_000 + rng.below(320_000) as usize);
    });
}

#[test]
fn a_target_that_is_killed_and_started_again() {
    assert_survives("target restarted in 0 to 20 s", SECONDS(40), |plan, rng| {
        let down = Duration::from_millis(rng.below(20_000));
        plan.faults = vec![fault(FaultKind::TargetDies, down, rng)];
    });
}

#[test]
fn a_target_that_does_not_answer_for_a_while() {
    assert_survives("target hangs for 10 to 20 s", SECONDS(60), |plan, rng| {
        let silent = SECONDS(10 + rng.below(10));
        plan.faults = vec![fault(FaultKind::TargetHangs, silent, rng)];
    });
}

#[test]
fn one_and_five_percent_of_all_frames_lost() {
    for (percent, within) in [(1, 60), (5, 600)] {
        let what = format!("{percent} % of frames lost");
        assert_survives(&what, SECONDS(within), |plan, rng| {
            plan.conditions.loss = percent * 10;
            plan.card = [CardModel::EDK2_VIRTIO, CardModel::UBOOT_VIRTIO][rng.below(2) as usize];
        });
    }
}

#[test]
fn a_path_that_is_pulled_for_good() {
    assert_survives("one of two paths pulled", SECONDS(20), |plan, rng| {
        with_two_paths(plan);
        let path = rng.below(2) as usize;
        // The first path carries the second script, too.
        plan.faults = vec![fault(FaultKind::CableOut(path), SECONDS(3600), rng)];
    });
}

#[test]
fn paths_that_are_pulled_in_turns() {
    assert_survives("two paths pulled in turns", SECONDS(120), |plan, rng| {
        with_two_paths(plan);
        plan.disk_size = 8 << 20;
        plan.faults = (0..4)
            .map(|turn| Fault {
                at: 5_000 + turn * 300_000,
                kind: FaultKind::CableOut(turn % 2),
                lasts: Duration::from_millis(9_000 + rng.below(4_000)),
            })
            .collect();
    });
}

#[test]
fn everything_at_once() {
    assert_survives("all of it", SECONDS(300), |plan, rng| {
        with_two_paths(plan);
        plan.conditions = Conditions {
            latency: Duration::from_micros(50 + rng.below(5_000)),
            jitter: Duration::from_micros(rng.below(500)),
            loss: rng.below(20) as u32,
            duplication: rng.below(20) as u32,
        };
        plan.drop_every = Some(200_000 + rng.below(800_000) as usize);
        let kinds = [
            FaultKind::TargetDies,
            FaultKind::TargetHangs,
            FaultKind::CableOut(0),
            FaultKind::CableOut(1),
        ];
        plan.faults = (0..4)
            .map(|_| {
                let kind = kinds[rng.below(4) as usize];
                let lasts = Duration::from_millis(rng.below(10_000));
                fault(kind, lasts, rng)
            })
            .collect();
        plan.faults.sort_by_key(|fault| fault.at);
    });
}
