//! Scenarios of RFC 2131 §3 between our client and our server.

use super::*;
use crate::client::{Event, FailureReason};
use crate::limits;
use crate::server::{EventKind, Host, LeaseState, Match, Refusal};
use crate::wire::MessageType;
use alloc::string::ToString;
use alloc::vec;

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 1, last)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn network(clients: &[client::Config], servers: &[server::Config]) -> Network {
    let clients = clients
        .iter()
        .map(|config| Client::new(config.clone(), START))
        .collect();
    let servers = servers
        .iter()
        .map(|config| Server::new(config.clone(), []).unwrap())
        .collect();
    Network::new(clients, servers)
}

#[test]
fn a_lease_in_four_messages_without_waiting() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_until(START + Duration::from_millis(4));
    let lease = net.lease(0);
    assert_eq!(
        (lease.address, lease.prefix_len(), lease.server),
        (ip(100), 24, SERVER)
    );
    assert_eq!(lease.router(), Some(SERVER));
    assert_eq!(lease.next_server(), Some(SERVER));
    assert_eq!(lease.boot_file(), Some(&b"bowline.efi"[..]));
    assert_eq!(lease.root_path().map(<[u8]>::len), Some(51));
    assert_eq!(lease.lease_time(), Some(seconds(3600)));
    assert_eq!(lease.acquired, START + Duration::from_millis(4));
    assert!(matches!(&net.events[..], [(0, Event::Bound(_))]));
    assert_eq!((net.requests.len(), net.replies.len()), (2, 2));
    let kept = &net.kept[0][&ip(100)];
    assert_eq!(kept.state, LeaseState::Bound);
    assert_eq!(
        kept.expires,
        START + Duration::from_millis(3) + seconds(3600)
    );
}

#[test]
fn loss_only_costs_time() {
    for loss in [10, 30, 50] {
        let mut bound = 0;
        for seed in 0..100 {
            let mut net = network(&[client_config(1), client_config(2)], &[server_config(10)]);
            net.seed(seed);
            net.loss = loss;
            net.run_for(seconds(30));
            for client in 0..2 {
                match net.clients[client].lease() {
                    Some(_) => bound += 1,
                    None => assert!(
                        net.failure(client).waited <= seconds(10),
                        "seed {seed}, loss {loss}: stopped late"
                    ),
                }
            }
            let addresses: Vec<_> = net
                .clients
                .iter()
                .filter_map(|client| Some(client.lease()?.address))
                .collect();
            if let [a, b] = addresses[..] {
                assert_ne!(a, b, "seed {seed}, loss {loss}");
            }
        }
        let expected = match loss {
            10 => 200,
            30 => 190,
            _ => 120,
        };
        assert!(
            bound >= expected,
            "{bound} of 200 clients got a lease at {loss} % loss"
        );
    }
}

#[test]
fn many_machines_at_once_get_different_addresses() {
    let clients: Vec<_> = (0..50).map(client_config).collect();
    let mut net = network(&clients, &[server_config(50)]);
    net.run_for(seconds(1));
    let mut addresses: Vec<_> = (0..50).map(|client| net.lease(client).address).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 50);
}

#[test]
fn an_exhausted_pool_is_told_on_both_sides_and_recovers() {
    let mut net = network(&[client_config(1), client_config(2)], &[server_config(1)]);
    net.run_for(seconds(20));
    let (winner, loser) = if net.clients[0].lease().is_some() {
        (0, 1)
    } else {
        (1, 0)
    };
    assert_eq!(net.failure(loser).reason, FailureReason::NoAnswer);
    assert!(
        net.log
            .iter()
            .any(|event| event.kind == EventKind::NoAddress(ip(0)))
    );
    // The address comes back with RELEASE.
    let now = net.now;
    net.clients[winner].release(now);
    net.run_for(seconds(1));
    let now = net.now;
    net.clients[loser].restart(now);
    net.run_for(seconds(1));
    assert_eq!(net.lease(loser).address, ip(100));
}

