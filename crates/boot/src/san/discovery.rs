//! Which targets a server has.

use alloc::string::String;
use alloc::vec::Vec;

use bowline_iscsi::initiator::DiscoveredTarget;
use bowline_script::RootPath;

use crate::failure::Failure;
use crate::machine::Machine;
use crate::san::connection;
use crate::san::login::Login;

/// Asks the server, with the credentials of the settings if it wants some.
pub(crate) async fn targets(
    machine: &Machine,
    server: &str,
    port: u16,
) -> Result<Vec<DiscoveredTarget>, Failure> {
    let root_path = RootPath {
        server: server.into(),
        port,
        lun: [0; 8],
        target: String::new(),
    };
    // Sessions with disks have numbers from 0x80 on.
    let login = Login::new(machine, root_path, 0)?;
    connection::discover(
        &machine.executor,
        &*machine.platform,
        &login,
        &machine.network,
    )
    .await
}
