//! What a target connection reports to the service, and what the service answers.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bowline_scsi::{Lun, Sense, Status};

use crate::name::Isid;
use crate::pdu::TaskManagementFunction;
use crate::{Algorithm, Authentication, LoginStatus, Parameters};

/// Names a command between its [`Event::Command`] and the answer. Never reused on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) u64);

/// A login that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The initiator's iSCSI name.
    pub initiator_name: String,
    /// Its part of the session identifier. An older session of the same name, ISID and target
    /// is to be ended before a command of this one is carried out (RFC 7143 section 6.3.5).
    pub isid: Isid,
    /// Our handle of the session.
    pub tsih: u16,
    /// The target, or `None` for a discovery session.
    pub target_name: Option<String>,
    /// The initiator's name for people.
    pub initiator_alias: Option<String>,
    /// Who proved themselves.
    pub authentication: Authentication,
    /// The CHAP algorithm, where one was used.
    pub algorithm: Option<Algorithm>,
    /// What was negotiated.
    pub parameters: Parameters,
}

/// A SCSI command to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name.
    pub task: TaskId,
    /// The logical unit.
    pub lun: Lun,
    /// The command descriptor block (an iSCSI header always holds 16 bytes of it).
    pub cdb: [u8; 16],
    /// How many bytes the initiator has room for.
    pub read_length: u32,
    /// How many bytes the initiator wants to send.
    pub write_length: u32,
}

/// A task management function that concerns more than one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagement {
    /// Its name: as that of a command.
    pub task: TaskId,
    /// What to do.
    pub function: TaskManagementFunction,
    /// The logical unit, for functions on one.
    pub lun: Lun,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An initiator logged in.
    LoggedIn(Login),
    /// A command: answer it with [`respond`](super::Connection::respond), after taking its data
    /// with [`receive`](super::Connection::receive) if it has any.
    Command(Command),
    /// The data asked for with [`receive`](super::Connection::receive) is there.
    DataOut {
        /// The command.
        task: TaskId,
        /// The data: as much as was asked for, or as the initiator has.
        data: Vec<u8>,
    },
    /// Nobody waits for the outcome of this command any more. If its data was awaited, it is to be
    /// forgotten. If it is being carried out, it may be given up or go on; it is to be answered
    /// all the same (the answer is not sent), and only then does the initiator hear that it is
    /// gone.
    Aborted(TaskId),
    /// A reset: carry it out and answer with
    /// [`task_management_done`](super::Connection::task_management_done). The commands of this
    /// connection that it concerns are already on their way out ([`Event::Aborted`]).
    TaskManagement(TaskManagement),
    /// The end: send what [`poll_output`](super::Connection::poll_output) still has, and close
    /// the connection. Commands still open are to be forgotten.
    Closed(Closed),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// The initiator logged out.
    LoggedOut,
    /// The login was refused.
    LoginRefused {
        /// With this status.
        status: LoginStatus,
        /// For this reason.
        reason: &'static str,
    },
    /// The initiator broke this rule.
    Protocol(&'static str),
    /// A checksum was wrong.
    Digest,
    /// No login in time.
    LoginTimeout,
    /// The initiator does not answer.
    Unresponsive,
    /// The service wanted it.
    Service,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedOut => f.write_str("the initiator logged out"),
            Self::LoginRefused { status, reason } => {
                write!(f, "login refused: {reason} ({status})")
            }
            Self::Protocol(rule) => write!(f, "the initiator broke the iSCSI protocol: {rule}"),
            Self::Digest => f.write_str("a checksum was wrong"),
            Self::LoginTimeout => f.write_str("no login in time"),
            Self::Unresponsive => f.write_str("the initiator does not answer"),
            Self::Service => f.write_str("closed by this server"),
        }
    }
}

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// SCSI status.
    pub status: Status,
    /// Sense data.
    pub sense: Option<Sense>,
    /// Data for the initiator; what it has no room for is not sent.
    pub data: Vec<u8>,
    /// How many bytes the command moves by its own account, in either direction: against what
    /// the initiator announced this makes the residual.
    pub moved: u64,
}

impl Response {
    /// GOOD with data for the initiator.
    #[must_use]
    pub fn data(data: Vec<u8>) -> Self {
        Self {
            status: Status::GOOD,
            sense: None,
            moved: data.len() as u64,
            data,
        }
    }

    /// GOOD after taking what the command wanted to take: `moved` bytes.
    #[must_use]
    pub const fn good(moved: u64) -> Self {
        Self {
            status: Status::GOOD,
            sense: None,
            data: Vec::new(),
            moved,
        }
    }

    /// CHECK CONDITION.
    #[must_use]
    pub const fn check(sense: Sense) -> Self {
        Self {
            status: Status::CHECK_CONDITION,
            sense: Some(sense),
            data: Vec::new(),
            moved: 0,
        }
    }

    /// Another status.
    #[must_use]
    pub const fn status(status: Status) -> Self {
        Self {
            status,
            sense: None,
            data: Vec::new(),
            moved: 0,
        }
    }
}