#[test]
fn two_servers_one_is_chosen_and_the_other_forgets() {
    let mut other = server_config(10);
    other.server = ip(2);
    other.subnets[0].pools[0] = AddressRange {
        first: ip(200),
        last: ip(209),
    };
    let mut net = network(&[client_config(1)], &[server_config(10), other]);
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).server, SERVER);
    assert!(
        net.log
            .iter()
            .any(|event| event.kind == EventKind::ChoseOther(SERVER))
    );
    assert!(net.kept[1].is_empty());
    assert_eq!(net.servers[1].leases().count(), 0);
}

#[test]
fn renewal_keeps_the_address() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_for(seconds(1));
    net.run_for(seconds(3600 * 5));
    assert_eq!(net.lease(0).address, ip(100));
    let renewed = net
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Renewed(_)));
    assert_eq!(renewed.count(), 10, "at T1, half of the hour");
    let last = net.requests.last().unwrap();
    assert_eq!(last.ciaddr, ip(100));
    assert_eq!(last.server_identifier(), None, "RFC 2131 table 4");
    assert_eq!(last.options.get(code::REQUESTED_ADDRESS), None);
}

#[test]
fn silence_leads_to_rebinding_and_then_to_expiry() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_for(seconds(1));
    net.requests.clear();
    net.silent = true;
    net.run_until(START + seconds(3599));
    assert!(net.clients[0].lease().is_some());
    // T1 1800 s, T2 3150 s: pauses halve, not below a minute (RFC 2131 §4.4.5).
    assert!(
        (5..25).contains(&net.requests.len()),
        "{} renewals",
        net.requests.len()
    );
    net.run_until(START + seconds(3602));
    assert!(net.clients[0].lease().is_none());
    assert!(
        net.events
            .iter()
            .any(|(_, event)| *event == Event::Expired(ip(100)))
    );
    net.run_for(seconds(20));
    assert_eq!(net.failure(0).reason, FailureReason::NoAnswer);
}

#[test]
fn an_expired_address_goes_to_the_next_client() {
    let mut net = network(&[client_config(1)], &[server_config(1)]);
    net.run_for(seconds(1));
    net.clients.clear();
    net.run_for(seconds(3500));
    net.clients.push(Client::new(client_config(2), net.now));
    net.run_for(seconds(20));
    assert!(net.clients[0].lease().is_none());
    net.run_for(seconds(200));
    let now = net.now;
    net.clients[0].restart(now);
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).address, ip(100));
}

#[test]
fn a_client_comes_back_to_its_address() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_for(seconds(1));
    net.clients[0] = Client::new(client_config(2), net.now);
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).address, ip(101));
    // Long after its lease ended.
    net.run_for(seconds(90_000));
    net.clients[0] = Client::new(client_config(1), net.now);
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).address, ip(100));
}

#[test]
fn a_restarted_server_remembers() {
    let mut net = network(&[client_config(1), client_config(2)], &[server_config(2)]);
    net.run_for(seconds(1));
    let before = [net.lease(0).address, net.lease(1).address];
    let kept: Vec<_> = net.kept[0].values().cloned().collect();
    net.servers[0] = Server::new(server_config(2), kept).unwrap();
    net.clients = vec![
        Client::new(client_config(2), net.now),
        Client::new(client_config(1), net.now),
    ];
    net.run_for(seconds(1));
    assert_eq!([net.lease(1).address, net.lease(0).address], before);
}

#[test]
fn a_server_that_lost_its_records_learns_from_renewals() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_for(seconds(1));
    net.servers[0] = Server::new(server_config(10), []).unwrap();
    net.kept[0].clear();
    net.run_for(seconds(1900));
    assert_eq!(net.lease(0).address, ip(100));
    assert_eq!(net.kept[0][&ip(100)].state, LeaseState::Bound);
}

