//! Why there is no lease, told so that the person at the console knows what to do.

use crate::wire::Printable;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv4Addr;
use core::time::Duration;

/// The client stopped without a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What stood in the way at the end.
    pub reason: FailureReason,
    /// How long it tried.
    pub waited: Duration,
    /// How many messages it sent.
    pub sent: u32,
    /// What came in.
    pub seen: Seen,
}

/// What stood in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureReason {
    /// Nobody answered.
    NoAnswer,
    /// Offers came, but none with an address and a server identifier.
    NoUsableOffer,
    /// A server offered an address and then did not acknowledge the request for it.
    NotAcknowledged {
        /// The server.
        server: Ipv4Addr,
        /// The address.
        address: Ipv4Addr,
    },
    /// A server refused.
    Refused {
        /// The server, where it told its address.
        server: Option<Ipv4Addr>,
        /// Its text (option 56), raw.
        message: Vec<u8>,
    },
    /// Every address got was in use by another machine already.
    AddressInUse {
        /// The last one.
        address: Ipv4Addr,
    },
}

/// What came in while the client tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// OFFERs in all.
    pub offers: u32,
    /// OFFERs and ACKs without a server identifier (option 54).
    pub offers_without_server: u32,
    /// Of those, without a usable address: from proxyDHCP servers, or broken.
    pub offers_without_address: u32,
    /// NAKs.
    pub naks: u32,
    /// Replies without a message type: plain BOOTP.
    pub bootp: u32,
    /// Payloads that are no DHCP message.
    pub malformed: u32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            FailureReason::NoAnswer => f.write_str("no DHCP server answered")?,
            FailureReason::NoUsableOffer => f.write_str("no DHCP offer could be used")?,
            FailureReason::NotAcknowledged { server, address } => write!(
                f,
                "DHCP server {server} offered {address} but did not acknowledge the request for it"
            )?,
            FailureReason::Refused { server, message } => {
                f.write_str("DHCP server ")?;
                if let Some(server) = server {
                    write!(f, "{server} ")?;
                }
                f.write_str("refused")?;
                if !message.is_empty() {
                    write!(f, ": \"{}\"", Printable(message))?;
                }
            }
            FailureReason::AddressInUse { address } => write!(
                f,
                "another machine on this network has the address {address} that DHCP gave"
            )?,
        }
        let tenths = self.waited.as_millis() / 100;
        write!(
            f,
            " ({} messages sent in {}.{} s",
            self.sent,
            tenths / 10,
            tenths % 10
        )?;
        let seen = [
            (
                self.seen.offers_without_server,
                "answers without server identifier (option 54)",
            ),
            (
                self.seen.offers_without_address,
                "offers without an address (proxyDHCP)",
            ),
            (self.seen.naks, "refusals"),
            (self.seen.bootp, "BOOTP replies that are not DHCP"),
            (self.seen.malformed, "malformed messages"),
        ];
        for (count, what) in seen.into_iter().filter(|(count, _)| *count != 0) {
            write!(f, "; {what}: {count}")?;
        }
        f.write_str(")")?;
        if let Some(advice) = self.advice() {
            write!(f, ". {advice}")?;
        }
        Ok(())
    }
}

impl Failure {
    /// What to try.
    fn advice(&self) -> Option<&'static str> {
        match self.reason {
            FailureReason::NoAnswer => Some(
                "Check the cable, the VLAN, and that a DHCP server or relay is on this network; \
                 a switch port with spanning tree but without edge mode (portfast) drops \
                 everything for its first 30 s",
            ),
            FailureReason::NoUsableOffer => {
                Some("A server that assigns addresses must be on this network as well")
            }
            FailureReason::NotAcknowledged { .. } => Some(
                "The server may be short of addresses, or two servers or relays may be in each \
                 other's way: look at its log",
            ),
            FailureReason::Refused { .. } => Some("The log of the server tells why"),
            FailureReason::AddressInUse { .. } => {
                Some("Look for a second DHCP server or a machine with a fixed address in the pool")
            }
        }
    }
}

impl core::error::Error for Failure {}
