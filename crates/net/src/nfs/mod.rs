//! Files by NFS version 3 (RFC 1813) over TCP: the port mapper tells where the mount service and
//! NFS listen, a folder on the way to the file is mounted, and the rest of the path is looked up.

mod error;
mod messages;
mod rpc;
#[cfg(test)]
mod tests;
mod xdr;

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

pub use self::error::NfsError;
use self::messages::{
    GET_PORT, Handle, Kind, MOUNT, MOUNTPROC3_MNT, MOUNTPROC3_UMNT, NFS, NFSPROC3_GETATTR,
    NFSPROC3_LOOKUP, NFSPROC3_READ, NFSPROC3_READLINK, PATH_MAX, Status,
};
pub use self::rpc::Credentials;
use self::rpc::{Connection, Program};
use self::xdr::Writer;
use crate::http::{Progress, Sink};
use crate::{Stack, TcpStream};

/// Where the port mapper listens (RFC 1833 section 3.1).
pub const PORT: u16 = 111;
/// What is asked for at a time, until the server shows that it gives less,
const PIECE: u32 = 32 * 1024;
/// with so much before it,
const HEAD: usize = 132;
/// and how often ahead, so that the server always has something to send.
const AHEAD: usize = 4;
/// Symbolic links followed on the way to one file.
const LINKS_MAX: usize = 16;
/// The longest name of a file or folder.
const NAME_MAX: usize = 255;

/// What to fetch, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// The file's path on the server.
    pub path: &'a str,
    /// Where NFS listens, if the port mapper is not to be asked.
    pub port: Option<u16>,
    /// Who asks.
    pub credentials: Credentials<'a>,
}

/// What our client makes of the answers of a server: records that hold one result after the other.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_answers(bytes: &[u8]) -> usize {
    let mut records = rpc::Records::default();
    records.push(bytes);
    let mut length = 0;
    while let Ok(Some(record)) = records.take() {
        let Some(Ok(results)) = rpc::Reply::parse(&record).map(|reply| reply.results) else {
            continue;
        };
        let _ = (messages::port(results), messages::port_of_address(results));
        let _ = (messages::mounted(results), messages::looked_up(results));
        let _ = (messages::attributes(results), messages::link(results));
        if let Some(Ok((data, _))) = messages::read(results, PIECE as usize) {
            length += data.len();
        }
    }
    length
}

/// Fetches a file into `sink`. `port_mapper` has just been connected to the server's port mapper.
///
/// # Errors
/// [`NfsError`]
pub async fn fetch(
    port_mapper: TcpStream,
    file: File<'_>,
    sink: &mut impl Sink,
) -> Result<(), NfsError> {
    let stack = port_mapper.stack().clone();
    let server = port_mapper.remote_addr();
    let (program, _) = messages::port_question(server, MOUNT);
    let mut mapper = Connection::new(program, port_mapper, file.credentials);
    let mount_port = port(&mut mapper, MOUNT).await?;
    let nfs_port = match file.port {
        Some(port) => port,
        None => port(&mut mapper, NFS).await?,
    };
    drop(mapper);
    let mut client = Client {
        server: server.ip(),
        mount: open(MOUNT, &stack, (server.ip(), mount_port), &file).await?,
        nfs: open(NFS, &stack, (server.ip(), nfs_port), &file).await?,
    };
    let (handle, size) = client.find(file.path).await?;
    client.read(&handle, size, sink).await
}

/// Asks where a program listens.
async fn port(mapper: &mut Connection, of: Program) -> Result<u16, NfsError> {
    let server = mapper.server();
    let (_, question) = messages::port_question(server, of);
    let results = mapper.call(GET_PORT, &question).await?;
    let port = match server.is_ipv4() {
        true => messages::port(&results),
        false => messages::port_of_address(&results),
    };
    match port {
        Some(0) => Err(NfsError::NoProgram {
            server,
            program: of.name,
        }),
        Some(port) => Ok(port),
        None => Err(malformed(mapper, messages::PORT_MAPPER)),
    }
}

async fn open(
    program: Program,
    stack: &Stack,
    end: (IpAddr, u16),
    file: &File<'_>,
) -> Result<Connection, NfsError> {
    Connection::open(program, stack, SocketAddr::from(end), file.credentials).await
}

fn malformed(connection: &Connection, program: Program) -> NfsError {
    NfsError::Malformed {
        server: connection.server(),
        program: program.name,
    }
}

/// The connections to a server.
struct Client {
    server: IpAddr,
    mount: Connection,
    nfs: Connection,
}

/// Where a path leads.
enum Way {
    File(Handle, u64),
    /// On by this path.
    Link(Vec<String>),
}

impl Client {
    /// The file of a path, and its length in bytes.
    async fn find(&mut self, path: &str) -> Result<(Handle, u64), NfsError> {
        let mut names = Vec::new();
        follow(&mut names, path);
        for _ in 0..=LINKS_MAX {
            match self.walk(&names).await? {
                Way::File(handle, size) => return Ok((handle, size)),
                Way::Link(next) => names = next,
            }
        }
        let server = self.server;
        Err(NfsError::TooManyLinks { server })
    }

