//! Commands into their bytes.

use super::{ByteCheck, Cdb, CdbBytes, Form, Transfer, opcode};
use super::{
    GET_LBA_STATUS, READ_CAPACITY_16, REPORT_SUPPORTED_OPERATION_CODES,
    REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, REPORT_TARGET_PORT_GROUPS,
};

impl Cdb {
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
            Self::ReportLuns {
                select_report,
                allocation_length,
            } => {
                cdb[0] = opcode::REPORT_LUNS;
                cdb[2] = select_report;
                cdb[6..10].copy_from_slice(&allocation_length.to_be_bytes());
                12
            }
            Self::ReportSupportedTaskManagementFunctions { .. }
            | Self::ReportTargetPortGroups { .. } => self.put_report(&mut cdb),
            Self::ModeSelect { .. }
            | Self::Reserve6
            | Self::Release6
            | Self::PreventAllowMediumRemoval { .. } => self.put_six(&mut cdb),
            Self::PersistentReserveIn { .. } | Self::PersistentReserveOut { .. } => {
                self.put_reserve(&mut cdb)
            }
            Self::ExtendedCopy { .. } | Self::ReceiveCopyResults { .. } => self.put_copy(&mut cdb),
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
            _ => self.put_on_medium(&mut cdb),
        };
        CdbBytes { bytes: cdb, length }
    }

    /// Writes a command that names blocks and returns its length.
    fn put_on_medium(&self, cdb: &mut [u8; 16]) -> u8 {
        match *self {
            Self::Read(transfer) => put_transfer(cdb, &transfer, [0x08, 0x28, 0xa8, 0x88]),
            Self::Write(transfer) => put_transfer(cdb, &transfer, [0x0a, 0x2a, 0xaa, 0x8a]),
            Self::WriteAndVerify(transfer, check) => {
                let length = put_transfer(cdb, &transfer, [0x2e, 0x2e, 0xae, 0x8e]);
                cdb[1] = cdb[1] & !0x06 | byte_check_bits(check);
                length
            }
            Self::Verify(transfer, check) => {
                let length = put_transfer(cdb, &transfer, [0x2f, 0x2f, 0xaf, 0x8f]);
                cdb[1] = cdb[1] & !0x06 | byte_check_bits(check);
                length
            }
            Self::CompareAndWrite(transfer) => {
                let sixteen = Transfer {
                    form: Form::Sixteen,
                    ..transfer
                };
                let length = put_transfer(cdb, &sixteen, [opcode::COMPARE_AND_WRITE; 4]);
                cdb[10..13].fill(0);
                cdb[13] = u8::try_from(transfer.blocks).unwrap_or(u8::MAX);
                length
            }
            Self::OrWrite(transfer) => {
                let sixteen = Transfer {
                    form: Form::Sixteen,
                    ..transfer
                };
                put_transfer(cdb, &sixteen, [opcode::OR_WRITE_16; 4])
            }
            Self::WriteSame {
                transfer,
                unmap,
                anchor,
                no_data_out,
            } => {
                let length = put_transfer(cdb, &transfer, [0x41, 0x41, 0x93, 0x93]);
                cdb[1] |= u8::from(anchor) << 4 | u8::from(unmap) << 3 | u8::from(no_data_out);
                length
            }
            Self::Unmap {
                anchor,
                parameter_list_length,
            } => {
                cdb[0] = opcode::UNMAP;
                cdb[1] = u8::from(anchor);
                cdb[7..9].copy_from_slice(&parameter_list_length.to_be_bytes());
                10
            }
            Self::GetLbaStatus {
                lba,
                allocation_length,
            } => {
                cdb[0] = opcode::SERVICE_ACTION_IN_16;
                cdb[1] = GET_LBA_STATUS;
                cdb[2..10].copy_from_slice(&lba.to_be_bytes());
                cdb[10..14].copy_from_slice(&allocation_length.to_be_bytes());
                16
            }
            Self::ReadDefectData {
                form,
                lists,
                allocation_length,
            } => {
                if form == Form::Twelve {
                    cdb[0] = opcode::READ_DEFECT_DATA_12;
                    cdb[1] = lists;
                    cdb[6..10].copy_from_slice(&allocation_length.to_be_bytes());
                    return 12;
                }
                cdb[0] = opcode::READ_DEFECT_DATA_10;
                cdb[2] = lists;
                let length = u16::try_from(allocation_length).unwrap_or(u16::MAX);
                cdb[7..9].copy_from_slice(&length.to_be_bytes());
                10
            }
            Self::PreFetch(transfer) => put_transfer(cdb, &transfer, [0x34, 0x34, 0x34, 0x90]),
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
                let length = put_transfer(cdb, &transfer, [0x35, 0x35, 0x35, 0x91]);
                cdb[1] = u8::from(immediate) << 1;
                length
            }
            _ => 0,
        }
    }

    /// Writes one of the reports of MAINTENANCE IN and returns its length.
    fn put_report(&self, cdb: &mut [u8; 16]) -> u8 {
        cdb[0] = opcode::MAINTENANCE_IN;
        let length = match *self {
            Self::ReportSupportedTaskManagementFunctions {
                extended,
                allocation_length,
            } => {
                cdb[1] = REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS;
                cdb[2] = u8::from(extended) << 7;
                allocation_length
            }
            Self::ReportTargetPortGroups {
                extended,
                allocation_length,
            } => {
                cdb[1] = u8::from(extended) << 5 | REPORT_TARGET_PORT_GROUPS;
                allocation_length
            }
            _ => 0,
        };
        cdb[6..10].copy_from_slice(&length.to_be_bytes());
        12
    }

    /// Writes a command that is six bytes long, or MODE SELECT, and returns its length.
    fn put_six(&self, cdb: &mut [u8; 16]) -> u8 {
        match *self {
            Self::Reserve6 => cdb[0] = opcode::RESERVE_6,
            Self::Release6 => cdb[0] = opcode::RELEASE_6,
            Self::PreventAllowMediumRemoval { prevent } => {
                cdb[0] = opcode::PREVENT_ALLOW_MEDIUM_REMOVAL;
                cdb[4] = u8::from(prevent);
            }
            Self::ModeSelect {
                form,
                page_format,
                save_pages,
                parameter_list_length,
            } => {
                cdb[1] = u8::from(page_format) << 4 | u8::from(save_pages);
                if form == Form::Ten {
                    cdb[0] = opcode::MODE_SELECT_10;
                    cdb[7..9].copy_from_slice(&parameter_list_length.to_be_bytes());
                    return 10;
                }
                cdb[0] = opcode::MODE_SELECT_6;
                cdb[4] = u8::try_from(parameter_list_length).unwrap_or(u8::MAX);
            }
            _ => {}
        }
        6
    }

    /// Writes a persistent reservation command and returns its length.
    fn put_reserve(&self, cdb: &mut [u8; 16]) -> u8 {
        match *self {
            Self::PersistentReserveIn {
                service_action,
                allocation_length,
            } => {
                cdb[0] = opcode::PERSISTENT_RESERVE_IN;
                cdb[1] = service_action;
                cdb[7..9].copy_from_slice(&allocation_length.to_be_bytes());
            }
            Self::PersistentReserveOut {
                service_action,
                scope,
                kind,
                parameter_list_length,
            } => {
                cdb[0] = opcode::PERSISTENT_RESERVE_OUT;
                cdb[1] = service_action;
                cdb[2] = scope << 4 | kind & 0x0f;
                cdb[5..9].copy_from_slice(&parameter_list_length.to_be_bytes());
            }
            _ => {}
        }
        10
    }

    /// Writes a third party copy command and returns its length.
    fn put_copy(&self, cdb: &mut [u8; 16]) -> u8 {
        let length = match *self {
            Self::ExtendedCopy {
                parameter_list_length,
            } => {
                cdb[0] = opcode::EXTENDED_COPY;
                parameter_list_length
            }
            Self::ReceiveCopyResults {
                service_action,
                list_identifier,
                allocation_length,
            } => {
                cdb[0] = opcode::RECEIVE_COPY_RESULTS;
                cdb[1] = service_action;
                cdb[2] = list_identifier;
                allocation_length
            }
            _ => 0,
        };
        cdb[10..14].copy_from_slice(&length.to_be_bytes());
        16
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

fn byte_check_bits(check: ByteCheck) -> u8 {
    match check {
        ByteCheck::Medium => 0x00,
        ByteCheck::EachBlock => 0x02,
        ByteCheck::OneBlock => 0x06,
    }
}
