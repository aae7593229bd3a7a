//! A machine for tests: virtual time, a scripted keyboard, a console that is kept, and a wire to
//! a server of the test's own.

pub(crate) mod servers;
pub(crate) mod target;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::{Rc, Weak};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::net::Ipv4Addr;
use core::ops::Range;
use core::pin::Pin;
use core::task::{Context, Waker};
use core::time::Duration;

use bowline_dhcp::server::Server;
use bowline_net::{Clock, Ipv4Config, Link, Nic, NicError, ReceiveRing, Stack};

use self::servers::{FarEnd, Pages};
use self::target::TestTarget;
use crate::packed::{Packed, PackedScript};
use crate::platform::{
    BlockDevice, BootFile, Console, DiskLocation, EntropyError, FirmwareError, Handoff, Identity,
    Key, Platform, Program, PublishedDisk, ResetKind, StartError,
};
use crate::{Handle, Outcome};

/// Virtual time.
#[derive(Default)]
pub(crate) struct TestClock(Cell<Duration>);

impl TestClock {
    fn advance(&self, by: Duration) {
        self.0.set(self.0.get() + by);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
}

type Frames = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// The card of U-Boot, and one that holds whatever a server is sent.
const OURS: ReceiveRing = ReceiveRing {
    initial: 24,
    limit: 24,
};
const SERVERS: ReceiveRing = ReceiveRing {
    initial: 1024,
    limit: 1024,
};

/// One end of a wire.
pub(crate) struct WireEnd {
    mac: [u8; 6],
    link: Link,
    ring: ReceiveRing,
    incoming: Frames,
    outgoing: Frames,
}

impl Nic for WireEnd {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }

    fn receive(&mut self, frame: &mut [u8]) -> Result<Option<usize>, NicError> {
        let Some(received) = self.incoming.borrow_mut().pop_front() else {
            return Ok(None);
        };
        frame[..received.len()].copy_from_slice(&received);
        Ok(Some(received.len()))
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), NicError> {
        self.outgoing.borrow_mut().push_back(frame.to_vec());
        Ok(())
    }

    fn link(&self) -> Link {
        self.link
    }

    fn receive_ring(&self) -> ReceiveRing {
        self.ring
    }

    fn shutdown(&mut self) {}
}

/// Something that the test runs beside the loader: a server.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// How a program that is started behaves: with the machine it runs on, and the disk that it was
/// started from, if it was.
pub(crate) type Behaviour =
    Box<dyn Fn(&TestPlatform, Option<&Rc<dyn BlockDevice>>) -> Result<(), StartError>>;

/// The machine.
pub(crate) struct TestPlatform {
    pub(crate) clock: Rc<TestClock>,
    pub(crate) output: RefCell<String>,
    pub(crate) keys: RefCell<VecDeque<(Duration, Key)>>,
    pub(crate) has_entropy: bool,
    /// What the machine's clock says.
    pub(crate) wall_clock: Option<u64>,
    /// The authorities that the firmware trusts.
    pub(crate) trusted_certificates: Vec<Vec<u8>>,
    pub(crate) nics: RefCell<Vec<Box<dyn Nic>>>,
    /// The other end of the wire.
    pub(crate) server: Option<Stack>,
    /// A VLAN on the other end.
    pub(crate) vlan: RefCell<Option<Stack>>,
    pub(crate) tasks: RefCell<Vec<Task>>,
    /// The DHCP server on the other end, where there is one, and what it was sent.
    pub(crate) dhcp: Rc<RefCell<Option<Server>>>,
    /// What the router on the other end says, where there is one.
    pub(crate) router: Rc<RefCell<Option<Vec<u8>>>>,
    pub(crate) dhcp_seen: Rc<RefCell<Vec<Vec<u8>>>>,
    /// What `start_image` and `PublishedDisk::start` do.
    pub(crate) program: Rc<Behaviour>,
    /// What was started: the file or the load options.
    pub(crate) started: Rc<RefCell<Vec<String>>>,
    /// Locations of disks that are published now.
    pub(crate) disks: Rc<RefCell<Vec<DiskLocation>>>,
    /// The tables that the operating system was left, and where there is a place for them.
    pub(crate) tables: RefCell<Vec<Option<Vec<u8>>>>,
    pub(crate) handoff: Option<Handoff>,
    /// The device trees that the operating system was given in place of the firmware's.
    pub(crate) device_trees: RefCell<Vec<Option<Vec<u8>>>>,
    pub(crate) resets: RefCell<Vec<ResetKind>>,
    /// Files beside the loader.
    pub(crate) files: Vec<(&'static str, &'static [u8])>,
    pub(crate) load_options: Option<String>,
    /// The initial RAM disks that programs were offered.
    pub(crate) initrds: RefCell<Vec<Vec<u8>>>,
    /// The network card that the program was told of which was started last.
    pub(crate) told_card: Cell<Option<[u8; 6]>>,
    /// What firmware events use.
    pub(crate) handle: Handle,
    /// Keys that were taken: how much had been written by then, when, and which.
    pub(crate) key_marks: RefCell<Vec<(usize, Duration, Key)>>,
    myself: Rc<RefCell<Weak<Self>>>,
    idle: Cell<Duration>,
}

