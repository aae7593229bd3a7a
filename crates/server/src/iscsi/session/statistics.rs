//! Counts of a session and of a target.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What a session has done so far. Written by the session, read by whoever asks.
#[derive(Debug, Default)]
pub(in crate::iscsi) struct Statistics {
    commands: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// Numbers at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// SCSI commands that have arrived.
    pub commands: u64,
    /// Bytes that went to initiators, headers included,
    pub sent: u64,
    /// and that came from them.
    pub received: u64,
}

impl Statistics {
    pub(in crate::iscsi) fn command(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::iscsi) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(in crate::iscsi) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(in crate::iscsi) fn counts(&self) -> Counts {
        Counts {
            commands: self.commands.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.commands += other.commands;
        self.sent += other.sent;
        self.received += other.received;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        let Self {
            commands,
            sent,
            received,
        } = self;
        let (sent, received) = (sent / MIB, received / MIB);
        write!(
            f,
            "{commands} commands, {sent} MiB sent, {received} MiB received"
        )
    }
}
