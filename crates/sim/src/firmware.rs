//! Fake firmware: the platform of boot logic on the simulated wire.
//!
//! It has one card, a console that is kept as text, lines to type at its prompt, and a boot image that
//! is "found" on a published disk and reads the disk as GRUB does: synchronously, through the
//! handle, while boot logic is inside `PublishedDisk::start`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use bowline_boot::platform::{
    BlockDevice, BootFile, Console, DiskLocation, EntropyError, FirmwareError, Handoff, Identity,
    Key, Platform, Program, PublishedDisk, ResetKind, StartError,
};
use bowline_net::{Clock, Nic};

use crate::rng::Rng;
use crate::wire::{Card, Wire};

/// Something on the wire that acts by itself: a server.
pub trait Peer {
    /// Takes what arrived and sends what is due.
    fn poll(&mut self, now: Duration);

    /// When it wants to be polled again without an arrival.
    fn poll_at(&mut self, now: Duration) -> Option<Duration>;
}

/// What a boot image does with its disk: the simulated GRUB.
pub type BootImage = Box<dyn Fn(&dyn BlockDevice) -> Result<(), StartError>>;

/// What the machine's clock says unless it is told otherwise: 2027-01-15 08:00:00 UTC.
const WALL_CLOCK: u64 = 1_800_000_000;

/// The longest a simulated boot may last: beyond it something hangs, and the run panics.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 60);

/// How long somebody waits before each key.
const PAUSE: Duration = Duration::from_millis(200);

/// How long somebody waits before giving up.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The shell's prompt.
const PROMPT: &str = "bowline> ";

/// Fake firmware on a simulated wire.
pub struct FakeFirmware {
    wire: Wire,
    card: Card,
    peers: RefCell<Vec<Box<dyn Peer>>>,
    console: FakeConsole,
    rng: RefCell<Rng>,
    has_entropy: Cell<bool>,
    wall_clock: Cell<Option<u64>>,
    boot_image: Rc<BootImage>,
    files: Vec<String>,
    reset: Cell<Option<ResetKind>>,
    /// What was started from memory.
    started: RefCell<Vec<Started>>,
    /// What starting from memory comes to.
    starts_images: Cell<bool>,
    /// Files beside the loader.
    beside: RefCell<Vec<(String, Vec<u8>)>>,
    /// The last table of disks that was left.
    table: RefCell<Option<Vec<u8>>>,
}

/// A program that was started from memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Its bytes.
    pub length: usize,
    /// What it was started with.
    pub load_options: String,
    /// The bytes of the initial RAM disk that it was offered; 0 where there was none.
    pub initrd: usize,
}

impl std::fmt::Debug for FakeFirmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeFirmware")
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}

impl FakeFirmware {
    /// Firmware with `card`, its randomness drawn from `seed`. A published disk is said to hold
    /// `files`, and starting one runs `boot_image`.
    pub fn new(wire: &Wire, card: Card, seed: u64, files: &[&str], boot_image: BootImage) -> Self {
        Self {
            wire: wire.clone(),
            card,
            peers: RefCell::default(),
            console: FakeConsole::default(),
            rng: RefCell::new(Rng::new(seed ^ 0xf1e2_d3c4)),
            has_entropy: Cell::new(true),
            wall_clock: Cell::new(Some(WALL_CLOCK)),
            boot_image: Rc::new(boot_image),
            files: files.iter().map(ToString::to_string).collect(),
            reset: Cell::new(None),
            started: RefCell::default(),
            starts_images: Cell::new(false),
            beside: RefCell::default(),
            table: RefCell::default(),
        }
    }

    /// Shows everything that is written at once as well.
    pub fn echo_to(&self, echo: Box<dyn Fn(&str)>) {
        self.console.echo.replace(Some(echo));
    }

    /// Types keys: the next one whenever the machine has waited for `PAUSE`. When none is left
    /// and it goes on waiting for [`PATIENCE`], Ctrl-C is pressed.
    pub fn type_keys(&self, keys: impl IntoIterator<Item = Key>) {
        self.console.slow_keys.borrow_mut().extend(keys);
        self.console.is_impatient.set(true);
    }

    /// Programs that are started from memory come back at once, without complaint.
    pub fn start_images(&self) {
        self.starts_images.set(true);
    }

    /// What was started from memory.
    pub fn started(&self) -> Vec<Started> {
        self.started.borrow().clone()
    }

    /// The last iBFT that was left for the operating system.
    pub fn table(&self) -> Option<Vec<u8>> {
        self.table.borrow().clone()
    }

    /// Puts a file beside the loader.
    pub fn put_beside(&self, path: &str, data: Vec<u8>) {
        self.beside.borrow_mut().push((path.into(), data));
    }

    /// Adds a server to the world.
    pub fn add_peer(&self, peer: Box<dyn Peer>) {
        self.peers.borrow_mut().push(peer);
    }

    /// Takes the source of randomness away.
    pub fn without_entropy(&self) {
        self.has_entropy.set(false);
    }

    /// Sets the machine's clock (seconds since 1970), or takes it away.
    pub fn set_wall_clock(&self, clock: Option<u64>) {
        self.wall_clock.set(clock);
    }

    /// Types `line` at the next shell prompt that has nothing typed yet. When no line is left,
    /// `exit` is typed: every run ends.
    pub fn type_at_prompt(&self, line: &str) {
        self.console.lines.borrow_mut().push_back(line.into());
    }

    /// Everything the loader wrote.
    pub fn console_text(&self) -> String {
        self.console.text.borrow().clone()
    }

    /// How the machine was ended, if it was.
    pub fn reset_kind(&self) -> Option<ResetKind> {
        self.reset.get()
    }
}

