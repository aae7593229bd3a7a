//! Commands against a small disk: what comes back, byte by byte where initiators look.

use super::*;
use crate::cdb::Form;
use crate::inquiry::{self, BlockLimits, Inquiry, page};
use crate::mode::ModeParameters;

fn disk() -> LogicalUnit {
    LogicalUnit::new(1000, 512, "disk-1")
}

fn run(unit: &LogicalUnit, cdb: &[u8]) -> Action {
    let luns = [Lun::new(1).unwrap()];
    execute(Some(unit), &luns, &mut Nexus::new(), cdb)
}

fn data(unit: &LogicalUnit, cdb: Cdb) -> Vec<u8> {
    match run(unit, &cdb.to_bytes()) {
        Action::Respond(data) => data,
        other => panic!("{cdb:?}: {other:?}"),
    }
}

#[test]
fn ranges_are_checked_to_the_block() {
    let read = |lba, blocks| run(&disk(), &Cdb::read(lba, blocks).to_bytes());
    let fine = |lba, blocks| Action::Read {
        lba,
        blocks,
        force_unit_access: false,
    };
    let beyond = Action::Check(Sense::LBA_OUT_OF_RANGE);
    for (lba, blocks, expected) in [
        (0, 0, fine(0, 0)),
        (0, 1000, fine(0, 1000)),
        (999, 1, fine(999, 1)),
        (1000, 0, fine(1000, 0)),
        (1001, 0, beyond.clone()),
        (999, 2, beyond.clone()),
        (1000, 1, beyond.clone()),
        (0x8000_0000, 0, beyond.clone()),
        (u64::MAX, 1, beyond.clone()),
        (u64::MAX, u32::MAX, beyond.clone()),
    ] {
        assert_eq!(read(lba, blocks), expected, "{lba}+{blocks}");
    }
    assert_eq!(run(&disk(), &Cdb::write(1000, 1).to_bytes()), beyond);
    let sync = Cdb::SynchronizeCache {
        form: Form::Sixteen,
        lba: 1001,
        blocks: 0,
        immediate: false,
    };
    assert_eq!(run(&disk(), &sync.to_bytes()), beyond);
    assert_eq!(
        run(&disk(), &Cdb::flush().to_bytes()),
        Action::Flush { immediate: false }
    );
}

#[test]
fn protection_and_oversize_are_invalid_fields() {
    let invalid = Action::Check(Sense::INVALID_FIELD_IN_CDB);
    for protect in 1..8 {
        for build in [Cdb::Read as fn(Transfer) -> Cdb, Cdb::Write] {
            let cdb = build(Transfer {
                protect,
                ..Transfer::new(0, 1)
            });
            assert_eq!(run(&disk(), &cdb.to_bytes()), invalid);
        }
    }
    let small = LogicalUnit {
        transfer_blocks_max: 8,
        ..disk()
    };
    assert_eq!(run(&small, &Cdb::read(0, 9).to_bytes()), invalid);
    assert!(matches!(
        run(&small, &Cdb::read(0, 8).to_bytes()),
        Action::Read { .. }
    ));
}

#[test]
fn a_read_only_disk_refuses_to_write() {
    let unit = LogicalUnit {
        read_only: true,
        ..disk()
    };
    assert_eq!(
        run(&unit, &Cdb::write(0, 1).to_bytes()),
        Action::Check(Sense::WRITE_PROTECTED)
    );
    assert!(matches!(
        run(&unit, &Cdb::read(0, 1).to_bytes()),
        Action::Read { .. }
    ));
    let sense = data(&unit, mode_sense_all());
    assert!(
        ModeParameters::parse(Form::Six, &sense)
            .unwrap()
            .write_protected
    );
}

fn mode_sense_all() -> Cdb {
    Cdb::ModeSense {
        form: Form::Six,
        long_lba: false,
        disable_block_descriptors: false,
        page_control: 0,
        page: mode::PAGE_ALL,
        subpage: 0,
        allocation_length: 255,
    }
}

#[test]
fn mode_pages_are_told() {
    let sense = data(&disk(), mode_sense_all());
    assert_eq!(sense.len(), 4 + 8 + 20 + 12);
    assert_eq!(sense[..12], [43, 0, 0x10, 8, 0, 0, 3, 0xe8, 0, 0, 2, 0]);
    assert_eq!(sense[12..15], [8, 18, 4]);
    assert_eq!(sense[32..34], [10, 10]);
    let saved = run(&disk(), &[0x1a, 0, 0xc8, 0, 255, 0]);
    assert_eq!(saved, Action::Check(Sense::SAVING_NOT_SUPPORTED));
    let unknown = run(&disk(), &[0x1a, 0, 0x02, 0, 255, 0]);
    assert_eq!(unknown, Action::Check(Sense::INVALID_FIELD_IN_CDB));
}

