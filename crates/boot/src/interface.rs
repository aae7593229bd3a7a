//! A network card, or a VLAN on one, under its name: `net0`, `net0-2`; its settings, its address,
//! its DHCP lease.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{format, vec};
use core::cell::{Cell, RefCell};
use core::net::Ipv4Addr;

use bowline_dhcp::client::Lease;
use bowline_dhcp::wire::{Options, code};
use bowline_net::{Ipv4Config, NotUnicast, Stack};
use bowline_script::Settings;

use crate::dhcp::LeaseKeeper;
use crate::failure::{Code, Failure};

/// A network card, or a VLAN on one.
pub(crate) struct Interface {
    name: String,
    stack: Stack,
    open: Cell<bool>,
    keeper: RefCell<Option<Rc<LeaseKeeper>>>,
}

impl Interface {
    pub(crate) fn new(name: String, stack: Stack) -> Self {
        Self {
            name,
            stack,
            open: Cell::new(false),
            keeper: RefCell::default(),
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
        settings.remove_scope(&self.lease_scope());
        settings.remove_scope(&self.proxy_scope());
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
        let stored = settings.register(&self.name).and_then(|()| {
            settings.set_bytes(&format!("{}/mac", self.name), self.stack.mac().to_vec())
        });
        debug_assert!(stored.is_ok(), "netN/mac is a setting's name");
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
        settings.remove_scope(&self.proxy_scope());
        let Some(lease) = lease else {
            settings.remove_scope(&self.lease_scope());
            return Ok(());
        };
        let mut fields = vec![
            ("ip", lease.address.octets().to_vec()),
            ("netmask", prefix_mask(lease.prefix_len()).octets().to_vec()),
            ("dhcp-server", lease.server.octets().to_vec()),
        ];
        if let Some(router) = lease.router() {
            fields.push(("gateway", router.octets().to_vec()));
        }
        fields.extend(boot_fields(&lease.options, lease.siaddr, &lease.file));
        store(settings, &self.lease_scope(), &lease.options, fields)?;
        if let Some(proxy) = &lease.proxy {
            let fields = boot_fields(&proxy.options, proxy.siaddr, &proxy.file);
            store(settings, &self.proxy_scope(), &proxy.options, fields)?;
        }
        Ok(())
    }

    /// Configures the card from its settings, its own before those of its lease.
    pub(crate) fn configure_from(&self, settings: &Settings) -> Result<(), NotUnicast> {
        let named = |name: &str| format!("{}/{name}", self.name);
        let config = settings
            .ipv4(&named("ip"))
            .filter(|ip| self.open.get() && !ip.is_unspecified())
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
    pub(crate) fn is_local(&self, address: Ipv4Addr) -> bool {
        self.ipv4().is_some_and(|config| {
            let mask = u32::from(prefix_mask(config.prefix_len));
            u32::from(address) & mask == u32::from(config.address) & mask
        })
    }

    pub(crate) fn has_router(&self) -> bool {
        self.ipv4().is_some_and(|config| config.router.is_some())
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

    fn lease_scope(&self) -> String {
        format!("{}.dhcp", self.name)
    }

    fn proxy_scope(&self) -> String {
        format!("{}.proxydhcp", self.name)
    }
}

/// Stores options raw, and fields that are not options under their names.
fn store(
    settings: &mut Settings,
    scope: &str,
    options: &Options,
    fields: Vec<(&str, Vec<u8>)>,
) -> Result<(), Failure> {
    let wrong = |error: &dyn ToString| Failure::new(Code::SettingName, error.to_string());
    let options = options.iter().map(|(tag, value)| (tag, value.to_vec()));
    settings
        .set_options(scope, options)
        .map_err(|error| wrong(&error).within(scope))?;
    for (name, value) in fields {
        let stored = settings.set_bytes(&format!("{scope}/{name}"), value);
        stored.map_err(|error| wrong(&error).within(format!("{scope}/{name}")))?;
    }
    Ok(())
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
