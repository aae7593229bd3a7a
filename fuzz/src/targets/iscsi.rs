//! iSCSI: the headers, the texts, and both machines.
//!
//! The first byte of a machine's input chooses its configuration; records follow. Random numbers
//! are fixed, so that recorded sessions with CHAP can be played again.

use std::time::Duration;

use bowline_iscsi::initiator::{self, Initiator, SessionType, Transfer};
use bowline_iscsi::pdu::{self, Header, TaskManagementOutcome, opcode};
use bowline_iscsi::target::{
    self, Admission, Applicant, Connected, Connection, Directory, Listing, Response,
};
use bowline_iscsi::text::{self, Pairs};
use bowline_iscsi::{Authentication, Credentials, Isid, LoginStatus, TargetAddress, chap};
use bowline_scsi::device::{Action, LogicalUnit, Nexus, execute};
use bowline_scsi::{Cdb, Lun};

use crate::records;

pub(super) const WORDS: &[&str] = &[
    "InitiatorName=",
    "TargetName=",
    "AuthMethod=CHAP,None\0",
    "CHAP_A=5,7\0",
    "CHAP_I=1\0",
    "CHAP_C=0x",
    "CHAP_R=0x",
    "CHAP_N=user\0",
    "HeaderDigest=CRC32C,None\0",
    "DataDigest=CRC32C\0",
    "MaxRecvDataSegmentLength=",
    "MaxBurstLength=",
    "SendTargets=All\0",
    "SessionType=Discovery\0",
    "Reject\0",
    "NotUnderstood\0",
];
/// The first byte of an input.
pub(crate) const CHAP: u8 = 1;
pub(crate) const MUTUAL: u8 = 2;
pub(crate) const DIGESTS: u8 = 4;
pub(crate) const DISCOVERY: u8 = 8;
const PINGS: u8 = 16;
/// In a record: time passes first, up to what the machine waits for.
const LATER: u8 = 1;
/// In a record: it comes byte by byte.
const SLOWLY: u8 = 2;

const TARGET: &str = "iqn.2000-01.com.example:disk1";
const BLOCK: u32 = 512;
const BLOCKS: usize = 64;
/// What a machine may want to send for one record.
const OUTPUT_MAX: usize = 16 * 1024 * 1024;

/// Each kind of header comes out as it went in, as far as it has fields.
pub(super) fn pdu(data: &[u8]) {
    let mut bytes = [0; pdu::HEADER_LENGTH];
    for (to, from) in bytes.iter_mut().zip(data) {
        *to = *from;
    }
    let header = Header(bytes);
    let _ = (
        header.additional_length(),
        header.data_segment_length(),
        format!("{header:?}"),
    );
    macro_rules! again {
        ($($opcode:ident $kind:ident)*) => {
            match header.opcode() {
                $(opcode::$opcode => {
                    // Reserved bits are lost the first time, and nothing after that.
                    let value = pdu::$kind::parse(&pdu::$kind::parse(&header).header());
                    assert_eq!(pdu::$kind::parse(&value.header()), value);
                    assert_eq!(value.header().opcode(), opcode::$opcode);
                })*
                _ => {}
            }
        };
    }
    again! {
        NOP_OUT NopOut
        SCSI_COMMAND ScsiCommand
        TASK_MANAGEMENT_REQUEST TaskManagementRequest
        LOGIN_REQUEST LoginRequest
        TEXT_REQUEST TextRequest
        DATA_OUT DataOut
        LOGOUT_REQUEST LogoutRequest
        NOP_IN NopIn
        SCSI_RESPONSE ScsiResponse
        TASK_MANAGEMENT_RESPONSE TaskManagementResponse
        LOGIN_RESPONSE LoginResponse
        TEXT_RESPONSE TextResponse
        DATA_IN DataIn
        LOGOUT_RESPONSE LogoutResponse
        R2T R2t
        ASYNC_MESSAGE AsyncMessage
        REJECT Reject
    }
}

