//! An overlay against a model, through power cuts at every call and with storage that fails.

use super::*;
use crate::Format;
use crate::testing::trial::Subject;
use crate::testing::{Drive, Image, Random, SECTOR, Trial};

/// A golden image in memory, each sector full of a number that tells where it is.
#[derive(Debug)]
struct Stamped(u64);

fn golden_stamp(sector: u64) -> u64 {
    if sector * SECTOR < GOLDEN_LEN {
        1 << 63 | sector
    } else {
        0
    }
}

impl Disk for Stamped {
    fn len(&self) -> u64 {
        self.0
    }
    fn read_only(&self) -> bool {
        true
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        check_range(self.0, offset, buffer.len() as u64)?;
        for (at, byte) in (offset..).zip(buffer) {
            *byte = golden_stamp(at / SECTOR).to_le_bytes()[(at % 8) as usize];
        }
        Ok(())
    }
    fn write_at(&self, _offset: u64, _data: &[u8]) -> Result<(), DiskError> {
        Err(DiskError::ReadOnly)
    }
    fn flush(&self) -> Result<(), DiskError> {
        Ok(())
    }
}

/// Three map pages, the last block cut short, the golden image shorter than the disk.
const DISK_LEN: u64 = 2 * BLOCKS_PER_PAGE * BLOCK_BYTES + 1_000 * SECTOR;
const GOLDEN_LEN: u64 = DISK_LEN - 203 * SECTOR;

use map::BLOCKS_PER_PAGE;

/// Around the ends of map pages, of the golden image, and of the disk.
fn places() -> Vec<Range<u64>> {
    let page = BLOCKS_PER_PAGE * BLOCK_BYTES / SECTOR;
    let end = DISK_LEN / SECTOR;
    vec![
        0..40,
        page - 60..page + 60,
        2 * page - 5..2 * page + 30,
        end - 250..end - 180,
        end - 50..end,
    ]
}

fn golden() -> Golden {
    Golden {
        path: "golden.img".into(),
        format: Format::Raw,
        identity: Identity {
            len: GOLDEN_LEN,
            modified: (1, 2),
            fingerprint: [3; 32],
        },
    }
}

fn fresh() -> Drive {
    let drive = Drive::default();
    OverlayDisk::create(&drive, DISK_LEN, golden()).unwrap();
    Drive::new(drive.image())
}

fn open(drive: &Drive) -> Result<OverlayDisk<Drive>, OverlayError> {
    OverlayDisk::open(drive.clone(), Arc::new(Stamped(GOLDEN_LEN)), false)
}

#[test]
fn it_behaves_like_a_disk() {
    for seed in 1..=40 {
        let drive = fresh();
        let disk = open(&drive).unwrap();
        let mut trial = Trial::new(seed, &places(), golden_stamp);
        for _ in 0..300 {
            trial.step(&disk, || drive.calls()).unwrap();
        }
        trial.check(&disk, usize::MAX).unwrap();
        disk.flush().unwrap();
        drop(disk);
        trial.check(&open(&drive).unwrap(), usize::MAX).unwrap();
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
        first: golden_stamp,
        survives_kills: true,
    })
}

#[test]
fn what_was_flushed_survives_kills_and_power_cuts() {
    let cuts: usize = with_subject(|it| (1..=6).map(|seed| it.live(seed, 3)).sum());
    assert!(cuts > 3_000, "only {cuts} cuts were tried");
}

#[test]
fn a_failing_call_is_told_and_loses_nothing_silently() {
    let mut reached = 0;
    for seed in 1..=4 {
        let endure = |fail_in| with_subject(|it| it.endure(seed, fail_in));
        reached += (0..150).filter(|fail_in| endure(*fail_in)).count();
    }
    assert!(reached > 300, "only {reached} calls failed");
}

