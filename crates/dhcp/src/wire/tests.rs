//! The codec against hand-made bytes, its limits, and mutated messages.

use super::*;
use crate::random::Random;
use crate::tests::hex;
use alloc::string::{String, ToString};
use alloc::{format, vec};

/// op, htype, hlen, hops, xid, secs, flags, four addresses and chaddr of an Ethernet client.
const FIXED: &str = "02 01 06 00  12345678  0003 8000
    00000000 c0a80164 c0a80101 00000000
    525400123456 0000 0000000000000000";

/// A message from its parts: sname and file are padded, the cookie is put before the options.
fn build(fixed: &str, sname: &str, file: &str, options: &str) -> Vec<u8> {
    let mut bytes = hex(fixed);
    assert_eq!(bytes.len(), 44);
    for (field, len) in [(sname, SNAME_LEN), (file, FILE_LEN)] {
        let mut field = hex(field);
        field.resize(len, 0);
        bytes.extend(field);
    }
    bytes.extend(MAGIC_COOKIE);
    bytes.extend(hex(options));
    bytes
}

fn text_hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn offer_of_a_usual_server() {
    let bytes = build(
        FIXED,
        &text_hex("boothost"),
        &text_hex("bowline.efi"),
        "35 01 02  36 04 c0a80101  33 04 00000e10  01 04 ffffff00
         03 08 c0a80101 c0a80102  00 00  0f 03 6c616e  50 00  ff 35 01 06",
    );
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.op, Op::Reply);
    assert_eq!(message.xid, 0x1234_5678);
    assert_eq!(message.secs, 3);
    assert!(message.broadcast);
    assert_eq!(message.yiaddr, Ipv4Addr::new(192, 168, 1, 100));
    assert_eq!(message.siaddr, Ipv4Addr::new(192, 168, 1, 1));
    assert_eq!(
        message.chaddr.mac(),
        Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])
    );
    assert_eq!(message.sname, b"boothost");
    assert_eq!(message.file, b"bowline.efi");
    assert_eq!(message.message_type(), Some(MessageType::OFFER));
    assert_eq!(
        message.server_identifier(),
        Some(Ipv4Addr::new(192, 168, 1, 1))
    );
    assert_eq!(message.options.u32(code::LEASE_TIME), Some(3600));
    assert_eq!(message.options.ipv4_list(code::ROUTER).count(), 2);
    assert_eq!(message.options.text(code::DOMAIN_NAME), Some(&b"lan"[..]));
    assert_eq!(
        message.options.get(80),
        Some(&[][..]),
        "an option may be empty"
    );
    assert_eq!(
        message.options.len(),
        7,
        "what follows the end mark does not count"
    );
}

#[test]
fn overload_is_read_in_the_order_options_file_sname() {
    // Option 15 comes in three pieces, one in each field (RFC 3396 §5).
    let bytes = build(
        FIXED,
        "0f 01 63 ff",
        "0f 01 62  0c 02 6e31 ff",
        "35 01 05  34 01 03  0f 01 61  ff",
    );
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.options.get(code::DOMAIN_NAME), Some(&b"abc"[..]));
    assert_eq!(message.options.get(code::HOST_NAME), Some(&b"n1"[..]));
    assert!(message.file.is_empty() && message.sname.is_empty());
    assert!(!message.options.contains(code::OPTION_OVERLOAD));

    let file_only = build(FIXED, &text_hex("srv"), "0c 01 78", "34 01 01 ff");
    let message = Message::parse(&file_only).unwrap();
    assert_eq!(
        (message.sname.as_slice(), message.file.as_slice()),
        (&b"srv"[..], &b""[..])
    );
    assert_eq!(message.options.get(code::HOST_NAME), Some(&b"x"[..]));
}

