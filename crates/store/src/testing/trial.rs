//! A disk against a model of it: random work, and what may be there after a power cut.
//!
//! Every sector written carries a stamp of its own, so that a reader can tell which write it sees.
//! After a cut each sector must hold what the last flush promised or what was written since.

use std::collections::BTreeMap;

use super::{Drive, Random, SECTOR};
use crate::{Disk, DiskError};

/// What has been done to a disk.
#[derive(Debug)]
pub(crate) struct Trial {
    random: Random,
    /// The sectors that work is done on; a few places are enough, and are hit again and again.
    places: Vec<std::ops::Range<u64>>,
    next_stamp: u64,
    /// What each sector holds that has ever been changed.
    now: BTreeMap<u64, u64>,
    /// In order: the number of storage calls before, and what was done then.
    history: Vec<(usize, Event)>,
    /// What the sectors held at first.
    first: fn(u64) -> u64,
}

#[derive(Debug)]
enum Event {
    /// A sector was about to be given a stamp.
    Stamp(u64, u64),
    /// A flush has succeeded.
    Flushed,
}

impl Trial {
    pub(crate) fn new(seed: u64, places: &[std::ops::Range<u64>], first: fn(u64) -> u64) -> Self {
        Self {
            random: Random::new(seed),
            places: places.to_vec(),
            next_stamp: 1 + (seed << 20),
            now: BTreeMap::new(),
            history: Vec::new(),
            first,
        }
    }

    fn held(&self, sector: u64) -> u64 {
        let first = || (self.first)(sector);
        self.now.get(&sector).copied().unwrap_or_else(first)
    }

    fn range(&mut self) -> std::ops::Range<u64> {
        let place = self.random.below(self.places.len() as u64) as usize;
        let place = self.places[place].clone();
        let start = place.start + self.random.below(place.end - place.start);
        let most = match self.random.below(4) {
            0 => 1,
            1 => 8,
            _ => 64,
        };
        start..(start + 1 + self.random.below(most)).min(place.end)
    }

    /// Does one thing. `calls` tells how many calls the storage has seen.
    pub(crate) fn step(
        &mut self,
        disk: &dyn Disk,
        calls: impl Fn() -> usize,
    ) -> Result<(), DiskError> {
        let range = self.range();
        let (offset, sectors) = (range.start * SECTOR, range.end - range.start);
        match self.random.below(12) {
            0 => {
                disk.flush()?;
                self.history.push((calls(), Event::Flushed));
            }
            1 => {
                self.note(range, |_| 0, calls());
                disk.discard(offset, sectors * SECTOR)?;
            }
            2 => {
                self.note(range, |_| 0, calls());
                disk.write_zeroes(offset, sectors * SECTOR)?;
            }
            3..=5 => {
                let mut data = vec![0; (sectors * SECTOR) as usize];
                disk.read_at(offset, &mut data)?;
                for (sector, bytes) in range.zip(data.chunks(SECTOR as usize)) {
                    assert_eq!(stamp(bytes), Some(self.held(sector)), "sector {sector}");
                }
            }
            _ => {
                let base = self.next_stamp;
                self.next_stamp += sectors;
                let start = range.start;
                self.note(range.clone(), |sector| base + sector - start, calls());
                disk.write_at(offset, &stamped(base..base + sectors))?;
            }
        }
        Ok(())
    }

    fn note(&mut self, range: std::ops::Range<u64>, stamp: impl Fn(u64) -> u64, calls: usize) {
        for sector in range {
            self.now.insert(sector, stamp(sector));
            self.history
                .push((calls, Event::Stamp(sector, stamp(sector))));
        }
    }

    /// What a call that failed has done is not known; the model learns it from the disk.
    pub(crate) fn look_again(&mut self, disk: &dyn Disk, calls: usize) {
        for sector in self.places.clone().into_iter().flatten() {
            let held = read_stamp(disk, sector);
            if held != self.held(sector) {
                self.note(sector..sector + 1, |_| held, calls);
            }
        }
    }

