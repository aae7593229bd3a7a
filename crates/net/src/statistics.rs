//! What a stack counts.

use crate::NicError;

/// What the stack has counted since it began, and the receive budget of its card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames taken from the card.
    pub received: u64,
    /// Frames given to the card.
    pub sent: u64,
    /// Frames for others and of protocols that we do not speak.
    pub strangers: u64,
    /// Frames that were malformed, fragments, or failed their checksum.
    pub bad: u64,
    /// Times that the card failed to receive.
    pub receive_errors: u64,
    /// Frames that the card did not take.
    pub transmit_errors: u64,
    /// The last error of the card.
    pub last_error: Option<NicError>,
    /// Acknowledgements held back, to be sent together.
    pub held: u64,
    /// TCP segments sent again over the card.
    pub retransmissions: u64,
    /// TCP segments received again over the card.
    pub duplicates: u64,
    /// Losses seen by the receive budget.
    pub losses: u64,
    /// Frames that may be outstanding towards the card now.
    pub budget: usize,
    /// Frames that may be outstanding at most.
    pub budget_limit: usize,
}
