//! What was put into sections of this image after it was linked.

use uefi::boot;
use uefi::proto::loaded_image::LoadedImage;

use crate::handles;

/// The content of the section `name` of this image, if it has one.
pub(crate) fn section(name: &str) -> Option<&'static [u8]> {
    let loaded = handles::peek::<LoadedImage>(boot::image_handle())?;
    let (base, size) = loaded.info();
    let size = usize::try_from(size).ok()?;
    if base.is_null() {
        return None;
    }
    // SAFETY: the firmware has loaded this image to `size` bytes at `base`, where it stays until
    // the program ends. The part that is used, a section that the linker did not make, is changed
    // by nobody.
    let image = unsafe { core::slice::from_raw_parts(base.cast::<u8>(), size) };
    bowline_pe::memory::section(image, name)
}
