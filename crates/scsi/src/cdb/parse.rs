//! Commands out of their bytes.

use super::{ByteCheck, Cdb, Form, Transfer, opcode};
use super::{
    GET_LBA_STATUS, READ_CAPACITY_16, REPORT_SUPPORTED_OPERATION_CODES,
    REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, REPORT_TARGET_PORT_GROUPS,
};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::sense::Sense;

impl Cdb {
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
            opcode::MODE_SELECT_6 => mode_select(Form::Six, second, u16::from(fifth)),
            opcode::RESERVE_6 | opcode::RELEASE_6 if second & 0x11 != 0 => {
                // Third parties and extents (SPC-2 section 7.21) are not for us.
                return Some(Err(Sense::INVALID_FIELD_IN_CDB));
            }
            opcode::RESERVE_6 => Self::Reserve6,
            opcode::RELEASE_6 => Self::Release6,
            opcode::PREVENT_ALLOW_MEDIUM_REMOVAL => Self::PreventAllowMediumRemoval {
                prevent: fifth & 3 != 0,
            },
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
            opcode::READ_DEFECT_DATA_10 => Ok(Self::ReadDefectData {
                form: Form::Ten,
                lists: *cdb.get(2)? & 0x1f,
                allocation_length: u32::from(length),
            }),
            opcode::WRITE_SAME_10 => Ok(write_same(transfer, flags)),
            opcode::UNMAP => Ok(Self::Unmap {
                anchor: flags & 1 != 0,
                parameter_list_length: length,
            }),
            opcode::MODE_SELECT_10 => Ok(mode_select(Form::Ten, flags, length)),
            opcode::PERSISTENT_RESERVE_IN => Ok(Self::PersistentReserveIn {
                service_action: flags & 0x1f,
                allocation_length: length,
            }),
            opcode::PERSISTENT_RESERVE_OUT => Ok(Self::PersistentReserveOut {
                service_action: flags & 0x1f,
                scope: *cdb.get(2)? >> 4,
                kind: *cdb.get(2)? & 0x0f,
                parameter_list_length: u32_at(cdb, 5)?,
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
            opcode::READ_DEFECT_DATA_12 => Ok(Self::ReadDefectData {
                form: Form::Twelve,
                lists: flags & 0x1f,
                allocation_length: length,
            }),
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
            opcode::MAINTENANCE_IN
                if flags & 0x1f == REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS =>
            {
                Ok(Self::ReportSupportedTaskManagementFunctions {
                    extended: cdb.get(2)? & 0x80 != 0,
                    allocation_length: length,
                })
            }
            // PARAMETER DATA FORMAT (SPC-4 table 281): other values are reserved.
            opcode::MAINTENANCE_IN
                if flags & 0x1f == REPORT_TARGET_PORT_GROUPS && flags >> 5 <= 1 =>
            {
                Ok(Self::ReportTargetPortGroups {
                    extended: flags >> 5 == 1,
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
            opcode::OR_WRITE_16 => Ok(Self::OrWrite(transfer)),
            opcode::COMPARE_AND_WRITE => Ok(Self::CompareAndWrite(Transfer {
                blocks: u32::from(*cdb.get(13)?),
                ..transfer
            })),
            opcode::WRITE_SAME_16 => Ok(write_same(transfer, flags)),
            opcode::EXTENDED_COPY if flags & 0x1f == 0 => Ok(Self::ExtendedCopy {
                parameter_list_length: length,
            }),
            opcode::RECEIVE_COPY_RESULTS => Ok(Self::ReceiveCopyResults {
                service_action: flags & 0x1f,
                list_identifier: *cdb.get(2)?,
                allocation_length: length,
            }),
            opcode::EXTENDED_COPY => Err(Sense::INVALID_FIELD_IN_CDB),
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
            opcode::SERVICE_ACTION_IN_16 if flags & 0x1f == GET_LBA_STATUS => {
                Ok(Self::GetLbaStatus {
                    lba,
                    allocation_length: length,
                })
            }
            // Another service action of a code we have (SPC-4 section 4.3.2).
            opcode::SERVICE_ACTION_IN_16 => Err(Sense::INVALID_FIELD_IN_CDB),
            _ => Err(Sense::INVALID_OPCODE),
        })
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

/// WRITE SAME has other flags where the rest has DPO, FUA and FUA_NV (SBC-3 section 5.48); NDOB
/// exists in the long form only, where the short one has an obsolete bit.
fn write_same(transfer: Transfer, flags: u8) -> Cdb {
    Cdb::WriteSame {
        anchor: flags & 0x10 != 0,
        unmap: flags & 0x08 != 0,
        no_data_out: transfer.form == Form::Sixteen && flags & 1 != 0,
        transfer: Transfer {
            disable_page_out: false,
            force_unit_access: false,
            ..transfer
        },
    }
}

fn mode_select(form: Form, flags: u8, parameter_list_length: u16) -> Cdb {
    Cdb::ModeSelect {
        form,
        page_format: flags & 0x10 != 0,
        save_pages: flags & 1 != 0,
        parameter_list_length,
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
