//! Whole boots over a seeded wire: the loader's own logic against our own server machines.
//!
//! A failing run prints its seed; `BOWLINE_SEED=<seed> cargo test -p bowline-sim` replays it, and
//! `BOWLINE_SEEDS=<count>` runs more of them.

mod common;

use std::time::Duration;

use bowline_net::Clock;
use bowline_sim::rng::Rng;
use bowline_sim::wire::{CardModel, Conditions};
use bowline_sim::world::{Plan, World};

use common::{FIRST, SECOND, assert_boots, for_seeds, plan};

/// Seeds of each.
const SEEDS: u64 = 40;

fn weather(rng: &mut Rng) -> Conditions {
    Conditions {
        latency: Duration::from_micros(20 + rng.below(2_000)),
        jitter: Duration::from_micros(rng.below(1_000)),
        loss: rng.below(30) as u32,
        duplication: rng.below(30) as u32,
    }
}

#[test]
fn a_quiet_wire_boots_and_says_so() {
    let (world, console) = assert_boots(&plan(1));
    for line in [
        "Bowline ",
        "script started",
        "net0: 192.168.1.100/24 gw 192.168.1.1",
        "http://192.168.1.1/boot.ipxe... ok",
        "CHAP: mutual",
        "Starting \\EFI\\debian\\grubaa64.efi from san 0x80",
        "bowline> ",
    ] {
        assert!(console.contains(line), "no `{line}` in\n{console}");
    }
    // Nothing waits for the sake of waiting: a second is a great deal on a wire of 50 us.
    assert!(
        world.wire.now() < Duration::from_secs(2),
        "{:?}\n{console}",
        world.wire.now()
    );
}

#[test]
fn loss_delay_reordering_and_duplication_only_cost_time() {
    for_seeds(SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let mut plan = plan(seed);
        plan.conditions = weather(&mut rng);
        plan.card = [
            CardModel::EDK2_VIRTIO,
            CardModel::SMALL_BOARD,
            CardModel::UBOOT_E1000,
        ][rng.below(3) as usize];
        assert_boots(&plan);
    });
}

#[test]
fn the_card_that_dies_of_overflow_lives() {
    for_seeds(SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let mut plan = plan(seed);
        plan.card = CardModel::UBOOT_VIRTIO;
        plan.conditions = Conditions {
            latency: Duration::from_micros(20 + rng.below(500)),
            ..Conditions::GOOD
        };
        plan.files.insert("/large".into(), vec![7; 4 << 20]);
        plan.files.insert(
            "/boot.ipxe".into(),
            SECOND
                .replace("#!ipxe", "#!ipxe\nimgfetch http://192.168.1.1/large")
                .into(),
        );
        let (world, console) = assert_boots(&plan);
        assert!(!world.card.is_dead(), "{console}");
        assert!(world.card.peak() <= 32);
    });
}

/// A portal that answers but has not got the disk is left for one that has.
#[test]
fn a_path_without_the_disk_is_left_for_another() {
    let uri = "iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1";
    for wrong in [uri.replace(":::1:", ":::7:"), uri.replace("disk1", "disk9")] {
        let mut plan = plan(1);
        let both = format!("{wrong} {}", uri.replace("1.1:", "1.2:"));
        plan.files
            .insert("/boot.ipxe".into(), SECOND.replace(uri, &both).into());
        let (world, console) = assert_boots(&plan);
        let took = world.wire.now();
        assert!(took < SECONDS(2), "{took:?}\n{console}");
    }
}

#[test]
fn the_same_seed_is_the_same_boot() {
    let run = || {
        let mut plan = plan(5);
        plan.conditions = weather(&mut Rng::new(5));
        let (world, _) = assert_boots(&plan);
        (world.wire.now(), world.wire.trace())
    };
    assert!(run() == run());
}

