//! The loader's network: smoltcp over a [`Nic`], the receive budget, DNS, TCP and HTTP.
//!
//! Knows no firmware. Everything that waits is `async` and is driven by polling: the caller's
//! executor polls the future and [`Stack::poll`] in turn, on one thread. From the card upwards:
//! [`Nic`] carries frames, a card layer parts them by VLAN, a device layer filters them and keeps
//! the receive budget, smoltcp
//! speaks ARP, NDP, IP, ICMP, UDP and TCP, and on top stand [`TcpStream`], [`BootpPort`],
//! [`Stack::resolve`] and [`http`].
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]
#![forbid(unsafe_code)]

extern crate alloc;

mod arp;
mod bootp;
mod budget;
mod card;
pub mod checksum;
mod config;
mod conflict;
mod device;
mod dns;
mod frame;
pub mod ftp;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod http;
mod merge;
mod ndp;
mod neighbors;
pub mod nfs;
mod nic;
pub mod ntp;
mod ping;
mod random;
mod stack;
mod statistics;
mod tcp;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod tftp;
mod time;
mod udp;

pub use bootp::{BootpPort, Destination, Received};
pub use card::{OnVlan, VlanTag};
pub use config::{Ipv4Config, Ipv6Config, NotUnicast, address_in};
pub use conflict::Conflict;
pub use dns::{DnsError, Found};
pub use ndp::{Advertisement, AdvertisementPort, Prefix};
pub use neighbors::Neighbor;
pub use nic::{Clock, FRAME_MAX, Link, Nic, NicError, ReceiveRing};
pub use ping::{PingError, Pinger};
pub use stack::{Reservation, Stack};
pub use statistics::{Packets, Statistics};
pub use tcp::{ConnectError, End, Ends, StreamError, TcpListener, TcpStream};
pub use time::{Elapsed, yield_now};
pub use udp::{NoPort, UdpSocket};
