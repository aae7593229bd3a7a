//! Router advertisements, and TCP over IPv6 with its neighbours.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{AdvertisementPort, Prefix, message, parse};
use crate::checksum;
use crate::frame::{self, Ip};
use crate::testing::{Card, Faults, Net, both, pattern, seconds};
use crate::{Ipv6Config, Stack, TcpListener, TcpStream, address_in};

const ROUTER: &str = "fe80::1";

fn config(address: &str, router: Option<&str>) -> Ipv6Config {
    Ipv6Config {
        address: Some(address.parse().unwrap()),
        prefix_len: 64,
        router: router.map(|router| router.parse().unwrap()),
        dns: vec![],
    }
}

fn connect(stack: &Stack, to: &str) -> impl Future<Output = Result<TcpStream, String>> {
    let remote = SocketAddr::new(to.parse().unwrap(), 80);
    let stack = stack.clone();
    async move {
        let connected = TcpStream::connect(&stack, remote, seconds(5)).await;
        connected.map_err(|error| error.to_string())
    }
}

/// A frame with this ICMPv6 message to all nodes, its checksum right.
fn icmpv6(from: &str, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let from: Ipv6Addr = from.parse().unwrap();
    let to: Ipv6Addr = "ff02::1".parse().unwrap();
    let mut frame = vec![
        0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x86, 0xdd, 0x60, 0, 0, 0,
    ];
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([58, hop_limit]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    let pseudo = checksum::pseudo_header(from.into(), to.into(), 58, message.len() as u16);
    let sum = !checksum::add(&[pseudo, checksum::sum(&frame[54..])]);
    frame[56..58].copy_from_slice(&sum.to_ne_bytes());
    frame.resize(frame.len().max(60), 0);
    frame
}

/// Sends a message that was written for a group to one station.
pub(crate) fn send_to(
    frame: &mut [u8],
    length: usize,
    mac: [u8; 6],
    to: Ipv6Addr,
) -> Option<usize> {
    frame[..6].copy_from_slice(&mac);
    frame[38..54].copy_from_slice(&to.octets());
    let ip = Ip::parse(&frame[..length])?;
    super::fill_checksum(&mut frame[..length], ip.from, ip.to);
    Some(length)
}

/// An advertisement with every option that is read, and one that is not.
fn advertisement() -> Vec<u8> {
    let mut message = vec![134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([1, 1, 2, 0, 0, 0, 0, 9]);
    for (length, flags, prefix) in [(64, 0xc0, "2001:db8:1::ff"), (48, 0xc0, "2001:db8:2::")] {
        message.extend([3, 4, length, flags, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        message.extend(prefix.parse::<Ipv6Addr>().unwrap().octets());
    }
    message.extend([25, 5, 0, 0, 0, 0, 1, 0]);
    for server in ["2001:db8::53", "2001:db8::54"] {
        message.extend(server.parse::<Ipv6Addr>().unwrap().octets());
    }
    message.extend([31, 3, 0, 0, 0, 0, 1, 0]);
    message.extend(*b"\x03lab\x07example\0\0\0\0");
    message
}

#[test]
fn an_advertisement_is_read() {
    let frame = icmpv6(ROUTER, 255, &advertisement());
    let found = parse(&frame, Ip::parse(&frame).unwrap()).unwrap();
    assert_eq!(found.router.to_string(), ROUTER);
    assert!(found.is_default && found.managed && found.other);
    let prefix = |prefix: &str, length, autonomous| Prefix {
        prefix: prefix.parse().unwrap(),
        length,
        autonomous,
        on_link: true,
    };
    // Only a prefix of 64 bits has room for our identifier.
    let expected = [
        prefix("2001:db8:1::", 64, true),
        prefix("2001:db8:2::", 48, false),
    ];
    assert_eq!(found.prefixes, expected);
    assert_eq!(found.dns.len(), 2);
    assert_eq!(found.search, b"\x03lab\x07example\0");
    let near: Ipv6Addr = "2001:db8:1::77".parse().unwrap();
    assert_eq!(
        found
            .prefixes
            .iter()
            .map(|it| it.contains(near))
            .collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn what_no_router_on_the_link_says_is_not_believed() {
    let message = advertisement();
    let mut empty_option = message.clone();
    empty_option[17] = 0;
    for (from, hop_limit, message) in [
        (ROUTER, 254, &message[..]),
        ("2001:db8::1", 255, &message),
        (ROUTER, 255, &message[..12]),
        (ROUTER, 255, &empty_option),
        (ROUTER, 255, &[135, 0, 0, 0]),
    ] {
        let frame = icmpv6(from, hop_limit, message);
        assert_eq!(
            parse(&frame, Ip::parse(&frame).unwrap()),
            None,
            "{from} {hop_limit}"
        );
    }
    // Any bytes at all.
    let mut state = 1u64;
    for _ in 0..20_000 {
        let mut frame = icmpv6(ROUTER, 255, &message);
        for _ in 0..3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = 54 + (state >> 33) as usize % (frame.len() - 54);
            frame[at] = (state >> 20) as u8;
        }
        let _ = Ip::parse(&frame).and_then(|ip| parse(&frame, ip));
    }
}

#[test]
fn routers_are_asked_for_and_heard() {
    let net = Net::new(1, Faults::default());
    let client = net.stack(Card::u_boot(), None);
    let _other = net.stack(Card::large(), None);
    client.configure_ipv6(Some(Ipv6Config::default())).unwrap();
    net.wire.borrow_mut().log = Some(Vec::new());
    let port = AdvertisementPort::open(&client);
    port.solicit();
    let (_, asked) = net.wire.borrow_mut().log.take().unwrap().remove(0);
    let ip = Ip::parse(&asked).unwrap();
    assert!(ip.payload_checksum_holds(&asked) && message(&asked, ip, 133).is_some());
    assert_eq!(
        (ip.from, asked[..6].to_vec()),
        (
            IpAddr::V6(client.link_local()),
            vec![0x33, 0x33, 0, 0, 0, 2]
        )
    );
    let mut damaged = icmpv6(ROUTER, 255, &advertisement());
    damaged[70] ^= 1;
    net.wire.borrow_mut().send(1, &damaged);
    net.wire
        .borrow_mut()
        .send(1, &icmpv6(ROUTER, 255, &advertisement()));
    net.run(client.sleep(Duration::from_millis(1)));
    assert_eq!(port.try_receive().unwrap().router.to_string(), ROUTER);
    assert_eq!(port.try_receive(), None);
    assert_eq!(client.statistics().bad, 1);
}

/// A megabyte over a bad wire with the card that dies, under the receive budget; and the other
/// half of the connection over a router that is the server itself.
#[test]
fn tcp_over_ipv6_keeps_the_budget() {
    for seed in 0..4 {
        let net = Net::new(
            seed,
            Faults {
                loss: 5,
                duplicate: 5,
                reorder: 10,
            },
        );
        let client = net.stack(Card::u_boot(), None);
        let server = net.stack(Card::large(), None);
        let router = server.link_local().to_string();
        let ours = config("2001:db8::50", Some(&router));
        client.configure_ipv6(Some(ours)).unwrap();
        let back = client.link_local().to_string();
        server
            .configure_ipv6(Some(config("2001:db8:7::1", Some(&back))))
            .unwrap();
        let mut listener = TcpListener::bind(&server, 80).unwrap();
        let data = pattern(1_000_000);
        let sent = data.clone();
        net.spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            stream.write_all(&sent).await.unwrap();
            let _ = stream.close().await;
        });
        let mut got = vec![0; data.len()];
        net.run(async {
            let mut stream = connect(&client, "2001:db8:7::1").await.unwrap();
            assert_eq!(stream.local_addr().ip().to_string(), "2001:db8::50");
            stream.read_exact(&mut got).await.unwrap();
        });
        assert!(got == data, "seed {seed}");
        let wire = net.wire.borrow();
        assert!(
            !wire.is_dead(0) && wire.seen.in_flight_max <= 24,
            "{:?}",
            wire.seen
        );
        assert!(wire.spy.promised_max > 10_000 && wire.spy.promised_max <= 24 * 1460);
        // Acknowledgements of our own making are thinned out here as they are with IPv4.
        assert!(wire.seen.from * 2 < wire.seen.data, "{:?}", wire.seen);
    }
}

#[test]
fn connecting_fails_in_words() {
    let net = Net::new(1, Faults::default());
    let client = net.stack(Card::u_boot(), None);
    let server = net.stack(Card::large(), None);
    assert_eq!(
        net.run(connect(&client, "2001:db8::1")).unwrap_err(),
        "no network address yet: run dhcp first"
    );
    client
        .configure_ipv6(Some(config("2001:db8::50", None)))
        .unwrap();
    server
        .configure_ipv6(Some(config("2001:db8::1", None)))
        .unwrap();
    for (to, words) in [
        (
            "2001:db8::1",
            "connection refused by [2001:db8::1]:80: nothing listens on that port",
        ),
        (
            "2001:db8::7",
            "2001:db8::7 is not there: it did not answer NDP for 5 s",
        ),
        (
            "2001:db8:7::1",
            "no route to 2001:db8:7::1: it is not on our network and there is no router",
        ),
        (
            "ff02::1",
            "cannot connect to [ff02::1]:80: it is no host's address",
        ),
    ] {
        assert_eq!(net.run(connect(&client, to)).unwrap_err(), words);
    }
    // Over the link-local addresses.
    let far = server.link_local().to_string();
    let mut listener = TcpListener::bind(&server, 80).unwrap();
    let (stream, accepted) = net.run(both(connect(&client, &far), listener.accept()));
    let ours = IpAddr::V6(client.link_local());
    assert_eq!(
        (
            stream.unwrap().local_addr().ip(),
            accepted.unwrap().remote_addr().ip()
        ),
        (ours, ours)
    );
    let multicast = Ipv6Config {
        address: Some("ff02::1".parse().unwrap()),
        ..Ipv6Config::default()
    };
    assert!(client.configure_ipv6(Some(multicast)).is_err());
    assert_eq!(frame::address6(&[0; 15], 0), None);
    let prefix = "2001:db8::".parse().unwrap();
    assert_eq!(
        address_in(prefix, client.mac()).segments()[..4],
        [0x2001, 0xdb8, 0, 0]
    );
}
