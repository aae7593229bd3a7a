//! EXTENDED COPY with short list identifiers (SPC-4 sections 6.4 and 6.6): the parameter list.
//!
//! Of all that the command could do we do the one thing that disks are asked for: blocks of one
//! disk to another, counted in blocks (segment type 02h) or in bytes (0Ah), between disks named by
//! their identification (target type E4h). No inline data, no held data, no parts of blocks.

use alloc::vec::Vec;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::cdb::opcode;
use crate::sense::Sense;

/// Disks in one copy.
pub const TARGETS_MAX: u16 = 8;
/// Segments in one copy.
pub const SEGMENTS_MAX: u16 = 64;
/// Bytes in one segment.
pub const SEGMENT_BYTES_MAX: u32 = 256 * 1024 * 1024;

const HEADER_LENGTH: usize = 16;
const TARGET_LENGTH: usize = 32;
const SEGMENT_LENGTH: usize = 28;
const SEGMENT_WITH_OFFSET_LENGTH: usize = 32;
const LIST_LENGTH_MAX: usize =
    TARGETS_MAX as usize * TARGET_LENGTH + SEGMENTS_MAX as usize * SEGMENT_WITH_OFFSET_LENGTH;
/// Copies are counted in units of 2^9 bytes.
const GRANULARITY: u8 = 9;
const IDENTIFICATION: u8 = 0xe4;
const BLOCK_TO_BLOCK: u8 = 0x02;
const BLOCK_TO_BLOCK_WITH_OFFSET: u8 = 0x0a;

/// A copy as it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// By which its outcome can be asked for.
    pub list_identifier: u8,
    /// Whether its outcome may be asked for.
    pub is_remembered: bool,
    /// The disks, by a designator of VPD page 83h.
    pub targets: Vec<Target>,
    /// What to do, in order.
    pub segments: Vec<Segment>,
}

/// A disk of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The designator without its header.
    pub designator: Vec<u8>,
    /// DESIGNATOR TYPE, 3 is NAA.
    pub kind: u8,
    /// DISK BLOCK LENGTH; 0 leaves it open.
    pub block_size: u32,
}

/// Blocks from one disk to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of the disk that is read.
    pub source: usize,
    /// Index of the disk that is written.
    pub destination: usize,
    /// How much.
    pub length: Length,
    /// First block read.
    pub source_lba: u64,
    /// First block written.
    pub destination_lba: u64,
}

/// How much a segment copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Blocks of the disk that is read.
    SourceBlocks(u16),
    /// Blocks of the disk that is written (DC).
    DestinationBlocks(u16),
    /// Bytes, which must be whole blocks of both disks.
    Bytes(u32),
}

impl Copy {
    /// Reads the parameter list of EXTENDED COPY (LID1). `None` where it is empty, which is no
    /// error.
    ///
    /// # Errors
    /// The sense data to answer with.
    pub fn parse(data: &[u8]) -> Result<Option<Self>, Sense> {
        let short = Sense::PARAMETER_LIST_LENGTH_ERROR;
        let wrong = Sense::INVALID_FIELD_IN_PARAMETER_LIST;
        if data.is_empty() {
            return Ok(None);
        }
        if data.len() < HEADER_LENGTH {
            return Err(short);
        }
        let list_identifier = *data.first().ok_or(short)?;
        // LIST ID USAGE: 00b and 10b use the identifier, 11b has none; 01b is reserved.
        let usage = data.get(1).ok_or(short)? >> 3 & 3;
        if usage == 1 || (usage == 3 && list_identifier != 0) {
            return Err(wrong);
        }
        let targets_length = usize::from(u16_at(data, 2).ok_or(short)?);
        let segments_length = u32_at(data, 8).ok_or(short)? as usize;
        let inline_length = u32_at(data, 12).ok_or(short)?;
        if inline_length != 0 {
            return Err(Sense::INLINE_DATA_LENGTH_EXCEEDED);
        }
        if targets_length.saturating_add(segments_length) > LIST_LENGTH_MAX {
            return Err(short);
        }
        if targets_length > usize::from(TARGETS_MAX) * TARGET_LENGTH {
            return Err(Sense::TOO_MANY_TARGET_DESCRIPTORS);
        }
        if !targets_length.is_multiple_of(TARGET_LENGTH) {
            return Err(wrong);
        }
        let rest = data.get(HEADER_LENGTH..).ok_or(short)?;
        let (targets, rest) = rest.split_at_checked(targets_length).ok_or(short)?;
        let mut segments = rest.get(..segments_length).ok_or(short)?;
        let (targets, _) = targets.as_chunks::<TARGET_LENGTH>();
        let targets = targets
            .iter()
            .map(Target::parse)
            .collect::<Result<Vec<_>, _>>()?;
        let mut copy = Self {
            list_identifier,
            is_remembered: usage != 3,
            targets,
            segments: Vec::new(),
        };
        while !segments.is_empty() {
            if copy.segments.len() >= usize::from(SEGMENTS_MAX) {
                return Err(Sense::TOO_MANY_SEGMENT_DESCRIPTORS);
            }
            let (segment, rest) = Segment::parse(segments, copy.targets.len())?;
            copy.segments.push(segment);
            segments = rest;
        }
        Ok(Some(copy))
    }
}

