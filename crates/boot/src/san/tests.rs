//! SAN commands against a target in memory: logins, disks, faults, and what the console says.

mod describe;
mod geometry;
mod identity;
mod web;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::time::Duration;

use crate::platform::{
    Authentication, BlockDevice, BlockError, DiskUnit, FirmwareError, StartError,
};
use crate::testing::servers::Pages;
use crate::testing::target::{TARGET, TestTarget};
use crate::testing::{TestPlatform, run_on, script};

const HOOK: &str = "sanhook --no-describe iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1";
const BOOT: &str = "sanboot --no-describe --filename \\EFI/debian/grubaa64.efi";

/// What the console shows after `dhcp`, which every script begins with.
fn shown(platform: &TestPlatform) -> String {
    let output = platform.output.borrow();
    String::from(output.split_once("gw 192.168.1.1\n").expect("dhcp works").1)
}

fn run(target: &Rc<TestTarget>, lines: &[&str]) -> Rc<TestPlatform> {
    run_with(TestPlatform::with_target(target), lines)
}

fn run_with(platform: TestPlatform, lines: &[&str]) -> Rc<TestPlatform> {
    run_on(platform, &script(&[&["dhcp"], lines].concat())).0
}

/// A machine whose disk starts this program, which is given the disk.
fn booting(
    target: &Rc<TestTarget>,
    program: impl Fn(&TestPlatform, &dyn BlockDevice) -> Result<(), StartError> + 'static,
) -> TestPlatform {
    let mut platform = TestPlatform::with_target(target);
    platform.program = Rc::new(Box::new(
        move |machine: &TestPlatform, disk: Option<&Rc<dyn BlockDevice>>| {
            program(machine, &**disk.expect("a disk was started"))
        },
    ));
    platform
}

#[test]
fn the_script_of_the_project_boots() {
    let target = Rc::new(TestTarget::with_credentials(
        262_144,
        Some(("user", "password")),
        Some(("target", "secret")),
    ));
    let lines = [
        "set username user",
        "set password password",
        "set reverse-username target",
        "set reverse-password secret",
        &format!("{HOOK} || goto fail"),
        &format!("{BOOT} || goto fail"),
        "exit",
        ":fail",
        "echo Opening shell",
        "shell",
    ];
    let platform = booting(&target, |_, disk| {
        let mut block = [0; 512];
        disk.read(1000, &mut block).unwrap();
        assert_eq!(block[3], (1000 * 7 + 3) as u8);
        Ok(())
    });
    let platform = run_with(platform, &lines);
    assert_eq!(
        shown(&platform),
        "iscsi: fewer than 12 bytes in password and reverse-password: too short, a listener on the \
         network can guess it\n\
         iscsi: logged in to iqn.2000-01.com.example:disk1 at 192.168.1.1:3260, CHAP: mutual\n\
         san 0x80: 128 MiB, 512 byte blocks (BOWLINE VIRTUAL-DISK)\n\
         Starting \\EFI\\debian\\grubaa64.efi from san 0x80\n"
    );
    assert_eq!(*platform.started.borrow(), ["\\EFI\\debian\\grubaa64.efi"]);
    assert!(
        platform.disks.borrow().is_empty(),
        "the disk is withdrawn at the end"
    );
    assert!(
        platform.elapsed() < Duration::from_millis(200),
        "{:?}",
        platform.elapsed()
    );
}

#[test]
fn the_location_is_what_the_device_path_needs() {
    let target = TestTarget::new(1024);
    let platform = TestPlatform::with_target(&target);
    let disks = Rc::clone(&platform.disks);
    let seen = Rc::new(RefCell::new(None));
    let found = Rc::clone(&seen);
    let mut platform = platform;
    platform.program = Rc::new(Box::new(move |_, _| {
        found.replace(disks.borrow().first().cloned());
        Ok(())
    }));
    run_with(platform, &[&HOOK.replace("sanhook", "sanboot")]);
    let location = seen.take().expect("the disk was published");
    let DiskUnit::Iscsi {
        target,
        lun,
        portal_group_tag,
        authentication,
    } = location.unit
    else {
        panic!("it is an iSCSI disk");
    };
    assert_eq!(
        format!("{}:{}", location.server, location.port),
        "192.168.1.1:3260"
    );
    assert_eq!(format!("{}", location.local), "192.168.1.50");
    assert_eq!((target.as_str(), lun), (TARGET, [0, 1, 0, 0, 0, 0, 0, 0]));
    assert_eq!(authentication, Authentication::None);
    assert_eq!(portal_group_tag, 1);
}