impl Platform for FakeFirmware {
    fn clock(&self) -> Rc<dyn Clock> {
        Rc::new(self.wire.clone())
    }

    fn relax(&self, until: Option<Duration>) {
        let now = self.wire.now();
        self.console.now.set(now);
        assert!(
            now < LIFETIME_MAX,
            "hangs; the console says:\n{}",
            self.console_text()
        );
        let mut peers = self.peers.borrow_mut();
        peers.iter_mut().for_each(|peer| peer.poll(now));
        if self.card.has_frames() {
            return;
        }
        let next = peers
            .iter_mut()
            .filter_map(|peer| peer.poll_at(now))
            .chain(self.wire.next_arrival())
            .chain(until)
            .min()
            .unwrap_or(now + Duration::from_millis(10));
        self.wire.advance(next.max(now + Duration::from_micros(1)));
    }

    fn console(&self) -> &dyn Console {
        &self.console
    }

    fn wall_clock(&self) -> Option<u64> {
        self.wall_clock.get()
    }

    fn entropy(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if !self.has_entropy.get() {
            return Err(EntropyError { bits: 0 });
        }
        self.rng.borrow_mut().fill(bytes);
        Ok(())
    }

    fn open_nics(&self) -> Result<Vec<Box<dyn Nic>>, FirmwareError> {
        Ok(vec![Box::new(self.card.clone())])
    }

    fn identity(&self) -> Identity {
        Identity {
            architecture: "arm64",
            dhcp_architecture: 11,
            firmware: "Simulated 1.0".into(),
            uuid: Some([0x42; 16]),
            ..Identity::default()
        }
    }

    fn publish_disk(
        &self,
        disk: Rc<dyn BlockDevice>,
        _location: &DiskLocation,
    ) -> Result<Box<dyn PublishedDisk>, FirmwareError> {
        Ok(Box::new(FakeDisk {
            disk,
            files: self.files.clone(),
            boot_image: Rc::clone(&self.boot_image),
        }))
    }

    fn describe_disks(&self, table: Option<&[u8]>) -> Result<Handoff, FirmwareError> {
        if let Some(table) = table {
            self.table.replace(Some(table.to_vec()));
        }
        Ok(Handoff::DeviceTree)
    }

    fn start_image(&self, program: Program<'_>) -> Result<(), StartError> {
        self.started.borrow_mut().push(Started {
            length: program.image.len(),
            load_options: program.load_options.into(),
            initrd: program.initrd.iter().map(|part| part.len()).sum(),
        });
        if self.starts_images.get() {
            return Ok(());
        }
        Err(StartError::Load(FirmwareError::unsupported("LoadImage")))
    }

    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, FirmwareError> {
        let beside = self.beside.borrow();
        let found = beside.iter().find(|(name, _)| name == path);
        Ok(found.map(|(_, data)| data.clone()))
    }

    fn memory_regions(&self) -> Vec<Range<u64>> {
        vec![Range {
            start: 0,
            end: 2 << 30,
        }]
    }

    fn reset(&self, kind: ResetKind) {
        self.reset.set(Some(kind));
    }
}

/// Shows what is written.
type Echo = Box<dyn Fn(&str)>;

#[derive(Default)]
struct FakeConsole {
    text: RefCell<String>,
    lines: RefCell<VecDeque<String>>,
    keys: RefCell<VecDeque<Key>>,
    /// Length of the text at the last prompt that was answered.
    answered: Cell<usize>,
    echo: RefCell<Option<Echo>>,
    slow_keys: RefCell<VecDeque<Key>>,
    is_impatient: Cell<bool>,
    now: Cell<Duration>,
    /// When something was written or a key was taken.
    busy_at: Cell<Duration>,
}

impl FakeConsole {
    /// The key that somebody presses who waits for the machine.
    fn slow_key(&self) -> Option<Key> {
        if !self.is_impatient.get() {
            return None;
        }
        let waited = self.now.get().saturating_sub(self.busy_at.get());
        let key = if waited >= PAUSE {
            self.slow_keys.borrow_mut().pop_front()
        } else {
            None
        };
        let key = key.or_else(|| (waited >= PATIENCE).then_some(Key::Char('\x03')))?;
        self.busy_at.set(self.now.get());
        Some(key)
    }
}

impl Console for FakeConsole {
    fn write(&self, text: &str) {
        self.busy_at.set(self.now.get());
        self.text.borrow_mut().push_str(text);
        if let Some(echo) = &*self.echo.borrow() {
            echo(text);
        }
    }

    fn read_key(&self) -> Option<Key> {
        let mut keys = self.keys.borrow_mut();
        let text = self.text.borrow();
        // One line for each prompt: nothing is typed ahead.
        if text.ends_with(PROMPT) && self.answered.replace(text.len()) != text.len() {
            let line = self
                .lines
                .borrow_mut()
                .pop_front()
                .unwrap_or_else(|| "exit".into());
            keys.extend(line.chars().chain(['\r']).map(Key::Char));
        }
        keys.pop_front().or_else(|| self.slow_key())
    }
}

struct FakeDisk {
    disk: Rc<dyn BlockDevice>,
    files: Vec<String>,
    boot_image: Rc<BootImage>,
}

impl PublishedDisk for FakeDisk {
    fn file_systems(&self) -> Vec<String> {
        vec!["ESP".into()]
    }

    fn start(&self, file: &BootFile) -> Result<(), StartError> {
        let filename = file.filename.as_deref();
        let filename = filename.unwrap_or(r"\EFI\BOOT\BOOTAA64.EFI");
        if !self.files.iter().any(|file| file == filename) {
            return Err(StartError::NoFile {
                filename: filename.into(),
                searched: self.file_systems(),
            });
        }
        (self.boot_image)(&*self.disk)
    }
}
