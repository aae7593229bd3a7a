//! `bowline overlay`: what machines have written over their golden images.

use anyhow::bail;
use bowline_store::{LibraryError, OverlayInfo};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::image::tell_image;
use crate::library::{Force, Meter, Place, explain, size};
use crate::table;

/// Arguments of `bowline overlay`.
#[derive(Args, Debug)]
pub(crate) struct Overlay {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// The commands below `bowline overlay`.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the overlays of the machines, and their snapshots
    List(List),
    /// Forget what a machine has written: it finds its golden image again
    Reset(Reset),
    /// Put a machine back to a snapshot, which stays
    Restore(Restore),
    /// Make a new golden image of what a machine sees
    ///
    /// The machine stays as it is, on the golden image it was on.
    Commit(Commit),
    /// Remove the overlay of a machine, or one of its snapshots
    Rm(Remove),
}

/// Arguments of `bowline overlay list`.
#[derive(Args, Debug)]
struct List {
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Arguments of `bowline overlay reset`.
#[derive(Args, Debug)]
struct Reset {
    /// The machine
    machine: String,
    /// The golden image to put it on; by default the one it is on
    #[arg(long, value_name = "GOLDEN")]
    image: Option<String>,
    #[command(flatten)]
    force: Force,
}

/// Arguments of `bowline overlay restore`.
#[derive(Args, Debug)]
struct Restore {
    /// The machine
    machine: String,
    /// The snapshot
    label: String,
    #[command(flatten)]
    force: Force,
}

/// Arguments of `bowline overlay commit`.
#[derive(Args, Debug)]
struct Commit {
    /// The machine
    machine: String,
    /// What to call the new golden image
    new_golden: String,
}

/// Arguments of `bowline overlay rm`.
#[derive(Args, Debug)]
struct Remove {
    /// The machine
    machine: String,
    /// The snapshot; without it, the overlay itself. Its snapshots stay
    label: Option<String>,
    #[command(flatten)]
    force: Force,
}

impl Overlay {
    /// Does what was asked for.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        match &self.command {
            Command::List(list) => list.run(&self.place),
            Command::Reset(reset) => reset.run(&self.place),
            Command::Restore(restore) => restore.run(&self.place),
            Command::Commit(commit) => commit.run(&self.place),
            Command::Rm(remove) => remove.run(&self.place),
        }
    }
}

impl List {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let overlays = place.open()?.overlays().map_err(explain)?;
        if self.json {
            let overlays: Vec<_> = overlays
                .iter()
                .map(|overlay| {
                    json!({
                        "machine": overlay.name,
                        "snapshot": overlay.snapshot,
                        "file": overlay.path.display().to_string(),
                        "golden": overlay.golden.display().to_string(),
                        "bytes": overlay.len,
                        "used-bytes": overlay.used,
                        "in-use": overlay.in_use,
                    })
                })
                .collect();
            println!("{:#}", json!(overlays));
            return Ok(());
        }
        if overlays.is_empty() {
            println!(
                "no overlays; {}",
                place.command("image clone GOLDEN MACHINE")
            );
            return Ok(());
        }
        let mut rows = vec![HEAD.map(str::to_owned)];
        rows.extend(overlays.iter().map(row));
        table::print(&rows);
        Ok(())
    }
}

impl Reset {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let library = place.open()?;
        let machine = &self.machine;
        allow_loss(self.force, place, || library.overlay(machine, None))?;
        let reset = library.reset(machine, self.image.as_deref());
        let overlay = reset.map_err(explain)?;
        let golden = golden_name(&overlay);
        println!("{machine}: {} on {golden}, as new", size(overlay.len));
        Ok(())
    }
}

impl Restore {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let library = place.open()?;
        let (machine, label) = (&self.machine, &self.label);
        library.overlay(machine, Some(label)).map_err(explain)?;
        allow_loss(self.force, place, || library.overlay(machine, None))?;
        library.restore(machine, label).map_err(explain)?;
        println!("{machine}: as it was at {label}");
        Ok(())
    }
}

impl Commit {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let (machine, golden) = (&self.machine, &self.new_golden);
        let library = place.open()?;
        let mut meter = Meter::new(format!("{machine} to {golden}"));
        let committed = library.commit(machine, golden, &mut |done, total| {
            meter.show(done, total);
        });
        drop(meter);
        tell_image(&committed.map_err(explain)?);
        let next = place.command(&format!("overlay reset {machine} --image {golden} --force"));
        println!("to put the machine on it: {next}");
        Ok(())
    }
}

impl Remove {
    fn run(&self, place: &Place) -> anyhow::Result<()> {
        let library = place.open()?;
        let (machine, label) = (&self.machine, self.label.as_deref());
        allow_loss(self.force, place, || library.overlay(machine, label))?;
        library.remove_overlay(machine, label).map_err(explain)?;
        match label {
            Some(label) => println!("{machine}@{label}: removed"),
            None => println!("{machine}: removed"),
        }
        Ok(())
    }
}

/// Refuses to lose what is in an overlay, unless told otherwise. With `--force` it is not even
/// looked at, because it may be damaged.
fn allow_loss(
    force: Force,
    place: &Place,
    find: impl FnOnce() -> Result<OverlayInfo, LibraryError>,
) -> anyhow::Result<()> {
    if force.given() {
        return Ok(());
    }
    let overlay = find().map_err(explain)?;
    let (name, used) = (&overlay.name, size(overlay.used));
    if let Some(label) = &overlay.snapshot {
        bail!("the snapshot {name}@{label} ({used}) would be lost: --force removes it");
    }
    let keep = place.command(&format!("image snapshot {name} LABEL"));
    bail!("what {name} has written ({used}) would be lost: --force does it, {keep} keeps it first")
}

fn row(overlay: &OverlayInfo) -> [String; HEAD.len()] {
    [
        overlay.name.clone(),
        overlay.snapshot.clone().unwrap_or_else(|| "-".into()),
        golden_name(overlay),
        size(overlay.len),
        size(overlay.used),
        if overlay.in_use { "yes" } else { "no" }.into(),
    ]
}

/// The name of the image that an overlay is on: that of the directory its file is in.
fn golden_name(overlay: &OverlayInfo) -> String {
    let name = overlay
        .golden
        .parent()
        .and_then(|directory| directory.file_name());
    match name {
        Some(name) => name.display().to_string(),
        None => overlay.golden.display().to_string(),
    }
}

const HEAD: [&str; 6] = ["machine", "snapshot", "golden", "size", "on disk", "in use"];
