//! The lease file: who has which address, kept over restarts and power cuts.
//!
//! A text file that only grows. The first line is `bowline-leases 1`; each other line is one
//! record, which replaces earlier records of the same address:
//!
//! ```text
//! bound 192.168.1.100 1767225600 1/525400123456 01525400123456 node1 0c1d2e3f
//! |     |             |          |              |              |     checksum of the line before
//! |     |             |          |              |              |     the last blank, CRC-32C
//! |     |             |          |              |              host name, or "-"
//! |     |             |          |              client: option 61, or hardware type and address
//! |     |             |          hardware type / address
//! |     |             when it ends, in seconds since 1970, or "never"
//! |     address
//! bound, released or declined
//! ```
//!
//! In a host name every byte that is not a letter, a digit, `.`, `_` or `-` is written as `%XX`.
//!
//! - Records are appended and synced (fdatasync) before anybody is told of them.
//! - A last line that is not complete is what a crash in the middle of an append leaves: nobody
//!   was told of it, so it is dropped and reported. A damaged line elsewhere is reported too, and
//!   the file is kept as `NAME.damaged` before it is written anew.
//! - When old records outnumber the current ones, or when a write failed, the file is written anew
//!   beside the old one, synced, and renamed over it.
//! - `NAME.lock` is locked while a server runs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bowline_dhcp::server::{ClientKey, Lease, LeaseState};
use bowline_dhcp::wire::HardwareAddress;

use super::Error;

/// An open lease file. Its calls block: they belong on a thread that may.
#[derive(Debug)]
pub(super) struct LeaseFile {
    path: PathBuf,
    file: File,
    /// Records in the file.
    records: usize,
    /// The file may end in the middle of a record: it must be written anew before it grows.
    torn: bool,
    /// Held until the server ends.
    _lock: File,
}

/// What an existing file told.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The latest record of each address.
    pub(super) leases: Vec<Lease>,
    /// Every line that could not be used, for the log.
    pub(super) damage: Vec<String>,
}

impl LeaseFile {
    /// Opens the file and reads it, or begins one.
    pub(super) fn open(path: &Path) -> Result<(Self, Replay), Error> {
        let fail = |doing| {
            move |source| Error::LeaseFile {
                path: path.into(),
                doing,
                source,
            }
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fail("create its directory"))?;
        }
        let lock = File::create(beside(path, "lock")).map_err(fail("create its lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::LeaseFileInUse(path.into())),
            Err(TryLockError::Error(source)) => return Err(fail("lock it")(source)),
        }
        let text = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(fail("read it")(error)),
        };
        let contents = replay(path, &text)?;
        if contents.damaged_inside {
            fs::copy(path, beside(path, "damaged")).map_err(fail("keep the damaged one"))?;
        }
        let leases = &contents.replay.leases;
        let (file, records) = if contents.clean && contents.records <= worth_keeping(leases.len()) {
            let file = OpenOptions::new()
                .append(true)
                .open(path)
                .map_err(fail("open it"))?;
            (file, contents.records)
        } else {
            let file = write_anew(path, leases.iter()).map_err(fail("write it anew"))?;
            (file, leases.len())
        };
        let opened = Self {
            path: path.into(),
            file,
            records,
            torn: false,
            _lock: lock,
        };
        Ok((opened, contents.replay))
    }

    /// Whether the next write should be [`LeaseFile::rewrite`], given how many leases there are.
    pub(super) fn wants_rewrite(&self, leases: usize) -> bool {
        self.torn || self.records > worth_keeping(leases)
    }

    /// As after a write that failed.
    #[cfg(test)]
    pub(super) fn mark_torn(&mut self) {
        self.torn = true;
    }

    /// Appends records; they are on stable storage when this returns without an error.
    pub(super) fn append(&mut self, leases: &[Lease]) -> io::Result<()> {
        let mut text = String::new();
        for lease in leases {
            push_record(&mut text, lease);
        }
        self.torn = true;
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.torn = false;
        self.records += leases.len();
        Ok(())
    }

    /// Replaces the file by one with just these records, which are on stable storage when this
    /// returns without an error.
    pub(super) fn rewrite(&mut self, leases: &[Lease]) -> io::Result<()> {
        self.file = write_anew(&self.path, leases.iter())?;
        self.records = leases.len();
        self.torn = false;
        Ok(())
    }
}

/// Records that a file may have for so many leases before it is written anew.
fn worth_keeping(leases: usize) -> usize {
    leases.saturating_mul(2).saturating_add(SPARE_RECORDS)
}

fn write_anew<'a>(path: &Path, leases: impl Iterator<Item = &'a Lease>) -> io::Result<File> {
    let mut text = format!("{HEADER}\n");
    for lease in leases {
        push_record(&mut text, lease);
    }
    let new = beside(path, "new");
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name is on stable storage when the directory is.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    OpenOptions::new().append(true).open(path)
}

