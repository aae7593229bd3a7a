//! Adds a section to an EFI application.
//!
//! The format is PE32+ (Microsoft PE/COFF specification; UEFI 2.10 §2.1.1). Of an image:
//!
//! ```text
//! 0x00  "MZ" ... 0x3c: offset of ─┐
//!       "PE\0\0"  <───────────────┘
//!       COFF header         20 bytes
//!       optional header     its length is in the COFF header
//!       section headers     40 bytes each
//!       (room up to SizeOfHeaders)
//!       contents of sections, aligned to FileAlignment
//! ```
//!
//! The new header goes into the room behind the others, its contents to the end of the file. A
//! section that is replaced must be the last one, which it is if we have added it.

use thiserror::Error;

/// Why a file cannot take a section.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum PeError {
    /// Some other kind of file, or half of one.
    #[error("not an EFI application: {0}")]
    NotEfi(&'static str),
    /// The section headers reach to the first section.
    #[error(
        "no room for another section header: {needed} bytes needed, {room} left; \
         link the loader with larger headers"
    )]
    NoRoom {
        /// How many bytes a header needs.
        needed: usize,
        /// How many are free.
        room: usize,
    },
    /// A signature would no longer match.
    #[error("it is signed, and packing would break the signature: pack first, then sign")]
    Signed,
    /// Another tool has added sections after ours.
    #[error("it has a {0} section, but not as the last one: start from the unpacked loader")]
    NotLast(String),
    /// Offsets in an image are 32 bits.
    #[error("the result would be larger than 4 GiB")]
    TooLarge,
}

/// A PE32+ EFI application.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    bytes: &'a [u8],
    /// Offset of the COFF header.
    coff: usize,
    /// Offset of the optional header.
    optional: usize,
    /// Offset of the first section header.
    table: usize,
    sections: Vec<Section>,
    section_alignment: u32,
    file_alignment: u32,
}

/// What matters of a section header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Section {
    name: [u8; 8],
    virtual_size: u32,
    virtual_address: u32,
    raw_size: u32,
    raw_offset: u32,
}

impl<'a> Image<'a> {
    /// Looks through the headers of `bytes`.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, PeError> {
        let short = PeError::NotEfi("the headers are cut short");
        if bytes.get(..2) != Some(b"MZ") {
            return Err(PeError::NotEfi("it does not begin with MZ"));
        }
        let signature = u32_at(bytes, OFFSET_OF_PE).ok_or(short)? as usize;
        let coff = signature.saturating_add(4);
        if bytes.get(signature..coff) != Some(b"PE\0\0") {
            return Err(PeError::NotEfi("there is no PE header"));
        }
        let optional = coff + COFF_SIZE;
        let field = |offset: usize| u32_at(bytes, optional + offset);
        let half = |offset: usize| u16_at(bytes, offset);
        let short = || PeError::NotEfi("the headers are cut short");
        if half(optional).ok_or_else(short)? != PE32_PLUS {
            return Err(PeError::NotEfi("it is not PE32+ (64 bit)"));
        }
        if half(optional + SUBSYSTEM).ok_or_else(short)? != EFI_APPLICATION {
            return Err(PeError::NotEfi("its subsystem is not EFI application"));
        }
        let section_alignment = field(SECTION_ALIGNMENT).ok_or_else(short)?;
        let file_alignment = field(FILE_ALIGNMENT).ok_or_else(short)?;
        if !section_alignment.is_power_of_two()
            || !file_alignment.is_power_of_two()
            || file_alignment > FILE_ALIGNMENT_MAX
        {
            return Err(PeError::NotEfi("its alignments make no sense"));
        }
        let table = optional + usize::from(half(coff + OPTIONAL_SIZE).ok_or_else(short)?);
        let count = usize::from(half(coff + SECTION_COUNT).ok_or_else(short)?);
        let sections = (0..count)
            .map(|index| Section::parse(bytes.get(table + index * HEADER_SIZE..)?))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(short)?;
        let image = Self {
            bytes,
            coff,
            optional,
            table,
            sections,
            section_alignment,
            file_alignment,
        };
        for section in &image.sections {
            let contents = section.contents(bytes);
            if contents.is_none() {
                return Err(PeError::NotEfi(
                    "it is cut short: a section reaches beyond the end",
                ));
            }
            let table_end = table + count * HEADER_SIZE;
            if section.raw_size != 0 && (section.raw_offset as usize) < table_end {
                return Err(PeError::NotEfi("a section lies in the headers"));
            }
        }
        Ok(image)
    }

    /// The contents of the section called `name`, padding included.
    pub(crate) fn section(&self, name: &str) -> Option<&'a [u8]> {
        let name = padded(name);
        self.sections
            .iter()
            .find(|section| section.name == name)?
            .contents(self.bytes)
    }

    /// A copy of the image in which the section called `name` has these contents.
    pub(crate) fn with_section(&self, name: &str, contents: &[u8]) -> Result<Vec<u8>, PeError> {
        let certificates = u32_at(self.bytes, self.optional + CERTIFICATES_SIZE);
        if self.directories() > CERTIFICATES_INDEX && certificates.is_some_and(|size| size != 0) {
            return Err(PeError::Signed);
        }
        let (mut image, kept) = self.without(name)?;
        let index = kept.len();
        self.check_room(index)?;

        let align = |value: u64, alignment: u32| value.next_multiple_of(u64::from(alignment));
        let narrow = |value: u64| u32::try_from(value).map_err(|_| PeError::TooLarge);
        let end = kept.iter().map(Section::virtual_end).max().unwrap_or(0);
        let section = Section {
            name: padded(name),
            virtual_size: narrow(contents.len() as u64)?,
            virtual_address: narrow(align(end, self.section_alignment))?,
            raw_size: narrow(align(contents.len() as u64, self.file_alignment))?,
            raw_offset: narrow(align(image.len() as u64, self.file_alignment))?,
        };
        let file_end = narrow(u64::from(section.raw_offset) + u64::from(section.raw_size))?;
        let image_size = narrow(align(section.virtual_end(), self.section_alignment))?;

        image.resize(section.raw_offset as usize, 0);
        image.extend_from_slice(contents);
        image.resize(file_end as usize, 0);
        let header = self.table + index * HEADER_SIZE;
        image[header..header + HEADER_SIZE].copy_from_slice(&section.to_bytes());
        let count = u16::try_from(index + 1).map_err(|_| PeError::TooLarge)?;
        put(&mut image, self.coff + SECTION_COUNT, &count.to_le_bytes());
        put(
            &mut image,
            self.optional + IMAGE_SIZE,
            &image_size.to_le_bytes(),
        );
        let checksum = checksum(&image, self.optional + CHECKSUM);
        put(
            &mut image,
            self.optional + CHECKSUM,
            &checksum.to_le_bytes(),
        );
        Ok(image)
    }

    /// A copy without the section called `name`, and the headers that are left. What the section
    /// held is gone from the copy, since it may have been a secret.
    fn without(&self, name: &str) -> Result<(Vec<u8>, &[Section]), PeError> {
        let mut image = self.bytes.to_vec();
        let Some(index) = self
            .sections
            .iter()
            .position(|section| section.name == padded(name))
        else {
            return Ok((image, &self.sections));
        };
        let (kept, removed) = self.sections.split_at(index);
        let [section] = removed else {
            return Err(PeError::NotLast(name.into()));
        };
        let start = section.raw_offset as usize;
        let end = start + section.raw_size as usize;
        image[start..end].fill(0);
        if end == image.len() {
            image.truncate(start);
        }
        let header = self.table + index * HEADER_SIZE;
        image[header..header + HEADER_SIZE].fill(0);
        Ok((image, kept))
    }

    /// A header after `index` others must lie before everything that is loaded.
    fn check_room(&self, index: usize) -> Result<(), PeError> {
        let first = self.sections.iter().filter(|section| section.raw_size != 0);
        let first = first
            .map(|section| section.raw_offset as usize)
            .min()
            .unwrap_or(usize::MAX);
        let headers = u32_at(self.bytes, self.optional + HEADERS_SIZE).unwrap_or(0) as usize;
        let start = self.table + index * HEADER_SIZE;
        let room = first
            .min(headers)
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

    fn directories(&self) -> u32 {
        u32_at(self.bytes, self.optional + DIRECTORY_COUNT).unwrap_or(0)
    }
}