/// A boot that ends in the shell, with words that say why, within a stated (virtual) time.
fn assert_fails(plan: &Plan, script: &str, within: Duration, words: &[&str]) {
    let world = World::new(plan);
    let console = world.boot(script);
    assert!(!world.booted.get(), "{console}");
    for word in words {
        assert!(console.contains(word), "no `{word}` in\n{console}");
    }
    assert!(console.contains("bowline> "), "no shell in\n{console}");
    assert!(
        world.wire.now() < within,
        "took {:?}\n{console}",
        world.wire.now()
    );
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn failures_name_what_where_and_why_and_end_in_a_shell() {
    let good = plan(1);
    let wrong = |from: &str, to: &str| FIRST.replace(from, to);
    assert_fails(
        &good,
        &wrong("password password", "password wrong"),
        SECONDS(5),
        &["sanhook: ", TARGET_NAME, "192.168.1.1"],
    );
    assert_fails(
        &good,
        &wrong("reverse-password secret", "reverse-password wrong"),
        SECONDS(5),
        &["sanhook: ", TARGET_NAME],
    );
    let silent = Plan {
        with_dhcp: false,
        ..good.clone()
    };
    assert_fails(&silent, FIRST, SECONDS(30), &["dhcp: ", "net0"]);
    let elsewhere = |from: &str, to: &str| {
        let mut plan = good.clone();
        plan.files
            .insert("/boot.ipxe".into(), SECOND.replace(from, to).into());
        plan
    };
    assert_fails(
        &elsewhere("192.168.1.1:::1:", "192.168.1.1::3261:1:"),
        FIRST,
        SECONDS(5),
        &["sanhook: ", "refused", "192.168.1.1:3261"],
    );
    assert_fails(
        &elsewhere("disk1", "disk9"),
        FIRST,
        SECONDS(5),
        &["sanhook: ", "disk9"],
    );
    assert_fails(
        &elsewhere("grubaa64", "missing"),
        FIRST,
        SECONDS(5),
        &["missing.efi"],
    );
    assert_fails(
        &good,
        &wrong("boot.ipxe", "absent.ipxe"),
        SECONDS(5),
        &["absent.ipxe", "404"],
    );
    assert_fails(
        &good,
        "#!ipxe\ngoto nowhere\n",
        SECONDS(5),
        &["nowhere", "line 2"],
    );
}

const TARGET_NAME: &str = bowline_sim::world::TARGET;

/// The script that keeps storage apart: the disk over VLAN 2, all else untagged.
const STORAGE_APART: &str = "#!ipxe
set username user
set password password
set reverse-username target
set reverse-password secret
dhcp net0
vcreate --tag 2 net0
set net0-2/ip 192.168.2.50
ifopen net0-2
chain http://192.168.1.1/boot.ipxe ||
shell
";
const DISK_APART: &str = r"#!ipxe
sanboot --no-describe --filename \EFI\debian\grubaa64.efi iscsi:192.168.2.1:::1:iqn.2000-01.com.example:disk1
";

fn plan_apart(seed: u64) -> Plan {
    let mut plan = Plan::new(seed);
    plan.files.insert("/boot.ipxe".into(), DISK_APART.into());
    plan.storage_vlan = Some(2);
    plan
}

/// The two ports of an IPv4 TCP segment and the VLAN that it is in.
fn segment(frame: &[u8]) -> Option<(Option<u16>, [u16; 2])> {
    let field = |at: usize| Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?));
    let (vlan, at) = match field(12)? {
        0x8100 => (Some(field(14)? & 0xfff), 16),
        _ => (None, 12),
    };
    let is_tcp = field(at)? == 0x0800 && frame.get(at + 11) == Some(&6);
    let ports = [field(at + 22)?, field(at + 24)?];
    is_tcp.then_some((vlan, ports))
}

#[test]
fn storage_on_a_vlan_of_its_own_stays_there() {
    for_seeds(SEEDS, |seed| {
        let mut rng = Rng::new(seed);
        let mut plan = plan_apart(seed);
        match rng.below(3) {
            0 => plan.card = CardModel::UBOOT_VIRTIO,
            1 => plan.card = CardModel::SMALL_BOARD,
            _ => plan.conditions = weather(&mut rng),
        }
        let world = World::new(&plan);
        let console = world.boot(STORAGE_APART);
        assert!(world.booted.get(), "{plan:?}\n{console}");
        let (mut storage, mut other) = (0, 0);
        for (_, frame) in world.wire.trace() {
            let Some((vlan, ports)) = segment(&frame) else {
                continue;
            };
            let is_storage = ports.contains(&bowline_iscsi::PORT);
            assert_eq!(vlan, is_storage.then_some(2), "ports {ports:?}");
            *(if is_storage { &mut storage } else { &mut other }) += 1;
        }
        assert!(storage > 100 && other > 5, "{storage} and {other}");
    });
}

/// The switch has the storage server in another VLAN than the script says.
#[test]
fn a_vlan_that_does_not_answer_is_named() {
    let mut plan = plan_apart(1);
    plan.storage_vlan = Some(3);
    let console = World::new(&plan).boot(STORAGE_APART);
    assert!(
        console.contains("192.168.2.1 is not there: it did not answer ARP for 10 s on VLAN 2"),
        "{console}"
    );
    let script = "#!ipxe\nvcreate -t 2 net0\ndhcp net0-2\n";
    let console = World::new(&plan).boot(script);
    assert!(
        console.contains("net0-2: no DHCP server answered in 10 s (")
            && console.contains(") on VLAN 2 (does the switch port carry VLAN 2 tagged"),
        "{console}"
    );
}
