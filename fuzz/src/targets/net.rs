//! What name servers, routers and TFTP servers say.

use std::net::IpAddr;

use bowline_net::fuzzing;

use crate::records;

/// The length of the blocks that the transfer asks for.
const BLOCK: usize = 1448;

/// An answer to a question for `boot.example`, whatever its number.
pub(super) fn dns_response(data: &[u8]) {
    let addresses: Vec<IpAddr> = fuzzing::dns_response(data, "boot.example");
    // A message cannot hold more records than it has room for: 12 bytes at least.
    assert!(addresses.len() <= data.len() / 12);
}

/// A frame that may be a router advertisement.
pub(super) fn router_advertisement(data: &[u8]) {
    let Some(said) = fuzzing::router_advertisement(data) else {
        return;
    };
    // Options have 8 bytes at least, and addresses 16.
    assert!(said.prefixes.len() <= data.len() / 32 && said.dns.len() <= data.len() / 16);
    for prefix in said.prefixes {
        assert!(prefix.length <= 128 && prefix.contains(prefix.prefix));
    }
}

/// What an FTP server says.
pub(super) fn ftp_replies(data: &[u8]) {
    let codes = fuzzing::ftp_replies(data);
    // Each has three digits and the end of a line.
    assert!(codes.len() <= data.len() / 4);
    assert!(codes.iter().all(|code| (100..600).contains(code)));
    assert_ne!(
        fuzzing::ftp_data_port(&String::from_utf8_lossy(data)),
        Some(0)
    );
}

/// Records with the answers of an NFS server's programs.
pub(super) fn nfs_answers(data: &[u8]) {
    assert!(fuzzing::nfs_answers(data) <= data.len());
}

/// A message that may be the answer of an NTP server.
pub(super) fn ntp_answer(data: &[u8]) {
    // An answer has the cookie in it, so that nothing else is taken for one.
    let origin = data.get(24..32).and_then(|field| field.first_chunk());
    let cookie = origin.map_or(0, |field| u64::from_be_bytes(*field));
    assert!(!fuzzing::ntp_answer(data, !cookie));
    assert!(!fuzzing::ntp_answer(data, cookie) || data.len() >= 32);
}

/// The packets of a TFTP server.
pub(super) fn tftp_transfer(data: &[u8]) {
    let packets = records::split(data).map(|(_, packet)| packet);
    assert!(fuzzing::tftp_transfer(BLOCK, packets) <= data.len());
}
