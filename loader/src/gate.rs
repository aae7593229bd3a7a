//! Who runs: the loader, or foreign code that may call it back.
//!
//! There is one thread, and it goes back and forth: the loader calls the firmware, the firmware
//! reads a block, which calls the loader. Such a callback is let in only while the loader has
//! [`lend`]t the processor. Otherwise it would meet the loader's data half changed: U-Boot runs
//! timer events inside any of its calls, and EDK2 runs them between any two instructions.

use core::sync::atomic::{AtomicBool, Ordering};

use uefi::boot::{self, Tpl, TplGuard};

/// Foreign code runs.
static LENT: AtomicBool = AtomicBool::new(false);

/// Runs `foreign`, a call of the firmware from which it may call back.
pub(crate) fn lend<R>(foreign: impl FnOnce() -> R) -> R {
    let before = LENT.swap(true, Ordering::AcqRel);
    let result = foreign();
    LENT.store(before, Ordering::Release);
    result
}

/// Comes back to the loader from foreign code, until the result is dropped. `None` where the
/// loader did not expect to be called.
///
/// Timer events stay out meanwhile: the priority is raised to `TPL_CALLBACK`, the highest at which
/// blocks may be read (UEFI 2.10 table 7.3) and at which every firmware still moves frames.
pub(crate) fn enter() -> Option<Entered> {
    if priority() > Tpl::CALLBACK {
        return None;
    }
    if !LENT.swap(false, Ordering::AcqRel) {
        return None;
    }
    // SAFETY: the priority is not lowered by this, as was just looked up, and is restored by the
    // guard before the callback returns.
    let raised = unsafe { boot::raise_tpl(Tpl::CALLBACK) };
    Some(Entered { _raised: raised })
}

/// The loader runs inside a callback.
#[derive(Debug)]
pub(crate) struct Entered {
    _raised: TplGuard,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // The priority is restored behind this, and a timer event that waited may come in then:
        // it finds the processor lent again.
        LENT.store(true, Ordering::Release);
    }
}

/// The current priority, which can be learned from a change only.
fn priority() -> Tpl {
    // SAFETY: no priority is above the highest, and the guard restores the old one at once.
    let raised = unsafe { boot::raise_tpl(Tpl::HIGH_LEVEL) };
    raised.old_tpl()
}
