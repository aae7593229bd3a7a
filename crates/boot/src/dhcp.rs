//! DHCP on one card: gets a lease, then keeps it alive beside the running command; PXE boot server
//! discovery.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::net::Ipv4Addr;
use core::task::Poll;
use core::time::Duration;

use bowline_dhcp::client::{
    self, BootServerDiscovery, Client, DiscoveryEvent, Event, FailureReason, Lease,
};
use bowline_dhcp::wire::{Architecture, Message, Options, Printable, code};
use bowline_net::{BootpPort, Conflict, Destination, Link, OnVlan};
use bowline_script::Settings;

use crate::executor::{Background, Executor};
use crate::failure::{Code, Failure};
use crate::interface::Interface;
use crate::machine::Machine;

/// How long an answer to the probe for a leased address is waited for.
const PROBE_WAIT: Duration = Duration::from_millis(20);

/// A client with its port. While the lease lasts it works in the background.
pub(crate) struct LeaseKeeper {
    executor: Rc<Executor>,
    port: BootpPort,
    client: RefCell<Client>,
    /// A renewed lease, or none where it was lost, that nobody has taken note of.
    news: Cell<Option<Option<Box<Lease>>>>,
}

/// Gets a lease for a card within `give_up_after`. Where the server names nothing to boot, another
/// one that does is waited for as long as `proxy_wait`.
pub(crate) async fn acquire(
    machine: &Machine,
    interface: &Interface,
    give_up_after: Duration,
    proxy_wait: Duration,
) -> Result<(Box<Lease>, Rc<LeaseKeeper>), Failure> {
    let config = client::Config {
        give_up_after,
        proxy_wait,
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
            Event::Bound(lease) => {
                let Some(conflict) = keeper.probe(machine, interface, &lease).await else {
                    break lease;
                };
                let name = interface.name();
                machine.say(format!(
                    "{name}: {conflict}: declined, and another asked for"
                ));
                keeper.client.borrow_mut().decline(machine.now());
            }
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

    /// Whether another station has the leased address (RFC 2131 section 4.4.1). Who has it answers
    /// at once; later answers count as well, but are not waited for.
    async fn probe(
        &self,
        machine: &Machine,
        interface: &Interface,
        lease: &Lease,
    ) -> Option<Conflict> {
        let stack = interface.stack();
        stack.probe(lease.address.into());
        let answer = poll_fn(|_| match stack.take_conflict(|it| it == lease.address) {
            Some(conflict) => Poll::Ready(conflict),
            None => Poll::Pending,
        });
        let until = machine.now().saturating_add(PROBE_WAIT);
        machine.executor.until(until, answer).await
    }

    /// Adds what a proxyDHCP server has answered; the lease with it.
    pub(crate) fn note_proxy_answer(&self, answer: &Message) -> Option<Box<Lease>> {
        self.client.borrow_mut().note_proxy_answer(answer)
    }

    /// Refuses a leased address, because another station has it; whether it was leased.
    pub(crate) fn decline(&self, address: Ipv4Addr, now: Duration) -> bool {
        let mut client = self.client.borrow_mut();
        let is_leased = client.lease().is_some_and(|it| it.address == address);
        if is_leased {
            client.decline(now);
            self.news.set(Some(None));
        }
        is_leased
    }

    /// Gives the lease back.
    pub(crate) fn release(&self, now: Duration) {
        self.client.borrow_mut().release(now);
        self.exchange();
    }

    /// A message waits for its way to the server.
    pub(crate) fn is_sending(&self) -> bool {
        self.port.is_sending()
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
    let now = machine.now();
    let discovery = BootServerDiscovery::new(config, address, server_type, &vendor, now);
    run(machine, interface, discovery).await
}

/// Asks a proxyDHCP server that offered no file what to boot.
pub(crate) async fn ask_proxy(
    machine: &Machine,
    interface: &Interface,
    lease: &Lease,
    proxy: Ipv4Addr,
) -> Result<Box<Message>, Failure> {
    let config = client_config(machine, interface);
    let discovery = BootServerDiscovery::of_proxy(config, lease.address, proxy, machine.now());
    run(machine, interface, discovery).await
}

async fn run(
    machine: &Machine,
    interface: &Interface,
    mut discovery: BootServerDiscovery,
) -> Result<Box<Message>, Failure> {
    let name = interface.name();
    let port = BootpPort::open(interface.stack());
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
pub(crate) fn vendor_options(machine: &Machine, interface: &Interface) -> Options {
    let settings = machine.settings.borrow();
    let codes = [
        code::PXE_DISCOVERY_CONTROL,
        code::PXE_DISCOVERY_MCAST_ADDR,
        code::PXE_BOOT_SERVERS,
        code::PXE_BOOT_MENU,
        code::PXE_MENU_PROMPT,
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

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::net::Ipv4Addr;

    use bowline_net::Ipv4Config;

    use crate::testing::servers::dhcp_server_of;
    use crate::testing::{TestPlatform, run_on, script};

    /// The console of a machine to which the server first gives the address that the other end of
    /// the wire has, and the types of the messages that it sent.
    fn console(addresses: u8, lines: &[&str]) -> (String, Vec<u8>) {
        let platform = TestPlatform::with_network(&[]);
        platform.dhcp.replace(Some(dhcp_server_of(addresses)));
        let server = platform.server.clone().unwrap();
        let taken = Ipv4Config {
            address: Ipv4Addr::new(192, 168, 1, 50),
            ..server.ipv4().unwrap()
        };
        server.configure_ipv4(Some(taken)).unwrap();
        let (platform, _) = run_on(platform, &script(lines));
        let output = platform.output.borrow().clone();
        (output, sent(&platform))
    }

    /// The types of the DHCP messages (RFC 2132 section 9.6).
    fn sent(platform: &TestPlatform) -> Vec<u8> {
        let seen = platform.dhcp_seen.borrow();
        let kind = |message: &Vec<u8>| message.windows(2).position(|it| it == [53, 1]);
        seen.iter()
            .filter_map(|message| message.get(kind(message)? + 2).copied())
            .collect()
    }

    const DISCOVER: u8 = 1;
    const REQUEST: u8 = 3;
    const DECLINE: u8 = 4;
    const RELEASE: u8 = 7;

    #[test]
    fn an_address_of_another_station_is_declined() {
        let (output, sent) = console(2, &["sleep 2", "dhcp", "echo now ${ip}", "exit"]);
        let told = "net0: 192.168.1.50 is in use by 02:00:00:00:00:01: declined, and another asked \
                    for\nnet0: 192.168.1.51/24 gw 192.168.1.1\nnow 192.168.1.51\n";
        assert!(output.ends_with(told), "{output}");
        let expected = [DISCOVER, REQUEST, DECLINE, DISCOVER, REQUEST];
        assert_eq!(sent, expected);
    }

    /// An address by hand is not used either.
    #[test]
    fn an_address_by_hand_that_another_station_has() {
        let lines = [
            "sleep 2",
            "set net0/ip 192.168.1.50",
            "ifopen net0",
            "sleep 1",
            "ifstat net0",
            "ping -c 1 192.168.1.50 ||",
        ];
        let (output, _) = console(2, &lines);
        let told = "net0: 192.168.1.50 is in use by 02:00:00:00:00:01: not used\n";
        assert!(output.contains(told), "{output}");
        assert!(output.contains("[net-no-address]"), "{output}");
    }

    #[test]
    fn a_lease_is_given_back_when_the_card_is_closed() {
        let platform = TestPlatform::with_network(&[]);
        let lines = ["dhcp", "ifclose net0", "dhcp", "exit"];
        let (platform, _) = run_on(platform, &script(&lines));
        let expected = [DISCOVER, REQUEST, RELEASE, DISCOVER, REQUEST];
        assert_eq!(sent(&platform), expected);
        assert!(platform.output.borrow().ends_with("gw 192.168.1.1\n"));
    }
}
