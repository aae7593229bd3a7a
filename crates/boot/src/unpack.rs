//! Unpacks gzip (RFC 1952) and zlib (RFC 1950). Sizes that the input claims are not believed.

use alloc::format;
use alloc::vec::Vec;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use crate::failure::{Code, Failure};

/// Unpacks by the first bytes.
pub(crate) fn unpack(data: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    if data.starts_with(&GZIP_MAGIC) {
        let mut rest = data;
        // Several members one after the other are one file (RFC 1952 section 2.2). What follows
        // them is padding.
        while rest.starts_with(&GZIP_MAGIC) {
            rest = gzip_member(rest, &mut out)?;
        }
        return Ok(out);
    }
    // RFC 1950 section 2.2: method 8, and a header that is a multiple of 31.
    let is_zlib = matches!(*data, [cmf, flags, ..]
        if cmf & 0x0f == 8 && u16::from_be_bytes([cmf, flags]).is_multiple_of(31));
    if is_zlib {
        inflate(data, &mut out, inflate_flags::TINFL_FLAG_PARSE_ZLIB_HEADER)?;
        return Ok(out);
    }
    Err(damaged("it is neither gzip nor zlib"))
}

/// Unpacks a member to the end of `out`; returns what follows it.
fn gzip_member<'d>(data: &'d [u8], out: &mut Vec<u8>) -> Result<&'d [u8], Failure> {
    let body = gzip_body(data).ok_or_else(|| damaged("its gzip header is cut off or unknown"))?;
    let start = out.len();
    let consumed = inflate(body, out, 0)?;
    let trailer = body.get(consumed..).unwrap_or_default();
    let Some((trailer, rest)) = trailer.split_first_chunk::<8>() else {
        return Err(damaged("it is cut off"));
    };
    let [a, b, c, d, e, f, g, h] = *trailer;
    let unpacked = out.get(start..).unwrap_or_default();
    let length_matches = u32::from_le_bytes([e, f, g, h]) == unpacked.len() as u32;
    if !length_matches || CHECKSUM.checksum(unpacked) != u32::from_le_bytes([a, b, c, d]) {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(rest)
}

/// What follows the header (RFC 1952 section 2.3).
fn gzip_body(data: &[u8]) -> Option<&[u8]> {
    let (header, mut rest) = data.split_first_chunk::<10>()?;
    let [_, _, method, flags, ..] = *header;
    if method != 8 {
        return None;
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

/// Inflates (RFC 1951) to the end of `out`; returns how many bytes that took.
fn inflate(data: &[u8], out: &mut Vec<u8>, flags: u32) -> Result<usize, Failure> {
    let flags = flags | inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut state = DecompressorOxide::new();
    let start = out.len();
    let (mut taken, mut made) = (0, 0);
    loop {
        let room = out.len() - start - made;
        if room == 0 {
            grow(out)?;
        }
        let buffer = out.get_mut(start..).unwrap_or_default();
        let input = data.get(taken..).unwrap_or_default();
        let (status, read, written) = decompress(&mut state, input, buffer, made, flags);
        taken += read;
        made += written;
        match status {
            TINFLStatus::Done => {
                out.truncate(start + made);
                return Ok(taken);
            }
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::NeedsMoreInput | TINFLStatus::FailedCannotMakeProgress => {
                return Err(damaged("it is cut off"));
            }
            TINFLStatus::Adler32Mismatch => return Err(damaged("its checksum is wrong")),
            _ => return Err(damaged("its compressed data make no sense")),
        }
    }
}

/// Makes room for as much again, where there is memory.
fn grow(out: &mut Vec<u8>) -> Result<(), Failure> {
    let more = out.len().clamp(STEP, UNPACKED_MAX);
    let fits = out.len() + more <= UNPACKED_MAX;
    if !fits || out.try_reserve_exact(more).is_err() {
        let message = format!("unpacked it is more than {} bytes", out.len());
        return Err(Failure::new(Code::ImageTooBig, message));
    }
    out.resize(out.len() + more, 0);
    Ok(())
}

fn damaged(why: &str) -> Failure {
    Failure::new(Code::ImageDamaged, why)
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The first room for what is unpacked.
const STEP: usize = 256 * 1024;

/// The most that is unpacked.
const UNPACKED_MAX: usize = 512 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// A gzip member with every optional field.
    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut out = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3];
        out.extend(b"\x03\x00abcname\0comment\0hc");
        out.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
        out.extend(CHECKSUM.checksum(data).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out
    }

    #[test]
    fn gzip_and_zlib_are_unpacked() {
        let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n / 7) as u8).collect();
        assert!(unpack(&gzip(&data)).unwrap() == data);
        assert_eq!(unpack(&gzip(b"")).unwrap(), b"");
        let two = [gzip(b"one"), gzip(b"two"), vec![0; 16]].concat();
        assert_eq!(unpack(&two).unwrap(), b"onetwo");
        let zlib = miniz_oxide::deflate::compress_to_vec_zlib(&data, 6);
        assert!(unpack(&zlib).unwrap() == data);
    }

    #[test]
    fn damage_is_found() {
        let good = gzip(b"some data that is long enough to be worth it");
        for length in 0..good.len() {
            assert!(unpack(&good[..length]).is_err(), "{length}");
        }
        for index in [good.len() - 1, good.len() - 8, 40] {
            let mut bad = good.clone();
            bad[index] ^= 0x55;
            assert!(unpack(&bad).is_err(), "{index}");
        }
        let zlib = miniz_oxide::deflate::compress_to_vec_zlib(b"some data", 6);
        assert!(unpack(&zlib[..zlib.len() - 1]).is_err());
        assert!(unpack(b"").is_err() && unpack(b"MZ\0\0").is_err());
    }
}
