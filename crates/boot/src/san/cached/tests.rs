//! The cache against a model: a disk that answers out of order, late, short or not at all.

use alloc::collections::VecDeque;
use alloc::vec;
use core::cell::Cell;
use core::pin::pin;
use core::task::{Context, Waker};

use super::*;
use crate::san::queue::Finished;

const BLOCK: usize = 512;

/// xorshift64: the same seed makes the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct FakeQueue {
    disk: RefCell<Vec<u8>>,
    random: RefCell<Random>,
    waiting: RefCell<Vec<(CommandId, Request)>>,
    finished: RefCell<VecDeque<Finished>>,
    next: Cell<CommandId>,
    /// One in this many commands fails; zero is never.
    failure_rate: u64,
    gone: Cell<bool>,
    reads: Cell<usize>,
    /// Blocks that were read.
    blocks: Cell<u64>,
    bad_block: Option<u64>,
}

impl FakeQueue {
    fn new(blocks: usize, seed: u64) -> Self {
        let mut random = Random(seed | 1);
        Self {
            disk: RefCell::new(
                (0..blocks * BLOCK)
                    .map(|_| random.below(256) as u8)
                    .collect(),
            ),
            random: RefCell::new(random),
            waiting: RefCell::default(),
            finished: RefCell::default(),
            next: Cell::new(1),
            failure_rate: 0,
            gone: Cell::new(false),
            reads: Cell::new(0),
            blocks: Cell::new(0),
            bad_block: None,
        }
    }

    fn chance(&self, rate: u64) -> bool {
        rate > 0 && self.random.borrow_mut().below(rate) == 0
    }

    fn execute(&self, request: &Request) -> Result<Vec<u8>, Failure> {
        if self.chance(self.failure_rate) {
            return Err(Failure::short_read(0, 1));
        }
        let mut disk = self.disk.borrow_mut();
        match request {
            Request::Read { lba, blocks } => {
                self.reads.set(self.reads.get() + 1);
                self.blocks.set(self.blocks.get() + u64::from(*blocks));
                let range = *lba..lba + u64::from(*blocks);
                if self.bad_block.is_some_and(|bad| range.contains(&bad)) {
                    return Err(Failure::short_read(0, 1));
                }
                let start = *lba as usize * BLOCK;
                Ok(disk[start..start + *blocks as usize * BLOCK].to_vec())
            }
            Request::Write { lba, data } => {
                let start = *lba as usize * BLOCK;
                disk[start..start + data.len()].copy_from_slice(data);
                Ok(vec![])
            }
            Request::Flush | Request::Ask { .. } => Ok(vec![]),
        }
    }
}

impl CommandQueue for &FakeQueue {
    fn submit(&self, request: Request) -> CommandId {
        let command = self.next.get();
        self.next.set(command + 1);
        self.waiting.borrow_mut().push((command, request));
        command
    }

    fn turn(&self) -> bool {
        let waiting = self.waiting.borrow().len() as u64;
        if waiting == 0 {
            return false;
        }
        let pick = self.random.borrow_mut().below(waiting) as usize;
        let (command, request) = self.waiting.borrow_mut().remove(pick);
        let result = if self.gone.get() {
            Err(Failure::short_read(0, 1))
        } else {
            self.execute(&request)
        };
        self.finished.borrow_mut().push_back((command, result));
        true
    }

    fn take_finished(&self) -> Option<Finished> {
        self.finished.borrow_mut().pop_front()
    }

    fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty()
    }
}

fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..100_000 {
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("it never ended");
}

fn disk_over(queue: &FakeQueue, cache_bytes: usize) -> CachedDisk<&FakeQueue> {
    let blocks = (queue.disk.borrow().len() / BLOCK) as u64;
    let geometry = Geometry::new(BLOCK as u32, blocks, false);
    CachedDisk::new(queue, geometry, cache_bytes)
}

/// Random reads and writes agree with a plain vector, whatever the order of answers, with a cache
/// of a few lines and failing commands. An operation may fail, but never lie.
#[test]
fn agrees_with_a_model() {
    for seed in 1..100_u64 {
        let mut queue = FakeQueue::new(1000, seed * 7919);
        if seed % 3 == 0 {
            queue.failure_rate = 20;
        }
        let mut model = queue.disk.borrow().clone();
        let disk = disk_over(&queue, (1 + seed as usize % 8) * LINE_BYTES);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Every other one jumps about with small requests.
        let jumps = seed % 2 == 0;
        let blocks_max = if jumps { 8 } else { 200 };
        let mut next = 0;
        for step in 0..100 {
            let sequential = !jumps && random.below(3) > 0;
            let lba = if sequential { next } else { random.below(1000) };
            let blocks = (1 + random.below(blocks_max)).min(1000 - lba);
            next = (lba + blocks) % 1000;
            let range = lba as usize * BLOCK..(lba + blocks) as usize * BLOCK;
            if random.below(4) == 0 {
                let data: Vec<u8> = (0..range.len()).map(|_| random.below(256) as u8).collect();
                if run(disk.write(lba, &data)).is_ok() {
                    model[range].copy_from_slice(&data);
                } else {
                    // A failed write leaves its blocks undefined: adopt what the disk has.
                    model[range.clone()].copy_from_slice(&queue.disk.borrow()[range]);
                }
            } else {
                let mut buffer = vec![0; range.len()];
                match run(disk.read(lba, &mut buffer)) {
                    Ok(()) => assert!(buffer == model[range], "seed {seed}, step {step}"),
                    Err(_) => assert!(queue.failure_rate > 0, "seed {seed}"),
                }
            }
        }
    }
}

