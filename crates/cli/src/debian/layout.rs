//! Where the file systems of a disk image are.

use std::fmt::Debug;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use bowline_store::{Disk as _, Image};
use ext4_view::{Ext4, Ext4Read};
use gpt::GptConfig;
use gpt::partition_types::EFI;

/// A partition: bytes of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// As Linux counts: the 2 of `/dev/sda2`.
    pub(super) number: u32,
    pub(super) start: u64,
    pub(super) length: u64,
    /// EFI system partition.
    is_esp: bool,
}

/// A disk with an installed system.
#[derive(Debug)]
pub(super) struct Layout {
    image: Arc<Image>,
    /// By number.
    pub(super) partitions: Vec<Partition>,
}

impl Layout {
    /// Reads the partition table; `file` is for messages.
    pub(super) fn read(image: Arc<Image>, file: &Path) -> anyhow::Result<Self> {
        let whole = Window::new(&image, 0, image.len());
        let table = GptConfig::new()
            .writable(false)
            .open_from_device(whole)
            .map_err(|error| anyhow!("{}: no GUID partition table ({error})", file.display()))?;
        let block = table.logical_block_size().as_u64();
        let partitions = table.partitions().iter();
        let partitions = partitions
            .map(|(number, partition)| {
                let start = partition.first_lba.saturating_mul(block);
                let end = partition.last_lba.saturating_add(1).saturating_mul(block);
                Partition {
                    number: *number,
                    start,
                    length: end.saturating_sub(start),
                    is_esp: partition.part_type_guid == EFI,
                }
            })
            .collect();
        Ok(Self { image, partitions })
    }

    /// The EFI system partitions.
    pub(super) fn esps(&self) -> impl Iterator<Item = &Partition> {
        self.partitions.iter().filter(|partition| partition.is_esp)
    }

    /// The root file system and its partition.
    pub(super) fn root(&self) -> anyhow::Result<(&Partition, Ext4)> {
        let others = self.partitions.iter().filter(|partition| !partition.is_esp);
        let mut roots = others.filter_map(|partition| {
            let ext4 = Ext4::load(Box::new(self.window(partition))).ok()?;
            let is_root = ext4.exists("/etc/os-release").unwrap_or(false);
            is_root.then_some((partition, ext4))
        });
        roots
            .next_back()
            .context("no ext4 file system with an operating system: only such are looked into")
    }

    /// What is in a partition.
    pub(super) fn window(&self, partition: &Partition) -> Window {
        Window::new(&self.image, partition.start, partition.length)
    }
}

/// A part of a disk, for libraries that read files.
#[derive(Clone, Debug)]
pub(super) struct Window {
    image: Arc<Image>,
    start: u64,
    length: u64,
    position: u64,
}

impl Window {
    fn new(image: &Arc<Image>, start: u64, length: u64) -> Self {
        Self {
            image: image.clone(),
            start: start.min(image.len()),
            length: length.min(image.len().saturating_sub(start)),
            position: 0,
        }
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let length = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.image
            .read_at(self.start + self.position, &mut buffer[..length])
            .map_err(io::Error::other)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// The libraries ask for it, and never do it to what is only looked at.
impl Write for Window {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ext4Read for Window {
    fn read(
        &mut self,
        start: u64,
        to: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        self.seek(SeekFrom::Start(start))?;
        self.read_exact(to)?;
        Ok(())
    }
}
