//! The iSCSI target machine as a service of the simulated host, over a disk in memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bowline_iscsi::LoginStatus;
use bowline_iscsi::chap::{Credentials, ENTROPY_LENGTH};
use bowline_iscsi::pdu::TaskManagementOutcome;
use bowline_iscsi::target::{
    Admission, Applicant, Config, Connected, Connection as Machine, Directory, Event, Listing,
    Response, TaskId,
};
use bowline_scsi::device::{Action, LogicalUnit, Nexus, execute};
use bowline_scsi::{Lun, Sense};

use crate::host::{Accept, Connection};
use crate::rng::Rng;

/// Logical block length of simulated disks.
pub const BLOCK_SIZE: u32 = 512;

/// A target with one disk in memory, as logical unit 1.
#[derive(Debug)]
pub struct Target {
    /// The iSCSI name.
    pub name: String,
    /// Whom it lets in by CHAP; nobody has to prove anything where this is `None`.
    pub credentials: Option<Credentials>,
    /// How it proves itself.
    pub reverse: Option<Credentials>,
    /// The disk.
    pub disk: RefCell<Vec<u8>>,
    /// What it suffers from.
    pub ailment: Cell<Option<Ailment>>,
    /// Bytes after which each connection is dropped.
    pub drop_every: Cell<Option<usize>>,
    /// Bytes it has sent, over all connections.
    pub sent: Cell<usize>,
    /// Logins so far.
    pub logins: Cell<usize>,
}

/// What a target can suffer from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// The process is gone: connections end, and new ones end at once.
    Dead,
    /// The process hangs: connections stay, nothing is answered.
    Hangs,
}

/// The machine's view of a target.
struct Shared(Rc<Target>);

impl Directory for Shared {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        if applicant
            .target_name
            .is_some_and(|name| name != self.0.name)
        {
            return Err(LoginStatus::NOT_FOUND);
        }
        Ok(Admission {
            credentials: self.0.credentials.iter().cloned().collect(),
            reverse: self.0.reverse.clone(),
            portal_group_tag: 1,
            ..Admission::default()
        })
    }

    fn targets(&self, _initiator_name: &str) -> Vec<Listing> {
        vec![Listing {
            name: self.0.name.clone(),
            addresses: Vec::new(),
        }]
    }
}

/// Serves `target`.
pub fn serve(target: Rc<Target>, seed: u64) -> Accept {
    let mut rng = Rng::new(seed);
    let mut tsih = 0;
    Box::new(move || {
        tsih += 1;
        let mut entropy = [0; ENTROPY_LENGTH];
        rng.fill(&mut entropy);
        Box::new(Session {
            target: Rc::clone(&target),
            connected: Connected { tsih, entropy },
            machine: None,
            nexus: Nexus::new(),
            writes: HashMap::new(),
            sent: 0,
            held: Vec::new(),
        })
    })
}

struct Session {
    target: Rc<Target>,
    connected: Connected,
    machine: Option<Machine<Shared>>,
    nexus: Nexus,
    writes: HashMap<TaskId, Action>,
    sent: usize,
    /// What came while the target hung.
    held: Vec<u8>,
}

impl Connection for Session {
    fn exchange(&mut self, now: Duration, input: &[u8], output: &mut Vec<u8>) -> bool {
        match self.target.ailment.get() {
            Some(Ailment::Dead) => return false,
            Some(Ailment::Hangs) => {
                self.held.extend_from_slice(input);
                return true;
            }
            None => {}
        }
        let mut machine = self.machine.take().unwrap_or_else(|| {
            let directory = Shared(Rc::clone(&self.target));
            Machine::new(Config::default(), directory, self.connected.clone(), now)
        });
        machine.handle_input(now, &std::mem::take(&mut self.held));
        machine.handle_input(now, input);
        machine.handle_timeout(now);
        let mut open = true;
        while let Some(event) = machine.poll_event() {
            open &= self.handle(&mut machine, event);
        }
        while let Some(bytes) = machine.poll_output() {
            self.sent += bytes.len();
            self.target.sent.set(self.target.sent.get() + bytes.len());
            output.extend_from_slice(&bytes);
        }
        self.machine = Some(machine);
        let limit = self.target.drop_every.get();
        if let Some(beyond) = limit.and_then(|limit| self.sent.checked_sub(limit)) {
            output.truncate(output.len().saturating_sub(beyond));
            return false;
        }
        open
    }
}

impl Session {
    fn handle(&mut self, machine: &mut Machine<Shared>, event: Event) -> bool {
        match event {
            Event::LoggedIn(_) => self.target.logins.set(self.target.logins.get() + 1),
            Event::Aborted(_) => {}
            Event::Command(command) => {
                let task = command.task;
                let unit = self.unit();
                let lun = Lun::new(1).expect("a small number");
                let addressed = (command.lun == lun).then_some(&unit);
                let action = execute(addressed, &[lun], &mut self.nexus, &command.cdb);
                self.start(machine, task, action);
            }
            Event::DataOut { task, data } => {
                let action = self.writes.remove(&task).expect("asked for");
                machine.respond(task, self.finish(&action, &data));
            }
            Event::TaskManagement(request) => {
                machine.task_management_done(request.task, TaskManagementOutcome::COMPLETE);
            }
            Event::Closed(_) => return false,
        }
        true
    }

    fn unit(&self) -> LogicalUnit {
        let blocks = self.target.disk.borrow().len() as u64 / u64::from(BLOCK_SIZE);
        LogicalUnit::new(blocks, BLOCK_SIZE, "SIMULATED")
    }

    fn start(&mut self, machine: &mut Machine<Shared>, task: TaskId, action: Action) {
        let moved = action.data_in_length(BLOCK_SIZE);
        match action {
            Action::Respond(data) => machine.respond(task, Response::data(data)),
            Action::Check(sense) => machine.respond(task, Response::check(sense)),
            Action::Read { lba, blocks, .. } => {
                let (start, end) = range(lba, blocks);
                let data = self.target.disk.borrow()[start..end].to_vec();
                machine.respond(
                    task,
                    Response {
                        moved,
                        ..Response::data(data)
                    },
                );
            }
            Action::Flush { .. } | Action::Verify { .. } => {
                machine.respond(task, Response::good(0))
            }
            Action::Write { .. } | Action::Compare { .. } => {
                machine.receive(task, action.data_out_length(BLOCK_SIZE));
                self.writes.insert(task, action);
            }
            // Nothing that a boot needs.
            _ => machine.respond(task, Response::check(Sense::INVALID_OPCODE)),
        }
    }

    fn finish(&self, action: &Action, data: &[u8]) -> Response {
        let Action::Write { lba, .. } = *action else {
            return Response::check(Sense::MISCOMPARE);
        };
        let (start, _) = range(lba, 0);
        let whole = data.len() - data.len() % BLOCK_SIZE as usize;
        self.target.disk.borrow_mut()[start..start + whole].copy_from_slice(&data[..whole]);
        Response::good(action.data_out_length(BLOCK_SIZE))
    }
}

/// The bytes of blocks that the logical unit has found to lie within the disk.
fn range(lba: u64, blocks: u32) -> (usize, usize) {
    let start = lba as usize * BLOCK_SIZE as usize;
    (start, start + blocks as usize * BLOCK_SIZE as usize)
}