#[test]
fn logins_that_fail_say_who_and_why() {
    let user = ["set username user", "set password password"];
    let wrong = ["set username user", "set password wrong"];
    let both = [
        "set username user",
        "set password password",
        "set reverse-username target",
        "set reverse-password secret",
    ];
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], HOOK, "iscsi-authentication"),
        (&wrong, HOOK, "iscsi-authentication"),
        (&both, HOOK, "iscsi-target-unproven"),
        (
            &user,
            "sanhook iscsi:192.168.1.1:::1:iqn.2000-01.com.example:none",
            "iscsi-target-unknown",
        ),
        (
            &user,
            "sanhook iscsi:192.168.1.1:::7:iqn.2000-01.com.example:disk1",
            "disk-no-unit",
        ),
        (
            &user,
            "sanhook iscsi:192.168.1.1::3261:1:iqn.2000-01.com.example:disk1",
            "connect-refused",
        ),
        (
            &user,
            "sanhook iscsi:192.168.1.99:::1:iqn.2000-01.com.example:disk1",
            "connect-timeout",
        ),
    ];
    for (settings, hook, code) in cases {
        let target = Rc::new(TestTarget::with_credentials(
            1024,
            Some(("user", "password")),
            Some(("target", "other")),
        ));
        let lines: Vec<&str> = settings.iter().copied().chain([*hook]).collect();
        let platform = run(&target, &lines);
        let output = shown(&platform);
        let line = output
            .lines()
            .find(|line| line.starts_with("sanhook: "))
            .unwrap();
        assert!(line.ends_with(&format!("[{code}]")), "{output}");
        assert!(
            line.contains("192.168.1.") || line.contains("LUN"),
            "{output}"
        );
        assert!(output.contains("Opening a shell"), "{output}");
        assert!(
            platform.elapsed() < Duration::from_secs(15),
            "{:?} {line}",
            platform.elapsed()
        );
        assert!(platform.disks.borrow().is_empty());
    }
}

#[test]
fn without_randomness_mutual_chap_is_refused_in_words() {
    let target = TestTarget::new(1024);
    let mut platform = TestPlatform::with_target(&target);
    platform.has_entropy = false;
    let lines = [
        "set username user",
        "set password password",
        "set reverse-username target",
        "set reverse-password secret",
        HOOK,
    ];
    let output = shown(&run_with(platform, &lines));
    let line = "sanhook: mutual CHAP is not possible: this machine has too little randomness";
    assert!(
        output.contains(line) && output.contains("[iscsi-no-entropy]"),
        "{output}"
    );

    let mut platform = TestPlatform::with_target(&target);
    platform.has_entropy = false;
    let output = shown(&run_with(platform, &[HOOK, "exit"]));
    assert!(output.contains("CHAP: none\n"), "{output}");
}

/// `chap-algorithms` is a policy: what it leaves out is not used.
#[test]
fn chap_algorithms_are_chosen_by_a_setting() {
    let cases = [
        ("sha3-256,SHA256", "CHAP: one-way\n"),
        ("md5", "CHAP: one-way\n"),
        ("md4", "md4 is none of sha3-256, sha256, sha1 and md5"),
    ];
    for (algorithms, expected) in cases {
        let credentials = Some(("user", "password of length"));
        let target = Rc::new(TestTarget::with_credentials(1024, credentials, None));
        let lines = [
            "set username user",
            "set password password of length",
            &format!("set chap-algorithms {algorithms}"),
            HOOK,
            "exit",
        ];
        let output = shown(&run(&target, &lines));
        assert!(output.contains(expected), "{output}");
        assert!(!output.contains("12 bytes"), "{output}");
    }
}

