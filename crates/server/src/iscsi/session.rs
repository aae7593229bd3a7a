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

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bowline_iscsi::pdu::{TaskManagementFunction, TaskManagementOutcome};
use bowline_iscsi::target::{
    Closed, Command, Config, Connected, Connection, Event, Login, Response, TaskId, TaskManagement,
};
use bowline_scsi::Sense;
use bowline_scsi::device::{self, Action};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::output::Output;
use super::portal::{Entrance, Membership, Nexuses, Portal, Reservation, Target};
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
    let entrance = Arc::new(Entrance::new(Arc::clone(&portal), local));
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
        nexuses: Nexuses::default(),
        expecting: HashMap::new(),
        waiting: VecDeque::new(),
        tasks: JoinSet::new(),
        task_bytes: 0,
        closed: None,
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
    nexuses: Nexuses,
    /// Commands whose data is on its way here.
    expecting: HashMap<TaskId, Job>,
    /// Commands that could begin if fewer others were under way.
    waiting: VecDeque<Job>,
    tasks: JoinSet<Done>,
    /// Bytes that the commands in `tasks` move.
    task_bytes: usize,
    closed: Option<Closed>,
}

struct LoggedIn {
    initiator: String,
    target: Arc<Target>,
    membership: Option<Membership>,
}

/// A command and all that is needed to carry it out.
struct Job {
    task: TaskId,
    unit: Unit,
    action: Action,
    data: Vec<u8>,
    read_length: u32,
}

struct Done {
    task: TaskId,
    response: Response,
    bytes: usize,
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
}

impl Session {
    /// Runs until the machine has ended the connection and its last words are sent.
    async fn serve(&mut self, mut shutdown: Shutdown) -> Result<(), Lost> {
        let mut draining = false;
        loop {
            self.take_events().await;
            self.send().map_err(Lost::Connection)?;
            self.begin_waiting();
            if self.closed.is_some() {
                return self.send_last_words().await.map_err(Lost::Connection);
            }
            if draining && self.tasks.is_empty() && self.output.is_empty() {
                return Err(Lost::Shutdown);
            }
            let interest = self.interest(draining);
            let wake = self
                .machine
                .poll_timeout()
                .map(|at| self.portal.instant(at));
            tokio::select! {
                ready = ready(&self.stream, interest) => {
                    if ready.map_err(Lost::Connection)?.is_readable() && !draining {
                        self.receive().map_err(Lost::Connection)?;
                    }
                }
                Some(done) = self.tasks.join_next() => self.finish(done),
                () = sleep_until(wake) => self.machine.handle_timeout(self.portal.now()),
                () = replaced(&mut self.login) => return Err(Lost::Replaced),
                () = shutdown.requested(), if !draining => draining = true,
            }
        }
    }

