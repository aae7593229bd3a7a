//! The network cards and their VLANs together: which one leads where, and names.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use bowline_net::{ConnectError, DnsError, Ends, Found, Stack, TcpStream};

use crate::failure::{Code, Failure};
use crate::interface::Interface;

/// All cards, in the firmware's order, and then the VLANs, as they were made. Clones share them.
#[derive(Clone)]
pub(crate) struct Network {
    interfaces: Rc<RefCell<Vec<Rc<Interface>>>>,
    search: Rc<RefCell<Vec<String>>>,
}

impl Network {
    pub(crate) fn new(stacks: &[Stack]) -> Self {
        let numbered = stacks.iter().enumerate();
        let cards = numbered
            .map(|(n, stack)| Rc::new(Interface::new(format!("net{n}"), stack.clone())))
            .collect();
        Self {
            interfaces: Rc::new(RefCell::new(cards)),
            search: Rc::default(),
        }
    }

    pub(crate) fn interfaces(&self) -> Vec<Rc<Interface>> {
        self.interfaces.borrow().clone()
    }

    pub(crate) fn add(&self, interface: Rc<Interface>) {
        self.interfaces.borrow_mut().push(interface);
    }

    pub(crate) fn remove(&self, interface: &Rc<Interface>) {
        self.interfaces
            .borrow_mut()
            .retain(|it| !Rc::ptr_eq(it, interface));
    }

    /// All cards; an error where there are none.
    pub(crate) fn all(&self) -> Result<Vec<Rc<Interface>>, Failure> {
        let all = self.interfaces();
        if all.is_empty() {
            return Err(Failure::new(
                Code::NetNoCard,
                "the firmware offers no network card (no EFI_SIMPLE_NETWORK_PROTOCOL)",
            ));
        }
        Ok(all)
    }

