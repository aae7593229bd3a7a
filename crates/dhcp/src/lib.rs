//! DHCP without I/O: the message codec, a client and a server; for IPv6 the client alone.
//!
//! - [`wire`]: messages and options (RFC 2131, RFC 2132, RFC 3396) as checked Rust values.
//! - [`client`]: a boot client. It takes the first usable offer and reports a full lease.
//! - [`server`]: addresses from pools and reservations, options by client, relays.
//! - [`v6`]: the messages of DHCPv6 (RFC 8415) and a boot client.
//!
//! All machines have the same five verbs: `handle_input(now, ..)`, `handle_timeout(now)`,
//! `poll_output()`, `poll_timeout()` and `poll_event()`. None has a clock, a socket or a
//! source of randomness of its own; `now` is a [`core::time::Duration`] since a fixed moment.
//!
//! Left out on purpose: BOOTP without a DHCP message type, DHCP authentication (RFC 3118),
//! rapid commit (RFC 4039, unsafe with two servers on one wire).
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

extern crate alloc;

pub mod client;
pub mod limits;
mod random;
pub mod server;
#[cfg(test)]
mod tests;
pub mod v6;
pub mod wire;

/// UDP port of servers and relay agents (RFC 2131 §4.1).
pub const SERVER_PORT: u16 = 67;
/// UDP port of clients (RFC 2131 §4.1).
pub const CLIENT_PORT: u16 = 68;
/// UDP port of PXE boot servers (PXE 2.1 §2.2).
pub const BOOT_SERVER_PORT: u16 = 4011;
