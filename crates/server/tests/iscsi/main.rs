//! The iSCSI service over loopback, by our own initiator.

mod access;
mod client;
mod formats;
mod operation;
mod peers;
mod shared;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bowline_iscsi::Authentication;
use bowline_iscsi::initiator::{Closed, Config, Error, Event, Transfer};
use bowline_iscsi::pdu::HEADER_LENGTH;
use bowline_scsi::{Capacity, Cdb, Sense, Status};

use client::{Attempt, Client, IMAGE_LEN, Site, TARGET, USER, attempt};

/// Bytes that tell where they belong.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n / 512) as u8 ^ (n % 251) as u8 ^ seed)
        .collect()
}

#[test]
fn a_disk_is_found_written_flushed_and_read() {
    let site = Site::new();
    let (mut client, login) = attempt("open").login(&site).unwrap();
    assert_eq!(login.authentication, Authentication::None);

    let capacity = client.run(
        1,
        Cdb::ReadCapacity16 {
            allocation_length: 32,
        },
        Transfer::Read(32),
    );
    let capacity = Capacity::parse16(&capacity.data).unwrap();
    assert_eq!(
        (capacity.blocks, capacity.block_size),
        (IMAGE_LEN / 512, 512)
    );

    let data = pattern(1, 64 * 512);
    client.write(100, &data);
    assert_eq!(client.read(100, 64), data);
    assert_eq!(client.read(99, 1), [0; 512]);
    let flush = client.run(1, Cdb::flush(), Transfer::None);
    assert_eq!(flush.status, Status::GOOD);
    let image = fs::read(site.image("open")).unwrap();
    assert!(image[100 * 512..164 * 512] == data);
    assert_eq!(client.logout(), Closed::LoggedOut);

    let (mut again, _) = attempt("open").login(&site).unwrap();
    assert_eq!(again.read(100, 64), data);
}

#[test]
fn large_transfers_and_many_commands_at_once() {
    let site = Site::new();
    let (mut client, _) = attempt("open").login(&site).unwrap();
    let data = pattern(2, 8 << 20);
    client.write(0, &data);
    assert!(client.read(0, 16384) == data);

    let tasks: Vec<_> = (0..200)
        .map(|n: u32| {
            let (lba, blocks) = (n * 80 % 16000, n % 64 + 1);
            let read = Transfer::Read(blocks * 512);
            (
                client.submit(1, Cdb::read(lba.into(), blocks), read),
                lba as usize,
                blocks as usize,
            )
        })
        .collect();
    for (task, lba, blocks) in tasks {
        let completion = client.finish(task).unwrap();
        assert!(
            completion.data == data[lba * 512..(lba + blocks) * 512],
            "block {lba}"
        );
    }
}

#[test]
fn both_ends_prove_themselves() {
    let site = Site::new();
    let one = Attempt {
        ours: Some(USER),
        ..attempt("oneway")
    };
    assert_eq!(
        one.login(&site).unwrap().1.authentication,
        Authentication::OneWay
    );
    let both = Attempt {
        ours: Some(USER),
        theirs: Some(TARGET),
        ..attempt("mutual")
    };
    let (mut client, login) = both.login(&site).unwrap();
    assert_eq!(login.authentication, Authentication::Mutual);
    assert_eq!(client.read(0, 1), [0; 512]);
    // An initiator that does not ask for the target's proof gets in, too.
    let half = Attempt {
        ours: Some(USER),
        isid: 1,
        ..attempt("mutual")
    };
    assert_eq!(
        half.login(&site).unwrap().1.authentication,
        Authentication::OneWay
    );
}

