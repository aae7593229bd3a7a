//! Addresses that another station has: duplicate address detection for IPv6 (RFC 4862 section
//! 5.4) and for IPv4 (RFC 5227), and the defence of ours when others do the same.
//!
//! A new address is used at once, optimistically (RFC 4429): one probe goes out when it is taken,
//! and for a second whoever claims it is believed. Solicitations from it tell our station address
//! as ever, against section 3.2 there: Linux answers none without (RFC 4861 section 4.3 wants it),
//! and what neighbours remember wrongly the answer of the true owner to our probe puts right.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

/// How long an answer to the probe is waited for: RetransTimer of RFC 4861 section 10, and
/// DupAddrDetectTransmits of RFC 4862 section 5.1 is 1.
const TRIAL: Duration = Duration::from_secs(1);
/// Conflicts that nobody has taken note of.
const CONFLICTS_MAX: usize = 8;

/// An address of ours that another station has. It is not used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The address,
    pub address: IpAddr,
    /// and the station address of whoever answered for it.
    pub station: [u8; 6],
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is in use by ", self.address)?;
        for (index, byte) in self.station.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// What a station on the link says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It has the address.
    Owns(IpAddr),
    /// It would like to, and asks whether anybody has it.
    Probes(IpAddr),
}

/// The addresses of one stack, and those that it tries.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    held: Vec<IpAddr>,
    on_trial: Vec<(IpAddr, Duration)>,
    /// Addresses that are still to be given up,
    fresh: Vec<Conflict>,
    /// and those that the owner of the stack is still to be told of.
    conflicts: Vec<Conflict>,
}

impl Trials {
    /// Begins the trial of an address; false where it has been tried.
    pub(crate) fn begin(&mut self, address: IpAddr, now: Duration) -> bool {
        if self.held.contains(&address) || self.is_on_trial(address, now) {
            return false;
        }
        self.on_trial.retain(|(_, until)| now < *until);
        self.on_trial.push((address, now.saturating_add(TRIAL)));
        true
    }

    /// The addresses that the stack has from now on.
    pub(crate) fn hold(&mut self, addresses: Vec<IpAddr>) {
        self.held = addresses;
    }

    pub(crate) fn is_held(&self, address: IpAddr) -> bool {
        self.held.contains(&address)
    }

    pub(crate) fn is_on_trial(&self, address: IpAddr, now: Duration) -> bool {
        let mut trials = self.on_trial.iter();
        trials.any(|(tried, until)| *tried == address && now < *until)
    }

    /// Hears a station that is not ours; whether its probe is to be answered.
    pub(crate) fn hear(&mut self, claim: Claim, station: [u8; 6], now: Duration) -> bool {
        let (Claim::Owns(address) | Claim::Probes(address)) = claim;
        if !self.is_on_trial(address, now) {
            return claim == Claim::Probes(address) && self.is_held(address);
        }
        self.on_trial.retain(|(tried, _)| *tried != address);
        self.fresh.push(Conflict { address, station });
        false
    }

    /// Takes the addresses that are to be given up.
    pub(crate) fn take_fresh(&mut self) -> Vec<Conflict> {
        let fresh = core::mem::take(&mut self.fresh);
        let room = CONFLICTS_MAX.saturating_sub(self.conflicts.len());
        self.conflicts.extend(fresh.iter().take(room));
        fresh
    }

    /// Takes the next conflict that the owner is to be told of.
    pub(crate) fn take_conflict(&mut self, wanted: impl Fn(IpAddr) -> bool) -> Option<Conflict> {
        let mut conflicts = self.conflicts.iter();
        let index = conflicts.position(|conflict| wanted(conflict.address))?;
        Some(self.conflicts.remove(index))
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use std::string::ToString;

    use super::*;
    use crate::testing::{CLIENT, Card, Faults, Net, SERVER, config, seconds};
    use crate::{Ipv6Config, Pinger, Stack};

    const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50);

    fn ipv6(address: Ipv6Addr) -> Ipv6Config {
        Ipv6Config {
            address: Some(address),
            prefix_len: 64,
            ..Ipv6Config::default()
        }
    }

    fn take_all(stack: &Stack) -> Vec<Conflict> {
        core::iter::from_fn(|| stack.take_conflict(|_| true)).collect()
    }

