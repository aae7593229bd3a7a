//! What a target connection is told before it starts, and what it asks while a login goes on.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::chap::{self, Credentials};
use crate::name::{Isid, TargetAddress};
use crate::{Algorithm, LoginStatus, Parameters};

/// Settings of a target connection. The default has good ones.
#[derive(Clone, Debug)]
pub struct Config {
    /// The most we agree to; see [`Parameters`] for each. `max_recv_data_segment_length` is
    /// what we declare.
    pub parameters: Parameters,
    /// Digests that an initiator may ask for. (It has to prefer one over None.)
    pub digests: bool,
    /// Commands an initiator may have open (the CmdSN window).
    pub queue_depth: u32,
    /// Immediate commands and requests an initiator may have open beyond the window.
    pub immediate_max: usize,
    /// Bytes of write data on the way at any time, over all commands of the connection.
    pub data_out_max: u32,
    /// A login has to be over after this.
    pub login_timeout: Duration,
    /// After this time without a word the initiator is asked whether it lives (NOP-In), and
    /// after the same time again the connection is closed. `None` never asks: iPXE does not
    /// answer, and a machine between boot loader and kernel cannot.
    pub ping_interval: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            parameters: Parameters {
                max_recv_data_segment_length: 262_144,
                max_burst_length: 1_048_576,
                first_burst_length: 262_144,
                initial_r2t: false,
                immediate_data: true,
                max_outstanding_r2t: 4,
                ..Parameters::default()
            },
            digests: true,
            queue_depth: 64,
            immediate_max: 16,
            data_out_max: 16 * 1024 * 1024,
            login_timeout: Duration::from_secs(15),
            ping_interval: None,
        }
    }
}

/// What is different for each connection.
#[derive(Clone, Debug)]
pub struct Connected {
    /// The session handle that a login gets. Not zero, and used by no other session.
    pub tsih: u16,
    /// Fresh random bytes: the challenge and identifier for the initiator.
    pub entropy: [u8; chap::ENTROPY_LENGTH],
}

/// Who wants to log in, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applicant<'a> {
    /// The initiator's iSCSI name, not proven yet.
    pub initiator_name: &'a str,
    /// Its part of the session identifier.
    pub isid: Isid,
    /// The target, or `None` for a discovery session.
    pub target_name: Option<&'a str>,
}

/// On which terms an initiator may log in.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// Whom we let in by CHAP. Empty asks for no proof.
    pub credentials: Vec<Credentials>,
    /// By which algorithms of CHAP. Empty lets all.
    pub algorithms: Vec<Algorithm>,
    /// How the target proves itself when the initiator asks for it.
    pub reverse: Option<Credentials>,
    /// The target's name for people.
    pub alias: Option<String>,
    /// The target is elsewhere: the login is refused with its address (RFC 7143 section 11.13.5).
    pub moved: Option<Moved>,
    /// The target portal group tag of the address the initiator came in by.
    pub portal_group_tag: u16,
}

/// Where a target is instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where to log in.
    pub address: TargetAddress,
    /// For good.
    pub permanent: bool,
}

/// A target in the answer to SendTargets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its iSCSI name.
    pub name: String,
    /// Where it is; empty is "where you asked".
    pub addresses: Vec<TargetAddress>,
}

/// The targets there are, as the service knows them.
pub trait Directory {
    /// On which terms `applicant` may log in, or the status to refuse it with:
    /// [`LoginStatus::NOT_FOUND`], [`LoginStatus::OUT_OF_RESOURCES`]...
    ///
    /// # Errors
    /// The status to refuse the login with.
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus>;

    /// The targets that this initiator may see.
    fn targets(&self, initiator_name: &str) -> Vec<Listing>;
}

impl<D: Directory + ?Sized> Directory for &D {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        (**self).admit(applicant)
    }

    fn targets(&self, initiator_name: &str) -> Vec<Listing> {
        (**self).targets(initiator_name)
    }
}

impl<D: Directory + ?Sized> Directory for alloc::sync::Arc<D> {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        (**self).admit(applicant)
    }

    fn targets(&self, initiator_name: &str) -> Vec<Listing> {
        (**self).targets(initiator_name)
    }
}
