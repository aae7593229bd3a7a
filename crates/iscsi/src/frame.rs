//! Framing: PDUs out of a byte stream and into one, with padding and digests
//! (RFC 7143 sections 11.1, 11.2 and 13.1). Additional header segments are skipped.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::crc32c;
use crate::pdu::{HEADER_LENGTH, Header};

const DIGEST_LENGTH: usize = 4;

/// A PDU as it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pdu<'a> {
    pub(crate) header: Header,
    /// Where it came in one piece, it lies there still.
    pub(crate) data: Cow<'a, [u8]>,
    /// The data digest was right, or there is none.
    pub(crate) intact: bool,
}

#[cfg(test)]
impl Pdu<'_> {
    pub(crate) fn into_owned(self) -> Pdu<'static> {
        Pdu {
            header: self.header,
            data: Cow::Owned(self.data.into_owned()),
            intact: self.intact,
        }
    }
}

/// The stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    HeaderDigest,
    TooLong,
}

/// Which digests are on, from the full feature phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests {
    pub(crate) header: bool,
    pub(crate) data: bool,
}

/// Cuts a byte stream into PDUs.
#[derive(Debug)]
pub(crate) struct Decoder {
    digests: Digests,
    data_max: usize,
    /// Basic and additional headers with their digest, as far as they came.
    head: Vec<u8>,
    /// The data segment with padding and digest, as far as it came; `head` is complete then.
    body: Vec<u8>,
}

impl Decoder {
    /// Takes data segments of up to `data_max` bytes.
    pub(crate) const fn new(data_max: usize) -> Self {
        let digests = Digests {
            header: false,
            data: false,
        };
        Self {
            digests,
            data_max,
            head: Vec::new(),
            body: Vec::new(),
        }
    }

    /// From the next PDU on.
    pub(crate) const fn set_digests(&mut self, digests: Digests) {
        self.digests = digests;
    }

    /// The PDUs that end in `output`, for tests.
    #[cfg(test)]
    pub(crate) fn pdus(&mut self, mut output: &[u8]) -> Vec<Pdu<'static>> {
        let mut pdus = Vec::new();
        while !output.is_empty() {
            pdus.extend(self.read(&mut output).unwrap().map(Pdu::into_owned));
        }
        pdus
    }

    /// Takes bytes off `input` up to the end of one PDU, and returns it if it is complete.
    pub(crate) fn read<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Pdu<'a>>, FrameError> {
        if !fill(&mut self.head, HEADER_LENGTH, input) {
            return Ok(None);
        }
        let mut header = Header([0; HEADER_LENGTH]);
        header
            .0
            .iter_mut()
            .zip(&self.head)
            .for_each(|(to, from)| *to = *from);
        let digest = if self.digests.header {
            DIGEST_LENGTH
        } else {
            0
        };
        let length = HEADER_LENGTH + header.additional_length();
        if !fill(&mut self.head, length + digest, input) {
            return Ok(None);
        }
        // Nothing in the header counts before its digest is known to be right.
        if self.digests.header && !digest_is_right(&self.head, length) {
            return Err(FrameError::HeaderDigest);
        }
        let length = usize::try_from(header.data_segment_length()).unwrap_or(usize::MAX);
        if length > self.data_max {
            return Err(FrameError::TooLong);
        }
        let padded = length.next_multiple_of(4);
        let checked = self.digests.data && length > 0;
        let Some(body) = self.body(padded + if checked { DIGEST_LENGTH } else { 0 }, input) else {
            return Ok(None);
        };
        let intact = !checked || digest_is_right(&body, padded);
        self.head.clear();
        let data = match body {
            Cow::Borrowed(body) => Cow::Borrowed(body.get(..length).unwrap_or_default()),
            Cow::Owned(mut body) => {
                body.truncate(length);
                Cow::Owned(body)
            }
        };
        Ok(Some(Pdu {
            header,
            data,
            intact,
        }))
    }

    /// The next `length` bytes: a part of `input` if that has all of them.
    fn body<'a>(&mut self, length: usize, input: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if self.body.is_empty()
            && let Some((body, rest)) = input.split_at_checked(length)
        {
            *input = rest;
            return Some(Cow::Borrowed(body));
        }
        fill(&mut self.body, length, input).then(|| Cow::Owned(core::mem::take(&mut self.body)))
    }
}