#[test]
fn an_address_in_use_is_declined_and_left_alone() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_for(seconds(1));
    let now = net.now;
    net.clients[0].decline(now);
    net.run_for(seconds(2));
    assert_eq!(net.lease(0).address, ip(101));
    assert_eq!(net.kept[0][&ip(100)].state, LeaseState::Declined);
    let decline = net
        .requests
        .iter()
        .find(|m| m.message_type() == Some(MessageType::DECLINE));
    let decline = decline.unwrap();
    assert_eq!(decline.options.ipv4(code::REQUESTED_ADDRESS), Some(ip(100)));
    assert_eq!(
        decline.options.get(code::PARAMETER_REQUEST_LIST),
        None,
        "RFC 2131 table 5"
    );
    // Nobody else gets it either, until the hold ends.
    net.clients.push(Client::new(client_config(2), net.now));
    net.run_for(seconds(1));
    assert_eq!(net.lease(1).address, ip(102));

    for _ in 0..limits::DECLINES_MAX {
        let now = net.now;
        net.clients[0].decline(now);
        net.run_for(seconds(2));
    }
    assert!(matches!(
        net.failure(0).reason,
        FailureReason::AddressInUse { .. }
    ));
}

#[test]
fn a_remembered_address_is_asked_for_first() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_for(seconds(1));
    net.requests.clear();
    let mut config = client_config(1);
    config.previous_address = Some(ip(100));
    net.clients[0] = Client::new(config, net.now);
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).address, ip(100));
    assert_eq!(net.requests.len(), 1, "INIT-REBOOT: REQUEST and ACK");

    // Of another network: refused at once, then a new address (RFC 2131 §3.2 step 4).
    net.requests.clear();
    let mut config = client_config(2);
    config.previous_address = Some(Ipv4Addr::new(10, 0, 0, 7));
    net.clients[0] = Client::new(config, net.now);
    net.run_for(Duration::from_millis(50));
    assert_eq!(net.lease(0).address, ip(101));
    let kinds: Vec<_> = net
        .requests
        .iter()
        .filter_map(Message::message_type)
        .collect();
    assert_eq!(
        kinds,
        [
            MessageType::REQUEST,
            MessageType::DISCOVER,
            MessageType::REQUEST
        ]
    );

    // Unknown to the server: silence (RFC 2131 §4.3.2), then a new address.
    let mut config = client_config(3);
    config.previous_address = Some(ip(105));
    net.clients[0] = Client::new(config, net.now);
    net.run_for(seconds(2));
    assert!(
        net.log
            .iter()
            .any(|event| event.kind == EventKind::UnknownClient(ip(105)))
    );
    assert_eq!(net.lease(0).address, ip(102));
}

#[test]
fn reservations_hold_for_mac_identifier_and_uuid() {
    let mut config = server_config(10);
    let host = |address| Host {
        address: Some(address),
        ..Host::default()
    };
    config.hosts = vec![
        Host {
            mac: Some(mac(1)),
            ..host(ip(50))
        },
        Host {
            client_identifier: Some(hex("ff 01 02 03")),
            ..host(ip(100))
        },
        Host {
            uuid: Some([7; 16]),
            ..host(ip(52))
        },
        Host {
            mac: Some(mac(5)),
            ..Host::default()
        },
    ];
    config.hosts[0]
        .profile
        .options
        .set(code::HOST_NAME, b"node1");
    let mut by_identifier = client_config(2);
    by_identifier.client_identifier = Some(hex("ff 01 02 03"));
    let mut by_uuid = client_config(3);
    by_uuid.uuid = Some([7; 16]);
    let clients = [
        client_config(1),
        by_identifier,
        by_uuid,
        client_config(4),
        client_config(5),
    ];
    let mut net = network(&clients, &[config]);
    net.run_for(seconds(1));
    let addresses: Vec<_> = (0..5).map(|client| net.lease(client).address).collect();
    assert_eq!(addresses[..3], [ip(50), ip(100), ip(52)]);
    assert_eq!(
        addresses[3..],
        [ip(101), ip(102)],
        "a reserved address is not in the pool"
    );
    assert_eq!(
        net.lease(0).options.text(code::HOST_NAME),
        Some(&b"node1"[..])
    );

    // The same machine, now as its installed system with an identifier of its own.
    let mut system = client_config(1);
    system.client_identifier = Some(hex("ff 99 99 99 99"));
    net.clients[0] = Client::new(system, net.now);
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).address, ip(50));
}

