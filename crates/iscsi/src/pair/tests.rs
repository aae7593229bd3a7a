//! Whole sessions: login and its failures, data in every mode, in every cut, under damage.

use super::*;
use crate::initiator::{Closed, Error, Event, SessionType};
use crate::{Algorithm, Authentication, Residual, Status};

fn admission(credentials: &[(&str, &str)], reverse: Option<(&str, &str)>) -> Targets {
    let credentials = credentials
        .iter()
        .map(|(name, secret)| chap(name, secret))
        .collect();
    let reverse = reverse.map(|(name, secret)| chap(name, secret));
    let admission = Admission {
        credentials,
        reverse,
        portal_group_tag: 1,
        ..Admission::default()
    };
    Targets {
        admission,
        listings: Vec::new(),
    }
}

fn login(config: initiator::Config, targets: Targets) -> Pair {
    let mut pair = Pair::new(config, target::Config::default(), targets);
    pair.run();
    pair
}

fn with(credentials: Option<(&str, &str)>, reverse: Option<(&str, &str)>) -> initiator::Config {
    let of = |pair: Option<(&str, &str)>| pair.map(|(name, secret)| chap(name, secret));
    initiator::Config {
        credentials: of(credentials),
        reverse: of(reverse),
        ..initiator_config()
    }
}

const USER: (&str, &str) = ("user", "password");
const REVERSE: (&str, &str) = ("target", "secret of the target");

#[test]
fn login_without_authentication_takes_one_round_trip() {
    let pair = login(initiator_config(), Targets::default());
    let login = pair.login().unwrap();
    assert_eq!(login.authentication, Authentication::None);
    assert_eq!((login.tsih, login.portal_group_tag), (7, Some(0)));
    assert_eq!(pair.round_trips, 1);
    let agreed = &login.parameters;
    assert!(!agreed.initial_r2t && agreed.immediate_data);
    assert_eq!(agreed.max_send_data_segment_length, 262_144);
    let target::Event::LoggedIn(there) = &pair.target_events[0] else {
        panic!()
    };
    assert_eq!(there.initiator_name, INITIATOR);
    assert_eq!(there.target_name.as_deref(), Some(TARGET));
    let mut mirrored = there.parameters.clone();
    mirrored.max_recv_data_segment_length = agreed.max_send_data_segment_length;
    mirrored.max_send_data_segment_length = agreed.max_recv_data_segment_length;
    assert_eq!(mirrored, *agreed);
}

#[test]
fn chap_proves_one_or_both_with_every_algorithm() {
    for algorithm in Algorithm::STRONGEST_FIRST {
        for (reverse, expected) in [
            (None, Authentication::OneWay),
            (Some(REVERSE), Authentication::Mutual),
        ] {
            let mut config = with(Some(USER), reverse);
            config.chap_algorithms = vec![algorithm];
            let pair = login(config, admission(&[("other", "x"), USER], Some(REVERSE)));
            let login = pair
                .login()
                .unwrap_or_else(|| panic!("{:?}", pair.initiator_events));
            assert_eq!(login.authentication, expected);
            assert_eq!(login.algorithm, Some(algorithm));
            assert_eq!(pair.round_trips, 4);
            let target::Event::LoggedIn(there) = &pair.target_events[0] else {
                panic!()
            };
            assert_eq!(there.authentication, expected);
        }
    }
}

#[test]
fn the_strongest_algorithm_is_taken() {
    let pair = login(with(Some(USER), None), admission(&[USER], None));
    assert_eq!(pair.login().unwrap().algorithm, Some(Algorithm::Sha3_256));
}

