//! Commands on a network of models: addresses, scripts that chain scripts, failures.

use alloc::string::String;
use core::time::Duration;

use crate::testing::{TestPlatform, run_on, run_script, script};

/// The lines of a script on a network with DHCP and web pages.
pub(super) fn online(pages: crate::testing::servers::Pages, lines: &[&str]) -> (String, i32) {
    run_script(TestPlatform::with_network(pages), &script(lines))
}

#[test]
fn dhcp_configures_the_card_and_stores_every_option() {
    let lines = [
        "set user-class:hex 04:69:a0:45:43",
        "dhcp",
        "echo ${net0/ip} ${net0/netmask} ${net0/gateway} ${dns} ${filename} ${root-path}",
        "show net0/ip",
        "route",
        "exit",
    ];
    let (platform, _) = run_on(TestPlatform::with_network(&[]), &script(&lines));
    assert_eq!(
        *platform.output.borrow(),
        "net0: 52:54:00:12:34:56, link up\n\
         net0: 192.168.1.50/24 gw 192.168.1.1\n\
         192.168.1.50 255.255.255.0 192.168.1.1 192.168.1.1 boot.ipxe \
         iscsi:192.168.1.1::::iqn.2000-01.com.example:disk1\n\
         net0.dhcp/ip:ipv4 = 192.168.1.50\n\
         net0: 192.168.1.0/24 direct\n\
         net0: 0.0.0.0/0 gw 192.168.1.1\n"
    );
    assert!(
        platform.elapsed() < Duration::from_millis(100),
        "{:?}",
        platform.elapsed()
    );
    let discover = platform.dhcp_seen.borrow().first().cloned().unwrap();
    let user_class = [77, 5, 0x04, 0x69, 0xa0, 0x45, 0x43];
    assert!(
        discover
            .windows(user_class.len())
            .any(|window| window == user_class)
    );
}

#[test]
fn an_address_by_hand_works_as_well() {
    let lines = [
        "set net0/ip 192.168.1.60",
        "set net0/netmask 255.255.255.0",
        "ifopen net0",
        "chain http://192.168.1.1/a",
        "exit",
    ];
    let (output, _) = online(&[("/a", b"#!ipxe\necho hello from a\n")], &lines);
    assert_eq!(output, "http://192.168.1.1/a... ok\nhello from a\n");
}

#[test]
fn scripts_chain_scripts_relative_to_themselves() {
    let pages: crate::testing::servers::Pages = &[
        (
            "/scripts/one.ipxe",
            b"#!ipxe\necho one is ${cwuri}\nchain two.ipxe\necho back in one\n",
        ),
        (
            "/scripts/two.ipxe",
            b"#!ipxe\necho two is ${cwuri}\nexit 0\n",
        ),
    ];
    let lines = [
        "dhcp ||",
        "chain http://192.168.1.1/scripts/one.ipxe",
        "echo [${cwuri}]",
        "exit",
    ];
    let (output, _) = online(pages, &lines);
    let output = output.split_once("gw 192.168.1.1\n").unwrap().1;
    assert_eq!(
        output,
        "http://192.168.1.1/scripts/one.ipxe... ok\n\
         one is http://192.168.1.1/scripts/one.ipxe\n\
         http://192.168.1.1/scripts/two.ipxe... ok\n\
         two is http://192.168.1.1/scripts/two.ipxe\n\
         back in one\n\
         []\n"
    );
}

#[test]
fn a_failure_in_a_chained_script_names_the_whole_way() {
    let pages: crate::testing::servers::Pages = &[("/x.ipxe", b"#!ipxe\n\ngoto nowhere\n")];
    let (output, _) = online(pages, &["dhcp", "chain http://192.168.1.1/x.ipxe"]);
    assert!(
        output.contains(
            "Script test.ipxe failed at line 3: x.ipxe: line 3: no label `:nowhere` in script \
             (goto at line 3) [script-label]\n"
        ),
        "{output}"
    );
}

#[test]
fn replace_is_a_tail_call() {
    let pages: crate::testing::servers::Pages = &[("/x.ipxe", b"#!ipxe\necho in x\nexit 5\n")];
    let lines = [
        "dhcp",
        "chain --replace http://192.168.1.1/x.ipxe",
        "echo never",
    ];
    let (output, status) = online(pages, &lines);
    assert!(
        output.ends_with("in x\n") && status == 5,
        "{output} {status}"
    );
}

#[test]
fn scripts_without_end_are_stopped() {
    let pages: crate::testing::servers::Pages = &[("/x.ipxe", b"#!ipxe\nchain x.ipxe\n")];
    let (output, _) = online(pages, &["dhcp", "chain http://192.168.1.1/x.ipxe"]);
    assert!(
        output.contains("more than 16 scripts chain each other [script-depth]"),
        "{output}"
    );
}

