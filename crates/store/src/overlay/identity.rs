//! By what a golden image is known again.

use sha2::{Digest as _, Sha256};

use crate::{Disk, DiskError};

/// By what a golden image is known again. Reading all of it at every opening would take too long:
/// its length, when it was written to, and samples of its content must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Length of the disk in bytes.
    pub len: u64,
    /// When the file was last written to: seconds and nanoseconds since 1970; 0 for a block
    /// device.
    pub modified: (i64, u32),
    /// SHA-256 of samples of its content.
    pub fingerprint: [u8; 32],
}

impl Identity {
    /// That of `disk`, whose file was last written to at `modified`.
    pub fn of(disk: &impl Disk, modified: (i64, u32)) -> Result<Self, DiskError> {
        let len = disk.len();
        let mut hash = Sha256::new();
        let mut sample = vec![0; EDGE_BYTES as usize];
        let mut take = |offset: u64, most: u64| {
            let sample = &mut sample[..most.min(len - offset) as usize];
            disk.read_at(offset, sample)?;
            hash.update(sample);
            Ok(())
        };
        // The partition tables are at both ends.
        take(0, EDGE_BYTES)?;
        take(len - len.min(EDGE_BYTES), EDGE_BYTES)?;
        for number in 0..SAMPLES {
            take(len / SAMPLES * number, SAMPLE_BYTES)?;
        }
        Ok(Self {
            len,
            modified,
            fingerprint: hash.finalize().into(),
        })
    }

    /// In what `now` differs, if it does.
    pub(crate) fn change(&self, now: &Self) -> Option<&'static str> {
        if self.len != now.len {
            Some("it has another size")
        } else if self.fingerprint != now.fingerprint {
            Some("it has other content")
        } else if self.modified != now.modified {
            Some("it was written to since")
        } else {
            None
        }
    }
}

const EDGE_BYTES: u64 = 64 * 1024;
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 4096;
