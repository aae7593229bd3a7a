//! The target against hand-made requests: what our own initiator never sends.

mod login;

use super::*;
use crate::chap::{self, Algorithm, Secret};
use crate::pair::{Random, TARGET, Targets, connected};
use crate::pdu::{
    DataIn, DataOut, LoginRequest, LoginResponse, LogoutRequest, NopOut, R2t, ScsiCommand,
    ScsiResponse, Stage, TaskManagementFunction, TaskManagementRequest, TaskManagementResponse,
    TextRequest, TextResponse, opcode,
};
use crate::pdu::{RejectReason, TaskManagementOutcome};
use crate::text::Pairs;
use crate::{Authentication, Credentials, Isid, LoginStatus, Lun, Sense, Status};

const SECURITY: Stage = Stage::SECURITY;
const OPERATIONAL: Stage = Stage::OPERATIONAL;
const FULL: Stage = Stage::FULL_FEATURE;

/// A peer that sends what the test says.
struct Peer {
    connection: Connection<Targets>,
    decoder: Decoder,
    now: Duration,
}

impl Peer {
    fn new(config: Config, admission: Admission) -> Self {
        let targets = Targets {
            admission,
            listings: Vec::new(),
        };
        let now = Duration::ZERO;
        Self {
            connection: Connection::new(config, targets, connected(), now),
            decoder: Decoder::new(1 << 24),
            now,
        }
    }

    fn plain() -> Self {
        Self::new(Config::default(), Admission::default())
    }

    /// In full feature phase, with these keys; CmdSN is 1 next.
    fn logged_in(config: Config, keys: &[(&str, &str)]) -> Self {
        let mut peer = Self::new(config, Admission::default());
        let keys = [
            &[("InitiatorName", "iqn.a.b:c"), ("TargetName", TARGET)],
            keys,
        ]
        .concat();
        let (response, _) = peer.login(OPERATIONAL, Some(FULL), &keys);
        assert!(response.transit && response.status == LoginStatus::SUCCESS);
        assert!(matches!(
            peer.connection.poll_event(),
            Some(Event::LoggedIn(_))
        ));
        peer
    }

    fn send(&mut self, header: Header, data: &[u8]) {
        let mut stream = Vec::new();
        frame::write(&mut stream, Digests::default(), header, data);
        self.connection.handle_input(self.now, &stream);
    }

    fn receive(&mut self) -> Vec<Pdu<'static>> {
        let output = self.connection.poll_output().unwrap_or_default();
        self.decoder.pdus(&output)
    }

    fn receive_one(&mut self) -> Pdu<'static> {
        let mut pdus = self.receive();
        assert_eq!(pdus.len(), 1, "{pdus:?}");
        pdus.remove(0)
    }

    fn request(stage: Stage, next: Option<Stage>) -> LoginRequest {
        LoginRequest {
            transit: next.is_some(),
            is_continued: false,
            current_stage: stage,
            next_stage: next.unwrap_or(stage),
            version_max: 0,
            version_min: 0,
            isid: Isid::random([1, 2, 3], 0),
            tsih: 0,
            initiator_task_tag: 1,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 0,
        }
    }

    fn login(
        &mut self,
        stage: Stage,
        next: Option<Stage>,
        keys: &[(&str, &str)],
    ) -> (LoginResponse, Pairs) {
        self.send(Self::request(stage, next).header(), &text(keys));
        let pdu = self.receive_one();
        (
            LoginResponse::parse(&pdu.header),
            Pairs::parse(&pdu.data).unwrap(),
        )
    }

    /// The status a login request is answered with.
    fn login_status(&mut self, request: LoginRequest, keys: &[u8]) -> LoginStatus {
        self.send(request.header(), keys);
        LoginResponse::parse(&self.receive_one().header).status
    }

    fn reject_reason(&mut self) -> RejectReason {
        let pdu = self.receive_one();
        assert_eq!(pdu.header.opcode(), opcode::REJECT);
        assert_eq!(pdu.data.len(), 48);
        Reject::parse(&pdu.header).reason
    }

    fn command_event(&mut self) -> Command {
        match self.connection.poll_event() {
            Some(Event::Command(command)) => command,
            other => panic!("{other:?}"),
        }
    }
}

