//! The journal of a qcow2 image: a file beside it that makes many small writes to it one.
//!
//! `NAME.qcow2.journal` is empty except while tables are being written. docs/overlay-format.md
//! draws it and argues for it.

use std::collections::BTreeMap;
use std::io;

use super::layer::CommitError;
use crate::Storage;
use crate::wire::{Cursor, checksum};

/// Sectors of 512 bytes, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sectors(BTreeMap<u64, Sector>);

type Sector = [u8; SECTOR_BYTES];

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
            let from = offset.max(index * SECTOR);
            let to = end.min((index + 1) * SECTOR);
            let len = (to - from) as usize;
            let source = &sector[(from % SECTOR) as usize..][..len];
            data[(from - offset) as usize..][..len].copy_from_slice(source);
        }
    }

    /// Takes a write; what it leaves of its first and last sector comes from `below`.
    pub(super) fn write(
        &mut self,
        offset: u64,
        data: &[u8],
        below: &impl Storage,
    ) -> io::Result<()> {
        let end = offset + data.len() as u64;
        for index in offset / SECTOR..end.div_ceil(SECTOR) {
            let from = offset.max(index * SECTOR);
            let to = end.min((index + 1) * SECTOR);
            let mut sector = match self.0.get(&index) {
                Some(sector) => *sector,
                None if to - from < SECTOR => read_sector(below, index)?,
                None => [0; SECTOR_BYTES],
            };
            let len = (to - from) as usize;
            let source = &data[(from - offset) as usize..][..len];
            sector[(from % SECTOR) as usize..][..len].copy_from_slice(source);
            self.0.insert(index, sector);
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
            run.extend_from_slice(sector);
        }
        if run.is_empty() {
            return Ok(());
        }
        file.write(start * SECTOR, &run)
    }

    /// The journal that holds them, for an image whose first sector is `first` now.
    fn encode(&self, first: &Sector) -> Vec<u8> {
        let after = self.0.get(&0).unwrap_or(first);
        let body = HEADER_BYTES + self.0.len() * (8 + SECTOR_BYTES);
        let mut out = Vec::with_capacity(body);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.0.len() as u32).to_le_bytes());
        out.extend(checksum(first).to_le_bytes());
        out.extend(checksum(after).to_le_bytes());
        for (index, sector) in &self.0 {
            out.extend(index.to_le_bytes());
            out.extend(sector);
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
            sectors.insert(cursor.u64()?, cursor.array()?);
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
    pub(super) fn commit(&self, image: &S, sectors: &Sectors) -> Result<(), CommitError> {
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
