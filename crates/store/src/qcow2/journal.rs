//! The journal of a qcow2 image: a file beside it that makes many small writes to it one.
//!
//! `NAME.qcow2.journal` is empty except while tables are being written. docs/overlay-format.md
//! draws it and argues for it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::layer::CommitError;
use crate::Storage;
use crate::wire::{Cursor, checksum};

/// Sectors of 512 bytes, by number. Of some only a part is known: a write is taken without asking
/// the file for anything, because the library does not undo what it did before one that fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sectors(BTreeMap<u64, Held>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    bytes: Sector,
    /// A bit for every word.
    known: u128,
}

type Sector = [u8; SECTOR_BYTES];

impl Default for Held {
    fn default() -> Self {
        Self {
            bytes: [0; SECTOR_BYTES],
            known: 0,
        }
    }
}

impl Held {
    fn whole(bytes: Sector) -> Self {
        Self {
            bytes,
            known: u128::MAX,
        }
    }

    /// The places of what is known: of everything, or of single words.
    fn known(&self) -> impl Iterator<Item = Range<usize>> {
        let whole = self.known == u128::MAX;
        let step = if whole { SECTOR_BYTES } else { WORD };
        let places = (0..SECTOR_BYTES).step_by(step);
        let known = places.filter(|at| self.known >> (at / WORD) & 1 == 1);
        known.map(move |at| at..at + step)
    }

    /// Takes a write of whole words from byte `at` on.
    fn write(&mut self, at: usize, data: &[u8]) {
        self.bytes[at..at + data.len()].copy_from_slice(data);
        for word in at / WORD..(at + data.len()) / WORD {
            self.known |= 1 << word;
        }
    }
}

impl Sectors {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Where the last of them ends.
    pub(super) fn end(&self) -> u64 {
        let last = self.0.last_key_value();
        last.map_or(0, |(index, _)| (index + 1) * SECTOR)
    }

    /// Puts over `data`, read from `offset` on, what is newer.
    pub(super) fn overlay(&self, offset: u64, data: &mut [u8]) {
        let end = offset + data.len() as u64;
        for (index, sector) in self.0.range(offset / SECTOR..end.div_ceil(SECTOR)) {
            for part in sector.known() {
                let start = index * SECTOR + part.start as u64;
                let from = offset.max(start);
                let to = end.min(start + part.len() as u64);
                if from < to {
                    let source = &sector.bytes[part][(from - start) as usize..];
                    let target = &mut data[(from - offset) as usize..(to - offset) as usize];
                    target.copy_from_slice(&source[..target.len()]);
                }
            }
        }
    }

    /// Takes a write of whole words, as all tables and all fields of the header that change are.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        let is_aligned = offset.is_multiple_of(WORD as u64) && data.len().is_multiple_of(WORD);
        if !is_aligned {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let end = offset + data.len() as u64;
        for index in offset / SECTOR..end.div_ceil(SECTOR) {
            let from = offset.max(index * SECTOR);
            let to = end.min((index + 1) * SECTOR);
            let sector = self.0.entry(index).or_default();
            let piece = &data[(from - offset) as usize..(to - offset) as usize];
            sector.write((from % SECTOR) as usize, piece);
        }
        Ok(())
    }

    /// Asks `below` for what is not known.
    fn complete(&mut self, below: &impl Storage) -> io::Result<()> {
        for (index, sector) in &mut self.0 {
            if sector.known != u128::MAX {
                let mut bytes = read_sector(below, *index)?;
                for part in sector.known() {
                    bytes[part.clone()].copy_from_slice(&sector.bytes[part]);
                }
                *sector = Held::whole(bytes);
            }
        }
        Ok(())
    }

    /// Writes them all to where they belong, neighbours together.
    fn apply(&self, file: &impl Storage) -> io::Result<()> {
        let mut run: Vec<u8> = Vec::new();
        let mut start = 0;
        for (index, sector) in &self.0 {
            if !run.is_empty() && start * SECTOR + run.len() as u64 != index * SECTOR {
                file.write(start * SECTOR, &run)?;
                run.clear();
            }
            if run.is_empty() {
                start = *index;
            }
            run.extend_from_slice(&sector.bytes);
        }
        if run.is_empty() {
            return Ok(());
        }
        file.write(start * SECTOR, &run)
    }

