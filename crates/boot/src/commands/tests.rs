//! Scripts against a machine of the test's own: what the console shows is what is checked.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use bowline_net::Link;
use bowline_script::syntax::table;

use super::FAMILIES;
use super::network_tests::online;
use crate::packed::{Packed, PackedSetting};
use crate::platform::{Key, ResetKind};
use crate::testing::{TestPlatform, run_on, run_packed, run_script, script};

/// Lines of a script, and the lines the console shows before the shell opens.
fn check(lines: &[&str], expected: &[&str]) {
    let (output, _) = run_script(TestPlatform::new(), &script(&[lines, &["exit"]].concat()));
    let shown: Vec<&str> = output.lines().collect();
    assert_eq!(shown, expected, "{lines:?}");
}

/// A script that fails: what is shown up to the shell.
fn fails(platform: TestPlatform, lines: &[&str]) -> String {
    let (output, status) = run_script(platform, &script(lines));
    assert_eq!(status, 0, "{output}");
    let (before, after) = output.split_once("Opening a shell").expect("a shell opens");
    assert!(after.contains("bowline> exit"), "{after}");
    before.to_string()
}

#[test]
fn echo_and_settings() {
    check(
        &["echo Hello ${platform} on ${buildarch}"],
        &["Hello efi on arm64"],
    );
    check(&["set x one two", "echo ${x}"], &["one two"]);
    check(&["set x 1", "clear x", "echo [${x}]"], &["[]"]);
    check(&["set i 41", "inc i", "echo ${i}"], &["42"]);
    check(&["show product"], &["smbios/product:string = Testbed"]);
    check(&["echo ${uuid}"], &["11111111-1111-1111-1111-111111111111"]);
    check(&["iseq a a && echo same || echo other"], &["same"]);
    check(&["iseq a b && echo same || echo other"], &["other"]);
    check(&["isset ${nothing} || echo unset"], &["unset"]);
    check(&["echo -n a", "echo b"], &["ab"]);
}

#[test]
fn flow() {
    check(&["goto end", "echo no", ":end", "echo yes"], &["yes"]);
    check(
        &[
            "set i 0",
            ":again",
            "inc i",
            "iseq ${i} 3 || goto again",
            "echo ${i}",
        ],
        &["3"],
    );
    check(
        &["nonsense ||", "echo on"],
        &["nonsense: command not found [command-unknown]", "on"],
    );
    check(
        &["goto nowhere || echo went on"],
        &[
            "goto: no label `:nowhere` in script (goto at line 2) [script-label]",
            "went on",
        ],
    );
}

#[test]
fn errno_names_the_last_failure() {
    check(
        &["goto nowhere || echo ${errno}", "echo [${errno}]"],
        &[
            "goto: no label `:nowhere` in script (goto at line 2) [script-label]",
            "script-label",
            "[script-label]",
        ],
    );
}

/// The mistake seen in the wild: the label has lost its colon.
#[test]
fn an_unknown_label_ends_the_script_in_a_shell() {
    let shown = fails(
        TestPlatform::new(),
        &["goto fail", "echo no", "fail", "shell"],
    );
    assert!(
        shown.starts_with("goto: no label `:fail` in script (goto at line 2); line 4 reads `fail`"),
        "{shown}"
    );
    assert!(
        shown.contains("Script test.ipxe failed at line 2: no label"),
        "{shown}"
    );
    assert!(shown.contains("[script-label]"), "{shown}");
}

