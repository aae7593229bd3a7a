//! What initiators send (RFC 7143 sections 11.3, 11.5, 11.7, 11.10, 11.12, 11.14 and 11.18).

use bowline_scsi::Lun;

use super::{Header, Stage, TaskManagementFunction, opcode};
use crate::name::Isid;

/// SCSI Command (RFC 7143 section 11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiCommand {
    /// I: not counted by CmdSN.
    pub immediate: bool,
    /// F: no unsolicited Data-Out follows.
    pub is_final: bool,
    /// R: data comes from the target.
    pub read: bool,
    /// W: data goes to the target.
    pub write: bool,
    /// Task attribute: 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA.
    pub attribute: u8,
    /// The logical unit.
    pub lun: Lun,
    /// Names the task.
    pub initiator_task_tag: u32,
    /// Bytes to be moved.
    pub expected_data_transfer_length: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// The first 16 bytes of the command descriptor block.
    pub cdb: [u8; 16],
}

/// Simple task attribute.
pub(crate) const SIMPLE: u8 = 1;

impl ScsiCommand {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        let flags = header.0[1];
        Self {
            immediate: header.is_immediate(),
            is_final: flags & 0x80 != 0,
            read: flags & 0x40 != 0,
            write: flags & 0x20 != 0,
            attribute: flags & 0x07,
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            expected_data_transfer_length: header.u32_at(20),
            cmd_sn: header.u32_at(24),
            exp_stat_sn: header.u32_at(28),
            cdb: header.0.last_chunk().copied().unwrap_or_default(),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        let flags = u8::from(self.is_final) << 7
            | u8::from(self.read) << 6
            | u8::from(self.write) << 5
            | self.attribute & 0x07;
        Header::new(opcode::SCSI_COMMAND)
            .with_flags(self.immediate, flags)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.expected_data_transfer_length)
            .with_command_numbers(self.cmd_sn, self.exp_stat_sn)
            .with(32, &self.cdb)
    }
}

/// Task Management Function Request (RFC 7143 section 11.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementRequest {
    /// I: not counted by CmdSN.
    pub immediate: bool,
    /// What to do.
    pub function: TaskManagementFunction,
    /// The logical unit, for functions on one.
    pub lun: Lun,
    /// Names this request.
    pub initiator_task_tag: u32,
    /// The task to abort or move.
    pub referenced_task_tag: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// The CmdSN of the task to abort.
    pub ref_cmd_sn: u32,
    /// ExpDataSN, for a task that moves.
    pub exp_data_sn: u32,
}

impl TaskManagementRequest {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            immediate: header.is_immediate(),
            function: TaskManagementFunction(header.0[1] & 0x7f),
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            referenced_task_tag: header.u32_at(20),
            cmd_sn: header.u32_at(24),
            exp_stat_sn: header.u32_at(28),
            ref_cmd_sn: header.u32_at(32),
            exp_data_sn: header.u32_at(36),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::TASK_MANAGEMENT_REQUEST)
            .with_flags(self.immediate, 0x80 | self.function.0)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.referenced_task_tag)
            .with_command_numbers(self.cmd_sn, self.exp_stat_sn)
            .with_u32(32, self.ref_cmd_sn)
            .with_u32(36, self.exp_data_sn)
    }
}

/// SCSI Data-Out (RFC 7143 section 11.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataOut {
    /// F: the last of its sequence.
    pub is_final: bool,
    /// The logical unit, as in the R2T; zero for unsolicited data.
    pub lun: Lun,
    /// The task.
    pub initiator_task_tag: u32,
    /// The R2T it answers, or [`NO_TAG`](super::NO_TAG) for unsolicited data.
    pub target_transfer_tag: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
    /// Counts the PDUs of the sequence from 0.
    pub data_sn: u32,
    /// Where in the data of the task this segment belongs.
    pub buffer_offset: u32,
}

impl DataOut {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            is_final: header.0[1] & 0x80 != 0,
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            target_transfer_tag: header.u32_at(20),
            exp_stat_sn: header.u32_at(28),
            data_sn: header.u32_at(36),
            buffer_offset: header.u32_at(40),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::DATA_OUT)
            .with_flags(false, u8::from(self.is_final) << 7)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.target_transfer_tag)
            .with_u32(28, self.exp_stat_sn)
            .with_u32(36, self.data_sn)
            .with_u32(40, self.buffer_offset)
    }
}

