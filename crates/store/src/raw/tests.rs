//! A raw disk against a model, on a backend that keeps a volatile cache like a real drive, and
//! that loses power or fails when told to.

use std::io;
use std::sync::Mutex;

use super::*;
use crate::{Access, open};

/// What the platters hold and what only the cache holds.
#[derive(Debug, Default)]
struct Drive {
    stable: Vec<u8>,
    /// Writes since the last barrier, oldest first.
    cached: Vec<(u64, Vec<u8>)>,
    fail_sync: bool,
    fail_io: bool,
}

#[derive(Debug)]
struct Volatile<'a>(&'a Mutex<Drive>);

fn broken() -> io::Error {
    io::Error::other("broken on purpose")
}

fn apply(image: &mut [u8], offset: u64, data: &[u8]) {
    image[offset as usize..][..data.len()].copy_from_slice(data);
}

impl Storage for Volatile<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(LEN)
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(broken())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let drive = self.0.lock().unwrap();
        if drive.fail_io {
            return Err(broken());
        }
        let mut view = drive.stable.clone();
        for (at, data) in &drive.cached {
            apply(&mut view, *at, data);
        }
        buffer.copy_from_slice(&view[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut drive = self.0.lock().unwrap();
        if drive.fail_io {
            return Err(broken());
        }
        drive.cached.push((offset, data.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut drive = self.0.lock().unwrap();
        let cached = std::mem::take(&mut drive.cached);
        if drive.fail_sync {
            // Like Linux: the dirty pages are gone, and the next call would succeed.
            drive.fail_sync = false;
            return Err(broken());
        }
        for (at, data) in cached {
            apply(&mut drive.stable, at, &data);
        }
        Ok(())
    }
}

/// xorshift64*: the tests are repeatable and need no crate for it.
struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
}

const LEN: u64 = 8192;

fn drive() -> Mutex<Drive> {
    Mutex::new(Drive {
        stable: vec![0; LEN as usize],
        ..Drive::default()
    })
}

/// After a power cut every byte is either what the last flush promised or one that was written
/// since; before it, reads see all writes.
#[test]
fn what_was_flushed_survives_a_power_cut() {
    for seed in 1..=50 {
        let mut random = Random(seed);
        let drive = drive();
        let disk = RawDisk::new(Volatile(&drive), LEN, false);
        let mut model = vec![0; LEN as usize];
        let mut promised = model.clone();
        let mut since_flush = Vec::new();
        for _ in 0..random.next(200) {
            let offset = random.next(LEN);
            let len = random.next((LEN - offset).min(1024)) as usize;
            match random.next(8) {
                0 => {
                    disk.flush().unwrap();
                    promised.clone_from(&model);
                    since_flush.clear();
                }
                1..=4 => {
                    let data = vec![random.next(256) as u8; len];
                    disk.write_at(offset, &data).unwrap();
                    apply(&mut model, offset, &data);
                    since_flush.push((offset, data));
                }
                _ => {
                    let mut data = vec![0; len];
                    disk.read_at(offset, &mut data).unwrap();
                    assert_eq!(data, model[offset as usize..][..len], "seed {seed}");
                }
            }
        }
        // The cut: some of the cached writes reach the platters, in any order.
        let mut after = drive.into_inner().unwrap();
        while !after.cached.is_empty() {
            let pick = random.next(after.cached.len() as u64) as usize;
            let (offset, data) = after.cached.swap_remove(pick);
            if random.next(2) == 0 {
                apply(&mut after.stable, offset, &data);
            }
        }
        for (at, byte) in after.stable.iter().enumerate() {
            let rewritten = since_flush.iter().any(|(offset, data)| {
                (*offset as usize..*offset as usize + data.len()).contains(&at)
                    && data.first() == Some(byte)
            });
            assert!(*byte == promised[at] || rewritten, "seed {seed}, byte {at}");
        }
    }
}

#[test]
fn after_a_failed_flush_nothing_is_promised_any_more() {
    let drive = drive();
    let disk = RawDisk::new(Volatile(&drive), LEN, false);
    disk.write_at(0, b"lost").unwrap();
    drive.lock().unwrap().fail_sync = true;
    assert!(matches!(disk.flush(), Err(DiskError::Flush(_))));
    assert!(
        matches!(disk.flush(), Err(DiskError::Failed)),
        "the second must not claim success"
    );
    assert!(matches!(disk.write_at(0, b"more"), Err(DiskError::Failed)));
    let mut data = [0; 4];
    disk.read_at(0, &mut data).unwrap();
    assert_eq!(&data, b"\0\0\0\0");
}

#[test]
fn a_failed_read_or_write_names_the_range() {
    let drive = drive();
    let disk = RawDisk::new(Volatile(&drive), LEN, false);
    drive.lock().unwrap().fail_io = true;
    let write = disk.write_at(512, &[0; 16]).unwrap_err().to_string();
    assert_eq!(write, "cannot write 16 bytes at 512: broken on purpose");
    let read = disk.read_at(1024, &mut [0; 8]).unwrap_err().to_string();
    assert_eq!(read, "cannot read 8 bytes at 1024: broken on purpose");
    drive.lock().unwrap().fail_io = false;
    disk.write_at(512, &[7; 16]).unwrap();
}

#[test]
fn ranges_end_where_the_disk_ends() {
    let drive = drive();
    let disk = RawDisk::new(Volatile(&drive), LEN, false);
    disk.write_at(LEN - 1, &[1]).unwrap();
    disk.write_at(LEN, &[]).unwrap();
    for (offset, len) in [(LEN, 1), (LEN - 1, 2), (u64::MAX, 1), (0, LEN as usize + 1)] {
        let data = vec![0; len];
        assert!(matches!(
            disk.write_at(offset, &data),
            Err(DiskError::OutOfRange { .. })
        ));
        let mut data = data;
        assert!(matches!(
            disk.read_at(offset, &mut data),
            Err(DiskError::OutOfRange { .. })
        ));
    }
}

#[test]
fn a_real_file_keeps_what_was_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LEN).unwrap();
    let disk = open(file.path(), Access::ReadWrite).unwrap();
    assert_eq!(disk.len(), LEN);
    disk.write_at(4000, b"bowline").unwrap();
    disk.flush().unwrap();
    drop(disk);
    let disk = open(file.path(), Access::ReadOnly).unwrap();
    let mut data = [0; 7];
    disk.read_at(4000, &mut data).unwrap();
    assert_eq!(&data, b"bowline");
}
