//! `bowline image`: golden images, and what is made from them.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use bowline_store::{Access, Format, ImageInfo, LibraryError, OverlayInfo};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use time::OffsetDateTime;

use crate::debian::{Check, Debian, Prepare};
use crate::library::{Force, Meter, Place, explain, parse_size, size};
use crate::table;

/// Arguments of `bowline image`.
#[derive(Args, Debug)]
pub(crate) struct Image {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// The commands below `bowline image`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a disk image from an operating system's own packages
    #[command(subcommand)]
    Build(System),
    /// Say what an installed system lacks to have its root file system on iSCSI
    Check(Check),
    /// Make an installed Debian one that boots from iSCSI
    ///
    /// Installs open-iscsi if it is missing, and the packages that are given; makes the settings
    /// that `check` asks for. Needs root, and for another architecture than this machine's
    /// qemu-user-static.
    Prepare(Prepare),
    /// Copy a disk into the library as a golden image
    Import(Import),
    /// Show the golden images
    List(List),
    /// Give a machine a disk of its own on a golden image
    ///
    /// It takes space only for what the machine writes.
    Clone(Clone),
    /// Keep what a machine has written so far under a label
    ///
    /// `bowline overlay restore` puts the machine back to it.
    Snapshot(Snapshot),
    /// Remove a golden image that no machine needs
    Rm(Remove),
}

/// What `bowline image build` can make.
#[derive(Debug, Subcommand)]
enum System {
    /// Debian, for a root file system on iSCSI
    ///
    /// Needs root, and for another architecture than this machine's qemu-user-static.
    Debian(Debian),
}

/// Arguments of `bowline image import`.
#[derive(Args, Debug)]
struct Import {
    /// A disk image or a block device; it is read, and not needed afterwards
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to call it; by default the name of the file without its ending
    #[arg(long)]
    name: Option<String>,
    /// How the bytes are kept in the file; by default its name tells (.qcow2, .overlay, else raw)
    #[arg(long)]
    format: Option<FormatName>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// As they are
    Raw,
    /// QEMU's format
    Qcow2,
    /// What one machine has written over a golden image
    Overlay,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Raw => Self::Raw,
            FormatName::Qcow2 => Self::Qcow2,
            FormatName::Overlay => Self::Overlay,
        }
    }
}

/// Arguments of `bowline image list`.
#[derive(Args, Debug)]
struct List {
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Arguments of `bowline image clone`.
#[derive(Args, Debug)]
struct Clone {
    /// The golden image
    golden: String,
    /// The machine, or any other name for its disk
    machine: String,
    /// How large the disk is, if larger than the golden image: 20G, 512M
    #[arg(long, value_parser = parse_size)]
    size: Option<u64>,
}

/// Arguments of `bowline image snapshot`.
#[derive(Args, Debug)]
struct Snapshot {
    /// The machine
    machine: String,
    /// What to call it
    label: String,
}

/// Arguments of `bowline image rm`.
#[derive(Args, Debug)]
struct Remove {
    /// The golden image
    golden: String,
    #[command(flatten)]
    force: Force,
}

impl Image {
    /// Does what was asked for.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match &self.command {
            Command::Build(System::Debian(debian)) => debian.run(),
            Command::Check(check) => check.run(),
            Command::Prepare(prepare) => prepare.run(),
            Command::Import(import) => import.run(&self.place),
            Command::List(list) => list.run(&self.place),
            Command::Clone(clone) => clone.run(&self.place),
            Command::Snapshot(snapshot) => snapshot.run(&self.place),
            Command::Rm(remove) => remove.run(&self.place),
        }
    }
}

impl Import {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => default_name(&self.file)?,
        };
        if self.format.is_none() {
            check_source(&self.file)?;
        }
        let library = place.open_or_make()?;
        let format = self.format.map(Into::into);
        let mut meter = Meter::new(format!("{} to {name}", self.file.display()));
        let imported = library.import(&name, &self.file, format, &mut |done, total| {
            meter.show(done, total);
        });
        drop(meter);
        let image = imported.map_err(|error| match error {
            LibraryError::Name { .. } if self.name.is_none() => {
                anyhow!("{error}; give one with --name")
            }
            error => explain(error),
        })?;
        tell_image(&image);
        let next = place.command(&format!("image clone {name} MACHINE"));
        println!("next: {next}");
        Ok(())
    }
}