fn text(keys: &[(&str, &str)]) -> Vec<u8> {
    keys.iter()
        .flat_map(|(key, value)| format!("{key}={value}\0").into_bytes())
        .collect()
}

fn names() -> Vec<u8> {
    text(&[("InitiatorName", "iqn.a.b:c"), ("TargetName", TARGET)])
}

fn command(cmd_sn: u32, write: bool, length: u32) -> ScsiCommand {
    ScsiCommand {
        immediate: false,
        is_final: true,
        read: !write && length > 0,
        write,
        attribute: 1,
        lun: Lun::ZERO,
        initiator_task_tag: cmd_sn,
        expected_data_transfer_length: length,
        cmd_sn,
        exp_stat_sn: 2,
        cdb: [0; 16],
    }
}

fn data_out(tag: u32, transfer_tag: u32, data_sn: u32, offset: u32, is_final: bool) -> DataOut {
    DataOut {
        is_final,
        lun: Lun::ZERO,
        initiator_task_tag: tag,
        target_transfer_tag: transfer_tag,
        exp_stat_sn: 0,
        data_sn,
        buffer_offset: offset,
    }
}

#[test]
fn commands_outside_of_the_window_are_ignored_and_gaps_end_the_session() {
    let config = Config {
        queue_depth: 4,
        ..Config::default()
    };
    let mut peer = Peer::logged_in(config, &[]);
    for cmd_sn in [0, 5, 6, 100, u32::MAX] {
        peer.send(command(cmd_sn, false, 0).header(), &[]);
    }
    assert_eq!(peer.connection.poll_event(), None);
    peer.send(command(1, false, 0).header(), &[]);
    let first = peer.command_event();
    peer.connection.respond(first.task, Response::good(0));
    let response = ScsiResponse::parse(&peer.receive_one().header);
    assert_eq!(
        (response.numbers.exp_cmd_sn, response.numbers.max_cmd_sn),
        (2, 5)
    );
    peer.send(command(3, false, 0).header(), &[]);
    assert!(matches!(
        peer.connection.poll_event(),
        Some(Event::Closed(Closed::Protocol(_)))
    ));
}

#[test]
fn immediate_commands_go_beside_the_window_up_to_a_limit() {
    let config = Config {
        queue_depth: 1,
        immediate_max: 2,
        ..Config::default()
    };
    let mut peer = Peer::logged_in(config, &[]);
    peer.send(command(1, false, 0).header(), &[]);
    for tag in [10, 11] {
        let immediate = ScsiCommand {
            immediate: true,
            initiator_task_tag: tag,
            ..command(2, false, 0)
        };
        peer.send(immediate.header(), &[]);
    }
    for _ in 0..3 {
        peer.command_event();
    }
    let immediate = ScsiCommand {
        immediate: true,
        initiator_task_tag: 12,
        ..command(2, false, 0)
    };
    peer.send(immediate.header(), &[]);
    assert_eq!(peer.reject_reason(), RejectReason::IMMEDIATE_COMMAND_REJECT);
}

#[test]
fn a_tag_in_use_is_not_taken_twice() {
    let mut peer = Peer::logged_in(Config::default(), &[]);
    peer.send(command(1, false, 0).header(), &[]);
    peer.command_event();
    let again = ScsiCommand {
        initiator_task_tag: 1,
        ..command(2, false, 0)
    };
    peer.send(again.header(), &[]);
    assert_eq!(peer.reject_reason(), RejectReason::TASK_IN_PROGRESS);
    let reserved = ScsiCommand {
        initiator_task_tag: NO_TAG,
        ..command(3, false, 0)
    };
    peer.send(reserved.header(), &[]);
    assert_eq!(peer.reject_reason(), RejectReason::INVALID_PDU_FIELD);
    // A refused command has used up its number all the same.
    peer.send(command(4, false, 0).header(), &[]);
    peer.command_event();
}

#[test]
fn what_is_not_supported_is_rejected_with_its_header() {
    let mut peer = Peer::logged_in(Config::default(), &[]);
    for (code, reason) in [
        (opcode::SNACK, RejectReason::SNACK_REJECT),
        (0x47, RejectReason::COMMAND_NOT_SUPPORTED),
        (0x4f, RejectReason::COMMAND_NOT_SUPPORTED),
        (0x43, RejectReason::PROTOCOL_ERROR),
    ] {
        peer.send(Header::new(code), &[]);
        let pdu = peer.receive_one();
        assert_eq!(Reject::parse(&pdu.header).reason, reason, "{code:#x}");
        assert_eq!(pdu.data[0], code);
    }
    peer.send(Header::new(opcode::SCSI_RESPONSE), &[]);
    assert!(peer.connection.is_closed());
}

