//! Commands and their data: collecting what initiators send, splitting what they get
//! (RFC 7143 sections 4.2.5.2, 11.4, 11.7 and 11.8).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bowline_scsi::{Lun, Sense, SenseKey, Status};

use super::{Closed, Command, Connection, Directory, Event, Response, TaskId};
use crate::Residual;
use crate::pdu::{DataIn, DataOut, NO_TAG, Numbers, R2t, RejectReason, ScsiCommand, ScsiResponse};

/// RFC 7143 section 11.4.7.2: ABORTED COMMAND, incorrect amount of data.
const INCORRECT_AMOUNT_OF_DATA: Sense = Sense::new(SenseKey::ABORTED_COMMAND, 0x0c, 0x0d);

/// A command from its arrival to its answer.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) tag: u32,
    pub(super) lun: Lun,
    pub(super) immediate: bool,
    /// Nobody waits for the outcome any more.
    pub(super) aborted: bool,
    cdb: [u8; 16],
    read_length: u32,
    write_length: u32,
    /// Data that came, from the start without a gap.
    data: Vec<u8>,
    input: Input,
    /// R2Ts that are open, in order; data comes in that order (DataSequenceInOrder).
    open: VecDeque<Solicited>,
    /// Where the next R2T starts.
    solicited: u32,
    /// Data-In PDUs and R2Ts so far; they count together (RFC 7143 section 11.8.3).
    data_sn: u32,
    /// Data given to the initiator so far.
    sent: u32,
}

/// What a command takes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Unsolicited data, of which this many PDUs came.
    Unsolicited { data_sn: u32 },
    /// Nothing: the service has the command.
    Idle,
    /// Data until there are this many bytes; R2Ts wait until there is memory.
    Waiting { wanted: u32 },
    /// The same, with the memory set aside.
    Collecting { wanted: u32 },
    /// Nothing any more: the service has the data, and the memory counts until the answer.
    Taken { reserved: u32 },
}

/// An R2T.
#[derive(Debug)]
struct Solicited {
    transfer_tag: u32,
    end: u32,
    data_sn: u32,
}

impl Task {
    /// What the initiator announced, in the direction it announced.
    const fn expected_length(&self) -> u32 {
        if self.write_length > 0 {
            self.write_length
        } else {
            self.read_length
        }
    }

    const fn reserved(&self) -> u32 {
        match self.input {
            Input::Collecting { wanted } => wanted,
            Input::Taken { reserved } => reserved,
            Input::Unsolicited { .. } | Input::Idle | Input::Waiting { .. } => 0,
        }
    }
}

impl<D: Directory> Connection<D> {
    /// A SCSI Command that is in turn. `None` where it is accepted.
    pub(super) fn start_command(
        &mut self,
        command: &ScsiCommand,
        data: &[u8],
    ) -> Result<Option<RejectReason>, Closed> {
        let tag = command.initiator_task_tag;
        if tag == NO_TAG {
            return Ok(Some(RejectReason::INVALID_PDU_FIELD));
        }
        if self
            .tasks
            .values()
            .any(|task| task.tag == tag && !task.aborted)
        {
            return Ok(Some(RejectReason::TASK_IN_PROGRESS));
        }
        let length = command.expected_data_transfer_length;
        let write_length = if command.write { length } else { 0 };
        let read_length = if command.read && !command.write {
            length
        } else {
            0
        };
        let agreed = &self.parameters;
        let unsolicited_max = write_length.min(agreed.first_burst_length);
        if !data.is_empty() && (!agreed.immediate_data || length_of(data) > unsolicited_max) {
            return Err(Closed::Protocol(
                "a command came with more data than was agreed",
            ));
        }
        // Without F, Data-Out follows unasked: only for writes, only if that was agreed.
        let follows = !command.is_final && command.write && !agreed.initial_r2t;
        let id = self.take_task_id();
        let task = Task {
            tag,
            lun: command.lun,
            immediate: command.immediate,
            aborted: false,
            cdb: command.cdb,
            read_length,
            write_length,
            data: data.to_vec(),
            input: if follows {
                Input::Unsolicited { data_sn: 0 }
            } else {
                Input::Idle
            },
            open: VecDeque::new(),
            solicited: 0,
            data_sn: 0,
            sent: 0,
        };
        if !follows {
            self.events.push_back(Event::Command(task.command(id)));
        }
        self.tasks.insert(id, task);
        Ok(None)
    }

