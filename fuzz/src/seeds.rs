//! The first inputs of every target: texts written by hand, and what our own machines say to each
//! other. `cargo run -p bowline-fuzz -- seed` writes them into `corpus/`, beside inputs that
//! once were found to be trouble.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use bowline_boot::packed::{Packed, PackedIdentity, PackedScript, PackedSetting};
use bowline_dhcp::server::Output;
use bowline_dhcp::wire::{HardwareAddress, Message, Op, code};
use bowline_iscsi::text::Pairs;
use bowline_scsi::cdb::Form;
use bowline_scsi::device::{Action, LogicalUnit, Nexus, execute};
use bowline_scsi::lun::report;
use bowline_scsi::{Capacity, Cdb, Lun, Sense};

use crate::records::append;
use crate::targets::{dhcp, iscsi};

mod frames;
mod pe;
mod texts;
mod tls;

/// One input of the corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Whose.
    pub target: &'static str,
    /// The file.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Seed {
    fn new(target: &'static str, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            target,
            name: name.into(),
            bytes: bytes.into(),
        }
    }

    /// Where it is kept.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        [
            env!("CARGO_MANIFEST_DIR"),
            "corpus",
            self.target,
            &self.name,
        ]
        .iter()
        .collect()
    }
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Seed> {
    let texts = texts::ALL.iter();
    let mut seeds: Vec<Seed> = texts
        .map(|(target, name, text)| Seed::new(target, *name, *text))
        .collect();
    seeds.extend(packed());
    seeds.extend(frames::all());
    seeds.extend(pe::all());
    seeds.extend(dhcp_seeds());
    seeds.extend(iscsi_seeds());
    seeds.extend(scsi_commands());
    seeds.extend(scsi_data());
    seeds.push(scsi_device());
    seeds.extend(dns());
    seeds.push(dhcpv6());
    seeds.push(router());
    seeds.push(tftp());
    seeds.push(ntp());
    seeds.extend(nfs());
    seeds.extend(tls::all());
    seeds
}

/// Writes them into `corpus/`.
///
/// # Errors
/// A file cannot be written.
pub fn write() -> Result<()> {
    for seed in all() {
        let path = seed.path();
        let folder = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, &seed.bytes))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn packed() -> Vec<Seed> {
    let packed = Packed {
        script: Some(PackedScript {
            name: "boot.ipxe".into(),
            text: "#!ipxe\ndhcp\nsanboot ${root-path}\n".into(),
        }),
        settings: vec![PackedSetting {
            name: "user-class".into(),
            value: "iPXE".into(),
        }],
        trust: vec![b"certificate".to_vec()],
        trusts_firmware: true,
        identity: Some(PackedIdentity {
            chain: vec![b"own".to_vec(), b"issuer".to_vec()],
            key: b"key".to_vec().into(),
        }),
        packed_at: Some(1_793_491_200),
    };
    let bytes = packed.to_bytes().unwrap_or_default();
    let padded = [bytes.as_slice(), &[0; 64]].concat();
    let nothing = Packed::default().to_bytes().unwrap_or_default();
    vec![
        Seed::new("packed", "script-and-setting", bytes),
        Seed::new("packed", "padded", padded),
        Seed::new("packed", "nothing", nothing),
    ]
}

/// A whole exchange between our client and our server, from both sides.
fn dhcp_seeds() -> Vec<Seed> {
    let (mut client, mut server) = (dhcp::client_machine(), dhcp::server_machine());
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    let mut seeds = Vec::new();
    for turn in 0..4 {
        while let Some(output) = client.poll_output() {
            append(&mut to_server, 0, &output.payload);
            seeds.push(Seed::new(
                "dhcp_message",
                format!("client-{turn}"),
                &*output.payload,
            ));
            server.handle_input(Duration::ZERO, &output.payload);
        }
        while let Some(output) = server.poll_output() {
            if let Output::Send(transmit) = output {
                append(&mut to_client, dhcp::WITH_XID, &transmit.payload);
                seeds.push(Seed::new(
                    "dhcp_message",
                    format!("server-{turn}"),
                    &*transmit.payload,
                ));
                client.handle_input(Duration::ZERO, &transmit.payload);
            }
        }
    }
    seeds.push(Seed::new("dhcp_client", "lease", to_client));
    seeds.push(Seed::new("dhcp_server", "lease", to_server));
    let mut crowded = Message::new(Op::Reply, HardwareAddress::ethernet(dhcp::MAC), 1);
    crowded.options.set(code::ROOT_PATH, vec![b'r'; 300]);
    crowded
        .options
        .set(code::VENDOR_SPECIFIC, [1, 2, b'a', b'b', 255]);
    crowded.yiaddr = Ipv4Addr::new(192, 168, 1, 100);
    for (name, room) in [("overload", 576), ("long-option", 1500)] {
        let bytes = crowded.encode(room).unwrap_or_default();
        seeds.push(Seed::new("dhcp_message", name, bytes));
    }
    seeds
}

