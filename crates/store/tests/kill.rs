//! A process that writes to a disk is killed (SIGKILL) at a random moment, again and again. What it
//! said was flushed is there afterwards, on every format, and on all but qcow2 what it said was
//! written, too.
//!
//! The writer is this test program, started again with `BOWLINE_KILL_DISK` set. It writes rounds of
//! blocks, each full of the number of the round, and flushes after each round; it says so of every
//! block and every flush on its standard error. `BOWLINE_KILL_ROUNDS` sets how often it is killed
//! (default 15 for each format).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bowline_store::{Access, Disk, Library, open};

const DISK_LEN: u64 = 64 << 20;
const BLOCK: u64 = 1536;
/// Not neighbours, so that new clusters and map pages come up all the time.
const BLOCKS_PER_ROUND: u64 = 24;

/// The places of a round, the same for every reader.
fn places(round: u64) -> impl Iterator<Item = u64> {
    (0..BLOCKS_PER_ROUND).map(move |index| {
        let mixed = (round * BLOCKS_PER_ROUND + index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 20) % (DISK_LEN / BLOCK) * BLOCK
    })
}

fn filled(round: u64) -> Vec<u8> {
    round.to_le_bytes().repeat((BLOCK / 8) as usize)
}

#[test]
fn writer() {
    let Some(path) = std::env::var_os("BOWLINE_KILL_DISK") else {
        return;
    };
    let first: u64 = std::env::var("BOWLINE_KILL_FIRST")
        .unwrap()
        .parse()
        .unwrap();
    let disk = open(Path::new(&path), Access::ReadWrite).unwrap();
    let mut said = std::io::stderr();
    for round in first.. {
        // In one piece, or the kill comes between two.
        let mut say = |line: String| said.write_all(line.as_bytes()).unwrap();
        for (index, place) in places(round).enumerate() {
            disk.write_at(place, &filled(round)).unwrap();
            say(format!("written {index}\n"));
        }
        disk.flush().unwrap();
        say(format!("flushed {round}\n"));
    }
}

/// What the writer said at last.
#[derive(Clone, Copy)]
struct Said {
    /// This round was flushed.
    flushed: u64,
    /// And so many blocks of the next were written.
    written: usize,
}

/// Lets the writer work for a while, from its start or from its first flush.
fn write_and_kill(path: &Path, first: u64, from_flush: bool, wait: Duration) -> Said {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env("BOWLINE_KILL_DISK", path)
        .env("BOWLINE_KILL_FIRST", first.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(writer.stderr.take().unwrap());
    let (flushed, flushes) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut said = Said {
            flushed: first - 1,
            written: 0,
        };
        for line in output.lines().map_while(Result::ok) {
            match line.split_once(' ') {
                Some(("written", index)) => said.written = index.parse::<usize>().unwrap() + 1,
                Some(("flushed", round)) => {
                    said.flushed = round.parse().unwrap();
                    said.written = 0;
                    // Nobody listens after the first.
                    let _ = flushed.send(());
                }
                _ => panic!("the writer said: {line}"),
            }
        }
        said
    });
    if from_flush {
        flushes.recv().unwrap();
    }
    std::thread::sleep(wait);
    writer.kill().unwrap();
    writer.wait().unwrap();
    reader.join().unwrap()
}

/// What each place must hold: the last flushed round that wrote it, or a later one that was under
/// way.
fn check(disk: &dyn Disk, flushed: u64, rounds: &mut std::collections::BTreeMap<u64, u64>) {
    let mut found = vec![0; BLOCK as usize];
    let under_way: Vec<u64> = places(flushed + 1).collect();
    for (place, round) in rounds {
        disk.read_at(*place, &mut found).unwrap();
        if found == filled(flushed + 1) && under_way.contains(place) {
            continue;
        }
        // A write that was under way may be there in part.
        let sectors = found.chunks(512).zip(0..);
        for (sector, index) in sectors {
            let is = |round: u64| sector == &filled(round)[..512];
            let newer = under_way.contains(place) && is(flushed + 1);
            assert!(
                is(*round) || newer,
                "place {place}, sector {index}: not round {round}"
            );
        }
    }
}

/// The blocks that were written since the last flush are there.
fn check_written(disk: &dyn Disk, said: Said) {
    let round = said.flushed + 1;
    let mut found = vec![0; BLOCK as usize];
    for (index, place) in places(round).take(said.written).enumerate() {
        disk.read_at(place, &mut found).unwrap();
        assert!(
            found == filled(round),
            "round {round}: block {index} is lost"
        );
    }
}

fn survive(path: &Path, keep: Keep) {
    let kills: u64 =
        std::env::var("BOWLINE_KILL_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap());
    let mut rounds = std::collections::BTreeMap::new();
    let mut flushed = 0;
    let mut written = 0;
    let start = Instant::now();
    for kill in 0..kills {
        // Every other kill may come before the image is even open, on a busy machine.
        let wait = Duration::from_micros(kill * 7919 % 60_000);
        let said = write_and_kill(path, flushed + 1, kill % 2 == 0, wait);
        for round in flushed + 1..=said.flushed {
            rounds.extend(places(round).map(|place| (place, round)));
        }
        flushed = said.flushed;
        written += said.written;
        let disk = open(path, Access::ReadWrite).unwrap();
        check(&disk, flushed, &mut rounds);
        if keep == Keep::Written {
            check_written(&disk, said);
        }
        // The round that was cut off is written again by the next writer, over what is left of it.
        for place in places(flushed + 1) {
            let round = rounds.get(&place).copied().unwrap_or(0);
            disk.write_at(place, &filled(round)).unwrap();
            rounds.insert(place, round);
        }
        disk.flush().unwrap();
    }
    eprintln!(
        "{}: {kills} kills, {flushed} flushes, {written} blocks written after them, {:?}",
        path.display(),
        start.elapsed()
    );
    assert!(flushed >= kills / 2, "only {flushed} flushes");
    assert!(written > 0, "no kill came between a write and its flush");
}

/// What must be there after a kill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Flushed,
    Written,
}

fn raw(directory: &Path) -> PathBuf {
    let path = directory.join("disk.img");
    File::create(&path).unwrap().set_len(DISK_LEN).unwrap();
    path
}

#[test]
fn raw_survives() {
    let directory = tempfile::tempdir().unwrap();
    survive(&raw(directory.path()), Keep::Written);
}

#[test]
fn overlay_survives() {
    let directory = tempfile::tempdir().unwrap();
    let library = Library::open(&directory.path().join("library")).unwrap();
    library
        .import("golden", &raw(directory.path()), None, &mut |_, _| {})
        .unwrap();
    library.create_overlay("one", "golden", None).unwrap();
    survive(&library.overlay_path("one", None), Keep::Written);
}

#[test]
fn qcow2_survives() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk.qcow2");
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k"])
        .arg(&path)
        .arg(DISK_LEN.to_string())
        .status();
    match made {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            eprintln!("skipped: qemu-img is not installed");
            return;
        }
    }
    survive(&path, Keep::Flushed);
    let check = Command::new("qemu-img").arg("check").arg(&path).output();
    let check = String::from_utf8(check.unwrap().stdout).unwrap();
    assert!(check.contains("No errors"), "{check}");
}