#[test]
fn who_cannot_prove_himself_stays_out() {
    let site = Site::new();
    let wrong = |name, secret| Attempt {
        ours: Some((name, secret)),
        ..attempt("oneway")
    };
    for (attempt, expected) in [
        (
            wrong("user", "password of another"),
            Error::AuthenticationFailed,
        ),
        (
            wrong("nobody", "password of the user"),
            Error::AuthenticationFailed,
        ),
        (
            wrong("user", "secret of the target"),
            Error::AuthenticationFailed,
        ),
        (attempt("oneway"), Error::AuthenticationRequired),
        (attempt("mutual"), Error::AuthenticationRequired),
        (attempt("missing"), Error::TargetNotFound),
    ] {
        assert_eq!(attempt.login(&site).err(), Some(expected), "{attempt:?}");
    }
    // The other direction: the initiator does not believe the target.
    for (theirs, expected) in [
        (
            ("target", "some other secret"),
            Error::ReverseSecretMismatch,
        ),
        (
            ("impostor", TARGET.1),
            Error::ReverseNameMismatch {
                received: "target".into(),
            },
        ),
    ] {
        let attempt = Attempt {
            ours: Some(USER),
            theirs: Some(theirs),
            ..attempt("mutual")
        };
        assert_eq!(attempt.login(&site).err(), Some(expected), "{attempt:?}");
    }
    let none = Attempt {
        ours: Some(USER),
        theirs: Some(TARGET),
        ..attempt("oneway")
    };
    assert!(
        none.login(&site).is_err(),
        "the target has no secret to prove itself with"
    );
    // And after all that the right ones still work.
    Attempt {
        ours: Some(USER),
        ..attempt("oneway")
    }
    .login(&site)
    .unwrap();
}

#[test]
fn a_read_only_disk_and_a_disk_that_is_not_there() {
    let site = Site::new();
    let (mut client, _) = attempt("open").login(&site).unwrap();
    let write = client.run(2, Cdb::write(0, 1), Transfer::Write(vec![1; 4096]));
    assert_eq!(
        (write.status, write.sense),
        (Status::CHECK_CONDITION, Some(Sense::WRITE_PROTECTED))
    );
    let read = client.run(2, Cdb::read(IMAGE_LEN / 4096 - 1, 1), Transfer::Read(4096));
    assert_eq!(read.data, [0; 4096]);
    let beyond = client.run(2, Cdb::read(IMAGE_LEN / 4096, 1), Transfer::Read(4096));
    assert_eq!(beyond.sense, Some(Sense::LBA_OUT_OF_RANGE));
    let absent = client.run(7, Cdb::TestUnitReady, Transfer::None);
    assert_eq!(absent.sense, Some(Sense::LOGICAL_UNIT_NOT_SUPPORTED));
    // Too little data for the command: what came is written in whole blocks.
    client.write(10, &[9; 1024]);
    client.run(1, Cdb::write(10, 2), Transfer::Write(vec![5; 512]));
    assert_eq!(client.read(10, 2), [[5; 512], [9; 512]].concat());
}

#[test]
fn discovery_lists_the_targets_to_anybody() {
    let site = Site::new();
    let isid = bowline_iscsi::Isid::random([9, 9, 9], 0);
    let config = Config::discovery("iqn.2026-01.com.example:host", isid, [3; 33]);
    let (mut client, _) = Client::login(site.address, config).unwrap();
    let names = client.targets();
    let expected =
        ["gone", "mutual", "oneway", "open"].map(|name| format!("iqn.2026-01.com.example:{name}"));
    assert_eq!(names, expected);
}

/// RFC 7143 §6.3.5: the same initiator with the same ISID takes the place of its older session;
/// with another ISID it has two.
#[test]
fn a_session_is_reinstated() {
    let site = Site::new();
    let (mut first, _) = attempt("open").login(&site).unwrap();
    let (mut other, _) = Attempt {
        isid: 5,
        ..attempt("open")
    }
    .login(&site)
    .unwrap();
    let initiator = "iqn.2026-01.com.example:another";
    let (mut stranger, _) = Attempt {
        initiator,
        ..attempt("open")
    }
    .login(&site)
    .unwrap();
    first.write(0, &[1; 512]);
    let (mut second, _) = attempt("open").login(&site).unwrap();
    assert!(matches!(first.closed(), Closed::Failed(_)));
    for client in [&mut second, &mut other, &mut stranger] {
        assert_eq!(client.read(0, 1), [1; 512]);
    }
}

