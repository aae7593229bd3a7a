//! The resolver against a hand-made name server.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use std::time::Duration;

use super::DnsQueryType;
use super::message::{Answer, decode, encode, wire_name};
use crate::testing::{CLIENT, Card, Faults, Net, SERVER, config, seconds};
use crate::{Ipv6Config, Stack, TcpListener, yield_now};

const SECOND: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

/// A resource record: owner, type, data; the owner in wire format.
struct Record(Vec<u8>, u16, Vec<u8>);

fn a(owner: &str, address: [u8; 4]) -> Record {
    Record(wire_name(owner).unwrap(), 1, address.to_vec())
}

fn cname(owner: &str, alias: &str) -> Record {
    Record(wire_name(owner).unwrap(), 5, wire_name(alias).unwrap())
}

/// The answer to `query` with these flags and records.
fn reply(query: &[u8], flags: u16, records: &[Record]) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
    for Record(owner, kind, data) in records {
        message.extend_from_slice(owner);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        message.extend_from_slice(&(data.len() as u16).to_be_bytes());
        message.extend_from_slice(data);
    }
    message
}

const OK: u16 = 0x8180;

/// Names as text of a query's question.
fn asked(query: &[u8]) -> String {
    let mut name = String::new();
    let mut at = 12;
    while query[at] != 0 {
        let length = usize::from(query[at]);
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(&query[at + 1..][..length]).unwrap());
        at += 1 + length;
    }
    name
}

/// A name server on port 53 of `stack` that answers what `answer` says.
async fn serve(stack: Stack, answer: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    serve_late(stack, answer, |_| Duration::ZERO).await;
}

