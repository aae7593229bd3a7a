//! The two ends against each other in memory: an initiator, a target connection in front of a
//! small disk, and a wire that cuts the streams as the test wants.

use core::time::Duration;

use bowline_scsi::device::{self, Action, LogicalUnit, Nexus};
use bowline_scsi::{Cdb, Lun};

use crate::initiator::{self, Completion, Initiator, TaskError, TaskId, Transfer};
use crate::pdu::TaskManagementOutcome;
use crate::target::{
    self, Admission, Applicant, Connected, Connection, Directory, Listing, Response,
};
use crate::{Credentials, Isid, LoginStatus, Sense};

pub(crate) const INITIATOR: &str = "iqn.2000-01.com.example:host";
pub(crate) const TARGET: &str = "iqn.2000-01.com.example:disk1";
pub(crate) const BLOCK: usize = 512;
pub(crate) const BLOCKS: usize = 512;

/// A generator for tests: xorshift64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit.max(1)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// How the wire cuts a stream.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    Whole,
    Bytes,
    Random(Random),
}

impl Cut {
    fn pieces<'a>(&mut self, stream: &'a [u8]) -> Vec<&'a [u8]> {
        match self {
            Self::Whole => vec![stream],
            Self::Bytes => stream.chunks(1).collect(),
            Self::Random(random) => {
                let mut rest = stream;
                let mut pieces = Vec::new();
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(1 + random.below(rest.len().min(3000)));
                    pieces.push(piece);
                    rest = after;
                }
                pieces
            }
        }
    }
}

/// One target with the terms of the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    pub(crate) admission: Admission,
    pub(crate) listings: Vec<Listing>,
}

impl Directory for Targets {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        match applicant.target_name {
            None | Some(TARGET) => Ok(self.admission.clone()),
            Some(_) => Err(LoginStatus::NOT_FOUND),
        }
    }

    fn targets(&self, _: &str) -> Vec<Listing> {
        self.listings.clone()
    }
}

/// The service: carries commands out on a disk in memory.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) unit: LogicalUnit,
    pub(crate) bytes: Vec<u8>,
    nexus: Nexus,
    awaiting: Vec<(target::TaskId, Action)>,
    /// Commands are kept here unanswered where the test wants that.
    pub(crate) hold: bool,
    pub(crate) held: Vec<target::TaskId>,
}

impl Disk {
    pub(crate) fn new(blocks: usize) -> Self {
        Self {
            unit: LogicalUnit::new(blocks as u64, BLOCK as u32, "test"),
            bytes: (0..blocks * BLOCK).map(|at| (at / 7) as u8).collect(),
            nexus: Nexus::new(),
            awaiting: Vec::new(),
            hold: false,
            held: Vec::new(),
        }
    }

    fn range(&self, lba: u64, length: usize) -> core::ops::Range<usize> {
        let start = lba as usize * BLOCK;
        start..(start + length).min(self.bytes.len())
    }

    /// Carries out one event.
    pub(crate) fn serve<D: Directory>(
        &mut self,
        connection: &mut Connection<D>,
        event: &target::Event,
    ) {
        match event {
            target::Event::Command(command) => self.command(connection, command),
            target::Event::DataOut { task, data } => {
                let Some(at) = self.awaiting.iter().position(|(id, _)| id == task) else {
                    return;
                };
                let (_, action) = self.awaiting.remove(at);
                let moved = action.data_out_length(BLOCK as u32);
                let response = match action {
                    Action::Write { lba, .. } => {
                        let whole = data.len() / BLOCK * BLOCK;
                        let range = self.range(lba, whole);
                        self.bytes[range].copy_from_slice(&data[..whole]);
                        Response::good(moved)
                    }
                    Action::Compare { lba, .. } => {
                        let same = self.bytes[self.range(lba, data.len())] == data[..];
                        if same {
                            Response::good(moved)
                        } else {
                            Response::check(Sense::MISCOMPARE)
                        }
                    }
                    _ => panic!("data for {action:?}"),
                };
                connection.respond(*task, response);
            }
            target::Event::TaskManagement(management) => {
                connection.task_management_done(management.task, TaskManagementOutcome::COMPLETE);
            }
            target::Event::Aborted(task) => self.awaiting.retain(|(id, _)| id != task),
            target::Event::LoggedIn(_) | target::Event::Closed(_) => {}
        }
    }

    fn command<D: Directory>(&mut self, connection: &mut Connection<D>, command: &target::Command) {
        let task = command.task;
        if self.hold {
            self.held.push(task);
            return;
        }
        let action = device::execute(
            Some(&self.unit),
            &[Lun::ZERO],
            &mut self.nexus,
            &command.cdb,
        );
        let moved = action.data_in_length(BLOCK as u32);
        match action {
            Action::Respond(data) => connection.respond(task, Response::data(data)),
            Action::Check(sense) => connection.respond(task, Response::check(sense)),
            Action::Read { lba, .. } => {
                let length = moved.min(u64::from(command.read_length)) as usize;
                let data = self.bytes[self.range(lba, length)].to_vec();
                connection.respond(
                    task,
                    Response {
                        moved,
                        ..Response::data(data)
                    },
                );
            }
            Action::Write { .. } | Action::Compare { .. } => {
                connection.receive(task, action.data_out_length(BLOCK as u32));
                self.awaiting.push((task, action));
            }
            Action::Flush { .. } | Action::Verify { .. } => {
                connection.respond(task, Response::good(0));
            }
            other => panic!("the initiator never sends this: {other:?}"),
        }
    }
}