/// Text Request (RFC 7143 section 11.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// I: not counted by CmdSN.
    pub immediate: bool,
    /// F: the last of its sequence.
    pub is_final: bool,
    /// C: the text goes on in the next request.
    pub is_continued: bool,
    /// As in the response it answers.
    pub lun: Lun,
    /// Names the sequence.
    pub initiator_task_tag: u32,
    /// From the response it answers.
    pub target_transfer_tag: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

impl TextRequest {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            immediate: header.is_immediate(),
            is_final: header.0[1] & 0x80 != 0,
            is_continued: header.0[1] & 0x40 != 0,
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            target_transfer_tag: header.u32_at(20),
            cmd_sn: header.u32_at(24),
            exp_stat_sn: header.u32_at(28),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        let flags = u8::from(self.is_final) << 7 | u8::from(self.is_continued) << 6;
        Header::new(opcode::TEXT_REQUEST)
            .with_flags(self.immediate, flags)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.target_transfer_tag)
            .with_command_numbers(self.cmd_sn, self.exp_stat_sn)
    }
}

/// Login Request (RFC 7143 section 11.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// T: ready for the next stage.
    pub transit: bool,
    /// C: the text goes on in the next request.
    pub is_continued: bool,
    /// CSG.
    pub current_stage: Stage,
    /// NSG.
    pub next_stage: Stage,
    /// The highest version spoken.
    pub version_max: u8,
    /// The lowest version spoken.
    pub version_min: u8,
    /// The initiator's part of the session identifier.
    pub isid: Isid,
    /// Zero for a new session.
    pub tsih: u16,
    /// The same throughout the login.
    pub initiator_task_tag: u32,
    /// Connection identifier.
    pub cid: u16,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

impl LoginRequest {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        let flags = header.0[1];
        Self {
            transit: flags & 0x80 != 0,
            is_continued: flags & 0x40 != 0,
            current_stage: Stage(flags >> 2 & 3),
            next_stage: Stage(flags & 3),
            version_max: header.0[2],
            version_min: header.0[3],
            isid: super::isid(header),
            tsih: header.u16_at(14),
            initiator_task_tag: header.u32_at(16),
            cid: header.u16_at(20),
            cmd_sn: header.u32_at(24),
            exp_stat_sn: header.u32_at(28),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        let flags = super::login_flags(
            self.transit,
            self.is_continued,
            self.current_stage,
            self.next_stage,
        );
        Header::new(opcode::LOGIN_REQUEST)
            .with_flags(true, flags)
            .with(2, &[self.version_max, self.version_min])
            .with(8, &self.isid.0)
            .with_u16(14, self.tsih)
            .with_u32(16, self.initiator_task_tag)
            .with_u16(20, self.cid)
            .with_command_numbers(self.cmd_sn, self.exp_stat_sn)
    }
}

/// Logout Request (RFC 7143 section 11.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    /// I: not counted by CmdSN.
    pub immediate: bool,
    /// 0 close the session, 1 close the connection, 2 remove it for recovery.
    pub reason: u8,
    /// Names this request.
    pub initiator_task_tag: u32,
    /// The connection to close.
    pub cid: u16,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

impl LogoutRequest {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            immediate: header.is_immediate(),
            reason: header.0[1] & 0x7f,
            initiator_task_tag: header.u32_at(16),
            cid: header.u16_at(20),
            cmd_sn: header.u32_at(24),
            exp_stat_sn: header.u32_at(28),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::LOGOUT_REQUEST)
            .with_flags(self.immediate, 0x80 | self.reason)
            .with_u32(16, self.initiator_task_tag)
            .with_u16(20, self.cid)
            .with_command_numbers(self.cmd_sn, self.exp_stat_sn)
    }
}

/// NOP-Out (RFC 7143 section 11.18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopOut {
    /// I: not counted by CmdSN.
    pub immediate: bool,
    /// As in the NOP-In it answers.
    pub lun: Lun,
    /// Names this request, or [`NO_TAG`](super::NO_TAG) where no answer is wanted.
    pub initiator_task_tag: u32,
    /// The NOP-In it answers, or [`NO_TAG`](super::NO_TAG).
    pub target_transfer_tag: u32,
    /// CmdSN.
    pub cmd_sn: u32,
    /// ExpStatSN.
    pub exp_stat_sn: u32,
}

impl NopOut {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            immediate: header.is_immediate(),
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            target_transfer_tag: header.u32_at(20),
            cmd_sn: header.u32_at(24),
            exp_stat_sn: header.u32_at(28),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::NOP_OUT)
            .with_flags(self.immediate, 0x80)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.target_transfer_tag)
            .with_command_numbers(self.cmd_sn, self.exp_stat_sn)
    }
}
