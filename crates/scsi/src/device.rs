//! A direct-access block device as a target shows it: commands in, orders for storage out.
//!
//! [`execute`] looks at one command and either answers it at once or says what storage is to do.
//! It keeps no state but a pending unit attention per initiator ([`Nexus`]), which is enough for a
//! disk of one initiator. A [`Device`] adds what initiators share: reservations, a medium that can
//! be ejected, mode parameters, who has to be told what.
//!
//! Not offered, on purpose: WRITE ATOMIC (a power cut can tear a write on what is below us),
//! protection information, ACA, saved mode pages, SANITIZE and FORMAT UNIT. Such commands get
//! ILLEGAL REQUEST with the code SPC-4 wants.

mod action;
mod pages;
mod provisioning;
mod shared;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use crate::capacity::Capacity;
use crate::cdb::{ByteCheck, Cdb, Transfer, opcode};
use crate::lun::{self, Lun};
use crate::mode::{self, Values};
use crate::opcodes;
use crate::sense::Sense;

pub use action::Action;
pub use provisioning::{Extent, LBA_STATUS_MAX, lba_status};
pub use shared::{Changes, Device, NexusId};

/// Blocks one command may move where nothing else is said: 8 MiB of 512-byte blocks.
pub const TRANSFER_BLOCKS_MAX: u32 = 16384;

/// Bytes that one UNMAP may give back: what takes a moment.
pub const UNMAP_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Blocks that one COMPARE AND WRITE may change: what a lock on a disk needs.
pub const COMPARE_AND_WRITE_BLOCKS_MAX: u32 = 1;

/// Blocks that one WRITE SAME may change.
pub const WRITE_SAME_BLOCKS_MAX: u32 = 32768;

/// The longest parameter list that is taken; longer ones are wrong anyway.
const PARAMETERS_MAX: u32 = 65536;

/// Unit attentions kept per initiator; the oldest go first.
const ATTENTIONS_MAX: usize = 8;

/// A disk, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalUnit {
    /// Number of logical blocks, at least one.
    pub blocks: u64,
    /// Length of a logical block in bytes, a power of two from 512.
    pub block_size: u32,
    /// 2^n logical blocks are one physical block.
    pub physical_block_exponent: u8,
    /// Writes are refused.
    pub read_only: bool,
    /// Writes may wait in a cache until they are flushed or written with FUA.
    pub write_cache: bool,
    /// The same, where nobody has changed it.
    pub write_cache_default: bool,
    /// An initiator wants no writes for now.
    pub software_write_protect: bool,
    /// The medium can be ejected.
    pub removable: bool,
    /// The medium is there.
    pub loaded: bool,
    /// Blocks that nobody needs can be given back, in units of this many blocks.
    pub thin: Option<u32>,
    /// The most blocks one command may move; more is refused (SBC-3 section 6.6.3).
    pub transfer_blocks_max: u32,
    /// T10 vendor identification, up to 8 characters.
    pub vendor: String,
    /// Product identification, up to 16 characters.
    pub product: String,
    /// Product revision level, up to 4 characters.
    pub revision: String,
    /// Unit serial number, the same for the same disk for ever, up to 32 characters.
    pub serial: String,
    /// The iSCSI name of the target, if it is to be told (VPD page 83h).
    pub target: Option<String>,
}

impl LogicalUnit {
    /// A writable disk with a write cache.
    #[must_use]
    pub fn new(blocks: u64, block_size: u32, serial: &str) -> Self {
        Self {
            blocks,
            block_size,
            physical_block_exponent: if block_size < 4096 { 3 } else { 0 },
            read_only: false,
            write_cache: true,
            write_cache_default: true,
            software_write_protect: false,
            removable: false,
            loaded: true,
            thin: None,
            transfer_blocks_max: TRANSFER_BLOCKS_MAX * 512 / block_size.max(512),
            vendor: "BOWLINE".into(),
            product: "VIRTUAL-DISK".into(),
            revision: "1".into(),
            serial: serial.into(),
            target: None,
        }
    }

    /// The most blocks that one UNMAP may give back.
    fn unmap_blocks_max(&self) -> u32 {
        let blocks = UNMAP_BYTES_MAX / u64::from(self.block_size.max(1));
        u32::try_from(blocks).unwrap_or(u32::MAX)
    }

    /// Whether a designator of VPD page 83h names this unit.
    #[must_use]
    pub fn is_designated_by(&self, kind: u8, designator: &[u8]) -> bool {
        pages::is_designated_by(self, kind, designator)
    }
}

/// What one initiator has not been told yet of one logical unit (SAM-5 section 5.14).
#[derive(Clone, Debug, Default)]
pub struct Nexus {
    attentions: VecDeque<Sense>,
}

