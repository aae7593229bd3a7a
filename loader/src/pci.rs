//! Where a card is on the PCI bus, and what devices say of themselves there.

use alloc::vec;
use alloc::vec::Vec;

use bowline_loader::device_path::node;
use uefi::Status;
use uefi::boot;
use uefi::proto::device_path::DevicePath;
use uefi::proto::pci::PciIoAddress;
use uefi::proto::pci::root_bridge::PciRootBridgeIo;
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

/// Bytes of the configuration space of the device at this segment, bus, device and function, in 16,
/// 8, 5 and 3 bits. `None` where the firmware has no root bridge for it, as U-Boot has none.
pub(crate) fn configuration(device: u32, offset: u8, length: u8) -> Option<Vec<u8>> {
    let [.., bus, low] = device.to_be_bytes();
    let address = PciIoAddress::new(bus, low >> 3, low & 7).with_register(offset);
    let fits = usize::from(offset) + usize::from(length) <= 256;
    let bridges = boot::find_handles::<PciRootBridgeIo>().ok()?;
    let bridge = bridges
        .into_iter()
        .filter_map(handles::peek::<PciRootBridgeIo>)
        .find(|bridge| bridge.segment_nr() == device >> 16);
    let mut bridge = bridge.filter(|_| fits)?;
    let mut bytes = vec![0; usize::from(length)];
    bridge.pci().read(address, &mut bytes).ok()?;
    Some(bytes)
}
