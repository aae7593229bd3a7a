//! REPORT SUPPORTED OPERATION CODES (SPC-4 section 6.35): the list of what [`crate::Cdb::parse`]
//! understands, with the bits it looks at.

use alloc::vec::Vec;

use crate::cdb::{
    GET_LBA_STATUS, READ_CAPACITY_16, REPORT_SUPPORTED_OPERATION_CODES,
    REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, REPORT_TARGET_PORT_GROUPS, opcode,
};
use crate::device::LogicalUnit;
use crate::sense::Sense;

/// One command: its service action, if it is told apart by one, and its usage map: the
/// operation code, then a one for each bit that is looked at.
struct Command {
    service_action: Option<u8>,
    feature: Feature,
    usage: &'static [u8],
}

/// What a unit must be to have a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feature {
    Any,
    Thin,
    Removable,
}

const fn plain(usage: &'static [u8]) -> Command {
    only(Feature::Any, usage)
}

const fn only(feature: Feature, usage: &'static [u8]) -> Command {
    Command {
        service_action: None,
        feature,
        usage,
    }
}

const fn action(service_action: u8, usage: &'static [u8]) -> Command {
    Command {
        service_action: Some(service_action),
        feature: Feature::Any,
        usage,
    }
}

const LONG: u8 = 0xff;

/// READ, WRITE: protection, DPO and FUA bits. VERIFY: protection, DPO and BYTCHK bits.
const TRANSFER: u8 = 0xf8;
const CHECKED: u8 = 0xf6;