#[test]
fn a_silent_target_is_given_up() {
    let target = TestTarget::new(1024);
    target.silent_from.set(0);
    let platform = run(&target, &[HOOK]);
    let output = shown(&platform);
    assert!(output.contains("sanhook: "), "{output}");
    assert!(output.contains("[disk-lost]"), "{output}");
    assert!(
        platform.elapsed() < Duration::from_secs(30),
        "{:?}",
        platform.elapsed()
    );
}

#[test]
fn a_broken_session_is_made_again_and_reads_are_repeated() {
    let target = TestTarget::new(65_536);
    *target.breaks_at.borrow_mut() = vec![12, 30];
    let platform = booting(&target, |_, disk| {
        let mut piece = vec![0; 32 * 1024];
        for at in (0..8192).step_by(64) {
            disk.read(at, &mut piece).unwrap();
            let start = at as usize;
            assert!(
                piece
                    .iter()
                    .enumerate()
                    .all(|(i, &byte)| { byte == ((start + i / 512) * 7 + i % 512) as u8 })
            );
        }
        Ok(())
    });
    let platform = run_with(platform, &[&HOOK.replace("sanhook", "sanboot"), "exit"]);
    let output = shown(&platform);
    assert_eq!(target.logins.get(), 3, "{output}");
    assert_eq!(
        output.matches("; logging in again\n").count(),
        2,
        "{output}"
    );
}

#[test]
fn a_target_that_stays_away_is_an_error_of_the_disk() {
    let target = TestTarget::new(65_536);
    *target.breaks_at.borrow_mut() = vec![8];
    target.logins_max.set(1);
    let platform = booting(&target, |_, disk| {
        let mut last = Ok(());
        for at in 0..20 {
            last = disk.read(at * 1000, &mut [0; 512]);
        }
        assert_eq!(last, Err(BlockError::Device));
        Ok(())
    });
    let output = shown(&run_with(
        platform,
        &[&HOOK.replace("sanhook", "sanboot"), "exit"],
    ));
    assert!(
        output.contains("san 0x80: reading 512 bytes at block "),
        "{output}"
    );
    assert!(output.contains("[disk-lost]\n"), "{output}");
}

/// The first path that is up carries the boot; those that lead nowhere cost no time.
#[test]
fn of_several_paths_the_first_that_works_is_taken() {
    let good = "iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1";
    let nobody = good.replace("1.1:", "1.99:");
    let no_unit = good.replace(":::1:", ":::7:");
    let target = TestTarget::new(1024);
    let hook = format!("sanhook --no-describe {nobody} {good}");
    let platform = run(&target, &[&hook, "exit"]);
    let (output, took) = (shown(&platform), platform.elapsed());
    assert!(output.contains("san 0x80: 0 MiB"), "{output}");
    assert!(took < Duration::from_secs(1), "{took:?}\n{output}");

    let target = TestTarget::new(1024);
    let hook = format!("sanhook {nobody} {no_unit}");
    let output = shown(&run(&target, &[&hook]));
    let line = output.lines().find(|line| line.starts_with("sanhook: "));
    let line = line.expect("it fails");
    assert!(
        line.contains("192.168.1.99") && line.contains("LUN 7"),
        "{output}"
    );
}

#[test]
fn writes_reach_the_target_and_flush_is_asked_for() {
    let target = TestTarget::new(65_536);
    let platform = booting(&target, |_, disk| {
        let mut before = vec![0; 4096];
        disk.read(100, &mut before).unwrap();
        let data = vec![0xa5; 300 * 1024];
        disk.write(101, &data).unwrap();
        disk.flush().unwrap();
        let mut after = vec![0; 4096];
        disk.read(100, &mut after).unwrap();
        assert_eq!(after[..512], before[..512]);
        assert!(after[512..].iter().all(|&byte| byte == 0xa5));
        Ok(())
    });
    run_with(platform, &[&HOOK.replace("sanhook", "sanboot"), "exit"]);
    assert_eq!(target.flushes.get(), 1);
    let disk = target.disk.borrow();
    assert!(
        disk[101 * 512..101 * 512 + 300 * 1024]
            .iter()
            .all(|&byte| byte == 0xa5)
    );
}

