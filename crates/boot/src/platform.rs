//! The seam between boot logic and the machine: everything the loader asks of firmware.
//!
//! Implemented by `loader/` on UEFI and by `crates/sim` on the host. Boot logic never sees UEFI.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::ops::Range;
use core::time::Duration;

use bowline_net::{Clock, Nic};

/// The machine the loader runs on.
///
/// Calls are made from one thread. None may call back into boot logic, except
/// [`Platform::publish_disk`], [`PublishedDisk::start`], the end of a [`PublishedDisk`] and
/// [`Platform::start_image`], during which the firmware reads blocks from published disks, and a
/// firmware timer may call [`Handle::tick`](crate::Handle::tick).
pub trait Platform {
    /// The monotonic clock.
    fn clock(&self) -> Rc<dyn Clock>;

    /// Called when there is nothing to do before `until` (`None`: only a frame or a key can
    /// matter). May return early, and on firmware returns at once: the next poll is the wait.
    fn relax(&self, until: Option<Duration>);

    /// Whether [`Handle::tick`](crate::Handle::tick) is called by interrupt, also while a program
    /// computes.
    fn has_interrupts(&self) -> bool {
        false
    }

    /// The console.
    fn console(&self) -> &dyn Console;

    /// What the machine's clock says: seconds since 1970-01-01 00:00:00 UTC. None where there is
    /// no such clock. Nobody vouches for it: it may be wrong by any amount.
    fn wall_clock(&self) -> Option<u64>;

