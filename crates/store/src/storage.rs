//! What a disk format needs of the system below it: five calls, three hints, and a name.
//!
//! [`File`] is the real one. Tests insert others, which fail at a chosen call or rebuild every
//! image that a power cut could leave.

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::sync::LazyLock;

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, ReadWriteFlags};

/// A file or block device. Calls may come from several threads at once.
///
/// Until [`sync`](Self::sync) returns, a power cut may keep any part of what was written since the
/// last one, in any order, sector by sector (512 bytes).
pub trait Storage: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from byte `offset` on; beyond the end is an error.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` from byte `offset` on, and makes the file longer where needed.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Returns when all that was written before the call is on stable storage.
    fn sync(&self) -> io::Result<()>;

    /// Fills `buffer` if that needs no waiting; `false` if it might.
    fn read_now(&self, _offset: u64, _buffer: &mut [u8]) -> bool {
        false
    }

    /// Makes the range zeros without writing them, and gives its space back if `free`. `false`:
    /// cannot be done here, and nothing has changed.
    fn zero(&self, _offset: u64, _len: u64, _free: bool) -> io::Result<bool> {
        Ok(false)
    }

    /// How many of the `len` bytes from `offset` on are alike, and whether they are data (else
    /// they are a hole, which takes no space and reads as zeros).
    fn extent(&self, _offset: u64, len: u64) -> io::Result<(u64, bool)> {
        Ok((len, true))
    }

    /// Names the cache between this and stable storage: while the name is the same, all that was
    /// written can be read, also by another process. `None`: nobody knows.
    fn cache_id(&self) -> Option<CacheId> {
        None
    }
}

/// No two caches ever have the same.
pub type CacheId = [u8; 16];

/// The page cache lives as long as the system runs, which Linux gives a random UUID (proc(5)).
static BOOT_ID: LazyLock<Option<CacheId>> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits = text.trim().replace('-', "");
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
});

impl Storage for File {
    fn len(&self) -> io::Result<u64> {
        // A block device has no length in its metadata; the end of both can be sought.
        Ok(rustix::fs::seek(self, rustix::fs::SeekFrom::End(0))?)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    /// What the page cache has (RWF_NOWAIT). Less than all counts as nothing.
    fn read_now(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let len = buffer.len();
        let buffers = &mut [IoSliceMut::new(buffer)];
        rustix::io::preadv2(self, buffers, offset, ReadWriteFlags::NOWAIT) == Ok(len)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn zero(&self, offset: u64, len: u64, free: bool) -> io::Result<bool> {
        if len == 0 {
            return Ok(true);
        }
        let flags = if free {
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE
        } else {
            FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE
        };
        loop {
            return match rustix::fs::fallocate(self, flags, offset, len) {
                Ok(()) => Ok(true),
                Err(Errno::INTR) => continue,
                // File systems without it; block devices without it (ENODEV) or asked for less
                // than a block of theirs (EINVAL); seccomp profiles that do not know the call.
                Err(Errno::OPNOTSUPP | Errno::NODEV | Errno::INVAL | Errno::NOSYS) => Ok(false),
                Err(error) => Err(error.into()),
            };
        }
    }

    fn extent(&self, offset: u64, len: u64) -> io::Result<(u64, bool)> {
        use rustix::fs::{SeekFrom, seek};
        match seek(self, SeekFrom::Data(offset)) {
            Ok(data) if data > offset => Ok((len.min(data - offset), false)),
            Ok(_) => match seek(self, SeekFrom::Hole(offset)) {
                Ok(hole) => Ok((len.min(hole.saturating_sub(offset)).max(len.min(1)), true)),
                Err(_) => Ok((len, true)),
            },
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => Ok((len, false)),
            // Devices and file systems that do not tell.
            Err(_) => Ok((len, true)),
        }
    }

    fn cache_id(&self) -> Option<CacheId> {
        *BOOT_ID
    }
}
