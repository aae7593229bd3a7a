//! Storage of which one call fails, every call of a stream of commands in its turn: the command
//! that needed it ends with the right sense data, and whatever was said to be kept is kept.

use std::io;
use std::ops::Range;
use std::sync::MutexGuard;

use bowline_store::{CacheId, Format, Golden, Identity, OverlayDisk, Qcow2Disk, RawDisk, Storage};
use rustix::io::Errno;

use super::*;

const BLOCK: usize = 512;
const BLOCKS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Read,
    Write,
    Sync,
}

/// A file in memory with a cache above what is stable. Copies are the same file.
#[derive(Clone, Debug, Default)]
struct Fragile {
    inside: Arc<Mutex<Inside>>,
    /// Which of the two files.
    file: usize,
}

/// Storage with room for two files: a disk may keep a journal.
#[derive(Clone, Debug, Default)]
struct Inside {
    cached: [Vec<u8>; 2],
    stable: [Vec<u8>; 2],
    /// Calls until the one that fails, and how it does.
    fails: Option<(usize, Errno)>,
    failed: Option<Call>,
    power_cuts: u8,
}

impl Fragile {
    /// Storage of its own with this content.
    fn of(inside: Inside) -> Self {
        Self {
            inside: Arc::new(Mutex::new(inside)),
            file: 0,
        }
    }