#[test]
fn after_a_failed_sync_nothing_is_promised_any_more() {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    disk.write_at(0, &[1; 4096]).unwrap();
    drive.fail_in(0);
    assert!(matches!(disk.flush(), Err(DiskError::Flush(_))));
    assert!(matches!(disk.flush(), Err(DiskError::Failed)));
    assert!(matches!(disk.write_at(0, &[1]), Err(DiskError::Failed)));
    assert!(matches!(disk.discard(0, 4096), Err(DiskError::Failed)));
    disk.read_at(0, &mut [0; 512]).unwrap();
}

/// A full file system in the middle of a flush is not the end: there may be room later.
#[test]
fn a_flush_that_found_no_room_can_be_repeated() {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    disk.write_at(0, &[1; 4096]).unwrap();
    drive.fail_in(1);
    assert!(matches!(disk.flush(), Err(DiskError::Flush(_))));
    disk.flush().unwrap();
    let left = drive.after_power_cut(drive.calls(), &mut Random::new(1));
    let mut data = [0; 4096];
    open(&Drive::new(left))
        .unwrap()
        .read_at(0, &mut data)
        .unwrap();
    assert_eq!(data, [1; 4096]);
}

#[test]
fn a_flush_syncs_once_or_twice() {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    let mut last = drive.syncs();
    let mut syncs = || {
        disk.flush().unwrap();
        let now = drive.syncs();
        std::mem::replace(&mut last, now).abs_diff(now)
    };
    assert_eq!(syncs(), 1);
    disk.write_at(0, &[1; 512]).unwrap();
    assert_eq!(syncs(), 2, "a block has come into the overlay");
    disk.write_at(512, &[1; 512]).unwrap();
    assert_eq!(syncs(), 1, "a block of the overlay was written");
    disk.discard(0, 4096).unwrap();
    assert_eq!(syncs(), 2, "a block has gone");
}

#[test]
fn a_copy_has_the_same_content_and_stands_alone() {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    let mut trial = Trial::new(7, &places(), golden_stamp);
    for _ in 0..200 {
        trial.step(&disk, || drive.calls()).unwrap();
    }
    let copy = Drive::default();
    disk.copy_to(&copy, golden()).unwrap();
    let own = disk.own_bytes();
    disk.discard(0, DISK_LEN).unwrap();
    let copy = copy.after_power_cut(copy.calls(), &mut Random::new(1));
    let copy = open(&Drive::new(copy)).unwrap();
    trial.check(&copy, usize::MAX).unwrap();
    assert_eq!(copy.own_bytes(), own);
    assert_eq!(disk.own_bytes(), 0);
}

#[test]
fn extents_tell_data_from_nothing() {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    let extents = || {
        let (mut at, mut all) = (0, Vec::new());
        while at < DISK_LEN {
            let extent = disk.extent(at).unwrap();
            all.push((extent.len, extent.allocated));
            at += extent.len;
        }
        all
    };
    assert!(!extents().last().unwrap().1, "beyond the golden image");
    disk.discard(0, DISK_LEN).unwrap();
    assert!(extents().iter().all(|(_, allocated)| !allocated));
    disk.write_at(4096, &[1]).unwrap();
    assert_eq!(extents()[..2], [(4096, false), (4096, true)]);
}

