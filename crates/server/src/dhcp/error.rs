//! Why DHCP cannot be served, with what to do about it.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use bowline_dhcp::server::ConfigError;
use thiserror::Error;

/// Why DHCP cannot be served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings contradict each other.
    #[error("dhcp: {0}")]
    Config(#[from] ConfigError),
    /// The interfaces cannot be listed.
    #[error("dhcp: cannot list the network interfaces: {0}")]
    Interfaces(io::Error),
    /// No interface has this name.
    #[error("dhcp: there is no network interface {name}; there are: {}", present.join(", "))]
    NoInterface {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        present: Vec<String>,
    },
    /// The interface has another address.
    #[error(
        "dhcp: {interface} does not have the address {address}: {}; \
         set `server` to the address of the interface, or give the interface that address",
        addresses(present)
    )]
    NoAddress {
        /// The interface.
        interface: String,
        /// The address that was asked for.
        address: Ipv4Addr,
        /// The addresses that it has.
        present: Vec<Ipv4Addr>,
    },
    /// The socket cannot be had.
    #[error("dhcp: cannot listen on port {port} of {interface}: {source}; {}", advice(source, *port))]
    Bind {
        /// The interface.
        interface: String,
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The lease file cannot be read or written.
    #[error("dhcp: lease file {path}: cannot {doing}: {source}", path = path.display())]
    LeaseFile {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another server has the lease file.
    #[error(
        "dhcp: another server uses the lease file {path}; stop it, or give this one another \
         `state` directory",
        path = .0.display()
    )]
    LeaseFileInUse(PathBuf),
    /// The file is not one of ours, or of a later version.
    #[error(
        "dhcp: {path} is not a lease file that this version can read (its first line is {found:?}); \
         move it away to begin without leases",
        path = path.display()
    )]
    NotLeaseFile {
        /// The file.
        path: PathBuf,
        /// Its first line.
        found: String,
    },
}

fn addresses(present: &[Ipv4Addr]) -> String {
    match present {
        [] => "it has no IPv4 address".into(),
        _ => {
            let list: Vec<String> = present.iter().map(Ipv4Addr::to_string).collect();
            format!("it has {}", list.join(", "))
        }
    }
}

fn advice(error: &io::Error, port: u16) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another DHCP server runs on this machine (ss -lunp 'sport = :{port}' shows which)"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "port {port} needs root or the capability CAP_NET_BIND_SERVICE \
             (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW)"
        ),
        _ => "check `interface`".into(),
    }
}
