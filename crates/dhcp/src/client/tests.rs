//! The client against hand-made answers.

use super::*;
use crate::tests::{START, client_config, hex, mac};
use crate::wire::{Options, code};
use alloc::string::ToString;
use alloc::vec;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 42);

/// A client, its last message, and the clock.
struct Bench {
    client: Client,
    now: Duration,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self {
            client: Client::new(config, START),
            now: START,
        }
    }

    fn sent(&mut self) -> (Destination, Message) {
        let transmit = self.client.poll_output().expect("a message");
        assert_eq!(self.client.poll_output(), None);
        (transmit.to, Message::parse(&transmit.payload).unwrap())
    }

    /// An answer to `request`, as a server writes it.
    fn answer(&mut self, request: &Message, kind: MessageType, edit: impl FnOnce(&mut Message)) {
        let mut reply = Message::new(Op::Reply, request.chaddr, request.xid);
        reply.yiaddr = if kind == MessageType::NAK {
            Ipv4Addr::UNSPECIFIED
        } else {
            ADDRESS
        };
        reply.options.set_u8(code::MESSAGE_TYPE, kind.0);
        reply.options.set_ipv4(code::SERVER_IDENTIFIER, SERVER);
        reply.options.set_u32(code::LEASE_TIME, 3600);
        edit(&mut reply);
        self.client
            .handle_input(self.now, &reply.encode(1472).unwrap());
    }

    fn wake(&mut self) -> Option<Duration> {
        let next = self.client.poll_timeout()?;
        let waited = next - self.now;
        self.now = next;
        self.client.handle_timeout(next);
        Some(waited)
    }

    fn run_out(&mut self) -> Failure {
        while self.wake().is_some() {
            while self.client.poll_output().is_some() {}
        }
        let mut last = None;
        while let Some(event) = self.client.poll_event() {
            last = Some(event);
        }
        match last {
            Some(Event::Failed(failure)) => *failure,
            other => panic!("expected a failure: {other:?}"),
        }
    }
}

#[test]
fn discover_tells_who_is_there() {
    let mut config = client_config(1);
    config.user_class = hex("04 69 a0 45 43");
    config.uuid = Some([0xaa; 16]);
    config.host_name = b"node1".to_vec();
    config.extra.set(116, [0]);
    let (to, discover) = Bench::new(config).sent();
    assert_eq!(to, Destination::Broadcast);
    assert_eq!(discover.chaddr.mac(), Some(mac(1)));
    let options = &discover.options;
    let table: &[(u8, &str)] = &[
        (code::MESSAGE_TYPE, "01"),
        (code::CLIENT_IDENTIFIER, "01 525400123401"),
        (code::USER_CLASS, "04 69 a0 45 43"),
        (code::MAX_MESSAGE_SIZE, "05c0"),
        (code::CLIENT_ARCHITECTURE, "000b"),
        (code::CLIENT_NDI, "01 03 00"),
        (code::CLIENT_UUID, "00 aaaaaaaa aaaaaaaa aaaaaaaa aaaaaaaa"),
        (code::HOST_NAME, "6e6f646531"),
        (116, "00"),
    ];
    for (code, value) in table {
        assert_eq!(options.get(*code), Some(&hex(value)[..]), "option {code}");
    }
    assert_eq!(
        options.text(code::VENDOR_CLASS),
        Some(&b"PXEClient:Arch:00011:UNDI:003000"[..])
    );
    let requested = options.get(code::PARAMETER_REQUEST_LIST).unwrap();
    assert_eq!(
        requested,
        [
            1, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119, 121, 128, 129, 130, 131, 132, 133,
            134, 135, 175, 203
        ]
    );
    assert_eq!(
        options.encapsulated(175).unwrap().u8(0x11),
        Some(1),
        "the iSCSI feature"
    );
}

#[test]
fn pauses_double_with_jitter_and_depend_on_the_seed() {
    let pauses = |seed| {
        let mut config = client_config(1);
        config.seed = seed;
        let mut bench = Bench::new(config);
        core::iter::from_fn(|| bench.wake().map(|pause| pause.as_millis())).collect::<Vec<_>>()
    };
    let first = pauses(1);
    let ranges = [188..=313, 375..=625, 750..=1250, 1500..=2500, 3000..=5000];
    for (pause, range) in first.iter().zip(ranges) {
        assert!(range.contains(pause), "{first:?}");
    }
    assert_eq!(
        first.iter().sum::<u128>(),
        9998 + 2,
        "gives up after 10 s: {first:?}"
    );
    assert_eq!(first, pauses(1));
    assert_ne!(first, pauses(2));
}