#[test]
fn pings_come_back_with_their_data() {
    let keys = [("MaxRecvDataSegmentLength", "512")];
    let mut peer = Peer::logged_in(Config::default(), &keys);
    let nop = NopOut {
        immediate: false,
        lun: Lun::ZERO,
        initiator_task_tag: 9,
        target_transfer_tag: NO_TAG,
        cmd_sn: 1,
        exp_stat_sn: 2,
    };
    peer.send(nop.header(), &[5; 600]);
    let pdu = peer.receive_one();
    let answer = NopIn::parse(&pdu.header);
    assert_eq!(
        (answer.initiator_task_tag, answer.target_transfer_tag),
        (9, NO_TAG)
    );
    assert_eq!(answer.numbers.exp_cmd_sn, 2);
    assert_eq!(*pdu.data, [5; 512]); // no more than the initiator takes
    let silent = NopOut {
        immediate: true,
        initiator_task_tag: NO_TAG,
        ..nop
    };
    peer.send(silent.header(), &[]);
    assert!(peer.receive().is_empty());
}

#[test]
fn data_in_keeps_to_segments_and_bursts() {
    let keys = [
        ("MaxRecvDataSegmentLength", "1000"),
        ("MaxBurstLength", "2500"),
    ];
    let mut peer = Peer::logged_in(Config::default(), &keys);
    peer.send(command(1, false, 6000).header(), &[]);
    let task = peer.command_event().task;
    peer.connection.send_data(task, &[1; 700]);
    peer.connection.respond(
        task,
        Response {
            moved: 6000,
            ..Response::data(vec![2; 5300])
        },
    );
    let pdus = peer.receive();
    let expected = [
        // offset, length, F, S
        (0, 700, true, false),
        (700, 1000, false, false),
        (1700, 1000, false, false),
        (2700, 500, true, false),
        (3200, 1000, false, false),
        (4200, 1000, false, false),
        (5200, 500, true, false),
        (5700, 300, true, true),
    ];
    assert_eq!(pdus.len(), expected.len());
    for (data_sn, (pdu, (offset, length, is_final, status))) in
        pdus.iter().zip(expected).enumerate()
    {
        let data_in = DataIn::parse(&pdu.header);
        assert_eq!(data_in.data_sn as usize, data_sn);
        assert_eq!((data_in.buffer_offset, pdu.data.len()), (offset, length));
        assert_eq!(
            (data_in.is_final, data_in.status.is_some()),
            (is_final, status)
        );
    }
    assert_eq!(DataIn::parse(&pdus[7].header).numbers.max_cmd_sn, 65);
}

#[test]
fn data_is_asked_for_in_bursts_within_the_limit_of_open_requests() {
    let keys = [
        ("MaxBurstLength", "1024"),
        ("MaxOutstandingR2T", "2"),
        ("ImmediateData", "No"),
    ];
    let mut peer = Peer::logged_in(Config::default(), &keys);
    peer.send(command(1, true, 4000).header(), &[]);
    let task = peer.command_event().task;
    peer.connection.receive(task, 3000);
    let mut requests: VecDeque<R2t> = peer
        .receive()
        .iter()
        .map(|pdu| R2t::parse(&pdu.header))
        .collect();
    assert_eq!(requests.len(), 2);
    let mut asked = Vec::new();
    while let Some(r2t) = requests.pop_front() {
        let (offset, length) = (r2t.buffer_offset, r2t.desired_data_transfer_length);
        asked.push((r2t.r2t_sn, offset, length));
        let tag = r2t.target_transfer_tag;
        peer.send(data_out(1, tag, 0, offset, false).header(), &[7; 100]);
        let rest = data_out(1, tag, 1, offset + 100, true);
        peer.send(rest.header(), &vec![7; length as usize - 100]);
        requests.extend(peer.receive().iter().map(|pdu| R2t::parse(&pdu.header)));
    }
    assert_eq!(asked, [(0, 0, 1024), (1, 1024, 1024), (2, 2048, 952)]);
    assert_eq!(
        peer.connection.poll_event(),
        Some(Event::DataOut {
            task,
            data: vec![7; 3000]
        })
    );
}

