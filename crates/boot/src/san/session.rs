//! A session with a logical unit: many commands in flight, repeated where SCSI says so, and one
//! new login when the connection is lost.
//!
//! A new login has the same name and identifier as the old one, so the target ends what was left
//! of the old session before it answers (RFC 7143 section 6.3.5). That is why every command that
//! was not answered may be repeated: reads change nothing, and a write that is repeated writes
//! the same bytes to the same place, with no other write of ours in between.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::net::SocketAddr;
use core::time::Duration;

use bowline_iscsi::initiator::{
    Closed, Command, Completion, Event, SubmitError, TaskError, TaskId, Transfer,
};
use bowline_iscsi::{Lun, Sense, Status};
use bowline_net::Stack;
use bowline_scsi::{Cdb, SenseKey};

use crate::executor::Executor;
use crate::failure::{Code, Failure};
use crate::network::Network;
use crate::platform::Platform;
use crate::san::cache::CommandId;
use crate::san::connection::{self, Connection};
use crate::san::login::Login;
use crate::san::queue::{CommandQueue, Finished, Request};

/// A session and what is under way in it.
pub(crate) struct Session {
    executor: Rc<Executor>,
    platform: Rc<dyn Platform>,
    network: Network,
    login: Login,
    stack: Stack,
    remote: SocketAddr,
    block_size: Cell<u32>,
    connection: RefCell<Option<Connection>>,
    commands: RefCell<Commands>,
    /// Why there is no connection.
    loss: RefCell<Option<Failure>>,
}

#[derive(Default)]
struct Commands {
    next: CommandId,
    /// Every command that has not ended.
    open: BTreeMap<CommandId, Open>,
    /// Those that wait to be sent, in order.
    unsent: VecDeque<CommandId>,
    /// Those that wait for a busy target.
    delayed: Vec<(Duration, CommandId)>,
    /// What the initiator calls those that were sent.
    tasks: BTreeMap<TaskId, CommandId>,
    finished: VecDeque<Finished>,
}

struct Open {
    request: Request,
    /// How often it was repeated.
    repeats: u32,
}

/// What to do about an answer.
enum Verdict {
    Done(Result<Vec<u8>, Failure>),
    /// Again, at once.
    Repeat,
    /// Again, when the target has had time.
    RepeatLater,
}

impl Session {
    pub(crate) fn new(
        executor: Rc<Executor>,
        platform: Rc<dyn Platform>,
        network: Network,
        login: Login,
        connection: Connection,
    ) -> Self {
        Self {
            executor,
            platform,
            network,
            login,
            stack: connection.stream().stack().clone(),
            remote: connection.stream().remote_addr(),
            block_size: Cell::new(512),
            connection: RefCell::new(Some(connection)),
            commands: RefCell::default(),
            loss: RefCell::default(),
        }
    }

    /// The length of a block, once it is known.
    pub(crate) fn set_block_size(&self, block_size: u32) {
        self.block_size.set(block_size);
    }

