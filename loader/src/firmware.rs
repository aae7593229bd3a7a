//! What is known about the firmware from its vendor and revision.
//!
//! The receive limits were measured; docs/firmware-notes.md has the table.

use alloc::format;
use alloc::string::String;

use bowline_net::ReceiveRing;

use crate::check_sequence::CheckSequence;

/// The name U-Boot gives itself in the system table.
const U_BOOT: &str = "Das U-Boot";

/// The revision of U-Boot 2025.10, the first whose virtio-net driver survives a full ring.
const U_BOOT_RING_FIXED: u32 = 0x2025_1000;

/// Vendor and revision of the firmware, from the system table (UEFI 2.10 section 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// `FirmwareVendor`.
    pub vendor: String,
    /// `FirmwareRevision`, in the vendor's own encoding.
    pub revision: u32,
}

impl Firmware {
    /// Whether it is U-Boot.
    #[must_use]
    pub fn is_u_boot(&self) -> bool {
        self.vendor == U_BOOT
    }

    /// Vendor and revision as a person writes them: `Das U-Boot 2025.01`, `EDK II 2.70`.
    #[must_use]
    pub fn name(&self) -> String {
        let major = self.revision >> 16;
        if self.is_u_boot() {
            // Year, month and patch level, one decimal digit in each four bits.
            let month = self.revision >> 8 & 0xff;
            format!("{} {major:x}.{month:02x}", self.vendor)
        } else {
            let minor = self.revision & 0xffff;
            format!("{} {major}.{minor}", self.vendor)
        }
    }

    /// How many frames may be on their way to a card of this firmware, of which this is known.
    ///
    /// U-Boot before 2025.10 has 32 virtio-net buffers and never recovers from the 33rd frame:
    /// 24 leave eight for frames nobody asked for. Later ones only drop what they cannot hold, and
    /// so do its other drivers.
    #[must_use]
    pub fn receive_ring(&self, card: CheckSequence) -> ReceiveRing {
        let limit = match self {
            _ if !self.is_u_boot() || card.is_counted() => 512,
            _ if self.revision < U_BOOT_RING_FIXED => 24,
            _ => 64,
        };
        ReceiveRing { initial: 24, limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firmware(vendor: &str, revision: u32) -> Firmware {
        Firmware {
            vendor: vendor.into(),
            revision,
        }
    }

    #[test]
    fn u_boot_names_its_release_by_year_and_month() {
        assert_eq!(
            firmware("Das U-Boot", 0x2023_0100).name(),
            "Das U-Boot 2023.01"
        );
        assert_eq!(
            firmware("Das U-Boot", 0x2026_1000).name(),
            "Das U-Boot 2026.10"
        );
    }

    #[test]
    fn others_have_major_and_minor() {
        assert_eq!(firmware("EDK II", 0x0001_0000).name(), "EDK II 1.0");
    }

    #[test]
    fn a_ring_that_dies_on_overflow_does_not_grow() {
        let limit = |vendor, revision| {
            let ring = firmware(vendor, revision).receive_ring(CheckSequence::default());
            ring.limit
        };
        assert_eq!(limit("Das U-Boot", 0x2023_0100), 24);
        assert_eq!(limit("Das U-Boot", 0x2025_0700), 24);
        assert_eq!(limit("Das U-Boot", 0x2025_1000), 64);
        assert_eq!(limit("Das U-Boot", 0x2026_0100), 64);
        assert_eq!(limit("Debian distribution of EDK II", 0x2025_0200), 512);
    }

    #[test]
    fn a_card_that_cannot_be_virtio_may_have_more() {
        let mut frame = alloc::vec![0; 14 + 328 + 4];
        frame[12..18].copy_from_slice(&[8, 0, 0, 0, 1, 72]);
        let seen = CheckSequence::default().seen_in(&frame).seen_in(&frame);
        let ring = |seen| firmware("Das U-Boot", 0x2023_0100).receive_ring(seen);
        assert_eq!(ring(seen).limit, 24);
        assert_eq!(ring(seen.seen_in(&frame)).limit, 512);
    }
}
