//! An image in memory, where a section is at its virtual address and not where the file had it.

use alloc::vec::Vec;
use core::ops::Range;

use crate::PeError;
use crate::headers::{EXECUTABLE, Headers, Section, WRITABLE, u16_at, u32_at};

/// Of the firmware's page tables, whatever the processor could have (UEFI 2.10 section 7.2).
const PAGE_BYTES: u32 = 4096;

/// `IMAGE_FILE_MACHINE_*` of the processor that this is compiled for.
pub(crate) const MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    0xaa64
} else {
    0x8664
};

/// An image that can be started, once each part may be used as it needs to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is entered: an offset in the image.
    pub entry: usize,
    /// The headers and the sections, in whole pages.
    pub parts: Vec<Part>,
}

/// A part of an image.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is in the image; begins and ends with a page.
    pub range: Range<usize>,
    /// What it is for.
    pub access: Access,
}

/// What a part of an image is for: no more than that has to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only read: headers, constants.
    Read,
    /// Read and written.
    Write,
    /// Read and executed.
    Execute,
}

/// The bytes of the section `name` of the loaded `image`.
///
/// `None` where the image has no such section or the firmware has not mapped it.
#[must_use]
pub fn section<'a>(image: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let headers = Headers::parse(image).ok()?;
    image.get(headers.section(name)?.in_memory())
}

/// Makes `image`, laid out in memory at `address` by nobody else, ready to be started: its base
/// relocations are applied.
///
/// # Errors
/// Where its headers or relocations make no sense, or it is for another processor.
pub fn prepare(image: &mut [u8], address: u64) -> Result<Program, PeError> {
    let headers = Headers::parse(image)?;
    if headers.machine != MACHINE {
        return Err(PeError::NotHere("it is for another processor"));
    }
    if headers.image_size as usize != image.len() {
        return Err(PeError::NotHere("it has another size than its headers say"));
    }
    if !headers.section_alignment.is_multiple_of(PAGE_BYTES)
        || !address.is_multiple_of(u64::from(headers.section_alignment))
    {
        return Err(PeError::NotHere("its sections do not begin with pages"));
    }
    let parts = parts(&headers, image.len())?;
    let entry = headers.entry as usize;
    let holds_entry = |part: &Part| part.access == Access::Execute && part.range.contains(&entry);
    if !parts.iter().any(holds_entry) {
        return Err(PeError::NotHere("its entry point is not in its code"));
    }
    let (start, length) = headers.relocations;
    let table = start as usize..(start as usize).saturating_add(length as usize);
    let distance = address.wrapping_sub(headers.image_base);
    relocate(image, table, distance).ok_or(PeError::NotHere("its relocations make no sense"))?;
    Ok(Program { entry, parts })
}

/// The headers, and every section up to the next page.
fn parts(headers: &Headers, end: usize) -> Result<Vec<Part>, PeError> {
    let page = PAGE_BYTES as usize;
    let mut parts = Vec::from([Part {
        range: 0..(headers.headers_size as usize).next_multiple_of(page),
        access: Access::Read,
    }]);
    for section in &headers.sections {
        let Range { start, end } = section.in_memory();
        parts.push(Part {
            range: start..end.next_multiple_of(page),
            access: access(section)?,
        });
    }
    let starts = parts.iter().map(|part| part.range.start);
    let next = starts.skip(1).chain([end]);
    let apart = parts
        .iter()
        .zip(next)
        .all(|(part, next)| part.range.end <= next && next.is_multiple_of(page));
    match apart {
        true => Ok(parts),
        false => Err(PeError::NotHere("its sections overlap or lie outside it")),
    }
}

fn access(section: &Section) -> Result<Access, PeError> {
    let has = |flag| section.characteristics & flag != 0;
    match (has(WRITABLE), has(EXECUTABLE)) {
        (true, true) => Err(PeError::NotHere("its code could be written to")),
        (true, false) => Ok(Access::Write),
        (false, true) => Ok(Access::Execute),
        (false, false) => Ok(Access::Read),
    }
}

/// Applies the base relocations (PE format, "The .reloc Section"): blocks, each with the address
/// of a page, its own length, and places in the page that hold addresses.
fn relocate(image: &mut [u8], table: Range<usize>, distance: u64) -> Option<()> {
    let mut block = table.start;
    while block < table.end {
        let page = u32_at(image, block)? as usize;
        let length = u32_at(image, block + 4)? as usize;
        if !(BLOCK_HEADER..=table.end - block).contains(&length) {
            return None;
        }
        for place in (block + BLOCK_HEADER..block + length).step_by(2) {
            let entry = u16_at(image, place)?;
            let place = page + usize::from(entry & 0xfff);
            match entry >> 12 {
                ABSOLUTE => {}
                DIR64 => {
                    let field: &mut [u8; 8] = image.get_mut(place..)?.first_chunk_mut()?;
                    *field = u64::from_le_bytes(*field)
                        .wrapping_add(distance)
                        .to_le_bytes();
                }
                _ => return None,
            }
        }
        block += length;
    }
    Some(())
}

const BLOCK_HEADER: usize = 8;
/// Kinds of relocations: padding, and an address of 64 bits.
const ABSOLUTE: u16 = 0;
const DIR64: u16 = 10;
