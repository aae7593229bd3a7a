//! Status codes (SAM-5 section 5.3.1).

use core::fmt;

/// How a command ended, as the device says it. An open set: any byte may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// Done.
    pub const GOOD: Self = Self(0x00);
    /// Not done, or done with something to say: sense data tells what.
    pub const CHECK_CONDITION: Self = Self(0x02);
    /// A PRE-FETCH whose blocks all fit in the cache.
    pub const CONDITION_MET: Self = Self(0x04);
    /// The logical unit is busy: ask again.
    pub const BUSY: Self = Self(0x08);
    /// Another initiator holds a reservation.
    pub const RESERVATION_CONFLICT: Self = Self(0x18);
    /// No room for another command.
    pub const TASK_SET_FULL: Self = Self(0x28);
    /// An auto contingent allegiance is in the way.
    pub const ACA_ACTIVE: Self = Self(0x30);
    /// Aborted by another initiator.
    pub const TASK_ABORTED: Self = Self(0x40);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::GOOD => "GOOD",
            Self::CHECK_CONDITION => "CHECK CONDITION",
            Self::CONDITION_MET => "CONDITION MET",
            Self::BUSY => "BUSY",
            Self::RESERVATION_CONFLICT => "RESERVATION CONFLICT",
            Self::TASK_SET_FULL => "TASK SET FULL",
            Self::ACA_ACTIVE => "ACA ACTIVE",
            Self::TASK_ABORTED => "TASK ABORTED",
            Self(other) => return write!(f, "status {other:#04x}"),
        })
    }
}
