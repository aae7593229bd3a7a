//! Where a card is on the PCI bus.

use bowline_loader::device_path::node;
use uefi::Status;
use uefi::boot;
use uefi::proto::device_path::DevicePath;
use uefi::proto::unsafe_protocol;

use crate::handles;

/// `EFI_PCI_IO_PROTOCOL` (UEFI 2.10 section 14.4), of which one function is called.
#[derive(Debug)]
#[repr(C)]
#[unsafe_protocol("4cf5b200-68b8-4ca5-9eec-b23e3f50029a")]
struct PciIo {
    /// From `PollMem` to `Flush`.
    others: [*const (); 14],
    get_location: unsafe extern "efiapi" fn(
        this: *const Self,
        segment: *mut usize,
        bus: *mut usize,
        device: *mut usize,
        function: *mut usize,
    ) -> Status,
}

/// Bus, device and function, in 8, 5 and 3 bits, of the PCI device on whose way the card is; its
/// device path is `card`, without end node. `None` where there is none, as on U-Boot.
pub(crate) fn location(card: &[u8]) -> Option<u16> {
    let path = [card, &node::END].concat();
    let mut path = <&DevicePath>::try_from(path.as_slice()).ok()?;
    let handle = boot::locate_device_path::<PciIo>(&mut path).ok()?;
    let pci = handles::peek::<PciIo>(handle)?;
    let (mut segment, mut bus, mut device, mut function) = (0, 0, 0, 0);
    // SAFETY: the protocol is that of the handle, and the four numbers are ours.
    let status = unsafe {
        (pci.get_location)(
            &raw const *pci,
            &raw mut segment,
            &raw mut bus,
            &raw mut device,
            &raw mut function,
        )
    };
    // The iBFT has no place for a segment.
    if status != Status::SUCCESS || segment != 0 {
        return None;
    }
    u16::try_from(bus << 8 | device << 3 | function).ok()
}
