//! Task management, of this session and of others that share a disk with it.

use std::collections::HashSet;

use bowline_iscsi::pdu::{TaskManagementFunction, TaskManagementOutcome};
use bowline_iscsi::target::{Response, TaskId, TaskManagement};
use bowline_scsi::{Lun, Status};
use tokio::sync::mpsc;

use super::command::Done;
use super::{LoggedIn, Session};

impl Session {
    /// Gives up commands because another session wants it: those that have not begun are
    /// answered TASK ABORTED (SAM-5 section 5.6), the others are over in a moment.
    pub(super) fn give_up(&mut self, lun: Option<Lun>, over: mpsc::Sender<()>) {
        let is_meant = |of: Lun| lun.is_none_or(|lun| lun == of);
        let mut aborted: Vec<TaskId> = Vec::new();
        self.expecting.retain(|task, job| {
            let is_kept = !is_meant(job.unit.lun);
            if !is_kept {
                aborted.push(*task);
            }
            is_kept
        });
        self.waiting.retain(|job| {
            let is_kept = !is_meant(job.unit.lun);
            if !is_kept {
                aborted.push(job.task);
            }
            is_kept
        });
        for task in aborted {
            let response = Response::status(Status::TASK_ABORTED);
            self.machine.respond(task, response);
        }
        let running = self.running.iter().filter(|(_, of)| is_meant(**of));
        let running: HashSet<TaskId> = running.map(|(task, _)| *task).collect();
        if !running.is_empty() {
            self.aborting.push((running, over));
        }
    }

    /// Task management on more than one command, RFC 7143 section 11.5.1. It is answered when
    /// the commands of all sessions that it concerns are over.
    pub(super) fn manage(&mut self, request: TaskManagement) {
        use TaskManagementFunction as Function;
        use TaskManagementOutcome as Outcome;
        let task = request.task;
        let Some(LoggedIn {
            initiator, target, ..
        }) = &self.login
        else {
            self.machine.task_management_done(task, Outcome::REJECTED);
            return;
        };
        let lun = target.unit(request.lun).map(|unit| unit.lun);
        let from = self.reservation.tsih;
        let settling = match (request.function, lun) {
            (Function::LOGICAL_UNIT_RESET, Some(lun)) => {
                Ok(Some(self.portal.reset(target, Some(lun), from)))
            }
            (Function::CLEAR_TASK_SET, Some(lun)) => {
                Ok(Some(self.portal.clear_task_set(target, lun, from)))
            }
            (Function::ABORT_TASK_SET, Some(_)) => Ok(None),
            (Function::TARGET_WARM_RESET | Function::TARGET_COLD_RESET, _) => {
                Ok(Some(self.portal.reset(target, None, from)))
            }
            (
                Function::ABORT_TASK_SET | Function::CLEAR_TASK_SET | Function::LOGICAL_UNIT_RESET,
                None,
            ) => Err(Outcome::LUN_DOES_NOT_EXIST),
            _ => Err(Outcome::NOT_SUPPORTED),
        };
        tracing::info!(
            "iscsi: {}: {initiator}: task management {:?} on LUN {}{}",
            self.peer,
            request.function,
            request.lun,
            if settling.is_ok() { "" } else { ": refused" }
        );
        match settling {
            Ok(Some(settling)) => {
                let ends_sessions = request.function == Function::TARGET_COLD_RESET;
                self.tasks.spawn(async move {
                    settling.settled().await;
                    Done::Management {
                        task,
                        outcome: Outcome::COMPLETE,
                        ends_sessions,
                    }
                });
            }
            Ok(None) => self.machine.task_management_done(task, Outcome::COMPLETE),
            Err(outcome) => self.machine.task_management_done(task, outcome),
        }
    }
}
