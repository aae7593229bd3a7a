//! What the operating system is told about the drives, so that it logs in to the same disks with
//! nothing on its command line: an iBFT of the described drives, the booted one first.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use bowline_iscsi::Credentials;
use bowline_net::VlanTag;

use crate::machine::Machine;
use crate::platform::{DiskLocation, Handoff};
use crate::san::drive::Drive;
use crate::san::ibft::{Card, PLACES, Table, Target};
use crate::san::login::Login;

/// What is told about a drive.
pub(super) struct Description {
    location: DiskLocation,
    lun: [u8; 8],
    target: String,
    initiator_name: String,
    credentials: Option<Credentials>,
    reverse: Option<Credentials>,
}

impl Description {
    pub(super) fn new(location: DiskLocation, login: &Login) -> Self {
        let (credentials, reverse) = login.credentials();
        Self {
            location,
            lun: login.root_path.lun,
            target: login.root_path.target.clone(),
            initiator_name: login.initiator_name().to_string(),
            credentials: credentials.cloned(),
            reverse: reverse.cloned(),
        }
    }

    fn target(&self, card: u8) -> Target {
        Target {
            portal: SocketAddr::new(self.location.server, self.location.port),
            lun: self.lun,
            name: self.target.clone(),
            card,
            credentials: self.credentials.clone(),
            reverse: self.reverse.clone(),
        }
    }
}

/// Leaves the table of `drives`, the booted one first, or takes it away where there are none.
///
/// The result says where it is; the error, why the operating system has to find the disks by
/// itself.
pub(super) fn leave(machine: &Machine, drives: &[Rc<Drive>]) -> Result<Option<Handoff>, String> {
    let described: Vec<&Description> = drives
        .iter()
        .filter_map(|drive| drive.description())
        .collect();
    let Some(first) = described.first() else {
        // Without a place for a table there is none to be taken away.
        let _ = machine.platform.describe_disks(None);
        return Ok(None);
    };
    let mut table = Table {
        initiator_name: first.initiator_name.clone(),
        cards: Vec::new(),
        targets: Vec::new(),
    };
    for description in described.into_iter().take(PLACES) {
        let card = card(machine, &description.location);
        let known = table.cards.iter().position(|known| *known == card);
        let index = known.unwrap_or(table.cards.len());
        if known.is_none() {
            table.cards.push(card);
        }
        table.targets.push(description.target(index as u8));
    }
    let bytes = table.to_bytes().ok_or("the names are too long for it")?;
    let left = machine.platform.describe_disks(Some(&bytes));
    left.map(Some).map_err(|error| error.to_string())
}

/// The card that a disk is reached over, as it is configured now.
fn card(machine: &Machine, location: &DiskLocation) -> Card {
    let mut card = Card {
        mac: location.mac,
        vlan: 0,
        pci: machine.platform.pci_location(location.mac).unwrap_or(0),
        address: location.local,
        prefix_len: 0,
        router: None,
        dns: Vec::new(),
        dhcp_server: None,
        hostname: String::new(),
    };
    let interfaces = machine.network.interfaces();
    let interface = interfaces.iter().find(|interface| {
        let stack = interface.stack();
        stack.mac() == location.mac && stack.local_address(location.server) == Some(location.local)
    });
    let Some(interface) = interface else {
        return card;
    };
    card.vlan = interface.stack().vlan().map_or(0, VlanTag::id);
    let name = interface.name();
    let settings = machine.settings.borrow();
    card.hostname = settings
        .text(&format!("{name}/hostname"))
        .unwrap_or_default();
    match (location.local, interface.ipv4(), interface.stack().ipv6()) {
        (IpAddr::V4(_), Some(config), _) => {
            card.prefix_len = config.prefix_len;
            card.router = config.router.map(IpAddr::V4);
            card.dns = config.dns.into_iter().map(IpAddr::V4).collect();
            // Set by hand, an address owes nothing to a lease that there may be as well.
            if settings.ipv4(&format!("{name}.dhcp/ip")) == Some(config.address) {
                let server = settings.ipv4(&format!("{name}.dhcp/dhcp-server"));
                card.dhcp_server = server.map(IpAddr::V4);
            }
        }
        (IpAddr::V6(_), _, Some(config)) => {
            card.prefix_len = config.prefix_len;
            card.router = config.router.map(IpAddr::V6);
            card.dns = config.dns.into_iter().map(IpAddr::V6).collect();
        }
        _ => {}
    }
    card
}