#[test]
fn failures_name_what_where_and_why() {
    let cases: &[(&[&str], &str)] = &[
        (
            &["frobnicate"],
            "frobnicate: command not found [command-unknown]\n",
        ),
        (
            &["sleep x"],
            "sleep: `x` is not a number of seconds [command-usage]\n",
        ),
        (
            &["exit x"],
            "exit: the status is a number, for example `exit 1` [command-usage]\n",
        ),
        (&["dhcp"], "dhcp: the firmware offers no network card"),
        (
            &["ifstat net7"],
            "ifstat: the firmware offers no network card",
        ),
        (&["boot"], "boot: no image is selected [image-unknown]\n"),
        (
            &["imgfree x"],
            "imgfree: there is no image x; `imgstat` lists them [image-unknown]\n",
        ),
        (&["chain x.ipxe"], "x.ipxe... it names no protocol"),
        (
            &["chain gopher://a/b"],
            "gopher://a/b... this loader does not speak `gopher` [uri-unsupported]",
        ),
        (
            &["chain http://a/b"],
            "http://a/b... no network card has an address; run `dhcp` first [net-no-address]\n",
        ),
        (
            &["sanboot"],
            "sanboot: there is no drive 0x80; hook one with",
        ),
        (
            &["sanunhook"],
            "sanunhook: there is no drive 0x80; hook one with",
        ),
        (&["sanhook nonsense"], "sanhook: nonsense: "),
        (
            &["sanhook --drive 3 iscsi:10.0.0.1::::t"],
            "sanhook: drive numbers are 0x80 to 0xff",
        ),
        (
            &["sanhook iscsi:10.0.0.1::::iqn.2000-01.com.example:t"],
            "sanhook: no way to 10.0.0.1: no network card has an address",
        ),
        (
            &[
                "set username user",
                "sanhook iscsi:10.0.0.1::::iqn.2000-01.com.example:t",
            ],
            "sanhook: username is set, but password is not [iscsi-authentication]\n",
        ),
        (
            &["show nothing"],
            "show: nothing has no value [setting-unset]\n",
        ),
        (&["set net0/ip:ipv4 nonsense"], "set: net0/ip:ipv4: "),
    ];
    for (lines, expected) in cases {
        let shown = fails(TestPlatform::new(), lines);
        assert!(shown.starts_with(expected), "{lines:?} shows\n{shown}");
        assert!(
            shown.contains("Script test.ipxe failed at line "),
            "{lines:?} shows\n{shown}"
        );
    }
}

#[test]
fn without_a_server_dhcp_says_so_after_ten_seconds() {
    let platform = TestPlatform::with_wire(Link::Up);
    let (platform, _) = run_on(platform, &script(&["dhcp || echo went on"]));
    let output = platform.output.borrow().clone();
    assert!(
        output.contains("net0: 52:54:00:12:34:56, link up\n"),
        "{output}"
    );
    assert!(
        output.contains("dhcp: net0: no DHCP server answered in 10 s ("),
        "{output}"
    );
    assert!(
        output.contains(" DISCOVER sent, link up) [dhcp-no-answer]\nwent on\n"),
        "{output}"
    );
    assert!(platform.elapsed() < Duration::from_secs(12));
}

#[test]
fn a_link_that_is_down_is_waited_for_and_told() {
    let platform = TestPlatform::with_wire(Link::Down);
    let (platform, _) = run_on(platform, &script(&["dhcp"]));
    let output = platform.output.borrow().clone();
    assert!(
        output.contains("dhcp: net0: no link after 15 s: is the cable in?"),
        "{output}"
    );
}

/// Every command of the syntax table has an action and the other way round.
#[test]
fn the_table_and_the_actions_are_the_same_commands() {
    let mut actions: Vec<&str> = FAMILIES
        .iter()
        .copied()
        .flatten()
        .map(|action| action.name)
        .collect();
    let mut table: Vec<&str> = table::COMMANDS.iter().map(|spec| spec.name).collect();
    actions.sort_unstable();
    table.sort_unstable();
    assert_eq!(actions, table);
}

#[test]
fn help_explains_commands_and_codes() {
    let (output, _) = run_script(TestPlatform::new(), &script(&["help", "exit"]));
    for spec in table::COMMANDS {
        let line = alloc::format!("{:<12} {}", spec.name, spec.summary);
        assert!(output.lines().any(|shown| shown == line), "{line}");
    }
    let (output, _) = run_script(TestPlatform::new(), &script(&["help dhcp", "exit"]));
    assert!(output.contains("ifconf"), "{output}");
    let (output, _) = run_script(
        TestPlatform::new(),
        &script(&["help dhcp-no-answer", "exit"]),
    );
    assert!(
        output.starts_with("dhcp-no-answer: No DHCP server answered."),
        "{output}"
    );
}

#[test]
fn exit_leaves_with_its_status() {
    assert_eq!(
        run_script(TestPlatform::new(), &script(&["exit 3"])),
        (String::new(), 3)
    );
    let platform = TestPlatform::new();
    platform.type_lines(&["exit 4"]);
    let (output, status) = run_script(platform, &script(&["shell"]));
    assert_eq!((output.as_str(), status), ("bowline> exit 4\n", 4));
}

/// A shell in the middle of a script comes back to the script, as scripts in the wild expect.
#[test]
fn a_script_goes_on_after_its_shell() {
    let platform = TestPlatform::new();
    platform.type_lines(&["echo typed", "exit"]);
    let (output, _) = run_script(platform, &script(&["shell", "echo after", "exit"]));
    assert_eq!(output, "bowline> echo typed\ntyped\nbowline> exit\nafter\n");
}