#[test]
fn what_the_device_tells_its_own_initiator_side_reads() {
    let unit = disk();
    let standard = data(
        &unit,
        Cdb::Inquiry {
            page: None,
            allocation_length: 255,
        },
    );
    assert_eq!(standard.len(), usize::from(standard[4]) + 5);
    let shown = Inquiry::parse(&standard).unwrap();
    assert!(shown.is_disk());
    assert_eq!(shown.to_string(), "BOWLINE VIRTUAL-DISK 1 (disk)");
    let vpd = |code| {
        data(
            &unit,
            Cdb::Inquiry {
                page: Some(code),
                allocation_length: 255,
            },
        )
    };
    let pages = inquiry::supported_pages(&vpd(0)).unwrap();
    assert!(pages.is_sorted());
    for code in pages {
        let page = vpd(code);
        assert_eq!(
            inquiry::vpd_payload(&page, code).unwrap().len(),
            page.len() - 4
        );
        assert_eq!(
            usize::from(u16::from_be_bytes([page[2], page[3]])),
            page.len() - 4
        );
    }
    assert_eq!(
        inquiry::serial_number(&vpd(page::UNIT_SERIAL_NUMBER)).unwrap(),
        "disk-1"
    );
    let limits = BlockLimits::parse(&vpd(page::BLOCK_LIMITS)).unwrap();
    assert_eq!(
        limits,
        BlockLimits {
            optimal_granularity: 8,
            maximum_transfer: 16384,
            optimal_transfer: 2048
        }
    );
    let capacity = data(
        &unit,
        Cdb::ReadCapacity16 {
            allocation_length: 32,
        },
    );
    assert_eq!(Capacity::parse16(&capacity).unwrap().bytes(), Some(512_000));
    let unknown = run(&unit, &[0x12, 1, 0xc0, 0, 255, 0]);
    assert_eq!(unknown, Action::Check(Sense::INVALID_FIELD_IN_CDB));
}

#[test]
fn allocation_length_cuts_and_zero_is_fine() {
    for allocation_length in [0, 1, 5, 36, 95, 96, 97] {
        let cut = data(
            &disk(),
            Cdb::Inquiry {
                page: None,
                allocation_length,
            },
        );
        assert_eq!(cut.len(), usize::from(allocation_length).min(96));
    }
    let capacity = data(
        &disk(),
        Cdb::ReadCapacity16 {
            allocation_length: 0,
        },
    );
    assert!(capacity.is_empty());
}

#[test]
fn identification_differs_between_disks_and_stays_with_one() {
    let page = |serial: &str| {
        let unit = LogicalUnit::new(1, 512, serial);
        data(
            &unit,
            Cdb::Inquiry {
                page: Some(0x83),
                allocation_length: 255,
            },
        )
    };
    assert_eq!(page("a"), page("a"));
    assert_ne!(page("a")[8..16], page("b")[8..16]);
    assert_eq!(page("a")[8] >> 4, 3); // NAA locally assigned
}

#[test]
fn unknown_commands_are_refused_with_the_right_code() {
    for cdb in [[0x04; 16], [0x2b; 16], [0x48; 16], [0x9c; 16], [0xc1; 16]] {
        assert_eq!(run(&disk(), &cdb), Action::Check(Sense::INVALID_OPCODE));
    }
    assert_eq!(run(&disk(), &[]), Action::Check(Sense::INVALID_OPCODE));
}

#[test]
fn without_a_unit_only_its_absence_is_told() {
    let luns = [Lun::new(1).unwrap()];
    let run = |cdb: Cdb| execute(None, &luns, &mut Nexus::new(), &cdb.to_bytes());
    let gone = Action::Check(Sense::LOGICAL_UNIT_NOT_SUPPORTED);
    assert_eq!(run(Cdb::TestUnitReady), gone);
    assert_eq!(run(Cdb::read(0, 1)), gone);
    assert_eq!(
        run(Cdb::Inquiry {
            page: Some(0),
            allocation_length: 255
        }),
        gone
    );
    let Action::Respond(standard) = run(Cdb::Inquiry {
        page: None,
        allocation_length: 255,
    }) else {
        panic!()
    };
    assert_eq!(standard[0], 0x7f);
    let Action::Respond(report) = run(Cdb::report_luns(8)) else {
        panic!()
    };
    assert_eq!(lun::parse_report(&report).unwrap(), luns);
    let Action::Respond(sense) = run(Cdb::RequestSense {
        descriptor: false,
        allocation_length: 18,
    }) else {
        panic!()
    };
    assert_eq!(
        Sense::parse(&sense),
        Some(Sense::LOGICAL_UNIT_NOT_SUPPORTED)
    );
}

