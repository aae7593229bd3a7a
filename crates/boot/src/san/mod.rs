//! SAN drives: iSCSI sessions below, a block cache with read-ahead, disks for the firmware above.
//!
//! ```text
//! firmware -> drive (BlockDevice) -> cached (cache, read-ahead) -> session -> paths -> TCP
//! ```

mod cache;
mod cached;
mod connection;
mod describe;
pub(crate) mod discovery;
mod drive;
mod ibft;
mod identity;
mod login;
mod path;
mod pending;
mod probe;
mod queue;
mod session;
#[cfg(test)]
mod tests;
mod web;

pub(crate) use drive::{Drive, Drives};
