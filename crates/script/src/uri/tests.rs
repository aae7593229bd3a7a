//! URIs, their resolution, and root paths.

use std::format;
use std::string::{String, ToString};

use super::{RootPath, RootPathError, Uri, UriError};
use crate::limits;
use crate::tests::Random;

/// All components, `-` for those that are not there.
fn components(text: &str) -> String {
    let uri: Uri = match text.parse() {
        Ok(uri) => uri,
        Err(error) => return UriError::to_string(&error),
    };
    format!(
        "{} {} {} {} {} {} {} {}",
        uri.scheme().unwrap_or("-"),
        uri.user().unwrap_or_else(|| "-".into()),
        uri.password().unwrap_or_else(|| "-".into()),
        uri.host().unwrap_or("-"),
        uri.port()
            .map_or_else(|| "-".into(), |port| port.to_string()),
        if uri.path().is_empty() {
            "-"
        } else {
            uri.path()
        },
        uri.query().unwrap_or("-"),
        uri.fragment().unwrap_or("-"),
    )
}

#[test]
fn takes_uris_apart() {
    for (text, expected) in [
        (
            "http://boot.example/a/b.ipxe",
            "http - - boot.example - /a/b.ipxe - -",
        ),
        ("HTTP://Boot/", "http - - Boot - / - -"),
        ("http://boot", "http - - boot - - - -"),
        (
            "http://boot:8080/a?b=c&d#e",
            "http - - boot 8080 /a b=c&d e",
        ),
        ("http://boot:/a", "http - - boot - /a - -"),
        ("http://u:p@boot:81/a", "http u p boot 81 /a - -"),
        ("http://u@boot/a", "http u - boot - /a - -"),
        ("http://u:@boot/a", "http u  boot - /a - -"),
        ("http://u%40x:p%3a@boot/a", "http u@x p: boot - /a - -"),
        ("http://a@b:c@boot/", "http a@b c boot - / - -"),
        ("http://[fd00::1]/a", "http - - fd00::1 - /a - -"),
        ("http://[fd00::1]:8080/a", "http - - fd00::1 8080 /a - -"),
        (
            "http://[fe80::1%25net0]/",
            "http - - fe80::1%25net0 - / - -",
        ),
        ("tftp://10.0.0.1/boot/x", "tftp - - 10.0.0.1 - /boot/x - -"),
        ("http://boot/a b", "http - - boot - /a%20b - -"),
        ("http://boot/a%20b%", "http - - boot - /a%20b%25 - -"),
        ("http://boot/é?é#é", "http - - boot - /%C3%A9 %C3%A9 %C3%A9"),
        ("http://boot/a?b/c?d", "http - - boot - /a b/c?d -"),
        ("http://boot?x", "http - - boot - - x -"),
        ("http://boot/a##params=b", "http - - boot - /a - #params=b"),
        ("file:///EFI/x.ipxe", "file - - - - /EFI/x.ipxe - -"),
        ("file://ESP/x.ipxe", "file - - ESP - /x.ipxe - -"),
        ("file:/x.ipxe", "file - - - - /x.ipxe - -"),
        ("file:x.ipxe", "file - - - - x.ipxe - -"),
        (
            "iscsi:10.0.0.1:::1:iqn.a:b?c#d",
            "iscsi - - - - 10.0.0.1:::1:iqn.a:b?c#d - -",
        ),
        ("ib_srp:x", "ib_srp - - - - x - -"),
        ("a.ipxe", "- - - - - a.ipxe - -"),
        ("../a.ipxe?b", "- - - - - ../a.ipxe b -"),
        ("/a:b", "- - - - - /a:b - -"),
        ("./a:b", "- - - - - ./a:b - -"),
        ("1:2", "- - - - - 1:2 - -"),
        (":x", "- - - - - :x - -"),
        ("//boot/a", "- - - boot - /a - -"),
        ("?x", "- - - - - - x -"),
        (" http://boot/ ", "http - - boot - / - -"),
        ("", "the URI is empty"),
        ("  ", "the URI is empty"),
        ("http://boot/a\nb", "the URI contains control characters"),
        (
            "http://boot:99999/",
            "`99999` is no port between 1 and 65535",
        ),
        ("http://boot:0/", "`0` is no port between 1 and 65535"),
        ("http://boot:+80/", "`+80` is no port between 1 and 65535"),
        ("http://boot:http/", "`http` is no port between 1 and 65535"),
    ] {
        assert_eq!(components(text), expected, "{text:?}");
    }
    for text in [
        "http://fd00::1/",
        "http://[fd00::1/",
        "http://[boot]/",
        "http://[::1]x/",
        "http://a b/",
        "http://a^b/",
    ] {
        assert!(
            components(text).contains(" is no host: write a name, "),
            "{text:?}"
        );
    }
    let long = format!("http://boot/{}", "x".repeat(limits::URI_BYTES));
    assert_eq!(components(&long), "the URI is longer than 8192 bytes");
}

