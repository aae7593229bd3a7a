//! A logical unit: what a SCSI command asks of storage, done on a disk.

mod provisioning;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bowline_iscsi::target::Response;
use bowline_scsi::device::{Action, Changes, Device, LogicalUnit};
use bowline_scsi::reservation::Reservations;
use bowline_scsi::{Lun, Sense};
use bowline_store::{Access, Disk, DiskError};

use super::reservation_file::ReservationFile;
use super::{LunConfig, buffers};
use crate::ServeError;

/// A disk and the SCSI device that it is shown as.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) lun: Lun,
    pub(super) block_size: u32,
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    config: LunConfig,
}

/// What all sessions of a unit share.
#[derive(Debug)]
struct Shared {
    device: Mutex<Device>,
    /// Held alone by commands that read and then write, and together by all others.
    atomic: RwLock<()>,
    reservations: ReservationFile,
    target: String,
    name: String,
}

impl Unit {
    /// Opens and locks the disk of `config`.
    pub(super) fn open(target: &str, config: &LunConfig, state: &Path) -> Result<Self, ServeError> {
        let access = if config.read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let disk =
            bowline_store::open(&config.file, access).map_err(|source| ServeError::Disk {
                target: target.into(),
                lun: config.lun,
                source,
            })?;
        Self::new(target, config, Arc::new(disk), state)
    }

    pub(super) fn new(
        target: &str,
        config: &LunConfig,
        disk: Arc<dyn Disk>,
        state: &Path,
    ) -> Result<Self, ServeError> {
        let blocks = disk.len() / u64::from(config.block_size);
        let serial = serial(target, config.lun);
        let mut unit = LogicalUnit::new(blocks, config.block_size, &serial);
        let physical = config.physical_block_size / config.block_size;
        unit.physical_block_exponent = u8::try_from(physical.max(1).ilog2()).unwrap_or(0);
        unit.read_only = config.read_only;
        unit.removable = config.removable;
        unit.write_cache = config.write_cache;
        unit.write_cache_default = config.write_cache;
        unit.target = Some(target.into());
        if config.thin {
            let granularity = disk.discard_granularity();
            unit.thin = granularity.map(|bytes| (bytes / config.block_size).max(1));
        }
        let reservations = ReservationFile::new(state, &serial);
        let kept = reservations
            .load()
            .map_err(|source| ServeError::Reservations {
                target: target.into(),
                lun: config.lun,
                source,
            })?;
        let device = Device::new(unit, Reservations::restore(kept));
        let shared = Shared {
            device: Mutex::new(device),
            atomic: RwLock::new(()),
            reservations,
            target: target.to_owned(),
            name: format!("{target}, LUN {}", config.lun),
        };
        Ok(Self {
            lun: Lun([0, config.lun, 0, 0, 0, 0, 0, 0]),
            block_size: config.block_size,
            disk,
            shared: Arc::new(shared),
            config: config.clone(),
        })
    }

    /// The unit that `config` wants, where this one has its image open already: this one if nothing
    /// is different, or another one on the same disk, which stays locked.
    pub(super) fn reopened(
        &self,
        target: &str,
        config: &LunConfig,
        state: &Path,
    ) -> Option<Result<Self, ServeError>> {
        if self.config.file != config.file || self.config.read_only != config.read_only {
            return None;
        }
        let is_same = self.config == *config && self.shared.target == target;
        Some(match is_same {
            true => Ok(self.clone()),
            false => Self::new(target, config, Arc::clone(&self.disk), state),
        })
    }

    /// The device, as long as nobody else looks at it.
    pub(super) fn device(&self) -> MutexGuard<'_, Device> {
        self.shared
            .device
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether these blocks can be read, or written.
    pub(super) fn check(&self, lba: u64, blocks: u64, write: bool) -> Result<(), Sense> {
        let device = self.device();
        let unit = device.unit();
        if lba.checked_add(blocks).is_none_or(|end| end > unit.blocks) {
            return Err(Sense::LBA_OUT_OF_RANGE);
        }
        if write && (unit.read_only || unit.software_write_protect) {
            return Err(Sense::WRITE_PROTECTED);
        }
        if unit.loaded {
            Ok(())
        } else {
            Err(Sense::MEDIUM_NOT_PRESENT)
        }
    }

