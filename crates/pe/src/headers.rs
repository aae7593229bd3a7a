//! The headers of an image, which are the same in its file and in memory.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{CUT_SHORT, PeError};

/// What matters of the headers.
#[derive(Debug)]
pub(crate) struct Headers {
    /// Offset of the COFF header.
    pub(crate) coff: usize,
    /// Offset of the optional header.
    pub(crate) optional: usize,
    /// Offset of the first section header.
    pub(crate) table: usize,
    pub(crate) machine: u16,
    pub(crate) entry: u32,
    /// The address that the image is linked for.
    pub(crate) image_base: u64,
    pub(crate) image_size: u32,
    pub(crate) headers_size: u32,
    pub(crate) section_alignment: u32,
    pub(crate) file_alignment: u32,
    pub(crate) is_signed: bool,
    /// The base relocations: where in memory, and how many bytes.
    pub(crate) relocations: (u32, u32),
    pub(crate) sections: Vec<Section>,
}

/// What matters of a section header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: [u8; 8],
    pub(crate) virtual_size: u32,
    pub(crate) virtual_address: u32,
    pub(crate) raw_size: u32,
    pub(crate) raw_offset: u32,
    pub(crate) characteristics: u32,
}

impl Headers {
    /// Looks through the headers at the beginning of `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, PeError> {
        if bytes.get(..2) != Some(b"MZ") {
            return Err(PeError::NotEfi("it does not begin with MZ"));
        }
        let signature = u32_at(bytes, OFFSET_OF_PE).ok_or(CUT_SHORT)? as usize;
        let coff = signature.saturating_add(4);
        if bytes.get(signature..coff) != Some(b"PE\0\0") {
            return Err(PeError::NotEfi("there is no PE header"));
        }
        let optional = coff.saturating_add(COFF_SIZE);
        let half = |offset: usize| u16_at(bytes, offset).ok_or(CUT_SHORT);
        let field = |offset: usize| u32_at(bytes, optional + offset).ok_or(CUT_SHORT);
        if half(optional)? != PE32_PLUS {
            return Err(PeError::NotEfi("it is not PE32+ (64 bit)"));
        }
        if half(optional + SUBSYSTEM)? != EFI_APPLICATION {
            return Err(PeError::NotEfi("its subsystem is not EFI application"));
        }
        let (section_alignment, file_alignment) =
            (field(SECTION_ALIGNMENT)?, field(FILE_ALIGNMENT)?);
        if !section_alignment.is_power_of_two()
            || !file_alignment.is_power_of_two()
            || file_alignment > FILE_ALIGNMENT_MAX
        {
            return Err(PeError::NotEfi("its alignments make no sense"));
        }
        let directories = field(DIRECTORY_COUNT)? as usize;
        let directory = |index: usize| {
            if index >= directories {
                return Ok((0, 0));
            }
            let offset = DIRECTORIES + index * DIRECTORY_SIZE;
            Ok::<_, PeError>((field(offset)?, field(offset + 4)?))
        };
        let table = optional + usize::from(half(coff + OPTIONAL_SIZE)?);
        let count = usize::from(half(coff + SECTION_COUNT)?);
        let sections = (0..count)
            .map(|index| Section::parse(bytes.get(table + index * HEADER_SIZE..)?))
            .collect::<Option<Vec<_>>>()
            .ok_or(CUT_SHORT)?;
        Ok(Self {
            coff,
            optional,
            table,
            machine: half(coff)?,
            entry: field(ENTRY)?,
            image_base: u64::from(field(IMAGE_BASE)?) | u64::from(field(IMAGE_BASE + 4)?) << 32,
            image_size: field(IMAGE_SIZE)?,
            headers_size: field(HEADERS_SIZE)?,
            section_alignment,
            file_alignment,
            is_signed: directory(CERTIFICATES)?.1 != 0,
            relocations: directory(BASE_RELOCATIONS)?,
            sections,
        })
    }

    /// The section called `name`.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        let name = padded(name);
        self.sections.iter().find(|section| section.name == name)
    }
}

impl Section {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            name: bytes.first_chunk().copied()?,
            virtual_size: u32_at(bytes, 8)?,
            virtual_address: u32_at(bytes, 12)?,
            raw_size: u32_at(bytes, 16)?,
            raw_offset: u32_at(bytes, 20)?,
            characteristics: u32_at(bytes, CHARACTERISTICS)?,
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        bytes[..8].copy_from_slice(&self.name);
        bytes[8..12].copy_from_slice(&self.virtual_size.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.virtual_address.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.raw_size.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.raw_offset.to_le_bytes());
        bytes[CHARACTERISTICS..].copy_from_slice(&self.characteristics.to_le_bytes());
        bytes
    }

    /// Where the contents are in the file, padding included.
    pub(crate) fn in_file(&self) -> Range<usize> {
        range(self.raw_offset, self.raw_size)
    }

    /// Where the contents are in memory.
    pub(crate) fn in_memory(&self) -> Range<usize> {
        range(self.virtual_address, self.virtual_size)
    }

    /// Where the section ends in memory: what the file pads it with counts too.
    pub(crate) fn virtual_end(&self) -> u64 {
        u64::from(self.virtual_address) + u64::from(self.virtual_size.max(self.raw_size))
    }
}

/// Two numbers of 32 bits have a sum in every 64 bit machine's `usize`.
fn range(start: u32, length: u32) -> Range<usize> {
    let start = start as usize;
    start..start.saturating_add(length as usize)
}

/// The name as a section header has it.
pub(crate) fn padded(name: &str) -> [u8; 8] {
    let mut bytes = [0; 8];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    bytes
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .copied()
        .map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

/// In the DOS header.
pub(crate) const OFFSET_OF_PE: usize = 0x3c;
pub(crate) const COFF_SIZE: usize = 20;
/// Of a section header, and where its characteristics are.
pub(crate) const HEADER_SIZE: usize = 40;
pub(crate) const CHARACTERISTICS: usize = 36;

// Fields of the COFF header.
pub(crate) const SECTION_COUNT: usize = 2;
pub(crate) const OPTIONAL_SIZE: usize = 16;

// Fields of the PE32+ optional header.
pub(crate) const INITIALIZED_SIZE: usize = 8;
pub(crate) const ENTRY: usize = 16;
pub(crate) const IMAGE_BASE: usize = 24;
pub(crate) const SECTION_ALIGNMENT: usize = 32;
pub(crate) const FILE_ALIGNMENT: usize = 36;
pub(crate) const IMAGE_SIZE: usize = 56;
pub(crate) const HEADERS_SIZE: usize = 60;
pub(crate) const CHECKSUM: usize = 64;
pub(crate) const SUBSYSTEM: usize = 68;
pub(crate) const DIRECTORY_COUNT: usize = 108;
pub(crate) const DIRECTORIES: usize = 112;
pub(crate) const DIRECTORY_SIZE: usize = 8;

// Data directories.
pub(crate) const CERTIFICATES: usize = 4;
pub(crate) const BASE_RELOCATIONS: usize = 5;

// Characteristics of sections.
pub(crate) const INITIALIZED_DATA: u32 = 0x40;
pub(crate) const EXECUTABLE: u32 = 0x2000_0000;
pub(crate) const READABLE: u32 = 0x4000_0000;
pub(crate) const WRITABLE: u32 = 0x8000_0000;

/// The specification's upper bound.
const FILE_ALIGNMENT_MAX: u32 = 0x1_0000;
pub(crate) const PE32_PLUS: u16 = 0x20b;
pub(crate) const EFI_APPLICATION: u16 = 10;