#[test]
fn hides_passwords() {
    for (text, shown) in [
        ("http://boot:8080/a?b#c", "http://boot:8080/a?b#c"),
        ("http://u:hush@boot/a", "http://u:***@boot/a"),
        ("http://u:@boot/a", "http://u:***@boot/a"),
        ("http://u@boot/a", "http://u@boot/a"),
        ("http://[fd00::1]:81/a", "http://[fd00::1]:81/a"),
        ("file:x", "file:x"),
        ("file:///x", "file:///x"),
        ("../x", "../x"),
    ] {
        let uri: Uri = text.parse().unwrap();
        assert_eq!(uri.to_string(), shown);
        assert_eq!(format!("{uri:?}"), format!("Uri({shown})"));
        assert_eq!(uri.to_string_with_password(), text);
    }
}

#[test]
fn resolves_the_examples_of_the_rfc() {
    // RFC 3986 sections 5.4.1 and 5.4.2. Left out: `g:h` names a scheme and is kept.
    let base: Uri = "http://a/b/c/d;p?q".parse().unwrap();
    for (reference, expected) in [
        ("g:h", "g:h"),
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q#s"),
        ("g#s", "http://a/b/c/g#s"),
        ("g?y#s", "http://a/b/c/g?y#s"),
        (";x", "http://a/b/c/;x"),
        ("g;x", "http://a/b/c/g;x"),
        ("g;x?y#s", "http://a/b/c/g;x?y#s"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("../../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        (".g", "http://a/b/c/.g"),
        ("g..", "http://a/b/c/g.."),
        ("..g", "http://a/b/c/..g"),
        ("./../g", "http://a/b/g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/./x", "http://a/b/c/g?y/./x"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("g#s/./x", "http://a/b/c/g#s/./x"),
        ("g#s/../x", "http://a/b/c/g#s/../x"),
    ] {
        assert_eq!(
            base.resolve(reference).unwrap().to_string(),
            expected,
            "{reference:?}"
        );
    }
}

#[test]
fn resolves_as_scripts_do() {
    for (base, reference, expected) in [
        ("http://boot", "a.ipxe", "http://boot/a.ipxe"),
        ("http://boot/", "a.ipxe", "http://boot/a.ipxe"),
        (
            "http://boot/x/y.ipxe",
            "a b.ipxe",
            "http://boot/x/a%20b.ipxe",
        ),
        ("http://boot/x/y.ipxe?z", "a.ipxe", "http://boot/x/a.ipxe"),
        ("http://u:p@boot:81/x", "a", "http://u:p@boot:81/a"),
        ("tftp://10.0.0.1/x/y", "../z", "tftp://10.0.0.1/z"),
        ("http://boot/x", "https://other/./y/../z", "https://other/z"),
        (
            "http://boot/x",
            "iscsi:10.0.0.1:::1:iqn.a",
            "iscsi:10.0.0.1:::1:iqn.a",
        ),
        ("file:/a/b", "c", "file:/a/c"),
        ("file:a/b", "c", "file:a/c"),
        ("file:b", "../c", "file:c"),
    ] {
        let base: Uri = base.parse().unwrap();
        let resolved = base.resolve(reference).unwrap();
        assert_eq!(
            resolved.to_string_with_password(),
            expected,
            "{base} {reference:?}"
        );
    }
    let base: Uri = "http://boot/x".parse().unwrap();
    assert_eq!(base.resolve(""), Err(UriError::Empty));
}

#[test]
fn says_what_to_ask_for() {
    for (text, target, name) in [
        ("http://boot", "/", None),
        ("http://boot/", "/", None),
        ("http://boot?x", "/?x", None),
        (
            "http://boot/a/b%20c.ipxe?x#y",
            "/a/b%20c.ipxe?x",
            Some("b c.ipxe"),
        ),
        ("http://boot/a/", "/a/", None),
        ("file:x.ipxe", "x.ipxe", Some("x.ipxe")),
    ] {
        let uri: Uri = text.parse().unwrap();
        assert_eq!(uri.request_target(), target);
        assert_eq!(uri.file_name().as_deref(), name);
    }
    for (server, file, expected, decoded) in [
        ("10.0.0.1", "a b%", "tftp://10.0.0.1/a%20b%25", "/a b%"),
        ("fd00::1", "/x#y?z", "tftp://[fd00::1]/x%23y%3Fz", "/x#y?z"),
        (
            "10.0.0.1",
            "\\boot\\x",
            "tftp://10.0.0.1/%5Cboot%5Cx",
            "/\\boot\\x",
        ),
    ] {
        let uri = Uri::tftp(server.parse().unwrap(), file);
        assert_eq!(
            (uri.to_string(), uri.decoded_path()),
            (expected.into(), decoded.into())
        );
        assert_eq!(uri.to_string().parse(), Ok(uri));
    }
}

#[test]
fn reads_root_paths() {
    for (text, server, port, lun, target, shown) in [
        (
            "iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1",
            "192.168.1.1",
            3260,
            [0, 1, 0, 0, 0, 0, 0, 0],
            "iqn.2000-01.com.example:disk1",
            None,
        ),
        (
            "iscsi:san:6:3261::iqn.a:b",
            "san",
            3261,
            [0; 8],
            "iqn.a:b",
            Some("iscsi:san::3261::iqn.a:b"),
        ),
        (
            "ISCSI:san::0:0:iqn.a",
            "san",
            3260,
            [0; 8],
            "iqn.a",
            Some("iscsi:san::::iqn.a"),
        ),
        (
            "iscsi:san:tcp:::iqn.a",
            "san",
            3260,
            [0; 8],
            "iqn.a",
            Some("iscsi:san::::iqn.a"),
        ),
        (
            "iscsi:[fd00::1]::3260:a:eui.02004567A425678D",
            "fd00::1",
            3260,
            [0, 10, 0, 0, 0, 0, 0, 0],
            "eui.02004567A425678D",
            Some("iscsi:[fd00::1]:::a:eui.02004567A425678D"),
        ),
        (
            "iscsi:[fe80::1%net0]::::naa.5",
            "fe80::1%net0",
            3260,
            [0; 8],
            "naa.5",
            None,
        ),
        (
            "iscsi:san:::4001-2-c0de-FFFF:iqn.a",
            "san",
            3260,
            [0x40, 1, 0, 2, 0xc0, 0xde, 0xff, 0xff],
            "iqn.a",
            Some("iscsi:san:::4001-2-c0de-ffff:iqn.a"),
        ),
        (
            "iscsi:san:::0-1:iqn.a",
            "san",
            3260,
            [0, 0, 0, 1, 0, 0, 0, 0],
            "iqn.a",
            Some("iscsi:san:::0-1-0-0:iqn.a"),
        ),
        // Nothing is decoded, and nothing after the fifth colon is looked at.
        (
            "iscsi:san::::iqn.a:b:%20?c#d/e",
            "san",
            3260,
            [0; 8],
            "iqn.a:b:%20?c#d/e",
            None,
        ),
    ] {
        let path = RootPath::parse(text).unwrap();
        assert_eq!(
            (
                path.server.as_str(),
                path.port,
                path.lun,
                path.target.as_str()
            ),
            (server, port, lun, target)
        );
        assert_eq!(path.to_string(), shown.unwrap_or(text));
        assert_eq!(path.to_string().parse(), Ok(path));
        assert!(RootPath::is_root_path(text));
    }
}

#[test]
fn says_what_is_wrong_with_a_root_path() {
    const FORM: &str = "the form is iscsi:<server>:<protocol>:<port>:<LUN>:<target>";
    for (text, expected) in [
        ("", "not an iSCSI root path: "),
        ("nfs:x", "not an iSCSI root path: "),
        ("192.168.1.1:::1:iqn.a", "not an iSCSI root path: "),
        ("iscsi:", "a colon is missing: "),
        ("iscsi:san", "a colon is missing: "),
        ("iscsi:san:::1", "a colon is missing: "),
        ("iscsi:[fd00::1]", "a colon is missing: "),
        ("iscsi:[fd00::1]x::::iqn.a", "a colon is missing: "),
        (
            "iscsi::::1:iqn.a",
            "the server is missing (discovery is not supported): ",
        ),
        ("iscsi:san:::1:", "the target's name is missing: "),
        (
            "iscsi://san:::1:iqn.a",
            "no `//` belongs in an iSCSI root path: ",
        ),
    ] {
        let error = RootPath::parse(text).unwrap_err().to_string();
        assert_eq!(error, format!("{expected}{FORM}"), "{text:?}");
    }
    for (text, expected) in [
        (
            "iscsi:san::99999:1:iqn.a",
            "`99999` is no port between 1 and 65535",
        ),
        (
            "iscsi:san::+1:1:iqn.a",
            "`+1` is no port between 1 and 65535",
        ),
        (
            "iscsi:san:::g:iqn.a",
            "`g` is no LUN: up to four hexadecimal words, like 1 or 4001-0-0-0",
        ),
        (
            "iscsi:san:::12345:iqn.a",
            "`12345` is no LUN: up to four hexadecimal words, like 1 or 4001-0-0-0",
        ),
        (
            "iscsi:san:::1-:iqn.a",
            "`1-` is no LUN: up to four hexadecimal words, like 1 or 4001-0-0-0",
        ),
        (
            "iscsi:san:::1-2-3-4-5:iqn.a",
            "`1-2-3-4-5` is no LUN: up to four hexadecimal words, like 1 or 4001-0-0-0",
        ),
        (
            "iscsi:san:::1:iqn a",
            "`iqn a` is no target name: it is longer than 223 bytes or has spaces in it",
        ),
        (
            "iscsi:[san]::::iqn.a",
            "`san` is no server: write a name, 192.168.1.1, or an IPv6 address in brackets, like [fd00::1]",
        ),
        (
            "iscsi:[fd00::1::::iqn.a",
            "`[fd00::1::::iqn.a` is no server: write a name, 192.168.1.1, or an IPv6 address in brackets, like [fd00::1]",
        ),
        (
            "iscsi:u@san::::iqn.a",
            "`u@san` is no server: write a name, 192.168.1.1, or an IPv6 address in brackets, like [fd00::1]",
        ),
    ] {
        assert_eq!(
            RootPath::parse(text).unwrap_err().to_string(),
            expected,
            "{text:?}"
        );
    }
    let name = |length: usize| format!("iscsi:san::::{}", "x".repeat(length));
    assert!(RootPath::parse(&name(limits::ISCSI_NAME_BYTES)).is_ok());
    let error = RootPath::parse(&name(limits::ISCSI_NAME_BYTES + 1)).unwrap_err();
    assert!(matches!(error, RootPathError::BadTarget { .. }));
}

#[test]
fn random_uris_never_panic_and_stay_the_same() {
    const PARTS: &[&str] = &[
        "http", "iscsi", ":", ":", "/", "/", "//", "@", "[", "]", "::1", "a", ".", "..", "?", "#",
        "%", "%2", "%20", " ", "é", "1", "-", "_", "file:", "\\",
    ];
    for seed in 0..20_000 {
        let mut random = Random::new(seed);
        let mut text = || -> String {
            let parts = random.below(14);
            (0..parts).map(|_| random.pick(PARTS)).collect()
        };
        let (base, reference) = (text(), text());
        let _ = RootPath::parse(&base).map(|path| {
            assert_eq!(
                RootPath::parse(&path.to_string()),
                Ok(path),
                "seed {seed}: {base:?}"
            );
        });
        let Ok(base) = base.parse::<Uri>() else {
            continue;
        };
        // What was put in order once stays so.
        let whole = base.to_string_with_password();
        if let Ok(again) = whole.parse::<Uri>() {
            assert_eq!(again.to_string_with_password(), whole, "seed {seed}");
        }
        let _ = base.resolve(&reference).map(|uri| uri.to_string());
    }
}
