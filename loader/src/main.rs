//! bowline.efi: the boot logic on UEFI firmware.
//!
//! Everything that calls the firmware is here, and all `unsafe` of the project.
#![no_std]
#![no_main]

extern crate alloc;

mod accelerator;
mod acpi_tables;
mod authorities;
mod clock;
mod code;
mod console;
mod disk;
mod entropy;
mod error;
mod gate;
mod handles;
mod handoff;
mod heap;
mod hooks;
mod identity;
mod image;
mod initrd;
mod origin;
mod panic;
mod pci;
mod platform;
mod sections;
mod setup;
mod snp;
mod variable;

use alloc::format;
use alloc::rc::Rc;

use bowline_boot::{Handle, Outcome};
use uefi::prelude::*;

use crate::platform::UefiPlatform;

#[entry]
fn main() -> Status {
    let handle = Handle::new();
    let platform = match UefiPlatform::new(handle.clone()) {
        Ok(platform) => Rc::new(platform),
        Err(error) => {
            console::write(&format!("Bowline cannot start: {error}\n"));
            return Status::ABORTED;
        }
    };
    if let Some(accelerator) = accelerator::find()
        && let Err(mismatch) = bowline_tls::provider::accelerate(accelerator)
    {
        let text = format!("The processor's AES instructions are not used: {mismatch}\n");
        console::write(&text);
    }
    let Outcome::Exit { status } = bowline_boot::run(platform.clone(), image::packed(), &handle);
    drop(handle);
    platform.release();
    if status == 0 {
        Status::SUCCESS
    } else {
        Status::ABORTED
    }
}
