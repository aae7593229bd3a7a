//! Commands on the network: ifopen, ifclose, ifstat, iflinkwait, ifconf (dhcp), route, nstat,
//! ipstat, nslookup.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::future::Future;
use core::time::Duration;

use bowline_dhcp::client::{Lease, ProxyOffer};
use bowline_net::{Link, Packets, Statistics};
use bowline_script::syntax::Matches;

use super::{Action, action};
use crate::dhcp::{self, LeaseKeeper};
use crate::failure::{Code, Failure};
use crate::interface::{Interface, prefix_mask};
use crate::ipv6::Autoconfiguration;
use crate::machine::Machine;

pub(super) const ACTIONS: &[Action] = &[
    action!("ifclose", close),
    action!("ifconf", configure),
    action!("iflinkwait", wait_for_link),
    action!("ifopen", open),
    action!("ifstat", statistics),
    action!("ipstat", packets),
    action!("nslookup", look_up),
    action!("nstat", neighbors),
    action!("route", routes),
];

async fn open(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    for interface in named(machine, &arguments)? {
        interface.open(&mut machine.settings.borrow_mut());
    }
    Ok(())
}

async fn close(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    for interface in named(machine, &arguments)? {
        interface.release(&machine.executor).await;
        interface.close(&mut machine.settings.borrow_mut());
    }
    machine.apply_network_settings();
    Ok(())
}

async fn statistics(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    for interface in named(machine, &arguments)? {
        let statistics = interface.stack().statistics();
        let state = if interface.is_open() {
            "open"
        } else {
            "closed"
        };
        machine.say(format!("{}, {state}", describe(&interface)));
        for line in interface.address_lines() {
            machine.say(format!("  {line}"));
        }
        machine.say(counters(&statistics));
    }
    Ok(())
}

async fn wait_for_link(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let until = machine
        .now()
        .saturating_add(timeout(&arguments, LINK_TIMEOUT));
    for interface in named(machine, &arguments)? {
        link_up(machine, &interface, until).await?;
    }
    Ok(())
}

/// The first card that gets an address is enough, as in iPXE. Cards without a link come last.
async fn configure(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let wanted = Wanted {
        ipv4: arguments.text("configurator") != Some("ipv6"),
        proxy_wait: Duration::ZERO,
    };
    let has_link = |interface: &Rc<Interface>| interface.stack().link() != Link::Down;
    let named = named(machine, &arguments)?.into_iter();
    let (mut interfaces, down): (Vec<_>, _) = named.partition(has_link);
    interfaces.extend(down);
    let give_up_after = timeout(&arguments, DHCP_TIMEOUT);
    let mut failures: Vec<Failure> = Vec::new();
    for interface in interfaces {
        match configure_one(machine, &interface, wanted, give_up_after).await {
            Ok(()) => return Ok(()),
            Err(failure) => {
                interface.close(&mut machine.settings.borrow_mut());
                machine.apply_network_settings();
                failures.push(failure);
            }
        }
    }
    let words: Vec<String> = failures
        .iter()
        .map(|failure| failure.message().to_string())
        .collect();
    let code = failures.first().map_or(Code::NetNoCard, Failure::code);
    Err(Failure::new(code, words.join("; ")))
}

/// What a card is configured by.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// By DHCP, and by IPv6 beside it; otherwise by IPv6 alone.
    pub(super) ipv4: bool,
    /// How long somebody who names what to boot is waited for, where the DHCP server does not.
    pub(super) proxy_wait: Duration,
}

pub(super) async fn configure_one(
    machine: &Machine,
    interface: &Interface,
    wanted: Wanted,
    give_up_after: Duration,
) -> Result<(), Failure> {
    interface.close(&mut machine.settings.borrow_mut());
    machine.apply_network_settings();
    interface.open(&mut machine.settings.borrow_mut());
    machine.say(describe(interface));
    link_up(
        machine,
        interface,
        machine.now().saturating_add(LINK_TIMEOUT),
    )
    .await?;
    let autoconfiguration = Autoconfiguration::begin(machine, interface);
    machine.apply_network_settings();
    interface.follow(Rc::clone(&autoconfiguration));
    if wanted.ipv4 {
        let acquiring = dhcp::acquire(machine, interface, give_up_after, wanted.proxy_wait);
        let leased = lease_or_ipv6(machine, interface, &autoconfiguration, acquiring).await;
        machine.apply_network_settings();
        if let Err(failure) = leased
            && !interface.has_address()
        {
            return Err(failure);
        }
    }
    let until = machine.now().saturating_add(match wanted.ipv4 {
        true => IPV6_GRACE,
        false => give_up_after,
    });
    let is_done = || match wanted.ipv4 {
        // Routers that do not answer at once are followed later.
        true => autoconfiguration.is_settled() || !autoconfiguration.has_router(),
        false => autoconfiguration.is_settled(),
    };
    while !is_done() && machine.now() < until {
        machine.executor.sleep(IPV6_POLL).await;
    }
    machine.apply_network_settings();
    if !interface.has_address() {
        return Err(autoconfiguration.failure(interface));
    }
    for line in interface.address_lines() {
        machine.say(line);
    }
    Ok(())
}