#[test]
fn wrong_data_fails_its_command_only() {
    let keys = [("ImmediateData", "No"), ("InitialR2T", "Yes")];
    for (case, out) in [
        ("wrong number", data_out(1, 1, 1, 0, true)),
        ("wrong offset", data_out(1, 1, 0, 4, true)),
        ("too short", data_out(1, 1, 0, 0, true)),
        ("wrong transfer tag", data_out(1, 99, 0, 0, true)),
        ("too long", data_out(1, 1, 0, 0, false)),
    ] {
        let mut peer = Peer::logged_in(Config::default(), &keys);
        peer.send(command(1, true, 512).header(), &[]);
        let task = peer.command_event().task;
        peer.connection.receive(task, 512);
        assert_eq!(
            R2t::parse(&peer.receive_one().header).target_transfer_tag,
            1
        );
        let length = match case {
            "too short" => 100,
            "too long" => 600,
            _ => 512,
        };
        peer.send(out.header(), &vec![1; length]);
        let pdu = peer.receive_one();
        assert_eq!(
            ScsiResponse::parse(&pdu.header).status,
            Status::CHECK_CONDITION,
            "{case}"
        );
        assert_eq!(Sense::parse(&pdu.data[2..]).unwrap().asc, 0x0c);
        assert_eq!(peer.connection.poll_event(), Some(Event::Aborted(task)));
        assert_eq!(peer.connection.in_flight(), 0);
        // The rest of the data is dropped; a late answer of the service as well.
        peer.send(data_out(1, 1, 1, 512, true).header(), &[]);
        peer.connection.respond(task, Response::good(512));
        assert!(peer.receive().is_empty());
        assert!(!peer.connection.is_closed());
    }
}

#[test]
fn data_nobody_asked_for_is_rejected() {
    let mut peer = Peer::logged_in(Config::default(), &[("InitialR2T", "Yes")]);
    peer.send(command(1, true, 512).header(), &[]);
    peer.command_event();
    peer.send(data_out(1, NO_TAG, 0, 0, true).header(), &[0; 512]);
    assert_eq!(peer.reject_reason(), RejectReason::PROTOCOL_ERROR);
    // More immediate data than was agreed.
    let mut peer = Peer::logged_in(Config::default(), &[("ImmediateData", "No")]);
    peer.send(command(1, true, 512).header(), &[0; 512]);
    assert!(peer.connection.is_closed());
}

fn management(
    function: TaskManagementFunction,
    referenced: u32,
    cmd_sn: u32,
) -> TaskManagementRequest {
    TaskManagementRequest {
        immediate: true,
        function,
        lun: Lun::ZERO,
        initiator_task_tag: 100,
        referenced_task_tag: referenced,
        cmd_sn,
        exp_stat_sn: 2,
        ref_cmd_sn: referenced,
        exp_data_sn: 0,
    }
}

#[test]
fn task_management_answers_when_the_commands_are_over() {
    let mut peer = Peer::logged_in(Config::default(), &[("ImmediateData", "No")]);
    let other_lun = Lun::new(3).unwrap();
    peer.send(command(1, false, 0).header(), &[]);
    peer.send(command(2, true, 512).header(), &[]);
    peer.send(
        ScsiCommand {
            lun: other_lun,
            ..command(3, false, 0)
        }
        .header(),
        &[],
    );
    let tasks: Vec<_> = (0..3).map(|_| peer.command_event().task).collect();
    peer.connection.receive(tasks[1], 512);
    assert_eq!(peer.receive_one().header.opcode(), opcode::R2T);
    let reset = management(TaskManagementFunction::LOGICAL_UNIT_RESET, NO_TAG, 4);
    peer.send(reset.header(), &[]);
    assert_eq!(peer.connection.poll_event(), Some(Event::Aborted(tasks[0])));
    assert_eq!(peer.connection.poll_event(), Some(Event::Aborted(tasks[1])));
    let Some(Event::TaskManagement(request)) = peer.connection.poll_event() else {
        panic!()
    };
    assert_eq!(request.function, TaskManagementFunction::LOGICAL_UNIT_RESET);
    peer.connection
        .task_management_done(request.task, TaskManagementOutcome::COMPLETE);
    // The first command is still being carried out; the second waited for data and is gone.
    assert!(peer.receive().is_empty());
    peer.connection.respond(tasks[0], Response::good(0));
    let response = TaskManagementResponse::parse(&peer.receive_one().header);
    assert_eq!(response.outcome, TaskManagementOutcome::COMPLETE);
    assert_eq!(response.initiator_task_tag, 100);
    peer.connection.respond(tasks[2], Response::good(0));
    let response = ScsiResponse::parse(&peer.receive_one().header);
    assert_eq!(response.initiator_task_tag, 3);
}