    /// Data-Out (RFC 7143 section 11.7), unsolicited or for an R2T. The reason to refuse it, if
    /// there is one.
    pub(super) fn handle_data_out(&mut self, out: &DataOut, data: &[u8]) -> Option<RejectReason> {
        let first_burst = self.parameters.first_burst_length;
        let tag = out.initiator_task_tag;
        // Data for a command that was answered or aborted meanwhile: dropped.
        let (&id, task) = self
            .tasks
            .iter_mut()
            .find(|(_, task)| task.tag == tag && !task.aborted)?;
        match task.add(out, data, first_burst) {
            Arrival::More => {}
            Arrival::Unsolicited => {
                let command = task.command(id);
                self.events.push_back(Event::Command(command));
            }
            Arrival::Solicited => self.collect(id),
            Arrival::NotAskedFor => return Some(RejectReason::PROTOCOL_ERROR),
            Arrival::Wrong => self.fail(id),
        }
        None
    }

    /// Ends a command whose data is not what was asked for; the session is none the worse.
    fn fail(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        if task.is_known_to_service() {
            self.events.push_back(Event::Aborted(id));
        }
        let residual = Residual::of(task.expected_length(), 0);
        let sense = Some(INCORRECT_AMOUNT_OF_DATA);
        self.send_response(&task, Status::CHECK_CONDITION, sense, residual);
        self.reserve();
    }

    /// Takes `length` bytes of data from the initiator for a command, or as many as it has:
    /// [`Event::DataOut`] follows when they are there, or [`Event::Aborted`]. To be called at
    /// most once per command.
    pub fn receive(&mut self, task: TaskId, length: u64) {
        let Some(entry) = self.tasks.get_mut(&task) else {
            return;
        };
        if entry.aborted {
            self.forget(task);
            return;
        }
        if entry.input == Input::Idle {
            let wanted = u32::try_from(length)
                .unwrap_or(u32::MAX)
                .min(entry.write_length);
            entry.solicited = length_of(&entry.data);
            entry.input = Input::Waiting { wanted };
            self.reserve();
        }
    }

    /// Sets memory aside for commands that wait for it, in their order. One command may always
    /// collect, however large.
    pub(super) fn reserve(&mut self) {
        let mut reserved: u64 = self
            .tasks
            .values()
            .map(|task| u64::from(task.reserved()))
            .sum();
        let mut ready = Vec::new();
        for (id, task) in &mut self.tasks {
            let Input::Waiting { wanted } = task.input else {
                continue;
            };
            let after = reserved + u64::from(wanted);
            if reserved > 0 && wanted > 0 && after > u64::from(self.config.data_out_max) {
                break;
            }
            reserved = after;
            task.input = Input::Collecting { wanted };
            ready.push(*id);
        }
        ready.into_iter().for_each(|id| self.collect(id));
    }

    /// Hands over the data of a command if it is all there, or asks for more of it.
    fn collect(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Input::Collecting { wanted } = task.input else {
            return;
        };
        if length_of(&task.data) >= wanted {
            let mut data = core::mem::take(&mut task.data);
            data.truncate(as_usize(wanted));
            task.input = Input::Taken { reserved: wanted };
            self.events.push_back(Event::DataOut { task: id, data });
            return;
        }
        if task.data.capacity() < as_usize(wanted) {
            task.data.reserve_exact(as_usize(wanted) - task.data.len());
        }
        self.solicit(id, wanted);
    }

