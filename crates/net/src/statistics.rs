//! What a stack counts.

use crate::NicError;
use crate::frame::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, field16};

/// What the stack has counted since it began, and the receive budget of its card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames taken from the card.
    pub received: u64,
    /// Frames given to the card.
    pub sent: u64,
    /// Packets of IPv4,
    pub ipv4: Packets,
    /// and of IPv6.
    pub ipv6: Packets,
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

/// What has been counted of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Well-formed packets that came.
    pub received: u64,
    /// Packets given to the card.
    pub sent: u64,
}

impl Statistics {
    /// The counters of a frame's protocol.
    pub(crate) fn packets(&mut self, frame: &[u8]) -> Option<&mut Packets> {
        match field16(frame, 12)? {
            ETHERTYPE_IPV4 => Some(&mut self.ipv4),
            ETHERTYPE_IPV6 => Some(&mut self.ipv6),
            _ => None,
        }
    }
}
