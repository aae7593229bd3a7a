//! An iSCSI target, RFC 7143: disk images for initiators that may have to prove who they are.
//!
//! The protocol is `bowline_iscsi::target`, the commands are `bowline_scsi::device`, the storage
//! is `bowline_store`. Here are the sockets, the threads and the limits.

mod buffers;
mod config;
mod copy;
mod limits;
mod output;
mod portal;
mod reservation_file;
mod service;
mod session;
mod unit;

pub use config::{
    ChapConfig, Config, LunConfig, MutualConfig, Network, RedirectConfig, TargetConfig,
};
pub use limits::Limits;
pub use portal::operation::{Reloaded, SessionReport, TargetReport};
pub use service::{Handle, Service};
pub use session::statistics::Counts;
