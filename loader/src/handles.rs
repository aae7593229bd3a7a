//! Looking at handles of the firmware without taking anything from anyone.

use uefi::Handle;
use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::ProtocolPointer;

/// Opens a protocol of `handle` for a look, if the handle has it.
///
/// The result is to be dropped before anything is called that may uninstall the protocol:
/// connecting, disconnecting, publishing a disk or starting an image.
pub(crate) fn peek<P: ProtocolPointer + ?Sized>(handle: Handle) -> Option<ScopedProtocol<P>> {
    let parameters = OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // SAFETY: the callers keep the interface for a few calls of its own functions, none of which
    // uninstalls it (see above).
    let protocol =
        unsafe { boot::open_protocol::<P>(parameters, OpenProtocolAttributes::GetProtocol) }
            .ok()?;
    // Some protocols may be installed without an interface, which is of no use here.
    protocol.get().is_some().then_some(protocol)
}
