//! Commands in flight: sending them and their data, placing data that comes back, giving up.

use alloc::vec::Vec;
use core::time::Duration;

use bowline_scsi::{Lun, Sense, Status};

use super::{Closed, Command, Completion, Error, Event, Initiator, Phase, SubmitError};
use super::{TaskError, TaskId, Transfer};
use crate::Residual;
use crate::pdu::SIMPLE;
use crate::pdu::{
    DataIn, DataOut, Header, NO_TAG, Numbers, R2t, ScsiCommand, ScsiResponse,
    TaskManagementFunction, TaskManagementRequest, TaskManagementResponse,
};
use crate::serial;

/// Commands that may wait for the window.
const WAITING_MAX: usize = 4096;

/// How long an abort may take before the session is given up.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// A command from its submission to its completion.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: TaskId,
    lun: Lun,
    cdb: [u8; 16],
    deadline: Duration,
    cmd_sn: u32,
    /// Data to be sent.
    outgoing: Option<Vec<u8>>,
    /// Data that came, from the start without a gap, and how much may come.
    incoming: Vec<u8>,
    incoming_max: u32,
    /// Data-In PDUs and R2Ts so far; they count together (RFC 7143 section 11.8.3).
    data_sn: u32,
}

impl Task {
    /// Expected Data Transfer Length.
    fn expected_length(&self) -> u32 {
        match &self.outgoing {
            Some(data) => u32::try_from(data.len()).unwrap_or(u32::MAX),
            None => self.incoming_max,
        }
    }
}

/// A command that is being aborted.
#[derive(Debug)]
pub(super) struct Aborting {
    referenced: u32,
    deadline: Duration,
}

impl Initiator {
    /// Queues a command; it is sent as soon as the target has room for it. The data of a read
    /// comes with [`Event::Completed`].
    ///
    /// # Errors
    /// [`SubmitError`] where it cannot be queued.
    pub fn submit(&mut self, now: Duration, command: Command) -> Result<TaskId, SubmitError> {
        if !matches!(self.phase, Phase::FullFeature)
            || self.config.session == super::SessionType::Discovery
        {
            return Err(SubmitError::NotInFullFeaturePhase);
        }
        if self.waiting.len() >= WAITING_MAX {
            return Err(SubmitError::QueueFull);
        }
        let (outgoing, incoming_max) = match command.transfer {
            Transfer::None => (None, 0),
            Transfer::Read(length) => (None, length),
            Transfer::Write(data) if u32::try_from(data.len()).is_err() => {
                return Err(SubmitError::TooLarge);
            }
            Transfer::Write(data) => (Some(data), 0),
        };
        let id = TaskId(self.take_tag());
        self.waiting.push_back(Task {
            id,
            lun: command.lun,
            cdb: command.cdb,
            deadline: now + command.timeout.unwrap_or(self.config.command_timeout),
            cmd_sn: 0,
            outgoing,
            incoming: Vec::new(),
            incoming_max,
            data_sn: 0,
        });
        self.send_waiting();
        Ok(id)
    }

    /// Gives a command up: it completes at once with [`TaskError::Aborted`], and the target is
    /// told (ABORT TASK, RFC 7143 section 11.5.1). Nothing happens if it is over already.
    pub fn abort(&mut self, now: Duration, task: TaskId) {
        self.give_up(now, task, TaskError::Aborted);
        self.send_waiting();
    }

    fn give_up(&mut self, now: Duration, id: TaskId, reason: TaskError) {
        if let Some(position) = self.waiting.iter().position(|task| task.id == id) {
            self.waiting.remove(position);
            self.complete(id, Err(reason));
            return;
        }
        let Some(task) = self.active.remove(&id.0) else {
            return;
        };
        let tag = self.take_tag();
        let request = TaskManagementRequest {
            immediate: true,
            function: TaskManagementFunction::ABORT_TASK,
            lun: task.lun,
            initiator_task_tag: tag,
            referenced_task_tag: id.0,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
            ref_cmd_sn: task.cmd_sn,
            exp_data_sn: 0,
        };
        self.send(request.header(), &[]);
        self.aborting.insert(
            tag,
            Aborting {
                referenced: id.0,
                deadline: now + ABORT_TIMEOUT,
            },
        );
        self.complete(id, Err(reason));
    }

    pub(super) fn next_expiry(&self) -> Option<Duration> {
        let active = self.active.values().map(|task| task.deadline);
        let waiting = self.waiting.iter().map(|task| task.deadline);
        let aborting = self.aborting.values().map(|abort| abort.deadline);
        let discovery = self.discovery.iter().map(|discovery| discovery.deadline);
        active.chain(waiting).chain(aborting).chain(discovery).min()
    }

