//! DHCP on one card: gets a lease, then keeps it alive beside the running command; PXE boot server
//! discovery.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use bowline_dhcp::client::{
    self, BootServerDiscovery, Client, DiscoveryEvent, Event, FailureReason, Lease,
};
use bowline_dhcp::wire::{Architecture, Message, Options, Printable, code};
use bowline_net::{BootpPort, Destination, Link, OnVlan};
use bowline_script::Settings;

use crate::executor::{Background, Executor};
use crate::failure::{Code, Failure};
use crate::interface::Interface;
use crate::machine::Machine;

/// A client with its port. While the lease lasts it works in the background.
pub(crate) struct LeaseKeeper {
    executor: Rc<Executor>,
    port: BootpPort,
    client: RefCell<Client>,
    /// A renewed lease, or none where it was lost, that nobody has taken note of.
    news: Cell<Option<Option<Box<Lease>>>>,
}

/// Gets a lease for a card within `give_up_after`.
pub(crate) async fn acquire(
    machine: &Machine,
    interface: &Interface,
    give_up_after: Duration,
) -> Result<(Box<Lease>, Rc<LeaseKeeper>), Failure> {
    let config = client::Config {
        give_up_after,
        ..client_config(machine, interface)
    };
    let keeper = Rc::new(LeaseKeeper {
        executor: Rc::clone(&machine.executor),
        port: BootpPort::open(interface.stack()),
        client: RefCell::new(Client::new(config, machine.now())),
        news: Cell::new(None),
    });
    let lease = loop {
        match keeper.next_event().await {
            Event::Bound(lease) => break lease,
            Event::Refused { server, message } => {
                let from = server
                    .map(|server| format!(" {server}"))
                    .unwrap_or_default();
                let name = interface.name();
                machine.say(format!(
                    "{name}: DHCP server{from} refused: {}",
                    Printable(&message)
                ));
            }
            Event::Failed(failure) => return Err(describe(&failure, interface)),
            _ => {}
        }
    };
    let background: Rc<dyn Background> = keeper.clone();
    machine.executor.add_background(Rc::downgrade(&background));
    Ok((lease, keeper))
}

impl LeaseKeeper {
    /// A renewed lease (`Some(None)`: it was lost), once.
    pub(crate) fn take_news(&self) -> Option<Option<Box<Lease>>> {
        self.news.take()
    }

    async fn next_event(&self) -> Event {
        poll_fn(|_| {
            self.exchange();
            if let Some(event) = self.client.borrow_mut().poll_event() {
                return Poll::Ready(event);
            }
            if let Some(moment) = self.client.borrow().poll_timeout() {
                self.executor.wake_at(moment);
            }
            Poll::Pending
        })
        .await
    }

    /// Hands messages to and fro; true if there were any.
    fn exchange(&self) -> bool {
        let mut busy = false;
        let now = self.executor.now();
        while let Some(received) = self.port.try_receive() {
            self.client
                .borrow_mut()
                .handle_input(now, &received.payload);
            busy = true;
        }
        self.client.borrow_mut().handle_timeout(now);
        while let Some(transmit) = self.next_output() {
            send(&self.port, &transmit);
            busy = true;
        }
        busy
    }

    fn next_output(&self) -> Option<client::Transmit> {
        self.client.borrow_mut().poll_output()
    }

    fn next_background_event(&self) -> Option<Event> {
        self.client.borrow_mut().poll_event()
    }
}

impl Background for LeaseKeeper {
    fn turn(&self) -> bool {
        let busy = self.exchange();
        while let Some(event) = self.next_background_event() {
            match event {
                Event::Renewed(lease) | Event::Bound(lease) => self.news.set(Some(Some(lease))),
                Event::Expired(_) => self.news.set(Some(None)),
                _ => {}
            }
        }
        busy
    }

    fn wake_up(&self) -> Option<Duration> {
        self.client.borrow().poll_timeout()
    }
}

