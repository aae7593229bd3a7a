//! See Cargo.toml.
#![forbid(unsafe_code)]

pub mod dhcp;
