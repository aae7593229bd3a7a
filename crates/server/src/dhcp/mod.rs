//! DHCP on one interface: the machine of `bowline-dhcp` with sockets, a clock and a lease file.
//!
//! ```text
//!   port 67, bound to the interface ──> requests ──┐
//!                                                  v
//!                                     bowline_dhcp::server::Server
//!                                        records │ │ replies
//!                     lease file <── append, sync┘ │ (only then)
//!                                                  v
//!            to an address: UDP; to a client without one: an Ethernet frame, or a broadcast
//! ```
//!
//! **Clients without an address.** A client that does not ask for broadcasts is answered with a
//! frame to its hardware address (RFC 2131 §4.1), which UDP cannot send, because the client does
//! not answer ARP yet. So the frame is built here and sent on a packet socket. Broadcasting all
//! replies would be simpler and is what happens where the packet socket is not allowed (it needs
//! `CAP_NET_RAW`); but when a rack is switched on, every reply would then reach every machine, and
//! some firmware that is busy loads its last receive buffer with it and dies.
//!
//! **One sync for many.** All requests that wait are taken in before their records are written and
//! synced together; then the replies go out. A reply is never sent before its record is on disk.
//!
//! [`Service::bind`] takes the socket and the lease file; [`Service::run`] serves.

mod config;
mod error;
mod frame;
mod interface;
mod lease_file;
mod service;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use service::{Config, Service, serve};
