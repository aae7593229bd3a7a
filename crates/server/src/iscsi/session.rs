//! One connection: bytes between the socket and the machine, commands between the machine and the
//! disks.
//!
//! ```text
//!   socket ──> machine ──> commands ──> waiting ──> threads that read and write disks
//!     ^                                                │
//!     └── output <── machine <────── responses <───────┘
//! ```
//!
//! One task does all of it but the disks, so nothing here is locked. What piles up is bounded:
//! commands by the machine's window, their data by [`Limits::task_bytes_max`], output by
//! [`Limits::output_bytes_max`], above which neither the socket is read nor a command begun.
//!
//! [`Limits::task_bytes_max`]: super::Limits::task_bytes_max
//! [`Limits::output_bytes_max`]: super::Limits::output_bytes_max

mod management;
mod socket;
pub(super) mod statistics;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_iscsi::pdu::TaskManagementOutcome;
use bowline_iscsi::target::{
    Closed, Command, Config, Connected, Connection, Event, Login, Response, TaskId,
};
use bowline_scsi::device::{self, Action, NexusId};
use bowline_scsi::{Lun, Sense};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use self::socket::{Interest, exchange};
use self::statistics::Statistics;
use super::buffers;
use super::output::Output;
use super::portal::{Entrance, Membership, Notice, Portal, Reservation, Target, printable};
use super::unit::Unit;
use crate::Shutdown;

/// Serves one connection to its end.
pub(super) async fn run(
    portal: Arc<Portal>,
    stream: TcpStream,
    peer: SocketAddr,
    reservation: Reservation,
    shutdown: Shutdown,
) {
    let mut entropy = [0; bowline_iscsi::chap::ENTROPY_LENGTH];
    if let Err(error) = fill_random(&mut entropy) {
        tracing::error!("iscsi: {peer}: refused: no random numbers for CHAP: {error}");
        return;
    }
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let entrance = Arc::new(Entrance::new(Arc::clone(&portal), local, peer));
    let config = Config {
        login_timeout: portal.limits.login_time_max,
        ..Config::default()
    };
    let connected = Connected {
        tsih: reservation.tsih,
        entropy,
    };
    let machine = Connection::new(config, Arc::clone(&entrance), connected, portal.now());
    let mut session = Session {
        portal,
        stream,
        peer,
        reservation,
        entrance,
        machine,
        output: Output::default(),
        buffer: vec![0; READ_BYTES],
        login: None,
        expecting: HashMap::new(),
        waiting: VecDeque::new(),
        tasks: JoinSet::new(),
        running: HashMap::new(),
        task_bytes: 0,
        aborting: Vec::new(),
        closed: None,
        statistics: Arc::default(),
        leaving: None,
    };
    tracing::debug!("iscsi: {peer}: connected");
    let result = session.serve(shutdown).await;
    session.end(result).await;
}

struct Session {
    portal: Arc<Portal>,
    stream: TcpStream,
    peer: SocketAddr,
    reservation: Reservation,
    entrance: Arc<Entrance>,
    machine: Connection<Arc<Entrance>>,
    output: Output,
    buffer: Vec<u8>,
    /// Set by the login to a target.
    login: Option<LoggedIn>,
    /// Commands whose data is on its way here.
    expecting: HashMap<TaskId, Job>,
    /// Commands that could begin if fewer others were under way.
    waiting: VecDeque<Job>,
    tasks: JoinSet<Done>,
    /// The commands in `tasks`.
    running: HashMap<TaskId, Lun>,
    /// Bytes that the commands in `tasks` move.
    task_bytes: usize,
    /// Commands whose end others wait for.
    aborting: Vec<(HashSet<TaskId>, mpsc::Sender<()>)>,
    closed: Option<Closed>,
    statistics: Arc<Statistics>,
    /// Why the initiator was asked to log out, and when it is no longer waited for.
    leaving: Option<(Lost, Instant)>,
}

struct LoggedIn {
    initiator: String,
    target: Arc<Target>,
    membership: Membership,
}

/// A command and all that is needed to carry it out.
struct Job {
    task: TaskId,
    unit: Unit,
    action: Action,
    data: Vec<u8>,
    /// Bytes that came before, as parameters.
    parameters: u64,
    read_length: u32,
}

