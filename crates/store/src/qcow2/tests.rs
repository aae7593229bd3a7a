//! A qcow2 image against a model, through power cuts at every call and with storage that fails.
//! Small clusters, so that tables grow and move all the time.

use std::sync::OnceLock;

use super::*;
use crate::testing::trial::{Subject, stamped};
use crate::testing::{Drive, SECTOR, Trial};
use imago::{DenyImplicitOpenGate, FormatCreateBuilder as _, FormatDriverBuilder as _};

const DISK_LEN: u64 = 3 * 1024 * 1024 + 700 * SECTOR;
const CLUSTER: usize = 2048;

fn backing_stamp(sector: u64) -> u64 {
    if sector < BACKING_SECTORS {
        1 << 63 | sector
    } else {
        0
    }
}

/// The image below is shorter.
const BACKING_SECTORS: u64 = DISK_LEN / SECTOR - 50;

fn below() -> Backing<Drive> {
    static DRIVE: OnceLock<Drive> = OnceLock::new();
    let drive = DRIVE.get_or_init(|| {
        let drive = Drive::default();
        let stamps = backing_stamp(0)..backing_stamp(0) + BACKING_SECTORS;
        drive.write(0, &stamped(stamps)).unwrap();
        drive
    });
    Backing::raw(drive.clone()).unwrap()
}

fn fresh() -> Drive {
    let drive = Drive::default();
    // Made in memory, through the same layer.
    let journal = Journal::new(drive.second());
    let builder = Qcow2::<Layer<Drive>>::create_builder(Layer::writable(drive.clone(), journal))
        .cluster_size(CLUSTER)
        .size(DISK_LEN);
    let image = builder
        .create_open(DenyImplicitOpenGate::default(), |layer| {
            Ok(Qcow2::builder(layer)
                .backing(None)
                .data_file(None)
                .write(true))
        })
        .unwrap();
    let format = FormatAccess::new(image);
    format.flush().unwrap();
    storage(&format).unwrap().commit().unwrap();
    Drive::new(drive.image())
}

fn open(drive: &Drive) -> Result<Qcow2Disk<Drive>, Qcow2Error> {
    Qcow2Disk::open(drive.clone(), drive.second(), Some(below()))
}

/// What one L2 table speaks of ends, and so does the image below.
fn places() -> Vec<std::ops::Range<u64>> {
    let table = (CLUSTER / 8 * CLUSTER) as u64 / SECTOR;
    let end = DISK_LEN / SECTOR;
    vec![0..50, table - 30..table + 30, end - 80..end]
}

#[test]
fn it_behaves_like_a_disk() {
    for seed in 1..=20 {
        let drive = fresh();
        let disk = open(&drive).unwrap();
        let mut trial = Trial::new(seed, &places(), backing_stamp);
        for _ in 0..300 {
            trial.step(&disk, || drive.calls()).unwrap();
        }
        trial.check(&disk, usize::MAX).unwrap();
        disk.flush().unwrap();
        drop(disk);
        trial.check(&open(&drive).unwrap(), usize::MAX).unwrap();
        let read_only =
            Qcow2Disk::open_read_only(drive.clone(), Some(drive.second()), Some(below())).unwrap();
        trial.check(&read_only, usize::MAX).unwrap();
    }
}

fn with_subject<T>(act: impl FnOnce(&Subject<'_>) -> T) -> T {
    act(&Subject {
        fresh: &fresh,
        open: &|drive| match open(drive) {
            Ok(disk) => Ok(Box::new(disk)),
            Err(error) => Err(error.to_string()),
        },
        places: &places(),
        first: backing_stamp,
        // Its library keeps tables in memory until the flush.
        survives_kills: false,
    })
}

#[test]
fn what_was_flushed_survives_kills_and_power_cuts() {
    let cuts: usize = with_subject(|it| (1..=5).map(|seed| it.live(seed, 3)).sum());
    assert!(cuts > 3_000, "only {cuts} cuts were tried");
}

#[test]
fn a_failing_call_is_told_and_loses_nothing_silently() {
    let mut reached = 0;
    for seed in 1..=3 {
        let endure = |fail_in| with_subject(|it| it.endure(seed, fail_in));
        reached += (0..120).filter(|fail_in| endure(*fail_in)).count();
    }
    assert!(reached > 300, "only {reached} calls failed");
}