    /// The owner, whose own trial is long over, answers the newcomer's probe.
    #[test]
    fn who_comes_second_gives_the_address_up() {
        let net = Net::new(1, Faults::default());
        let owner = net.stack(Card::large(), Some(CLIENT));
        owner.configure_ipv6(Some(ipv6(GLOBAL))).unwrap();
        net.run(owner.sleep(seconds(10)));
        let late = net.stack(Card::u_boot(), Some(CLIENT));
        late.configure_ipv6(Some(ipv6(GLOBAL))).unwrap();
        net.run(late.sleep(seconds(2)));

        let station = owner.mac();
        let conflict = |address| Conflict { address, station };
        let expected = [conflict(CLIENT.into()), conflict(GLOBAL.into())];
        assert_eq!(take_all(&late), expected);
        assert_eq!(late.ipv4(), None);
        // The address of its own for the link is nobody else's.
        assert_eq!(late.ipv6().map(|config| config.address), Some(None));
        assert_eq!(take_all(&owner), []);
        assert!(owner.ipv4().is_some());
        let words = expected[0].to_string();
        assert_eq!(words, "192.168.1.50 is in use by 52:54:00:00:00:01");
    }

    /// Two that try at once cannot both have it, and neither does (RFC 4862 section 5.4.3).
    #[test]
    fn two_at_once_both_give_it_up() {
        let net = Net::new(1, Faults::default());
        let (a, b) = (
            net.stack(Card::large(), None),
            net.stack(Card::large(), None),
        );
        for stack in [&a, &b] {
            stack.configure_ipv6(Some(ipv6(GLOBAL))).unwrap();
        }
        net.run(a.sleep(seconds(2)));
        assert_eq!((take_all(&a).len(), take_all(&b).len()), (1, 1));
    }

    /// An address can be tried before it is used, as what a DHCP server offers.
    #[test]
    fn an_address_is_tried_before_it_is_used() {
        let net = Net::new(1, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        net.run(client.sleep(seconds(2)));
        let free = Ipv4Addr::new(192, 168, 1, 77);
        for (address, taken_by) in [(SERVER, Some(server.mac())), (free, None)] {
            client.probe(address.into());
            net.run(client.sleep(Duration::from_millis(50)));
            let found = client.take_conflict(|_| true);
            assert_eq!(
                found.map(|conflict| conflict.station),
                taken_by,
                "{address}"
            );
        }
        assert_eq!(client.ipv4(), Some(config(CLIENT)));
    }

    /// A station that has our link-local address has our interface identifier.
    #[test]
    fn without_an_address_for_the_link_there_is_no_ipv6() {
        let net = Net::new(1, Faults::default());
        let (client, _server) = net.pair(Card::u_boot());
        client.configure_ipv6(Some(ipv6(GLOBAL))).unwrap();
        let local = client.link_local();
        client.with(|inner| {
            let claim = Claim::Owns(local.into());
            let now = inner.device.now();
            assert!(!inner.device.trials.hear(claim, [2; 6], now));
        });
        // Given up with the next frame that comes.
        let answer = Pinger::open(&client, SERVER.into());
        net.run(answer.ask(1, 0, seconds(1))).unwrap();
        assert_eq!(client.ipv6(), None);
        assert_eq!(take_all(&client)[0].address, IpAddr::from(local));
    }

    /// What comes after the trial is no conflict: an address is not taken from us any more.
    #[test]
    fn nobody_takes_an_address_that_has_been_tried() {
        let mut trials = Trials::default();
        let address = IpAddr::from(GLOBAL);
        assert!(trials.begin(address, seconds(1)));
        trials.hold(alloc::vec![address]);
        assert!(!trials.begin(address, seconds(1)));
        assert!(!trials.hear(Claim::Owns(address), [2; 6], seconds(2)));
        assert!(trials.hear(Claim::Probes(address), [2; 6], seconds(2)));
        assert_eq!(trials.take_conflict(|_| true), None);
        // A new trial begins when it was given up meanwhile.
        trials.hold(alloc::vec![]);
        assert!(trials.begin(address, seconds(3)));
    }

    /// A neighbour asks us alone whether we are still there (RFC 4861 section 7.3.1).
    #[test]
    fn a_question_to_us_alone_is_answered() {
        let net = Net::new(1, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        let other = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        client.configure_ipv6(Some(ipv6(GLOBAL))).unwrap();
        server.configure_ipv6(Some(ipv6(other))).unwrap();
        net.run(client.sleep(seconds(2)));
        let (from, to) = (server.mac(), client.mac());
        server.with(|inner| {
            inner.device.send(|frame| {
                let length = crate::ndp::write_neighbor_solicitation(frame, from, other, GLOBAL)?;
                crate::ndp::tests::send_to(frame, length, to, GLOBAL)
            })
        });
        net.run(server.sleep(Duration::from_millis(10)));
        let known = server.neighbors();
        let known = known.iter().find(|it| it.address == IpAddr::from(GLOBAL));
        assert_eq!(known.map(|it| it.mac), Some(to));
    }
}