    /// Sees that `disk`, opened after a power cut after `calls` storage calls, holds all that was
    /// flushed by then, and nothing that was never written.
    pub(crate) fn check(&self, disk: &dyn Disk, calls: usize) -> Result<(), String> {
        let mut allowed: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (at, event) in &self.history {
            match event {
                Event::Stamp(sector, stamp) if *at <= calls => {
                    let first = || vec![(self.first)(*sector)];
                    allowed.entry(*sector).or_insert_with(first).push(*stamp);
                }
                Event::Flushed if *at <= calls => {
                    for stamps in allowed.values_mut() {
                        *stamps = stamps.split_off(stamps.len() - 1);
                    }
                }
                _ => {}
            }
        }
        for place in &self.places {
            for sector in place.clone() {
                let mut bytes = [0; SECTOR as usize];
                let read = disk.read_at(sector * SECTOR, &mut bytes);
                read.map_err(|error| format!("sector {sector}: {error}"))?;
                let found = stamp(&bytes);
                let first = [(self.first)(sector)];
                let allowed = allowed.get(&sector).map_or(&first[..], Vec::as_slice);
                if !found.is_some_and(|found| allowed.contains(&found)) {
                    return Err(format!(
                        "sector {sector} holds {found:x?}, may hold {allowed:x?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Sees that everything is there, flushed or not.
    fn check_all(&self, disk: &dyn Disk) {
        for sector in self.places.clone().into_iter().flatten() {
            assert_eq!(
                read_stamp(disk, sector),
                self.held(sector),
                "sector {sector}"
            );
        }
    }

    /// Goes on with a disk that was opened again, before storage call `calls`: what it holds now
    /// it must keep.
    pub(crate) fn restart(&mut self, disk: &dyn Disk, calls: usize) {
        self.history.clear();
        for sector in self.places.clone().into_iter().flatten() {
            let held = read_stamp(disk, sector);
            self.note(sector..sector + 1, |_| held, calls);
        }
        self.history.push((calls, Event::Flushed));
    }
}

pub(crate) type Opened = Result<Box<dyn Disk>, String>;

/// A format to be tried.
pub(crate) struct Subject<'a> {
    /// A fresh image of it.
    pub(crate) fresh: &'a dyn Fn() -> Drive,
    pub(crate) open: &'a dyn Fn(&Drive) -> Opened,
    /// Where to work, in sectors.
    pub(crate) places: &'a [std::ops::Range<u64>],
    /// What the sectors of a fresh image hold.
    pub(crate) first: fn(u64) -> u64,
    /// A kill without a power cut loses nothing at all.
    pub(crate) survives_kills: bool,
}

impl Subject<'_> {
    /// Works, ends by a power cut or a kill, opens again, works on, for several lives. In each
    /// life the power is cut after every storage call, in `ways` ways, to see what would be left.
    /// Returns how many cuts that were.
    pub(crate) fn live(&self, seed: u64, ways: usize) -> usize {
        let mut random = Random::new(seed);
        let mut trial = Trial::new(seed, self.places, self.first);
        let mut drive = (self.fresh)();
        let (mut cuts, mut killed) = (0, false);
        for life in 0..6 {
            let disk = (self.open)(&drive).unwrap();
            let born = drive.calls();
            if killed && self.survives_kills {
                trial.check_all(&*disk);
            }
            if life > 0 {
                trial.restart(&*disk, born);
            }
            for _ in 0..50 {
                trial.step(&*disk, || drive.calls()).unwrap();
            }
            for calls in born..=drive.calls() {
                for _ in 0..ways {
                    let left = Drive::new(drive.after_power_cut(calls, &mut random));
                    let checked = (self.open)(&left).and_then(|disk| trial.check(&*disk, calls));
                    checked.unwrap_or_else(|error| {
                        panic!("seed {seed}, life {life}, cut after call {calls}: {error}")
                    });
                    cuts += 1;
                }
            }
            // Killed: nothing is tidied up.
            std::mem::forget(disk);
            killed = random.coin();
            if !killed {
                let calls = born + random.below((drive.calls() - born) as u64 + 1) as usize;
                drive = Drive::new(drive.after_power_cut(calls, &mut random));
            }
        }
        cuts
    }

    /// Works while the storage fails once, after `fail_in` calls: the error is told, and whatever
    /// a later flush promises is there. Returns whether the failure was reached.
    pub(crate) fn endure(&self, seed: u64, fail_in: u64) -> bool {
        let drive = (self.fresh)();
        let disk = (self.open)(&drive).unwrap();
        drive.fail_in(fail_in);
        let mut trial = Trial::new(seed, self.places, self.first);
        for _ in 0..80 {
            let failures = drive.failures();
            let result = trial.step(&*disk, || drive.calls());
            assert!(
                drive.failures() == failures || result.is_err(),
                "seed {seed}, call {fail_in}: the failure was kept back"
            );
            if result.is_err() {
                assert_eq!(drive.failures(), 1, "an error without a failure");
                trial.look_again(&*disk, drive.calls());
            }
        }
        let calls = drive.calls();
        let left = Drive::new(drive.after_power_cut(calls, &mut Random::new(fail_in)));
        let checked = (self.open)(&left).and_then(|disk| trial.check(&*disk, calls));
        checked.unwrap_or_else(|error| panic!("seed {seed}, call {fail_in}: {error}"));
        drive.failures() > 0
    }
}

fn read_stamp(disk: &dyn Disk, sector: u64) -> u64 {
    let mut bytes = [0; SECTOR as usize];
    disk.read_at(sector * SECTOR, &mut bytes).unwrap();
    stamp(&bytes).unwrap()
}

/// Sectors full of their stamps.
pub(crate) fn stamped(stamps: std::ops::Range<u64>) -> Vec<u8> {
    let words = stamps.flat_map(|stamp| [stamp; SECTOR as usize / 8]);
    words.flat_map(u64::to_le_bytes).collect()
}

/// The stamp of a sector that has the same all over.
fn stamp(sector: &[u8]) -> Option<u64> {
    let (words, _) = sector.as_chunks::<8>();
    let first = u64::from_le_bytes(*words.first()?);
    let same = words.iter().all(|word| u64::from_le_bytes(*word) == first);
    same.then_some(first)
}