#[test]
fn the_first_usable_offer_is_taken_at_once() {
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    // Not for this client, or not usable: each is passed over.
    bench.answer(&discover, MessageType::OFFER, |m| m.xid ^= 1);
    bench.answer(&discover, MessageType::OFFER, |m| m.op = Op::Request);
    bench.answer(&discover, MessageType::OFFER, |m| {
        m.chaddr = HardwareAddress::ethernet(mac(9));
    });
    for unusable in [
        Ipv4Addr::BROADCAST,
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        bench.answer(&discover, MessageType::OFFER, |m| m.yiaddr = unusable);
    }
    bench.answer(&discover, MessageType::ACK, |_| {});
    assert_eq!(bench.client.poll_output(), None);

    bench.answer(&discover, MessageType::OFFER, |_| {});
    let (to, request) = bench.sent();
    assert_eq!(to, Destination::Broadcast);
    assert_eq!(request.message_type(), Some(MessageType::REQUEST));
    assert_eq!(request.server_identifier(), Some(SERVER));
    assert_eq!(request.options.ipv4(code::REQUESTED_ADDRESS), Some(ADDRESS));
    assert_eq!(
        (request.ciaddr, request.xid),
        (Ipv4Addr::UNSPECIFIED, discover.xid)
    );

    // A second offer, the ACK of another server, an ACK for another address: not ours.
    bench.answer(&request, MessageType::OFFER, |_| {});
    bench.answer(&request, MessageType::ACK, |m| {
        m.options
            .set_ipv4(code::SERVER_IDENTIFIER, Ipv4Addr::new(10, 0, 0, 2));
    });
    bench.answer(&request, MessageType::ACK, |m| m.yiaddr = SERVER);
    assert_eq!(
        (bench.client.poll_output(), bench.client.poll_event()),
        (None, None)
    );
    bench.answer(&request, MessageType::ACK, |m| {
        m.siaddr = SERVER;
        m.options.set(175, hex("be 04 75736572"));
        m.options.set(224, hex("00"));
    });
    let Some(Event::Bound(lease)) = bench.client.poll_event() else {
        panic!("not bound")
    };
    assert_eq!(
        (lease.address, lease.server, lease.next_server()),
        (ADDRESS, SERVER, Some(SERVER))
    );
    assert_eq!(
        lease.options.get(224),
        Some(&[0][..]),
        "unknown options are kept raw"
    );
    assert_eq!(
        lease.options.encapsulated(175).unwrap().text(190),
        Some(&b"user"[..])
    );
}

#[test]
fn failures_tell_what_was_seen() {
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    for _ in 0..3 {
        bench.answer(&discover, MessageType::OFFER, |m| {
            m.options.remove(code::SERVER_IDENTIFIER);
        });
    }
    bench.answer(&discover, MessageType::OFFER, |m| {
        m.yiaddr = Ipv4Addr::UNSPECIFIED
    });
    bench.answer(&discover, MessageType::OFFER, |m| {
        m.options.remove(code::MESSAGE_TYPE);
    });
    bench.client.handle_input(bench.now, b"hello");
    let failure = bench.run_out();
    assert_eq!(failure.reason, FailureReason::NoUsableOffer);
    assert_eq!(
        failure.to_string(),
        "no DHCP offer could be used (6 messages sent in 10.0 s; answers without server \
         identifier (option 54): 3; offers without an address (proxyDHCP): 1; BOOTP replies that \
         are not DHCP: 1; malformed messages: 1). A server that assigns addresses must be on \
         this network as well"
    );
}

#[test]
fn refusals_are_reported_and_end() {
    let mut bench = Bench::new(client_config(1));
    let mut naks = 0;
    while bench.now < START + Duration::from_secs(10) {
        while let Some(transmit) = bench.client.poll_output() {
            let message = Message::parse(&transmit.payload).unwrap();
            match message.message_type() {
                Some(MessageType::DISCOVER) => bench.answer(&message, MessageType::OFFER, |_| {}),
                Some(MessageType::REQUEST) => {
                    naks += 1;
                    bench.answer(&message, MessageType::NAK, |m| {
                        m.options.set(code::MESSAGE, b"not today\x1b".to_vec());
                    });
                }
                _ => {}
            }
        }
        bench.wake();
    }
    assert!(
        (4..10).contains(&naks),
        "{naks} refusals: the pause between them grows"
    );
    assert_eq!(
        bench.client.poll_event(),
        Some(Event::Refused {
            server: Some(SERVER),
            message: b"not today\x1b".to_vec()
        })
    );
    let failure = bench.run_out();
    let text = failure.to_string();
    assert!(
        text.starts_with("DHCP server 10.0.0.1 refused: \"not today\\x1b\" ("),
        "{text}"
    );
    assert!(text.contains("refusals"), "{text}");
}

