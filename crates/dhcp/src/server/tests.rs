//! The server against hand-made requests.

use super::*;
use crate::tests::{SERVER, START, hex, mac, server_config};
use alloc::string::ToString;
use alloc::vec;

/// op, htype, hlen, hops, xid, secs, flags, addresses and chaddr of 52:54:00:12:34:01.
const FIXED: &str = "01 01 06 00  00000007  0000 0000
    00000000 00000000 00000000 00000000
    525400123401 0000 0000000000000000";

/// The answers to one request, and what the log says.
fn ask(server: &mut Server, request: &Message) -> (Vec<(Destination, Message)>, Vec<EventKind>) {
    server.handle_input(START, &request.encode(1472).unwrap());
    let mut answers = Vec::new();
    while let Some(output) = server.poll_output() {
        if let Output::Send(transmit) = output {
            answers.push((transmit.to, Message::parse(&transmit.payload).unwrap()));
        }
    }
    let events = core::iter::from_fn(|| server.poll_event())
        .map(|event| event.kind)
        .collect();
    (answers, events)
}

fn answer(server: &mut Server, request: &Message) -> (Destination, Message) {
    let (mut answers, events) = ask(server, request);
    assert_eq!(answers.len(), 1, "{events:?}");
    answers.remove(0)
}

fn request(kind: MessageType) -> Message {
    let mut message = Message::new(Op::Request, HardwareAddress::ethernet(mac(1)), 7);
    message.options.set_u8(code::MESSAGE_TYPE, kind.0);
    message
}

