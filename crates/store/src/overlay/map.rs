//! Where each block of an overlay is: a page of two-bit entries for every 63.75 MiB of disk.
//!
//! In memory only the pages that say anything else than "golden" take space. On disk each page
//! has two slots, and its generations go to them in turn, so that the one before is whole while
//! the next is written. A mirror has each page as it is in memory, for the case that the process is
//! killed. docs/overlay-format.md argues why that suffices.

use std::ops::Range;

use crate::CacheId;
use crate::wire::{Cursor, checksum};

/// The unit of copy-up, and of the map: one page of memory, one block of most file systems.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// The size of a map page and of the header.
pub(crate) const PAGE_BYTES: usize = 4096;
/// How many blocks one map page speaks of.
pub(crate) const BLOCKS_PER_PAGE: u64 = ENTRY_BYTES as u64 * 4;
const ENTRY_BYTES: usize = PAGE_BYTES - 16;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the golden image.
    Golden,
    /// In the overlay.
    Own,
    /// Nowhere: it reads as zeros.
    Zero,
}

impl Place {
    fn bits(self) -> u8 {
        match self {
            Self::Golden => 0,
            Self::Own => 1,
            Self::Zero => 2,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Golden),
            1 => Some(Self::Own),
            2 => Some(Self::Zero),
            _ => None,
        }
    }
}

/// One page of the map.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    entries: [u8; ENTRY_BYTES],
    /// How often it has been written. Its slot on disk is the lowest bit of this.
    pub(crate) generation: u64,
    /// Changed since it was last taken to be written.
    dirty: bool,
}

impl Page {
    fn empty() -> Self {
        Self {
            entries: [0; ENTRY_BYTES],
            generation: 0,
            dirty: false,
        }
    }

    fn place(&self, entry: usize) -> Place {
        let bits = self.entries[entry / 4] >> (entry % 4 * 2) & 3;
        // `decode` has let no other value in.
        Place::from_bits(bits).unwrap_or(Place::Golden)
    }

    fn set(&mut self, entry: usize, place: Place) {
        let shift = entry % 4 * 2;
        let byte = &mut self.entries[entry / 4];
        *byte = *byte & !(3 << shift) | place.bits() << shift;
    }

    /// The bytes of slot `generation % 2` of page `index`.
    pub(crate) fn encode(&self, index: u64) -> [u8; PAGE_BYTES] {
        let mut out = [0; PAGE_BYTES];
        out[4..8].copy_from_slice(&low_half(index).to_le_bytes());
        out[8..16].copy_from_slice(&self.generation.to_le_bytes());
        out[16..].copy_from_slice(&self.entries);
        let sum = checksum(&out[4..]);
        out[..4].copy_from_slice(&sum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], index: u64, slot: u64) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let sum = cursor.u32()?;
        if sum != checksum(bytes.get(4..)?) || cursor.u32()? != low_half(index) {
            return None;
        }
        let generation = cursor.u64()?;
        let entries = cursor.array()?;
        let valid = generation > 0 && generation % 2 == slot && are_places(&entries);
        valid.then_some(Self {
            entries,
            generation,
            dirty: false,
        })
    }

    /// The bytes of the page's mirror, which counts as long as `cache` lives.
    pub(crate) fn mirror(&self, cache: &CacheId) -> [u8; PAGE_BYTES] {
        let mut out = [0; PAGE_BYTES];
        out[..16].copy_from_slice(cache);
        out[16..].copy_from_slice(&self.entries);
        out
    }

    /// What a mirror says, if `cache` was the one when it was written.
    pub(crate) fn from_mirror(bytes: &[u8], cache: &CacheId) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != *cache {
            return None;
        }
        let entries = cursor.array()?;
        are_places(&entries).then_some(Self {
            entries,
            ..Self::empty()
        })
    }

    /// The newest whole copy of page `index` in its two slots. `Ok(None)`: never written.
    pub(crate) fn newest(slots: &[u8], index: u64) -> Result<Option<Self>, DamagedPage> {
        let (even, odd) = slots.split_at(PAGE_BYTES);
        let even_page = Self::decode(even, index, 0);
        let odd_page = Self::decode(odd, index, 1);
        match (even_page, odd_page) {
            (Some(even), Some(odd)) => Ok(Some(if even.generation > odd.generation {
                even
            } else {
                odd
            })),
            (Some(page), None) | (None, Some(page)) => Ok(Some(page)),
            // The first write goes to the odd slot: if that was torn, the even one is untouched,
            // and the page has never been promised to anyone.
            (None, None) if even.iter().all(|byte| *byte == 0) => Ok(None),
            (None, None) => Err(DamagedPage),
        }
    }
}

/// Both slots of a map page are damaged.
#[derive(Debug)]
pub(crate) struct DamagedPage;

/// The whole map.
#[derive(Debug)]
pub(crate) struct Map {
    /// `None` where every block is in the golden image and always was.
    pages: Vec<Option<Box<Page>>>,
}

