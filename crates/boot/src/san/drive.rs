//! A drive: the disk that the firmware reads through Block IO, and the list of drives by number.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::time::Duration;

use bowline_iscsi::Authentication;
use bowline_script::{RootPath, Uri};
use litemap::LiteMap;

use crate::executor::{Background, Executor};
use crate::failure::{Code, Failure};
use crate::machine::Machine;
use crate::platform::{
    self, BlockDevice, BlockError, BootFile, DiskLocation, DiskUnit, Geometry, Handoff, Platform,
    PublishedDisk, StartError,
};
use crate::san::cached::CachedDisk;
use crate::san::connection::LoggedIn;
use crate::san::describe::{self, Description};
use crate::san::login::Login;
use crate::san::path::Surroundings;
use crate::san::probe;
use crate::san::queue::{CommandQueue, DriveQueue};
use crate::san::session::Session;
use crate::san::web::WebDisk;

/// A hooked drive.
pub(crate) struct Drive {
    number: u8,
    uri: String,
    disk: Rc<Disk>,
    /// What the operating system may be told about it; files of web servers have no place in an
    /// iBFT.
    description: Option<Description>,
    /// The operating system is told about it.
    is_described: Cell<bool>,
    /// What the firmware has of it; goes first when the drive goes.
    published: RefCell<Option<Rc<dyn PublishedDisk>>>,
}

impl Drive {
    /// Logs in by the first of several paths that comes up, looks at the disk and gives it to the
    /// firmware.
    pub(crate) async fn attach(
        machine: &Machine,
        number: u8,
        root_paths: Vec<RootPath>,
    ) -> Result<Rc<Self>, Failure> {
        let Some(root_path) = root_paths.first().cloned() else {
            return Err(Failure::new(Code::CommandUsage, "no disk was named"));
        };
        let session = open(machine, number, root_paths)?;
        let found = probe_first(machine, &session).await?;
        let retries = machine.settings.borrow().number("san-retries");
        let retries = retries.and_then(|number| usize::try_from(number).ok());
        let retries = retries.unwrap_or(RETRIES);
        session.keep(found.geometry.block_size, retries, found.identity);
        let seen = session.on_active(|login, opened| {
            let location = location(login, opened);
            let description = Description::new(location.clone(), login);
            (location, description)
        });
        let (location, description) =
            seen.ok_or_else(|| Failure::new(Code::DiskLost, "the target has gone away again"))?;
        machine.say(describe(number, found.geometry, &found.product));
        let drive = Self {
            number,
            uri: root_path.to_string(),
            disk: Disk::new(machine, number, Box::new(session), found.geometry),
            description: Some(description),
            is_described: Cell::new(false),
            published: RefCell::default(),
        };
        drive.publish(machine, &location)
    }

    /// Makes a drive of a file on a web server.
    pub(crate) async fn attach_file(
        machine: &Machine,
        number: u8,
        uri: &Uri,
    ) -> Result<Rc<Self>, Failure> {
        let file = WebDisk::open(machine, uri).await?;
        let location = file.location()?;
        let geometry = file.geometry();
        machine.say(describe(number, geometry, &uri.to_string()));
        let drive = Self {
            number,
            uri: uri.to_string(),
            disk: Disk::new(machine, number, Box::new(file), geometry),
            description: None,
            is_described: Cell::new(false),
            published: RefCell::default(),
        };
        drive.publish(machine, &location)
    }