#[test]
fn failed_logins_say_why_at_both_ends() {
    let wrong_name = Error::ReverseNameMismatch {
        received: "target".into(),
    };
    for (config, targets, error) in [
        (
            with(Some(("user", "wrong")), None),
            admission(&[USER], None),
            Error::AuthenticationFailed,
        ),
        (
            with(Some(("nobody", "password")), None),
            admission(&[USER], None),
            Error::AuthenticationFailed,
        ),
        (
            with(None, None),
            admission(&[USER], None),
            Error::AuthenticationRequired,
        ),
        (
            with(Some(USER), None),
            admission(&[], None),
            Error::ChapRefused,
        ),
        (
            with(Some(USER), Some(("target", "wrong"))),
            admission(&[USER], Some(REVERSE)),
            Error::ReverseSecretMismatch,
        ),
        (
            with(Some(USER), Some(("other", REVERSE.1))),
            admission(&[USER], Some(REVERSE)),
            wrong_name,
        ),
        (
            with(Some(USER), Some(REVERSE)),
            admission(&[USER], None),
            Error::AuthenticationFailed,
        ),
        // The target has one secret for both directions.
        (
            with(Some(USER), None),
            admission(&[USER], Some(("t", "password"))),
            Error::AuthenticationFailed,
        ),
    ] {
        let pair = login(config, targets);
        assert_eq!(pair.closed(), Some(&Closed::Failed(error)));
        assert!(pair.login().is_none());
        // What the target thinks does not matter where the initiator does not trust it.
        let logged_in = |event: &target::Event| matches!(event, target::Event::LoggedIn(_));
        assert!(!pair.target_events.iter().any(logged_in));
    }
}

#[test]
fn an_unknown_target_is_not_found() {
    let mut config = initiator_config();
    config.session = SessionType::Normal {
        target_name: "iqn.2000-01.com.example:none".into(),
    };
    let pair = login(config, Targets::default());
    assert_eq!(pair.closed(), Some(&Closed::Failed(Error::TargetNotFound)));
    assert!(matches!(
        pair.target_closed(),
        Some(target::Closed::LoginRefused {
            status: LoginStatus::NOT_FOUND,
            ..
        })
    ));
}

#[test]
fn one_secret_for_both_is_refused_before_anything_is_sent() {
    let config = with(Some(USER), Some(("target", "password")));
    assert!(matches!(
        Initiator::new(config, Duration::ZERO),
        Err(initiator::ConfigError::SameSecret)
    ));
}

#[test]
fn nobody_answers_its_own_challenge() {
    // Both ends drew the same random bytes: as if the target sent our challenge back.
    let mut config = with(Some(USER), Some(REVERSE));
    config.entropy = connected().entropy;
    let pair = login(config, admission(&[USER], Some(REVERSE)));
    assert_eq!(
        pair.closed(),
        Some(&Closed::Failed(Error::ReverseReflected))
    );
}

#[test]
fn discovery_lists_targets_over_several_responses() {
    let listings: Vec<_> = (0..200)
        .map(|index| Listing {
            name: format!("iqn.2000-01.com.example:disk{index}"),
            addresses: vec![
                "10.0.0.1:3260,1".parse().unwrap(),
                "[fe80::1]:3260,1".parse().unwrap(),
            ],
        })
        .collect();
    let mut config = initiator::Config::discovery(INITIATOR, Isid::random([1, 2, 3], 0), [1; 33]);
    config.max_recv_data_segment_length = 1024;
    let mut pair = login(
        config,
        Targets {
            listings,
            ..Targets::default()
        },
    );
    assert_eq!(pair.round_trips, 1);
    pair.initiator.send_targets(pair.now).unwrap();
    pair.run();
    let Some(Event::Targets(targets)) = pair.initiator_events.last() else {
        panic!("{:?}", pair.initiator_events)
    };
    assert_eq!(targets.len(), 200);
    assert_eq!(targets[199].name, "iqn.2000-01.com.example:disk199");
    assert_eq!(targets[199].addresses.len(), 2);
    assert!(pair.round_trips > 10);
}

#[test]
fn a_normal_session_sees_its_own_target_only() {
    let listing = |name: &str| Listing {
        name: name.into(),
        addresses: Vec::new(),
    };
    let listings = vec![listing("iqn.2000-01.com.example:other"), listing(TARGET)];
    let mut pair = login(
        initiator_config(),
        Targets {
            listings,
            ..Targets::default()
        },
    );
    pair.initiator.send_targets(pair.now).unwrap();
    pair.run();
    let Some(Event::Targets(targets)) = pair.initiator_events.last() else {
        panic!()
    };
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].name, TARGET);
}

