//! The receiving end without I/O.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::frame::field16;

/// Packet types (RFC 1350 section 5, RFC 2347).
const READ_REQUEST: u16 = 1;
const DATA: u16 = 3;
const ACKNOWLEDGEMENT: u16 = 4;
const ERROR: u16 = 5;
const OPTIONS: u16 = 6;
/// The block length of a server that knows no options (RFC 1350 section 2).
const DEFAULT_BLOCK: usize = 512;
/// Characters of the server's words that are shown.
const MESSAGE_MAX: usize = 200;

/// What a packet means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Nothing.
    Ignore,
    /// The server has taken options; the file may have a length.
    Begin { total: Option<u64> },
    /// The next piece of the file.
    Data {
        data: &'a [u8],
        acknowledge: bool,
        ends: bool,
    },
    /// A block is missing, or ours got lost: what came last is to be acknowledged (again).
    Repeat,
    /// The server says no.
    Refused { code: u16, message: String },
}

/// A transfer.
#[derive(Debug)]
pub(super) struct Receiver {
    path: String,
    wanted_block: usize,
    wanted_window: usize,
    block: usize,
    window: usize,
    total: Option<u64>,
    /// The number of the last block in order; they go round.
    last: u16,
    /// Blocks in order since the last acknowledgement.
    unacknowledged: usize,
    has_begun: bool,
    /// A block beyond a gap has been answered; not again for each of the window.
    has_complained: bool,
}

impl Receiver {
    pub(super) fn new(path: &str, block: usize, window: usize) -> Self {
        Self {
            path: path.into(),
            wanted_block: block,
            wanted_window: window.max(1),
            block: DEFAULT_BLOCK,
            window: 1,
            total: None,
            last: 0,
            unacknowledged: 0,
            has_begun: false,
            has_complained: false,
        }
    }

    /// The length of the file, where the server has told.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// The request that begins it all.
    pub(super) fn request(&self) -> Vec<u8> {
        let (block, window) = (
            self.wanted_block.to_string(),
            self.wanted_window.to_string(),
        );
        let mut packet = READ_REQUEST.to_be_bytes().to_vec();
        let fields = [
            &*self.path,
            "octet",
            "tsize",
            "0",
            "blksize",
            &*block,
            "windowsize",
            &*window,
        ];
        for field in fields {
            packet.extend(field.bytes().filter(|byte| *byte != 0));
            packet.push(0);
        }
        packet
    }

    /// The acknowledgement of everything up to the last block in order.
    pub(super) fn acknowledgement(&mut self) -> Vec<u8> {
        self.unacknowledged = 0;
        [ACKNOWLEDGEMENT.to_be_bytes(), self.last.to_be_bytes()].concat()
    }

    /// Takes a packet of the server.
    pub(super) fn handle<'a>(&mut self, packet: &'a [u8]) -> Step<'a> {
        let Some(rest) = packet.get(2..) else {
            return Step::Ignore;
        };
        match field16(packet, 0) {
            Some(OPTIONS) => self.take_options(rest),
            Some(DATA) => match rest.split_first_chunk() {
                Some((number, data)) => self.take_block(u16::from_be_bytes(*number), data),
                None => Step::Ignore,
            },
            Some(ERROR) => refusal(rest),
            _ => Step::Ignore,
        }
    }

    fn take_options(&mut self, rest: &[u8]) -> Step<'static> {
        if self.has_begun {
            // Our acknowledgement of the options got lost.
            return if self.last == 0 {
                Step::Repeat
            } else {
                Step::Ignore
            };
        }
        let mut words = rest.split(|byte| *byte == 0).map(core::str::from_utf8);
        while let (Some(Ok(name)), Some(Ok(value))) = (words.next(), words.next()) {
            let Ok(value) = value.parse::<u64>() else {
                continue;
            };
            let at_most = |limit: usize| usize::try_from(value).unwrap_or(limit).clamp(1, limit);
            match &*name.to_ascii_lowercase() {
                "tsize" => self.total = Some(value),
                "blksize" => self.block = at_most(self.wanted_block),
                "windowsize" => self.window = at_most(self.wanted_window),
                _ => {}
            }
        }
        self.has_begun = true;
        Step::Begin { total: self.total }
    }

    fn take_block<'a>(&mut self, number: u16, data: &'a [u8]) -> Step<'a> {
        let ahead = number.wrapping_sub(self.last);
        if data.len() > self.block {
            return Step::Ignore;
        }
        match usize::from(ahead) {
            1 => {
                self.has_begun = true;
                self.has_complained = false;
                self.last = number;
                self.unacknowledged += 1;
                let ends = data.len() < self.block;
                Step::Data {
                    data,
                    acknowledge: ends || self.unacknowledged >= self.window,
                    ends,
                }
            }
            // The window is sent again from the first that is missing (RFC 7440 section 4).
            2.. if usize::from(ahead) <= self.window && !self.has_complained => {
                self.has_complained = true;
                Step::Repeat
            }
            // What was acknowledged comes again: the acknowledgement got lost.
            0 if self.unacknowledged == 0 && self.has_begun && self.last != 0 => Step::Repeat,
            _ => Step::Ignore,
        }
    }
}

fn refusal(rest: &[u8]) -> Step<'static> {
    let Some((code, words)) = rest.split_first_chunk() else {
        return Step::Ignore;
    };
    let words = words.split(|byte| *byte == 0).next().unwrap_or_default();
    let message: String = String::from_utf8_lossy(words)
        .chars()
        .filter(|character| !character.is_control())
        .take(MESSAGE_MAX)
        .collect();
    Step::Refused {
        code: u16::from_be_bytes(*code),
        message,
    }
}