#[test]
fn a_reservation_made_later_moves_the_client() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.run_for(seconds(1));
    let kept: Vec<_> = net.kept[0].values().cloned().collect();
    let mut config = server_config(10);
    config.hosts = vec![Host {
        mac: Some(mac(1)),
        address: Some(ip(50)),
        ..Host::default()
    }];
    net.servers[0] = Server::new(config, kept).unwrap();
    let mut again = client_config(1);
    again.previous_address = Some(ip(100));
    net.clients[0] = Client::new(again, net.now);
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).address, ip(50));
    assert!(
        net.log
            .iter()
            .any(|e| e.kind == EventKind::Refused(ip(100), Refusal::NotYours))
    );
}

#[test]
fn user_class_selects_the_boot_file() {
    let mut config = server_config(10);
    let rule = |user_class: &[u8], filename: &[u8]| Match {
        user_class: Some(user_class.to_vec()),
        profile: Profile {
            filename: Some(filename.to_vec()),
            ..Profile::default()
        },
        ..Match::default()
    };
    config.matches = vec![
        rule(b"iPXE", b"http://192.168.1.1/boot.ipxe"),
        rule(b"\x69\xa0\x45\x43", b"http://192.168.1.1/special.ipxe"),
        Match {
            vendor_class: Some(b"PXEClient:Arch:00011".to_vec()),
            architectures: vec![Architecture::ARM64],
            profile: Profile {
                filename: Some(b"arm64.efi".to_vec()),
                ..Profile::default()
            },
            ..Match::default()
        },
    ];
    let table: &[(&[u8], Architecture, &[u8])] = &[
        (
            b"iPXE",
            Architecture::ARM64,
            b"http://192.168.1.1/boot.ipxe",
        ),
        (
            b"\x04iPXE",
            Architecture::X86_64,
            b"http://192.168.1.1/boot.ipxe",
        ),
        (
            b"\x04\x69\xa0\x45\x43",
            Architecture::ARM64,
            b"http://192.168.1.1/special.ipxe",
        ),
        (b"other", Architecture::ARM64, b"arm64.efi"),
        (b"", Architecture::X86_64, b"bowline.efi"),
    ];
    for (user_class, architecture, filename) in table {
        let mut client = client::Config::new(mac(1), *architecture, 1);
        client.user_class = user_class.to_vec();
        let mut net = network(&[client], &[config.clone()]);
        net.run_for(seconds(1));
        assert_eq!(
            net.lease(0).boot_file(),
            Some(*filename),
            "{user_class:02x?}"
        );
    }
}

