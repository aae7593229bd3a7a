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

mod command;
mod management;
mod socket;
pub(super) mod statistics;
mod watch;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_iscsi::target::{
    Closed, Config, Connected, Connection, Event, Login, Response, TaskId,
};
use bowline_scsi::Lun;
use bowline_scsi::device::NexusId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::command::{Done, Job};
use self::socket::{Interest, exchange};
use self::statistics::Statistics;
use self::watch::Watch;
use super::output::Output;
use super::portal::{Entrance, Membership, Notice, Portal, Reservation, Target, printable};
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
        watch: Watch::default(),
        answered: 0,
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
    watch: Watch,
    /// Commands that had arrived when all was answered last.
    answered: u64,
    /// Why the initiator was asked to log out, and when it is no longer waited for.
    leaving: Option<(Lost, Instant)>,
}

struct LoggedIn {
    initiator: String,
    target: Arc<Target>,
    membership: Membership,
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
            if interest.read && self.watch().map_err(Lost::Connection)? {
                continue;
            }
            let wake = self
                .machine
                .poll_timeout()
                .map(|at| self.portal.instant(at));
            tokio::select! {
                received = exchange(&mut self.stream, &mut self.buffer, interest) => {
                    let len = received.map_err(Lost::Connection)?;
                    self.receive(len);
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

    /// Waits for a moment for the next command of an initiator that sends one at a time. Whether
    /// something has come.
    fn watch(&mut self) -> io::Result<bool> {
        let idle = self.output.is_empty()
            && self.expecting.is_empty()
            && self.waiting.is_empty()
            && self.tasks.is_empty();
        if !idle {
            return Ok(false);
        }
        let commands = self.statistics.counts().commands;
        let before = mem::replace(&mut self.answered, commands);
        // Who sends many at a time is better served when more of them have come.
        if commands != before + 1 {
            return Ok(false);
        }
        let len = self.watch.keep(&self.stream, &mut self.buffer)?;
        if len > 0 {
            self.receive(len);
        }
        Ok(len > 0)
    }

    /// Takes the first `len` bytes of the buffer.
    fn receive(&mut self, len: usize) {
        let bytes = self.buffer.get(..len).unwrap_or_default();
        self.statistics.received(len);
        self.machine.handle_input(self.portal.now(), bytes);
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
                        self.data_came(job, data);
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

const READ_BYTES: usize = 256 * 1024;
/// For initiators to log out when they are asked to, before their connections are closed.
const LOGOUT_TIME: Duration = Duration::from_secs(2);
const LOGOUT_SECONDS: u16 = 2;
const LINGER: Duration = Duration::from_secs(1);
