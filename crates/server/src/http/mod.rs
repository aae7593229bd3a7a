//! Files over HTTP/1.1 (RFC 9110, RFC 9112): scripts, loaders, kernels.
//!
//! Everything below one directory, for GET and HEAD, with ranges and validators. There is no
//! listing of directories, nothing outside the directory is reachable by `..`, and nothing can be
//! written. Symbolic links are followed: what the operator links into the directory is served.

mod config;
mod service;
mod session;

pub use config::Config;
pub use service::Service;

#[cfg(test)]
mod tests;
