//! Opens a disk by path, in whatever format it is, and makes sure that nobody else of us writes to
//! it.
//!
//! The lock is `flock` on the file: exclusive for a writable disk, shared for a read-only one and
//! for every image below another. It goes away with the process, however that ends, and it also
//! holds between two openings in one process. It is advisory: it keeps two Bowline servers, or two
//! targets of one, from tearing an image apart, not every other program.
//!
//! The format is never guessed from what is in the file: the machine that owns a raw disk can
//! write anything there, also the header of a format that points to other files. The name of the
//! file tells it, or the caller.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::overlay::OVERLAY_MAGIC;
use crate::{
    Backing, Disk, DiskError, Extent, Identity, OverlayDisk, OverlayError, Qcow2Disk, Qcow2Error,
    RawDisk, Storage, qcow2,
};

/// How a disk is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only. Others may read too.
    ReadOnly,
    /// Reads and writes, for one owner.
    ReadWrite,
}

/// How the bytes of a disk are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As they are.
    Raw,
    /// QEMU's format, with backing files.
    Qcow2,
    /// What one machine has written over a golden image: [`OverlayDisk`].
    Overlay,
}

impl Format {
    /// What the name of a file says: `.qcow2`, `.overlay`, and all else is raw.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("qcow2") => Self::Qcow2,
            Some("overlay") => Self::Overlay,
            _ => Self::Raw,
        }
    }
}

/// A disk that was opened by path.
#[derive(Debug)]
pub enum Image {
    /// A raw file or block device.
    Raw(RawDisk<File>),
    /// A qcow2 file.
    Qcow2(Box<Qcow2Disk<File>>),
    /// An overlay and its golden image.
    Overlay(Box<OverlayDisk<File>>),
}

/// Why a disk could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system would not open it.
    #[error("cannot open {}: {source}", path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than a file or a block device.
    #[error("{} is neither a file nor a block device", path.display())]
    NotADisk {
        /// What was found there.
        path: PathBuf,
    },
    /// Somebody has it open in a way that excludes us.
    #[error("{} is in use: another target or another bowline serves it", path.display())]
    InUse {
        /// The image.
        path: PathBuf,
    },
    /// The system would not say how long it is.
    #[error("cannot find the size of {}: {source}", path.display())]
    Length {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing in it.
    #[error("{} is empty: make it as large as the disk should be (truncate -s 8G {})", path.display(), path.display())]
    Empty {
        /// The image.
        path: PathBuf,
    },
    /// It begins like another format than its name says.
    #[error(
        "{} begins like a {found} image, but its name does not end in .{found}: \
         rename it, or say which format it has",
        path.display()
    )]
    Disguised {
        /// The image.
        path: PathBuf,
        /// What it looks like.
        found: &'static str,
    },
    /// It is no overlay, or a damaged one.
    #[error("cannot use the overlay {}: {source}", path.display())]
    Overlay {
        /// The overlay.
        path: PathBuf,
        /// What is wrong with it.
        source: OverlayError,
    },
    /// What an overlay was made on is not what it was.
    #[error(
        "the golden image {} is not as it was when the overlay {} was made on it ({change}): \
         put the old one back, or start the overlay anew (bowline overlay reset)",
        golden.display(),
        path.display()
    )]
    GoldenChanged {
        /// The overlay.
        path: PathBuf,
        /// The golden image.
        golden: PathBuf,
        /// By what that was seen.
        change: &'static str,
    },
    /// A golden image could not be read to know it again.
    #[error("cannot read the golden image {}: {source}", path.display())]
    Golden {
        /// The golden image.
        path: PathBuf,
        /// What happened.
        source: DiskError,
    },
    /// It is no qcow2 image, or a damaged one, or one with parts we do not know.
    #[error("cannot use the qcow2 image {}: {source}", path.display())]
    Qcow2 {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        source: Qcow2Error,
    },
    /// Images below images without end.
    #[error("{} has more than {MAX_DEPTH} images below it, or is below itself", path.display())]
    TooDeep {
        /// The image at which we stopped.
        path: PathBuf,
    },
}

/// Opens the disk at `path` in the format that its name tells, and locks it.
pub fn open(path: &Path, access: Access) -> Result<Image, OpenError> {
    let format = Format::of(path);
    if format == Format::Raw {
        refuse_disguise(path)?;
    }
    open_as(path, format, access)
}

/// Opens the disk at `path` in the given format, and locks it.
pub fn open_as(path: &Path, format: Format, access: Access) -> Result<Image, OpenError> {
    open_at_depth(path, format, access, 0)
}