#[test]
fn broken_messages_are_named() {
    let good = build(FIXED, "", "", "35 01 02 ff");
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    let table: &[(Vec<u8>, ParseError)] = &[
        (Vec::new(), ParseError::TooShort(0)),
        (good[..235].to_vec(), ParseError::TooShort(235)),
        (good[..239].to_vec(), ParseError::TooShort(239)),
        (
            vec![0; limits::MESSAGE_LEN_MAX + 1],
            ParseError::TooLong(limits::MESSAGE_LEN_MAX + 1),
        ),
        (with(0, 3), ParseError::BadOp(3)),
        (with(2, 17), ParseError::BadHardwareLength(17)),
        (with(236, 98), ParseError::NotDhcp([98, 130, 83, 99])),
        (build(FIXED, "", "", "35"), ParseError::OptionTruncated(53)),
        (
            build(FIXED, "", "", "35 02 01"),
            ParseError::OptionTruncated(53),
        ),
        (build(FIXED, "", "", "34 01 04 ff"), ParseError::BadOverload),
        (build(FIXED, "", "", "34 01 00 ff"), ParseError::BadOverload),
        (
            build(FIXED, "", "", "34 02 0101 ff"),
            ParseError::BadOverload,
        ),
        (
            // The last option of the lent field runs over its end.
            build(
                FIXED,
                "",
                &format!("{} 0c 05", "00".repeat(126)),
                "34 01 01 ff",
            ),
            ParseError::OptionTruncated(12),
        ),
    ];
    for (bytes, error) in table {
        assert_eq!(Message::parse(bytes), Err(*error), "{bytes:02x?}");
        assert!(!error.to_string().is_empty());
    }
    // A missing end mark is tolerated, as is a message below the BOOTP size.
    assert!(Message::parse(&build(FIXED, "", "", "35 01 02")).is_ok());
    assert!(Message::parse(&build(FIXED, "", "", "")).is_ok());
}