    /// Puts what a command has changed where it outlives this server.
    pub(super) fn keep(&self, changes: &Changes) -> Result<(), Sense> {
        let Some(snapshot) = &changes.reservations else {
            return Ok(());
        };
        self.shared.reservations.save(snapshot).map_err(|error| {
            tracing::error!(
                "iscsi: {}: cannot keep reservations: {error}",
                self.shared.name
            );
            Sense::INTERNAL_TARGET_FAILURE
        })
    }

    /// Carries `action` out. `data` is what the initiator sent for it; of data for the initiator,
    /// no more than `read_length` bytes are read, because there is no room for more.
    pub(super) fn carry_out(&self, action: Action, data: &[u8], read_length: u32) -> Response {
        let lock = &self.shared.atomic;
        let result = if is_atomic(&action) {
            let _alone = lock.write().unwrap_or_else(PoisonError::into_inner);
            self.carry_out_locked(action, data, read_length)
        } else {
            let _together = lock.read().unwrap_or_else(PoisonError::into_inner);
            self.carry_out_locked(action, data, read_length)
        };
        result.unwrap_or_else(Response::check)
    }

    /// Reads what is in memory already; `None` where it would have to be waited for.
    pub(super) fn read_now(&self, action: &Action, room: u32) -> Option<Response> {
        let Action::Read {
            lba,
            blocks,
            force_unit_access: false,
        } = *action
        else {
            return None;
        };
        let _together = self.shared.atomic.try_read().ok()?;
        let moved = self.bytes(u64::from(blocks));
        let len = usize::try_from(moved.min(u64::from(room))).ok()?;
        if len > READ_NOW_BYTES_MAX {
            return None;
        }
        let mut data = buffers::take(len);
        if self.disk.read_now(self.bytes(lba), &mut data) {
            Some(Response {
                moved,
                ..Response::data(data)
            })
        } else {
            buffers::give(data);
            None
        }
    }

    fn carry_out_locked(&self, action: Action, data: &[u8], room: u32) -> Result<Response, Sense> {
        match action {
            Action::Respond(data) => Ok(Response::data(data)),
            Action::Status(status) => Ok(Response::status(status)),
            Action::Check(sense) => Err(sense),
            Action::Read {
                lba,
                blocks,
                force_unit_access,
            } => self.read(lba, blocks, force_unit_access, room),
            Action::Write {
                lba,
                blocks,
                force_unit_access,
            } => self.write(lba, blocks, force_unit_access, data),
            Action::WriteAndVerify {
                lba,
                blocks,
                compare,
            } => {
                let response = self.write(lba, blocks, true, data)?;
                if compare {
                    self.compare(lba, blocks, false, data)?;
                } else {
                    self.verify(lba, blocks)?;
                }
                Ok(response)
            }
            Action::Verify { lba, blocks } => self.verify(lba, blocks),
            Action::Compare {
                lba,
                blocks,
                one_block,
            } => self.compare(lba, blocks, one_block, data),
            Action::CompareAndWrite {
                lba,
                blocks,
                force_unit_access,
            } => self.compare_and_write(lba, blocks, force_unit_access, data),
            Action::OrWrite {
                lba,
                blocks,
                force_unit_access,
            } => self.or_write(lba, blocks, force_unit_access, data),
            Action::WriteSame { .. } => self.write_same(&action, data),
            Action::Unmap(ranges) => self.unmap(&ranges),
            Action::LbaStatus {
                lba,
                allocation_length,
            } => self.lba_status(lba, allocation_length),
            // Done before the answer even where it might be later: a promise costs more to
            // explain than a flush to wait for.
            Action::Flush { immediate: _ } => self.flush().map(|()| Response::good(0)),
            // The session resolves these before.
            Action::Parameters { .. } | Action::Shared(_) | Action::Copy(_) => {
                Err(Sense::INTERNAL_TARGET_FAILURE)
            }
        }
    }