#[test]
fn task_management_functions_have_their_answers() {
    type Function = TaskManagementFunction;
    type Outcome = TaskManagementOutcome;
    for (function, outcome) in [
        (Function::ABORT_TASK, Outcome::TASK_DOES_NOT_EXIST),
        (Function::ABORT_TASK_SET, Outcome::COMPLETE),
        (Function::CLEAR_ACA, Outcome::NOT_SUPPORTED),
        (Function::TASK_REASSIGN, Outcome::REASSIGNMENT_NOT_SUPPORTED),
        (TaskManagementFunction(77), Outcome::REJECTED),
    ] {
        let mut peer = Peer::logged_in(Config::default(), &[]);
        peer.send(management(function, 50, 1).header(), &[]);
        let response = TaskManagementResponse::parse(&peer.receive_one().header);
        assert_eq!(response.outcome, outcome, "{function:?}");
    }
}

#[test]
fn an_aborted_command_waiting_for_unsolicited_data_was_never_there() {
    let mut peer = Peer::logged_in(Config::default(), &[("InitialR2T", "No")]);
    peer.send(
        ScsiCommand {
            is_final: false,
            ..command(1, true, 512)
        }
        .header(),
        &[],
    );
    peer.send(
        management(TaskManagementFunction::ABORT_TASK, 1, 2).header(),
        &[],
    );
    let response = TaskManagementResponse::parse(&peer.receive_one().header);
    assert_eq!(response.outcome, TaskManagementOutcome::COMPLETE);
    peer.send(data_out(1, NO_TAG, 0, 0, true).header(), &[0; 512]);
    assert_eq!(peer.connection.poll_event(), None);
    assert!(peer.receive().is_empty());
}

#[test]
fn a_discovery_session_has_no_commands() {
    let mut peer = Peer::plain();
    let keys = [("InitiatorName", "iqn.a.b:c"), ("SessionType", "Discovery")];
    let (response, keys) = peer.login(OPERATIONAL, Some(FULL), &keys);
    assert!(response.transit && keys.get("TargetPortalGroupTag").is_none());
    peer.send(command(1, false, 0).header(), &[]);
    assert_eq!(peer.reject_reason(), RejectReason::PROTOCOL_ERROR);
}

#[test]
fn text_requests_are_checked() {
    let request = TextRequest {
        immediate: true,
        is_final: true,
        is_continued: false,
        lun: Lun::ZERO,
        initiator_task_tag: 5,
        target_transfer_tag: NO_TAG,
        cmd_sn: 1,
        exp_stat_sn: 2,
    };
    let mut peer = Peer::logged_in(Config::default(), &[]);
    for (keys, answer) in [
        // In a session with a target the target itself, which this directory does not list.
        (&b"SendTargets=All\0"[..], &b""[..]),
        (b"SendTargets=iqn.2000-01.com.example:other\0", b""),
        (b"MaxRecvDataSegmentLength=1024\0", b""),
        (b"MaxBurstLength=1024\0", b"MaxBurstLength=Reject\0"),
        (b"X-a=1\0", b"X-a=NotUnderstood\0"),
    ] {
        peer.send(request.header(), keys);
        let pdu = peer.receive_one();
        assert!(TextResponse::parse(&pdu.header).is_final);
        assert_eq!(pdu.data, answer);
    }
    assert_eq!(
        peer.connection.parameters.max_send_data_segment_length,
        1024
    );
    for (request, keys, reason) in [
        (request, &b"nonsense"[..], RejectReason::PROTOCOL_ERROR),
        (request, b"A=1\0A=1\0", RejectReason::PROTOCOL_ERROR),
        (request, b"sENDtARGETS=aLL\0", RejectReason::PROTOCOL_ERROR),
        (
            request,
            b"SendTargets=Alle\0",
            RejectReason::INVALID_PDU_FIELD,
        ),
        (
            TextRequest {
                target_transfer_tag: 77,
                ..request
            },
            b"",
            RejectReason::INVALID_PDU_FIELD,
        ),
        (
            TextRequest {
                initiator_task_tag: NO_TAG,
                ..request
            },
            b"",
            RejectReason::INVALID_PDU_FIELD,
        ),
    ] {
        peer.send(request.header(), keys);
        assert_eq!(peer.reject_reason(), reason);
    }
}

