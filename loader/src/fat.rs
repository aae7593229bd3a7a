//! The label of a FAT volume, for firmware that does not tell it.

use alloc::string::String;

use crate::bytes::array;

/// The label in the first block of a volume (Microsoft, "FAT: General Overview of On-Disk
/// Format", version 1.03, the extended BIOS parameter blocks). `None` where there is none.
#[must_use]
pub fn volume_label(block: &[u8]) -> Option<String> {
    (block.get(510..512)? == [0x55, 0xaa]).then_some(())?;
    // FAT12 and FAT16 have their extended block at 38, FAT32 at 66; its label is at 5.
    let label: [u8; 11] = [66, 38].into_iter().find_map(|at| {
        let kind: [u8; 3] = array(block, at + 16)?;
        (block.get(at) == Some(&EXTENDED) && kind == *b"FAT").then_some(())?;
        array(block, at + 5)
    })?;
    let label = str::from_utf8(&label).ok()?.trim();
    (!label.is_empty() && label != "NO NAME").then(|| label.into())
}

/// The signature that says that label and kind are there.
const EXTENDED: u8 = 0x29;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn block(at: usize, label: &[u8; 11], kind: &[u8; 8]) -> Vec<u8> {
        let mut block = vec![0; 512];
        block[at] = 0x29;
        block[at + 5..at + 16].copy_from_slice(label);
        block[at + 16..at + 24].copy_from_slice(kind);
        block[510..].copy_from_slice(&[0x55, 0xaa]);
        block
    }

    #[test]
    fn labels_of_both_forms() {
        let label = |block: &[u8]| volume_label(block);
        assert_eq!(
            label(&block(66, b"ESP        ", b"FAT32   ")).as_deref(),
            Some("ESP")
        );
        assert_eq!(
            label(&block(38, b"MY DISK    ", b"FAT16   ")).as_deref(),
            Some("MY DISK")
        );
        assert_eq!(label(&block(66, b"NO NAME    ", b"FAT32   ")), None);
        assert_eq!(label(&block(66, b"ESP        ", b"NTFS    ")), None);
        assert_eq!(label(b""), None);
    }
}
