//! The seam below the network: a card that takes and gives whole Ethernet frames.

use core::fmt;
use core::time::Duration;

/// Monotonic time since a fixed but arbitrary moment.
pub trait Clock {
    /// Now. Never goes back.
    fn now(&self) -> Duration;
}

/// A network card: whole Ethernet II frames in and out, without the frame check sequence.
///
/// Implemented over EFI Simple Network (`loader/`), the simulated wire (`crates/sim`) and TAP.
/// No call blocks.
pub trait Nic {
    /// The station address.
    fn mac(&self) -> [u8; 6];

    /// Copies the next waiting frame into `frame` (at least [`FRAME_MAX`] bytes) and returns its
    /// length, or `None` where nothing waits. The length may count trailing padding or a frame
    /// check sequence: the IP header tells the true length.
    ///
    /// # Errors
    /// [`NicError`] when the card failed; the stack reports it once and polls on.
    fn receive(&mut self, frame: &mut [u8]) -> Result<Option<usize>, NicError>;

    /// Sends one frame; the card has its own copy when this returns.
    ///
    /// # Errors
    /// [`NicError`] when the card does not take the frame; the caller treats it as lost.
    fn transmit(&mut self, frame: &[u8]) -> Result<(), NicError>;

    /// Whether a cable is plugged in, where the card can tell.
    fn link(&self) -> Link;

    /// How many frames may be outstanding towards this card, by what is known of it. Asked again
    /// whenever a connection opens: frames that came may have shown that the limit can be higher.
    fn receive_ring(&self) -> ReceiveRing;

    /// Stops the card. Called once, also at ExitBootServices: must not allocate or wait.
    fn shutdown(&mut self);
}

/// The largest frame a [`Nic`] carries: Ethernet header, 802.1Q tag, 1500 bytes, check sequence.
pub const FRAME_MAX: usize = 14 + 4 + 1500 + 4;

/// Link state as the card tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A carrier is there.
    Up,
    /// No carrier.
    Down,
    /// The card cannot tell: go on as if it were up.
    Unknown,
}

/// What the card can hold while nobody polls it, in full-size frames.
///
/// `initial` is where the receive budget starts, `limit` what it may grow to while nothing is
/// lost. A card that dies on overflow has `initial == limit`, with room left for strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveRing {
    /// Frames in flight at the start.
    pub initial: usize,
    /// Frames in flight at most.
    pub limit: usize,
}

/// The card refused a frame or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NicError {
    /// The firmware's status code (UEFI 2.10 Appendix D), or an errno on a host.
    pub status: usize,
}

impl fmt::Display for NicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the network card failed with status {:#x}", self.status)
    }
}

impl core::error::Error for NicError {}