    fn interest(&self, draining: bool) -> Option<Interest> {
        let full = self.output.len() >= self.portal.limits.output_bytes_max;
        let read = !draining && !full;
        let write = !self.output.is_empty();
        match (read, write) {
            (true, true) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::WRITABLE),
            (false, false) => None,
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        match self.stream.try_read(&mut self.buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                let received = self.buffer.get(..len).unwrap_or_default();
                self.machine.handle_input(self.portal.now(), received);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.machine.poll_output() {
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
                        self.waiting.push_back(Job { data, ..job });
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
        let Login {
            initiator_name: initiator,
            authentication,
            ..
        } = &login;
        let Some(name) = &login.target_name else {
            tracing::info!("iscsi: {peer}: {initiator} logged in for discovery");
            return;
        };
        let Some(target) = self.portal.target(name) else {
            return;
        };
        let algorithm = login
            .algorithm
            .map(|it| format!(" ({it:?})"))
            .unwrap_or_default();
        tracing::info!(
            "iscsi: {peer}: {initiator} logged in to {name}, CHAP: {authentication}{algorithm}"
        );
        let mut membership = self.reservation.establish(&login, &self.nexuses);
        let predecessor = membership.as_mut().and_then(|it| it.predecessor.take());
        if let Some(mut predecessor) = predecessor {
            tracing::info!("iscsi: {peer}: takes the place of an older session");
            // Its commands must be over before one of ours begins.
            predecessor.requested().await;
        }
        self.login = Some(LoggedIn {
            initiator: initiator.clone(),
            target,
            membership,
        });
    }

    fn command(&mut self, command: &Command) {
        let Some(LoggedIn { target, .. }) = &self.login else {
            // A discovery session has no logical units.
            let absent = Response::check(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
            self.machine.respond(command.task, absent);
            return;
        };
        let unit = target.unit(command.lun);
        let action = {
            let mut nexuses = self.nexuses.lock().unwrap_or_else(PoisonError::into_inner);
            // An entry for a unit that is not there would let an initiator fill the map.
            let mut nowhere = device::Nexus::new();
            let nexus = match unit {
                Some(unit) => nexuses.entry(unit.lun).or_default(),
                None => &mut nowhere,
            };
            device::execute(
                unit.map(|unit| &unit.device),
                &target.luns,
                nexus,
                &command.cdb,
            )
        };
        tracing::trace!(
            "iscsi: {}: {:02x?} on LUN {}: {action:?}",
            self.peer,
            command.cdb,
            command.lun
        );
        let (task, read_length) = (command.task, command.read_length);
        match (unit, action) {
            (_, Action::Respond(data)) => self.machine.respond(task, Response::data(data)),
            (_, Action::Check(sense)) => self.machine.respond(task, Response::check(sense)),
            (None, _) => {
                let absent = Response::check(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
                self.machine.respond(task, absent);
            }
            (Some(unit), action) => {
                let wanted = action.data_out_length(unit.device.block_size);
                let job = Job {
                    task,
                    unit: unit.clone(),
                    action,
                    data: Vec::new(),
                    read_length,
                };
                if wanted == 0 {
                    self.waiting.push_back(job);
                } else {
                    self.expecting.insert(task, job);
                    self.machine.receive(task, wanted);
                }
            }
        }
    }

    /// Hands waiting commands to storage, oldest first, as far as the limits allow.
    fn begin_waiting(&mut self) {
        let limits = &self.portal.limits;
        while let Some(job) = self.waiting.front() {
            let bytes = job.bytes();
            let room = self.tasks.is_empty()
                || (self.tasks.len() < limits.tasks_max
                    && self.task_bytes + bytes <= limits.task_bytes_max);
            if !room || self.output.len() >= limits.output_bytes_max {
                return;
            }
            let Some(job) = self.waiting.pop_front() else {
                return;
            };
            self.task_bytes += bytes;
            self.tasks.spawn_blocking(move || Done {
                task: job.task,
                response: job.unit.carry_out(job.action, &job.data, job.read_length),
                bytes,
            });
        }
    }

    fn finish(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done {
                task,
                response,
                bytes,
            }) => {
                self.task_bytes -= bytes;
                self.machine.respond(task, response);
            }
            Err(error) => {
                // Nobody can say what became of the command, so nobody may build on it.
                tracing::error!("iscsi: {}: a disk access has crashed: {error}", self.peer);
                self.machine.close();
            }
        }
    }

    /// Commands of other sessions are not cut short by a reset: they are over in a moment, and
    /// their initiators hear of the reset with the next one.
    fn manage(&mut self, request: TaskManagement) {
        use TaskManagementFunction as Function;
        use TaskManagementOutcome as Outcome;
        let Some(LoggedIn {
            initiator, target, ..
        }) = &self.login
        else {
            self.machine
                .task_management_done(request.task, Outcome::REJECTED);
            return;
        };
        let unit = target.unit(request.lun);
        let outcome = match request.function {
            Function::ABORT_TASK_SET | Function::CLEAR_TASK_SET if unit.is_some() => {
                Outcome::COMPLETE
            }
            Function::LOGICAL_UNIT_RESET if unit.is_some() => {
                self.portal.reset(&target.name, unit.map(|unit| unit.lun));
                Outcome::COMPLETE
            }
            Function::ABORT_TASK_SET | Function::CLEAR_TASK_SET | Function::LOGICAL_UNIT_RESET => {
                Outcome::LUN_DOES_NOT_EXIST
            }
            Function::TARGET_WARM_RESET => {
                self.portal.reset(&target.name, None);
                Outcome::COMPLETE
            }
            // A cold reset would end the sessions of other initiators; CLEAR ACA has nothing to
            // clear.
            _ => Outcome::NOT_SUPPORTED,
        };
        tracing::info!(
            "iscsi: {}: {initiator}: task management {:?} on LUN {}: {outcome:?}",
            self.peer,
            request.function,
            request.lun
        );
        self.machine.task_management_done(request.task, outcome);
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
            (Err(Lost::Shutdown), _) => tracing::info!("iscsi: {peer}: {who}: closed"),
            (Ok(()), Some(reason @ (Closed::LoggedOut | Closed::Service))) => {
                tracing::info!("iscsi: {peer}: {who}: {reason}");
            }
            (Ok(()), Some(reason)) => tracing::warn!("iscsi: {peer}: {who}: {reason}"),
            (Ok(()), None) => {}
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
                let whole = self.action.data_in_length(self.unit.device.block_size);
                usize::try_from(whole.min(u64::from(self.read_length))).unwrap_or(usize::MAX)
            }
            _ => 0,
        };
        read.max(self.data.len())
    }
}

/// Whether the stream can be read or written; never, if neither is wanted.
async fn ready(stream: &TcpStream, interest: Option<Interest>) -> io::Result<tokio::io::Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<std::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn replaced(login: &mut Option<LoggedIn>) {
    match login.as_mut().and_then(|login| login.membership.as_mut()) {
        Some(membership) => membership.replaced.requested().await,
        None => std::future::pending().await,
    }
}

fn fill_random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

const READ_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);
