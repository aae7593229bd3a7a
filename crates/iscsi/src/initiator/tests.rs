//! The initiator against hand-made answers: what our own target never sends.

mod login;

use super::*;
use crate::chap::{self, Secret};
use crate::pair::{chap, initiator_config};
use crate::pdu::{
    DataIn, LoginRequest, LoginResponse, R2t, RejectReason, ScsiCommand, ScsiResponse, Stage,
    TaskManagementRequest, TextResponse,
};
use crate::text::Pairs;
use crate::{Algorithm, Authentication, LoginStatus, Lun, Residual, Sense, Status};

const SECURITY: Stage = Stage::SECURITY;
const OPERATIONAL: Stage = Stage::OPERATIONAL;
const FULL: Stage = Stage::FULL_FEATURE;

/// A target that answers what the test says.
struct Peer {
    initiator: Initiator,
    decoder: Decoder,
    now: Duration,
    stat_sn: u32,
    max_cmd_sn: u32,
}

impl Peer {
    fn new(config: Config) -> Self {
        let now = Duration::from_secs(100);
        Self {
            initiator: Initiator::new(config, now).unwrap(),
            decoder: Decoder::new(1 << 24),
            now,
            stat_sn: 0xffff_fffe, // wraps on the way
            max_cmd_sn: 10,
        }
    }

    /// In full feature phase, with what the target answers to the parameters.
    fn logged_in(config: Config, keys: &[(&str, &str)]) -> Self {
        let mut peer = Self::new(config);
        peer.receive_one();
        peer.answer_login(OPERATIONAL, Some(FULL), keys);
        assert!(matches!(peer.event(), Some(Event::LoggedIn(_))));
        peer
    }

    fn event(&mut self) -> Option<Event> {
        self.initiator.poll_event()
    }

    fn receive(&mut self) -> Vec<Pdu<'static>> {
        let output = self.initiator.poll_output().unwrap_or_default();
        self.decoder.pdus(&output)
    }

    fn receive_one(&mut self) -> Pdu<'static> {
        let mut pdus = self.receive();
        assert_eq!(pdus.len(), 1, "{pdus:?}");
        pdus.remove(0)
    }

    fn send(&mut self, header: Header, data: &[u8]) {
        let mut stream = Vec::new();
        frame::write(&mut stream, Digests::default(), header, data);
        self.initiator.handle_input(self.now, &stream);
    }

    fn numbers(&self) -> Numbers {
        Numbers {
            stat_sn: self.stat_sn,
            exp_cmd_sn: 1,
            max_cmd_sn: self.max_cmd_sn,
        }
    }

    fn take_numbers(&mut self) -> Numbers {
        let numbers = self.numbers();
        self.stat_sn = self.stat_sn.wrapping_add(1);
        numbers
    }

    fn login_response(&mut self, stage: Stage, next: Option<Stage>) -> LoginResponse {
        LoginResponse {
            transit: next.is_some(),
            is_continued: false,
            current_stage: stage,
            next_stage: next.unwrap_or(stage),
            version_max: 0,
            version_active: 0,
            isid: initiator_config().isid,
            tsih: 3,
            initiator_task_tag: 1,
            numbers: self.take_numbers(),
            status: LoginStatus::SUCCESS,
        }
    }

    fn answer_login(&mut self, stage: Stage, next: Option<Stage>, keys: &[(&str, &str)]) {
        let response = self.login_response(stage, next);
        self.send(response.header(), &text(keys));
    }

    fn failure(&mut self) -> Error {
        match self.event() {
            Some(Event::Closed(Closed::Failed(error))) => error,
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, length: u32) -> TaskId {
        self.submit(Transfer::Read(length))
    }

    fn submit(&mut self, transfer: Transfer) -> TaskId {
        let command = Command {
            lun: Lun::ZERO,
            cdb: [0; 16],
            transfer,
            timeout: None,
        };
        self.initiator.submit(self.now, command).unwrap()
    }

    fn data_in(&mut self, tag: u32, data_sn: u32, offset: u32) -> DataIn {
        DataIn {
            is_final: true,
            acknowledge: false,
            status: None,
            lun: Lun::ZERO,
            initiator_task_tag: tag,
            target_transfer_tag: NO_TAG,
            numbers: self.numbers(),
            data_sn,
            buffer_offset: offset,
        }
    }

    fn scsi_response(&mut self, tag: u32, status: Status, residual: Residual) -> ScsiResponse {
        ScsiResponse {
            response: 0,
            status,
            residual,
            initiator_task_tag: tag,
            numbers: self.take_numbers(),
            exp_data_sn: 0,
        }
    }
}

