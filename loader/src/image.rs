//! Images: our own, and those that are loaded and started.

use alloc::vec::Vec;

use bowline_boot::packed::SECTION;
use bowline_boot::platform::StartError;
use uefi::boot::{self, LoadImageSource};
use uefi::proto::BootPolicy;
use uefi::proto::device_path::DevicePath;
use uefi::proto::loaded_image::LoadedImage;
use uefi::{CString16, Handle, Status};

use crate::error::{self, firmware_error};
use crate::hooks::Hooks;
use crate::{gate, handles, sections};

/// The packed configuration of this image; empty where there is none.
pub(crate) fn packed() -> &'static [u8] {
    sections::section(SECTION).unwrap_or_default()
}

/// Loads the file at the full device path `path` and starts it.
pub(crate) fn start_file(path: &[u8], hooks: &Hooks) -> Result<(), StartError> {
    let path = device_path(path)?;
    let source = LoadImageSource::FromDevicePath {
        device_path: path,
        boot_policy: BootPolicy::ExactMatch,
    };
    start(load(source)?, Some(hooks))
}

/// Loads `image` from memory, as if it came from the full device path `path`, and starts it with
/// `load_options`; without `hooks`, nothing is done in the background.
pub(crate) fn start_memory(
    image: &[u8],
    path: &[u8],
    load_options: &str,
    hooks: Option<&Hooks>,
) -> Result<(), StartError> {
    let handle = load(LoadImageSource::FromBuffer {
        buffer: image,
        file_path: Some(device_path(path)?),
    })?;
    let _kept_until_the_image_returns = set_load_options(handle, load_options)?;
    start(handle, hooks)
}

fn device_path(bytes: &[u8]) -> Result<&DevicePath, StartError> {
    <&DevicePath>::try_from(bytes)
        .map_err(|_| StartError::Load(firmware_error("LoadImage", Status::INVALID_PARAMETER)))
}

fn load(source: LoadImageSource<'_>) -> Result<Handle, StartError> {
    gate::lend(|| boot::load_image(boot::image_handle(), source))
        .map_err(|refused| StartError::Load(error::of("LoadImage")(refused)))
}

/// Gives the loaded image its command line, which the caller has to keep while it runs.
fn set_load_options(handle: Handle, text: &str) -> Result<Vec<u16>, StartError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let refused = |status| StartError::Load(firmware_error("HandleProtocol", status));
    let text = CString16::try_from(text).map_err(|_| refused(Status::INVALID_PARAMETER))?;
    let units: Vec<u16> = text.to_u16_slice_with_nul().to_vec();
    let size = u32::try_from(units.len() * 2).map_err(|_| refused(Status::INVALID_PARAMETER))?;
    let mut loaded = handles::peek::<LoadedImage>(handle).ok_or(refused(Status::UNSUPPORTED))?;
    // SAFETY: the caller keeps the text until the image has returned.
    unsafe { loaded.set_load_options(units.as_ptr().cast(), size) };
    Ok(units)
}

fn start(handle: Handle, hooks: Option<&Hooks>) -> Result<(), StartError> {
    let start = || boot::start_image(handle);
    let started = match hooks {
        Some(hooks) => hooks.run(start),
        None => gate::lend(start),
    };
    started.map_err(|error| StartError::Exited(firmware_error("StartImage", error.status())))
}
