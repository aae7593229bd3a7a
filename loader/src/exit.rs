//! What must happen behind the loader's back: the end of boot services, and background work while
//! an image runs that the loader started.

use alloc::boxed::Box;
use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use bowline_boot::Handle;
use bowline_boot::platform::FirmwareError;
use uefi::Event;
use uefi::boot::{self, EventType, TimerTrigger, Tpl};

use crate::{error, gate, heap};

/// How often background work is done while an image runs: with this U-Boot's card of 32 buffers
/// survives several hundred frames a second that nobody asked for.
const TICK: Duration = Duration::from_millis(50);

static EXITED: AtomicBool = AtomicBool::new(false);
static CARDS_STOP_BY_THEMSELVES: AtomicBool = AtomicBool::new(true);

/// Whether the firmware's drivers may be called.
///
/// At ExitBootServices EDK2's drivers stop their cards by themselves, and some firmware has by
/// then already taken their DMA mappings away. U-Boot removes only some of its drivers, so there
/// a card must be stopped by who started it, or it writes into the memory of the next system.
pub(crate) fn may_call_drivers() -> bool {
    is_boot_time() || !CARDS_STOP_BY_THEMSELVES.load(Ordering::Acquire)
}

/// Whether ExitBootServices has not been called yet.
pub(crate) fn is_boot_time() -> bool {
    !EXITED.load(Ordering::Acquire)
}

/// The events of the loader, for as long as it exists.
#[derive(Debug)]
pub(crate) struct Hooks {
    exit: ManuallyDrop<Event>,
    tick: ManuallyDrop<Event>,
    context: NonNull<Handle>,
}

impl Hooks {
    /// Hooks `handle` into ExitBootServices and a timer, which does not run yet.
    ///
    /// # Errors
    /// The firmware's; without the events the loader must not start anything.
    pub(crate) fn install(handle: Handle, is_u_boot: bool) -> Result<Self, FirmwareError> {
        CARDS_STOP_BY_THEMSELVES.store(!is_u_boot, Ordering::Release);
        let context = NonNull::from(Box::leak(Box::new(handle)));
        let create = |kind, notify| {
            // SAFETY: `notify` takes a `Handle` as its context and does nothing that is forbidden
            // at ExitBootServices; the context lives until `drop` has closed both events.
            unsafe { boot::create_event(kind, Tpl::CALLBACK, Some(notify), Some(context.cast())) }
                .map_err(error::of("CreateEvent"))
        };
        let exit = create(EventType::SIGNAL_EXIT_BOOT_SERVICES, on_exit)?;
        let tick = create(EventType::TIMER | EventType::NOTIFY_SIGNAL, on_tick)?;
        Ok(Self {
            exit: ManuallyDrop::new(exit),
            tick: ManuallyDrop::new(tick),
            context,
        })
    }

    /// Runs `image`, a call that starts an image, with background work meanwhile.
    pub(crate) fn run<R>(&self, image: impl FnOnce() -> R) -> R {
        // Without the timer the image runs all the same; only the card may overflow.
        let _ = boot::set_timer(&self.tick, TimerTrigger::Periodic(TICK));
        let result = gate::lend(image);
        let _ = boot::set_timer(&self.tick, TimerTrigger::Cancel);
        result
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // SAFETY: `drop` runs once, and nothing uses the event afterwards.
        let exit = unsafe { ManuallyDrop::take(&mut self.exit) };
        // SAFETY: as above.
        let tick = unsafe { ManuallyDrop::take(&mut self.tick) };
        let closed = boot::close_event(exit).is_ok() & boot::close_event(tick).is_ok();
        if closed {
            // SAFETY: the pointer came from `Box::leak` in `install`, and the events that had it
            // are gone.
            drop(unsafe { Box::from_raw(self.context.as_ptr()) });
        }
    }
}

/// ExitBootServices: stops the cards and the disks. Must not allocate or wait (UEFI 2.10 section
/// 7.1.1, `EVT_SIGNAL_EXIT_BOOT_SERVICES`).
unsafe extern "efiapi" fn on_exit(_: Event, context: Option<NonNull<c_void>>) {
    heap::close();
    EXITED.store(true, Ordering::Release);
    if let Some(handle) = context {
        // SAFETY: the event was created with a `Handle` as its context, which lives as long as
        // the event.
        unsafe { handle.cast::<Handle>().as_ref() }.quiesce();
    }
}

/// The timer: background work, unless the loader itself was interrupted.
unsafe extern "efiapi" fn on_tick(_: Event, context: Option<NonNull<c_void>>) {
    if !is_boot_time() {
        return;
    }
    let Some(_entered) = gate::enter() else {
        return;
    };
    if let Some(handle) = context {
        // SAFETY: as in `on_exit`.
        unsafe { handle.cast::<Handle>().as_ref() }.tick();
    }
}
