//! The initiator: logs in to a target and sends it SCSI commands.
//!
//! Login takes one round trip without authentication (it starts in the operational stage,
//! RFC 7143 section 6.3) and four with CHAP: method, algorithm, response, parameters. The last
//! two could be one where a target takes operational keys in the security stage, but several do
//! not. Commands are queued behind the CmdSN window and the configured limit; as many as fit are
//! in flight at once.
//!
//! ErrorRecoveryLevel is 0: anything wrong on the connection ends the session, and every command
//! still open completes with [`TaskError::SessionClosed`] before [`Event::Closed`].

mod config;
mod event;
mod login;
mod tasks;
#[cfg(test)]
mod tests;
mod text;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use litemap::LiteMap;

use bowline_scsi::Lun;

use crate::Parameters;
use crate::frame::{self, Decoder, Digests, FrameError, Pdu};
use crate::pdu::{
    AsyncEvent, AsyncMessage, Header, LogoutRequest, LogoutResponse, NO_TAG, NopIn, NopOut,
    Numbers, Reject, opcode,
};
use crate::serial;

pub use config::{Config, ConfigError, SessionType};
pub use event::{
    Closed, Command, Completion, DiscoveredTarget, Error, Event, Login, SubmitError, TaskError,
    TaskId, Transfer,
};
use login::LoginState;
use tasks::{Aborting, Task};

/// How long a logout may take.
const LOGOUT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection identifier of our only connection.
const CID: u16 = 0;

/// CmdSN starts here (RFC 7143 section 4.2.2.1 leaves it open).
const FIRST_CMD_SN: u32 = 1;

/// An iSCSI initiator with one session of one connection. See the module.
#[derive(Debug)]
pub struct Initiator {
    config: Config,
    phase: Phase,
    decoder: Decoder,
    digests: Digests,
    output: Vec<u8>,
    events: VecDeque<Event>,
    parameters: Parameters,
    cmd_sn: u32,
    exp_stat_sn: u32,
    max_cmd_sn: u32,
    exp_cmd_sn: u32,
    /// The next task tag; also used for requests that are no commands.
    next_tag: u32,
    /// Commands that wait for the window, in order.
    waiting: VecDeque<Task>,
    /// Commands in flight, by their tag.
    active: LiteMap<u32, Task>,
    /// Commands being aborted, by the tag of the abort.
    aborting: LiteMap<u32, Aborting>,
    /// A SendTargets under way.
    discovery: Option<text::Discovery>,
    /// When the target was heard last or asked whether it lives, and the tag of the question.
    heard: Duration,
    ping: Option<u32>,
}

#[derive(Debug)]
enum Phase {
    Login(Box<LoginState>),
    FullFeature,
    LoggingOut { tag: u32, deadline: Duration },
    Closed,
}

impl Initiator {
    /// Starts a login: the first request is ready to be sent.
    ///
    /// # Errors
    /// [`ConfigError`] for settings that cannot work.
    pub fn new(config: Config, now: Duration) -> Result<Self, ConfigError> {
        config.check()?;
        let data_max = usize::try_from(config.max_recv_data_segment_length).unwrap_or(usize::MAX);
        let mut initiator = Self {
            // A login response may be as long as the default, whatever we declare.
            decoder: Decoder::new(data_max.max(8192)),
            digests: Digests::default(),
            output: Vec::new(),
            events: VecDeque::new(),
            parameters: Parameters {
                max_recv_data_segment_length: config.max_recv_data_segment_length,
                ..Parameters::default()
            },
            cmd_sn: FIRST_CMD_SN,
            exp_stat_sn: 0,
            max_cmd_sn: FIRST_CMD_SN,
            exp_cmd_sn: FIRST_CMD_SN,
            next_tag: 1,
            waiting: VecDeque::new(),
            active: LiteMap::new(),
            aborting: LiteMap::new(),
            discovery: None,
            heard: now,
            ping: None,
            phase: Phase::Closed,
            config,
        };
        let login = initiator.start_login(now);
        initiator.phase = Phase::Login(Box::new(login));
        Ok(initiator)
    }

    /// Takes bytes from the connection.
    pub fn handle_input(&mut self, now: Duration, mut bytes: &[u8]) {
        self.heard = now;
        while !bytes.is_empty() && !matches!(self.phase, Phase::Closed) {
            let outcome = match self.decoder.read(&mut bytes) {
                Ok(None) => return,
                Ok(Some(pdu)) => self.handle_pdu(&pdu),
                Err(FrameError::HeaderDigest) => Err(Error::Digest),
                Err(FrameError::TooLong) => {
                    Err(Error::Protocol("a data segment is longer than we allowed"))
                }
            };
            if let Err(error) = outcome {
                self.close(Closed::Failed(error));
            }
        }
    }

