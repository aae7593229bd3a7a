//! A transfer's one line: rewritten with carriage returns, at most twice a second.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::Cell;
use core::time::Duration;

use crate::executor::Executor;
use crate::platform::Platform;

/// Shows how far a transfer is. The line is completed by [`Progress::end`].
pub(crate) struct Progress {
    platform: Rc<dyn Platform>,
    executor: Rc<Executor>,
    label: String,
    quiet: bool,
    started: Duration,
    next: Cell<Duration>,
    /// Characters shown after the label, which a shorter text has to cover.
    shown: Cell<usize>,
}

impl Progress {
    /// Begins the line: `<label>...`. A quiet one shows nothing but failures.
    pub(crate) fn begin(
        platform: Rc<dyn Platform>,
        executor: Rc<Executor>,
        label: String,
        quiet: bool,
    ) -> Self {
        if !quiet {
            platform.console().write(&format!("{label}..."));
        }
        let started = executor.now();
        let next = Cell::new(started.saturating_add(INTERVAL));
        Self {
            platform,
            executor,
            label,
            quiet,
            started,
            next,
            shown: Cell::new(0),
        }
    }

    /// Tells how far it is.
    pub(crate) fn advance(&self, done: u64, total: Option<u64>) {
        let now = self.executor.now();
        if self.quiet || now < self.next.get() {
            return;
        }
        self.next.set(now.saturating_add(INTERVAL));
        let speed = rate(done, now.saturating_sub(self.started));
        self.show(&match total.filter(|&total| total > 0) {
            Some(total) => format!("{}% of {}, {speed}", percent(done, total), size(total)),
            None => format!("{}, {speed}", size(done)),
        });
    }

    /// Ends the line: `<label>... <verdict>`.
    pub(crate) fn end(self, verdict: &str) {
        if !self.quiet {
            self.show(verdict);
        }
    }

    fn show(&self, text: &str) {
        let covered = self.shown.replace(text.len());
        let line = if covered == 0 {
            format!(" {text}")
        } else {
            format!(
                "\r{}... {text}{:pad$}",
                self.label,
                "",
                pad = covered.saturating_sub(text.len())
            )
        };
        self.platform.console().write(&line);
    }
}

/// Bytes in the unit a person reads.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// The line is completed, also where the transfer was cancelled.
impl Drop for Progress {
    fn drop(&mut self) {
        if !self.quiet {
            self.platform.console().write("\n");
        }
    }
}

fn rate(bytes: u64, elapsed: Duration) -> String {
    let millis = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    format!("{}/s", size(bytes.saturating_mul(1000) / millis))
}

fn percent(done: u64, total: u64) -> u64 {
    (u128::from(done) * 100 / u128::from(total.max(1))).min(100) as u64
}

/// Time between two pictures of the line.
const INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates_read_well() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(10_239), "10239 B");
        assert_eq!(size(10_240), "10 KiB");
        assert_eq!(size(64 << 20), "64 MiB");
        assert_eq!(rate(1 << 20, Duration::from_millis(500)), "2048 KiB/s");
        assert_eq!(rate(5, Duration::ZERO), "5000 B/s");
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