/// Ordered by operation code. The last byte is CONTROL: NACA is looked at.
#[rustfmt::skip]
const COMMANDS: [Command; 57] = [
    plain(&[opcode::TEST_UNIT_READY, 0, 0, 0, 0, 4]),
    plain(&[opcode::REQUEST_SENSE, 1, 0, 0, LONG, 4]),
    plain(&[opcode::READ_6, 0x1f, LONG, LONG, LONG, 4]),
    plain(&[opcode::WRITE_6, 0x1f, LONG, LONG, LONG, 4]),
    plain(&[opcode::INQUIRY, 1, LONG, LONG, LONG, 4]),
    plain(&[opcode::MODE_SELECT_6, 0x11, 0, 0, LONG, 4]),
    plain(&[opcode::RESERVE_6, 0x11, 0, 0, 0, 4]),
    plain(&[opcode::RELEASE_6, 0x11, 0, 0, 0, 4]),
    plain(&[opcode::MODE_SENSE_6, 8, LONG, LONG, LONG, 4]),
    plain(&[opcode::START_STOP_UNIT, 1, 0, 0, 0xf3, 4]),
    only(Feature::Removable, &[opcode::PREVENT_ALLOW_MEDIUM_REMOVAL, 0, 0, 0, 3, 4]),
    plain(&[opcode::READ_CAPACITY_10, 0, 0, 0, 0, 0, 0, 0, 0, 4]),
    plain(&[opcode::READ_10, TRANSFER, LONG, LONG, LONG, LONG, 0, LONG, LONG, 4]),
    plain(&[opcode::WRITE_10, TRANSFER, LONG, LONG, LONG, LONG, 0, LONG, LONG, 4]),
    plain(&[opcode::WRITE_AND_VERIFY_10, CHECKED, LONG, LONG, LONG, LONG, 0, LONG, LONG, 4]),
    plain(&[opcode::VERIFY_10, CHECKED, LONG, LONG, LONG, LONG, 0, LONG, LONG, 4]),
    plain(&[opcode::PRE_FETCH_10, 0, LONG, LONG, LONG, LONG, 0, LONG, LONG, 4]),
    plain(&[opcode::SYNCHRONIZE_CACHE_10, 2, LONG, LONG, LONG, LONG, 0, LONG, LONG, 4]),
    plain(&[opcode::READ_DEFECT_DATA_10, 0, 0x1f, 0, 0, 0, 0, LONG, LONG, 4]),
    plain(&[opcode::WRITE_SAME_10, 0xf8, LONG, LONG, LONG, LONG, 0, LONG, LONG, 4]),
    only(Feature::Thin, &[opcode::UNMAP, 1, 0, 0, 0, 0, 0, LONG, LONG, 4]),
    plain(&[opcode::MODE_SELECT_10, 0x11, 0, 0, 0, 0, 0, LONG, LONG, 4]),
    plain(&[opcode::MODE_SENSE_10, 0x18, LONG, LONG, 0, 0, 0, LONG, LONG, 4]),
    action(0, &[opcode::PERSISTENT_RESERVE_IN, 0, 0, 0, 0, 0, 0, LONG, LONG, 4]),
    action(1, &[opcode::PERSISTENT_RESERVE_IN, 1, 0, 0, 0, 0, 0, LONG, LONG, 4]),
    action(2, &[opcode::PERSISTENT_RESERVE_IN, 2, 0, 0, 0, 0, 0, LONG, LONG, 4]),
    action(3, &[opcode::PERSISTENT_RESERVE_IN, 3, 0, 0, 0, 0, 0, LONG, LONG, 4]),
    action(0, &[opcode::PERSISTENT_RESERVE_OUT, 0, LONG, 0, 0, LONG, LONG, LONG, LONG, 4]),
    action(1, &[opcode::PERSISTENT_RESERVE_OUT, 1, LONG, 0, 0, LONG, LONG, LONG, LONG, 4]),
    action(2, &[opcode::PERSISTENT_RESERVE_OUT, 2, LONG, 0, 0, LONG, LONG, LONG, LONG, 4]),
    action(3, &[opcode::PERSISTENT_RESERVE_OUT, 3, LONG, 0, 0, LONG, LONG, LONG, LONG, 4]),
    action(4, &[opcode::PERSISTENT_RESERVE_OUT, 4, LONG, 0, 0, LONG, LONG, LONG, LONG, 4]),
    action(5, &[opcode::PERSISTENT_RESERVE_OUT, 5, LONG, 0, 0, LONG, LONG, LONG, LONG, 4]),
    action(6, &[opcode::PERSISTENT_RESERVE_OUT, 6, LONG, 0, 0, LONG, LONG, LONG, LONG, 4]),
    action(0, &[opcode::EXTENDED_COPY, 0, 0, 0, 0, 0, 0, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
    action(0, &[opcode::RECEIVE_COPY_RESULTS, 0, LONG, 0, 0, 0, 0, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
    action(3, &[opcode::RECEIVE_COPY_RESULTS, 3, 0, 0, 0, 0, 0, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::READ_16, TRANSFER, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::COMPARE_AND_WRITE, TRANSFER, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 0, 0, LONG, 0, 4]),
    plain(&[opcode::WRITE_16, TRANSFER, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::OR_WRITE_16, TRANSFER, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::WRITE_AND_VERIFY_16, CHECKED, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::VERIFY_16, CHECKED, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::PRE_FETCH_16, 0, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::SYNCHRONIZE_CACHE_16, 2, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::WRITE_SAME_16, 0xf9, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    action(READ_CAPACITY_16, &[opcode::SERVICE_ACTION_IN_16, READ_CAPACITY_16, 0, 0, 0, 0, 0, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
    action(GET_LBA_STATUS, &[opcode::SERVICE_ACTION_IN_16, GET_LBA_STATUS, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::REPORT_LUNS, 0, LONG, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
    action(REPORT_TARGET_PORT_GROUPS, &[opcode::MAINTENANCE_IN, 0xe0 | REPORT_TARGET_PORT_GROUPS, 0, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
    action(REPORT_SUPPORTED_OPERATION_CODES, &[opcode::MAINTENANCE_IN, REPORT_SUPPORTED_OPERATION_CODES, 0x87, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    action(REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, &[opcode::MAINTENANCE_IN, REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, 0x80, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::READ_12, TRANSFER, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::WRITE_12, TRANSFER, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::WRITE_AND_VERIFY_12, CHECKED, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::VERIFY_12, CHECKED, LONG, LONG, LONG, LONG, LONG, LONG, LONG, LONG, 0, 4]),
    plain(&[opcode::READ_DEFECT_DATA_12, 0x1f, 0, 0, 0, 0, LONG, LONG, LONG, LONG, 0, 4]),
];

impl Command {
    fn is_on(&self, unit: &LogicalUnit) -> bool {
        match self.feature {
            Feature::Any => true,
            Feature::Thin => unit.thin.is_some(),
            Feature::Removable => unit.removable,
        }
    }

    fn operation_code(&self) -> Option<u8> {
        self.usage.first().copied()
    }
}

/// The data of REPORT SUPPORTED OPERATION CODES.
pub(crate) fn report(
    unit: &LogicalUnit,
    timeouts: bool,
    reporting_options: u8,
    operation_code: u8,
    service_action: u16,
) -> Result<Vec<u8>, Sense> {
    let by_action = |command: &Command| {
        command
            .service_action
            .is_some_and(|action| u16::from(action) == service_action)
    };
    let mut of_code = COMMANDS
        .iter()
        .filter(|c| c.is_on(unit) && c.operation_code() == Some(operation_code));
    let has_actions = of_code
        .clone()
        .any(|command| command.service_action.is_some());
    let found = match reporting_options {
        0 => return Ok(all(unit, timeouts)),
        1 if has_actions => return Err(Sense::INVALID_FIELD_IN_CDB),
        1 => of_code.next(),
        2 if !has_actions && of_code.clone().next().is_some() => {
            return Err(Sense::INVALID_FIELD_IN_CDB);
        }
        2 => of_code.find(|command| by_action(command)),
        3 if has_actions => of_code.find(|command| by_action(command)),
        // A code without service actions is reported if the one asked for is zero.
        3 => of_code.next().filter(|_| service_action == 0),
        _ => return Err(Sense::INVALID_FIELD_IN_CDB),
    };
    Ok(one(timeouts, found))
}

/// The all_commands format (SPC-4 section 6.35.2).
fn all(unit: &LogicalUnit, timeouts: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for command in COMMANDS.iter().filter(|c| c.is_on(unit)) {
        let Some(code) = command.operation_code() else {
            continue;
        };
        list.extend([code, 0]);
        list.extend(u16::from(command.service_action.unwrap_or(0)).to_be_bytes());
        let flags = u8::from(timeouts) << 1 | u8::from(command.service_action.is_some());
        list.extend([0, flags]);
        list.extend(
            u16::try_from(command.usage.len())
                .unwrap_or(0)
                .to_be_bytes(),
        );
        if timeouts {
            list.extend(NO_TIMEOUTS);
        }
    }
    let mut data = u32::try_from(list.len())
        .unwrap_or(0)
        .to_be_bytes()
        .to_vec();
    data.extend(list);
    data
}

/// The one_command format (SPC-4 section 6.35.3).
fn one(timeouts: bool, found: Option<&Command>) -> Vec<u8> {
    const NOT_SUPPORTED: u8 = 1;
    const AS_STANDARD: u8 = 3;
    let Some(command) = found else {
        return alloc::vec![0, NOT_SUPPORTED, 0, 0];
    };
    let mut data = alloc::vec![0, u8::from(timeouts) << 7 | AS_STANDARD];
    data.extend(
        u16::try_from(command.usage.len())
            .unwrap_or(0)
            .to_be_bytes(),
    );
    data.extend(command.usage);
    if timeouts {
        data.extend(NO_TIMEOUTS);
    }
    data
}

/// A command timeouts descriptor that tells nothing (SPC-4 section 6.35.4).
const NO_TIMEOUTS: [u8; 12] = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cdb;

    fn unit() -> LogicalUnit {
        LogicalUnit::new(1, 512, "1")
    }

    #[test]
    fn the_list_is_what_the_parser_knows() {
        for code in 0..=255_u8 {
            let commands: Vec<_> = COMMANDS
                .iter()
                .filter(|c| c.operation_code() == Some(code))
                .collect();
            let mut cdb = [0; 16];
            cdb[0] = code;
            let action = commands.first().and_then(|c| c.service_action);
            cdb[1] = action.unwrap_or(0);
            assert_eq!(Cdb::parse(&cdb).is_ok(), !commands.is_empty(), "{code:#x}");
            for command in commands {
                cdb[1] = command.service_action.unwrap_or(0);
                let parsed = Cdb::parse(&cdb).unwrap();
                assert_eq!(parsed.to_bytes().len(), command.usage.len());
                assert_eq!(parsed.to_bytes().padded(), cdb);
            }
        }
        assert!(COMMANDS.is_sorted_by_key(|command| command.operation_code()));
    }

    #[test]
    fn one_command_is_told_with_its_usage() {
        let report =
            |timeouts, options, code, action| report(&unit(), timeouts, options, code, action);
        let data = report(false, 1, opcode::TEST_UNIT_READY, 0).unwrap();
        assert_eq!(data, [0, 3, 0, 6, 0, 0, 0, 0, 0, 4]);
        let data = report(true, 2, 0x9e, 0x10).unwrap();
        assert_eq!(data[..5], [0, 0x83, 0, 16, 0x9e]);
        assert_eq!(data.len(), 4 + 16 + 12);
        assert_eq!(report(false, 1, 0x9e, 0), Err(Sense::INVALID_FIELD_IN_CDB));
        assert_eq!(report(false, 2, 0x28, 0), Err(Sense::INVALID_FIELD_IN_CDB));
        assert_eq!(report(false, 1, 0xc0, 0).unwrap(), [0, 1, 0, 0]);
        assert_eq!(report(false, 3, 0x28, 1).unwrap(), [0, 1, 0, 0]);
        assert_eq!(report(false, 4, 0x28, 0), Err(Sense::INVALID_FIELD_IN_CDB));
    }

    #[test]
    fn what_a_unit_cannot_do_is_not_listed() {
        for code in [opcode::UNMAP, opcode::PREVENT_ALLOW_MEDIUM_REMOVAL] {
            assert_eq!(report(&unit(), false, 1, code, 0).unwrap(), [0, 1, 0, 0]);
            let able = LogicalUnit {
                thin: Some(8),
                removable: true,
                ..unit()
            };
            assert_eq!(report(&able, false, 1, code, 0).unwrap()[1], 3);
        }
    }

    #[test]
    fn the_whole_list_tells_its_length() {
        for (timeouts, size) in [(false, 8), (true, 20)] {
            let data = report(&unit(), timeouts, 0, 0, 0).unwrap();
            let told = u32::from_be_bytes(data[..4].try_into().unwrap());
            assert_eq!(told as usize, data.len() - 4);
            assert_eq!((data.len() - 4) / size, COMMANDS.len() - 2);
        }
    }
}
