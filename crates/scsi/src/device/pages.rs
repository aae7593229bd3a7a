//! INQUIRY data of a [`LogicalUnit`]: standard data and vital product data pages
//! (SPC-4 sections 6.6.2 and 7.8, SBC-3 section 6.6).

use alloc::vec::Vec;

use super::LogicalUnit;
use crate::bytes::push_padded;
use crate::inquiry::page;

/// The pages, in ascending order (SPC-4 section 7.8.14).
const PAGES: [u8; 6] = [
    page::SUPPORTED,
    page::UNIT_SERIAL_NUMBER,
    page::DEVICE_IDENTIFICATION,
    page::BLOCK_LIMITS,
    page::BLOCK_DEVICE_CHARACTERISTICS,
    page::LOGICAL_BLOCK_PROVISIONING,
];

/// What we follow (SPC-4 table 142): SAM-5, iSCSI, SPC-4, SBC-3.
const VERSION_DESCRIPTORS: [u16; 4] = [0x00a0, 0x0960, 0x0460, 0x04c0];

/// Longest serial number shown.
const SERIAL_MAX: usize = 32;

pub(super) fn standard(unit: &LogicalUnit) -> Vec<u8> {
    let mut data = alloc::vec![
        0x00, // connected, direct access block device
        0x00, // not removable
        0x06, // SPC-4
        0x12, // HISUP, response data format 2
        91,   // additional length: 96 bytes in all
        0x00, // no protection information, no third party copy, no ALUA
        0x00, 0x02, // CMDQUE
    ];
    push_padded(&mut data, &unit.vendor, 8);
    push_padded(&mut data, &unit.product, 16);
    push_padded(&mut data, &unit.revision, 4);
    data.resize(58, 0);
    for descriptor in VERSION_DESCRIPTORS {
        data.extend(descriptor.to_be_bytes());
    }
    data.resize(96, 0);
    data
}

/// For a logical unit number without a unit: qualifier 011b, type 1Fh (SPC-4 section 6.6.2).
pub(super) fn standard_absent() -> Vec<u8> {
    let mut data = alloc::vec![0x7f, 0x00, 0x06, 0x12, 31];
    data.resize(36, 0);
    data
}

/// A vital product data page, if the unit has it.
pub(super) fn vital(unit: &LogicalUnit, code: u8) -> Option<Vec<u8>> {
    let payload = match code {
        page::SUPPORTED => PAGES.to_vec(),
        page::UNIT_SERIAL_NUMBER => serial(unit),
        page::DEVICE_IDENTIFICATION => device_identification(unit),
        page::BLOCK_LIMITS => block_limits(unit),
        page::BLOCK_DEVICE_CHARACTERISTICS => {
            let mut payload = alloc::vec![0, 1]; // MEDIUM ROTATION RATE: does not rotate
            payload.resize(0x3c, 0);
            payload
        }
        page::LOGICAL_BLOCK_PROVISIONING => alloc::vec![0; 4], // fully provisioned, no UNMAP
        _ => return None,
    };
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut data = alloc::vec![0x00, code];
    data.extend(length.to_be_bytes());
    data.extend(payload);
    Some(data)
}

fn serial(unit: &LogicalUnit) -> Vec<u8> {
    let mut payload = Vec::new();
    push_padded(
        &mut payload,
        &unit.serial,
        unit.serial.len().min(SERIAL_MAX),
    );
    payload
}

/// Two designators of the logical unit (SPC-4 section 7.8.6): a locally assigned NAA, short and
/// what most systems name a disk by, and one from vendor and serial number, readable.
fn device_identification(unit: &LogicalUnit) -> Vec<u8> {
    const BINARY: u8 = 1;
    const ASCII: u8 = 2;
    const T10_VENDOR: u8 = 1;
    const NAA: u8 = 3;

    let mut vendor = Vec::new();
    push_padded(&mut vendor, &unit.vendor, 8);
    vendor.extend(serial(unit));
    let naa = 3 << 60 | fnv1a(&vendor) >> 4;

    let mut payload = alloc::vec![BINARY, NAA, 0, 8];
    payload.extend(naa.to_be_bytes());
    payload.extend([
        ASCII,
        T10_VENDOR,
        0,
        u8::try_from(vendor.len()).unwrap_or(0),
    ]);
    payload.extend(vendor);
    payload
}

/// SBC-3 section 6.6.3.
fn block_limits(unit: &LogicalUnit) -> Vec<u8> {
    let granularity = 1_u16 << unit.physical_block_exponent.min(15);
    let optimal = (1024 * 1024 / unit.block_size.max(1)).min(unit.transfer_blocks_max);
    let mut payload = alloc::vec![0, 0]; // no COMPARE AND WRITE
    payload.extend(granularity.to_be_bytes());
    payload.extend(unit.transfer_blocks_max.to_be_bytes());
    payload.extend(optimal.to_be_bytes());
    payload.resize(0x3c, 0);
    payload
}

/// FNV-1a, 64 bits: spreads a serial number over a designator. Not for security.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
