//! Stacks that share a card: what is tagged, who gets what, and the one receive budget.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{VlanTag, untag};
use crate::frame;
use crate::testing::{CLIENT, Card, Faults, Net, SERVER, at, both, config, pattern, seconds};
use crate::{BootpPort, Destination, Stack, StreamError, TcpListener, TcpStream};

const STORAGE_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 50);
const STORAGE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);

/// Sends `data` to everybody who connects.
async fn serve(stack: Stack, port: u16, data: Vec<u8>) {
    let mut listener = TcpListener::bind(&stack, port).unwrap();
    loop {
        let mut stream = listener.accept().await.unwrap();
        if stream.write_all(&data).await.is_ok() {
            let _ = stream.close().await;
        }
    }
}

async fn download(client: &Stack, from: Ipv4Addr, port: u16) -> Vec<u8> {
    let connect = TcpStream::connect(client, at(from, port), seconds(10));
    let mut stream = connect.await.unwrap();
    let mut data = Vec::new();
    let mut buffer = vec![0; 16384];
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return data,
            count => data.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The VLAN in each frame of the log, and its length without the tag.
fn vlans(net: &Net) -> Vec<(Option<u16>, usize)> {
    let log = net.wire.borrow_mut().log.take().unwrap();
    let untagged = |(_, mut frame): (usize, Vec<u8>)| {
        let length = frame.len();
        untag(&mut frame, length)
    };
    log.into_iter().map(untagged).collect()
}

#[test]
fn numbers_of_vlans_and_priorities() {
    for (id, priority, is_valid) in [
        (0, 0, false),
        (1, 0, true),
        (4094, 7, true),
        (4095, 0, false),
        (2, 8, false),
    ] {
        let tag = VlanTag::new(id, priority);
        assert_eq!(tag.is_some(), is_valid, "{id} {priority}");
    }
    assert_eq!(VlanTag::new(2, 5).unwrap().bytes(), [0x81, 0, 0xa0, 2]);
}

#[test]
fn a_broadcast_on_a_vlan_has_its_tag_and_the_shortest_length() {
    let net = Net::new(1, Faults::default());
    net.wire.borrow_mut().log = Some(Vec::new());
    let client = net.stack(Card::u_boot(), None);
    let storage = client.on_vlan(VlanTag::new(2, 3).unwrap(), 1).unwrap();
    BootpPort::open(&storage).send(Destination::Broadcast, b"discover");
    let (_, frame) = net.wire.borrow_mut().log.take().unwrap().remove(0);
    // 60 bytes for the one who takes the tag out (IEEE 802.1Q-2022 annex G.2.3).
    assert_eq!(frame.len(), 64);
    assert_eq!(frame[6..12], client.mac());
    assert_eq!(frame[12..18], [0x81, 0, 0x60, 2, 8, 0]);
}

#[test]
fn each_vlan_has_its_own_traffic() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let near = net.on_vlan(&client, 2, STORAGE_CLIENT);
    let far = net.on_vlan(&server, 2, STORAGE);
    let (files, disk) = (pattern(200_000), pattern(300_000));
    net.spawn(serve(server.clone(), 80, files.clone()));
    net.spawn(serve(far, 3260, disk.clone()));
    net.wire.borrow_mut().log = Some(Vec::new());
    let got = net.run(both(
        download(&client, SERVER, 80),
        download(&near, STORAGE, 3260),
    ));
    assert!(got == (files, disk));
    let log = net.wire.borrow_mut().log.take().unwrap();
    let mut seen = [0; 2];
    for (_, mut frame) in log {
        let length = frame.len();
        let (vlan, length) = untag(&mut frame, length);
        let Some(ip) = frame::Ip::parse(&frame[..length]) else {
            continue;
        };
        let segment = frame::Segment::parse(&frame[..length], ip).unwrap();
        let is_storage = segment.from_port == 3260 || segment.to_port == 3260;
        assert_eq!(vlan, is_storage.then_some(2));
        // Room for the tag in a card that carries no more than 1514 bytes.
        assert!(!is_storage || length <= 1510, "{length}");
        seen[usize::from(is_storage)] += 1;
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}

/// The card that dies of a 33rd frame, with downloads over the card itself and two VLANs.
#[test]
fn the_budget_is_the_cards() {
    for seed in 0..4 {
        let net = Net::new(seed, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        let near = net.on_vlan(&client, 2, STORAGE_CLIENT);
        let far = net.on_vlan(&server, 2, STORAGE);
        let other = net.on_vlan(&client, 3, Ipv4Addr::new(10, 0, 3, 50));
        let there = Ipv4Addr::new(10, 0, 3, 1);
        let data = pattern(2_000_000);
        net.spawn(serve(server.clone(), 80, data.clone()));
        net.spawn(serve(far, 80, data.clone()));
        net.spawn(serve(net.on_vlan(&server, 3, there), 80, data.clone()));
        let interrupted = async {
            for _ in 0..40 {
                client.sleep(Duration::from_millis(2)).await;
                net.compute(Duration::from_millis(3));
                crate::yield_now().await;
            }
        };
        let (((a, b), c), ()) = net.run(both(
            both(
                both(download(&client, SERVER, 80), download(&near, STORAGE, 80)),
                download(&other, there, 80),
            ),
            interrupted,
        ));
        assert!(a == data && b == data && c == data, "seed {seed}");
        let wire = net.wire.borrow();
        assert!(!wire.is_dead(0), "seed {seed}");
        assert!(wire.seen.in_flight_max <= 24, "{:?}", wire.seen);
        assert!(wire.spy.promised_max <= 24 * 1460, "{:?}", wire.spy);
    }
}

#[test]
fn silence_names_the_vlan() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    // The switch has the server in VLAN 3.
    let near = net.on_vlan(&client, 2, STORAGE_CLIENT);
    let _far = net.on_vlan(&server, 3, STORAGE);
    let connect = TcpStream::connect(&near, at(STORAGE, 3260), seconds(5));
    assert_eq!(
        net.run(connect).unwrap_err().to_string(),
        "10.0.2.1 is not there: it did not answer ARP for 5 s on VLAN 2 (does the switch port \
         carry VLAN 2 tagged, and is the server in it?)"
    );
    let mut with_dns = config(STORAGE_CLIENT);
    with_dns.dns = vec![STORAGE];
    near.configure_ipv4(Some(with_dns)).unwrap();
    let failure = net
        .run(near.resolve("disk.example", seconds(2)))
        .unwrap_err();
    assert!(
        failure
            .to_string()
            .contains("from name server 10.0.2.1 in 2 s on VLAN 2 ("),
        "{failure}"
    );
}

/// A tag that only tells a priority belongs to the untagged network; one of a VLAN that nobody
/// is in to none, and one inside another to none.
#[test]
fn frames_that_are_nobodys() {
    let net = Net::new(1, Faults::default());
    let (client, _server) = net.pair(Card::u_boot());
    let near = net.on_vlan(&client, 2, STORAGE_CLIENT);
    net.wire.borrow_mut().log = Some(Vec::new());
    let tagged = |tags: &[u8]| {
        // An ARP request for the address of the untagged network.
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 9]);
        frame.extend_from_slice(tags);
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9]);
        frame.extend(Ipv4Addr::new(192, 168, 1, 9).octets());
        frame.extend([0; 6]);
        frame.extend(CLIENT.octets());
        frame.resize(64, 0);
        frame
    };
    for (tags, answers) in [
        (&[0x81, 0, 0xe0, 0][..], 1),
        (&[0x81, 0, 0, 2], 0),
        (&[0x81, 0, 0, 7], 0),
        (&[0x81, 0, 0, 2, 0x81, 0, 0, 2], 0),
        (&[0x81, 0], 0),
    ] {
        net.wire.borrow_mut().log = Some(Vec::new());
        net.wire.borrow_mut().send(1, &tagged(tags));
        net.run(near.sleep(Duration::from_millis(5)));
        assert_eq!(vlans(&net).len(), 1 + answers, "{tags:?}");
    }
}

