//! What the operating system is told about drives.

use super::*;

/// How many targets each table has, and the first one's LUN, as the operating system was left them.
fn described(platform: &TestPlatform) -> Vec<Option<(usize, u8)>> {
    let tables = platform.tables.borrow();
    let offset = |table: &[u8], place: usize| {
        usize::from(u16::from_le_bytes([
            table[56 + 2 * place],
            table[57 + 2 * place],
        ]))
    };
    let targets = |table: &[u8]| {
        [2, 4]
            .iter()
            .filter(|&&place| offset(table, place) > 0)
            .count()
    };
    let table = |table: &Vec<u8>| (targets(table), table[offset(table, 2) + 25]);
    tables.iter().map(|left| left.as_ref().map(table)).collect()
}

/// The last drive that was hooked or booted comes first; what is unhooked is told no more.
#[test]
fn the_operating_system_is_told_about_the_drives() {
    let target = TestTarget::new(2048);
    let second = "sanhook --drive 0x90 iscsi:192.168.1.1:::2:iqn.2000-01.com.example:disk1";
    let lines = [
        "sanhook iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1",
        second,
        "sanboot --drive 0x80",
        "sanunhook --drive 0x80",
        "sanunhook --drive 0x90",
        "exit",
    ];
    let platform = run(&target, &lines);
    let output = shown(&platform);
    assert!(
        output.contains("san 0x90: described by the iBFT in ACPI\n"),
        "{output}"
    );
    assert_eq!(
        output.matches(": described by").count(),
        2,
        "once each: {output}"
    );
    assert_eq!(
        described(&platform),
        [Some((1, 1)), Some((2, 2)), Some((2, 1)), Some((1, 2)), None]
    );
}

#[test]
fn no_describe_tells_the_operating_system_nothing() {
    let platform = run(&TestTarget::new(2048), &[HOOK, BOOT, "sanunhook", "exit"]);
    assert!(platform.tables.borrow().is_empty());
}

#[test]
fn a_machine_without_a_place_for_the_table_says_so_and_boots() {
    let target = TestTarget::new(2048);
    let mut platform = booting(&target, |_, _| Ok(()));
    platform.handoff = None;
    let hook = HOOK.replace(" --no-describe", "");
    let platform = run_with(platform, &[&hook, BOOT, "exit"]);
    let output = shown(&platform);
    assert!(
        output.contains(
            "san 0x80: not described to the operating system, which has to log in by its own \
             configuration: InstallAcpiTable answered EFI_UNSUPPORTED\n"
        ),
        "{output}"
    );
    assert_eq!(platform.started.borrow().len(), 1);
}