/// Moves bytes from `input` until `to` has `length`; whether it has.
fn fill(to: &mut Vec<u8>, length: usize, input: &mut &[u8]) -> bool {
    let wanted = length.saturating_sub(to.len());
    if wanted > 0 {
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        to.reserve_exact(wanted);
        to.extend_from_slice(taken);
        *input = rest;
    }
    to.len() >= length
}

/// Whether the bytes behind the first `length` are their digest.
fn digest_is_right(bytes: &[u8], length: usize) -> bool {
    bytes
        .split_at_checked(length)
        .is_some_and(|(data, digest)| crc32c::digest(data) == *digest)
}

/// Appends a PDU to `output`. `data` is no longer than 2^24 - 1 bytes.
pub(crate) fn write(output: &mut Vec<u8>, digests: Digests, mut header: Header, data: &[u8]) {
    header.set_data_segment_length(u32::try_from(data.len()).unwrap_or(0));
    let padding = data.len().next_multiple_of(4) - data.len();
    let zeros: [u8; 3] = [0; 3];
    let zeros = zeros.get(..padding).unwrap_or_default();
    output.reserve(HEADER_LENGTH + data.len() + padding + 2 * DIGEST_LENGTH);
    output.extend_from_slice(&header.0);
    if digests.header {
        output.extend(crc32c::digest(&header.0));
    }
    output.extend_from_slice(data);
    output.extend_from_slice(zeros);
    if digests.data && !data.is_empty() {
        output.extend(crc32c::digest(data.iter().chain(zeros)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pdu::opcode;

    const BOTH: Digests = Digests {
        header: true,
        data: true,
    };

    fn stream(digests: Digests) -> Vec<u8> {
        let mut output = Vec::new();
        for length in [0, 1, 3, 4, 5, 100] {
            write(
                &mut output,
                digests,
                Header::new(opcode::NOP_OUT),
                &vec![7; length],
            );
        }
        output
    }

    fn decode(digests: Digests, stream: &[u8], step: usize) -> Vec<usize> {
        let mut decoder = Decoder::new(100);
        decoder.set_digests(digests);
        let mut lengths = Vec::new();
        for mut chunk in stream.chunks(step) {
            while !chunk.is_empty() {
                if let Some(pdu) = decoder.read(&mut chunk).unwrap() {
                    assert!(pdu.intact && pdu.data.iter().all(|&byte| byte == 7));
                    lengths.push(pdu.data.len());
                }
            }
        }
        lengths
    }

    #[test]
    fn pdus_come_back_however_the_stream_is_cut() {
        for digests in [Digests::default(), BOTH] {
            let stream = stream(digests);
            for step in [1, 2, 7, 47, 48, 49, 1000] {
                assert_eq!(decode(digests, &stream, step), [0, 1, 3, 4, 5, 100]);
            }
        }
    }

    #[test]
    fn additional_headers_are_skipped() {
        let mut header = Header::new(opcode::SCSI_COMMAND);
        header.0[4] = 2;
        header.set_data_segment_length(4);
        let stream = [&header.0[..], &[0xee; 8], &[7; 4]].concat();
        assert_eq!(decode(Digests::default(), &stream, 5), [4]);
    }

    #[test]
    fn damage_and_excess_are_noticed() {
        let mut output = Vec::new();
        write(&mut output, BOTH, Header::new(opcode::NOP_OUT), &[7; 8]);
        let read = |stream: &[u8]| {
            let mut decoder = Decoder::new(8);
            decoder.set_digests(BOTH);
            let pdu = decoder.read(&mut &*stream)?;
            Ok(pdu.map(Pdu::into_owned))
        };
        let mut damaged = output.clone();
        damaged[10] ^= 1;
        assert_eq!(read(&damaged), Err(FrameError::HeaderDigest));
        let mut damaged = output.clone();
        damaged[54] ^= 1;
        assert!(!read(&damaged).unwrap().unwrap().intact);
        output.clear();
        write(&mut output, BOTH, Header::new(opcode::NOP_OUT), &[7; 9]);
        assert_eq!(read(&output), Err(FrameError::TooLong));
    }
}