/// Whole sessions between our initiator and our target, from both sides.
fn iscsi_seeds() -> Vec<Seed> {
    let sessions = [
        ("plain", 0),
        ("chap", iscsi::CHAP),
        ("mutual", iscsi::MUTUAL),
        ("digests", iscsi::DIGESTS),
        ("discovery", iscsi::DISCOVERY),
    ];
    let mut seeds = Vec::new();
    for (name, how) in sessions {
        let mut initiator = iscsi::initiator_machine(how);
        let mut disk = iscsi::Disk::new(how);
        let (mut to_initiator, mut to_target) = (vec![how], vec![how]);
        for turn in 0..20 {
            if let Some(bytes) = initiator.poll_output() {
                if turn == 0 {
                    seeds.push(Seed::new(
                        "iscsi_pdu",
                        format!("login-{name}"),
                        &bytes[..48],
                    ));
                    seeds.push(Seed::new(
                        "iscsi_text",
                        format!("login-{name}"),
                        &bytes[48..],
                    ));
                }
                append(&mut to_target, 0, &bytes);
                disk.connection.handle_input(Duration::ZERO, &bytes);
                disk.serve();
            }
            if let Some(bytes) = disk.connection.poll_output() {
                seeds.push(Seed::new(
                    "iscsi_pdu",
                    format!("{name}-{turn}"),
                    &bytes[..48],
                ));
                append(&mut to_initiator, 0, &bytes);
                initiator.handle_input(Duration::ZERO, &bytes);
                iscsi::initiator_step(&mut initiator, how, Duration::ZERO);
            }
        }
        seeds.push(Seed::new("iscsi_initiator", name, to_initiator));
        seeds.push(Seed::new("iscsi_target", name, to_target));
    }
    let mut pairs = Pairs::default();
    pairs.push("CHAP_A", "5");
    pairs.push("CHAP_I", "0x1f");
    pairs.push("CHAP_C", "0bAAECAw==");
    pairs.push("ImmediateData", "Yes");
    seeds.push(Seed::new("iscsi_text", "chap", pairs.to_bytes()));
    seeds
}

fn scsi_commands() -> Vec<Seed> {
    let commands = [
        ("test-unit-ready", Cdb::TestUnitReady),
        ("read", Cdb::read(7, 8)),
        ("read-far", Cdb::read(u64::from(u32::MAX) + 1, 8)),
        ("write", Cdb::write(7, 8)),
        ("flush", Cdb::flush()),
        ("report-luns", Cdb::report_luns(64)),
        ("capacity", Cdb::ReadCapacity10),
        (
            "capacity-long",
            Cdb::ReadCapacity16 {
                allocation_length: 32,
            },
        ),
        ("inquiry", inquiry(None)),
        ("inquiry-page", inquiry(Some(0xb0))),
        ("mode-sense", mode_sense()),
        ("supported", supported()),
    ];
    commands
        .map(|(name, cdb)| Seed::new("scsi_command", name, &*cdb.to_bytes()))
        .into()
}

fn inquiry(page: Option<u8>) -> Cdb {
    Cdb::Inquiry {
        page,
        allocation_length: 255,
    }
}

fn mode_sense() -> Cdb {
    Cdb::ModeSense {
        form: Form::Six,
        long_lba: false,
        disable_block_descriptors: false,
        page_control: 0,
        page: 0x3f,
        subpage: 0,
        allocation_length: 192,
    }
}

fn supported() -> Cdb {
    Cdb::ReportSupportedOperationCodes {
        timeouts: true,
        reporting_options: 0,
        operation_code: 0,
        service_action: 0,
        allocation_length: 4096,
    }
}

