//! The managed images: golden images, the overlays of machines on them, and snapshots of those.
//!
//! ```text
//! ROOT/.lock                           held, shared, by whoever changes something
//! ROOT/images/NAME/disk.img            a golden image: raw, sparse, read-only
//! ROOT/images/NAME/image.toml          where it came from
//! ROOT/overlays/MACHINE.overlay        what a machine wrote
//! ROOT/overlays/MACHINE@LABEL.overlay  a snapshot of that
//! ```
//!
//! Whatever is made is made under a name that begins with `.new-`, synced, and then renamed, so
//! that a crash leaves the old or the new and nothing between. Golden images are kept raw, so that
//! all machines on one share its pages in the page cache.

mod copy;
mod error;
mod leave;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use error::LibraryError;
use error::{at, of_disk, of_overlay};

use crate::open::{identify, open_alone, open_locked};
use crate::{Access, Format, Golden, Image, OpenError, OverlayDisk, open_as, qcow2};
use copy::copy_sparse;
use leave::leave;

/// A directory of images and overlays.
#[derive(Clone, Debug)]
pub struct Library {
    root: PathBuf,
}

/// A golden image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Its name.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// Length of the disk in bytes.
    pub len: u64,
    /// How many bytes it takes on the disk below.
    pub used: u64,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a golden image came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The file that was imported, or the overlay that was committed.
    pub source: String,
    /// When, in seconds since 1970.
    pub created: u64,
}

/// The overlay of a machine, or a snapshot of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayInfo {
    /// Its name; that of the machine's overlay if it is a snapshot.
    pub name: String,
    /// The label of a snapshot.
    pub snapshot: Option<String>,
    /// Its file.
    pub path: PathBuf,
    /// The golden image that it is on, as a path.
    pub golden: PathBuf,
    /// Length of the disk in bytes.
    pub len: u64,
    /// How many bytes it takes on the disk below.
    pub used: u64,
    /// Whether somebody has it open.
    pub in_use: bool,
}

