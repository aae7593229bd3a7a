//! IPv6 on one card by itself (RFC 4862): routers are asked, and DHCPv6 where they say so.
//!
//! Works beside the running command, for as long as the card is open: an advertisement that comes
//! late is followed too.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::Ipv6Addr;
use core::time::Duration;

use bowline_dhcp::v6::{self, Configuration, Event};
use bowline_dhcp::wire::Architecture;
use bowline_net::{Advertisement, AdvertisementPort, OnVlan, UdpSocket, address_in};
use bowline_script::Settings;

use crate::executor::{Background, Executor, earliest};
use crate::failure::{Code, Failure};
use crate::interface::{Interface, store_fields};
use crate::machine::Machine;

/// What routers and servers say on one card.
pub(crate) struct Autoconfiguration {
    executor: Rc<Executor>,
    port: AdvertisementPort,
    /// What DHCPv6 is to be asked; the address is up to the router.
    config: v6::Config,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    solicited: u32,
    /// When routers are asked next; never once one has answered.
    solicit_at: Option<Duration>,
    advertisement: Option<Advertisement>,
    client: Option<(v6::Client, UdpSocket)>,
    /// What the DHCPv6 server said last, where one was asked; nothing once the lease is lost.
    answer: Option<Result<Box<Configuration>, v6::Failure>>,
    has_news: bool,
}

impl Autoconfiguration {
    /// Begins at once, and goes on for as long as the result lives.
    pub(crate) fn begin(machine: &Machine, interface: &Interface) -> Rc<Self> {
        let identity = machine.platform.identity();
        let mac = interface.stack().mac();
        let user_class = machine.settings.borrow().bytes("user-class");
        let config = v6::Config {
            mac,
            uuid: identity.uuid,
            wants_address: true,
            architecture: Architecture(identity.dhcp_architecture),
            user_class: user_class.unwrap_or_else(|| b"iPXE".to_vec()),
            seed: crate::startup::seed(&*machine.platform, mac),
            give_up_after: GIVE_UP_AFTER,
        };
        let this = Rc::new(Self {
            executor: Rc::clone(&machine.executor),
            port: AdvertisementPort::open(interface.stack()),
            config,
            state: RefCell::new(State {
                solicit_at: Some(machine.now()),
                ..State::default()
            }),
        });
        let background: Rc<dyn Background> = this.clone();
        machine.executor.add_background(Rc::downgrade(&background));
        this
    }

    /// A router has answered.
    pub(crate) fn has_router(&self) -> bool {
        self.state.borrow().advertisement.is_some()
    }