    /// Fills `bytes` from all the sources of randomness there are, mixed.
    ///
    /// # Errors
    /// [`EntropyError`] where the machine has none that is fit for secrets.
    fn entropy(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;

    /// The certificate authorities that the firmware itself trusts for HTTPS, in DER.
    ///
    /// # Errors
    /// [`FirmwareError`] where it has none, or none that can be relied on.
    fn trusted_certificates(&self) -> Result<Vec<Vec<u8>>, FirmwareError> {
        Err(FirmwareError::unsupported("GetVariable"))
    }

    /// Opens the network cards, in the firmware's order. Called once.
    ///
    /// # Errors
    /// [`FirmwareError`] when the firmware refuses; an empty list means there is none.
    fn open_nics(&self) -> Result<Vec<Box<dyn Nic>>, FirmwareError>;

    /// What the firmware tells about the machine.
    fn identity(&self) -> Identity;

    /// Publishes a disk to the firmware (Block IO, UEFI 2.10 section 13.9) and lets it find the
    /// partitions and file systems on it. Dropping the result takes the disk away again.
    ///
    /// # Errors
    /// [`FirmwareError`] when the firmware refuses the handle.
    fn publish_disk(
        &self,
        disk: Rc<dyn BlockDevice>,
        location: &DiskLocation,
    ) -> Result<Box<dyn PublishedDisk>, FirmwareError>;

    /// Leaves an iSCSI Boot Firmware Table for the operating system to find; it takes the place of
    /// the one before. `None` takes that away. The result says where the table is.
    ///
    /// # Errors
    /// [`FirmwareError`] where the machine has no place for it.
    fn describe_disks(&self, _table: Option<&[u8]>) -> Result<Handoff, FirmwareError> {
        Err(FirmwareError::unsupported("InstallAcpiTable"))
    }

    /// Has the operating system find this flattened device tree (UEFI 2.10 section 4.6.1.3) in
    /// place of the firmware's; `None`: the firmware's again. What [`Self::describe_disks`] left in
    /// the firmware's is in it too.
    ///
    /// # Errors
    /// [`FirmwareError`] where there are no device trees, or this is none.
    fn replace_device_tree(&self, _tree: Option<&[u8]>) -> Result<(), FirmwareError> {
        Err(FirmwareError::unsupported("InstallConfigurationTable"))
    }

    /// Where the card with this address is on the PCI bus: bus, device and function in 8, 5 and 3
    /// bits. `None` where it is not on one.
    fn pci_location(&self, _mac: [u8; 6]) -> Option<u16> {
        None
    }

    /// Loads a program and starts it; returns when it exits. Where no disk is published the program
    /// may open the network cards meanwhile.
    ///
    /// # Errors
    /// [`StartError`] when the firmware refuses the program, the program returns an error, or a
    /// network card could not be had back from it.
    fn start_image(&self, program: Program<'_>) -> Result<(), StartError>;

    /// The text that the loader was started with, without the loader's own name; `None` where
    /// there is none, or it is no text.
    fn load_options(&self) -> Option<String> {
        None
    }

    /// Reads a file of the volume that the loader was started from. A path without leading
    /// backslash is relative to the loader's own directory. `None`: there is no such file.
    ///
    /// # Errors
    /// [`FirmwareError`] when the loader came from no volume, or the volume cannot be read.
    fn read_file(&self, _path: &str) -> Result<Option<Vec<u8>>, FirmwareError> {
        Err(FirmwareError::unsupported("OpenVolume"))
    }

    /// The regions of memory that an operating system may use, in their order and as long as they
    /// can be; none where the firmware does not tell.
    fn memory_regions(&self) -> Vec<Range<u64>> {
        Vec::new()
    }

    /// The SMBIOS structure of this type, the `instance`-th of them counted from 0, with the
    /// strings that follow it (DMTF DSP0134 section 6.1). `None` where there is none.
    fn smbios_structure(&self, _kind: u8, _instance: u8) -> Option<Vec<u8>> {
        None
    }

    /// Bytes of the configuration space of a PCI device, which is given as segment, bus, device and
    /// function in 16, 8, 5 and 3 bits. `None` where the firmware does not offer it.
    fn pci_configuration(&self, _device: u32, _offset: u8, _length: u8) -> Option<Vec<u8>> {
        None
    }

    /// The ACPI table of this signature, the `index`-th of them counted from 0 (ACPI 6.5 section
    /// 5.2.6). `None` where there is none.
    fn acpi_table(&self, _signature: [u8; 4], _index: u8) -> Option<Vec<u8>> {
        None
    }

    /// A variable of the firmware (UEFI 2.10 section 8.2), of this vendor GUID, as it is in
    /// memory, or the first of this name. `None` where there is none.
    fn variable(&self, _name: &str, _vendor: Option<[u8; 16]>) -> Option<Vec<u8>> {
        None
    }

    /// What the instruction CPUID answers in EAX, EBX, ECX and EDX, where there is one.
    fn cpuid(&self, _leaf: u32, _subleaf: u32) -> Option<[u32; 4]> {
        None
    }

    /// Has the firmware enter its setup at the next start (UEFI 2.10 section 8.5.4,
    /// `EFI_OS_INDICATIONS_BOOT_TO_FW_UI`).
    ///
    /// # Errors
    /// [`FirmwareError`] when the firmware cannot.
    fn enter_setup_at_next_start(&self) -> Result<(), FirmwareError> {
        Err(FirmwareError::unsupported("SetVariable(OsIndications)"))
    }

    /// Restarts the machine and keeps its memory's contents, where the firmware can.
    fn reset_warm(&self) {
        self.reset(ResetKind::Reboot);
    }

    /// Resets or switches off the machine. Returns only where the firmware cannot.
    fn reset(&self, kind: ResetKind);
}

/// A text console.
pub trait Console {
    /// Writes text; `\n` ends a line, `\r` goes to its start, `\x08` one place back.
    ///
    /// The text may hold the control sequences that [`Ansi`] takes apart, each as a whole, for
    /// colours and for menus. A terminal understands them by itself; a console of another kind
    /// carries out the [`Action`](crate::ansi::Action)s.
    ///
    /// [`Ansi`]: crate::ansi::Ansi
    fn write(&self, text: &str);

    /// Columns and rows. A serial console does not know; the usual size is assumed.
    fn size(&self) -> (u16, u16) {
        (80, 25)
    }

    /// The next key, if one was pressed. Does not wait.
    fn read_key(&self) -> Option<Key>;
}

/// A key, after the terminal's escape sequences are taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character, control characters included (Enter is `\r`, Ctrl-C is `\x03`).
    Char(char),
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// Start of line.
    Home,
    /// End of line.
    End,
    /// Delete at the cursor.
    Delete,
    /// One screen up.
    PageUp,
    /// One screen down.
    PageDown,
    /// What shows the boot menu of a PXE server.
    F8,
}

impl Key {
    /// The key that recorded and typed-in keys call `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Up" => Self::Up,
            "Down" => Self::Down,
            "Left" => Self::Left,
            "Right" => Self::Right,
            "Home" => Self::Home,
            "End" => Self::End,
            "Delete" => Self::Delete,
            "PageUp" => Self::PageUp,
            "PageDown" => Self::PageDown,
            "F8" => Self::F8,
            "Enter" => Self::Char('\r'),
            "Tab" => Self::Char('\t'),
            "Esc" => Self::Char('\x1b'),
            "Backspace" => Self::Char('\x7f'),
            _ => match name.strip_prefix("Ctrl-")?.as_bytes() {
                [letter @ (b'A'..=b'Z' | b'a'..=b'z')] => Self::Char(char::from(letter & 0x1f)),
                _ => return None,
            },
        })
    }
}

