//! Doors for the fuzz targets to what is private here.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::frame::Ip;
use crate::ndp::{self, Advertisement};
use crate::{ftp, nfs, ntp, tftp};

/// The addresses in a DNS message, read as the answer to a question for `name`.
#[must_use]
pub fn dns_response(message: &[u8], name: &str) -> Vec<IpAddr> {
    crate::dns::addresses(message, name)
}

/// What a frame says, if it is a router advertisement. Its checksum is taken for right.
#[must_use]
pub fn router_advertisement(frame: &[u8]) -> Option<Advertisement> {
    ndp::parse(frame, Ip::parse(frame)?)
}

/// Gives packets to a TFTP transfer of blocks of `block` bytes; the bytes of the file that came of
/// them.
pub fn tftp_transfer<'a>(block: usize, packets: impl Iterator<Item = &'a [u8]>) -> usize {
    tftp::received(block, packets)
}

/// Whether a message is an answer of an NTP server to the question with this cookie.
#[must_use]
pub fn ntp_answer(message: &[u8], cookie: u64) -> bool {
    ntp::read(message, cookie).is_some()
}

/// The codes of the replies that an FTP server gives.
#[must_use]
pub fn ftp_replies(bytes: &[u8]) -> Vec<u16> {
    ftp::codes(bytes)
}

/// The port that an FTP server names for data, in either way.
#[must_use]
pub fn ftp_data_port(text: &str) -> Option<u16> {
    ftp::extended_passive(text).or_else(|| ftp::passive(text))
}

/// Reads what the programs of an NFS server answer; the bytes of files in it.
#[must_use]
pub fn nfs_answers(bytes: &[u8]) -> usize {
    nfs::read_answers(bytes)
}