#[test]
fn web_failures_are_told_on_the_line_of_the_download() {
    let cases = [
        (
            "http://192.168.1.1/none",
            "http://192.168.1.1/none... ",
            "404 Not Found",
            "http-status",
        ),
        (
            "http://192.168.1.1:81/a",
            "http://192.168.1.1:81/a... ",
            "refused",
            "connect-refused",
        ),
        (
            "http://192.168.1.77/a",
            "http://192.168.1.77/a... ",
            "192.168.1.77",
            "connect-timeout",
        ),
        (
            "https://192.168.1.1/a",
            "https://192.168.1.1/a... ",
            "no trust roots are packed",
            "tls-no-anchors",
        ),
        (
            "http://192.168.1.1/text",
            "imgexec: ",
            "neither a script",
            "image-format",
        ),
    ];
    for (uri, start, part, code) in cases {
        let chain = alloc::format!("imgexec {uri} || goto done");
        let lines = ["dhcp", &chain, ":done", "exit"];
        let platform = TestPlatform::with_network(&[("/text", b"<html>Login</html>")]);
        let (platform, _) = run_on(platform, &script(&lines));
        let output = platform.output.borrow().clone();
        let line = output.lines().last().unwrap();
        assert!(line.starts_with(start), "{line}");
        assert!(
            line.contains(part) && line.ends_with(&alloc::format!("[{code}]")),
            "{line}"
        );
        assert!(platform.elapsed() < Duration::from_secs(15), "{line}");
    }
}

#[test]
fn programs_are_started_with_their_arguments() {
    let platform = TestPlatform::with_network(&[("/grub.efi", b"MZ rest of it")]);
    let lines = [
        "dhcp",
        "kernel --name g http://192.168.1.1/grub.efi quiet splash",
        "imgstat",
        "boot",
        "imgfree g",
        "imgstat",
        "exit",
    ];
    let (platform, _) = run_on(platform, &script(&lines));
    assert_eq!(*platform.started.borrow(), ["quiet splash"]);
    assert_eq!(
        platform.told_card.get(),
        Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])
    );
    let output = platform.output.borrow().clone();
    assert!(
        output.ends_with("g : 13 bytes [EFI] [SELECTED] \"quiet splash\"\nStarting g\n"),
        "{output}"
    );
}

#[test]
fn commands_that_show_the_network() {
    let lines = [
        "dhcp",
        "ifstat",
        "iflinkwait net0",
        "ifclose",
        "ifstat net0",
        "ifopen",
        "exit",
    ];
    let (output, _) = online(&[], &lines);
    assert!(
        output.contains("net0: 52:54:00:12:34:56, link up, open\n"),
        "{output}"
    );
    assert!(output.contains("receive budget 24 of 24"), "{output}");
    assert!(
        output.contains("net0: 52:54:00:12:34:56, link up, closed\n"),
        "{output}"
    );
    let lines = ["dhcp", "nslookup here 192.168.1.9", "echo ${here}", "exit"];
    assert!(online(&[], &lines).0.ends_with("\n192.168.1.9\n"));
}

#[test]
fn a_dead_target_is_told_in_seconds() {
    let lines = [
        "dhcp",
        "sanhook iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1 ||",
        "exit",
    ];
    let (output, _) = online(&[], &lines);
    let line = output.lines().last().unwrap();
    assert!(
        line.starts_with("sanhook: ") && line.contains("192.168.1.1:3260"),
        "{line}"
    );
    assert!(line.ends_with("[connect-refused]"), "{line}");
}

#[test]
fn dhcp_can_be_done_again_and_a_closed_card_leads_nowhere() {
    let lines = [
        "dhcp",
        "dhcp net0",
        "ifclose",
        "chain http://192.168.1.1/a ||",
        "exit",
    ];
    let (output, _) = online(&[("/a", b"#!ipxe\n")], &lines);
    assert_eq!(
        output.matches("192.168.1.50/24 gw 192.168.1.1").count(),
        2,
        "{output}"
    );
    assert!(
        output.ends_with("run `dhcp` first [net-no-address]\n"),
        "{output}"
    );
}

/// Settings that DHCP brought serve like those that a script sets.
#[test]
fn a_root_path_from_dhcp_can_be_hooked() {
    let (output, _) = online(&[], &["dhcp", "sanhook ${root-path} ||", "exit"]);
    assert!(output.ends_with("[connect-refused]\n"), "{output}");
}
