//! What a server gives to whom. Plain data; [`Config::check`] tells what cannot be served.

use crate::limits;
use crate::wire::{Architecture, Options};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;
use core::ops::RangeInclusive;
use core::time::Duration;

/// Settings of a [`Server`](super::Server).
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's own address: server identifier (option 54) and the mark of the local subnet.
    pub server: Ipv4Addr,
    /// Networks that are served. The one that holds `server` is for clients on the same wire;
    /// the others are reached through relays.
    pub subnets: Vec<Subnet>,
    /// How long an address is leased. Anything above 2^32 - 2 seconds is for ever.
    pub lease_time: Duration,
    /// For every client.
    pub profile: Profile,
    /// Rules by kind of client; the first that fits is used, alone.
    pub matches: Vec<Match>,
    /// Known machines.
    pub hosts: Vec<Host>,
    /// How long an offered address is kept for the client that it was offered to.
    pub offer_hold: Duration,
    /// How long an address is left alone after a client found it in use.
    pub decline_hold: Duration,
    /// This server knows who may have which address on its networks, so it refuses wrong ones
    /// (NAK). Turn it off beside another server that gives addresses of the same networks.
    pub authoritative: bool,
}

impl Config {
    /// Defaults for everything that is not the network's own: leases of one hour, offers kept for
    /// 30 s (UEFI firmware collects offers for up to 8 s), declined addresses for 10 minutes.
    #[must_use]
    pub fn new(server: Ipv4Addr) -> Self {
        Self {
            server,
            subnets: Vec::new(),
            lease_time: Duration::from_secs(3600),
            profile: Profile::default(),
            matches: Vec::new(),
            hosts: Vec::new(),
            offer_hold: Duration::from_secs(30),
            decline_hold: Duration::from_secs(600),
            authoritative: true,
        }
    }

    /// Looks for settings that contradict each other.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.subnets.is_empty() {
            return Err(ConfigError::NoSubnet);
        }
        let mut pool_len = 0_usize;
        for (index, subnet) in self.subnets.iter().enumerate() {
            subnet.check()?;
            let others = self.subnets.iter().take(index);
            if let Some(other) = others.clone().find(|other| other.overlaps(subnet)) {
                return Err(ConfigError::SubnetsOverlap(other.network, subnet.network));
            }
            for pool in &subnet.pools {
                pool_len = pool_len.saturating_add(pool.len());
            }
        }
        if pool_len > limits::POOL_LEN_MAX {
            return Err(ConfigError::PoolsTooLarge(pool_len));
        }
        if self.lease_time < LEASE_TIME_MIN {
            return Err(ConfigError::LeaseTooShort(self.lease_time));
        }
        self.check_hosts()
    }

    fn check_hosts(&self) -> Result<(), ConfigError> {
        let mut addresses = BTreeMap::new();
        for (index, host) in self.hosts.iter().enumerate() {
            if host.mac.is_none() && host.client_identifier.is_none() && host.uuid.is_none() {
                return Err(ConfigError::HostWithoutIdentity(index));
            }
            let Some(address) = host.address else {
                continue;
            };
            let usable = self.subnets.iter().any(|subnet| subnet.is_usable(address));
            if !usable || address == self.server {
                return Err(ConfigError::HostAddress(address));
            }
            if addresses.insert(address, index).is_some() {
                return Err(ConfigError::AddressReservedTwice(address));
            }
        }
        Ok(())
    }
}

/// A network.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Network address; bits below the prefix do not count.
    pub network: Ipv4Addr,
    /// Length of the prefix, 1 to 30.
    pub prefix_len: u8,
    /// Addresses for clients without a reservation; may be none.
    pub pools: Vec<AddressRange>,
    /// For every client of this network.
    pub profile: Profile,
}

impl Subnet {
    /// Whether `address` belongs to this network.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (u32::from(address) ^ u32::from(self.network)) & self.mask_bits() == 0
    }

    /// The subnet mask.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.mask_bits())
    }

    /// The broadcast address.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) | !self.mask_bits())
    }

    /// Whether a machine can have `address` here: neither the network nor the broadcast address.
    #[must_use]
    pub fn is_usable(&self, address: Ipv4Addr) -> bool {
        let host_bits = u32::from(address) & !self.mask_bits();
        self.contains(address) && host_bits != 0 && host_bits != !self.mask_bits()
    }

    /// Whether a pool of this network has `address`.
    #[must_use]
    pub fn in_pool(&self, address: Ipv4Addr) -> bool {
        self.pools.iter().any(|pool| pool.contains(address)) && self.is_usable(address)
    }

    fn mask_bits(&self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.prefix_len.min(32)))
            .unwrap_or(0)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=30).contains(&self.prefix_len) {
            return Err(ConfigError::PrefixLength(self.prefix_len));
        }
        for pool in &self.pools {
            if pool.first > pool.last {
                return Err(ConfigError::PoolReversed(*pool));
            }
            if !self.contains(pool.first) || !self.contains(pool.last) {
                return Err(ConfigError::PoolOutside(*pool, self.network));
            }
        }
        Ok(())
    }
}

