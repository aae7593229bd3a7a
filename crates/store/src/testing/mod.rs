//! The worlds that a disk is tried in: storage that loses power or fails, and a model to compare
//! with.

pub(crate) mod drive;
pub(crate) mod trial;

pub(crate) use drive::{Drive, Image, SECTOR};
pub(crate) use trial::Trial;

/// xorshift64*: the tests are repeatable and need no crate for it.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
