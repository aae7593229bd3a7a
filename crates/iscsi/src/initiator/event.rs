//! What an initiator reports: events, the outcome of commands, errors in words.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bowline_scsi::{Lun, Sense, Status};

use crate::name::TargetAddress;
use crate::pdu::RejectReason;
use crate::{Authentication, LoginStatus, Parameters, Residual};

/// Names a command from [`submit`](super::Initiator::submit) to its completion. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) u32);

/// A SCSI command to be sent.
#[derive(Clone, Debug)]
pub struct Command {
    /// The logical unit.
    pub lun: Lun,
    /// The command descriptor block, padded with zeros to 16 bytes.
    pub cdb: [u8; 16],
    /// The data that goes with it.
    pub transfer: Transfer,
    /// Given up after this; `None` is the configured time.
    pub timeout: Option<Duration>,
}

/// The data of a command.
#[derive(Clone, Debug)]
pub enum Transfer {
    /// None.
    None,
    /// Up to this many bytes come from the target.
    Read(u32),
    /// This goes to the target.
    Write(Vec<u8>),
}

/// How a command ended at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// SCSI status.
    pub status: Status,
    /// Data from the target: as much as came.
    pub data: Vec<u8>,
    /// Sense data, with [`Status::CHECK_CONDITION`].
    pub sense: Option<Sense>,
    /// What was moved less or more than announced.
    pub residual: Residual,
}

/// A command that has no SCSI outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskError {
    /// No answer in time; the command is being aborted.
    TimedOut,
    /// Aborted on the caller's request.
    Aborted,
    /// The target refused the request itself.
    Rejected(RejectReason),
    /// The target answered with an iSCSI response code other than "completed"
    /// (RFC 7143 section 11.4.3).
    TargetFailure(u8),
    /// The session ended first; [`Event::Closed`] tells why.
    SessionClosed,
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Aborted => f.write_str("aborted"),
            Self::Rejected(reason) => write!(f, "rejected by the target: {reason}"),
            Self::TargetFailure(code) => write!(f, "the target failed (response code {code:#04x})"),
            Self::SessionClosed => f.write_str("the session ended"),
        }
    }
}

impl core::error::Error for TaskError {}

/// What a login came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The target's handle of the session.
    pub tsih: u16,
    /// The target portal group tag, where the target told it.
    pub portal_group_tag: Option<u16>,
    /// The target's name for people, where it told one.
    pub target_alias: Option<String>,
    /// Who proved themselves.
    pub authentication: Authentication,
    /// The CHAP algorithm, where one was used.
    pub algorithm: Option<crate::Algorithm>,
    /// What was negotiated.
    pub parameters: Parameters,
}

/// One target of a discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveredTarget {
    /// Its iSCSI name.
    pub name: String,
    /// Where it is; empty is "where you asked".
    pub addresses: Vec<TargetAddress>,
}

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Commands may be sent now.
    LoggedIn(Login),
    /// The target is elsewhere: connect there and log in anew. [`Event::Closed`] follows.
    TargetMoved {
        /// Where it is.
        address: TargetAddress,
        /// For good, or for now.
        permanent: bool,
    },
    /// A command is over.
    Completed {
        /// Which.
        task: TaskId,
        /// How.
        result: Result<Completion, TaskError>,
    },
    /// The answer to [`send_targets`](super::Initiator::send_targets).
    Targets(Vec<DiscoveredTarget>),
    /// The target wants us to log out within this time (RFC 7143 section 11.9.1, event 1):
    /// finish, [`logout`](super::Initiator::logout) and log in again if still needed.
    LogoutRequested(Duration),
    /// The target has SCSI news (event 0): sense data, e.g. of a changed size.
    AsyncSense {
        /// The logical unit.
        lun: Lun,
        /// What happened.
        sense: Sense,
    },
    /// A request of ours that is no command was refused. The session goes on.
    Rejected(RejectReason),
    /// The end. Nothing follows; close the connection.
    Closed(Closed),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Logged out as asked.
    LoggedOut,
    /// [`Event::TargetMoved`] told where to go.
    Moved,
    /// It failed.
    Failed(Error),
}