/// Every combination of the keys that decide how data travels.
fn modes() -> Vec<initiator::Config> {
    let mut modes = Vec::new();
    for initial_r2t in [false, true] {
        for immediate_data in [false, true] {
            for digests in [false, true] {
                for (segment, burst, first) in [
                    (262_144, 1_048_576, 262_144),
                    (512, 1024, 512),
                    (1000, 5000, 3000),
                ] {
                    modes.push(initiator::Config {
                        initial_r2t,
                        immediate_data,
                        header_digest: digests,
                        data_digest: digests,
                        max_recv_data_segment_length: segment,
                        max_burst_length: burst,
                        first_burst_length: first,
                        ..initiator_config()
                    });
                }
            }
        }
    }
    modes
}

fn write_and_read_back(pair: &mut Pair, random: &mut Random, blocks: usize) {
    let data = random.bytes(blocks * BLOCK);
    let lba = random.below(BLOCKS - blocks) as u64;
    let done = pair.execute(
        Cdb::write(lba, blocks as u32),
        Transfer::Write(data.clone()),
    );
    assert_eq!((done.status, done.residual), (Status::GOOD, Residual::None));
    let done = pair.execute(
        Cdb::read(lba, blocks as u32),
        Transfer::Read(data.len() as u32),
    );
    assert_eq!((done.status, done.residual), (Status::GOOD, Residual::None));
    assert!(done.data == data);
}

#[test]
fn data_arrives_in_every_mode_and_cut() {
    let mut random = Random::new(1);
    for config in modes() {
        for cut in [Cut::Whole, Cut::Bytes, Cut::Random(Random::new(2))] {
            let target = target::Config {
                parameters: crate::Parameters {
                    max_recv_data_segment_length: 8192,
                    ..target::Config::default().parameters
                },
                ..target::Config::default()
            };
            let mut pair = Pair::new(config.clone(), target, Targets::default());
            pair.cut = cut;
            pair.run();
            // One byte at a time is slow: small commands say as much.
            let most = if matches!(pair.cut, Cut::Bytes) {
                20
            } else {
                150
            };
            for blocks in [0, 1, 2, 7, most] {
                write_and_read_back(&mut pair, &mut random, blocks);
            }
        }
    }
}

#[test]
fn many_commands_are_in_flight_and_end_in_any_order() {
    let mut pair = Pair::logged_in();
    pair.disk.hold = true;
    let tasks: Vec<_> = (0..100)
        .map(|lba| pair.submit(Cdb::read(lba, 1), Transfer::Read(BLOCK as u32)))
        .collect();
    pair.run();
    // The initiator's own limit.
    assert_eq!(pair.disk.held.len(), 32);
    assert_eq!(pair.initiator.in_flight(), 100);
    pair.disk.hold = false;
    while let Some(task) = pair.disk.held.pop() {
        let data = vec![0x5a; BLOCK];
        pair.target.respond(task, Response::data(data));
    }
    pair.run();
    for (index, task) in tasks.into_iter().enumerate() {
        let done = pair.outcome(task).unwrap().unwrap();
        let expected = if index < 32 {
            vec![0x5a; BLOCK]
        } else {
            pair.disk.bytes[index * BLOCK..][..BLOCK].to_vec()
        };
        assert!(done.data == expected, "{index}");
    }
}

#[test]
fn the_window_of_the_target_is_kept() {
    let target = target::Config {
        queue_depth: 3,
        ..target::Config::default()
    };
    let mut pair = Pair::new(initiator_config(), target, Targets::default());
    pair.run();
    pair.disk.hold = true;
    for lba in 0..10 {
        pair.submit(Cdb::read(lba, 1), Transfer::Read(BLOCK as u32));
    }
    pair.run();
    assert_eq!(pair.disk.held.len(), 3);
    let task = pair.disk.held.remove(0);
    pair.target.respond(task, Response::data(vec![0; BLOCK]));
    pair.run();
    assert_eq!(pair.disk.held.len(), 3);
    assert_eq!(pair.initiator.in_flight(), 9);
}

#[test]
fn write_data_on_the_way_is_bounded() {
    let target = target::Config {
        data_out_max: 8 * BLOCK as u32,
        parameters: crate::Parameters {
            immediate_data: false,
            ..crate::Parameters::default()
        },
        ..target::Config::default()
    };
    let mut pair = Pair::new(initiator_config(), target, Targets::default());
    pair.run();
    // A command larger than the bound runs alone; the rest follows in turn.
    let lengths = [4, 4, 20, 1, 8, 3];
    let tasks: Vec<_> = lengths
        .iter()
        .map(|&blocks| {
            pair.submit(
                Cdb::write(0, blocks),
                Transfer::Write(vec![1; blocks as usize * BLOCK]),
            )
        })
        .collect();
    pair.run();
    for task in tasks {
        assert_eq!(pair.outcome(task).unwrap().unwrap().status, Status::GOOD);
    }
    assert_eq!(pair.target.in_flight(), 0);
}