/// A lease from a DHCP server; an error also where IPv6 was there long before.
async fn lease_or_ipv6(
    machine: &Machine,
    interface: &Interface,
    autoconfiguration: &Autoconfiguration,
    acquiring: impl Future<Output = Result<(Box<Lease>, Rc<LeaseKeeper>), Failure>>,
) -> Result<(), Failure> {
    let enough = machine.now().saturating_add(IPV4_GRACE);
    let mut acquiring = Box::pin(acquiring);
    let mut until = enough;
    let leased = loop {
        match machine.executor.until(until, acquiring.as_mut()).await {
            Some(leased) => break leased,
            None if autoconfiguration.is_settled() => {
                break Err(autoconfiguration.failure(interface));
            }
            None => until = machine.now().saturating_add(LINK_POLL),
        }
    };
    let (lease, keeper) = leased?;
    interface.store_lease(Some(&lease), &mut machine.settings.borrow_mut())?;
    interface.keep_lease(Rc::clone(&keeper));
    let proxy = lease.proxy.as_ref().and_then(ProxyOffer::server_to_ask);
    let Some(proxy) = proxy else { return Ok(()) };
    // It is asked from the address that was leased.
    machine.apply_network_settings();
    match dhcp::ask_proxy(machine, interface, &lease, proxy).await {
        Ok(answer) => {
            let lease = keeper.note_proxy_answer(&answer);
            interface.store_lease(lease.as_deref(), &mut machine.settings.borrow_mut())
        }
        // There may be something to boot all the same.
        Err(failure) => {
            machine.say(failure.message());
            Ok(())
        }
    }
}

async fn link_up(machine: &Machine, interface: &Interface, until: Duration) -> Result<(), Failure> {
    let began = machine.now();
    while interface.stack().link() == Link::Down {
        let now = machine.now();
        if now >= until {
            let waited = now.saturating_sub(began).as_secs();
            return Err(Failure::new(
                Code::NetNoLink,
                format!(
                    "{}: no link after {waited} s: is the cable in?",
                    interface.name()
                ),
            ));
        }
        machine
            .executor
            .sleep_until(until.min(now.saturating_add(LINK_POLL)))
            .await;
    }
    Ok(())
}

async fn routes(machine: &Machine, _: Matches) -> Result<(), Failure> {
    for interface in machine.network.interfaces() {
        let name = interface.name();
        if let Some(config) = interface.ipv4() {
            let mask = prefix_mask(config.prefix_len);
            let network = u32::from(config.address) & u32::from(mask);
            let network = core::net::Ipv4Addr::from(network);
            machine.say(format!("{name}: {network}/{} direct", config.prefix_len));
            if let Some(router) = config.router {
                machine.say(format!("{name}: 0.0.0.0/0 gw {router}"));
            }
        }
        if let Some(config) = interface.stack().ipv6() {
            if let Some(address) = config.address {
                let length = config.prefix_len.min(128);
                let rest = 128 - u32::from(length);
                let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
                let network = core::net::Ipv6Addr::from_bits(address.to_bits() & mask);
                machine.say(format!("{name}: {network}/{length} direct"));
            }
            if let Some(router) = config.router {
                machine.say(format!("{name}: ::/0 gw {router}"));
            }
        }
    }
    Ok(())
}

async fn neighbors(machine: &Machine, _: Matches) -> Result<(), Failure> {
    for interface in machine.network.interfaces() {
        for neighbor in interface.stack().neighbors() {
            let ago = machine.now().saturating_sub(neighbor.heard).as_secs();
            let mac = written(neighbor.mac);
            let (name, address) = (interface.name(), neighbor.address);
            machine.say(format!("{name}: {address} is {mac}, heard of {ago} s ago"));
        }
    }
    Ok(())
}

