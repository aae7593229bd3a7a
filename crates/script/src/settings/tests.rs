//! Types, names, scopes and the order of the search.

use std::format;
use std::rc::Rc;
use std::string::{String, ToString};
use std::vec::Vec;

use super::{PREDEFINED, SettingError, SettingType, Settings, ValueError, tag_number};
use crate::limits;
use crate::tests::Random;

const UUID: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Type, value, and the text that stands for it, both ways.
const WRITTEN: &[(&str, &[u8], &str)] = &[
    ("string", b"a b", "a b"),
    ("string", "é".as_bytes(), "é"),
    ("uristring", b"a b/c?d=100%", "a%20b%2Fc%3Fd%3D100%25"),
    ("uristring", b"aZ09-._~", "aZ09-._~"),
    ("ipv4", &[192, 168, 1, 1], "192.168.1.1"),
    ("ipv4", &[0, 0, 0, 0], "0.0.0.0"),
    (
        "ipv6",
        &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        "fd00::1",
    ),
    ("int8", &[0x7f], "127"),
    ("int8", &[0xff], "-1"),
    ("int16", &[0x05, 0xdc], "1500"),
    ("int16", &[0x80, 0], "-32768"),
    ("int32", &[0, 1, 0, 0], "65536"),
    ("int32", &[0xff, 0xff, 0xff, 0xfe], "-2"),
    ("uint8", &[0x80], "0x80"),
    ("uint8", &[0], "0x0"),
    ("uint16", &[0x0c, 0xbc], "0xcbc"),
    ("uint32", &[0xff, 0xff, 0xff, 0xff], "0xffffffff"),
    ("hex", &[0x04, 0x69, 0xa0], "04:69:a0"),
    ("hex", &[0x04], "04"),
    ("hexhyp", &[0x52, 0x54, 0], "52-54-00"),
    ("hexraw", &[0x52, 0x54, 0], "525400"),
    ("base64", b"", ""),
    ("base64", b"f", "Zg=="),
    ("base64", b"fo", "Zm8="),
    ("base64", b"foo", "Zm9v"),
    ("base64", b"foob", "Zm9vYg=="),
    ("base64", b"fooba", "Zm9vYmE="),
    ("base64", b"foobar", "Zm9vYmFy"),
    ("base64", &[0xff, 0xef, 0xbe], "/+++"),
    ("uuid", &UUID, "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ("guid", &UUID, "03020100-0504-0706-0809-0a0b0c0d0e0f"),
    ("dnssl", b"\x01a\x03com\x00\x01b\x00", "a.com b"),
];

/// Type, value, and the text that it is shown as.
const SHOWN: &[(&str, &[u8], &str)] = &[
    // Options with a NUL at the end, and lists of which the first counts.
    ("string", b"boot.efi\0", "boot.efi"),
    ("string", b"a\0b", "a"),
    ("string", b"\xff", "\u{fffd}"),
    ("ipv4", &[10, 0, 0, 1, 10, 0, 0, 2], "10.0.0.1"),
    // Numbers of any length.
    ("int8", &[0x01, 0x00], "256"),
    ("int32", &[0x80], "-128"),
    ("uint32", &[0, 0, 0, 0, 0, 0, 0, 0, 5], "0x5"),
    ("busdevfn", &[0x00, 0xfb], "0000:00:1f.3"),
    ("busdevfn", &[0, 1, 0x02, 0x08], "0001:02:01.0"),
];

/// Name, text that is no value of it, and what is said.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "ip",
        "300.1.1.1",
        "ip: not an IPv4 address like 192.168.1.1",
    ),
    ("ip", "10.0.0", "ip: not an IPv4 address like 192.168.1.1"),
    ("ip6", "fd00:::1", "ip6: not an IPv6 address like fd00::1"),
    ("x:int8", "256", "x:int8: not between -128 and 255"),
    ("x:int8", "-129", "x:int8: not between -128 and 255"),
    ("x:int16", "65536", "x:int16: not between -32768 and 65535"),
    ("x:uint8", "256", "x:uint8: not between -128 and 255"),
    (
        "x:uint16",
        "-32769",
        "x:uint16: not between -32768 and 65535",
    ),
    (
        "x:uint32",
        "4294967296",
        "x:uint32: not between -2147483648 and 4294967295",
    ),
    (
        "x:int32",
        "ten",
        "x:int32: not a number like 10, 0x0a or 012 (octal)",
    ),
    (
        "x:hex",
        "4:69",
        "x:hex: not hexadecimal bytes of two digits each, like 52:54:0a",
    ),
    (
        "x:hex",
        "04-69",
        "x:hex: not hexadecimal bytes of two digits each, like 52:54:0a",
    ),
    (
        "x:hex",
        "04:",
        "x:hex: not hexadecimal bytes of two digits each, like 52:54:0a",
    ),
    (
        "x:hexhyp",
        "0469",
        "x:hexhyp: not hexadecimal bytes of two digits each, like 52-54-0a",
    ),
    (
        "x:hexraw",
        "046",
        "x:hexraw: not hexadecimal bytes of two digits each, like 52540a",
    ),
    ("x:base64", "Zg=", "x:base64: not base 64"),
    ("x:base64", "Z===", "x:base64: not base 64"),
    ("x:base64", "Zg==Zg==", "x:base64: not base 64"),
    ("x:base64", "Zm9-", "x:base64: not base 64"),
    (
        "uuid",
        "0001",
        "uuid: not a UUID like 01234567-89ab-cdef-0123-456789abcdef",
    ),
    (
        "x:guid",
        "00010203040506070809",
        "x:guid: not a UUID like 01234567-89ab-cdef-0123-456789abcdef",
    ),
    (
        "x:busdevfn",
        "0000:00:1f.3",
        "x:busdevfn: values of this type can be shown, but not set",
    ),
    ("dnssl", "a..b", "dnssl: not a list of domain names"),
    (
        "x:int9",
        "1",
        "`int9` is no type of settings, did you mean `int8`?",
    ),
    ("", "1", "the name of the setting is missing"),
    ("net0/", "1", "the name of the setting is missing"),
    (":hex", "01", "the name of the setting is missing"),
    ("/x", "1", "`` is no scope, like net0 or net0.dhcp"),
    (
        "net0./x",
        "1",
        "`net0.` is no scope, like net0 or net0.dhcp",
    ),
    (
        "a.b.c.d.e.f.g.h.i/x",
        "1",
        "`a.b.c.d.e.f.g.h.i` is no scope, like net0 or net0.dhcp",
    ),
    (
        "netX/x",
        "1",
        "netX: no network interface has been opened yet",
    ),
];

