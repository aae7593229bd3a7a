//! Captures as files that Wireshark and tcpdump read: one for each port, one for each VLAN.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Captured, Place, tag, tcp};

/// The file header of pcap 2.4 with nanoseconds (draft-ietf-opsawg-pcap §4), little endian.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
/// Longest frame that is kept.
const SNAPSHOT: u32 = 65535;
const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// LINKTYPE_ETHERNET.
const LINK_TYPE: u32 = 1;

/// A TCP segment in a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment {
    /// The VLAN of its tag.
    pub vlan: Option<u16>,
    /// From which port to which.
    pub ports: [u16; 2],
}

/// The TCP segments in a capture file. Fails if it cannot be read or is not one of ours.
pub fn tcp_segments(file: &Path) -> io::Result<Vec<TcpSegment>> {
    let bytes = std::fs::read(file)?;
    let mut rest = bytes
        .strip_prefix(&MAGIC.to_le_bytes())
        .and_then(|rest| rest.get(FILE_HEADER - 4..))
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut segments = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<RECORD_HEADER>() {
        let length = [head[8], head[9], head[10], head[11]];
        let (frame, next) = after
            .split_at_checked(u32::from_le_bytes(length) as usize)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        rest = next;
        let Some((control, bare)) = tag::pop(frame) else {
            continue;
        };
        if let Some(segment) = tcp::Segment::parse(&bare) {
            segments.push(TcpSegment {
                vlan: control.map(tag::vlan),
                ports: segment.ports(),
            });
        }
    }
    Ok(segments)
}

/// Capture files in a folder: `port-NAME.pcap`, `vlan-NUMBER.pcap`.
#[derive(Debug)]
pub struct Captures {
    folder: PathBuf,
    ports: Vec<String>,
    /// What the clock of the switch calls zero.
    epoch: Duration,
    files: BTreeMap<Place, BufWriter<File>>,
}

impl Captures {
    /// Captures into `folder`, which exists, of a switch with ports of these names whose clock
    /// starts now.
    pub fn new(folder: &Path, ports: Vec<String>) -> Self {
        Self {
            folder: folder.to_owned(),
            ports,
            epoch: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            files: BTreeMap::new(),
        }
    }

    /// Writes a frame. Fails as files do.
    pub fn write(&mut self, captured: &Captured) -> io::Result<()> {
        let at = self.epoch + captured.at;
        let length = u32::try_from(captured.frame.len()).unwrap_or(SNAPSHOT);
        let head = [at.as_secs() as u32, at.subsec_nanos(), length, length];
        let file = self.file(captured.place)?;
        for word in head {
            file.write_all(&word.to_le_bytes())?;
        }
        file.write_all(&captured.frame)
    }

    /// Brings everything into the files.
    pub fn flush(&mut self) -> io::Result<()> {
        self.files.values_mut().try_for_each(Write::flush)
    }

    fn file(&mut self, place: Place) -> io::Result<&mut BufWriter<File>> {
        use std::collections::btree_map::Entry;
        match self.files.entry(place) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let name = match place {
                    Place::Port(port) => match self.ports.get(port) {
                        Some(name) => format!("port-{name}.pcap"),
                        None => format!("port-{port}.pcap"),
                    },
                    Place::Vlan(vlan) => format!("vlan-{vlan}.pcap"),
                };
                let mut file = BufWriter::new(File::create(self.folder.join(name))?);
                file.write_all(&MAGIC.to_le_bytes())?;
                for half in VERSION {
                    file.write_all(&half.to_le_bytes())?;
                }
                // Two words that are zero: time zone and accuracy.
                for word in [0, 0, SNAPSHOT, LINK_TYPE] {
                    file.write_all(&word.to_le_bytes())?;
                }
                Ok(entry.insert(file))
            }
        }
    }
}