impl Section {
    fn parse(bytes: &[u8]) -> Option<Self> {
        bytes.get(..HEADER_SIZE)?;
        Some(Self {
            name: bytes.get(..8)?.try_into().ok()?,
            virtual_size: u32_at(bytes, 8)?,
            virtual_address: u32_at(bytes, 12)?,
            raw_size: u32_at(bytes, 16)?,
            raw_offset: u32_at(bytes, 20)?,
        })
    }

    fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..8].copy_from_slice(&self.name);
        put(&mut bytes, 8, &self.virtual_size.to_le_bytes());
        put(&mut bytes, 12, &self.virtual_address.to_le_bytes());
        put(&mut bytes, 16, &self.raw_size.to_le_bytes());
        put(&mut bytes, 20, &self.raw_offset.to_le_bytes());
        put(&mut bytes, 36, &INITIALIZED_AND_READABLE.to_le_bytes());
        bytes
    }

    fn contents<'a>(&self, image: &'a [u8]) -> Option<&'a [u8]> {
        if self.raw_size == 0 {
            return Some(&[]);
        }
        let start = self.raw_offset as usize;
        image.get(start..start.checked_add(self.raw_size as usize)?)
    }

    fn virtual_end(&self) -> u64 {
        u64::from(self.virtual_address) + u64::from(self.virtual_size.max(self.raw_size))
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
        sum += u64::from(word[0]) | u64::from(word.get(1).copied().unwrap_or(0)) << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Both parts fit: the sum is 16 bits by now, and the length of an image is 32.
    (sum as u32).wrapping_add(image.len() as u32)
}

fn padded(name: &str) -> [u8; 8] {
    let mut bytes = [0; 8];
    let len = name.len().min(bytes.len());
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

/// In the DOS header.
const OFFSET_OF_PE: usize = 0x3c;
const COFF_SIZE: usize = 20;
const HEADER_SIZE: usize = 40;

// Fields of the COFF header.
const SECTION_COUNT: usize = 2;
const OPTIONAL_SIZE: usize = 16;

// Fields of the PE32+ optional header.
const SECTION_ALIGNMENT: usize = 32;
const FILE_ALIGNMENT: usize = 36;
const IMAGE_SIZE: usize = 56;
const HEADERS_SIZE: usize = 60;
const CHECKSUM: usize = 64;
const SUBSYSTEM: usize = 68;
const DIRECTORY_COUNT: usize = 108;
const CERTIFICATES_INDEX: u32 = 4;
const CERTIFICATES_SIZE: usize = 112 + 4 * 8 + 4;

/// The specification's upper bound.
const FILE_ALIGNMENT_MAX: u32 = 0x1_0000;
const PE32_PLUS: u16 = 0x20b;
const EFI_APPLICATION: u16 = 10;
const INITIALIZED_AND_READABLE: u32 = 0x4000_0040;

#[cfg(test)]
mod tests;
