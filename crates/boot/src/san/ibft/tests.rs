//! The table, read back by the offsets of the specification.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::*;

/// A card on DHCP, on a VLAN.
fn card(last: u8) -> Card {
    Card {
        mac: [0x52, 0x54, 0, 0x12, 0x34, last],
        vlan: 5,
        pci: 0x0108,
        address: IpAddr::from([192, 168, 1, last]),
        prefix_len: 24,
        router: Some(IpAddr::from([192, 168, 1, 1])),
        dns: vec![
            IpAddr::from([192, 168, 1, 2]),
            IpAddr::from([192, 168, 1, 3]),
        ],
        dhcp_server: Some(IpAddr::from([192, 168, 1, 4])),
        hostname: "node1".into(),
    }
}

fn target(card: u8) -> Target {
    Target {
        portal: "192.168.1.1:3260".parse().unwrap(),
        lun: [0, 1, 0, 0, 0, 0, 0, 0],
        name: "iqn.2000-01.com.example:disk1".into(),
        card,
        credentials: Some(Credentials::new("user", "secret of user")),
        reverse: Some(Credentials::new("target", "secret of target")),
    }
}

fn table(cards: Vec<Card>, targets: Vec<Target>) -> Vec<u8> {
    let table = Table {
        initiator_name: "iqn.2026-11.org.bowline:node1".into(),
        cards,
        targets,
    };
    table.to_bytes().expect("it fits").to_vec()
}

fn u16_at(table: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([table[at], table[at + 1]]))
}

fn text_at(table: &[u8], at: usize) -> &str {
    let (length, offset) = (u16_at(table, at), u16_at(table, at + 2));
    assert!(length == 0 || table[offset + length] == 0, "a null follows");
    str::from_utf8(&table[offset..offset + length]).unwrap()
}

fn address_at(table: &[u8], at: usize) -> String {
    let octets: [u8; 16] = table[at..at + 16].try_into().unwrap();
    alloc::format!("{}", Ipv6Addr::from(octets))
}

/// The offsets of initiator, NIC 0, target 0, NIC 1 and target 1.
fn offsets(table: &[u8]) -> [usize; 5] {
    core::array::from_fn(|index| u16_at(table, 48 + 8 + 2 * index))
}

#[test]
fn the_header_and_the_control_structure() {
    let table = table(vec![card(50)], vec![target(0)]);
    assert_eq!(&table[..4], b"iBFT");
    assert_eq!(
        u32::from_le_bytes(table[4..8].try_into().unwrap()),
        table.len() as u32
    );
    assert_eq!(table[8], 1, "the revision");
    assert_eq!(
        table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)),
        0
    );
    assert_eq!(table[48..54], [1, 1, 18, 0, 0, 0]);
    let [initiator, nic, target, nic1, target1] = offsets(&table);
    assert_eq!(
        [initiator, nic, target, nic1, target1],
        [72, 152, 256, 0, 0]
    );
    assert_eq!(table[initiator..initiator + 6], [2, 1, 74, 0, 0, 3]);
    assert_eq!(table[nic..nic + 6], [3, 1, 102, 0, 0, 7]);
    assert_eq!(table[target..target + 6], [4, 1, 54, 0, 0, 3]);
}

#[test]
fn who_we_are_and_how_the_card_is_configured() {
    let table = table(vec![card(50)], vec![target(0)]);
    let [initiator, nic, ..] = offsets(&table);
    assert_eq!(
        text_at(&table, initiator + 70),
        "iqn.2026-11.org.bowline:node1"
    );
    assert_eq!(address_at(&table, nic + 6), "::ffff:192.168.1.50");
    assert_eq!(table[nic + 22..nic + 24], [24, 3], "prefix, origin DHCP");
    let addresses: Vec<String> = (0..4)
        .map(|n| address_at(&table, nic + 24 + 16 * n))
        .collect();
    assert_eq!(
        addresses,
        [
            "::ffff:192.168.1.1",
            "::ffff:192.168.1.2",
            "::ffff:192.168.1.3",
            "::ffff:192.168.1.4"
        ]
    );
    assert_eq!(u16_at(&table, nic + 88), 5, "the VLAN");
    assert_eq!(table[nic + 90..nic + 96], [0x52, 0x54, 0, 0x12, 0x34, 50]);
    assert_eq!(
        u16_at(&table, nic + 96),
        0x0108,
        "bus 1, device 1, function 0"
    );
    assert_eq!(text_at(&table, nic + 98), "node1");
}