#[test]
fn writes_and_reads_every_type() {
    for &(kind, value, text) in WRITTEN {
        let kind = SettingType::from_name(kind).unwrap();
        assert_eq!(kind.format(value).as_deref(), Ok(text), "{kind:?}");
        assert_eq!(kind.parse(text).as_deref(), Ok(value), "{kind:?} {text}");
    }
}

#[test]
fn writes_what_is_shown_only() {
    for &(kind, value, text) in SHOWN {
        let kind = SettingType::from_name(kind).unwrap();
        assert_eq!(kind.format(value).as_deref(), Ok(text), "{kind:?}");
    }
    for (kind, length) in [
        ("ipv4", 3),
        ("ipv6", 15),
        ("uuid", 15),
        ("guid", 17),
        ("int32", 9),
    ] {
        let kind = SettingType::from_name(kind).unwrap();
        let value = std::vec![0x55; length];
        assert_eq!(kind.format(&value), Err(ValueError::Length(kind, length)));
    }
}

#[test]
fn reads_other_spellings() {
    for (kind, text, value) in [
        ("uint8", "128", &[0x80][..]),
        ("uint8", "0200", &[0x80]),
        ("int8", "0xff", &[0xff]),
        ("int8", "-128", &[0x80]),
        ("int16", "65535", &[0xff, 0xff]),
        ("hex", "AA:bB", &[0xaa, 0xbb]),
        (
            "uuid",
            "00010203-0405-0607-0809-0A0B0C0D0E0F",
            &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        ),
        ("dnssl", "a.com,b", b"\x01a\x03com\x00\x01b\x00"),
        ("uristring", "a%20b", b"a b"),
    ] {
        let kind = SettingType::from_name(kind).unwrap();
        assert_eq!(kind.parse(text).as_deref(), Ok(value), "{kind:?} {text}");
    }
}

