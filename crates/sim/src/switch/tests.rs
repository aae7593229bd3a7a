//! The switch by hand: frames in, frames out.

use super::*;

const MACHINE: Mac = [2, 0, 0, 0, 0, 1];
const SERVER: Mac = [2, 0, 0, 0, 0, 2];
const STORAGE: Mac = [2, 0, 0, 0, 0, 3];
const ALL: Mac = [0xff; 6];

/// Ports 0: machine (VLAN 1 untagged, 2 tagged), 1: server on 1, 2: storage on 2.
fn switch() -> Switch {
    let machine = PortConfig {
        tagged: [2].into(),
        ..PortConfig::access("machine", 1)
    };
    Switch::new(
        vec![
            machine,
            PortConfig::access("server", 1),
            PortConfig::access("storage", 2),
        ],
        1,
    )
}

fn frame(to: Mac, from: Mac) -> Vec<u8> {
    let mut frame = [to.as_slice(), &from, &[8, 0]].concat();
    frame.resize(60, 7);
    frame
}

/// What comes out where when `frame` goes in at `port`.
fn send(switch: &mut Switch, port: usize, frame: &[u8]) -> Vec<(usize, Vec<u8>)> {
    switch.receive(Duration::ZERO, port, frame);
    std::iter::from_fn(|| switch.poll_transmit(Duration::ZERO)).collect()
}

#[test]
fn vlans_are_kept_apart_and_tags_come_and_go() {
    let mut switch = switch();
    let plain = frame(ALL, MACHINE);
    assert_eq!(send(&mut switch, 0, &plain), [(1, plain.clone())]);
    assert_eq!(
        send(&mut switch, 0, &tag::push(&plain, 2)),
        [(2, plain.clone())]
    );
    let answer = frame(MACHINE, STORAGE);
    assert_eq!(send(&mut switch, 2, &answer), [(0, tag::push(&answer, 2))]);
}

#[test]
fn a_priority_tag_is_no_vlan_and_the_priority_is_kept() {
    let mut switch = switch();
    let plain = frame(ALL, MACHINE);
    assert_eq!(
        send(&mut switch, 0, &tag::push(&plain, 0xa000)),
        [(1, plain)]
    );
    switch.config_mut(1).unwrap().untagged = None;
    switch.config_mut(1).unwrap().tagged.insert(1);
    let plain = frame(SERVER, MACHINE);
    assert_eq!(
        send(&mut switch, 0, &tag::push(&plain, 0xa000)),
        [(1, tag::push(&plain, 0xa001))]
    );
}

#[test]
fn addresses_are_learned_on_each_vlan() {
    let mut switch = Switch::new(
        (0..3)
            .map(|port| PortConfig::access(&port.to_string(), 1))
            .collect(),
        1,
    );
    let unknown = frame(SERVER, MACHINE);
    assert_eq!(send(&mut switch, 0, &unknown).len(), 2);
    assert_eq!(send(&mut switch, 1, &frame(MACHINE, SERVER)).len(), 1);
    assert_eq!(send(&mut switch, 0, &unknown), [(1, unknown.clone())]);
    // The same address on another VLAN is another station.
    for port in 0..3 {
        switch.config_mut(port).unwrap().tagged.insert(2);
    }
    assert_eq!(send(&mut switch, 0, &tag::push(&unknown, 2)).len(), 2);
}

#[test]
fn a_vlan_that_the_port_does_not_carry_is_refused_and_counted() {
    let mut switch = switch();
    switch.config_mut(0).unwrap().tagged.clear();
    assert_eq!(
        send(&mut switch, 0, &tag::push(&frame(ALL, MACHINE), 2)),
        []
    );
    assert_eq!(switch.counters()[&(0, 2)].refused, 1);
    assert_eq!(send(&mut switch, 0, &[0; 13]), [], "not even a frame");
    assert_eq!(switch.counters()[&(0, 0)].refused, 1);
}

#[test]
fn both_directions_of_a_cable_delay_alike() {
    let mut switch = switch();
    let delay = Duration::from_millis(5);
    switch.config_mut(0).unwrap().impairment.delay = delay;
    switch.receive(Duration::ZERO, 0, &frame(SERVER, MACHINE));
    assert_eq!(switch.poll_at(), Some(delay));
    assert_eq!(switch.poll_transmit(delay - Duration::from_nanos(1)), None);
    assert_eq!(switch.poll_transmit(delay).unwrap().0, 1);
    switch.receive(delay, 1, &frame(MACHINE, SERVER));
    assert_eq!(switch.poll_transmit(delay), None);
    assert_eq!(switch.poll_transmit(delay * 2).unwrap().0, 0);
    assert_eq!(switch.poll_at(), None);
}

