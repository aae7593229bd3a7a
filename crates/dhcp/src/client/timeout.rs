//! What a client does when time has passed: repeat, go on to the next step, or give up.

use super::{Client, Event, Failure, FailureReason, Lease, Phase, Retry, State};
use crate::limits;
use crate::wire::Message;
use alloc::boxed::Box;
use core::net::Ipv4Addr;
use core::time::Duration;

impl Client {
    pub(super) fn selecting_timeout(
        &mut self,
        now: Duration,
        mut retry: Retry,
        chosen: Option<(Box<Message>, Duration)>,
    ) {
        match chosen {
            Some((offer, until)) if now >= until => self.request(now, offer),
            chosen => {
                let due = now >= retry.next;
                if due {
                    retry = self.next_try(now, retry);
                }
                self.state = State::Selecting { retry, chosen };
                if due {
                    self.send_discover(now);
                }
            }
        }
    }

    pub(super) fn requesting_timeout(
        &mut self,
        now: Duration,
        retry: Retry,
        offer: Box<Message>,
        server: Ipv4Addr,
    ) {
        if now < retry.next {
            self.state = State::Requesting {
                retry,
                offer,
                server,
            };
        } else if retry.sent >= limits::REQUESTS_PER_OFFER {
            self.discover(now);
        } else {
            let retry = self.next_try(now, retry);
            self.send_request(now, offer.yiaddr, server);
            self.state = State::Requesting {
                retry,
                offer,
                server,
            };
        }
    }

    pub(super) fn rebooting_timeout(&mut self, now: Duration, retry: Retry, address: Ipv4Addr) {
        if now < retry.next {
            self.state = State::Rebooting { retry, address };
        } else if retry.sent >= limits::REQUESTS_PER_REBOOT {
            self.discover(now);
        } else {
            let retry = self.next_try(now, retry);
            self.state = State::Rebooting { retry, address };
            self.send_reboot(now, address);
        }
    }

    /// RFC 2131 §4.4.5: ask the server from T1 on, everybody from T2 on, stop at the end.
    pub(super) fn bound_timeout(
        &mut self,
        now: Duration,
        lease: Box<Lease>,
        phase: Phase,
        next: Option<Duration>,
    ) {
        if next.is_none_or(|next| now < next) {
            self.state = State::Bound { lease, phase, next };
            return;
        }
        if lease.expires_at().is_some_and(|end| now >= end) {
            self.push_event(Event::Expired(lease.address));
            self.begin_again(now);
            return;
        }
        let rebinding = lease.rebind_at().is_some_and(|at| now >= at);
        let (phase, end) = if rebinding {
            (Phase::Rebinding, lease.expires_at())
        } else {
            (Phase::Renewing, lease.rebind_at())
        };
        self.began = now;
        self.xid = self.random.next_u32();
        self.send_renewal(now, &lease, rebinding);
        // "one-half of the remaining time ..., down to a minimum of 60 seconds".
        let end = end.unwrap_or(Duration::MAX);
        let pause = (end.saturating_sub(now) / 2).max(limits::RENEW_PAUSE_MIN);
        let next = Some(now.saturating_add(pause).min(end));
        self.state = State::Bound { lease, phase, next };
    }

    /// A lease is gone: acquire another one, with a fresh allowance of time.
    pub(super) fn begin_again(&mut self, now: Duration) {
        self.config.previous_address = None;
        self.restart(now);
    }

    pub(super) fn fail(&mut self, now: Duration) {
        self.state = State::Stopped;
        let mut reason = self.last_failure.clone();
        if reason == FailureReason::NoAnswer && self.seen.offers != 0 {
            reason = FailureReason::NoUsableOffer;
        }
        let failure = Failure {
            reason,
            waited: now.saturating_sub(self.began),
            sent: self.sent,
            seen: self.seen,
        };
        self.push_event(Event::Failed(Box::new(failure)));
    }
}
