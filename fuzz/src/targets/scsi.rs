//! SCSI: commands as a disk gets them, and what a disk answers.

use bowline_scsi::cdb::Form;
use bowline_scsi::device::{Action, LogicalUnit, Nexus, execute};
use bowline_scsi::inquiry::{BlockLimits, serial_number, supported_pages, vpd_payload};
use bowline_scsi::lun::{parse_report, report};
use bowline_scsi::mode::ModeParameters;
use bowline_scsi::{Capacity, Cdb, Inquiry, Lun, Sense};

const BLOCKS: u64 = 1000;

/// A command to a disk of 1000 blocks. What can be read is written and read again.
pub(super) fn command(data: &[u8]) {
    if let Ok(cdb) = Cdb::parse(data) {
        let bytes = cdb.to_bytes();
        assert_eq!(Cdb::parse(&bytes), Ok(cdb), "{bytes:?}");
        assert_eq!(Cdb::parse(&bytes.padded()), Ok(cdb));
    }
    let unit = LogicalUnit::new(BLOCKS, 512, "fuzz");
    for unit in [Some(&unit), None] {
        let mut nexus = Nexus::new();
        match execute(unit, &[Lun::ZERO], &mut nexus, data) {
            Action::Read { lba, blocks, .. }
            | Action::Write { lba, blocks, .. }
            | Action::Verify { lba, blocks }
            | Action::Compare { lba, blocks, .. } => {
                let end = lba.checked_add(u64::from(blocks));
                assert!(end.is_some_and(|end| end <= BLOCKS), "{lba} {blocks}");
            }
            Action::Respond(_) | Action::Flush { .. } => {}
            Action::Check(sense) => drop(sense.to_string()),
        }
    }
}

/// Data as a disk answers with: sense, inquiry, mode pages, capacity, logical units.
pub(super) fn data(data: &[u8]) {
    if let Some(sense) = Sense::parse(data) {
        let _ = (sense.to_string(), sense.is_transient());
        assert_eq!(Sense::parse(&sense.to_descriptor()), Some(sense));
        let fixed = Sense::parse(&sense.to_fixed());
        let short = Sense {
            information: sense.information.filter(|it| u32::try_from(*it).is_ok()),
            ..sense
        };
        assert_eq!(fixed, Some(short));
    }
    if let Some(inquiry) = Inquiry::parse(data) {
        assert!(!inquiry.to_string().contains(char::is_control), "{inquiry}");
    }
    let _ = (
        serial_number(data),
        supported_pages(data),
        BlockLimits::parse(data),
    );
    let page = data.first().copied().unwrap_or(0);
    assert!(vpd_payload(data, page).is_none_or(|payload| payload.len() < data.len()));
    for form in [Form::Six, Form::Ten] {
        let _ = ModeParameters::parse(form, data);
    }
    if let Some(capacity) = Capacity::parse16(data) {
        let _ = capacity.bytes();
        assert_eq!(Capacity::parse16(&capacity.to_bytes16()), Some(capacity));
    }
    if let Some(Ok(capacity)) = Capacity::parse10(data) {
        assert_eq!(
            Capacity::parse10(&capacity.to_bytes10()),
            Some(Ok(capacity))
        );
    }
    if let Some(luns) = parse_report(data) {
        assert_eq!(parse_report(&report(&luns)), Some(luns));
    }
}