    pub(super) fn expire(&mut self, now: Duration) {
        let abort_expired = self.aborting.values().any(|abort| now >= abort.deadline);
        let discovery_expired = self.discovery.as_ref().is_some_and(|d| now >= d.deadline);
        if abort_expired || discovery_expired {
            self.close(Closed::Failed(Error::Unresponsive));
            return;
        }
        let tasks = self.active.values().chain(&self.waiting);
        let expired: Vec<_> = tasks
            .filter(|task| now >= task.deadline)
            .map(|task| task.id)
            .collect();
        expired
            .into_iter()
            .for_each(|id| self.give_up(now, id, TaskError::TimedOut));
        self.send_waiting();
    }

    pub(super) fn complete(&mut self, task: TaskId, result: Result<Completion, TaskError>) {
        self.events.push_back(Event::Completed { task, result });
    }

    /// Sends what waits, as far as the window and the limit allow.
    pub(super) fn send_waiting(&mut self) {
        while matches!(self.phase, Phase::FullFeature)
            && self.active.len() < self.config.commands_max
            && !serial::before(self.max_cmd_sn, self.cmd_sn)
        {
            let Some(mut task) = self.waiting.pop_front() else {
                return;
            };
            task.cmd_sn = self.cmd_sn;
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
            self.send_command(&task);
            self.active.insert(task.id.0, task);
        }
    }

    /// The command with its immediate data, and the unsolicited data behind it
    /// (RFC 7143 sections 4.2.5.2, 13.10 and 13.11).
    fn send_command(&mut self, task: &Task) {
        let agreed = &self.parameters;
        let data = task.outgoing.as_deref().unwrap_or_default();
        let first_burst = as_usize(agreed.first_burst_length).min(data.len());
        let immediate = if agreed.immediate_data {
            first_burst.min(as_usize(agreed.max_send_data_segment_length))
        } else {
            0
        };
        let unsolicited = if agreed.initial_r2t {
            immediate
        } else {
            first_burst
        };
        let command = ScsiCommand {
            immediate: false,
            is_final: unsolicited <= immediate,
            read: task.outgoing.is_none() && task.incoming_max > 0,
            write: task.outgoing.as_ref().is_some_and(|data| !data.is_empty()),
            attribute: SIMPLE,
            lun: task.lun,
            initiator_task_tag: task.id.0,
            expected_data_transfer_length: task.expected_length(),
            cmd_sn: task.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
            cdb: task.cdb,
        };
        self.send(command.header(), data.get(..immediate).unwrap_or_default());
        if unsolicited > immediate {
            let data = data.get(immediate..unsolicited).unwrap_or_default();
            self.send_data(task.id.0, Lun::ZERO, NO_TAG, immediate, data);
        }
    }