impl Nexus {
    /// Nothing pending.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a unit attention for the next command, once.
    pub fn attention(&mut self, sense: Sense) {
        if !self.attentions.contains(&sense) {
            self.attentions.push_back(sense);
        }
        if self.attentions.len() > ATTENTIONS_MAX {
            self.attentions.pop_front();
        }
    }
}

/// Decides what becomes of the command `cdb`.
///
/// `unit` is the logical unit it is addressed to, if there is one; `luns` all units that this
/// initiator may see, which is what REPORT LUNS tells.
#[must_use]
pub fn execute(unit: Option<&LogicalUnit>, luns: &[Lun], nexus: &mut Nexus, cdb: &[u8]) -> Action {
    // Three commands neither report nor are stopped by a unit attention (SPC-4 section 5.14),
    // and work without a logical unit (SAM-5 section 5.12).
    let result = match Cdb::parse(cdb) {
        Ok(Cdb::Inquiry {
            page,
            allocation_length,
        }) => inquiry(unit, page).map(|data| respond(data, u32::from(allocation_length))),
        Ok(Cdb::ReportLuns {
            select_report,
            allocation_length,
        }) => report_luns(luns, select_report, allocation_length),
        Ok(Cdb::RequestSense {
            descriptor,
            allocation_length,
        }) => {
            let sense = match unit {
                None => Sense::LOGICAL_UNIT_NOT_SUPPORTED,
                Some(_) => nexus.attentions.pop_front().unwrap_or(Sense::NO_SENSE),
            };
            let data = if descriptor {
                sense.to_descriptor()
            } else {
                sense.to_fixed().to_vec()
            };
            Ok(respond(data, u32::from(allocation_length)))
        }
        Err(sense) if matches!(cdb.first(), Some(&(opcode::INQUIRY | opcode::REPORT_LUNS))) => {
            Err(sense)
        }
        parsed => match (unit, nexus.attentions.pop_front()) {
            (None, _) => Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED),
            (Some(_), Some(attention)) => Err(attention),
            (Some(unit), None) => parsed.and_then(|cdb| unit.execute(cdb)),
        },
    };
    result.unwrap_or_else(Action::Check)
}

/// Answers with as much of `data` as there is room for.
fn respond(mut data: Vec<u8>, allocation_length: u32) -> Action {
    data.truncate(usize::try_from(allocation_length).unwrap_or(usize::MAX));
    Action::Respond(data)
}

/// Takes a parameter list, or does not where there is none.
fn parameters(cdb: Cdb, length: u32) -> Action {
    if length == 0 {
        Action::Respond(Vec::new())
    } else {
        Action::Parameters { cdb, length }
    }
}

fn inquiry(unit: Option<&LogicalUnit>, page: Option<u8>) -> Result<Vec<u8>, Sense> {
    match (unit, page) {
        (Some(unit), None) => Ok(pages::standard(unit)),
        (Some(unit), Some(page)) => pages::vital(unit, page).ok_or(Sense::INVALID_FIELD_IN_CDB),
        (None, None) => Ok(pages::standard_absent()),
        (None, Some(_)) => Err(Sense::LOGICAL_UNIT_NOT_SUPPORTED),
    }
}

/// SPC-4 section 6.33.
fn report_luns(luns: &[Lun], select_report: u8, allocation_length: u32) -> Result<Action, Sense> {
    let listed = match select_report {
        0 | 2 => luns,
        1 => &[], // there are no well known logical units
        _ => return Err(Sense::INVALID_FIELD_IN_CDB),
    };
    // Less than 16 bytes is an error (SPC-4 table 269).
    if allocation_length < 16 {
        return Err(Sense::INVALID_FIELD_IN_CDB);
    }
    Ok(respond(lun::report(listed), allocation_length))
}