    /// The other file.
    fn second(&self) -> Self {
        Self {
            inside: Arc::clone(&self.inside),
            file: 1,
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    fn call<T>(&self, call: Call, act: impl FnOnce(&mut Inside) -> T) -> io::Result<T> {
        let mut inside = self.inside();
        match &mut inside.fails {
            Some((0, errno)) => {
                let error = io::Error::from(*errno);
                (inside.fails, inside.failed) = (None, Some(call));
                return Err(error);
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        Ok(act(&mut inside))
    }

    /// What a power cut leaves that keeps nothing of the cache.
    fn after_power_cut(&self) -> Self {
        let inside = self.inside();
        Self::of(Inside {
            cached: inside.stable.clone(),
            stable: inside.stable.clone(),
            power_cuts: inside.power_cuts + 1,
            ..Inside::default()
        })
    }
}

impl Storage for Fragile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inside().cached[self.file].len() as u64)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.call(Call::Read, |inside| {
            buffer.copy_from_slice(&inside.cached[self.file][offset as usize..][..buffer.len()]);
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call(Call::Write, |inside| {
            let file = &mut inside.cached[self.file];
            let end = offset as usize + data.len();
            file.resize(end.max(file.len()), 0);
            file[offset as usize..end].copy_from_slice(data);
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(Call::Write, |inside| {
            inside.cached[self.file].resize(len as usize, 0);
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.call(Call::Sync, |inside| {
            inside.stable[self.file] = inside.cached[self.file].clone();
        })
    }

    fn cache_id(&self) -> Option<CacheId> {
        Some([self.inside().power_cuts; 16])
    }
}

/// A command, and what GOOD says about it.
struct Step {
    action: Action,
    data: Vec<u8>,
    /// These blocks are full of this now.
    blocks: Range<usize>,
    becomes: Option<u8>,
    /// All that was written so far is on stable storage.
    keeps: bool,
}

fn stream() -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |action: Action, data: Vec<u8>, blocks: Range<usize>, becomes, keeps| {
        steps.push(Step {
            action,
            data,
            blocks,
            becomes,
            keeps,
        });
    };
    let write = |blocks: &Range<usize>, force_unit_access| Action::Write {
        lba: blocks.start as u64,
        blocks: blocks.len() as u32,
        force_unit_access,
    };
    let full = |blocks: &Range<usize>, value: u8| vec![value; blocks.len() * BLOCK];
    let same = |blocks: &Range<usize>, unmap, zeros, force_unit_access| Action::WriteSame {
        lba: blocks.start as u64,
        blocks: blocks.len() as u32,
        unmap,
        zeros,
        force_unit_access,
    };
    let flush = || Action::Flush { immediate: false };
    for (blocks, value, fua) in [(0..8, 1, false), (4..12, 2, false), (2..3, 3, true)] {
        step(
            write(&blocks, fua),
            full(&blocks, value),
            blocks,
            Some(value),
            fua,
        );
        step(flush(), vec![], 0..0, None, true);
    }
    step(
        same(&(16..24), false, false, false),
        vec![4; BLOCK],
        16..24,
        Some(4),
        false,
    );
    step(Action::Unmap(vec![(0, 8)]), vec![], 0..8, Some(0), false);
    step(flush(), vec![], 0..0, None, true);
    let verified = Action::WriteAndVerify {
        lba: 8,
        blocks: 8,
        compare: true,
    };
    step(verified, full(&(8..16), 5), 8..16, Some(5), true);
    step(
        same(&(16..20), true, true, true),
        vec![],
        16..20,
        Some(0),
        true,
    );
    let swap = Action::CompareAndWrite {
        lba: 24,
        blocks: 2,
        force_unit_access: true,
    };
    step(
        swap,
        [[0; 2 * BLOCK], [6; 2 * BLOCK]].concat(),
        24..26,
        Some(6),
        true,
    );
    let set_bits = Action::OrWrite {
        lba: 26,
        blocks: 1,
        force_unit_access: false,
    };
    step(set_bits, vec![8; BLOCK], 26..27, Some(8), false);
    step(
        Action::Verify { lba: 0, blocks: 64 },
        vec![],
        0..0,
        None,
        false,
    );
    step(
        write(&(30..40), true),
        full(&(30..40), 7),
        30..40,
        Some(7),
        true,
    );
    steps
}

/// What each block may hold: all that was written to it since it was last promised, and that.
type Allowed = Vec<Vec<u8>>;

fn check(disk: &dyn Disk, allowed: &Allowed, context: &str) {
    let mut bytes = [0; BLOCK];
    for (index, allowed) in allowed.iter().enumerate() {
        disk.read_at((index * BLOCK) as u64, &mut bytes).unwrap();
        let held = bytes.iter().all(|byte| *byte == bytes[0]) && allowed.contains(&bytes[0]);
        assert!(
            held,
            "{context}: block {index} holds {}, not one of {allowed:?}",
            bytes[0]
        );
    }
}

/// Runs the stream while call `at` fails; whether there was such a call.
fn endure(open: &dyn Fn(Fragile) -> Arc<dyn Disk>, fresh: &Fragile, at: usize, how: Errno) -> bool {
    let context = format!("call {at}, {how:?}");
    let drive = Fragile::of(fresh.inside().clone());
    let disk = open(drive.clone());
    let unit = unit_of(disk.clone());
    drive.inside().fails = Some((at, how));
    let mut seen: Allowed = vec![vec![0]; BLOCKS];
    let mut kept = seen.clone();
    for Step {
        action,
        data,
        blocks,
        becomes,
        keeps,
    } in stream()
    {
        let before = drive.inside().failed;
        let changes = becomes.is_some() || keeps;
        let response = unit.carry_out(action, &data, 0);
        let failed = drive.inside().failed;
        let full = how == Errno::NOSPC;
        let sense = match (before, failed) {
            (None, Some(Call::Read)) if !changes => Some(Sense::UNRECOVERED_READ_ERROR),
            // No real read fails for want of space.
            (None, Some(Call::Read)) => response.sense.filter(|sense| {
                [Sense::UNRECOVERED_READ_ERROR, Sense::WRITE_ERROR].contains(sense)
                    || full && *sense == Sense::SPACE_ALLOCATION_FAILED
            }),
            (None, Some(Call::Write | Call::Sync)) if full => Some(Sense::SPACE_ALLOCATION_FAILED),
            (None, Some(Call::Write | Call::Sync)) => Some(Sense::WRITE_ERROR),
            // Nobody knows what a failed sync has lost, so nothing is promised ever after.
            (Some(Call::Sync), _) if changes => Some(Sense::WRITE_ERROR),
            _ => None,
        };
        assert_eq!(response.sense, sense, "{context}");
        assert!(
            before == failed || sense.is_some(),
            "{context}: the failure was kept back"
        );
        if let Some(value) = becomes {
            for block in blocks {
                if sense.is_none() {
                    seen[block] = vec![value];
                } else {
                    seen[block].push(value);
                }
                kept[block].push(value);
            }
        }
        if keeps && sense.is_none() {
            kept = seen.clone();
        }
    }
    let reached = drive.inside().failed.is_some();
    drive.inside().fails = None;
    check(&*disk, &seen, &context);
    check(
        &*open(drive.after_power_cut()),
        &kept,
        &format!("{context}, after a power cut"),
    );
    reached
}

/// Fails every call in its turn; there must be at least so many.
fn endure_all(open: &dyn Fn(Fragile) -> Arc<dyn Disk>, fresh: &Fragile, least: usize) {
    for how in [Errno::IO, Errno::NOSPC] {
        let reached = (0..).take_while(|at| endure(open, fresh, *at, how)).count();
        assert!(reached >= least, "only {reached} calls could fail");
    }
}

fn blank() -> Fragile {
    let fresh = Fragile::default();
    fresh.set_len((BLOCKS * BLOCK) as u64).unwrap();
    fresh.sync().unwrap();
    fresh
}

#[test]
fn every_failing_call_of_a_raw_disk_is_told() {
    let len = (BLOCKS * BLOCK) as u64;
    let open = |drive| -> Arc<dyn Disk> { Arc::new(RawDisk::new(drive, len, false)) };
    endure_all(&open, &blank(), 20);
}

#[test]
fn every_failing_call_of_an_overlay_is_told() {
    let len = (BLOCKS * BLOCK) as u64;
    let golden: Arc<dyn Disk> = Arc::new(RawDisk::new(blank(), len, true));
    let name = Golden {
        path: "golden.img".into(),
        format: Format::Raw,
        identity: Identity::of(&golden, (0, 0)).unwrap(),
    };
    let fresh = Fragile::default();
    OverlayDisk::create(&fresh, len, name).unwrap();
    let open = |drive| -> Arc<dyn Disk> {
        Arc::new(OverlayDisk::open(drive, Arc::clone(&golden), false).unwrap())
    };
    endure_all(&open, &fresh, 30);
}

/// An empty qcow2 image (QEMU's docs/interop/qcow2.txt) with the smallest clusters there are: header,
/// reference count table, reference counts, L1 table.
fn blank_qcow2() -> Fragile {
    const CLUSTER: usize = 512;
    let mut image = vec![0; 4 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    let tables = CLUSTER as u64;
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &CLUSTER.ilog2().to_be_bytes());
    put(24, &((BLOCKS * BLOCK) as u64).to_be_bytes());
    // One entry in each table: an L2 table speaks of 64 clusters.
    put(36, &1_u32.to_be_bytes());
    put(40, &(3 * tables).to_be_bytes());
    put(48, &tables.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    // Reference counts have 1 << 4 bits; the header ends at byte 104.
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(CLUSTER, &(2 * tables).to_be_bytes());
    (0..4).for_each(|used| put(2 * CLUSTER + 2 * used, &1_u16.to_be_bytes()));
    let fresh = Fragile::default();
    fresh.write(0, &image).unwrap();
    fresh.sync().unwrap();
    fresh
}

#[test]
fn every_failing_call_of_a_qcow2_image_is_told() {
    let open = |drive: Fragile| -> Arc<dyn Disk> {
        let journal = drive.second();
        Arc::new(Qcow2Disk::open(drive, journal, None).unwrap())
    };
    endure_all(&open, &blank_qcow2(), 60);
}
