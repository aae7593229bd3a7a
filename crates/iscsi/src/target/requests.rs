//! Requests in full feature phase: which is whose turn, task management, logout, pings
//! (RFC 7143 sections 4.2.2, 11.5, 11.14 and 11.18).

use alloc::vec::Vec;

use super::{Closed, Connection, Directory, Event, TaskId, TaskManagement};
use crate::frame::Pdu;
use crate::pdu::{
    DataOut, Header, LogoutRequest, LogoutResponse, NO_TAG, NopIn, NopOut, RejectReason,
    ScsiCommand, TaskManagementFunction, TaskManagementOutcome, TaskManagementRequest,
    TaskManagementResponse, opcode,
};
use crate::serial;

/// A task management function that is not answered yet.
#[derive(Debug)]
pub(super) struct Management {
    tag: u32,
    pub(super) immediate: bool,
    /// Commands whose end is awaited.
    affected: Vec<TaskId>,
    /// The answer; awaited from the service where it is not there.
    outcome: Option<TaskManagementOutcome>,
}

/// What is to become of a request by its CmdSN.
enum Turn {
    Now,
    /// Outside of the window: as if it had not come.
    Never,
}

impl<D: Directory> Connection<D> {
    pub(super) fn handle_request(&mut self, pdu: &Pdu<'_>) -> Result<(), Closed> {
        let header = &pdu.header;
        let code = header.opcode();
        if code == opcode::DATA_OUT {
            if let Some(reason) = self.handle_data_out(&DataOut::parse(header), &pdu.data) {
                self.reject(reason, header);
            }
            return Ok(());
        }
        if code == opcode::SNACK {
            // Only ErrorRecoveryLevel 1 and up have it (RFC 7143 section 11.16).
            self.reject(RejectReason::SNACK_REJECT, header);
            return Ok(());
        }
        if code > opcode::SNACK {
            return Err(Closed::Protocol("a PDU came that initiators do not send"));
        }
        if matches!(self.turn(header)?, Turn::Never) {
            return Ok(());
        }
        let is_discovery = self
            .session
            .as_ref()
            .is_some_and(|s| s.target_name.is_none());
        let rejected = match code {
            opcode::NOP_OUT => {
                self.handle_nop_out(&NopOut::parse(header), &pdu.data);
                None
            }
            opcode::TEXT_REQUEST => self.handle_text_request(header, &pdu.data),
            opcode::LOGOUT_REQUEST => {
                return self.handle_logout_request(&LogoutRequest::parse(header));
            }
            // RFC 7143 section 4.2.3: a discovery session has no commands.
            _ if is_discovery => Some(RejectReason::PROTOCOL_ERROR),
            opcode::SCSI_COMMAND if self.is_crowded(header) => {
                Some(RejectReason::IMMEDIATE_COMMAND_REJECT)
            }
            opcode::TASK_MANAGEMENT_REQUEST if self.is_crowded(header) => {
                Some(RejectReason::IMMEDIATE_COMMAND_REJECT)
            }
            opcode::SCSI_COMMAND => self.start_command(&ScsiCommand::parse(header), &pdu.data)?,
            opcode::TASK_MANAGEMENT_REQUEST => {
                self.start_management(&TaskManagementRequest::parse(header));
                None
            }
            opcode::LOGIN_REQUEST => Some(RejectReason::PROTOCOL_ERROR),
            _ => Some(RejectReason::COMMAND_NOT_SUPPORTED),
        };
        if let Some(reason) = rejected {
            self.reject(reason, header);
        }
        Ok(())
    }

    /// RFC 7143 section 4.2.2.1: commands are numbered; immediate ones are not counted. On one
    /// connection they come in order, so a gap can never be filled.
    fn turn(&mut self, header: &Header) -> Result<Turn, Closed> {
        if header.is_immediate() {
            return Ok(Turn::Now);
        }
        let cmd_sn = header.u32_at(24);
        if !serial::within(cmd_sn, self.exp_cmd_sn, self.max_cmd_sn()) {
            return Ok(Turn::Never);
        }
        if cmd_sn != self.exp_cmd_sn {
            return Err(Closed::Protocol("a command is missing (CmdSN)"));
        }
        self.exp_cmd_sn = self.exp_cmd_sn.wrapping_add(1);
        Ok(Turn::Now)
    }

    /// Whether there are too many immediate requests for this one.
    fn is_crowded(&self, header: &Header) -> bool {
        let tasks = self.tasks.values().filter(|task| task.immediate).count();
        let management = self.management.values().filter(|m| m.immediate).count();
        header.is_immediate() && tasks + management >= self.config.immediate_max
    }