/// Texts are written and read again; so are CHAP's numbers.
pub(super) fn text(data: &[u8]) {
    let pairs = match Pairs::parse(data) {
        Ok(pairs) => pairs,
        Err(error) => return drop(error.to_string()),
    };
    let again = Pairs::parse(&pairs.to_bytes()).expect("what was read can be written");
    assert!(again.iter().eq(pairs.iter()));
    let _ = pairs.repeated();
    for (_, value) in pairs.iter() {
        let _ = (text::number(value), text::boolean(value));
        if let Ok(address) = value.parse::<TargetAddress>() {
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        if let Some(bytes) = chap::decode(value) {
            assert_eq!(chap::decode(&chap::encode(&bytes)), Some(bytes));
        }
    }
}

fn user() -> Credentials {
    Credentials::new("user", "user-secret-12")
}

fn server() -> Credentials {
    Credentials::new("target", "target-secret-12")
}

/// The initiator of a configuration.
pub(crate) fn initiator_machine(how: u8) -> Initiator {
    let isid = Isid::random([1, 2, 3], 0);
    let name = "iqn.2000-01.com.example:host";
    let mut config = initiator::Config::new(name, TARGET, isid, [0x11; chap::ENTROPY_LENGTH]);
    if how & DISCOVERY != 0 {
        config.session = SessionType::Discovery;
    }
    if how & (CHAP | MUTUAL) != 0 {
        config.credentials = Some(user());
    }
    if how & MUTUAL != 0 {
        config.reverse = Some(server());
    }
    config.header_digest = how & DIGESTS != 0;
    config.data_digest = how & DIGESTS != 0;
    config.ping_interval = (how & PINGS != 0).then_some(Duration::from_secs(4));
    Initiator::new(config, Duration::ZERO).expect("the configuration is sound")
}

/// What the initiator does when something happens. Checks what must hold.
pub(crate) fn initiator_step(initiator: &mut Initiator, how: u8, now: Duration) {
    while let Some(event) = initiator.poll_event() {
        match event {
            initiator::Event::LoggedIn(login) => {
                check_proof(login.authentication, how);
                if how & DISCOVERY != 0 {
                    let _ = initiator.send_targets(now);
                } else {
                    submit(initiator, now);
                }
            }
            initiator::Event::Completed {
                result: Ok(completion),
                ..
            } => {
                assert!(completion.data.len() <= 8 * BLOCK as usize);
            }
            initiator::Event::Targets(_) => initiator.logout(now),
            other => drop(format!("{other:?}")),
        }
    }
}

/// Who demands proof gets it, or there is no login.
fn check_proof(authentication: Authentication, how: u8) {
    let wanted: &[Authentication] = match how & (CHAP | MUTUAL) {
        0 => &[Authentication::None],
        CHAP => &[Authentication::OneWay],
        _ => &[Authentication::Mutual],
    };
    assert!(wanted.contains(&authentication), "{authentication}");
}

fn submit(initiator: &mut Initiator, now: Duration) {
    let size = 8 * BLOCK;
    let commands = [
        (Cdb::TestUnitReady, Transfer::None),
        (Cdb::ReadCapacity10, Transfer::Read(8)),
        (Cdb::read(3, 8), Transfer::Read(size)),
        (Cdb::write(5, 8), Transfer::Write(vec![7; size as usize])),
        (Cdb::read(60, 8), Transfer::Read(size)),
        (Cdb::flush(), Transfer::None),
    ];
    for (cdb, transfer) in commands {
        let command = initiator::Command {
            lun: Lun::ZERO,
            cdb: cdb.to_bytes().padded(),
            transfer,
            timeout: None,
        };
        let _ = initiator.submit(now, command);
    }
}

/// What a target says to an initiator.
pub(super) fn initiator(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    let mut initiator = initiator_machine(how);
    let mut now = Duration::ZERO;
    drop(initiator.poll_output());
    for (when, bytes) in records::split(rest) {
        if when & LATER != 0
            && let Some(next) = initiator.poll_timeout()
        {
            now = now.max(next);
            initiator.handle_timeout(now);
        }
        let piece = if when & SLOWLY != 0 {
            1
        } else {
            bytes.len().max(1)
        };
        for bytes in bytes.chunks(piece) {
            initiator.handle_input(now, bytes);
            initiator_step(&mut initiator, how, now);
        }
        assert!(
            initiator
                .poll_output()
                .is_none_or(|output| output.len() < OUTPUT_MAX)
        );
    }
    initiator.handle_close(now);
    initiator_step(&mut initiator, how, now);
    assert!(initiator.is_closed());
}

/// The directory of one target.
#[derive(Clone, Debug)]
pub(crate) struct Disks(u8);

impl Directory for Disks {
    fn admit(&self, applicant: &Applicant<'_>) -> Result<Admission, LoginStatus> {
        if applicant.target_name.is_some_and(|name| name != TARGET) {
            return Err(LoginStatus::NOT_FOUND);
        }
        let needs_proof = self.0 & (CHAP | MUTUAL) != 0;
        Ok(Admission {
            credentials: needs_proof.then(user).into_iter().collect(),
            reverse: needs_proof.then(server),
            ..Admission::default()
        })
    }

    fn targets(&self, _: &str) -> Vec<Listing> {
        vec![Listing {
            name: TARGET.into(),
            addresses: Vec::new(),
        }]
    }
}

/// A target of a configuration and the disk behind it.
pub(crate) struct Disk {
    pub(crate) connection: Connection<Disks>,
    how: u8,
    unit: LogicalUnit,
    nexus: Nexus,
    bytes: Vec<u8>,
    /// Commands that wait for data.
    awaiting: Vec<(target::TaskId, u64, u64)>,
}

impl Disk {
    pub(crate) fn new(how: u8) -> Self {
        let connected = Connected {
            tsih: 7,
            entropy: [0x22; chap::ENTROPY_LENGTH],
        };
        let config = target::Config::default();
        Self {
            connection: Connection::new(config, Disks(how), connected, Duration::ZERO),
            how,
            unit: LogicalUnit::new(BLOCKS as u64, BLOCK, "fuzz"),
            nexus: Nexus::new(),
            bytes: vec![0xaa; BLOCKS * BLOCK as usize],
            awaiting: Vec::new(),
        }
    }

    /// Carries out what has come. Checks what must hold.
    pub(crate) fn serve(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                target::Event::LoggedIn(login) => {
                    let proven = login.authentication != Authentication::None;
                    assert!(
                        proven || self.how & (CHAP | MUTUAL) == 0,
                        "a login without proof"
                    );
                }
                target::Event::Command(command) => self.command(&command),
                target::Event::DataOut { task, data } => self.write(task, &data),
                target::Event::TaskManagement(management) => {
                    let outcome = TaskManagementOutcome::COMPLETE;
                    self.connection
                        .task_management_done(management.task, outcome);
                }
                target::Event::Aborted(task) => self.awaiting.retain(|(id, _, _)| *id != task),
                target::Event::Closed(reason) => drop(reason.to_string()),
            }
        }
    }

    fn command(&mut self, command: &target::Command) {
        let task = command.task;
        let action = execute(
            Some(&self.unit),
            &[Lun::ZERO],
            &mut self.nexus,
            &command.cdb,
        );
        let (moved, wanted) = (action.data_in_length(BLOCK), action.data_out_length(BLOCK));
        match action {
            Action::Respond(data) => self.connection.respond(task, Response::data(data)),
            Action::Check(sense) => self.connection.respond(task, Response::check(sense)),
            Action::Read { lba, .. } => {
                let start = lba as usize * BLOCK as usize;
                let length = moved.min(u64::from(command.read_length)) as usize;
                let data = self.bytes[start..start + length].to_vec();
                let response = Response {
                    moved,
                    ..Response::data(data)
                };
                self.connection.respond(task, response);
            }
            Action::Write { lba, .. } | Action::Compare { lba, .. } => {
                self.awaiting.push((task, lba, wanted));
                self.connection.receive(task, wanted);
            }
            // What else there is to a disk is the business of the targets of SCSI.
            Action::Status(status) => {
                let response = Response {
                    status,
                    ..Response::good(0)
                };
                self.connection.respond(task, response);
            }
            _ => self.connection.respond(task, Response::good(0)),
        }
    }

    fn write(&mut self, task: target::TaskId, data: &[u8]) {
        let at = self.awaiting.iter().position(|(id, _, _)| *id == task);
        let at = at.expect("data for a command that waits for it");
        let (_, lba, wanted) = self.awaiting.remove(at);
        assert!(data.len() as u64 <= wanted, "more than was asked for");
        let start = lba as usize * BLOCK as usize;
        let whole = data.len() / BLOCK as usize * BLOCK as usize;
        self.bytes[start..start + whole].copy_from_slice(&data[..whole]);
        self.connection.respond(task, Response::good(wanted));
    }
}

/// What an initiator says to a target.
pub(super) fn target(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else {
        return;
    };
    let mut disk = Disk::new(how);
    let mut now = Duration::ZERO;
    for (when, bytes) in records::split(rest) {
        if when & LATER != 0
            && let Some(next) = disk.connection.poll_timeout()
        {
            now = now.max(next);
            disk.connection.handle_timeout(now);
        }
        let piece = if when & SLOWLY != 0 {
            1
        } else {
            bytes.len().max(1)
        };
        for bytes in bytes.chunks(piece) {
            disk.connection.handle_input(now, bytes);
            disk.serve();
        }
        assert!(disk.connection.output_len() < OUTPUT_MAX);
        while disk.connection.poll_output().is_some() {}
    }
}