    /// The card of a name.
    pub(crate) fn find(&self, name: &str) -> Result<Rc<Interface>, Failure> {
        let all = self.all()?;
        let found = all.iter().find(|interface| interface.name() == name);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|interface| interface.name()).collect();
            let message = format!("no network card {name}; there are: {}", names.join(", "));
            Failure::new(Code::NetNoCard, message)
        })
    }

    /// The card that leads to an address: the first whose network it is on, else the first with a
    /// router.
    pub(crate) fn towards(&self, address: IpAddr) -> Result<Stack, Failure> {
        self.any_configured()
            .map_err(|failure| failure.within(format!("no way to {address}")))?;
        let interfaces = self.configured();
        let mut local = interfaces.iter().filter(|it| it.is_local(address));
        let mut routed = interfaces.iter().filter(|it| it.leads_to(address));
        local
            .next()
            .or_else(|| routed.next())
            .map(|interface| interface.stack().clone())
            .ok_or_else(|| self.no_route(address))
    }

    /// The domains that names without a dot are looked up in.
    pub(crate) fn set_search(&self, domains: Vec<String>) {
        self.search.replace(domains);
    }

    /// The addresses of a name to go on with, at least one; an address is its own name.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        Ok(self.look_up(name).await?.addresses)
    }

    async fn look_up(&self, name: &str) -> Result<Found, Failure> {
        let bare = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(name).parse() {
            return Ok(Found::from(alloc::vec![address]));
        }
        let interfaces = self.configured();
        let mut with_server = interfaces.iter().filter(|it| it.has_name_server());
        let stack = match with_server.next() {
            Some(interface) => interface.stack().clone(),
            None => self.any_configured()?,
        };
        let mut failure = None;
        for candidate in self.candidates(name) {
            match stack.look_up(&candidate, DNS_TIMEOUT).await {
                Ok(found) => return Ok(found),
                Err(error @ DnsError::NotFound { .. }) => {
                    failure.get_or_insert(error);
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let message = failure.map_or_else(|| format!("{name} has no address"), |it| it.to_string());
        Err(Failure::new(Code::DnsFailed, message))
    }

    /// What a name may stand for: a name without a dot is looked for in the search domains first.
    fn candidates(&self, name: &str) -> Vec<String> {
        let domains = self.search.borrow();
        let domains = domains.iter().filter(|_| !name.contains('.'));
        domains
            .map(|domain| format!("{name}.{domain}"))
            .chain([String::from(name)])
            .collect()
    }

    /// Every way to a host, in the order in which they are to be tried. At least one, or one that
    /// may come.
    pub(crate) async fn ends(&self, host: &str, port: u16) -> Result<Ends, Failure> {
        let found = self.look_up(host).await?;
        let first = found.addresses.first().copied();
        let network = self.clone();
        let end = move |address| {
            let stack = network.towards(address).ok()?;
            Some((stack, SocketAddr::new(address, port)))
        };
        let ends = Ends::new(found, end);
        match first {
            Some(first) if ends.known.is_empty() && ends.late.is_none() => {
                self.towards(first).map(|_| ends)
            }
            _ => Ok(ends),
        }
    }

    /// Connects to a host: to the address of its name that answers first.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let ends = self.ends(host, port).await?;
        let connected = TcpStream::connect_any(ends, CONNECT_TIMEOUT).await;
        connected.map_err(|error| connect_failure(&error))
    }

    fn configured(&self) -> Vec<Rc<Interface>> {
        let mut interfaces = self.interfaces();
        interfaces.retain(|interface| interface.has_address());
        interfaces
    }

    /// A card with an address.
    pub(crate) fn any_configured(&self) -> Result<Stack, Failure> {
        self.configured()
            .first()
            .map(|interface| interface.stack().clone())
            .ok_or_else(|| {
                Failure::new(
                    Code::NetNoAddress,
                    "no network card has an address; run `dhcp` first",
                )
            })
    }

    fn no_route(&self, address: IpAddr) -> Failure {
        let networks: Vec<String> = self
            .configured()
            .iter()
            .flat_map(|interface| interface.address_lines().collect::<Vec<_>>())
            .collect();
        Failure::new(
            Code::NetRoute,
            format!(
                "no way to {address}: it is on no local network, and no router is set ({})",
                networks.join("; ")
            ),
        )
    }
}

/// A connection that was not made.
pub(crate) fn connect_failure(error: &ConnectError) -> Failure {
    let code = match error {
        ConnectError::Refused { .. } => Code::ConnectRefused,
        ConnectError::TimedOut { .. } | ConnectError::Unreachable { .. } => Code::ConnectTimeout,
        ConnectError::NoRoute { .. } => Code::NetRoute,
        _ => Code::ConnectFailed,
    };
    Failure::new(code, error.to_string())
}

/// How long to ask for the address of a name.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;
    use crate::testing::lone_stack;

    /// Storage on one network, everything else on another: each address over its own card.
    #[test]
    fn each_network_has_its_card() {
        let storage = lone_stack(1, Ipv4Addr::new(10, 0, 0, 5), 24, None);
        let other = lone_stack(
            2,
            Ipv4Addr::new(192, 168, 1, 5),
            20,
            Some([192, 168, 1, 1].into()),
        );
        let network = Network::new(&[
            lone_stack(0, Ipv4Addr::UNSPECIFIED, 0, None),
            storage,
            other,
        ]);
        let card = |address: &str| {
            network
                .towards(address.parse().unwrap())
                .map(|stack| stack.mac()[5])
        };
        assert_eq!(card("10.0.0.1"), Ok(1));
        assert_eq!(card("192.168.15.200"), Ok(2));
        assert_eq!(card("8.8.8.8"), Ok(2), "the card with a router");
        assert_eq!(card("fe80::1").unwrap_err().code(), Code::NetRoute);
        let alone = Network::new(&[lone_stack(1, Ipv4Addr::new(10, 0, 0, 5), 24, None)]);
        let failure = alone.towards("8.8.8.8".parse().unwrap()).unwrap_err();
        assert_eq!(failure.code(), Code::NetRoute);
        assert!(
            failure.message().ends_with("(net0: 10.0.0.5/24 gw none)"),
            "{failure}"
        );
        assert_eq!(
            Network::new(&[])
                .towards("8.8.8.8".parse().unwrap())
                .unwrap_err()
                .code(),
            Code::NetNoAddress
        );
    }
}
