//! The file systems that the firmware found on a published disk.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bowline_boot::platform::{BootFile, StartError};
use bowline_loader::{device_path, fat};
use uefi::boot;
use uefi::proto::device_path::DevicePath;
use uefi::proto::media::block::BlockIO;
use uefi::proto::media::file::{
    Directory, File, FileAttribute, FileMode, FileSystemInfo, FileSystemVolumeLabel,
};
use uefi::proto::media::fs::SimpleFileSystem;
use uefi::{CString16, Handle, Status};

use crate::{error, gate, handles};

/// A handle with a Simple File System.
#[derive(Debug)]
pub(super) struct FileSystem {
    handle: Handle,
    path: Vec<u8>,
}

/// The file systems whose device path begins with that of `disk`.
pub(super) fn on(disk: &[u8]) -> Vec<FileSystem> {
    boot::find_handles::<SimpleFileSystem>()
        .unwrap_or_default()
        .into_iter()
        .filter_map(|handle| {
            let path = handles::peek::<DevicePath>(handle)?.as_bytes().to_vec();
            device_path::is_on(&path, disk).then_some(FileSystem { handle, path })
        })
        .collect()
}

/// The device path of `filename` on the first file system of `disk` that has it and is as `file`
/// says.
pub(super) fn find(disk: &[u8], filename: &str, file: &BootFile) -> Result<Vec<u8>, StartError> {
    let filename = normalise(filename);
    let mut file_systems = on(disk);
    if file_systems.is_empty() {
        return Err(StartError::NoFileSystem);
    }
    file_systems.retain(|file_system| file_system.is_asked_for(file));
    let extra = file.extra.as_deref().map(normalise);
    let mut failed = None;
    for file_system in &file_systems {
        let found = file_system.look_for(&filename);
        let found = found.and_then(|()| match &extra {
            Some(extra) => file_system.look_for(extra),
            None => Ok(()),
        });
        match found {
            Ok(()) => return Ok(device_path::file(&file_system.path, &filename)),
            // What a firmware answers for a missing file, a missing directory and an empty one.
            Err(Status::NOT_FOUND | Status::NO_MEDIA) => {}
            Err(status) => failed = Some(status),
        }
    }
    // A file system that could not be read may well have the file.
    Err(match failed {
        Some(status) => StartError::Load(error::firmware_error("EFI_FILE_PROTOCOL.Open", status)),
        None => StartError::NoFile {
            filename,
            searched: file_systems.iter().map(FileSystem::label).collect(),
        },
    })
}

/// A path from the root, with the separators of UEFI.
fn normalise(filename: &str) -> String {
    let filename = filename.replace('/', "\\");
    if filename.starts_with('\\') {
        filename
    } else {
        format!("\\{filename}")
    }
}

impl FileSystem {
    /// What to call it: its volume label, or its partition where the firmware does not tell one.
    pub(super) fn label(&self) -> String {
        self.volume_label()
            .filter(|label| !label.trim().is_empty())
            .unwrap_or_else(|| match device_path::partition(&self.path) {
                Some(number) => format!("partition {number}"),
                None => "whole disk".to_string(),
            })
    }

    fn is_asked_for(&self, file: &BootFile) -> bool {
        let partition = file.partition;
        let is_partition = partition.is_none_or(|partition| {
            device_path::partition_identifier(&self.path) == Some(partition)
        });
        let has_label = file.label.as_ref().is_none_or(|label| {
            let ours = self.volume_label();
            ours.is_some_and(|ours| ours.trim().eq_ignore_ascii_case(label))
        });
        is_partition && has_label
    }

    fn volume_label(&self) -> Option<String> {
        let told = self.told_label().filter(|label| !label.trim().is_empty());
        told.or_else(|| fat::volume_label(&self.first_block()?))
    }

    /// As the firmware tells it.
    fn told_label(&self) -> Option<String> {
        let mut root = self.root().ok()?;
        // U-Boot and EDK2 both know the first kind; the label of U-Boot is always empty.
        let info = gate::lend(|| root.get_boxed_info::<FileSystemInfo>());
        if let Ok(info) = info {
            return Some(info.volume_label().to_string());
        }
        let label = gate::lend(|| root.get_boxed_info::<FileSystemVolumeLabel>()).ok()?;
        Some(label.volume_label().to_string())
    }

    fn first_block(&self) -> Option<Vec<u8>> {
        let mut block_io = handles::peek::<BlockIO>(self.handle)?;
        let (media_id, length) = (block_io.media().media_id(), block_io.media().block_size());
        let mut block = vec![0; usize::try_from(length).ok()?];
        gate::lend(|| block_io.read_blocks(media_id, 0, &mut block)).ok()?;
        Some(block)
    }

    fn look_for(&self, filename: &str) -> Result<(), Status> {
        let name = CString16::try_from(filename).map_err(|_| Status::NOT_FOUND)?;
        let mut root = self.root()?;
        gate::lend(|| {
            let file = root.open(&name, FileMode::Read, FileAttribute::empty());
            file.map(drop).map_err(|error| error.status())
        })
    }

    fn root(&self) -> Result<Directory, Status> {
        let mut protocol =
            handles::peek::<SimpleFileSystem>(self.handle).ok_or(Status::UNSUPPORTED)?;
        gate::lend(|| protocol.open_volume()).map_err(|error| error.status())
    }
}