/// Commands with parameters (SBC-3 section 5.28, SPC-4 sections 6.3, 6.11 and 6.16), by hand.
fn scsi_device() -> Seed {
    let mut bytes = Vec::new();
    let mut add = |who: u8, cdb: &[u8], parameters: &[u8]| {
        let mut record = cdb.to_vec();
        record.resize(16, 0);
        record.extend(parameters);
        append(&mut bytes, who, &record);
    };
    let unmap = [
        0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0, 0, 0,
    ];
    add(0, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24], &unmap);
    add(0, &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 28], &[0; 28]);
    let mut register = [0; 24];
    register[15] = 7;
    add(0, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24], &register);
    add(1, &[0x5f, 6, 0, 0, 0, 0, 0, 0, 24], &register);
    let mut reserve = [0; 24];
    reserve[7] = 7;
    add(0, &[0x5f, 1, 5, 0, 0, 0, 0, 0, 24], &reserve);
    add(1, &[0x5e, 1, 0, 0, 0, 0, 0, 1, 0], &[]);
    add(1, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1], &[0; 512]);
    add(0, &[0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16], &[0; 16]);
    add(0, &[0x93, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 3], &[0; 512]);
    add(0, &[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0], &[]);
    add(0, &[0x1b, 0, 0, 0, 2], &[]);
    Seed::new("scsi_device", "parameters", bytes)
}

/// What our own disk answers.
fn scsi_data() -> Vec<Seed> {
    let unit = LogicalUnit::new(1000, 512, "serial-1");
    let asked = [
        ("inquiry", inquiry(None)),
        ("pages", inquiry(Some(0))),
        ("serial", inquiry(Some(0x80))),
        ("limits", inquiry(Some(0xb0))),
        ("mode", mode_sense()),
    ];
    let mut seeds = Vec::new();
    for (name, cdb) in asked {
        let action = execute(
            Some(&unit),
            &[Lun::ZERO],
            &mut Nexus::new(),
            &cdb.to_bytes(),
        );
        if let Action::Respond(data) = action {
            seeds.push(Seed::new("scsi_data", name, data));
        }
    }
    let sense = Sense {
        information: Some(77),
        ..Sense::MISCOMPARE
    };
    let capacity = Capacity::parse16(&[0, 0, 0, 0, 0, 0, 3, 0xe7, 0, 0, 2, 0, 0, 0, 0, 0]);
    seeds.push(Seed::new("scsi_data", "sense-fixed", sense.to_fixed()));
    seeds.push(Seed::new(
        "scsi_data",
        "sense-descriptor",
        sense.to_descriptor(),
    ));
    seeds.push(Seed::new("scsi_data", "luns", report(&[Lun::ZERO])));
    seeds.extend(capacity.map(|it| Seed::new("scsi_data", "capacity", it.to_bytes16())));
    seeds
}

/// An advertisement and a reply for our client (RFC 8415), each with an address.
fn dhcpv6() -> Seed {
    let mut data = Vec::new();
    for kind in [2, 7] {
        let mut message = vec![kind, 0, 0, 0];
        // The client's identifier, the server's, an address for an hour, a name server.
        message.extend([0, 1, 0, 10, 0, 3, 0, 1]);
        message.extend(dhcp::MAC);
        message.extend(*b"\0\x02\0\x06server");
        message.extend([0, 3, 0, 40, 0, 0x12, 0x34, 0x56, 0, 0, 0, 0, 0, 0, 0, 0]);
        message.extend([
            0, 5, 0, 24, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50,
        ]);
        message.extend([0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10]);
        message.extend([
            0, 23, 0, 16, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53,
        ]);
        append(&mut data, 0, &message);
    }
    Seed::new("dhcpv6_client", "address", data)
}

/// A router advertisement (RFC 4861 section 4.2) with a prefix, a name server and a domain.
fn router() -> Seed {
    let mut message = vec![134, 0, 0, 0, 64, 0xc0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, 0xc0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    message.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend([25, 3, 0, 0, 0, 0, 1, 0]);
    message.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53]);
    message.extend(*b"\x1f\x03\0\0\0\0\x01\0\x03lab\x07example\0\0\0\0");
    let mut frame = vec![
        0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0,
    ];
    frame.extend((message.len() as u16).to_be_bytes());
    frame.extend([58, 255]);
    frame.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    frame.extend(message);
    Seed::new("router_advertisement", "full", frame)
}

