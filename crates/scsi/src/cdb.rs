//! Command descriptor blocks (SPC-4 chapter 6, SBC-3 chapter 5): parsed and built.
//!
//! Commands that a disk of ours does not have are not listed: a target answers those with
//! [`Sense::INVALID_OPCODE`](crate::Sense::INVALID_OPCODE), which is what [`Cdb::parse`] says of them.

mod build;
mod parse;
#[cfg(test)]
mod tests;

use core::ops::Deref;

/// Which of the lengths a command comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// 6 bytes.
    Six,
    /// 10 bytes.
    Ten,
    /// 12 bytes.
    Twelve,
    /// 16 bytes.
    Sixteen,
}

/// A range of blocks and how to treat it: what the READ, WRITE and VERIFY families share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Which of the lengths the command comes in.
    pub form: Form,
    /// First block.
    pub lba: u64,
    /// Number of blocks; zero is legal and moves nothing.
    pub blocks: u32,
    /// RDPROTECT, WRPROTECT or VRPROTECT.
    pub protect: u8,
    /// Disable page out: do not keep the blocks in a cache.
    pub disable_page_out: bool,
    /// Force unit access: from and to the medium, not a cache.
    pub force_unit_access: bool,
}

impl Transfer {
    /// The shortest form from ten bytes up that can name these blocks.
    #[must_use]
    pub fn new(lba: u64, blocks: u32) -> Self {
        let last = lba.saturating_add(u64::from(blocks));
        let short = last <= u64::from(u32::MAX) && blocks <= u32::from(u16::MAX);
        let form = if short { Form::Ten } else { Form::Sixteen };
        Self {
            form,
            lba,
            blocks,
            protect: 0,
            disable_page_out: false,
            force_unit_access: false,
        }
    }
}