#[test]
fn a_script_that_just_ends_opens_the_shell() {
    let shown = fails(TestPlatform::new(), &["echo on"]);
    assert_eq!(
        shown,
        "on\nScript test.ipxe: it ended without booting anything [script-end]\n"
    );
}

#[test]
fn without_a_script_there_is_a_shell_with_history() {
    let platform = TestPlatform::new();
    platform.press(Key::Char('\x02'));
    platform.type_lines(&["echo one", "", "echo two"]);
    platform.press(Key::Up);
    platform.press(Key::Up);
    platform.type_lines(&["!", "exit 1"]);
    let (platform, status) = run_packed(platform, b"");
    let output = platform.output.borrow().clone();
    assert_eq!(status, 1);
    assert!(output.contains("one!\n"), "{output:?}");
}

#[test]
fn packed_settings_are_there_and_broken_packing_opens_a_shell() {
    let packed = Packed {
        script: None,
        settings: alloc::vec![PackedSetting {
            name: "username".into(),
            value: "user".into()
        }],
        ..Packed::default()
    };
    let platform = TestPlatform::new();
    platform.press(Key::Char('\x02'));
    platform.type_lines(&["echo I am ${username}", "exit"]);
    let (platform, _) = run_packed(platform, &packed.to_bytes().unwrap());
    assert!(platform.output.borrow().contains("I am user\n"));

    let platform = TestPlatform::new();
    platform.type_lines(&["exit"]);
    let (platform, _) = run_packed(platform, b"garbage!garbage!");
    let output = platform.output.borrow().clone();
    assert!(
        output.starts_with("the packed configuration cannot be used: "),
        "{output}"
    );
    assert!(output.contains("[packed]\nbowline> "), "{output}");
}

#[test]
fn a_packed_text_without_magic_is_refused() {
    let (output, _) = run_script(TestPlatform::new(), "echo hello\n");
    assert!(output.starts_with("Script test.ipxe failed: "), "{output}");
    assert!(output.contains("[script-text]"), "{output}");
}

#[test]
fn ctrl_c_cancels_the_command_and_twice_ends_the_script() {
    let platform = TestPlatform::new();
    platform.press_at(Duration::from_secs(1), Key::Char('\x03'));
    let (platform, _) = run_on_late_exit(platform, &["sleep 100 || echo on", "exit"]);
    assert_eq!(
        *platform.output.borrow(),
        "sleep: cancelled by Ctrl-C [cancelled]\non\n"
    );
    assert!(platform.elapsed() < Duration::from_secs(2));

    let platform = TestPlatform::new();
    platform.press_at(Duration::from_secs(1), Key::Char('\x03'));
    platform.press_at(Duration::from_millis(1500), Key::Char('\x03'));
    let (platform, _) = run_on_late_exit(platform, &[":a", "sleep 100 || goto a"]);
    let output = platform.output.borrow().clone();
    assert!(
        output.contains("Script test.ipxe failed at line 3: script ended by Ctrl-C"),
        "{output}"
    );
}

/// An endless loop of commands that never wait can be ended as well.
#[test]
fn ctrl_c_ends_a_loop_of_commands_that_never_wait() {
    let platform = TestPlatform::new();
    platform.press(Key::Char('\x03'));
    let (platform, _) = run_on(platform, &script(&[":a", "goto a"]));
    assert!(
        platform
            .output
            .borrow()
            .contains("script ended by Ctrl-C [cancelled]")
    );
}

fn run_on_late_exit(platform: TestPlatform, lines: &[&str]) -> (alloc::rc::Rc<TestPlatform>, i32) {
    for character in "exit\r".chars() {
        platform.press_at(Duration::from_secs(3), Key::Char(character));
    }
    run_on(platform, &script(lines))
}