/// Told how many bytes of how many are done.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Library {
    /// The library at `root`; makes the directories, and tidies up what a crash has left.
    pub fn open(root: &Path) -> Result<Self, LibraryError> {
        let library = Self { root: root.into() };
        for directory in [library.images_dir(), library.overlays_dir()] {
            fs::create_dir_all(&directory).map_err(at("make", &directory))?;
        }
        let lock = library.lock_file()?;
        // Only if nobody is at work here.
        if lock.try_lock().is_ok() {
            library.tidy(&library.images_dir())?;
            library.tidy(&library.overlays_dir())?;
        }
        Ok(library)
    }

    /// All golden images, by name.
    pub fn images(&self) -> Result<Vec<ImageInfo>, LibraryError> {
        let names = list(&self.images_dir())?;
        names.iter().map(|name| self.image(name)).collect()
    }

    /// The golden image of that name.
    pub fn image(&self, name: &str) -> Result<ImageInfo, LibraryError> {
        check_name(name)?;
        let path = self.image_path(name);
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let known = list(&self.images_dir())?;
                return Err(LibraryError::no_image(name, &known));
            }
            metadata => metadata.map_err(at("read", &path))?,
        };
        let about = self.images_dir().join(name).join(ABOUT);
        let text = fs::read_to_string(&about).map_err(at("read", &about))?;
        let origin = toml::from_str(&text).map_err(|error| LibraryError::About {
            path: about,
            message: error.to_string(),
        })?;
        Ok(ImageInfo {
            name: name.into(),
            path,
            len: metadata.len(),
            used: metadata.blocks() * 512,
            origin,
        })
    }

    /// Copies the disk at `source` to a new golden image. Without a format, its name tells it.
    pub fn import(
        &self,
        name: &str,
        source: &Path,
        format: Option<Format>,
        progress: Progress<'_>,
    ) -> Result<ImageInfo, LibraryError> {
        refuse_foreign_backing(source, format.unwrap_or_else(|| Format::of(source)))?;
        let disk = match format {
            Some(format) => open_as(source, format, Access::ReadOnly)?,
            None => crate::open(source, Access::ReadOnly)?,
        };
        self.make_image(name, &disk, source, source.display().to_string(), progress)
    }

    /// Copies what a machine sees, golden image and overlay together, to a new golden image.
    pub fn commit(
        &self,
        overlay: &str,
        image: &str,
        progress: Progress<'_>,
    ) -> Result<ImageInfo, LibraryError> {
        let path = self.existing_overlay(overlay, None)?;
        let disk = open_as(&path, Format::Overlay, Access::ReadOnly)?;
        self.make_image(image, &disk, &path, format!("overlay {overlay}"), progress)
    }

    /// Removes a golden image on which there are no overlays.
    pub fn remove_image(&self, name: &str) -> Result<(), LibraryError> {
        let image = self.image(name)?;
        let overlays = self.overlays()?;
        if let Some(overlay) = overlays.iter().find(|overlay| overlay.golden == image.path) {
            return Err(LibraryError::HasOverlays {
                image: name.into(),
                overlay: overlay.name.clone(),
            });
        }
        let _lock = self.shared_lock()?;
        let doomed = self.new_path(&self.images_dir(), name);
        let directory = self.images_dir().join(name);
        // Nobody may read it now; whoever comes later does not find it.
        let file = open_alone(&image.path)?;
        fs::rename(&directory, &doomed).map_err(at("rename", &directory))?;
        sync_dir(&self.images_dir())?;
        fs::remove_dir_all(&doomed).map_err(at("remove", &doomed))?;
        leave(file);
        Ok(())
    }

    /// All overlays and snapshots, by name.
    pub fn overlays(&self) -> Result<Vec<OverlayInfo>, LibraryError> {
        let names = list(&self.overlays_dir())?;
        let stems = names
            .iter()
            .filter_map(|name| name.strip_suffix(".overlay"));
        let split = stems.map(|stem| match stem.split_once('@') {
            Some((name, label)) => (name, Some(label)),
            None => (stem, None),
        });
        split
            .map(|(name, label)| self.overlay(name, label))
            .collect()
    }

    /// The overlay of that name, or its snapshot of that label.
    pub fn overlay(&self, name: &str, label: Option<&str>) -> Result<OverlayInfo, LibraryError> {
        let path = self.existing_overlay(name, label)?;
        let file = File::open(&path).map_err(at("open", &path))?;
        let metadata = file.metadata().map_err(at("read", &path))?;
        let (golden, len) = OverlayDisk::describe(&file).map_err(of_overlay(&path))?;
        Ok(OverlayInfo {
            name: name.into(),
            snapshot: label.map(Into::into),
            golden: self.golden_path(&golden),
            len,
            used: metadata.blocks() * 512,
            in_use: file.try_lock().is_err(),
            path,
        })
    }

    /// Makes the overlay `overlay` on the golden image `image`. The disk may be larger than that.
    pub fn create_overlay(
        &self,
        overlay: &str,
        image: &str,
        len: Option<u64>,
    ) -> Result<OverlayInfo, LibraryError> {
        check_name(overlay)?;
        let _lock = self.shared_lock()?;
        let new = self.new_overlay(overlay, image, len)?;
        new.publish(&self.overlay_path(overlay, None), "overlay", overlay)?;
        self.overlay(overlay, None)
    }

    /// Forgets all that a machine wrote. It is put on `image` if that is given, or else on the
    /// image it was on, as that is now.
    pub fn reset(&self, overlay: &str, image: Option<&str>) -> Result<OverlayInfo, LibraryError> {
        let path = self.existing_overlay(overlay, None)?;
        let _lock = self.shared_lock()?;
        let (old, _) = open_locked(&path, Access::ReadWrite)?;
        let described = OverlayDisk::describe(&old);
        let image = match (image, &described) {
            (Some(image), _) => image.to_owned(),
            (None, Ok((golden, _))) => self.image_of(golden)?,
            (None, Err(_)) => {
                described.map_err(of_overlay(&path))?;
                return Err(LibraryError::no_image("", &[]));
            }
        };
        let len = described.ok().map(|(_, len)| len);
        let len = len.filter(|len| self.image(&image).is_ok_and(|image| image.len <= *len));
        self.new_overlay(overlay, &image, len)?.replace(&path)?;
        leave(old);
        self.overlay(overlay, None)
    }

    /// Keeps what a machine has written so far under a label. Nobody may be writing.
    pub fn snapshot(&self, overlay: &str, label: &str) -> Result<OverlayInfo, LibraryError> {
        check_name(label)?;
        let path = self.existing_overlay(overlay, None)?;
        let _lock = self.shared_lock()?;
        let new = self.copy_overlay(overlay, &path)?;
        new.publish(&self.overlay_path(overlay, Some(label)), "snapshot", label)?;
        self.overlay(overlay, Some(label))
    }

    /// Puts a machine back to a snapshot, which stays.
    pub fn restore(&self, overlay: &str, label: &str) -> Result<OverlayInfo, LibraryError> {
        let path = self.existing_overlay(overlay, None)?;
        let snapshot = self.existing_overlay(overlay, Some(label))?;
        let _lock = self.shared_lock()?;
        let (old, _) = open_locked(&path, Access::ReadWrite)?;
        self.copy_overlay(overlay, &snapshot)?.replace(&path)?;
        leave(old);
        self.overlay(overlay, None)
    }

    /// Removes an overlay, or one of its snapshots. Nobody may have it open.
    pub fn remove_overlay(&self, overlay: &str, label: Option<&str>) -> Result<(), LibraryError> {
        let path = self.existing_overlay(overlay, label)?;
        let (old, _) = open_locked(&path, Access::ReadWrite)?;
        fs::remove_file(&path).map_err(at("remove", &path))?;
        leave(old);
        sync_dir(&self.overlays_dir())
    }

    /// The file of a golden image.
    pub fn image_path(&self, name: &str) -> PathBuf {
        self.images_dir().join(name).join(DISK)
    }

    /// The file of an overlay, or of one of its snapshots.
    pub fn overlay_path(&self, name: &str, label: Option<&str>) -> PathBuf {
        let name = match label {
            Some(label) => format!("{name}@{label}.overlay"),
            None => format!("{name}.overlay"),
        };
        self.overlays_dir().join(name)
    }

    fn make_image(
        &self,
        name: &str,
        disk: &Image,
        path: &Path,
        source: String,
        progress: Progress<'_>,
    ) -> Result<ImageInfo, LibraryError> {
        check_name(name)?;
        let _lock = self.shared_lock()?;
        let new = New(self.new_path(&self.images_dir(), name));
        fs::create_dir(&new.0).map_err(at("make", &new.0))?;
        let file_path = new.0.join(DISK);
        let file = create(&file_path)?;
        copy_sparse(disk, &file, progress).map_err(|error| error.at(path, &file_path))?;
        let read_only = fs::Permissions::from_mode(0o444);
        file.set_permissions(read_only)
            .and_then(|()| file.sync_all())
            .map_err(at("finish", &file_path))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let origin = Origin {
            source,
            created: now.map_or(0, |now| now.as_secs()),
        };
        let about = new.0.join(ABOUT);
        let text = toml::to_string(&origin).map_err(|error| LibraryError::About {
            path: about.clone(),
            message: error.to_string(),
        })?;
        fs::write(&about, text)
            .and_then(|()| File::open(&about)?.sync_all())
            .map_err(at("write", &about))?;
        sync_dir(&new.0)?;
        new.publish(&self.images_dir().join(name), "image", name)?;
        self.image(name)
    }

    /// Writes an empty overlay on `image` under a name that nobody looks at.
    fn new_overlay(&self, name: &str, image: &str, len: Option<u64>) -> Result<New, LibraryError> {
        let image = self.image(image)?;
        let len = len.unwrap_or(image.len);
        if len < image.len {
            return Err(LibraryError::Smaller {
                image: image.name,
                image_len: image.len,
                len,
            });
        }
        let golden = self.golden(&image)?;
        let new = New(self.new_path(&self.overlays_dir(), name));
        OverlayDisk::create(&create(&new.0)?, len, golden).map_err(of_overlay(&new.0))?;
        Ok(new)
    }

    fn copy_overlay(&self, name: &str, source: &Path) -> Result<New, LibraryError> {
        let Image::Overlay(disk) = open_as(source, Format::Overlay, Access::ReadOnly)? else {
            return Err(LibraryError::no_overlay(name));
        };
        let (golden, _) = File::open(source)
            .map_err(at("open", source))
            .and_then(|file| OverlayDisk::describe(&file).map_err(of_overlay(source)))?;
        let new = New(self.new_path(&self.overlays_dir(), name));
        disk.copy_to(&create(&new.0)?, golden)
            .map_err(of_overlay(&new.0))?;
        Ok(new)
    }

    fn golden(&self, image: &ImageInfo) -> Result<Golden, LibraryError> {
        let disk = open_as(&image.path, Format::Raw, Access::ReadOnly)?;
        Ok(Golden {
            // Relative, so that the library may be moved as a whole.
            path: Path::new("..").join(IMAGES).join(&image.name).join(DISK),
            format: Format::Raw,
            identity: identify(&image.path, &disk)?,
        })
    }

    fn golden_path(&self, golden: &Golden) -> PathBuf {
        match golden.path.strip_prefix("..") {
            Ok(inside) => self.root.join(inside),
            Err(_) => self.overlays_dir().join(&golden.path),
        }
    }

    /// The name of the image that an overlay is on.
    fn image_of(&self, golden: &Golden) -> Result<String, LibraryError> {
        let path = self.golden_path(golden);
        let images = self.images()?;
        let image = images.iter().find(|image| image.path == path);
        let image = image.map(|image| image.name.clone());
        image.ok_or_else(|| {
            let known: Vec<String> = images.into_iter().map(|image| image.name).collect();
            LibraryError::no_image(&path.display().to_string(), &known)
        })
    }

    fn existing_overlay(&self, name: &str, label: Option<&str>) -> Result<PathBuf, LibraryError> {
        check_name(name)?;
        label.map_or(Ok(()), check_name)?;
        let path = self.overlay_path(name, label);
        if path.exists() {
            return Ok(path);
        }
        Err(match label {
            None => LibraryError::no_overlay(name),
            Some(label) => LibraryError::NoSnapshot {
                overlay: name.into(),
                label: label.into(),
            },
        })
    }

    fn images_dir(&self) -> PathBuf {
        self.root.join(IMAGES)
    }

    fn overlays_dir(&self) -> PathBuf {
        self.root.join("overlays")
    }

    fn lock_file(&self) -> Result<File, LibraryError> {
        let path = self.root.join(".lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        options.open(&path).map_err(at("open", &path))
    }

    fn shared_lock(&self) -> Result<File, LibraryError> {
        let lock = self.lock_file()?;
        lock.lock_shared().map_err(at("lock", &self.root))?;
        Ok(lock)
    }

    fn new_path(&self, directory: &Path, name: &str) -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        directory.join(format!("{NEW}{name}-{}-{number}", std::process::id()))
    }

    fn tidy(&self, directory: &Path) -> Result<(), LibraryError> {
        for entry in fs::read_dir(directory).map_err(at("read", directory))? {
            let path = entry.map_err(at("read", directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(NEW)) {
                remove(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// Something that is being made; goes away if it does not get its name.
#[derive(Debug)]
struct New(PathBuf);

impl New {
    /// Gives it its name, unless something has that already.
    fn publish(self, path: &Path, what: &'static str, name: &str) -> Result<(), LibraryError> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, &self.0, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => sync_parent(path),
            Err(rustix::io::Errno::EXIST) => Err(LibraryError::Exists {
                what,
                name: name.into(),
            }),
            Err(error) => Err(at("name", path)(error.into())),
        }
    }

    /// Puts it in the place of what has that name.
    fn replace(self, path: &Path) -> Result<(), LibraryError> {
        fs::rename(&self.0, path).map_err(at("replace", path))?;
        sync_parent(path)
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // Mostly it has another name by now; else the next opening tidies up.
        let _ = remove(&self.0);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn create(path: &Path) -> Result<File, LibraryError> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(path);
    file.map_err(at("make", path))
}

fn sync_parent(path: &Path) -> Result<(), LibraryError> {
    path.parent().map_or(Ok(()), sync_dir)
}

/// A rename is on stable storage when the directory is.
fn sync_dir(path: &Path) -> Result<(), LibraryError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(at("sync", path))
}

/// The names in a directory, in order, without those that are not finished.
fn list(directory: &Path) -> Result<Vec<String>, LibraryError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(at("read", directory))? {
        let name = entry.map_err(at("read", directory))?.file_name();
        names.extend(
            name.into_string()
                .ok()
                .filter(|name| !name.starts_with('.')),
        );
    }
    names.sort();
    Ok(names)
}

fn check_name(name: &str) -> Result<(), LibraryError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts && name.len() <= 64 && name.chars().all(fits) {
        Ok(())
    } else {
        Err(LibraryError::Name { name: name.into() })
    }
}

/// An image from elsewhere could name any file of this machine as what is below it.
fn refuse_foreign_backing(source: &Path, format: Format) -> Result<(), LibraryError> {
    if format != Format::Qcow2 {
        return Ok(());
    }
    let file = File::open(source).map_err(at("open", source))?;
    let header = qcow2::read_header(&file).map_err(|error| OpenError::Qcow2 {
        path: source.into(),
        source: error,
    })?;
    let Some((backing, format)) = header.backing else {
        return Ok(());
    };
    let mut parts = Path::new(&backing).components();
    let name_only = matches!(
        (parts.next(), parts.next()),
        (Some(std::path::Component::Normal(_)), None)
    );
    let below = source.with_file_name(&backing);
    if !name_only || below.is_symlink() || below == source {
        return Err(LibraryError::ForeignBacking {
            path: source.into(),
            backing,
        });
    }
    match format.as_deref() {
        Some("qcow2") => refuse_foreign_backing(&below, Format::Qcow2),
        _ => Ok(()),
    }
}

const IMAGES: &str = "images";
const DISK: &str = "disk.img";
const ABOUT: &str = "image.toml";
const NEW: &str = ".new-";
