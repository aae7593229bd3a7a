//! Who has which address: the server's memory, and the records by which it survives a restart.

use crate::limits;
use crate::wire::{HardwareAddress, Message, code};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// What is known about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// Who has or had it.
    pub client: ClientKey,
    /// The hardware address that it was given to.
    pub hardware: HardwareAddress,
    /// What became of it.
    pub state: LeaseState,
    /// When `state` ends, in the server's time; [`Duration::MAX`] for never.
    pub expires: Duration,
    /// The name that the client told (option 12), raw.
    pub host_name: Vec<u8>,
}

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Offered and not asked for yet. Never a record: offers do not survive a restart.
    Offered,
    /// In use by the client.
    Bound,
    /// Given back; kept so that the client gets it again.
    Released,
    /// A client found it in use by somebody else.
    Declined,
}

/// How the server tells clients apart: the client identifier, else hardware type and address
/// (RFC 2131 §4.2). The usual identifier, type 1 and the address, gives the same key as none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKey(Vec<u8>);

impl ClientKey {
    /// A key from its bytes; `None` where there are fewer than 2 or more than 255.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (2..=limits::CLIENT_ID_LEN_MAX)
            .contains(&bytes.len())
            .then(|| Self(bytes.to_vec()))
    }

    /// The key of whoever sent `message`.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        message
            .options
            .get(code::CLIENT_IDENTIFIER)
            .and_then(Self::new)
            .unwrap_or_else(|| {
                let mut bytes = alloc::vec![message.chaddr.kind()];
                bytes.extend_from_slice(message.chaddr.as_bytes());
                Self(bytes)
            })
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// All leases, by address and by client.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_address: BTreeMap<Ipv4Addr, Lease>,
    /// The address that each client had last.
    by_client: BTreeMap<ClientKey, Ipv4Addr>,
}

impl Leases {
    pub(super) fn insert(&mut self, lease: Lease) {
        let address = lease.address;
        // A declined address is nobody's.
        if lease.state != LeaseState::Declined {
            self.by_client.insert(lease.client.clone(), address);
        }
        let displaced = self.by_address.insert(address, lease);
        if let Some(old) = displaced
            && self.by_client.get(&old.client) == Some(&address)
            && self
                .by_address
                .get(&address)
                .is_none_or(|new| new.client != old.client || new.state == LeaseState::Declined)
        {
            self.by_client.remove(&old.client);
        }
    }

    pub(super) fn get(&self, address: Ipv4Addr) -> Option<&Lease> {
        self.by_address.get(&address)
    }

    pub(super) fn of_client(&self, client: &ClientKey) -> Option<&Lease> {
        self.by_address
            .get(self.by_client.get(client)?)
            .filter(|lease| lease.client == *client)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_address.values()
    }

    pub(super) fn remove(&mut self, address: Ipv4Addr) {
        if let Some(old) = self.by_address.remove(&address)
            && self.by_client.get(&old.client) == Some(&address)
        {
            self.by_client.remove(&old.client);
        }
    }
}
