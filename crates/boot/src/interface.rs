//! A network card, or a VLAN on one, under its name: `net0`, `net0-2`; its settings, its address,
//! its DHCP lease.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::cell::{Cell, RefCell};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use bowline_dhcp::client::Lease;
use bowline_dhcp::wire::{Message, Options, code};
use bowline_net::{Conflict, Ipv4Config, Ipv6Config, NotUnicast, Stack};
use bowline_script::Settings;

use crate::dhcp::LeaseKeeper;
use crate::executor::Executor;
use crate::failure::{Code, Failure};
use crate::ipv6::{self, Autoconfiguration};
use crate::platform::Platform;

/// A network card, or a VLAN on one.
pub(crate) struct Interface {
    name: String,
    stack: Stack,
    open: Cell<bool>,
    keeper: RefCell<Option<Rc<LeaseKeeper>>>,
    autoconfiguration: RefCell<Option<Rc<Autoconfiguration>>>,
    /// Addresses that are not used, because other stations have them.
    refused: RefCell<Vec<IpAddr>>,
}

impl Interface {
    pub(crate) fn new(name: String, stack: Stack) -> Self {
        Self {
            name,
            stack,
            open: Cell::new(false),
            keeper: RefCell::default(),
            autoconfiguration: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    pub(crate) fn ipv4(&self) -> Option<Ipv4Config> {
        self.stack.ipv4()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.get()
    }

    pub(crate) fn open(&self, settings: &mut Settings) {
        self.open.set(true);
        settings.set_last_opened(Some(&self.name));
    }

    /// Gives the lease up; addresses that are set by hand are not used until it is opened again.
    pub(crate) fn close(&self, settings: &mut Settings) {
        self.open.set(false);
        self.keeper.take();
        self.autoconfiguration.take();
        self.refused.take();
        for scope in ["dhcp", "proxydhcp", "dhcpv6", "ndp"] {
            settings.remove_scope(&self.scope(scope));
        }
    }

    /// Tells the servers that the leases are not needed any more, and waits for a moment until they
    /// know (RFC 2131 section 4.4.6, RFC 8415 section 18.2.7).
    pub(crate) async fn release(&self, executor: &Executor) {
        let keeper = self.keeper.borrow().clone();
        let autoconfiguration = self.autoconfiguration.borrow().clone();
        let now = executor.now();
        if let Some(keeper) = &keeper {
            keeper.release(now);
        }
        if let Some(it) = &autoconfiguration {
            it.release(now);
        }
        let is_busy = || {
            keeper.as_ref().is_some_and(|it| it.is_sending())
                || autoconfiguration
                    .as_ref()
                    .is_some_and(|it| it.is_releasing())
        };
        while is_busy() && executor.now() < now + RELEASE_WAIT {
            executor.sleep(RELEASE_POLL).await;
        }
    }

    /// Takes note of addresses that other stations turned out to have: leases are declined, and what
    /// else it was is not used until the interface is opened again. Each in words.
    pub(crate) fn note_conflicts(&self, now: Duration) -> Vec<String> {
        let conflicts = core::iter::from_fn(|| self.stack.take_conflict(|_| true));
        let note = |conflict: Conflict| {
            let is_declined = match conflict.address {
                IpAddr::V4(address) => {
                    let keeper = self.keeper.borrow();
                    keeper.as_ref().is_some_and(|it| it.decline(address, now))
                }
                IpAddr::V6(address) => {
                    let autoconfiguration = self.autoconfiguration.borrow();
                    let decline = |it: &Rc<Autoconfiguration>| it.decline(address, now);
                    autoconfiguration.as_ref().is_some_and(decline)
                }
            };
            let consequence = match conflict.address {
                _ if is_declined => "declined, and another asked for",
                IpAddr::V6(it) if it == self.stack.link_local() => "no IPv6 on this card",
                _ => "not used",
            };
            self.refused.borrow_mut().push(conflict.address);
            format!("{}: {conflict}: {consequence}", self.name)
        };
        conflicts.map(note).collect()
    }

    /// An address has been leased once more, and may be tried again.
    pub(crate) fn accept(&self, address: IpAddr) {
        self.refused.borrow_mut().retain(|it| *it != address);
    }

    fn is_refused(&self, address: IpAddr) -> bool {
        self.refused.borrow().contains(&address)
    }

    /// Gives the lease and the address up, and every setting of the interface with them.
    pub(crate) fn unregister(&self, settings: &mut Settings) {
        self.close(settings);
        settings.remove_scope(&self.name);
        if settings.last_opened() == Some(&self.name) {
            settings.set_last_opened(None);
        }
    }

    /// Settings that are there from the start.
    pub(crate) fn register(&self, settings: &mut Settings) {
        let stored = settings.register(&self.name);
        debug_assert!(stored.is_ok(), "netN is a scope");
        let mac = self.stack.mac();
        self.describe(settings, "mac", &mac);
        self.describe(settings, "hwaddr", &mac);
        self.describe(settings, "linktype", b"Ethernet");
        self.describe(settings, "ifname", self.name.as_bytes());
    }

    /// Says where the card is: its address on the PCI bus, and who made what (iPXE's `busid`: the
    /// bus type, 1, vendor and device).
    pub(crate) fn register_location(&self, platform: &dyn Platform, settings: &mut Settings) {
        let Some(location) = platform.pci_location(self.stack.mac()) else {
            return;
        };
        let location = u32::from(location);
        self.describe(settings, "bustype", b"PCI");
        self.describe(settings, "busloc", &location.to_be_bytes());
        if let Some([a, b, c, d]) = platform.pci_configuration(location, 0, 4).as_deref() {
            self.describe(settings, "busid", &[1, *b, *a, *d, *c]);
        }
    }

    fn describe(&self, settings: &mut Settings, name: &str, value: &[u8]) {
        let stored = settings.set_bytes(&format!("{}/{name}", self.name), value);
        debug_assert!(stored.is_ok(), "{name} is a setting's name");
    }

    /// Keeps the lease alive from now on.
    pub(crate) fn keep_lease(&self, keeper: Rc<LeaseKeeper>) {
        self.keeper.replace(Some(keeper));
    }

    /// A renewed lease, or `Some(None)` where it was lost; `None` without news.
    pub(crate) fn take_lease_news(&self) -> Option<Option<Box<Lease>>> {
        self.keeper.borrow().as_ref()?.take_news()
    }

    /// Puts every option of a lease into the settings (`None`: takes the lease out of them).
    pub(crate) fn store_lease(
        &self,
        lease: Option<&Lease>,
        settings: &mut Settings,
    ) -> Result<(), Failure> {
        settings.remove_scope(&self.scope("proxydhcp"));
        let Some(lease) = lease else {
            settings.remove_scope(&self.scope("dhcp"));
            return Ok(());
        };
        self.accept(lease.address.into());
        let mut fields = vec![
            ("ip", lease.address.octets().to_vec()),
            ("netmask", prefix_mask(lease.prefix_len()).octets().to_vec()),
            ("dhcp-server", lease.server.octets().to_vec()),
        ];
        if let Some(router) = lease.router() {
            fields.push(("gateway", router.octets().to_vec()));
        }
        fields.extend(boot_fields(&lease.options, lease.siaddr, &lease.file));
        store(settings, &self.scope("dhcp"), &lease.options, fields)?;
        if let Some(proxy) = &lease.proxy {
            let fields = boot_fields(&proxy.options, proxy.siaddr, &proxy.file);
            store(settings, &self.scope("proxydhcp"), &proxy.options, fields)?;
        }
        Ok(())
    }

    /// Puts what a PXE boot server has answered into the settings (`None`: takes it out of them).
    /// There it stays when the lease goes, so that a script can find a boot server first and then
    /// boot as it always does.
    pub(crate) fn store_boot_server(
        &self,
        ack: Option<&Message>,
        settings: &mut Settings,
    ) -> Result<(), Failure> {
        let scope = self.scope("pxebs");
        settings.remove_scope(&scope);
        let Some(ack) = ack else { return Ok(()) };
        let fields = boot_fields(&ack.options, ack.siaddr, &ack.file);
        store(settings, &scope, &ack.options, fields)
    }

    /// Follows routers and DHCPv6 servers from now on.
    pub(crate) fn follow(&self, autoconfiguration: Rc<Autoconfiguration>) {
        self.autoconfiguration.replace(Some(autoconfiguration));
    }

    /// Puts what routers and DHCPv6 servers have said since into the settings.
    pub(crate) fn store_autoconfiguration(&self, settings: &mut Settings) -> Result<(), Failure> {
        let autoconfiguration = self.autoconfiguration.borrow().clone();
        match autoconfiguration.filter(|it| it.take_news()) {
            Some(it) => it.store(self, settings),
            None => Ok(()),
        }
    }

    /// Configures the card from its settings, its own before those of its lease.
    pub(crate) fn configure_from(&self, settings: &Settings) -> Result<(), NotUnicast> {
        self.configure_ipv6_from(settings)?;
        self.configure_ipv4_from(settings)
    }

    /// With IPv6 every open card has an address for its own link.
    fn configure_ipv6_from(&self, settings: &Settings) -> Result<(), NotUnicast> {
        let list = |name: &str| ipv6_list(settings, &format!("{}/{name}", self.name));
        let first = |name: &str| list(name).first().copied();
        let is_used = self.open.get() && !self.is_refused(self.stack.link_local().into());
        let config = is_used.then(|| {
            let length = settings.number(&format!("{}/len6", self.name));
            let mut dns = list("dns6");
            if dns.is_empty() {
                dns = ipv6_list(settings, "dns6");
            }
            Ipv6Config {
                address: first("ip6")
                    .filter(|it| !it.is_unspecified() && !self.is_refused((*it).into())),
                prefix_len: length.and_then(|it| u8::try_from(it).ok()).unwrap_or(64),
                router: first("gateway6").filter(|router| !router.is_unspecified()),
                dns,
            }
        });
        if config == self.stack.ipv6() {
            Ok(())
        } else {
            self.stack.configure_ipv6(config)
        }
    }

    fn configure_ipv4_from(&self, settings: &Settings) -> Result<(), NotUnicast> {
        let named = |name: &str| format!("{}/{name}", self.name);
        let config = settings
            .ipv4(&named("ip"))
            .filter(|ip| self.open.get() && !ip.is_unspecified())
            .filter(|ip| !self.is_refused((*ip).into()))
            .map(|address| {
                let mask = settings.ipv4(&named("netmask")).unwrap_or(CLASS_C);
                let mtu = settings
                    .number(&named("mtu"))
                    .and_then(|mtu| u16::try_from(mtu).ok());
                let router = settings.ipv4(&named("gateway"));
                let mut dns = settings.ipv4_list(&named("dns"));
                if dns.is_empty() {
                    dns = settings.ipv4_list("dns");
                }
                Ipv4Config {
                    address,
                    prefix_len: u32::from(mask).leading_ones() as u8,
                    router: router.filter(|router| !router.is_unspecified()),
                    dns,
                    mtu: mtu.filter(|&mtu| mtu > 0),
                }
            });
        if config == self.stack.ipv4() {
            Ok(())
        } else {
            self.stack.configure_ipv4(config)
        }
    }

    /// Whether an address is on the card's own network.
    pub(crate) fn is_local(&self, address: IpAddr) -> bool {
        self.stack.next_hop(address) == Some(address)
    }

    /// Whether there is a way to an address, itself or a router.
    pub(crate) fn leads_to(&self, address: IpAddr) -> bool {
        self.stack.next_hop(address).is_some()
    }

    /// Whether it knows a name server.
    pub(crate) fn has_name_server(&self) -> bool {
        let ipv6 = self
            .stack
            .ipv6()
            .is_some_and(|config| !config.dns.is_empty());
        ipv6 || self.ipv4().is_some_and(|config| !config.dns.is_empty())
    }

    /// Whether it has an address that leads beyond its link.
    pub(crate) fn has_address(&self) -> bool {
        let ipv6 = self.stack.ipv6().and_then(|config| config.address);
        self.ipv4().is_some() || ipv6.is_some()
    }

    /// The lines of its addresses of both protocols.
    pub(crate) fn address_lines(&self) -> impl Iterator<Item = String> {
        [self.address_line(), ipv6::address_line(self)]
            .into_iter()
            .flatten()
    }

    /// `net0: 192.168.1.50/24 gw 192.168.1.1`, where it has an address.
    pub(crate) fn address_line(&self) -> Option<String> {
        let config = self.ipv4()?;
        let router = config
            .router
            .map_or(String::from("none"), |router| router.to_string());
        Some(format!(
            "{}: {}/{} gw {router}",
            self.name, config.address, config.prefix_len
        ))
    }

    /// A scope inside the card's own: `net0.dhcp`.
    pub(crate) fn scope(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

/// Stores options raw, and fields that are not options under their names.
fn store(
    settings: &mut Settings,
    scope: &str,
    options: &Options,
    fields: Vec<(&str, Vec<u8>)>,
) -> Result<(), Failure> {
    let options = options.iter().map(|(tag, value)| (tag, value.to_vec()));
    settings
        .set_options(scope, options)
        .map_err(|error| Failure::new(Code::SettingName, error.to_string()).within(scope))?;
    store_fields(settings, scope, fields)
}

/// Stores fields under their names.
pub(crate) fn store_fields(
    settings: &mut Settings,
    scope: &str,
    fields: Vec<(&str, Vec<u8>)>,
) -> Result<(), Failure> {
    for (name, value) in fields {
        let name = format!("{scope}/{name}");
        let stored = settings.set_bytes(&name, value);
        stored.map_err(|error| Failure::new(Code::SettingName, error.to_string()).within(name))?;
    }
    Ok(())
}

/// The value of a setting as IPv6 addresses; none where it is not set.
fn ipv6_list(settings: &Settings, name: &str) -> Vec<Ipv6Addr> {
    let bytes = settings.bytes(name).unwrap_or_default();
    let (addresses, _) = bytes.as_chunks::<16>();
    addresses
        .iter()
        .map(|octets| Ipv6Addr::from(*octets))
        .collect()
}

/// What the header of a DHCP message says about booting (RFC 2131 section 2): the next server,
/// and a file name where option 67 has none.
fn boot_fields(options: &Options, siaddr: Ipv4Addr, file: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = vec![];
    if !siaddr.is_unspecified() {
        fields.push(("next-server", siaddr.octets().to_vec()));
    }
    if options.get(code::BOOT_FILE_NAME).is_none() && !file.is_empty() {
        fields.push(("filename", file.to_vec()));
    }
    fields
}

/// The mask with this many leading ones.
pub(crate) fn prefix_mask(prefix_len: u8) -> Ipv4Addr {
    let mask = u32::MAX
        .checked_shl(32_u32.saturating_sub(prefix_len.into()))
        .unwrap_or(0);
    Ipv4Addr::from(mask)
}

/// How long servers may take to hear that a lease is given back,
const RELEASE_WAIT: Duration = Duration::from_secs(1);
/// and the time between two looks at whether they have.
const RELEASE_POLL: Duration = Duration::from_millis(5);

/// The mask of an address that was set without one.
const CLASS_C: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks() {
        assert_eq!(prefix_mask(0), Ipv4Addr::new(0, 0, 0, 0));
        assert_eq!(prefix_mask(20), Ipv4Addr::new(255, 255, 240, 0));
        assert_eq!(prefix_mask(32), Ipv4Addr::new(255, 255, 255, 255));
    }
}