#[test]
fn garbage_ends_one_connection_and_nothing_else() {
    let site = Site::new();
    let (mut client, _) = attempt("open").login(&site).unwrap();
    let mut state = 1_u64;
    for round in 0..40 {
        let mut garbage = vec![0_u8; HEADER_LENGTH * (1 + round % 5)];
        for byte in &mut garbage {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 40) as u8;
        }
        if round % 2 == 0 {
            // A login request by its first byte, so that more than the first check is met.
            garbage[0] = 0x43;
            garbage[4..8].fill(0);
        }
        let mut stream = TcpStream::connect(site.address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let _ = stream.write_all(&garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // The server ends it, by a close or by a reset, and does not wait for more.
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(client.read(0, 1), [0; 512]);
}

#[test]
fn who_does_not_log_in_is_shown_out() {
    let time = Duration::from_millis(300);
    let site = Site::with(|limits| limits.login_time_max = time);
    let start = Instant::now();
    let mut silent = TcpStream::connect(site.address).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).unwrap();
    assert!(
        start.elapsed() >= time && start.elapsed() < time * 10,
        "{:?}",
        start.elapsed()
    );
    // Who has logged in may be silent.
    let (mut client, _) = attempt("open").login(&site).unwrap();
    std::thread::sleep(time * 2);
    assert_eq!(client.read(0, 1), [0; 512]);
}

#[test]
fn connections_are_counted() {
    let site = Site::with(|limits| limits.connections_max = 2);
    let sessions: Vec<_> = (0..2)
        .map(|isid| {
            Attempt {
                isid,
                ..attempt("open")
            }
            .login(&site)
            .unwrap()
        })
        .collect();
    let refused = Attempt {
        isid: 2,
        ..attempt("open")
    }
    .login(&site);
    assert_eq!(refused.err(), Some(Error::ConnectionClosed));
    drop(sessions);
    let deadline = Instant::now() + Duration::from_secs(5);
    let third = Attempt {
        isid: 2,
        ..attempt("open")
    };
    while third.login(&site).is_err() {
        assert!(Instant::now() < deadline, "the places were not given back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// An initiator that asks for much and reads nothing costs the limits' memory and hinders nobody;
/// when it reads again, all is there.
/// When all that was held back goes out at once, the commands that waited for it begin.
#[test]
fn reads_go_on_when_a_full_output_drains_at_once() {
    let site = Site::with(|limits| limits.output_bytes_max = 64 * 1024);
    let (mut client, _) = attempt("open").login(&site).unwrap();
    let data = pattern(3, 1 << 20);
    client.write(0, &data);
    for _ in 0..5 {
        let read = || Transfer::Read(1 << 20);
        let tasks: Vec<_> = (0..30)
            .map(|_| client.submit(1, Cdb::read(0, 2048), read()))
            .collect();
        // The output is full before any of it is taken.
        std::thread::sleep(Duration::from_millis(100));
        for task in tasks {
            assert!(client.finish(task).unwrap().data == data);
        }
    }
}

#[test]
fn a_slow_reader_hinders_nobody() {
    let site = Site::with(|limits| {
        limits.output_bytes_max = 256 * 1024;
        limits.task_bytes_max = 1024 * 1024;
    });
    let (mut slow, _) = attempt("open").login(&site).unwrap();
    let data = pattern(3, 16 << 20);
    for (n, part) in data.chunks(1 << 20).enumerate() {
        slow.write(n as u64 * 2048, part);
    }
    let read = |n: u64| (Cdb::read(n * 2048, 2048), Transfer::Read(1 << 20));
    let tasks: Vec<_> = (0..16)
        .map(read)
        .map(|(cdb, to)| slow.submit(1, cdb, to))
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let (mut quick, _) = Attempt {
        isid: 1,
        ..attempt("open")
    }
    .login(&site)
    .unwrap();
    assert!(quick.read(0, 8) == data[..4096]);
    for (task, part) in tasks.into_iter().zip(data.chunks(1 << 20)) {
        assert!(slow.finish(task).unwrap().data == part);
    }
}

/// Commands that have arrived are answered before the server ends, and idle sessions do not keep
/// it from ending.
#[test]
fn shutdown_answers_what_is_under_way() {
    let mut site = Site::new();
    let (idle, _) = attempt("open").login(&site).unwrap();
    let (mut busy, _) = Attempt {
        isid: 1,
        ..attempt("open")
    }
    .login(&site)
    .unwrap();
    let data = pattern(4, 4 << 20);
    busy.write(0, &data);
    let took = site.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(matches!(
        busy.wait(|event| matches!(event, Event::LogoutRequested(_))),
        Event::LogoutRequested(within) if within > Duration::ZERO
    ));
    assert!(matches!(busy.closed(), Closed::Failed(_)));
    drop(idle);
    assert!(fs::read(site.image("open")).unwrap()[..4 << 20] == data);
}
