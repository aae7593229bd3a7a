//! The header of a qcow2 image, as far as we need it to find what is below the image.
//!
//! Numbers are big-endian here. The format is described in QEMU's docs/interop/qcow2.rst.

use super::Qcow2Error;
use crate::Storage;

/// What a qcow2 image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qcow2Header {
    /// Length of the disk in bytes.
    pub disk_len: u64,
    /// Size of a cluster in bytes.
    pub cluster: u64,
    /// The image below, and its format if that is told, as they are written there.
    pub backing: Option<(String, Option<String>)>,
}

/// Reads what an image says about itself.
pub(crate) fn read_header(file: &impl Storage) -> Result<Qcow2Header, Qcow2Error> {
    let mut bytes = [0; 104];
    let len = file.len()?.min(bytes.len() as u64) as usize;
    if len < V2_BYTES {
        return Err(Qcow2Error::NotQcow2);
    }
    file.read(0, &mut bytes[..len])?;
    let u32 = |at: usize| {
        let bytes = bytes
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    };
    let u64 = |at: usize| u64::from(u32(at)) << 32 | u64::from(u32(at + 4));
    let cluster_bits = u32(20);
    if u32(0) != MAGIC || !(9..=21).contains(&cluster_bits) {
        return Err(Qcow2Error::NotQcow2);
    }
    let header_len = if u32(4) < 3 {
        V2_BYTES as u64
    } else {
        u64::from(u32(100))
    };
    Ok(Qcow2Header {
        disk_len: u64(24),
        cluster: 1 << cluster_bits,
        backing: match (u64(8), u32(16)) {
            (0, _) | (_, 0) => None,
            (at, len) if len <= MAX_NAME_BYTES => {
                let name = read_text(file, at, len)?;
                Some((name, backing_format(file, header_len)?))
            }
            _ => return Err(Qcow2Error::NotQcow2),
        },
    })
}

/// Looks through the header extensions: type, length, and data padded to 8 bytes.
fn backing_format(file: &impl Storage, header_len: u64) -> Result<Option<String>, Qcow2Error> {
    let mut at = header_len;
    for _ in 0..MAX_EXTENSIONS {
        let mut head = [0; 8];
        file.read(at, &mut head)?;
        let [a, b, c, d, e, f, g, h] = head;
        let kind = u32::from_be_bytes([a, b, c, d]);
        let len = u32::from_be_bytes([e, f, g, h]);
        match kind {
            0 => break,
            BACKING_FORMAT if len <= MAX_NAME_BYTES => {
                return read_text(file, at + 8, len).map(Some);
            }
            _ => at += 8 + u64::from(len).next_multiple_of(8),
        }
    }
    Ok(None)
}

fn read_text(file: &impl Storage, at: u64, len: u32) -> Result<String, Qcow2Error> {
    let mut text = vec![0; len as usize];
    file.read(at, &mut text)?;
    String::from_utf8(text).map_err(|_| Qcow2Error::NotQcow2)
}

/// "QFI" and 0xfb.
pub(crate) const MAGIC: u32 = 0x5146_49fb;
const V2_BYTES: usize = 72;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const MAX_NAME_BYTES: u32 = 1023;
const MAX_EXTENSIONS: usize = 64;
