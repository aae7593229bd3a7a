//! A drive with a volatile cache, in memory, that remembers every call. It has room for two files.
//!
//! From the calls up to any moment it can make the images that a power cut then could leave: all
//! that was synced, and of the rest any sectors in any of the versions written since. It can also
//! fail its n-th call.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Random;
use crate::{CacheId, Storage};

/// What is written whole or not at all.
pub(crate) const SECTOR: u64 = 512;

/// The content of a drive. What was never written is a hole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image([Content; 2]);

/// The content of a file.
#[derive(Clone, Debug, Default)]
struct Content {
    len: u64,
    sectors: BTreeMap<u64, Sector>,
}

/// Shared by all images that hold it; `None` is a hole.
type Sector = Option<Arc<[u8; SECTOR as usize]>>;

impl Content {
    fn read(&self, offset: u64, buffer: &mut [u8]) {
        for (index, within, piece) in pieces(offset, buffer.len()) {
            let buffer = &mut buffer[piece];
            match self.sectors.get(&index) {
                Some(Some(sector)) => buffer.copy_from_slice(&sector[within..][..buffer.len()]),
                _ => buffer.fill(0),
            }
        }
    }

    /// The sectors that a write changes, as they are after it.
    fn changes(&self, offset: u64, data: &[u8]) -> Vec<(u64, Sector)> {
        let change = |(index, within, piece): (u64, usize, Range<usize>)| {
            let mut sector = [0; SECTOR as usize];
            self.read(index * SECTOR, &mut sector);
            sector[within..][..piece.len()].copy_from_slice(&data[piece]);
            (index, Some(Arc::new(sector)))
        };
        pieces(offset, data.len()).map(change).collect()
    }

    fn put(&mut self, index: u64, sector: &Sector) {
        self.len = self.len.max((index + 1) * SECTOR);
        if sector.is_some() {
            self.sectors.insert(index, sector.clone());
        } else {
            self.sectors.remove(&index);
        }
    }

    fn set_len(&mut self, len: u64) {
        self.len = len;
        self.sectors.retain(|index, _| index * SECTOR < len);
    }
}

/// Cuts a range of `len` bytes from `offset` on into pieces of sectors: the sector, where in it the
/// piece begins, and which bytes of the range it is.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let end = offset + len as u64;
    (offset / SECTOR..end.div_ceil(SECTOR)).map(move |index| {
        let start = offset.max(index * SECTOR);
        let stop = end.min((index + 1) * SECTOR);
        let piece = (start - offset) as usize..(stop - offset) as usize;
        (index, (start % SECTOR) as usize, piece)
    })
}

/// A call, and on which file.
type Call = (usize, Change);

#[derive(Clone, Debug)]
enum Change {
    Write(Vec<(u64, Sector)>),
    SetLen(u64),
    Sync,
}

#[derive(Debug, Default)]
struct State {
    first: Image,
    now: Image,
    calls: Vec<Call>,
    /// Counts down with every call that changes something; that which finds 0 fails.
    fail_in: Option<u64>,
    failures: u64,
    /// What was on stable storage after so many calls.
    synced: Option<(usize, Image)>,
}

/// A handle on a file of a drive; copies are the same file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drive {
    state: Arc<Mutex<State>>,
    file: usize,
    /// Given anew with every power cut.
    cache: u128,
}

impl Drive {
    pub(crate) fn new(image: Image) -> Self {
        static CACHES: AtomicU64 = AtomicU64::new(1);
        let state = State {
            first: image.clone(),
            now: image,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            file: 0,
            cache: CACHES.fetch_add(1, Ordering::Relaxed).into(),
        }
    }

    /// The other file on the drive.
    pub(crate) fn second(&self) -> Self {
        Self {
            file: 1,
            ..self.clone()
        }
    }

    /// A drive with another content, behind the same cache.
    pub(crate) fn same_cache(&self, image: Image) -> Self {
        Self {
            cache: self.cache,
            ..Self::new(image)
        }
    }

    /// The content as the system shows it.
    pub(crate) fn image(&self) -> Image {
        self.state.lock().unwrap().now.clone()
    }