fn text(keys: &[(&str, &str)]) -> Vec<u8> {
    keys.iter()
        .flat_map(|(key, value)| format!("{key}={value}\0").into_bytes())
        .collect()
}

fn chap_config(mutual: bool) -> Config {
    let mut config = initiator_config();
    config.credentials = Some(chap("user", "password"));
    config.reverse = mutual.then(|| chap("target", "secret"));
    config
}

#[test]
fn pings_are_answered() {
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    let ping = NopIn {
        lun: Lun::new(2).unwrap(),
        initiator_task_tag: NO_TAG,
        target_transfer_tag: 0x55,
        numbers: peer.numbers(),
    };
    peer.send(ping.header(), b"data");
    let pdu = peer.receive_one();
    let answer = NopOut::parse(&pdu.header);
    assert!(answer.immediate && pdu.data.is_empty());
    assert_eq!(
        (answer.initiator_task_tag, answer.target_transfer_tag),
        (NO_TAG, 0x55)
    );
    assert_eq!(answer.lun, ping.lun);
    // One that wants no answer gets none.
    peer.send(
        NopIn {
            target_transfer_tag: NO_TAG,
            ..ping
        }
        .header(),
        &[],
    );
    assert!(peer.receive().is_empty());
}

#[test]
fn asynchronous_messages_are_reported() {
    let message = |peer: &mut Peer, event| AsyncMessage {
        lun: Lun::ZERO,
        numbers: peer.take_numbers(),
        event,
        vendor_code: 0,
        parameters: [0, 0, 7],
    };
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    let sense = Sense::CAPACITY_CHANGED;
    let data = [&[0, 18][..], &sense.to_fixed()].concat();
    let header = message(&mut peer, AsyncEvent::SCSI).header();
    peer.send(header, &data);
    assert_eq!(
        peer.event(),
        Some(Event::AsyncSense {
            lun: Lun::ZERO,
            sense
        })
    );
    let header = message(&mut peer, AsyncEvent::REQUEST_LOGOUT).header();
    peer.send(header, &[]);
    assert_eq!(
        peer.event(),
        Some(Event::LogoutRequested(Duration::from_secs(7)))
    );
    let task = peer.read(512);
    let header = message(&mut peer, AsyncEvent::DROP_SESSION).header();
    peer.send(header, &[]);
    let result = Err(TaskError::SessionClosed);
    assert_eq!(peer.event(), Some(Event::Completed { task, result }));
    assert_eq!(peer.failure(), Error::DroppedByTarget);
}

#[test]
fn a_rejected_command_is_over() {
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    let task = peer.read(512);
    let sent = peer.receive_one();
    let reason = RejectReason::COMMAND_NOT_SUPPORTED;
    let reject = Reject {
        reason,
        numbers: peer.take_numbers(),
        data_sn: 0,
    };
    peer.send(reject.header(), &sent.header.0);
    let result = Err(TaskError::Rejected(reason));
    assert_eq!(peer.event(), Some(Event::Completed { task, result }));
    let reject = Reject {
        reason,
        numbers: peer.take_numbers(),
        data_sn: 0,
    };
    peer.send(reject.header(), &[0; 48]);
    assert_eq!(peer.event(), Some(Event::Rejected(reason)));
}

#[test]
fn reads_are_put_together_and_checked() {
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    let task = peer.read(1000);
    let tag = ScsiCommand::parse(&peer.receive_one().header).initiator_task_tag;
    let first = peer.data_in(tag, 0, 0);
    peer.send(first.header(), &[1; 400]);
    let numbers = peer.take_numbers();
    let status = Some((Status::GOOD, Residual::Underflow(100)));
    let last = DataIn {
        status,
        numbers,
        ..peer.data_in(tag, 1, 400)
    };
    peer.send(last.header(), &[2; 500]);
    let Some(Event::Completed {
        task: done,
        result: Ok(completion),
    }) = peer.event()
    else {
        panic!()
    };
    assert_eq!(done, task);
    assert_eq!(completion.data, [vec![1; 400], vec![2; 500]].concat());
    assert_eq!(completion.residual, Residual::Underflow(100));
}

