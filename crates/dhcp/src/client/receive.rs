//! What a client makes of the answers it gets (RFC 2131 §4.4.1 to §4.4.5).

use super::lease::names_boot;
use super::{Client, Event, FailureReason, Lease, Phase, ProxyOffer, State};
use crate::limits;
use crate::wire::{Message, code};
use alloc::boxed::Box;
use core::net::Ipv4Addr;
use core::time::Duration;

impl Client {
    pub(super) fn handle_offer(&mut self, now: Duration, offer: Message) {
        self.seen.offers = self.seen.offers.saturating_add(1);
        if offer.yiaddr.is_unspecified() {
            self.handle_proxy_offer(now, &offer);
            return;
        }
        if offer.server_identifier().is_none() {
            self.seen.offers_without_server = self.seen.offers_without_server.saturating_add(1);
            return;
        }
        if !is_host_address(offer.yiaddr) {
            self.seen.offers_without_address = self.seen.offers_without_address.saturating_add(1);
            return;
        }
        let State::Selecting { retry, chosen } = &mut self.state else {
            return;
        };
        if chosen.is_some() {
            return;
        }
        let is_complete = self.config.proxy_wait.is_zero() || names_boot(&offer);
        if is_complete || self.proxy.is_some() {
            self.request(now, Box::new(offer));
        } else {
            let until = now.saturating_add(self.config.proxy_wait);
            // No further DISCOVER is due: an offer is in hand.
            retry.next = self.give_up_at;
            *chosen = Some((Box::new(offer), until));
        }
    }

    /// An offer without an address: from a server that knows only what to boot (PXE 2.1 §2.2.2,
    /// proxyDHCP). It is kept for the lease.
    pub(super) fn handle_proxy_offer(&mut self, now: Duration, offer: &Message) {
        self.seen.offers_without_address = self.seen.offers_without_address.saturating_add(1);
        let is_boot_server = offer.options.get(code::VENDOR_CLASS).is_some_and(|class| {
            class.starts_with(b"PXEClient") || class.starts_with(b"HTTPClient")
        });
        if !is_boot_server || self.proxy.is_some() {
            return;
        }
        self.proxy = Some(ProxyOffer::from_message(offer));
        if let State::Selecting {
            chosen: chosen @ Some(_),
            ..
        } = &mut self.state
            && let Some((offer, _)) = chosen.take()
        {
            self.request(now, offer);
        }
    }

    pub(super) fn request(&mut self, now: Duration, offer: Box<Message>) {
        let Some(server) = offer.server_identifier() else {
            return;
        };
        self.last_failure = FailureReason::NotAcknowledged {
            server,
            address: offer.yiaddr,
        };
        self.send_request(now, offer.yiaddr, server);
        self.state = State::Requesting {
            retry: self.first_try(now),
            offer,
            server,
        };
    }

    pub(super) fn handle_ack(&mut self, now: Duration, ack: &Message) {
        let (expected, server, renewed) = match &self.state {
            State::Requesting { offer, server, .. } => (offer.yiaddr, Some(*server), false),
            State::Rebooting { address, .. } => (*address, None, false),
            State::Bound { lease, phase, .. } if *phase != Phase::Holding => {
                (lease.address, Some(lease.server), true)
            }
            _ => return,
        };
        // The ACK of another server than the one asked is not ours to use; while rebinding any
        // server may answer (RFC 2131 §4.4.5).
        let from = ack.server_identifier();
        let any_server = !matches!(self.state, State::Requesting { .. });
        let Some(server) = (if any_server { from.or(server) } else { server }) else {
            self.seen.offers_without_server = self.seen.offers_without_server.saturating_add(1);
            return;
        };
        if ack.yiaddr != expected || from.is_some_and(|from| from != server) {
            return;
        }
        let lease = Box::new(Lease::from_ack(ack, server, now, self.proxy.clone()));
        let next = lease.renew_at();
        self.state = State::Bound {
            lease: lease.clone(),
            phase: Phase::Holding,
            next,
        };
        self.push_event(if renewed {
            Event::Renewed(lease)
        } else {
            Event::Bound(lease)
        });
    }

    pub(super) fn handle_nak(&mut self, now: Duration, nak: &Message) {
        let server = nak.server_identifier();
        let expired = match &self.state {
            State::Requesting { server: asked, .. } => {
                if server.is_some_and(|server| server != *asked) {
                    return;
                }
                None
            }
            State::Rebooting { .. } => None,
            State::Bound { lease, phase, .. } if *phase != Phase::Holding => Some(lease.address),
            _ => return,
        };
        self.seen.naks = self.seen.naks.saturating_add(1);
        let mut message = nak.options.text(code::MESSAGE).unwrap_or_default().to_vec();
        message.truncate(limits::TEXT_LEN_MAX);
        self.push_event(Event::Refused {
            server,
            message: message.clone(),
        });
        let was_rebooting = matches!(self.state, State::Rebooting { .. });
        if let Some(address) = expired {
            self.push_event(Event::Expired(address));
            self.begin_again(now);
            return;
        }
        self.last_failure = FailureReason::Refused { server, message };
        if was_rebooting {
            // The old address belongs to another network (RFC 2131 §3.2 step 4): start anew.
            self.discover(now);
            return;
        }
        // RFC 2131 §3.1 step 4 restarts at once; a pause that doubles keeps a server which always
        // refuses from being flooded.
        let pause = self.pause_after(self.refusals);
        self.refusals = self.refusals.saturating_add(1);
        self.state = State::Pausing {
            until: now.saturating_add(pause),
        };
    }
}

/// Whether a machine can have this address at all.
pub(super) fn is_host_address(address: Ipv4Addr) -> bool {
    !(address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || address.is_loopback())
}
