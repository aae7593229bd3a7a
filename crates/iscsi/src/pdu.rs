//! Protocol data units: the 48-byte basic header segment (RFC 7143 chapter 11).
//!
//! [`Header`] is the bytes; the other types are one PDU each, read and written without loss for
//! all that RFC 7143 defines. Reading never fails: which values make sense is for the machines
//! to say. Additional header segments are skipped by the framing, data segments travel beside.

mod requests;
mod responses;
#[cfg(test)]
mod tests;

use core::fmt;

use bowline_scsi::Lun;

use crate::name::Isid;

pub(crate) use requests::SIMPLE;
pub use requests::{
    DataOut, LoginRequest, LogoutRequest, NopOut, ScsiCommand, TaskManagementRequest, TextRequest,
};
pub use responses::{
    AsyncMessage, DataIn, LoginResponse, LogoutResponse, NopIn, R2t, Reject, ScsiResponse,
    TaskManagementResponse, TextResponse,
};

/// Length of the basic header segment.
pub const HEADER_LENGTH: usize = 48;

/// A tag that names nothing: the reserved value of task and transfer tags.
pub const NO_TAG: u32 = 0xffff_ffff;

/// Operation codes (RFC 7143 section 11.2.1.2).
pub mod opcode {
    /// NOP-Out
    pub const NOP_OUT: u8 = 0x00;
    /// SCSI Command
    pub const SCSI_COMMAND: u8 = 0x01;
    /// Task Management Function Request
    pub const TASK_MANAGEMENT_REQUEST: u8 = 0x02;
    /// Login Request
    pub const LOGIN_REQUEST: u8 = 0x03;
    /// Text Request
    pub const TEXT_REQUEST: u8 = 0x04;
    /// SCSI Data-Out
    pub const DATA_OUT: u8 = 0x05;
    /// Logout Request
    pub const LOGOUT_REQUEST: u8 = 0x06;
    /// SNACK Request
    pub const SNACK: u8 = 0x10;
    /// NOP-In
    pub const NOP_IN: u8 = 0x20;
    /// SCSI Response
    pub const SCSI_RESPONSE: u8 = 0x21;
    /// Task Management Function Response
    pub const TASK_MANAGEMENT_RESPONSE: u8 = 0x22;
    /// Login Response
    pub const LOGIN_RESPONSE: u8 = 0x23;
    /// Text Response
    pub const TEXT_RESPONSE: u8 = 0x24;
    /// SCSI Data-In
    pub const DATA_IN: u8 = 0x25;
    /// Logout Response
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    /// Ready To Transfer
    pub const R2T: u8 = 0x31;
    /// Asynchronous Message
    pub const ASYNC_MESSAGE: u8 = 0x32;
    /// Reject
    pub const REJECT: u8 = 0x3f;
}

/// The bytes of a basic header segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header(pub [u8; HEADER_LENGTH]);

impl Header {
    /// A header of this kind, all else zero.
    #[must_use]
    pub const fn new(opcode: u8) -> Self {
        let mut header = Self([0; HEADER_LENGTH]);
        header.0[0] = opcode;
        header
    }

