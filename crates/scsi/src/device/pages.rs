//! INQUIRY data of a [`LogicalUnit`]: standard data and vital product data pages
//! (SPC-4 sections 6.6.2 and 7.8, SBC-3 section 6.6).

use alloc::vec::Vec;

use super::{COMPARE_AND_WRITE_BLOCKS_MAX, LogicalUnit, WRITE_SAME_BLOCKS_MAX};
use crate::Form;
use crate::bytes::push_padded;
use crate::copy;
use crate::inquiry::page;

/// The pages, in ascending order (SPC-4 section 7.8.14).
const PAGES: [u8; 8] = [
    page::SUPPORTED,
    page::UNIT_SERIAL_NUMBER,
    page::DEVICE_IDENTIFICATION,
    page::EXTENDED_INQUIRY,
    page::THIRD_PARTY_COPY,
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
        u8::from(unit.removable) << 7,
        0x06, // SPC-4
        0x12, // HISUP, response data format 2
        91,   // additional length: 96 bytes in all
        0x18, // 3PC; TPGS: asymmetric access is told, not asked for
        0x00,
        0x02, // CMDQUE
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
        page::EXTENDED_INQUIRY => extended_inquiry(unit),
        page::THIRD_PARTY_COPY => copy::third_party_copy(),
        page::LOGICAL_BLOCK_PROVISIONING => provisioning(unit),
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

/// A designator (SPC-4 section 7.8.6): code set, association, type and bytes.
fn designator(code_set: u8, association: u8, kind: u8, bytes: &[u8]) -> Vec<u8> {
    const ISCSI: u8 = 5;
    let (protocol, valid) = if association == UNIT {
        (0, 0)
    } else {
        (ISCSI, 0x80)
    };
    let length = u8::try_from(bytes.len()).unwrap_or(0);
    let mut data = alloc::vec![
        protocol << 4 | code_set,
        valid | association << 4 | kind,
        0,
        length
    ];
    data.extend_from_slice(bytes);
    data
}

const BINARY: u8 = 1;
const ASCII: u8 = 2;
const UTF_8: u8 = 3;
const UNIT: u8 = 0;
const PORT: u8 = 1;
const TARGET: u8 = 2;
const T10_VENDOR: u8 = 1;
const NAA: u8 = 3;
const RELATIVE_PORT: u8 = 4;
const PORT_GROUP: u8 = 5;
const SCSI_NAME: u8 = 8;

/// Designators of the logical unit: a locally assigned NAA, short and what most systems name a
/// disk by, and one from vendor and serial number, readable. Then the port and its group, which
/// are the only ones, and the target.
fn device_identification(unit: &LogicalUnit) -> Vec<u8> {
    let mut payload = designator(BINARY, UNIT, NAA, &naa(unit));
    payload.extend(designator(
        ASCII,
        UNIT,
        T10_VENDOR,
        &vendor_identification(unit),
    ));
    payload.extend(designator(BINARY, PORT, RELATIVE_PORT, &[0, 0, 0, 1]));
    payload.extend(designator(BINARY, PORT, PORT_GROUP, &[0, 0, 0, 1]));
    if let Some(target) = &unit.target {
        // RFC 7143 section 4.2.7.1: the name of the port ends with the portal group tag.
        let port = alloc::format!("{target},t,0x0001");
        payload.extend(designator(UTF_8, PORT, SCSI_NAME, &terminated(&port)));
        payload.extend(designator(UTF_8, TARGET, SCSI_NAME, &terminated(target)));
    }
    payload
}

pub(super) fn is_designated_by(unit: &LogicalUnit, kind: u8, bytes: &[u8]) -> bool {
    match kind {
        NAA => naa(unit) == bytes,
        // A copy has room for 20 bytes, which is less than all.
        T10_VENDOR => {
            let whole = vendor_identification(unit);
            whole.get(..20).unwrap_or(&whole) == bytes
        }
        _ => false,
    }
}

fn vendor_identification(unit: &LogicalUnit) -> Vec<u8> {
    let mut vendor = Vec::new();
    push_padded(&mut vendor, &unit.vendor, 8);
    vendor.extend(serial(unit));
    vendor
}

fn naa(unit: &LogicalUnit) -> [u8; 8] {
    (3 << 60 | fnv1a(&vendor_identification(unit)) >> 4).to_be_bytes()
}

/// Ends with a zero, padded to four bytes (SPC-4 section 7.8.6.11).
fn terminated(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
    bytes
}

/// SPC-4 section 7.8.7.
fn extended_inquiry(unit: &LogicalUnit) -> Vec<u8> {
    const SIMPSUP: u8 = 0x01;
    const LUICLR: u8 = 0x01;
    let volatile_cache = u8::from(unit.write_cache_default);
    let mut payload = alloc::vec![0, SIMPSUP, volatile_cache, LUICLR];
    payload.resize(60, 0);
    payload
}

/// SBC-3 section 6.6.3.
fn block_limits(unit: &LogicalUnit) -> Vec<u8> {
    const WSNZ: u8 = 0x01;
    let granularity = 1_u16 << unit.physical_block_exponent.min(15);
    let optimal = (1024 * 1024 / unit.block_size.max(1)).min(unit.transfer_blocks_max);
    let compare_and_write = u8::try_from(COMPARE_AND_WRITE_BLOCKS_MAX).unwrap_or(u8::MAX);
    let mut payload = alloc::vec![WSNZ, compare_and_write];
    payload.extend(granularity.to_be_bytes());
    payload.extend(unit.transfer_blocks_max.to_be_bytes());
    payload.extend(optimal.to_be_bytes());
    payload.extend([0; 4]); // no limit on PRE-FETCH
    match unit.thin {
        Some(thin) => {
            payload.extend(unit.unmap_blocks_max().to_be_bytes());
            payload.extend(super::provisioning::UNMAP_RANGES_MAX.to_be_bytes());
            payload.extend(thin.to_be_bytes());
            payload.extend([0x80, 0, 0, 0]); // UGAVALID: aligned to block 0
        }
        None => payload.extend([0; 16]),
    }
    payload.extend(u64::from(WRITE_SAME_BLOCKS_MAX).to_be_bytes());
    payload.resize(0x3c, 0);
    payload
}

/// SBC-3 section 6.6.5.
fn provisioning(unit: &LogicalUnit) -> Vec<u8> {
    const UNMAP_AND_WRITE_SAME: u8 = 0xe0;
    const READS_AS_ZEROS: u8 = 0x04;
    const THIN: u8 = 2;
    match unit.thin {
        Some(_) => alloc::vec![0, UNMAP_AND_WRITE_SAME | READS_AS_ZEROS, THIN, 0],
        None => alloc::vec![0; 4],
    }
}

/// READ DEFECT DATA (SBC-3 sections 5.17.2 and 5.18.2): the lists that are asked for are valid and
/// empty, in whatever format.
pub(super) fn no_defects(form: Form, lists: u8) -> Vec<u8> {
    let length = if form == Form::Twelve { 8 } else { 4 };
    let mut data = alloc::vec![0, lists];
    data.resize(length, 0);
    data
}

/// REPORT TARGET PORT GROUPS (SPC-4 section 6.37): one group with one port, active/optimized.
pub(super) fn target_port_groups(extended: bool) -> Vec<u8> {
    const ACTIVE_OPTIMIZED: u8 = 0;
    const ONLY_THAT: u8 = 1;
    let mut list = Vec::new();
    if extended {
        list.extend([0x10, 0, 0, 0]); // format 1, no transition time
    }
    list.extend([ACTIVE_OPTIMIZED, ONLY_THAT, 0, 1, 0, 0, 0, 1]);
    list.extend([0, 0, 0, 1]);
    let mut data = u32::try_from(list.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    data.extend(list);
    data
}

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 section 6.36).
pub(super) fn task_management_functions(extended: bool) -> Vec<u8> {
    const ABORT_TASK: u8 = 0x80;
    const ABORT_TASK_SET: u8 = 0x40;
    const CLEAR_TASK_SET: u8 = 0x10;
    const LOGICAL_UNIT_RESET: u8 = 0x08;
    const TARGET_RESET: u8 = 0x02;
    let functions =
        ABORT_TASK | ABORT_TASK_SET | CLEAR_TASK_SET | LOGICAL_UNIT_RESET | TARGET_RESET;
    if !extended {
        return alloc::vec![functions, 0, 0, 0];
    }
    let mut data = alloc::vec![functions, 0, 0, 12];
    data.resize(16, 0); // no times are told
    data
}

/// FNV-1a, 64 bits: spreads a serial number over a designator. Not for security.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
