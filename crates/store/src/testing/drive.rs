//! A drive with a volatile cache, in memory, that remembers every call.
//!
//! From the calls up to any moment it can make the images that a power cut then could leave: all
//! that was synced, and of the rest any sectors in any of the versions written since. It can also
//! fail its n-th call.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::Random;
use crate::Storage;

/// What is written whole or not at all.
pub(crate) const SECTOR: u64 = 512;

/// The content of a file. What was never written is a hole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) len: u64,
    sectors: BTreeMap<u64, Sector>,
}

/// Shared by all images that hold it; `None` is a hole.
type Sector = Option<Arc<[u8; SECTOR as usize]>>;

impl Image {
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) {
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

#[derive(Clone, Debug)]
enum Call {
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

/// A handle on a drive; copies are the same drive.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drive(Arc<Mutex<State>>);

impl Drive {
    pub(crate) fn new(image: Image) -> Self {
        Self(Arc::new(Mutex::new(State {
            first: image.clone(),
            now: image,
            ..State::default()
        })))
    }

    /// The content as the system shows it.
    pub(crate) fn image(&self) -> Image {
        self.0.lock().unwrap().now.clone()
    }

    /// How many calls have changed something.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }

    pub(crate) fn syncs(&self) -> usize {
        let state = self.0.lock().unwrap();
        let sync = |call: &&Call| matches!(call, Call::Sync);
        state.calls.iter().filter(sync).count()
    }

    /// The call that comes after `calls` others fails, once.
    pub(crate) fn fail_in(&self, calls: u64) {
        self.0.lock().unwrap().fail_in = Some(calls);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.0.lock().unwrap().failures
    }

    /// An image that a power cut after the first `calls` calls could leave.
    pub(crate) fn after_power_cut(&self, calls: usize, random: &mut Random) -> Image {
        let mut state = self.0.lock().unwrap();
        let state = &mut *state;
        let calls = &state.calls[..calls];
        let synced = calls.iter().rposition(|call| matches!(call, Call::Sync));
        let (synced, cached) = calls.split_at(synced.map_or(0, |at| at + 1));
        // Cuts are tried in the order of the calls: go on from the last one.
        let (before, mut image) = std::mem::take(&mut state.synced)
            .filter(|(before, _)| *before <= synced.len())
            .unwrap_or_else(|| (0, state.first.clone()));
        for call in &synced[before..] {
            apply(&mut image, call, |_| true);
        }
        state.synced = Some((synced.len(), image.clone()));
        let chosen = random.below(cached.len().max(1) as u64) as usize;
        match random.below(6) {
            0 => {}
            // A kill: the system still writes everything.
            1 => cached
                .iter()
                .for_each(|call| apply(&mut image, call, |_| true)),
            2 => {
                for call in cached {
                    let keep = random.coin();
                    apply(&mut image, call, |_| keep);
                }
            }
            3 => cached
                .iter()
                .skip(chosen)
                .for_each(|call| apply(&mut image, call, |_| true)),
            4 => {
                for (index, call) in cached.iter().enumerate() {
                    apply(&mut image, call, |_| index != chosen);
                }
            }
            _ => {
                for call in cached {
                    apply(&mut image, call, |_| random.coin());
                }
            }
        }
        image
    }

    fn change(&self, call: impl FnOnce(&Image) -> Call) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let call = call(&state.now);
        if state.fail_in == Some(0) {
            state.fail_in = None;
            state.failures += 1;
            if let Call::Sync = call {
                // As Linux does: what could not be written is forgotten, and the next sync would
                // succeed.
                let synced = state
                    .calls
                    .iter()
                    .rposition(|call| matches!(call, Call::Sync));
                let synced = synced.map_or(0, |at| at + 1);
                state.calls.truncate(synced);
                let mut image = state.first.clone();
                for call in &state.calls {
                    apply(&mut image, call, |_| true);
                }
                image.len = state.now.len;
                state.now = image;
                state.synced = None;
            } else if let Call::Write(mut sectors) = call {
                // The disk is full half way.
                sectors.truncate(sectors.len() / 2);
                let half = Call::Write(sectors);
                apply(&mut state.now, &half, |_| true);
                state.calls.push(half);
            }
            return Err(io::Error::other("broken on purpose"));
        }
        state.fail_in = state.fail_in.map(|left| left - 1);
        apply(&mut state.now, &call, |_| true);
        state.calls.push(call);
        Ok(())
    }
}

fn apply(image: &mut Image, call: &Call, mut keep: impl FnMut(u64) -> bool) {
    match call {
        Call::Write(sectors) => {
            for (index, sector) in sectors {
                if keep(*index) {
                    image.put(*index, sector);
                }
            }
        }
        Call::SetLen(len) => {
            if keep(0) {
                image.set_len(*len);
            }
        }
        Call::Sync => {}
    }
}

impl Storage for Drive {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock().unwrap();
        if offset + buffer.len() as u64 > state.now.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        state.now.read(offset, buffer);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|now| Call::Write(now.changes(offset, data)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|_| Call::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.change(|_| Call::Sync)
    }

    fn zero(&self, offset: u64, len: u64, _free: bool) -> io::Result<bool> {
        assert!((offset | len).is_multiple_of(SECTOR));
        let holes = offset / SECTOR..(offset + len) / SECTOR;
        self.change(|_| Call::Write(holes.map(|index| (index, None)).collect()))?;
        Ok(true)
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(u64, bool)> {
        let state = self.0.lock().unwrap();
        let index = offset / SECTOR;
        Ok(match state.now.sectors.range(index..).next() {
            None => (len, false),
            Some((next, _)) if *next == index => (len.min((index + 1) * SECTOR - offset), true),
            Some((next, _)) => (len.min(next * SECTOR - offset), false),
        })
    }
}
