//! What is read when an overlay is opened: its header, its map, and what a killed process has left.

use std::io;

use super::header::Header;
use super::map::{Map, PAGE_BYTES, Page};
use super::{OverlayError, slot_offset};
use crate::Storage;

pub(super) fn read_header<S: Storage>(storage: &S) -> Result<Header, OverlayError> {
    let len = storage.len()?;
    let mut bytes = [0; Header::BYTES];
    if len < bytes.len() as u64 {
        return Err(OverlayError::NotAnOverlay);
    }
    storage.read(0, &mut bytes)?;
    let header = Header::decode(&bytes)?;
    let expected = header.file_len();
    if len < expected {
        return Err(OverlayError::Truncated { len, expected });
    }
    Ok(header)
}

pub(super) fn read_map<S: Storage>(storage: &S, count: u64) -> Result<Map, OverlayError> {
    let mut pages = Vec::new();
    let mut slots = vec![0; 2 * PAGE_BYTES];
    let mut index = 0;
    while index < count {
        let rest = (count - index) * slots.len() as u64;
        let (len, data) = storage.extent(slot_offset(index, 0), rest)?;
        // A hole is as many pages that were never written.
        let holes = if data { 0 } else { len / slots.len() as u64 };
        if holes > 0 {
            index += holes;
            pages.resize_with(index as usize, || None);
            continue;
        }
        storage.read(slot_offset(index, 0), &mut slots)?;
        let page = Page::newest(&slots, index);
        let page = page.map_err(|_| OverlayError::DamagedMap { page: index })?;
        pages.push(page.map(Box::new));
        index += 1;
    }
    Ok(Map::new(pages))
}

/// Takes over what the map was when a process was killed. What is of an earlier cache is not true of
/// stable storage; it is removed, so that it is not taken for true where that cache still lives.
pub(super) fn read_mirror<S: Storage>(
    storage: &S,
    header: &Header,
    map: &mut Map,
    read_only: bool,
) -> io::Result<()> {
    let end = storage.len()?.min(header.mirror_offset(header.pages()));
    let mut bytes = [0; PAGE_BYTES];
    let mut index = 0;
    while header.mirror_offset(index + 1) <= end {
        let offset = header.mirror_offset(index);
        let (len, data) = storage.extent(offset, end - offset)?;
        let holes = if data { 0 } else { len / PAGE_BYTES as u64 };
        if holes > 0 {
            index += holes;
            continue;
        }
        storage.read(offset, &mut bytes)?;
        let cache = storage.cache_id();
        let mirror = cache.and_then(|cache| Page::from_mirror(&bytes, &cache));
        match mirror {
            Some(mirror) => map.adopt(index, &mirror),
            None if read_only || bytes.iter().all(|byte| *byte == 0) => {}
            None => {
                if !storage.zero(offset, PAGE_BYTES as u64, true)? {
                    storage.write(offset, &[0; PAGE_BYTES])?;
                }
            }
        }
        index += 1;
    }
    Ok(())
}
