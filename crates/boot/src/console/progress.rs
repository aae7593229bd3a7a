//! A transfer's one line: rewritten with carriage returns, at most twice a second.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::Cell;
use core::fmt;
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
    /// Bytes of the line that was shown last, which a shorter one has to cover.
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
            platform.console().write(&format!("{label}{DOTS}"));
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
        let elapsed = now.saturating_sub(self.started);
        let speed = rate(done, elapsed);
        self.show_on_line(&match total.filter(|&total| total > 0) {
            Some(total) => format!(
                "{} {}% of {}, {speed}{}",
                bar(done, total),
                percent(done, total),
                size(total),
                left(done, total, elapsed)
            ),
            None => format!("{}, {speed}", size(done)),
        });
    }

    /// Tells why nothing happens for a while.
    pub(crate) fn pause(&self, reason: impl fmt::Display, pause: Duration) {
        if !self.quiet {
            let seconds = pause.as_millis().div_ceil(1000);
            self.show(&format!("{reason}; again in {seconds} s"));
        }
    }

    /// Ends the line: `<label>... <verdict>`.
    pub(crate) fn end(self, verdict: &str) {
        if !self.quiet {
            self.show(verdict);
        }
    }

    /// Shows a text that another one will replace: it has to stay on one line, so a long label
    /// loses its beginning.
    fn show_on_line(&self, text: &str) {
        let (columns, _) = self.platform.console().size();
        let room = usize::from(columns).saturating_sub(text.len() + DOTS.len() + 2);
        let label = match self.label.char_indices().rev().nth(room) {
            Some((at, first)) => self.label.get(at + first.len_utf8()..).unwrap_or_default(),
            None => self.label.as_str(),
        };
        let line = format!("{label}{DOTS} {text}");
        let covered = self.shown.replace(line.len());
        // The label that the line began with may be longer than the line.
        let begun = self.label.len() + DOTS.len();
        let covered = covered.max(begun.min(columns.into()));
        let pad = covered.saturating_sub(line.len());
        self.platform
            .console()
            .write(&format!("\r{line}{:pad$}", ""));
    }

    fn show(&self, text: &str) {
        let line = format!("{}{DOTS} {text}", self.label);
        let written = match self.shown.replace(line.len()) {
            0 => format!(" {text}"),
            covered => {
                let pad = covered.saturating_sub(line.len());
                format!("\r{line}{:pad$}", "")
            }
        };
        self.platform.console().write(&written);
    }
}

/// How far it is, as a picture: `[=====>    ]`.
fn bar(done: u64, total: u64) -> String {
    let filled = (percent(done, total) as usize * BAR / 100).min(BAR);
    let head = if filled < BAR { ">" } else { "" };
    format!(
        "[{:=<filled$}{head}{:empty$}]",
        "",
        "",
        empty = BAR.saturating_sub(filled + 1)
    )
}

/// The time that is left at the speed so far: `, 1:05 left`.
fn left(done: u64, total: u64, elapsed: Duration) -> String {
    let rest = total.saturating_sub(done);
    if done == 0 || rest == 0 {
        return String::new();
    }
    let millis = elapsed.as_millis() * u128::from(rest) / u128::from(done);
    let seconds = millis.div_ceil(1000);
    format!(", {}:{:02} left", seconds / 60, seconds % 60)
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

/// Between the label and the rest.
const DOTS: &str = "...";

/// The width of the bar.
const BAR: usize = 16;

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
        assert_eq!(bar(0, 100), "[>               ]");
        assert_eq!(bar(50, 100), "[========>       ]");
        assert_eq!(bar(99, 100), "[===============>]");
        assert_eq!(bar(100, 100), "[================]");
        assert_eq!(left(1, 66, Duration::from_secs(1)), ", 1:05 left");
        assert_eq!(left(1, 1, Duration::ZERO) + &left(0, 9, Duration::ZERO), "");
        assert_eq!(percent(1, 3), 33);
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
    }
}
