//! The boot logic's [`Platform`] on UEFI.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use bowline_boot::Handle;
use bowline_boot::platform::{
    BlockDevice, Console, DiskLocation, EntropyError, FirmwareError, Handoff, Identity, Platform,
    Program, PublishedDisk, ResetKind, StartError,
};
use bowline_loader::device_path;
use bowline_loader::firmware::Firmware;
use bowline_net::{Clock, Nic};
use uefi::runtime::{self, ResetType};
use uefi::{Status, boot};

use crate::clock::{CounterClock, wall_clock};
use crate::console::TextConsole;
use crate::disk::Disks;
use crate::entropy::Randomness;
use crate::hooks::Hooks;
use crate::initrd::Offered;
use crate::snp::Cards;
use crate::{acpi_tables, authorities, handoff, identity, image, origin, pci, setup, variable};

/// Watchdog codes up to here are the firmware's own (UEFI 2.10 section 7.5.1).
const WATCHDOG_CODE: u64 = 0x1_0000;

/// The firmware as a platform.
#[derive(Debug)]
pub(crate) struct UefiPlatform {
    clock: Rc<CounterClock>,
    console: TextConsole,
    firmware: Firmware,
    cards: Cards,
    disks: Disks,
    table: handoff::Table,
    hooks: Rc<Hooks>,
    randomness: Randomness,
}

impl UefiPlatform {
    /// Takes the machine over; `handle` is hooked into the end of boot services.
    ///
    /// # Errors
    /// The firmware's, without which nothing can be started safely.
    pub(crate) fn new(handle: Handle) -> Result<Self, FirmwareError> {
        // The firmware resets a machine after five minutes in an image; a shell may wait longer.
        let _ = boot::set_watchdog_timer(0, WATCHDOG_CODE, None);
        let firmware = identity::firmware();
        let hooks = Rc::new(Hooks::install(handle, firmware.is_u_boot())?);
        Ok(Self {
            clock: Rc::new(CounterClock::new()),
            console: TextConsole::default(),
            firmware,
            cards: Cards::default(),
            disks: Disks::new(hooks.clone()),
            table: handoff::Table::default(),
            hooks,
            randomness: Randomness::default(),
        })
    }

    /// Gives everything back to the firmware.
    pub(crate) fn release(&self) {
        self.hooks.remove();
        self.cards.release();
        self.disks.seal();
    }
}

impl Platform for UefiPlatform {
    fn clock(&self) -> Rc<dyn Clock> {
        self.clock.clone()
    }

    fn relax(&self, _until: Option<Duration>) {
        // Frames and keys are found by polling only, and no firmware can be relied on to wake a
        // processor that sleeps.
        core::hint::spin_loop();
    }

    fn has_interrupts(&self) -> bool {
        // U-Boot has none: its timers run inside its calls.
        !self.firmware.is_u_boot()
    }

    fn console(&self) -> &dyn Console {
        &self.console
    }

    fn wall_clock(&self) -> Option<u64> {
        wall_clock()
    }

    fn entropy(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.randomness.fill(bytes, *self.clock)
    }

    fn trusted_certificates(&self) -> Result<Vec<Vec<u8>>, FirmwareError> {
        authorities::certificates()
    }

    fn open_nics(&self) -> Result<Vec<Box<dyn Nic>>, FirmwareError> {
        self.cards.open(&self.firmware)
    }

    fn identity(&self) -> Identity {
        identity::identity(&self.firmware)
    }

    fn publish_disk(
        &self,
        disk: Rc<dyn BlockDevice>,
        location: &DiskLocation,
    ) -> Result<Box<dyn PublishedDisk>, FirmwareError> {
        let card = self.cards.path(location.mac);
        self.disks.publish(disk, location, &card)
    }

    fn describe_disks(&self, table: Option<&[u8]>) -> Result<Handoff, FirmwareError> {
        self.table.leave(table)
    }

    fn replace_device_tree(&self, tree: Option<&[u8]>) -> Result<(), FirmwareError> {
        self.table.replace_tree(tree)
    }

    fn pci_location(&self, mac: [u8; 6]) -> Option<u16> {
        pci::location(&self.cards.path(mac))
    }

    fn start_image(&self, program: Program<'_>) -> Result<(), StartError> {
        let Program { image, name, .. } = program;
        let _while_it_runs = (!program.initrd.is_empty())
            .then(|| Offered::new(program.initrd))
            .transpose()
            .map_err(StartError::Load)?;
        let path = match program.card {
            Some(mac) => device_path::file(&self.cards.path(mac), &format!("\\{name}")),
            None => device_path::memory(image.as_ptr_range()),
        };
        let start = |hooks| image::start_memory(image, &path, program.load_options, hooks);
        // A disk is read through the cards as long as it is there. Without one the program may drive
        // them, as another loader does.
        if !self.disks.is_empty() {
            return start(Some(&self.hooks));
        }
        let (started, cards) = self.cards.lend(|| start(None));
        started?;
        cards.map_err(StartError::CardLost)
    }

    fn load_options(&self) -> Option<String> {
        origin::load_options()
    }

    fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, FirmwareError> {
        origin::read_file(path)
    }

    fn memory_regions(&self) -> Vec<Range<u64>> {
        identity::memory_regions()
    }

    fn smbios_structure(&self, kind: u8, instance: u8) -> Option<Vec<u8>> {
        identity::smbios_structure(kind, instance)
    }

    fn pci_configuration(&self, device: u32, offset: u8, length: u8) -> Option<Vec<u8>> {
        pci::configuration(device, offset, length)
    }

    fn acpi_table(&self, signature: [u8; 4], index: u8) -> Option<Vec<u8>> {
        acpi_tables::find(signature, index)
    }

    fn variable(&self, name: &str, vendor: Option<[u8; 16]>) -> Option<Vec<u8>> {
        variable::get(name, vendor)
    }

    fn cpuid(&self, leaf: u32, subleaf: u32) -> Option<[u32; 4]> {
        identity::cpuid(leaf, subleaf)
    }

    fn enter_setup_at_next_start(&self) -> Result<(), FirmwareError> {
        setup::enter_at_next_start()
    }

    fn reset_warm(&self) {
        runtime::reset(ResetType::WARM, Status::SUCCESS, None)
    }

    fn reset(&self, kind: ResetKind) {
        let kind = match kind {
            ResetKind::Reboot => ResetType::COLD,
            ResetKind::PowerOff => ResetType::SHUTDOWN,
        };
        runtime::reset(kind, Status::SUCCESS, None)
    }
}