/// The length in bytes of the disk at `path`, after seeing that it and what it is on could be
/// opened, whoever has it now.
pub fn probe(path: &Path, access: Access) -> Result<u64, OpenError> {
    let format = Format::of(path);
    if format == Format::Raw {
        refuse_disguise(path)?;
    }
    let (file, len) = open_unlocked(path, access)?;
    match format {
        Format::Raw => Ok(len),
        Format::Qcow2 => {
            let header = qcow2::read_header(&file).map_err(of_qcow2(path))?;
            open_backing(path, &file, 0)?;
            Ok(header.disk_len)
        }
        Format::Overlay => {
            open_golden(path, &file, 0)?;
            let (_, disk_len) = OverlayDisk::describe(&file).map_err(of_overlay(path))?;
            Ok(disk_len)
        }
    }
}

fn open_at_depth(
    path: &Path,
    format: Format,
    access: Access,
    depth: usize,
) -> Result<Image, OpenError> {
    if depth > MAX_DEPTH {
        return Err(OpenError::TooDeep { path: path.into() });
    }
    let (file, len) = open_locked(path, access)?;
    let read_only = access == Access::ReadOnly;
    Ok(match format {
        Format::Raw => Image::Raw(RawDisk::new(file, len, read_only)),
        Format::Overlay => Image::Overlay(Box::new(open_overlay(path, file, read_only, depth)?)),
        Format::Qcow2 => {
            let below = open_backing(path, &file, depth)?;
            let opened = if read_only {
                Qcow2Disk::open_read_only(file, open_journal(path, access)?, below)
            } else if let Some(journal) = open_journal(path, access)? {
                Qcow2Disk::open(file, journal, below)
            } else {
                return Err(OpenError::Open {
                    path: journal_path(path),
                    source: io::ErrorKind::NotFound.into(),
                });
            };
            Image::Qcow2(Box::new(opened.map_err(of_qcow2(path))?))
        }
    })
}

fn open_overlay(
    path: &Path,
    file: File,
    read_only: bool,
    depth: usize,
) -> Result<OverlayDisk<File>, OpenError> {
    let golden = open_golden(path, &file, depth)?;
    OverlayDisk::open(file, Arc::new(golden), read_only).map_err(of_overlay(path))
}

/// Opens what the overlay in `file` is on, and sees that it is still the same.
fn open_golden(path: &Path, file: &File, depth: usize) -> Result<Image, OpenError> {
    let (golden, _) = OverlayDisk::describe(file).map_err(of_overlay(path))?;
    let golden_path = beside(path, &golden.path);
    let disk = open_at_depth(&golden_path, golden.format, Access::ReadOnly, depth + 1)?;
    let now = identify(&golden_path, &disk)?;
    if let Some(change) = golden.identity.change(&now) {
        return Err(OpenError::GoldenChanged {
            path: path.into(),
            golden: golden_path,
            change,
        });
    }
    Ok(disk)
}

/// By what the golden image at `path`, which is open as `disk`, is known again.
pub(crate) fn identify(path: &Path, disk: &Image) -> Result<Identity, OpenError> {
    let metadata = std::fs::metadata(path).map_err(|source| OpenError::Open {
        path: path.into(),
        source,
    })?;
    let modified = if metadata.is_file() {
        let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        (metadata.mtime(), nanoseconds)
    } else {
        // The time of a device file is not that of what is on the device.
        (0, 0)
    };
    Identity::of(disk, modified).map_err(|source| OpenError::Golden {
        path: path.into(),
        source,
    })
}

/// Opens what is below a qcow2 image. Its format must be written there.
fn open_backing(
    path: &Path,
    file: &File,
    depth: usize,
) -> Result<Option<Backing<File>>, OpenError> {
    let header = qcow2::read_header(file).map_err(of_qcow2(path))?;
    let Some((name, format)) = header.backing else {
        return Ok(None);
    };
    let below = beside(path, Path::new(&name));
    if depth >= MAX_DEPTH {
        return Err(OpenError::TooDeep { path: below });
    }
    let (file, _) = open_locked(&below, Access::ReadOnly)?;
    let backing = match format.as_deref() {
        Some("raw" | "file") => Backing::raw(file),
        Some("qcow2") => {
            let next = open_backing(&below, &file, depth + 1)?;
            Backing::qcow2(file, open_journal(&below, Access::ReadOnly)?, next)
        }
        _ => return Err(of_qcow2(path)(Qcow2Error::BackingFormat)),
    };
    Ok(Some(backing.map_err(of_qcow2(&below))?))
}

/// Opens the journal of the qcow2 image at `path`, and makes it if it may be needed.
fn open_journal(path: &Path, access: Access) -> Result<Option<File>, OpenError> {
    let path = journal_path(path);
    let writable = access == Access::ReadWrite;
    let mut options = OpenOptions::new();
    options.read(true).write(writable).create(writable);
    match options.truncate(false).open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if !writable && error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Open { path, source }),
    }
}