#[test]
fn the_target_with_both_secrets() {
    let table = table(vec![card(50)], vec![target(0)]);
    let target = offsets(&table)[2];
    assert_eq!(address_at(&table, target + 6), "::ffff:192.168.1.1");
    assert_eq!(u16_at(&table, target + 22), 3260);
    assert_eq!(table[target + 24..target + 32], [0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        table[target + 32..target + 34],
        [2, 0],
        "mutual CHAP, card 0"
    );
    let texts: Vec<&str> = (0..5)
        .map(|n| text_at(&table, target + 34 + 4 * n))
        .collect();
    assert_eq!(
        texts,
        [
            "iqn.2000-01.com.example:disk1",
            "user",
            "secret of user",
            "target",
            "secret of target"
        ]
    );
}

#[test]
fn what_is_not_there_is_zero() {
    let card = Card {
        vlan: 0,
        router: None,
        dns: vec![],
        dhcp_server: None,
        hostname: String::new(),
        ..card(50)
    };
    let target = Target {
        credentials: None,
        ..target(0)
    };
    let table = table(vec![card], vec![target]);
    let [_, nic, target, ..] = offsets(&table);
    assert_eq!(table[nic + 23], 1, "set by hand");
    assert_eq!(table[nic + 24..nic + 90], [0; 66]);
    assert_eq!(table[nic + 98..nic + 102], [0; 4]);
    assert_eq!(
        table[target + 32],
        0,
        "no CHAP, even with a secret for the target"
    );
    assert_eq!(table[target + 38..target + 54], [0; 16]);
}

#[test]
fn ipv6_is_written_as_it_is() {
    let card = Card {
        address: "fd00::50".parse().unwrap(),
        prefix_len: 64,
        ..card(50)
    };
    let target = Target {
        portal: "[fd00::1]:3260".parse().unwrap(),
        ..target(0)
    };
    let table = table(vec![card], vec![target]);
    let [_, nic, target, ..] = offsets(&table);
    assert_eq!(address_at(&table, nic + 6), "fd00::50");
    assert_eq!(address_at(&table, target + 6), "fd00::1");
}

#[test]
fn two_cards_and_two_targets_have_places() {
    let table = table(vec![card(50), card(51)], vec![target(1), target(0)]);
    let [_, nic0, target0, nic1, target1] = offsets(&table);
    assert!(
        [nic0, target0, nic1, target1]
            .iter()
            .all(|offset| offset % 8 == 0)
    );
    assert_eq!((table[nic0 + 4], table[nic0 + 5]), (0, 7));
    assert_eq!(
        (table[nic1 + 4], table[nic1 + 5]),
        (1, 5),
        "not booted over"
    );
    assert_eq!((table[target0 + 5], table[target0 + 33]), (3, 1));
    assert_eq!((table[target1 + 5], table[target1 + 33]), (1, 0));
}

#[test]
fn two_targets_may_share_a_card() {
    let table = table(vec![card(50)], vec![target(0), target(0)]);
    let [_, _, _, nic1, target1] = offsets(&table);
    assert_eq!(nic1, 0);
    assert_eq!(table[target1], 4);
}

#[test]
fn texts_beyond_offsets_of_16_bits_are_refused() {
    let target = Target {
        credentials: Some(Credentials::new(&"u".repeat(65_500), "secret")),
        ..target(0)
    };
    let table = Table {
        initiator_name: "iqn.2026-11.org.bowline:node1".into(),
        cards: vec![card(50)],
        targets: vec![target],
    };
    assert!(table.to_bytes().is_none());
}