#[test]
fn an_unacknowledged_offer_is_dropped_for_a_new_start() {
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, |_| {});
    let mut kinds = Vec::new();
    for _ in 0..4 {
        while let Some(transmit) = bench.client.poll_output() {
            kinds.push(
                Message::parse(&transmit.payload)
                    .unwrap()
                    .message_type()
                    .unwrap(),
            );
        }
        bench.wake();
    }
    assert_eq!(
        kinds,
        [
            MessageType::REQUEST,
            MessageType::REQUEST,
            MessageType::REQUEST,
            MessageType::DISCOVER
        ]
    );
    let failure = bench.run_out();
    assert_eq!(
        failure.reason,
        FailureReason::NotAcknowledged {
            server: SERVER,
            address: ADDRESS
        }
    );
    assert!(
        failure
            .to_string()
            .contains("10.0.0.1 offered 10.0.0.42 but did not acknowledge")
    );
}

fn proxy_offer(message: &mut Message) {
    message.yiaddr = Ipv4Addr::UNSPECIFIED;
    message.siaddr = Ipv4Addr::new(10, 0, 0, 9);
    message.file = b"proxy.efi".to_vec();
    message.options.set(code::VENDOR_CLASS, b"PXEClient");
    message
        .options
        .set_ipv4(code::SERVER_IDENTIFIER, Ipv4Addr::new(10, 0, 0, 9));
}

#[test]
fn a_proxy_offer_is_merged_but_not_waited_for() {
    // It came first: merged.
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, proxy_offer);
    bench.answer(&discover, MessageType::OFFER, |m| {
        m.file = b"own.efi".to_vec()
    });
    let (_, request) = bench.sent();
    bench.answer(&request, MessageType::ACK, |m| m.file = b"own.efi".to_vec());
    let lease = bench.client.lease().unwrap();
    assert_eq!(lease.boot_file(), Some(&b"proxy.efi"[..]));
    assert_eq!(lease.next_server(), Some(Ipv4Addr::new(10, 0, 0, 9)));
    assert_eq!(lease.file, b"own.efi");

    // It came between OFFER and ACK: merged too, without a pause.
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, |_| {});
    let (_, request) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, proxy_offer);
    bench.answer(&request, MessageType::ACK, |_| {});
    assert!(bench.client.lease().unwrap().proxy.is_some());
}

#[test]
fn a_proxy_can_be_waited_for_on_request() {
    let mut config = client_config(1);
    config.proxy_wait = Duration::from_secs(2);
    for proxy_comes in [true, false] {
        let mut bench = Bench::new(config.clone());
        let (_, discover) = bench.sent();
        bench.answer(&discover, MessageType::OFFER, |_| {});
        assert_eq!(bench.client.poll_output(), None);
        if proxy_comes {
            bench.answer(&discover, MessageType::OFFER, proxy_offer);
        } else {
            assert_eq!(bench.wake(), Some(Duration::from_secs(2)));
        }
        let (_, request) = bench.sent();
        assert_eq!(request.message_type(), Some(MessageType::REQUEST));
    }
}

/// A server that names something to boot, or says that nobody else will, is not doubted.
#[test]
fn a_proxy_is_not_waited_for_where_there_is_something_to_boot() {
    let mut config = client_config(1);
    config.proxy_wait = Duration::from_secs(2);
    let alone = |m: &mut Message| m.options.set(code::IPXE_ENCAPSULATED, hex("b0 01 01"));
    let file = |m: &mut Message| m.file = b"own.efi".to_vec();
    let disk = |m: &mut Message| m.options.set(code::ROOT_PATH, b"iscsi:10.0.0.1::::t");
    let edits: [&dyn Fn(&mut Message); 3] = [&alone, &file, &disk];
    for edit in edits {
        let mut bench = Bench::new(config.clone());
        let (_, discover) = bench.sent();
        bench.answer(&discover, MessageType::OFFER, edit);
        let (_, request) = bench.sent();
        assert_eq!(request.message_type(), Some(MessageType::REQUEST));
    }
}