#[test]
fn sequential_reads_are_asked_for_early_and_in_large_pieces() {
    let queue = FakeQueue::new(8192, 3);
    let disk = disk_over(&queue, 16 << 20);
    let mut buffer = vec![0; 32 * 1024];
    for piece in 0..128 {
        run(disk.read(piece * 64, &mut buffer)).unwrap();
        let start = piece as usize * buffer.len();
        assert!(buffer == queue.disk.borrow()[start..start + buffer.len()]);
    }
    // 4 MiB in 64 KiB commands is 64; the start of the stream adds a few.
    assert!(queue.reads.get() <= 70, "{} commands", queue.reads.get());
}

#[test]
fn a_lone_sector_costs_one_line_and_then_nothing() {
    let queue = FakeQueue::new(8192, 3);
    let disk = disk_over(&queue, 16 << 20);
    run(disk.read(1000, &mut [0; BLOCK])).unwrap();
    run(disk.read(1001, &mut [0; BLOCK])).unwrap();
    assert_eq!(queue.next.get() - 1, 1, "one command in all");
}

#[test]
fn who_jumps_about_gets_what_he_asks_for_and_no_more() {
    let queue = FakeQueue::new(64 * 1024, 3);
    let disk = disk_over(&queue, 1 << 20);
    let mut buffer = [0; 8 * BLOCK];
    let read = |lba: u64, buffer: &mut [u8]| {
        let before = queue.blocks.get();
        run(disk.read(lba, buffer)).unwrap();
        let start = lba as usize * BLOCK;
        assert!(*buffer == queue.disk.borrow()[start..start + buffer.len()]);
        queue.blocks.get() - before
    };
    for jump in 1..30 {
        let blocks = read(jump * 2011, &mut buffer);
        assert_eq!(blocks == 8, jump >= 8, "{blocks} blocks at jump {jump}");
    }
    let line = (LINE_BYTES / BLOCK) as u64;
    let blocks = read(29 * 2011 + 8, &mut buffer[..BLOCK]);
    assert!(
        blocks >= line,
        "one who goes on from there gets lines again, not {blocks} blocks"
    );
}

#[test]
fn a_bad_block_spoils_only_itself() {
    let mut queue = FakeQueue::new(1000, 3);
    queue.bad_block = Some(40);
    let disk = disk_over(&queue, 1 << 20);
    let mut buffer = [0; BLOCK];
    run(disk.read(41, &mut buffer)).unwrap();
    assert_eq!(buffer[..], queue.disk.borrow()[41 * BLOCK..42 * BLOCK]);
    assert!(run(disk.read(40, &mut buffer)).is_err());
}

#[test]
fn the_short_last_line_is_read_whole() {
    let queue = FakeQueue::new(33, 3);
    let disk = disk_over(&queue, 1 << 20);
    let mut buffer = [0; BLOCK];
    run(disk.read(32, &mut buffer)).unwrap();
    assert_eq!(buffer[..], queue.disk.borrow()[32 * BLOCK..]);
}

/// A target that is gone for good fails every operation with words, and does not hang.
#[test]
fn a_lost_way_fails_every_operation() {
    let queue = FakeQueue::new(1000, 3);
    let disk = disk_over(&queue, 1 << 20);
    queue.gone.set(true);
    assert!(run(disk.read(0, &mut [0; BLOCK])).is_err());
    assert!(run(disk.write(0, &[0; BLOCK])).is_err());
    assert!(run(disk.flush()).is_err());
    queue.gone.set(false);
    run(disk.read(0, &mut [0; BLOCK])).unwrap();
}

/// A boot loader reads from us on the firmware's stack, which is small.
#[test]
fn an_operation_is_small() {
    let queue = FakeQueue::new(1000, 3);
    let disk = disk_over(&queue, 1 << 20);
    assert!(size_of_val(&disk.read(0, &mut [0; BLOCK])) < 1024);
    assert!(size_of_val(&disk.write(0, &[0; BLOCK])) < 1024);
}