#[test]
fn calls_outside_the_disk_are_refused_and_bad_blocks_are_told() {
    let target = TestTarget::new(2048);
    target.bad_block.set(Some(77));
    let platform = booting(&target, |_, disk| {
        assert_eq!(disk.read(2047, &mut [0; 1024]), Err(BlockError::OutOfRange));
        assert_eq!(
            disk.read(u64::MAX, &mut [0; 512]),
            Err(BlockError::OutOfRange)
        );
        assert_eq!(disk.read(0, &mut [0; 100]), Err(BlockError::OutOfRange));
        assert_eq!(disk.read(0, &mut []), Ok(()));
        assert_eq!(disk.read(2047, &mut [0; 512]), Ok(()));
        assert_eq!(disk.read(76, &mut [0; 512]), Ok(()));
        assert_eq!(disk.read(77, &mut [0; 512]), Err(BlockError::Device));
        Ok(())
    });
    let output = shown(&run_with(
        platform,
        &[&HOOK.replace("sanhook", "sanboot"), "exit"],
    ));
    let expected = "san 0x80: reading 512 bytes at block 77: the disk answered ";
    assert!(output.contains(expected), "{output}");
    assert!(output.contains("[disk-error]\n"), "{output}");
}

#[test]
fn drives_have_numbers_and_go_when_booting_fails() {
    let target = TestTarget::new(2048);
    let sanboot = HOOK.replace("sanhook", "sanboot");
    let mut platform = TestPlatform::with_target(&target);
    let kept = Rc::new(Cell::new(0));
    let (counter, disks) = (Rc::clone(&kept), Rc::clone(&platform.disks));
    platform.program = Rc::new(Box::new(move |_, _| {
        counter.set(disks.borrow().len());
        let status = FirmwareError {
            call: "StartImage",
            status: "EFI_ABORTED".into(),
        };
        Err(StartError::Exited(status))
    }));
    let lines = [
        &format!("{sanboot} ||"),
        "sanunhook || echo it is gone",
        &format!("{sanboot} ||").replace("sanboot", "sanboot --keep"),
        "sanboot --drive 0x80 || echo still there",
        "sanunhook && echo unhooked",
        "exit",
    ];
    let output = shown(&run_with(platform, &lines));
    assert!(
        output.contains("sanboot: san 0x80: the image returned: StartImage answered EFI_ABORTED"),
        "{output}"
    );
    assert!(output.contains("it is gone\n"), "{output}");
    assert!(output.contains("still there\n"), "{output}");
    assert!(output.contains("unhooked\n"), "{output}");
    assert_eq!(kept.get(), 1);
}

#[test]
fn a_server_lists_its_targets_and_the_machine_its_disks() {
    let target = TestTarget::new(2048);
    let lines = [
        "sanlist",
        "sanlist 192.168.1.1",
        HOOK,
        "sanlist",
        "sanlist 192.168.1.1:1 || echo nobody",
        "sanlist :99999 || echo nonsense",
        "exit",
    ];
    let output = shown(&run(&target, &lines));
    assert!(
        output.starts_with("iqn.2000-01.com.example:disk1 at 192.168.1.1"),
        "{output}"
    );
    let line = "\nsan 0x80: iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1 (1 MiB)\n";
    assert!(output.contains(line), "{output}");
    assert!(output.contains("\nnobody\n"), "{output}");
    assert!(output.contains("\nnonsense\n"), "{output}");
}

