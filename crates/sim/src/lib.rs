//! A seeded virtual Ethernet and clock for running the loader's logic on the host, by the
//! thousand, against our own server machines.
//!
//! * [`firmware`]: the platform of boot logic on that wire;
//! * [`wire`]: the switch, the cards on it and the clock they share;
//! * [`host`]: a server on that wire, made of our own server machines;
//! * [`switch`]: a managed switch, also in real time between virtual machines and servers;
//! * [`rng`]: the only source of chance.
#![forbid(unsafe_code)]

pub mod dhcp;
pub mod faults;
pub mod firmware;
pub mod host;
pub mod http;
pub mod iscsi;
pub mod rng;
pub mod switch;
pub mod wire;
pub mod world;
