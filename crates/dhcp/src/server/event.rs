//! What a server tells its log.

use crate::wire::{EncodeError, HardwareAddress, MessageType, ParseError};
use core::fmt;
use core::net::Ipv4Addr;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The client, where the message could be read.
    pub hardware: Option<HardwareAddress>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// OFFER sent.
    Offered(Ipv4Addr),
    /// ACK sent.
    Acknowledged(Ipv4Addr),
    /// NAK sent.
    Refused(Ipv4Addr, Refusal),
    /// The client gave its address back.
    Released(Ipv4Addr),
    /// The client found the address in use by somebody else.
    Declined(Ipv4Addr),
    /// Options sent to a client that has an address.
    Informed(Ipv4Addr),
    /// The client took another server's offer.
    ChoseOther(Ipv4Addr),
    /// No address is left on this network.
    NoAddress(Ipv4Addr),
    /// The client asks for an address that this server has no record of: no answer.
    UnknownClient(Ipv4Addr),
    /// A REQUEST that names no address.
    NothingRequested,
    /// From a relay or client on a network that is not served: no answer.
    UnknownNetwork(Ipv4Addr),
    /// A message type that only servers send, or an unknown one.
    Unexpected(MessageType),
    /// A BOOTP request: no answer.
    Bootp,
    /// Not a DHCP message.
    Malformed(ParseError),
    /// The reply did not fit what the client takes: this option was left out, or no reply sent.
    TooLong(EncodeError),
}

/// Why an address is refused; the text goes to the client (option 56) and to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The address is not of the network that the client is on.
    WrongNetwork,
    /// The address is neither in a pool nor reserved.
    NotInPool,
    /// Another machine has a reservation for it.
    ReservedForAnother,
    /// Another machine has it.
    LeasedToAnother,
    /// It was found in use by a machine that did not ask.
    FoundInUse,
    /// The client should have another one.
    NotYours,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongNetwork => "address not of this network",
            Self::NotInPool => "address neither in a pool nor reserved",
            Self::ReservedForAnother => "address reserved for another machine",
            Self::LeasedToAnother => "address leased to another machine",
            Self::FoundInUse => "address found in use by another machine",
            Self::NotYours => "another address is kept for this machine",
        })
    }
}

impl EventKind {
    /// Whether an operator should look at it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        match self {
            Self::Refused(..)
            | Self::Declined(_)
            | Self::NoAddress(_)
            | Self::UnknownNetwork(_)
            | Self::TooLong(_) => true,
            Self::Offered(_)
            | Self::Acknowledged(_)
            | Self::Released(_)
            | Self::Informed(_)
            | Self::ChoseOther(_)
            | Self::UnknownClient(_)
            | Self::NothingRequested
            | Self::Unexpected(_)
            | Self::Bootp
            | Self::Malformed(_) => false,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hardware {
            Some(hardware) => write!(f, "{hardware}: {}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offered(address) => write!(f, "offered {address}"),
            Self::Acknowledged(address) => write!(f, "leased {address}"),
            Self::Refused(address, refusal) => write!(f, "refused {address}: {refusal}"),
            Self::Released(address) => write!(f, "released {address}"),
            Self::Declined(address) => {
                write!(
                    f,
                    "found {address} in use by another machine; it is left alone for a while"
                )
            }
            Self::Informed(address) => write!(f, "sent options to {address}"),
            Self::ChoseOther(server) => write!(f, "took the offer of {server}"),
            Self::NoAddress(network) => write!(f, "no address left on {network}"),
            Self::UnknownClient(address) => {
                write!(
                    f,
                    "asks for {address}, of which there is no record; no answer"
                )
            }
            Self::NothingRequested => f.write_str("asks for no address; no answer"),
            Self::UnknownNetwork(address) => {
                write!(f, "{address} is on no subnet that is served; no answer")
            }
            Self::Unexpected(kind) => write!(f, "sent {kind}, which no server takes"),
            Self::Bootp => f.write_str("asks by BOOTP, which is not served"),
            Self::Malformed(error) => write!(f, "not a DHCP message: {error}"),
            Self::TooLong(error) => write!(f, "reply too long: {error}"),
        }
    }
}
