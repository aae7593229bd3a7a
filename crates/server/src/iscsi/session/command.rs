//! The commands of a session, from their arrival to their answers: at once where neither data nor a
//! disk is waited for, otherwise on threads that read and write disks.

use std::sync::Arc;

use bowline_iscsi::pdu::TaskManagementOutcome;
use bowline_iscsi::target::{Command, Response, TaskId};
use bowline_scsi::Sense;
use bowline_scsi::device::{self, Action};
use tokio::task::JoinError;

use super::{LoggedIn, Session};
use crate::iscsi::buffers;
use crate::iscsi::unit::Unit;

/// A command and all that is needed to carry it out.
pub(super) struct Job {
    pub(super) task: TaskId,
    pub(super) unit: Unit,
    action: Action,
    data: Vec<u8>,
    /// Bytes that came before, as parameters.
    parameters: u64,
    read_length: u32,
}

/// What ended beside the session's own thread.
pub(super) enum Done {
    Command {
        task: TaskId,
        response: Response,
        bytes: usize,
    },
    Management {
        task: TaskId,
        outcome: TaskManagementOutcome,
        ends_sessions: bool,
    },
}

impl Session {
    /// Takes a command that has arrived.
    pub(super) fn command(&mut self, command: &Command) {
        self.statistics.command();
        let Some(LoggedIn { target, .. }) = &self.login else {
            // A discovery session has no logical units.
            let absent = Response::check(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
            self.machine.respond(command.task, absent);
            return;
        };
        let unit = target.unit(command.lun);
        let action = match unit {
            Some(unit) => unit
                .device()
                .execute(self.nexus(), &target.luns, &command.cdb),
            None => {
                let mut nexus = device::Nexus::new();
                device::execute(None, &target.luns, &mut nexus, &command.cdb)
            }
        };
        tracing::trace!(
            "iscsi: {}: {:02x?} on LUN {}: {action:?}",
            self.peer,
            command.cdb,
            command.lun
        );
        let (task, read_length) = (command.task, command.read_length);
        let response = match (unit, action) {
            (_, Action::Respond(data)) => Response::data(data),
            (_, Action::Check(sense)) => Response::check(sense),
            (_, Action::Status(status)) => Response::status(status),
            (None, _) => Response::check(Sense::LOGICAL_UNIT_NOT_SUPPORTED),
            (Some(unit), action)
                if needs_all_of_its_data(&action)
                    && u64::from(command.write_length)
                        != action.data_out_length(unit.block_size) =>
            {
                Response::check(Sense::INVALID_FIELD_IN_CDB)
            }
            (Some(unit), action) => {
                let wanted = action.data_out_length(unit.block_size);
                let job = Job {
                    task,
                    unit: unit.clone(),
                    action,
                    data: Vec::new(),
                    parameters: 0,
                    read_length,
                };
                if wanted == 0 {
                    self.waiting.push_back(job);
                } else {
                    self.expecting.insert(task, job);
                    self.machine.receive(task, wanted);
                }
                return;
            }
        };
        self.machine.respond(task, response);
    }

    /// Answers waiting commands whose data is in memory and hands the others to storage, oldest
    /// first, as far as the limits allow. Whether one was answered.
    pub(super) fn begin_waiting(&mut self) -> bool {
        let portal = Arc::clone(&self.portal);
        let limits = &portal.limits;
        let mut answered = false;
        while let Some(job) = self.waiting.front() {
            if self.output.len() + self.machine.output_len() >= limits.output_bytes_max {
                break;
            }
            let bytes = job.bytes();
            let room = self.tasks.is_empty()
                || (self.tasks.len() < limits.tasks_max
                    && self.task_bytes + bytes <= limits.task_bytes_max);
            if !room {
                break;
            }
            // Where a thread is not waited for, its start and end would cost more than the read.
            if let Some(response) = job.unit.read_now(&job.action, job.read_length) {
                let task = job.task;
                self.waiting.pop_front();
                self.respond(task, response);
                answered = true;
                // While it is in the processor's cache.
                if self.machine.output_len() >= SEND_BYTES {
                    break;
                }
                continue;
            }
            let Some(job) = self.waiting.pop_front() else {
                break;
            };
            self.begin(job, bytes);
        }
        answered
    }

    /// Hands a command to storage.
    fn begin(&mut self, job: Job, bytes: usize) {
        self.task_bytes += bytes;
        self.running.insert(job.task, job.unit.lun);
        let nexus = self.nexus();
        let target = self.login.as_ref().map(|login| Arc::clone(&login.target));
        self.tasks.spawn_blocking(move || {
            let mut response = match (job.action, target) {
                (Action::Copy(copy), Some(target)) => target.copy(&job.unit, nexus, &copy),
                (action, _) => job.unit.carry_out(action, &job.data, job.read_length),
            };
            if response.sense.is_none() {
                response.moved += job.parameters;
            }
            Done::Command {
                task: job.task,
                response,
                bytes,
            }
        });
    }

    /// Goes on with a command whose data is there. Parameters turn into another action.
    pub(super) fn data_came(&mut self, job: Job, data: Vec<u8>) {
        let job = Job { data, ..job };
        let Action::Parameters { cdb, .. } = &job.action else {
            self.waiting.push_back(job);
            return;
        };
        let (action, changes) = {
            let mut device = job.unit.device();
            let action = device.parameters(self.nexus(), cdb, &job.data);
            (action, device.take_changes())
        };
        let moved = job.data.len() as u64;
        if changes == device::Changes::default() {
            let response = match action {
                Action::Respond(_) => Response::good(moved),
                Action::Check(sense) => Response::check(sense),
                Action::Status(status) => Response::status(status),
                action => {
                    self.waiting.push_back(Job {
                        action,
                        data: Vec::new(),
                        parameters: moved,
                        ..job
                    });
                    return;
                }
            };
            self.machine.respond(job.task, response);
            return;
        }
        // Before the answer: what is to be kept is on stable storage, what was aborted is over.
        let settling = self.portal.abort(job.unit.lun, &changes.aborts);
        let Job { task, unit, .. } = job;
        self.running.insert(task, unit.lun);
        self.tasks.spawn(async move {
            settling.settled().await;
            let kept = tokio::task::spawn_blocking(move || unit.keep(&changes)).await;
            let response = match kept {
                Ok(Ok(())) => Response::good(moved),
                Ok(Err(sense)) => Response::check(sense),
                Err(_) => Response::check(Sense::INTERNAL_TARGET_FAILURE),
            };
            Done::Command {
                task,
                response,
                bytes: 0,
            }
        });
    }

    pub(super) fn finish(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done::Command {
                task,
                response,
                bytes,
            }) => {
                self.task_bytes -= bytes;
                self.running.remove(&task);
                self.aborting.retain_mut(|(tasks, _)| {
                    tasks.remove(&task);
                    !tasks.is_empty()
                });
                self.respond(task, response);
            }
            Ok(Done::Management {
                task,
                outcome,
                ends_sessions,
            }) => {
                self.machine.task_management_done(task, outcome);
                if let Some(login) = self.login.as_ref().filter(|_| ends_sessions) {
                    self.portal.end_sessions(&login.target);
                }
            }
            Err(error) => {
                // Nobody can say what became of the command, so nobody may build on it.
                tracing::error!("iscsi: {}: a disk access has crashed: {error}", self.peer);
                self.machine.close();
            }
        }
    }

    /// Answers a command that may have much data.
    fn respond(&mut self, task: TaskId, response: Response) {
        if self.machine.output_len() == 0 {
            self.machine.reuse(buffers::take(0));
        }
        self.machine.respond_with(task, &response);
        buffers::give(response.data);
    }
}

impl Job {
    /// Memory that the command needs while it is under way.
    fn bytes(&self) -> usize {
        let read = match self.action {
            Action::Read { .. } => {
                let whole = self.action.data_in_length(self.unit.block_size);
                usize::try_from(whole.min(u64::from(self.read_length))).unwrap_or(usize::MAX)
            }
            _ => 0,
        };
        read.max(self.data.len())
    }
}

/// Whether less or more data than the command wants would leave open what is meant.
const fn needs_all_of_its_data(action: &Action) -> bool {
    matches!(
        action,
        Action::CompareAndWrite { .. } | Action::WriteSame { zeros: false, .. }
    )
}

/// Output that is worth a system call before more is made.
const SEND_BYTES: usize = 256 * 1024;
