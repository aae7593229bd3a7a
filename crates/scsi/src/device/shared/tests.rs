//! Two initiators and one disk.

use super::*;
use crate::mode::ModeParameters;
use crate::{Form, SenseKey};

fn device() -> Device {
    let mut unit = LogicalUnit::new(1000, 512, "1");
    unit.removable = true;
    unit.thin = Some(8);
    let mut device = Device::new(unit, Reservations::default());
    for (id, name) in [(1, "one"), (2, "two")] {
        device.attach(id, InitiatorPort(name.into()));
    }
    device
}

fn run(device: &mut Device, id: NexusId, cdb: Cdb) -> Action {
    device.execute(id, &[], &cdb.to_bytes())
}

const DONE: Action = Action::Respond(Vec::new());
const CONFLICT: Action = Action::Status(Status::RESERVATION_CONFLICT);

/// PERSISTENT RESERVE OUT with its parameters.
fn reserve_out(device: &mut Device, id: NexusId, service_action: u8, keys: (u64, u64)) -> Action {
    let cdb = Cdb::PersistentReserveOut {
        service_action,
        scope: 0,
        kind: 3,
        parameter_list_length: 24,
    };
    let Action::Parameters { cdb, length: 24 } = run(device, id, cdb) else {
        panic!("parameters are not asked for")
    };
    let mut data = [keys.0.to_be_bytes(), keys.1.to_be_bytes(), [0; 8]].concat();
    data[20] = 1;
    device.parameters(id, &cdb, &data)
}

#[test]
fn a_conflict_comes_before_a_unit_attention_and_keeps_it() {
    let mut device = device();
    assert_eq!(run(&mut device, 1, Cdb::Reserve6), DONE);
    device.attention(Some(1), Sense::POWER_ON);
    assert_eq!(run(&mut device, 2, Cdb::TestUnitReady), CONFLICT);
    assert_eq!(run(&mut device, 1, Cdb::TestUnitReady), DONE);
    device.detach(1);
    assert_eq!(
        run(&mut device, 2, Cdb::TestUnitReady),
        Action::Check(Sense::POWER_ON)
    );
    assert_eq!(run(&mut device, 2, Cdb::TestUnitReady), DONE);
}

#[test]
fn preempting_names_whose_commands_end_and_what_to_keep() {
    let mut device = device();
    assert_eq!(reserve_out(&mut device, 1, 0, (0, 1)), DONE);
    assert_eq!(reserve_out(&mut device, 2, 0, (0, 2)), DONE);
    assert_eq!(reserve_out(&mut device, 1, 1, (1, 0)), DONE);
    assert_eq!(run(&mut device, 2, Cdb::read(0, 1)), CONFLICT);
    let kept = device.take_changes().reservations.unwrap();
    assert_eq!(kept.registrations.len(), 2);
    assert_eq!(reserve_out(&mut device, 2, 5, (2, 1)), DONE);
    let changes = device.take_changes();
    assert_eq!(changes.aborts, [1]);
    assert_eq!(changes.reservations.unwrap().registrations.len(), 1);
    assert_eq!(device.take_changes(), Changes::default());
    assert_eq!(run(&mut device, 1, Cdb::read(0, 1)), CONFLICT);
    assert_eq!(
        run(&mut device, 1, Cdb::TestUnitReady),
        Action::Check(Sense::REGISTRATIONS_PREEMPTED)
    );
}

#[test]
fn a_medium_is_ejected_when_nobody_minds() {
    let mut device = device();
    let eject = |start| Cdb::StartStopUnit {
        immediate: false,
        power_condition: 0,
        load_eject: true,
        start,
    };
    let prevent = |prevent| Cdb::PreventAllowMediumRemoval { prevent };
    assert_eq!(run(&mut device, 2, prevent(true)), DONE);
    let prevented = Action::Check(Sense::MEDIUM_REMOVAL_PREVENTED);
    assert_eq!(run(&mut device, 1, eject(false)), prevented);
    device.reset();
    let _ = run(&mut device, 1, Cdb::TestUnitReady); // tells of the reset
    assert_eq!(
        run(&mut device, 1, eject(false)),
        Action::Flush { immediate: false }
    );
    let absent = Action::Check(Sense::MEDIUM_NOT_PRESENT);
    for cdb in [
        Cdb::TestUnitReady,
        Cdb::read(0, 1),
        Cdb::ReadCapacity10,
        Cdb::flush(),
    ] {
        assert_eq!(run(&mut device, 1, cdb), absent);
    }
    assert_eq!(run(&mut device, 1, eject(true)), DONE);
    assert_eq!(run(&mut device, 1, Cdb::TestUnitReady), DONE);
    let _ = run(&mut device, 2, Cdb::TestUnitReady);
    assert_eq!(
        run(&mut device, 2, Cdb::TestUnitReady),
        Action::Check(Sense::MEDIUM_CHANGED)
    );
}