impl TestPlatform {
    /// A machine without a network card.
    pub(crate) fn new() -> Self {
        Self {
            clock: Rc::default(),
            output: RefCell::default(),
            keys: RefCell::default(),
            has_entropy: true,
            wall_clock: Some(1_800_000_000),
            trusted_certificates: vec![],
            nics: RefCell::default(),
            server: None,
            vlan: RefCell::default(),
            tasks: RefCell::default(),
            dhcp: Rc::default(),
            router: Rc::default(),
            dhcp_seen: Rc::default(),
            program: Rc::new(Box::new(|_, _| Ok(()))),
            started: Rc::default(),
            disks: Rc::default(),
            tables: RefCell::default(),
            handoff: Some(Handoff::Acpi),
            device_trees: RefCell::default(),
            resets: RefCell::default(),
            files: vec![],
            load_options: None,
            initrds: RefCell::default(),
            told_card: Cell::default(),
            handle: Handle::new(),
            key_marks: RefCell::default(),
            myself: Rc::default(),
            idle: Cell::default(),
        }
    }

    /// A machine with one card, and a server at 192.168.1.1 on the other end of its wire.
    pub(crate) fn with_wire(link: Link) -> Self {
        let mut platform = Self::new();
        let (there, back) = (Frames::default(), Frames::default());
        let near = WireEnd {
            mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
            link,
            ring: OURS,
            incoming: Rc::clone(&back),
            outgoing: Rc::clone(&there),
        };
        let far = WireEnd {
            mac: [2, 0, 0, 0, 0, 1],
            link,
            ring: SERVERS,
            incoming: there,
            outgoing: back,
        };
        platform.nics.borrow_mut().push(Box::new(near));
        let clock: Rc<dyn Clock> = Rc::clone(&platform.clock) as Rc<dyn Clock>;
        let far = FarEnd {
            wire: far,
            clock: Rc::clone(&clock),
            dhcp: Rc::clone(&platform.dhcp),
            router: Rc::clone(&platform.router),
            seen: Rc::clone(&platform.dhcp_seen),
        };
        let server = Stack::new(Box::new(far), clock, 7);
        let config = Ipv4Config {
            address: Ipv4Addr::new(192, 168, 1, 1),
            prefix_len: 24,
            router: None,
            dns: vec![],
            mtu: None,
        };
        server.configure_ipv4(Some(config)).unwrap();
        platform.server = Some(server);
        platform
    }

    /// A machine on a network with DHCP and a web server.
    pub(crate) fn with_network(pages: Pages) -> Self {
        let platform = Self::with_wire(Link::Up);
        platform.dhcp.replace(Some(servers::dhcp_server()));
        let server = platform.server.clone().unwrap();
        platform
            .tasks
            .borrow_mut()
            .push(servers::http_server(&server, pages));
        platform
    }

