//! Disks that are not raw files: overlays on a golden image, and qcow2.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use bowline_iscsi::initiator::Transfer;
use bowline_scsi::{Capacity, Cdb, Sense, Status};
use bowline_store::{Access, Disk as _, Library, LibraryError, OpenError};

use crate::client::{Client, Site, attempt};
use crate::pattern;

const LEN: usize = 4 << 20;

/// A library with the golden image `golden`, made from `content`, and the overlays `one` and `two`
/// on it.
fn library(root: &Path, content: &[u8]) -> Library {
    let library = Library::open(root).unwrap();
    let source = root.join("source.img");
    fs::write(&source, content).unwrap();
    library
        .import("golden", &source, None, &mut |_, _| {})
        .unwrap();
    fs::remove_file(source).unwrap();
    for machine in ["one", "two"] {
        library.create_overlay(machine, "golden", None).unwrap();
    }
    library
}

/// A server of both overlays as LUN 1 and LUN 2.
fn serve(library: &Library) -> Site {
    let file = |machine| library.overlay_path(machine, None).display().to_string();
    let config = format!(
        "[iscsi]\nlisten = ['127.0.0.1:0']\n[[iscsi.target]]\n\
         name = 'iqn.2026-01.com.example:open'\n\
         lun = [{{ lun = 1, file = '{}' }}, {{ lun = 2, file = '{}' }}]\n",
        file("one"),
        file("two")
    );
    Site::of(tempfile::tempdir().unwrap(), &config, |_| ())
}

fn read(client: &mut Client, lun: u16, lba: u64, blocks: u32) -> Vec<u8> {
    let completion = client.run(lun, Cdb::read(lba, blocks), Transfer::Read(blocks * 512));
    assert_eq!(completion.sense, None);
    completion.data
}

fn write(client: &mut Client, lun: u16, lba: u64, data: &[u8]) {
    let blocks = u32::try_from(data.len() / 512).unwrap();
    let written = client.run(lun, Cdb::write(lba, blocks), Transfer::Write(data.to_vec()));
    assert_eq!(written.status, Status::GOOD);
    let flushed = client.run(lun, Cdb::flush(), Transfer::None);
    assert_eq!(flushed.status, Status::GOOD);
}

fn disk_len(client: &mut Client, lun: u16) -> u64 {
    let capacity = Cdb::ReadCapacity16 {
        allocation_length: 32,
    };
    let completion = client.run(lun, capacity, Transfer::Read(32));
    let capacity = Capacity::parse16(&completion.data).unwrap();
    capacity.blocks * u64::from(capacity.block_size)
}

fn in_use<T: std::fmt::Debug>(result: Result<T, LibraryError>) {
    let error = result.unwrap_err();
    let expected = matches!(error, LibraryError::Open(OpenError::InUse { .. }));
    assert!(expected, "{error}");
}

#[test]
fn two_machines_write_over_one_golden_image() {
    let root = tempfile::tempdir().unwrap();
    let golden = pattern(5, LEN);
    let library = library(root.path(), &golden);
    let golden_path = library.image_path("golden");
    let state = || -> (Vec<u8>, SystemTime) {
        let modified = fs::metadata(&golden_path).unwrap().modified().unwrap();
        (fs::read(&golden_path).unwrap(), modified)
    };
    let before = state();
    assert!(before.0 == golden);

    // Not in blocks of 4096 bytes, so that the first block is filled up from the golden image.
    let (first, second) = (pattern(6, 37 * 512), pattern(7, 50 * 512));
    let with = |lba: usize, data: &[u8]| {
        let mut disk = golden.clone();
        disk[lba * 512..][..data.len()].copy_from_slice(data);
        disk
    };
    let (one, two) = (with(3, &first), with(11, &second));
    let blocks = u32::try_from(LEN / 512).unwrap();
    {
        let mut site = serve(&library);
        let (mut client, _) = attempt("open").login(&site).unwrap();
        for lun in [1, 2] {
            assert_eq!(disk_len(&mut client, lun), LEN as u64);
            assert!(read(&mut client, lun, 0, blocks) == golden);
        }
        write(&mut client, 1, 3, &first);
        write(&mut client, 2, 11, &second);
        assert!(read(&mut client, 1, 0, blocks) == one);
        assert!(read(&mut client, 2, 0, blocks) == two);
        // The server has them; nobody pulls them away below it.
        in_use(library.reset("one", None));
        in_use(library.snapshot("one", "now"));
        in_use(library.commit("two", "new", &mut |_, _| {}));
        in_use(library.remove_overlay("two", None));
        assert!(read(&mut client, 1, 0, blocks) == one);
        drop(client);
        site.stop();
    }
    assert!(state() == before, "the golden image has changed");

    library.reset("one", None).unwrap();
    let committed = library.commit("two", "new", &mut |_, _| {}).unwrap();
    assert!(fs::read(committed.path).unwrap() == two);
    let site = serve(&library);
    let (mut client, _) = attempt("open").login(&site).unwrap();
    assert!(read(&mut client, 1, 0, blocks) == golden);
    assert!(read(&mut client, 2, 0, blocks) == two);
    drop((client, site));
    assert!(state() == before, "the golden image has changed");
}

