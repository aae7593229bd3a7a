//! The target: one connection, which is one session (MaxConnections is 1).
//!
//! The service hands in bytes and takes out events: who logged in, which commands came. It
//! carries commands out with [`bowline_scsi::device`] and answers them in any order.
//!
//! ```text
//!   Event::Command ---------------------------------------------------> respond
//!        |                                                                 ^
//!        +-- takes data --> receive --> R2T, Data-Out --> Event::DataOut --+
//! ```
//!
//! Bounds: commands by the CmdSN window ([`Config::queue_depth`]), immediate requests by
//! [`Config::immediate_max`], write data by [`Config::data_out_max`] (and by FirstBurstLength per
//! command for what comes unasked), text by [`crate::text::LENGTH_MAX`]. What waits to be sent
//! is bounded by the service, which stops handing in bytes while [`Connection::output_len`] is
//! large.
//!
//! ErrorRecoveryLevel is 0: an error in the stream ends the connection, after a Reject where one
//! helps.

mod config;
mod data;
mod event;
mod login;
mod requests;
#[cfg(test)]
mod tests;
mod text;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Parameters;
use crate::frame::{self, Decoder, Digests, FrameError, Pdu};
use crate::pdu::{AsyncEvent, AsyncMessage, Header, NO_TAG, NopIn, Numbers, Reject, RejectReason};

pub use config::{Admission, Applicant, Config, Connected, Directory, Listing, Moved};
use data::Task;
pub use event::{Closed, Command, Event, Login, Response, TaskId, TaskManagement};
use login::LoginState;
use requests::Management;
use text::TextState;

/// StatSN starts here (RFC 7143 section 4.2.2.2 leaves it open).
const FIRST_STAT_SN: u32 = 1;

/// The transfer tag of our pings: no R2T has it.
const PING_TAG: u32 = 0xffff_fffe;

/// The target's end of a connection. See the module.
#[derive(Debug)]
pub struct Connection<D> {
    config: Config,
    directory: D,
    connected: Connected,
    phase: Phase,
    decoder: Decoder,
    digests: Digests,
    output: Vec<u8>,
    events: VecDeque<Event>,
    parameters: Parameters,
    /// The initiator's name and target, once logged in.
    session: Option<Session>,
    stat_sn: u32,
    exp_cmd_sn: u32,
    /// Commands and resets that are not answered yet.
    tasks: BTreeMap<TaskId, Task>,
    management: BTreeMap<TaskId, Management>,
    next_task: u64,
    next_transfer_tag: u32,
    text: Option<TextState>,
    /// When the initiator was heard last, and whether it owes an answer to a ping.
    heard: Duration,
    pinged: bool,
}

/// What is known of a session in full feature phase.
#[derive(Clone, Debug)]
struct Session {
    initiator_name: String,
    target_name: Option<String>,
}

#[derive(Debug)]
enum Phase {
    Login(Box<LoginState>),
    FullFeature,
    Closed,
}

impl<D: Directory> Connection<D> {
    /// A connection on which a login is awaited.
    pub fn new(config: Config, directory: D, connected: Connected, now: Duration) -> Self {
        // RFC 7143 section 13.12: at least 512; and a login may use the default.
        let data_max = config
            .parameters
            .max_recv_data_segment_length
            .clamp(8192, 0x00ff_ffff);
        let deadline = now + config.login_timeout;
        Self {
            decoder: Decoder::new(usize::try_from(data_max).unwrap_or(usize::MAX)),
            directory,
            connected,
            phase: Phase::Login(Box::new(LoginState::new(deadline))),
            digests: Digests::default(),
            output: Vec::new(),
            events: VecDeque::new(),
            parameters: Parameters {
                max_recv_data_segment_length: data_max,
                ..Parameters::default()
            },
            session: None,
            stat_sn: FIRST_STAT_SN,
            exp_cmd_sn: 0,
            tasks: BTreeMap::new(),
            management: BTreeMap::new(),
            next_task: 0,
            next_transfer_tag: 1,
            text: None,
            heard: now,
            pinged: false,
            config,
        }
    }

    /// Takes bytes from the connection.
    pub fn handle_input(&mut self, now: Duration, mut bytes: &[u8]) {
        self.heard = now;
        while !bytes.is_empty() && !matches!(self.phase, Phase::Closed) {
            match self.decoder.read(&mut bytes) {
                Ok(None) => return,
                Ok(Some(pdu)) => {
                    if let Err(reason) = self.handle_pdu(&pdu) {
                        self.end(reason);
                    }
                }
                Err(FrameError::HeaderDigest) => self.end(Closed::Digest),
                Err(FrameError::TooLong) => {
                    self.end(Closed::Protocol("a data segment is longer than we allowed"));
                }
            }
        }
    }

