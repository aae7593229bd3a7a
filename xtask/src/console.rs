//! The serial console of a machine, watched: text is waited for in order, each with a time limit,
//! and everything is kept in a log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How an expectation ended.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The text came, this long after the machine was started.
    Text(Duration),
    /// The machine ended.
    End(Duration),
    /// Text that must not appear came instead.
    Forbidden(String),
    /// Neither came in time.
    TimedOut,
}

/// A console being read by a thread of its own.
#[derive(Debug)]
pub(crate) struct Console {
    started: Instant,
    chunks: Receiver<(Duration, String)>,
    /// What has been read and not yet matched, with the time each piece came.
    unread: String,
    arrivals: VecDeque<(usize, Duration)>,
    forbidden: Vec<String>,
    ended: Option<Duration>,
}

impl Console {
    /// Starts reading. The text goes to the file `log`, and to our own output if `live`: without
    /// control sequences, since firmware asks the terminal questions that nobody is to answer.
    pub(crate) fn watch(
        mut source: impl Read + Send + 'static,
        log: &Path,
        live: bool,
        forbidden: &[String],
    ) -> Result<Self> {
        // A machine that is started again goes on in it.
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot create {}", log.display()))?;
        let (sender, chunks) = mpsc::channel();
        let started = Instant::now();
        std::thread::spawn(move || {
            let mut cleaner = Cleaner::default();
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                let text = cleaner.clean(&buffer[..count]);
                // A full disk or a closed terminal must not stop the machine.
                let _ = log.write_all(text.as_bytes());
                if live {
                    let mut out = std::io::stdout().lock();
                    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                }
                if sender.send((started.elapsed(), text)).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            started,
            chunks,
            unread: String::new(),
            arrivals: VecDeque::new(),
            forbidden: forbidden.to_vec(),
            ended: None,
        })
    }

    /// Waits for `text` and forgets everything up to its end.
    pub(crate) fn expect(&mut self, text: &str, within: Duration) -> Seen {
        let deadline = Instant::now() + within;
        loop {
            // In order: what must not come counts only if it came before what is awaited.
            let found = self.unread.find(text);
            if let Some(bad) = self.forbidden_before(found) {
                return Seen::Forbidden(bad);
            }
            if let Some(at) = found {
                return Seen::Text(self.consume(at + text.len()));
            }
            if let Some(end) = self.ended {
                return Seen::End(end);
            }
            if !self.receive(deadline) {
                return Seen::TimedOut;
            }
        }
    }

    /// Waits for the machine to end.
    pub(crate) fn expect_end(&mut self, within: Duration) -> Seen {
        let deadline = Instant::now() + within;
        while self.ended.is_none() {
            if let Some(bad) = self.forbidden_before(None) {
                return Seen::Forbidden(bad);
            }
            if !self.receive(deadline) {
                return Seen::TimedOut;
            }
        }
        self.ended.map_or(Seen::TimedOut, Seen::End)
    }

    /// Time since the machine was started.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The last lines that were read and not matched: what to show when an expectation fails.
    pub(crate) fn last_lines(&self, count: usize) -> String {
        crate::sh::tail(&self.unread, count)
    }

    fn forbidden_before(&self, limit: Option<usize>) -> Option<String> {
        let region = &self.unread[..limit.unwrap_or(self.unread.len())];
        let (at, _) = self
            .forbidden
            .iter()
            .filter_map(|bad| region.find(bad.as_str()).map(|at| (at, bad)))
            .min()?;
        let line = region[at..].lines().next().unwrap_or_default();
        Some(line.to_owned())
    }

    fn receive(&mut self, deadline: Instant) -> bool {
        let wait = deadline.saturating_duration_since(Instant::now());
        match self.chunks.recv_timeout(wait) {
            Ok((time, text)) => {
                self.unread.push_str(&text);
                self.arrivals.push_back((self.unread.len(), time));
                true
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.ended = Some(self.started.elapsed());
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
        }
    }

    /// Drops the first `count` bytes; the time when the last of them came.
    fn consume(&mut self, count: usize) -> Duration {
        let time = self
            .arrivals
            .iter()
            .find(|(end, _)| *end >= count)
            .map_or_else(|| self.started.elapsed(), |(_, time)| *time);
        self.unread.drain(..count);
        self.arrivals = self
            .arrivals
            .iter()
            .filter(|(end, _)| *end > count)
            .map(|(end, time)| (end - count, *time))
            .collect();
        time
    }
}

/// Stands for the erasing of the screen.
pub(crate) const PAGE: char = '\x0c';

/// Takes terminal control sequences and carriage returns out of a byte stream.
#[derive(Debug, Default)]
struct Cleaner {
    state: Escape,
}

#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    None,
    /// ESC was read.
    Begun,
    /// `ESC [` was read: ends with a byte in 0x40..=0x7e (ECMA-48 5.4).
    Control,
}

impl Cleaner {
    fn clean(&mut self, bytes: &[u8]) -> String {
        let mut text = String::new();
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (_, 0x1b) => Escape::Begun,
                (Escape::Begun, b'[') => Escape::Control,
                // A screen begins or ends: what comes next is no part of the line before.
                (Escape::Control, b'J') => {
                    text.push(PAGE);
                    text.push('\n');
                    Escape::None
                }
                (Escape::Control, 0x40..=0x7e) | (Escape::Begun, _) => Escape::None,
                (Escape::Control, _) => Escape::Control,
                (Escape::None, b'\n' | b'\t' | b' '..=b'~') => {
                    text.push(char::from(byte));
                    Escape::None
                }
                (Escape::None, _) => Escape::None,
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn console(text: &str, forbidden: &[&str]) -> Console {
        let forbidden: Vec<String> = forbidden.iter().map(|text| (*text).to_owned()).collect();
        let log = tempfile::NamedTempFile::new().unwrap();
        Console::watch(Cursor::new(text.to_owned()), log.path(), false, &forbidden).unwrap()
    }

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn text_is_matched_in_order_and_without_escape_sequences() {
        let mut console = console("\x1b[2J\x1b[1;1Hone \x1b[37mtwo\r\nthree", &[]);
        let page = format!("{PAGE}\none two\nth");
        assert!(matches!(console.expect(&page, SOON), Seen::Text(_)));
        assert!(matches!(console.expect("ree", SOON), Seen::Text(_)));
        assert!(matches!(console.expect("one", SOON), Seen::End(_)));
    }

    #[test]
    fn forbidden_text_counts_only_before_the_expected() {
        let mut console = console("good\nKernel panic - no\n", &["Kernel panic"]);
        assert!(matches!(console.expect("good", SOON), Seen::Text(_)));
        let Seen::Forbidden(line) = console.expect("better", SOON) else {
            panic!()
        };
        assert_eq!(line, "Kernel panic - no");
    }

    #[test]
    fn waiting_ends() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut console = Console::watch(reader, log.path(), false, &[]).unwrap();
        assert!(matches!(
            console.expect("x", Duration::from_millis(20)),
            Seen::TimedOut
        ));
    }
}
