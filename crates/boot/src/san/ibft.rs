//! The iSCSI Boot Firmware Table: what the operating system is told about its disks (ACPI table
//! `iBFT`, version 1; all numbers little-endian, structures on 8 byte boundaries).
//!
//! ```text
//!  0  header    48  "iBFT", length, revision, checksum, who made it
//! 48  control   18  offsets: initiator, NIC 0, target 0, NIC 1, target 1
//! 72  initiator 74  our name
//!     NIC      102  address, router, name servers, VLAN, MAC: one or two
//!     target    54  portal, LUN, name, CHAP: one or two
//!     texts         each with a null behind it, which its length does not count
//! ```
//!
//! There is room for two cards and two targets: Linux refuses a control structure of any other
//! length. Name servers of the iSNS, SLP and RADIUS kinds are left out.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use bowline_iscsi::Credentials;
use zeroize::Zeroizing;

/// Cards, and targets, that the control structure has room for.
pub(super) const PLACES: usize = 2;

/// Everything in a table.
pub(super) struct Table {
    pub(super) initiator_name: String,
    /// At most [`PLACES`]; the first is booted over.
    pub(super) cards: Vec<Card>,
    /// At most [`PLACES`]; the first is booted from.
    pub(super) targets: Vec<Target>,
}

/// A network card and its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) mac: [u8; 6],
    /// The VLAN identifier; zero without a tag.
    pub(super) vlan: u16,
    /// Bus, device and function as PCI writes them; zero where it is no PCI card.
    pub(super) pci: u16,
    pub(super) address: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) router: Option<IpAddr>,
    /// The first two are told.
    pub(super) dns: Vec<IpAddr>,
    /// The DHCP server that gave the address; none where it was set by hand.
    pub(super) dhcp_server: Option<IpAddr>,
    pub(super) hostname: String,
}

/// A logical unit of a target.
pub(super) struct Target {
    pub(super) portal: SocketAddr,
    /// In SAM order, as in PDUs.
    pub(super) lun: [u8; 8],
    pub(super) name: String,
    /// Which of the cards leads to it.
    pub(super) card: u8,
    /// What we prove ourselves with, and what the target must.
    pub(super) credentials: Option<Credentials>,
    pub(super) reverse: Option<Credentials>,
}

impl Table {
    /// The bytes; `None` where the texts are longer than offsets of 16 bits reach.
    pub(super) fn to_bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let mut table = Writer::default();
        table.header();
        table.structure(ID_CONTROL, 0, 0);
        // Extensions: none. The other offsets are filled in as the structures come.
        table.bytes.extend_from_slice(&[0; 2]);
        let offsets = table.bytes.len();
        table.bytes.extend_from_slice(&[0; 2 * (1 + 2 * PLACES)]);
        table.end_structure();

        table.refer(offsets);
        table.initiator(&self.initiator_name);
        for index in 0..PLACES {
            let pair = offsets + 2 + 4 * index;
            if let Some(card) = self.cards.get(index) {
                table.refer(pair);
                table.card(index as u8, card);
            }
            if let Some(target) = self.targets.get(index) {
                table.refer(pair + 2);
                table.target(index as u8, target);
            }
        }
        table.finish()
    }
}

/// A table under construction.
#[derive(Default)]
struct Writer {
    bytes: Zeroizing<Vec<u8>>,
    /// Where the structure under construction begins.
    start: usize,
    /// Where offsets of texts belong, and the texts.
    texts: Vec<(usize, Zeroizing<Vec<u8>>)>,
    is_too_long: bool,
}