#[test]
fn mode_parameters_are_shared_and_a_reset_ends_them() {
    let mut device = device();
    let sense = |device: &mut Device| {
        let sense = Cdb::ModeSense {
            form: Form::Six,
            long_lba: false,
            disable_block_descriptors: true,
            page_control: 0,
            page: mode::PAGE_ALL,
            subpage: 0,
            allocation_length: 255,
        };
        match run(device, 1, sense) {
            Action::Respond(data) => data,
            other => panic!("{other:?}"),
        }
    };
    let mut data = sense(&mut device);
    data[0] = 0;
    data[4 + 2] = 0; // WCE
    data[4 + 20 + 4] = 8; // SWP
    let select = Cdb::ModeSelect {
        form: Form::Six,
        page_format: true,
        save_pages: false,
        parameter_list_length: data.len() as u16,
    };
    let Action::Parameters { cdb, .. } = run(&mut device, 1, select) else {
        panic!("parameters are not asked for")
    };
    let flushed = device.parameters(1, &cdb, &data);
    assert_eq!(flushed, Action::Flush { immediate: false });
    let protected = Action::Check(Sense::SOFTWARE_WRITE_PROTECTED);
    assert_eq!(run(&mut device, 1, Cdb::write(0, 1)), protected);
    assert_eq!(
        run(&mut device, 2, Cdb::TestUnitReady),
        Action::Check(Sense::MODE_PARAMETERS_CHANGED)
    );
    let now = ModeParameters::parse(Form::Six, &sense(&mut device)).unwrap();
    assert!(now.write_protected && !now.write_cache);
    device.reset();
    assert_eq!(
        run(&mut device, 1, Cdb::TestUnitReady),
        Action::Check(Sense::DEVICE_RESET)
    );
    assert!(matches!(
        run(&mut device, 1, Cdb::write(0, 1)),
        Action::Write {
            force_unit_access: false,
            ..
        }
    ));
}

#[test]
fn unmap_is_checked_as_a_whole() {
    let mut device = device();
    let unmap = |device: &mut Device, ranges: &[(u64, u32)]| {
        let mut data = (6 + 16 * ranges.len() as u16).to_be_bytes().to_vec();
        data.extend((16 * ranges.len() as u16).to_be_bytes());
        data.extend([0; 4]);
        for (lba, blocks) in ranges {
            data.extend(lba.to_be_bytes());
            data.extend(blocks.to_be_bytes());
            data.extend([0; 4]);
        }
        let cdb = Cdb::Unmap {
            anchor: false,
            parameter_list_length: data.len() as u16,
        };
        device.parameters(1, &cdb, &data)
    };
    let ranges = [(0, 8), (992, 8)];
    assert_eq!(unmap(&mut device, &ranges), Action::Unmap(ranges.to_vec()));
    assert_eq!(unmap(&mut device, &[(5, 0)]), Action::Unmap(Vec::new()));
    let beyond = Action::Check(Sense::LBA_OUT_OF_RANGE);
    assert_eq!(unmap(&mut device, &[(0, 8), (999, 2)]), beyond);
    let many = alloc::vec![(0, 1); 257];
    let too_many = Action::Check(Sense::INVALID_FIELD_IN_PARAMETER_LIST);
    assert_eq!(unmap(&mut device, &many), too_many);
    let anchored = Cdb::Unmap {
        anchor: true,
        parameter_list_length: 24,
    };
    assert_eq!(
        run(&mut device, 1, anchored),
        Action::Check(Sense::INVALID_FIELD_IN_CDB)
    );
}

#[test]
fn copies_are_remembered_for_who_asked() {
    let mut device = device();
    let status = |list_identifier| Cdb::ReceiveCopyResults {
        service_action: 0,
        list_identifier,
        allocation_length: 255,
    };
    let unknown = Action::Check(Sense::INVALID_FIELD_IN_CDB);
    assert_eq!(run(&mut device, 1, status(7)), unknown);
    let copy = Copy {
        list_identifier: 7,
        is_remembered: true,
        ..Copy::default()
    };
    device.copied(1, &copy, 0);
    let Action::Respond(data) = run(&mut device, 1, status(7)) else {
        panic!()
    };
    assert_eq!((data.len(), data[3], data[4]), (12, 8, 1));
    assert_eq!(run(&mut device, 2, status(7)), unknown);
}

#[test]
fn any_command_and_any_parameters_are_survived() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    let mut device = device();
    for _ in 0..50_000 {
        let mut cdb = [0; 16];
        cdb.fill_with(&mut random);
        match device.execute(1, &[Lun::ZERO], &cdb) {
            Action::Parameters { cdb, length } => {
                let mut data = alloc::vec![0; (length as usize).min(64)];
                data.fill_with(|| random() & random() & 3);
                let action = device.parameters(1, &cdb, &data);
                assert!(!matches!(
                    action,
                    Action::Parameters { .. } | Action::Shared(_)
                ));
            }
            Action::Shared(cdb) => panic!("{cdb:?} was left open"),
            Action::Check(sense) => assert_ne!(sense.key, SenseKey::NO_SENSE),
            _ => {}
        }
    }
}
