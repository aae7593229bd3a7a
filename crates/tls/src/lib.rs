//! HTTPS is how a diskless machine can trust what it runs, and how the server can know who asks.
//! This crate holds what both need: a TLS 1.3 and 1.2 [`Client`] without I/O, its cryptography, and
//! the verdict on certificates in words.
//!
//! - [`Client`], [`Config`]: a connection, driven by bytes, over `rustls`.
//! - [`provider`]: the cryptography, over RustCrypto, with a seam for the processor's own
//!   instructions.
//! - [`entropy`]: randomness, handed in by the platform. Without enough of it there is no TLS.
//! - [`time`]: what time it is, how that is known, and what may follow from it.
//! - [`trust`], [`identity`]: whose word is taken, and who we are.
//! - [`verify`]: the check of a certificate chain, the same in the loader and on the host.
//! - [`certificate`]: what a certificate says.
//! - [`cms`]: signatures on files.
//!
//! Nothing here opens a socket, reads a clock or calls the firmware.
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

pub mod certificate;
mod client;
pub mod cms;
mod config;
mod der;
pub mod entropy;
pub mod envelope;
mod error;
pub mod identity;
pub mod provider;
mod session;
pub mod time;
pub mod trust;
pub mod verify;

pub use client::{Client, Event, Peer, Session};
pub use config::{Builder, Config, Limits};
pub use error::Error;
pub use rustls_pki_types::CertificateDer;