impl Writer {
    fn header(&mut self) {
        self.bytes.extend_from_slice(b"iBFT");
        // Length, revision, checksum, OEM, OEM table, reserved.
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[1, 0]);
        self.bytes.extend_from_slice(b"BOWLINBOWLINE ");
        self.bytes.extend_from_slice(&[0; 24]);
    }

    /// Begins a structure: identifier, version, length (filled in at its end), index, flags.
    fn structure(&mut self, id: u8, index: u8, flags: u8) {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[id, 1, 0, 0, index, flags]);
    }

    fn end_structure(&mut self) {
        let length = self.bytes.len() - self.start;
        self.put_u16(self.start + 2, length);
    }

    fn initiator(&mut self, name: &str) {
        self.structure(ID_INITIATOR, 0, VALID | BOOT_SELECTED);
        // No iSNS, SLP or RADIUS servers.
        self.bytes.extend_from_slice(&[0; 64]);
        self.text(name.as_bytes());
        self.end_structure();
    }

    fn card(&mut self, index: u8, card: &Card) {
        self.structure(ID_NIC, index, flags(index) | GLOBAL);
        self.address(Some(card.address));
        let origin = match card.dhcp_server {
            Some(_) => ORIGIN_DHCP,
            None => ORIGIN_MANUAL,
        };
        self.bytes.extend_from_slice(&[card.prefix_len, origin]);
        self.address(card.router);
        self.address(card.dns.first().copied());
        self.address(card.dns.get(1).copied());
        self.address(card.dhcp_server);
        self.u16(card.vlan);
        self.bytes.extend_from_slice(&card.mac);
        self.u16(card.pci);
        self.text(card.hostname.as_bytes());
        self.end_structure();
    }

    fn target(&mut self, index: u8, target: &Target) {
        self.structure(ID_TARGET, index, flags(index));
        self.address(Some(target.portal.ip()));
        self.u16(target.portal.port());
        self.bytes.extend_from_slice(&target.lun);
        let chap = match (&target.credentials, &target.reverse) {
            (None, _) => CHAP_NONE,
            (Some(_), None) => CHAP_ONE_WAY,
            (Some(_), Some(_)) => CHAP_MUTUAL,
        };
        self.bytes.extend_from_slice(&[chap, target.card]);
        self.text(target.name.as_bytes());
        // The target's proof is asked for by those only who prove themselves.
        let reverse = target.credentials.as_ref().and(target.reverse.as_ref());
        for credentials in [target.credentials.as_ref(), reverse] {
            let (name, secret) = match credentials {
                Some(credentials) => (credentials.name.as_bytes(), credentials.secret.expose()),
                None => (&[][..], &[][..]),
            };
            self.text(name);
            self.text(secret);
        }
        self.end_structure();
    }

    /// An address of 16 bytes, that of IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2).
    fn address(&mut self, address: Option<IpAddr>) {
        let address = match address {
            Some(IpAddr::V4(address)) => address.to_ipv6_mapped(),
            Some(IpAddr::V6(address)) => address,
            None => Ipv6Addr::UNSPECIFIED,
        };
        self.bytes.extend_from_slice(&address.octets());
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Length and offset of a text that follows behind all structures; both zero without one.
    fn text(&mut self, text: &[u8]) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        if !text.is_empty() {
            self.put_u16(at, text.len());
            self.texts.push((at + 2, Zeroizing::new(text.to_vec())));
        }
    }

    /// Has the offset at `at` point to the structure that begins here.
    fn refer(&mut self, at: usize) {
        let here = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(here, 0);
        self.put_u16(at, here);
    }

    fn put_u16(&mut self, at: usize, value: usize) {
        let Ok(value) = u16::try_from(value) else {
            self.is_too_long = true;
            return;
        };
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn finish(mut self) -> Option<Zeroizing<Vec<u8>>> {
        for (at, text) in core::mem::take(&mut self.texts) {
            let here = self.bytes.len();
            self.put_u16(at, here);
            self.bytes.extend_from_slice(&text);
            self.bytes.push(0);
        }
        let length = u32::try_from(self.bytes.len()).ok()?;
        self.bytes
            .get_mut(4..8)?
            .copy_from_slice(&length.to_le_bytes());
        // All bytes add up to zero (ACPI 6.5 section 5.2.6).
        let sum = self
            .bytes
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        *self.bytes.get_mut(9)? = sum.wrapping_neg();
        (!self.is_too_long).then_some(self.bytes)
    }
}

fn flags(index: u8) -> u8 {
    if index == 0 {
        VALID | BOOT_SELECTED
    } else {
        VALID
    }
}

// Structure identifiers.
const ID_CONTROL: u8 = 1;
const ID_INITIATOR: u8 = 2;
const ID_NIC: u8 = 3;
const ID_TARGET: u8 = 4;

// Flags of structures; the last is the card's: its address is no link-local one.
const VALID: u8 = 1;
const BOOT_SELECTED: u8 = 2;
const GLOBAL: u8 = 4;

// Where the address of a card comes from.
const ORIGIN_MANUAL: u8 = 1;
const ORIGIN_DHCP: u8 = 3;

// How a target wants to be logged in to.
const CHAP_NONE: u8 = 0;
const CHAP_ONE_WAY: u8 = 1;
const CHAP_MUTUAL: u8 = 2;

#[cfg(test)]
mod tests;