    /// Gives the disk to the firmware.
    fn publish(self, machine: &Machine, location: &DiskLocation) -> Result<Rc<Self>, Failure> {
        let background: Rc<dyn Background> = self.disk.clone();
        machine.executor.add_background(Rc::downgrade(&background));
        let device: Rc<dyn BlockDevice> = self.disk.clone();
        let published = machine
            .executor
            .outside(|| machine.platform.publish_disk(device, location))?;
        self.published.replace(Some(Rc::from(published)));
        let drive = Rc::new(self);
        machine.drives.insert(Rc::clone(&drive));
        Ok(drive)
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// `san 0x80: iscsi:...`, and how large the disk is.
    pub(crate) fn line(&self) -> String {
        let Geometry {
            block_size, blocks, ..
        } = self.disk.geometry();
        let mebibytes = (u128::from(blocks) * u128::from(block_size)) >> 20;
        let described = if self.is_described.get() {
            ", described"
        } else {
            ""
        };
        format!(
            "san {:#x}: {} ({mebibytes} MiB{described})",
            self.number, self.uri
        )
    }

    pub(super) fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// Loads a file from the disk and starts it.
    pub(crate) fn start(&self, file: &BootFile) -> Result<(), StartError> {
        // Not borrowed while the program runs.
        let published = self.published.borrow().clone();
        published.map_or(Err(StartError::NoFileSystem), |published| {
            published.start(file)
        })
    }

    /// Takes the disk from the firmware and logs out.
    async fn detach(&self, executor: &Executor) {
        let published = self.published.take();
        executor.outside(|| drop(published));
        self.disk.cached.queue().close().await;
    }
}

/// The drives by number.
#[derive(Default)]
pub(crate) struct Drives {
    by_number: RefCell<LiteMap<u8, Rc<Drive>>>,
    /// The described drive that is booted from.
    booted: Cell<u8>,
}

impl Drives {
    pub(crate) fn find(&self, number: u8) -> Option<Rc<Drive>> {
        self.by_number.borrow().get(&number).cloned()
    }

    /// The drives in the order of their numbers.
    pub(crate) fn all(&self) -> Vec<Rc<Drive>> {
        self.by_number.borrow().values().cloned().collect()
    }

    /// The lowest number that no drive has.
    pub(crate) fn free_number(&self) -> Result<u8, Failure> {
        let taken = self.by_number.borrow();
        (0x80..=0xff)
            .find(|number| !taken.contains_key(number))
            .ok_or_else(|| {
                Failure::new(
                    Code::SanDrive,
                    "all drive numbers from 0x80 to 0xff are taken",
                )
            })
    }

    /// The failure of naming a drive that is not there.
    pub(crate) fn missing(&self, number: u8) -> Failure {
        let message = format!("there is no drive {number:#x}; hook one with `sanhook iscsi:...`");
        Failure::new(Code::SanDrive, message)
    }

    /// Tells the operating system about a drive, which is the one to boot from.
    pub(crate) fn describe(&self, machine: &Machine, drive: &Rc<Drive>) {
        let shown = format!("san {:#x}", drive.number);
        if drive.description.is_none() {
            machine.say(format!(
                "{shown}: not described to the operating system, which cannot be told about a \
                 file on a web server"
            ));
            return;
        }
        let is_known = drive.is_described.replace(true);
        self.booted.set(drive.number);
        match self.leave_description(machine) {
            _ if is_known => {}
            Ok(Some(place)) => machine.say(format!("{shown}: described by the {place}")),
            Ok(None) => {}
            Err(error) => machine.say(format!(
                "{shown}: not described to the operating system, which has to log in by its own \
                 configuration: {error}"
            )),
        }
    }

    /// Takes a drive away; the others stay described.
    pub(crate) async fn remove(&self, machine: &Machine, number: u8) {
        let drive = self.by_number.borrow_mut().remove(&number);
        if let Some(drive) = drive {
            if drive.is_described.get() {
                // Said when the drive was described.
                let _ = self.leave_description(machine);
            }
            drive.detach(&machine.executor).await;
        }
    }

    pub(crate) async fn clear(&self, machine: &Machine) {
        let numbers: Vec<u8> = self.by_number.borrow().keys().copied().collect();
        for number in numbers {
            self.remove(machine, number).await;
        }
    }

