//! Where the operating system finds the iSCSI Boot Firmware Table: among the ACPI tables, or, on
//! machines that have none, in the device tree; and which device tree it finds.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use bowline_boot::platform::{FirmwareError, Handoff};
use bowline_loader::device_tree;
use uefi::boot::{self, AllocateType, MemoryType, PAGE_SIZE};
use uefi::proto::acpi::AcpiTable;
use uefi::{Guid, Status, guid, system};
use zeroize::Zeroizing;

use crate::error::{self, firmware_error};
use crate::handles;

/// The flattened device tree in the configuration table (UEFI 2.10 section 4.6.1.3).
static DEVICE_TREE: Guid = guid!("b1b621d5-f19c-41a5-830b-d9152c69aae0");

/// What Linux calls `security-...` may be read by root only (drivers/of/kobj.c).
const PROPERTY: &str = "security-bowline,ibft";

/// A device tree longer than this is not one.
const DEVICE_TREE_MAX: usize = 16 << 20;

/// The table that is there now, and the device tree.
#[derive(Debug, Default)]
pub(crate) struct Table {
    place: RefCell<Option<Place>>,
    tree: RefCell<Option<Tree>>,
}

/// A device tree of ours in place of another.
#[derive(Debug)]
struct Tree {
    original: *const c_void,
    ours: Pages,
}

#[derive(Debug)]
enum Place {
    /// The key of `UninstallAcpiTable`.
    Acpi(usize),
    /// With the table, for the tree that takes the place of this one.
    DeviceTree(Tree, Zeroizing<Vec<u8>>),
}

impl Table {
    /// Leaves `table`, or takes away the one that is there.
    pub(crate) fn leave(&self, table: Option<&[u8]>) -> Result<Handoff, FirmwareError> {
        if let Some(before) = self.place.borrow_mut().take() {
            before.withdraw()?;
        }
        let place = match (table, boot::find_handles::<AcpiTable>()) {
            (Some(table), Ok(handles)) => match handles.first() {
                Some(&handle) => install_acpi(handle, table)?,
                None => install_in_device_tree(table)?,
            },
            (Some(table), Err(_)) => install_in_device_tree(table)?,
            (None, Ok(_)) => return Ok(Handoff::Acpi),
            (None, Err(_)) => return Ok(Handoff::DeviceTree),
        };
        let handoff = match place {
            Place::Acpi(_) => Handoff::Acpi,
            Place::DeviceTree(..) => Handoff::DeviceTree,
        };
        self.place.replace(Some(place));
        Ok(handoff)
    }

    /// Has the operating system find `tree`, or what was there before. The iBFT that stands in the
    /// tree before is in it too.
    pub(crate) fn replace_tree(&self, tree: Option<&[u8]>) -> Result<(), FirmwareError> {
        if let Some(before) = self.tree.borrow_mut().take() {
            before.withdraw()?;
        }
        let Some(tree) = tree else { return Ok(()) };
        let refused = |status| firmware_error("InstallConfigurationTable(device tree)", status);
        if cfg!(target_arch = "x86_64") {
            return Err(refused(Status::UNSUPPORTED));
        }
        let whole = device_tree::total_bytes(tree).and_then(|length| tree.get(..length));
        let whole = whole.ok_or(refused(Status::INCOMPATIBLE_VERSION))?;
        let tree = match &*self.place.borrow() {
            Some(Place::DeviceTree(_, table)) => {
                device_tree::with_chosen_property(whole, PROPERTY, table)
                    .ok_or(refused(Status::VOLUME_CORRUPTED))?
            }
            _ => whole.to_vec(),
        };
        let original = installed().unwrap_or(ptr::null());
        self.tree.replace(Some(Tree::install(original, &tree)?));
        Ok(())
    }
}

impl Place {
    fn withdraw(self) -> Result<(), FirmwareError> {
        match self {
            Self::Acpi(key) => {
                let acpi = boot::find_handles::<AcpiTable>().unwrap_or_default();
                let acpi = acpi
                    .first()
                    .and_then(|&handle| handles::peek::<AcpiTable>(handle));
                let acpi = acpi.ok_or(firmware_error("HandleProtocol", Status::NOT_FOUND))?;
                acpi.uninstall_acpi_table(key)
                    .map_err(error::of("UninstallAcpiTable"))
            }
            Self::DeviceTree(tree, _) => tree.withdraw(),
        }
    }
}

