//! iSCSI (RFC 7143): wire format, text negotiation, CHAP, and the two ends of a session as
//! machines without I/O.
//!
//! ```text
//!   bytes from TCP --> handle_input(now, ..) --+                +--> poll_output()  --> bytes to TCP
//!                                              +--> [machine] --+
//!   the clock     --> handle_timeout(now)    --+                +--> poll_event()   --> the caller
//!                                                               +--> poll_timeout() --> next wake-up
//! ```
//!
//! [`initiator::Initiator`] is the loader's end, [`target::Connection`] the server's. One
//! connection per session, ErrorRecoveryLevel 0, no markers, no SNACK: what a boot needs, and
//! what every initiator and target agrees on. `now` is the time since an arbitrary fixed moment.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod chap;
mod crc32c;
mod frame;
pub mod initiator;
mod login_status;
mod name;
pub mod negotiate;
#[cfg(test)]
mod pair;
pub mod pdu;
mod serial;
pub mod target;
pub mod text;

pub use bowline_scsi::{Lun, Sense, Status};
pub use chap::{Algorithm, Credentials, Secret};
pub use login_status::LoginStatus;
pub use name::{Isid, TargetAddress, is_valid_name};
pub use negotiate::Parameters;

/// The TCP port of iSCSI targets (RFC 7143 section 14.1).
pub const PORT: u16 = 3260;

/// How the two ends of a session proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Nobody proved anything.
    None,
    /// The initiator proved itself by CHAP.
    OneWay,
    /// Both did.
    Mutual,
}

impl core::fmt::Display for Authentication {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::OneWay => "one-way",
            Self::Mutual => "mutual",
        })
    }
}

/// The difference between what a command was said to move and what it moves
/// (RFC 7143 section 11.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// None.
    #[default]
    None,
    /// This many bytes less than expected were moved.
    Underflow(u32),
    /// The command would have moved this many bytes more.
    Overflow(u32),
}

impl Residual {
    /// The residual of a command that moves `actual` bytes where `expected` were announced.
    #[must_use]
    pub fn of(expected: u32, actual: u64) -> Self {
        match u64::from(expected).checked_sub(actual) {
            Some(0) => Self::None,
            Some(short) => Self::Underflow(u32::try_from(short).unwrap_or(u32::MAX)),
            None => {
                let over = actual.saturating_sub(u64::from(expected));
                Self::Overflow(u32::try_from(over).unwrap_or(u32::MAX))
            }
        }
    }
}