    /// A router has answered, and DHCPv6 too where that was to be asked.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state.borrow();
        state.advertisement.is_some() && (state.client.is_none() || state.answer.is_some())
    }

    /// Whether there is something that [`Self::store`] has not stored yet.
    pub(crate) fn take_news(&self) -> bool {
        core::mem::take(&mut self.state.borrow_mut().has_news)
    }

    /// Puts what is known into the settings: `net0.dhcpv6` and `net0.ndp`.
    pub(crate) fn store(
        &self,
        interface: &Interface,
        settings: &mut Settings,
    ) -> Result<(), Failure> {
        let state = self.state.borrow();
        let Some(router) = &state.advertisement else {
            return Ok(());
        };
        settings.remove_scope(&interface.scope("dhcpv6"));
        if let Some(Ok(answer)) = &state.answer {
            if let Some(address) = answer.address {
                interface.accept(address.into());
            }
            let fields = dhcp_fields(answer, router);
            store_fields(settings, &interface.scope("dhcpv6"), fields)?;
        }
        let fields = router_fields(router, interface.stack().mac());
        store_fields(settings, &interface.scope("ndp"), fields)
    }

    /// Why there is no address beyond the link.
    pub(crate) fn failure(&self, interface: &Interface) -> Failure {
        let state = self.state.borrow();
        let name = interface.name();
        let message = match &state.answer {
            Some(Err(failure)) => format!("{name}: {failure}"),
            _ if state.advertisement.is_none() => format!(
                "{name}: no IPv6 router answered ({} solicitations sent)",
                state.solicited
            ),
            _ => format!("{name}: the IPv6 router has no prefix to make an address of"),
        };
        let on_vlan = OnVlan(interface.stack().vlan());
        Failure::new(Code::DhcpNoAnswer, format!("{message}{on_vlan}"))
    }

    /// Refuses an address, because another station has it; whether it was a DHCPv6 server's.
    pub(crate) fn decline(&self, address: Ipv6Addr, now: Duration) -> bool {
        let state = &mut *self.state.borrow_mut();
        let is_leased = matches!(&state.answer, Some(Ok(it)) if it.address == Some(address));
        if let Some((client, _)) = &mut state.client
            && is_leased
        {
            client.decline(now);
            state.answer = None;
            state.has_news = true;
        }
        is_leased
    }

    /// Gives the lease back, where there is one.
    pub(crate) fn release(&self, now: Duration) {
        let state = &mut *self.state.borrow_mut();
        if let Some((client, _)) = &mut state.client {
            client.release(now);
            Self::ask_server(state, now);
        }
    }

    /// The server has not answered to that yet.
    pub(crate) fn is_releasing(&self) -> bool {
        let state = self.state.borrow();
        let client = state.client.as_ref();
        client.is_some_and(|(client, _)| client.poll_timeout().is_some())
    }

    fn solicit(&self, state: &mut State, now: Duration) -> bool {
        if state.solicit_at.is_none_or(|at| now < at) {
            return false;
        }
        self.port.solicit();
        state.solicited += 1;
        let more = state.solicited < SOLICITATIONS_MAX;
        state.solicit_at = more.then(|| now + SOLICITATION_PAUSE);
        true
    }

    /// Follows what a router says. Of several the first default router is kept.
    fn follow(&self, state: &mut State, said: Advertisement, now: Duration) {
        let is_better = match &state.advertisement {
            None => true,
            Some(kept) => kept.router == said.router || (said.is_default && !kept.is_default),
        };
        if !is_better || state.advertisement.as_ref() == Some(&said) {
            return;
        }
        state.solicit_at = None;
        let asks_server = said.managed || said.other;
        if asks_server && state.client.is_none() && state.answer.is_none() {
            let config = v6::Config {
                wants_address: said.managed,
                ..self.config.clone()
            };
            let socket = UdpSocket::bind(self.port.stack(), Some(v6::CLIENT_PORT), 4, DATAGRAM);
            state.client = socket
                .ok()
                .map(|socket| (v6::Client::new(config, now), socket));
        }
        state.advertisement = Some(said);
        state.has_news = true;
    }

    fn ask_server(state: &mut State, now: Duration) -> bool {
        let Some((client, socket)) = &mut state.client else {
            return false;
        };
        let mut busy = false;
        while let Some((payload, _)) = socket.try_receive() {
            client.handle_input(now, &payload);
            busy = true;
        }
        client.handle_timeout(now);
        while let Some(payload) = client.poll_output() {
            socket.send((v6::ALL_SERVERS, v6::SERVER_PORT).into(), &payload);
            busy = true;
        }
        let Some(event) = client.poll_event() else {
            return busy;
        };
        state.answer = match event {
            Event::Configured(answer) => Some(Ok(answer)),
            Event::Failed(failure) => Some(Err(failure)),
            Event::Lost => None,
        };
        // It goes on for as long as there is a lease to keep.
        if client.poll_timeout().is_none() {
            state.client = None;
        }
        state.has_news = true;
        true
    }
}

impl Background for Autoconfiguration {
    fn turn(&self) -> bool {
        let now = self.executor.now();
        let state = &mut *self.state.borrow_mut();
        let mut busy = self.solicit(state, now);
        while let Some(said) = self.port.try_receive() {
            self.follow(state, said, now);
            busy = true;
        }
        busy | Self::ask_server(state, now)
    }

    fn wake_up(&self) -> Option<Duration> {
        let state = self.state.borrow();
        let client = state.client.as_ref();
        earliest(
            state.solicit_at,
            client.and_then(|(client, _)| client.poll_timeout()),
        )
    }
}

/// What a router's advertisement says, as settings.
fn router_fields(router: &Advertisement, mac: [u8; 6]) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = Vec::new();
    if let Some(prefix) = router.prefixes.iter().find(|prefix| prefix.autonomous) {
        let address = address_in(prefix.prefix, mac);
        fields.push(("ip6", address.octets().to_vec()));
        fields.push(("len6", [prefix.length].to_vec()));
    }
    if router.is_default {
        fields.push(("gateway6", router.router.octets().to_vec()));
    }
    fields.push(("dns6", octets(&router.dns)));
    fields.push(("dnssl", router.search.clone()));
    fields.retain(|(_, value)| !value.is_empty());
    fields
}

/// What a DHCPv6 server's answer says. How far the network reaches is the router's to say.
fn dhcp_fields(answer: &Configuration, router: &Advertisement) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = Vec::new();
    if let Some(address) = answer.address {
        let mut prefixes = router.prefixes.iter();
        let on_link = prefixes.find(|prefix| prefix.on_link && prefix.contains(address));
        fields.push(("ip6", address.octets().to_vec()));
        fields.push((
            "len6",
            [on_link.map_or(128, |prefix| prefix.length)].to_vec(),
        ));
    }
    fields.push(("dns6", octets(&answer.dns)));
    fields.push(("dnssl", answer.search.clone()));
    fields.push(("filename", answer.boot_file.clone()));
    fields.push(("boot-parameters", answer.boot_parameters.join(" ").into()));
    fields.retain(|(_, value)| !value.is_empty());
    fields
}

fn octets(addresses: &[Ipv6Addr]) -> Vec<u8> {
    addresses
        .iter()
        .flat_map(|address| address.octets())
        .collect()
}

