//! What a client got: the address and every option, raw, with readings of the usual ones.

use crate::wire::{Message, Options, code};
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

/// A lease as acknowledged by a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The client's address (yiaddr).
    pub address: Ipv4Addr,
    /// The server that leased it (option 54).
    pub server: Ipv4Addr,
    /// The server to boot from (siaddr), raw; unspecified for none.
    pub siaddr: Ipv4Addr,
    /// The relay agent (giaddr), raw; unspecified for none.
    pub giaddr: Ipv4Addr,
    /// The sname field, where it holds a name.
    pub sname: Vec<u8>,
    /// The file field, where it holds a name.
    pub file: Vec<u8>,
    /// Every option of the ACK by its code; [`Options::encapsulated`] opens 43 and 175.
    pub options: Options,
    /// When it was acknowledged.
    pub acquired: Duration,
    /// What a proxyDHCP server said, if one spoke in time.
    pub proxy: Option<ProxyOffer>,
}

/// An offer without an address, from a server that knows only what to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyOffer {
    /// Its address (option 54), where it tells.
    pub server: Option<Ipv4Addr>,
    /// The server to boot from (siaddr), raw; unspecified for none.
    pub siaddr: Ipv4Addr,
    /// The file field.
    pub file: Vec<u8>,
    /// Its options.
    pub options: Options,
}

impl ProxyOffer {
    pub(super) fn from_message(offer: &Message) -> Self {
        Self {
            server: offer.server_identifier(),
            siaddr: offer.siaddr,
            file: offer.file.clone(),
            options: offer.options.clone(),
        }
    }

    /// The server to ask what to boot, where the offer itself says neither that nor has a menu.
    #[must_use]
    pub fn server_to_ask(&self) -> Option<Ipv4Addr> {
        let vendor = self.options.encapsulated(code::VENDOR_SPECIFIC);
        let has_menu = vendor.is_ok_and(|it| it.contains(code::PXE_BOOT_MENU));
        let is_silent = boot_file(&self.options, &self.file).is_none() && !has_menu;
        self.server.filter(|_| is_silent)
    }

    /// Adds what the server has said more.
    pub(super) fn merge(&mut self, answer: &Message) {
        if !answer.siaddr.is_unspecified() {
            self.siaddr = answer.siaddr;
        }
        if !answer.file.is_empty() {
            self.file.clone_from(&answer.file);
        }
        for (code, value) in answer.options.iter() {
            self.options.set(code, value);
        }
    }
}

/// Whether a server names something to boot, or says that no proxyDHCP server will (175.176, as iPXE
/// reads it).
pub(super) fn names_boot(message: &Message) -> bool {
    const NO_PXEDHCP: u8 = 176;
    let inner = message.options.encapsulated(code::IPXE_ENCAPSULATED);
    let is_alone = inner.is_ok_and(|it| it.get(NO_PXEDHCP).is_some_and(|it| it != [0]));
    is_alone
        || boot_file(&message.options, &message.file).is_some()
        || message.options.contains(code::ROOT_PATH)
        || message.options.contains(code::VENDOR_SPECIFIC)
}

impl Lease {
    pub(super) fn from_ack(
        ack: &Message,
        server: Ipv4Addr,
        now: Duration,
        proxy: Option<ProxyOffer>,
    ) -> Self {
        Self {
            address: ack.yiaddr,
            server,
            siaddr: ack.siaddr,
            giaddr: ack.giaddr,
            sname: ack.sname.clone(),
            file: ack.file.clone(),
            options: ack.options.clone(),
            acquired: now,
            proxy,
        }
    }