    pub(crate) fn lun(&self) -> Lun {
        self.login.lun
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    /// When [`CommandQueue::turn`] has something to do by itself.
    pub(crate) fn wake_up(&self) -> Option<Duration> {
        let connection = self.connection.try_borrow().ok()?;
        let delayed = self
            .commands
            .borrow()
            .delayed
            .iter()
            .map(|(at, _)| *at)
            .min();
        crate::executor::earliest(connection.as_ref()?.wake_up(), delayed)
    }

    /// Logs out.
    pub(crate) async fn close(&self) {
        let connection = self.connection.take();
        if let Some(connection) = connection {
            connection.close(&self.executor).await;
        }
    }

    fn lose(&self, failure: Failure) {
        self.connection.replace(None);
        self.loss.borrow_mut().get_or_insert(failure);
    }

    /// Gives the initiator what it can take.
    fn send(&self, connection: &mut Connection, now: Duration) -> bool {
        let mut commands = self.commands.borrow_mut();
        commands.end_delays(now);
        let mut busy = false;
        while let Some(&id) = commands.unsent.front() {
            let Some(open) = commands.open.get(&id) else {
                commands.unsent.pop_front();
                continue;
            };
            let command = self.command(&open.request);
            let expected = match &command.transfer {
                Transfer::Read(length) => *length as usize,
                _ => 0,
            };
            match connection.initiator().submit(now, command) {
                Ok(task) => {
                    connection.expect(bytes_on_the_wire(expected));
                    commands.unsent.pop_front();
                    commands.tasks.insert(task, id);
                    busy = true;
                }
                Err(SubmitError::QueueFull | SubmitError::NotInFullFeaturePhase) => break,
                Err(error) => {
                    commands.unsent.pop_front();
                    let failure = Failure::new(Code::DiskProtocol, error.to_string());
                    commands.finish(id, Err(failure));
                }
            }
        }
        busy
    }

    fn command(&self, request: &Request) -> Command {
        let block_size = self.block_size.get();
        let (cdb, transfer) = match request {
            Request::Read { lba, blocks } => {
                let length = blocks.saturating_mul(block_size);
                (Cdb::read(*lba, *blocks), Transfer::Read(length))
            }
            Request::Write { lba, data } => {
                let blocks = data.len() / block_size.max(1) as usize;
                (
                    Cdb::write(*lba, blocks as u32),
                    Transfer::Write(data.clone()),
                )
            }
            Request::Flush => (Cdb::flush(), Transfer::None),
            Request::Ask { cdb, length: 0 } => (*cdb, Transfer::None),
            Request::Ask { cdb, length } => (*cdb, Transfer::Read(*length)),
        };
        let timeout = match request {
            Request::Flush => FLUSH_TIMEOUT,
            _ => COMMAND_TIMEOUT,
        };
        let cdb = cdb.to_bytes().padded();
        Command {
            lun: self.login.lun,
            cdb,
            transfer,
            timeout: Some(timeout),
        }
    }

    /// Takes an event of the initiator; a failure is the end of the connection.
    fn take_event(&self, event: Event, now: Duration) -> Result<(), Failure> {
        match event {
            Event::Completed { task, result } => self.take_completion(task, result, now),
            Event::LogoutRequested(_) => Err(self.lost("the target asked us to log out")),
            Event::Closed(Closed::Failed(error)) => Err(self.lost(&error.to_string())),
            Event::Closed(_) => Err(self.lost("the target closed the session")),
            _ => Ok(()),
        }
    }

    fn take_completion(
        &self,
        task: TaskId,
        result: Result<Completion, TaskError>,
        now: Duration,
    ) -> Result<(), Failure> {
        let mut commands = self.commands.borrow_mut();
        let Some(id) = commands.tasks.remove(&task) else {
            return Ok(());
        };
        let Some(open) = commands.open.get_mut(&id) else {
            return Ok(());
        };
        open.repeats += 1;
        let verdict = match result {
            Ok(completion) => self.judge(completion, open),
            // The connection is at its end: the command waits for the next one.
            Err(TaskError::SessionClosed) => {
                open.repeats -= 1;
                commands.unsent.push_back(id);
                return Ok(());
            }
            Err(TaskError::TimedOut) if open.repeats <= TIMEOUT_REPEATS => {
                commands.unsent.push_back(id);
                return Err(self.lost("a command was not answered in time"));
            }
            Err(error) => Verdict::Done(Err(Failure::new(Code::DiskError, error.to_string()))),
        };
        match verdict {
            Verdict::Done(result) => commands.finish(id, result),
            Verdict::Repeat => commands.unsent.push_back(id),
            Verdict::RepeatLater => commands.delayed.push((now.saturating_add(BUSY_PAUSE), id)),
        }
        Ok(())
    }

    /// Status and sense data say whether a command is done, has failed or is to be repeated.
    fn judge(&self, completion: Completion, open: &Open) -> Verdict {
        let key = completion.sense.map(|sense| sense.key);
        match completion.status {
            Status::GOOD => Verdict::Done(self.check_length(completion.data, &open.request)),
            // The news is for whoever comes first after it (SAM-5 section 5.14).
            Status::CHECK_CONDITION
                if key == Some(SenseKey::UNIT_ATTENTION) && open.repeats <= ATTENTION_REPEATS =>
            {
                Verdict::Repeat
            }
            Status::CHECK_CONDITION
                if key == Some(SenseKey::ABORTED_COMMAND) && open.repeats <= ABORT_REPEATS =>
            {
                Verdict::Repeat
            }
            // Becoming ready, or busy with somebody else (SAM-5 section 5.3.1).
            Status::CHECK_CONDITION
                if key == Some(SenseKey::NOT_READY) && open.repeats <= BUSY_REPEATS =>
            {
                Verdict::RepeatLater
            }
            Status::BUSY | Status::TASK_SET_FULL if open.repeats <= BUSY_REPEATS => {
                Verdict::RepeatLater
            }
            status => Verdict::Done(Err(describe(status, completion.sense))),
        }
    }

    fn check_length(&self, data: Vec<u8>, request: &Request) -> Result<Vec<u8>, Failure> {
        if let Request::Read { blocks, .. } = request {
            let wanted = blocks.saturating_mul(self.block_size.get()) as usize;
            if data.len() != wanted {
                return Err(Failure::short_read(data.len(), wanted));
            }
        }
        Ok(data)
    }

    fn lost(&self, why: &str) -> Failure {
        let target = &self.login.root_path.target;
        Failure::new(
            Code::DiskLost,
            format!("session with {target} at {}: {why}", self.remote),
        )
    }
}

impl CommandQueue for Session {
    fn submit(&self, request: Request) -> CommandId {
        let mut commands = self.commands.borrow_mut();
        let id = commands.next;
        commands.next += 1;
        commands.open.insert(
            id,
            Open {
                request,
                repeats: 0,
            },
        );
        commands.unsent.push_back(id);
        id
    }

