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
