//! A panic is a defect of the loader: it is told, and the machine starts anew.
//!
//! Returning to the firmware is no way out: disks that were published would lead into a program
//! that is gone. A machine without anyone in front of it is better off with another try.

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use uefi::runtime::{self, ResetType};
use uefi::{Status, boot};

use crate::{console, hooks};

/// How long the message stays before the machine restarts.
const PAUSE_SECONDS: u64 = 30;

static PANICKED: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A panic while one is told, or after the console is gone, has no words.
    if !PANICKED.swap(true, Ordering::AcqRel) && hooks::is_boot_time() {
        let _ = writeln!(
            Plain,
            "\nBowline has failed: {info}\nThis is a defect of the loader. \
             The machine restarts in {PAUSE_SECONDS} seconds."
        );
        boot::stall(Duration::from_secs(PAUSE_SECONDS));
    }
    runtime::reset(ResetType::COLD, Status::ABORTED, None)
}

/// The console without any state.
struct Plain;

impl Write for Plain {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        console::write(text);
        Ok(())
    }
}