/// BYTCHK of VERIFY and WRITE AND VERIFY (SBC-3 section 5.33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteCheck {
    /// The medium is checked; no data is sent.
    Medium,
    /// Each block is compared with the data sent.
    EachBlock,
    /// Each block is compared with the one block sent.
    OneBlock,
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cdb {
    /// TEST UNIT READY (SPC-4 section 6.47).
    TestUnitReady,
    /// REQUEST SENSE (SPC-4 section 6.39).
    RequestSense {
        /// Descriptor format is wanted.
        descriptor: bool,
        /// Most bytes wanted.
        allocation_length: u8,
    },
    /// INQUIRY (SPC-4 section 6.6).
    Inquiry {
        /// The vital product data page wanted, or `None` for standard data.
        page: Option<u8>,
        /// Most bytes wanted.
        allocation_length: u16,
    },
    /// MODE SENSE (SPC-4 sections 6.13 and 6.14).
    ModeSense {
        /// [`Form::Six`] or [`Form::Ten`].
        form: Form,
        /// LLBAA: long block descriptors are welcome ([`Form::Ten`] only).
        long_lba: bool,
        /// DBD: no block descriptors.
        disable_block_descriptors: bool,
        /// PC: 0 current, 1 changeable, 2 default, 3 saved values.
        page_control: u8,
        /// The page wanted; 0x3f is all.
        page: u8,
        /// The subpage wanted; 0xff is all.
        subpage: u8,
        /// Most bytes wanted.
        allocation_length: u16,
    },
    /// MODE SELECT (SPC-4 sections 6.11 and 6.12).
    ModeSelect {
        /// [`Form::Six`] or [`Form::Ten`].
        form: Form,
        /// PF: the pages are as SPC-4 has them.
        page_format: bool,
        /// SP: the pages are to be kept over a restart.
        save_pages: bool,
        /// Length of the parameter list.
        parameter_list_length: u16,
    },
    /// START STOP UNIT (SBC-3 section 5.25).
    StartStopUnit {
        /// Answer before it is done.
        immediate: bool,
        /// The power condition asked for; 0 looks at `load_eject` and `start`.
        power_condition: u8,
        /// Load or eject the medium.
        load_eject: bool,
        /// Start rather than stop.
        start: bool,
    },
    /// PREVENT ALLOW MEDIUM REMOVAL (SBC-3 section 5.14).
    PreventAllowMediumRemoval {
        /// Whether the medium is to stay.
        prevent: bool,
    },
    /// RESERVE (6) (SPC-2 section 7.21).
    Reserve6,
    /// RELEASE (6) (SPC-2 section 7.17).
    Release6,
    /// PERSISTENT RESERVE IN (SPC-4 section 6.15).
    PersistentReserveIn {
        /// What is asked.
        service_action: u8,
        /// Most bytes wanted.
        allocation_length: u16,
    },
    /// PERSISTENT RESERVE OUT (SPC-4 section 6.16).
    PersistentReserveOut {
        /// What is wanted.
        service_action: u8,
        /// SCOPE; 0 is the logical unit.
        scope: u8,
        /// TYPE of the reservation.
        kind: u8,
        /// Length of the parameter list.
        parameter_list_length: u32,
    },
    /// READ CAPACITY (10) (SBC-3 section 5.15).
    ReadCapacity10,
    /// READ CAPACITY (16) (SBC-3 section 5.16).
    ReadCapacity16 {
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// READ (SBC-3 sections 5.10 to 5.13).
    Read(Transfer),
    /// WRITE (SBC-3 sections 5.40 to 5.43).
    Write(Transfer),
    /// WRITE AND VERIFY (SBC-3 sections 5.45 to 5.47).
    WriteAndVerify(Transfer, ByteCheck),
    /// VERIFY (SBC-3 sections 5.33 to 5.35).
    Verify(Transfer, ByteCheck),
    /// COMPARE AND WRITE (SBC-3 section 5.3), of at most 255 blocks.
    CompareAndWrite(Transfer),
    /// ORWRITE (16) (SBC-3 section 5.6).
    OrWrite(Transfer),
    /// WRITE SAME (SBC-3 sections 5.48 and 5.49).
    WriteSame {
        /// The blocks. FUA and DPO do not exist here.
        transfer: Transfer,
        /// UNMAP: the blocks may be given back.
        unmap: bool,
        /// ANCHOR: their space is to stay reserved.
        anchor: bool,
        /// NDOB: no block is sent, it is all zeros ([`Form::Sixteen`] only).
        no_data_out: bool,
    },
    /// UNMAP (SBC-3 section 5.28).
    Unmap {
        /// ANCHOR: the space is to stay reserved.
        anchor: bool,
        /// Length of the parameter list.
        parameter_list_length: u16,
    },
    /// GET LBA STATUS (SBC-3 section 5.4).
    GetLbaStatus {
        /// First block.
        lba: u64,
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// READ DEFECT DATA (SBC-3 sections 5.17 and 5.18).
    ReadDefectData {
        /// [`Form::Ten`] or [`Form::Twelve`].
        form: Form,
        /// REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT, where both forms have them in one byte.
        lists: u8,
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// PRE-FETCH (SBC-3 sections 5.8 and 5.9). Flags of the transfer are not used.
    PreFetch(Transfer),
    /// SYNCHRONIZE CACHE (SBC-3 sections 5.26 and 5.27).
    SynchronizeCache {
        /// [`Form::Ten`] or [`Form::Sixteen`].
        form: Form,
        /// First block.
        lba: u64,
        /// Number of blocks; zero is up to the end of the disk.
        blocks: u32,
        /// Answer before it is done.
        immediate: bool,
    },
    /// REPORT LUNS (SPC-4 section 6.33).
    ReportLuns {
        /// 0 and 2 list all, 1 the well known logical units only.
        select_report: u8,
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// REPORT SUPPORTED OPERATION CODES (SPC-4 section 6.35).
    ReportSupportedOperationCodes {
        /// RCTD: with command timeouts descriptors.
        timeouts: bool,
        /// 0 all commands, 1 by operation code, 2 by service action, 3 by either.
        reporting_options: u8,
        /// The operation code asked about.
        operation_code: u8,
        /// The service action asked about.
        service_action: u16,
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 section 6.36).
    ReportSupportedTaskManagementFunctions {
        /// REPD: with the times they take.
        extended: bool,
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// REPORT TARGET PORT GROUPS (SPC-4 section 6.37).
    ReportTargetPortGroups {
        /// The extended header is wanted.
        extended: bool,
        /// Most bytes wanted.
        allocation_length: u32,
    },
    /// EXTENDED COPY (LID1) (SPC-4 section 6.4).
    ExtendedCopy {
        /// Length of the parameter list.
        parameter_list_length: u32,
    },
    /// RECEIVE COPY RESULTS (LID1) (SPC-4 section 6.19).
    ReceiveCopyResults {
        /// What is asked.
        service_action: u8,
        /// The copy that is asked about.
        list_identifier: u8,
        /// Most bytes wanted.
        allocation_length: u32,
    },
}

/// Operation codes.
pub mod opcode {
    /// TEST UNIT READY
    pub const TEST_UNIT_READY: u8 = 0x00;
    /// REQUEST SENSE
    pub const REQUEST_SENSE: u8 = 0x03;
    /// READ (6)
    pub const READ_6: u8 = 0x08;
    /// WRITE (6)
    pub const WRITE_6: u8 = 0x0a;
    /// INQUIRY
    pub const INQUIRY: u8 = 0x12;
    /// MODE SELECT (6)
    pub const MODE_SELECT_6: u8 = 0x15;
    /// RESERVE (6)
    pub const RESERVE_6: u8 = 0x16;
    /// RELEASE (6)
    pub const RELEASE_6: u8 = 0x17;
    /// MODE SENSE (6)
    pub const MODE_SENSE_6: u8 = 0x1a;
    /// START STOP UNIT
    pub const START_STOP_UNIT: u8 = 0x1b;
    /// PREVENT ALLOW MEDIUM REMOVAL
    pub const PREVENT_ALLOW_MEDIUM_REMOVAL: u8 = 0x1e;
    /// READ CAPACITY (10)
    pub const READ_CAPACITY_10: u8 = 0x25;
    /// READ (10)
    pub const READ_10: u8 = 0x28;
    /// WRITE (10)
    pub const WRITE_10: u8 = 0x2a;
    /// WRITE AND VERIFY (10)
    pub const WRITE_AND_VERIFY_10: u8 = 0x2e;
    /// VERIFY (10)
    pub const VERIFY_10: u8 = 0x2f;
    /// PRE-FETCH (10)
    pub const PRE_FETCH_10: u8 = 0x34;
    /// SYNCHRONIZE CACHE (10)
    pub const SYNCHRONIZE_CACHE_10: u8 = 0x35;
    /// READ DEFECT DATA (10)
    pub const READ_DEFECT_DATA_10: u8 = 0x37;
    /// WRITE SAME (10)
    pub const WRITE_SAME_10: u8 = 0x41;
    /// UNMAP
    pub const UNMAP: u8 = 0x42;
    /// MODE SELECT (10)
    pub const MODE_SELECT_10: u8 = 0x55;
    /// MODE SENSE (10)
    pub const MODE_SENSE_10: u8 = 0x5a;
    /// PERSISTENT RESERVE IN
    pub const PERSISTENT_RESERVE_IN: u8 = 0x5e;
    /// PERSISTENT RESERVE OUT
    pub const PERSISTENT_RESERVE_OUT: u8 = 0x5f;
    /// EXTENDED COPY, of which LID1 is a service action
    pub const EXTENDED_COPY: u8 = 0x83;
    /// RECEIVE COPY RESULTS
    pub const RECEIVE_COPY_RESULTS: u8 = 0x84;
    /// READ (16)
    pub const READ_16: u8 = 0x88;
    /// COMPARE AND WRITE
    pub const COMPARE_AND_WRITE: u8 = 0x89;
    /// WRITE (16)
    pub const WRITE_16: u8 = 0x8a;
    /// ORWRITE (16)
    pub const OR_WRITE_16: u8 = 0x8b;
    /// WRITE AND VERIFY (16)
    pub const WRITE_AND_VERIFY_16: u8 = 0x8e;
    /// VERIFY (16)
    pub const VERIFY_16: u8 = 0x8f;
    /// PRE-FETCH (16)
    pub const PRE_FETCH_16: u8 = 0x90;
    /// SYNCHRONIZE CACHE (16)
    pub const SYNCHRONIZE_CACHE_16: u8 = 0x91;
    /// WRITE SAME (16)
    pub const WRITE_SAME_16: u8 = 0x93;
    /// SERVICE ACTION IN (16)
    pub const SERVICE_ACTION_IN_16: u8 = 0x9e;
    /// REPORT LUNS
    pub const REPORT_LUNS: u8 = 0xa0;
    /// MAINTENANCE IN
    pub const MAINTENANCE_IN: u8 = 0xa3;
    /// READ (12)
    pub const READ_12: u8 = 0xa8;
    /// WRITE (12)
    pub const WRITE_12: u8 = 0xaa;
    /// WRITE AND VERIFY (12)
    pub const WRITE_AND_VERIFY_12: u8 = 0xae;
    /// VERIFY (12)
    pub const VERIFY_12: u8 = 0xaf;
    /// READ DEFECT DATA (12)
    pub const READ_DEFECT_DATA_12: u8 = 0xb7;
}

/// READ CAPACITY (16), a service action of SERVICE ACTION IN (16).
pub(crate) const READ_CAPACITY_16: u8 = 0x10;
/// GET LBA STATUS, a service action of SERVICE ACTION IN (16).
pub(crate) const GET_LBA_STATUS: u8 = 0x12;
/// REPORT TARGET PORT GROUPS, a service action of MAINTENANCE IN.
pub(crate) const REPORT_TARGET_PORT_GROUPS: u8 = 0x0a;
/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS, a service action of MAINTENANCE IN.
pub(crate) const REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS: u8 = 0x0d;
/// REPORT SUPPORTED OPERATION CODES, a service action of MAINTENANCE IN.
pub(crate) const REPORT_SUPPORTED_OPERATION_CODES: u8 = 0x0c;

impl Cdb {
    /// READ in the shortest form that fits.
    #[must_use]
    pub fn read(lba: u64, blocks: u32) -> Self {
        Self::Read(Transfer::new(lba, blocks))
    }

    /// WRITE in the shortest form that fits.
    #[must_use]
    pub fn write(lba: u64, blocks: u32) -> Self {
        Self::Write(Transfer::new(lba, blocks))
    }

    /// SYNCHRONIZE CACHE (10) of the whole disk.
    #[must_use]
    pub const fn flush() -> Self {
        Self::SynchronizeCache {
            form: Form::Ten,
            lba: 0,
            blocks: 0,
            immediate: false,
        }
    }

    /// REPORT LUNS, all units, room for `count`.
    #[must_use]
    pub const fn report_luns(count: u16) -> Self {
        Self::ReportLuns {
            select_report: 0,
            allocation_length: 8 + 8 * count as u32,
        }
    }
}

/// A built command: dereferences to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CdbBytes {
    bytes: [u8; 16],
    length: u8,
}

impl CdbBytes {
    /// The command in the 16-byte field of an iSCSI SCSI Command PDU (RFC 7143 section 11.3.5),
    /// padded with zeros.
    #[must_use]
    pub const fn padded(&self) -> [u8; 16] {
        self.bytes
    }
}

impl Deref for CdbBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or(&self.bytes)
    }
}
