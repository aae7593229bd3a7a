//! What a name server answers.

use std::net::IpAddr;

/// An answer to a question for `boot.example`, whatever its number.
pub(super) fn dns_response(data: &[u8]) {
    let addresses: Vec<IpAddr> = bowline_net::fuzzing::dns_response(data, "boot.example");
    // A message cannot hold more records than it has room for: 12 bytes at least.
    assert!(addresses.len() <= data.len() / 12);
}