    fn leave_description(&self, machine: &Machine) -> Result<Option<Handoff>, String> {
        let described = self.all().into_iter();
        let described = described.filter(|drive| drive.is_described.get());
        let is_booted = |drive: &Rc<Drive>| drive.number == self.booted.get();
        let (mut described, others): (Vec<_>, _) = described.partition(is_booted);
        described.extend(others);
        describe::leave(machine, &described)
    }

    fn insert(&self, drive: Rc<Drive>) {
        self.by_number.borrow_mut().insert(drive.number, drive);
    }
}

/// The paths to a drive. Each has a session identifier of its own: two sessions with the same one
/// would end one another (RFC 7143 section 6.3.5).
fn open(machine: &Machine, number: u8, root_paths: Vec<RootPath>) -> Result<Session, Failure> {
    let paths = (0_u16..).zip(root_paths);
    let logins: Result<Vec<Login>, Failure> = paths
        .map(|(path, root_path)| Login::new(machine, root_path, path << 8 | u16::from(number)))
        .collect();
    let logins = logins?;
    let short = logins.first().map(Login::short_secrets).unwrap_or_default();
    if !short.is_empty() {
        machine.say(format!(
            "iscsi: fewer than 12 bytes in {}: too short, a listener on the network can guess it",
            short.join(" and ")
        ));
    }
    let surroundings = Surroundings {
        executor: Rc::clone(&machine.executor),
        platform: Rc::clone(&machine.platform),
        network: machine.network.clone(),
    };
    Ok(Session::new(&surroundings, logins))
}

/// Looks at the disk behind the first path that is up; a path without it is left for another.
async fn probe_first(machine: &Machine, session: &Session) -> Result<probe::Found, Failure> {
    loop {
        session.open().await?;
        if let Some(line) = session.on_active(describe_login) {
            machine.say(line);
        }
        let failure = match probe::probe(session).await {
            Ok(found) => return Ok(found),
            Err(failure) => failure,
        };
        let unit =
            session.on_active(|login, _| format!("{} LUN {}", login.root_path.target, login.lun));
        let failure = match unit {
            Some(unit) => failure.within(unit),
            None => failure,
        };
        session.abandon(failure).await;
    }
}

/// What the firmware reads and writes.
struct Disk {
    /// What messages call it: `san 0x80`.
    name: String,
    executor: Rc<Executor>,
    platform: Rc<dyn Platform>,
    cached: CachedDisk<Box<dyn DriveQueue>>,
    is_busy: Cell<bool>,
    /// Logged out, because the operating system takes over.
    is_ended: Cell<bool>,
}

impl Disk {
    fn new(
        machine: &Machine,
        number: u8,
        queue: Box<dyn DriveQueue>,
        geometry: Geometry,
    ) -> Rc<Self> {
        Rc::new(Self {
            name: format!("san {number:#x}"),
            executor: Rc::clone(&machine.executor),
            platform: Rc::clone(&machine.platform),
            cached: CachedDisk::new(queue, geometry, CACHE_BYTES),
            is_busy: Cell::new(false),
            is_ended: Cell::new(false),
        })
    }

    /// Runs one operation of the firmware to its end.
    fn operate<F: Future<Output = Result<(), Failure>>>(
        &self,
        what: impl FnOnce() -> String,
        operation: F,
    ) -> Result<(), BlockError> {
        if self.executor.is_quiesced() || self.is_ended.get() || self.is_busy.replace(true) {
            return Err(BlockError::Device);
        }
        let mut operation = pin!(operation);
        let result = self.executor.block_on(poll_fn(|context| {
            let outcome = operation.as_mut().poll(context);
            self.tell();
            outcome
        }));
        // Nobody may poll for a while now, and what was asked for ahead has to be on its way before
        // that. With nothing under way the acknowledgement can wait for the next command.
        if !self.cached.queue().is_idle() {
            self.cached.turn();
            self.executor.hand_back();
        }
        self.is_busy.set(false);
        result.map_err(|failure| {
            let line = format!("{}: {}: {failure}\n", self.name, what());
            self.platform.console().write(&line);
            BlockError::Device
        })
    }