#[test]
fn a_vlan_is_left_and_joined_again() {
    let net = Net::new(1, Faults::default());
    let (client, server) = net.pair(Card::u_boot());
    let near = net.on_vlan(&client, 2, STORAGE_CLIENT);
    let far = net.on_vlan(&server, 2, STORAGE);
    let data = pattern(50_000);
    net.spawn(serve(far, 80, data.clone()));
    let tag = VlanTag::new(2, 0).unwrap();
    assert!(client.on_vlan(tag, 0).is_none(), "it has a stack");
    assert!(near.on_vlan(tag, 0).is_none(), "a VLAN in a VLAN");
    net.run(async {
        let connect = TcpStream::connect(&near, at(STORAGE, 80), seconds(5));
        let mut stream = connect.await.unwrap();
        near.leave_vlan();
        assert!(!near.poll() && near.ipv4().is_none());
        let remote = at(STORAGE, 80);
        let error = stream.read(&mut [0; 60_000]).await.unwrap_err();
        assert_eq!(error, StreamError::Closed { remote });
    });
    let again = net.on_vlan(&client, 2, STORAGE_CLIENT);
    assert!(net.run(download(&again, STORAGE, 80)) == data);
    // The card goes down for all of them.
    again.shutdown();
    assert!(!client.poll() && !again.poll());
}