    /// How many calls have changed something.
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls.len()
    }

    pub(crate) fn syncs(&self) -> usize {
        let state = self.state.lock().unwrap();
        let sync = |call: &&Call| matches!(call.1, Change::Sync);
        state.calls.iter().filter(sync).count()
    }

    /// The call that comes after `calls` others fails, once.
    pub(crate) fn fail_in(&self, calls: u64) {
        self.state.lock().unwrap().fail_in = Some(calls);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.state.lock().unwrap().failures
    }

    /// An image that a power cut after the first `calls` calls could leave.
    pub(crate) fn after_power_cut(&self, calls: usize, random: &mut Random) -> Image {
        let mut state = self.state.lock().unwrap();
        let state = &mut *state;
        let calls = &state.calls[..calls];
        let synced = last_syncs(calls);
        let all_synced = synced[0].min(synced[1]);
        // Cuts are tried in the order of the calls: go on from the last one.
        let (before, mut image) = std::mem::take(&mut state.synced)
            .filter(|(before, _)| *before <= all_synced)
            .unwrap_or_else(|| (0, state.first.clone()));
        for call in &calls[before..all_synced] {
            apply(&mut image, call, |_| true);
        }
        state.synced = Some((all_synced, image.clone()));
        let (done, cached): (Vec<_>, Vec<_>) = (all_synced..)
            .zip(&calls[all_synced..])
            .partition(|(at, (file, _))| *at < synced[*file]);
        for (_, call) in done {
            apply(&mut image, call, |_| true);
        }
        let cached: Vec<&Call> = cached.into_iter().map(|(_, call)| call).collect();
        cut(&mut image, &cached, random);
        image
    }

    fn change(&self, change: impl FnOnce(&Content) -> Change) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let change = change(&state.now.0[self.file]);
        if state.fail_in == Some(0) {
            state.fail_in = None;
            state.failures += 1;
            match change {
                // As Linux does: what could not be written is forgotten, and the next sync would
                // succeed.
                Change::Sync => self.forget(&mut state),
                // The disk is full half way.
                Change::Write(mut sectors) => {
                    sectors.truncate(sectors.len() / 2);
                    let half = (self.file, Change::Write(sectors));
                    apply(&mut state.now, &half, |_| true);
                    state.calls.push(half);
                }
                Change::SetLen(_) => {}
            }
            return Err(io::Error::other("broken on purpose"));
        }
        state.fail_in = state.fail_in.map(|left| left - 1);
        let call = (self.file, change);
        apply(&mut state.now, &call, |_| true);
        state.calls.push(call);
        Ok(())
    }

    /// Loses what this file has only in the cache.
    fn forget(&self, state: &mut State) {
        let synced = last_syncs(&state.calls)[self.file];
        let lost = |(at, (file, change)): (usize, &mut Call)| {
            if *file == self.file && at >= synced {
                *change = Change::Write(Vec::new());
            }
        };
        state.calls.iter_mut().enumerate().for_each(lost);
        let mut image = state.first.clone();
        for call in &state.calls {
            apply(&mut image, call, |_| true);
        }
        image.0[self.file].len = state.now.0[self.file].len;
        state.now = image;
        state.synced = None;
    }
}

/// How many of `calls` a sync of their file has come after, for each file.
fn last_syncs(calls: &[Call]) -> [usize; 2] {
    let last = |file| {
        let sync = |call: &Call| call.0 == file && matches!(call.1, Change::Sync);
        calls.iter().rposition(sync).map_or(0, |at| at + 1)
    };
    match [last(0), last(1)] {
        // A file that is never used waits for nothing.
        [first, 0] if calls.iter().all(|call| call.0 == 0) => [first, first],
        both => both,
    }
}

/// Keeps some of `cached`.
fn cut(image: &mut Image, cached: &[&Call], random: &mut Random) {
    let chosen = random.below(cached.len().max(1) as u64) as usize;
    let way = random.below(7);
    for (index, call) in cached.iter().enumerate() {
        let coin = random.coin();
        let keep = match way {
            0 => false,
            // A kill: the system still writes everything.
            1 => true,
            2 => coin,
            3 => index >= chosen,
            4 => index != chosen,
            5 => call.0 == chosen % 2,
            _ => {
                apply(image, call, |_| random.coin());
                continue;
            }
        };
        apply(image, call, |_| keep);
    }
}

fn apply(image: &mut Image, (file, change): &Call, mut keep: impl FnMut(u64) -> bool) {
    let content = &mut image.0[*file];
    match change {
        Change::Write(sectors) => {
            for (index, sector) in sectors {
                if keep(*index) {
                    content.put(*index, sector);
                }
            }
        }
        Change::SetLen(len) => {
            if keep(0) {
                content.set_len(*len);
            }
        }
        Change::Sync => {}
    }
}

impl Storage for Drive {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().now.0[self.file].len)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock().unwrap();
        let content = &state.now.0[self.file];
        if offset + buffer.len() as u64 > content.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.read(offset, buffer);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|now| Change::Write(now.changes(offset, data)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|_| Change::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|_| Change::Sync)
    }

    fn zero(&self, offset: u64, len: u64, _free: bool) -> io::Result<bool> {
        assert!((offset | len).is_multiple_of(SECTOR));
        let holes = offset / SECTOR..(offset + len) / SECTOR;
        self.change(|_| Change::Write(holes.map(|index| (index, None)).collect()))?;
        Ok(true)
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(u64, bool)> {
        let state = self.state.lock().unwrap();
        let index = offset / SECTOR;
        Ok(match state.now.0[self.file].sectors.range(index..).next() {
            None => (len, false),
            Some((next, _)) if *next == index => (len.min((index + 1) * SECTOR - offset), true),
            Some((next, _)) => (len.min(next * SECTOR - offset), false),
        })
    }

    fn cache_id(&self) -> Option<CacheId> {
        Some(self.cache.to_be_bytes())
    }
}
