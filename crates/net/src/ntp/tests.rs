//! Answers by hand, and questions to a server made by hand.

use std::time::Duration;

use super::{Answer, NtpError, PAUSES, PORT, Stamps, Time, ask, read, request};
use crate::testing::{Card, Faults, Net, SERVER, at};
use crate::{Stack, UdpSocket};

const COOKIE: u64 = 0x0102_0304_0506_0708;
/// 2026-11-22 12:00:00 UTC since 1900.
const NOON: u32 = 1_795_348_800 + 2_208_988_800_u64 as u32;

/// An answer of a server of stratum 2, to be spoilt.
fn answer(cookie: u64) -> Vec<u8> {
    let mut message = vec![0; 48];
    message[..2].copy_from_slice(&[0x24, 2]);
    message[24..32].copy_from_slice(&cookie.to_be_bytes());
    message[32..36].copy_from_slice(&NOON.to_be_bytes());
    message[40..44].copy_from_slice(&NOON.to_be_bytes());
    // Half a second after it got the question.
    message[44..48].copy_from_slice(&0x8000_0000_u32.to_be_bytes());
    message
}

#[test]
fn only_the_answer_to_the_question_counts() {
    let good = answer(COOKIE);
    assert!(matches!(read(&good, COOKIE), Some(Answer::Time(_))));
    for (index, value) in [
        // A broadcast, a client, a control message, versions 0 and 5.
        (0, 0x25),
        (0, 0x23),
        (0, 0x26),
        (0, 0x04),
        (0, 0x2c),
        // Another question's origin timestamp.
        (24, 0),
        (31, 9),
    ] {
        let mut bad = good.clone();
        bad[index] = value;
        assert_eq!(read(&bad, COOKIE), None, "{index}: {value:#x}");
    }
    for length in 0..48 {
        assert_eq!(read(&good[..length], COOKIE), None, "{length}");
    }
}

#[test]
fn who_does_not_know_the_time_is_not_believed() {
    for (index, value) in [(0, 0xe4), (1, 16), (1, 255)] {
        let mut message = answer(COOKIE);
        message[index] = value;
        let said = read(&message, COOKIE);
        assert_eq!(said, Some(Answer::NotSynchronized), "{index}: {value:#x}");
    }
    let mut message = answer(COOKIE);
    message[40..].fill(0);
    assert_eq!(read(&message, COOKIE), Some(Answer::NotSynchronized));
    let mut message = answer(COOKIE);
    message[1] = 0;
    message[12..16].copy_from_slice(b"DENY");
    assert_eq!(read(&message, COOKIE), Some(Answer::Kiss("DENY".into())));
}

#[test]
fn eras_follow_each_other() {
    let year = |seconds: u32| {
        let mut message = answer(COOKIE);
        message[32..36].copy_from_slice(&seconds.to_be_bytes());
        message[40..44].copy_from_slice(&seconds.to_be_bytes());
        match read(&message, COOKIE) {
            Some(Answer::Time(Stamps { sent, .. })) => Some(sent.as_secs()),
            _ => None,
        }
    };
    // RFC 5905 figure 4: the last second of era 0 and the first ones of era 1.
    assert_eq!(year(u32::MAX), Some(2_085_978_495));
    assert_eq!(year(1), Some(2_085_978_497));
    // The middle of era 0 is where a timestamp begins to mean 1968: before 1970.
    assert_eq!(year(0x8000_0000), None);
    assert_eq!(year(0x7fff_ffff), Some(4_233_462_143));
}

/// Answers each question after the first `silent` ones with `reply`.
async fn serve(stack: Stack, silent: usize, reply: fn(u64) -> Vec<u8>) {
    let socket = UdpSocket::bind(&stack, Some(PORT), 4, 100).unwrap();
    for count in 0.. {
        let (question, client) = socket.receive().await;
        assert_eq!((question.len(), question[0]), (48, 0x23));
        assert!(question[1..40].iter().all(|byte| *byte == 0));
        let cookie = u64::from_be_bytes(question[40..].try_into().unwrap());
        assert_eq!(question, request(cookie));
        if count >= silent {
            stack.sleep(Duration::from_millis(500)).await;
            // Somebody who guesses comes first.
            socket.send(client, &answer(cookie ^ 1));
            socket.send(client, &reply(cookie));
        }
    }
}

fn time(silent: usize, reply: fn(u64) -> Vec<u8>) -> (Result<Time, NtpError>, Duration) {
    let net = Net::new(5, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    net.spawn(serve(server, silent, reply));
    let start = client.now();
    let time = net.run(ask(&client, at(SERVER, PORT)));
    (time, client.now() - start)
}

#[test]
fn a_server_tells_the_time() {
    let (said, took) = time(0, answer);
    let said = said.unwrap();
    assert_eq!(said.stratum, 2);
    // What the server took for itself does not count as delay.
    assert!(said.delay < Duration::from_millis(100), "{said:?}");
    assert_eq!(said.unix.as_secs(), 1_795_348_800);
    assert!(said.unix.subsec_millis() >= 500, "{said:?}");
    assert!(took < Duration::from_secs(1));
    let (said, took) = time(2, answer);
    assert_eq!(said.unwrap().unix.as_secs(), 1_795_348_800);
    assert!(took > PAUSES[0] + PAUSES[1], "{took:?}");
}

#[test]
fn silence_and_refusals_are_told() {
    let (said, took) = time(9, answer);
    let said = said.unwrap_err().to_string();
    assert_eq!(said, "no answer from the NTP server 192.168.1.1 for 14 s");
    assert_eq!(took.as_secs(), 14);
    let (said, took) = time(0, |cookie| {
        let mut message = answer(cookie);
        message[1] = 0;
        message[12..16].copy_from_slice(b"RATE");
        message
    });
    let said = said.unwrap_err().to_string();
    assert_eq!(said, "NTP server 192.168.1.1: it is asked too often (RATE)");
    assert!(took < Duration::from_secs(1), "not asked again");
}
