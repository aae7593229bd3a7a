//! SCSI as both ends of an iSCSI session need it: command descriptor blocks, status, sense data,
//! the data of INQUIRY, READ CAPACITY, MODE SENSE and REPORT LUNS, and a direct-access block
//! device that turns commands into what storage is to do.
//!
//! References: SAM-5 (status, LUN structure), SPC-4 (commands that every device has, sense
//! data), SBC-3 (commands of disks). No I/O, no clock: bytes in, bytes out.
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

mod bytes;
pub mod capacity;
pub mod cdb;
pub mod copy;
pub mod device;
pub mod identity;
pub mod inquiry;
pub mod lun;
pub mod mode;
mod opcodes;
pub mod reservation;
pub mod sense;
pub mod status;

pub use capacity::Capacity;
pub use cdb::{Cdb, CdbBytes, Form};
pub use inquiry::Inquiry;
pub use lun::Lun;
pub use reservation::InitiatorPort;
pub use sense::{Sense, SenseKey};
pub use status::Status;