#[test]
fn losses_are_as_frequent_as_asked_and_the_same_for_the_same_seed() {
    let run = || {
        let mut switch = switch();
        switch.config_mut(0).unwrap().impairment.loss = 100;
        let outcome: Vec<bool> = (0..1000)
            .map(|_| send(&mut switch, 0, &frame(SERVER, MACHINE)).is_empty())
            .collect();
        (outcome, switch.counters()[&(0, 1)].lost)
    };
    let (outcome, lost) = run();
    assert_eq!(outcome, run().0);
    assert_eq!(outcome.iter().filter(|lost| **lost).count() as u64, lost);
    assert!((70..130).contains(&lost), "{lost} of 1000");
}

#[test]
fn a_port_has_only_the_services_that_its_rules_name() {
    let mut switch = switch();
    switch.config_mut(1).unwrap().services = Some([80, 443].into());
    let segment = tcp::tests::segment;
    assert_eq!(send(&mut switch, 0, &segment(443, 10)).len(), 1);
    assert_eq!(send(&mut switch, 0, &segment(3260, 10)), []);
    assert_eq!(switch.counters()[&(1, 1)].filtered, 1);
    assert_eq!(send(&mut switch, 0, &frame(SERVER, MACHINE)).len(), 1);
}

#[test]
fn every_so_many_bytes_both_ends_are_reset() {
    let mut switch = switch();
    switch.config_mut(1).unwrap().reset_every = Some(250);
    let segment = tcp::tests::segment(80, 100);
    let seen: Vec<Vec<usize>> = (0..6)
        .map(|_| {
            let out = send(&mut switch, 0, &segment);
            out.into_iter().map(|(port, _)| port).collect()
        })
        .collect();
    assert_eq!(
        seen,
        [vec![1], vec![1], vec![1, 0], vec![1], vec![1], vec![1, 0]]
    );
}

#[test]
fn captures_show_each_vlan_with_its_tag_and_each_port_as_it_is() {
    let mut switch = switch();
    let plain = frame(SERVER, MACHINE);
    send(&mut switch, 0, &plain);
    let captured = switch.take_captured();
    let seen: Vec<_> = captured
        .iter()
        .map(|captured| (captured.place, captured.frame.clone()))
        .collect();
    assert_eq!(
        seen,
        [
            (Place::Port(0), plain.clone()),
            (Place::Vlan(1), tag::push(&plain, 1)),
            (Place::Port(1), plain),
        ]
    );
    assert_eq!(switch.take_captured(), []);
}

#[test]
fn capture_files_tell_the_vlan_of_each_segment() {
    let folder = tempfile::tempdir().unwrap();
    let mut captures = Captures::new(folder.path(), vec!["machine".to_owned()]);
    let mut switch = switch();
    let segment = tcp::tests::segment(3260, 10);
    send(&mut switch, 0, &tag::push(&segment, 2));
    send(&mut switch, 0, &frame(ALL, MACHINE));
    for captured in switch.take_captured() {
        captures.write(&captured).unwrap();
    }
    captures.flush().unwrap();
    let read = |name: &str| tcp_segments(&folder.path().join(name)).unwrap();
    let seen = TcpSegment {
        vlan: Some(2),
        ports: [1000, 3260],
    };
    assert_eq!(read("port-machine.pcap"), [seen]);
    assert_eq!(read("vlan-2.pcap"), [seen]);
    assert_eq!(read("vlan-1.pcap"), [], "no TCP in it");
}

#[test]
fn in_real_time_guests_and_counters_are_reached() {
    use super::realtime::{Guest, Running};
    use std::os::unix::net::UnixDatagram;
    use std::sync::Arc;

    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    let paths = [folder.join("a"), folder.join("b")];
    let ports = vec![PortConfig::access("a", 1), PortConfig::access("b", 1)];
    let captures = Captures::new(folder, vec!["a".to_owned(), "b".to_owned()]);
    let cables = paths
        .iter()
        .map(|path| Arc::new(Guest::listen(path).unwrap()) as Arc<dyn realtime::Cable>)
        .collect();
    let running = Running::start(Switch::new(ports, 1), cables, Some(captures));
    let guests = paths
        .each_ref()
        .map(|path| UnixDatagram::bind(path.with_extension("card")).unwrap());
    let sent = frame(ALL, MACHINE);
    guests[1].send_to(&sent, &paths[1]).unwrap();
    guests[0]
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let mut received = [0; 64];
    let length = guests[0].recv(&mut received).unwrap();
    assert_eq!(received[..length], sent[..]);
    let counters = running
        .with(|switch| switch.counters()[&(0, 1)])
        .expect("the switch runs");
    assert!(counters.sent >= 1);
    drop(running);
    let capture = std::fs::read(folder.join("vlan-1.pcap")).unwrap();
    assert_eq!(capture[24 + 16..][..12], sent[..12]);
}
