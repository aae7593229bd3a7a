//! Command descriptor blocks (SPC-4 chapter 6, SBC-3 chapter 5): parsed and built.
//!
//! Commands that a disk of ours does not have are not listed: a target answers those with
//! [`Sense::INVALID_OPCODE`], which is what [`Cdb::parse`] says of them.

use core::ops::Deref;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::sense::Sense;

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
    /// MODE SENSE (6)
    pub const MODE_SENSE_6: u8 = 0x1a;
    /// START STOP UNIT
    pub const START_STOP_UNIT: u8 = 0x1b;
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
    /// MODE SENSE (10)
    pub const MODE_SENSE_10: u8 = 0x5a;
    /// READ (16)
    pub const READ_16: u8 = 0x88;
    /// WRITE (16)
    pub const WRITE_16: u8 = 0x8a;
    /// WRITE AND VERIFY (16)
    pub const WRITE_AND_VERIFY_16: u8 = 0x8e;
    /// VERIFY (16)
    pub const VERIFY_16: u8 = 0x8f;
    /// PRE-FETCH (16)
    pub const PRE_FETCH_16: u8 = 0x90;
    /// SYNCHRONIZE CACHE (16)
    pub const SYNCHRONIZE_CACHE_16: u8 = 0x91;
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
}

/// READ CAPACITY (16), a service action of SERVICE ACTION IN (16).
pub(crate) const READ_CAPACITY_16: u8 = 0x10;
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

    /// Parses a command.
    ///
    /// # Errors
    /// The sense data a device answers with: [`Sense::INVALID_OPCODE`], or
    /// [`Sense::INVALID_FIELD_IN_CDB`] where reserved values or the NACA bit are set.
    pub fn parse(cdb: &[u8]) -> Result<Self, Sense> {
        let code = *cdb.first().ok_or(Sense::INVALID_OPCODE)?;
        let length = match code >> 5 {
            0 => 6,
            1 | 2 => 10,
            4 => 16,
            5 => 12,
            _ => return Err(Sense::INVALID_OPCODE), // vendor specific, or of variable length
        };
        // The initiator sends too few bytes: nothing of the command can be trusted.
        let cdb = cdb.get(..length).ok_or(Sense::INVALID_FIELD_IN_CDB)?;
        let parsed = match length {
            6 => Self::parse6(code, cdb),
            10 => Self::parse10(code, cdb),
            12 => Self::parse12(code, cdb),
            _ => Self::parse16(code, cdb),
        };
        // NACA in the CONTROL byte (SAM-5 section 5.2): we have no ACA (NORMACA = 0).
        let control = cdb.last().copied().unwrap_or(0);
        let parsed = parsed.ok_or(Sense::INVALID_FIELD_IN_CDB)??;
        if control & 0x04 != 0 {
            Err(Sense::INVALID_FIELD_IN_CDB)
        } else {
            Ok(parsed)
        }
    }

    fn parse6(code: u8, cdb: &[u8]) -> Option<Result<Self, Sense>> {
        let [_, second, third, fourth, fifth, _] = *cdb.first_chunk()?;
        Some(Ok(match code {
            opcode::TEST_UNIT_READY => Self::TestUnitReady,
            opcode::REQUEST_SENSE => Self::RequestSense {
                descriptor: second & 1 != 0,
                allocation_length: fifth,
            },
            opcode::INQUIRY => {
                let page = (second & 1 != 0).then_some(third);
                // A page code without EVPD, or the obsolete CMDDT bit (SPC-4 section 6.6.1).
                if (page.is_none() && third != 0) || second & 2 != 0 {
                    return Some(Err(Sense::INVALID_FIELD_IN_CDB));
                }
                let allocation_length = u16::from_be_bytes([fourth, fifth]);
                Self::Inquiry {
                    page,
                    allocation_length,
                }
            }
            opcode::MODE_SENSE_6 => {
                mode_sense(Form::Six, [second & 0x0f, third, fourth], u16::from(fifth))
            }
            opcode::START_STOP_UNIT => Self::StartStopUnit {
                immediate: second & 1 != 0,
                power_condition: fifth >> 4,
                load_eject: fifth & 2 != 0,
                start: fifth & 1 != 0,
            },
            opcode::READ_6 | opcode::WRITE_6 => {
                let transfer = Transfer {
                    form: Form::Six,
                    lba: u64::from(u32::from_be_bytes([0, second & 0x1f, third, fourth])),
                    // Zero is 256 in this form only (SBC-3 section 5.10).
                    blocks: if fifth == 0 { 256 } else { u32::from(fifth) },
                    ..Transfer::new(0, 0)
                };
                if code == opcode::READ_6 {
                    Self::Read(transfer)
                } else {
                    Self::Write(transfer)
                }
            }
            _ => return Some(Err(Sense::INVALID_OPCODE)),
        }))
    }

    fn parse10(code: u8, cdb: &[u8]) -> Option<Result<Self, Sense>> {
        let flags = *cdb.get(1)?;
        let lba = u64::from(u32_at(cdb, 2)?);
        let length = u16_at(cdb, 7)?;
        let transfer = transfer(Form::Ten, flags, lba, u32::from(length));
        Some(match code {
            opcode::READ_CAPACITY_10 => Ok(Self::ReadCapacity10),
            opcode::READ_10 => Ok(Self::Read(transfer)),
            opcode::WRITE_10 => Ok(Self::Write(transfer)),
            opcode::WRITE_AND_VERIFY_10 => {
                byte_check(flags).map(|b| Self::WriteAndVerify(transfer, b))
            }
            opcode::VERIFY_10 => byte_check(flags).map(|b| Self::Verify(transfer, b)),
            opcode::PRE_FETCH_10 => Ok(Self::PreFetch(transfer)),
            opcode::SYNCHRONIZE_CACHE_10 => Ok(Self::SynchronizeCache {
                form: Form::Ten,
                lba,
                blocks: u32::from(length),
                immediate: flags & 2 != 0,
            }),
            opcode::MODE_SENSE_10 => Ok(mode_sense(
                Form::Ten,
                [flags, *cdb.get(2)?, *cdb.get(3)?],
                length,
            )),
            _ => Err(Sense::INVALID_OPCODE),
        })
    }

    fn parse12(code: u8, cdb: &[u8]) -> Option<Result<Self, Sense>> {
        let flags = *cdb.get(1)?;
        let length = u32_at(cdb, 6)?;
        let transfer = transfer(Form::Twelve, flags, u64::from(u32_at(cdb, 2)?), length);
        Some(match code {
            opcode::READ_12 => Ok(Self::Read(transfer)),
            opcode::WRITE_12 => Ok(Self::Write(transfer)),
            opcode::WRITE_AND_VERIFY_12 => {
                byte_check(flags).map(|b| Self::WriteAndVerify(transfer, b))
            }
            opcode::VERIFY_12 => byte_check(flags).map(|b| Self::Verify(transfer, b)),
            opcode::REPORT_LUNS => Ok(Self::ReportLuns {
                select_report: *cdb.get(2)?,
                allocation_length: length,
            }),
            opcode::MAINTENANCE_IN if flags & 0x1f == REPORT_SUPPORTED_OPERATION_CODES => {
                Ok(Self::ReportSupportedOperationCodes {
                    timeouts: cdb.get(2)? & 0x80 != 0,
                    reporting_options: cdb.get(2)? & 0x07,
                    operation_code: *cdb.get(3)?,
                    service_action: u16_at(cdb, 4)?,
                    allocation_length: length,
                })
            }
            // Another service action of a code we have (SPC-4 section 4.3.2).
            opcode::MAINTENANCE_IN => Err(Sense::INVALID_FIELD_IN_CDB),
            _ => Err(Sense::INVALID_OPCODE),
        })
    }

    fn parse16(code: u8, cdb: &[u8]) -> Option<Result<Self, Sense>> {
        let flags = *cdb.get(1)?;
        let lba = u64_at(cdb, 2)?;
        let length = u32_at(cdb, 10)?;
        let transfer = transfer(Form::Sixteen, flags, lba, length);
        Some(match code {
            opcode::READ_16 => Ok(Self::Read(transfer)),
            opcode::WRITE_16 => Ok(Self::Write(transfer)),
            opcode::WRITE_AND_VERIFY_16 => {
                byte_check(flags).map(|b| Self::WriteAndVerify(transfer, b))
            }
            opcode::VERIFY_16 => byte_check(flags).map(|b| Self::Verify(transfer, b)),
            opcode::PRE_FETCH_16 => Ok(Self::PreFetch(transfer)),
            opcode::SYNCHRONIZE_CACHE_16 => Ok(Self::SynchronizeCache {
                form: Form::Sixteen,
                lba,
                blocks: length,
                immediate: flags & 2 != 0,
            }),
            opcode::SERVICE_ACTION_IN_16 if flags & 0x1f == READ_CAPACITY_16 => {
                Ok(Self::ReadCapacity16 {
                    allocation_length: length,
                })
            }
            // Another service action of a code we have (SPC-4 section 4.3.2).
            opcode::SERVICE_ACTION_IN_16 => Err(Sense::INVALID_FIELD_IN_CDB),
            _ => Err(Sense::INVALID_OPCODE),
        })
    }

    /// Builds the command.
    #[must_use]
    pub fn to_bytes(&self) -> CdbBytes {
        let mut cdb = [0; 16];
        let length = match *self {
            Self::TestUnitReady => 6,
            Self::RequestSense {
                descriptor,
                allocation_length,
            } => {
                cdb[0] = opcode::REQUEST_SENSE;
                cdb[1] = u8::from(descriptor);
                cdb[4] = allocation_length;
                6
            }
            Self::Inquiry {
                page,
                allocation_length,
            } => {
                cdb[0] = opcode::INQUIRY;
                cdb[1] = u8::from(page.is_some());
                cdb[2] = page.unwrap_or(0);
                cdb[3..5].copy_from_slice(&allocation_length.to_be_bytes());
                6
            }
            Self::ModeSense { .. } => self.put_mode_sense(&mut cdb),
            Self::StartStopUnit {
                immediate,
                power_condition,
                load_eject,
                start,
            } => {
                cdb[0] = opcode::START_STOP_UNIT;
                cdb[1] = u8::from(immediate);
                cdb[4] = power_condition << 4 | u8::from(load_eject) << 1 | u8::from(start);
                6
            }
            Self::ReadCapacity10 => {
                cdb[0] = opcode::READ_CAPACITY_10;
                10
            }
            Self::ReadCapacity16 { allocation_length } => {
                cdb[0] = opcode::SERVICE_ACTION_IN_16;
                cdb[1] = READ_CAPACITY_16;
                cdb[10..14].copy_from_slice(&allocation_length.to_be_bytes());
                16
            }
            Self::Read(transfer) => put_transfer(&mut cdb, &transfer, [0x08, 0x28, 0xa8, 0x88]),
            Self::Write(transfer) => put_transfer(&mut cdb, &transfer, [0x0a, 0x2a, 0xaa, 0x8a]),
            Self::WriteAndVerify(transfer, check) => {
                let length = put_transfer(&mut cdb, &transfer, [0x2e, 0x2e, 0xae, 0x8e]);
                cdb[1] = cdb[1] & !0x06 | byte_check_bits(check);
                length
            }
            Self::Verify(transfer, check) => {
                let length = put_transfer(&mut cdb, &transfer, [0x2f, 0x2f, 0xaf, 0x8f]);
                cdb[1] = cdb[1] & !0x06 | byte_check_bits(check);
                length
            }
            Self::PreFetch(transfer) => put_transfer(&mut cdb, &transfer, [0x34, 0x34, 0x34, 0x90]),
            Self::SynchronizeCache {
                form,
                lba,
                blocks,
                immediate,
            } => {
                let transfer = Transfer {
                    form,
                    ..Transfer::new(lba, blocks)
                };
                let length = put_transfer(&mut cdb, &transfer, [0x35, 0x35, 0x35, 0x91]);
                cdb[1] = u8::from(immediate) << 1;
                length
            }
            Self::ReportLuns {
                select_report,
                allocation_length,
            } => {
                cdb[0] = opcode::REPORT_LUNS;
                cdb[2] = select_report;
                cdb[6..10].copy_from_slice(&allocation_length.to_be_bytes());
                12
            }
            Self::ReportSupportedOperationCodes {
                timeouts,
                reporting_options,
                operation_code,
                service_action,
                allocation_length,
            } => {
                cdb[0] = opcode::MAINTENANCE_IN;
                cdb[1] = REPORT_SUPPORTED_OPERATION_CODES;
                cdb[2] = u8::from(timeouts) << 7 | reporting_options & 7;
                cdb[3] = operation_code;
                cdb[4..6].copy_from_slice(&service_action.to_be_bytes());
                cdb[6..10].copy_from_slice(&allocation_length.to_be_bytes());
                12
            }
        };
        CdbBytes { bytes: cdb, length }
    }

    /// Writes MODE SENSE and returns its length.
    fn put_mode_sense(&self, cdb: &mut [u8; 16]) -> u8 {
        let Self::ModeSense {
            form,
            long_lba,
            disable_block_descriptors,
            page_control,
            page,
            subpage,
            allocation_length,
        } = *self
        else {
            return 0;
        };
        cdb[1] = u8::from(disable_block_descriptors) << 3;
        cdb[2] = page_control << 6 | page & 0x3f;
        cdb[3] = subpage;
        if form == Form::Six {
            cdb[0] = opcode::MODE_SENSE_6;
            cdb[4] = u8::try_from(allocation_length).unwrap_or(u8::MAX);
            6
        } else {
            cdb[0] = opcode::MODE_SENSE_10;
            cdb[1] |= u8::from(long_lba) << 4;
            cdb[7..9].copy_from_slice(&allocation_length.to_be_bytes());
            10
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

/// Reads the flags that the long forms share (SBC-3 section 5.11).
fn transfer(form: Form, flags: u8, lba: u64, blocks: u32) -> Transfer {
    Transfer {
        form,
        lba,
        blocks,
        protect: flags >> 5,
        disable_page_out: flags & 0x10 != 0,
        force_unit_access: flags & 0x08 != 0,
    }
}

/// Writes a transfer with the operation code of its form, and returns the length. Where the form
/// cannot hold the number of blocks, the largest that it can hold is written.
fn put_transfer(cdb: &mut [u8; 16], transfer: &Transfer, codes: [u8; 4]) -> u8 {
    let [six, ten, twelve, sixteen] = codes;
    let flags = transfer.protect << 5
        | u8::from(transfer.disable_page_out) << 4
        | u8::from(transfer.force_unit_access) << 3;
    let lba = transfer.lba.to_be_bytes();
    match transfer.form {
        Form::Six => {
            cdb[0] = six;
            cdb[1..4].copy_from_slice(&lba[5..8]);
            cdb[4] = if transfer.blocks == 256 {
                0
            } else {
                u8::try_from(transfer.blocks).unwrap_or(u8::MAX)
            };
            6
        }
        Form::Ten => {
            cdb[0] = ten;
            cdb[1] = flags;
            cdb[2..6].copy_from_slice(&lba[4..8]);
            let blocks = u16::try_from(transfer.blocks).unwrap_or(u16::MAX);
            cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
            10
        }
        Form::Twelve => {
            cdb[0] = twelve;
            cdb[1] = flags;
            cdb[2..6].copy_from_slice(&lba[4..8]);
            cdb[6..10].copy_from_slice(&transfer.blocks.to_be_bytes());
            12
        }
        Form::Sixteen => {
            cdb[0] = sixteen;
            cdb[1] = flags;
            cdb[2..10].copy_from_slice(&lba);
            cdb[10..14].copy_from_slice(&transfer.blocks.to_be_bytes());
            16
        }
    }
}

/// MODE SENSE from bytes 1 to 3 and the allocation length.
fn mode_sense(form: Form, [flags, page, subpage]: [u8; 3], allocation_length: u16) -> Cdb {
    Cdb::ModeSense {
        form,
        long_lba: flags & 0x10 != 0,
        disable_block_descriptors: flags & 0x08 != 0,
        page_control: page >> 6,
        page: page & 0x3f,
        subpage,
        allocation_length,
    }
}

fn byte_check(flags: u8) -> Result<ByteCheck, Sense> {
    match flags >> 1 & 3 {
        0 => Ok(ByteCheck::Medium),
        1 => Ok(ByteCheck::EachBlock),
        3 => Ok(ByteCheck::OneBlock),
        _ => Err(Sense::INVALID_FIELD_IN_CDB),
    }
}

fn byte_check_bits(check: ByteCheck) -> u8 {
    match check {
        ByteCheck::Medium => 0x00,
        ByteCheck::EachBlock => 0x02,
        ByteCheck::OneBlock => 0x06,
    }
}

#[cfg(test)]
mod tests;
