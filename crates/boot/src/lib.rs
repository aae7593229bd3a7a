//! The loader's logic over platform traits: commands, SAN drives, images, shell.
//!
//! The same code runs in `bowline.efi`, in the simulator and in tests; it sees the machine only
//! through [`platform`]. [`run`] is the whole program: banner, packed script, shell.
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

mod certificates;
mod commands;
mod console;
mod dhcp;
mod dynamic_ui;
mod executor;
mod failure;
mod fetch;
#[cfg(test)]
mod golden;
mod image_trust;
mod images;
mod initrd;
mod interface;
mod ipv6;
mod machine;
mod network;
pub mod packed;
mod parameters;
pub mod platform;
mod san;
mod scopes;
mod script;
mod secure;
mod shell;
mod startup;
mod syslog;
#[cfg(test)]
mod testing;
mod unpack;

pub use console::{ansi, terminal};
pub use executor::Handle;
pub use platform::Platform;
pub use startup::{Outcome, run};