/// Looks for a PXE boot server of a type, where option 43 in the settings of the card says.
pub(crate) async fn discover_boot_server(
    machine: &Machine,
    interface: &Interface,
    server_type: u16,
) -> Result<Box<Message>, Failure> {
    let name = interface.name();
    let address = interface.ipv4().map(|config| config.address);
    let address = address.ok_or_else(|| {
        let message = format!("{name} has no IPv4 address; run `dhcp {name}` first");
        Failure::new(Code::NetNoAddress, message)
    })?;
    let vendor = vendor_options(machine, interface);
    let config = client_config(machine, interface);
    let port = BootpPort::open(interface.stack());
    let now = machine.now();
    let mut discovery = BootServerDiscovery::new(config, address, server_type, &vendor, now);
    let event = poll_fn(|_| {
        while let Some(received) = port.try_receive() {
            discovery.handle_input(&received.payload);
        }
        discovery.handle_timeout(machine.now());
        if let Some(transmit) = discovery.poll_output() {
            send(&port, &transmit);
        }
        if let Some(event) = discovery.poll_event() {
            return Poll::Ready(event);
        }
        if let Some(moment) = discovery.poll_timeout() {
            machine.executor.wake_at(moment);
        }
        Poll::Pending
    });
    match event.await {
        DiscoveryEvent::Found(ack) => Ok(ack),
        DiscoveryEvent::Failed(failure) => {
            let code = match failure.asked.is_empty() {
                true => Code::SettingUnset,
                false => Code::ConnectTimeout,
            };
            Err(Failure::new(code, format!("{name}: {failure}")))
        }
    }
}

/// What the DHCP servers, or a script in their place, have said about boot servers.
fn vendor_options(machine: &Machine, interface: &Interface) -> Options {
    let settings = machine.settings.borrow();
    let codes = [
        code::PXE_DISCOVERY_CONTROL,
        code::PXE_DISCOVERY_MCAST_ADDR,
        code::PXE_BOOT_SERVERS,
    ];
    let options = codes.into_iter().filter_map(|code| {
        let name = format!("{}/{}.{code}", interface.name(), code::VENDOR_SPECIFIC);
        Some((code, settings.bytes(&name)?))
    });
    options.collect()
}

fn send(port: &BootpPort, transmit: &client::Transmit) {
    let to = match transmit.to {
        client::Destination::Broadcast => Destination::Broadcast,
        client::Destination::BootServer(server) => Destination::BootServer(server),
        // The card has the leased address, which it is sent from.
        client::Destination::Unicast { server, .. } => Destination::Unicast(server),
    };
    port.send(to, &transmit.payload);
}

/// What the client sends: the defaults, and what the script has set.
fn client_config(machine: &Machine, interface: &Interface) -> client::Config {
    let identity = machine.platform.identity();
    let mac = interface.stack().mac();
    let seed = crate::startup::seed(&*machine.platform, mac);
    let mut config = client::Config::new(mac, Architecture(identity.dhcp_architecture), seed);
    let settings = machine.settings.borrow();
    let chosen = |name| chosen(&settings, interface, name);
    config.uuid = identity.uuid;
    if let Some(user_class) = chosen("user-class") {
        config.user_class = user_class;
    }
    if let Some(vendor_class) = chosen("vendor-class") {
        config.vendor_class = vendor_class;
    }
    if let Some(host_name) = chosen("hostname") {
        config.host_name = host_name;
    }
    config
}

/// What a script has set for the card or for all. Scopes inside a card's hold what servers have
/// said, of themselves as well: their vendor class is not ours.
fn chosen(settings: &Settings, interface: &Interface, name: &str) -> Option<Vec<u8>> {
    [format!("{}/{name}", interface.name()), name.into()]
        .iter()
        .filter_map(|name| settings.fetch(name).ok()?)
        .find(|setting| !setting.scope.contains('.'))
        .map(|setting| setting.value.to_vec())
}

/// What was seen and where: `net0: no DHCP server answered in 10 s (5 DISCOVER sent, link up)`.
fn describe(failure: &client::Failure, interface: &Interface) -> Failure {
    let link = match interface.stack().link() {
        Link::Up => "link up",
        Link::Down => "link down: is the cable in?",
        Link::Unknown => "the card cannot tell whether it has a link",
    };
    let name = interface.name();
    let on_vlan = OnVlan(interface.stack().vlan());
    match failure.reason {
        FailureReason::NoAnswer => Failure::new(
            Code::DhcpNoAnswer,
            format!(
                "{name}: no DHCP server answered in {} s ({} DISCOVER sent, {link}){on_vlan}",
                failure.waited.as_secs(),
                failure.sent
            ),
        ),
        FailureReason::NoUsableOffer => {
            Failure::new(Code::DhcpNoAnswer, format!("{name}: {failure} ({link})"))
        }
        _ => Failure::new(Code::DhcpRefused, format!("{name}: {failure}")),
    }
}
