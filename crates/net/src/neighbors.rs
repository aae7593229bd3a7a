//! Who has been heard of on the link, by ARP and by neighbour discovery.
//!
//! smoltcp keeps a list of its own to send by, which it does not show.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

/// Neighbours that are kept: of more, those heard of last.
const COUNT_MAX: usize = 32;

/// A host on the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its address,
    pub address: IpAddr,
    /// and its station address.
    pub mac: [u8; 6],
    /// When it was heard of last, by our clock.
    pub heard: Duration,
}

/// The neighbours of one stack, in the order in which they were heard of last.
#[derive(Debug, Default)]
pub(crate) struct Neighbors(Vec<Neighbor>);

impl Neighbors {
    pub(crate) fn note(&mut self, neighbor: Neighbor) {
        if neighbor.address.is_unspecified() {
            return;
        }
        self.0.retain(|known| known.address != neighbor.address);
        if self.0.len() >= COUNT_MAX {
            self.0.remove(0);
        }
        self.0.push(neighbor);
    }

    pub(crate) fn list(&self) -> Vec<Neighbor> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::Pinger;
    use crate::testing::{Card, Faults, Net, SERVER, seconds};

    #[test]
    fn who_answers_is_known() {
        let net = Net::new(3, Faults::default());
        let (client, server) = net.pair(Card::u_boot());
        let pinger = Pinger::open(&client, SERVER.into());
        net.run(pinger.ask(1, 0, seconds(1))).unwrap();
        let known = client.neighbors();
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].address, IpAddr::V4(SERVER));
        assert_eq!(known[0].mac, server.mac());
        let statistics = client.statistics();
        assert_eq!((statistics.ipv4.received, statistics.ipv4.sent), (1, 1));
        assert_eq!((statistics.ipv6.received, statistics.ipv6.sent), (0, 0));
    }

    #[test]
    fn the_list_has_an_end() {
        let mut neighbors = Neighbors::default();
        let neighbor = |last| Neighbor {
            address: Ipv4Addr::new(10, 0, 0, last).into(),
            mac: [last; 6],
            heard: Duration::ZERO,
        };
        for last in 0..=40 {
            neighbors.note(neighbor(last));
        }
        neighbors.note(neighbor(20));
        let list = neighbors.list();
        assert_eq!(list.len(), COUNT_MAX);
        assert_eq!(list[0], neighbor(9));
        assert_eq!(list[31], neighbor(20));
    }
}
