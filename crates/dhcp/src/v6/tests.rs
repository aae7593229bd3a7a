//! The client against a server made by hand.

use super::client::{Client, Config, Event, Failure};
use super::wire::{Message, MessageType, code};
use crate::wire::Architecture;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);
const DNS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53);

fn config(wants_address: bool) -> Config {
    Config {
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
        uuid: None,
        wants_address,
        architecture: Architecture::ARM64,
        user_class: b"iPXE".to_vec(),
        seed: 1,
        give_up_after: Duration::from_secs(10),
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The message that the client sends now.
fn sent(client: &mut Client, now: Duration) -> Option<Message> {
    client.handle_timeout(now);
    Some(Message::parse(&client.poll_output()?).unwrap())
}

/// An association with an address, or with a status.
fn association(asked: &Message, inner: (u16, Vec<u8>)) -> (u16, Vec<u8>) {
    let mut value = asked.option(code::IA_NA).unwrap()[..4].to_vec();
    value.extend([0; 8]);
    value.extend(inner.0.to_be_bytes());
    value.extend((inner.1.len() as u16).to_be_bytes());
    value.extend(inner.1);
    (code::IA_NA, value)
}

fn given(valid: u32) -> (u16, Vec<u8>) {
    let lifetimes = [valid.to_be_bytes(), valid.to_be_bytes()].concat();
    (
        code::IA_ADDRESS,
        [&ADDRESS.octets()[..], &lifetimes].concat(),
    )
}

fn answer(asked: &Message, kind: MessageType, more: Vec<(u16, Vec<u8>)>) -> Message {
    let client = asked.option(code::CLIENT_ID).unwrap().to_vec();
    let mut options = vec![
        (code::CLIENT_ID, client),
        (code::SERVER_ID, b"server".to_vec()),
    ];
    options.extend(more);
    Message {
        kind,
        transaction: asked.transaction,
        options,
    }
}

#[test]
fn an_address_in_four_messages() {
    let mut client = Client::new(config(true), Duration::ZERO);
    let solicit = sent(&mut client, Duration::ZERO).unwrap();
    assert_eq!(solicit.kind, MessageType::Solicit);
    // DUID-LL (RFC 8415 section 11.4).
    let identifier = [0, 3, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56];
    assert_eq!(solicit.option(code::CLIENT_ID), Some(&identifier[..]));
    assert_eq!(solicit.option(code::USER_CLASS), Some(&b"\0\x04iPXE"[..]));
    assert_eq!(
        solicit.option(code::CLIENT_ARCHITECTURE),
        Some(&[0, 11][..])
    );
    let asked_for = solicit.option(code::OPTION_REQUEST);
    assert_eq!(asked_for, Some(&[0, 23, 0, 24, 0, 59, 0, 60][..]));

    let advertise = answer(
        &solicit,
        MessageType::Advertise,
        vec![association(&solicit, given(60))],
    );
    client.handle_input(seconds(1), &advertise.encode());
    let request = sent(&mut client, seconds(1)).unwrap();
    assert_eq!(request.kind, MessageType::Request);
    assert_ne!(request.transaction, solicit.transaction);
    assert_eq!(request.option(code::SERVER_ID), Some(&b"server"[..]));
    assert_eq!(request.address(), Some(ADDRESS));

    let reply = answer(
        &request,
        MessageType::Reply,
        vec![
            association(&request, given(60)),
            (code::DNS_SERVERS, DNS.octets().to_vec()),
            (code::DOMAIN_LIST, b"\x03lab\0".to_vec()),
            (
                code::BOOT_FILE_URL,
                b"http://[2001:db8::1]/boot.ipxe".to_vec(),
            ),
            (
                code::BOOT_FILE_PARAMETERS,
                b"\0\x05quiet\0\x03a=b\0\x09short".to_vec(),
            ),
        ],
    );
    client.handle_input(seconds(1), &reply.encode());
    let Some(Event::Configured(found)) = client.poll_event() else {
        panic!("no configuration");
    };
    assert_eq!((found.address, &found.dns[..]), (Some(ADDRESS), &[DNS][..]));
    assert_eq!(found.search, b"\x03lab\0");
    assert_eq!(found.boot_file, b"http://[2001:db8::1]/boot.ipxe");
    assert_eq!(found.boot_parameters, ["quiet", "a=b"]);
    // Half the lifetime goes by before it is renewed.
    assert_eq!(client.poll_timeout(), Some(seconds(31)));
    assert_eq!(client.poll_event(), None);
}

/// A client that was given the address for 100 seconds at 0, and the request for it.
fn bound() -> (Client, Message) {
    let mut client = Client::new(config(true), Duration::ZERO);
    let mut asked = sent(&mut client, Duration::ZERO).unwrap();
    for kind in [MessageType::Advertise, MessageType::Reply] {
        let address = association(&asked, given(100));
        let reply = answer(&asked, kind, vec![address]);
        client.handle_input(Duration::ZERO, &reply.encode());
        asked = sent(&mut client, Duration::ZERO).unwrap_or(asked);
    }
    assert!(matches!(client.poll_event(), Some(Event::Configured(_))));
    (client, asked)
}

/// The messages that the client sends up to `end`, with the seconds.
fn sent_until(client: &mut Client, end: u64) -> Vec<(u64, Message)> {
    let mut messages = vec![];
    while let Some(next) = client.poll_timeout().filter(|next| *next <= seconds(end)) {
        if let Some(message) = sent(client, next) {
            messages.push((next.as_secs(), message));
        }
    }
    messages
}

#[test]
fn a_lease_is_renewed() {
    let (mut client, _) = bound();
    let messages = sent_until(&mut client, 55);
    let [(50, renew)] = &messages[..] else {
        panic!("{messages:?}");
    };
    assert_eq!(renew.kind, MessageType::Renew);
    assert_eq!(renew.option(code::SERVER_ID), Some(&b"server"[..]));
    let held = renew.option(code::IA_NA).unwrap();
    assert_eq!(held[12..16], [0, 5, 0, 24]);
    assert_eq!(held[16..32], ADDRESS.octets());
    let reply = answer(
        renew,
        MessageType::Reply,
        vec![association(renew, given(200))],
    );
    client.handle_input(seconds(52), &reply.encode());
    assert!(matches!(client.poll_event(), Some(Event::Configured(_))));
    assert_eq!(client.poll_timeout(), Some(seconds(152)));
}

/// A server may say that its address is deprecated already (preferred lifetime 0).
#[test]
fn no_server_has_a_lease_renewed_at_once() {
    let (mut client, _) = bound();
    let [(50, renew)] = &sent_until(&mut client, 50)[..] else {
        panic!("it is not renewed");
    };
    let mut deprecated = given(100);
    deprecated.1[16..20].fill(0);
    let reply = answer(
        renew,
        MessageType::Reply,
        vec![association(renew, deprecated)],
    );
    client.handle_input(seconds(50), &reply.encode());
    assert!(matches!(client.poll_event(), Some(Event::Configured(_))));
    assert_eq!(client.poll_timeout(), Some(seconds(51)));
}

#[test]
fn any_server_may_keep_a_lease_and_without_one_it_is_lost() {
    let (mut client, _) = bound();
    let messages = sent_until(&mut client, 99);
    let kinds: Vec<_> = messages
        .iter()
        .map(|(at, message)| (at / 10, message.kind))
        .collect();
    let (renewing, rebinding): (Vec<_>, Vec<_>) = kinds
        .into_iter()
        .partition(|(_, kind)| *kind == MessageType::Renew);
    // From T1 on and from T2 on, again after some 10 seconds.
    assert!(renewing.len() >= 2 && renewing[0].0 == 5, "{messages:?}");
    assert!(
        rebinding.len() >= 2 && rebinding[0] == (8, MessageType::Rebind),
        "{messages:?}"
    );
    let (_, rebind) = messages.last().unwrap();
    assert_eq!(rebind.option(code::SERVER_ID), None);
    // A server that does not know it, and one that gives another.
    let unknown = association(rebind, (code::STATUS_CODE, vec![0, 3]));
    let mut other = association(rebind, given(100));
    other.1[31] ^= 1;
    for association in [unknown, other] {
        let reply = answer(rebind, MessageType::Reply, vec![association]);
        client.handle_input(seconds(99), &reply.encode());
        assert_eq!(client.poll_event(), None);
    }
    let after = sent_until(&mut client, 100);
    assert_eq!(client.poll_event(), Some(Event::Lost));
    assert_eq!(after.last().unwrap().1.kind, MessageType::Solicit);
}

#[test]
fn the_rest_in_two_messages() {
    let uuid = [7; 16];
    let mut client = Client::new(
        Config {
            uuid: Some(uuid),
            ..config(false)
        },
        seconds(5),
    );
    let asked = sent(&mut client, seconds(5)).unwrap();
    assert_eq!(asked.kind, MessageType::InformationRequest);
    // DUID-UUID (RFC 6355 section 4).
    assert_eq!(asked.option(code::CLIENT_ID).unwrap()[..3], [0, 4, 7]);
    assert_eq!(asked.option(code::IA_NA), None);
    let reply = answer(
        &asked,
        MessageType::Reply,
        vec![(code::DNS_SERVERS, DNS.octets().to_vec())],
    );
    client.handle_input(seconds(5), &reply.encode());
    let Some(Event::Configured(found)) = client.poll_event() else {
        panic!("no configuration");
    };
    assert_eq!((found.address, &found.dns[..]), (None, &[DNS][..]));
}

#[test]
fn silence_is_met_with_patience_and_then_told() {
    let mut client = Client::new(config(true), Duration::ZERO);
    let mut now = Duration::ZERO;
    let mut moments = vec![];
    while let Some(next) = client.poll_timeout() {
        now = now.max(next);
        if let Some(message) = sent(&mut client, now) {
            let elapsed: &[u8; 2] = message
                .option(code::ELAPSED_TIME)
                .unwrap()
                .first_chunk()
                .unwrap();
            assert_eq!(
                u128::from(u16::from_be_bytes(*elapsed)),
                now.as_millis() / 10
            );
            moments.push(now.as_millis());
        }
    }
    // After 1, 2, 4 seconds, each a quarter more or less.
    assert_eq!(moments.len(), 4);
    assert!((750..=1250).contains(&moments[1]), "{moments:?}");
    let expected = Failure {
        sent: 4,
        waited: seconds(10),
        status: None,
        declined: 0,
    };
    assert_eq!(client.poll_event(), Some(Event::Failed(expected)));
    assert_eq!(
        expected.to_string(),
        "no DHCPv6 server answered in 10 s (4 messages sent)"
    );
}

/// Answers to others, without what they must have, or with nothing in them: none is taken.
#[test]
fn what_is_not_for_us_is_not_taken() {
    let solicit = sent(
        &mut Client::new(config(true), Duration::ZERO),
        Duration::ZERO,
    )
    .unwrap();
    let good = answer(
        &solicit,
        MessageType::Advertise,
        vec![association(&solicit, given(60))],
    );
    let mut stranger = good.clone();
    stranger.options[0].1[5] ^= 1;
    let mut other = good.clone();
    other.transaction ^= 1;
    let mut anonymous = good.clone();
    anonymous.options.remove(1);
    let expired = answer(
        &solicit,
        MessageType::Advertise,
        vec![association(&solicit, given(0))],
    );
    let reply = Message {
        kind: MessageType::Reply,
        ..good.clone()
    };
    let status = (code::STATUS_CODE, b"\0\x02none".to_vec());
    let refusal = answer(
        &solicit,
        MessageType::Advertise,
        vec![association(&solicit, status)],
    );
    for (message, is_taken) in [
        (&stranger, false),
        (&other, false),
        (&anonymous, false),
        (&expired, false),
        (&reply, false),
        (&refusal, false),
        (&good, true),
    ] {
        let mut client = Client::new(config(true), Duration::ZERO);
        assert!(sent(&mut client, Duration::ZERO).is_some());
        client.handle_input(Duration::ZERO, &message.encode());
        let next = sent(&mut client, Duration::ZERO);
        assert_eq!(next.is_some(), is_taken, "{message:?}");
    }
    let mut client = Client::new(config(true), Duration::ZERO);
    assert!(sent(&mut client, Duration::ZERO).is_some());
    client.handle_input(Duration::ZERO, &refusal.encode());
    client.handle_timeout(seconds(10));
    let Some(Event::Failed(failure)) = client.poll_event() else {
        panic!("it did not fail");
    };
    assert_eq!(
        failure.to_string(),
        "the DHCPv6 server has no address for this machine"
    );
}

/// Any bytes, and messages cut short.
#[test]
fn garbage_is_no_message() {
    let mut client = Client::new(config(true), Duration::ZERO);
    let solicit = sent(&mut client, Duration::ZERO).unwrap();
    let good = answer(
        &solicit,
        MessageType::Advertise,
        vec![association(&solicit, given(60))],
    );
    let bytes = good.encode();
    assert_eq!(Message::parse(&bytes), Some(good));
    for length in 0..bytes.len() {
        client.handle_input(Duration::ZERO, &bytes[..length]);
    }
    let mut state = 1u64;
    for _ in 0..20_000 {
        let mut bad = bytes.clone();
        for _ in 0..3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = 4 + (state >> 33) as usize % (bad.len() - 4);
            bad[at] = (state >> 20) as u8;
        }
        let mut client = Client::new(config(true), Duration::ZERO);
        assert!(sent(&mut client, Duration::ZERO).is_some());
        client.handle_input(Duration::ZERO, &bad);
        let _ = (sent(&mut client, Duration::ZERO), client.poll_event());
    }
}

/// Another station has the address: the server is told, and asked for another one.
#[test]
fn an_address_of_somebody_else_is_declined() {
    let (mut client, _) = bound();
    client.decline(seconds(1));
    assert_eq!(client.poll_event(), Some(Event::Lost));
    let decline = sent(&mut client, seconds(1)).unwrap();
    assert_eq!(decline.kind, MessageType::Decline);
    assert_eq!(decline.option(code::SERVER_ID), Some(&b"server"[..]));
    assert_eq!(
        decline.option(code::IA_NA).unwrap()[16..32],
        ADDRESS.octets()
    );
    let reply = answer(&decline, MessageType::Reply, vec![]);
    client.handle_input(seconds(1), &reply.encode());
    let solicit = sent(&mut client, seconds(1)).unwrap();
    assert_eq!(solicit.kind, MessageType::Solicit);

    // Without an answer it is said four times (RFC 8415 section 7.6), and then it goes on.
    let (mut client, _) = bound();
    client.decline(seconds(1));
    let kinds: Vec<_> = sent_until(&mut client, 20)
        .iter()
        .map(|(_, message)| message.kind)
        .collect();
    assert_eq!(kinds[..4], [MessageType::Decline; 4]);
    assert_eq!(kinds[4], MessageType::Solicit);

    // Nothing is declined that is not held.
    let mut client = Client::new(config(true), Duration::ZERO);
    client.decline(Duration::ZERO);
    let first = sent(&mut client, Duration::ZERO).unwrap();
    assert_eq!(first.kind, MessageType::Solicit);
}

/// A server that gives away nothing but addresses of others is not asked for ever.
#[test]
fn after_three_addresses_of_others_it_gives_up() {
    let (mut client, _) = bound();
    for round in 1..=3 {
        client.decline(seconds(round));
        assert_eq!(client.poll_event(), Some(Event::Lost));
        for kind in [
            MessageType::Reply,
            MessageType::Advertise,
            MessageType::Reply,
        ] {
            let Some(asked) = sent(&mut client, seconds(round)) else {
                break;
            };
            let address = match asked.kind {
                MessageType::Decline => vec![],
                _ => vec![association(&asked, given(100))],
            };
            client.handle_input(seconds(round), &answer(&asked, kind, address).encode());
        }
        let expected = match client.poll_event() {
            Some(Event::Configured(_)) => round < 3,
            Some(Event::Failed(failure)) => {
                assert_eq!(
                    failure.to_string(),
                    "the 3 addresses that DHCPv6 servers gave are other stations'"
                );
                round == 3
            }
            _ => false,
        };
        assert!(expected, "round {round}");
    }
    assert_eq!(client.poll_timeout(), None);
}

#[test]
fn a_lease_is_given_back() {
    for is_answered in [true, false] {
        let (mut client, _) = bound();
        client.release(seconds(5));
        let release = sent(&mut client, seconds(5)).unwrap();
        assert_eq!(release.kind, MessageType::Release);
        assert_eq!(release.option(code::SERVER_ID), Some(&b"server"[..]));
        assert_eq!(
            release.option(code::IA_NA).unwrap()[16..32],
            ADDRESS.octets()
        );
        match is_answered {
            true => {
                let reply = answer(&release, MessageType::Reply, vec![]);
                client.handle_input(seconds(5), &reply.encode());
            }
            false => assert_eq!(sent_until(&mut client, 60).len(), 3),
        }
        assert_eq!((client.poll_timeout(), client.poll_event()), (None, None));
    }
}