impl Target {
    /// SPC-4 section 6.6.5.
    fn parse(data: &[u8; TARGET_LENGTH]) -> Result<Self, Sense> {
        let [kind, flags, _, _, _code_set, designator_type, _, length, ..] = *data;
        if kind != IDENTIFICATION {
            return Err(Sense::UNSUPPORTED_TARGET_DESCRIPTOR);
        }
        // Only disks can be copied. LU ID TYPE means nothing here, NUL nothing any more.
        if flags & 0x1f != 0 {
            return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
        }
        let designator = data.get(8..8 + usize::from(length.min(20)));
        let [.., a, b, c] = *data;
        Ok(Self {
            designator: designator.unwrap_or_default().to_vec(),
            kind: designator_type & 0x0f,
            block_size: u32::from_be_bytes([0, a, b, c]),
        })
    }
}

impl Segment {
    /// The first descriptor of `data`, and what follows it (SPC-4 sections 6.6.6.3 and 6.6.6.10).
    fn parse(data: &[u8], targets: usize) -> Result<(Self, &[u8]), Sense> {
        let short = Sense::PARAMETER_LIST_LENGTH_ERROR;
        let wrong = Sense::INVALID_FIELD_IN_PARAMETER_LIST;
        let whole = match *data.first().ok_or(short)? {
            BLOCK_TO_BLOCK => SEGMENT_LENGTH,
            BLOCK_TO_BLOCK_WITH_OFFSET => SEGMENT_WITH_OFFSET_LENGTH,
            _ => return Err(Sense::UNSUPPORTED_SEGMENT_DESCRIPTOR),
        };
        if usize::from(u16_at(data, 2).ok_or(short)?) != whole - 4 {
            return Err(wrong);
        }
        let (data, rest) = data.split_at_checked(whole).ok_or(short)?;
        let counts_destination = data.get(1).is_some_and(|flags| flags & 2 != 0);
        let length = match u32_at(data, SEGMENT_LENGTH) {
            // The byte offsets: only whole blocks are copied.
            Some(0) => Length::Bytes(u32_at(data, 8).ok_or(short)?),
            Some(_) => return Err(wrong),
            None if counts_destination => Length::DestinationBlocks(u16_at(data, 10).ok_or(short)?),
            None => Length::SourceBlocks(u16_at(data, 10).ok_or(short)?),
        };
        let (source, destination) = (u16_at(data, 4), u16_at(data, 6));
        let segment = Self {
            source: usize::from(source.ok_or(short)?),
            destination: usize::from(destination.ok_or(short)?),
            length,
            source_lba: u64_at(data, 12).ok_or(short)?,
            destination_lba: u64_at(data, 20).ok_or(short)?,
        };
        if segment.source >= targets || segment.destination >= targets {
            return Err(Sense::COPY_TARGET_NOT_REACHABLE);
        }
        Ok((segment, rest))
    }
}

/// The descriptors that we know, in ascending order.
const KINDS: [u8; 3] = [BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_WITH_OFFSET, IDENTIFICATION];