/// Both ends.
pub(crate) struct Pair {
    pub(crate) now: Duration,
    pub(crate) initiator: Initiator,
    pub(crate) target: Connection<Targets>,
    pub(crate) disk: Disk,
    pub(crate) cut: Cut,
    pub(crate) initiator_events: Vec<initiator::Event>,
    pub(crate) target_events: Vec<target::Event>,
    /// Exchanges so far in which the initiator sent something.
    pub(crate) round_trips: usize,
}

pub(crate) fn initiator_config() -> initiator::Config {
    initiator::Config::new(INITIATOR, TARGET, Isid::random([1, 2, 3], 0), [0x11; 33])
}

pub(crate) fn connected() -> Connected {
    Connected {
        tsih: 7,
        entropy: [0x22; 33],
    }
}

pub(crate) fn chap(name: &str, secret: &str) -> Credentials {
    Credentials::new(name, secret)
}

impl Pair {
    pub(crate) fn new(
        initiator: initiator::Config,
        target: target::Config,
        targets: Targets,
    ) -> Self {
        let now = Duration::from_secs(1000);
        Self {
            now,
            initiator: Initiator::new(initiator, now).unwrap(),
            target: Connection::new(target, targets, connected(), now),
            disk: Disk::new(BLOCKS),
            cut: Cut::Whole,
            initiator_events: Vec::new(),
            target_events: Vec::new(),
            round_trips: 0,
        }
    }

    pub(crate) fn logged_in() -> Self {
        let mut pair = Self::new(
            initiator_config(),
            target::Config::default(),
            Targets::default(),
        );
        pair.run();
        assert!(pair.initiator.is_logged_in(), "{:?}", pair.initiator_events);
        pair
    }

    /// Carries bytes and events until nothing moves.
    pub(crate) fn run(&mut self) {
        for _ in 0..100_000 {
            let mut moved = false;
            if let Some(bytes) = self.initiator.poll_output() {
                moved = true;
                self.round_trips += 1;
                for piece in self.cut.pieces(&bytes) {
                    self.target.handle_input(self.now, piece);
                    self.serve();
                }
            }
            self.serve();
            if let Some(bytes) = self.target.poll_output() {
                moved = true;
                for piece in self.cut.pieces(&bytes) {
                    self.initiator.handle_input(self.now, piece);
                }
            }
            while let Some(event) = self.initiator.poll_event() {
                self.initiator_events.push(event);
            }
            if !moved {
                return;
            }
        }
        panic!("the two ends never stop talking");
    }

    fn serve(&mut self) {
        while let Some(event) = self.target.poll_event() {
            self.disk.serve(&mut self.target, &event);
            self.target_events.push(event);
        }
    }

    pub(crate) fn submit(&mut self, cdb: Cdb, transfer: Transfer) -> TaskId {
        let cdb = cdb.to_bytes().padded();
        let command = initiator::Command {
            lun: Lun::ZERO,
            cdb,
            transfer,
            timeout: None,
        };
        self.initiator.submit(self.now, command).unwrap()
    }

    /// Takes the outcome of a command.
    pub(crate) fn outcome(&mut self, task: TaskId) -> Option<Result<Completion, TaskError>> {
        let is_it = |event: &initiator::Event| matches!(event, initiator::Event::Completed { task: id, .. } if *id == task);
        let at = self.initiator_events.iter().position(is_it)?;
        match self.initiator_events.remove(at) {
            initiator::Event::Completed { result, .. } => Some(result),
            _ => None,
        }
    }

    /// One command, run to its end.
    pub(crate) fn execute(&mut self, cdb: Cdb, transfer: Transfer) -> Completion {
        let task = self.submit(cdb, transfer);
        self.run();
        self.outcome(task)
            .expect("no outcome")
            .expect("no completion")
    }

    /// How the initiator's session ended.
    pub(crate) fn closed(&self) -> Option<&initiator::Closed> {
        self.initiator_events.iter().find_map(|event| match event {
            initiator::Event::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    /// How the target's connection ended.
    pub(crate) fn target_closed(&self) -> Option<&target::Closed> {
        self.target_events.iter().find_map(|event| match event {
            target::Event::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    /// What the initiator was told of its login.
    pub(crate) fn login(&self) -> Option<&initiator::Login> {
        self.initiator_events.iter().find_map(|event| match event {
            initiator::Event::LoggedIn(login) => Some(login),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests;
