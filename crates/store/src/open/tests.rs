//! Locks, formats by name, and golden images that changed.

use super::*;

fn image(len: u64) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(len).unwrap();
    file
}

#[test]
fn a_writable_image_has_one_owner() {
    let file = image(4096);
    let first = open(file.path(), Access::ReadWrite).unwrap();
    assert_eq!(probe(file.path(), Access::ReadWrite).unwrap(), 4096);
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let error = open(file.path(), access).unwrap_err();
        assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    }
    drop(first);
    open(file.path(), Access::ReadWrite).unwrap();
}

#[test]
fn readers_share_an_image_and_keep_writers_out() {
    let file = image(4096);
    let one = open(file.path(), Access::ReadOnly).unwrap();
    let two = open(file.path(), Access::ReadOnly).unwrap();
    assert!(matches!(
        open(file.path(), Access::ReadWrite),
        Err(OpenError::InUse { .. })
    ));
    assert!(matches!(one.write_at(0, &[1]), Err(DiskError::ReadOnly)));
    one.flush().unwrap();
    let mut byte = [9];
    two.read_at(4095, &mut byte).unwrap();
    assert_eq!(byte, [0]);
}

/// Where the system can tell what it has in memory, an opened image says so, too.
#[test]
fn what_is_in_memory_is_read_at_once() {
    let file = image(8192);
    let disk = open(file.path(), Access::ReadWrite).unwrap();
    disk.write_at(0, &[7; 8192]).unwrap();
    let mut direct = [0; 4096];
    let can_tell = Storage::read_now(file.as_file(), 0, &mut direct);
    let mut data = [0; 4096];
    assert_eq!(disk.read_now(4096, &mut data), can_tell);
    assert!(!can_tell || data == [7; 4096]);
    assert!(!disk.read_now(4097, &mut data), "beyond the end");
}

#[test]
fn what_an_overlay_has_in_memory_is_read_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let golden = directory.path().join("golden.img");
    std::fs::write(&golden, [7; 16384]).unwrap();
    let library = crate::Library::open(&directory.path().join("library")).unwrap();
    let import = library.import("golden", &golden, None, &mut |_, _| {});
    import.unwrap();
    // Longer than the golden image by a block.
    let made = library.create_overlay("one", "golden", Some(20480));
    let disk = open(&made.unwrap().path, Access::ReadWrite).unwrap();
    disk.write_at(4096, &[8; 4096]).unwrap();
    disk.discard(8192, 4096).unwrap();
    let mut all = [0xff; 20480];
    disk.read_at(0, &mut all).unwrap();
    let mut expected = [7; 20480];
    expected[4096..8192].fill(8);
    expected[8192..12288].fill(0);
    expected[16384..].fill(0);
    assert_eq!(all, expected);
    let mut now = [0xff; 19000];
    let file = File::open(&golden).unwrap();
    let can_tell = Storage::read_now(&file, 0, &mut [0; 4096]);
    assert_eq!(disk.read_now(1000, &mut now), can_tell);
    assert!(!can_tell || now == expected[1000..20000]);
    assert!(!disk.read_now(4096, &mut [0; 16385]), "beyond the end");
}

#[test]
fn what_is_not_a_disk_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.img");
    for (path, expected) in [
        (missing.as_path(), "cannot open"),
        (directory.path(), "neither a file nor a block device"),
        (Path::new("/dev/null"), "neither a file nor a block device"),
        (image(0).path(), "is empty: make it as large"),
    ] {
        let error = open(path, Access::ReadOnly).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}

/// By hand, as QEMU would: images that name others below them.
mod qcow2_chains {
    use std::os::unix::fs::FileExt as _;
    use std::process::Command;

    use super::*;
    use crate::Image;

