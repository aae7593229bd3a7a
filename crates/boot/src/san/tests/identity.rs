//! Paths and new logins that lead to another disk.

use super::*;

const PATHS: &str = "iscsi:192.168.1.1:::1:iqn.2000-01.com.example:disk1 \
     iscsi:192.168.1.1:::2:iqn.2000-01.com.example:disk1";

/// Reads enough for the path to be lost on the way.
fn read_on(_: &TestPlatform, disk: &dyn BlockDevice) -> Result<(), StartError> {
    for at in 0..40 {
        disk.read(at * 1000, &mut [0; 512]).unwrap();
    }
    Ok(())
}

/// A second path to the same disk takes over; one to another disk is refused, and the first is made
/// anew instead.
#[test]
fn only_a_path_to_the_same_disk_takes_over() {
    let refused = "LUN 2 at 192.168.1.1:3260: another disk, naa.";
    for (serials, taken_over) in [(["1", "1"], true), (["1", "2"], false)] {
        let target = TestTarget::new(65_536);
        *target.serials.borrow_mut() = serials;
        *target.breaks_at.borrow_mut() = vec![20];
        let platform = booting(&target, read_on);
        let hook = format!("sanhook --no-describe {PATHS}");
        let output = shown(&run_with(platform, &[&hook, "sleep 1", "sanboot", "exit"]));
        assert_eq!(
            output.contains("; going on by another path\n"),
            taken_over,
            "{output}"
        );
        assert_eq!(
            output.contains("; logging in again\n"),
            !taken_over,
            "{output}"
        );
        assert_eq!(output.contains(refused), !taken_over, "{output}");
    }
}

/// A target that comes back with another disk behind the name is not written to.
#[test]
fn a_new_login_that_finds_another_disk_is_refused() {
    let target = TestTarget::new(65_536);
    *target.breaks_at.borrow_mut() = vec![20];
    let swapped = Rc::clone(&target);
    let platform = booting(&target, move |_, disk| {
        let mut last = Ok(());
        for at in 0..40 {
            last = last.and_then(|()| disk.write(at * 1000, &[0xa5; 512]));
            swapped.serials.borrow_mut()[0] = "2";
        }
        assert_eq!(last, Err(BlockError::Device));
        Ok(())
    });
    let output = shown(&run_with(
        platform,
        &[
            "set san-retries 2",
            &HOOK.replace("sanhook", "sanboot"),
            "exit",
        ],
    ));
    assert!(output.contains("another disk, naa."), "{output}");
    assert!(output.contains("[disk-lost]\n"), "{output}");
}