/// Why a login or a session failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    // The target refuses us.
    /// The target did not accept our name and secret.
    AuthenticationFailed,
    /// The target wants a proof, and we have none configured.
    AuthenticationRequired,
    /// The target does not do CHAP, and with credentials configured nothing less is accepted.
    ChapRefused,
    /// The target does none of the CHAP algorithms offered.
    NoCommonAlgorithm,
    /// The target does not exist.
    TargetNotFound,
    /// The login was refused for another reason.
    LoginRefused(LoginStatus),

    // The target did not prove itself.
    /// The target proved itself under another name.
    ReverseNameMismatch {
        /// The name it gave.
        received: String,
    },
    /// The target's proof is wrong: it does not know the secret.
    ReverseSecretMismatch,
    /// The target did not try to prove itself.
    ReverseMissing,
    /// The target sent back our own challenge or our own response.
    ReverseReflected,

    // The target does not keep to the protocol.
    /// A key has a value that it must not have, or is missing.
    Negotiation {
        /// The key.
        key: String,
    },
    /// It broke this rule.
    Protocol(&'static str),
    /// A checksum is wrong: the data was damaged on the way.
    Digest,

    // The connection.
    /// No login within this time.
    LoginTimeout(Duration),
    /// The target does not answer any more, not even to aborts.
    Unresponsive,
    /// The connection was closed.
    ConnectionClosed,
    /// The target told that it drops the connection or session.
    DroppedByTarget,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AuthenticationFailed => f.write_str(
                "CHAP authentication failed: the target did not accept this machine's user name \
                 or password (check `username` and `password`)",
            ),
            Self::AuthenticationRequired => f.write_str(
                "the target wants CHAP authentication, and no credentials are set \
                 (set `username` and `password`)",
            ),
            Self::ChapRefused => f.write_str(
                "the target does not authenticate by CHAP, and with a user name set nothing less \
                 is accepted",
            ),
            Self::NoCommonAlgorithm => {
                f.write_str("the target supports none of the CHAP algorithms offered")
            }
            Self::TargetNotFound => f.write_str("there is no such target (login status 0203)"),
            Self::LoginRefused(status) => write!(f, "the login was refused: {status}"),
            Self::ReverseNameMismatch { received } => write!(
                f,
                "the target failed to prove itself: it gave the name {received:?} \
                 (check `reverse-username`)",
            ),
            Self::ReverseSecretMismatch => f.write_str(
                "the target failed to prove itself: it does not know the reverse password \
                 (check `reverse-password`)",
            ),
            Self::ReverseMissing => f.write_str(
                "the target failed to prove itself: it did not answer the CHAP challenge \
                 (is mutual CHAP configured there?)",
            ),
            Self::ReverseReflected => f.write_str(
                "the target failed to prove itself: it sent back our own challenge or answer \
                 (the two passwords must differ)",
            ),
            Self::Negotiation { key } => {
                write!(
                    f,
                    "the target sent a missing, repeated or illegal value for {key}"
                )
            }
            Self::Protocol(rule) => write!(f, "the target broke the iSCSI protocol: {rule}"),
            Self::Digest => f.write_str("a checksum is wrong: data was damaged on the way"),
            Self::LoginTimeout(after) => {
                write!(f, "no answer to the login within {} s", after.as_secs())
            }
            Self::Unresponsive => f.write_str("the target does not answer any more"),
            Self::ConnectionClosed => f.write_str("the target closed the connection"),
            Self::DroppedByTarget => f.write_str("the target dropped the session"),
        }
    }
}

impl core::error::Error for Error {}

/// A command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// Not logged in, or not any more, or a discovery session.
    NotInFullFeaturePhase,
    /// More data than one command can announce.
    TooLarge,
    /// Too many commands wait already.
    QueueFull,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInFullFeaturePhase => "there is no session to send commands in",
            Self::TooLarge => "the command moves too much data",
            Self::QueueFull => "too many commands are waiting",
        })
    }
}

impl core::error::Error for SubmitError {}
