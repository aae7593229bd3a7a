//! The loader's logic over platform traits: commands, SAN drives, images, shell.
//!
//! The same code runs in `bowline.efi`, in the simulator and in tests; it sees the machine only
//! through [`platform`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod platform;