    /// One sequence of Data-Out PDUs (RFC 7143 section 11.7).
    fn send_data(&mut self, tag: u32, lun: Lun, transfer_tag: u32, offset: usize, data: &[u8]) {
        let segment = as_usize(self.parameters.max_send_data_segment_length).max(1);
        let count = data.len().div_ceil(segment);
        let mut offset = u32::try_from(offset).unwrap_or(u32::MAX);
        for (data_sn, piece) in (0_u32..).zip(data.chunks(segment)) {
            let header = DataOut {
                is_final: as_usize(data_sn) + 1 == count,
                lun,
                initiator_task_tag: tag,
                target_transfer_tag: transfer_tag,
                exp_stat_sn: self.exp_stat_sn,
                data_sn,
                buffer_offset: offset,
            };
            self.send(header.header(), piece);
            offset = offset.saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX));
        }
    }

    /// RFC 7143 section 11.8.
    pub(super) fn handle_r2t(&mut self, header: &Header) -> Result<(), Error> {
        let request = R2t::parse(header);
        self.take_window(request.numbers);
        let tag = request.initiator_task_tag;
        let Some(mut task) = self.active.remove(&tag) else {
            return self.check_stray(tag);
        };
        let offset = as_usize(request.buffer_offset);
        let length = as_usize(request.desired_data_transfer_length);
        let data = offset.checked_add(length).and_then(|end| {
            task.outgoing
                .as_deref()
                .unwrap_or_default()
                .get(offset..end)
        });
        let in_order = request.r2t_sn == task.data_sn;
        let outcome = match data {
            Some(data)
                if in_order
                    && !data.is_empty()
                    && length <= as_usize(self.parameters.max_burst_length)
                    && request.target_transfer_tag != NO_TAG =>
            {
                self.send_data(tag, request.lun, request.target_transfer_tag, offset, data);
                Ok(())
            }
            _ => Err(Error::Protocol(
                "an R2T asks for data that the command does not have",
            )),
        };
        task.data_sn = task.data_sn.wrapping_add(1);
        self.active.insert(tag, task);
        outcome
    }

    /// RFC 7143 section 11.7; with S it ends the command.
    pub(super) fn handle_data_in(&mut self, header: &Header, data: &[u8]) -> Result<(), Error> {
        let data_in = DataIn::parse(header);
        match data_in.status {
            Some(_) => self.take_status(data_in.numbers),
            // StatSN is reserved then.
            None => self.take_window(Numbers {
                stat_sn: 0,
                ..data_in.numbers
            }),
        }
        let tag = data_in.initiator_task_tag;
        let Some(task) = self.active.get_mut(&tag) else {
            return self.check_stray(tag);
        };
        // DataPDUInOrder and DataSequenceInOrder are Yes: there is no gap and no way back.
        let offset = as_usize(data_in.buffer_offset);
        let end = offset.saturating_add(data.len());
        if data_in.data_sn != task.data_sn || offset != task.incoming.len() {
            return Err(Error::Protocol(
                "data of a command is missing or out of order",
            ));
        }
        if end > as_usize(task.incoming_max) {
            return Err(Error::Protocol("more data came than the command asked for"));
        }
        if task.incoming.is_empty() {
            task.incoming.reserve_exact(as_usize(task.incoming_max));
        }
        task.incoming.extend_from_slice(data);
        task.data_sn = task.data_sn.wrapping_add(1);
        match data_in.status {
            Some((status, residual)) if data_in.is_final => {
                self.finish_task(tag, status, None, residual)
            }
            Some(_) => Err(Error::Protocol("a status came before the last data")),
            None => Ok(()),
        }
    }

    /// RFC 7143 section 11.4.
    pub(super) fn handle_scsi_response(
        &mut self,
        header: &Header,
        data: &[u8],
    ) -> Result<(), Error> {
        let response = ScsiResponse::parse(header);
        self.take_status(response.numbers);
        let tag = response.initiator_task_tag;
        if !self.active.contains_key(&tag) {
            return self.check_stray(tag);
        }
        if response.response != 0 {
            if let Some(task) = self.active.remove(&tag) {
                self.complete(task.id, Err(TaskError::TargetFailure(response.response)));
            }
            return Ok(());
        }
        self.finish_task(tag, response.status, sense(data), response.residual)
    }

    fn finish_task(
        &mut self,
        tag: u32,
        status: Status,
        sense: Option<Sense>,
        residual: Residual,
    ) -> Result<(), Error> {
        let Some(task) = self.active.remove(&tag) else {
            return Ok(());
        };
        let missing = match residual {
            Residual::Underflow(missing) => missing,
            Residual::None | Residual::Overflow(_) => 0,
        };
        let whole = as_usize(task.incoming_max.saturating_sub(missing));
        let is_short = task.outgoing.is_none() && task.incoming.len() < whole;
        if status == Status::GOOD && is_short {
            // Put back, so that it completes with the end of the session like the others.
            self.active.insert(tag, task);
            return Err(Error::Protocol(
                "a command ended well before all its data came",
            ));
        }
        let completion = Completion {
            status,
            data: task.incoming,
            sense,
            residual,
        };
        self.complete(task.id, Ok(completion));
        Ok(())
    }

    /// RFC 7143 section 11.6.
    pub(super) fn handle_task_management_response(&mut self, header: &Header) -> Result<(), Error> {
        let response = TaskManagementResponse::parse(header);
        self.take_status(response.numbers);
        // Whatever the outcome: the command is over here, and nothing of it follows.
        match self.aborting.remove(&response.initiator_task_tag) {
            Some(_) => Ok(()),
            None if matches!(self.phase, Phase::LoggingOut { .. }) => Ok(()),
            None => Err(Error::Protocol(
                "a task management response came without a request",
            )),
        }
    }

    /// A PDU for a command that is not there: fine where it is being aborted or the session
    /// ends, otherwise the target is confused.
    fn check_stray(&self, tag: u32) -> Result<(), Error> {
        let aborted = self.aborting.values().any(|abort| abort.referenced == tag);
        if aborted || matches!(self.phase, Phase::LoggingOut { .. }) {
            return Ok(());
        }
        Err(Error::Protocol(
            "an answer came to a command that was not sent",
        ))
    }
}

/// Sense data of a response: a length, then the data (RFC 7143 section 11.4.7.2).
pub(super) fn sense(data: &[u8]) -> Option<Sense> {
    let (length, sense) = data
        .split_first_chunk()
        .map(|(l, s)| (u16::from_be_bytes(*l), s))?;
    Sense::parse(sense.get(..usize::from(length)).unwrap_or(sense))
}

fn as_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