    /// Sends R2Ts, as many as may be open (RFC 7143 sections 11.8 and 13.17).
    fn solicit(&mut self, id: TaskId, wanted: u32) {
        let burst = self.parameters.max_burst_length;
        let open_max = as_usize(self.parameters.max_outstanding_r2t);
        let numbers = self.numbers();
        let mut headers = Vec::new();
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        while task.open.len() < open_max && task.solicited < wanted && !task.aborted {
            let transfer_tag = self.next_transfer_tag;
            self.next_transfer_tag = next_transfer_tag(transfer_tag);
            let length = burst.min(wanted - task.solicited);
            let r2t = R2t {
                lun: task.lun,
                initiator_task_tag: task.tag,
                target_transfer_tag: transfer_tag,
                numbers,
                r2t_sn: task.data_sn,
                buffer_offset: task.solicited,
                desired_data_transfer_length: length,
            };
            task.data_sn = task.data_sn.wrapping_add(1);
            task.solicited += length;
            task.open.push_back(Solicited {
                transfer_tag,
                end: task.solicited,
                data_sn: 0,
            });
            headers.push(r2t.header());
        }
        headers
            .into_iter()
            .for_each(|header| self.send(header, &[]));
    }

    /// Sends a piece of the data of a command; pieces follow each other without a gap, and
    /// [`respond`](Self::respond) ends the command. What the initiator has no room for is not
    /// sent.
    pub fn send_data(&mut self, task: TaskId, data: &[u8]) {
        self.send_data_in(task, data, None);
    }

    /// Answers a command. A command that does not exist any more is no error.
    pub fn respond(&mut self, task: TaskId, response: Response) {
        self.respond_with(task, &response);
    }

    /// The same, where the memory of the data is used again.
    pub fn respond_with(&mut self, task: TaskId, response: &Response) {
        let Some(entry) = self.tasks.get(&task) else {
            return;
        };
        if entry.aborted {
            self.forget(task);
            return;
        }
        let residual = Residual::of(entry.expected_length(), response.moved);
        let has_room = entry.sent < entry.read_length && !response.data.is_empty();
        // RFC 7143 section 11.7.3: a good status may ride on the last data.
        let rides = response.status == Status::GOOD && response.sense.is_none() && has_room;
        let status = rides.then_some((response.status, residual));
        if has_room {
            self.send_data_in(task, &response.data, status);
        }
        let Some(entry) = self.tasks.remove(&task) else {
            return;
        };
        if !rides {
            self.send_response(&entry, response.status, response.sense, residual);
        }
        self.finish_management();
        self.reserve();
    }

    /// The end of a command that was aborted.
    fn forget(&mut self, task: TaskId) {
        self.tasks.remove(&task);
        self.finish_management();
        self.reserve();
    }

    fn send_response(
        &mut self,
        task: &Task,
        status: Status,
        sense: Option<Sense>,
        residual: Residual,
    ) {
        let header = ScsiResponse {
            response: 0,
            status,
            residual,
            initiator_task_tag: task.tag,
            numbers: self.take_numbers(),
            exp_data_sn: task.data_sn,
        };
        // RFC 7143 section 11.4.7.2: a length, then the sense data.
        let data = sense.map_or_else(Vec::new, |sense| {
            let sense = sense.to_fixed();
            let length = u16::try_from(sense.len()).unwrap_or(0);
            [&length.to_be_bytes()[..], &sense].concat()
        });
        self.send(header.header(), &data);
    }