#[test]
fn residuals_tell_the_difference() {
    let mut pair = Pair::logged_in();
    for (cdb, announced, expected, length) in [
        (Cdb::read(0, 1), 0, Residual::Overflow(512), 0),
        (Cdb::read(0, 1), 200, Residual::Overflow(312), 200),
        (Cdb::read(0, 1), 10_000, Residual::Underflow(9488), 512),
        (Cdb::read(0, 2), 512, Residual::Overflow(512), 512),
        (Cdb::ReadCapacity10, 8, Residual::None, 8),
        (
            Cdb::ReadCapacity16 {
                allocation_length: 32,
            },
            64,
            Residual::Underflow(32),
            32,
        ),
    ] {
        let done = pair.execute(cdb, Transfer::Read(announced));
        assert_eq!(done.status, Status::GOOD);
        assert_eq!(done.residual, expected, "{cdb:?} {announced}");
        assert_eq!(done.data.len(), length);
    }
    for (blocks, announced, expected) in [
        (1, 0, Residual::Overflow(512)),
        (1, 200, Residual::Overflow(312)),
        (1, 10_000, Residual::Underflow(9488)),
        (2, 512, Residual::Overflow(512)),
    ] {
        pair.disk.bytes[..2 * BLOCK].fill(0);
        let done = pair.execute(
            Cdb::write(0, blocks),
            Transfer::Write(vec![0xaa; announced]),
        );
        assert_eq!(done.status, Status::GOOD);
        assert_eq!(done.residual, expected, "{blocks} {announced}");
        // Whole blocks only, and no more than the command says.
        let written = announced.min(blocks as usize * BLOCK) / BLOCK * BLOCK;
        assert!(pair.disk.bytes[..written].iter().all(|&byte| byte == 0xaa));
        assert!(
            pair.disk.bytes[written..2 * BLOCK]
                .iter()
                .all(|&byte| byte == 0)
        );
    }
}

#[test]
fn refusals_come_with_sense_data() {
    let mut pair = Pair::logged_in();
    let done = pair.execute(Cdb::read(BLOCKS as u64, 1), Transfer::Read(512));
    assert_eq!(done.status, Status::CHECK_CONDITION);
    assert_eq!(done.sense, Some(Sense::LBA_OUT_OF_RANGE));
    assert_eq!(done.residual, Residual::Underflow(512));
    // A refused write: its data is not asked for, or dropped.
    for length in [512, 1_000_000] {
        let done = pair.execute(
            Cdb::write(BLOCKS as u64, 1),
            Transfer::Write(vec![0; length]),
        );
        assert_eq!(done.sense, Some(Sense::LBA_OUT_OF_RANGE));
    }
    assert!(pair.closed().is_none());
}

#[test]
fn an_abort_ends_a_command_at_both_ends() {
    let mut pair = Pair::logged_in();
    pair.disk.hold = true;
    let task = pair.submit(Cdb::read(0, 1), Transfer::Read(512));
    let other = pair.submit(Cdb::read(1, 1), Transfer::Read(512));
    pair.run();
    pair.initiator.abort(pair.now, task);
    pair.run();
    assert_eq!(pair.outcome(task), Some(Err(TaskError::Aborted)));
    let aborted = pair.disk.held.remove(0);
    assert!(
        pair.target_events
            .contains(&target::Event::Aborted(aborted))
    );
    // The initiator hears that it is gone only when the service is done with it.
    assert_eq!(pair.target.in_flight(), 3);
    pair.target.respond(aborted, Response::data(vec![0; 512]));
    pair.run();
    assert_eq!(pair.target.in_flight(), 1);
    let held = pair.disk.held.remove(0);
    pair.target.respond(held, Response::data(vec![3; 512]));
    pair.run();
    assert_eq!(pair.outcome(other).unwrap().unwrap().data, vec![3; 512]);
    assert!(pair.closed().is_none());
}