    /// The journal that holds them, for an image whose first sector is `first` now.
    fn encode(&self, first: &Sector) -> Vec<u8> {
        let after = self.0.get(&0).map_or(first, |sector| &sector.bytes);
        let body = HEADER_BYTES + self.0.len() * (8 + SECTOR_BYTES);
        let mut out = Vec::with_capacity(body);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.0.len() as u32).to_le_bytes());
        out.extend(checksum(first).to_le_bytes());
        out.extend(checksum(after).to_le_bytes());
        for (index, sector) in &self.0 {
            out.extend(index.to_le_bytes());
            out.extend(sector.bytes);
        }
        out.extend(checksum(&out).to_le_bytes());
        out
    }

    /// The sectors of a whole journal, and the checksums of the first sector of its image before
    /// and after it.
    fn decode(bytes: &[u8]) -> Option<(Self, [u32; 2])> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array::<8>()? != MAGIC || cursor.u32()? != VERSION {
            return None;
        }
        let count = cursor.u32()?;
        let first = [cursor.u32()?, cursor.u32()?];
        let mut sectors = BTreeMap::new();
        for _ in 0..count {
            sectors.insert(cursor.u64()?, Held::whole(cursor.array()?));
        }
        let body = HEADER_BYTES + count as usize * (8 + SECTOR_BYTES);
        let sum = checksum(bytes.get(..body)?);
        (cursor.u32()? == sum).then_some((Self(sectors), first))
    }
}

/// The file beside an image.
#[derive(Debug)]
pub(super) struct Journal<S>(S);

impl<S: Storage> Journal<S> {
    pub(super) fn new(file: S) -> Self {
        Self(file)
    }

    /// What an interrupted commit still has to write to `image`: nothing if there was none.
    pub(super) fn read(&self, image: &S) -> Result<Sectors, JournalError> {
        let len = self.0.len()?;
        let len = usize::try_from(len).map_err(|_| JournalError::Foreign)?;
        let mut bytes = vec![0; len];
        self.0.read(0, &mut bytes)?;
        // A journal that is not whole was never committed.
        let Some((sectors, first)) = Sectors::decode(&bytes) else {
            return Ok(Sectors::default());
        };
        if first.contains(&checksum(&read_sector(image, 0)?)) {
            Ok(sectors)
        } else {
            Err(JournalError::Foreign)
        }
    }

    /// Completes an interrupted commit.
    pub(super) fn recover(&self, image: &S) -> Result<(), JournalError> {
        // What a killed process left in the page cache is taken for what is on disk from here on.
        image.sync()?;
        self.0.sync()?;
        let sectors = self.read(image)?;
        if !sectors.is_empty() {
            sectors.apply(image)?;
            image.sync()?;
        }
        if !self.0.is_empty()? {
            self.0.set_len(0)?;
            self.0.sync()?;
        }
        Ok(())
    }

    /// Writes `sectors` to `image` so that after a power cut either all are there or none.
    pub(super) fn commit(&self, image: &S, sectors: &mut Sectors) -> Result<(), CommitError> {
        sectors.complete(image).map_err(CommitError::Write)?;
        let first = read_sector(image, 0).map_err(CommitError::Write)?;
        let bytes = sectors.encode(&first);
        self.0.write(0, &bytes).map_err(CommitError::Write)?;
        self.0.sync().map_err(CommitError::Sync)?;
        sectors.apply(image).map_err(CommitError::Write)?;
        image.sync().map_err(CommitError::Sync)?;
        // Not synced: it would only do the same again.
        self.0.set_len(0).map_err(CommitError::Write)
    }
}

/// Why the journal of an image cannot be used.
#[derive(Debug)]
pub(super) enum JournalError {
    /// It belongs to another image.
    Foreign,
    Io(io::Error),
}

impl From<io::Error> for JournalError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn read_sector(file: &impl Storage, index: u64) -> io::Result<Sector> {
    let mut sector = [0; SECTOR_BYTES];
    let inside = file.len()?.saturating_sub(index * SECTOR).min(SECTOR) as usize;
    if inside > 0 {
        file.read(index * SECTOR, &mut sector[..inside])?;
    }
    Ok(sector)
}

const MAGIC: [u8; 8] = *b"BOWLQJNL";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 24;
const SECTOR_BYTES: usize = 512;
const SECTOR: u64 = SECTOR_BYTES as u64;
const WORD: usize = 4;