impl LogicalUnit {
    /// The rest of the commands, on a unit that is there and has nothing to say first.
    fn execute(&self, cdb: Cdb) -> Result<Action, Sense> {
        match cdb {
            Cdb::StartStopUnit { .. } => self.start_stop(cdb),
            Cdb::ModeSense { .. } => self.mode_sense(cdb),
            Cdb::ModeSelect {
                page_format,
                save_pages,
                parameter_list_length,
                ..
            } => {
                // Only pages in the format of SPC-4, and nothing is saved.
                if !page_format || save_pages {
                    return Err(Sense::INVALID_FIELD_IN_CDB);
                }
                Ok(parameters(cdb, u32::from(parameter_list_length)))
            }
            Cdb::PersistentReserveOut {
                parameter_list_length,
                ..
            }
            | Cdb::ExtendedCopy {
                parameter_list_length,
            } => Ok(Action::Parameters {
                cdb,
                length: parameter_list_length.min(PARAMETERS_MAX),
            }),
            Cdb::PreventAllowMediumRemoval { .. } if !self.removable => Err(Sense::INVALID_OPCODE),
            Cdb::PreventAllowMediumRemoval { .. }
            | Cdb::Reserve6
            | Cdb::Release6
            | Cdb::PersistentReserveIn { .. }
            | Cdb::ReceiveCopyResults { .. } => Ok(Action::Shared(cdb)),
            Cdb::ReportSupportedOperationCodes {
                timeouts,
                reporting_options,
                operation_code,
                service_action,
                allocation_length,
            } => {
                let (options, code) = (reporting_options, operation_code);
                let data = opcodes::report(self, timeouts, options, code, service_action)?;
                Ok(respond(data, allocation_length))
            }
            Cdb::ReportSupportedTaskManagementFunctions {
                extended,
                allocation_length,
            } => {
                // SPC-4 section 6.36: less than four bytes is an error.
                if allocation_length < 4 {
                    return Err(Sense::INVALID_FIELD_IN_CDB);
                }
                let data = pages::task_management_functions(extended);
                Ok(respond(data, allocation_length))
            }
            Cdb::ReportTargetPortGroups {
                extended,
                allocation_length,
            } => Ok(respond(
                pages::target_port_groups(extended),
                allocation_length,
            )),
            // Answered by `execute` before.
            Cdb::Inquiry { .. } | Cdb::ReportLuns { .. } | Cdb::RequestSense { .. } => {
                Err(Sense::INVALID_OPCODE)
            }
            _ if !self.loaded => Err(Sense::MEDIUM_NOT_PRESENT),
            medium => self.execute_on_medium(medium),
        }
    }

    /// The commands that need the medium.
    fn execute_on_medium(&self, cdb: Cdb) -> Result<Action, Sense> {
        match cdb {
            Cdb::TestUnitReady => Ok(Action::Respond(Vec::new())),
            Cdb::ReadCapacity10 => Ok(Action::Respond(self.capacity().to_bytes10())),
            Cdb::ReadCapacity16 { allocation_length } => {
                Ok(respond(self.capacity().to_bytes16(), allocation_length))
            }
            Cdb::Read(transfer) => {
                let (lba, blocks) = self.range(&transfer)?;
                Ok(Action::Read {
                    lba,
                    blocks,
                    force_unit_access: transfer.force_unit_access,
                })
            }
            Cdb::Verify(transfer, check) => {
                let (lba, blocks) = self.range(&transfer)?;
                Ok(match check {
                    ByteCheck::Medium => Action::Verify { lba, blocks },
                    ByteCheck::EachBlock | ByteCheck::OneBlock => Action::Compare {
                        lba,
                        blocks,
                        one_block: check == ByteCheck::OneBlock,
                    },
                })
            }
            Cdb::PreFetch(transfer) => {
                self.check_range(transfer.lba, transfer.blocks)?;
                Ok(Action::Respond(Vec::new()))
            }
            Cdb::SynchronizeCache {
                lba,
                blocks,
                immediate,
                ..
            } => {
                self.check_range(lba, blocks)?;
                Ok(Action::Flush { immediate })
            }
            Cdb::GetLbaStatus {
                lba,
                allocation_length,
            } => {
                if lba >= self.blocks {
                    return Err(Sense::LBA_OUT_OF_RANGE);
                }
                Ok(Action::LbaStatus {
                    lba,
                    allocation_length,
                })
            }
            Cdb::ReadDefectData {
                form,
                lists,
                allocation_length,
            } => Ok(respond(pages::no_defects(form, lists), allocation_length)),
            writing => self.execute_write(writing),
        }
    }