#[test]
fn a_relay_brings_clients_of_another_network() {
    let mut config = server_config(10);
    config.subnets.push(Subnet {
        network: Ipv4Addr::new(10, 1, 0, 0),
        prefix_len: 16,
        pools: vec![AddressRange {
            first: Ipv4Addr::new(10, 1, 0, 10),
            last: Ipv4Addr::new(10, 1, 0, 20),
        }],
        profile: Profile::default(),
    });
    let router = Ipv4Addr::new(10, 1, 0, 1);
    config.subnets[1]
        .profile
        .options
        .set_ipv4(code::ROUTER, router);
    let table = [
        // Plain giaddr; link selection from a relay with an address elsewhere (RFC 3527).
        (router, hex("0106 000102030405")),
        (Ipv4Addr::new(172, 16, 0, 1), hex("0504 0a010000  0101 09")),
    ];
    for (giaddr, information) in table {
        let mut net = network(&[client_config(1)], &[config.clone()]);
        net.relay = Some(Relay {
            giaddr,
            information,
        });
        net.run_for(seconds(1));
        let lease = net.lease(0);
        assert_eq!(lease.address, Ipv4Addr::new(10, 1, 0, 10));
        assert_eq!((lease.prefix_len(), lease.router()), (16, Some(router)));
        assert_eq!(lease.giaddr, giaddr);
    }

    // The relay stands in for the server (RFC 5107): the client answers to the relay's address.
    let mut net = network(&[client_config(1)], &[config.clone()]);
    net.relay = Some(Relay {
        giaddr: router,
        information: hex("0b04 0a010001"),
    });
    net.run_for(seconds(1));
    assert_eq!(net.lease(0).server, router);

    // A network that is not served.
    let mut net = network(&[client_config(1)], &[config]);
    net.relay = Some(Relay {
        giaddr: Ipv4Addr::new(10, 2, 0, 1),
        information: hex("0101 01"),
    });
    net.run_for(seconds(12));
    assert_eq!(net.failure(0).reason, FailureReason::NoAnswer);
    assert!(net.replies.is_empty());
}

#[test]
fn a_refusal_through_a_relay_is_marked_for_broadcast() {
    let mut config = client_config(1);
    config.previous_address = Some(Ipv4Addr::new(10, 0, 0, 7));
    let mut net = network(&[config], &[server_config(10)]);
    net.relay = Some(Relay {
        giaddr: ip(250),
        information: hex("0101 01"),
    });
    net.run_for(seconds(1));
    assert_eq!(net.replies[0].message_type(), Some(MessageType::NAK));
    assert!(net.replies[0].broadcast, "RFC 2131 §4.3.2");
    assert_eq!(
        net.replies[0].options.text(code::MESSAGE),
        Some(&b"address not of this network"[..])
    );
    assert_eq!(net.lease(0).address, ip(100));
}

#[test]
fn nobody_there_ends_in_ten_seconds_with_advice() {
    let mut net = network(&[client_config(1)], &[server_config(10)]);
    net.silent = true;
    net.run_for(seconds(60));
    let failure = net.failure(0);
    assert_eq!(failure.reason, FailureReason::NoAnswer);
    assert_eq!(failure.waited, seconds(10));
    let text = failure.to_string();
    assert!(
        text.starts_with("no DHCP server answered (6 messages sent in 10.0 s)"),
        "{text}"
    );
    assert!(text.contains("spanning tree"));
    assert_eq!(net.requests.len(), 6);
    let flags: Vec<_> = net
        .requests
        .iter()
        .map(|message| message.broadcast)
        .collect();
    assert_eq!(flags, [false, false, true, true, true, true]);
    let secs = net.requests[5].secs;
    assert!(
        (6..=9).contains(&secs),
        "secs counts from the start (RFC 2131 table 5): {secs}"
    );
}

/// Random edits on the wire: neither machine panics, and no two clients share an address.
#[test]
fn mutated_traffic_never_panics() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let clients: Vec<_> = (0..3).map(client_config).collect();
        let mut net = network(&clients, &[server_config(3)]);
        for _ in 0..200 {
            net.flush();
            for (_, _, payload) in &mut net.in_flight {
                if random.next_u32().is_multiple_of(3) {
                    mutate(&mut random, payload);
                }
            }
            net.now += Duration::from_millis(u64::from(random.next_u32() % 500));
            net.deliver();
            let now = net.now;
            for client in &mut net.clients {
                client.handle_timeout(now);
                match random.next_u32() % 64 {
                    0 => client.decline(now),
                    1 => client.release(now),
                    2 => client.restart(now),
                    _ => {}
                }
            }
            let held: Vec<_> = net.clients.iter().filter_map(Client::lease).collect();
            for lease in held {
                let owners = net.servers[0]
                    .leases()
                    .filter(|kept| kept.address == lease.address);
                assert!(owners.count() <= 1, "seed {seed}");
            }
        }
    }
}
