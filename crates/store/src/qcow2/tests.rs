//! A qcow2 image against a model, through power cuts at every call and with storage that fails.
//! Small clusters, so that tables grow and move all the time.

use std::sync::OnceLock;

use super::*;
use crate::testing::trial::stamped;
use crate::testing::{Drive, Random, SECTOR, Trial};
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
            Ok(Qcow2::builder(layer).backing(None).data_file(None).write(true))
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

#[test]
fn what_was_flushed_survives_power_cuts() {
    let mut cuts = 0;
    for seed in 1..=3 {
        let mut random = Random::new(seed);
        let mut image = fresh().image();
        let mut trial = Trial::new(seed, &places(), backing_stamp);
        for life in 0..4 {
            let drive = Drive::new(image);
            let disk = open(&drive).unwrap();
            if life > 0 {
                trial.restart(&disk);
            }
            for _ in 0..60 {
                trial.step(&disk, || drive.calls()).unwrap();
            }
            for calls in 0..=drive.calls() {
                for _ in 0..2 {
                    let left = Drive::new(drive.after_power_cut(calls, &mut random));
                    let what = format!("seed {seed}, life {life}, cut after call {calls}");
                    let disk = open(&left).unwrap_or_else(|error| panic!("{what}: {error}"));
                    let checked = trial.check(&disk, calls);
                    checked.unwrap_or_else(|error| panic!("{what}: {error}"));
                    cuts += 1;
                }
            }
            let calls = random.below(drive.calls() as u64 + 1) as usize;
            image = drive.after_power_cut(calls, &mut random);
        }
    }
    assert!(cuts > 1_500, "only {cuts} cuts were tried");
}

#[test]
fn a_failing_call_is_told_and_loses_nothing_silently() {
    for seed in 1..=3 {
        for fail_in in 0..120 {
            let drive = fresh();
            let disk = open(&drive).unwrap();
            drive.fail_in(fail_in);
            let mut trial = Trial::new(seed, &places(), backing_stamp);
            for _ in 0..60 {
                let failures = drive.failures();
                let result = trial.step(&disk, || drive.calls());
                if drive.failures() > failures {
                    assert!(result.is_err(), "a failure was kept back");
                }
                if result.is_err() {
                    trial.look_again(&disk, drive.calls());
                }
            }
            assert_eq!(drive.failures(), 1, "the call {fail_in} was never reached");
            let calls = drive.calls();
            let left = drive.after_power_cut(calls, &mut Random::new(fail_in));
            let checked = trial.check(&open(&Drive::new(left)).unwrap(), calls);
            checked.unwrap_or_else(|error| panic!("seed {seed}, call {fail_in}: {error}"));
        }
    }
}
