//! The discovery against hand-made boot servers.

use super::*;
use crate::tests::{START, client_config, hex, mutate};
use alloc::string::{String, ToString};
use alloc::vec;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 42);
const NAMED: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 1, 2);

/// Types 1 (10.0.0.7), 5 (10.0.0.9, 10.0.0.8) and 6 (any).
const SERVERS: &str = "0001 01 0a000007  0005 02 0a000009 0a000008  0006 00";

/// A discovery for type 5.
fn discovery(control: &str, group: &str, servers: &str) -> BootServerDiscovery {
    let vendor = vendor(control, group, servers);
    BootServerDiscovery::new(client_config(1), ADDRESS, 5, &vendor, START)
}

fn vendor(control: &str, group: &str, servers: &str) -> Options {
    let options = [(6, control), (7, group), (8, servers)];
    let is_there = |(_, value): &(u8, &str)| !value.is_empty();
    let options = options.into_iter().filter(is_there);
    options.map(|(code, value)| (code, hex(value))).collect()
}

fn sent(discovery: &mut BootServerDiscovery) -> (Destination, Message) {
    let transmit = discovery.poll_output().expect("a message");
    (transmit.to, Message::parse(&transmit.payload).unwrap())
}

/// The answer of a boot server at 10.0.0.9 to a message.
fn answer(request: &Message) -> Message {
    let mut ack = Message::new(Op::Reply, request.chaddr, request.xid);
    ack.siaddr = NAMED;
    ack.file = b"boot.efi".to_vec();
    ack.options.set_u8(code::MESSAGE_TYPE, MessageType::ACK.0);
    ack.options.set_ipv4(code::SERVER_IDENTIFIER, NAMED);
    ack.options.set(code::VENDOR_CLASS, b"PXEClient");
    ack.options
        .set(code::VENDOR_SPECIFIC, hex("47 04 0005 0000 ff"));
    ack
}

fn hand_over(discovery: &mut BootServerDiscovery, message: &Message) {
    discovery.handle_input(&message.encode(1472).unwrap());
}

/// Who is asked when nobody answers, and what is told at the end.
fn run_out(discovery: &mut BootServerDiscovery) -> (Vec<Destination>, String) {
    let mut asked = Vec::new();
    while let Some(next) = discovery.poll_timeout() {
        asked.push(sent(discovery).0);
        discovery.handle_timeout(next);
    }
    assert_eq!(discovery.poll_output(), None);
    match discovery.poll_event() {
        Some(DiscoveryEvent::Failed(failure)) => (asked, failure.to_string()),
        other => panic!("expected a failure: {other:?}"),
    }
}

#[test]
fn a_boot_server_is_asked_for_its_type_and_answers() {
    let mut discovery = discovery("", "", SERVERS);
    let (to, request) = sent(&mut discovery);
    assert_eq!(to, Destination::BootServer(NAMED));
    assert_eq!(request.message_type(), Some(MessageType::REQUEST));
    assert_eq!((request.ciaddr, request.broadcast), (ADDRESS, false));
    let table: &[(u8, &str)] = &[
        (code::VENDOR_SPECIFIC, "47 04 0005 0000 ff"),
        (code::CLIENT_ARCHITECTURE, "000b"),
        (code::CLIENT_NDI, "01 03 00"),
    ];
    for (code, value) in table {
        assert_eq!(request.options.get(*code), Some(&hex(value)[..]), "{code}");
    }
    let class = request.options.text(code::VENDOR_CLASS);
    assert_eq!(class, Some(&b"PXEClient:Arch:00011:UNDI:003000"[..]));
    // RFC 2131 table 5, as for a client that renews.
    for code in [code::REQUESTED_ADDRESS, code::SERVER_IDENTIFIER] {
        assert!(!request.options.contains(code), "{code}");
    }
    hand_over(&mut discovery, &answer(&request));
    let found = DiscoveryEvent::Found(Box::new(answer(&request)));
    assert_eq!(discovery.poll_event(), Some(found));
    assert_eq!(discovery.poll_timeout(), None);
    // A second answer changes nothing.
    hand_over(&mut discovery, &answer(&request));
    assert_eq!(discovery.poll_event(), None);
}

#[test]
fn a_proxy_is_asked_what_to_boot() {
    let of_proxy = || BootServerDiscovery::of_proxy(client_config(1), ADDRESS, NAMED, START);
    let mut discovery = of_proxy();
    let (to, request) = sent(&mut discovery);
    assert_eq!(to, Destination::BootServer(NAMED));
    assert_eq!(request.message_type(), Some(MessageType::REQUEST));
    assert!(!request.options.contains(code::VENDOR_SPECIFIC));
    // Nobody else is listened to.
    let mut stranger = answer(&request);
    let other = Ipv4Addr::new(10, 0, 0, 7);
    stranger.options.set_ipv4(code::SERVER_IDENTIFIER, other);
    hand_over(&mut discovery, &stranger);
    assert_eq!(discovery.poll_event(), None);
    let mut ack = answer(&request);
    ack.options.remove(code::VENDOR_SPECIFIC);
    hand_over(&mut discovery, &ack);
    assert_eq!(
        discovery.poll_event(),
        Some(DiscoveryEvent::Found(Box::new(ack)))
    );

    let (asked, words) = run_out(&mut of_proxy());
    assert_eq!(asked, [Destination::BootServer(NAMED); 4]);
    assert!(
        words.starts_with("the proxyDHCP server did not say what to boot in "),
        "{words}"
    );
}

