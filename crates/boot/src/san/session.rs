//! The way to a logical unit, by one path or several: many commands in flight, repeated where SCSI
//! says so, and sent again when the path they took is lost.
//!
//! All paths are opened at once, and the first that is up carries the commands. When it is lost,
//! another that is up takes over, or the first that comes up again; the others are made anew
//! behind that. A new login has the same name and identifier as the old one by its path, so the
//! target ends what was left of the old session before it answers (RFC 7143 section 6.3.5). That
//! is why every command that was not answered may be repeated: reads change nothing, and a write
//! that is repeated writes the same bytes to the same place, with no other write of ours in
//! between.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use bowline_iscsi::initiator::{
    Closed, Command, Completion, Event, SubmitError, TaskError, TaskId, Transfer,
};
use bowline_iscsi::{Lun, Sense, Status};
use bowline_scsi::identity::Identity;
use bowline_scsi::{Cdb, SenseKey};

use crate::executor::Executor;
use crate::failure::{Code, Failure};
use crate::san::cache::CommandId;
use crate::san::connection::{Connection, LoggedIn};
use crate::san::identity::Known;
use crate::san::login::Login;
use crate::san::path::{Path, Step, Surroundings};
use crate::san::pending::{Commands, Open};
use crate::san::queue::{Closing, CommandQueue, DriveQueue, Finished, Request};

/// The paths to a logical unit and what is under way there.
pub(crate) struct Session {
    executor: Rc<Executor>,
    paths: Vec<Path>,
    /// The path that carries the commands.
    active: Cell<Option<usize>>,
    block_size: Cell<u32>,
    commands: RefCell<Commands>,
    /// How often each path is tried in vain before commands fail.
    retries: Cell<usize>,
    /// Attempts in vain since a command was last answered.
    vain: Cell<usize>,
    /// What the person at the console should hear of.
    news: RefCell<VecDeque<String>>,
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
    /// A session over paths that are not open yet.
    pub(crate) fn new(surroundings: &Surroundings, logins: Vec<Login>) -> Self {
        let path = |login| Path::new(surroundings.clone(), login);
        Self {
            executor: Rc::clone(&surroundings.executor),
            paths: logins.into_iter().map(path).collect(),
            active: Cell::new(None),
            block_size: Cell::new(512),
            commands: RefCell::default(),
            retries: Cell::new(0),
            vain: Cell::new(0),
            news: RefCell::default(),
        }
    }

    /// Waits until a path is up, or until every one has failed.
    pub(crate) async fn open(&self) -> Result<(), Failure> {
        poll_fn(|_| {
            self.turn();
            if self.active.get().is_some() {
                return Poll::Ready(Ok(()));
            }
            let failures: Option<Vec<Failure>> = self.paths.iter().map(Path::failure).collect();
            if let Some(failures) = failures {
                return Poll::Ready(Err(joined(&failures)));
            }
            if let Some(moment) = self.wake_up() {
                self.executor.wake_at(moment);
            }
            Poll::Pending
        })
        .await
    }

    /// Leaves the path that carries the commands for good: what is behind it is not what is
    /// wanted.
    pub(crate) async fn abandon(&self, failure: Failure) {
        let active = self.active.take().and_then(|index| self.paths.get(index));
        self.commands.borrow_mut().fail_all(&failure);
        if let Some(path) = active {
            path.abandon(failure).await;
        }
    }

    /// From now on paths that are lost are made anew, commands wait for `retries` attempts, and
    /// every path has to lead to the disk that was found.
    pub(crate) fn keep(&self, block_size: u32, retries: usize, identity: Identity) {
        self.block_size.set(block_size);
        self.retries.set(retries);
        let active = self.active.get().and_then(|index| self.paths.get(index));
        let Some(active) = active else {
            return;
        };
        let known = Rc::new(Known::new(active.login(), identity));
        for path in &self.paths {
            path.expect(&known, core::ptr::eq(path, active));
        }
    }