#[test]
fn refuses_what_is_of_another_type() {
    for &(name, text, expected) in REFUSED {
        let mut settings = Settings::new();
        let error = settings.set(name, text).unwrap_err();
        assert_eq!(error.to_string(), expected, "set {name} {text}");
    }
}

#[test]
fn knows_the_predefined_names() {
    for (name, tag, kind) in [
        ("ip", "175.2", "ipv4"),
        ("netmask", "1", "ipv4"),
        ("gateway", "3", "ipv4"),
        ("static-routes", "121", "hex"),
        ("dns", "6", "ipv4"),
        ("domain", "15", "string"),
        ("dnssl", "119", "dnssl"),
        ("hostname", "12", "string"),
        ("ntp", "42", "ipv4"),
        ("syslog", "7", "ipv4"),
        ("syslogs", "175.85", "string"),
        ("mtu", "26", "int16"),
        ("next-server", "175.3", "ipv4"),
        ("filename", "67", "string"),
        ("root-path", "17", "string"),
        ("dhcp-server", "54", "ipv4"),
        ("user-class", "77", "string"),
        ("vendor-class", "60", "string"),
        ("priority", "175.1", "int8"),
        ("keep-san", "175.8", "int8"),
        ("skip-san-boot", "175.9", "int8"),
        ("scriptlet", "175.81", "string"),
        ("trust", "175.90", "hex"),
        ("cert", "175.91", "hex"),
        ("privkey", "175.92", "hex"),
        ("crosscert", "175.93", "string"),
        ("san-retries", "175.187", "int8"),
        ("san-filename", "175.188", "string"),
        ("san-drive", "175.189", "uint8"),
        ("username", "175.190", "string"),
        ("password", "175.191", "string"),
        ("reverse-username", "175.192", "string"),
        ("reverse-password", "175.193", "string"),
        ("uid", "175.194", "uint32"),
        ("gid", "175.195", "uint32"),
        ("initiator-iqn", "203", "string"),
    ] {
        let mut settings = Settings::new();
        settings.set_bytes(tag, [1, 2, 3, 4]).unwrap();
        let setting = settings.fetch(name).unwrap().expect(name);
        assert_eq!((setting.name.as_str(), setting.kind.name()), (name, kind));
        // And by its number it has the same name and type.
        assert_eq!(
            settings.fetch(tag).unwrap().unwrap().full_name(),
            format!("{name}:{kind}")
        );
    }
    for (name, kind) in [
        ("mac", "hex"),
        ("busloc", "uint32"),
        ("uuid", "uuid"),
        ("errno", "string"),
        ("cwuri", "string"),
        ("memsize", "int32"),
        ("vram", "base64"),
    ] {
        let mut settings = Settings::new();
        settings.set_bytes(name, [0; 16]).unwrap();
        assert_eq!(
            settings.fetch(name).unwrap().unwrap().kind.name(),
            kind,
            "{name}"
        );
    }
}

#[test]
fn predefines_no_name_or_tag_twice() {
    for (index, known) in PREDEFINED.iter().enumerate() {
        for other in &PREDEFINED[..index] {
            assert_ne!(known.name, other.name);
            assert!(
                known.tag.is_empty() || known.tag != other.tag,
                "{}",
                known.name
            );
        }
    }
}

/// `set a b; ...` and then what the names give, `-` for nothing.
fn texts(sets: &[(&str, &str)], names: &[&str]) -> Vec<String> {
    let mut settings = Settings::new();
    settings.set_last_opened(Some("net1"));
    for (name, text) in sets {
        settings.set(name, text).unwrap();
    }
    names
        .iter()
        .map(|name| settings.text(name).unwrap_or_else(|| "-".into()))
        .collect()
}

