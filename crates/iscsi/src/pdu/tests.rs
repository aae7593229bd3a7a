//! Headers as bytes, written by hand from the figures of RFC 7143 chapter 11, one word a group.

use super::*;
use crate::name::Isid;
use crate::{LoginStatus, Residual, Status};

/// Twelve words in hexadecimal.
fn header(words: &str) -> Header {
    let words: Vec<u8> = words
        .split_whitespace()
        .flat_map(|word| u32::from_str_radix(word, 16).unwrap().to_be_bytes())
        .collect();
    Header(words.try_into().unwrap())
}

const NUMBERS: Numbers = Numbers {
    stat_sn: 0x11,
    exp_cmd_sn: 0x12,
    max_cmd_sn: 0x13,
};
const LUN: Lun = Lun([0, 1, 0, 0, 0, 0, 0, 0]);

/// Checks that the words and the value are each made from the other.
macro_rules! check {
    ($kind:ty, $words:expr, $value:expr) => {
        let header = header($words);
        let value: $kind = $value;
        assert_eq!(<$kind>::parse(&header), value);
        assert_eq!(value.header(), header);
    };
}

#[test]
fn requests_are_those_of_the_figures() {
    check!(
        ScsiCommand,
        "01a10000 00000000 00010000 00000000 00000005 00001000 00000007 00000009
         28000000 00000000 08000000 00000000",
        ScsiCommand {
            immediate: false,
            is_final: true,
            read: false,
            write: true,
            attribute: SIMPLE,
            lun: LUN,
            initiator_task_tag: 5,
            expected_data_transfer_length: 0x1000,
            cmd_sn: 7,
            exp_stat_sn: 9,
            cdb: [0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0],
        }
    );
    check!(
        TaskManagementRequest,
        "42810000 00000000 00010000 00000000 00000006 00000005 00000008 00000009
         00000007 00000000 00000000 00000000",
        TaskManagementRequest {
            immediate: true,
            function: TaskManagementFunction::ABORT_TASK,
            lun: LUN,
            initiator_task_tag: 6,
            referenced_task_tag: 5,
            cmd_sn: 8,
            exp_stat_sn: 9,
            ref_cmd_sn: 7,
            exp_data_sn: 0,
        }
    );
    check!(
        DataOut,
        "05800000 00000000 00010000 00000000 00000005 00000abc 00000000 00000009
         00000000 00000002 00002000 00000000",
        DataOut {
            is_final: true,
            lun: LUN,
            initiator_task_tag: 5,
            target_transfer_tag: 0xabc,
            exp_stat_sn: 9,
            data_sn: 2,
            buffer_offset: 0x2000,
        }
    );
    check!(
        TextRequest,
        "44400000 00000000 00000000 00000000 00000003 ffffffff 00000007 00000009
         00000000 00000000 00000000 00000000",
        TextRequest {
            immediate: true,
            is_final: false,
            is_continued: true,
            lun: Lun::ZERO,
            initiator_task_tag: 3,
            target_transfer_tag: NO_TAG,
            cmd_sn: 7,
            exp_stat_sn: 9,
        }
    );
    check!(
        LoginRequest,
        "43870000 00000000 80010203 00010000 00000001 00020000 00000007 00000000
         00000000 00000000 00000000 00000000",
        LoginRequest {
            transit: true,
            is_continued: false,
            current_stage: Stage::OPERATIONAL,
            next_stage: Stage::FULL_FEATURE,
            version_max: 0,
            version_min: 0,
            isid: Isid::random([1, 2, 3], 1),
            tsih: 0,
            initiator_task_tag: 1,
            cid: 2,
            cmd_sn: 7,
            exp_stat_sn: 0,
        }
    );
    check!(
        LogoutRequest,
        "46810000 00000000 00000000 00000000 00000004 00020000 00000007 00000009
         00000000 00000000 00000000 00000000",
        LogoutRequest {
            immediate: true,
            reason: 1,
            initiator_task_tag: 4,
            cid: 2,
            cmd_sn: 7,
            exp_stat_sn: 9,
        }
    );
    check!(
        NopOut,
        "40800000 00000000 00010000 00000000 ffffffff 00000abc 00000007 00000009
         00000000 00000000 00000000 00000000",
        NopOut {
            immediate: true,
            lun: LUN,
            initiator_task_tag: NO_TAG,
            target_transfer_tag: 0xabc,
            cmd_sn: 7,
            exp_stat_sn: 9,
        }
    );
}

