//! An iSCSI target for tests, on port 3260 of the far end, with faults on demand.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;
use core::time::Duration;

use bowline_iscsi::target::{
    Admission, Applicant, Closed, Command, Config, Connected, Connection, Directory, Event,
    Listing, Response, TaskId,
};
use bowline_iscsi::{Credentials, LoginStatus, Lun, chap};
use bowline_net::{Stack, TcpListener, TcpStream};
use bowline_scsi::Sense;
use bowline_scsi::device::{Action, LogicalUnit, Nexus, execute};

use super::Task;

/// The only target there is; its disk is LUN 1, and LUN 2 as well.
pub(crate) const TARGET: &str = "iqn.2000-01.com.example:disk1";

/// The target and its disk.
pub(crate) struct TestTarget {
    pub(crate) disk: RefCell<Vec<u8>>,
    /// Who may log in; nobody is asked where it is none.
    pub(crate) credentials: Option<(&'static str, &'static str)>,
    pub(crate) reverse: Option<(&'static str, &'static str)>,
    /// Commands carried out so far.
    pub(crate) commands: Cell<usize>,
    pub(crate) logins: Cell<usize>,
    /// Sessions that ended in order.
    pub(crate) logouts: Cell<usize>,
    pub(crate) flushes: Cell<usize>,
    /// The connection breaks at these commands.
    pub(crate) breaks_at: RefCell<Vec<usize>>,
    /// From this command on nothing is answered.
    pub(crate) silent_from: Cell<usize>,
    /// Reads of this block fail.
    pub(crate) bad_block: Cell<Option<u64>>,
    /// Length of a block in bytes; what the disk says of itself, see [`LogicalUnit`].
    pub(crate) block: Cell<usize>,
    pub(crate) transfer_blocks_max: Cell<u32>,
    pub(crate) physical_block_exponent: Cell<u8>,
    /// The serial number of each unit.
    pub(crate) serials: RefCell<[&'static str; 2]>,
    /// The disk is write protected.
    pub(crate) read_only: Cell<bool>,
    /// The initiator is asked whether it lives.
    pub(crate) ping_interval: Cell<Option<Duration>>,
    /// No connection is served after this many logins.
    pub(crate) logins_max: Cell<usize>,
}

impl TestTarget {
    pub(crate) fn new(blocks: usize) -> Rc<Self> {
        Rc::new(Self::with_credentials(blocks, None, None))
    }

    pub(crate) fn with_credentials(
        blocks: usize,
        credentials: Option<(&'static str, &'static str)>,
        reverse: Option<(&'static str, &'static str)>,
    ) -> Self {
        let disk = (0..blocks * BLOCK)
            .map(|at| (at / BLOCK * 7 + at % BLOCK) as u8)
            .collect();
        Self {
            disk: RefCell::new(disk),
            credentials,
            reverse,
            commands: Cell::new(0),
            logins: Cell::new(0),
            logouts: Cell::new(0),
            flushes: Cell::new(0),
            breaks_at: RefCell::default(),
            silent_from: Cell::new(usize::MAX),
            bad_block: Cell::new(None),
            block: Cell::new(BLOCK),
            transfer_blocks_max: Cell::new(16_384),
            physical_block_exponent: Cell::new(0),
            serials: RefCell::new(["1"; 2]),
            read_only: Cell::new(false),
            ping_interval: Cell::new(None),
            logins_max: Cell::new(usize::MAX),
        }
    }

    fn carry_out(&self, connection: &mut Connection<Terms>, state: &mut Units, command: &Command) {
        let number = self.commands.get();
        self.commands.set(number + 1);
        if number >= self.silent_from.get() {
            return;
        }
        let block = self.block.get();
        let blocks = (self.disk.borrow().len() / block) as u64;
        let place = LUNS.iter().position(|lun| *lun == command.lun);
        let serial = self.serials.borrow()[place.unwrap_or(0)];
        let mut unit = LogicalUnit::new(blocks, block as u32, serial);
        unit.read_only = self.read_only.get();
        unit.transfer_blocks_max = self.transfer_blocks_max.get();
        unit.physical_block_exponent = self.physical_block_exponent.get();
        let action = execute(place.map(|_| &unit), &LUNS, &mut state.nexus, &command.cdb);
        match action {
            Action::Respond(data) => connection.respond(command.task, Response::data(data)),
            Action::Check(sense) => connection.respond(command.task, Response::check(sense)),
            Action::Read { lba, blocks, .. } => {
                let range = lba..lba + u64::from(blocks);
                let response = if self.bad_block.get().is_some_and(|bad| range.contains(&bad)) {
                    Response::check(Sense::UNRECOVERED_READ_ERROR)
                } else {
                    let start = lba as usize * block;
                    let end = start + blocks as usize * block;
                    Response::data(self.disk.borrow()[start..end].to_vec())
                };
                connection.respond(command.task, response);
            }
            Action::Write { lba, .. } => {
                let length = action.data_out_length(block as u32);
                state.writes.insert(command.task, lba);
                connection.receive(command.task, length);
            }
            Action::Flush { .. } => {
                self.flushes.set(self.flushes.get() + 1);
                connection.respond(command.task, Response::good(0));
            }
            other => panic!("the loader never sends this: {other:?}"),
        }
    }

