//! A logical unit: what a SCSI command asks of storage, done on a disk.

use std::sync::Arc;

use bowline_iscsi::target::Response;
use bowline_scsi::device::{Action, LogicalUnit};
use bowline_scsi::{Lun, Sense};
use bowline_store::{Access, Disk, DiskError, OpenError};

use super::LunConfig;

/// A disk and the SCSI device that it is shown as.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) lun: Lun,
    pub(super) device: LogicalUnit,
    disk: Arc<dyn Disk>,
}

impl Unit {
    /// Opens and locks the disk of `config`.
    pub(super) fn open(target: &str, config: &LunConfig) -> Result<Self, OpenError> {
        let access = if config.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let disk = bowline_store::open(&config.file, access)?;
        Ok(Self::new(target, config, Arc::new(disk)))
    }

    pub(super) fn new(target: &str, config: &LunConfig, disk: Arc<dyn Disk>) -> Self {
        let blocks = disk.len() / u64::from(config.block_size);
        let serial = serial(target, config.lun);
        let mut device = LogicalUnit::new(blocks, config.block_size, &serial);
        device.read_only = config.read_only;
        Self {
            lun: Lun([0, config.lun, 0, 0, 0, 0, 0, 0]),
            device,
            disk,
        }
    }

    /// Carries `action` out. `data` is what the initiator sent for it; of data for the initiator,
    /// no more than `read_length` bytes are read, because there is no room for more.
    pub(super) fn carry_out(&self, action: Action, data: &[u8], read_length: u32) -> Response {
        let result = match action {
            Action::Respond(data) => Ok(Response::data(data)),
            Action::Check(sense) => Err(sense),
            Action::Read {
                lba,
                blocks,
                force_unit_access,
            } => self.read(lba, blocks, force_unit_access, read_length),
            Action::Write {
                lba,
                blocks,
                force_unit_access,
            } => self.write(lba, blocks, force_unit_access, data),
            Action::Verify { lba, blocks } => self.verify(lba, blocks),
            Action::Compare {
                lba,
                blocks,
                one_block,
            } => self.compare(lba, blocks, one_block, data),
            // Done before the answer even where it might be later: a promise costs more to
            // explain than a flush to wait for.
            Action::Flush { immediate: _ } => self.flush().map(|()| Response::good(0)),
        };
        result.unwrap_or_else(Response::check)
    }

    fn read(&self, lba: u64, blocks: u32, force: bool, room: u32) -> Result<Response, Sense> {
        if force {
            // SBC-3 §5.8: what only a cache holds goes to the medium first.
            self.flush()?;
        }
        let moved = self.bytes(u64::from(blocks));
        let len = moved.min(u64::from(room));
        let mut data = vec![0; usize::try_from(len).map_err(|_| Sense::INVALID_FIELD_IN_CDB)?];
        self.read_into(lba, &mut data)?;
        Ok(Response {
            moved,
            ..Response::data(data)
        })
    }

    /// An initiator that announces less than the command wants gets the whole blocks of it
    /// written, and a residual that says so.
    fn write(&self, lba: u64, blocks: u32, force: bool, data: &[u8]) -> Result<Response, Sense> {
        let moved = self.bytes(u64::from(blocks));
        let whole = data.len() - data.len() % self.block_size();
        let data = data.get(..whole).unwrap_or(data);
        self.disk.write_at(self.bytes(lba), data).map_err(|error| {
            self.failed(&error);
            match error {
                DiskError::ReadOnly => Sense::WRITE_PROTECTED,
                _ => Sense::WRITE_ERROR,
            }
        })?;
        if force {
            self.flush()?;
        }
        Ok(Response::good(moved))
    }

    fn verify(&self, lba: u64, blocks: u32) -> Result<Response, Sense> {
        self.each_chunk(lba, blocks, |_, _| Ok(()))?;
        Ok(Response::good(0))
    }