#[test]
fn prompt_and_read() {
    let platform = TestPlatform::new();
    platform.type_text("y");
    let (output, _) = run_script(platform, &script(&["prompt Press && echo ok", "exit"]));
    assert_eq!(output, "Press\nok\n");

    let platform = TestPlatform::new();
    platform.type_text("n");
    let lines = script(&["prompt --key y Press y || echo other", "exit"]);
    assert_eq!(run_script(platform, &lines).0, "Press y\nother\n");

    let lines = script(&["prompt --timeout 1000 Press || echo late", "exit"]);
    let packed = Packed {
        script: Some(crate::packed::PackedScript {
            name: "t".into(),
            text: lines,
        }),
        settings: alloc::vec![],
        ..Packed::default()
    };
    let (platform, _) = run_packed(TestPlatform::new(), &packed.to_bytes().unwrap());
    assert_eq!(*platform.output.borrow(), "Press\nlate\n");
    assert!(platform.elapsed() >= Duration::from_secs(1));
    assert!(platform.elapsed() < Duration::from_millis(1100));

    let platform = TestPlatform::new();
    platform.press(Key::Char('\x7f'));
    platform.type_lines(&["2"]);
    let lines = script(&["set x 1", "read x", "echo ${x}", "exit"]);
    assert_eq!(run_script(platform, &lines).0, "x: 1\x08 \x082\n2\n");
}

#[test]
fn power_commands_reach_the_machine() {
    let (platform, _) = run_on(TestPlatform::new(), &script(&["poweroff"]));
    assert_eq!(*platform.resets.borrow(), [ResetKind::PowerOff]);
    let (platform, _) = run_on(TestPlatform::new(), &script(&["reboot"]));
    assert_eq!(*platform.resets.borrow(), [ResetKind::Reboot]);
    assert!(
        platform
            .output
            .borrow()
            .starts_with("reboot: the firmware cannot do it")
    );
}

#[test]
fn a_script_beside_the_loader_is_run() {
    let run = |files: &[(&'static str, &'static [u8])], load_options: Option<&str>| {
        let mut platform = TestPlatform::new();
        platform.files = files.to_vec();
        platform.load_options = load_options.map(String::from);
        platform.type_lines(&["exit"]);
        let (platform, _) = run_packed(platform, b"");
        platform.output.borrow().clone()
    };
    let beside: (&str, &[u8]) = ("autoexec.ipxe", b"#!ipxe\necho beside\nexit\n");
    let root: (&str, &[u8]) = ("\\autoexec.ipxe", b"#!ipxe\necho root\nexit\n");
    assert_eq!(run(&[root, beside], None), "beside\n");
    assert_eq!(run(&[root], None), "root\n");
    assert_eq!(run(&[beside], Some("echo options && exit")), "options\n");
    assert_eq!(
        run(&[beside], Some("#!ipxe\necho script\nexit")),
        "script\n"
    );
    assert_eq!(
        run(&[beside], Some("console=ttyS0 root=/dev/vda")),
        "beside\n"
    );
    let broken: (&str, &[u8]) = ("autoexec.ipxe", b"#!ipxe\n\xff");
    assert!(run(&[broken, root], None).starts_with("autoexec.ipxe: it is not UTF-8 text"));
}

#[test]
fn without_a_script_the_dhcp_server_says_what_to_boot() {
    let platform = TestPlatform::with_network(&[]);
    platform.press_at(Duration::from_secs(60), Key::Char('x'));
    platform.type_lines(&["", "exit"]);
    let (platform, _) = run_packed(platform, b"");
    let output = platform.output.borrow().clone();
    // The server names a disk, and nobody serves it.
    assert!(
        output.contains("any other key to boot at once...\nnet0: "),
        "{output}"
    );
    assert!(
        output.contains("autoboot: connection refused by 192.168.1.1:3260"),
        "{output}"
    );
    assert!(output.contains("Opening a shell"), "{output}");

    let platform = TestPlatform::with_network(&[("/a.ipxe", b"#!ipxe\necho in a\nexit\n")]);
    let lines = [
        "set root-path nfs:somewhere",
        "autoboot netX ||",
        "autoboot ||",
        "set filename http://192.168.1.1/a.ipxe",
        "autoboot net0",
        "echo between",
        "autoboot netX",
        "exit",
    ];
    let (output, _) = run_script(platform, &script(&lines));
    assert!(output.starts_with("autoboot: netX is the network card that was opened last"));
    assert!(
        output.contains("tftp://192.168.1.1/boot.ipxe... "),
        "{output}"
    );
    assert_eq!(output.matches("in a\n").count(), 2, "{output}");
}

#[test]
fn a_scriptlet_is_run_instead() {
    let packed = Packed {
        script: None,
        settings: alloc::vec![PackedSetting {
            name: "scriptlet".into(),
            value: "echo scriptlet ; exit 5".into()
        }],
        ..Packed::default()
    };
    let (platform, status) = run_packed(TestPlatform::new(), &packed.to_bytes().unwrap());
    assert_eq!(status, 5);
    assert!(platform.output.borrow().ends_with("...\nscriptlet\n"));
}