    /// The operation code.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.0[0] & 0x3f
    }

    /// The I bit: immediate delivery.
    #[must_use]
    pub const fn is_immediate(&self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// TotalAHSLength in bytes.
    #[must_use]
    pub fn additional_length(&self) -> usize {
        usize::from(self.0[4]) * 4
    }

    /// DataSegmentLength: without padding.
    #[must_use]
    pub const fn data_segment_length(&self) -> u32 {
        u32::from_be_bytes([0, self.0[5], self.0[6], self.0[7]])
    }

    /// Sets DataSegmentLength. The machines never have more than 2^24 - 1 bytes to send.
    pub const fn set_data_segment_length(&mut self, length: u32) {
        let [_, a, b, c] = length.to_be_bytes();
        self.0[5] = a;
        self.0[6] = b;
        self.0[7] = c;
    }

    /// Initiator Task Tag.
    #[must_use]
    pub fn initiator_task_tag(&self) -> u32 {
        self.u32_at(16)
    }

    pub(crate) fn u16_at(&self, at: usize) -> u16 {
        let field = self.0.get(at..).and_then(<[u8]>::first_chunk);
        field.copied().map_or(0, u16::from_be_bytes)
    }

    pub(crate) fn u32_at(&self, at: usize) -> u32 {
        let field = self.0.get(at..).and_then(<[u8]>::first_chunk);
        field.copied().map_or(0, u32::from_be_bytes)
    }

    pub(crate) fn lun(&self) -> Lun {
        let field = self.0.get(8..).and_then(<[u8]>::first_chunk);
        Lun(field.copied().unwrap_or_default())
    }

    /// Writes `bytes` at `at` and hands the header on.
    fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        if let Some(field) = self.0.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
        self
    }

    fn with_u16(self, at: usize, value: u16) -> Self {
        self.with(at, &value.to_be_bytes())
    }

    fn with_u32(self, at: usize, value: u32) -> Self {
        self.with(at, &value.to_be_bytes())
    }

    /// The I bit and the flags byte.
    fn with_flags(mut self, immediate: bool, flags: u8) -> Self {
        self.0[0] |= if immediate { 0x40 } else { 0 };
        self.0[1] = flags;
        self
    }

    /// CmdSN and ExpStatSN, where requests have them.
    fn with_command_numbers(self, cmd_sn: u32, exp_stat_sn: u32) -> Self {
        self.with_u32(24, cmd_sn).with_u32(28, exp_stat_sn)
    }

    /// StatSN, ExpCmdSN and MaxCmdSN, where responses have them.
    fn with_numbers(self, numbers: Numbers) -> Self {
        self.with_u32(24, numbers.stat_sn)
            .with_u32(28, numbers.exp_cmd_sn)
            .with_u32(32, numbers.max_cmd_sn)
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            stat_sn: self.u32_at(24),
            exp_cmd_sn: self.u32_at(28),
            max_cmd_sn: self.u32_at(32),
        }
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Header({:#04x}:", self.opcode())?;
        self.0.chunks(4).try_for_each(|word| {
            f.write_str(" ")?;
            word.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        })?;
        f.write_str(")")
    }
}

/// The numbers every response carries (RFC 7143 section 4.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// StatSN.
    pub stat_sn: u32,
    /// ExpCmdSN: the next command the target expects.
    pub exp_cmd_sn: u32,
    /// MaxCmdSN: the last command the target has room for.
    pub max_cmd_sn: u32,
}

/// Stages of a login (RFC 7143 section 11.12.3). An open set of two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage(pub u8);

impl Stage {
    /// SecurityNegotiation.
    pub const SECURITY: Self = Self(0);
    /// LoginOperationalNegotiation.
    pub const OPERATIONAL: Self = Self(1);
    /// FullFeaturePhase.
    pub const FULL_FEATURE: Self = Self(3);
}

/// Task management functions (RFC 7143 section 11.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementFunction(pub u8);

impl TaskManagementFunction {
    /// One task.
    pub const ABORT_TASK: Self = Self(1);
    /// All tasks of this initiator on a logical unit.
    pub const ABORT_TASK_SET: Self = Self(2);
    /// Clears an ACA.
    pub const CLEAR_ACA: Self = Self(3);
    /// All tasks of all initiators on a logical unit.
    pub const CLEAR_TASK_SET: Self = Self(4);
    /// Resets a logical unit.
    pub const LOGICAL_UNIT_RESET: Self = Self(5);
    /// Resets all logical units.
    pub const TARGET_WARM_RESET: Self = Self(6);
    /// Resets all logical units and ends all sessions.
    pub const TARGET_COLD_RESET: Self = Self(7);
    /// Moves a task to another connection.
    pub const TASK_REASSIGN: Self = Self(8);
}

