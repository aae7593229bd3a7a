//! Instructions that were written as data.

/// Makes `length` bytes at `code` visible to instruction fetches (Arm ARM B2.4.4).
#[cfg(target_arch = "aarch64")]
pub(crate) fn synchronise(code: *const u8, length: usize) {
    use core::arch::asm;

    /// The smallest cache line there is.
    const LINE_BYTES: usize = 16;
    let lines = || {
        (0..length)
            .step_by(LINE_BYTES)
            .map(|at| code.wrapping_add(at))
    };
    for line in lines() {
        // SAFETY: writes an address of our own to memory, which keeps its contents.
        unsafe { asm!("dc cvau, {0}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: a barrier has no other effect.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    for line in lines() {
        // SAFETY: the next fetch from an address of our own reads memory.
        unsafe { asm!("ic ivau, {0}", in(reg) line, options(nostack, preserves_flags)) };
    }
    // SAFETY: as the barrier above.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

/// x86_64 keeps instruction fetches coherent by itself.
#[cfg(target_arch = "x86_64")]
pub(crate) fn synchronise(_: *const u8, _: usize) {}
