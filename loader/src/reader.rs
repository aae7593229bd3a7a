//! reader.efi: reads a network disk through Block IO as a boot loader does, for `cargo xtask bench
//! san`. It runs on whatever loader hooked the disk; who watches the console takes the times. Without
//! a network disk it measures the limit instead: how fast the firmware hands out frames.
#![no_std]
#![no_main]

extern crate alloc;

mod frames;
mod network_disk;

use alloc::vec;
use core::panic::PanicInfo;

use uefi::allocator::Allocator;
use uefi::prelude::*;
use uefi::println;
use uefi::proto::media::block::BlockIO;
use uefi::runtime::{self, ResetType};

/// Read from the beginning of the disk, round after round, in requests as EDK2's file systems make them.
const ROUNDS: u64 = 3;
const ROUND_BYTES: u64 = 32 << 20;
const REQUEST_BYTES: usize = 64 << 10;

/// Read after that, everywhere on the rest of the disk.
const RANDOM_READS: u64 = 400;
const RANDOM_BYTES: usize = 4 << 10;

#[global_allocator]
static HEAP: Allocator = Allocator;

#[entry]
fn main() -> Status {
    let done = match network_disk::find() {
        Some(mut disk) => read(&mut disk),
        None => frames::receive(),
    };
    let status = match done {
        Ok(()) => Status::SUCCESS,
        Err(error) => {
            println!("reader: failed: {error}");
            error.status()
        }
    };
    println!("reader: done");
    status
}

fn read(disk: &mut BlockIO) -> uefi::Result<()> {
    let media = disk.media();
    let (id, block) = (media.media_id(), u64::from(media.block_size()));
    let blocks = media.last_block() + 1;
    let mut buffer = vec![0; REQUEST_BYTES];
    let mut sum = Checksum::default();
    for round in 1..=ROUNDS {
        println!("reader: sequential {round} begins");
        for start in ((round - 1) * ROUND_BYTES..round * ROUND_BYTES).step_by(REQUEST_BYTES) {
            disk.read_blocks(id, start / block, &mut buffer)?;
            sum.add(&buffer);
        }
        println!("reader: sequential {round} ends");
    }
    println!("reader: sequential ends, sum {:016x}", sum.0);

    let first = ROUNDS * ROUND_BYTES / RANDOM_BYTES as u64;
    let end = blocks * block / RANDOM_BYTES as u64;
    buffer.truncate(RANDOM_BYTES);
    let (mut random, mut sum) = (1_u64, Checksum::default());
    println!("reader: random begins");
    for _ in 0..RANDOM_READS {
        // xorshift64: every run reads the same places.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let place = first + random % (end - first);
        disk.read_blocks(id, place * RANDOM_BYTES as u64 / block, &mut buffer)?;
        sum.add(&buffer);
    }
    println!("reader: random ends, sum {:016x}", sum.0);
    Ok(())
}

/// Tells whether two loaders gave the same bytes: by eight of each sixty-four, and without a rotation,
/// for whose flags an emulator calls a function, so that it costs little beside what is measured.
#[derive(Default)]
struct Checksum(u64);

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.as_chunks::<64>().0 {
            let word = piece.first_chunk().copied().map_or(0, u64::from_le_bytes);
            self.0 = self
                .0
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .wrapping_add(word);
        }
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("reader: failed: {info}");
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