/// A name server that takes its time for each query.
async fn serve_late(
    stack: Stack,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>>,
    delay: impl Fn(&[u8]) -> Duration,
) {
    use smoltcp::socket::udp::{PacketBuffer, PacketMetadata, Socket};
    let handle = stack.with(|inner| {
        let buffer = || PacketBuffer::new(vec![PacketMetadata::EMPTY; 4], vec![0; 4096]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.bind(53).unwrap();
        inner.sockets.add(socket)
    });
    let mut waiting = Vec::new();
    loop {
        let now = stack.now();
        stack.with(|inner| {
            let socket = inner.sockets.get_mut::<Socket<'_>>(handle);
            let received = socket.recv().map(|(data, from)| (data.to_vec(), from));
            if let Ok((query, from)) = received
                && let Some(message) = answer(&query)
            {
                waiting.push((now + delay(&query), message, from));
            }
            waiting.retain(|(due, message, from)| {
                if *due <= now {
                    socket.send_slice(message, *from).unwrap();
                }
                *due > now
            });
        });
        match waiting.is_empty() {
            true => yield_now().await,
            false => stack.sleep(Duration::from_millis(1)).await,
        }
    }
}

fn resolve(
    name: &str,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static,
) -> Result<Vec<IpAddr>, String> {
    let net = Net::new(3, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    net.spawn(serve(server, answer));
    net.run(client.resolve(name, seconds(5)))
        .map_err(|error| error.to_string())
}

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

#[test]
fn addresses_are_found() {
    let found = resolve("boot.example", |query| {
        let records = [
            a("boot.example", [10, 0, 0, 1]),
            a("boot.example", [10, 0, 0, 2]),
        ];
        Some(reply(query, OK, &records))
    });
    assert_eq!(found, Ok(vec![v4(10, 0, 0, 1), v4(10, 0, 0, 2)]));

    // Case and a final dot do not matter; records of others do not count.
    let found = resolve("Boot.Example.", |query| {
        let records = [
            a("evil.example", [6, 6, 6, 6]),
            a("boot.example", [10, 0, 0, 1]),
        ];
        Some(reply(query, OK, &records))
    });
    assert_eq!(found, Ok(vec![v4(10, 0, 0, 1)]));

    let literal = |name| resolve(name, |_| None);
    assert_eq!(literal("10.1.2.3"), Ok(vec![v4(10, 1, 2, 3)]));
    assert_eq!(literal("[::1]"), Ok(vec!["::1".parse().unwrap()]));
}

#[test]
fn aliases_are_followed_within_an_answer_and_beyond() {
    let found = resolve("a.example", |query| {
        let records = [
            cname("b.example", "c.example"),
            cname("a.example", "b.example"),
            a("c.example", [10, 0, 0, 3]),
        ];
        Some(reply(query, OK, &records))
    });
    assert_eq!(found, Ok(vec![v4(10, 0, 0, 3)]));

    let found = resolve("a.example", |query| {
        let name = asked(query);
        let record = match name.as_str() {
            "a.example" => cname("a.example", "b.example"),
            _ => a(&name, [10, 0, 0, 4]),
        };
        Some(reply(query, OK, &[record]))
    });
    assert_eq!(found, Ok(vec![v4(10, 0, 0, 4)]));

    // Round and round.
    let circle = resolve("a.example", |query| {
        let name = asked(query);
        let next = if name == "a.example" {
            "b.example"
        } else {
            "a.example"
        };
        Some(reply(query, OK, &[cname(&name, next)]))
    });
    assert_eq!(
        circle.unwrap_err(),
        "a.example has no address (name server 192.168.1.1 says so)"
    );
    let knot = resolve("a.example", |query| {
        let records = [
            cname("a.example", "b.example"),
            cname("b.example", "a.example"),
        ];
        Some(reply(query, OK, &records))
    });
    assert!(knot.is_err());
}

#[test]
fn failures_name_the_server_and_the_reason() {
    let failure =
        |flags| resolve("boot.example", move |query| Some(reply(query, flags, &[]))).unwrap_err();
    assert_eq!(
        failure(0x8183),
        "no such host: boot.example (name server 192.168.1.1 says so)"
    );
    assert_eq!(
        failure(OK),
        "boot.example has no address (name server 192.168.1.1 says so)"
    );
    assert_eq!(
        failure(0x8185),
        "cannot look up boot.example: name server 192.168.1.1: it refuses to answer us (code 5)"
    );
    assert_eq!(
        resolve("boot.example", |_| None).unwrap_err(),
        "cannot look up boot.example: no answer from name server 192.168.1.1 in 5 s"
    );
    let long = "x".repeat(64);
    for name in ["", "a..b", "a b", long.as_str()] {
        let error = resolve(name, |_| None).unwrap_err();
        assert_eq!(error, format!("{name:?} is not a host name"));
    }
}

#[test]
fn what_is_no_answer_to_the_question_is_passed_over() {
    let state = Rc::new(RefCell::new(0));
    let found = resolve("boot.example", move |query| {
        let records = [a("boot.example", [10, 0, 0, 1])];
        let mut message = reply(query, OK, &records);
        *state.borrow_mut() += 1;
        match *state.borrow() {
            // Another identifier, a question sent back, another name; then the answer.
            1 => message[1] ^= 1,
            2 => message[2] = 1,
            3 => message[13] = b'x',
            _ => {}
        }
        Some(message)
    });
    assert_eq!(found, Ok(vec![v4(10, 0, 0, 1)]));
}

#[test]
fn the_next_server_is_asked_and_lost_queries_are_repeated() {
    let net = Net::new(3, Faults::default());
    let client = net.stack(Card::u_boot(), None);
    let server = net.stack(Card::large(), Some(SECOND));
    let mut both = config(CLIENT);
    both.dns = vec![SERVER, SECOND];
    client.configure_ipv4(Some(both)).unwrap();
    net.spawn(serve(server, |query| {
        Some(reply(query, OK, &[a("boot.example", [10, 0, 0, 1])]))
    }));
    let found = net.run(client.resolve("boot.example", seconds(5)));
    assert_eq!(found, Ok(vec![v4(10, 0, 0, 1)]));

    client.configure_ipv4(None).unwrap();
    let error = net.run(client.resolve("boot.example", seconds(5)));
    assert_eq!(error, Err(super::DnsError::NoAddress));
    let mut none = config(CLIENT);
    none.dns.clear();
    client.configure_ipv4(Some(none)).unwrap();
    let error = net.run(client.resolve("boot.example", seconds(5)));
    assert_eq!(
        error.unwrap_err().to_string(),
        "cannot look up boot.example: no name server is known"
    );
}

#[test]
fn a_long_answer_comes_over_tcp() {
    let net = Net::new(3, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    net.spawn(serve(server.clone(), |query| {
        Some(reply(query, 0x8380, &[]))
    }));
    net.spawn(async move {
        let mut listener = TcpListener::bind(&server, 53).unwrap();
        let mut stream = listener.accept().await.unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.unwrap();
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query).await.unwrap();
        let records: Vec<Record> = (0..100).map(|i| a("boot.example", [10, 0, 1, i])).collect();
        let message = reply(&query, OK, &records);
        let mut framed = (message.len() as u16).to_be_bytes().to_vec();
        framed.extend(message);
        stream.write_all(&framed).await.unwrap();
        let _ = stream.close().await;
    });
    let found = net.run(client.resolve("boot.example", seconds(5))).unwrap();
    assert_eq!(found.len(), 100);
}

/// Whether a query asks for addresses of IPv6.
fn asks_for_ipv6(query: &[u8]) -> bool {
    query[query.len() - 4..] == [0, 28, 0, 1]
}

fn aaaa(owner: &str, address: &str) -> Record {
    let address: Ipv6Addr = address.parse().unwrap();
    let owner = wire_name(owner).unwrap();
    Record(owner, 28, address.octets().to_vec())
}

/// With both protocols there are two questions, and the addresses of IPv6 come first; one that
/// fails does not matter. What is known is not asked again until it is too old.
#[test]
fn both_protocols_and_the_memory() {
    for (has_ipv6, expected) in [
        (true, &["2001:db8::1", "10.0.0.1"][..]),
        (false, &["10.0.0.1"]),
    ] {
        let net = Net::new(3, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        client.configure_ipv6(Some(ipv6("2001:db8::50"))).unwrap();
        let count = Rc::new(RefCell::new(0));
        let counter = Rc::clone(&count);
        net.spawn(serve(server, move |query| {
            *counter.borrow_mut() += 1;
            let record = match asks_for_ipv6(query) {
                true if has_ipv6 => aaaa("boot.example", "2001:db8::1"),
                true => return Some(reply(query, OK, &[])),
                false => a("boot.example", [10, 0, 0, 1]),
            };
            Some(reply(query, OK, &[record]))
        }));
        let expected: Vec<IpAddr> = expected.iter().map(|it| it.parse().unwrap()).collect();
        for (wait, questions) in [(0, 2), (59, 2), (2, 4)] {
            net.run(client.sleep(seconds(wait)));
            let found = net.run(client.look_up("boot.example", seconds(5))).unwrap();
            let mut addresses = found.addresses;
            addresses.extend(found.late.map_or_else(Vec::new, |late| net.run(late)));
            assert_eq!(addresses, expected);
            assert_eq!(*count.borrow(), questions, "after {wait} s more");
        }
    }
}

/// Both questions are asked at once (RFC 8305 section 3): addresses of IPv6 are used when they
/// come, those of IPv4 when those of IPv6 are not there 50 ms later, and the others are added.
#[test]
fn neither_protocol_waits_long_for_the_other() {
    const NEVER: u64 = 60_000;
    const IPV6: &str = "2001:db8::1";
    const IPV4: &str = "10.0.0.1";
    for (ipv6_after, ipv4_after, first, took, late) in [
        (0, 300, &[IPV6][..], 0..20, &[IPV4][..]),
        (300, 0, &[IPV4], 50..70, &[IPV6]),
        (30, 0, &[IPV6, IPV4], 30..50, &[]),
        (NEVER, 0, &[IPV4], 50..70, &[]),
        (0, NEVER, &[IPV6], 0..20, &[]),
        (300, 310, &[IPV6], 300..320, &[IPV4]),
    ] {
        let net = Net::new(3, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        client.configure_ipv6(Some(ipv6("2001:db8::50"))).unwrap();
        let answer = |query: &[u8]| {
            let record = match asks_for_ipv6(query) {
                true => aaaa("boot.example", IPV6),
                false => a("boot.example", [10, 0, 0, 1]),
            };
            Some(reply(query, OK, &[record]))
        };
        let delay = move |query: &[u8]| match asks_for_ipv6(query) {
            true => Duration::from_millis(ipv6_after),
            false => Duration::from_millis(ipv4_after),
        };
        net.spawn(serve_late(server, answer, delay));
        let parse =
            |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|it| it.parse().unwrap()).collect() };
        let start = client.now();
        let found = net.run(client.look_up("boot.example", seconds(5))).unwrap();
        let millis = (client.now() - start).as_millis() as u64;
        assert_eq!(found.addresses, parse(first), "{ipv6_after} {ipv4_after}");
        assert!(
            took.contains(&millis),
            "{ipv6_after} {ipv4_after}: {millis} ms"
        );
        let rest = found.late.map_or_else(Vec::new, |rest| net.run(rest));
        assert_eq!(rest, parse(late), "{ipv6_after} {ipv4_after}");
    }
}

/// A server that never answers for addresses of IPv6 is waited for once and not for each
/// connection.
#[test]
fn a_protocol_without_an_answer_is_waited_for_once() {
    let net = Net::new(3, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    client.configure_ipv6(Some(ipv6("2001:db8::50"))).unwrap();
    net.spawn(serve(server, |query| {
        let records = [a("boot.example", [10, 0, 0, 1])];
        (!asks_for_ipv6(query)).then(|| reply(query, OK, &records))
    }));
    for took in [50..70, 0..1] {
        let start = client.now();
        let found = net.run(client.resolve("boot.example", seconds(5)));
        assert_eq!(found, Ok(vec![v4(10, 0, 0, 1)]));
        let millis = (client.now() - start).as_millis();
        assert!(took.contains(&millis), "{millis} ms");
    }
}

fn ipv6(address: &str) -> Ipv6Config {
    Ipv6Config {
        address: Some(address.parse().unwrap()),
        prefix_len: 64,
        ..Ipv6Config::default()
    }
}

/// A name server that is reached over IPv6, and no IPv4 at all.
#[test]
fn a_name_server_over_ipv6() {
    let net = Net::new(3, Faults::default());
    let client = net.stack(Card::u_boot(), None);
    let server = net.stack(Card::large(), None);
    let config = |address: &str| Ipv6Config {
        address: Some(address.parse().unwrap()),
        prefix_len: 64,
        router: None,
        dns: vec!["2001:db8::1".parse().unwrap()],
    };
    client.configure_ipv6(Some(config("2001:db8::50"))).unwrap();
    server.configure_ipv6(Some(config("2001:db8::1"))).unwrap();
    net.spawn(serve(server, |query| {
        assert!(asks_for_ipv6(query));
        Some(reply(query, OK, &[aaaa("boot.example", "2001:db8::7")]))
    }));
    let found = net.run(client.resolve("boot.example", seconds(5))).unwrap();
    assert_eq!(found, ["2001:db8::7".parse::<IpAddr>().unwrap()]);
}

#[test]
fn garbage_is_no_answer() {
    let query = encode("boot.example", DnsQueryType::A, 7).unwrap();
    let good = reply(
        &query,
        OK,
        &[cname("boot.example", "b.example"), a("b.example", [1; 4])],
    );
    let address = v4(1, 1, 1, 1);
    assert_eq!(
        decode(&good, (7, DnsQueryType::A), "boot.example"),
        Some(Answer::Addresses(vec![address], Duration::from_secs(60)))
    );
    for length in 0..good.len() {
        let _ = decode(&good[..length], (7, DnsQueryType::A), "boot.example");
    }
    let mut state = 1u64;
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (state >> 33) as usize % bad.len();
            bad[at] = (state >> 20) as u8;
        }
        let kind = [DnsQueryType::A, DnsQueryType::Aaaa][usize::from(bad[0] & 1)];
        let _ = decode(&bad, (7, kind), "boot.example");
    }
}
