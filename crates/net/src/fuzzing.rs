//! Doors for the fuzz targets to what is private here.

use alloc::vec::Vec;
use core::net::IpAddr;

/// The addresses in a DNS message, read as the answer to a question for `name`.
#[must_use]
pub fn dns_response(message: &[u8], name: &str) -> Vec<IpAddr> {
    crate::dns::addresses(message, name)
}