#[test]
fn a_silent_command_times_out_and_a_silent_target_ends_the_session() {
    let mut pair = Pair::logged_in();
    assert_eq!(pair.initiator.poll_timeout(), None);
    pair.disk.hold = true;
    let task = pair.submit(Cdb::TestUnitReady, Transfer::None);
    pair.run();
    pair.now = pair.initiator.poll_timeout().unwrap();
    assert_eq!(pair.now, Duration::from_secs(1030));
    pair.initiator.handle_timeout(pair.now);
    pair.run();
    assert_eq!(pair.outcome(task), Some(Err(TaskError::TimedOut)));
    assert!(pair.closed().is_none());
    pair.now = pair.initiator.poll_timeout().unwrap();
    pair.initiator.handle_timeout(pair.now);
    pair.run();
    assert_eq!(pair.closed(), Some(&Closed::Failed(Error::Unresponsive)));
}

/// A ping tells a slow disk from a dead target (RFC 7143 section 11.18).
#[test]
fn a_target_that_is_asked_whether_it_lives_may_be_slow_but_not_silent() {
    let interval = Duration::from_secs(4);
    let mut config = initiator_config();
    config.ping_interval = Some(interval);
    let mut pair = Pair::new(config, target::Config::default(), Targets::default());
    pair.run();
    pair.disk.hold = true;
    let task = pair.submit(Cdb::TestUnitReady, Transfer::None);
    pair.run();
    for _ in 0..5 {
        pair.now += interval;
        assert_eq!(pair.initiator.poll_timeout(), Some(pair.now));
        pair.initiator.handle_timeout(pair.now);
        pair.run();
        assert_eq!((pair.outcome(task), pair.closed()), (None, None));
    }
    // Nobody carries the bytes any more.
    pair.now += interval;
    pair.initiator.handle_timeout(pair.now);
    assert!(pair.initiator.poll_output().is_some(), "the ping");
    pair.now += interval;
    pair.initiator.handle_timeout(pair.now);
    assert!(pair.initiator.is_closed());
}

#[test]
fn a_late_answer_to_an_abort_keeps_the_session() {
    let mut pair = Pair::logged_in();
    pair.disk.hold = true;
    let task = pair.submit(Cdb::read(0, 1), Transfer::Read(512));
    pair.run();
    pair.now += Duration::from_secs(30);
    pair.initiator.handle_timeout(pair.now);
    // The answer and the abort cross on the wire.
    let held = pair.disk.held.remove(0);
    pair.target.respond(held, Response::data(vec![0; 512]));
    pair.run();
    assert_eq!(pair.outcome(task), Some(Err(TaskError::TimedOut)));
    pair.disk.hold = false;
    assert_eq!(
        pair.execute(Cdb::TestUnitReady, Transfer::None).status,
        Status::GOOD
    );
}

#[test]
fn logins_do_not_wait_for_ever() {
    let mut pair = Pair::new(
        initiator_config(),
        target::Config::default(),
        Targets::default(),
    );
    assert_eq!(pair.target.poll_timeout(), Some(Duration::from_secs(1015)));
    pair.now = pair.initiator.poll_timeout().unwrap();
    pair.initiator.handle_timeout(pair.now);
    let events: Vec<_> = core::iter::from_fn(|| pair.initiator.poll_event()).collect();
    let timeout = Closed::Failed(Error::LoginTimeout(Duration::from_secs(10)));
    assert_eq!(events, [Event::Closed(timeout)]);
    pair.target.handle_timeout(Duration::from_secs(1015));
    assert_eq!(
        pair.target.poll_event(),
        Some(target::Event::Closed(target::Closed::LoginTimeout))
    );
}

#[test]
fn logout_ends_both() {
    let mut pair = Pair::logged_in();
    pair.disk.hold = true;
    let task = pair.submit(Cdb::TestUnitReady, Transfer::None);
    pair.run();
    pair.initiator.logout(pair.now);
    pair.run();
    assert_eq!(pair.outcome(task), Some(Err(TaskError::SessionClosed)));
    assert_eq!(pair.closed(), Some(&Closed::LoggedOut));
    assert_eq!(pair.target_closed(), Some(&target::Closed::LoggedOut));
    assert!(
        pair.initiator
            .submit(
                pair.now,
                initiator::Command {
                    lun: Lun::ZERO,
                    cdb: [0; 16],
                    transfer: Transfer::None,
                    timeout: None,
                }
            )
            .is_err()
    );
}