    fn compare(&self, lba: u64, blocks: u32, one: bool, data: &[u8]) -> Result<Response, Sense> {
        let block = self.block_size();
        self.each_chunk(lba, blocks, |offset, medium| {
            let expected = |at: usize| data.get(if one { at % block } else { at }).copied();
            // Bytes that the initiator did not send are not compared.
            let differs = |(index, byte): (usize, &u8)| {
                expected(offset + index).is_some_and(|expected| expected != *byte)
            };
            match medium.iter().enumerate().position(differs) {
                None => Ok(()),
                Some(index) => {
                    let at = if one {
                        (offset + index) % block
                    } else {
                        offset + index
                    };
                    Err(Sense::MISCOMPARE.with_information(at as u64))
                }
            }
        })?;
        let blocks = if one { blocks.min(1) } else { blocks };
        Ok(Response::good(self.bytes(u64::from(blocks))))
    }

    /// Reads the blocks piece by piece, so that a command that moves no data needs no memory for
    /// all of them, and shows each with its offset.
    fn each_chunk(
        &self,
        lba: u64,
        blocks: u32,
        mut look: impl FnMut(usize, &[u8]) -> Result<(), Sense>,
    ) -> Result<(), Sense> {
        let step = CHUNK_BYTES / self.block_size();
        let blocks = usize::try_from(blocks).map_err(|_| Sense::INVALID_FIELD_IN_CDB)?;
        let mut chunk = Vec::new();
        for first in (0..blocks).step_by(step) {
            chunk.resize(step.min(blocks - first) * self.block_size(), 0);
            self.read_into(lba + first as u64, &mut chunk)?;
            look(first * self.block_size(), &chunk)?;
        }
        Ok(())
    }

    fn read_into(&self, lba: u64, data: &mut [u8]) -> Result<(), Sense> {
        self.disk.read_at(self.bytes(lba), data).map_err(|error| {
            self.failed(&error);
            Sense::UNRECOVERED_READ_ERROR
        })
    }

    fn flush(&self) -> Result<(), Sense> {
        self.disk.flush().map_err(|error| {
            self.failed(&error);
            Sense::WRITE_ERROR
        })
    }

    fn failed(&self, error: &DiskError) {
        tracing::error!("iscsi: LUN {} ({}): {error}", self.lun, self.device.serial);
    }

    fn bytes(&self, blocks: u64) -> u64 {
        blocks.saturating_mul(u64::from(self.device.block_size))
    }

    fn block_size(&self) -> usize {
        self.device.block_size as usize
    }
}

