//! An address that a server has given, for a time (RFC 8415 sections 14.2 and 21.4).

use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

use super::wire::{Message, code};

/// The lifetime that never ends (RFC 8415 section 7.7).
const INFINITY: u32 = u32::MAX;

/// Moments are by the clock that the machine is given; `None` is never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: Ipv6Addr,
    /// Who gave it.
    pub(super) server: Vec<u8>,
    /// T1: that server is asked for more time.
    pub(super) renew_at: Option<Duration>,
    /// T2: anybody is.
    pub(super) rebind_at: Option<Duration>,
    /// The address is no longer ours.
    pub(super) expires_at: Option<Duration>,
}

/// No server makes us ask more often than so (RFC 8415 section 14.1 wants a limit).
const SOONEST: Duration = Duration::from_secs(1);

impl Lease {
    /// The lease that a reply gives.
    pub(super) fn parse(reply: &Message, now: Duration) -> Option<Self> {
        let (address, preferred, valid) = reply.lifetimes()?;
        let (t1, t2) = reply.times()?;
        // 0 leaves it to the client: half and four fifths of the preferred lifetime are what
        // servers are advised to choose (section 21.4).
        let after = |seconds: u32, share: u64| match (seconds, preferred) {
            (INFINITY, _) | (0, INFINITY) => None,
            (0, preferred) => {
                let wait = Duration::from_secs(u64::from(preferred) * share / 10);
                Some(now + wait.max(SOONEST))
            }
            (seconds, _) => Some(now + Duration::from_secs(seconds.into())),
        };
        let expires_at = (valid != INFINITY).then(|| now + Duration::from_secs(valid.into()));
        Some(Self {
            address,
            server: reply.option(code::SERVER_ID)?.to_vec(),
            renew_at: after(t1, 5),
            rebind_at: after(t2, 8),
            expires_at,
        })
    }
}