    /// `None` where QEMU's tools are not installed.
    fn qemu_img(directory: &Path, arguments: &str) -> Option<String> {
        let mut command = Command::new("qemu-img");
        command.current_dir(directory).args(arguments.split(' '));
        let output = match command.output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                eprintln!("skipped: qemu-img is not installed");
                return None;
            }
            output => output.unwrap(),
        };
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "qemu-img {arguments}: {text}");
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn what_we_write_qemu_reads_and_finds_whole() {
        let directory = tempfile::tempdir().unwrap();
        let (here, len) = (directory.path(), 40 << 20);
        let base = File::create(here.join("base.img")).unwrap();
        base.set_len(len).unwrap();
        base.write_all_at(b"base", 5 << 20).unwrap();
        drop(base);
        if qemu_img(here, "create -q -f qcow2 -b base.img -F raw middle.qcow2").is_none() {
            return;
        }
        qemu_img(
            here,
            "create -q -f qcow2 -b middle.qcow2 -F qcow2 top.qcow2",
        );
        let path = here.join("top.qcow2");
        let disk = open(&path, Access::ReadWrite).unwrap();
        assert!(matches!(disk, Image::Qcow2(_)));
        assert_eq!(
            (disk.len(), probe(&path, Access::ReadOnly).unwrap()),
            (len, len)
        );
        for step in 0..40u64 {
            disk.write_at(step * 1_000_448, &[step as u8 + 1; 2048])
                .unwrap();
        }
        disk.discard(20 << 20, 4 << 20).unwrap();
        disk.flush().unwrap();
        let mut bytes = [0; 4];
        disk.read_at(5 << 20, &mut bytes).unwrap();
        assert_eq!(&bytes, b"base");
        let below = open(&here.join("middle.qcow2"), Access::ReadWrite);
        assert!(matches!(below, Err(OpenError::InUse { .. })));

        let check = qemu_img(here, "check -f qcow2 -U top.qcow2").unwrap();
        assert!(check.contains("No errors"), "{check}");
        qemu_img(here, "convert -U -f qcow2 -O raw top.qcow2 flat.img");
        let flat = std::fs::read(here.join("flat.img")).unwrap();
        let mut ours = vec![0; len as usize];
        disk.read_at(0, &mut ours).unwrap();
        assert!(flat == ours, "QEMU reads something else");
    }

    #[test]
    fn compressed_clusters_can_be_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let (here, len) = (directory.path(), 2 << 20);
        let content: Vec<u8> = (0..len).map(|at| (at / 1000) as u8).collect();
        std::fs::write(here.join("base.img"), &content).unwrap();
        if qemu_img(here, "convert -c -O qcow2 base.img packed.qcow2").is_none() {
            return;
        }
        let disk = open(&here.join("packed.qcow2"), Access::ReadWrite).unwrap();
        disk.write_at(70_000, &[9; 512]).unwrap();
        disk.write_at(300_000, &[9; 200_000]).unwrap();
        disk.flush().unwrap();
        let mut expected = content;
        expected[70_000..70_512].fill(9);
        expected[300_000..500_000].fill(9);
        let mut ours = vec![0; len];
        disk.read_at(0, &mut ours).unwrap();
        assert!(ours == expected);
        let check = qemu_img(here, "check -f qcow2 -U packed.qcow2").unwrap();
        assert!(check.contains("No errors"), "{check}");
    }

    #[test]
    fn an_image_that_looks_like_another_format_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        for (magic, name) in [
            (&b"QFI\xfb\0\0\0\x03"[..], "qcow2"),
            (b"BOWLOVLY", "overlay"),
        ] {
            let mut bytes = vec![0; 4096];
            bytes[..8].copy_from_slice(magic);
            std::fs::write(&path, bytes).unwrap();
            let error = open(&path, Access::ReadOnly).unwrap_err().to_string();
            assert!(error.contains(&format!("like a {name} image")), "{error}");
            open_as(&path, Format::Raw, Access::ReadWrite).unwrap();
        }
    }

    #[test]
    fn a_backing_file_without_a_format_or_end_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        std::fs::write(here.join("base.img"), [0; 1 << 20]).unwrap();
        if qemu_img(here, "create -q -f qcow2 -b base.img -F raw a.qcow2").is_none() {
            return;
        }
        qemu_img(here, "rebase -u -f qcow2 -b a.qcow2 -F qcow2 a.qcow2");
        let error = open(&here.join("a.qcow2"), Access::ReadOnly).unwrap_err();
        assert!(matches!(error, OpenError::TooDeep { .. }), "{error}");
        let path = here.join("a.qcow2");
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        // The end of the header extensions comes first, so that no format is told.
        file.write_all_at(&[0; 8], 112).unwrap();
        file.write_all_at(&[0; 8], 104).unwrap();
        let error = open(&path, Access::ReadOnly).unwrap_err().to_string();
        assert!(
            error.contains("what format its backing file has"),
            "{error}"
        );
    }
}