/// What a proxy says on its port is part of the lease, also of one that is renewed.
#[test]
fn the_answer_of_a_proxy_is_merged() {
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, |m| {
        proxy_offer(m);
        m.file.clear();
    });
    bench.answer(&discover, MessageType::OFFER, |_| {});
    let (_, request) = bench.sent();
    bench.answer(&request, MessageType::ACK, |_| {});
    let proxy = Ipv4Addr::new(10, 0, 0, 9);
    let offered = bench.client.lease().unwrap().proxy.clone().unwrap();
    assert_eq!(offered.server_to_ask(), Some(proxy));
    assert_eq!(bench.client.lease().unwrap().boot_file(), None);

    let mut answer = Message::new(Op::Reply, request.chaddr, 0);
    answer.siaddr = Ipv4Addr::new(10, 0, 0, 7);
    answer.file = b"proxy.efi".to_vec();
    let lease = bench.client.note_proxy_answer(&answer).unwrap();
    assert_eq!(lease.boot_file(), Some(&b"proxy.efi"[..]));
    assert_eq!(lease.next_server(), Some(Ipv4Addr::new(10, 0, 0, 7)));
    let known = lease.proxy.clone().unwrap();
    assert_eq!((known.server, known.server_to_ask()), (Some(proxy), None));

    bench.wake();
    let (_, renewal) = bench.sent();
    bench.answer(&renewal, MessageType::ACK, |_| {});
    let lease = bench.client.lease().unwrap();
    assert_eq!(lease.boot_file(), Some(&b"proxy.efi"[..]));
    // A menu is something to boot, too.
    let mut offer = offered;
    offer
        .options
        .set(code::VENDOR_SPECIFIC, hex("09 04 8000 01 41 ff"));
    assert_eq!(offer.server_to_ask(), None);
}

#[test]
fn release_and_renewal_go_to_the_server() {
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, |_| {});
    let (_, request) = bench.sent();
    bench.answer(&request, MessageType::ACK, |m| {
        m.options.set_u32(code::RENEWAL_TIME, 100);
        m.options.set_u32(code::REBINDING_TIME, 400);
    });
    let unicast = Destination::Unicast {
        client: ADDRESS,
        server: SERVER,
    };
    assert_eq!(bench.wake(), Some(Duration::from_secs(100)));
    let (to, renewal) = bench.sent();
    assert_eq!((to, renewal.ciaddr), (unicast, ADDRESS));
    // Half of what is left to T2, but no less than a minute; at T2 to everybody.
    for pause in [150, 75, 60] {
        assert_eq!(bench.wake(), Some(Duration::from_secs(pause)));
        assert_eq!(bench.sent().0, unicast);
    }
    assert_eq!(bench.wake(), Some(Duration::from_secs(15)));
    let (to, rebind) = bench.sent();
    assert_eq!((to, rebind.broadcast), (Destination::Broadcast, false));
    // Another server may answer now.
    let other = Ipv4Addr::new(10, 0, 0, 2);
    bench.answer(&rebind, MessageType::ACK, |m| {
        m.options.set_ipv4(code::SERVER_IDENTIFIER, other)
    });
    assert_eq!(bench.client.lease().map(|lease| lease.server), Some(other));

    bench.client.release(bench.now);
    let (to, release) = bench.sent();
    assert_eq!(
        to,
        Destination::Unicast {
            client: ADDRESS,
            server: other
        }
    );
    assert_eq!(release.message_type(), Some(MessageType::RELEASE));
    assert_eq!(
        release.options.get(code::PARAMETER_REQUEST_LIST),
        None,
        "RFC 2131 table 5"
    );
    assert_eq!(bench.client.poll_timeout(), None);
}

#[test]
fn a_refused_renewal_ends_the_lease() {
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, |_| {});
    let (_, request) = bench.sent();
    bench.answer(&request, MessageType::ACK, |_| {});
    bench.wake();
    let (_, renewal) = bench.sent();
    bench.answer(&renewal, MessageType::NAK, |_| {});
    let events: Vec<_> = core::iter::from_fn(|| bench.client.poll_event()).collect();
    assert!(matches!(
        events[..],
        [
            Event::Bound(_),
            Event::Refused { .. },
            Event::Expired(ADDRESS)
        ]
    ));
    assert_eq!(bench.sent().1.message_type(), Some(MessageType::DISCOVER));
}

