//! What targets send (RFC 7143 sections 11.4, 11.6 to 11.9, 11.11, 11.13, 11.15, 11.17, 11.19).

use bowline_scsi::{Lun, Status};

use super::{
    AsyncEvent, Header, NO_TAG, Numbers, RejectReason, Stage, TaskManagementOutcome, opcode,
};
use crate::name::Isid;
use crate::{LoginStatus, Residual};

/// The O and U bits with the residual count (RFC 7143 sections 11.4.1 and 11.7.3).
fn residual(flags: u8, count: u32) -> Residual {
    match flags & 0x06 {
        0x04 => Residual::Overflow(count),
        0x02 => Residual::Underflow(count),
        _ => Residual::None,
    }
}

const fn residual_fields(residual: Residual) -> (u8, u32) {
    match residual {
        Residual::None => (0, 0),
        Residual::Overflow(count) => (0x04, count),
        Residual::Underflow(count) => (0x02, count),
    }
}

/// SCSI Response (RFC 7143 section 11.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// 0 the command completed at the target, 1 the target failed.
    pub response: u8,
    /// SCSI status, if `response` is 0.
    pub status: Status,
    /// What was moved less or more than announced.
    pub residual: Residual,
    /// The task.
    pub initiator_task_tag: u32,
    /// StatSN, ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
    /// How many Data-In and R2T PDUs the task had.
    pub exp_data_sn: u32,
}

impl ScsiResponse {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            response: header.0[2],
            status: Status(header.0[3]),
            residual: residual(header.0[1], header.u32_at(44)),
            initiator_task_tag: header.u32_at(16),
            numbers: header.numbers(),
            exp_data_sn: header.u32_at(36),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        let (flags, count) = residual_fields(self.residual);
        Header::new(opcode::SCSI_RESPONSE)
            .with_flags(false, 0x80 | flags)
            .with(2, &[self.response, self.status.0])
            .with_u32(16, self.initiator_task_tag)
            .with_numbers(self.numbers)
            .with_u32(36, self.exp_data_sn)
            .with_u32(44, count)
    }
}

/// Task Management Function Response (RFC 7143 section 11.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementResponse {
    /// How it went.
    pub outcome: TaskManagementOutcome,
    /// The request.
    pub initiator_task_tag: u32,
    /// StatSN, ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
}

impl TaskManagementResponse {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            outcome: TaskManagementOutcome(header.0[2]),
            initiator_task_tag: header.u32_at(16),
            numbers: header.numbers(),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::TASK_MANAGEMENT_RESPONSE)
            .with_flags(false, 0x80)
            .with(2, &[self.outcome.0])
            .with_u32(16, self.initiator_task_tag)
            .with_numbers(self.numbers)
    }
}

/// SCSI Data-In (RFC 7143 section 11.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIn {
    /// F: the last of its sequence.
    pub is_final: bool,
    /// A: an acknowledgement is wanted (ErrorRecoveryLevel 1 and up).
    pub acknowledge: bool,
    /// S: this ends the command, with this status and residual.
    pub status: Option<(Status, Residual)>,
    /// The logical unit, where an acknowledgement is wanted.
    pub lun: Lun,
    /// The task.
    pub initiator_task_tag: u32,
    /// For the acknowledgement; [`NO_TAG`] otherwise.
    pub target_transfer_tag: u32,
    /// StatSN (where S is set), ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
    /// Counts the Data-In PDUs of the task from 0.
    pub data_sn: u32,
    /// Where in the data of the task this segment belongs.
    pub buffer_offset: u32,
}

impl DataIn {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        let flags = header.0[1];
        let status = (Status(header.0[3]), residual(flags, header.u32_at(44)));
        Self {
            is_final: flags & 0x80 != 0,
            acknowledge: flags & 0x40 != 0,
            status: (flags & 0x01 != 0).then_some(status),
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            target_transfer_tag: header.u32_at(20),
            numbers: header.numbers(),
            data_sn: header.u32_at(36),
            buffer_offset: header.u32_at(40),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        let mut flags = u8::from(self.is_final) << 7 | u8::from(self.acknowledge) << 6;
        let mut header = Header::new(opcode::DATA_IN);
        if let Some((status, residual)) = self.status {
            let (bits, count) = residual_fields(residual);
            flags |= bits | 0x01;
            header = header.with(3, &[status.0]).with_u32(44, count);
        }
        header
            .with_flags(false, flags)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.target_transfer_tag)
            .with_numbers(self.numbers)
            .with_u32(36, self.data_sn)
            .with_u32(40, self.buffer_offset)
    }
}

/// Ready To Transfer (RFC 7143 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2t {
    /// The logical unit.
    pub lun: Lun,
    /// The task.
    pub initiator_task_tag: u32,
    /// To be repeated in the data.
    pub target_transfer_tag: u32,
    /// The next StatSN (not used up), ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
    /// Counts the R2T PDUs of the task from 0.
    pub r2t_sn: u32,
    /// From where on data is wanted.
    pub buffer_offset: u32,
    /// How much is wanted.
    pub desired_data_transfer_length: u32,
}

impl R2t {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            target_transfer_tag: header.u32_at(20),
            numbers: header.numbers(),
            r2t_sn: header.u32_at(36),
            buffer_offset: header.u32_at(40),
            desired_data_transfer_length: header.u32_at(44),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::R2T)
            .with_flags(false, 0x80)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.target_transfer_tag)
            .with_numbers(self.numbers)
            .with_u32(36, self.r2t_sn)
            .with_u32(40, self.buffer_offset)
            .with_u32(44, self.desired_data_transfer_length)
    }
}