#[test]
fn remembers_the_type_it_was_set_with() {
    let sets = [
        ("a", "1"),
        ("b:hex", "01:02"),
        ("c:int8", "-1"),
        ("d", "x y"),
        ("username", "u"),
    ];
    for (name, expected) in [
        ("a", "1"),
        ("a:hex", "31"),
        ("b", "01:02"),
        ("b:hexhyp", "01-02"),
        ("b:uint16", "0x102"),
        ("c", "-1"),
        ("c:uint8", "0xff"),
        ("d", "x y"),
        ("username", "u"),
        ("175.190", "u"),
        ("175.190:hex", "75"),
        ("175.0276", "u"),
        ("0xaf.0xbe", "u"),
        ("missing", "-"),
        ("a:ipv4", "-"),
        ("a:nothing", "-"),
        ("", "-"),
    ] {
        assert_eq!(texts(&sets, &[name]), [expected], "{name}");
    }
}

#[test]
fn tells_tags_from_names() {
    // A tag is shown in decimal; a name stays as it is.
    for (name, expected) in [
        ("0xe0", "224"),
        ("0340.0x1", "224.1"),
        ("0x1.2.3.4.5.6.7.0x8", "1.2.3.4.5.6.7.8"),
        ("0x3c", "vendor-class"),
        ("0xaf.0xbe", "username"),
        ("0x100", "0x100"),
        ("0x1.2.3.4.5.6.7.8.9", "0x1.2.3.4.5.6.7.8.9"),
        ("0x1.", "0x1."),
        ("0x1..2", "0x1..2"),
        ("0x1.-1", "0x1.-1"),
        ("0x1.+1", "0x1.+1"),
        ("0x1g", "0x1g"),
        (".0x1", ".0x1"),
        ("-0x1", "-0x1"),
    ] {
        let mut settings = Settings::new();
        settings.set(name, "x").unwrap();
        assert_eq!(settings.fetch(name).unwrap().unwrap().name, expected);
    }
}

#[test]
fn searches_scopes_in_order() {
    let sets = [
        ("net0/ip", "10.0.0.1"),
        ("net1/ip", "10.0.1.1"),
        ("net0.dhcp/hostname", "h0"),
        ("net1.dhcp/hostname", "h1"),
        ("net0.dhcp/ip", "10.0.0.99"),
        ("foo/bar", "x"),
        ("foo/hostname", "hfoo"),
        ("domain", "root"),
        ("net0/domain", "net0"),
    ];
    for (name, expected) in [
        ("ip", "10.0.0.1"),
        ("net0/ip", "10.0.0.1"),
        ("net0.dhcp/ip", "10.0.0.99"),
        ("net1/ip", "10.0.1.1"),
        ("netX/ip", "10.0.1.1"),
        ("netX.dhcp/hostname", "h1"),
        ("dhcp/hostname", "h1"),
        ("proxydhcp/hostname", "-"),
        ("hostname", "h0"),
        ("net0/hostname", "h0"),
        ("foo/hostname", "hfoo"),
        ("bar", "x"),
        ("foo/bar", "x"),
        ("foo.baz/bar", "-"),
        ("domain", "root"),
        ("net0/domain", "net0"),
        // A scope does not see what is above it.
        ("net1/domain", "-"),
        ("nowhere/domain", "-"),
        ("./domain", "-"),
    ] {
        assert_eq!(texts(&sets, &[name]), [expected], "{name}");
    }
}

#[test]
fn obeys_priority() {
    let sets = [("net0/x", "0"), ("net1/x", "1"), ("net2/x", "2")];
    for (priorities, expected) in [
        (&[][..], "0"),
        (&[("net1/priority", "1")], "1"),
        (&[("net0/priority", "-1")], "1"),
        (&[("net0/priority", "-1"), ("net1/priority", "-2")], "2"),
        (&[("net2.dhcp/priority", "5"), ("net1/priority", "1")], "2"),
        (&[("net2.dhcp/priority", "5"), ("net2/priority", "-1")], "0"),
        (&[("net1/175.1", "1")], "1"),
    ] {
        let sets = [&sets[..], priorities].concat();
        assert_eq!(texts(&sets, &["x"]), [expected], "{priorities:?}");
    }
}