#[test]
fn many_threads_write_to_neighbours_in_one_block() {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let disk = &disk;
            scope.spawn(move || {
                for round in 0..200 {
                    let offset = (round * 8 + thread) * SECTOR;
                    disk.write_at(offset, &[thread as u8 + 1; SECTOR as usize])
                        .unwrap();
                    if round % 50 == thread {
                        disk.flush().unwrap();
                    }
                }
            });
        }
    });
    let mut data = [0; 8 * SECTOR as usize];
    for round in 0..200 {
        disk.read_at(round * 8 * SECTOR, &mut data).unwrap();
        for (thread, sector) in (1..).zip(data.chunks(SECTOR as usize)) {
            assert!(sector.iter().all(|byte| *byte == thread), "round {round}");
        }
    }
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let check = |expected: &str, damage: &dyn Fn(&Drive)| {
        let drive = fresh();
        let disk = open(&drive).unwrap();
        disk.write_at(0, &[1; 512]).unwrap();
        disk.flush().unwrap();
        disk.write_at(4096, &[1; 512]).unwrap();
        disk.flush().unwrap();
        drop(disk);
        damage(&drive);
        let error = open(&drive).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("not an overlay", &|drive| drive.write(0, b"QFI").unwrap());
    check("not an overlay", &|drive| drive.set_len(100).unwrap());
    check("header is damaged", &|drive| drive.write(20, &[9]).unwrap());
    check("version 7", &|drive| drive.write(8, &[7]).unwrap());
    check("cut off", &|drive| drive.set_len(1 << 20).unwrap());
    check("map is damaged (page 0)", &|drive| {
        drive.write(4096 + 100, &[255]).unwrap();
        drive.write(8192 + 100, &[255]).unwrap();
    });
}

#[test]
fn a_header_reads_back_as_written() {
    let header = Header {
        disk_len: DISK_LEN,
        golden: golden(),
    };
    let bytes = header.encode().unwrap();
    assert_eq!(Header::decode(&bytes).unwrap(), header);
    let path = "x".repeat(4001).into();
    let too_long = Golden { path, ..golden() };
    let refused = OverlayDisk::create(&Drive::new(Image::default()), DISK_LEN, too_long);
    assert!(matches!(refused, Err(OverlayError::PathTooLong)));
}

/// The first block of the disk, after `drive` was opened again.
fn first_block(drive: &Drive) -> u64 {
    let mut data = [0; 4096];
    open(drive).unwrap().read_at(0, &mut data).unwrap();
    u64::from_le_bytes(*data.first_chunk().unwrap())
}

/// A drive on which a process was killed after it had written 7s to the first block.
fn killed() -> Drive {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    disk.write_at(0, &7u64.to_le_bytes().repeat(512)).unwrap();
    std::mem::forget(disk);
    drive
}

#[test]
fn a_mirror_counts_only_as_long_as_the_cache_lives() {
    let drive = killed();
    assert_eq!(first_block(&Drive::new(drive.image())), golden_stamp(0));
    assert_eq!(first_block(&drive), 7);
}

/// Two servers share the storage: the second has gone on before the first comes back.
#[test]
fn a_mirror_that_another_system_has_seen_does_not_come_back() {
    let here = killed();
    let there = Drive::new(here.image());
    let disk = open(&there).unwrap();
    disk.discard(0, 4096).unwrap();
    disk.flush().unwrap();
    drop(disk);
    assert_eq!(first_block(&here.same_cache(there.image())), 0);
}

#[test]
fn a_mirror_of_another_map_does_not_count() {
    let (drive, other) = (killed(), fresh());
    let disk = open(&other).unwrap();
    disk.write_at(4096, &[1; 4096]).unwrap();
    disk.flush().unwrap();
    drop(disk);
    let header = read_header(&drive).unwrap();
    let mut mirror = [0; PAGE_BYTES];
    drive.read(header.mirror_offset(0), &mut mirror).unwrap();
    let other = drive.same_cache(other.image());
    other.write(header.mirror_offset(0), &mirror).unwrap();
    assert_eq!(first_block(&other), golden_stamp(0));
}

#[test]
fn a_change_that_the_mirror_does_not_have_is_an_error() {
    let drive = fresh();
    let disk = open(&drive).unwrap();
    drive.fail_in(1);
    let error = disk.write_at(0, &[1; 4096]).unwrap_err();
    assert!(matches!(error, DiskError::Write { .. }), "{error}");
    let mut data = [0; 512];
    disk.read_at(0, &mut data).unwrap();
    assert_eq!(data[..8], golden_stamp(0).to_le_bytes());
    disk.write_at(0, &[2; 4096]).unwrap();
}
