//! What a client asks for and how long it tries.

use crate::wire::{Architecture, Options, code};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// Settings of a [`Client`](super::Client); [`Config::new`] has the defaults of a boot loader.
#[derive(Clone, Debug)]
pub struct Config {
    /// The card's address: chaddr, and option 61 unless `client_identifier` is set.
    pub mac: [u8; 6],
    /// Seed of transaction ids and jitter. Two machines must not share it: mix the address in.
    pub seed: u64,
    /// Option 61, raw; `None` for the usual form, type 1 and the address (RFC 2132 §9.14).
    pub client_identifier: Option<Vec<u8>>,
    /// Option 77, raw bytes exactly as they go out; empty for none.
    pub user_class: Vec<u8>,
    /// Option 60, raw; empty for none.
    pub vendor_class: Vec<u8>,
    /// Option 93.
    pub architecture: Architecture,
    /// Option 94: type, major, minor (RFC 4578 §2.2).
    pub network_interface: [u8; 3],
    /// Option 97, without its leading type byte, in SMBIOS byte order; `None` for none.
    pub uuid: Option<[u8; 16]>,
    /// Option 12; empty for none.
    pub host_name: Vec<u8>,
    /// Option 55.
    pub requested: Vec<u8>,
    /// Sub-options of option 175; none for no option 175.
    pub encapsulated: Options,
    /// Further options to send, raw. They win over all of the above.
    pub extra: Options,
    /// The address of an earlier lease, to ask for first (INIT-REBOOT).
    pub previous_address: Option<Ipv4Addr>,
    /// Messages of one kind that ask for a reply by unicast, before broadcast is asked for
    /// (RFC 2131 §4.1). Unicast spares the other machines; broadcast passes some relays and
    /// cards that unicast does not.
    pub unicast_tries: u32,
    /// The first pause before a message is repeated. Each pause varies by up to a quarter.
    pub retry_pause_first: Duration,
    /// Pauses double up to this.
    pub retry_pause_max: Duration,
    /// When to stop without a lease.
    pub give_up_after: Duration,
    /// Pause after a DECLINE. RFC 2131 §3.1 step 5 advises ten seconds against endless loops; the
    /// number of DECLINEs is limited here, so the pause can be shorter.
    pub decline_pause: Duration,
    /// How long to wait for a proxyDHCP offer once an address is offered by a server that names
    /// nothing to boot. Zero: not at all; one that came earlier is used all the same.
    pub proxy_wait: Duration,
}

impl Config {
    /// The defaults for a card.
    ///
    /// The classes are those of iPXE: servers in the field know by them that the machine has its
    /// network loader already and wants a script.
    #[must_use]
    pub fn new(mac: [u8; 6], architecture: Architecture, seed: u64) -> Self {
        Self {
            mac,
            seed,
            client_identifier: None,
            user_class: b"iPXE".to_vec(),
            vendor_class: vendor_class(architecture),
            architecture,
            network_interface: [1, 3, 0],
            uuid: None,
            host_name: Vec::new(),
            requested: REQUESTED.to_vec(),
            encapsulated: features(),
            extra: Options::new(),
            previous_address: None,
            unicast_tries: 2,
            retry_pause_first: Duration::from_millis(250),
            retry_pause_max: Duration::from_secs(4),
            give_up_after: Duration::from_secs(10),
            decline_pause: Duration::from_secs(1),
            proxy_wait: Duration::ZERO,
        }
    }
}

/// `PXEClient:Arch:00011:UNDI:003000` (RFC 4578 §3, PXE 2.1 table 2-1).
fn vendor_class(architecture: Architecture) -> Vec<u8> {
    alloc::format!("PXEClient:Arch:{:05}:UNDI:003000", architecture.0).into_bytes()
}

/// The feature list of option 175: a sub-option of one byte for each thing the loader can do.
/// Servers in the field test whether one is there.
fn features() -> Options {
    [FEATURE_ISCSI, FEATURE_HTTP, FEATURE_DNS, FEATURE_EFI]
        .into_iter()
        .map(|feature| (feature, alloc::vec![1]))
        .collect()
}

const FEATURE_ISCSI: u8 = 0x11;
const FEATURE_HTTP: u8 = 0x13;
const FEATURE_DNS: u8 = 0x17;
const FEATURE_EFI: u8 = 0x24;

/// Option 55 in order of importance: what the settings of a boot script can name.
const REQUESTED: &[u8] = &[
    code::SUBNET_MASK,
    code::ROUTER,
    code::DOMAIN_NAME_SERVER,
    code::LOG_SERVER,
    code::HOST_NAME,
    code::DOMAIN_NAME,
    code::ROOT_PATH,
    code::INTERFACE_MTU,
    code::NTP_SERVER,
    code::VENDOR_SPECIFIC,
    code::VENDOR_CLASS,
    code::TFTP_SERVER_NAME,
    code::BOOT_FILE_NAME,
    code::DOMAIN_SEARCH,
    code::CLASSLESS_STATIC_ROUTE,
    128,
    129,
    130,
    131,
    132,
    133,
    134,
    135,
    code::IPXE_ENCAPSULATED,
    code::INITIATOR_NAME,
];
