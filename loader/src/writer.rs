//! writer.efi: reads a network disk through Block IO, writes to it and reads that back, while in a
//! scenario the network or the target fails. It tells the SHA-256 of every range of bytes, and
//! `cargo xtask e2e` compares with the image behind the disk.
#![no_std]
#![no_main]

extern crate alloc;

mod network_disk;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use core::ops::Range;
use core::panic::PanicInfo;

use sha2::{Digest, Sha256};
use uefi::allocator::Allocator;
use uefi::prelude::*;
use uefi::println;
use uefi::proto::media::block::BlockIO;
use uefi::runtime::{self, ResetType};

const MIB: u64 = 1 << 20;
const READ: Range<u64> = 0..48 * MIB;
const WRITTEN: Range<u64> = 128 * MIB..176 * MIB;
const REQUEST_BYTES: usize = 64 << 10;
/// After so many bytes it is told how far it is; what was written is flushed then.
const STEP: u64 = 8 * MIB;

#[global_allocator]
static HEAP: Allocator = Allocator;

#[entry]
fn main() -> Status {
    let Some(mut disk) = network_disk::find() else {
        println!("BOWLINE-TEST failed: there is no network disk");
        return Status::NOT_FOUND;
    };
    match work(&mut disk) {
        Ok(()) => Status::SUCCESS,
        Err(error) => {
            println!("BOWLINE-TEST failed: {error}");
            error.status()
        }
    }
}

fn work(disk: &mut BlockIO) -> uefi::Result<()> {
    let (id, block) = (
        disk.media().media_id(),
        u64::from(disk.media().block_size()),
    );
    each("read", READ, |at, buffer| {
        disk.read_blocks(id, at / block, buffer)
    })?;
    each("written", WRITTEN, |at, buffer| {
        fill(at, buffer);
        disk.write_blocks(id, at / block, buffer)?;
        if (at + buffer.len() as u64).is_multiple_of(STEP) {
            disk.flush_blocks()?;
        }
        Ok(())
    })?;
    each("read back", WRITTEN, |at, buffer| {
        disk.read_blocks(id, at / block, buffer)
    })
}

/// Goes through a range, and tells how far it is and what all of it was.
fn each(
    done: &str,
    range: Range<u64>,
    mut work: impl FnMut(u64, &mut [u8]) -> uefi::Result<()>,
) -> uefi::Result<()> {
    let mut buffer = vec![0; REQUEST_BYTES];
    let mut sum = Sha256::new();
    for at in range.clone().step_by(REQUEST_BYTES) {
        work(at, &mut buffer)?;
        sum.update(&buffer);
        let so_far = at + REQUEST_BYTES as u64 - range.start;
        if so_far.is_multiple_of(STEP) {
            println!("writer: {} MiB {done}", so_far / MIB);
        }
    }
    let Range { start, end } = range;
    let digest = sum.finalize();
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("BOWLINE-TEST sha256 of bytes {start} to {end}: {digest}");
    Ok(())
}

/// No word is the same as another, so that misplaced data is noticed.
fn fill(at: u64, buffer: &mut [u8]) {
    let places = (at / 8..).map(|place| place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    for (word, value) in buffer.as_chunks_mut().0.iter_mut().zip(places) {
        *word = value.to_le_bytes();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("BOWLINE-TEST failed: {info}");
    runtime::reset(ResetType::SHUTDOWN, Status::ABORTED, None)
}