async fn packets(machine: &Machine, _: Matches) -> Result<(), Failure> {
    for interface in machine.network.interfaces() {
        let name = interface.name();
        let it = interface.stack().statistics();
        for (protocol, packets) in [("IPv4", it.ipv4), ("IPv6", it.ipv6)] {
            let Packets { received, sent } = packets;
            machine.say(format!(
                "{name}: {protocol}: {received} received, {sent} sent"
            ));
        }
        machine.say(format!(
            "{name}: TCP: {} segments sent again, {} received again, {} lost, {} acknowledgements \
             held back",
            it.retransmissions, it.duplicates, it.losses, it.held
        ));
        machine.say(format!(
            "{name}: dropped: {} frames for others or of other protocols, {} broken ones or \
             fragments",
            it.strangers, it.bad
        ));
    }
    Ok(())
}

async fn look_up(machine: &Machine, arguments: Matches) -> Result<(), Failure> {
    let setting = arguments.argument(0).unwrap_or_default();
    let name = arguments.argument(1).unwrap_or_default();
    let addresses = machine.network.resolve(name).await?;
    let address = addresses
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let stored = machine.settings.borrow_mut().set(setting, &address);
    stored.map_err(|error| Failure::new(Code::SettingName, format!("{setting}: {error}")))
}

/// The cards that the arguments name; all when there are none.
pub(super) fn named(machine: &Machine, arguments: &Matches) -> Result<Vec<Rc<Interface>>, Failure> {
    match arguments.arguments() {
        [] => machine.network.all(),
        names => names.iter().map(|name| one(machine, name)).collect(),
    }
}

/// The card of a name.
pub(super) fn one(machine: &Machine, name: &str) -> Result<Rc<Interface>, Failure> {
    if name != LAST_OPENED {
        return machine.network.find(name);
    }
    machine.last_opened().ok_or_else(|| {
        let message = "netX is the network card that was opened last, and none was";
        Failure::new(Code::NetNoCard, message)
    })
}

/// What the card and TCP have counted, and how far the receive budget has grown.
fn counters(statistics: &Statistics) -> String {
    let Statistics {
        received,
        sent,
        retransmissions,
        losses,
        budget,
        budget_limit,
        ..
    } = statistics;
    let mut line = format!(
        "  frames: {received} received, {sent} sent; sent again {retransmissions}, \
         lost {losses}; receive budget {budget} of {budget_limit}"
    );
    let errors = statistics.receive_errors + statistics.transmit_errors;
    if let Some(error) = &statistics.last_error {
        line += &format!("; {errors} errors, the last: {error}");
    }
    line
}

/// `net0: 52:54:00:12:34:56, link up`, `net0-2: 52:54:00:12:34:56, VLAN 2, link up`.
fn describe(interface: &Interface) -> String {
    let mac = written(interface.stack().mac());
    let link = match interface.stack().link() {
        Link::Up => ", link up",
        Link::Down => ", link down",
        Link::Unknown => "",
    };
    let vlan = interface.stack().vlan();
    let vlan = vlan.map(|tag| format!(", {tag}")).unwrap_or_default();
    format!("{}: {mac}{vlan}{link}", interface.name())
}

/// A station address.
fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn timeout(arguments: &Matches, default: Duration) -> Duration {
    arguments
        .duration("timeout")
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(default)
}

/// Stands for the card that was opened last.
pub(super) const LAST_OPENED: &str = "netX";

/// How long a card may take to see its link.
const LINK_TIMEOUT: Duration = Duration::from_secs(15);

/// Time between two looks at a link that is down.
const LINK_POLL: Duration = Duration::from_millis(50);

/// How long an IPv4 address is waited for where IPv6 is there.
const IPV4_GRACE: Duration = Duration::from_secs(4);

/// How long DHCPv6 is waited for where IPv4 is there.
const IPV6_GRACE: Duration = Duration::from_secs(2);

/// Time between two looks at whether IPv6 is there.
const IPV6_POLL: Duration = Duration::from_millis(5);

/// How long to ask for an address on one card.
pub(super) const DHCP_TIMEOUT: Duration = Duration::from_secs(10);
