//! Disks of every format that our target serves, for a Linux that tries out disks.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{build, image, sh};

const BYTES: u64 = 160 << 20;
/// The names of the golden image and of the machine in the library.
const GOLDEN: &str = "golden";
const MACHINE: &str = "node1";

/// A raw image, a qcow2 image, and an overlay in a library of its own.
#[derive(Debug)]
pub(crate) struct Formats {
    folder: PathBuf,
    bowline: PathBuf,
}

impl Formats {
    /// Makes them in `folder`, empty.
    pub(crate) fn make(workspace: &Workspace, folder: &Path) -> Result<Self> {
        let formats = Self {
            folder: folder.to_owned(),
            bowline: build::bowline(workspace)?,
        };
        let [(_, raw), (_, qcow2), _] = formats.files();
        image::sparse_file(&raw, BYTES)?;
        sh::run(
            sh::command("qemu-img")
                .args(["create", "-q", "-f", "qcow2"])
                .arg(&qcow2)
                .arg(BYTES.to_string()),
        )?;
        formats.bowline(
            "image",
            &["import", "--name", GOLDEN, &raw.display().to_string()],
        )?;
        formats.bowline("image", &["clone", GOLDEN, MACHINE])?;
        Ok(formats)
    }

    /// LUN and image of each.
    pub(crate) fn files(&self) -> [(u8, PathBuf); 3] {
        let overlay = format!("overlays/{MACHINE}.overlay");
        [
            (2, self.folder.join("lun2.img")),
            (3, self.folder.join("lun3.qcow2")),
            (4, self.library().join(overlay)),
        ]
    }

    /// What is on them, as raw images that programs of the host can read; nobody may be serving
    /// them.
    pub(crate) fn as_raw(&self) -> Result<[(u8, PathBuf); 3]> {
        let [raw, (_, qcow2), _] = self.files();
        let converted = self.folder.join("lun3.img");
        sh::run(
            sh::command("qemu-img")
                .args(["convert", "-f", "qcow2", "-O", "raw"])
                .args([&qcow2, &converted]),
        )?;
        self.bowline("overlay", &["commit", MACHINE, "committed"])?;
        let committed = self.library().join("images/committed/disk.img");
        Ok([raw, (3, converted), (4, committed)])
    }

    fn library(&self) -> PathBuf {
        self.folder.join("library")
    }

    fn bowline(&self, noun: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.bowline);
        command.arg(noun).args(arguments);
        sh::run(command.arg("--library").arg(self.library()))
    }
}