/// Readers share an overlay; it still is as long as its disk, and what it refuses it refuses as a
/// disk does.
#[test]
fn an_overlay_may_be_read_only() {
    let root = tempfile::tempdir().unwrap();
    let golden = pattern(8, LEN);
    let library = library(root.path(), &golden);
    let file = library.overlay_path("one", None);
    let config = format!(
        "[iscsi]\nlisten = ['127.0.0.1:0']\n[[iscsi.target]]\n\
         name = 'iqn.2026-01.com.example:open'\nlun = [\n\
         {{ lun = 1, file = '{0}', read-only = true }},\n\
         {{ lun = 2, file = '{0}', read-only = true, block-size = 4096 }},\n]\n",
        file.display()
    );
    let site = Site::of(tempfile::tempdir().unwrap(), &config, |_| ());
    let (mut client, _) = attempt("open").login(&site).unwrap();
    for lun in [1, 2] {
        assert_eq!(disk_len(&mut client, lun), LEN as u64);
    }
    assert!(read(&mut client, 1, 8, 8) == golden[4096..8192]);
    let refused = client.run(1, Cdb::write(0, 1), Transfer::Write(vec![1; 512]));
    assert_eq!(
        (refused.status, refused.sense),
        (Status::CHECK_CONDITION, Some(Sense::WRITE_PROTECTED))
    );
    in_use(bowline_store::open(&file, Access::ReadWrite).map_err(LibraryError::from));
}

/// The least that is a qcow2 image (version 3, clusters of 64 KiB) of `LEN` bytes without content;
/// QEMU's docs/interop/qcow2.rst has the fields.
fn empty_qcow2() -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    let mut image = vec![0; 4 * CLUSTER];
    let mut put = |offset: usize, bytes: &[u8]| {
        image[offset..][..bytes.len()].copy_from_slice(bytes);
    };
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &16_u32.to_be_bytes()); // cluster_bits
    put(24, &(LEN as u64).to_be_bytes());
    put(36, &1_u32.to_be_bytes()); // l1_size
    put(40, &(3 * CLUSTER as u64).to_be_bytes()); // l1_table_offset
    put(48, &(CLUSTER as u64).to_be_bytes()); // refcount_table_offset
    put(56, &1_u32.to_be_bytes()); // refcount_table_clusters
    put(96, &4_u32.to_be_bytes()); // refcount_order: 16 bits
    put(100, &104_u32.to_be_bytes()); // header_length
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes()); // the one refcount block
    for cluster in 0..4 {
        put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes());
    }
    image
}

#[test]
fn a_qcow2_image_is_served_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.qcow2");
    fs::write(&path, empty_qcow2()).unwrap();
    let config = "[iscsi]\nlisten = ['127.0.0.1:0']\n[[iscsi.target]]\n\
        name = 'iqn.2026-01.com.example:open'\nlun = [{ lun = 1, file = 'disk.qcow2' }]\n";
    let mut site = Site::of(directory, config, |_| ());
    let (mut client, _) = attempt("open").login(&site).unwrap();
    assert_eq!(disk_len(&mut client, 1), LEN as u64);
    assert_eq!(client.read(0, 8), [0; 4096]);
    let data = pattern(9, 300 * 512);
    write(&mut client, 1, 77, &data);
    assert!(client.read(77, 300) == data);
    in_use(bowline_store::open(&path, Access::ReadWrite).map_err(LibraryError::from));
    drop(client);
    site.stop();

    let disk = bowline_store::open(&path, Access::ReadOnly).unwrap();
    let mut found = vec![0; data.len()];
    disk.read_at(77 * 512, &mut found).unwrap();
    assert!(found == data);
}
