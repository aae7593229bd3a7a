//! A small seeded generator (SplitMix64) for transaction ids and jitter.
//!
//! Not for secrets: DHCP has none. The seed comes from the caller, so a run can be replayed.

use core::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// `pause` by chance up to a quarter shorter or longer, so that machines which were switched
    /// on together do not stay in step (RFC 2131 §4.1).
    pub(crate) fn jitter(&mut self, pause: Duration) -> Duration {
        let percent = 75 + self.next_u32() % 51;
        pause.saturating_mul(percent) / 100
    }
}