/// What ended beside the session's own thread.
enum Done {
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

/// Why a connection ended that the machine did not end.
#[derive(Debug)]
enum Lost {
    /// The peer closed it, or the network did.
    Connection(io::Error),
    /// A newer session has taken its place.
    Replaced,
    /// This server is shutting down.
    Shutdown,
    /// The target is reset.
    Reset,
    /// The administrator wants it.
    Dismissed,
}

impl Session {
    /// Runs until the machine has ended the connection and its last words are sent.
    async fn serve(&mut self, mut shutdown: Shutdown) -> Result<(), Lost> {
        let mut draining = false;
        let mut ending = false;
        loop {
            self.take_events().await;
            // In this order: what waits because the output is full can then rely on a socket that
            // takes no more, and so will wake us.
            self.send().map_err(Lost::Connection)?;
            let answered = self.begin_waiting();
            if self.closed.is_some() {
                return self.send_last_words().await.map_err(Lost::Connection);
            }
            if answered {
                // There is something to send, and it may have set others free.
                tokio::task::consume_budget().await;
                continue;
            }
            if ending && self.output.is_empty() {
                return Err(Lost::Reset);
            }
            if draining && self.tasks.is_empty() && self.output.is_empty() {
                let reason = self.leaving.take().map(|(reason, _)| reason);
                return Err(reason.unwrap_or(Lost::Shutdown));
            }
            let patience = self.leaving.as_ref().map(|(_, until)| *until);
            let interest = self.interest(draining);
            let wake = self
                .machine
                .poll_timeout()
                .map(|at| self.portal.instant(at));
            tokio::select! {
                received = exchange(&mut self.stream, &mut self.buffer, interest) => {
                    let len = received.map_err(Lost::Connection)?;
                    let bytes = self.buffer.get(..len).unwrap_or_default();
                    self.statistics.received(len);
                    self.machine.handle_input(self.portal.now(), bytes);
                }
                Some(done) = self.tasks.join_next() => self.finish(done),
                () = sleep_until(wake) => self.machine.handle_timeout(self.portal.now()),
                word = word(&mut self.login) => match word {
                    None => return Err(Lost::Replaced),
                    Some(Notice::Abort { lun, over }) => self.give_up(lun, over),
                    Some(Notice::End) => ending = true,
                    Some(Notice::Leave) => self.ask_to_leave(Lost::Dismissed),
                },
                () = shutdown.requested(), if self.leaving.is_none() => {
                    // One that is logging in has nothing to lose.
                    draining = self.login.is_none();
                    self.ask_to_leave(Lost::Shutdown);
                }
                () = sleep_until(patience), if !draining => draining = true,
            }
        }
    }

    /// Asks the initiator to log out. A loader may not know the message.
    fn ask_to_leave(&mut self, reason: Lost) {
        if self.leaving.is_none() {
            self.machine.request_logout(LOGOUT_SECONDS);
            self.leaving = Some((reason, Instant::now() + LOGOUT_TIME));
        }
    }

    fn interest(&self, draining: bool) -> Interest {
        let full = self.output.len() >= self.portal.limits.output_bytes_max;
        Interest {
            read: !draining && !full,
            write: !self.output.is_empty(),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.machine.poll_output() {
            self.statistics.sent(bytes.len());
            self.output.push(bytes);
        }
        self.output
            .write(|slices| self.stream.try_write_vectored(slices))
    }

    /// Sends the rest of the output, unless the peer does not take it.
    async fn send_last_words(&mut self) -> io::Result<()> {
        let send = async {
            while !self.output.is_empty() {
                self.stream.writable().await?;
                self.output
                    .write(|slices| self.stream.try_write_vectored(slices))?;
            }
            Ok(())
        };
        timeout(LINGER, send)
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    async fn take_events(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::LoggedIn(login) => self.log_in(login).await,
                Event::Command(command) => self.command(&command),
                Event::DataOut { task, data } => {
                    if let Some(job) = self.expecting.remove(&task) {
                        self.data_came(Job { data, ..job });
                    }
                }
                // Commands that have begun go on, and their answers are swallowed. Those that
                // wait for data get none any more.
                Event::Aborted(task) => {
                    if self.expecting.remove(&task).is_some() {
                        self.machine.respond(task, Response::good(0));
                    }
                }
                Event::TaskManagement(request) => self.manage(request),
                Event::Closed(reason) => self.closed = Some(reason),
            }
        }
    }