/// A unit serial number that stays the same as long as the target's name and the LUN do: FNV-1a.
fn serial(target: &str, lun: u8) -> String {
    let hash = target
        .bytes()
        .chain([b'/', lun])
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

const CHUNK_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bowline_scsi::Status;

    use super::*;

    /// A disk in memory that counts its flushes and can be told to fail.
    #[derive(Debug)]
    struct Memory {
        bytes: Mutex<Vec<u8>>,
        flushes: Mutex<u32>,
        failing: bool,
    }

    fn broken() -> std::io::Error {
        std::io::Error::other("broken on purpose")
    }

    impl Disk for Memory {
        fn len(&self) -> u64 {
            self.bytes.lock().unwrap().len() as u64
        }

        fn read_only(&self) -> bool {
            false
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
            if self.failing {
                return Err(DiskError::Flush(broken()));
            }
            let bytes = self.bytes.lock().unwrap();
            buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
            Ok(())
        }

        fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
            if self.failing {
                return Err(DiskError::Flush(broken()));
            }
            self.bytes.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
            Ok(())
        }

        fn flush(&self) -> Result<(), DiskError> {
            *self.flushes.lock().unwrap() += 1;
            if self.failing {
                Err(DiskError::Flush(broken()))
            } else {
                Ok(())
            }
        }
    }

    fn unit(failing: bool) -> (Unit, Arc<Memory>) {
        // Block n holds bytes of value n.
        let bytes = (0..8_u8).flat_map(|n| [n; 512]).collect();
        let memory = Arc::new(Memory {
            bytes: Mutex::new(bytes),
            flushes: Mutex::new(0),
            failing,
        });
        let config = LunConfig {
            lun: 1,
            file: "x".into(),
            read_only: false,
            block_size: 512,
        };
        (
            Unit::new("iqn.2026-01.com.example:x", &config, memory.clone()),
            memory,
        )
    }

    #[test]
    fn reads_stop_where_the_initiator_has_no_more_room() {
        let (unit, memory) = unit(false);
        let read = Action::Read {
            lba: 2,
            blocks: 2,
            force_unit_access: false,
        };
        let response = unit.carry_out(read.clone(), &[], 700);
        assert_eq!(response.data, [vec![2; 512], vec![3; 188]].concat());
        assert_eq!(response.moved, 1024);
        assert_eq!(unit.carry_out(read, &[], 4096).data.len(), 1024);
        assert_eq!(*memory.flushes.lock().unwrap(), 0);
    }

    #[test]
    fn only_whole_blocks_are_written_and_fua_flushes() {
        let (unit, memory) = unit(false);
        let write = |force_unit_access| Action::Write {
            lba: 1,
            blocks: 2,
            force_unit_access,
        };
        assert_eq!(
            unit.carry_out(write(false), &[9; 700], 0),
            Response::good(1024)
        );
        assert_eq!(
            memory.bytes.lock().unwrap()[512..1536],
            [[9; 512], [2; 512]].concat()
        );
        assert_eq!(*memory.flushes.lock().unwrap(), 0);
        unit.carry_out(write(true), &[8; 1024], 0);
        assert_eq!(memory.bytes.lock().unwrap()[512..1536], [8; 1024]);
        assert_eq!(*memory.flushes.lock().unwrap(), 1);
        unit.carry_out(Action::Flush { immediate: true }, &[], 0);
        assert_eq!(*memory.flushes.lock().unwrap(), 2);
    }

    #[test]
    fn a_difference_is_told_with_its_offset() {
        let (unit, _) = unit(false);
        let compare = |one_block| Action::Compare {
            lba: 3,
            blocks: 2,
            one_block,
        };
        let mut data = [[3; 512], [4; 512]].concat();
        assert_eq!(
            unit.carry_out(compare(false), &data, 0),
            Response::good(1024)
        );
        data[600] = 0;
        assert_eq!(
            unit.carry_out(compare(false), &data, 0).sense,
            Some(Sense::MISCOMPARE.with_information(600))
        );
        assert_eq!(
            unit.carry_out(compare(true), &[3; 512], 0).sense,
            Some(Sense::MISCOMPARE.with_information(0))
        );
    }

    #[test]
    fn failures_become_sense_data() {
        let (unit, _) = unit(true);
        for (action, sense) in [
            (
                Action::Verify { lba: 0, blocks: 8 },
                Sense::UNRECOVERED_READ_ERROR,
            ),
            (
                Action::Read {
                    lba: 0,
                    blocks: 1,
                    force_unit_access: false,
                },
                Sense::UNRECOVERED_READ_ERROR,
            ),
            (
                Action::Write {
                    lba: 0,
                    blocks: 1,
                    force_unit_access: false,
                },
                Sense::WRITE_ERROR,
            ),
            (Action::Flush { immediate: false }, Sense::WRITE_ERROR),
        ] {
            let response = unit.carry_out(action, &[0; 512], 512);
            assert_eq!(
                (response.status, response.sense),
                (Status::CHECK_CONDITION, Some(sense))
            );
            assert_eq!(response.data, []);
        }
    }

    #[test]
    fn serial_numbers_stay_and_differ() {
        assert_eq!(
            serial("iqn.2026-01.com.example:disk1", 1),
            "2e8922c89d336bd2"
        );
        assert_ne!(
            serial("iqn.2026-01.com.example:disk1", 2),
            "2e8922c89d336bd2"
        );
    }
}
