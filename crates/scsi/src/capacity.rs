//! READ CAPACITY data (SBC-3 sections 5.15 and 5.16).

use alloc::vec::Vec;

use crate::bytes::{u32_at, u64_at};

/// What READ CAPACITY says of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Number of logical blocks. At least one, at most 2^64 - 1.
    pub blocks: u64,
    /// Length of a logical block in bytes.
    pub block_size: u32,
    /// 2^n logical blocks are one physical block.
    pub physical_block_exponent: u8,
    /// Unmapped blocks are possible (LBPME).
    pub thin: bool,
}

impl Capacity {
    /// Bytes of the whole disk, where they can be counted.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.blocks.checked_mul(u64::from(self.block_size))
    }

    /// Reads the data of READ CAPACITY (10). `None` where it is cut short. The inner `Err` is a
    /// disk too large for this form: ask with READ CAPACITY (16).
    #[must_use]
    pub fn parse10(data: &[u8]) -> Option<Result<Self, TooLarge>> {
        let last = u32_at(data, 0)?;
        let block_size = u32_at(data, 4)?;
        if last == u32::MAX {
            return Some(Err(TooLarge));
        }
        let blocks = u64::from(last) + 1;
        Some(Ok(Self {
            blocks,
            block_size,
            physical_block_exponent: 0,
            thin: false,
        }))
    }

    /// Reads the data of READ CAPACITY (16). `None` where it is cut short or absurd.
    #[must_use]
    pub fn parse16(data: &[u8]) -> Option<Self> {
        Some(Self {
            blocks: u64_at(data, 0)?.checked_add(1)?,
            block_size: u32_at(data, 8)?,
            physical_block_exponent: data.get(13).map_or(0, |byte| byte & 0x0f),
            thin: data.get(14).is_some_and(|byte| byte & 0x80 != 0),
        })
    }

    /// The data of READ CAPACITY (10).
    #[must_use]
    pub fn to_bytes10(&self) -> Vec<u8> {
        let last = u32::try_from(self.blocks.saturating_sub(1)).unwrap_or(u32::MAX);
        [last.to_be_bytes(), self.block_size.to_be_bytes()].concat()
    }

    /// The data of READ CAPACITY (16).
    #[must_use]
    pub fn to_bytes16(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(32);
        data.extend(self.blocks.saturating_sub(1).to_be_bytes());
        data.extend(self.block_size.to_be_bytes());
        data.extend([
            0,
            self.physical_block_exponent & 0x0f,
            if self.thin { LBPME | LBPRZ } else { 0 },
        ]);
        data.resize(32, 0);
        data
    }
}

/// There are unmapped blocks,
const LBPME: u8 = 0x80;
/// and they read as zeros.
const LBPRZ: u8 = 0x40;

/// The disk has more blocks than READ CAPACITY (10) can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_come_back() {
        let capacity = Capacity {
            blocks: 0x1_0000,
            block_size: 4096,
            physical_block_exponent: 3,
            thin: true,
        };
        assert_eq!(capacity.to_bytes10(), [0, 0, 0xff, 0xff, 0, 0, 0x10, 0]);
        assert_eq!(Capacity::parse16(&capacity.to_bytes16()), Some(capacity));
        let short = Capacity::parse10(&capacity.to_bytes10()).unwrap().unwrap();
        assert_eq!((short.blocks, short.block_size), (0x1_0000, 4096));
    }

    #[test]
    fn large_disks_ask_for_the_long_form() {
        let capacity = Capacity {
            blocks: 1 << 32,
            block_size: 512,
            physical_block_exponent: 0,
            thin: false,
        };
        assert_eq!(
            Capacity::parse10(&capacity.to_bytes10()),
            Some(Err(TooLarge))
        );
        assert_eq!(Capacity::parse16(&capacity.to_bytes16()), Some(capacity));
        assert_eq!(Capacity::parse16(&[0xff; 32]), None);
        assert_eq!(Capacity::parse10(&[0; 7]), None);
    }
}