    /// Data-In PDUs for `data`, in sequences of MaxBurstLength; `status` rides on the last.
    fn send_data_in(&mut self, id: TaskId, data: &[u8], status: Option<(Status, Residual)>) {
        let burst = as_usize(self.parameters.max_burst_length).max(1);
        let segment = as_usize(self.parameters.max_send_data_segment_length).max(1);
        let Some(task) = self.tasks.get_mut(&id).filter(|task| !task.aborted) else {
            return;
        };
        let room = as_usize(task.read_length.saturating_sub(task.sent));
        let data = data.get(..room).unwrap_or(data);
        let (tag, mut offset, mut data_sn) = (task.tag, task.sent, task.data_sn);
        // The window as it is when the command is over, if this ends it.
        let is_counted = status.is_some() && !task.immediate;
        let mut rest = data;
        while !rest.is_empty() {
            let (sequence, after) = rest.split_at_checked(burst).unwrap_or((rest, &[]));
            let count = sequence.len().div_ceil(segment);
            for (index, piece) in sequence.chunks(segment).enumerate() {
                let is_final = index + 1 == count;
                let ends = is_final && after.is_empty();
                let status = status.filter(|_| ends);
                let mut numbers = match status {
                    Some(_) => self.take_numbers(),
                    None => Numbers {
                        stat_sn: 0,
                        ..self.numbers()
                    },
                };
                if status.is_some() && is_counted {
                    numbers.max_cmd_sn = numbers.max_cmd_sn.wrapping_add(1);
                }
                let header = DataIn {
                    is_final,
                    acknowledge: false,
                    status,
                    lun: Lun::ZERO,
                    initiator_task_tag: tag,
                    target_transfer_tag: NO_TAG,
                    numbers,
                    data_sn,
                    buffer_offset: offset,
                };
                self.send(header.header(), piece);
                data_sn = data_sn.wrapping_add(1);
                offset = offset.saturating_add(length_of(piece));
            }
            rest = after;
        }
        if let Some(task) = self.tasks.get_mut(&id) {
            task.sent = offset;
            task.data_sn = data_sn;
        }
    }

    pub(super) fn take_task_id(&mut self) -> TaskId {
        let id = TaskId(self.next_task);
        self.next_task += 1;
        id
    }
}

/// What a Data-Out did.
enum Arrival {
    /// There is more to come.
    More,
    /// It was the last of the unsolicited data.
    Unsolicited,
    /// It was the last for an R2T.
    Solicited,
    /// Nothing was to come.
    NotAskedFor,
    /// It is out of order, too long or too short.
    Wrong,
}

impl Task {
    /// Takes the data of a Data-Out.
    fn add(&mut self, out: &DataOut, data: &[u8], first_burst: u32) -> Arrival {
        let start = length_of(&self.data);
        let end = start.saturating_add(length_of(data));
        if let Input::Unsolicited { data_sn } = self.input {
            let is_right = out.target_transfer_tag == NO_TAG
                && out.data_sn == data_sn
                && out.buffer_offset == start
                && end <= self.write_length.min(first_burst);
            if !is_right {
                return Arrival::Wrong;
            }
            self.data.extend_from_slice(data);
            if out.is_final {
                self.input = Input::Idle;
                return Arrival::Unsolicited;
            }
            self.input = Input::Unsolicited {
                data_sn: data_sn.wrapping_add(1),
            };
            return Arrival::More;
        }
        let Some(open) = self.open.front_mut() else {
            return Arrival::NotAskedFor;
        };
        let is_right = out.target_transfer_tag == open.transfer_tag
            && out.data_sn == open.data_sn
            && out.buffer_offset == start
            && end <= open.end
            && out.is_final == (end == open.end);
        if !is_right {
            return Arrival::Wrong;
        }
        open.data_sn = open.data_sn.wrapping_add(1);
        self.data.extend_from_slice(data);
        if !out.is_final {
            return Arrival::More;
        }
        self.open.pop_front();
        Arrival::Solicited
    }

    const fn command(&self, task: TaskId) -> Command {
        Command {
            task,
            lun: self.lun,
            cdb: self.cdb,
            read_length: self.read_length,
            write_length: self.write_length,
        }
    }

    /// Whether the service was told of the command.
    pub(super) const fn is_known_to_service(&self) -> bool {
        !matches!(self.input, Input::Unsolicited { .. })
    }

    /// Whether the service is at work on the command, and will answer it.
    pub(super) const fn is_with_service(&self) -> bool {
        matches!(self.input, Input::Idle | Input::Taken { .. })
    }
}

/// Counts up, around the reserved values.
const fn next_transfer_tag(tag: u32) -> u32 {
    if tag >= super::PING_TAG - 1 {
        1
    } else {
        tag + 1
    }
}

fn length_of(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

fn as_usize(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