#[test]
fn responses_to_commands_are_those_of_the_figures() {
    check!(
        ScsiResponse,
        "21820002 00000000 00000000 00000000 00000005 00000000 00000011 00000012
         00000013 00000004 00000000 00000200",
        ScsiResponse {
            response: 0,
            status: Status::CHECK_CONDITION,
            residual: Residual::Underflow(512),
            initiator_task_tag: 5,
            numbers: NUMBERS,
            exp_data_sn: 4,
        }
    );
    check!(
        DataIn,
        "25850000 00000000 00000000 00000000 00000005 ffffffff 00000011 00000012
         00000013 00000002 00002000 00000008",
        DataIn {
            is_final: true,
            acknowledge: false,
            status: Some((Status::GOOD, Residual::Overflow(8))),
            lun: Lun::ZERO,
            initiator_task_tag: 5,
            target_transfer_tag: NO_TAG,
            numbers: NUMBERS,
            data_sn: 2,
            buffer_offset: 0x2000,
        }
    );
    check!(
        R2t,
        "31800000 00000000 00010000 00000000 00000005 00000abc 00000011 00000012
         00000013 00000001 00010000 00040000",
        R2t {
            lun: LUN,
            initiator_task_tag: 5,
            target_transfer_tag: 0xabc,
            numbers: NUMBERS,
            r2t_sn: 1,
            buffer_offset: 0x1_0000,
            desired_data_transfer_length: 0x4_0000,
        }
    );
    check!(
        TaskManagementResponse,
        "22800100 00000000 00000000 00000000 00000006 00000000 00000011 00000012
         00000013 00000000 00000000 00000000",
        TaskManagementResponse {
            outcome: TaskManagementOutcome::TASK_DOES_NOT_EXIST,
            initiator_task_tag: 6,
            numbers: NUMBERS,
        }
    );
}

#[test]
fn other_responses_are_those_of_the_figures() {
    check!(
        LoginResponse,
        "23870000 00000000 80010203 00010007 00000001 00000000 00000011 00000012
         00000013 02030000 00000000 00000000",
        LoginResponse {
            transit: true,
            is_continued: false,
            current_stage: Stage::OPERATIONAL,
            next_stage: Stage::FULL_FEATURE,
            version_max: 0,
            version_active: 0,
            isid: Isid::random([1, 2, 3], 1),
            tsih: 7,
            initiator_task_tag: 1,
            numbers: NUMBERS,
            status: LoginStatus::NOT_FOUND,
        }
    );
    check!(
        TextResponse,
        "24400000 00000000 00000000 00000000 00000003 00000abc 00000011 00000012
         00000013 00000000 00000000 00000000",
        TextResponse {
            is_final: false,
            is_continued: true,
            lun: Lun::ZERO,
            initiator_task_tag: 3,
            target_transfer_tag: 0xabc,
            numbers: NUMBERS,
        }
    );
    check!(
        LogoutResponse,
        "26800000 00000000 00000000 00000000 00000004 00000000 00000011 00000012
         00000013 00000000 00020014 00000000",
        LogoutResponse {
            response: 0,
            initiator_task_tag: 4,
            numbers: NUMBERS,
            time2wait: 2,
            time2retain: 20,
        }
    );
    check!(
        AsyncMessage,
        "32800000 00000000 00010000 00000000 ffffffff 00000000 00000011 00000012
         00000013 01000000 0000000a 00000000",
        AsyncMessage {
            lun: LUN,
            numbers: NUMBERS,
            event: AsyncEvent::REQUEST_LOGOUT,
            vendor_code: 0,
            parameters: [0, 0, 10],
        }
    );
    check!(
        Reject,
        "3f800900 00000000 00000000 00000000 ffffffff 00000000 00000011 00000012
         00000013 00000001 00000000 00000000",
        Reject {
            reason: RejectReason::INVALID_PDU_FIELD,
            numbers: NUMBERS,
            data_sn: 1
        }
    );
    check!(
        NopIn,
        "20800000 00000000 00010000 00000000 ffffffff 00000abc 00000011 00000012
         00000013 00000000 00000000 00000000",
        NopIn {
            lun: LUN,
            initiator_task_tag: NO_TAG,
            target_transfer_tag: 0xabc,
            numbers: NUMBERS,
        }
    );
}

#[test]
fn lengths_are_read() {
    let header = header(
        "01000000 02000201 00000000 00000000 00000000 00000000 00000000 00000000
         00000000 00000000 00000000 00000000",
    );
    assert_eq!(header.opcode(), opcode::SCSI_COMMAND);
    assert_eq!(header.additional_length(), 8);
    assert_eq!(header.data_segment_length(), 0x201);
}
