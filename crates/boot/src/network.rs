//! The network cards and their VLANs together: which one leads where, and names.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use bowline_net::{ConnectError, Stack, TcpStream};

use crate::failure::{Code, Failure};
use crate::interface::Interface;

/// All cards, in the firmware's order, and then the VLANs, as they were made. Clones share them.
#[derive(Clone)]
pub(crate) struct Network(Rc<RefCell<Vec<Rc<Interface>>>>);

impl Network {
    pub(crate) fn new(stacks: &[Stack]) -> Self {
        let numbered = stacks.iter().enumerate();
        let cards = numbered
            .map(|(n, stack)| Rc::new(Interface::new(format!("net{n}"), stack.clone())))
            .collect();
        Self(Rc::new(RefCell::new(cards)))
    }

    pub(crate) fn interfaces(&self) -> Vec<Rc<Interface>> {
        self.0.borrow().clone()
    }

    pub(crate) fn add(&self, interface: Rc<Interface>) {
        self.0.borrow_mut().push(interface);
    }

    pub(crate) fn remove(&self, interface: &Rc<Interface>) {
        self.0.borrow_mut().retain(|it| !Rc::ptr_eq(it, interface));
    }

    /// The cards that arguments name; all when there are none.
    pub(crate) fn named(&self, names: &[String]) -> Result<Vec<Rc<Interface>>, Failure> {
        let all = self.interfaces();
        if all.is_empty() {
            return Err(Failure::new(
                Code::NetNoCard,
                "the firmware offers no network card (no EFI_SIMPLE_NETWORK_PROTOCOL)",
            ));
        }
        if names.is_empty() {
            return Ok(all);
        }
        names.iter().map(|name| self.find(name)).collect()
    }

    /// The card that leads to an address.
    pub(crate) fn towards(&self, address: IpAddr) -> Result<Stack, Failure> {
        let IpAddr::V4(address) = address else {
            return Err(Failure::new(
                Code::NetRoute,
                format!("{address} is an IPv6 address; this loader speaks IPv4"),
            ));
        };
        self.any_configured()
            .map_err(|failure| failure.within(format!("no way to {address}")))?;
        let configured = self.configured();
        let mut candidates = configured.iter();
        let local = candidates.find(|interface| interface.is_local(address));
        let routed = || configured.iter().find(|interface| interface.has_router());
        local
            .or_else(routed)
            .map(|interface| interface.stack().clone())
            .ok_or_else(|| self.no_route(address))
    }

    /// The card that leads to a host. Its name is looked up only where that makes a difference.
    pub(crate) async fn towards_host(&self, host: &str) -> Result<Stack, Failure> {
        if let Ok(address) = host.parse() {
            return self.towards(address);
        }
        if self.configured().len() < 2 {
            return self.any_configured();
        }
        let addresses = self.resolve(host).await?;
        match addresses.first() {
            Some(&address) => self.towards(address),
            None => self.any_configured(),
        }
    }

    /// The addresses of a name, at least one; an address is its own name.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(address) = name.parse() {
            return Ok(alloc::vec![address]);
        }
        let with_server = |interface: &&Rc<Interface>| {
            interface
                .ipv4()
                .is_some_and(|config| !config.dns.is_empty())
        };
        let stack = match self.configured().iter().find(with_server) {
            Some(interface) => interface.stack().clone(),
            None => self.any_configured()?,
        };
        let addresses = stack.resolve(name, DNS_TIMEOUT).await;
        let addresses =
            addresses.map_err(|error| Failure::new(Code::DnsFailed, error.to_string()))?;
        if addresses.is_empty() {
            let message = format!("{name} has no address");
            return Err(Failure::new(Code::DnsFailed, message));
        }
        Ok(addresses)
    }

    /// Connects to a host: every address of its name until one answers.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let mut last = None;
        for address in self.resolve(host).await? {
            let stack = self.towards(address)?;
            let remote = SocketAddr::new(address, port);
            match TcpStream::connect(&stack, remote, CONNECT_TIMEOUT).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(connect_failure(&error)),
            }
        }
        Err(last.unwrap_or_else(|| Failure::new(Code::DnsFailed, format!("{host} has no address"))))
    }

    fn find(&self, name: &str) -> Result<Rc<Interface>, Failure> {
        let all = self.interfaces();
        let found = all.iter().find(|interface| interface.name() == name);
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|interface| interface.name()).collect();
            let message = format!("no network card {name}; there are: {}", names.join(", "));
            Failure::new(Code::NetNoCard, message)
        })
    }

    fn configured(&self) -> Vec<Rc<Interface>> {
        let mut interfaces = self.interfaces();
        interfaces.retain(|interface| interface.ipv4().is_some());
        interfaces
    }

    fn any_configured(&self) -> Result<Stack, Failure> {
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

    fn no_route(&self, address: Ipv4Addr) -> Failure {
        let networks: Vec<String> = self
            .configured()
            .iter()
            .filter_map(|interface| interface.address_line())
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
