//! Persistent reservations in the state folder: one small text file for each disk that has any.
//!
//! The name is the disk's serial number with `.reservations`. The first line is
//! `bowline-reservations 1`, the last a checksum:
//!
//! ```text
//! bowline-reservations 1
//! registration 00000000deadbeef iqn.2000-01.com.example:node1,i,0x800000000001
//! reservation 1 iqn.2000-01.com.example:node1,i,0x800000000001
//! end 0c1d2e3f
//! |   CRC-32C of all lines before
//! ```
//!
//! The number behind `reservation` is its type (SPC-4 table 131). In a name every byte that is
//! not a letter, a digit or one of `.:,-_` is written as `%XX`. The file is written beside the old
//! one, synced and renamed over it before the initiator is answered; where there is nothing to
//! keep there is no file.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bowline_scsi::InitiatorPort;
use bowline_scsi::reservation::{Kind, Snapshot};

/// Where the reservations of one disk are kept.
#[derive(Clone, Debug)]
pub(super) struct ReservationFile {
    path: PathBuf,
}

impl ReservationFile {
    pub(super) fn new(folder: &Path, serial: &str) -> Self {
        Self {
            path: folder.join(format!("{serial}.reservations")),
        }
    }

    /// What was kept. A file that cannot be understood is an error: to go on without would let
    /// machines write to a disk that others have reserved.
    pub(super) fn load(&self) -> io::Result<Snapshot> {
        match fs::read_to_string(&self.path) {
            Ok(text) => parse(&text).ok_or_else(|| self.damaged()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Snapshot::default()),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Keeps `snapshot`; it is on stable storage afterwards.
    pub(super) fn save(&self, snapshot: &Snapshot) -> io::Result<()> {
        self.write(snapshot).map_err(|error| self.explain(&error))
    }

    fn write(&self, snapshot: &Snapshot) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        if *snapshot == Snapshot::default() {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        } else {
            let beside = self.path.with_extension("new");
            let mut file = File::create(&beside)?;
            file.write_all(text(snapshot).as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &self.path)?;
        }
        File::open(folder)?.sync_all()
    }

    fn damaged(&self) -> io::Error {
        let path = self.path.display();
        let message = format!(
            "{path} is damaged: remove it once no machine relies on its persistent reservation"
        );
        io::Error::new(io::ErrorKind::InvalidData, message)
    }

    fn explain(&self, error: &io::Error) -> io::Error {
        let message = format!("{}: {error}", self.path.display());
        io::Error::new(error.kind(), message)
    }
}

const HEADER: &str = "bowline-reservations 1";

fn text(snapshot: &Snapshot) -> String {
    let mut text = format!("{HEADER}\n");
    for (port, key) in &snapshot.registrations {
        let _ = writeln!(text, "registration {key:016x} {}", escape(&port.0));
    }
    if let Some((kind, holder)) = &snapshot.reservation {
        let _ = writeln!(text, "reservation {} {}", *kind as u8, escape(&holder.0));
    }
    let _ = writeln!(text, "end {:08x}", checksum(&text));
    text
}

fn parse(text: &str) -> Option<Snapshot> {
    let body_len = text.strip_suffix('\n')?.rfind('\n')? + 1;
    let (body, end) = text.split_at_checked(body_len)?;
    if end.trim_end() != format!("end {:08x}", checksum(body)) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != HEADER {
        return None;
    }
    let mut snapshot = Snapshot::default();
    for line in lines {
        let mut words = line.split(' ');
        match (words.next()?, words.next()?, words.next()?) {
            ("registration", key, port) => {
                let key = u64::from_str_radix(key, 16).ok()?;
                snapshot
                    .registrations
                    .push((InitiatorPort(unescape(port)?), key));
            }
            ("reservation", kind, holder) => {
                let kind = Kind::from_number(kind.parse().ok()?)?;
                snapshot.reservation = Some((kind, InitiatorPort(unescape(holder)?)));
            }
            _ => return None,
        }
    }
    Some(snapshot)
}

fn checksum(text: &str) -> u32 {
    crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(text.as_bytes())
}

fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b".:,-_".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let port = |name: &str| InitiatorPort(name.into());
        Snapshot {
            registrations: vec![
                (
                    port("iqn.2000-01.com.example:a,i,0x800000000001"),
                    0xdead_beef,
                ),
                (port("iqn.2000-01.com.example:ü b\n%,i,0x1"), u64::MAX),
            ],
            reservation: Some((
                Kind::WriteExclusiveRegistrantsOnly,
                port("iqn.2000-01.com.example:a,i,0x800000000001"),
            )),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = ReservationFile::new(&folder.path().join("iscsi"), "1");
        assert_eq!(file.load().unwrap(), Snapshot::default());
        file.save(&snapshot()).unwrap();
        assert_eq!(file.load().unwrap(), snapshot());
        file.save(&Snapshot::default()).unwrap();
        assert!(!file.path.exists());
        file.save(&Snapshot::default()).unwrap();
        assert_eq!(file.load().unwrap(), Snapshot::default());
    }

    #[test]
    fn damage_is_an_error_and_not_an_open_disk() {
        let whole = text(&snapshot());
        assert_eq!(parse(&whole), Some(snapshot()));
        for cut in 0..whole.len() {
            if let Some(part) = whole.get(..cut) {
                assert_eq!(parse(part), None, "{cut}");
            }
        }
        assert_eq!(parse(&whole.replace("deadbeef", "deadbeee")), None);
        let folder = tempfile::tempdir().unwrap();
        let file = ReservationFile::new(folder.path(), "1");
        fs::write(&file.path, "bowline-reservations 1\n").unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.contains("1.reservations is damaged"), "{error}");
    }
}