    fn write(&self, lba: u64, data: &[u8]) {
        let start = lba as usize * self.block.get();
        self.disk.borrow_mut()[start..start + data.len()].copy_from_slice(data);
    }

    fn breaks_now(&self) -> bool {
        let number = self.commands.get();
        let mut breaks_at = self.breaks_at.borrow_mut();
        let before = breaks_at.len();
        breaks_at.retain(|&at| at > number);
        breaks_at.len() < before
    }
}

/// What one session keeps.
#[derive(Default)]
struct Units {
    nexus: Nexus,
    /// Where the data of writes goes.
    writes: BTreeMap<TaskId, u64>,
}

struct Terms(Rc<TestTarget>);

impl Directory for Terms {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        // A discovery session names none.
        if applicant.target_name.is_some_and(|name| name != TARGET) {
            return Err(LoginStatus::NOT_FOUND);
        }
        let credentials = |(name, secret)| Credentials::new(name, secret);
        Ok(Admission {
            credentials: self.0.credentials.map(credentials).into_iter().collect(),
            reverse: self.0.reverse.map(credentials),
            portal_group_tag: 1,
            ..Admission::default()
        })
    }

    fn targets(&self, _: &str) -> Vec<Listing> {
        vec![Listing {
            name: TARGET.into(),
            addresses: vec![],
        }]
    }
}

/// Serves the target.
pub(crate) fn iscsi_server(stack: &Stack, target: Rc<TestTarget>) -> Task {
    let mut listener = TcpListener::bind(stack, 3260).unwrap();
    let stack = stack.clone();
    let mut connections: Vec<Task> = Vec::new();
    Box::pin(async move {
        loop {
            let mut accept = Box::pin(listener.accept());
            let stream = poll_fn(|context| {
                connections.retain_mut(|task| task.as_mut().poll(context).is_pending());
                accept.as_mut().poll(context)
            });
            let stream = stream.await.unwrap();
            if target.logins.get() >= target.logins_max.get() {
                stream.abort();
                continue;
            }
            let (stack, target) = (stack.clone(), Rc::clone(&target));
            connections.push(Box::pin(
                async move { serve(&stack, stream, &target).await },
            ));
        }
    })
}

async fn serve(stack: &Stack, mut stream: TcpStream, target: &Rc<TestTarget>) {
    let connected = Connected {
        tsih: target.logins.get() as u16 + 1,
        entropy: [target.logins.get() as u8 ^ 0x5a; chap::ENTROPY_LENGTH],
    };
    let terms = Terms(Rc::clone(target));
    let config = Config {
        ping_interval: target.ping_interval.get(),
        ..Config::default()
    };
    let mut connection = Connection::new(config, terms, connected, stack.now());
    let mut state = Units::default();
    state.nexus.attention(Sense::POWER_ON);
    let (mut outgoing, mut sent) = (Vec::new(), 0);
    let mut buffer = vec![0; 64 * 1024];
    poll_fn(|_| {
        while let Some(received) = stream.try_read(&mut buffer) {
            match received {
                Ok(count) if count > 0 => connection.handle_input(stack.now(), &buffer[..count]),
                _ => return Poll::Ready(()),
            }
        }
        connection.handle_timeout(stack.now());
        let mut is_closed = false;
        while let Some(event) = connection.poll_event() {
            match event {
                Event::LoggedIn(_) => target.logins.set(target.logins.get() + 1),
                Event::Command(command) => {
                    if target.breaks_now() {
                        return Poll::Ready(());
                    }
                    target.carry_out(&mut connection, &mut state, &command);
                }
                Event::DataOut { task, data } => {
                    let lba = state.writes.remove(&task).unwrap();
                    target.write(lba, &data);
                    connection.respond(task, Response::good(data.len() as u64));
                }
                Event::Aborted(task) => connection.respond(task, Response::good(0)),
                Event::TaskManagement(_) => {}
                Event::Closed(reason) => {
                    if matches!(reason, Closed::LoggedOut) {
                        target.logouts.set(target.logouts.get() + 1);
                    }
                    is_closed = true;
                }
            }
        }
        loop {
            if sent == outgoing.len() {
                let Some(output) = connection.poll_output() else {
                    break;
                };
                (outgoing, sent) = (output, 0);
            }
            match stream.try_write(&outgoing[sent..]) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(_) => return Poll::Ready(()),
            }
        }
        if is_closed && sent == outgoing.len() && stream.is_flushed() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

const LUNS: [Lun; 2] = [Lun([0, 1, 0, 0, 0, 0, 0, 0]), Lun([0, 2, 0, 0, 0, 0, 0, 0])];
const BLOCK: usize = 512;