#[test]
fn data_that_cannot_be_right_ends_the_session() {
    type Spoil = fn(&mut DataIn, &mut usize);
    let spoil: [Spoil; 5] = [
        |data_in, _| data_in.data_sn = 1,
        |data_in, _| data_in.buffer_offset = 4,
        |data_in, _| data_in.buffer_offset = u32::MAX,
        |_, length| *length = 1001,
        |data_in, _| data_in.initiator_task_tag = 999,
    ];
    for spoil in spoil {
        let mut peer = Peer::logged_in(initiator_config(), &[]);
        let task = peer.read(1000);
        let tag = ScsiCommand::parse(&peer.receive_one().header).initiator_task_tag;
        let mut data_in = peer.data_in(tag, 0, 0);
        let mut length = 1000;
        spoil(&mut data_in, &mut length);
        peer.send(data_in.header(), &vec![0; length]);
        let result = Err(TaskError::SessionClosed);
        assert_eq!(peer.event(), Some(Event::Completed { task, result }));
        assert!(matches!(peer.failure(), Error::Protocol(_)));
    }
    // A good status, and half of the data missing.
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    let task = peer.read(1000);
    let tag = ScsiCommand::parse(&peer.receive_one().header).initiator_task_tag;
    let response = peer.scsi_response(tag, Status::GOOD, Residual::Underflow(10));
    peer.send(response.header(), &[]);
    let result = Err(TaskError::SessionClosed);
    assert_eq!(peer.event(), Some(Event::Completed { task, result }));
    assert!(matches!(peer.failure(), Error::Protocol(_)));
}

#[test]
fn gaps_in_status_numbers_are_lived_with() {
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    for step in [0, 1, 5] {
        peer.read(0);
        let sent = ScsiCommand::parse(&peer.receive_one().header);
        peer.stat_sn = peer.stat_sn.wrapping_add(step);
        let response = peer.scsi_response(sent.initiator_task_tag, Status::GOOD, Residual::None);
        peer.send(response.header(), &[]);
        assert!(matches!(
            peer.event(),
            Some(Event::Completed { result: Ok(_), .. })
        ));
    }
    peer.read(0);
    assert_eq!(
        ScsiCommand::parse(&peer.receive_one().header).exp_stat_sn,
        peer.stat_sn
    );
}

#[test]
fn sense_data_comes_with_check_condition() {
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    peer.read(512);
    let tag = ScsiCommand::parse(&peer.receive_one().header).initiator_task_tag;
    let data = [&[0, 18][..], &Sense::WRITE_PROTECTED.to_fixed()].concat();
    let response = peer.scsi_response(tag, Status::CHECK_CONDITION, Residual::Underflow(512));
    peer.send(response.header(), &data);
    let Some(Event::Completed {
        result: Ok(completion),
        ..
    }) = peer.event()
    else {
        panic!()
    };
    assert_eq!(completion.sense, Some(Sense::WRITE_PROTECTED));
    // A target that failed has no SCSI status.
    let task = peer.read(512);
    let tag = ScsiCommand::parse(&peer.receive_one().header).initiator_task_tag;
    let response = peer.scsi_response(tag, Status::GOOD, Residual::None);
    peer.send(
        ScsiResponse {
            response: 1,
            ..response
        }
        .header(),
        &[],
    );
    let result = Err(TaskError::TargetFailure(1));
    assert_eq!(peer.event(), Some(Event::Completed { task, result }));
}

#[test]
fn writes_go_as_agreed() {
    let keys = [
        ("MaxRecvDataSegmentLength", "1000"),
        ("FirstBurstLength", "2500"),
        ("MaxBurstLength", "4096"),
        ("InitialR2T", "No"),
        ("ImmediateData", "Yes"),
    ];
    let mut peer = Peer::logged_in(initiator_config(), &keys);
    let data: Vec<u8> = (0..10_000).map(|at| (at / 13) as u8).collect();
    peer.submit(Transfer::Write(data.clone()));
    let pdus = peer.receive();
    let lengths: Vec<_> = pdus.iter().map(|pdu| pdu.data.len()).collect();
    assert_eq!(lengths, [1000, 1000, 500]);
    let command = ScsiCommand::parse(&pdus[0].header);
    assert!(!command.is_final && command.write && !command.read);
    assert_eq!(command.expected_data_transfer_length, 10_000);
    let out = crate::pdu::DataOut::parse(&pdus[2].header);
    assert!(out.is_final);
    assert_eq!(
        (out.target_transfer_tag, out.data_sn, out.buffer_offset),
        (NO_TAG, 1, 2000)
    );
    let r2t = R2t {
        lun: Lun::ZERO,
        initiator_task_tag: command.initiator_task_tag,
        target_transfer_tag: 0x77,
        numbers: peer.numbers(),
        r2t_sn: 0,
        buffer_offset: 2500,
        desired_data_transfer_length: 2100,
    };
    peer.send(r2t.header(), &[]);
    let sent: Vec<u8> = peer
        .receive()
        .into_iter()
        .flat_map(|pdu| pdu.data.into_owned())
        .collect();
    assert!(sent == data[2500..4600]);
    // Beyond the data, more than a burst, out of turn: not the target's to ask.
    for wrong in [
        R2t {
            buffer_offset: 9000,
            r2t_sn: 1,
            ..r2t
        },
        R2t {
            desired_data_transfer_length: 5000,
            r2t_sn: 1,
            ..r2t
        },
        R2t {
            desired_data_transfer_length: 0,
            r2t_sn: 1,
            ..r2t
        },
        R2t { r2t_sn: 2, ..r2t },
    ] {
        let mut peer = Peer::logged_in(initiator_config(), &keys);
        peer.submit(Transfer::Write(data.clone()));
        peer.receive();
        peer.send(
            R2t {
                r2t_sn: wrong.r2t_sn - 1,
                ..wrong
            }
            .header(),
            &[],
        );
        assert!(matches!(peer.event(), Some(Event::Completed { .. })));
        assert!(matches!(peer.failure(), Error::Protocol(_)), "{wrong:?}");
    }
}