fn server(config: Config) -> Server {
    Server::new(config, []).unwrap()
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

#[test]
fn an_offer_byte_by_byte() {
    let mut bytes = hex(FIXED);
    bytes.resize(236, 0);
    bytes.extend(hex(
        "63825363 35 01 01  3d 07 01 525400123401  37 03 01 03 11  ff",
    ));
    let mut config = server_config(10);
    config.profile.options.set(code::ROOT_PATH, b"r");
    let mut server = server(config);
    server.handle_input(START, &bytes);
    let Some(Output::Send(transmit)) = server.poll_output() else {
        panic!("no answer")
    };
    let mut expected = hex("02 01 06 00  00000007  0000 0000
        00000000 c0a80164 c0a80101 00000000
        525400123401 0000 0000000000000000");
    expected.resize(108, 0);
    expected.extend(b"bowline.efi");
    expected.resize(236, 0);
    expected.extend(hex(
        "63825363 35 01 02  01 04 ffffff00  03 04 c0a80101  11 01 72  33 04 00000e10
         36 04 c0a80101  3a 04 00000708  3b 04 00000c4e  3d 07 01 525400123401  ff",
    ));
    expected.resize(300, 0);
    assert_eq!(transmit.payload, expected);
    assert_eq!(server.poll_output(), None, "an offer is not kept");
}

#[test]
fn replies_go_where_the_client_listens() {
    let hardware = HardwareAddress::ethernet(mac(1));
    let discover = request(MessageType::DISCOVER);
    let mut s = server(server_config(10));
    let (to, _) = answer(&mut s, &discover);
    assert_eq!(
        to,
        Destination::Hardware {
            hardware,
            address: ip(100)
        }
    );

    let mut broadcast = discover.clone();
    broadcast.broadcast = true;
    let (to, reply) = answer(&mut s, &broadcast);
    assert_eq!((to, reply.broadcast), (Destination::Broadcast, true));

    let mut relayed = broadcast.clone();
    relayed.giaddr = ip(9);
    assert_eq!(answer(&mut s, &relayed).0, Destination::Relay(ip(9)));

    let mut renewal = request(MessageType::REQUEST);
    renewal.ciaddr = ip(100);
    let (to, reply) = answer(&mut s, &renewal);
    assert_eq!(
        (to, reply.ciaddr, reply.yiaddr),
        (Destination::Client(ip(100)), ip(100), ip(100))
    );

    renewal.ciaddr = ip(7);
    let (to, reply) = answer(&mut s, &renewal);
    assert_eq!(
        (to, reply.message_type()),
        (Destination::Broadcast, Some(MessageType::NAK))
    );
    assert_eq!(reply.yiaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!(
        reply.options.get(code::LEASE_TIME),
        None,
        "RFC 2131 table 3"
    );
    assert_eq!(reply.options.get(code::SUBNET_MASK), None);
}

#[test]
fn inform_gets_options_and_no_lease() {
    let mut inform = request(MessageType::INFORM);
    inform.ciaddr = ip(77);
    let (to, reply) = answer(&mut server(server_config(10)), &inform);
    assert_eq!(
        (to, reply.message_type()),
        (Destination::Client(ip(77)), Some(MessageType::ACK))
    );
    assert_eq!(reply.yiaddr, Ipv4Addr::UNSPECIFIED);
    assert_eq!(reply.options.get(code::LEASE_TIME), None, "RFC 2131 §4.3.5");
    assert_eq!(reply.options.ipv4(code::ROUTER), Some(SERVER));
    // Not a reflector for addresses elsewhere.
    inform.ciaddr = Ipv4Addr::new(203, 0, 113, 5);
    assert!(ask(&mut server(server_config(10)), &inform).0.is_empty());
}

#[test]
fn what_gets_no_answer() {
    let mut s = server(server_config(10));
    let mut foreign_relay = request(MessageType::DISCOVER);
    foreign_relay.giaddr = Ipv4Addr::new(203, 0, 113, 1);
    let mut bootp = request(MessageType::DISCOVER);
    bootp.options.remove(code::MESSAGE_TYPE);
    let mut reply = request(MessageType::OFFER);
    reply.op = Op::Reply;
    let mut other_server = request(MessageType::REQUEST);
    other_server
        .options
        .set_ipv4(code::SERVER_IDENTIFIER, ip(2));
    other_server
        .options
        .set_ipv4(code::REQUESTED_ADDRESS, ip(100));
    let table = [
        (
            foreign_relay,
            Some(EventKind::UnknownNetwork(Ipv4Addr::new(203, 0, 113, 1))),
        ),
        (bootp, Some(EventKind::Bootp)),
        (reply, None),
        (
            request(MessageType::OFFER),
            Some(EventKind::Unexpected(MessageType::OFFER)),
        ),
        (
            request(MessageType(99)),
            Some(EventKind::Unexpected(MessageType(99))),
        ),
        (
            request(MessageType::REQUEST),
            Some(EventKind::NothingRequested),
        ),
        (other_server, Some(EventKind::ChoseOther(ip(2)))),
        (request(MessageType::DECLINE), None),
        (request(MessageType::RELEASE), None),
    ];
    for (message, event) in table {
        let (answers, events) = ask(&mut s, &message);
        assert!(answers.is_empty(), "{message:?}");
        assert_eq!(events, event.into_iter().collect::<Vec<_>>(), "{message:?}");
    }
    assert_eq!(s.leases().count(), 0);
}

#[test]
fn strangers_cannot_release_or_decline() {
    let mut s = server(server_config(10));
    let mut take = request(MessageType::REQUEST);
    take.options.set_ipv4(code::SERVER_IDENTIFIER, SERVER);
    take.options.set_ipv4(code::REQUESTED_ADDRESS, ip(100));
    assert_eq!(
        answer(&mut s, &take).1.message_type(),
        Some(MessageType::ACK)
    );
    for kind in [MessageType::RELEASE, MessageType::DECLINE] {
        let mut stranger = request(kind);
        stranger.chaddr = HardwareAddress::ethernet(mac(2));
        stranger.ciaddr = ip(100);
        stranger.options.set_ipv4(code::SERVER_IDENTIFIER, SERVER);
        stranger.options.set_ipv4(code::REQUESTED_ADDRESS, ip(100));
        ask(&mut s, &stranger);
        assert_eq!(s.leases().next().unwrap().state, LeaseState::Bound);
        // And its REQUEST for the address is refused.
        stranger.ciaddr = Ipv4Addr::UNSPECIFIED;
        stranger
            .options
            .set_u8(code::MESSAGE_TYPE, MessageType::REQUEST.0);
        let (_, nak) = answer(&mut s, &stranger);
        assert_eq!(
            nak.options.text(code::MESSAGE),
            Some(&b"address leased to another machine"[..])
        );
    }
}

#[test]
fn beside_another_server_wrong_addresses_are_not_refused() {
    let mut config = server_config(10);
    config.authoritative = false;
    let mut s = server(config);
    let mut reboot = request(MessageType::REQUEST);
    reboot
        .options
        .set_ipv4(code::REQUESTED_ADDRESS, Ipv4Addr::new(10, 0, 0, 1));
    assert!(ask(&mut s, &reboot).0.is_empty());
    let mut renewal = request(MessageType::REQUEST);
    renewal.ciaddr = ip(7);
    assert!(ask(&mut s, &renewal).0.is_empty());
}

#[test]
fn firmware_that_boots_over_the_network_is_told_so() {
    let mut config = server_config(10);
    config.matches.push(Match {
        vendor_class: Some(b"HTTPClient".to_vec()),
        profile: Profile {
            filename: Some(b"http://192.168.1.1/bowline.efi".to_vec()),
            ..Profile::default()
        },
        ..Match::default()
    });
    let mut s = server(config);
    let mut http = request(MessageType::DISCOVER);
    http.options
        .set(code::VENDOR_CLASS, b"HTTPClient:Arch:00019:UNDI:003001");
    let (_, reply) = answer(&mut s, &http);
    assert_eq!(
        reply.options.text(code::VENDOR_CLASS),
        Some(&b"HTTPClient"[..])
    );
    assert_eq!(
        reply.options.text(code::BOOT_FILE_NAME),
        Some(&b"http://192.168.1.1/bowline.efi"[..])
    );

    let mut pxe = request(MessageType::DISCOVER);
    pxe.options
        .set(code::VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003001");
    let (_, reply) = answer(&mut s, &pxe);
    assert_eq!(
        reply.options.text(code::VENDOR_CLASS),
        Some(&b"PXEClient"[..])
    );
    let control = reply.options.encapsulated(code::VENDOR_SPECIFIC).unwrap();
    assert_eq!(control.u8(code::PXE_DISCOVERY_CONTROL), Some(8));
    assert_eq!(reply.file, b"bowline.efi");

    let (_, reply) = answer(&mut s, &request(MessageType::DISCOVER));
    assert_eq!(reply.options.get(code::VENDOR_CLASS), None);
}

#[test]
fn only_what_is_asked_for_is_sent() {
    let mut config = server_config(10);
    config
        .profile
        .options
        .set(code::DOMAIN_NAME, b"example.com");
    let mut s = server(config);
    let mut discover = request(MessageType::DISCOVER);
    discover
        .options
        .set(code::PARAMETER_REQUEST_LIST, [1, 15, 28, 66, 67]);
    let (_, reply) = answer(&mut s, &discover);
    let codes: Vec<u8> = reply.options.iter().map(|(code, _)| code).collect();
    assert_eq!(codes, [1, 15, 28, 51, 53, 54, 58, 59, 66, 67]);
    assert_eq!(reply.options.ipv4(28), Some(ip(255)));
    assert_eq!(reply.options.text(66), Some(&b"192.168.1.1"[..]));
}

#[test]
fn a_reply_keeps_to_the_clients_size() {
    let mut config = server_config(10);
    config
        .profile
        .options
        .set(code::VENDOR_SPECIFIC, vec![1; 250]);
    config
        .profile
        .options
        .set(code::DOMAIN_NAME, vec![b'd'; 120]);
    config
        .profile
        .options
        .set(code::IPXE_ENCAPSULATED, vec![2; 250]);
    let mut s = server(config);
    let mut discover = request(MessageType::DISCOVER);
    discover
        .options
        .set(code::PARAMETER_REQUEST_LIST, [1, 3, 15, 17, 43, 67, 175]);
    s.handle_input(START, &discover.encode(1472).unwrap());
    let Some(Output::Send(small)) = s.poll_output() else {
        panic!("no answer")
    };
    assert!(
        small.payload.len() <= 548,
        "RFC 2131 §2: 576 bytes with the headers"
    );
    let reply = Message::parse(&small.payload).unwrap();
    assert!(reply.options.contains(15) && reply.options.contains(67));
    assert!(
        !reply.options.contains(175),
        "the last of the client's list is left out first"
    );
    let events: Vec<_> = core::iter::from_fn(|| s.poll_event()).collect();
    assert!(
        events.iter().any(|event| {
            event
                .to_string()
                .contains("reply too long: option 175 does not fit")
        }),
        "{events:?}"
    );

    discover.options.set_u16(code::MAX_MESSAGE_SIZE, 1472);
    let (_, reply) = answer(&mut s, &discover);
    assert!(reply.options.contains(43) && reply.options.contains(175));
    assert_eq!(reply.file, b"bowline.efi");
    // A client that claims more than a frame gets no more than a frame.
    discover.options.set_u16(code::MAX_MESSAGE_SIZE, 65535);
    s.handle_input(START, &discover.encode(1472).unwrap());
    let Some(Output::Send(large)) = s.poll_output() else {
        panic!("no answer")
    };
    assert!(large.payload.len() <= 1472);
}

#[test]
fn a_long_boot_file_name_goes_into_its_option() {
    let name: Vec<u8> = [b"http://192.168.1.1/".as_slice(), &[b'x'; 150]].concat();
    let mut config = server_config(10);
    config.profile.filename = Some(name.clone());
    let (_, reply) = answer(&mut server(config), &request(MessageType::DISCOVER));
    assert_eq!(
        (reply.file, reply.options.get(67)),
        (Vec::new(), Some(&name[..]))
    );
}

#[test]
fn impossible_configurations_are_named() {
    let edit = |edit: fn(&mut Config)| {
        let mut config = server_config(10);
        edit(&mut config);
        config.check().unwrap_err()
    };
    let table: &[(ConfigError, &str)] = &[
        (edit(|c| c.subnets.clear()), "no subnet"),
        (edit(|c| c.subnets[0].prefix_len = 31), "prefix length 31"),
        (edit(|c| c.subnets[0].prefix_len = 0), "prefix length 0"),
        (edit(|c| c.subnets.push(c.subnets[0].clone())), "overlap"),
        (
            edit(|c| c.subnets[0].pools[0].last = ip(1)),
            "192.168.1.100-192.168.1.1: the first",
        ),
        (
            edit(|c| c.subnets[0].pools[0].last = Ipv4Addr::new(192, 168, 2, 1)),
            "not inside",
        ),
        (
            edit(|c| {
                c.subnets[0].network = Ipv4Addr::new(10, 0, 0, 0);
                c.subnets[0].prefix_len = 8;
                c.subnets[0].pools[0] = AddressRange {
                    first: Ipv4Addr::new(10, 0, 0, 1),
                    last: Ipv4Addr::new(10, 255, 0, 0),
                };
            }),
            "65536 at most",
        ),
        (edit(|c| c.lease_time = Duration::from_secs(9)), "too short"),
        (
            edit(|c| {
                c.hosts.push(Host {
                    address: Some(ip(5)),
                    ..Host::default()
                })
            }),
            "host number 1",
        ),
        (
            edit(|c| c.hosts.push(host(Ipv4Addr::new(10, 0, 0, 1)))),
            "10.0.0.1 cannot be reserved",
        ),
        (
            edit(|c| c.hosts.push(host(ip(255)))),
            "192.168.1.255 cannot be reserved",
        ),
        (
            edit(|c| c.hosts.push(host(SERVER))),
            "192.168.1.1 cannot be reserved",
        ),
        (
            edit(|c| c.hosts.extend([host(ip(5)), host(ip(5))])),
            "two hosts reserve",
        ),
    ];
    for (error, text) in table {
        assert!(error.to_string().contains(text), "{error}");
    }
}

fn host(address: Ipv4Addr) -> Host {
    Host {
        mac: Some(mac(1)),
        address: Some(address),
        ..Host::default()
    }
}

#[test]
fn a_full_pool_answers_quickly_and_frees_itself() {
    let mut config = server_config(10);
    config.subnets[0].network = Ipv4Addr::new(10, 0, 0, 0);
    config.subnets[0].prefix_len = 8;
    config.server = Ipv4Addr::new(10, 0, 0, 1);
    config.subnets[0].pools[0] = AddressRange {
        first: Ipv4Addr::new(10, 0, 0, 0),
        last: Ipv4Addr::new(10, 0, 3, 255),
    };
    let mut s = server(config);
    let discover = |s: &mut Server, n: u16, now| {
        let [high, low] = n.to_be_bytes();
        let mut message = request(MessageType::DISCOVER);
        message.chaddr = HardwareAddress::ethernet([2, 0, 0, 0, high, low]);
        s.handle_input(now, &message.encode(548).unwrap());
        let answered = s.poll_output().is_some();
        while s.poll_event().is_some() {}
        answered
    };
    // 1024 addresses without 10.0.0.0 and the server's own.
    for n in 0..1022 {
        assert!(discover(&mut s, n, START), "client {n}");
    }
    for n in 1022..5000 {
        assert!(!discover(&mut s, n, START));
    }
    assert_eq!(s.full_until[0], START + s.config.offer_hold);
    let later = START + Duration::from_secs(30);
    assert!(
        discover(&mut s, 6000, later),
        "offers that nobody took are free again"
    );
}

#[test]
fn keys_and_queues_have_limits() {
    let mut message = request(MessageType::DISCOVER);
    let by_hardware = hex("01 525400123401");
    for (identifier, key) in [
        (vec![], by_hardware.clone()),
        (vec![9], by_hardware.clone()),
        (vec![9, 9], vec![9, 9]),
        (vec![9; 255], vec![9; 255]),
        (vec![9; 256], by_hardware.clone()),
        (by_hardware.clone(), by_hardware.clone()),
    ] {
        message.options.set(code::CLIENT_IDENTIFIER, identifier);
        assert_eq!(ClientKey::of(&message).as_bytes(), key);
    }
    let mut s = server(server_config(10));
    for _ in 0..2 * limits::QUEUE_LEN_MAX {
        s.handle_input(START, b"garbage");
    }
    assert_eq!(
        core::iter::from_fn(|| s.poll_event()).count(),
        limits::QUEUE_LEN_MAX
    );
}
