//! Every command with good arguments and with bad ones.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bowline_script::syntax::{ValueKind, table};

use crate::testing::servers::{Pages, boot_server, ntp_server};
use crate::testing::{Task, TestPlatform, run_script, script};

const PAGES: Pages = &[
    ("/a", b"MZ"),
    ("/s", b"#!ipxe\necho in s ${x}\n"),
    ("/t", b"text"),
    ("/tree", b"\xd0\x0d\xfe\xed"),
    // `gzip -n` of `text`.
    (
        "/t.gz",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x2b\x49\xad\x28\x01\0\xc7\xa7\x8b\x3b\x04\0\0\0",
    ),
];

/// Lines that succeed on a machine with a network, and what they show.
const GOOD: &[(&str, &str)] = &[
    ("ifstat netX", "net0: 52:54:00:12:34:56, link up, open\n"),
    ("iflinkwait -t 100 net0", ""),
    ("ifopen net0 && ifclose net0", ""),
    ("ifconf -c dhcp -t 5000 net0", "net0: 192.168.1.50/24"),
    ("route", "net0: 192.168.1.0/24 direct\n"),
    ("nslookup x 10.0.0.9 && echo ${x}", "10.0.0.9\n"),
    (
        "ntp 192.168.1.1 && echo ${unixtime:int32}",
        "\n1793491200\n",
    ),
    (
        "ping -c 1 192.168.1.1",
        "64 bytes from 192.168.1.1: seq=1, ",
    ),
    (
        "ping -qc 1 192.168.1.1 && nstat",
        "net0: 192.168.1.1 is 02:00:00:00:00:01, heard of 0 s ago
",
    ),
    (
        "ping -qc 1 192.168.1.1 && ipstat",
        "net0: IPv4: 3 received, 3 sent\n",
    ),
    (
        "set net0/43.8:hex 00:05:01:c0:a8:01:01 && pxebs net0 5",
        "net0: PXE boot server 192.168.1.1, file http://192.168.1.1/s\n",
    ),
    ("vcreate --tag 7 -p 3 net0 && vdestroy net0-7", ""),
    (
        "set n 5 && show n && clear n && show -q n || echo none",
        "n:string = 5\nnone\n",
    ),
    ("inc n && inc n 4 && show n", "n:int32 = 5\n"),
    ("set a:hex 01:02 && echo ${a:base64}", "AQI=\n"),
    (
        "imgfetch --quiet --name b http://192.168.1.1/a q r && imgstat b",
        "b : 2 bytes [EFI] \"q r\"\n",
    ),
    (
        "imgfetch -q -a http://192.168.1.1/t && imgstat",
        "t : 4 bytes [AUTOFREE]\n",
    ),
    (
        "imgfetch -q http://192.168.1.1/t && imgargs t one && imgstat t",
        "t : 4 bytes \"one\"\n",
    ),
    (
        "imgfetch -q http://192.168.1.1/t.gz && imgextract -q -k t.gz && imgset -q x t && echo ${x}",
        "text\n",
    ),
    ("set x 1 && imgexec -q http://192.168.1.1/s", "in s 1\n"),
    (
        "imgselect -q http://192.168.1.1/s && boot ; imgfree && imgstat",
        "in s \n",
    ),
    (
        "imgtrust && imgtrust -a ; imgexec -q http://192.168.1.1/s",
        "in s \n",
    ),
    ("fdt -q http://192.168.1.1/tree && fdt", ""),
    ("certstat ; certfree -s nobody", ""),
    (
        "md5sum http://192.168.1.1/t",
        "1cb251ec0d568de6a929b520c4aed8d1  t\n",
    ),
    (
        "sha1sum http://192.168.1.1/t",
        "372ea08cab33e71c02c651dbc83a474d32c676ea  t\n",
    ),
    (
        "sha256sum --set x http://192.168.1.1/t ; show x",
        "x:hexraw = 982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1\n",
    ),
    ("sha224sum http://192.168.1.1/t", "  t\n"),
    ("sha384sum http://192.168.1.1/t", "  t\n"),
    ("sha512sum http://192.168.1.1/t", "  t\n"),
    (
        "colour --basic 1 9 && cpair -f 9 1 && console -x 1 -y 1",
        "",
    ),
    ("sync -t 5 ; cpuid 3 || echo none", "none\n"),
    ("params -n p -m GET && param -p p a b && params -n p -d", ""),
    ("menu -n m && item -m m && menu -n m --delete", ""),
    ("form F && item a b", ""),
    ("echo -n x ; echo --- y", "x--- y\n"),
    ("sleep 0 && iseq a a && isset b", ""),
    ("help isset", "isset <value>\n"),
    ("sanlist", ""),
    ("goto on || echo skipped", ""),
];