struct Contents {
    replay: Replay,
    records: usize,
    /// Every byte of the file is part of a good record.
    clean: bool,
    /// A line before the last could not be used.
    damaged_inside: bool,
}

fn replay(path: &Path, text: &[u8]) -> Result<Contents, Error> {
    let mut contents = Contents {
        replay: Replay::default(),
        records: 0,
        clean: false,
        damaged_inside: false,
    };
    let mut lines = text.split_inclusive(|&byte| byte == b'\n');
    let Some(header) = lines.next() else {
        return Ok(contents);
    };
    if header != format!("{HEADER}\n").as_bytes() {
        // A crash before the first sync can leave the beginning of our own header.
        if HEADER.as_bytes().starts_with(text) {
            contents
                .replay
                .damage
                .push("the file ends inside its first line".into());
            return Ok(contents);
        }
        let found: Vec<u8> = header.iter().copied().take(60).collect();
        let found = String::from_utf8_lossy(&found).trim_end().to_owned();
        return Err(Error::NotLeaseFile {
            path: path.into(),
            found,
        });
    }
    let mut latest = std::collections::BTreeMap::new();
    let mut lines = lines.enumerate().peekable();
    contents.clean = true;
    while let Some((index, line)) = lines.next() {
        match parse_record(line) {
            Some(lease) => {
                contents.records += 1;
                latest.insert(lease.address, lease);
            }
            None => {
                let number = index + 2;
                let is_last = lines.peek().is_none();
                contents.clean = false;
                contents.damaged_inside |= !is_last;
                contents.replay.damage.push(if is_last {
                    format!("line {number}, the last, is not complete: dropped")
                } else {
                    format!("line {number} is damaged: dropped")
                });
            }
        }
    }
    contents.replay.leases = latest.into_values().collect();
    Ok(contents)
}

fn push_record(text: &mut String, lease: &Lease) {
    let state = match lease.state {
        LeaseState::Bound => "bound",
        LeaseState::Released => "released",
        LeaseState::Declined => "declined",
        // Offers are never records.
        LeaseState::Offered => return,
    };
    let expires = match lease.expires {
        Duration::MAX => "never".into(),
        // Rounded up: an address is never free too early.
        expires => expires
            .as_secs()
            .saturating_add(u64::from(expires.subsec_nanos() != 0))
            .to_string(),
    };
    let line = format!(
        "{state} {} {expires} {}/{} {} {}",
        lease.address,
        lease.hardware.kind(),
        to_hex(lease.hardware.as_bytes()),
        to_hex(lease.client.as_bytes()),
        escape(&lease.host_name),
    );
    let sum = CHECKSUM.checksum(line.as_bytes());
    text.push_str(&format!("{line} {sum:08x}\n"));
}

fn parse_record(line: &[u8]) -> Option<Lease> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (line, sum) = line.rsplit_once(' ')?;
    if sum != format!("{:08x}", CHECKSUM.checksum(line.as_bytes())) {
        return None;
    }
    let mut fields = line.split(' ');
    let state = match fields.next()? {
        "bound" => LeaseState::Bound,
        "released" => LeaseState::Released,
        "declined" => LeaseState::Declined,
        _ => return None,
    };
    let address: Ipv4Addr = fields.next()?.parse().ok()?;
    let expires = match fields.next()? {
        "never" => Duration::MAX,
        seconds => Duration::from_secs(seconds.parse().ok()?),
    };
    let (kind, hardware) = fields.next()?.split_once('/')?;
    let hardware = from_hex(hardware)?;
    let mut field = [0; 16];
    field.get_mut(..hardware.len())?.copy_from_slice(&hardware);
    let len = u8::try_from(hardware.len()).ok()?;
    let hardware = HardwareAddress::from_fields(kind.parse().ok()?, len, field)?;
    let client = ClientKey::new(&from_hex(fields.next()?)?)?;
    let host_name = unescape(fields.next()?)?;
    fields.next().is_none().then_some(Lease {
        address,
        client,
        hardware,
        state,
        expires,
        host_name,
    })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}

fn escape(name: &[u8]) -> String {
    if name.is_empty() {
        return "-".into();
    }
    let mut text = String::new();
    for (index, &byte) in name.iter().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        // A name that is just "-" is not the mark for "none".
        if plain && !(index == 0 && byte == b'-') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    if text == "-" {
        return Some(Vec::new());
    }
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('%') {
        bytes.extend(plain.bytes());
        let (digits, next) = escaped.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = next;
    }
    bytes.extend(rest.bytes());
    Some(bytes)
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

const HEADER: &str = "bowline-leases 1";
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
/// Old records that are not worth a rewrite (about 80 kB).
const SPARE_RECORDS: usize = 1000;

#[cfg(test)]
mod tests;