#[test]
fn a_root_dhcp_scope_stands_for_itself() {
    let sets = [("net1.dhcp/hostname", "h1"), ("dhcp/hostname", "changed")];
    assert_eq!(
        texts(&sets, &["net1.dhcp/hostname"]),
        ["changed"],
        "stored through the alias"
    );

    let mut settings = Settings::new();
    settings.set("dhcp/hostname", "root").unwrap();
    settings.set_last_opened(Some("net0"));
    settings.set("net0.dhcp/hostname", "net0").unwrap();
    assert_eq!(settings.text("dhcp/hostname").unwrap(), "root");
}

#[test]
fn finds_dhcp_options() {
    let mut settings = Settings::new();
    settings.register("net0").unwrap();
    settings.set("net0.dhcp/domain", "old").unwrap();
    settings
        .set_options(
            "net0.dhcp",
            [
                (12, b"node1".to_vec()),
                (6, std::vec![10, 0, 0, 1, 10, 0, 0, 2]),
                (26, std::vec![0x23, 0x28]),
                (43, std::vec![6, 1, 8, 71, 2, 0, 0, 255]),
                (
                    175,
                    std::vec![190, 4, b'u', b's', b'e', b'r', 8, 1, 1, 1, 1, 0xff],
                ),
                (224, b"site\0".to_vec()),
            ],
        )
        .unwrap();
    settings.set_bytes("net0.dhcp/ip", [10, 0, 0, 50]).unwrap();
    for (name, expected) in [
        ("hostname", "node1"),
        ("net0/12", "node1"),
        ("dns", "10.0.0.1"),
        ("mtu", "9000"),
        ("username", "user"),
        ("175.190:hexraw", "75736572"),
        ("keep-san", "1"),
        ("priority", "-1"),
        ("43.6:uint8", "0x8"),
        ("43.71:hex", "00:00"),
        ("43:hex", "06:01:08:47:02:00:00:ff"),
        ("224", "site"),
        ("ip", "10.0.0.50"),
        ("net0.dhcp/175.2:hex", "0a:00:00:32"),
        ("domain", "-"),
        ("43.99", "-"),
        ("175.190.1", "-"),
    ] {
        assert_eq!(
            settings.text(name).as_deref().unwrap_or("-"),
            expected,
            "{name}"
        );
    }
    let dns: Vec<String> = settings
        .ipv4_list("dns")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(dns, ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(settings.ipv4("ip").unwrap().to_string(), "10.0.0.50");
    assert_eq!(settings.ipv4("hostname:string"), None);

    // Clearing takes an option out of the one that carries it.
    settings.clear("net0.dhcp/username").unwrap();
    assert_eq!(settings.text("username"), None);
    assert_eq!(settings.text("keep-san").unwrap(), "1");
    // Setting replaces it.
    settings.set("net0.dhcp/43.6", "x").unwrap();
    assert_eq!(settings.text("43.6").unwrap(), "x");
    settings.clear("net0.dhcp/43.6").unwrap();
    assert_eq!(settings.text("43.6"), None);
    assert_eq!(settings.text("43.71:hex").unwrap(), "00:00");
}

#[test]
fn clears_in_one_scope() {
    let mut settings = Settings::new();
    settings.set("hostname", "root").unwrap();
    settings.set("net0.dhcp/hostname", "dhcp").unwrap();
    settings.clear("hostname").unwrap();
    assert_eq!(settings.text("hostname").unwrap(), "dhcp");
    settings.clear("hostname").unwrap();
    assert_eq!(settings.text("hostname").unwrap(), "dhcp");
    settings.set("net0.dhcp/hostname", "").unwrap();
    assert_eq!(settings.text("hostname"), None);

    settings.set("net0/x", "1").unwrap();
    settings.set("net0.dhcp/x", "2").unwrap();
    assert!(settings.remove_scope("net0.dhcp"));
    assert!(!settings.remove_scope("net0.dhcp"));
    assert_eq!(settings.text("net0.dhcp/x"), None);
    assert_eq!(settings.text("x").unwrap(), "1");
    assert!(!settings.remove_scope("netX"));
}

#[test]
fn increments() {
    for (before, name, by, expected) in [
        (None, "i", 1, "i:int32 = 1"),
        (None, "i:int8", 1, "i:int8 = 1"),
        (None, "mtu", 1500, "mtu:int16 = 1500"),
        (None, "a/i", 3, "a/i:int32 = 3"),
        (Some(("i", "9")), "i", 1, "i:string = 10"),
        (Some(("i", "0x10")), "i", 1, "i:string = 17"),
        (Some(("i", "-1")), "i", -1, "i:string = -2"),
        (Some(("i:int8", "9")), "i", 1, "i:int8 = 10"),
        (Some(("i:uint8", "254")), "i", 1, "i:uint8 = 0xff"),
        (
            Some(("i:uint8", "255")),
            "i",
            1,
            "i: not between -128 and 255",
        ),
        (Some(("i:int8", "9")), "i:int32", 1, "i:int32 = 10"),
        (Some(("i:hex", "01")), "i:int8", 1, "i:int8 = 2"),
        (
            Some(("i", "word")),
            "i",
            1,
            "i: not a number like 10, 0x0a or 012 (octal)",
        ),
        (Some(("net0/i:int8", "5")), "i", 1, "i:int8 = 6"),
    ] {
        let mut settings = Settings::new();
        if let Some((name, text)) = before {
            settings.set(name, text).unwrap();
        }
        let outcome = match settings.increment(name, by) {
            Ok(()) => settings.fetch(name).unwrap().unwrap().to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(outcome, expected, "{before:?}, {name} += {by}");
    }
    let mut settings = Settings::new();
    settings.set("i", "9223372036854775807").unwrap();
    assert!(settings.increment("i", 1).is_err());
}

#[test]
fn computes_values() {
    let mut settings = Settings::new();
    let ticks = Rc::new(core::cell::Cell::new(0u32));
    let source = Rc::clone(&ticks);
    let compute = Rc::new(move || Some(source.get().to_be_bytes().to_vec()));
    settings.set_computed("builtin/unixtime", compute).unwrap();
    settings
        .set_computed("builtin/never", Rc::new(|| None))
        .unwrap();
    assert_eq!(settings.text("unixtime").unwrap(), "0x0");
    ticks.set(0x5e);
    assert_eq!(settings.text("unixtime:int32").unwrap(), "94");
    assert_eq!(settings.text("never"), None);

    for error in [
        settings.set("builtin/unixtime", "1").unwrap_err(),
        settings.clear("builtin/unixtime").unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "builtin/unixtime is read-only");
    }
    // The script may have one of its own.
    settings.set("unixtime", "7").unwrap();
    assert_eq!(settings.text("unixtime").unwrap(), "0x7");
}

#[test]
fn counts_changes() {
    let mut settings = Settings::new();
    let mut last = settings.generation();
    let mut grew = |settings: &Settings| {
        let grew = settings.generation() != last;
        last = settings.generation();
        grew
    };
    settings.set("net0/ip", "10.0.0.1").unwrap();
    assert!(grew(&settings));
    let _ = settings.text("net0/ip");
    let _ = settings.set("net0/ip", "nonsense");
    assert!(!grew(&settings));
    settings.clear("net0/ip").unwrap();
    assert!(grew(&settings));
    settings.set_last_opened(Some("net0"));
    assert!(grew(&settings));
}

#[test]
fn shows_where_a_value_comes_from() {
    let mut settings = Settings::new();
    settings.set("net0.dhcp/ip", "10.0.0.5").unwrap();
    settings.set_bytes("net0.dhcp/gateway", [1, 2]).unwrap();
    settings.set("password", "hush").unwrap();
    for (name, expected) in [
        ("net0/ip", "net0.dhcp/ip:ipv4 = 10.0.0.5"),
        ("ip:hexraw", "net0.dhcp/ip:hexraw = 0a000005"),
        (
            "gateway",
            "net0.dhcp/gateway:ipv4 = (its 2 bytes are not of the type ipv4)",
        ),
        ("password", "password:string = hush"),
    ] {
        assert_eq!(settings.fetch(name).unwrap().unwrap().to_string(), expected);
    }
    let debug = format!(
        "{settings:?} {:?}",
        settings.fetch("password").unwrap().unwrap()
    );
    assert!(
        debug.contains("password") && !debug.contains("hush"),
        "{debug}"
    );
}

#[test]
fn reads_numbers_of_any_type() {
    let mut settings = Settings::new();
    settings.set("text", "0x80").unwrap();
    settings.set("san-drive", "0x81").unwrap();
    settings.set_bytes("175.187", [10]).unwrap();
    assert_eq!(settings.number("text"), Some(0x80));
    assert_eq!(settings.number("san-drive"), Some(0x81));
    assert_eq!(settings.number("san-retries"), Some(10));
    assert_eq!(settings.number("nothing"), None);
}

#[test]
fn holds_its_limits() {
    let mut settings = Settings::new();
    let value = "x".repeat(limits::VALUE_BYTES);
    settings.set("big", &value).unwrap();
    let error = settings.set("big", &(value + "x")).unwrap_err();
    assert_eq!(error, SettingError::TooLarge { name: "big".into() });

    let name = "n".repeat(limits::NAME_BYTES);
    assert_eq!(settings.set(&name, ""), Ok(()));
    assert_eq!(
        settings.set(&(name.clone() + "n"), "x"),
        Err(SettingError::LongName)
    );
    assert_eq!(
        settings.register(&(name + "n")),
        Err(SettingError::LongName)
    );

    for number in 1..limits::SETTINGS {
        settings.set(&format!("s{number}"), "x").unwrap();
    }
    assert_eq!(settings.set("more", "x"), Err(SettingError::TooMany));
    settings.clear("s1").unwrap();
    settings.set("more", "x").unwrap();

    for number in 0..limits::SCOPES {
        settings.register(&format!("scope{number}")).unwrap();
    }
    assert_eq!(settings.register("another"), Err(SettingError::TooMany));
    assert_eq!(settings.register("scope1"), Ok(()));
}

#[test]
fn holds_the_limit_of_all_values() {
    let mut settings = Settings::new();
    let value = "x".repeat(limits::VALUE_BYTES);
    for number in 0..limits::SETTINGS_BYTES / limits::VALUE_BYTES {
        settings.set(&format!("net0/s{number}"), &value).unwrap();
    }
    assert_eq!(settings.set("more", "x"), Err(SettingError::TooMany));
    settings.clear("net0/s0").unwrap();
    settings.set("more", "x").unwrap();
}

#[test]
fn a_full_tree_still_takes_new_values_of_old_names() {
    let mut settings = Settings::new();
    for number in 0..limits::SETTINGS {
        settings.set(&format!("s{number}"), "x").unwrap();
    }
    settings.set("s1", "y").unwrap();
    assert_eq!(settings.text("s1").unwrap(), "y");
    assert_eq!(settings.set("more", "x"), Err(SettingError::TooMany));
}

#[test]
fn random_names_and_values_never_panic() {
    const PARTS: &[&str] = &[
        "a", "net0", "netX", "dhcp", ".", "/", ":", "175", "190", "0x", "1", "-", "hex", "int8",
        "ipv4", "dnssl", "base64", "busdevfn", "priority", "é", "",
    ];
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let mut settings = Settings::new();
        settings.set_last_opened(Some("net0"));
        for _ in 0..20 {
            let parts = random.below(7);
            let name: String = (0..parts).map(|_| random.pick(PARTS)).collect();
            let length = random.below(24);
            let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            let text = String::from_utf8_lossy(&bytes);
            let _ = match random.below(5) {
                0 => settings.set(&name, &text),
                1 => settings.set_bytes(&name, bytes),
                2 => settings.increment(&name, 100),
                3 => settings.clear(&name),
                _ => settings.set_options(&name, [(bytes.first().copied().unwrap_or(43), bytes)]),
            };
            let _ = settings
                .fetch(&name)
                .map(|found| found.map(|found| found.to_string()));
        }
        for kind in SettingType::ALL {
            let _ = settings.text(&format!("175.190:{}", kind.name()));
        }
    }
}