    /// Looks at the clock.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &self.phase {
            Phase::Login(_) => self.end(Closed::LoginTimeout),
            Phase::FullFeature if self.pinged => self.end(Closed::Unresponsive),
            Phase::FullFeature => self.ping(now),
            Phase::Closed => {}
        }
    }

    /// Bytes to be sent. Take all events first: some must be seen to before the initiator hears
    /// the answer.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        if self.output.is_empty() {
            None
        } else {
            Some(core::mem::take(&mut self.output))
        }
    }

    /// Gives memory for output to come, so that it need not be had from the system. What it holds
    /// is forgotten.
    pub fn reuse(&mut self, mut memory: Vec<u8>) {
        if self.output.is_empty() {
            memory.clear();
            self.output = memory;
        }
    }

    /// How many bytes wait to be sent.
    #[must_use]
    pub const fn output_len(&self) -> usize {
        self.output.len()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Login(login) => Some(login.deadline),
            Phase::FullFeature => self
                .config
                .ping_interval
                .map(|interval| self.heard + interval),
            Phase::Closed => None,
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Asks the initiator to log out within so many seconds, because the target is about to go
    /// (RFC 7143 section 11.9). Nothing comes of it before the login.
    pub fn request_logout(&mut self, seconds: u16) {
        if !matches!(self.phase, Phase::FullFeature) {
            return;
        }
        let message = AsyncMessage {
            lun: bowline_scsi::Lun::ZERO,
            numbers: self.take_numbers(),
            event: AsyncEvent::REQUEST_LOGOUT,
            vendor_code: 0,
            parameters: [0, 0, seconds],
        };
        self.send(message.header(), &[]);
    }

    /// Ends the connection, e.g. because the initiator logged in anew.
    pub fn close(&mut self) {
        self.end(Closed::Service);
    }

    /// Whether the end was or is about to be reported.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Commands and resets not answered yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.tasks.len() + self.management.len()
    }

    fn handle_pdu(&mut self, pdu: &Pdu<'_>) -> Result<(), Closed> {
        if matches!(self.phase, Phase::Login(_)) {
            return self.handle_login_request(pdu);
        }
        self.pinged = false;
        if !pdu.intact {
            // Without recovery the data is lost, and the command with it (RFC 7143 section 7.7).
            self.reject(RejectReason::DATA_DIGEST_ERROR, &pdu.header);
            return Err(Closed::Digest);
        }
        self.handle_request(pdu)
    }

    /// RFC 7143 section 11.19: asks whether the initiator lives.
    fn ping(&mut self, now: Duration) {
        self.heard = now;
        self.pinged = true;
        let ping = NopIn {
            lun: bowline_scsi::Lun::ZERO,
            initiator_task_tag: NO_TAG,
            target_transfer_tag: PING_TAG,
            numbers: self.numbers(),
        };
        self.send(ping.header(), &[]);
    }

    /// The numbers of a response; StatSN is used up by [`take_numbers`](Self::take_numbers).
    fn numbers(&self) -> Numbers {
        Numbers {
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        }
    }

    fn take_numbers(&mut self) -> Numbers {
        let numbers = self.numbers();
        self.stat_sn = self.stat_sn.wrapping_add(1);
        numbers
    }

    /// As many commands as there is room for (RFC 7143 section 4.2.2.1). It never falls: a
    /// command that comes takes one from each side.
    fn max_cmd_sn(&self) -> u32 {
        let counted = self.tasks.values().filter(|task| !task.immediate).count()
            + self
                .management
                .values()
                .filter(|management| !management.immediate)
                .count();
        let open = u32::try_from(counted).unwrap_or(u32::MAX);
        let room = self.config.queue_depth.saturating_sub(open);
        self.exp_cmd_sn.wrapping_add(room).wrapping_sub(1)
    }

    fn send(&mut self, header: Header, data: &[u8]) {
        frame::write(&mut self.output, self.digests, header, data);
    }

    /// Refuses a PDU and goes on (RFC 7143 section 11.17).
    fn reject(&mut self, reason: RejectReason, refused: &Header) {
        let reject = Reject {
            reason,
            numbers: self.take_numbers(),
            data_sn: 0,
        };
        self.send(reject.header(), &refused.0);
    }

    fn end(&mut self, reason: Closed) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        self.tasks.clear();
        self.management.clear();
        self.events.push_back(Event::Closed(reason));
    }
}
