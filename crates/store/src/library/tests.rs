//! A library from import to commit, and what it refuses.

use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use super::*;
use crate::{Disk, DiskError, probe};

fn library() -> (tempfile::TempDir, Library) {
    let directory = tempfile::tempdir().unwrap();
    let library = Library::open(&directory.path().join("library")).unwrap();
    (directory, library)
}

/// A disk of `len` bytes with `text` at its beginning and near its end.
fn source(directory: &Path, name: &str, len: u64, text: &str) -> PathBuf {
    let path = directory.join(name);
    let file = File::create(&path).unwrap();
    file.set_len(len).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file.write_all_at(text.as_bytes(), len - 100_000).unwrap();
    path
}

fn text(disk: &impl Disk, offset: u64, len: usize) -> String {
    let mut bytes = vec![0; len];
    disk.read_at(offset, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

const LEN: u64 = 300 << 20;

fn with_image() -> (tempfile::TempDir, Library) {
    let (directory, library) = library();
    let path = source(directory.path(), "debian.img", LEN, "golden");
    let image = library
        .import("debian", &path, None, &mut |_, _| {})
        .unwrap();
    assert_eq!((image.len, image.name.as_str()), (LEN, "debian"));
    assert!(image.used < 1 << 20, "holes are kept: {} bytes", image.used);
    fs::remove_file(path).unwrap();
    (directory, library)
}

fn open(library: &Library, name: &str) -> Image {
    crate::open(&library.overlay_path(name, None), Access::ReadWrite).unwrap()
}

#[test]
fn a_machine_from_clone_to_commit() {
    let (_directory, library) = with_image();
    let one = library.create_overlay("one", "debian", None).unwrap();
    assert!(one.used < 1 << 20 && !one.in_use, "{one:?}");
    library
        .create_overlay("two", "debian", Some(LEN * 2))
        .unwrap();
    let disk = open(&library, "one");
    let other = open(&library, "two");
    assert_eq!((disk.len(), other.len()), (LEN, LEN * 2));
    assert!(library.overlay("one", None).unwrap().in_use);
    disk.write_at(0, b"machine one").unwrap();
    disk.flush().unwrap();
    other.write_at(LEN * 2 - 512, &[b'2'; 512]).unwrap();
    assert_eq!(text(&disk, LEN - 100_000, 6), "golden");
    assert_eq!(text(&other, 0, 6), "golden");
    drop((disk, other));

    library.snapshot("one", "before").unwrap();
    open(&library, "one").write_at(0, b"spoilt").unwrap();
    library.restore("one", "before").unwrap();
    assert_eq!(text(&open(&library, "one"), 0, 11), "machine one");

    let image = library.commit("one", "debian-2", &mut |_, _| {}).unwrap();
    assert_eq!(image.origin.source, "overlay one");
    let committed = crate::open(&image.path, Access::ReadOnly).unwrap();
    assert_eq!(text(&committed, 0, 11), "machine one");
    assert_eq!(text(&committed, LEN - 100_000, 6), "golden");

    library.reset("one", None).unwrap();
    assert_eq!(text(&open(&library, "one"), 0, 6), "golden");
    library.reset("one", Some("debian-2")).unwrap();
    assert_eq!(text(&open(&library, "one"), 0, 11), "machine one");

    let overlays = library.overlays().unwrap();
    let names = overlays
        .iter()
        .map(|overlay| (overlay.name.as_str(), overlay.snapshot.as_deref()));
    let expected = [("one", None), ("one", Some("before")), ("two", None)];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let images = library.images().unwrap();
    assert_eq!(images.len(), 2);
    library.remove_overlay("one", Some("before")).unwrap();
    library.remove_overlay("two", None).unwrap();
    library.remove_image("debian").unwrap();
    assert_eq!(library.images().unwrap().len(), 1);
}

#[test]
fn an_image_that_somebody_reads_is_not_removed() {
    let (_directory, library) = with_image();
    let path = library.image_path("debian");
    let reader = crate::open(&path, Access::ReadOnly).unwrap();
    let error = library.remove_image("debian").unwrap_err();
    let expected = matches!(error, LibraryError::Open(OpenError::InUse { .. }));
    assert!(expected, "{error}");
    drop(reader);
    library.remove_image("debian").unwrap();
}

#[test]
fn a_changed_golden_image_is_refused() {
    let (_directory, library) = with_image();
    library.create_overlay("one", "debian", None).unwrap();
    let golden = library.image_path("debian");
    let path = library.overlay_path("one", None);
    let refused = |expected: &str| {
        let opened = crate::open(&path, Access::ReadWrite).map(drop);
        let probed = probe(&path, Access::ReadWrite).map(drop);
        for result in [opened, probed] {
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains(expected) && error.contains("overlay reset"),
                "{error}"
            );
        }
    };
    fs::set_permissions(&golden, fs::Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().write(true).open(&golden).unwrap();
    let before = fs::metadata(&golden).unwrap().modified().unwrap();

    let later = before + Duration::from_nanos(1000);
    file.set_modified(later).unwrap();
    refused("it was written to since");
    file.set_modified(before).unwrap();
    drop(crate::open(&path, Access::ReadWrite).unwrap());

    file.write_all_at(b"G", 0).unwrap();
    file.set_modified(before).unwrap();
    refused("other content");
    file.set_len(LEN + 512).unwrap();
    refused("another size");
    library.reset("one", None).unwrap();
    assert_eq!(text(&open(&library, "one"), 0, 6), "Golden");
}

#[test]
fn what_is_in_use_is_left_alone() {
    let (_directory, library) = with_image();
    library.create_overlay("one", "debian", None).unwrap();
    let disk = open(&library, "one");
    let path = library.overlay_path("one", None);
    let in_use = |result: Result<OverlayInfo, LibraryError>| {
        let error = result.unwrap_err();
        assert!(
            matches!(error, LibraryError::Open(OpenError::InUse { .. })),
            "{error}"
        );
    };
    in_use(library.reset("one", None));
    in_use(library.snapshot("one", "now"));
    assert!(library.commit("one", "new", &mut |_, _| {}).is_err());
    assert!(library.remove_overlay("one", None).is_err());
    let writer = crate::open(&library.image_path("debian"), Access::ReadWrite);
    assert!(matches!(
        writer,
        Err(OpenError::InUse { .. } | OpenError::Open { .. })
    ));
    assert!(matches!(
        crate::open(&path, Access::ReadOnly),
        Err(OpenError::InUse { .. })
    ));
    drop(disk);
    let one = crate::open(&path, Access::ReadOnly).unwrap();
    let two = crate::open(&path, Access::ReadOnly).unwrap();
    assert!(matches!(one.write_at(0, &[1]), Err(DiskError::ReadOnly)));
    assert_eq!(probe(&path, Access::ReadWrite).unwrap(), two.len());
}

#[test]
fn errors_name_what_is_wrong_and_what_to_do() {
    let (directory, library) = with_image();
    let progress: Progress<'_> = &mut |_, _| {};
    library.create_overlay("one", "debian", None).unwrap();
    let check = |result: Result<(), LibraryError>, expected: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let create = |name, image, len| library.create_overlay(name, image, len).map(drop);
    check(
        create("two", "ubuntu", None),
        "no image ubuntu; there are debian",
    );
    check(create("one", "debian", None), "already overlay one");
    check(create("../x", "debian", None), "cannot be a name");
    check(create("two", "debian", Some(4096)), "it can only grow");
    check(library.reset("nobody", None).map(drop), "no overlay nobody");
    check(library.restore("one", "x").map(drop), "no snapshot x");
    check(library.remove_image("debian"), "needed by the overlay one");
    let path = source(directory.path(), "x.img", 1 << 20, "");
    check(
        library.import("debian", &path, None, progress).map(drop),
        "already image",
    );
    let entries = fs::read_dir(library.images_dir()).unwrap().count();
    assert_eq!(entries, 1, "what failed leaves nothing behind");
}

#[test]
fn what_a_crash_left_is_tidied_up() {
    let (_directory, library) = with_image();
    let half = library.images_dir().join(".new-half-1-2");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("disk.img"), "half").unwrap();
    let at_work = library.shared_lock().unwrap();
    Library::open(&library.root).unwrap();
    assert!(half.exists(), "somebody may be at work on it");
    drop(at_work);
    Library::open(&library.root).unwrap();
    assert!(!half.exists());
    assert_eq!(library.images().unwrap().len(), 1);
}
