//! Disks that the loader publishes: Block IO for the firmware's partition and file system
//! drivers, and whatever they make of it.

mod block_io;
mod files;
mod remains;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

use bowline_boot::platform::{
    BlockDevice, BootFile, DiskLocation, FirmwareError, PublishedDisk, StartError,
};
use bowline_loader::device_path;
use uefi::boot;
use uefi::proto::device_path::DevicePath;
use uefi::{Handle, Identify};
use uefi_raw::protocol::block::BlockIoProtocol;

use self::block_io::BlockIo;
use crate::hooks::Hooks;
use crate::{error, gate, handles, hooks, image};

/// Where an image is when no file is named (UEFI 2.10 table 3.3).
#[cfg(target_arch = "aarch64")]
const REMOVABLE_MEDIA_PATH: &str = "\\EFI\\BOOT\\BOOTAA64.EFI";
#[cfg(target_arch = "x86_64")]
const REMOVABLE_MEDIA_PATH: &str = "\\EFI\\BOOT\\BOOTX64.EFI";

/// The disks that were ever published.
#[derive(Debug)]
pub(crate) struct Disks {
    hooks: Rc<Hooks>,
    block_ios: RefCell<Vec<&'static BlockIo>>,
}

/// A disk with its handle.
#[derive(Debug)]
struct Disk {
    handle: Handle,
    // Both live for ever: firmware that does not let go of a handle would call into them.
    path: &'static [u8],
    block_io: &'static BlockIo,
    hooks: Rc<Hooks>,
}

impl Disks {
    /// No disks yet; images that are started from them run with `hooks`.
    pub(crate) fn new(hooks: Rc<Hooks>) -> Self {
        Self {
            hooks,
            block_ios: RefCell::default(),
        }
    }

    /// Publishes `device` with the device path of `location` behind that of its `card`, and has
    /// the firmware look for partitions and file systems.
    pub(crate) fn publish(
        &self,
        device: Rc<dyn BlockDevice>,
        location: &DiskLocation,
        card: &[u8],
    ) -> Result<Box<dyn PublishedDisk>, FirmwareError> {
        let path = Vec::leak(unused_path(card, location));
        let block_io = BlockIo::leak(device);
        self.block_ios.borrow_mut().push(block_io);
        let handle = install(path, block_io)?;
        // Finding no driver is no failure: the disk may be empty.
        let _ = gate::lend(|| boot::connect_controller(handle, &[], None, true));
        Ok(Box::new(Disk {
            handle,
            path,
            block_io,
            hooks: self.hooks.clone(),
        }))
    }

    /// Whether there are none now.
    pub(crate) fn is_empty(&self) -> bool {
        !self.block_ios.borrow().iter().any(|disk| disk.is_there())
    }

    /// Makes sure that what the firmware keeps of the disks does not call into the program when
    /// that has ended.
    pub(crate) fn seal(&self) {
        let block_ios = self.block_ios.borrow();
        if block_ios.is_empty() {
            return;
        }
        // Without memory for it the machine is in a worse state than this could mend.
        if let Some(functions) = remains::functions() {
            block_ios.iter().for_each(|disk| disk.seal(functions));
        }
    }
}

/// A device path for the disk that no handle has.
///
/// U-Boot keeps the partition handles of a disk that was taken away, and refuses to make them again
/// for a disk with the same path.
fn unused_path(card: &[u8], location: &DiskLocation) -> Vec<u8> {
    let taken: Vec<Vec<u8>> = boot::find_handles::<DevicePath>()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|handle| Some(handles::peek::<DevicePath>(handle)?.as_bytes().to_vec()))
        .collect();
    let path = |local_port| device_path::disk(card, location, local_port);
    (0..u16::MAX)
        .map(path)
        .find(|path| !taken.iter().any(|taken| device_path::is_on(taken, path)))
        .unwrap_or_else(|| path(u16::MAX))
}

/// Makes a handle with both protocols.
fn install(path: &'static [u8], block_io: &'static BlockIo) -> Result<Handle, FirmwareError> {
    // SAFETY: the path is well formed up to its end node and lives for ever.
    let handle =
        unsafe { boot::install_protocol_interface(None, &DevicePath::GUID, path.as_ptr().cast()) };
    let handle = handle.map_err(error::of(
        "InstallProtocolInterface(EFI_DEVICE_PATH_PROTOCOL)",
    ))?;
    // SAFETY: the interface is a complete Block IO protocol that lives for ever.
    let installed = unsafe {
        boot::install_protocol_interface(
            Some(handle),
            &BlockIoProtocol::GUID,
            block_io.interface().cast(),
        )
    };
    installed.map_err(|refused| {
        uninstall_path(handle, path);
        error::of("InstallProtocolInterface(EFI_BLOCK_IO_PROTOCOL)")(refused)
    })
}

fn uninstall_path(handle: Handle, path: &'static [u8]) {
    // SAFETY: the path stays where it is for those who still have a pointer to it.
    let _ = unsafe {
        boot::uninstall_protocol_interface(handle, &DevicePath::GUID, path.as_ptr().cast())
    };
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !hooks::is_boot_time() {
            return;
        }
        // A driver that does not let go keeps a disk without a medium.
        let _ = gate::lend(|| boot::disconnect_controller(self.handle, None, None));
        // SAFETY: the interface stays where it is for those who still have a pointer to it.
        let _ = gate::lend(|| unsafe {
            boot::uninstall_protocol_interface(
                self.handle,
                &BlockIoProtocol::GUID,
                self.block_io.interface().cast(),
            )
        });
        uninstall_path(self.handle, self.path);
        self.block_io.withdraw();
    }
}

impl PublishedDisk for Disk {
    fn file_systems(&self) -> Vec<String> {
        files::on(self.path)
            .iter()
            .map(files::FileSystem::label)
            .collect()
    }

    fn start(&self, file: &BootFile) -> Result<(), StartError> {
        let filename = file.filename.as_deref().unwrap_or(REMOVABLE_MEDIA_PATH);
        let path = files::find(self.path, filename, file)?;
        image::start_file(&path, &self.hooks)
    }
}