#[test]
fn the_window_opens_and_never_shrinks() {
    let mut peer = Peer::new(initiator_config());
    peer.max_cmd_sn = 2;
    peer.receive_one();
    peer.answer_login(OPERATIONAL, Some(FULL), &[]);
    for _ in 0..6 {
        peer.read(0);
    }
    let sent: Vec<_> = peer
        .receive()
        .iter()
        .map(|pdu| ScsiCommand::parse(&pdu.header).cmd_sn)
        .collect();
    assert_eq!(sent, [1, 2]);
    let nop = |max_cmd_sn, exp_cmd_sn| NopIn {
        lun: Lun::ZERO,
        initiator_task_tag: NO_TAG,
        target_transfer_tag: NO_TAG,
        numbers: Numbers {
            stat_sn: 0,
            exp_cmd_sn,
            max_cmd_sn,
        },
    };
    peer.send(nop(1, 1).header(), &[]);
    peer.send(nop(5, 9).header(), &[]); // contradicts itself
    assert!(peer.receive().is_empty());
    peer.send(nop(4, 2).header(), &[]);
    assert_eq!(peer.receive().len(), 2);
    peer.send(nop(3, 2).header(), &[]);
    assert!(peer.receive().is_empty());
    assert_eq!(peer.initiator.in_flight(), 6);
}

#[test]
fn aborts_name_their_command() {
    let mut peer = Peer::logged_in(initiator_config(), &[]);
    let task = peer.read(512);
    let sent = ScsiCommand::parse(&peer.receive_one().header);
    peer.initiator.abort(peer.now, task);
    peer.initiator.abort(peer.now, task);
    let request = TaskManagementRequest::parse(&peer.receive_one().header);
    assert_eq!(request.referenced_task_tag, sent.initiator_task_tag);
    assert_eq!(request.ref_cmd_sn, sent.cmd_sn);
    // What still comes of the command is dropped.
    let data_in = peer.data_in(sent.initiator_task_tag, 0, 0);
    peer.send(data_in.header(), &[0; 512]);
    let result = Err(TaskError::Aborted);
    assert_eq!(peer.event(), Some(Event::Completed { task, result }));
    assert_eq!(peer.event(), None);
}

#[test]
fn a_list_of_targets_that_never_ends_is_ended() {
    let mut config = initiator_config();
    config.session = SessionType::Discovery;
    let mut peer = Peer::logged_in(config, &[]);
    peer.initiator.send_targets(peer.now).unwrap();
    assert!(peer.initiator.send_targets(peer.now).is_err());
    assert_eq!(*peer.receive_one().data, *b"SendTargets=All\0");
    let piece = vec![b'a'; 8192];
    for _ in 0..100 {
        let response = TextResponse {
            is_final: false,
            is_continued: true,
            lun: Lun::ZERO,
            initiator_task_tag: 2,
            target_transfer_tag: 5,
            numbers: peer.take_numbers(),
        };
        peer.send(response.header(), &piece);
        if peer.initiator.is_closed() {
            assert!(matches!(peer.failure(), Error::Protocol(_)));
            return;
        }
        assert_eq!(peer.receive().len(), 1);
    }
    panic!("it goes on for ever");
}
