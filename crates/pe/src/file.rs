//! An EFI application in its file, which can take another section.
//!
//! The new header goes into the room behind the others, its contents to the end of the file. A
//! section that is replaced must be the last one, which it is if we have added it.

use alloc::vec;
use alloc::vec::Vec;

use crate::headers::{
    CHECKSUM, HEADER_SIZE, Headers, IMAGE_SIZE, INITIALIZED_DATA, INITIALIZED_SIZE, READABLE,
    SECTION_COUNT, Section, padded,
};
use crate::payload::IMAGE_BYTES_MAX;
use crate::{CUT_SHORT, PeError};

/// A PE32+ EFI application.
#[derive(Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    headers: Headers,
}

impl<'a> Image<'a> {
    /// Looks through the headers of `bytes`.
    ///
    /// # Errors
    /// Where it is none, or not all of one.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, PeError> {
        let headers = Headers::parse(bytes)?;
        let table_end = headers.table + headers.sections.len() * HEADER_SIZE;
        for section in &headers.sections {
            if contents(section, bytes).is_none() {
                return Err(PeError::NotEfi(
                    "it is cut short: a section reaches beyond the end",
                ));
            }
            if section.raw_size != 0 && section.in_file().start < table_end {
                return Err(PeError::NotEfi("a section lies in the headers"));
            }
        }
        Ok(Self { bytes, headers })
    }

    /// The contents of the section called `name`, padding included.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&'a [u8]> {
        contents(self.headers.section(name)?, self.bytes)
    }

    /// The image as firmware lays it out in memory: every section at its address, zeros between.
    ///
    /// # Errors
    /// Where a section lies beyond the end that the headers give, or the image is larger than
    /// [`IMAGE_BYTES_MAX`].
    pub fn in_memory(&self) -> Result<Vec<u8>, PeError> {
        let size = self.headers.image_size as usize;
        if size > IMAGE_BYTES_MAX {
            return Err(PeError::TooLarge);
        }
        let mut memory = vec![0; size];
        let headers = 0..self.headers.headers_size as usize;
        let head = self.bytes.get(headers.clone()).ok_or(CUT_SHORT)?;
        memory
            .get_mut(headers)
            .ok_or(OUTSIDE)?
            .copy_from_slice(head);
        for section in &self.headers.sections {
            let place = memory.get_mut(section.in_memory()).ok_or(OUTSIDE)?;
            let contents = contents(section, self.bytes).unwrap_or_default();
            for (byte, value) in place.iter_mut().zip(contents) {
                *byte = *value;
            }
        }
        Ok(memory)
    }

    /// A copy of the image in which the section called `name` has these contents.
    ///
    /// # Errors
    /// Where the image is signed, has such a section in front of others, or has no room.
    pub fn with_section(&self, name: &str, contents: &[u8]) -> Result<Vec<u8>, PeError> {
        if self.headers.is_signed {
            return Err(PeError::Signed);
        }
        let (mut image, kept) = self.without(name)?;
        self.check_room(kept.len())?;

        let align = |value: u64, alignment: u32| value.next_multiple_of(u64::from(alignment));
        let narrow = |value: u64| u32::try_from(value).map_err(|_| PeError::TooLarge);
        let end = kept.iter().map(Section::virtual_end).max().unwrap_or(0);
        let section = Section {
            name: padded(name),
            virtual_size: narrow(contents.len() as u64)?,
            virtual_address: narrow(align(end, self.headers.section_alignment))?,
            raw_size: narrow(align(contents.len() as u64, self.headers.file_alignment))?,
            raw_offset: narrow(align(image.len() as u64, self.headers.file_alignment))?,
            characteristics: INITIALIZED_DATA | READABLE,
        };
        let file_end = narrow(u64::from(section.raw_offset) + u64::from(section.raw_size))?;
        let image_size = narrow(align(section.virtual_end(), self.headers.section_alignment))?;
        let initialized: u64 = kept
            .iter()
            .chain([&section])
            .filter(|section| section.characteristics & INITIALIZED_DATA != 0)
            .map(|section| u64::from(section.raw_size))
            .sum();

        image.resize(section.raw_offset as usize, 0);
        image.extend_from_slice(contents);
        image.resize(file_end as usize, 0);
        let count = u16::try_from(kept.len() + 1).map_err(|_| PeError::TooLarge)?;
        let header = self.headers.table + kept.len() * HEADER_SIZE;
        let (coff, optional) = (self.headers.coff, self.headers.optional);
        put(&mut image, header, &section.to_bytes())?;
        put(&mut image, coff + SECTION_COUNT, &count.to_le_bytes())?;
        let mut field =
            |offset: usize, value: u32| put(&mut image, optional + offset, &value.to_le_bytes());
        field(INITIALIZED_SIZE, narrow(initialized)?)?;
        field(IMAGE_SIZE, image_size)?;
        let sum = checksum(&image, optional + CHECKSUM);
        put(&mut image, optional + CHECKSUM, &sum.to_le_bytes())?;
        // Headers that nothing could be added to are the file's fault, not found by the next reader.
        Image::parse(&image)?;
        Ok(image)
    }

    /// A copy without the section called `name`, and the headers that are left. What the section
    /// held is gone from the copy, since it may have been a secret.
    fn without(&self, name: &str) -> Result<(Vec<u8>, &[Section]), PeError> {
        let mut image = self.bytes.to_vec();
        let sections = self.headers.sections.as_slice();
        let mut names = sections.iter().map(|section| section.name);
        let Some(index) = names.position(|other| other == padded(name)) else {
            return Ok((image, sections));
        };
        let Some((kept, [section])) = sections.split_at_checked(index) else {
            return Err(PeError::NotLast(name.into()));
        };
        let place = section.in_file();
        let end = place.end;
        image.get_mut(place.clone()).ok_or(CUT_SHORT)?.fill(0);
        if end == image.len() {
            image.truncate(place.start);
        }
        let header = self.headers.table + index * HEADER_SIZE;
        put(&mut image, header, &[0; HEADER_SIZE])?;
        Ok((image, kept))
    }

    /// A header after `index` others must lie before everything that is loaded.
    fn check_room(&self, index: usize) -> Result<(), PeError> {
        let sections = self.headers.sections.iter();
        let first = sections
            .filter(|section| section.raw_size != 0)
            .map(|section| section.in_file().start)
            .min()
            .unwrap_or(usize::MAX);
        let start = self.headers.table + index * HEADER_SIZE;
        let room = first
            .min(self.headers.headers_size as usize)
            .min(self.bytes.len())
            .saturating_sub(start);
        if room < HEADER_SIZE {
            return Err(PeError::NoRoom {
                needed: HEADER_SIZE,
                room,
            });
        }
        Ok(())
    }
}

fn contents<'a>(section: &Section, image: &'a [u8]) -> Option<&'a [u8]> {
    match section.raw_size {
        0 => Some(&[]),
        _ => image.get(section.in_file()),
    }
}

/// The sum that `CheckSum` holds: all 16 bit words but its own two, carries added back, and the
/// length. Firmware does not look at it; tools that list images do.
fn checksum(image: &[u8], field: usize) -> u32 {
    let mut sum: u64 = 0;
    for (index, word) in image.chunks(2).enumerate() {
        if (field..field + 4).contains(&(index * 2)) {
            continue;
        }
        let word = word.iter().rev();
        sum += word.fold(0, |word, byte| word << 8 | u64::from(*byte));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Both parts fit: the sum is 16 bits by now, and the length of an image is 32.
    (sum as u32).wrapping_add(image.len() as u32)
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) -> Result<(), PeError> {
    let place = bytes.get_mut(offset..offset + value.len());
    place.ok_or(CUT_SHORT)?.copy_from_slice(value);
    Ok(())
}

const OUTSIDE: PeError = PeError::NotEfi("a section lies outside the image");
