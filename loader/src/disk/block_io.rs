//! `EFI_BLOCK_IO_PROTOCOL` (UEFI 2.10 section 13.9) over a disk of the boot logic.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

use bowline_boot::platform::{BlockDevice, BlockError, Geometry};
use uefi::Status;
use uefi_raw::Boolean;
use uefi_raw::protocol::block::{BlockIoMedia, BlockIoProtocol};

use crate::gate;

/// Media ids differ between disks, so that a stale one is noticed.
static NEXT_MEDIA_ID: AtomicU32 = AtomicU32::new(1);

/// The protocol with the disk behind it. The firmware has pointers to both of the first fields.
#[repr(C)]
pub(super) struct BlockIo {
    /// First, so that the protocol's `this` points to the whole.
    protocol: Cell<BlockIoProtocol>,
    media: Cell<BlockIoMedia>,
    geometry: Geometry,
    /// `None` once the disk was taken away.
    device: RefCell<Option<Rc<dyn BlockDevice>>>,
}

impl fmt::Debug for BlockIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockIo")
            .field("media", &self.media.get())
            .finish_non_exhaustive()
    }
}

impl BlockIo {
    /// Makes the protocol, for ever.
    pub(super) fn leak(device: Rc<dyn BlockDevice>) -> &'static Self {
        let geometry = device.geometry();
        let block_io: &'static Self = Box::leak(Box::new(Self {
            protocol: Cell::new(protocol(core::ptr::null(), OURS)),
            media: Cell::new(media(geometry)),
            geometry,
            device: RefCell::new(Some(device)),
        }));
        block_io
            .protocol
            .set(protocol(block_io.media.as_ptr(), OURS));
        block_io
    }

    /// Replaces the functions, for when the program ends.
    pub(super) fn seal(&self, functions: Functions) {
        self.protocol.set(protocol(self.media.as_ptr(), functions));
    }

    /// The pointer to install.
    pub(super) fn interface(&'static self) -> *const Self {
        self
    }

    /// Whether there is a disk behind the protocol.
    pub(super) fn is_there(&self) -> bool {
        self.device.borrow().is_some()
    }

    /// Lets go of the disk; whoever still has the protocol finds no medium.
    pub(super) fn withdraw(&self) {
        let mut media = self.media.get();
        media.media_present = Boolean::from(false);
        self.media.set(media);
        self.device.take();
    }

    /// Checks a request in the order of the specification and lets `transfer` do it.
    fn transfer(
        &self,
        media_id: u32,
        lba: u64,
        bytes: usize,
        has_buffer: bool,
        transfer: impl FnOnce(&dyn BlockDevice) -> Result<(), BlockError>,
    ) -> Status {
        let Some(_entered) = gate::enter() else {
            return Status::DEVICE_ERROR;
        };
        let Some(device) = self.device.borrow().clone() else {
            return Status::NO_MEDIA;
        };
        if media_id != self.media.get().media_id {
            return Status::MEDIA_CHANGED;
        }
        if bytes == 0 {
            return Status::SUCCESS;
        }
        if !has_buffer {
            return Status::INVALID_PARAMETER;
        }
        let (Ok(bytes), block_size) = (u64::try_from(bytes), u64::from(self.geometry.block_size))
        else {
            return Status::BAD_BUFFER_SIZE;
        };
        if !bytes.is_multiple_of(block_size) {
            return Status::BAD_BUFFER_SIZE;
        }
        match lba.checked_add(bytes / block_size) {
            Some(end) if end <= self.geometry.blocks => status(transfer(&*device)),
            _ => Status::INVALID_PARAMETER,
        }
    }
}

/// The functions of the protocol.
#[derive(Clone, Copy)]
pub(super) struct Functions {
    pub(super) reset: unsafe extern "efiapi" fn(*mut BlockIoProtocol, Boolean) -> Status,
    pub(super) read_blocks:
        unsafe extern "efiapi" fn(*const BlockIoProtocol, u32, u64, usize, *mut c_void) -> Status,
    pub(super) write_blocks:
        unsafe extern "efiapi" fn(*mut BlockIoProtocol, u32, u64, usize, *const c_void) -> Status,
    pub(super) flush_blocks: unsafe extern "efiapi" fn(*mut BlockIoProtocol) -> Status,
}

