//! Where the loader comes from: its load options, and the files beside it.

use alloc::string::String;
use alloc::vec::Vec;

use bowline_boot::platform::FirmwareError;
use bowline_loader::{device_path, load_options as options};
use uefi::proto::device_path::DevicePath;
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::file::{File, FileAttribute, FileInfo, FileMode, RegularFile};
use uefi::proto::media::fs::SimpleFileSystem;
use uefi::{CString16, Status, boot};

use crate::error::{firmware_error, of};
use crate::handles;

/// The text that the loader was started with.
pub(crate) fn load_options() -> Option<String> {
    let loaded = handles::peek::<LoadedImage>(boot::image_handle())?;
    options::text(loaded.load_options_as_bytes()?)
}

/// Reads a file of the loader's volume; `None` where there is no such file.
///
/// # Errors
/// The firmware's. The loader may come from no volume: from the network, or from memory.
pub(crate) fn read_file(path: &str) -> Result<Option<Vec<u8>>, FirmwareError> {
    let no_volume = || firmware_error("OpenVolume", Status::UNSUPPORTED);
    let (device, folder) = {
        let loaded = handles::peek::<LoadedImage>(boot::image_handle()).ok_or_else(no_volume)?;
        let folder = loaded
            .file_path()
            .map(DevicePath::as_bytes)
            .map(device_path::folder);
        (
            loaded.device().ok_or_else(no_volume)?,
            folder.unwrap_or_default(),
        )
    };
    let mut volume = handles::peek::<SimpleFileSystem>(device).ok_or_else(no_volume)?;
    let mut root = volume.open_volume().map_err(of("OpenVolume"))?;
    let path = match path.starts_with('\\') {
        true => String::from(path),
        false => folder + path,
    };
    let Ok(name) = CString16::try_from(path.as_str()) else {
        return Ok(None);
    };
    match root.open(&name, FileMode::Read, FileAttribute::empty()) {
        Ok(file) => file.into_regular_file().map(contents).transpose(),
        // What a firmware answers for a missing file, a missing directory and an empty one.
        Err(error) if [Status::NOT_FOUND, Status::NO_MEDIA].contains(&error.status()) => Ok(None),
        Err(error) => Err(of("EFI_FILE_PROTOCOL.Open")(error)),
    }
}

fn contents(mut file: RegularFile) -> Result<Vec<u8>, FirmwareError> {
    let info = file.get_boxed_info::<FileInfo>();
    let size = info.map_err(of("EFI_FILE_PROTOCOL.GetInfo"))?.file_size();
    let mut data = Vec::new();
    let too_big = |_| firmware_error("AllocatePool", Status::OUT_OF_RESOURCES);
    let size = usize::try_from(size).map_err(|_| too_big(()))?;
    data.try_reserve_exact(size).map_err(|_| too_big(()))?;
    data.resize(size, 0);
    let mut filled = 0;
    while let Some(rest) = data.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).map_err(of("EFI_FILE_PROTOCOL.Read"))? {
            0 => {
                return Err(firmware_error(
                    "EFI_FILE_PROTOCOL.Read",
                    Status::END_OF_FILE,
                ));
            }
            count => filled += count,
        }
    }
    Ok(data)
}
