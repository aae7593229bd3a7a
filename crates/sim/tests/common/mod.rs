//! What the tests of whole boots share: scripts, seeds and verdicts.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bowline_sim::world::{Plan, World};

/// The script of the design, whose second half is chained from the server.
pub(crate) const FIRST: &str = "#!ipxe
echo script started
set user-class:hex 04:69:a0:45:43
set username user
set password password
set reverse-username target
set reverse-password secret
dhcp
chain http://192.168.1.1/boot.ipxe || goto fail
:fail
echo Opening shell
shell
";
pub(crate) const SECOND: &str = r"#!ipxe
sanhook --no-describe iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1 || goto fail
sanboot --no-describe --filename \EFI\debian\grubaa64.efi || goto fail
:fail
echo chained script failed
";

/// Runs `check` for many seeds, `usual` ones unless told otherwise, and says which one failed.
pub(crate) fn for_seeds(usual: u64, check: impl Fn(u64)) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect("a number"))
    };
    let seeds = match number("BOWLINE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BOWLINE_SEEDS").unwrap_or(usual),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(seed))) {
            eprintln!("failed with seed {seed}: replay with BOWLINE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

pub(crate) fn plan(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.files.insert("/boot.ipxe".into(), SECOND.into());
    plan
}

pub(crate) fn assert_boots(plan: &Plan) -> (World, String) {
    let world = World::new(plan);
    let console = world.boot(FIRST);
    assert!(world.booted.get(), "{plan:?}\n{console}");
    (world, console)
}
