//! `bowline image` and `bowline overlay` as a user runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bowline_store::{Access, Disk as _, Image};
use serde_json::Value;

const LEN: usize = 1 << 20;

/// A directory with `debian.img`, a megabyte of `g`, and a place for a library.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("debian.img"), vec![b'g'; LEN]).unwrap();
        Self(directory)
    }

    /// A site whose library has the image `debian`, and the machine `node1` on it.
    fn with_machine() -> Self {
        let site = Self::new();
        site.done("image import debian.img");
        site.done("image clone debian node1");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, command: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bowline"))
            .args(command.split(' '))
            .args(["--library", "library"])
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// Runs what must succeed; its output.
    fn done(&self, command: &str) -> String {
        let output = self.run(command);
        assert_eq!(output.status.code(), Some(0), "{command}: {output:?}");
        assert_eq!(output.stderr, b"", "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must fail; what it says.
    fn refused(&self, command: &str) -> String {
        let output = self.run(command);
        assert_eq!(output.status.code(), Some(1), "{command}: {output:?}");
        assert_eq!(output.stdout, b"", "{command}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, command: &str) -> Vec<Value> {
        serde_json::from_str(&self.done(command)).unwrap()
    }

    fn open(&self, machine: &str) -> Image {
        open(&self.path(&format!("library/overlays/{machine}.overlay")))
    }

    /// What the machine writes to its first block.
    fn write(&self, machine: &str, byte: u8) {
        let disk = self.open(machine);
        disk.write_at(0, &[byte; 512]).unwrap();
        disk.flush().unwrap();
    }

    /// The first byte of the machine's disk.
    fn first(&self, machine: &str) -> u8 {
        let mut byte = [0];
        self.open(machine).read_at(0, &mut byte).unwrap();
        byte[0]
    }
}

fn open(path: &Path) -> Image {
    bowline_store::open(path, Access::ReadWrite).unwrap()
}

#[test]
fn a_machine_from_import_to_commit() {
    let site = Site::new();
    let told = site.done("image import debian.img");
    // How much it takes is the file system's business.
    assert!(told.starts_with("debian: 1 MiB, of which "), "{told}");
    let next = "\nnext: bowline image clone debian MACHINE --library library\n";
    assert!(told.ends_with(next), "{told}");
    let told = site.done("image clone debian node1");
    let file = site.path("library/overlays/node1.overlay");
    assert!(told.starts_with("node1: 1 MiB on debian\n"), "{told}");
    let line = format!("file = \"{}\"", file.canonicalize().unwrap().display());
    assert!(told.contains(&line), "{told}");
    site.done("image clone debian node2 --size 3M");
    assert_eq!(site.open("node2").len(), 3 << 20);

    site.write("node1", b'1');
    assert_eq!((site.first("node1"), site.first("node2")), (b'1', b'g'));
    site.done("image snapshot node1 good");
    site.write("node1", b'2');
    site.done("overlay restore node1 good --force");
    assert_eq!(site.first("node1"), b'1');

    let told = site.done("overlay commit node1 debian-2");
    assert!(
        told.contains("overlay reset node1 --image debian-2 --force"),
        "{told}"
    );
    let committed = fs::read(site.path("library/images/debian-2/disk.img")).unwrap();
    assert!(committed[..512] == [b'1'; 512] && committed[512..] == vec![b'g'; LEN - 512]);
    site.done("overlay reset node1 --force");
    assert_eq!(site.first("node1"), b'g');
    let told = site.done("overlay reset node1 --image debian-2 --force");
    assert_eq!(told, "node1: 1 MiB on debian-2, as new\n");
    assert_eq!(site.first("node1"), b'1');

    site.done("overlay rm node1 good --force");
    site.done("overlay rm node2 --force");
    site.done("image rm debian --force");
    let images = site.json("image list --json");
    assert_eq!(images.len(), 1, "{images:?}");
    assert_eq!(images[0]["name"], "debian-2");
    assert_eq!(images[0]["source"], "overlay node1");
}

#[test]
fn lists_are_for_people_and_for_programs() {
    let site = Site::with_machine();
    site.done("image snapshot node1 new");
    let images = site.done("image list");
    let rows: Vec<Vec<&str>> = images
        .lines()
        .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(rows[0].len(), 6, "{images}");
    assert_eq!(rows[1][..2], ["debian", "1 MiB"], "{images}");
    assert_eq!(rows[1][3].trim(), "1", "{images}");
    let listed = site.json("image list --json");
    assert_eq!(
        (&listed[0]["bytes"], &listed[0]["source"]),
        (&Value::from(LEN), &Value::from("debian.img"))
    );
    assert_eq!(listed[0]["machines"], Value::from(vec!["node1"]));

    let overlays = site.json("overlay list --json");
    assert_eq!(overlays.len(), 2);
    assert_eq!(overlays[0]["snapshot"], Value::Null);
    assert_eq!(overlays[1]["snapshot"], "new");
    assert_eq!(overlays[0]["golden"], listed[0]["file"]);
    assert_eq!(overlays[0]["in-use"], false);
    let disk = site.open("node1");
    assert_eq!(site.json("overlay list --json")[0]["in-use"], true);
    let told = site.done("overlay list");
    let line = told.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with("node1") && line.ends_with("yes"), "{told}");
    drop(disk);

    site.done("overlay rm node1 new --force");
    site.done("overlay rm node1 --force");
    assert!(site.done("overlay list").starts_with("no overlays; "));
    site.done("image rm debian --force");
    assert!(site.done("image list").starts_with("no images; "));
    assert_eq!(site.json("image list --json"), [Value::Null; 0]);
}

#[test]
fn nothing_is_destroyed_without_force() {
    let site = Site::with_machine();
    site.write("node1", b'1');
    site.done("image snapshot node1 good");
    site.write("node1", b'2');
    let keep = "--force does it, bowline image snapshot node1 LABEL --library library keeps it";
    for (command, expected) in [
        ("overlay reset node1", keep),
        ("overlay restore node1 good", keep),
        ("overlay rm node1", keep),
        ("overlay rm node1 good", "the snapshot node1@good ("),
        ("image rm debian", "from debian.img) would be lost: --force"),
    ] {
        let told = site.refused(command);
        assert!(told.contains(expected), "{command}: {told}");
        assert!(told.contains("would be lost"), "{command}: {told}");
    }
    assert_eq!(site.first("node1"), b'2');
    assert_eq!(site.json("overlay list --json").len(), 2);
    assert_eq!(site.json("image list --json").len(), 1);
}

/// `--force` is about what is lost, not about what somebody else has open or needs.
#[test]
fn what_is_in_use_stays_even_with_force() {
    let site = Site::with_machine();
    site.write("node1", b'1');
    site.done("image snapshot node1 good");
    let disk = site.open("node1");
    for command in [
        "overlay reset node1 --force",
        "overlay restore node1 good --force",
        "overlay rm node1 --force",
        "overlay commit node1 debian-2",
        "image snapshot node1 again",
    ] {
        let told = site.refused(command);
        assert!(
            told.contains("node1.overlay is in use") && told.contains("stop that server"),
            "{command}: {told}"
        );
    }
    drop(disk);
    assert_eq!(site.first("node1"), b'1');

    let told = site.refused("image rm debian --force");
    assert!(
        told.contains("needed by the overlay node1") && told.contains("bowline overlay rm"),
        "{told}"
    );
    site.done("overlay rm node1 --force");
    site.done("overlay rm node1 good --force");
    let golden = site.path("library/images/debian/disk.img");
    let reader = bowline_store::open(&golden, Access::ReadOnly).unwrap();
    let told = site.refused("image rm debian --force");
    assert!(told.contains("image debian is in use"), "{told}");
    drop(reader);
    site.done("image rm debian --force");
}

#[test]
fn what_would_not_become_a_disk_is_not_imported() {
    let site = Site::new();
    fs::write(site.path("disk.img.xz"), [1; 512]).unwrap();
    fs::write(site.path("disk.VMDK"), [1; 512]).unwrap();
    fs::write(site.path("odd.img"), [1; 700]).unwrap();
    fs::write(site.path("empty.img"), []).unwrap();
    fs::write(site.path("hidden.img"), b"QFI\xfb0000").unwrap();
    fs::write(site.path("broken.qcow2"), [0; 512]).unwrap();
    fs::write(site.path("two words.img"), [1; 512]).unwrap();
    for (file, expected) in [
        ("gone.img", "cannot open gone.img: No such file"),
        ("disk.img.xz", "disk.img.xz is packed"),
        ("disk.VMDK", "qemu-img convert"),
        ("odd.img", "odd.img is 700 bytes long, 188 more"),
        ("empty.img", "empty.img is empty"),
        ("hidden.img", "begins like a qcow2 image"),
        ("broken.qcow2", "cannot use the qcow2 image broken.qcow2"),
        (".", ". has no name"),
    ] {
        let told = site.refused(&format!("image import {file}"));
        assert!(told.contains(expected), "{file}: {told}");
    }
    assert!(!site.path("library").exists());
    let output = Command::new(env!("CARGO_BIN_EXE_bowline"))
        .args(["image", "import", "two words.img", "--library", "library"])
        .current_dir(site.0.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("\"two words\" cannot be a name") && told.contains("--name"),
        "{told}"
    );
    // Who says the format is believed.
    site.done("image import hidden.img --format raw");
    site.done("image import disk.img.xz --format raw --name other");
    let told = site.refused("image import debian.img --name other");
    assert!(told.contains("there is already image other"), "{told}");
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let site = Site::new();
    for command in ["image list", "overlay list", "image clone debian node1"] {
        let told = site.refused(command);
        assert!(
            told.contains("no library of images in library: bowline image import"),
            "{command}: {told}"
        );
    }
    assert!(!site.path("library").exists(), "a list made a library");
    site.done("image import debian.img");
    for (command, expected) in [
        (
            "image clone debain node1",
            "there is no image debain; there are debian",
        ),
        ("image rm ubuntu", "there is no image ubuntu"),
        (
            "overlay reset node1",
            "there is no overlay node1: bowline overlay list",
        ),
        ("overlay commit node1 x", "there is no overlay node1"),
        ("image snapshot node1 x", "there is no overlay node1"),
        ("image clone debian ../x", "\"../x\" cannot be a name"),
        ("image clone debian node1 --size 4K", "it can only grow"),
    ] {
        let told = site.refused(command);
        assert!(told.contains(expected), "{command}: {told}");
    }
    site.done("image clone debian node1");
    let told = site.refused("image clone debian node1");
    assert!(told.contains("there is already overlay node1"), "{told}");
    let told = site.refused("overlay restore node1 gone");
    assert!(told.contains("has no snapshot gone"), "{told}");
}

#[test]
fn a_senseless_command_line_ends_with_2() {
    let site = Site::new();
    for command in [
        "image",
        "image import",
        "image clone debian",
        "image clone debian node1 --size 5X",
        "image clone debian node1 --size 1000",
        "image import debian.img --format vmdk",
        "overlay commit node1",
        "overlay reset --force",
    ] {
        let output = site.run(command);
        assert_eq!(output.status.code(), Some(2), "{command}: {output:?}");
    }
}

/// A golden image that is not what it was makes the overlays on it useless; a reset helps.
#[test]
fn a_reset_helps_where_the_golden_image_has_changed() {
    let site = Site::with_machine();
    let golden = site.path("library/images/debian/disk.img");
    let mut permissions = fs::metadata(&golden).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "it goes away")]
    permissions.set_readonly(false);
    fs::set_permissions(&golden, permissions).unwrap();
    fs::write(&golden, vec![b'h'; LEN]).unwrap();
    let told = site.refused("overlay commit node1 debian-2");
    assert!(told.contains("bowline overlay reset"), "{told}");
    site.done("overlay reset node1 --force");
    assert_eq!(site.first("node1"), b'h');
    // Also where the overlay itself is damaged, if it is said what it was on.
    fs::write(site.path("library/overlays/node1.overlay"), [0; 4096]).unwrap();
    let told = site.refused("overlay reset node1 --force");
    assert!(told.contains("node1.overlay: "), "{told}");
    site.done("overlay reset node1 --image debian --force");
    assert_eq!(site.first("node1"), b'h');
}