    async fn log_in(&mut self, login: Login) {
        let Self { peer, .. } = *self;
        let initiator = printable(&login.initiator_name);
        let authentication = login.authentication;
        let Some(name) = &login.target_name else {
            tracing::info!("iscsi: {peer}: {initiator} logged in for discovery");
            return;
        };
        let statistics = Arc::clone(&self.statistics);
        let establish = |target: Arc<Target>| {
            let membership = self
                .reservation
                .establish(&login, &target, peer, statistics);
            membership.map(|membership| (target, membership))
        };
        let Some((target, mut membership)) = self.entrance.admitted().and_then(establish) else {
            tracing::info!("iscsi: {peer}: {initiator}: {name} was reloaded during the login");
            self.machine.close();
            return;
        };
        let algorithm = login
            .algorithm
            .map(|it| format!(" ({it:?})"))
            .unwrap_or_default();
        tracing::info!(
            "iscsi: {peer}: {initiator} logged in to {name}, CHAP: {authentication}{algorithm}"
        );
        if let Some(mut predecessor) = membership.predecessor.take() {
            tracing::info!("iscsi: {peer}: takes the place of an older session");
            // Its commands must be over before one of ours begins.
            predecessor.requested().await;
        }
        self.login = Some(LoggedIn {
            initiator,
            target,
            membership,
        });
    }

    fn command(&mut self, command: &Command) {
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
    fn begin_waiting(&mut self) -> bool {
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
    fn data_came(&mut self, job: Job) {
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

    fn finish(&mut self, done: Result<Done, JoinError>) {
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

    fn nexus(&self) -> NexusId {
        NexusId::from(self.reservation.tsih)
    }

    /// Says how it ended, waits for the disks and lets go of the connection.
    async fn end(mut self, result: Result<(), Lost>) {
        let Self { peer, .. } = self;
        let who = self
            .entrance
            .applicant()
            .unwrap_or_else(|| "nobody yet".into());
        let quiet = self.login.is_none();
        match (&result, &self.closed) {
            // Port scans and discoveries would only fill the log.
            (Err(Lost::Connection(error)), _) if quiet => {
                tracing::debug!("iscsi: {peer}: {who}: connection lost: {error}");
            }
            (Ok(()), Some(reason @ Closed::LoggedOut)) if quiet => {
                tracing::debug!("iscsi: {peer}: {who}: {reason}");
            }
            (Err(Lost::Connection(error)), _) => {
                tracing::warn!("iscsi: {peer}: {who}: connection lost: {error}");
            }
            (Err(Lost::Replaced), _) => tracing::info!("iscsi: {peer}: {who}: replaced"),
            (Err(Lost::Reset), _) => tracing::info!("iscsi: {peer}: {who}: target reset"),
            (Err(Lost::Shutdown), _) => tracing::info!("iscsi: {peer}: {who}: closed"),
            (Err(Lost::Dismissed), _) => {
                tracing::info!("iscsi: {peer}: {who}: closed, as the administrator wants");
            }
            (Ok(()), Some(reason @ (Closed::LoggedOut | Closed::Service))) => {
                tracing::info!("iscsi: {peer}: {who}: {reason}");
            }
            (Ok(()), Some(reason)) => tracing::warn!("iscsi: {peer}: {who}: {reason}"),
            (Ok(()), None) => {}
        }
        if !quiet {
            tracing::info!("iscsi: {peer}: {}", self.statistics.counts());
        }
        // Commands that have not begun are forgotten; those that have cannot be stopped, and a
        // session that takes our place waits for them.
        self.waiting.clear();
        self.tasks.shutdown().await;
        drop(self.login);
        drop(self.reservation);
        if result.is_ok() {
            // Closing with bytes unread would make the peer's system throw away our last words.
            let _ = self.stream.shutdown().await;
            let linger =
                async { while matches!(self.stream.read(&mut self.buffer).await, Ok(1..)) {} };
            let _ = timeout(LINGER, linger).await;
        }
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

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// What others have to say to a session; `None` that it has been replaced.
async fn word(login: &mut Option<LoggedIn>) -> Option<Notice> {
    let Some(LoggedIn { membership, .. }) = login else {
        return std::future::pending().await;
    };
    tokio::select! {
        () = membership.replaced.requested() => None,
        notice = membership.notices.recv() => notice,
    }
}

fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

/// Output that is worth a system call before more is made.
const SEND_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 256 * 1024;
/// For initiators to log out when they are asked to, before their connections are closed.
const LOGOUT_TIME: Duration = Duration::from_secs(2);
const LOGOUT_SECONDS: u16 = 2;
const LINGER: Duration = Duration::from_secs(1);