/// `net0: 2001:db8::50/64 gw fe80::1`.
pub(crate) fn address_line(interface: &Interface) -> Option<String> {
    let config = interface.stack().ipv6()?;
    let address = config.address?;
    let router = config
        .router
        .map_or(String::from("none"), |it| it.to_string());
    let name = interface.name();
    Some(format!(
        "{name}: {address}/{} gw {router}",
        config.prefix_len
    ))
}

/// RFC 4861 section 10.
const SOLICITATIONS_MAX: u32 = 3;
const SOLICITATION_PAUSE: Duration = Duration::from_secs(4);

/// How long DHCPv6 servers are asked.
const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// The longest answer of a DHCPv6 server: one packet.
const DATAGRAM: usize = 1452;

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::Ipv6Addr;

    use bowline_net::{Ipv6Config, Link};

    use crate::testing::{TestPlatform, run_on, script, servers};

    const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

    /// A router advertisement: 2001:db8::/64, a name server, the domain lab.example.
    fn advertisement() -> Vec<u8> {
        let mut message = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        message.extend([3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        message.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets());
        message.extend([25, 3, 0, 0, 0, 0, 1, 0]);
        message.extend(SERVER.octets());
        message.extend([31, 3, 0, 0, 0, 0, 1, 0]);
        message.extend(*b"\x03lab\x07example\0\0\0\0");
        message
    }

    /// The console of a machine whose router and web server speak IPv6 and nothing else.
    fn console(has_router: bool, lines: &[&str]) -> String {
        let platform = TestPlatform::with_wire(Link::Up);
        let server = platform.server.clone().unwrap();
        let config = Ipv6Config {
            address: Some(SERVER),
            prefix_len: 64,
            ..Ipv6Config::default()
        };
        server.configure_ipv6(Some(config)).unwrap();
        platform.router.replace(has_router.then(advertisement));
        let pages = servers::http_server(&server, &[("/a", b"#!ipxe\necho over IPv6\nexit\n")]);
        platform.tasks.borrow_mut().push(pages);
        let (platform, _) = run_on(platform, &script(lines));
        platform.output.borrow().clone()
    }

    #[test]
    fn a_router_gives_an_address_and_the_way_to_a_server() {
        for how in ["dhcp", "ifconf -c ipv6 net0"] {
            let output = console(
                true,
                &[
                    how,
                    "echo ${net0.ndp/dns6} ${dnssl} ${ip6} ${gateway6}",
                    "route",
                    "chain http://[2001:db8::1]/a",
                ],
            );
            for line in [
                "net0: 2001:db8::5054:ff:fe12:3456/64 gw fe80::ff:fe00:1\n",
                "2001:db8::1 lab.example 2001:db8::5054:ff:fe12:3456 fe80::ff:fe00:1\n",
                "net0: 2001:db8::/64 direct\nnet0: ::/0 gw fe80::ff:fe00:1\n",
                "over IPv6\n",
            ] {
                assert!(output.contains(line), "{how}: no `{line}` in\n{output}");
            }
        }
    }

    #[test]
    fn an_address_by_hand_is_enough() {
        let output = console(
            false,
            &[
                "set net0/ip6 2001:db8::77",
                "ifopen net0",
                "ifstat net0",
                "chain http://[2001:db8::1]/a",
            ],
        );
        assert!(
            output.contains("  net0: 2001:db8::77/64 gw none\n"),
            "{output}"
        );
        assert!(output.contains("over IPv6\n"), "{output}");
    }

    /// Another station has the address that the router's prefix gives us.
    #[test]
    fn an_address_of_another_station_is_not_used() {
        let platform = TestPlatform::with_wire(Link::Up);
        let server = platform.server.clone().unwrap();
        let config = Ipv6Config {
            address: Some(Ipv6Addr::new(
                0x2001, 0xdb8, 0, 0, 0x5054, 0xff, 0xfe12, 0x3456,
            )),
            prefix_len: 64,
            ..Ipv6Config::default()
        };
        server.configure_ipv6(Some(config)).unwrap();
        platform.router.replace(Some(advertisement()));
        let lines = [
            "sleep 2",
            "ifconf -c ipv6 net0",
            "sleep 2",
            "ifstat net0",
            "ifclose net0",
        ];
        let (platform, _) = run_on(platform, &script(&lines));
        let output = platform.output.borrow();
        let address = "2001:db8::5054:ff:fe12:3456";
        let told = format!("net0: {address} is in use by 02:00:00:00:00:01: not used\n");
        let (before, after) = output.split_once(&told).expect(&output);
        assert!(before.contains(address), "{output}");
        assert!(after.contains("net0: 52:54:00:12:34:56"), "{output}");
        assert!(!after.contains(address), "{output}");
    }

    #[test]
    fn no_router_is_told() {
        let output = console(
            false,
            &["ifconf --configurator ipv6 --timeout 3000 ||", "exit"],
        );
        assert!(
            output.contains("ifconf: net0: no IPv6 router answered (1 solicitations sent) ["),
            "{output}"
        );
    }
}
