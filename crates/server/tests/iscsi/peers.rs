//! Initiators that are not ours, against our target: libiscsi's tools and QEMU's block driver.
//!
//! They need the Debian packages `libiscsi-bin`, `qemu-utils` and `qemu-block-extra`, so they run
//! only when asked for: `cargo test -p bowline-server --test iscsi -- --ignored`.

use std::fs;
use std::process::{Command, Stdio};

use crate::client::{IMAGE_LEN, Site};

/// Runs a program to its end and gives what it said, after 60 seconds of patience.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new("timeout")
        .args(["60", program])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert_ne!(
        output.status.code(),
        Some(127),
        "{program} is not installed: apt install \
        libiscsi-bin qemu-utils qemu-block-extra"
    );
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The URL of a LUN, with credentials (`user%password@`) and options (`?target_user=...`).
fn url(site: &Site, credentials: &str, target: &str, lun: u8, options: &str) -> String {
    format!(
        "iscsi://{credentials}{}/iqn.2026-01.com.example:{target}/{lun}{options}",
        site.address
    )
}

const MUTUAL: &str = "?target_user=target&target_password=secret of the target";

#[test]
#[ignore = "needs libiscsi-bin"]
fn libiscsi_finds_the_targets_and_their_disks() {
    let site = Site::new();
    let portal = format!("iscsi://{}", site.address);
    let (good, list) = run("iscsi-ls", &[&portal]);
    assert!(good, "{list}");
    for name in ["open", "oneway", "mutual"] {
        let line = format!(
            "Target:iqn.2026-01.com.example:{name} Portal:{},1",
            site.address
        );
        assert!(list.contains(&line), "{list}");
    }
    // The disks of the first target that lets it in.
    let (_, disks) = run("iscsi-ls", &["-s", &portal]);
    for expected in ["Lun:1    Type:DIRECT_ACCESS", "Lun:2    Type:DIRECT_ACCESS"] {
        assert!(disks.contains(expected), "{disks}");
    }
    let (good, size) = run("iscsi-readcapacity16", &[&url(&site, "", "open", 2, "")]);
    assert!(
        good && size.contains(&format!("Total size:{IMAGE_LEN}")),
        "{size}"
    );
}

#[test]
#[ignore = "needs libiscsi-bin"]
fn libiscsi_proves_itself_and_demands_proof() {
    let site = Site::new();
    let user = "user%password of the user@";
    for (credentials, target, options, expected) in [
        (user, "oneway", "", "Vendor:BOWLINE"),
        (user, "mutual", MUTUAL, "Vendor:BOWLINE"),
        (user, "oneway", "?header_digest=crc32c", "Vendor:BOWLINE"),
        (
            "user%some other password@",
            "oneway",
            "",
            "Authentication failure(513)",
        ),
        (
            "nobody%password of the user@",
            "oneway",
            "",
            "Authentication failure(513)",
        ),
        ("", "oneway", "", "Authentication failure(513)"),
        ("", "missing", "", "Target not found(515)"),
        (
            user,
            "mutual",
            &MUTUAL.replace("secret", "guess"),
            "Invalid CHAP_R response",
        ),
    ] {
        let url = url(&site, credentials, target, 1, options);
        let (_, told) = run("iscsi-inq", &[&url]);
        assert!(told.contains(expected), "{url}: {told}");
    }
}