#[test]
fn discovery_control_tells_whom_to_ask() {
    let server = |last| Destination::BootServer(Ipv4Addr::new(10, 0, 0, last));
    let group = Destination::BootServer(GROUP);
    let everybody = Destination::Broadcast;
    let any = "0005 00";
    let table: &[(&str, &str, &str, &[Destination])] = &[
        ("", "", "", &[everybody]),
        ("00", "e0000102", "", &[group, everybody]),
        ("", "0a000001", "", &[everybody]),
        ("01", "e0000102", "", &[group]),
        ("02", "e0000102", "", &[everybody]),
        ("03", "e0000102", "", &[]),
        (
            "00",
            "e0000102",
            SERVERS,
            &[server(9), server(8), group, everybody],
        ),
        ("03", "e0000102", SERVERS, &[server(9), server(8)]),
        ("07", "", SERVERS, &[server(9), server(8)]),
        ("0807", "", SERVERS, &[server(9), server(8)]),
        ("00000003", "", "", &[]),
        ("04", "", "0001 01 0a000007", &[]),
        ("04", "", any, &[everybody]),
        // Cut off, and what is no host's address.
        ("03", "", "0005 02 0a000009 0a0000", &[server(9)]),
        ("03", "", "0005 02 00000000 ffffffff", &[]),
        ("03", "", "0005", &[]),
    ];
    for (control, multicast, servers, expected) in table {
        let mut discovery = discovery(control, multicast, servers);
        let (mut asked, message) = run_out(&mut discovery);
        let times = limits::REQUESTS_PER_BOOT_SERVER as usize;
        assert_eq!(asked.len(), times * expected.len(), "{control} {servers}");
        asked.dedup();
        assert_eq!(asked, *expected, "{control} {servers}");
        let is_nobody = message.starts_with("option 43 names no PXE boot server of type 5");
        assert_eq!(is_nobody, expected.is_empty(), "{message}");
    }
    let many = "0005 ff ".to_string() + &"0a000001".repeat(255);
    let (asked, _) = run_out(&mut discovery("03", "", &many));
    let times = limits::REQUESTS_PER_BOOT_SERVER as usize;
    assert_eq!(asked.len(), times * limits::BOOT_SERVERS_MAX);
}

#[test]
fn who_is_no_boot_server_of_the_type_is_not_heard() {
    let edits: [fn(&mut Message); 9] = [
        |ack| ack.xid ^= 1,
        |ack| ack.op = Op::Request,
        |ack| ack.chaddr = HardwareAddress::ethernet([2; 6]),
        |ack| ack.options.set_u8(code::MESSAGE_TYPE, MessageType::NAK.0),
        |ack| ack.options.set(code::VENDOR_CLASS, b"HTTPClient"),
        |ack| {
            ack.options
                .set(code::VENDOR_SPECIFIC, hex("47 04 0006 0000"))
        },
        |ack| {
            let other = Ipv4Addr::new(10, 0, 0, 7);
            ack.options.set_ipv4(code::SERVER_IDENTIFIER, other);
        },
        |ack| {
            ack.options.remove(code::SERVER_IDENTIFIER);
        },
        |ack| {
            // A DHCP server that takes it for a client which rebinds.
            ack.options.remove(code::VENDOR_SPECIFIC);
            ack.options.set_u32(code::LEASE_TIME, 3600);
        },
    ];
    let mut discovery = discovery("07", "", SERVERS);
    let (_, request) = sent(&mut discovery);
    for edit in edits {
        let mut ack = answer(&request);
        edit(&mut ack);
        hand_over(&mut discovery, &ack);
        assert_eq!(discovery.poll_event(), None, "{ack:?}");
    }
    // Boot servers that do not repeat the type are heard.
    let mut ack = answer(&request);
    ack.options.remove(code::VENDOR_SPECIFIC);
    hand_over(&mut discovery, &ack);
    assert!(matches!(
        discovery.poll_event(),
        Some(DiscoveryEvent::Found(_))
    ));
}

#[test]
fn a_failure_tells_who_was_asked() {
    let mut discovery = discovery("00", "e0000102", SERVERS);
    let (_, request) = sent(&mut discovery);
    let mut ack = answer(&request);
    ack.options.remove(code::VENDOR_CLASS);
    hand_over(&mut discovery, &ack);
    let next = discovery.poll_timeout().unwrap();
    discovery.handle_timeout(next);
    let (_, message) = run_out(&mut discovery);
    let (before, after) = message.split_once(" in ").unwrap();
    assert_eq!(before, "no PXE boot server of type 5 answered");
    let (seconds, after) = after.split_once(' ').unwrap();
    assert!((10..20).contains(&seconds.parse().unwrap()), "{message}");
    assert_eq!(
        after,
        "s (asked: 10.0.0.9, 10.0.0.8, 224.0.1.2, everybody; 16 messages sent; answers that are \
         not such a server's: 1)"
    );
}

#[test]
fn hostile_directions_and_answers_never_panic() {
    let mut random = Random::new(7);
    for _ in 0..20_000 {
        let mut list = hex(SERVERS);
        mutate(&mut random, &mut list);
        let mut vendor = vendor("04", "e0000102", "");
        vendor.set(code::PXE_BOOT_SERVERS, list);
        let mut discovery = BootServerDiscovery::new(client_config(1), ADDRESS, 5, &vendor, START);
        let Some(transmit) = discovery.poll_output() else {
            continue;
        };
        let request = Message::parse(&transmit.payload).unwrap();
        let mut bytes = answer(&request).encode(1472).unwrap();
        mutate(&mut random, &mut bytes);
        discovery.handle_input(&bytes);
        let mut events = vec![];
        while let Some(next) = discovery.poll_timeout() {
            discovery.handle_timeout(next);
        }
        events.extend(discovery.poll_event());
        assert_eq!(events.len(), 1);
    }
}