    /// Looks at the path that carries the commands.
    pub(crate) fn on_active<T>(&self, look: impl FnOnce(&Login, &LoggedIn) -> T) -> Option<T> {
        let path = self.paths.get(self.active.get()?)?;
        let logged_in = path.logged_in()?;
        Some(look(path.login(), &logged_in))
    }

    /// What the person at the console should hear of.
    pub(crate) fn take_news(&self) -> Option<String> {
        self.news.borrow_mut().pop_front()
    }

    /// When [`CommandQueue::turn`] has something to do by itself.
    pub(crate) fn wake_up(&self) -> Option<Duration> {
        let delayed = self.commands.borrow();
        let delayed = delayed.delayed.iter().map(|(at, _)| *at);
        self.paths
            .iter()
            .filter_map(Path::wake_up)
            .chain(delayed)
            .min()
    }

    /// Logs out.
    pub(crate) async fn close(&self) {
        self.active.set(None);
        for path in &self.paths {
            path.close().await;
        }
    }

    /// Moves what can be moved on one path.
    fn turn_path(&self, index: usize, path: &Path, now: Duration) -> bool {
        let mut busy = false;
        match path.turn(now) {
            Step::Nothing => {}
            Step::Up => busy = true,
            Step::Failed { failure, is_news } => {
                busy = true;
                self.attempt_failed(&failure, is_news);
            }
        }
        let Some(mut logged_in) = path.logged_in() else {
            return busy;
        };
        if self.active.get().is_none() {
            self.active.set(Some(index));
            self.commands.borrow_mut().send_all_again();
        }
        let is_active = self.active.get() == Some(index);
        let connection = &mut logged_in.connection;
        if is_active {
            busy |= self.send(connection, path.login().lun, now);
        }
        busy |= connection.turn(now);
        let mut end = None;
        while let Some(event) = connection.initiator().poll_event() {
            busy = true;
            if let Err(why) = self.take_event(event, connection, now) {
                end.get_or_insert(why);
            }
        }
        if is_active && self.is_idle() {
            connection.expect_nothing();
        }
        if let Some(why) = end {
            let remote = connection.stream().remote_addr();
            drop(logged_in);
            let target = &path.login().root_path.target;
            let message = format!("session with {target} at {remote}: {why}");
            let failure = Failure::new(Code::DiskLost, message);
            path.lose(&failure);
            if is_active {
                self.lose(&failure);
            }
        }
        busy
    }

    /// The path that carried the commands is lost.
    fn lose(&self, failure: &Failure) {
        self.active.set(None);
        let next = if self.paths.iter().any(Path::is_up) {
            "going on by another path"
        } else {
            "logging in again"
        };
        self.tell(format!("iscsi: {failure}; {next}\n"));
        self.note_vain(failure);
    }

    fn attempt_failed(&self, failure: &Failure, is_news: bool) {
        let is_kept = self.retries.get() > 0;
        if is_kept && is_news {
            self.tell(format!("iscsi: {failure}; trying again\n"));
        }
        if self.active.get().is_none() {
            let failure = Failure::new(Code::DiskLost, failure.message());
            self.note_vain(&failure);
        }
    }

    /// Commands wait for so many attempts and no more.
    fn note_vain(&self, failure: &Failure) {
        self.vain.set(self.vain.get().saturating_add(1));
        if self.vain.get() > self.retries.get().saturating_mul(self.paths.len()) {
            self.commands.borrow_mut().fail_all(failure);
        }
    }

    fn tell(&self, line: String) {
        let mut news = self.news.borrow_mut();
        news.truncate(NEWS_MAX - 1);
        news.push_back(line);
    }