/// RECEIVE COPY RESULTS, OPERATING PARAMETERS (SPC-4 section 6.19.4).
pub(crate) fn operating_parameters() -> Vec<u8> {
    let targets = TARGETS_MAX.to_be_bytes();
    let segments = SEGMENTS_MAX.to_be_bytes();
    let mut data = alloc::vec![0; 4];
    data.extend([1, 0, 0, 0]); // SNLID: a copy may come without a list identifier
    data.extend(targets);
    data.extend(segments);
    data.extend(u32::try_from(LIST_LENGTH_MAX).unwrap_or(0).to_be_bytes());
    data.extend(SEGMENT_BYTES_MAX.to_be_bytes());
    data.extend([0; 4]); // no inline data
    data.extend([0; 4]); // no held data
    data.extend([0; 4]); // no stream devices
    data.extend([0; 2]);
    data.extend(1_u16.to_be_bytes()); // copies at a time
    data.extend([1, GRANULARITY, 0, 0]); // copies at a time, none held, reserved
    data.extend([0; 2]);
    let kinds = KINDS;
    data.extend([0, kinds.len() as u8]);
    data.extend(kinds);
    put_length(data)
}

/// Third-party Copy VPD page (SPC-4 section 7.8.17): the same, and which commands there are.
pub(crate) fn third_party_copy() -> Vec<u8> {
    const COMMANDS: [u8; 7] = [
        opcode::EXTENDED_COPY,
        1,
        0,
        opcode::RECEIVE_COPY_RESULTS,
        2,
        0,
        3,
    ];
    let list = |codes: &[u8]| [&[codes.len() as u8], codes].concat();
    let mut limits = alloc::vec![0; 4];
    limits.extend(TARGETS_MAX.to_be_bytes());
    limits.extend(SEGMENTS_MAX.to_be_bytes());
    limits.extend(u32::try_from(LIST_LENGTH_MAX).unwrap_or(0).to_be_bytes());
    limits.extend([0; 16]); // no inline data
    let mut operations = Vec::new();
    operations.extend(1_u32.to_be_bytes()); // copies at a time
    operations.extend(1_u32.to_be_bytes()); // of those with a list identifier
    operations.extend(SEGMENT_BYTES_MAX.to_be_bytes());
    operations.extend([GRANULARITY, 0]);
    operations.extend([0; 18]);
    let mut page = Vec::new();
    for (kind, mut descriptor) in [
        (0x0001_u16, list(&COMMANDS)),
        (0x0004, limits),
        (0x0008, list(&KINDS)),
        (0x000c, alloc::vec![0; 4]), // no CSCD IDs but indices
        (0x8001, operations),
    ] {
        descriptor.resize(descriptor.len().next_multiple_of(4), 0);
        page.extend(kind.to_be_bytes());
        page.extend(u16::try_from(descriptor.len()).unwrap_or(0).to_be_bytes());
        page.extend(descriptor);
    }
    page
}

/// RECEIVE COPY RESULTS, COPY STATUS (SPC-4 section 6.19.2), of a copy that is over.
pub(crate) fn status(segments: u16, is_complete: bool) -> Vec<u8> {
    let status = if is_complete { 0x01 } else { 0x02 };
    let mut data = alloc::vec![0, 0, 0, 0, status];
    data.extend(segments.to_be_bytes());
    data.extend([0; 5]); // TRANSFER COUNT in bytes is not kept
    put_length(data)
}

