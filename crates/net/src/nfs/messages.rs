//! What is asked of the three programs, and what they answer: the port mapper (RFC 1833), the mount
//! protocol (RFC 1813 appendix I) and NFS version 3 (RFC 1813).

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::rpc::Program;
use super::xdr::{Reader, Writer};

/// RFC 1833 section 3.1: version 2 knows IPv4 only,
pub(super) const PORT_MAPPER: Program = Program {
    name: "port mapper",
    number: 100_000,
    version: 2,
};
/// and section 2.1: version 3 any protocol.
pub(super) const RPC_BIND: Program = Program {
    version: 3,
    ..PORT_MAPPER
};
/// `PMAPPROC_GETPORT`, and `RPCBPROC_GETADDR` of version 3.
pub(super) const GET_PORT: u32 = 3;

/// RFC 1813 section 5.
pub(super) const MOUNT: Program = Program {
    name: "mount service",
    number: 100_005,
    version: 3,
};
pub(super) const MOUNTPROC3_MNT: u32 = 1;
pub(super) const MOUNTPROC3_UMNT: u32 = 3;

/// RFC 1813 section 3.
pub(super) const NFS: Program = Program {
    name: "NFS service",
    number: 100_003,
    version: 3,
};
pub(super) const NFSPROC3_GETATTR: u32 = 1;
pub(super) const NFSPROC3_LOOKUP: u32 = 3;
pub(super) const NFSPROC3_READLINK: u32 = 5;
pub(super) const NFSPROC3_READ: u32 = 6;

/// `NFS3_FHSIZE` (RFC 1813 section 2.4).
const HANDLE_MAX: usize = 64;
/// `MNTPATHLEN` (section 5.1.2), and the longest link that is followed.
pub(super) const PATH_MAX: usize = 1024;
/// The attributes of a file (`fattr3`, section 2.6): what follows type and mode up to the size, and
/// from there to the end.
const BEFORE_SIZE: usize = 12;
const AFTER_SIZE: usize = 56;

/// What a file or folder is called on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handle(pub(super) Vec<u8>);

/// An answer that says why not, in numbers of RFC 1813 sections 2.6 and 5.1.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status(pub(super) u32);

impl Status {
    pub(super) fn words(self) -> &'static str {
        match self.0 {
            1 | 13 => "access is not allowed",
            2 => "no such file",
            5 => "it could not read the disk",
            20 => "part of the path is no folder",
            21 => "it is a folder",
            63 => "the name is too long",
            70 => "the file is gone",
            10008 => "the file is not at hand yet: try again",
            _ => "it refuses",
        }
    }
}

/// Results of a kind, or the status in their place; `None` where they cannot be read.
type Results<T> = Option<Result<T, Status>>;

/// Where a program listens: asked over IPv4.
pub(super) fn get_port(program: Program) -> Writer {
    let (tcp, no_port) = (6, 0);
    let writer = Writer::default().number(program.number);
    writer.number(program.version).number(tcp).number(no_port)
}

/// The same over IPv6 (`rpcb`, RFC 1833 section 2.1).
pub(super) fn get_address(program: Program) -> Writer {
    let writer = Writer::default().number(program.number);
    let (network, address, owner) = (b"tcp6", b"", b"");
    let writer = writer.number(program.version).opaque(network);
    writer.opaque(address).opaque(owner)
}

/// The port in the answer to [`get_port`]; 0 is none.
pub(super) fn port(results: &[u8]) -> Option<u16> {
    u16::try_from(Reader(results).number()?).ok()
}

/// The port in the answer to [`get_address`]: the last two numbers of a universal address, such as
/// `::.8.1` (RFC 5665 section 5.2.3.4). 0 is none.
pub(super) fn port_of_address(results: &[u8]) -> Option<u16> {
    let text = core::str::from_utf8(Reader(results).opaque(PATH_MAX)?).ok()?;
    if text.is_empty() {
        return Some(0);
    }
    let mut numbers = text.rsplit('.').map(str::parse::<u8>);
    let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(u16::from_be_bytes([high, low]))
}

/// Question and answer for the port of a program at this server.
pub(super) fn port_question(server: SocketAddr, of: Program) -> (Program, Writer) {
    match server.is_ipv4() {
        true => (PORT_MAPPER, get_port(of)),
        false => (RPC_BIND, get_address(of)),
    }
}

/// The handle of a folder that was mounted (section 5.2.1).
pub(super) fn mounted(results: &[u8]) -> Results<Handle> {
    let mut reader = Reader(results);
    if let Some(refusal) = refusal(&mut reader)? {
        return Some(Err(refusal));
    }
    handle(&mut reader).map(Ok)
}

/// What something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File {
        /// In bytes.
        size: u64,
    },
    Folder,
    Link,
    /// A device, a socket, a pipe.
    Other,
}

/// The answer to `LOOKUP` (section 3.3.3): the handle, and what it is where the server says so.
pub(super) fn looked_up(results: &[u8]) -> Results<(Handle, Option<Kind>)> {
    let mut reader = Reader(results);
    if let Some(refusal) = refusal(&mut reader)? {
        return Some(Err(refusal));
    }
    let handle = handle(&mut reader)?;
    Some(Ok((handle, attributes_if_any(&mut reader)?)))
}

/// The answer to `GETATTR` (section 3.3.1).
pub(super) fn attributes(results: &[u8]) -> Results<Kind> {
    let mut reader = Reader(results);
    if let Some(refusal) = refusal(&mut reader)? {
        return Some(Err(refusal));
    }
    kind(&mut reader).map(Ok)
}

/// The answer to `READLINK` (section 3.3.5).
pub(super) fn link(results: &[u8]) -> Results<String> {
    let mut reader = Reader(results);
    if let Some(refusal) = refusal(&mut reader)? {
        return Some(Err(refusal));
    }
    attributes_if_any(&mut reader)?;
    let path = reader.opaque(PATH_MAX)?;
    Some(Ok(String::from_utf8_lossy(path).into_owned()))
}

/// The answer to `READ` (section 3.3.6): bytes, and whether the file ends with them.
pub(super) fn read(results: &[u8], most: usize) -> Results<(&[u8], bool)> {
    let mut reader = Reader(results);
    if let Some(refusal) = refusal(&mut reader)? {
        return Some(Err(refusal));
    }
    attributes_if_any(&mut reader)?;
    let (_count, is_end) = (reader.number()?, reader.boolean()?);
    Some(Ok((reader.opaque(most)?, is_end)))
}

/// The status that all results begin with, unless it is 0.
fn refusal(reader: &mut Reader<'_>) -> Option<Option<Status>> {
    let status = reader.number()?;
    Some((status != 0).then_some(Status(status)))
}

fn handle(reader: &mut Reader<'_>) -> Option<Handle> {
    reader.opaque(HANDLE_MAX).map(|bytes| Handle(bytes.into()))
}

/// `post_op_attr` (section 2.6).
fn attributes_if_any(reader: &mut Reader<'_>) -> Option<Option<Kind>> {
    match reader.boolean()? {
        true => kind(reader).map(Some),
        false => Some(None),
    }
}

/// `fattr3` (section 2.6).
fn kind(reader: &mut Reader<'_>) -> Option<Kind> {
    let (kind, _mode) = (reader.number()?, reader.number()?);
    reader.fixed(BEFORE_SIZE)?;
    let size = reader.hyper()?;
    reader.fixed(AFTER_SIZE)?;
    Some(match kind {
        1 => Kind::File { size },
        2 => Kind::Folder,
        5 => Kind::Link,
        _ => Kind::Other,
    })
}