/// Asynchronous Message (RFC 7143 section 11.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// The logical unit, for SCSI events.
    pub lun: Lun,
    /// StatSN, ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
    /// What happened.
    pub event: AsyncEvent,
    /// Vendor code.
    pub vendor_code: u8,
    /// Parameter1 to Parameter3.
    pub parameters: [u16; 3],
}

impl AsyncMessage {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            lun: header.lun(),
            numbers: header.numbers(),
            event: AsyncEvent(header.0[36]),
            vendor_code: header.0[37],
            parameters: [header.u16_at(38), header.u16_at(40), header.u16_at(42)],
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        let [first, second, third] = self.parameters;
        Header::new(opcode::ASYNC_MESSAGE)
            .with_flags(false, 0x80)
            .with(8, &self.lun.0)
            .with_u32(16, NO_TAG)
            .with_numbers(self.numbers)
            .with(36, &[self.event.0, self.vendor_code])
            .with_u16(38, first)
            .with_u16(40, second)
            .with_u16(42, third)
    }
}

/// Text Response (RFC 7143 section 11.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextResponse {
    /// F: the last of its sequence.
    pub is_final: bool,
    /// C: the text goes on in the next response.
    pub is_continued: bool,
    /// To be repeated in the next request.
    pub lun: Lun,
    /// The sequence.
    pub initiator_task_tag: u32,
    /// To be repeated in the next request; [`NO_TAG`] in the last response.
    pub target_transfer_tag: u32,
    /// StatSN, ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
}

impl TextResponse {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            is_final: header.0[1] & 0x80 != 0,
            is_continued: header.0[1] & 0x40 != 0,
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            target_transfer_tag: header.u32_at(20),
            numbers: header.numbers(),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        let flags = u8::from(self.is_final) << 7 | u8::from(self.is_continued) << 6;
        Header::new(opcode::TEXT_RESPONSE)
            .with_flags(false, flags)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.target_transfer_tag)
            .with_numbers(self.numbers)
    }
}

/// Login Response (RFC 7143 section 11.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// T: both are ready for the next stage.
    pub transit: bool,
    /// C: the text goes on in the next response.
    pub is_continued: bool,
    /// CSG.
    pub current_stage: Stage,
    /// NSG.
    pub next_stage: Stage,
    /// The highest version the target speaks.
    pub version_max: u8,
    /// The version spoken.
    pub version_active: u8,
    /// As in the request.
    pub isid: Isid,
    /// The target's handle of the session, in the last response.
    pub tsih: u16,
    /// As in the request.
    pub initiator_task_tag: u32,
    /// StatSN, ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
    /// How it goes.
    pub status: LoginStatus,
}

impl LoginResponse {
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
            version_active: header.0[3],
            isid: super::isid(header),
            tsih: header.u16_at(14),
            initiator_task_tag: header.u32_at(16),
            numbers: header.numbers(),
            status: LoginStatus(header.u16_at(36)),
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
        Header::new(opcode::LOGIN_RESPONSE)
            .with_flags(false, flags)
            .with(2, &[self.version_max, self.version_active])
            .with(8, &self.isid.0)
            .with_u16(14, self.tsih)
            .with_u32(16, self.initiator_task_tag)
            .with_numbers(self.numbers)
            .with_u16(36, self.status.0)
    }
}

/// Logout Response (RFC 7143 section 11.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// 0 closed, 1 no such connection, 2 recovery not supported, 3 cleanup failed.
    pub response: u8,
    /// The request.
    pub initiator_task_tag: u32,
    /// StatSN, ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
    /// Seconds before it makes sense to come back.
    pub time2wait: u16,
    /// Seconds after which tasks are forgotten.
    pub time2retain: u16,
}

impl LogoutResponse {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            response: header.0[2],
            initiator_task_tag: header.u32_at(16),
            numbers: header.numbers(),
            time2wait: header.u16_at(40),
            time2retain: header.u16_at(42),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::LOGOUT_RESPONSE)
            .with_flags(false, 0x80)
            .with(2, &[self.response])
            .with_u32(16, self.initiator_task_tag)
            .with_numbers(self.numbers)
            .with_u16(40, self.time2wait)
            .with_u16(42, self.time2retain)
    }
}

/// Reject (RFC 7143 section 11.17); the data segment is the header that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// StatSN, ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
    /// The next DataSN or R2TSN, for some reasons.
    pub data_sn: u32,
}

impl Reject {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            reason: RejectReason(header.0[2]),
            numbers: header.numbers(),
            data_sn: header.u32_at(36),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::REJECT)
            .with_flags(false, 0x80)
            .with(2, &[self.reason.0])
            .with_u32(16, NO_TAG)
            .with_numbers(self.numbers)
            .with_u32(36, self.data_sn)
    }
}

/// NOP-In (RFC 7143 section 11.19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopIn {
    /// To be repeated in the answer.
    pub lun: Lun,
    /// The NOP-Out it answers, or [`NO_TAG`].
    pub initiator_task_tag: u32,
    /// Names this request, or [`NO_TAG`] where no answer is wanted.
    pub target_transfer_tag: u32,
    /// StatSN (used up only in an answer), ExpCmdSN, MaxCmdSN.
    pub numbers: Numbers,
}

impl NopIn {
    /// Reads it.
    #[must_use]
    pub fn parse(header: &Header) -> Self {
        Self {
            lun: header.lun(),
            initiator_task_tag: header.u32_at(16),
            target_transfer_tag: header.u32_at(20),
            numbers: header.numbers(),
        }
    }

    /// Writes it.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::new(opcode::NOP_IN)
            .with_flags(false, 0x80)
            .with(8, &self.lun.0)
            .with_u32(16, self.initiator_task_tag)
            .with_u32(20, self.target_transfer_tag)
            .with_numbers(self.numbers)
    }
}
