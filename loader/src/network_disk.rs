//! The network disk that whoever started us has hooked.

use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::media::block::BlockIO;

/// It is the first disk of at least this size: the loader's own is smaller.
const DISK_BYTES_MIN: u64 = 256 << 20;

/// Opens it, if there is one.
pub(crate) fn find() -> Option<ScopedProtocol<BlockIO>> {
    let handles = boot::find_handles::<BlockIO>().ok()?;
    handles.into_iter().find_map(|handle| {
        let parameters = OpenProtocolParams {
            handle,
            agent: boot::image_handle(),
            controller: None,
        };
        // SAFETY: used in this one thread; whoever published the disk keeps it while
        // what it started runs.
        let disk = unsafe {
            boot::open_protocol::<BlockIO>(parameters, OpenProtocolAttributes::GetProtocol)
        };
        disk.ok().filter(|disk| {
            let media = disk.media();
            let bytes = (media.last_block() + 1) * u64::from(media.block_size());
            media.is_media_present() && !media.is_logical_partition() && bytes >= DISK_BYTES_MIN
        })
    })
}
