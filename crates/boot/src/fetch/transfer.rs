//! Files by TFTP, FTP and NFS.

use alloc::string::ToString;

use bowline_net::ftp::{self, FtpError};
use bowline_net::nfs::{self, NfsError};
use bowline_net::tftp::{self, TftpError};
use bowline_script::Uri;

use super::{Memory, invalid};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::network;

/// Every address of the server, in turn.
pub(super) async fn tftp(
    machine: &Machine,
    uri: &Uri,
    memory: &mut Memory<'_>,
) -> Result<(), Failure> {
    let host = host(uri)?;
    let path = uri.decoded_path();
    // The slash ends the server's name; one more makes the file's name begin with it.
    let path = path.strip_prefix('/').unwrap_or(&path);
    let port = uri.port().unwrap_or(tftp::PORT);
    let mut failure = None;
    let mut ends = machine.network.ends(host, port).await?;
    while let Some((stack, server)) = ends.next().await {
        match tftp::fetch(&stack, server, path, memory).await {
            Ok(()) => return Ok(()),
            Err(error @ TftpError::NoAnswer { .. }) => {
                failure = Some(Failure::new(Code::ConnectTimeout, error.to_string()));
            }
            Err(error) => return Err(Failure::new(Code::TftpError, error.to_string())),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The address of the server that answers first.
pub(super) async fn ftp(
    machine: &Machine,
    uri: &Uri,
    memory: &mut Memory<'_>,
) -> Result<(), Failure> {
    let port = uri.port().unwrap_or(ftp::PORT);
    let control = machine.network.connect(host(uri)?, port).await?;
    let (user, password) = (uri.user(), uri.password().unwrap_or_default());
    let file = ftp::File {
        path: &uri.decoded_path(),
        user: user.as_deref(),
        password: &password,
    };
    let fetched = ftp::fetch(control, file, memory).await;
    fetched.map_err(|error| match error {
        FtpError::Data(error) => network::connect_failure(&error),
        FtpError::Silent { .. } => Failure::new(Code::ConnectTimeout, error.to_string()),
        FtpError::Stream(_) => Failure::new(Code::ConnectFailed, error.to_string()),
        _ => Failure::new(Code::FtpError, error.to_string()),
    })
}

/// The address of the server that answers first. Who asks is up to the settings `uid`, `gid` and
/// `hostname`, as in iPXE.
pub(super) async fn nfs(
    machine: &Machine,
    uri: &Uri,
    memory: &mut Memory<'_>,
) -> Result<(), Failure> {
    let port_mapper = machine.network.connect(host(uri)?, nfs::PORT).await?;
    let number = |name| {
        let number = machine.settings.borrow().number(name);
        number
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(0)
    };
    let file = nfs::File {
        path: &uri.decoded_path(),
        port: uri.port(),
        credentials: nfs::Credentials {
            machine: &machine.setting("hostname").unwrap_or_default(),
            uid: number("uid"),
            gid: number("gid"),
        },
    };
    let fetched = nfs::fetch(port_mapper, file, memory).await;
    fetched.map_err(|error| match error {
        NfsError::Connect(error) => network::connect_failure(&error),
        NfsError::Silent { .. } => Failure::new(Code::ConnectTimeout, error.to_string()),
        NfsError::Stream(_) => Failure::new(Code::ConnectFailed, error.to_string()),
        _ => Failure::new(Code::NfsError, error.to_string()),
    })
}

fn host(uri: &Uri) -> Result<&str, Failure> {
    uri.host().ok_or_else(|| invalid("it names no server"))
}
