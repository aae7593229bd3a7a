//! SCSI: commands as a disk gets them, and what a disk answers.

use bowline_scsi::cdb::Form;
use bowline_scsi::device::{Action, Device, LogicalUnit, Nexus, execute};
use bowline_scsi::inquiry::{BlockLimits, serial_number, supported_pages, vpd_payload};
use bowline_scsi::lun::{parse_report, report};
use bowline_scsi::mode::ModeParameters;
use bowline_scsi::reservation::Reservations;
use bowline_scsi::{Capacity, Cdb, InitiatorPort, Inquiry, Lun, Sense};

use crate::records;

const BLOCKS: u64 = 1000;
const BLOCK: u32 = 512;

/// A command to a disk of 1000 blocks. What can be read is written and read again.
pub(super) fn command(data: &[u8]) {
    if let Ok(cdb) = Cdb::parse(data) {
        let bytes = cdb.to_bytes();
        assert_eq!(Cdb::parse(&bytes), Ok(cdb), "{bytes:?}");
        assert_eq!(Cdb::parse(&bytes.padded()), Ok(cdb));
    }
    let unit = LogicalUnit::new(BLOCKS, BLOCK, "fuzz");
    for unit in [Some(&unit), None] {
        let mut nexus = Nexus::new();
        check(&execute(unit, &[Lun::ZERO], &mut nexus, data));
    }
}

/// Storage is only ever told to touch what is on the disk.
fn check(action: &Action) {
    let within = |lba: u64, blocks: u32| {
        let end = lba.checked_add(u64::from(blocks));
        assert!(end.is_some_and(|end| end <= BLOCKS), "{action:?}");
    };
    match action {
        Action::Read { lba, blocks, .. }
        | Action::Write { lba, blocks, .. }
        | Action::WriteAndVerify { lba, blocks, .. }
        | Action::Verify { lba, blocks }
        | Action::Compare { lba, blocks, .. }
        | Action::CompareAndWrite { lba, blocks, .. }
        | Action::OrWrite { lba, blocks, .. }
        | Action::WriteSame { lba, blocks, .. } => within(*lba, *blocks),
        Action::Unmap(ranges) => ranges
            .iter()
            .for_each(|(lba, blocks)| within(*lba, *blocks)),
        Action::LbaStatus { lba, .. } => assert!(*lba < BLOCKS, "{action:?}"),
        Action::Check(sense) => drop(sense.to_string()),
        Action::Respond(_)
        | Action::Copy(_)
        | Action::Flush { .. }
        | Action::Parameters { .. }
        | Action::Shared(_)
        | Action::Status(_) => {}
    }
    let _ = (action.data_out_length(BLOCK), action.data_in_length(BLOCK));
}

/// Commands of two sessions to one disk; each record is a command of 16 bytes and its data.
pub(super) fn device(data: &[u8]) {
    let mut unit = LogicalUnit::new(BLOCKS, BLOCK, "fuzz");
    unit.thin = Some(8);
    unit.removable = true;
    let mut device = Device::new(unit, Reservations::default());
    for id in [0, 1] {
        device.attach(
            id,
            InitiatorPort(format!("iqn.2000-01.com.example:host{id}")),
        );
    }
    for (who, record) in records::split(data) {
        let id = u32::from(who & 1);
        let (cdb, parameters) = record.split_at(record.len().min(16));
        let mut action = device.execute(id, &[Lun::ZERO], cdb);
        if let Action::Parameters { cdb, length } = action {
            let length = parameters.len().min(length as usize);
            action = device.parameters(id, &cdb, &parameters[..length]);
            assert!(!matches!(action, Action::Parameters { .. }));
        }
        check(&action);
        assert!(!matches!(action, Action::Shared(_)));
        if let Action::Copy(copy) = &action {
            device.copied(id, copy, copy.segments.len());
        }
        let changes = device.take_changes();
        if let Some(snapshot) = changes.reservations {
            let restored = Reservations::restore(snapshot.clone());
            assert_eq!(restored.snapshot(), snapshot);
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