/// Addresses from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The lowest.
    pub first: Ipv4Addr,
    /// The highest.
    pub last: Ipv4Addr,
}

impl AddressRange {
    /// Whether `address` is one of them.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    pub(super) fn bits(&self) -> RangeInclusive<u32> {
        u32::from(self.first)..=u32::from(self.last)
    }

    fn len(&self) -> usize {
        let span = u32::from(self.last).saturating_sub(u32::from(self.first));
        usize::try_from(span)
            .unwrap_or(usize::MAX)
            .saturating_add(1)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// What is said to a client. Profiles are laid over each other: for everyone, for the network,
/// for the first matching kind of client, for the host; the later wins, setting by setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Options, raw. Those the server computes (mask, lease times, server identifier) are not
    /// taken from here.
    pub options: Options,
    /// The server to boot from: siaddr, and option 66 where asked for.
    pub next_server: Option<Ipv4Addr>,
    /// What to boot: the file field where it fits, and option 67 where asked for.
    pub filename: Option<Vec<u8>>,
}

impl Profile {
    pub(super) fn lay_over(&mut self, over: &Self) {
        self.options.extend(&over.options);
        self.next_server = over.next_server.or(self.next_server);
        if over.filename.is_some() {
            self.filename.clone_from(&over.filename);
        }
    }
}

/// A rule for a kind of client: every condition that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// A user class (option 77), in either of its forms.
    pub user_class: Option<Vec<u8>>,
    /// How the vendor class (option 60) begins.
    pub vendor_class: Option<Vec<u8>>,
    /// One of these architectures (option 93); empty for any.
    pub architectures: Vec<Architecture>,
    /// What such clients are told.
    pub profile: Profile,
}

/// A known machine. It is recognised by any one of its identities.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// Its client identifier (option 61), raw.
    pub client_identifier: Option<Vec<u8>>,
    /// Its UUID (option 97) in SMBIOS byte order.
    pub uuid: Option<[u8; 16]>,
    /// Its reserved address; it may lie inside a pool.
    pub address: Option<Ipv4Addr>,
    /// What it is told.
    pub profile: Profile,
}

/// Settings that cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nothing to serve.
    NoSubnet,
    /// A prefix length outside of 1 to 30.
    PrefixLength(u8),
    /// Two subnets share addresses.
    SubnetsOverlap(Ipv4Addr, Ipv4Addr),
    /// A pool whose first address is above its last.
    PoolReversed(AddressRange),
    /// A pool that is not inside its network.
    PoolOutside(AddressRange, Ipv4Addr),
    /// More addresses than [`limits::POOL_LEN_MAX`] in all pools.
    PoolsTooLarge(usize),
    /// A lease time below ten seconds.
    LeaseTooShort(Duration),
    /// The host of this index (from 0) has no identity to know it by.
    HostWithoutIdentity(usize),
    /// A reservation of an address that no machine can have here: on no subnet, or the server's.
    HostAddress(Ipv4Addr),
    /// An address that two hosts reserve.
    AddressReservedTwice(Ipv4Addr),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSubnet => f.write_str("there is no subnet to serve"),
            Self::PrefixLength(len) => write!(f, "prefix length {len}: 1 to 30 can be served"),
            Self::SubnetsOverlap(a, b) => write!(f, "the subnets {a} and {b} overlap"),
            Self::PoolReversed(pool) => write!(f, "pool {pool}: the first address is the higher"),
            Self::PoolOutside(pool, network) => {
                write!(f, "pool {pool} is not inside the subnet {network}")
            }
            Self::PoolsTooLarge(len) => {
                write!(
                    f,
                    "{len} addresses in the pools; {} at most",
                    limits::POOL_LEN_MAX
                )
            }
            Self::LeaseTooShort(time) => {
                write!(
                    f,
                    "a lease of {} s is too short: 10 s at least",
                    time.as_secs()
                )
            }
            Self::HostWithoutIdentity(index) => write!(
                f,
                "host number {} has neither a hardware address nor a client identifier nor a UUID",
                index + 1
            ),
            Self::HostAddress(address) => write!(
                f,
                "{address} cannot be reserved: it is on no subnet here, or is a network, \
                 broadcast or the server's own address"
            ),
            Self::AddressReservedTwice(address) => {
                write!(f, "two hosts reserve the address {address}")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

const LEASE_TIME_MIN: Duration = Duration::from_secs(10);
