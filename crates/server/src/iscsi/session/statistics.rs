//! Counts of a session.

use std::fmt;

/// What a session has done, for the log when it ends.
#[derive(Default)]
pub(super) struct Statistics {
    pub(super) commands: u64,
    /// Bytes that went to the initiator,
    pub(super) sent: u64,
    /// and that came from it.
    pub(super) received: u64,
}

impl fmt::Display for Statistics {
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