#[test]
fn what_a_type_writes_it_reads_again() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let length = 1 + random.below(20);
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        for kind in SettingType::ALL {
            let Ok(text) = kind.format(&bytes) else {
                continue;
            };
            let Ok(again) = kind.parse(&text) else {
                continue;
            };
            // Numbers and lists may have come in other lengths than those they are stored in.
            if again.len() != bytes.len() {
                continue;
            }
            assert_eq!(kind.format(&again), Ok(text), "seed {seed} {kind:?}");
        }
    }
}

#[test]
fn lists_what_is_there() {
    let mut settings = Settings::new();
    settings.register("net0").unwrap();
    settings.set("x", "1").unwrap();
    settings.set("net0/ip", "10.0.0.1").unwrap();
    settings.set_bytes("net0.dhcp/250", [1, 2]).unwrap();
    settings.set_bytes("net0.dhcp/251", *b"text\0").unwrap();
    settings
        .set_computed("builtin/clock", Rc::new(|| Some(Vec::from([b'9']))))
        .unwrap();
    let shown = |scope: &str| {
        let list = settings.list(scope);
        list.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(shown(""), ["x:string = 1"]);
    assert_eq!(shown("net0"), ["net0/ip:ipv4 = 10.0.0.1"]);
    assert_eq!(
        shown("net0.dhcp"),
        ["net0.dhcp/250:hex = 01:02", "net0.dhcp/251:string = text"]
    );
    assert!(shown("nowhere").is_empty());
    assert_eq!(settings.scopes(""), ["net0", "builtin"]);
    assert_eq!(settings.scopes("net0"), ["net0.dhcp"]);
    assert!(settings.is_read_only("builtin/clock"));
    assert!(!settings.is_read_only("x") && !settings.is_read_only("a/b"));
}

#[test]
fn a_scope_can_answer_for_names() {
    let mut settings = Settings::new();
    let source = |name: &str, kind: Option<SettingType>| {
        let is_known = name != "unknown";
        is_known.then(|| {
            (
                kind.unwrap_or(SettingType::HexRaw),
                name.as_bytes().to_vec(),
            )
        })
    };
    settings.set_source("smbios", Rc::new(source)).unwrap();
    settings.set("smbios/serial", "42").unwrap();
    for (name, value) in [
        // As it is written, even where it is the name of something else.
        ("smbios/0x1.2:string", "0x1.2"),
        ("smbios/1:string", "1"),
        ("smbios/1:hexraw", "31"),
        ("smbios/anything", "616e797468696e67"),
        ("smbios/serial", "42"),
    ] {
        assert_eq!(settings.text(name).as_deref(), Some(value), "{name}");
    }
    for name in ["smbios/unknown", "1", "anything"] {
        assert_eq!(settings.text(name), None, "{name}");
    }
}

#[test]
fn numbers_of_a_name_become_one() {
    for (name, number) in [
        ("1", Some(1)),
        ("1.2.3", Some(0x01_02_03)),
        ("0x18.0.2", Some(0x18_00_02)),
        // A number that is longer than eight bits reaches into those before it.
        ("0x4d434647.0.0.0.4", Some(0x4d43_4647_0000_0004)),
        ("1.0x0203", Some(0x01_00 | 0x0203)),
        ("", None),
        ("1.", None),
        ("x.1", None),
        ("1.-2", None),
        ("0x4d434647.0.0.0.0.4", None),
    ] {
        assert_eq!(tag_number(name), number, "{name}");
    }
}

/// Every type has its rows in the tables: written or shown, and refused where it can be.
#[test]
fn every_type_has_its_rows() {
    for kind in SettingType::ALL {
        let is_good = |(name, ..): &(&str, &[u8], &str)| *name == kind.name();
        assert!(WRITTEN.iter().chain(SHOWN).any(is_good), "{kind:?}");
        let is_bad = |(name, ..): &(&str, &str, &str)| {
            super::SettingName::parse(name).is_ok_and(|name| name.kind == Some(kind))
        };
        // Any text will do.
        let takes_all = matches!(kind, SettingType::String | SettingType::UriString);
        assert_ne!(REFUSED.iter().any(is_bad), takes_all, "{kind:?}");
    }
}
