//! The iPXE script language: lines and operators, `${...}` expansion, the settings tree, URIs,
//! and the syntax of commands as data.
//!
//! Knows no firmware and no network. [`Execution`] steps through a [`Script`] and yields one
//! expanded command at a time; the caller carries it out and feeds the result back. What a
//! command accepts is described in [`syntax::table`]; what it does is the caller's business.
//! Input from the network never panics, and every size has a bound in [`limits`].
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod check;
mod execution;
mod expand;
pub mod limits;
mod number;
mod script;
pub mod settings;
mod similar;
pub mod syntax;
pub mod uri;

#[cfg(test)]
mod compatibility;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use execution::{Command, Execution, ExecutionError, Failure, Step};
pub use expand::{ExpandError, expand};
pub use number::parse_integer;
pub use script::{ParseError, Script};
pub use settings::{Setting, SettingError, SettingType, Settings};
pub use uri::{RootPath, RootPathError, Uri, UriError};