    fn read(&self, lba: u64, blocks: u32, force: bool, room: u32) -> Result<Response, Sense> {
        if force {
            // SBC-3 §5.8: what only a cache holds goes to the medium first.
            self.flush()?;
        }
        let moved = self.bytes(u64::from(blocks));
        let len = moved.min(u64::from(room));
        let mut data =
            buffers::take(usize::try_from(len).map_err(|_| Sense::INVALID_FIELD_IN_CDB)?);
        self.read_into(lba, &mut data)?;
        Ok(Response {
            moved,
            ..Response::data(data)
        })
    }

    /// An initiator that announces less than the command wants gets that much written, be it not
    /// a whole number of blocks, and a residual that says so (RFC 7143 §11.4.5.1).
    fn write(&self, lba: u64, blocks: u32, force: bool, data: &[u8]) -> Result<Response, Sense> {
        let moved = self.bytes(u64::from(blocks));
        self.write_from(lba, data)?;
        if force {
            self.flush()?;
        }
        Ok(Response::good(moved))
    }

    /// SBC-3 §5.3: the first half of the data is compared, the second is written. Runs alone.
    fn compare_and_write(
        &self,
        lba: u64,
        blocks: u32,
        force: bool,
        data: &[u8],
    ) -> Result<Response, Sense> {
        let half = self.whole(blocks)?;
        let (expected, new) = self.exactly(data, 2 * half)?.split_at(half);
        self.compare(lba, blocks, false, expected)?;
        self.write_from(lba, new)?;
        if force {
            self.flush()?;
        }
        Ok(Response::good(2 * half as u64))
    }

    /// SBC-3 §5.6. Runs alone.
    fn or_write(&self, lba: u64, blocks: u32, force: bool, data: &[u8]) -> Result<Response, Sense> {
        let len = self.whole(blocks)?;
        let data = self.exactly(data, len)?;
        let mut merged = vec![0; len];
        self.read_into(lba, &mut merged)?;
        merged
            .iter_mut()
            .zip(data)
            .for_each(|(to, from)| *to |= from);
        self.write_from(lba, &merged)?;
        if force {
            self.flush()?;
        }
        Ok(Response::good(len as u64))
    }

    /// The data of a command that makes no sense with less than all of it.
    fn exactly<'a>(&self, data: &'a [u8], len: usize) -> Result<&'a [u8], Sense> {
        data.get(..len)
            .ok_or(Sense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
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

    fn write_from(&self, lba: u64, data: &[u8]) -> Result<(), Sense> {
        let written = self.disk.write_at(self.bytes(lba), data);
        written.map_err(|error| self.write_failed(&error))
    }

    fn write_failed(&self, error: &DiskError) -> Sense {
        self.failed(error);
        match error {
            DiskError::ReadOnly => Sense::WRITE_PROTECTED,
            DiskError::Write { source, .. } | DiskError::Flush(source) if is_full(source) => {
                Sense::SPACE_ALLOCATION_FAILED
            }
            _ => Sense::WRITE_ERROR,
        }
    }

    fn flush(&self) -> Result<(), Sense> {
        self.disk.flush().map_err(|error| self.write_failed(&error))
    }

    fn failed(&self, error: &DiskError) {
        tracing::error!("iscsi: {}: {error}", self.shared.name);
    }

    fn bytes(&self, blocks: u64) -> u64 {
        blocks.saturating_mul(u64::from(self.block_size))
    }

    fn block_size(&self) -> usize {
        self.block_size as usize
    }

    /// The length of so many blocks, which fit in memory.
    fn whole(&self, blocks: u32) -> Result<usize, Sense> {
        let len = self.bytes(u64::from(blocks));
        usize::try_from(len).map_err(|_| Sense::INVALID_FIELD_IN_CDB)
    }
}

/// Whether nothing may come between what the command reads and what it writes.
const fn is_atomic(action: &Action) -> bool {
    matches!(
        action,
        Action::CompareAndWrite { .. } | Action::OrWrite { .. }
    )
}

/// The storage below a thin disk has no room left.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
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

/// Copying more than this would keep other sessions waiting.
const READ_NOW_BYTES_MAX: usize = 1024 * 1024;
const CHUNK_BYTES: usize = 1024 * 1024;