#[test]
fn a_unit_attention_is_told_once_and_not_to_inquiry() {
    let unit = disk();
    let mut nexus = Nexus::new();
    let run = |nexus: &mut Nexus, cdb: Cdb| execute(Some(&unit), &[], nexus, &cdb.to_bytes());
    nexus.attention(Sense::POWER_ON);
    nexus.attention(Sense::POWER_ON);
    let inquiry = Cdb::Inquiry {
        page: None,
        allocation_length: 36,
    };
    assert!(matches!(run(&mut nexus, inquiry), Action::Respond(_)));
    assert!(matches!(
        run(&mut nexus, Cdb::report_luns(1)),
        Action::Respond(_)
    ));
    assert_eq!(
        run(&mut nexus, Cdb::TestUnitReady),
        Action::Check(Sense::POWER_ON)
    );
    assert_eq!(
        run(&mut nexus, Cdb::TestUnitReady),
        Action::Respond(Vec::new())
    );
    nexus.attention(Sense::DEVICE_RESET);
    let request = Cdb::RequestSense {
        descriptor: true,
        allocation_length: 255,
    };
    let Action::Respond(sense) = run(&mut nexus, request) else {
        panic!()
    };
    assert_eq!(Sense::parse(&sense), Some(Sense::DEVICE_RESET));
    assert_eq!(
        run(&mut nexus, Cdb::TestUnitReady),
        Action::Respond(Vec::new())
    );
    for asc in 0..100 {
        nexus.attention(Sense::new(crate::SenseKey::UNIT_ATTENTION, asc, 0));
    }
    assert_eq!(nexus.attentions.len(), ATTENTIONS_MAX);
}

#[test]
fn verify_compares_what_it_is_told_to() {
    let verify = |check| run(&disk(), &Cdb::Verify(Transfer::new(1, 4), check).to_bytes());
    let each = verify(ByteCheck::EachBlock);
    let one = verify(ByteCheck::OneBlock);
    let medium = verify(ByteCheck::Medium);
    assert_eq!(medium, Action::Verify { lba: 1, blocks: 4 });
    assert_eq!(each.data_out_length(512), 2048);
    assert_eq!(one.data_out_length(512), 512);
    assert_eq!(medium.data_out_length(512), 0);
    assert_eq!(
        run(
            &disk(),
            &Cdb::WriteAndVerify(Transfer::new(1, 4), ByteCheck::EachBlock).to_bytes()
        ),
        Action::WriteAndVerify {
            lba: 1,
            blocks: 4,
            compare: true
        }
    );
}

#[test]
fn any_command_bytes_are_survived() {
    let unit = disk();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        let mut cdb = [0; 16];
        for byte in &mut cdb {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_le_bytes()[3];
        }
        let action = execute(Some(&unit), &[Lun::ZERO], &mut Nexus::new(), &cdb);
        if let Action::Read { lba, blocks, .. } | Action::Write { lba, blocks, .. } = action {
            assert!(lba + u64::from(blocks) <= unit.blocks);
        }
    }
}

#[test]
fn one_block_is_compared_and_written() {
    let swap = |blocks| Cdb::CompareAndWrite(Transfer::new(0, blocks)).to_bytes();
    assert!(matches!(
        run(&disk(), &swap(1)),
        Action::CompareAndWrite { blocks: 1, .. }
    ));
    let refused = Action::Check(Sense::INVALID_FIELD_IN_CDB);
    assert_eq!(run(&disk(), &swap(2)), refused);
}

#[test]
fn an_image_has_no_defects() {
    let defects = |form, lists| {
        let cdb = Cdb::ReadDefectData {
            form,
            lists,
            allocation_length: 32,
        };
        data(&disk(), cdb)
    };
    assert_eq!(defects(Form::Ten, 0x1d), [0, 0x1d, 0, 0]);
    assert_eq!(defects(Form::Twelve, 0x10), [0, 0x10, 0, 0, 0, 0, 0, 0]);
}
