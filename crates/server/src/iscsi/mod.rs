//! An iSCSI target, RFC 7143.

mod config;
mod limits;
mod service;

pub use config::{ChapConfig, Config, LunConfig, MutualConfig, TargetConfig};
pub use limits::Limits;
pub use service::Service;
