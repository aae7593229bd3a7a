//! The monotonic clock: the processor's own counter, because the firmware has none that is finer
//! than its 10 ms tick.

use core::time::Duration;

use bowline_net::Clock;
use bowline_tls::time::Timestamp;
use uefi::runtime;

/// Nanoseconds as counter ticks times `multiplier` over 2^[`SHIFT`]: no division in `now`.
const SHIFT: u32 = 32;

/// A clock over the counter of the processor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CounterClock {
    start: u64,
    multiplier: u64,
}

impl CounterClock {
    /// Finds out the frequency of the counter, which takes some milliseconds where the processor
    /// does not tell it.
    pub(crate) fn new() -> Self {
        let frequency = counter::frequency().max(1);
        let multiplier = (1_000_000_000_u128 << SHIFT) / u128::from(frequency);
        Self {
            start: counter::read(),
            multiplier: u64::try_from(multiplier).unwrap_or(u64::MAX),
        }
    }

    /// The counter itself, as fine as it is.
    pub(crate) fn ticks(&self) -> u64 {
        counter::read()
    }
}

/// The firmware's clock (UEFI 2.10 section 8.3, `GetTime`): seconds since 1970 in UTC, or none
/// where it has none or says what is no time.
///
/// A clock whose time zone is not told is taken to run in UTC.
pub(crate) fn wall_clock() -> Option<u64> {
    let time = runtime::get_time().ok()?;
    let date = (time.year(), time.month(), time.day());
    let of_day = (time.hour(), time.minute(), time.second());
    let seconds = Timestamp::from_calendar(date, of_day)?.0;
    match time.time_zone() {
        // Local time is UTC minus the zone, in minutes.
        Some(zone) => seconds.checked_add_signed(i64::from(zone) * 60),
        None => Some(seconds),
    }
}

impl Clock for CounterClock {
    fn now(&self) -> Duration {
        let ticks = counter::read().saturating_sub(self.start);
        let nanos = (u128::from(ticks) * u128::from(self.multiplier)) >> SHIFT;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(target_arch = "aarch64")]
mod counter {
    use core::arch::asm;

    /// The virtual count (Arm ARM D13.8.29, CNTVCT_EL0). The barrier keeps two reads in order.
    pub(super) fn read() -> u64 {
        let count: u64;
        // SAFETY: reads a counter that firmware leaves readable at every exception level; no
        // memory and no flags are touched.
        unsafe {
            asm!("isb", "mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags));
        }
        count
    }

    /// Ticks per second (Arm ARM D13.8.3, CNTFRQ_EL0).
    pub(super) fn frequency() -> u64 {
        let frequency: u64;
        // SAFETY: reads a constant register; no memory and no flags are touched.
        unsafe {
            asm!("mrs {}, cntfrq_el0", out(reg) frequency, options(nomem, nostack, preserves_flags));
        }
        frequency
    }
}

#[cfg(target_arch = "x86_64")]
mod counter {
    use core::arch::asm;
    use core::arch::x86_64::__cpuid;
    use core::time::Duration;

    use uefi::boot;

    /// The time stamp counter. The fence keeps two reads in order.
    pub(super) fn read() -> u64 {
        let low: u32;
        let high: u32;
        // SAFETY: reads a counter that every x86_64 processor has; no memory is touched.
        unsafe {
            asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nomem, nostack));
        }
        u64::from(high) << 32 | u64::from(low)
    }

    /// Ticks per second, from CPUID where the processor tells it, else measured.
    pub(super) fn frequency() -> u64 {
        told().unwrap_or_else(measured)
    }

    /// CPUID leaf 15h: crystal frequency times a ratio (Intel SDM volume 2A, CPUID).
    fn told() -> Option<u64> {
        const TIME_STAMP_COUNTER: u32 = 0x15;
        if __cpuid(0).eax < TIME_STAMP_COUNTER {
            return None;
        }
        let leaf = __cpuid(TIME_STAMP_COUNTER);
        if leaf.eax == 0 || leaf.ebx == 0 || leaf.ecx == 0 {
            return None;
        }
        Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax))
    }

    /// The slowest of many short measurements: `Stall` never returns early, and what delays its
    /// return makes the counter look fast. A busy host takes the processor away for longer than a
    /// sample.
    fn measured() -> u64 {
        const SAMPLE: Duration = Duration::from_millis(1);
        const SAMPLES: usize = 15;
        let sample = || {
            let before = read();
            boot::stall(SAMPLE);
            read().saturating_sub(before)
        };
        let ticks = (0..SAMPLES).map(|_| sample()).min();
        ticks.unwrap_or_default() * 1000
    }
}