#[test]
fn builtin_settings() {
    check(
        &["show unixtime"],
        &["builtin/unixtime:uint32 = 0x6b49d200"],
    );
    check(&["show memsize"], &["builtin/memsize:int32 = 2048"]);
    check(
        &["set builtin/unixtime 1 ||"],
        &["set: builtin/unixtime: builtin/unixtime is read-only [setting-name]"],
    );
}

#[test]
fn digests_and_unpacking() {
    let pages: crate::testing::servers::Pages = &[("/abc", b"abc")];
    let lines = [
        "dhcp",
        "imgfetch http://192.168.1.1/abc",
        "md5sum abc",
        "sha1sum abc",
        "sha256sum --set x abc",
        "show x",
        "imgset copy abc",
        "echo ${copy} ${copy:hexraw}",
        "sha512sum abc ||",
        "exit",
    ];
    let (output, _) = online(pages, &lines);
    let shown: Vec<&str> = output.lines().skip(3).collect();
    let expected = [
        "900150983cd24fb0d6963f7d28e17f72  abc",
        "a9993e364706816aba3e25717850c26c9cd0d89d  abc",
        "x:hexraw = ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "abc 616263",
    ];
    assert_eq!(shown[..4], expected, "{output}");
    assert!(
        output.contains("names no protocol"),
        "the image was forgotten: {output}"
    );
}

#[test]
fn a_kernel_gets_what_was_fetched_beside_it() {
    let pages: crate::testing::servers::Pages = &[
        ("/vmlinuz", b"MZ kernel"),
        ("/initrd.img", b"disk"),
        ("/x", b"y"),
    ];
    let lines = [
        "dhcp",
        "kernel http://192.168.1.1/vmlinuz quiet initrd=initrd.img",
        "initrd http://192.168.1.1/initrd.img",
        "initrd http://192.168.1.1/x /etc/x mode=600",
        "boot",
        "exit",
    ];
    let (platform, _) = run_on(TestPlatform::with_network(pages), &script(&lines));
    assert_eq!(*platform.started.borrow(), ["quiet initrd=initrd.img"]);
    let initrds = platform.initrds.borrow();
    assert!(initrds[0].starts_with(b"disk070701"), "{initrds:?}");
    assert!(initrds[0].ends_with(b"etc/x\0y\0\0\0"), "{initrds:?}");
}

#[test]
fn a_restart_can_be_warm_and_lead_into_the_setup() {
    let (platform, _) = run_on(TestPlatform::new(), &script(&["reboot --warm"]));
    assert_eq!(*platform.resets.borrow(), [ResetKind::Reboot]);
    let (output, _) = run_script(TestPlatform::new(), &script(&["reboot --setup", "exit"]));
    assert!(
        output.starts_with("reboot: SetVariable(OsIndications) answered EFI_UNSUPPORTED"),
        "{output}"
    );
}

#[test]
fn reading_a_setting_has_a_limit_of_time() {
    let (output, _) = run_script(TestPlatform::new(), &script(&["exit"]));
    assert_eq!(output, "");
    let packed = Packed {
        script: Some(crate::packed::PackedScript {
            name: "t".into(),
            text: script(&["read -t 500 x || echo ${errno}", "exit"]),
        }),
        settings: alloc::vec![],
        ..Packed::default()
    };
    let (platform, _) = run_packed(TestPlatform::new(), &packed.to_bytes().unwrap());
    assert_eq!(*platform.output.borrow(), "x: \nprompt-timeout\n");
}

#[test]
fn a_device_tree_is_there_while_a_program_runs() {
    const TREE: &[u8] = b"\xd0\x0d\xfe\xed tree";
    const PAGES: crate::testing::servers::Pages = &[("/k", b"MZ"), ("/tree", TREE)];
    let lines = [
        "dhcp",
        "fdt http://192.168.1.1/tree",
        "imgstat",
        "chain http://192.168.1.1/k",
        "fdt",
        "chain http://192.168.1.1/k",
        "exit",
    ];
    let platform = TestPlatform::with_network(PAGES);
    let (platform, _) = run_on(platform, &script(&lines));
    let (given, back) = (Some(TREE.to_vec()), None);
    // Tried when it is chosen, then for the program; the second one has the firmware's.
    let expected = [given.clone(), back.clone(), given, back];
    let output = platform.output.borrow();
    assert!(!output.contains("tree : "), "no image any more: {output}");
    assert_eq!(*platform.device_trees.borrow(), expected);
    assert_eq!(platform.started.borrow().len(), 2);
}