impl List {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let library = place.open()?;
        let images = library.images().map_err(explain)?;
        let overlays = library.overlays().map_err(explain)?;
        if self.json {
            let images: Vec<_> = images
                .iter()
                .map(|image| {
                    json!({
                        "name": image.name,
                        "file": image.path.display().to_string(),
                        "bytes": image.len,
                        "used-bytes": image.used,
                        "created": image.origin.created,
                        "source": image.origin.source,
                        "machines": machines(image, &overlays),
                    })
                })
                .collect();
            println!("{:#}", json!(images));
            return Ok(());
        }
        if images.is_empty() {
            println!("no images; {}", place.command("image import FILE"));
            return Ok(());
        }
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(images.iter().map(|image| {
            [
                image.name.clone(),
                size(image.len),
                size(image.used),
                machines(image, &overlays).len().to_string(),
                day(image.origin.created),
                image.origin.source.escape_debug().to_string(),
            ]
        }));
        table::print(&rows);
        Ok(())
    }
}

impl Clone {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let created = place
            .open()?
            .create_overlay(&self.machine, &self.golden, self.size);
        let overlay = created.map_err(explain)?;
        let file = std::path::absolute(&overlay.path).unwrap_or(overlay.path);
        println!("{}: {} on {}", self.machine, size(overlay.len), self.golden);
        println!(
            "next: file = \"{}\" in [[iscsi.target.lun]] of bowline.toml",
            file.display()
        );
        Ok(())
    }
}

impl Snapshot {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let (machine, label) = (&self.machine, &self.label);
        let snapshot = place.open()?.snapshot(machine, label).map_err(explain)?;
        println!("{machine}@{label}: {} on the disk", size(snapshot.used));
        let back = place.command(&format!("overlay restore {machine} {label} --force"));
        println!("back to it: {back}");
        Ok(())
    }
}

impl Remove {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let library = place.open()?;
        let golden = &self.golden;
        let image = library.image(golden).map_err(explain)?;
        if !self.force.given() {
            let (used, source) = (size(image.used), image.origin.source);
            bail!("image {golden} ({used}, from {source}) would be lost: --force removes it");
        }
        refuse_served(&image)?;
        library.remove_image(golden).map_err(explain)?;
        println!("{golden}: removed");
        Ok(())
    }
}

/// Refuses an image that a server offers for reading, without an overlay: readers do not exclude
/// each other, and so do not keep it from being removed.
fn refuse_served(image: &ImageInfo) -> anyhow::Result<()> {
    let place = image.path.display();
    let file = File::open(&image.path).with_context(|| format!("cannot open {place}"))?;
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => bail!(
            "image {} is in use: a machine or a server reads {place}; stop that first",
            image.name
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {place}"))
        }
    }
}

/// Refuses what would become an image that no machine can use.
fn check_source(path: &Path) -> anyhow::Result<()> {
    let place = path.display();
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    let ending = ending.to_ascii_lowercase();
    if PACKED.contains(&ending.as_str()) {
        bail!("{place} is packed, going by its name: unpack it first, or say --format raw");
    }
    if FOREIGN.contains(&ending.as_str()) {
        bail!(
            "{place} has a format that is not known here, going by its name: \
             qemu-img convert -O qcow2 makes a .qcow2 of it; or say --format raw"
        );
    }
    let len = bowline_store::probe(path, Access::ReadOnly)
        .map_err(LibraryError::from)
        .map_err(explain)?;
    let rest = len % SECTOR_BYTES;
    if rest != 0 {
        bail!(
            "{place} is {len} bytes long, {rest} more than a whole number of {SECTOR_BYTES} byte \
             sectors: it is cut off, packed, or no disk; \
             if it is one, grow it first (truncate -s %{SECTOR_BYTES} {place})"
        );
    }
    Ok(())
}

fn default_name(path: &Path) -> anyhow::Result<String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.with_context(|| {
        let place = path.display();
        format!("{place} has no name that could be the image's; give one with --name")
    })?;
    Ok(stem.to_owned())
}

pub(crate) fn tell_image(image: &ImageInfo) {
    let (len, used) = (size(image.len), size(image.used));
    println!("{}: {len}, of which {used} on the disk", image.name);
}

/// Those who need the image: with an overlay or a snapshot on it.
fn machines<'a>(image: &ImageInfo, overlays: &'a [OverlayInfo]) -> Vec<&'a str> {
    let on = overlays
        .iter()
        .filter(|overlay| overlay.golden == image.path);
    let mut names: Vec<_> = on.map(|overlay| overlay.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The day of a moment given in seconds since 1970.
fn day(seconds: u64) -> String {
    let moment = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(|| "?".into(), |moment| moment.date().to_string())
}

const HEAD: [&str; 6] = ["image", "size", "on disk", "machines", "created", "source"];
const PACKED: [&str; 7] = ["gz", "xz", "zst", "bz2", "lz4", "zip", "tar"];
const FOREIGN: [&str; 5] = ["vmdk", "vdi", "vhd", "vhdx", "qcow"];
const SECTOR_BYTES: u64 = 512;
