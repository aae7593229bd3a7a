//! INQUIRY data: the standard page and vital product data (SPC-4 sections 6.6 and 7.8,
//! SBC-3 section 6.6), as an initiator reads it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{u16_at, u32_at};

/// Vital product data page codes.
pub mod page {
    /// Supported VPD pages.
    pub const SUPPORTED: u8 = 0x00;
    /// Unit serial number.
    pub const UNIT_SERIAL_NUMBER: u8 = 0x80;
    /// Device identification.
    pub const DEVICE_IDENTIFICATION: u8 = 0x83;
    /// Extended INQUIRY data.
    pub const EXTENDED_INQUIRY: u8 = 0x86;
    /// Third-party copy.
    pub const THIRD_PARTY_COPY: u8 = 0x8f;
    /// Block limits.
    pub const BLOCK_LIMITS: u8 = 0xb0;
    /// Block device characteristics.
    pub const BLOCK_DEVICE_CHARACTERISTICS: u8 = 0xb1;
    /// Logical block provisioning.
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0xb2;
}

/// Standard INQUIRY data (SPC-4 section 6.6.2), the part people look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// 0 a unit is there, 1 it could be, 3 there can be none.
    pub peripheral_qualifier: u8,
    /// 0 is a direct access block device (a disk), 5 a CD/DVD.
    pub device_type: u8,
    /// The medium can be removed.
    pub removable: bool,
    /// T10 vendor identification.
    pub vendor: String,
    /// Product identification.
    pub product: String,
    /// Product revision level.
    pub revision: String,
}

impl Inquiry {
    /// Reads standard INQUIRY data. `None` where it is shorter than the 36 bytes all have.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let data: &[u8; 36] = data.first_chunk()?;
        Some(Self {
            peripheral_qualifier: data[0] >> 5,
            device_type: data[0] & 0x1f,
            removable: data[1] & 0x80 != 0,
            vendor: text(&data[8..16]),
            product: text(&data[16..32]),
            revision: text(&data[32..36]),
        })
    }

    /// A disk that is there.
    #[must_use]
    pub const fn is_disk(&self) -> bool {
        self.peripheral_qualifier == 0 && self.device_type == 0
    }
}

impl fmt::Display for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.peripheral_qualifier != 0 {
            return f.write_str("no logical unit");
        }
        let kind = match self.device_type {
            0x00 => "disk",
            0x01 => "tape",
            0x05 => "CD/DVD",
            0x0c => "array controller",
            0x0e => "simplified disk",
            0x1e => "well known logical unit",
            other => {
                return write!(
                    f,
                    "{} {} (device type {other:#x})",
                    self.vendor, self.product
                );
            }
        };
        write!(
            f,
            "{} {} {} ({kind})",
            self.vendor, self.product, self.revision
        )
    }
}

/// The bytes of a vital product data page behind its header, if it is the page asked for.
#[must_use]
pub fn vpd_payload(data: &[u8], page: u8) -> Option<&[u8]> {
    if *data.get(1)? != page {
        return None;
    }
    let length = usize::from(u16_at(data, 2)?);
    let payload = data.get(4..)?;
    Some(payload.get(..length).unwrap_or(payload))
}

/// The unit serial number (VPD page 80h).
#[must_use]
pub fn serial_number(data: &[u8]) -> Option<String> {
    vpd_payload(data, page::UNIT_SERIAL_NUMBER).map(text)
}

/// The pages a unit has (VPD page 00h).
#[must_use]
pub fn supported_pages(data: &[u8]) -> Option<Vec<u8>> {
    vpd_payload(data, page::SUPPORTED).map(<[u8]>::to_vec)
}

/// How much to ask for in one command (VPD page B0h); 0 is "no limit told".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockLimits {
    /// OPTIMAL TRANSFER LENGTH GRANULARITY in blocks.
    pub optimal_granularity: u16,
    /// MAXIMUM TRANSFER LENGTH in blocks.
    pub maximum_transfer: u32,
    /// OPTIMAL TRANSFER LENGTH in blocks.
    pub optimal_transfer: u32,
}

impl BlockLimits {
    /// Reads VPD page B0h.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let payload = vpd_payload(data, page::BLOCK_LIMITS)?;
        Some(Self {
            optimal_granularity: u16_at(payload, 2)?,
            maximum_transfer: u32_at(payload, 4)?,
            optimal_transfer: u32_at(payload, 8)?,
        })
    }
}

/// Printable text without the padding.
fn text(field: &[u8]) -> String {
    let shown: String = field
        .iter()
        .map(|&byte| {
            if matches!(byte, 0x20..=0x7e) {
                char::from(byte)
            } else {
                ' '
            }
        })
        .collect();
    String::from(shown.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_data_is_read() {
        let mut data = [0; 36];
        data[8..16].copy_from_slice(b"IET     ");
        data[16..32].copy_from_slice(b"VIRTUAL-DISK    ");
        data[32..36].copy_from_slice(b"0001");
        let inquiry = Inquiry::parse(&data).unwrap();
        assert!(inquiry.is_disk());
        assert_eq!(inquiry.to_string(), "IET VIRTUAL-DISK 0001 (disk)");
        data[0] = 0x7f;
        assert_eq!(
            Inquiry::parse(&data).unwrap().to_string(),
            "no logical unit"
        );
        assert_eq!(Inquiry::parse(&data[..35]), None);
    }

    #[test]
    fn pages_are_read_as_far_as_they_go() {
        let page = [
            0, 0x80, 0, 8, b' ', b'a', b'1', 0x1b, b' ', b' ', b' ', b' ',
        ];
        assert_eq!(serial_number(&page).unwrap(), "a1");
        assert_eq!(serial_number(&page[..7]).unwrap(), "a1");
        assert_eq!(serial_number(&page[..3]), None);
        assert_eq!(supported_pages(&page), None);
    }
}