#[test]
fn discovery_needs_the_right_secret() {
    let target = Rc::new(TestTarget::with_credentials(
        2048,
        Some(("user", "password")),
        None,
    ));
    let lines = [
        "sanlist 192.168.1.1 || echo refused",
        "set username user",
        "set password password",
        "sanlist 192.168.1.1",
        "exit",
    ];
    let output = shown(&run(&target, &lines));
    assert!(
        output.starts_with("sanlist: login to the list of targets at 192.168.1.1:3260 as "),
        "{output}"
    );
    assert!(
        output.contains("refused\niqn.2000-01.com.example:disk1 at "),
        "{output}"
    );
}

#[test]
fn a_taken_number_is_refused() {
    let target = TestTarget::new(2048);
    let hook = "sanhook --drive 0x81 iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1";
    let output = shown(&run(&target, &[hook, &format!("{hook} ||"), "exit"]));
    assert!(
        output.contains("sanhook: drive 0x81 is iscsi:192.168.1.1:"),
        "{output}"
    );
    assert!(output.contains(" already [san-drive]\n"), "{output}");
}

#[test]
fn sanboot_asks_for_a_file_system_by_all_its_marks() {
    let target = TestTarget::new(2048);
    let lines = [
        HOOK,
        "sanboot --extra /ready --label ESP --uuid 00112233-4455-6677-8899-AABBccddeeff",
        "sanboot --uuid 0011 || echo refused",
        "sanboot --uuid 00112233-4455-6677-8899-aabbccddeefg || echo refused",
        "set skip-san-boot 1",
        "sanboot --filename \\never",
        "exit",
    ];
    let platform = run(&target, &lines);
    let output = shown(&platform);
    let partition = "[51, 34, 17, 0, 85, 68, 119, 102, 136, 153, 170, 187, 204, 221, 238, 255]";
    assert_eq!(
        *platform.started.borrow(),
        [format!(
            "BootFile {{ filename: None, extra: Some(\"\\\\ready\"), label: Some(\"ESP\"), \
             partition: Some({partition}) }}"
        )],
        "{output}"
    );
    assert_eq!(output.matches("refused\n").count(), 2, "{output}");
    assert!(output.contains("`0011` is no GUID"), "{output}");
}

#[test]
fn a_write_protected_disk_says_so() {
    let target = TestTarget::new(2048);
    target.read_only.set(true);
    let platform = booting(&target, |_, disk| {
        assert_eq!(disk.write(0, &[0; 512]), Err(BlockError::ReadOnly));
        assert_eq!(disk.read(0, &mut [0; 512]), Ok(()));
        Ok(())
    });
    let output = shown(&run_with(
        platform,
        &[&HOOK.replace("sanhook", "sanboot"), "exit"],
    ));
    assert!(
        output.contains("san 0x80: 1 MiB, 512 byte blocks, read-only ("),
        "{output}"
    );
}

/// A target that asks whether we live gets an answer: at the prompt, while a script sleeps, and
/// while a boot loader shows its menu.
#[test]
fn pings_are_answered_while_nobody_reads() {
    let target = TestTarget::new(2048);
    target.ping_interval.set(Some(Duration::from_secs(2)));
    let platform = booting(&target, |machine, disk| {
        machine.run_firmware_for(Duration::from_secs(60));
        disk.read(0, &mut [0; 512]).unwrap();
        Ok(())
    });
    let platform = run_with(platform, &[HOOK, "sleep 60", "sanboot", "exit"]);
    assert!(platform.elapsed() > Duration::from_secs(120));
    assert_eq!(target.logins.get(), 1, "{}", shown(&platform));
}

/// What the target sees of a boot that goes well: a login and a logout, before the operating system
/// comes and logs in by itself.
#[test]
fn the_session_is_logged_out_before_the_operating_system_starts() {
    let target = TestTarget::new(65_536);
    let platform = booting(&target, |machine, disk| {
        disk.read(0, &mut [0; 512]).unwrap();
        machine.handle.end();
        machine.handle.end();
        assert_eq!(disk.read(30_000, &mut [0; 512]), Err(BlockError::Device));
        machine.handle.quiesce();
        Ok(())
    });
    run_with(platform, &[&HOOK.replace("sanhook", "sanboot"), "exit"]);
    assert_eq!((target.logins.get(), target.logouts.get()), (1, 1));
}