#[test]
#[ignore = "needs qemu-utils and qemu-block-extra"]
fn qemu_writes_compares_and_reads_a_disk() {
    let site = Site::new();
    let mut state = 1_u64;
    let mut image = vec![0_u8; usize::try_from(IMAGE_LEN).unwrap()];
    for word in image.chunks_exact_mut(8) {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        word.copy_from_slice(&state.to_le_bytes());
    }
    let (source, back) = (
        site.directory.path().join("random"),
        site.directory.path().join("back"),
    );
    fs::write(&source, &image).unwrap();
    let (source, back) = (source.to_str().unwrap(), back.to_str().unwrap());
    let url = url(&site, "", "open", 1, "");

    let (good, told) = run(
        "qemu-img",
        &["convert", "-n", "-f", "raw", "-O", "raw", source, &url],
    );
    assert!(good, "{told}");
    assert!(
        fs::read(site.image("open")).unwrap() == image,
        "written through QEMU"
    );
    let (good, told) = run(
        "qemu-img",
        &["compare", "-f", "raw", "-F", "raw", source, &url],
    );
    assert!(good && told.contains("Images are identical"), "{told}");
    let (good, told) = run(
        "qemu-img",
        &["convert", "-f", "raw", "-O", "raw", &url, back],
    );
    assert!(good, "{told}");
    assert!(fs::read(back).unwrap() == image, "read through QEMU");
}

/// libiscsi's conformance suite. Every test runs in a process of its own, because the tool carries
/// state from one to the next. A test must pass, unless its family needs what we do not offer.
#[test]
#[ignore = "needs libiscsi-bin; half a minute"]
fn libiscsi_conformance() {
    let site = Site::new();
    let url = url(&site, "", "open", 1, "");
    let (_, list) = run("iscsi-test-cu", &["--list"]);
    let tests: Vec<_> = list
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("ALL.") && line.matches('.').count() == 2)
        .collect();
    assert!(tests.len() > 200, "{list}");
    let (mut passed, mut wrong) = (0, Vec::new());
    for test in tests {
        if EXCEPTIONS
            .iter()
            .any(|(except, _)| test[4..].starts_with(except))
        {
            continue;
        }
        let (_, told) = run(
            "iscsi-test-cu",
            &["--dataloss", "--verbose", "--test", test, &url],
        );
        // The tool tells at the begin and end of every test that there are no reservations.
        let skipped = told.lines().any(|line| {
            line.contains("[SKIPPED]") && !line.contains("PERSISTENT RESERVE IN is not implemented")
        });
        let result = told
            .lines()
            .find_map(|line| line.trim().strip_prefix("tests"));
        let columns: Vec<_> = result.unwrap_or_default().split_whitespace().collect();
        // Total, ran, passed, failed, inactive.
        match columns[..] {
            ["1", "1", "1", "0", _] if !skipped => passed += 1,
            _ => wrong.push(format!("{test}:\n{told}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{passed} passed; not so:\n{}",
        wrong.join("\n")
    );
    assert!(passed >= 120, "only {passed} tests were run");
}

/// Tests and families that are left out, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("CompareAndWrite", "not offered"),
    ("ExtendedCopy", "not offered"),
    (
        "GetLBAStatus",
        "not offered: raw images are fully provisioned",
    ),
    (
        "Inquiry.BlockLimits",
        "skips itself for fully provisioned disks",
    ),
    ("MultipathIO", "needs a second path"),
    ("OrWrite", "not offered"),
    ("PreventAllow", "the medium is not removable"),
    ("Prin", "persistent reservations are not offered"),
    ("Prout", "persistent reservations are not offered"),
    ("ReadDefectData", "not offered"),
    (
        "ReadOnly",
        "needs a read-only disk, and writes to this one are tested",
    ),
    ("ReceiveCopyResults", "not offered"),
    (
        "ReportSupportedOpcodes.OneCommand",
        "skips itself, here as with other targets",
    ),
    ("Reserve6", "reservations are not offered"),
    ("Sanitize", "not offered"),
    ("StartStopUnit.Simple", "the medium is not removable"),
    ("Unmap", "not offered: raw images are fully provisioned"),
    ("WriteAtomic16", "not offered"),
    ("WriteSame", "not offered"),
    (
        "iSCSITMF.LUNResetSimpleAsync",
        "version 1.19 looks at a variable before the answer that sets it has come",
    ),
    (
        "iSCSIdatasn.iSCSIDataSnInvalid",
        "version 1.19 sends no Data-Out after it has reconnected, and then waits for a refusal",
    ),
];
