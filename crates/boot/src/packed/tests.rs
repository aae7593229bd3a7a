//! The format, byte by byte, and what a reader refuses.

use alloc::string::ToString;
use alloc::vec;

use super::*;

fn example() -> Packed {
    Packed {
        script: Some(PackedScript {
            name: "boot.ipxe".to_string(),
            text: "#!ipxe\nshell\n".to_string(),
        }),
        settings: vec![
            PackedSetting {
                name: "username".to_string(),
                value: "user".to_string(),
            },
            PackedSetting {
                name: "user-class:hex".to_string(),
                value: "04:69".to_string(),
            },
        ],
        trust: vec![b"root one".to_vec(), b"root two".to_vec()],
        trusts_firmware: true,
        identity: Some(PackedIdentity {
            chain: vec![b"own".to_vec(), b"issuer".to_vec()],
            key: b"private key".to_vec().into(),
        }),
        packed_at: Some(1_790_000_000),
    }
}

/// Only what was there in the first release.
fn plain() -> Packed {
    Packed {
        script: example().script,
        settings: example().settings,
        ..Packed::default()
    }
}

#[test]
fn comes_back_and_ignores_padding() {
    let mut bytes = example().to_bytes().unwrap();
    assert_eq!(Packed::parse(&bytes), Ok(example()));
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    assert_eq!(Packed::parse(&bytes), Ok(example()));
}

#[test]
fn nothing_packed() {
    assert_eq!(Packed::parse(b""), Ok(Packed::default()));
    assert_eq!(Packed::parse(&[0; 512]), Ok(Packed::default()));
}

/// The format is a contract between releases: these bytes may not change.
#[test]
fn bytes_are_as_documented() {
    let packed = Packed {
        script: Some(PackedScript {
            name: "a".to_string(),
            text: "#!ipxe\n".to_string(),
        }),
        ..Packed::default()
    };
    let expected = b"BOWLINE\0\x01\0\0\0\x12\0\0\0\x01\0\0\0\x0a\0\0\0\x01\0a#!ipxe\n";
    assert_eq!(packed.to_bytes().unwrap(), expected);
}

#[test]
fn unknown_kinds() {
    let mut bytes = plain().to_bytes().unwrap();
    bytes[16..18].copy_from_slice(&0x8030_u16.to_le_bytes());
    let skipped = Packed::parse(&bytes).unwrap();
    assert_eq!(skipped.settings.len(), 1);
    bytes[16..18].copy_from_slice(&0x0030_u16.to_le_bytes());
    assert_eq!(
        Packed::parse(&bytes),
        Err(PackedError::UnknownCritical { kind: 0x30, at: 16 })
    );
}

#[test]
fn every_truncation_is_refused() {
    let bytes = example().to_bytes().unwrap();
    for length in 1..bytes.len() {
        assert!(
            Packed::parse(&bytes[..length]).is_err(),
            "{length} bytes were taken"
        );
    }
}

#[test]
fn refusals_name_the_place() {
    let good = plain().to_bytes().unwrap();
    let broken = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Packed::parse(&bytes).unwrap_err()
    };
    assert_eq!(broken(0, b'X'), PackedError::Magic);
    assert_eq!(broken(8, 2), PackedError::Version(2));
    assert_eq!(broken(10, 1), PackedError::Reserved { at: 10 });
    assert_eq!(broken(18, 1), PackedError::Reserved { at: 18 });
    assert_eq!(broken(26, 0xff), PackedError::Text { at: 16 });
    assert!(matches!(
        broken(24, 0xff),
        PackedError::Length {
            at: 24,
            stated: 255,
            ..
        }
    ));
}

#[test]
fn values_do_not_show_in_debug() {
    let shown = alloc::format!("{:?}", example().settings);
    assert!(
        shown.contains("username") && !shown.contains("\"user\""),
        "{shown}"
    );
}

#[test]
fn private_key_does_not_show_in_debug() {
    let shown = alloc::format!("{:?}", example());
    assert!(!shown.contains("112, 114, 105, 118"), "{shown}");
    assert!(shown.contains("certificates: 2"), "{shown}");
}

#[test]
fn certificate_and_key_go_together() {
    let mut packed = example();
    let mut identity = packed.identity.take().unwrap();
    identity.chain.clear();
    packed.identity = Some(identity);
    let bytes = packed.to_bytes().unwrap();
    assert_eq!(Packed::parse(&bytes), Err(PackedError::HalfIdentity));
}

#[test]
fn second_key_or_time_is_refused() {
    for (record, what) in [
        (&b"\x12\0\0\0\x01\0\0\0k"[..], "private key"),
        (
            &b"\x13\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0"[..],
            "time of packing",
        ),
    ] {
        let mut bytes = b"BOWLINE\0\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&(2 * record.len() as u32).to_le_bytes());
        bytes.extend_from_slice(record);
        bytes.extend_from_slice(record);
        let at = 16 + record.len();
        assert_eq!(Packed::parse(&bytes), Err(PackedError::Second { what, at }));
    }
}