#[test]
fn a_lease_for_ever_has_no_timers() {
    let mut bench = Bench::new(client_config(1));
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, |_| {});
    let (_, request) = bench.sent();
    bench.answer(&request, MessageType::ACK, |m| {
        m.options.set_u32(code::LEASE_TIME, u32::MAX)
    });
    assert_eq!(bench.client.lease().and_then(Lease::expires_at), None);
    assert_eq!(bench.client.poll_timeout(), None);
}

#[test]
fn readings_of_a_lease() {
    let lease = |options: &[(u8, &str)]| Lease {
        address: ADDRESS,
        server: SERVER,
        siaddr: Ipv4Addr::UNSPECIFIED,
        giaddr: Ipv4Addr::UNSPECIFIED,
        sname: Vec::new(),
        file: Vec::new(),
        options: options
            .iter()
            .map(|(code, value)| (*code, hex(value)))
            .collect::<Options>(),
        acquired: START,
        proxy: None,
    };
    assert_eq!(lease(&[(1, "fffffe00")]).prefix_len(), 23);
    assert_eq!(lease(&[]).prefix_len(), 8, "10.0.0.42 is of class A");
    assert_eq!(lease(&[(3, "0a000001 0a000002")]).router(), Some(SERVER));
    assert_eq!(lease(&[(3, "00000000")]).router(), None);
    // RFC 3442: 10.17.0.0/16 via .5, then the default route; option 3 does not count.
    let routes = "10 0a11 0a000005  00 0a000007";
    assert_eq!(
        lease(&[(3, "0a000001"), (121, routes)]).router(),
        Some(Ipv4Addr::new(10, 0, 0, 7))
    );
    assert_eq!(
        lease(&[(3, "0a000001"), (121, "10 0a11 0a000005")]).router(),
        None
    );
    assert_eq!(lease(&[(121, "20 0a11")]).router(), None);
    assert_eq!(lease(&[(26, "0578")]).mtu(), Some(1400));
    assert_eq!(lease(&[(26, "0043")]).mtu(), None, "below 68");
    assert_eq!(lease(&[]).boot_file(), None);
    assert_eq!(lease(&[(67, "612e 00")]).boot_file(), Some(&b"a."[..]));
    // T1 and T2 out of order: the defaults.
    let odd = lease(&[(51, "00000e10"), (58, "00000e00"), (59, "00000100")]);
    assert_eq!(odd.renew_at(), Some(START + Duration::from_secs(1800)));
    assert_eq!(odd.rebind_at(), Some(START + Duration::from_secs(3150)));
}

#[test]
fn oversized_settings_do_not_stop_the_boot() {
    let mut config = client_config(1);
    config.user_class = vec![b'x'; 2000];
    let (_, discover) = Bench::new(config).sent();
    assert_eq!(discover.options.get(code::USER_CLASS), None);
    assert!(discover.options.contains(code::PARAMETER_REQUEST_LIST));
}

#[test]
fn queues_and_texts_have_limits() {
    let mut bench = Bench::new(client_config(1));
    for _ in 0..2 * limits::QUEUE_LEN_MAX {
        bench.client.restart(START);
        bench.client.send_discover(START);
    }
    for _ in 0..2 * limits::QUEUE_LEN_MAX {
        bench.client.send_discover(START);
        bench.client.push_event(Event::Expired(ADDRESS));
    }
    let outputs = core::iter::from_fn(|| bench.client.poll_output()).count();
    let events = core::iter::from_fn(|| bench.client.poll_event()).count();
    assert_eq!(
        (outputs, events),
        (limits::QUEUE_LEN_MAX, limits::QUEUE_LEN_MAX)
    );

    bench.client.restart(START);
    let (_, discover) = bench.sent();
    bench.answer(&discover, MessageType::OFFER, |_| {});
    let (_, request) = bench.sent();
    bench.answer(&request, MessageType::NAK, |m| {
        m.options.set(code::MESSAGE, vec![b'x'; 600])
    });
    let Some(Event::Refused { message, .. }) = bench.client.poll_event() else {
        panic!()
    };
    assert_eq!(message.len(), limits::TEXT_LEN_MAX);
}
