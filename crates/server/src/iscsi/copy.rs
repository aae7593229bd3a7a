//! EXTENDED COPY between disks of one target, done here instead of over the network twice.

use bowline_iscsi::target::Response;
use bowline_scsi::copy::{Copy, Length, SEGMENT_BYTES_MAX, Segment};
use bowline_scsi::device::{Action, NexusId};
use bowline_scsi::{Cdb, Sense, SenseKey};

use super::portal::Target;
use super::unit::Unit;

impl Target {
    /// Carries `copy` out, which came to `unit`, segment by segment (SPC-4 section 6.4).
    pub(super) fn copy(&self, unit: &Unit, nexus: NexusId, copy: &Copy) -> Response {
        let mut done = 0;
        let result = self.find(nexus, copy).and_then(|units| {
            for segment in &copy.segments {
                copy_segment(&units, segment).map_err(aborted)?;
                done += 1;
            }
            Ok(())
        });
        unit.device().copied(nexus, copy, done);
        match result {
            Ok(()) => Response::good(0),
            Err(sense) => Response::check(sense),
        }
    }

    /// The units that the copy is about, if this initiator may use them so.
    fn find(&self, nexus: NexusId, copy: &Copy) -> Result<Vec<&Unit>, Sense> {
        let find = |target: &bowline_scsi::copy::Target| {
            self.units
                .iter()
                .find(|unit| {
                    let device = unit.device();
                    device
                        .unit()
                        .is_designated_by(target.kind, &target.designator)
                })
                .filter(|unit| [0, unit.block_size].contains(&target.block_size))
                .ok_or(Sense::COPY_TARGET_NOT_REACHABLE)
        };
        let units = copy
            .targets
            .iter()
            .map(find)
            .collect::<Result<Vec<_>, _>>()?;
        for segment in &copy.segments {
            let (source, destination) = ends(&units, segment)?;
            let may = source.device().allows(nexus, &Cdb::read(0, 0))
                && destination.device().allows(nexus, &Cdb::write(0, 0));
            if !may {
                return Err(Sense::COPY_TARGET_NOT_REACHABLE);
            }
        }
        Ok(units)
    }
}

/// What goes wrong in a segment ends the copy, for the same reason (SPC-4 section 6.4.4).
fn aborted(sense: Sense) -> Sense {
    match sense {
        // SPC-4 has no code for a range of a copy.
        Sense::LBA_OUT_OF_RANGE => Sense::new(SenseKey::COPY_ABORTED, 0, 0),
        other => Sense::new(SenseKey::COPY_ABORTED, other.asc, other.ascq),
    }
}

fn ends<'a>(units: &[&'a Unit], segment: &Segment) -> Result<(&'a Unit, &'a Unit), Sense> {
    let unit = |index: usize| units.get(index).copied();
    match (unit(segment.source), unit(segment.destination)) {
        (Some(source), Some(destination)) => Ok((source, destination)),
        _ => Err(Sense::COPY_TARGET_NOT_REACHABLE),
    }
}

/// Copies in pieces, each a READ and a WRITE as an initiator would send them, with all that is
/// checked then.
fn copy_segment(units: &[&Unit], segment: &Segment) -> Result<(), Sense> {
    let (source, destination) = ends(units, segment)?;
    let (from, to) = (
        u64::from(source.block_size),
        u64::from(destination.block_size),
    );
    let bytes = match segment.length {
        Length::SourceBlocks(blocks) => u64::from(blocks) * from,
        Length::DestinationBlocks(blocks) => u64::from(blocks) * to,
        Length::Bytes(bytes) => u64::from(bytes),
    };
    if bytes > u64::from(SEGMENT_BYTES_MAX) {
        return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
    }
    if !bytes.is_multiple_of(from) || !bytes.is_multiple_of(to) {
        return Err(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
    }
    source.check(segment.source_lba, bytes / from, false)?;
    destination.check(segment.destination_lba, bytes / to, true)?;
    let mut done = 0;
    while done < bytes {
        let piece = (bytes - done).min(PIECE_BYTES);
        let read = Action::Read {
            lba: segment.source_lba + done / from,
            blocks: u32::try_from(piece / from).unwrap_or(0),
            force_unit_access: false,
        };
        let data = source.carry_out(read, &[], u32::MAX);
        if let Some(sense) = data.sense {
            return Err(sense);
        }
        let write = Action::Write {
            lba: segment.destination_lba + done / to,
            blocks: u32::try_from(piece / to).unwrap_or(0),
            force_unit_access: false,
        };
        if let Some(sense) = destination.carry_out(write, &data.data, 0).sense {
            return Err(sense);
        }
        done += piece;
    }
    Ok(())
}

const PIECE_BYTES: u64 = 1024 * 1024;
