//! Whether a path leads to the disk that the drive is: asked on every path but the first, and again
//! after every new login, before anything is read or written there.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::Poll;

use bowline_iscsi::initiator::{Closed, Command, Event, TaskId, Transfer};
use bowline_iscsi::{Lun, Status};
use bowline_scsi::Cdb;
use bowline_scsi::identity::Identity;
use bowline_scsi::inquiry::page;

use crate::executor::Executor;
use crate::failure::{Code, Failure};
use crate::san::connection::{Connection, LoggedIn};
use crate::san::login::Login;
use crate::san::session::{COMMAND_TIMEOUT, bytes_on_the_wire};

/// The disk that the drive is.
pub(crate) struct Known {
    identity: Identity,
    target: String,
    lun: Lun,
}

impl Known {
    /// The disk that was found at the other end of a path.
    pub(crate) fn new(login: &Login, identity: Identity) -> Self {
        Self {
            identity,
            target: login.root_path.target.clone(),
            lun: login.lun,
        }
    }

    /// Asks who is there. Logs out where it is another disk.
    pub(crate) async fn check(
        &self,
        executor: &Executor,
        login: &Login,
        mut opened: LoggedIn,
    ) -> Result<LoggedIn, Failure> {
        let remote = opened.connection.stream().remote_addr();
        let path = |code, why: &str| {
            let (target, lun) = (&login.root_path.target, login.lun);
            Failure::new(code, format!("{target} LUN {lun} at {remote}: {why}"))
        };
        let found = match ask(executor, &mut opened.connection, login.lun).await {
            Ok(found) => found,
            Err(why) => return Err(path(Code::DiskLost, &why)),
        };
        // The names of target and unit are what is left where the disks have none.
        let is_same = self.identity.is_same(&found);
        if is_same.unwrap_or(self.target == login.root_path.target && self.lun == login.lun) {
            return Ok(opened);
        }
        let why = format!("another disk, {found} and not {}", self.identity);
        let failure = path(Code::DiskOther, &why);
        opened.connection.close(executor).await;
        Err(failure)
    }
}

/// The questions: a page of vital product data each.
pub(super) fn questions() -> [Cdb; 2] {
    [page::DEVICE_IDENTIFICATION, page::UNIT_SERIAL_NUMBER].map(|page| Cdb::Inquiry {
        page: Some(page),
        allocation_length: PAGE_BYTES as u16,
    })
}

/// Asks both questions at once. An error says why the connection has ended.
async fn ask(
    executor: &Executor,
    connection: &mut Connection,
    lun: Lun,
) -> Result<Identity, String> {
    let mut answers: [Option<Vec<u8>>; 2] = [None, None];
    let mut tasks: Vec<(TaskId, usize)> = Vec::new();
    for (number, cdb) in questions().into_iter().enumerate() {
        let command = Command {
            lun,
            cdb: cdb.to_bytes().padded(),
            transfer: Transfer::Read(PAGE_BYTES as u32),
            timeout: Some(COMMAND_TIMEOUT),
        };
        connection.expect(bytes_on_the_wire(PAGE_BYTES));
        let submitted = connection.initiator().submit(executor.now(), command);
        tasks.push((submitted.map_err(|error| error.to_string())?, number));
    }
    let [identification, serial] = poll_fn(|_| {
        connection.turn(executor.now());
        while let Some(event) = connection.initiator().poll_event() {
            match event {
                Event::Completed { task, result } => {
                    let number = tasks.iter().find(|(asked, _)| *asked == task);
                    let place = number.and_then(|(_, number)| answers.get_mut(*number));
                    // INQUIRY meets no unit attention (SPC-4 section 6.6.1): else it has no such page.
                    let data = result.map(|done| match done.status {
                        Status::GOOD => done.data,
                        _ => Vec::new(),
                    });
                    match (place, data) {
                        (Some(place), Ok(data)) => *place = Some(data),
                        (_, Err(error)) => return Poll::Ready(Err(error.to_string())),
                        (None, Ok(_)) => {}
                    }
                }
                Event::Closed(Closed::Failed(error)) => return Poll::Ready(Err(error.to_string())),
                Event::Closed(_) => return Poll::Ready(Err("the target ended the session".into())),
                _ => {}
            }
        }
        if let Some(moment) = connection.wake_up() {
            executor.wake_at(moment);
        }
        match &mut answers {
            [Some(first), Some(second)] => {
                Poll::Ready(Ok([core::mem::take(first), core::mem::take(second)]))
            }
            _ => Poll::Pending,
        }
    })
    .await?;
    connection.expect_nothing();
    Ok(Identity::parse(&identification, &serial))
}

/// Room for every name that a disk has.
pub(super) const PAGE_BYTES: usize = 252;
