//! Commands as bytes, written by hand from the tables of SPC-4 and SBC-3.

use super::*;
use crate::Sense;

fn transfer(form: Form, lba: u64, blocks: u32) -> Transfer {
    Transfer {
        form,
        ..Transfer::new(lba, blocks)
    }
}

#[test]
fn bytes_and_commands_match() {
    let flagged = Transfer {
        protect: 1,
        disable_page_out: true,
        force_unit_access: true,
        ..transfer(Form::Ten, 0x0102_0304, 0x0506)
    };
    let table: &[(Cdb, &[u8])] = &[
        (Cdb::TestUnitReady, &[0; 6]),
        (
            Cdb::RequestSense {
                descriptor: true,
                allocation_length: 252,
            },
            &[0x03, 1, 0, 0, 252, 0],
        ),
        (
            Cdb::Inquiry {
                page: None,
                allocation_length: 0x124,
            },
            &[0x12, 0, 0, 1, 0x24, 0],
        ),
        (
            Cdb::Inquiry {
                page: Some(0x83),
                allocation_length: 255,
            },
            &[0x12, 1, 0x83, 0, 255, 0],
        ),
        (
            Cdb::ModeSense {
                form: Form::Six,
                long_lba: false,
                disable_block_descriptors: true,
                page_control: 1,
                page: 0x08,
                subpage: 0,
                allocation_length: 192,
            },
            &[0x1a, 0x08, 0x48, 0, 192, 0],
        ),
        (
            Cdb::ModeSense {
                form: Form::Ten,
                long_lba: true,
                disable_block_descriptors: false,
                page_control: 0,
                page: 0x3f,
                subpage: 0xff,
                allocation_length: 0x0102,
            },
            &[0x5a, 0x10, 0x3f, 0xff, 0, 0, 0, 1, 2, 0],
        ),
        (
            Cdb::StartStopUnit {
                immediate: true,
                power_condition: 0,
                load_eject: true,
                start: false,
            },
            &[0x1b, 1, 0, 0, 2, 0],
        ),
        (Cdb::ReadCapacity10, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (
            Cdb::ReadCapacity16 {
                allocation_length: 32,
            },
            &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
        ),
        (
            Cdb::Read(transfer(Form::Six, 0x1f_0203, 256)),
            &[0x08, 0x1f, 2, 3, 0, 0],
        ),
        (
            Cdb::Write(transfer(Form::Six, 1, 4)),
            &[0x0a, 0, 0, 1, 4, 0],
        ),
        (Cdb::Read(flagged), &[0x28, 0x38, 1, 2, 3, 4, 0, 5, 6, 0]),
        (Cdb::write(1, 8), &[0x2a, 0, 0, 0, 0, 1, 0, 0, 8, 0]),
        (
            Cdb::Read(transfer(Form::Twelve, 2, 0x1_0000)),
            &[0xa8, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0],
        ),
        (
            Cdb::read(1 << 32, 3),
            &[0x88, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0],
        ),
        (
            Cdb::Verify(transfer(Form::Ten, 5, 6), ByteCheck::EachBlock),
            &[0x2f, 0x02, 0, 0, 0, 5, 0, 0, 6, 0],
        ),
        (
            Cdb::WriteAndVerify(transfer(Form::Sixteen, 5, 6), ByteCheck::OneBlock),
            &[0x8e, 0x06, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0],
        ),
        (Cdb::flush(), &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (
            Cdb::SynchronizeCache {
                form: Form::Sixteen,
                lba: 7,
                blocks: 9,
                immediate: true,
            },
            &[0x91, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0],
        ),
        (
            Cdb::report_luns(2),
            &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0],
        ),
        (
            Cdb::ReportSupportedOperationCodes {
                timeouts: true,
                reporting_options: 2,
                operation_code: 0x9e,
                service_action: 0x10,
                allocation_length: 64,
            },
            &[0xa3, 0x0c, 0x82, 0x9e, 0, 0x10, 0, 0, 0, 64, 0, 0],
        ),
    ];
    for (cdb, bytes) in table {
        assert_eq!(&*cdb.to_bytes(), *bytes, "{cdb:?}");
        assert_eq!(Cdb::parse(&cdb.to_bytes().padded()), Ok(*cdb));
    }
}

#[test]
fn the_shortest_form_that_fits_is_taken() {
    let form = |lba, blocks| Transfer::new(lba, blocks).form;
    assert_eq!(form(0xffff_fffe, 1), Form::Ten);
    assert_eq!(form(0xffff_ffff, 1), Form::Sixteen);
    assert_eq!(form(0, 0xffff), Form::Ten);
    assert_eq!(form(0, 0x1_0000), Form::Sixteen);
    assert_eq!(form(u64::MAX, u32::MAX), Form::Sixteen);
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (bytes, sense) in [
        (&[][..], Sense::INVALID_OPCODE),
        (&[0xff; 16], Sense::INVALID_OPCODE),
        (&[0x7f; 16], Sense::INVALID_OPCODE),
        (&[0x01, 0, 0, 0, 0, 0], Sense::INVALID_OPCODE),
        (&[0x28, 0, 0], Sense::INVALID_FIELD_IN_CDB),
        (&[0x12, 0, 0x80, 0, 255, 0], Sense::INVALID_FIELD_IN_CDB), // page without EVPD
        (&[0x12, 2, 0, 0, 255, 0], Sense::INVALID_FIELD_IN_CDB),    // CMDDT
        (&[0x00, 0, 0, 0, 0, 4], Sense::INVALID_FIELD_IN_CDB),      // NACA
        (
            &[0x2f, 4, 0, 0, 0, 0, 0, 0, 0, 0],
            Sense::INVALID_FIELD_IN_CDB,
        ), // BYTCHK 10b
        (
            &[0x9e, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            Sense::INVALID_FIELD_IN_CDB,
        ),
        (
            &[0xa3, 0x4a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            Sense::INVALID_FIELD_IN_CDB,
        ),
    ] {
        assert_eq!(Cdb::parse(bytes), Err(sense), "{bytes:x?}");
    }
}

#[test]
fn every_first_byte_and_every_length_is_survived() {
    for code in 0..=255 {
        for length in 0..=16 {
            let mut bytes = [0xa5; 16];
            bytes[0] = code;
            let _ = Cdb::parse(&bytes[..length]);
        }
    }
}
