//! What an initiator is told before it starts.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::chap::{self, Algorithm, Credentials};
use crate::name::{Isid, is_valid_name};

/// What the session is for (RFC 7143 section 4.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// SCSI commands for one target.
    Normal {
        /// The target's iSCSI name.
        target_name: String,
    },
    /// Only to ask which targets there are.
    Discovery,
}

/// Settings of an initiator. [`Config::new`] has good ones; change what differs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our iSCSI name.
    pub initiator_name: String,
    /// What the session is for.
    pub session: SessionType,
    /// Our part of the session identifier.
    pub isid: Isid,
    /// How we prove ourselves. With these, a login without CHAP is not accepted.
    pub credentials: Option<Credentials>,
    /// How the target is to prove itself. Needs `credentials`.
    pub reverse: Option<Credentials>,
    /// CHAP algorithms offered, the preferred one first ([`Algorithm::OFFERED`]).
    pub chap_algorithms: Vec<Algorithm>,
    /// Insist on CRC32C over headers.
    pub header_digest: bool,
    /// Insist on CRC32C over data.
    pub data_digest: bool,
    /// The largest data segment we take.
    pub max_recv_data_segment_length: u32,
    /// Offered for the largest sequence of data.
    pub max_burst_length: u32,
    /// Offered for the data that may go without being asked for.
    pub first_burst_length: u32,
    /// Offered: `false` lets data beyond the command follow without being asked for.
    pub initial_r2t: bool,
    /// Offered: data may travel with the command.
    pub immediate_data: bool,
    /// Offered: how many requests for data the target may have open per command.
    pub max_outstanding_r2t: u16,
    /// Commands in flight at most; the target's window may allow fewer.
    pub commands_max: usize,
    /// The login is given up after this.
    pub login_timeout: Duration,
    /// A command is given up (and aborted) after this, where it names no time of its own.
    pub command_timeout: Duration,
    /// After this time without a word the target is asked whether it lives (NOP-Out), and after
    /// the same time again the session is given up. `None` never asks.
    pub ping_interval: Option<Duration>,
    /// Fresh random bytes: the challenge and identifier for the target. Never use them twice.
    pub entropy: [u8; chap::ENTROPY_LENGTH],
}

impl Config {
    /// A normal session without authentication.
    #[must_use]
    pub fn new(
        initiator_name: &str,
        target_name: &str,
        isid: Isid,
        entropy: [u8; chap::ENTROPY_LENGTH],
    ) -> Self {
        let session = SessionType::Normal {
            target_name: target_name.into(),
        };
        Self {
            initiator_name: initiator_name.into(),
            session,
            isid,
            credentials: None,
            reverse: None,
            chap_algorithms: Algorithm::OFFERED.to_vec(),
            header_digest: false,
            data_digest: false,
            max_recv_data_segment_length: 262_144,
            max_burst_length: 1_048_576,
            first_burst_length: 262_144,
            initial_r2t: false,
            immediate_data: true,
            max_outstanding_r2t: 4,
            commands_max: 32,
            login_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(30),
            ping_interval: None,
            entropy,
        }
    }

    /// A discovery session without authentication.
    #[must_use]
    pub fn discovery(
        initiator_name: &str,
        isid: Isid,
        entropy: [u8; chap::ENTROPY_LENGTH],
    ) -> Self {
        let session = SessionType::Discovery;
        Self {
            session,
            ..Self::new(initiator_name, "", isid, entropy)
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !is_valid_name(&self.initiator_name) {
            return Err(ConfigError::InitiatorName);
        }
        // Targets with names outside the rules exist; only what cannot be sent is refused.
        if let SessionType::Normal { target_name } = &self.session
            && (target_name.is_empty() || target_name.len() > crate::name::NAME_MAX)
        {
            return Err(ConfigError::TargetName);
        }
        match (&self.credentials, &self.reverse) {
            (None, Some(_)) => return Err(ConfigError::ReverseWithoutCredentials),
            // RFC 7143 section 9.2.1: one secret must not serve both directions.
            (Some(ours), Some(theirs)) if ours.secret.matches(&theirs.secret) => {
                return Err(ConfigError::SameSecret);
            }
            _ => {}
        }
        if self.credentials.is_some() && self.chap_algorithms.is_empty() {
            return Err(ConfigError::NoAlgorithms);
        }
        let length = 512..=0x00ff_ffff_u32; // RFC 7143 sections 13.12 to 13.14
        let lengths = [
            self.max_recv_data_segment_length,
            self.max_burst_length,
            self.first_burst_length,
        ];
        if !lengths.iter().all(|value| length.contains(value))
            || self.first_burst_length > self.max_burst_length
            || self.max_outstanding_r2t == 0
            || self.commands_max == 0
        {
            return Err(ConfigError::Lengths);
        }
        Ok(())
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// Our own name is no iSCSI name.
    InitiatorName,
    /// The target's name is missing or too long.
    TargetName,
    /// The target is to prove itself but we have nothing to prove ourselves with.
    ReverseWithoutCredentials,
    /// Both directions have the same secret.
    SameSecret,
    /// No CHAP algorithm to offer.
    NoAlgorithms,
    /// A length or count is outside of what RFC 7143 allows.
    Lengths,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InitiatorName => {
                "the initiator name is no iSCSI name (like iqn.2000-01.com.example:host, lower case)"
            }
            Self::TargetName => "the target name is missing or longer than 223 bytes",
            Self::ReverseWithoutCredentials => {
                "mutual CHAP needs a user name and password for this machine as well"
            }
            Self::SameSecret => {
                "the password and the reverse password are the same: RFC 7143 wants two different ones"
            }
            Self::NoAlgorithms => "no CHAP algorithm is allowed",
            Self::Lengths => "a length or count is outside of what RFC 7143 allows",
        })
    }
}

impl core::error::Error for ConfigError {}