impl Map {
    pub(crate) fn new(pages: Vec<Option<Box<Page>>>) -> Self {
        Self { pages }
    }

    fn place(&self, block: u64) -> Place {
        let (page, entry) = position(block);
        match self.pages.get(page) {
            Some(Some(page)) => page.place(entry),
            _ => Place::Golden,
        }
    }

    /// The place of the first of `blocks`, and how many of them in a row share it.
    pub(crate) fn run(&self, blocks: Range<u64>) -> (Place, u64) {
        let place = self.place(blocks.start);
        let mut end = blocks.start + 1;
        while end < blocks.end {
            let (page, entry) = position(end);
            if entry == 0 && self.pages.get(page).is_none_or(Option::is_none) {
                if place != Place::Golden {
                    break;
                }
                end = (end + BLOCKS_PER_PAGE).min(blocks.end);
            } else if self.place(end) == place {
                end += 1;
            } else {
                break;
            }
        }
        (place, end - blocks.start)
    }

    /// Whether all of `blocks` are in `place`.
    pub(crate) fn all(&self, blocks: Range<u64>, place: Place) -> bool {
        let len = blocks.end - blocks.start;
        self.run(blocks) == (place, len)
    }

    /// All of `blocks` are in `place` from now on.
    pub(crate) fn set(&mut self, blocks: Range<u64>, place: Place) {
        for block in blocks {
            let (index, entry) = position(block);
            let Some(slot) = self.pages.get_mut(index) else {
                return;
            };
            let page = slot.get_or_insert_with(|| Box::new(Page::empty()));
            if page.place(entry) != place {
                page.set(entry, place);
                page.dirty = true;
            }
        }
    }

    /// The pages that [`set`](Self::set) would change, as they would be.
    pub(crate) fn with(&self, blocks: Range<u64>, place: Place) -> Vec<(u64, Page)> {
        let mut pages: Vec<(u64, Page)> = Vec::new();
        for block in blocks {
            if self.place(block) == place {
                continue;
            }
            let (index, entry) = position(block);
            if pages.last().is_none_or(|(last, _)| *last != index as u64) {
                let page = self.pages.get(index).and_then(Option::as_deref);
                pages.push((index as u64, page.map_or_else(Page::empty, Page::clone)));
            }
            if let Some((_, page)) = pages.last_mut() {
                page.set(entry, place);
            }
        }
        pages
    }

    /// Takes over what `mirror`, of page `index`, says otherwise.
    pub(crate) fn adopt(&mut self, index: u64, mirror: &Page) {
        let first = index * BLOCKS_PER_PAGE;
        let news: Vec<_> = (first..first + BLOCKS_PER_PAGE)
            .map(|block| (block, mirror.place(position(block).1)))
            .filter(|(block, place)| *place != self.place(*block))
            .collect();
        // No block goes back to the golden image: that would be the mirror of another map.
        if news.iter().any(|(_, place)| *place == Place::Golden) {
            return;
        }
        for (block, place) in news {
            self.set(block..block + 1, place);
        }
    }

    /// All pages that say anything, as if each had been written once.
    pub(crate) fn all_pages(&self) -> impl Iterator<Item = (u64, Page)> {
        let pages = (0u64..).zip(&self.pages);
        pages.filter_map(|(index, page)| {
            let mut page = Page::clone(page.as_deref()?);
            page.generation = 1;
            Some((index, page))
        })
    }

    /// The pages that have changed since the last call, as they are now, one generation on. They
    /// count as unchanged from now on.
    pub(crate) fn take_dirty(&mut self) -> Vec<(usize, Page)> {
        let pages = self.pages.iter_mut().enumerate();
        pages
            .filter_map(|(index, slot)| {
                let page = slot.as_mut().filter(|page| page.dirty)?;
                page.dirty = false;
                let mut copy = Page::clone(page);
                copy.generation += 1;
                Some((index, copy))
            })
            .collect()
    }

    /// A page of [`take_dirty`](Self::take_dirty) is on stable storage.
    pub(crate) fn written(&mut self, index: usize, generation: u64) {
        if let Some(Some(page)) = self.pages.get_mut(index) {
            page.generation = generation;
        }
    }

    /// A page of [`take_dirty`](Self::take_dirty) could not be written: take it again.
    pub(crate) fn not_written(&mut self, index: usize) {
        if let Some(Some(page)) = self.pages.get_mut(index) {
            page.dirty = true;
        }
    }
}

/// Whether none of the entries is 3.
fn are_places(entries: &[u8; ENTRY_BYTES]) -> bool {
    entries.iter().all(|byte| byte & byte >> 1 & 0x55 == 0)
}

fn position(block: u64) -> (usize, usize) {
    let page = usize::try_from(block / BLOCKS_PER_PAGE).unwrap_or(usize::MAX);
    (page, (block % BLOCKS_PER_PAGE) as usize)
}

fn low_half(index: u64) -> u32 {
    (index & u64::from(u32::MAX)) as u32
}