    /// Leading ones of the subnet mask; without a mask, those of the address class (RFC 950).
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        let len = match self.options.ipv4(code::SUBNET_MASK) {
            Some(mask) => u32::from(mask).leading_ones(),
            None => match self.address.octets() {
                [..128, _, _, _] => 8,
                [..192, _, _, _] => 16,
                _ => 24,
            },
        };
        // At most 32.
        u8::try_from(len).unwrap_or(32)
    }

    /// The first router. Where option 121 is present it stands for option 3 (RFC 3442, "DHCP
    /// Client Behavior"), so its default route is the answer.
    #[must_use]
    pub fn router(&self) -> Option<Ipv4Addr> {
        match self.options.get(code::CLASSLESS_STATIC_ROUTE) {
            Some(routes) => default_route(routes),
            None => self.options.ipv4(code::ROUTER),
        }
        .filter(|router| !router.is_unspecified())
    }

    /// Name servers.
    pub fn dns(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.options.ipv4_list(code::DOMAIN_NAME_SERVER)
    }

    /// The largest IP datagram of the link. Values below 68 are illegal (RFC 2132 §5.1).
    #[must_use]
    pub fn mtu(&self) -> Option<u16> {
        self.options
            .u16(code::INTERFACE_MTU)
            .filter(|&mtu| mtu >= MTU_MIN)
    }

    /// Root path (option 17), raw.
    #[must_use]
    pub fn root_path(&self) -> Option<&[u8]> {
        let proxied = || self.proxy.as_ref()?.options.text(code::ROOT_PATH);
        self.options.text(code::ROOT_PATH).or_else(proxied)
    }

    /// What to boot: from the proxy if it named a file (that is its only purpose), else option 67,
    /// else the file field. Raw.
    #[must_use]
    pub fn boot_file(&self) -> Option<&[u8]> {
        let proxied = self
            .proxy
            .as_ref()
            .and_then(|proxy| boot_file(&proxy.options, &proxy.file));
        proxied.or_else(|| boot_file(&self.options, &self.file))
    }

    /// The server to boot from: that of whoever named the boot file.
    #[must_use]
    pub fn next_server(&self) -> Option<Ipv4Addr> {
        let proxied = self
            .proxy
            .as_ref()
            .filter(|proxy| boot_file(&proxy.options, &proxy.file).is_some())
            .map(|proxy| proxy.siaddr);
        proxied
            .into_iter()
            .chain([self.siaddr])
            .find(|address| !address.is_unspecified())
    }

    /// How long the lease lasts; `None` for ever (RFC 2131 §3.3). A server that does not tell
    /// breaks RFC 2131 table 3; it is taken as "for ever".
    #[must_use]
    pub fn lease_time(&self) -> Option<Duration> {
        self.seconds(code::LEASE_TIME)
            .filter(|time| time.as_secs() < u64::from(u32::MAX))
    }

    /// When the address must no longer be used.
    #[must_use]
    pub fn expires_at(&self) -> Option<Duration> {
        self.lease_time()
            .map(|time| self.acquired.saturating_add(time))
    }

    /// When to ask the server for more time: T1, half of the lease unless the server says
    /// otherwise (RFC 2131 §4.4.5).
    #[must_use]
    pub fn renew_at(&self) -> Option<Duration> {
        let time = self.lease_time()?;
        let (t1, _) = self.timers(time);
        Some(self.acquired.saturating_add(t1))
    }

    /// When to ask every server: T2, seven eighths of the lease unless the server says otherwise.
    #[must_use]
    pub fn rebind_at(&self) -> Option<Duration> {
        let time = self.lease_time()?;
        let (_, t2) = self.timers(time);
        Some(self.acquired.saturating_add(t2))
    }

    /// T1 and T2 with T1 < T2 < lease; values that break this order are not used.
    fn timers(&self, time: Duration) -> (Duration, Duration) {
        let t1 = self.seconds(code::RENEWAL_TIME).unwrap_or(time / 2);
        let t2 = self.seconds(code::REBINDING_TIME).unwrap_or(time / 8 * 7);
        if t1 < t2 && t2 < time {
            (t1, t2)
        } else {
            (time / 2, time / 8 * 7)
        }
    }

    fn seconds(&self, code: u8) -> Option<Duration> {
        self.options
            .u32(code)
            .map(|seconds| Duration::from_secs(seconds.into()))
    }
}

fn boot_file<'a>(options: &'a Options, file: &'a [u8]) -> Option<&'a [u8]> {
    options
        .text(code::BOOT_FILE_NAME)
        .or(Some(file).filter(|file| !file.is_empty()))
}

/// The router of the route 0.0.0.0/0 in option 121: width, significant octets, router (RFC 3442).
fn default_route(routes: &[u8]) -> Option<Ipv4Addr> {
    let mut rest = routes;
    while let [width, tail @ ..] = rest {
        let (_, tail) = tail.split_at_checked(usize::from(width.div_ceil(8)))?;
        let (router, next) = tail.split_first_chunk::<4>()?;
        if *width == 0 {
            return Some(Ipv4Addr::from(*router));
        }
        rest = next;
    }
    None
}

const MTU_MIN: u16 = 68;