fn journal_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".journal");
    name.into()
}

/// `path`, which is relative to the directory of `of`.
fn beside(of: &Path, path: &Path) -> PathBuf {
    of.parent().unwrap_or(Path::new("")).join(path)
}

/// Opens and locks, and sees that the file is still the one of that name: it may have been
/// replaced before we had the lock.
pub(crate) fn open_locked(path: &Path, access: Access) -> Result<(File, u64), OpenError> {
    open_and_lock(
        path,
        access,
        match access {
            Access::ReadOnly => File::try_lock_shared,
            Access::ReadWrite => File::try_lock,
        },
    )
}

/// Opens for reading and keeps even other readers out.
pub(crate) fn open_alone(path: &Path) -> Result<File, OpenError> {
    open_and_lock(path, Access::ReadOnly, File::try_lock).map(|(file, _)| file)
}

fn open_and_lock(
    path: &Path,
    access: Access,
    lock: fn(&File) -> Result<(), TryLockError>,
) -> Result<(File, u64), OpenError> {
    let opened = |source| OpenError::Open {
        path: path.into(),
        source,
    };
    let mut tries = 0;
    loop {
        let (file, len) = open_unlocked(path, access)?;
        match lock(&file) {
            Ok(()) => {}
            // Somebody may only be looking whether it is in use.
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                tries += 1;
                std::thread::sleep(LOCK_PAUSE);
                continue;
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.into() }),
            Err(TryLockError::Error(source)) => return Err(opened(source)),
        }
        let identity = |metadata: &Metadata| (metadata.dev(), metadata.ino());
        let here = file.metadata().map_err(opened)?;
        let there = std::fs::metadata(path).map_err(opened)?;
        if identity(&here) == identity(&there) {
            return Ok((file, len));
        }
    }
}

fn open_unlocked(path: &Path, access: Access) -> Result<(File, u64), OpenError> {
    let opened = |source| OpenError::Open {
        path: path.into(),
        source,
    };
    // Asked by path first: opening a FIFO would wait for its other end.
    let kind = std::fs::metadata(path).map_err(opened)?.file_type();
    if !(kind.is_file() || kind.is_block_device()) {
        return Err(OpenError::NotADisk { path: path.into() });
    }
    let writable = access == Access::ReadWrite;
    let file = OpenOptions::new()
        .read(true)
        .write(writable)
        .open(path)
        .map_err(opened)?;
    let len = Storage::len(&file).map_err(|source| OpenError::Length {
        path: path.into(),
        source,
    })?;
    if len == 0 {
        return Err(OpenError::Empty { path: path.into() });
    }
    Ok((file, len))
}

/// Refuses a raw image that looks like something else: most likely it is.
fn refuse_disguise(path: &Path) -> Result<(), OpenError> {
    let (file, len) = open_unlocked(path, Access::ReadOnly)?;
    let mut magic = [0; 8];
    if len < magic.len() as u64 || file.read_exact_at(&mut magic, 0).is_err() {
        return Ok(());
    }
    let found = if magic == OVERLAY_MAGIC {
        "overlay"
    } else if magic.starts_with(&qcow2::MAGIC.to_be_bytes()) {
        "qcow2"
    } else {
        return Ok(());
    };
    let path = path.into();
    Err(OpenError::Disguised { path, found })
}

fn of_overlay(path: &Path) -> impl FnOnce(OverlayError) -> OpenError {
    move |source| OpenError::Overlay {
        path: path.into(),
        source,
    }
}

fn of_qcow2(path: &Path) -> impl FnOnce(Qcow2Error) -> OpenError {
    move |source| OpenError::Qcow2 {
        path: path.into(),
        source,
    }
}

impl Image {
    fn disk(&self) -> &dyn Disk {
        match self {
            Self::Raw(disk) => disk,
            Self::Qcow2(disk) => &**disk,
            Self::Overlay(disk) => &**disk,
        }
    }
}

impl Disk for Image {
    fn len(&self) -> u64 {
        self.disk().len()
    }
    fn read_only(&self) -> bool {
        self.disk().read_only()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        self.disk().read_at(offset, buffer)
    }
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> bool {
        self.disk().read_now(offset, buffer)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        self.disk().write_at(offset, data)
    }
    fn flush(&self) -> Result<(), DiskError> {
        self.disk().flush()
    }
    fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.disk().write_zeroes(offset, len)
    }
    fn discard(&self, offset: u64, len: u64) -> Result<(), DiskError> {
        self.disk().discard(offset, len)
    }
    fn discard_granularity(&self) -> Option<u32> {
        self.disk().discard_granularity()
    }
    fn extent(&self, offset: u64) -> Result<Extent, DiskError> {
        self.disk().extent(offset)
    }
}

const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// How many images may be below one another.
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests;