    /// A machine on a network with DHCP and an iSCSI target.
    pub(crate) fn with_target(target: &Rc<TestTarget>) -> Self {
        let platform = Self::with_network(&[]);
        let server = platform.server.clone().unwrap();
        platform
            .tasks
            .borrow_mut()
            .push(target::iscsi_server(&server, Rc::clone(target)));
        platform
    }

    /// Types lines at the prompt, each with Enter.
    pub(crate) fn type_lines(&self, lines: &[&str]) {
        for line in lines {
            self.type_text(line);
            self.press(Key::Char('\r'));
        }
    }

    pub(crate) fn type_text(&self, text: &str) {
        text.chars()
            .for_each(|character| self.press(Key::Char(character)));
    }

    /// Presses a key at once.
    pub(crate) fn press(&self, key: Key) {
        self.press_at(Duration::ZERO, key);
    }

    /// Presses a key at a moment of virtual time.
    pub(crate) fn press_at(&self, at: Duration, key: Key) {
        self.keys.borrow_mut().push_back((at, key));
    }

    /// Time passes while the firmware runs something else, with a timer event now and then.
    pub(crate) fn run_firmware_for(&self, duration: Duration) {
        let until = self.clock.now() + duration;
        while self.clock.now() < until {
            self.handle.tick();
            self.relax(Some(until));
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.now()
    }
}

impl Console for TestPlatform {
    fn write(&self, text: &str) {
        self.idle.set(Duration::ZERO);
        self.output.borrow_mut().push_str(text);
    }

    fn read_key(&self) -> Option<Key> {
        let due = self
            .keys
            .borrow()
            .front()
            .is_some_and(|(at, _)| *at <= self.clock.now());
        if due {
            let (_, key) = self.keys.borrow_mut().pop_front()?;
            let written = self.output.borrow().len();
            self.key_marks
                .borrow_mut()
                .push((written, self.clock.now(), key));
            Some(key)
        } else {
            None
        }
    }
}

impl Platform for TestPlatform {
    fn clock(&self) -> Rc<dyn Clock> {
        Rc::clone(&self.clock) as Rc<dyn Clock>
    }

    fn relax(&self, until: Option<Duration>) {
        let mut busy = false;
        if let Some(server) = &self.server {
            let vlan = self.vlan.borrow().clone();
            let poll = || server.poll() | vlan.as_ref().is_some_and(Stack::poll);
            busy |= poll();
            let mut tasks = self.tasks.take();
            let mut context = Context::from_waker(Waker::noop());
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            tasks.append(&mut self.tasks.borrow_mut());
            self.tasks.replace(tasks);
            busy |= poll();
        }
        let now = self.clock.now();
        let step = until.map_or(Duration::from_millis(10), |until| until.saturating_sub(now));
        let step = if busy {
            Duration::from_micros(10)
        } else {
            step
        };
        let step = step.clamp(Duration::from_micros(10), Duration::from_millis(10));
        self.clock.advance(step);
        self.idle.set(self.idle.get() + step);
        let hangs = self.idle.get() > Duration::from_secs(600);
        assert!(
            !hangs,
            "nothing has happened for ten minutes:\n{}",
            self.output.borrow()
        );
    }

    fn console(&self) -> &dyn Console {
        self
    }

    fn wall_clock(&self) -> Option<u64> {
        self.wall_clock
    }

    fn trusted_certificates(&self) -> Result<Vec<Vec<u8>>, FirmwareError> {
        match &*self.trusted_certificates {
            [] => Err(FirmwareError::unsupported("GetVariable")),
            certificates => Ok(certificates.to_vec()),
        }
    }

    fn entropy(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if !self.has_entropy {
            return Err(EntropyError { bits: 0 });
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = (index as u8).wrapping_mul(37).wrapping_add(11);
        }
        Ok(())
    }

    fn open_nics(&self) -> Result<Vec<Box<dyn Nic>>, FirmwareError> {
        Ok(self.nics.take())
    }