    /// Looks at the clock.
    pub fn handle_timeout(&mut self, now: Duration) {
        match &self.phase {
            Phase::Closed => {}
            Phase::Login(login) => {
                if now >= login.deadline {
                    let after = self.config.login_timeout;
                    self.close(Closed::Failed(Error::LoginTimeout(after)));
                }
            }
            Phase::LoggingOut { deadline, .. } => {
                if now >= *deadline {
                    self.close(Closed::Failed(Error::Unresponsive));
                }
            }
            Phase::FullFeature => self.expire(now),
        }
        if self.silence_ends().is_some_and(|moment| now >= moment) {
            match self.ping {
                Some(_) => self.close(Closed::Failed(Error::Unresponsive)),
                None => self.send_ping(now),
            }
        }
    }

    /// The peer closed the connection.
    pub fn handle_close(&mut self, _now: Duration) {
        match self.phase {
            Phase::Closed => {}
            Phase::LoggingOut { .. } => self.close(Closed::LoggedOut),
            _ => self.close(Closed::Failed(Error::ConnectionClosed)),
        }
    }

    /// Bytes to be sent.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        if self.output.is_empty() {
            None
        } else {
            Some(core::mem::take(&mut self.output))
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Closed => None,
            Phase::Login(login) => Some(login.deadline),
            Phase::LoggingOut { deadline, .. } => Some(*deadline),
            Phase::FullFeature => self
                .next_expiry()
                .into_iter()
                .chain(self.silence_ends())
                .min(),
        }
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether commands can be submitted.
    #[must_use]
    pub const fn is_logged_in(&self) -> bool {
        matches!(self.phase, Phase::FullFeature)
    }

    /// Whether [`Event::Closed`] was or is about to be reported.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Commands submitted and not completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.waiting.len() + self.active.len()
    }

    /// What was negotiated; the defaults before.
    #[must_use]
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Ends the session (RFC 7143 section 11.14). Open commands complete with
    /// [`TaskError::SessionClosed`]. During a login the session just ends.
    pub fn logout(&mut self, now: Duration) {
        match self.phase {
            Phase::FullFeature => {
                let tag = self.take_tag();
                let request = LogoutRequest {
                    immediate: true,
                    reason: 0,
                    initiator_task_tag: tag,
                    cid: CID,
                    cmd_sn: self.cmd_sn,
                    exp_stat_sn: self.exp_stat_sn,
                };
                self.send(request.header(), &[]);
                self.phase = Phase::LoggingOut {
                    tag,
                    deadline: now + LOGOUT_TIMEOUT,
                };
                self.fail_tasks();
            }
            Phase::Login(_) => self.close(Closed::LoggedOut),
            Phase::LoggingOut { .. } | Phase::Closed => {}
        }
    }

    fn handle_pdu(&mut self, pdu: &Pdu<'_>) -> Result<(), Error> {
        if !pdu.intact {
            return Err(Error::Digest); // ErrorRecoveryLevel 0: RFC 7143 section 7.7
        }
        if matches!(self.phase, Phase::Login(_)) {
            return match pdu.header.opcode() {
                opcode::LOGIN_RESPONSE => self.handle_login_response(pdu),
                _ => Err(Error::Protocol("something else than a login response came")),
            };
        }
        let header = &pdu.header;
        match header.opcode() {
            opcode::DATA_IN => self.handle_data_in(header, &pdu.data)?,
            opcode::SCSI_RESPONSE => self.handle_scsi_response(header, &pdu.data)?,
            opcode::R2T => self.handle_r2t(header)?,
            opcode::NOP_IN => self.handle_nop_in(header)?,
            opcode::TASK_MANAGEMENT_RESPONSE => self.handle_task_management_response(header)?,
            opcode::TEXT_RESPONSE => self.handle_text_response(header, &pdu.data)?,
            opcode::ASYNC_MESSAGE => self.handle_async_message(header, &pdu.data)?,
            opcode::REJECT => self.handle_reject(header, &pdu.data)?,
            opcode::LOGOUT_RESPONSE => self.handle_logout_response(header)?,
            _ => return Err(Error::Protocol("a PDU came that targets do not send")),
        }
        self.send_waiting();
        Ok(())
    }

    /// When the target has been silent for as long as [`Config::ping_interval`] allows.
    fn silence_ends(&self) -> Option<Duration> {
        let interval = self.config.ping_interval?;
        matches!(self.phase, Phase::FullFeature).then(|| self.heard.saturating_add(interval))
    }

    /// RFC 7143 section 11.18: asks whether the target lives.
    fn send_ping(&mut self, now: Duration) {
        let tag = self.take_tag();
        self.heard = now;
        self.ping = Some(tag);
        let question = NopOut {
            immediate: true,
            lun: Lun::ZERO,
            initiator_task_tag: tag,
            target_transfer_tag: NO_TAG,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        };
        self.send(question.header(), &[]);
    }

    /// RFC 7143 section 11.19: a NOP-In with a transfer tag wants an answer; one with a task tag
    /// is the answer to a NOP-Out of ours.
    fn handle_nop_in(&mut self, header: &Header) -> Result<(), Error> {
        let nop = NopIn::parse(header);
        if nop.initiator_task_tag != NO_TAG {
            if self.ping != Some(nop.initiator_task_tag) {
                return Err(Error::Protocol(
                    "a NOP-In answers a NOP-Out that was not sent",
                ));
            }
            self.ping = None;
            self.take_status(nop.numbers);
            return Ok(());
        }
        // It carries the next StatSN and does not use it up.
        self.take_window(nop.numbers);
        if nop.target_transfer_tag != NO_TAG {
            let answer = NopOut {
                immediate: true,
                lun: nop.lun,
                initiator_task_tag: NO_TAG,
                target_transfer_tag: nop.target_transfer_tag,
                cmd_sn: self.cmd_sn,
                exp_stat_sn: self.exp_stat_sn,
            };
            self.send(answer.header(), &[]);
        }
        Ok(())
    }

    /// RFC 7143 section 11.9.
    fn handle_async_message(&mut self, header: &Header, data: &[u8]) -> Result<(), Error> {
        let message = AsyncMessage::parse(header);
        self.take_status(message.numbers);
        match message.event {
            AsyncEvent::SCSI => {
                if let Some(sense) = tasks::sense(data) {
                    self.events.push_back(Event::AsyncSense {
                        lun: message.lun,
                        sense,
                    });
                }
            }
            // To negotiate again has no use here: the session is ended in an orderly way.
            AsyncEvent::REQUEST_LOGOUT | AsyncEvent::REQUEST_NEGOTIATION => {
                let [_, _, seconds] = message.parameters;
                let within = Duration::from_secs(u64::from(seconds));
                self.events.push_back(Event::LogoutRequested(within));
            }
            AsyncEvent::DROP_CONNECTION | AsyncEvent::DROP_SESSION => {
                return Err(Error::DroppedByTarget);
            }
            _ => {} // vendor specific
        }
        Ok(())
    }

    /// RFC 7143 section 11.17: the data segment is the header that was refused.
    fn handle_reject(&mut self, header: &Header, data: &[u8]) -> Result<(), Error> {
        let reject = Reject::parse(header);
        self.take_status(reject.numbers);
        let refused = data.first_chunk().copied().map(Header);
        let tag = refused.map_or(NO_TAG, |refused| refused.initiator_task_tag());
        let is_command = refused.is_some_and(|refused| {
            matches!(refused.opcode(), opcode::SCSI_COMMAND | opcode::DATA_OUT)
        });
        if is_command && let Some(task) = self.active.remove(&tag) {
            self.complete(task.id, Err(TaskError::Rejected(reject.reason)));
        } else {
            // An abort that is refused will not be answered.
            self.aborting.remove(&tag);
            self.events.push_back(Event::Rejected(reject.reason));
        }
        Ok(())
    }

    fn handle_logout_response(&mut self, header: &Header) -> Result<(), Error> {
        let response = LogoutResponse::parse(header);
        match self.phase {
            Phase::LoggingOut { tag, .. } if tag == response.initiator_task_tag => {
                self.close(Closed::LoggedOut);
                Ok(())
            }
            _ => Err(Error::Protocol("a logout response came without a request")),
        }
    }

    /// Takes the numbers of a response that has a status (RFC 7143 section 4.2.2.2). A gap means
    /// nothing without recovery: a command that lost its answer times out. Targets that count
    /// otherwise exist, and Linux lives with them.
    fn take_status(&mut self, numbers: Numbers) {
        let next = numbers.stat_sn.wrapping_add(1);
        if serial::before(self.exp_stat_sn, next) {
            self.exp_stat_sn = next;
        }
        self.take_window(numbers);
    }

    /// Takes ExpCmdSN and MaxCmdSN; they only ever grow, and a pair that contradicts itself
    /// does not count (RFC 7143 section 4.2.2.1).
    fn take_window(&mut self, numbers: Numbers) {
        if serial::before(numbers.max_cmd_sn, numbers.exp_cmd_sn.wrapping_sub(1)) {
            return;
        }
        if serial::before(self.max_cmd_sn, numbers.max_cmd_sn) {
            self.max_cmd_sn = numbers.max_cmd_sn;
        }
        if serial::before(self.exp_cmd_sn, numbers.exp_cmd_sn) {
            self.exp_cmd_sn = numbers.exp_cmd_sn;
        }
    }

    fn send(&mut self, header: Header, data: &[u8]) {
        frame::write(&mut self.output, self.digests, header, data);
    }

    fn take_tag(&mut self) -> u32 {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        if self.next_tag == NO_TAG {
            self.next_tag = 0;
        }
        tag
    }

    fn fail_tasks(&mut self) {
        let active = core::mem::take(&mut self.active).into_iter();
        let active = active.map(|(_, task)| task);
        let waiting = core::mem::take(&mut self.waiting);
        let ids: Vec<_> = active.chain(waiting).map(|task| task.id).collect();
        ids.into_iter()
            .for_each(|id| self.complete(id, Err(TaskError::SessionClosed)));
        self.aborting.clear();
        self.discovery = None;
    }

    /// The end of everything.
    fn close(&mut self, reason: Closed) {
        self.fail_tasks();
        if matches!(reason, Closed::Failed(_)) {
            self.output.clear();
        }
        self.phase = Phase::Closed;
        self.events.push_back(Event::Closed(reason));
    }
}
