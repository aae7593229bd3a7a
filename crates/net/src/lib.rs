//! The loader's network: smoltcp over a [`Nic`], the receive budget, DNS, TCP and HTTP.
//!
//! Knows no firmware. Everything that waits is `async` and is driven by polling: the caller's
//! executor polls the future and [`Nic`] in turn, on one thread.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod nic;

pub use nic::{Clock, FRAME_MAX, Link, Nic, NicError, ReceiveRing};