    fn identity(&self) -> Identity {
        Identity {
            architecture: "arm64",
            dhcp_architecture: 11,
            firmware: "Test Firmware 1.0".into(),
            uuid: Some([0x11; 16]),
            product: Some("Testbed".into()),
            ..Identity::default()
        }
    }

    fn publish_disk(
        &self,
        disk: Rc<dyn BlockDevice>,
        location: &DiskLocation,
    ) -> Result<Box<dyn PublishedDisk>, FirmwareError> {
        self.disks.borrow_mut().push(location.clone());
        Ok(Box::new(TestDisk {
            platform: Rc::clone(&self.myself),
            disk,
            program: Rc::clone(&self.program),
            started: Rc::clone(&self.started),
            disks: Rc::clone(&self.disks),
        }))
    }

    fn describe_disks(&self, table: Option<&[u8]>) -> Result<Handoff, FirmwareError> {
        self.tables.borrow_mut().push(table.map(<[u8]>::to_vec));
        self.handoff
            .ok_or_else(|| FirmwareError::unsupported("InstallAcpiTable"))
    }

    fn replace_device_tree(&self, tree: Option<&[u8]>) -> Result<(), FirmwareError> {
        if tree.is_some_and(|tree| !tree.starts_with(&[0xd0, 0x0d, 0xfe, 0xed])) {
            return Err(FirmwareError::unsupported("InstallConfigurationTable"));
        }
        self.device_trees
            .borrow_mut()
            .push(tree.map(<[u8]>::to_vec));
        Ok(())
    }

    fn pci_location(&self, _mac: [u8; 6]) -> Option<u16> {
        Some(0x0108)
    }

    fn start_image(&self, program: Program<'_>) -> Result<(), StartError> {
        assert!(program.image.starts_with(b"MZ"));
        self.started
            .borrow_mut()
            .push(program.load_options.to_owned());
        let joined = program.initrd.iter().flat_map(|part| part.iter().copied());
        self.initrds.borrow_mut().push(joined.collect());
        self.told_card.set(program.card);
        (self.program)(self, None)
    }

    fn load_options(&self) -> Option<String> {
        self.load_options.clone()
    }

    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, FirmwareError> {
        let found = self.files.iter().find(|(name, _)| *name == path);
        Ok(found.map(|(_, data)| data.to_vec()))
    }

    fn memory_regions(&self) -> Vec<Range<u64>> {
        vec![0..1 << 30, 2 << 30..3 << 30]
    }

    fn pci_configuration(&self, device: u32, offset: u8, length: u8) -> Option<Vec<u8>> {
        let identifiers = [0x86, 0x80, 0x0e, 0x10];
        let start = usize::from(offset);
        let bytes = identifiers.get(start..start + usize::from(length))?;
        (device == 0x0108).then(|| bytes.to_vec())
    }

    fn acpi_table(&self, signature: [u8; 4], index: u8) -> Option<Vec<u8>> {
        let table = b"APIC\x0c\0\0\0\x01\x02\x03\x04";
        (signature == *b"APIC" && index == 0).then(|| table.to_vec())
    }

    fn variable(&self, name: &str, vendor: Option<[u8; 16]>) -> Option<Vec<u8>> {
        const GLOBAL: [u8; 16] = *b"\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\0\xe0\x98\x03\x2b\x8c";
        let is_global = vendor.is_none_or(|vendor| vendor == GLOBAL);
        (name == "BootCurrent" && is_global).then(|| vec![1, 0])
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        match (leaf, subleaf) {
            (0, 0) => Some([7, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]),
            (7, 1) => Some([1, 2, 3, 4]),
            (0x8000_0002, 0) => Some([u32::from_le_bytes(*b"Test"); 4]),
            (0x8000_0003 | 0x8000_0004, 0) => Some([0; 4]),
            _ => None,
        }
    }

    fn smbios_structure(&self, kind: u8, instance: u8) -> Option<Vec<u8>> {
        let board = b"\x02\x08\x00\x00\x01\x02\x00\x07Maker\0Board\0\0";
        (kind == 2 && instance == 0).then(|| board.to_vec())
    }