#[test]
fn discover_is_written_byte_by_byte() {
    let chaddr = HardwareAddress::ethernet([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    let mut message = Message::new(Op::Request, chaddr, 0xdead_beef);
    message.broadcast = true;
    message.secs = 1;
    message.options.set(code::USER_CLASS, hex("04 69 a0 45 43"));
    message.options.set_u8(code::MESSAGE_TYPE, 1);
    message
        .options
        .set(code::RELAY_AGENT_INFORMATION, hex("01 01 07"));
    message.options.set(125, hex("00"));
    let bytes = message.encode(548).unwrap();
    let mut expected = hex("01 01 06 00 deadbeef 0001 8000
        00000000 00000000 00000000 00000000 525400123456 0000 0000000000000000");
    expected.resize(FIXED_LEN, 0);
    // Type first, relay information last (RFC 3046 §2.1).
    expected.extend(hex(
        "63825363 35 01 01  4d 05 0469a04543  7d 01 00  52 03 010107 ff",
    ));
    expected.resize(limits::MESSAGE_LEN_MIN, 0);
    assert_eq!(bytes, expected);
    assert_eq!(Message::parse(&bytes), Ok(message));
}

#[test]
fn long_values_are_split_and_joined() {
    let mut message = reply();
    message.options.set(code::VENDOR_SPECIFIC, vec![7; 600]);
    let bytes = message.encode(1472).unwrap();
    // 53, then 43 in pieces of 255, 255 and 90.
    assert_eq!(&bytes[240..245], &[53, 1, 5, 43, 255]);
    assert_eq!(&bytes[243 + 257..243 + 259], &[43, 255]);
    assert_eq!(&bytes[243 + 514..243 + 516], &[43, 90]);
    assert_eq!(Message::parse(&bytes), Ok(message));
}

#[test]
fn options_overflow_into_file_and_sname() {
    let mut message = reply();
    message.options.set(code::ROOT_PATH, vec![b'r'; 200]);
    message.options.set(code::DOMAIN_NAME, vec![b'd'; 90]);
    message.options.set(code::VENDOR_SPECIFIC, vec![1; 100]);
    message.options.set(code::HOST_NAME, vec![b'h'; 60]);
    message
        .options
        .set(code::RELAY_AGENT_INFORMATION, hex("0101ff"));
    let bytes = message.encode(548).unwrap();
    assert!(bytes.len() <= 548);
    let back = Message::parse(&bytes).unwrap();
    assert_eq!(back, message);
    assert!(
        bytes.ends_with(&[82, 3, 1, 1, 255, 255]),
        "relay information stays last"
    );

    // With the file field taken there is no room, and the error says what for.
    message.file = b"bowline.efi".to_vec();
    let error = message.encode(548).unwrap_err();
    assert_eq!(
        error,
        EncodeError::NoRoom {
            code: code::VENDOR_SPECIFIC,
            len_max: 548
        }
    );
    assert_eq!(
        error.to_string(),
        "option 43 does not fit into a message of 548 bytes"
    );
}

#[test]
fn every_size_that_fits_comes_back() {
    for len in 0..700 {
        let mut message = reply();
        message.options.set(200, vec![1; len]);
        message.options.set(201, vec![2; 40]);
        for len_max in [300, 548, 576, 1472] {
            match message.encode(len_max) {
                Ok(bytes) => {
                    assert!(bytes.len() <= len_max, "{len} in {len_max}");
                    assert_eq!(
                        Message::parse(&bytes).as_ref(),
                        Ok(&message),
                        "{len} in {len_max}"
                    );
                }
                Err(error) => {
                    let must_fit = match len_max {
                        300 => 125,
                        548 | 576 => 380,
                        _ => 700,
                    };
                    assert!(len > must_fit, "{len} in {len_max}: {error}");
                }
            }
        }
    }
}

#[test]
fn fields_have_limits() {
    let mut message = reply();
    message.file = vec![b'f'; 127];
    message.sname = vec![b's'; 63];
    assert_eq!(
        Message::parse(&message.encode(548).unwrap()),
        Ok(message.clone())
    );
    message.file = vec![b'f'; 128];
    assert_eq!(message.encode(548), Err(EncodeError::FileTooLong(128)));
    message.file.clear();
    message.sname = vec![b's'; 64];
    assert_eq!(message.encode(548), Err(EncodeError::ServerNameTooLong(64)));
    message.sname.clear();
    assert!(matches!(
        message.encode(100),
        Err(EncodeError::NoRoom { .. })
    ));
}

#[test]
fn typed_readings_want_the_right_length() {
    let options: Options = [
        (1, vec![255, 255, 255]),
        (26, vec![5, 220]),
        (51, vec![0, 0, 14, 16, 9]),
        (6, vec![1, 1, 1, 1, 8, 8, 8]),
        (12, b"name\0\0".to_vec()),
        (15, vec![0, 0]),
        (0, vec![1]),
        (255, vec![1]),
    ]
    .into_iter()
    .collect();
    assert_eq!(options.ipv4(1), None);
    assert_eq!(options.u16(26), Some(1500));
    assert_eq!(options.u32(51), None);
    assert_eq!(
        options.ipv4_list(6).collect::<Vec<_>>(),
        [Ipv4Addr::new(1, 1, 1, 1)]
    );
    assert_eq!(options.text(12), Some(&b"name"[..]));
    assert_eq!(options.text(15), None);
    assert_eq!(options.len(), 6, "pad and end carry no value");
}

#[test]
fn sub_options() {
    let mut options = Options::new();
    options.set(
        175,
        hex("01 01 05  00  b0 01 01  be 04 75736572  ff 01 01 09"),
    );
    let inner = options.encapsulated(175).unwrap();
    assert_eq!(inner.u8(1), Some(5));
    assert_eq!(inner.text(190), Some(&b"user"[..]));
    assert_eq!(inner.len(), 3);
    options.set(175, hex("01 05 05"));
    assert_eq!(
        options.encapsulated(175),
        Err(ParseError::OptionTruncated(1))
    );
    assert_eq!(options.encapsulated(43), Ok(Options::new()));

    options.set_encapsulated(43, &inner);
    assert_eq!(options.encapsulated(43), Ok(inner));

    // In option 82 the codes 0 and 255 are ordinary (RFC 3046 §2.0).
    options.set(82, hex("00 01 aa  01 02 0102  05 04 0a000001  ff 01 bb"));
    assert_eq!(options.relay_agent(5), Some(&hex("0a000001")[..]));
    assert_eq!(options.relay_agent(255), Some(&[0xbb][..]));
    assert_eq!(options.relay_agent(11), None);
    options.set(82, hex("05 09 0a"));
    assert_eq!(options.relay_agent(5), None);
}

#[test]
fn user_class_in_both_forms() {
    let table: &[(&[u8], &[u8], bool)] = &[
        (b"iPXE", b"iPXE", true),
        (b"\x04iPXE", b"iPXE", true),
        (b"\x03abc\x04iPXE", b"iPXE", true),
        (b"\x03abc\x04iPXE", b"abc", true),
        (b"iPXE2", b"iPXE", false),
        (b"\x05iPXE", b"iPXE", false),
        (b"\x04iPXE\x09", b"iPXE", false),
        (b"", b"iPXE", false),
        (b"\x04\x69\xa0\x45\x43", b"\x69\xa0\x45\x43", true),
        (b"\x04\x69\xa0\x45\x43", b"\x04\x69\xa0\x45\x43", true),
    ];
    for (value, class, expected) in table {
        assert_eq!(
            user_class_contains(value, class),
            *expected,
            "{value:02x?} {class:02x?}"
        );
    }
}

#[test]
fn identities() {
    let mut options = Options::new();
    options.set(93, hex("0000 0007"));
    assert!(Architecture::X86_64.is_in(&options) && Architecture::BIOS.is_in(&options));
    assert!(!Architecture::ARM64.is_in(&options));
    options.set(97, hex("00 000102030405060708090a0b0c0d0e0f"));
    assert_eq!(uuid_of(&options).map(|uuid| uuid[15]), Some(15));
    options.set(97, hex("01 000102030405060708090a0b0c0d0e0f"));
    assert_eq!(uuid_of(&options), None);
    options.set(97, hex("00 0001"));
    assert_eq!(uuid_of(&options), None);

    let mut field = [9; 16];
    let infiniband = HardwareAddress::from_fields(32, 0, field).unwrap();
    assert_eq!((infiniband.mac(), infiniband.as_bytes()), (None, &[][..]));
    field[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    let ethernet = HardwareAddress::from_fields(1, 6, field).unwrap();
    assert_eq!(ethernet, HardwareAddress::ethernet([2, 0, 0, 0, 0, 1]));
    assert_eq!(ethernet.to_string(), "02:00:00:00:00:01");
}

#[test]
fn console_text_is_harmless() {
    let shown = Printable(b"no \x1b[31mlease\\\xff").to_string();
    assert_eq!(shown, "no \\x1b[31mlease\\\\\\xff");
}

/// Random edits of good messages: nothing panics, and what parses can be written and read again.
#[test]
fn mutated_messages_never_panic() {
    let seeds = [
        build(
            FIXED,
            "0f 01 63 ff",
            "0f 01 62 ff",
            "35 01 05  34 01 03  0f 01 61  ff",
        ),
        build(
            FIXED,
            "",
            "",
            "35 01 02 36 04 c0a80101 2b 04 06010800 52 06 0104 0a0b0c0d ff",
        ),
        {
            let mut message = reply();
            message.options.set(43, vec![3; 300]);
            message.encode(1472).unwrap()
        },
    ];
    let mut random = Random::new(0x00d0_c5ee_d000_0001);
    for round in 0..20_000_usize {
        let mut bytes = seeds[round % seeds.len()].clone();
        crate::tests::mutate(&mut random, &mut bytes);
        if let Ok(message) = Message::parse(&bytes) {
            let again = message.encode(limits::MESSAGE_LEN_MAX);
            let again = again.unwrap_or_else(|error| panic!("round {round}: {error}: {message:?}"));
            assert_eq!(Message::parse(&again), Ok(message), "round {round}");
        }
    }
}

fn reply() -> Message {
    let mut message = Message::new(Op::Reply, HardwareAddress::ethernet([2, 0, 0, 0, 0, 1]), 7);
    message
        .options
        .set_u8(code::MESSAGE_TYPE, MessageType::ACK.0);
    message
}