/// Lines that fail, and why.
const BAD: &[(&str, &str)] = &[
    ("ifstat net7", "[net-no-card]"),
    ("ifopen eth0", "[net-no-card]"),
    ("ifclose lo", "[net-no-card]"),
    ("iflinkwait net1", "[net-no-card]"),
    ("ifconf net1", "[net-no-card]"),
    ("nslookup a/b:c 10.0.0.9", "[setting-name]"),
    (
        "ntp 192.168.1.9",
        "no answer from the NTP server 192.168.1.9 for 14 s [connect-timeout]",
    ),
    ("ntp", "ntp: "),
    (
        "ping -c 1 192.168.1.9",
        "192.168.1.9 has answered none of 1 questions",
    ),
    ("ping -c 1 -s 1473 192.168.1.1", "room for 1472 bytes"),
    ("pxebs net7 5", "[net-no-card]"),
    ("pxebs net0 65536", "`65536` is no server type"),
    ("pxebs x", "`x` is no server type"),
    ("pxebs 5", "(asked: everybody; 4 messages sent"),
    ("vcreate --tag 4095 net0", "from 1 to 4094"),
    ("vcreate --tag 5 -p 8 net0", "from 0 to 7"),
    ("vcreate net0", "which VLAN?"),
    ("vdestroy net0", "net0 is no VLAN"),
    ("set net0/ip 300.1.1.1", "not an IPv4 address"),
    ("set a:int8 1000", "[setting-name]"),
    ("set a:nonsense 1", "[setting-name]"),
    ("show nothing", "[setting-unset]"),
    ("clear a:nonsense", "[setting-name]"),
    ("autoboot net7", "[net-no-card]"),
    ("goto nowhere", "[script-label]"),
    ("prompt -t 1 -k 0x1b", ""),
    ("reboot --setup", "[firmware]"),
    ("sanlist 192.168.1.1:x", "[uri-invalid]"),
    ("inc hostname x", "inc: "),
    ("set a b ; inc a", "inc: "),
    ("read a:nonsense", "[setting-name]"),
    ("isset", ""),
    ("iseq a b", ""),
    ("imgfetch nonsense://x/", "[uri-unsupported]"),
    ("imgfetch ftp://192.168.1.1/x", "[connect-refused]"),
    ("imgfetch ftp:x", "it names no server"),
    ("imgfetch nfs://192.168.1.1/x", "[connect-refused]"),
    ("imgfetch http://192.168.1.1/none", "404 Not Found"),
    ("imgexec http://192.168.1.1/t", "[image"),
    ("imgselect missing", "[uri-invalid]"),
    ("imgargs missing x", "[uri-invalid]"),
    ("imgstat missing", "[image"),
    ("imgfree missing", "[image"),
    ("imgextract missing", "[uri-invalid]"),
    ("imgset x missing", "[uri-invalid]"),
    (
        "fdt -q http://192.168.1.1/t",
        "fdt: t: InstallConfiguration",
    ),
    ("md5sum missing", "[uri-invalid]"),
    ("sha1sum missing", "[uri-invalid]"),
    ("sha224sum missing", "[uri-invalid]"),
    ("sha256sum missing", "[uri-invalid]"),
    ("sha256sum -s a:x http://192.168.1.1/t", "[setting-name]"),
    ("sha384sum http://192.168.1.1/none", "404 Not Found"),
    ("sha512sum missing", "[uri-invalid]"),
    ("imgtrust -p && imgtrust -a", "[image-untrusted]"),
    (
        "imgtrust && imgexec -q http://192.168.1.1/s",
        "[image-untrusted]",
    ),
    (
        "imgverify -q http://192.168.1.1/s http://192.168.1.1/t",
        "[tls-no-anchors]",
    ),
    ("imgverify missing missing", "[uri-invalid]"),
    ("imgdecrypt missing missing", "[uri-invalid]"),
    ("certstore -q http://192.168.1.1/t", "[certificate-image]"),
    ("certstat -q http://192.168.1.1/t", "[certificate-image]"),
    ("certfree missing", "[uri-invalid]"),
    ("sanhook iscsi:", "sanhook: "),
    (
        "sanhook --drive 0x99999999999 iscsi:192.168.1.1::::iqn.x",
        "sanhook: ",
    ),
    ("sanunhook --drive 0x90", "sanunhook: "),
    ("sanboot --drive 0x90", "sanboot: "),
    ("item a b", "[menu"),
    ("choose x", "[menu"),
    ("present", "[menu"),
    ("param a b", "[parameters-unknown]"),
    ("cpuid 32", "cpuid: "),
    ("cpuid x", "cpuid: "),
    ("colour 99", "colour: "),
    ("cpair 99", "cpair: "),
    ("sleep x", "sleep: "),
    ("help nonsense", "help: "),
    ("exit x", "exit: "),
    ("config nonsense scope", "[command-usage]"),
];

