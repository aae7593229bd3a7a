//! Which address a client gets, and which it may have.

use super::{LeaseState, Refusal, Request, Server};
use crate::wire::code;
use core::net::Ipv4Addr;
use core::time::Duration;

impl Server {
    /// The address to offer (RFC 2131 §4.3.1).
    pub(super) fn choose(&mut self, now: Duration, request: &Request) -> Option<Ipv4Addr> {
        let reserved = self.reserved_address(request);
        let last = self
            .leases
            .of_client(&request.client)
            .map(|lease| lease.address);
        let requested = request.message.options.ipv4(code::REQUESTED_ADDRESS);
        [reserved, last, requested]
            .into_iter()
            .flatten()
            .find(|&address| self.permit(now, request, address).is_ok())
            .or_else(|| self.find_free(now, request.subnet))
    }

    /// Whether the client may have `address`.
    pub(super) fn permit(
        &self,
        now: Duration,
        request: &Request,
        address: Ipv4Addr,
    ) -> Result<(), Refusal> {
        let subnet = self
            .config
            .subnets
            .get(request.subnet)
            .ok_or(Refusal::WrongNetwork)?;
        if !subnet.is_usable(address) {
            return Err(Refusal::WrongNetwork);
        }
        let reserved = self.reserved_address(request) == Some(address);
        if !reserved && self.index.address.contains_key(&address) {
            return Err(Refusal::ReservedForAnother);
        }
        if !reserved && (!subnet.in_pool(address) || address == self.config.server) {
            return Err(Refusal::NotInPool);
        }
        let Some(lease) = self.leases.get(address).filter(|lease| now < lease.expires) else {
            return Ok(());
        };
        match lease.state {
            LeaseState::Declined => Err(Refusal::FoundInUse),
            LeaseState::Released => Ok(()),
            // A machine with a reservation may come with another client identifier: its firmware,
            // its loader and its system each have one.
            LeaseState::Offered | LeaseState::Bound if reserved => Ok(()),
            LeaseState::Offered | LeaseState::Bound if lease.client == request.client => Ok(()),
            LeaseState::Offered | LeaseState::Bound => Err(Refusal::LeasedToAnother),
        }
    }

    /// The address reserved for the client, if it is on the client's network.
    pub(super) fn reserved_address(&self, request: &Request) -> Option<Ipv4Addr> {
        let address = self.config.hosts.get(request.host?)?.address?;
        let here = self.config.subnets.get(request.subnet)?;
        here.contains(address).then_some(address)
    }

    /// Whether `address` is the one that the client should have.
    pub(super) fn is_last_address(&self, request: &Request, address: Ipv4Addr) -> bool {
        match self.reserved_address(request) {
            Some(reserved) => reserved == address,
            None => self
                .leases
                .of_client(&request.client)
                .is_some_and(|lease| lease.address == address),
        }
    }

    /// An address that was never used, else the one whose use ended longest ago.
    fn find_free(&mut self, now: Duration, position: usize) -> Option<Ipv4Addr> {
        let full_until = self.full_until.get(position).copied()?;
        if now < full_until {
            return None;
        }
        let cursor = self.cursors.get(position).copied()?;
        let subnet = self.config.subnets.get(position)?;
        let candidates = || {
            let all = subnet
                .pools
                .iter()
                .flat_map(|pool| pool.bits())
                .map(Ipv4Addr::from);
            all.filter(|&address| {
                subnet.is_usable(address)
                    && address != self.config.server
                    && !self.index.address.contains_key(&address)
            })
        };
        let unused = |address: &Ipv4Addr| self.leases.get(*address).is_none();
        let fresh = candidates()
            .skip_while(|address| u32::from(*address) < cursor)
            .find(unused)
            .or_else(|| candidates().find(unused));
        if let Some(address) = fresh {
            if let Some(cursor) = self.cursors.get_mut(position) {
                *cursor = u32::from(address).saturating_add(1);
            }
            return Some(address);
        }
        let used = || candidates().filter_map(|address| self.leases.get(address));
        // An offer that was not taken is worth less than the memory of a client that may return.
        let ended = used()
            .filter(|lease| lease.expires <= now)
            .min_by_key(|lease| (lease.state != LeaseState::Offered, lease.expires));
        if let Some(lease) = ended {
            return Some(lease.address);
        }
        let next = used()
            .map(|lease| lease.expires)
            .min()
            .unwrap_or(Duration::MAX);
        if let Some(full_until) = self.full_until.get_mut(position) {
            *full_until = next;
        }
        None
    }
}