/// Answers to task management functions (RFC 7143 section 11.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagementOutcome(pub u8);

impl TaskManagementOutcome {
    /// Done.
    pub const COMPLETE: Self = Self(0);
    /// There is no such task (any more).
    pub const TASK_DOES_NOT_EXIST: Self = Self(1);
    /// There is no such logical unit.
    pub const LUN_DOES_NOT_EXIST: Self = Self(2);
    /// The task is still here.
    pub const TASK_STILL_ALLEGIANT: Self = Self(3);
    /// Tasks cannot be moved.
    pub const REASSIGNMENT_NOT_SUPPORTED: Self = Self(4);
    /// No such function here.
    pub const NOT_SUPPORTED: Self = Self(5);
    /// Not allowed.
    pub const AUTHORIZATION_FAILED: Self = Self(6);
    /// Refused.
    pub const REJECTED: Self = Self(255);
}

/// Why a PDU was refused (RFC 7143 section 11.17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectReason(pub u8);

impl RejectReason {
    /// A data segment arrived damaged.
    pub const DATA_DIGEST_ERROR: Self = Self(0x02);
    /// SNACK is not supported.
    pub const SNACK_REJECT: Self = Self(0x03);
    /// The PDU does not fit here.
    pub const PROTOCOL_ERROR: Self = Self(0x04);
    /// The request is not supported.
    pub const COMMAND_NOT_SUPPORTED: Self = Self(0x05);
    /// Too many immediate commands.
    pub const IMMEDIATE_COMMAND_REJECT: Self = Self(0x06);
    /// The task is still going on.
    pub const TASK_IN_PROGRESS: Self = Self(0x07);
    /// A field has an illegal value.
    pub const INVALID_PDU_FIELD: Self = Self(0x09);
    /// A resource is missing for a long operation.
    pub const LONG_OPERATION_REJECT: Self = Self(0x0a);
    /// Only a logout is awaited.
    pub const WAITING_FOR_LOGOUT: Self = Self(0x0c);
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::DATA_DIGEST_ERROR => "the data was damaged on the way",
            Self::SNACK_REJECT => "retransmission is not supported",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::COMMAND_NOT_SUPPORTED => "the request is not supported",
            Self::IMMEDIATE_COMMAND_REJECT => "too many immediate commands",
            Self::TASK_IN_PROGRESS => "the task is still in progress",
            Self::INVALID_PDU_FIELD => "a field has an illegal value",
            Self::LONG_OPERATION_REJECT => "the target cannot start a long operation now",
            Self::WAITING_FOR_LOGOUT => "the target waits for a logout",
            Self(other) => return write!(f, "reason {other:#04x}"),
        })
    }
}

/// Asynchronous events (RFC 7143 section 11.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncEvent(pub u8);

impl AsyncEvent {
    /// Sense data follows.
    pub const SCSI: Self = Self(0);
    /// The target wants a logout.
    pub const REQUEST_LOGOUT: Self = Self(1);
    /// The target drops a connection.
    pub const DROP_CONNECTION: Self = Self(2);
    /// The target drops all connections.
    pub const DROP_SESSION: Self = Self(3);
    /// The target wants to negotiate again.
    pub const REQUEST_NEGOTIATION: Self = Self(4);
}

fn isid(header: &Header) -> Isid {
    let field = header.0.get(8..).and_then(<[u8]>::first_chunk);
    Isid(field.copied().unwrap_or_default())
}

fn login_flags(transit: bool, is_continued: bool, current: Stage, next: Stage) -> u8 {
    // NSG is reserved without T (RFC 7143 section 11.12.3).
    let next = if transit { next.0 & 3 } else { 0 };
    u8::from(transit) << 7 | u8::from(is_continued) << 6 | (current.0 & 3) << 2 | next
}