    fn reset(&self, kind: ResetKind) {
        self.resets.borrow_mut().push(kind);
    }
}

struct TestDisk {
    platform: Rc<RefCell<Weak<TestPlatform>>>,
    disk: Rc<dyn BlockDevice>,
    program: Rc<Behaviour>,
    started: Rc<RefCell<Vec<String>>>,
    disks: Rc<RefCell<Vec<DiskLocation>>>,
}

impl PublishedDisk for TestDisk {
    fn file_systems(&self) -> Vec<String> {
        vec!["ESP".into()]
    }

    fn start(&self, file: &BootFile) -> Result<(), StartError> {
        let shown = match file {
            BootFile {
                filename: Some(filename),
                extra: None,
                label: None,
                partition: None,
            } => filename.clone(),
            file if *file == BootFile::default() => String::from("default"),
            file => alloc::format!("{file:?}"),
        };
        self.started.borrow_mut().push(shown);
        let platform = self.platform.borrow().upgrade().unwrap();
        (self.program)(&platform, Some(&self.disk))
    }
}

impl Drop for TestDisk {
    fn drop(&mut self) {
        self.disks.borrow_mut().pop();
    }
}

/// Runs a script, then types `exit` in the shell that may come; what the console showed, without
/// the banner, and the status.
pub(crate) fn run_script(platform: TestPlatform, script: &str) -> (String, i32) {
    let (platform, status) = run_on(platform, script);
    (platform.output.borrow().clone(), status)
}

/// As [`run_script`]; gives the machine back.
pub(crate) fn run_on(platform: TestPlatform, script: &str) -> (Rc<TestPlatform>, i32) {
    platform.type_lines(&["exit"]);
    let packed = Packed {
        script: Some(PackedScript {
            name: "test.ipxe".into(),
            text: script.to_owned(),
        }),
        settings: vec![],
        ..Packed::default()
    };
    run_packed(platform, &packed.to_bytes().unwrap())
}

/// Runs with a packed configuration of any kind.
pub(crate) fn run_packed(platform: TestPlatform, packed: &[u8]) -> (Rc<TestPlatform>, i32) {
    let platform = Rc::new(platform);
    platform.myself.replace(Rc::downgrade(&platform));
    let handle = platform.handle.clone();
    let as_platform: Rc<dyn Platform> = Rc::clone(&platform) as Rc<dyn Platform>;
    let Outcome::Exit { status } = crate::run(as_platform, packed, &handle);
    let output = platform.output.take();
    let rest = output
        .strip_prefix(BANNER)
        .expect("the banner comes first")
        .to_owned();
    platform.output.replace(rest);
    (platform, status)
}

/// Text as a script that the loader runs.
pub(crate) fn script(lines: &[&str]) -> String {
    let mut text = String::from("#!ipxe\n");
    for line in lines {
        text += line;
        text.push('\n');
    }
    text
}

/// A network card with nothing on its wire, with this address unless it is unspecified.
pub(crate) fn lone_stack(
    mac: u8,
    address: Ipv4Addr,
    prefix_len: u8,
    router: Option<Ipv4Addr>,
) -> Stack {
    let nic = WireEnd {
        mac: [2, 0, 0, 0, 0, mac],
        ring: OURS,
        link: Link::Up,
        incoming: Frames::default(),
        outgoing: Frames::default(),
    };
    let stack = Stack::new(Box::new(nic), Rc::new(TestClock::default()), 1);
    if !address.is_unspecified() {
        let config = Ipv4Config {
            address,
            prefix_len,
            router,
            dns: vec![],
            mtu: None,
        };
        stack.configure_ipv4(Some(config)).unwrap();
    }
    stack
}

/// What a run begins with.
pub(crate) const BANNER: &str = concat!(
    "Bowline ",
    env!("CARGO_PKG_VERSION"),
    " (arm64) on Test Firmware 1.0\n"
);
