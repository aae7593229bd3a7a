//! EFI programs: images in PE32+, the format of the Microsoft PE/COFF specification (UEFI 2.10
//! section 2.1.1). Of an image:
//!
//! ```text
//! 0x00  "MZ" ... 0x3c: offset of ─┐
//!       "PE\0\0"  <───────────────┘
//!       COFF header         20 bytes
//!       optional header     its length is in the COFF header
//!       section headers     40 bytes each
//!       (room up to SizeOfHeaders)
//!       contents of sections, aligned to FileAlignment in a file, to SectionAlignment in memory
//! ```
//!
//! [`file`] adds a section to a file, which is how a loader is put together and how it gets its
//! configuration. [`memory`] reads an image that firmware has loaded, and makes one ready to be
//! started without firmware. [`payload`] is the loader as `bowline.efi` carries it.
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

pub mod file;
mod headers;
pub mod memory;
pub mod payload;

use alloc::string::String;

use thiserror::Error;

/// What is wrong with an image.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeError {
    /// Some other kind of file, or half of one.
    #[error("not an EFI application: {0}")]
    NotEfi(&'static str),
    /// The section headers reach to the first section.
    #[error(
        "no room for another section header: {needed} bytes needed, {room} left; \
         link the loader with larger headers"
    )]
    NoRoom {
        /// How many bytes a header needs.
        needed: usize,
        /// How many are free.
        room: usize,
    },
    /// A signature would no longer match.
    #[error("it is signed, and packing would break the signature: pack first, then sign")]
    Signed,
    /// Another tool has added sections after ours.
    #[error("it has a {0} section, but not as the last one: start from the unpacked loader")]
    NotLast(String),
    /// Offsets in a file are 32 bits, and an image has to fit into memory.
    #[error("the result would be too large")]
    TooLarge,
    /// It does not fit where it is to be started.
    #[error("cannot be started here: {0}")]
    NotHere(&'static str),
    /// The deflated image.
    #[error("the deflated loader is damaged: {0}")]
    Damaged(&'static str),
}

/// The headers, or a section, reach beyond the end.
const CUT_SHORT: PeError = PeError::NotEfi("the headers are cut short");

#[cfg(test)]
mod tests;
