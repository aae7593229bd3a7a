//! Why there is no connection, or no more, in words.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::card::{OnVlan, VlanTag};
use crate::time::Seconds;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The card was shut down.
    CardDown,
    /// We have no address to connect from.
    NoAddress,
    /// Every port is in use.
    NoPort,
    /// There is no route to the address: it is not on our network and there is no router.
    NoRoute {
        /// Who was to be connected to.
        remote: SocketAddr,
    },
    /// Not an address that one can connect to.
    Unsupported {
        /// Who was to be connected to.
        remote: SocketAddr,
    },
    /// The host answered that nobody listens on the port.
    Refused {
        /// Who was to be connected to.
        remote: SocketAddr,
    },
    /// Nobody answered.
    TimedOut {
        /// Who was to be connected to.
        remote: SocketAddr,
        /// The VLAN that the question went out on, where it was tagged.
        vlan: Option<VlanTag>,
        /// How long an answer was waited for.
        after: Duration,
    },
    /// The host, or the router on the way to it, is not there: it does not answer ARP or NDP.
    Unreachable {
        /// Who was to be connected to.
        remote: SocketAddr,
        /// Who does not answer.
        neighbor: IpAddr,
        /// The VLAN that the question went out on, where it was tagged.
        vlan: Option<VlanTag>,
        /// How long an answer was waited for.
        after: Duration,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CardDown => f.write_str("the network card was shut down"),
            Self::NoAddress => f.write_str("no network address yet: run dhcp first"),
            Self::NoPort => f.write_str("all local ports are in use"),
            Self::NoRoute { remote } => write!(
                f,
                "no route to {}: it is not on our network and there is no router",
                remote.ip()
            ),
            Self::Unsupported { remote } => {
                write!(f, "cannot connect to {remote}: it is no host's address")
            }
            Self::Refused { remote } => write!(
                f,
                "connection refused by {remote}: nothing listens on that port"
            ),
            Self::TimedOut {
                remote,
                vlan,
                after,
            } => write!(
                f,
                "connection to {remote} timed out after {}: no answer{}",
                Seconds(*after),
                OnVlan(*vlan)
            ),
            Self::Unreachable {
                remote,
                neighbor,
                vlan,
                after,
            } => {
                let protocol = if neighbor.is_ipv4() { "ARP" } else { "NDP" };
                if remote.ip() == *neighbor {
                    write!(f, "{neighbor} is not there: it")?;
                } else {
                    write!(f, "no way to {remote}: the router {neighbor}")?;
                }
                write!(
                    f,
                    " did not answer {protocol} for {}{}",
                    Seconds(*after),
                    OnVlan(*vlan)
                )
            }
        }
    }
}

impl core::error::Error for ConnectError {}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The other side reset it.
    Reset {
        /// The other side.
        remote: SocketAddr,
    },
    /// We closed it, or gave up the address it was made from.
    Closed {
        /// The other side.
        remote: SocketAddr,
    },
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset { remote } => write!(f, "connection reset by {remote}"),
            Self::Closed { remote } => write!(f, "the connection to {remote} is closed"),
        }
    }
}

impl core::error::Error for StreamError {}
