//! What must happen behind the loader's back: the end of boot services, and background work while
//! an image runs that the loader started.

use alloc::boxed::Box;
use core::cell::RefCell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use core::time::Duration;

use bowline_boot::Handle;
use bowline_boot::platform::FirmwareError;
use uefi::boot::{self, EventType, TimerTrigger, Tpl};
use uefi::{Event, Guid, guid};

use crate::{error, gate, heap};

/// How often background work is done while an image runs.
const TICK: Duration = Duration::from_millis(10);

/// `EFI_EVENT_GROUP_BEFORE_EXIT_BOOT_SERVICES` (UEFI 2.10 section 7.1.2).
static BEFORE_EXIT_BOOT_SERVICES: Guid = guid!("8be0e274-3970-4b44-80c5-1ab9502f3bfc");

static EXITED: AtomicBool = AtomicBool::new(false);
static CARDS_STOP_BY_THEMSELVES: AtomicBool = AtomicBool::new(true);

/// The boot logic, for those who are called without a context of their own.
static HANDLE: AtomicPtr<Handle> = AtomicPtr::new(ptr::null_mut());

/// Whether ExitBootServices has not been called yet.
pub(crate) fn is_boot_time() -> bool {
    !EXITED.load(Ordering::Acquire)
}

/// Whether the firmware's network drivers may be called.
///
/// At ExitBootServices EDK2's drivers stop their cards by themselves, and some firmware has by
/// then already taken their DMA mappings away. U-Boot removes only some of its drivers, so there
/// a card must be stopped by who started it, or it writes into the memory of the next system.
pub(crate) fn may_call_drivers() -> bool {
    is_boot_time() || !CARDS_STOP_BY_THEMSELVES.load(Ordering::Acquire)
}

/// A turn of background work, unless the loader itself was interrupted.
pub(crate) fn work() {
    if !is_boot_time() {
        return;
    }
    if let Some(_entered) = gate::enter() {
        with_handle(Handle::tick);
    }
}

fn with_handle(f: impl FnOnce(&Handle)) {
    if let Some(handle) = NonNull::new(HANDLE.load(Ordering::Acquire)) {
        // SAFETY: set by `Hooks::install` to a handle that lives until `Hooks::remove`, which clears
        // it first.
        f(unsafe { handle.as_ref() });
    }
}

/// The events of the loader, until it ends.
#[derive(Debug)]
pub(crate) struct Hooks(RefCell<Option<Events>>);

#[derive(Debug)]
struct Events {
    /// None on firmware older than UEFI 2.9.
    before_exit: Option<Event>,
    exit: Event,
    tick: Event,
}

impl Hooks {
    /// Hooks `handle` into ExitBootServices and a timer, which does not run yet.
    ///
    /// # Errors
    /// The firmware's; without the events the loader must not start anything.
    pub(crate) fn install(handle: Handle, is_u_boot: bool) -> Result<Self, FirmwareError> {
        CARDS_STOP_BY_THEMSELVES.store(!is_u_boot, Ordering::Release);
        HANDLE.store(Box::into_raw(Box::new(handle)), Ordering::Release);
        let create = |kind, notify| {
            // SAFETY: `notify` does nothing that is forbidden at ExitBootServices, and the event
            // is closed by `remove` before the program ends.
            unsafe { boot::create_event(kind, Tpl::CALLBACK, Some(notify), None) }
                .map_err(error::of("CreateEvent"))
        };
        let exit = create(EventType::SIGNAL_EXIT_BOOT_SERVICES, on_exit)?;
        // SAFETY: as above.
        let before_exit = unsafe {
            boot::create_event_ex(
                EventType::NOTIFY_SIGNAL,
                Tpl::CALLBACK,
                Some(before_exit),
                None,
                Some(&BEFORE_EXIT_BOOT_SERVICES),
            )
        };
        let tick = create(EventType::TIMER | EventType::NOTIFY_SIGNAL, on_tick)?;
        Ok(Self(RefCell::new(Some(Events {
            before_exit: before_exit.ok(),
            exit,
            tick,
        }))))
    }

    /// Runs `image`, a call that starts an image, with background work meanwhile.
    pub(crate) fn run<R>(&self, image: impl FnOnce() -> R) -> R {
        // Without the timer the image runs all the same; only the card may overflow.
        self.set_timer(TimerTrigger::Periodic(TICK));
        let result = gate::lend(image);
        self.set_timer(TimerTrigger::Cancel);
        result
    }

    fn set_timer(&self, trigger: TimerTrigger) {
        if let Some(events) = &*self.0.borrow() {
            let _ = boot::set_timer(&events.tick, trigger);
        }
    }

    /// Closes the events. It must be done before the program ends: what the firmware starts next
    /// calls ExitBootServices, and the functions are no longer there. It is not left to a `drop`,
    /// because the boot logic that the events call holds the platform that holds them.
    pub(crate) fn remove(&self) {
        let Some(events) = self.0.borrow_mut().take() else {
            return;
        };
        let all = [events.before_exit, Some(events.exit), Some(events.tick)];
        let closed = all.into_iter().flatten().map(boot::close_event);
        // All of them, also behind one that fails.
        let closed = closed.filter(Result::is_err).count() == 0;
        let handle = HANDLE.swap(ptr::null_mut(), Ordering::AcqRel);
        if closed && !handle.is_null() {
            // SAFETY: the pointer came from `Box::into_raw` in `install`, and nobody can load it
            // any more.
            drop(unsafe { Box::from_raw(handle) });
        }
    }
}

/// The operating system calls ExitBootServices, and everything still works.
unsafe extern "efiapi" fn before_exit(_: Event, _: Option<NonNull<c_void>>) {
    if let Some(_entered) = gate::enter() {
        with_handle(Handle::end);
    }
}

/// ExitBootServices: stops the cards and the disks. Must not allocate or wait (UEFI 2.10 section
/// 7.1.1, `EVT_SIGNAL_EXIT_BOOT_SERVICES`).
unsafe extern "efiapi" fn on_exit(_: Event, _: Option<NonNull<c_void>>) {
    heap::close();
    EXITED.store(true, Ordering::Release);
    with_handle(Handle::quiesce);
}

/// The timer.
unsafe extern "efiapi" fn on_tick(_: Event, _: Option<NonNull<c_void>>) {
    work();
}