    async fn walk(&mut self, names: &[String]) -> Result<Way, NfsError> {
        let is_too_long = |names: &[String]| names.join("/").len() >= PATH_MAX;
        if names.iter().any(|name| name.len() > NAME_MAX) || is_too_long(names) {
            return Err(NfsError::BadName);
        }
        let (mut handle, depth) = self.mount_nearest(names).await?;
        let mut kind = Kind::Folder;
        for (index, name) in names.iter().enumerate().skip(depth) {
            (handle, kind) = self.look_up(&handle, name).await?;
            if kind == Kind::Link {
                let mut next = names.get(..index).unwrap_or_default().to_vec();
                follow(&mut next, &self.read_link(&handle, name).await?);
                next.extend_from_slice(names.get(index + 1..).unwrap_or_default());
                return Ok(Way::Link(next));
            }
        }
        let last = names.last().map(String::as_str).unwrap_or_default();
        match kind {
            Kind::File { size } => Ok(Way::File(handle, size)),
            Kind::Folder => Err(self.refused(last, "it is a folder")),
            Kind::Link | Kind::Other => Err(self.refused(last, "it is no file")),
        }
    }

    /// Mounts the folder of the file, else the nearest one above that the server lets us mount; and
    /// tells how many names it took.
    async fn mount_nearest(&mut self, names: &[String]) -> Result<(Handle, usize), NfsError> {
        let mut refusal = None;
        for depth in (0..names.len().max(1)).rev() {
            let folder = format!("/{}", names.get(..depth).unwrap_or_default().join("/"));
            let argument = Writer::default().opaque(folder.as_bytes());
            let results = self.mount.call(MOUNTPROC3_MNT, &argument).await?;
            match messages::mounted(&results) {
                Some(Ok(handle)) => {
                    // The server may forget us again: handles stay good (RFC 1813 section 5.2.3).
                    self.mount.call(MOUNTPROC3_UMNT, &argument).await?;
                    return Ok((handle, depth));
                }
                Some(Err(status)) => {
                    refusal.get_or_insert((folder, status));
                }
                None => return Err(malformed(&self.mount, MOUNT)),
            }
        }
        let (folder, status) = refusal.unwrap_or((String::new(), Status(0)));
        Err(NfsError::NotMounted {
            server: self.server,
            folder,
            why: status.words(),
        })
    }

    async fn look_up(&mut self, folder: &Handle, name: &str) -> Result<(Handle, Kind), NfsError> {
        let arguments = Writer::default().opaque(&folder.0).opaque(name.as_bytes());
        let results = self.nfs.call(NFSPROC3_LOOKUP, &arguments).await?;
        let (handle, kind) = self.good(messages::looked_up(&results), name)?;
        if let Some(kind) = kind {
            return Ok((handle, kind));
        }
        let arguments = Writer::default().opaque(&handle.0);
        let results = self.nfs.call(NFSPROC3_GETATTR, &arguments).await?;
        let kind = self.good(messages::attributes(&results), name)?;
        Ok((handle, kind))
    }

    async fn read_link(&mut self, link: &Handle, name: &str) -> Result<String, NfsError> {
        let arguments = Writer::default().opaque(&link.0);
        let results = self.nfs.call(NFSPROC3_READLINK, &arguments).await?;
        self.good(messages::link(&results), name)
    }

    async fn read(
        &mut self,
        file: &Handle,
        size: u64,
        sink: &mut impl Sink,
    ) -> Result<(), NfsError> {
        let total = Some(size);
        sink.begin(total).map_err(|_| NfsError::Stopped)?;
        let (mut received, mut asked, mut piece) = (0, 0, PIECE);
        // Calls that have no answer yet or whose turn has not come, in the order of the file.
        let mut calls: VecDeque<(u32, Option<Vec<u8>>)> = VecDeque::new();
        loop {
            while calls.len() < AHEAD && (asked < size || calls.is_empty()) {
                let arguments = Writer::default().opaque(&file.0).hyper(asked).number(piece);
                let due = (calls.len() + 1) * (piece as usize + HEAD);
                let call = self.nfs.send(NFSPROC3_READ, &arguments, due).await?;
                calls.push_back((call, None));
                asked += u64::from(piece);
            }
            let (transaction, results) = self.nfs.receive().await?;
            if let Some((_, slot)) = calls.iter_mut().find(|(call, _)| *call == transaction) {
                *slot = Some(results);
            }
            while calls.front().is_some_and(|(_, results)| results.is_some()) {
                let first = calls.pop_front().and_then(|(_, results)| results);
                let results = first.unwrap_or_default();
                let (data, is_end) = self.good(messages::read(&results, PIECE as usize), "")?;
                received += data.len() as u64;
                let progress = Progress { received, total };
                sink.write(data, progress).map_err(|_| NfsError::Stopped)?;
                if is_end {
                    return Ok(());
                }
                if data.is_empty() {
                    return Err(malformed(&self.nfs, NFS));
                }
                if data.len() < piece as usize {
                    // As much as the server gives at a time; what was asked beyond begins too late.
                    piece = data.len() as u32;
                    asked = received;
                    calls.clear();
                }
            }
        }
    }

    /// Results that are neither unreadable nor a refusal.
    fn good<T>(&self, results: Option<Result<T, Status>>, name: &str) -> Result<T, NfsError> {
        match results {
            Some(Ok(results)) => Ok(results),
            Some(Err(status)) => Err(self.refused(name, status.words())),
            None => Err(malformed(&self.nfs, NFS)),
        }
    }

    fn refused(&self, name: &str, why: &'static str) -> NfsError {
        NfsError::Refused {
            server: self.server,
            name: name.into(),
            why,
        }
    }
}

/// Goes on from a folder by a path, which may begin at the root.
fn follow(names: &mut Vec<String>, path: &str) {
    if path.starts_with('/') {
        names.clear();
    }
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name.into()),
        }
    }
}
