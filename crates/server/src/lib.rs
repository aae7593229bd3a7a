//! The services of a boot server on tokio: DHCP, files over HTTP and HTTPS, and an iSCSI
//! target.
//!
//! [`Config::load`] reads and checks a `bowline.toml`; [`serve()`] runs it until the process is asked
//! to end; [`control`] looks at it meanwhile and changes it. Each service is a folder of the same shape: `config` (its table), `service` (bind and
//! accept), `session` (one peer), `error` and `tests`. Protocol logic is not here but in the sans-IO
//! crates; a session moves bytes between a socket, a machine and a disk.
#![forbid(unsafe_code)]

pub mod config;
pub mod control;
pub mod dhcp;
pub mod http;
pub mod iscsi;
mod listen;
mod serve;
mod shutdown;

pub use config::{Config, ConfigError, Loaded};
pub use listen::BindError;
pub use serve::{ServeError, Server, serve};
pub use shutdown::{Shutdown, Trigger};
