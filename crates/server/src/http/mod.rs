//! Files over HTTP/1.1 (RFC 9110, RFC 9112), plain or in TLS: scripts, loaders, kernels.
//!
//! Everything below one directory, for GET and HEAD, with ranges and validators. There is no
//! listing of directories, nothing outside the directory is reachable by `..`, and nothing can be
//! written. Symbolic links are followed: what the operator links into the directory is served.
//! Scripts may be templates that know who asks, see `script`.

mod certificate;
mod config;
mod credentials;
mod handshake;
mod identity;
mod reload;
mod script;
mod service;
mod session;
mod template;

pub use config::{Config, Tls};
pub use credentials::{ClientAuth, Credentials, Fault, Place, TlsFiles};
pub use service::Service;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