fn install_acpi(handle: uefi::Handle, table: &[u8]) -> Result<Place, FirmwareError> {
    let acpi = handles::peek::<AcpiTable>(handle)
        .ok_or(firmware_error("HandleProtocol", Status::UNSUPPORTED))?;
    // SAFETY: the firmware copies the table (UEFI 2.10 section 20.2).
    let key = unsafe { acpi.install_acpi_table(table.as_ptr().cast(), table.len()) };
    key.map(Place::Acpi).map_err(error::of("InstallAcpiTable"))
}

impl Tree {
    /// Puts `tree` in the place of `original`.
    fn install(original: *const c_void, tree: &[u8]) -> Result<Self, FirmwareError> {
        let ours = Pages::copy(tree)?;
        match install_device_tree(ours.address.as_ptr().cast()) {
            Ok(()) => Ok(Self { original, ours }),
            Err(error) => {
                ours.free();
                Err(error)
            }
        }
    }

    /// Without an original, the entry goes (UEFI 2.10 section 7.5.4).
    fn withdraw(self) -> Result<(), FirmwareError> {
        install_device_tree(self.original)?;
        self.ours.free();
        Ok(())
    }
}

/// The device tree of the configuration table.
fn installed() -> Option<*const c_void> {
    let address = system::with_config_table(|entries| {
        let entry = entries.iter().find(|entry| entry.guid == DEVICE_TREE);
        entry.map(|entry| entry.address)
    });
    address.filter(|tree| !tree.is_null())
}

/// The bytes of an installed device tree.
fn read(tree: *const c_void) -> Option<&'static [u8]> {
    // SAFETY: the firmware says that a device tree is there, which begins with its header.
    let header = unsafe { core::slice::from_raw_parts(tree.cast(), device_tree::HEADER_BYTES) };
    let length = device_tree::total_bytes(header).filter(|&length| length <= DEVICE_TREE_MAX)?;
    // SAFETY: the header says how long the tree is, which nobody changes while we read.
    Some(unsafe { core::slice::from_raw_parts(tree.cast(), length) })
}

fn install_in_device_tree(table: &[u8]) -> Result<Place, FirmwareError> {
    let missing = |status| firmware_error("InstallAcpiTable", status);
    // Neither ACPI nor a device tree: there is no place.
    let original = installed().ok_or(missing(Status::UNSUPPORTED))?;
    let tree = read(original)
        .and_then(|tree| device_tree::with_chosen_property(tree, PROPERTY, table))
        .ok_or(missing(Status::VOLUME_CORRUPTED))?;
    let ours = Tree::install(original, &tree)?;
    Ok(Place::DeviceTree(ours, Zeroizing::new(table.to_vec())))
}

fn install_device_tree(tree: *const c_void) -> Result<(), FirmwareError> {
    // SAFETY: a device tree in memory that stays until another one is installed.
    unsafe { boot::install_configuration_table(&DEVICE_TREE, tree) }
        .map_err(error::of("InstallConfigurationTable(device tree)"))
}

/// Memory that the operating system keeps until it has read its tables.
#[derive(Debug)]
struct Pages {
    address: NonNull<u8>,
    count: usize,
}

impl Pages {
    fn copy(bytes: &[u8]) -> Result<Self, FirmwareError> {
        let count = bytes.len().div_ceil(PAGE_SIZE);
        let address = boot::allocate_pages(AllocateType::AnyPages, MemoryType::ACPI_RECLAIM, count)
            .map_err(error::of("AllocatePages"))?;
        // SAFETY: the pages were just allocated, and are at least as long as the bytes.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), address.as_ptr(), bytes.len()) };
        Ok(Self { address, count })
    }

    /// Wipes the secrets and gives the pages back.
    fn free(self) {
        // SAFETY: the pages are ours, this many.
        unsafe { ptr::write_bytes(self.address.as_ptr(), 0, self.count * PAGE_SIZE) };
        // SAFETY: nobody else has a pointer to them any more.
        let _ = unsafe { boot::free_pages(self.address, self.count) };
    }
}
