//! The lease file through restarts, crashes and damage.

use super::*;

const NEVER_USED: &str = "bound 192.168.1.9 1767225600 1/525400123409 01525400123409 - 00000000\n";

fn lease(last: u8, state: LeaseState) -> Lease {
    let hardware = [0x52, 0x54, 0, 0x12, 0x34, last];
    Lease {
        address: Ipv4Addr::new(192, 168, 1, last),
        client: ClientKey::new(&[&[1], &hardware[..]].concat()).unwrap(),
        hardware: HardwareAddress::ethernet(hardware),
        state,
        expires: Duration::from_secs(1_767_225_600),
        host_name: b"node1".to_vec(),
    }
}

fn bound(last: u8) -> Lease {
    lease(last, LeaseState::Bound)
}

/// A directory, and the file in a subdirectory that does not exist yet.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/dhcp.leases");
    (folder, path)
}

fn reopen(path: &Path) -> Replay {
    LeaseFile::open(path).unwrap().1
}

#[test]
fn the_format_is_the_documented_one() {
    let (_folder, path) = place();
    let (mut file, _) = LeaseFile::open(&path).unwrap();
    let mut odd = lease(7, LeaseState::Declined);
    odd.expires = Duration::MAX;
    odd.host_name = b"-a b\n%\xff".to_vec();
    let mut late = lease(8, LeaseState::Released);
    late.expires += Duration::from_nanos(1);
    late.host_name.clear();
    file.append(&[bound(100), odd.clone(), late.clone()])
        .unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let without_sums: Vec<_> = text
        .lines()
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(
        without_sums,
        [
            "bowline-leases",
            "bound 192.168.1.100 1767225600 1/525400123464 01525400123464 node1",
            "declined 192.168.1.7 never 1/525400123407 01525400123407 %2Da%20b%0A%25%FF",
            "released 192.168.1.8 1767225601 1/525400123408 01525400123408 -",
        ]
    );
    drop(file);
    late.expires = Duration::from_secs(1_767_225_601);
    assert_eq!(reopen(&path).leases, [odd, late, bound(100)]);
}

#[test]
fn the_latest_record_of_an_address_counts() {
    let (_folder, path) = place();
    let (mut file, replay) = LeaseFile::open(&path).unwrap();
    assert!(replay.leases.is_empty() && replay.damage.is_empty());
    file.append(&[bound(1), bound(2)]).unwrap();
    file.append(&[lease(1, LeaseState::Released)]).unwrap();
    drop(file);
    let replay = reopen(&path);
    assert_eq!(replay.leases, [lease(1, LeaseState::Released), bound(2)]);
    assert!(replay.damage.is_empty());
}

#[test]
fn a_crash_at_any_byte_loses_only_what_nobody_was_told() {
    let (_folder, path) = place();
    let (mut file, _) = LeaseFile::open(&path).unwrap();
    file.append(&[bound(1)]).unwrap();
    let told = fs::metadata(&path).unwrap().len() as usize;
    file.append(&[bound(2), bound(3)]).unwrap();
    drop(file);
    let whole = fs::read(&path).unwrap();
    for len in 0..=whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (mut file, replay) = LeaseFile::open(&path).unwrap();
        if len >= told {
            assert!(replay.leases.contains(&bound(1)), "cut at {len}");
        }
        let at_line_end = len == 0 || whole[len - 1] == b'\n';
        assert_eq!(
            replay.damage.is_empty(),
            at_line_end,
            "cut at {len}: {:?}",
            replay.damage
        );
        // And the file goes on growing as if nothing had happened.
        file.append(&[bound(4)]).unwrap();
        drop(file);
        let replay = reopen(&path);
        assert!(
            replay.damage.is_empty(),
            "cut at {len}: {:?}",
            replay.damage
        );
        assert!(replay.leases.contains(&bound(4)), "cut at {len}");
    }
    assert!(
        !beside(&path, "damaged").exists(),
        "a torn end is not damage"
    );
}

#[test]
fn damage_inside_is_reported_and_kept() {
    let (_folder, path) = place();
    let (mut file, _) = LeaseFile::open(&path).unwrap();
    file.append(&[bound(1), bound(2), bound(3)]).unwrap();
    drop(file);
    let good = fs::read_to_string(&path).unwrap();
    let bad = good.replacen("192.168.1.2 ", "192.168.1.9 ", 1);
    fs::write(&path, &bad).unwrap();
    let replay = reopen(&path);
    assert_eq!(replay.leases, [bound(1), bound(3)]);
    assert_eq!(replay.damage, ["line 3 is damaged: dropped"]);
    assert_eq!(fs::read_to_string(beside(&path, "damaged")).unwrap(), bad);
    assert!(reopen(&path).damage.is_empty(), "the file was written anew");
}

#[test]
fn lines_that_are_no_records() {
    assert!(
        parse_record(NEVER_USED.as_bytes()).is_none(),
        "a wrong checksum"
    );
    let with_sum = |line: &str| format!("{line} {:08x}\n", CHECKSUM.checksum(line.as_bytes()));
    let good = "bound 192.168.1.9 1767225600 1/525400123409 01525400123409 -";
    assert!(parse_record(with_sum(good).as_bytes()).is_some());
    for line in [
        "",
        "bound",
        "lost 192.168.1.9 1767225600 1/525400123409 01525400123409 -",
        "bound 192.168.1 1767225600 1/525400123409 01525400123409 -",
        "bound 192.168.1.9 soon 1/525400123409 01525400123409 -",
        "bound 192.168.1.9 1767225600 525400123409 01525400123409 -",
        "bound 192.168.1.9 1767225600 256/525400123409 01525400123409 -",
        "bound 192.168.1.9 1767225600 1/52540012340 01525400123409 -",
        "bound 192.168.1.9 1767225600 1/000102030405060708090a0b0c0d0e0f10 0152 -",
        "bound 192.168.1.9 1767225600 1/525400123409 01 -",
        "bound 192.168.1.9 1767225600 1/525400123409 01525400123409 %4",
        "bound 192.168.1.9 1767225600 1/525400123409 01525400123409 - more",
    ] {
        assert!(parse_record(with_sum(line).as_bytes()).is_none(), "{line}");
    }
}

#[test]
fn the_file_does_not_grow_without_end() {
    let (_folder, path) = place();
    let (mut file, _) = LeaseFile::open(&path).unwrap();
    let mut rewrites = 0;
    for _ in 0..3 * SPARE_RECORDS {
        if file.wants_rewrite(1) {
            file.rewrite(&[bound(1)]).unwrap();
            rewrites += 1;
        } else {
            file.append(&[bound(1)]).unwrap();
        }
    }
    assert_eq!(rewrites, 2);
    assert!(fs::read_to_string(&path).unwrap().lines().count() < SPARE_RECORDS + 10);
    drop(file);
    assert_eq!(reopen(&path).leases, [bound(1)]);
}

#[test]
fn one_server_at_a_time() {
    let (_folder, path) = place();
    let first = LeaseFile::open(&path).unwrap();
    let error = LeaseFile::open(&path).unwrap_err();
    assert!(matches!(error, Error::LeaseFileInUse(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("another server uses the lease file"),
        "{error}"
    );
    drop(first);
    LeaseFile::open(&path).unwrap();
}

#[test]
fn somebody_elses_file_is_left_alone() {
    let (_folder, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let foreign = "1767225600 52:54:00:12:34:56 192.168.1.100 * *\n";
    fs::write(&path, foreign).unwrap();
    let error = LeaseFile::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("its first line is \"1767225600 52:54"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), foreign);
}