/// A target that is gone costs a moment, no more.
#[test]
fn a_logout_that_nobody_answers_ends() {
    let target = TestTarget::new(65_536);
    let platform = booting(&target, |machine, disk| {
        disk.read(0, &mut [0; 512]).unwrap();
        machine.tasks.borrow_mut().clear();
        let before = machine.elapsed();
        machine.handle.end();
        assert!(machine.elapsed() - before < Duration::from_secs(1));
        machine.handle.quiesce();
        Ok(())
    });
    run_with(platform, &[&HOOK.replace("sanhook", "sanboot"), "exit"]);
}

/// After ExitBootServices nothing of ours touches the card, and the disk is gone.
#[test]
fn nothing_is_sent_after_exit_boot_services() {
    let target = TestTarget::new(65_536);
    let platform = booting(&target, |machine, disk| {
        disk.read(0, &mut [0; 512]).unwrap();
        machine.handle.quiesce();
        machine.handle.quiesce();
        // What is under way arrives.
        machine.run_firmware_for(Duration::from_millis(1));
        let commands = machine.server.as_ref().unwrap().statistics().received;
        assert_eq!(disk.read(30_000, &mut [0; 512]), Err(BlockError::Device));
        assert_eq!(disk.write(0, &[0; 512]), Err(BlockError::Device));
        assert_eq!(disk.flush(), Err(BlockError::Device));
        machine.run_firmware_for(Duration::from_secs(1));
        assert_eq!(
            machine.server.as_ref().unwrap().statistics().received,
            commands
        );
        Ok(())
    });
    run_with(platform, &[&HOOK.replace("sanhook", "sanboot"), "exit"]);
}

#[test]
fn ctrl_c_cancels_a_login_to_nobody() {
    let target = TestTarget::new(2048);
    let platform = TestPlatform::with_target(&target);
    platform.press_at(Duration::from_secs(1), crate::platform::Key::Char('\x03'));
    "exit\r".chars().for_each(|c| {
        platform.press_at(Duration::from_secs(2), crate::platform::Key::Char(c));
    });
    let hook = "sanhook iscsi:192.168.1.99:::1:iqn.2000-01.com.example:disk1";
    let platform = run_with(platform, &[hook]);
    let output = shown(&platform);
    assert!(
        output.starts_with("sanhook: cancelled by Ctrl-C [cancelled]\n"),
        "{output}"
    );
    assert!(
        platform.elapsed() < Duration::from_secs(3),
        "{:?}",
        platform.elapsed()
    );
}

#[test]
fn a_disk_without_a_file_system_is_told() {
    let target = TestTarget::new(2048);
    let platform = booting(&target, |_, _| Err(StartError::NoFileSystem));
    let output = shown(&run_with(
        platform,
        &[&HOOK.replace("sanhook", "sanboot"), "exit"],
    ));
    assert!(
        output.contains("sanboot: san 0x80: the firmware found no file system"),
        "{output}"
    );
    assert!(output.contains("[disk-no-file-system]\n"), "{output}");
}

#[test]
fn a_lease_is_renewed_beside_everything_else() {
    let target = TestTarget::new(2048);
    let platform = TestPlatform::with_target(&target);
    let wait = [
        "set i 0",
        ":a",
        "sleep 100",
        "inc i",
        "echo ${i}",
        "iseq ${i} 10 || goto a",
    ];
    let platform = run_with(platform, &[&wait[..], &["show net0/ip", "exit"]].concat());
    assert!(shown(&platform).ends_with("net0.dhcp/ip:ipv4 = 192.168.1.50\n"));
    assert!(
        platform.dhcp_seen.borrow().len() > 3,
        "{}",
        platform.dhcp_seen.borrow().len()
    );
}