#[test]
fn logout_says_what_it_does() {
    for (reason, response, closed) in [(0, 0, true), (1, 0, true), (2, 2, false)] {
        let mut peer = Peer::logged_in(Config::default(), &[]);
        let request = LogoutRequest {
            immediate: true,
            reason,
            initiator_task_tag: 8,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 2,
        };
        peer.send(request.header(), &[]);
        let pdu = peer.receive_one();
        assert_eq!(pdu.header.opcode(), opcode::LOGOUT_RESPONSE);
        assert_eq!(pdu.header.0[2], response);
        assert_eq!(peer.connection.is_closed(), closed);
    }
}

#[test]
fn damaged_data_is_rejected_and_ends_the_connection() {
    let keys = [("DataDigest", "CRC32C")];
    let mut peer = Peer::logged_in(Config::default(), &keys);
    let mut stream = Vec::new();
    let digests = Digests {
        header: false,
        data: true,
    };
    frame::write(
        &mut stream,
        digests,
        command(1, true, 512).header(),
        &[0; 512],
    );
    stream[100] ^= 1;
    peer.connection.handle_input(Duration::ZERO, &stream);
    peer.decoder.set_digests(digests);
    assert_eq!(peer.reject_reason(), RejectReason::DATA_DIGEST_ERROR);
    assert_eq!(
        peer.connection.poll_event(),
        Some(Event::Closed(Closed::Digest))
    );
}

/// Well-formed frames with random contents: every request in every state, in every order.
#[test]
fn any_sequence_of_requests_is_survived() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let config = Config {
            queue_depth: 8,
            data_out_max: 4096,
            ..Config::default()
        };
        let mut peer = Peer::logged_in(config, &[("MaxBurstLength", "1024")]);
        let mut cmd_sn = 1;
        let mut open = Vec::new();
        for _ in 0..200 {
            let mut header = Header(random.bytes(48).try_into().unwrap());
            let code = [0x00, 0x01, 0x01, 0x01, 0x02, 0x04, 0x05, 0x05, 0x10][random.below(9)];
            header.0[0] = code | [0, 0x40][random.below(2)];
            header.0[4..8].fill(0);
            // Small numbers, so that they meet.
            for at in [16, 20, 36, 40] {
                header.0[at..at + 3].fill(0);
                header.0[at + 3] = random.below(6) as u8;
            }
            header.0[24..28].copy_from_slice(&u32::to_be_bytes(cmd_sn));
            let length = [0, 0, 4, 512, 3000][random.below(5)];
            if !header.is_immediate() && code < 0x05 {
                cmd_sn = peer.connection.exp_cmd_sn + 1;
                header.0[24..28].copy_from_slice(&peer.connection.exp_cmd_sn.to_be_bytes());
            }
            peer.send(header, &vec![b'a'; length]);
            while let Some(event) = peer.connection.poll_event() {
                match event {
                    Event::Command(command) => open.push(command.task),
                    Event::TaskManagement(management) => {
                        let done = TaskManagementOutcome::COMPLETE;
                        peer.connection.task_management_done(management.task, done);
                    }
                    _ => {}
                }
            }
            if !open.is_empty() && random.below(3) == 0 {
                let task = open[random.below(open.len())];
                match random.below(3) {
                    0 => peer.connection.receive(task, random.below(5000) as u64),
                    1 => peer
                        .connection
                        .send_data(task, &vec![1; random.below(5000)]),
                    _ => peer
                        .connection
                        .respond(task, Response::data(vec![1; random.below(5000)])),
                }
            }
            let _ = peer.receive();
            assert!(peer.connection.in_flight() <= 8 + 16);
        }
    }
}