/// What the firmware tells about the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// iPXE's `buildarch`: `arm64`, `x86_64`.
    pub architecture: &'static str,
    /// RFC 4578 client system architecture type, as sent in DHCP option 93.
    pub dhcp_architecture: u16,
    /// Firmware vendor and revision, for the banner.
    pub firmware: String,
    /// SMBIOS type 1 UUID in its wire order.
    pub uuid: Option<[u8; 16]>,
    /// SMBIOS type 1 manufacturer.
    pub manufacturer: Option<String>,
    /// SMBIOS type 1 product name.
    pub product: Option<String>,
    /// SMBIOS type 1 serial number.
    pub serial: Option<String>,
}

/// A disk as the firmware calls it back. Calls block until done, running the network meanwhile.
pub trait BlockDevice {
    /// Size and properties.
    fn geometry(&self) -> Geometry;

    /// Reads `buffer.len()` bytes, a multiple of the block size, from block `lba` on.
    ///
    /// # Errors
    /// [`BlockError`]; nothing is said about the contents of `buffer` then.
    fn read(&self, lba: u64, buffer: &mut [u8]) -> Result<(), BlockError>;

    /// Writes `data`, a multiple of the block size, from block `lba` on.
    ///
    /// # Errors
    /// [`BlockError`]; any part may have been written then.
    fn write(&self, lba: u64, data: &[u8]) -> Result<(), BlockError>;

    /// Brings all written data to stable storage.
    ///
    /// # Errors
    /// [`BlockError`] when the disk cannot promise it.
    fn flush(&self) -> Result<(), BlockError>;
}

/// Size and properties of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Logical block length in bytes: a power of two from 512 to 4096.
    pub block_size: u32,
    /// Number of logical blocks.
    pub blocks: u64,
    /// Writes are refused.
    pub read_only: bool,
    /// Length of a physical block in bytes, as long as a logical one or longer.
    pub physical_block_size: u32,
    /// Transfers of a multiple of this many logical blocks are fast; 0 where nobody knows.
    pub granularity: u32,
    /// The most bytes that one command may move.
    pub transfer_max: u32,
}

impl Geometry {
    /// A disk of which nothing more is known.
    #[must_use]
    pub fn new(block_size: u32, blocks: u64, read_only: bool) -> Self {
        Self {
            block_size,
            blocks,
            read_only,
            physical_block_size: block_size,
            granularity: 0,
            transfer_max: u32::MAX,
        }
    }
}

/// Why a disk could not do it; the console already has the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// Beyond the end of the disk, or not a multiple of the block size.
    OutOfRange,
    /// The disk cannot be written.
    ReadOnly,
    /// The disk or the way to it failed.
    Device,
}

/// Where a disk is: the fields of device path nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskLocation {
    /// The card that leads to it.
    pub mac: [u8; 6],
    /// Our address.
    pub local: IpAddr,
    /// The server's address.
    pub server: IpAddr,
    /// The server's TCP port.
    pub port: u16,
    /// What it is there.
    pub unit: DiskUnit,
}

/// What a disk is for its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskUnit {
    /// A logical unit of an iSCSI target (UEFI 2.10 section 10.3.4.21).
    Iscsi {
        /// The target's iSCSI name.
        target: String,
        /// The logical unit number as RFC 4173 writes it, in SAM order.
        lun: [u8; 8],
        /// The target portal group tag (RFC 7143 section 13.9).
        portal_group_tag: u16,
        /// How the login was authenticated.
        authentication: Authentication,
    },
    /// A file of a web server (UEFI 2.10 section 10.3.4.23).
    File {
        /// The URI, without a password.
        uri: String,
    },
}

/// How the two ends of an iSCSI login proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Nobody proved anything.
    None,
    /// The initiator proved itself by CHAP.
    OneWay,
    /// Both did.
    Mutual,
}