    fn turn(&self) -> bool {
        let Ok(mut slot) = self.connection.try_borrow_mut() else {
            return false;
        };
        let Some(connection) = slot.as_mut() else {
            return false;
        };
        let now = self.executor.now();
        let mut busy = self.send(connection, now);
        busy |= connection.turn(now);
        let mut end = None;
        while let Some(event) = connection.initiator().poll_event() {
            busy = true;
            if let Err(failure) = self.take_event(event, now) {
                end.get_or_insert(failure);
            }
        }
        if self.is_idle() {
            connection.expect_nothing();
        }
        drop(slot);
        if let Some(failure) = end {
            self.lose(failure);
        }
        busy
    }

    fn take_finished(&self) -> Option<Finished> {
        self.commands.borrow_mut().finished.pop_front()
    }

    fn loss(&self) -> Option<Failure> {
        self.loss.borrow().clone()
    }

    fn is_idle(&self) -> bool {
        self.commands.borrow().open.is_empty()
    }

    async fn recover(&self) -> Result<(), Failure> {
        let Some(loss) = self.loss.take() else {
            return Ok(());
        };
        self.platform
            .console()
            .write(&format!("iscsi: {loss}; logging in again\n"));
        let attempt =
            connection::open(&self.executor, &*self.platform, &self.login, &self.network).await;
        match attempt {
            Ok(logged_in) => {
                self.commands.borrow_mut().send_all_again();
                self.connection.replace(Some(logged_in.connection));
                Ok(())
            }
            Err(failure) => {
                let failure = Failure::new(Code::DiskLost, failure.message());
                self.commands.borrow_mut().fail_all(&failure);
                self.loss.replace(Some(loss));
                Err(failure)
            }
        }
    }
}

impl Commands {
    fn finish(&mut self, id: CommandId, result: Result<Vec<u8>, Failure>) {
        self.open.remove(&id);
        self.finished.push_back((id, result));
    }

    /// Everything that has not ended is sent in its first order.
    fn send_all_again(&mut self) {
        self.tasks.clear();
        self.delayed.clear();
        self.unsent = self.open.keys().copied().collect();
    }

    fn fail_all(&mut self, failure: &Failure) {
        self.send_all_again();
        while let Some(id) = self.unsent.pop_front() {
            self.finish(id, Err(failure.clone()));
        }
    }

    fn end_delays(&mut self, now: Duration) {
        let unsent = &mut self.unsent;
        self.delayed.retain(|&(at, id)| {
            if now >= at {
                unsent.push_back(id);
            }
            now < at
        });
    }
}

fn describe(status: Status, sense: Option<Sense>) -> Failure {
    let Some(sense) = sense else {
        return Failure::new(Code::DiskError, format!("the disk answered {status}"));
    };
    let code = match (sense.key, sense.asc) {
        (SenseKey::NOT_READY, _) => Code::DiskNotReady,
        // LOGICAL UNIT NOT SUPPORTED (SPC-4 Annex F.2).
        (_, 0x25) => Code::DiskNoUnit,
        _ => Code::DiskError,
    };
    Failure::new(code, format!("the disk answered {status}: {sense}"))
}

/// The answer to a command on the wire, rounded up, for the receive budget: a response, and data
/// in pieces of 8 KiB or more with a header each.
fn bytes_on_the_wire(data: usize) -> usize {
    data.saturating_add(data / 128).saturating_add(128)
}

/// How long a command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a flush may take: slow disks behind large caches need their time.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Repeats after unit attentions: reset, changed parameters and the like may queue up.
const ATTENTION_REPEATS: u32 = 8;

/// Repeats of a command that the disk gave up.
const ABORT_REPEATS: u32 = 3;

/// Repeats of a command that was not answered in time; each has a new login before it.
const TIMEOUT_REPEATS: u32 = 1;

/// Repeats while the disk is busy or becoming ready: ten seconds in all.
const BUSY_REPEATS: u32 = 100;

/// Time between two of them.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