    /// RFC 7143 section 11.18: an answer to our ping, or a ping that wants its data back.
    fn handle_nop_out(&mut self, nop: &NopOut, data: &[u8]) {
        if nop.initiator_task_tag == NO_TAG {
            return;
        }
        let room = usize::try_from(self.parameters.max_send_data_segment_length).unwrap_or(0);
        let answer = NopIn {
            lun: nop.lun,
            initiator_task_tag: nop.initiator_task_tag,
            target_transfer_tag: NO_TAG,
            numbers: self.take_numbers(),
        };
        self.send(answer.header(), data.get(..room).unwrap_or(data));
    }

    /// RFC 7143 section 11.14.
    fn handle_logout_request(&mut self, request: &LogoutRequest) -> Result<(), Closed> {
        const CLOSED: u8 = 0;
        const RECOVERY_NOT_SUPPORTED: u8 = 2;
        let closes = matches!(request.reason, 0 | 1);
        let response = LogoutResponse {
            response: if closes {
                CLOSED
            } else {
                RECOVERY_NOT_SUPPORTED
            },
            initiator_task_tag: request.initiator_task_tag,
            numbers: self.take_numbers(),
            time2wait: 0,
            time2retain: 0,
        };
        self.send(response.header(), &[]);
        if closes {
            Err(Closed::LoggedOut)
        } else {
            Ok(())
        }
    }

    /// RFC 7143 section 11.5.
    fn start_management(&mut self, request: &TaskManagementRequest) {
        type Function = TaskManagementFunction;
        type Outcome = TaskManagementOutcome;
        let lun = request.lun;
        let (affected, outcome) = match request.function {
            Function::ABORT_TASK => {
                let tag = request.referenced_task_tag;
                match self
                    .tasks
                    .iter()
                    .find(|(_, task)| task.tag == tag && !task.aborted)
                {
                    Some((id, _)) => (alloc::vec![*id], Some(Outcome::COMPLETE)),
                    None => (Vec::new(), Some(Outcome::TASK_DOES_NOT_EXIST)),
                }
            }
            Function::ABORT_TASK_SET => (
                self.tasks_where(|task| task.lun == lun),
                Some(Outcome::COMPLETE),
            ),
            Function::CLEAR_TASK_SET | Function::LOGICAL_UNIT_RESET => {
                (self.tasks_where(|task| task.lun == lun), None)
            }
            Function::TARGET_WARM_RESET | Function::TARGET_COLD_RESET => {
                (self.tasks_where(|_| true), None)
            }
            Function::TASK_REASSIGN => (Vec::new(), Some(Outcome::REASSIGNMENT_NOT_SUPPORTED)),
            Function::CLEAR_ACA => (Vec::new(), Some(Outcome::NOT_SUPPORTED)),
            _ => (Vec::new(), Some(Outcome::REJECTED)),
        };
        affected.iter().for_each(|id| self.abort(*id));
        let id = self.take_task_id();
        if outcome.is_none() {
            let function = request.function;
            self.events.push_back(Event::TaskManagement(TaskManagement {
                task: id,
                function,
                lun,
            }));
        }
        let tag = request.initiator_task_tag;
        let immediate = request.immediate;
        self.management.insert(
            id,
            Management {
                tag,
                immediate,
                affected,
                outcome,
            },
        );
        self.finish_management();
        self.reserve(); // with the memory of what was aborted
    }

    fn tasks_where(&self, which: impl Fn(&super::Task) -> bool) -> Vec<TaskId> {
        self.tasks
            .iter()
            .filter(|(_, task)| which(task))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Ends a command without an answer: at once, or when the service is done with it.
    fn abort(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        if task.aborted {
            return;
        }
        task.aborted = true;
        let (is_known, is_busy) = (task.is_known_to_service(), task.is_with_service());
        if !is_busy {
            self.tasks.remove(&id);
        }
        if is_known {
            self.events.push_back(Event::Aborted(id));
        }
    }

    /// Tells how a reset went: the answer to [`Event::TaskManagement`].
    pub fn task_management_done(&mut self, task: TaskId, outcome: TaskManagementOutcome) {
        if let Some(management) = self.management.get_mut(&task) {
            management.outcome = Some(outcome);
            self.finish_management();
        }
    }

    /// Answers the task management functions of which nothing is awaited any more
    /// (RFC 7143 section 11.6: the commands are over when the initiator hears of it).
    pub(super) fn finish_management(&mut self) {
        let tasks = &self.tasks;
        let is_done = |management: &Management| {
            let outcome = management.outcome?;
            let over = management.affected.iter().all(|id| !tasks.contains_key(id));
            over.then_some((management.tag, outcome))
        };
        let done: Vec<_> = self
            .management
            .iter()
            .filter_map(|(id, management)| Some((*id, is_done(management)?)))
            .collect();
        for (id, (tag, outcome)) in done {
            self.management.remove(&id);
            let response = TaskManagementResponse {
                outcome,
                initiator_task_tag: tag,
                numbers: self.take_numbers(),
            };
            self.send(response.header(), &[]);
        }
    }
}
