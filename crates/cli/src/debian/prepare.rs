//! `bowline image prepare`: makes an installed Debian one that boots from iSCSI.
//!
//! `prepare.sh` works on a raw copy of the disk, mounted in a namespace of its own; what it has
//! changed is written back into the image, whatever its format. So an image is as it was when
//! something goes wrong.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use bowline_store::{Access, Disk, Format, Library, open, open_as};
use clap::Args;

use super::check::lacks;
use super::layout::Layout;
use super::{absolute, needs_root, needs_tools, run, script};
use crate::library::{explain, size};

const PREPARE: &str = script!("prepare.sh");
/// Programs of the host, and the packages they are in.
const TOOLS: [(&str, &str); 4] = [
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("blkid", "util-linux"),
    ("mcopy", "mtools"),
];
/// What is compared and copied at a time.
const PIECE: usize = 64 << 10;

/// Arguments of `bowline image prepare`.
#[derive(Args, Debug)]
pub(crate) struct Prepare {
    /// The image: raw, .qcow2 or .overlay
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A package to install: the path of a .deb (bowline-initramfs); may be given more than once
    #[arg(long = "package", value_name = "FILE.deb")]
    packages: Vec<PathBuf>,
}

impl Prepare {
    /// Does what is missing, and says what that was.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        needs_root("`image prepare` mounts the disk and changes its root")?;
        needs_tools(&TOOLS)?;
        let packages = absolute(self.packages.iter())?.join(" ");
        refuse_golden(&self.file)?;
        for lack in lacks(&self.file)? {
            println!("{}: {lack}", self.file.display());
        }
        let image = Arc::new(open(&self.file, Access::ReadWrite)?);
        let layout = Layout::read(image.clone(), &self.file)?;
        let (root, _) = layout.root()?;
        let esp = layout
            .esps()
            .next()
            .context("the disk has no EFI system partition, which a boot by UEFI needs")?;
        let folder = self.file.parent().context("an image is in a folder")?;
        let scratch = tempfile::Builder::new()
            .prefix(".bowline-prepare-")
            .tempdir_in(if folder == Path::new("") {
                Path::new(".")
            } else {
                folder
            })
            .with_context(|| format!("cannot work in {}", folder.display()))?;
        let copy = scratch.path().join("disk.img");
        File::create(&copy)?.set_len(image.len())?;
        copy_changes(&image, &open_as(&copy, Format::Raw, Access::ReadWrite)?)?;

        let program = scratch.path().join("prepare");
        fs::write(&program, PREPARE)?;
        let partitions = layout.partitions.iter();
        let partitions = partitions.map(|it| format!("{}:{}:{}", it.number, it.start, it.length));
        run(Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh"])
            .arg(&program)
            .env("SCRATCH", scratch.path().canonicalize()?)
            .env("DISK", copy.canonicalize()?)
            .env("ROOT_OFFSET", root.start.to_string())
            .env("ROOT_LENGTH", root.length.to_string())
            .env("ESP_OFFSET", esp.start.to_string())
            .env("PARTITIONS", partitions.collect::<Vec<_>>().join(" "))
            .env("PACKAGE_FILES", packages))
        .with_context(|| format!("{} is as it was", self.file.display()))?;
        let left = lacks(&copy)?;
        ensure!(
            left.is_empty(),
            "{} is as it was: {}",
            self.file.display(),
            left.join("; ")
        );
        let changed = copy_changes(&open_as(&copy, Format::Raw, Access::ReadOnly)?, &image)
            .with_context(|| format!("{} is changed in part only", self.file.display()))?;
        println!(
            "{}: ready for a root file system on iSCSI, {} changed",
            self.file.display(),
            size(changed)
        );
        Ok(())
    }
}

/// Makes `to` the same as `from`, which is as long, and returns how many bytes it had to write.
fn copy_changes(from: &impl Disk, to: &impl Disk) -> anyhow::Result<u64> {
    let mut wanted = vec![0; PIECE];
    let mut present = vec![0; PIECE];
    let mut at = 0;
    let mut changed = 0;
    while at < from.len() {
        let (new, old) = (from.extent(at)?, to.extent(at)?);
        let both = new.len.min(old.len);
        ensure!(both > 0, "the disk is shorter than its copy");
        if !new.allocated && !old.allocated {
            at += both;
            continue;
        }
        let length = usize::try_from(both).unwrap_or(PIECE).min(PIECE);
        let (wanted, present) = (&mut wanted[..length], &mut present[..length]);
        from.read_at(at, wanted)?;
        to.read_at(at, present)?;
        if wanted != present {
            to.write_at(at, wanted)?;
            changed += length as u64;
        }
        at += length as u64;
    }
    to.flush()?;
    Ok(changed)
}

/// Refuses a golden image of a library that machines are on: their overlays know it as it is.
fn refuse_golden(file: &Path) -> anyhow::Result<()> {
    let file = file
        .canonicalize()
        .with_context(|| format!("cannot find {}", file.display()))?;
    let Some(root) = file.ancestors().nth(3) else {
        return Ok(());
    };
    if !root.join("overlays").is_dir() {
        return Ok(());
    }
    let overlays = Library::open(root).and_then(|library| library.overlays());
    for overlay in overlays.map_err(explain)? {
        if overlay.golden.canonicalize().is_ok_and(|it| it == file) {
            bail!(
                "{} is the golden image of {}, whose disk would not fit it any more: prepare an \
                 image before it is cloned",
                file.display(),
                overlay.name
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let disk = |name: &str| {
            let path = folder.path().join(name);
            let file = File::create_new(&path).unwrap();
            file.set_len(8 << 20).unwrap();
            (file, path)
        };
        let (from, from_path) = disk("from");
        let (to, to_path) = disk("to");
        for (file, offset, byte) in [
            (&from, 0, 1),
            (&to, 0, 1),
            (&from, 3 << 20, 2),
            (&to, 5 << 20, 3),
        ] {
            file.write_all_at(&[byte; 4096], offset).unwrap();
        }
        let raw = |path: &Path| open_as(path, Format::Raw, Access::ReadWrite).unwrap();
        let (source, target) = (raw(&from_path), raw(&to_path));
        let changed = copy_changes(&source, &target).unwrap();
        assert!(
            (2 * 4096..=2 * PIECE as u64).contains(&changed),
            "{changed}"
        );
        assert_eq!(copy_changes(&source, &target).unwrap(), 0);
        assert_eq!(fs::read(from_path).unwrap(), fs::read(to_path).unwrap());
    }

    #[test]
    fn a_golden_image_with_machines_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("disk.img");
        File::create(&source).unwrap().set_len(1 << 20).unwrap();
        let library = Library::open(&folder.path().join("library")).unwrap();
        library
            .import("golden", &source, None, &mut |_, _| {})
            .unwrap();
        let golden = library.image_path("golden");
        refuse_golden(&golden).unwrap();
        library.create_overlay("node1", "golden", None).unwrap();
        let error = refuse_golden(&golden).unwrap_err().to_string();
        assert!(error.contains("node1"), "{error}");
        refuse_golden(&source).unwrap();
    }
}
