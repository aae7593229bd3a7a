//! DHCPv6 (RFC 8415) for a machine that boots: the messages, and a client without I/O.
//!
//! The client asks for an address and the rest (Solicit, Advertise, Request, Reply) or, where
//! addresses come from routers, for the rest alone (Information-request, Reply). The first
//! advertisement with an address is taken at once (RFC 8415 section 18.2.1 would wait for a
//! second, in case a better server answers): who boots is in a hurry. The lease is kept for as long as
//! the client is asked: renewed by its server (section 18.2.4), then by any (18.2.5); it is
//! declined where another station has the address (18.2.8), and released on request (18.2.7).

mod client;
mod lease;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Client, Config, Configuration, Event, Failure};
pub use wire::{Message, MessageType, code};

/// UDP port of clients (RFC 8415 section 7.2).
pub const CLIENT_PORT: u16 = 546;
/// UDP port of servers and relay agents.
pub const SERVER_PORT: u16 = 547;
/// Where clients send to: all servers and relay agents on the link (section 7.1).
pub const ALL_SERVERS: core::net::Ipv6Addr = core::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