/// Writes the number of bytes behind it into the first four.
fn put_length(mut data: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(data.len().saturating_sub(4)).unwrap_or(0);
    if let Some(field) = data.first_chunk_mut() {
        *field = length.to_be_bytes();
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(targets: &[[u8; 32]], segments: &[[u8; 28]]) -> Vec<u8> {
        let mut data = vec![9, 0];
        data.extend((targets.len() as u16 * 32).to_be_bytes());
        data.extend([0; 4]);
        data.extend((segments.len() as u32 * 28).to_be_bytes());
        data.extend([0; 4]);
        data.extend(targets.concat());
        data.extend(segments.concat());
        data
    }

    fn target() -> [u8; 32] {
        let mut target = [0; 32];
        target[0] = IDENTIFICATION;
        target[4..8].copy_from_slice(&[1, 3, 0, 8]);
        target[8..16].copy_from_slice(b"12345678");
        target[30] = 2; // 512
        target
    }

    fn segment(source: u8, destination: u8) -> [u8; 28] {
        let mut segment = [0; 28];
        segment[0] = BLOCK_TO_BLOCK;
        segment[3] = 24;
        segment[5] = source;
        segment[7] = destination;
        segment[11] = 4;
        segment[19] = 100;
        segment[27] = 200;
        segment
    }

    #[test]
    fn a_copy_is_read() {
        let copy = Copy::parse(&list(&[target()], &[segment(0, 0)]));
        let copy = copy.unwrap().unwrap();
        assert_eq!((copy.list_identifier, copy.is_remembered), (9, true));
        let disk = &copy.targets[0];
        assert_eq!(
            (disk.designator.as_slice(), disk.kind, disk.block_size),
            (&b"12345678"[..], 3, 512)
        );
        let expected = Segment {
            source: 0,
            destination: 0,
            length: Length::SourceBlocks(4),
            source_lba: 100,
            destination_lba: 200,
        };
        assert_eq!(copy.segments, [expected]);
        assert_eq!(Copy::parse(&[]), Ok(None));
    }

    #[test]
    fn bytes_are_counted_if_they_are_whole_blocks() {
        let with_offset = |offset: u8| {
            let mut data = list(&[target()], &[segment(0, 0)]);
            data[11] += 4; // the segments are four bytes longer
            data[48] = BLOCK_TO_BLOCK_WITH_OFFSET;
            data[51] = 28;
            data[56..60].copy_from_slice(&0x0800_0000_u32.to_be_bytes());
            data.extend([0, 0, 0, offset]);
            Copy::parse(&data)
        };
        let copy = with_offset(0).unwrap().unwrap();
        assert_eq!(copy.segments[0].length, Length::Bytes(0x0800_0000));
        assert_eq!(copy.segments[0].destination_lba, 200);
        assert_eq!(with_offset(1), Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST));
    }

    #[test]
    fn the_page_lists_what_there_is() {
        let page = third_party_copy();
        assert_eq!(page[..12], [0, 1, 0, 8, 7, 0x83, 1, 0, 0x84, 2, 0, 3]);
        let mut rest = &page[..];
        let mut kinds = Vec::new();
        while let [a, b, c, d, ..] = *rest {
            kinds.push(u16::from_be_bytes([a, b]));
            rest = &rest[4 + usize::from(u16::from_be_bytes([c, d]))..];
        }
        assert_eq!(kinds, [0x0001, 0x0004, 0x0008, 0x000c, 0x8001]);
    }

    #[test]
    fn what_cannot_be_copied_is_refused() {
        let whole = list(&[target()], &[segment(0, 0)]);
        for cut in 1..whole.len() {
            assert_eq!(
                Copy::parse(&whole[..cut]),
                Err(Sense::PARAMETER_LIST_LENGTH_ERROR),
                "{cut}"
            );
        }
        let change = |at: usize, value: u8| {
            let mut data = whole.clone();
            data[at] = value;
            Copy::parse(&data)
        };
        for (at, value, sense) in [
            (16, 0xe0, Sense::UNSUPPORTED_TARGET_DESCRIPTOR),
            (48, 0x0b, Sense::UNSUPPORTED_SEGMENT_DESCRIPTOR),
            (55, 1, Sense::COPY_TARGET_NOT_REACHABLE),
            (15, 1, Sense::INLINE_DATA_LENGTH_EXCEEDED),
            (1, 0x08, Sense::INVALID_FIELD_IN_PARAMETER_LIST),
        ] {
            assert_eq!(change(at, value), Err(sense), "byte {at}");
        }
        let many = vec![target(); usize::from(TARGETS_MAX) + 1];
        assert_eq!(
            Copy::parse(&list(&many, &[])),
            Err(Sense::TOO_MANY_TARGET_DESCRIPTORS)
        );
        let many = vec![segment(0, 0); usize::from(SEGMENTS_MAX) + 1];
        assert_eq!(
            Copy::parse(&list(&[target()], &many)),
            Err(Sense::TOO_MANY_SEGMENT_DESCRIPTORS)
        );
    }
}