const OURS: Functions = Functions {
    reset,
    read_blocks,
    write_blocks,
    flush_blocks,
};

fn protocol(media: *const BlockIoMedia, functions: Functions) -> BlockIoProtocol {
    BlockIoProtocol {
        revision: BlockIoProtocol::REVISION_3,
        media,
        reset: functions.reset,
        read_blocks: functions.read_blocks,
        write_blocks: functions.write_blocks,
        flush_blocks: functions.flush_blocks,
    }
}

/// The description of the medium (UEFI 2.10 section 13.9, `EFI_BLOCK_IO_MEDIA`).
fn media(geometry: Geometry) -> BlockIoMedia {
    BlockIoMedia {
        media_id: NEXT_MEDIA_ID.fetch_add(1, Ordering::Relaxed),
        removable_media: Boolean::from(false),
        media_present: Boolean::from(true),
        logical_partition: Boolean::from(false),
        read_only: Boolean::from(geometry.read_only),
        // The target may cache: what must stay is flushed.
        write_caching: Boolean::from(!geometry.read_only),
        block_size: geometry.block_size,
        // Buffers may be anywhere.
        io_align: 0,
        last_block: geometry.blocks.saturating_sub(1),
        lowest_aligned_lba: 0,
        logical_blocks_per_physical_block: geometry.physical_block_size
            / geometry.block_size.max(1),
        optimal_transfer_length_granularity: geometry.granularity,
    }
}

fn status(result: Result<(), BlockError>) -> Status {
    match result {
        Ok(()) => Status::SUCCESS,
        Err(BlockError::OutOfRange) => Status::INVALID_PARAMETER,
        Err(BlockError::ReadOnly) => Status::WRITE_PROTECTED,
        Err(BlockError::Device) => Status::DEVICE_ERROR,
    }
}

/// A reset has nothing to do: the session is kept alive by the boot logic.
unsafe extern "efiapi" fn reset(_: *mut BlockIoProtocol, _: Boolean) -> Status {
    Status::SUCCESS
}

unsafe extern "efiapi" fn read_blocks(
    this: *const BlockIoProtocol,
    media_id: u32,
    lba: u64,
    bytes: usize,
    buffer: *mut c_void,
) -> Status {
    // SAFETY: `this` is the pointer that was installed, to a `BlockIo` that lives for ever.
    let block_io = unsafe { &*this.cast::<BlockIo>() };
    block_io.transfer(media_id, lba, bytes, !buffer.is_null(), |device| {
        // SAFETY: the caller owns `bytes` bytes at `buffer` until this function returns, and the
        // pointer was checked not to be null.
        let buffer = unsafe { core::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes) };
        device.read(lba, buffer)
    })
}

unsafe extern "efiapi" fn write_blocks(
    this: *mut BlockIoProtocol,
    media_id: u32,
    lba: u64,
    bytes: usize,
    buffer: *const c_void,
) -> Status {
    // SAFETY: `this` is the pointer that was installed, to a `BlockIo` that lives for ever.
    let block_io = unsafe { &*this.cast::<BlockIo>() };
    block_io.transfer(media_id, lba, bytes, !buffer.is_null(), |device| {
        if block_io.geometry.read_only {
            return Err(BlockError::ReadOnly);
        }
        // SAFETY: the caller owns `bytes` bytes at `buffer` until this function returns, and the
        // pointer was checked not to be null.
        let data = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), bytes) };
        device.write(lba, data)
    })
}

unsafe extern "efiapi" fn flush_blocks(this: *mut BlockIoProtocol) -> Status {
    // SAFETY: `this` is the pointer that was installed, to a `BlockIo` that lives for ever.
    let block_io = unsafe { &*this.cast::<BlockIo>() };
    let Some(_entered) = gate::enter() else {
        return Status::DEVICE_ERROR;
    };
    match block_io.device.borrow().clone() {
        Some(device) => status(device.flush()),
        None => Status::NO_MEDIA,
    }
}