/// A TFTP server that takes options (RFC 2347), two blocks and an error.
fn tftp() -> Seed {
    let mut data = Vec::new();
    append(
        &mut data,
        0,
        b"\0\x06tsize\x0012\0blksize\x008\0windowsize\x004\0",
    );
    append(&mut data, 0, b"\0\x03\0\x0112345678");
    append(&mut data, 0, b"\0\x03\0\x021234");
    append(&mut data, 0, b"\0\x05\0\x01File not found\0");
    Seed::new("tftp_transfer", "options", data)
}

/// Answers about `boot.example` (RFC 1035 section 4), written by hand.
fn dns() -> Vec<Seed> {
    let name = b"\x04boot\x07example\0";
    let head = |flags: [u8; 2], answers: u8| {
        let counts = [0, 1, 0, answers, 0, 0, 0, 0];
        [&[0x12, 0x34], &flags[..], &counts, name, &[0, 1, 0, 1]].concat()
    };
    let address = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\xa8\x01\x01";
    let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x06\x03www\xc0\x11";
    let aliased = b"\x03www\xc0\x11\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\xa8\x01\x02";
    let itself = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c";
    let good = [0x81, 0x80];
    let messages = [
        ("address", [&head(good, 1)[..], address].concat()),
        (
            "two-addresses",
            [&head(good, 2)[..], address, address].concat(),
        ),
        ("alias", [&head(good, 2)[..], alias, aliased].concat()),
        ("alias-alone", [&head(good, 1)[..], alias].concat()),
        ("alias-of-itself", [&head(good, 1)[..], itself].concat()),
        ("no-such-name", head([0x81, 0x83], 0)),
        ("truncated", head([0x83, 0x80], 0)),
    ];
    messages
        .map(|(name, bytes)| Seed::new("dns_response", name, bytes))
        .into()
}

/// An answer of a server of stratum 2 (RFC 5905 section 7.3).
fn ntp() -> Seed {
    let mut message = vec![0x24, 2, 6, 0xe9];
    message.resize(24, 0);
    message.extend(*b"anything");
    message.extend([0xee, 0x1b, 0xbc, 0x80, 0, 0, 0, 0]);
    message.extend([0xee, 0x1b, 0xbc, 0x80, 0x80, 0, 0, 0]);
    Seed::new("ntp_answer", "stratum-2", message)
}

/// Answers of the port mapper, of the mount service and of NFS (RFC 1813), each in a record (RFC 5531
/// section 11).
fn nfs() -> Vec<Seed> {
    let attributes = |kind: u8| {
        let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, kind];
        bytes.resize(8 + 80, 0);
        bytes
    };
    let handle = b"\0\0\0\x04abcd";
    let join = |parts: &[&[u8]]| parts.concat();
    let answers = [
        ("port", vec![0, 0, 8, 1]),
        ("address", b"\0\0\0\x0a127.0.8.1\0\0\0".to_vec()),
        ("mounted", join(&[&[0; 4], handle, &[0; 4]])),
        ("looked-up", join(&[&[0; 4], handle, &attributes(1)])),
        ("attributes", join(&[&[0; 4], &attributes(5)[4..]])),
        (
            "link",
            join(&[&[0; 4], &attributes(5), b"\0\0\0\x01a\0\0\0"]),
        ),
        (
            "read",
            join(&[
                &[0; 4],
                &attributes(1),
                b"\0\0\0\x02\0\0\0\x01\0\0\0\x02ab\0\0",
            ]),
        ),
        ("refused", vec![0, 0, 0, 2, 0, 0, 0, 0]),
    ];
    let as_seed = |(name, results): (&str, Vec<u8>)| {
        let mut reply = vec![0, 0, 0, 7, 0, 0, 0, 1];
        reply.resize(24, 0);
        reply.extend(results);
        let mark = ((1 << 31) | reply.len() as u32).to_be_bytes();
        Seed::new("nfs_answers", name, [&mark[..], &reply].concat())
    };
    answers.map(as_seed).into()
}
