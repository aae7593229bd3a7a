//! Blocks, limits and logical unit numbers of disks.

use super::*;

#[test]
fn a_disk_with_blocks_of_4096_bytes_boots() {
    let target = TestTarget::new(2048);
    target.block.set(4096);
    let platform = booting(&target, |_, disk| {
        let geometry = disk.geometry();
        assert_eq!((geometry.block_size, geometry.blocks), (4096, 256));
        let mut blocks = vec![0; 3 * 4096];
        disk.read(7, &mut blocks).unwrap();
        assert_eq!(blocks[512 * 9 + 3], ((7 * 8 + 9) * 7 + 3) as u8);
        assert_eq!(disk.read(256, &mut blocks), Err(BlockError::OutOfRange));
        assert_eq!(
            disk.read(0, &mut blocks[..512]),
            Err(BlockError::OutOfRange)
        );
        disk.write(8, &[9; 4096]).unwrap();
        disk.read(7, &mut blocks).unwrap();
        assert!(blocks[4096..8192] == [9; 4096]);
        disk.flush().unwrap();
        Ok(())
    });
    let lines = [&HOOK.replace("sanhook", "sanboot"), "exit"];
    let output = shown(&run_with(platform, &lines));
    assert!(
        output.contains("san 0x80: 1 MiB, 4096 byte blocks ("),
        "{output}"
    );
    assert!(target.disk.borrow()[8 * 4096..9 * 4096] == [9; 4096]);
    assert_eq!(target.flushes.get(), 1);
}

/// READ CAPACITY (16) and the block limits page, as the firmware is told them; the target refuses
/// commands beyond its limit.
#[test]
fn the_limits_of_a_disk_are_kept() {
    let target = TestTarget::new(2048);
    target.physical_block_exponent.set(3);
    target.transfer_blocks_max.set(48);
    let platform = booting(&target, |_, disk| {
        let geometry = disk.geometry();
        assert_eq!(geometry.physical_block_size, 4096);
        assert_eq!(geometry.transfer_max, 48 * 512);
        let mut all = vec![0; 1 << 20];
        disk.read(0, &mut all).unwrap();
        assert_eq!(all[1000 * 512 + 3], (1000 * 7 + 3) as u8);
        disk.write(0, &vec![1; 1 << 20]).unwrap();
        Ok(())
    });
    run_with(platform, &[&HOOK.replace("sanhook", "sanboot"), "exit"]);
    assert!(target.disk.borrow().iter().all(|byte| *byte == 1));
}

#[test]
fn a_disk_that_moves_next_to_nothing_is_refused() {
    let target = TestTarget::new(2048);
    target.transfer_blocks_max.set(8);
    let output = shown(&run(&target, &[&format!("{HOOK} ||"), "exit"]));
    assert!(
        output.contains("the disk moves 4096 bytes in one command at most [disk-unsupported]"),
        "{output}"
    );
}

/// REPORT LUNS, for the person who mistook the number.
#[test]
fn a_missing_unit_is_told_with_those_that_are_there() {
    let target = TestTarget::new(2048);
    let hook = HOOK.replace(":::1:", ":::3:");
    let output = shown(&run(&target, &[&format!("{hook} ||"), "exit"]));
    assert!(
        output
            .contains("the target has no logical unit of this number; it has 1, 2 [disk-no-unit]"),
        "{output}"
    );
}