/// Where the operating system finds what it is told about disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handoff {
    /// The ACPI table `iBFT`.
    Acpi,
    /// The same bytes as a property of the device tree's node `/chosen`.
    DeviceTree,
}

impl fmt::Display for Handoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Acpi => "iBFT in ACPI",
            Self::DeviceTree => "iBFT in the device tree",
        })
    }
}

/// A disk the firmware knows. Dropping it takes it away.
pub trait PublishedDisk {
    /// The file systems that the firmware found on the disk, by label, in its order.
    fn file_systems(&self) -> Vec<String>;

    /// Loads a file from the first file system of the disk that has what is asked for and starts
    /// it, by its device path; returns when it exits.
    ///
    /// # Errors
    /// [`StartError`]
    fn start(&self, file: &BootFile) -> Result<(), StartError>;
}

/// What to start from a disk, and which of its file systems will do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootFile {
    /// The file; `None` is the removable media path of the architecture (UEFI 2.10 section
    /// 3.5.1.1).
    pub filename: Option<String>,
    /// A file that the file system must have as well.
    pub extra: Option<String>,
    /// The label that the file system must have, in letters of either case.
    pub label: Option<String>,
    /// The identifier that its GPT partition must have, as the partition entry has it (UEFI 2.10
    /// appendix A).
    pub partition: Option<[u8; 16]>,
}

/// A program in memory.
#[derive(Debug)]
pub struct Program<'a> {
    /// The PE file.
    pub image: &'a [u8],
    /// What it is called.
    pub name: &'a str,
    /// Its command line.
    pub load_options: &'a str,
    /// Unless there is nothing in it, this is offered to the program as Linux's EFI stub asks for
    /// it: the parts as one file by `EFI_LOAD_FILE2_PROTOCOL` (UEFI 2.10 section 13.2) on a device
    /// path of the vendor media node 5568e427-68fc-4f3d-ac74-ca555231cc68 (Linux,
    /// Documentation/admin-guide/efi-stub.rst).
    pub initrd: Vec<Rc<Vec<u8>>>,
    /// The network card that the program is told it came from: its `DeviceHandle` (UEFI 2.10
    /// section 9.1).
    pub card: Option<[u8; 6]>,
}

/// Why an image did not start or what it came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The firmware found no file system on the disk.
    NoFileSystem,
    /// No file system has the file and whatever else was asked for.
    NoFile {
        /// The file that was looked for.
        filename: String,
        /// The volume labels that were looked at.
        searched: Vec<String>,
    },
    /// The firmware did not load it (`LoadImage`).
    Load(FirmwareError),
    /// It ran and returned an error.
    Exited(FirmwareError),
    /// It ran, and a network card could not be had back from it.
    CardLost(FirmwareError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFileSystem => f.write_str(
                "the firmware found no file system on the disk \
                 (does it have an EFI system partition with FAT?)",
            ),
            Self::NoFile { filename, searched } => write!(
                f,
                "no file {filename} on the disk (file systems searched: {})",
                match searched.as_slice() {
                    [] => String::from("none is the one that was asked for"),
                    searched => searched.join(", "),
                }
            ),
            Self::Load(error) => write!(f, "the image was not loaded: {error}"),
            Self::Exited(error) => write!(f, "the image returned: {error}"),
            Self::CardLost(error) => write!(f, "the image has left no network card: {error}"),
        }
    }
}

impl core::error::Error for StartError {}

/// A firmware call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareError {
    /// The call, by the specification's name.
    pub call: &'static str,
    /// The status, by the specification's name (UEFI 2.10 Appendix D).
    pub status: String,
}

impl FirmwareError {
    /// A call that the platform does not have.
    #[must_use]
    pub fn unsupported(call: &'static str) -> Self {
        Self {
            call,
            status: String::from("EFI_UNSUPPORTED"),
        }
    }
}

impl fmt::Display for FirmwareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {}", self.call, self.status)
    }
}

impl core::error::Error for FirmwareError {}

/// The machine has no randomness that is fit for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError {
    /// Bits that an attacker cannot guess; 256 are needed.
    pub bits: u32,
}

impl fmt::Display for EntropyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this machine has too little randomness: {} of 256 bits (no EFI_RNG_PROTOCOL, no \
             RNDR/RDRAND, and its timing is too regular)",
            self.bits
        )
    }
}

impl core::error::Error for EntropyError {}

/// How the machine is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// Restart.
    Reboot,
    /// Switch off.
    PowerOff,
}