/// Commands that do not come back to their line, or need somebody at the console, a disk or a
/// signature; other tests have them.
const ELSEWHERE: &[&str] = &[
    "autoboot",
    "certstore",
    "choose",
    "config",
    "exit",
    "imgdecrypt",
    "imgverify",
    "login",
    "poweroff",
    "present",
    "prompt",
    "read",
    "reboot",
    "sanboot",
    "sanhook",
    "sanunhook",
    "shell",
];

/// Commands that fail at nothing but their own syntax, which
/// [`every_command_refuses_what_it_does_not_take`] tries out for all.
const CANNOT_FAIL: &[&str] = &[
    "console", "echo", "form", "ipstat", "login", "menu", "nstat", "params", "poweroff", "route",
    "shell", "sync",
];

fn run(line: &str) -> (String, i32) {
    let platform = TestPlatform::with_network(PAGES);
    let server = platform.server.clone().unwrap();
    let tasks: [Task; 2] = [
        Box::pin(ntp_server(server.clone(), 1_793_491_200, 2)),
        Box::pin(boot_server(server, 5)),
    ];
    platform.tasks.borrow_mut().extend(tasks);
    let lines = script(&["dhcp", &format!("{line} || exit 9"), ":on", "exit"]);
    let (output, status) = run_script(platform, &lines);
    let shown: Vec<&str> = output.split_inclusive('\n').skip(2).collect();
    (shown.concat(), status)
}

#[test]
fn commands_do_what_they_are_for() {
    for (line, expected) in GOOD {
        let (shown, status) = run(line);
        assert_eq!(status, 0, "{line}: {shown}");
        assert!(shown.contains(expected), "{line}: {shown}");
        assert!(!expected.is_empty() || shown.is_empty(), "{line}: {shown}");
    }
}

/// Whoever adds a command adds lines to both tables, or says here why there are none.
#[test]
fn every_command_has_its_lines() {
    let words: Vec<&str> = GOOD.iter().flat_map(|(line, _)| line.split(' ')).collect();
    for spec in table::COMMANDS {
        let is_tried = words.contains(&spec.name);
        assert_ne!(is_tried, ELSEWHERE.contains(&spec.name), "{}", spec.name);
        let is_refused = BAD
            .iter()
            .flat_map(|(line, _)| line.split(' '))
            .any(|word| spec.name == word || spec.synonyms.contains(&word));
        assert_ne!(
            is_refused,
            CANNOT_FAIL.contains(&spec.name),
            "{}",
            spec.name
        );
    }
}

#[test]
fn commands_fail_for_the_right_reason() {
    for (line, expected) in BAD {
        let (shown, status) = run(line);
        assert_eq!(status, 9, "{line}: {shown}");
        assert!(shown.contains(expected), "{line}: {shown}");
    }
}

/// Every command: help is given, and options, values and numbers of arguments that it does not
/// take are refused with the command's name.
#[test]
fn every_command_refuses_what_it_does_not_take() {
    for spec in table::COMMANDS {
        let names = [spec.name].into_iter().chain(spec.synonyms.iter().copied());
        let words = |count: usize| " x".repeat(count);
        let mut bad = Vec::new();
        if !spec.takes_any_dash {
            bad.push(String::from("--bogus"));
        }
        for option in spec.options {
            let (long, short) = (option.long, option.short);
            bad.extend(match option.value {
                ValueKind::Flag => vec![format!("--{long}=x")],
                ValueKind::Text(_) => vec![format!("--{long}"), format!("-{short}")],
                ValueKind::Number(_) | ValueKind::Milliseconds => {
                    vec![format!("--{long} -1"), format!("-{short} 1x")]
                }
                ValueKind::Key | ValueKind::Choice(_) => {
                    vec![format!("--{long} nonsense"), format!("-{short}")]
                }
            });
        }
        if let Some(fewer) = spec.arguments.min.checked_sub(1) {
            bad.push(words(fewer));
        }
        if let Some(max) = spec.arguments.max {
            bad.push(words(max + 1));
        }
        for name in names {
            for bad in &bad {
                let line = format!("{name} {bad} || echo refused ${{errno}}");
                let (output, _) = run_script(TestPlatform::new(), &script(&[&line, "exit"]));
                assert!(output.starts_with(&format!("{name}: ")), "{line}: {output}");
                assert!(
                    output.ends_with("refused command-usage\n"),
                    "{line}: {output}"
                );
            }
            let line = format!("{name} --help");
            let (output, _) = run_script(TestPlatform::new(), &script(&[&line, "exit"]));
            assert!(output.starts_with(spec.summary), "{line}: {output}");
        }
    }
}
