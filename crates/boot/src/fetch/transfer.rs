//! Files by TFTP.

use alloc::string::ToString;

use bowline_net::tftp::{self, TftpError};
use bowline_script::Uri;

use super::{Memory, invalid};
use crate::failure::{Code, Failure};
use crate::machine::Machine;

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
    for (stack, server) in machine.network.ends(host, port).await? {
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

fn host(uri: &Uri) -> Result<&str, Failure> {
    uri.host().ok_or_else(|| invalid("it names no server"))
}