    /// The commands that change the medium.
    fn execute_write(&self, cdb: Cdb) -> Result<Action, Sense> {
        match cdb {
            Cdb::Write(transfer) => {
                let (lba, blocks) = self.writable_range(&transfer)?;
                Ok(Action::Write {
                    lba,
                    blocks,
                    force_unit_access: self.is_forced(&transfer),
                })
            }
            Cdb::WriteAndVerify(transfer, check) => {
                if check == ByteCheck::OneBlock {
                    return Err(Sense::INVALID_FIELD_IN_CDB);
                }
                let (lba, blocks) = self.writable_range(&transfer)?;
                Ok(Action::WriteAndVerify {
                    lba,
                    blocks,
                    compare: check == ByteCheck::EachBlock,
                })
            }
            Cdb::CompareAndWrite(transfer) => {
                let (lba, blocks) = self.writable_range(&transfer)?;
                if blocks > COMPARE_AND_WRITE_BLOCKS_MAX {
                    return Err(Sense::INVALID_FIELD_IN_CDB); // SBC-3 section 5.3
                }
                Ok(Action::CompareAndWrite {
                    lba,
                    blocks,
                    force_unit_access: self.is_forced(&transfer),
                })
            }
            Cdb::OrWrite(transfer) => {
                let (lba, blocks) = self.writable_range(&transfer)?;
                Ok(Action::OrWrite {
                    lba,
                    blocks,
                    force_unit_access: self.is_forced(&transfer),
                })
            }
            Cdb::WriteSame { .. } => self.write_same(cdb),
            Cdb::Unmap {
                anchor,
                parameter_list_length,
            } => {
                if self.thin.is_none() {
                    return Err(Sense::INVALID_OPCODE);
                }
                self.check_writable()?;
                if anchor {
                    return Err(Sense::INVALID_FIELD_IN_CDB); // ANC_SUP is zero
                }
                Ok(parameters(cdb, u32::from(parameter_list_length)))
            }
            _ => Err(Sense::INVALID_OPCODE),
        }
    }

    fn is_forced(&self, transfer: &Transfer) -> bool {
        transfer.force_unit_access || !self.write_cache
    }

    fn capacity(&self) -> Capacity {
        Capacity {
            blocks: self.blocks,
            block_size: self.block_size,
            physical_block_exponent: self.physical_block_exponent,
            thin: self.thin.is_some(),
        }
    }

    fn medium(&self) -> mode::Medium {
        mode::Medium {
            blocks: self.blocks,
            block_size: self.block_size,
            write_protected: self.read_only,
        }
    }

    fn values(&self) -> Values {
        Values {
            write_cache: self.write_cache,
            software_write_protect: self.software_write_protect,
        }
    }

    fn mode_sense(&self, cdb: Cdb) -> Result<Action, Sense> {
        let Cdb::ModeSense {
            form,
            long_lba,
            disable_block_descriptors,
            page_control,
            page,
            subpage,
            allocation_length,
        } = cdb
        else {
            return Err(Sense::INVALID_OPCODE);
        };
        let request = mode::Request {
            form,
            long_lba,
            disable_block_descriptors,
            page_control,
            page,
            subpage,
        };
        let default = Values {
            write_cache: self.write_cache_default,
            software_write_protect: false,
        };
        let data = mode::respond(self.medium(), self.values(), default, request)?;
        Ok(respond(data, u32::from(allocation_length)))
    }

    /// A disk that is always spinning: stopping, starting and power conditions change nothing, but
    /// what was written is made safe before (SBC-3 section 5.25).
    fn start_stop(&self, cdb: Cdb) -> Result<Action, Sense> {
        let Cdb::StartStopUnit {
            immediate,
            power_condition,
            load_eject,
            start,
        } = cdb
        else {
            return Err(Sense::INVALID_OPCODE);
        };
        // With a power condition the other bits mean nothing.
        if power_condition != 0 {
            return Ok(Action::Flush { immediate });
        }
        if load_eject && !self.removable {
            return Err(Sense::INVALID_FIELD_IN_CDB);
        }
        if load_eject {
            Ok(Action::Shared(cdb))
        } else if start {
            Ok(Action::Respond(Vec::new()))
        } else {
            Ok(Action::Flush { immediate })
        }
    }

    fn writable_range(&self, transfer: &Transfer) -> Result<(u64, u32), Sense> {
        let range = self.range(transfer)?;
        self.check_writable()?;
        Ok(range)
    }

    fn check_writable(&self) -> Result<(), Sense> {
        if self.read_only {
            Err(Sense::WRITE_PROTECTED)
        } else if self.software_write_protect {
            Err(Sense::SOFTWARE_WRITE_PROTECTED)
        } else {
            Ok(())
        }
    }

    /// Checks a transfer of data: protection information, the end of the disk, the length.
    fn range(&self, transfer: &Transfer) -> Result<(u64, u32), Sense> {
        // No protection information here (PROTECT = 0), so none may be asked for.
        if transfer.protect != 0 {
            return Err(Sense::INVALID_FIELD_IN_CDB);
        }
        self.check_range(transfer.lba, transfer.blocks)?;
        if transfer.blocks > self.transfer_blocks_max {
            return Err(Sense::INVALID_FIELD_IN_CDB); // SBC-3 section 6.6.3
        }
        Ok((transfer.lba, transfer.blocks))
    }

    fn check_range(&self, lba: u64, blocks: u32) -> Result<(), Sense> {
        match lba.checked_add(u64::from(blocks)) {
            Some(end) if end <= self.blocks => Ok(()),
            _ => Err(Sense::LBA_OUT_OF_RANGE),
        }
    }
}
