//! DHCP: the message format, and both machines.

use std::net::Ipv4Addr;
use std::time::Duration;

use bowline_dhcp::client::{self, Client, Event};
use bowline_dhcp::server::{AddressRange, Config, Match, Output, Profile, Server, Subnet};
use bowline_dhcp::v6;
use bowline_dhcp::wire::{Architecture, Message, code};

use crate::records;

pub(crate) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The message gets the number of the transaction that the client is in.
pub(crate) const WITH_XID: u8 = 1;
/// Time passes first, up to what the machine waits for.
const LATER: u8 = 2;
/// Another station turns out to have the address; it is given back.
const DECLINED: u8 = 4;
const RELEASED: u8 = 8;
/// Messages that a machine sends for one that it gets, far above any sane number.
const OUTPUTS_MAX: usize = 100;

/// What can be read is written and read again.
pub(super) fn message(data: &[u8]) {
    let message = match Message::parse(data) {
        Ok(message) => message,
        Err(error) => return drop(error.to_string()),
    };
    let _ = (message.message_type(), message.server_identifier());
    let _ = message.options.encapsulated(code::IPXE_ENCAPSULATED);
    if let Ok(vendor) = message.options.encapsulated(code::VENDOR_SPECIFIC) {
        let menu = client::BootMenu::parse(&vendor);
        assert!(menu.is_none_or(|menu| !menu.items.is_empty()));
    }
    if let Ok(bytes) = message.encode(usize::from(u16::MAX)) {
        assert_eq!(Message::parse(&bytes), Ok(message));
    }
}

pub(crate) fn client_machine() -> Client {
    Client::new(
        client::Config::new(MAC, Architecture::ARM64, 1),
        Duration::ZERO,
    )
}

/// Messages to a client.
pub(super) fn client(data: &[u8]) {
    let mut client = client_machine();
    let mut now = Duration::ZERO;
    let mut xid = [0; 4];
    for (how, message) in records::split(data) {
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = client.poll_output() else {
                break;
            };
            assert!(Message::parse(&output.payload).is_ok());
            xid.copy_from_slice(&output.payload[4..8]);
        }
        assert!(client.poll_output().is_none(), "it sends without end");
        if how & LATER != 0
            && let Some(next) = client.poll_timeout()
        {
            now = now.max(next);
            client.handle_timeout(now);
        }
        let mut message = message.to_vec();
        if how & WITH_XID != 0
            && let Some(field) = message.get_mut(4..8)
        {
            field.copy_from_slice(&xid);
        }
        client.handle_input(now, &message);
        while let Some(event) = client.poll_event() {
            check(&event);
        }
    }
}

fn check(event: &Event) {
    let _ = format!("{event:?}");
    if let Event::Bound(lease) | Event::Renewed(lease) = event {
        assert!(!lease.address.is_unspecified() && !lease.address.is_broadcast());
        assert!(!lease.address.is_multicast());
        let _ = (
            lease.prefix_len(),
            lease.router(),
            lease.dns(),
            lease.mtu(),
            lease.root_path(),
        );
        let _ = (
            lease.boot_file(),
            lease.next_server(),
            lease.lease_time(),
            lease.expires_at(),
        );
    }
}

pub(crate) fn server_machine() -> Server {
    let mut config = Config::new(SERVER);
    config.subnets = vec![Subnet {
        network: Ipv4Addr::new(192, 168, 1, 0),
        prefix_len: 24,
        pools: vec![AddressRange {
            first: Ipv4Addr::new(192, 168, 1, 100),
            last: Ipv4Addr::new(192, 168, 1, 103),
        }],
        profile: Profile::default(),
    }];
    config.profile.options.set_ipv4(code::ROUTER, SERVER);
    config.profile.filename = Some(b"bowline.efi".to_vec());
    config.matches = vec![Match {
        user_class: Some(b"iPXE".to_vec()),
        profile: Profile {
            filename: Some(b"http://192.168.1.1/boot.ipxe".to_vec()),
            ..Profile::default()
        },
        ..Match::default()
    }];
    Server::new(config, vec![]).expect("the configuration is sound")
}

/// Messages to a server with four addresses.
pub(super) fn server(data: &[u8]) {
    let mut server = server_machine();
    let mut now = Duration::ZERO;
    for (how, message) in records::split(data) {
        if how & LATER != 0 {
            now += Duration::from_secs(u64::from(how) * 60);
            server.handle_timeout(now);
        }
        server.handle_input(now, message);
        for _ in 0..OUTPUTS_MAX {
            match server.poll_output() {
                None => break,
                Some(Output::Send(transmit)) => answer(&transmit.payload),
                Some(Output::Store(lease)) => drop(format!("{lease:?}")),
            }
        }
        assert!(server.poll_output().is_none(), "it sends without end");
        while let Some(event) = server.poll_event() {
            drop(event.to_string());
        }
        assert!(server.leases().count() <= 4 + 1);
    }
}

/// What the server says can be read, and gives no address that is not its to give.
fn answer(payload: &[u8]) {
    let message = Message::parse(payload).expect("the server writes proper messages");
    let given = message.yiaddr.octets();
    assert!(
        message.yiaddr.is_unspecified() || matches!(given, [192, 168, 1, 100..=103]),
        "{given:?}"
    );
}

/// Any datagrams, with the number of the transaction that the client is in, also while it renews.
pub(super) fn client6(data: &[u8]) {
    let mut client = client6_machine();
    let mut now = Duration::ZERO;
    let mut transaction = None;
    for (how, message) in records::split(data) {
        client.handle_timeout(now);
        while let Some(sent) = client.poll_output() {
            let sent = v6::Message::parse(&sent).expect("what is sent can be read");
            transaction = Some(sent.transaction);
        }
        match how & (DECLINED | RELEASED) {
            DECLINED => client.decline(now),
            RELEASED => client.release(now),
            _ => {}
        }
        let mut message = message.to_vec();
        if let (Some(number), Some(field)) = (transaction, message.get_mut(1..4)) {
            field.copy_from_slice(&number.to_be_bytes()[1..]);
        }
        client.handle_input(now, &message);
        if let Some(v6::Event::Configured(found)) = client.poll_event() {
            assert!(found.address.is_some_and(|it| !it.is_multicast()));
            // The lease is kept for a while: nothing is due at once.
            assert!(client.poll_timeout().is_none_or(|at| at > now), "{now:?}");
        }
        if how & LATER != 0 {
            now = client.poll_timeout().unwrap_or(now);
        }
    }
}

pub(crate) fn client6_machine() -> v6::Client {
    let config = v6::Config {
        mac: MAC,
        uuid: None,
        wants_address: true,
        architecture: Architecture::ARM64,
        user_class: b"iPXE".to_vec(),
        seed: 1,
        give_up_after: Duration::from_secs(10),
    };
    v6::Client::new(config, Duration::ZERO)
}
