//! The parts of bowline.efi that need no firmware: formats it reads and writes, and what is known
//! about particular firmware. They are apart so that they can be tested on the host.
#![no_std]
#![deny(unsafe_code)]
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

pub mod acpi;
pub mod bytes;
pub mod check_sequence;
#[cfg(any(target_os = "uefi", test))]
#[expect(unsafe_code, reason = "assembly")]
mod copy;
pub mod device_path;
pub mod device_tree;
pub mod fat;
pub mod firmware;
pub mod jitter;
pub mod load_options;
pub mod signature_list;
pub mod smbios;
pub mod tpm;