    /// Gives the initiator what it can take.
    fn send(&self, connection: &mut Connection, lun: Lun, now: Duration) -> bool {
        let mut commands = self.commands.borrow_mut();
        commands.end_delays(now);
        let mut busy = false;
        while let Some(&id) = commands.unsent.front() {
            let Some(open) = commands.open.get(&id) else {
                commands.unsent.pop_front();
                continue;
            };
            let command = self.command(&open.request, lun);
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

    fn command(&self, request: &Request, lun: Lun) -> Command {
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
            lun,
            cdb,
            transfer,
            timeout: Some(timeout),
        }
    }

    /// Takes an event of the initiator; an error says why the connection has ended.
    fn take_event(
        &self,
        event: Event,
        connection: &mut Connection,
        now: Duration,
    ) -> Result<(), String> {
        match event {
            Event::Completed { task, result } => self.take_completion(task, result, now),
            // RFC 7143 section 11.9: within the time it names, so at once.
            Event::LogoutRequested(_) => connection.initiator().logout(now),
            Event::Closed(Closed::Failed(error)) => return Err(error.to_string()),
            Event::Closed(_) => return Err("the target ended the session".to_string()),
            _ => {}
        }
        Ok(())
    }

    fn take_completion(&self, task: TaskId, result: Result<Completion, TaskError>, now: Duration) {
        let mut commands = self.commands.borrow_mut();
        let Some(id) = commands.tasks.remove(&task) else {
            return;
        };
        let Some(open) = commands.open.get_mut(&id) else {
            return;
        };
        let verdict = match result {
            // The connection is at its end: the command waits for the next one.
            Err(TaskError::SessionClosed) => return,
            result => {
                open.repeats += 1;
                self.judge(result, open)
            }
        };
        match verdict {
            Verdict::Done(result) => {
                self.vain.set(0);
                commands.finish(id, result);
            }
            Verdict::Repeat => commands.unsent.push_back(id),
            Verdict::RepeatLater => commands.delayed.push((now.saturating_add(BUSY_PAUSE), id)),
        }
    }

    /// Status and sense data say whether a command is done, has failed or is to be repeated.
    fn judge(&self, result: Result<Completion, TaskError>, open: &Open) -> Verdict {
        let completion = match result {
            Ok(completion) => completion,
            // The target was told to abort it, and has to say so before long.
            Err(TaskError::TimedOut)
                if open.repeats <= TIMEOUT_REPEATS && self.retries.get() > 0 =>
            {
                return Verdict::Repeat;
            }
            Err(error) => {
                let code = match error {
                    TaskError::TimedOut => Code::DiskLost,
                    _ => Code::DiskError,
                };
                return Verdict::Done(Err(Failure::new(code, error.to_string())));
            }
        };
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
}

impl DriveQueue for Session {
    fn wake_up(&self) -> Option<Duration> {
        Self::wake_up(self)
    }

    fn take_news(&self) -> Option<String> {
        Self::take_news(self)
    }

    fn close(&self) -> Closing<'_> {
        alloc::boxed::Box::pin(Self::close(self))
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
        let now = self.executor.now();
        let mut busy = false;
        for (index, path) in self.paths.iter().enumerate() {
            busy |= self.turn_path(index, path, now);
        }
        busy
    }

    fn take_finished(&self) -> Option<Finished> {
        self.commands.borrow_mut().finished.pop_front()
    }

    fn is_idle(&self) -> bool {
        self.commands.borrow().open.is_empty()
    }
}

/// Every path's own failure; the first names the kind.
fn joined(failures: &[Failure]) -> Failure {
    let code = failures.first().map_or(Code::CommandUsage, Failure::code);
    let words: Vec<&str> = failures.iter().map(Failure::message).collect();
    Failure::new(code, words.join("; "))
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
pub(super) fn bytes_on_the_wire(data: usize) -> usize {
    data.saturating_add(data / 128).saturating_add(128)
}

/// How long a command may take.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a flush may take: slow disks behind large caches need their time.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);

/// Repeats after unit attentions: reset, changed parameters and the like may queue up.
const ATTENTION_REPEATS: u32 = 8;

/// Repeats of a command that the disk gave up.
const ABORT_REPEATS: u32 = 3;

/// Repeats of a command that was not answered in time by a target that is there.
const TIMEOUT_REPEATS: u32 = 3;

/// Repeats while the disk is busy or becoming ready: ten seconds in all.
const BUSY_REPEATS: u32 = 100;

/// Time between two of them.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Lines that wait to be shown at most.
const NEWS_MAX: usize = 16;