    /// Shows what happened to the paths: while somebody waits for the disk, not over the menu of a
    /// boot loader.
    fn tell(&self) {
        while let Some(line) = self.cached.queue().take_news() {
            self.platform.console().write(&line);
        }
    }

    /// Whether whole blocks of the disk are meant.
    fn check(&self, lba: u64, length: usize) -> Result<(), BlockError> {
        let Geometry {
            block_size, blocks, ..
        } = self.cached.geometry();
        let count = length as u64 / u64::from(block_size);
        let is_whole = (length as u64).is_multiple_of(u64::from(block_size));
        let fits = lba.checked_add(count).is_some_and(|end| end <= blocks);
        if is_whole && fits {
            Ok(())
        } else {
            Err(BlockError::OutOfRange)
        }
    }
}

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.cached.geometry()
    }

    fn read(&self, lba: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.check(lba, buffer.len())?;
        let length = buffer.len();
        let what = || format!("reading {length} bytes at block {lba}");
        self.operate(what, self.cached.read(lba, buffer))
    }

    fn write(&self, lba: u64, data: &[u8]) -> Result<(), BlockError> {
        self.check(lba, data.len())?;
        if self.geometry().read_only {
            return Err(BlockError::ReadOnly);
        }
        let what = || format!("writing {} bytes at block {lba}", data.len());
        self.operate(what, self.cached.write(lba, data))
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.operate(|| "flushing".into(), self.cached.flush())
    }
}

impl Background for Disk {
    /// Nothing while an operation runs: that takes the turns itself.
    fn turn(&self) -> bool {
        !self.is_busy.get() && self.cached.turn()
    }

    fn wake_up(&self) -> Option<Duration> {
        self.cached.queue().wake_up()
    }

    fn end(&self) {
        if !self.is_busy.get() && !self.is_ended.replace(true) {
            self.executor.block_on(self.cached.queue().close());
        }
    }
}

/// `iscsi: logged in to iqn... at 192.168.1.1:3260, CHAP: mutual`.
fn describe_login(login: &Login, opened: &LoggedIn) -> String {
    let target = &login.root_path.target;
    let remote = opened.connection.stream().remote_addr();
    let authentication = opened.login.authentication;
    format!("iscsi: logged in to {target} at {remote}, CHAP: {authentication}")
}

fn location(login: &Login, opened: &LoggedIn) -> DiskLocation {
    let stream = opened.connection.stream();
    let remote = stream.remote_addr();
    DiskLocation {
        mac: stream.stack().mac(),
        local: stream.local_addr().ip(),
        server: remote.ip(),
        port: remote.port(),
        unit: DiskUnit::Iscsi {
            target: login.root_path.target.clone(),
            lun: login.root_path.lun,
            portal_group_tag: opened.login.portal_group_tag.unwrap_or(0),
            authentication: match opened.login.authentication {
                Authentication::None => platform::Authentication::None,
                Authentication::OneWay => platform::Authentication::OneWay,
                Authentication::Mutual => platform::Authentication::Mutual,
            },
        },
    }
}

/// `san 0x80: 2048 MiB, 512 byte blocks`.
fn describe(number: u8, geometry: Geometry, product: &str) -> String {
    let Geometry {
        block_size,
        blocks,
        read_only,
        ..
    } = geometry;
    let mebibytes = (u128::from(blocks) * u128::from(block_size)) >> 20;
    let read_only = if read_only { ", read-only" } else { "" };
    format!("san {number:#x}: {mebibytes} MiB, {block_size} byte blocks{read_only} ({product})",)
}

/// Lines of the disk kept in memory: more than a kernel and an initrd's metadata, less than the
/// smallest machine has.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// How often each path is tried in vain before a command fails, unless `san-retries` says
/// otherwise: half a minute, or longer where nobody refuses.
const RETRIES: usize = 10;