#[test]
fn a_lost_connection_completes_everything() {
    let mut pair = Pair::logged_in();
    let tasks: Vec<_> = (0..40)
        .map(|_| pair.submit(Cdb::TestUnitReady, Transfer::None))
        .collect();
    pair.initiator.handle_close(pair.now);
    pair.run();
    for task in tasks {
        assert_eq!(pair.outcome(task), Some(Err(TaskError::SessionClosed)));
    }
    assert_eq!(
        pair.closed(),
        Some(&Closed::Failed(Error::ConnectionClosed))
    );
}

#[test]
fn pings_are_answered_and_silence_ends_the_connection() {
    let interval = Duration::from_secs(30);
    let target = target::Config {
        ping_interval: Some(interval),
        ..target::Config::default()
    };
    let mut pair = Pair::new(initiator_config(), target, Targets::default());
    pair.run();
    for _ in 0..3 {
        pair.now = pair.target.poll_timeout().unwrap();
        pair.target.handle_timeout(pair.now);
        pair.run();
        assert!(pair.target_closed().is_none());
    }
    for _ in 0..2 {
        pair.now = pair.target.poll_timeout().unwrap();
        pair.target.handle_timeout(pair.now);
        pair.target.poll_output();
    }
    pair.run();
    assert_eq!(pair.target_closed(), Some(&target::Closed::Unresponsive));
}

/// Damage anywhere in a stream: the receiver notices or lives with it, never panics, and always
/// comes to rest.
#[test]
fn damaged_streams_are_survived() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let mut config = modes().swap_remove(random.below(24));
        if random.below(2) == 0 {
            config.credentials = Some(chap(USER.0, USER.1));
            config.reverse = Some(chap(REVERSE.0, REVERSE.1));
        }
        let targets = admission(
            if config.credentials.is_some() {
                &[USER]
            } else {
                &[]
            },
            config.credentials.is_some().then_some(REVERSE),
        );
        let mut pair = Pair::new(config, target::Config::default(), targets);
        let damage_initiator = random.below(2) == 0;
        let mut left = 1 + random.below(3);
        for round in 0..60 {
            for (towards_target, bytes) in [
                (true, pair.initiator.poll_output()),
                (false, pair.target.poll_output()),
            ] {
                let Some(mut bytes) = bytes else { continue };
                if towards_target != damage_initiator && left > 0 && random.below(4) == 0 {
                    left -= 1;
                    damage(&mut bytes, &mut random);
                }
                if towards_target {
                    pair.target.handle_input(pair.now, &bytes);
                    pair.serve();
                } else {
                    pair.initiator.handle_input(pair.now, &bytes);
                }
            }
            while pair.initiator.poll_event().is_some() {}
            if pair.initiator.is_logged_in() && round % 4 == 0 {
                let blocks = random.below(40);
                pair.submit(
                    Cdb::write(0, blocks as u32),
                    Transfer::Write(vec![1; blocks * BLOCK]),
                );
                pair.submit(
                    Cdb::read(0, blocks as u32),
                    Transfer::Read((blocks * BLOCK) as u32),
                );
            }
        }
        // Whatever happened, time ends it: nothing waits for ever, nothing spins.
        for _ in 0..10_000 {
            let next = [pair.initiator.poll_timeout(), pair.target.poll_timeout()];
            let Some(next) = next.into_iter().flatten().min() else {
                break;
            };
            pair.now = pair.now.max(next);
            pair.initiator.handle_timeout(pair.now);
            pair.target.handle_timeout(pair.now);
            while pair.initiator.poll_event().is_some() {}
        }
        assert_eq!(pair.initiator.poll_timeout(), None, "seed {seed}");
    }
}

fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    match random.below(4) {
        0 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        // Headers are where it hurts.
        1 => {
            let at = random.below(bytes.len().min(48));
            bytes[at] = random.below(256) as u8;
        }
        2 => bytes.truncate(random.below(bytes.len())),
        _ => {
            let at = random.below(bytes.len());
            let count = 1 + random.below(100);
            let extra = random.bytes(count);
            bytes.splice(at..at, extra);
        }
    }
}
