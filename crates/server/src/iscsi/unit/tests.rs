//! Commands on a disk in memory that can be told to fail.

mod nth_call;

use std::sync::Mutex;

use bowline_scsi::Status;

use super::*;

/// A disk in memory that counts its flushes and can be told to fail.
#[derive(Debug)]
struct Memory {
    bytes: Mutex<Vec<u8>>,
    flushes: Mutex<u32>,
    failing: bool,
}

fn broken() -> std::io::Error {
    std::io::Error::other("broken on purpose")
}

impl Disk for Memory {
    fn len(&self) -> u64 {
        self.bytes.lock().unwrap().len() as u64
    }

    fn read_only(&self) -> bool {
        false
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        if self.failing {
            return Err(DiskError::Flush(broken()));
        }
        let bytes = self.bytes.lock().unwrap();
        buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), DiskError> {
        if self.failing {
            return Err(DiskError::Flush(broken()));
        }
        self.bytes.lock().unwrap()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn flush(&self) -> Result<(), DiskError> {
        *self.flushes.lock().unwrap() += 1;
        if self.failing {
            Err(DiskError::Flush(broken()))
        } else {
            Ok(())
        }
    }
}

fn unit(failing: bool) -> (Unit, Arc<Memory>) {
    // Block n holds bytes of value n.
    let bytes = (0..8_u8).flat_map(|n| [n; 512]).collect();
    let memory = Arc::new(Memory {
        bytes: Mutex::new(bytes),
        flushes: Mutex::new(0),
        failing,
    });
    (unit_of(memory.clone()), memory)
}

fn unit_of(disk: Arc<dyn Disk>) -> Unit {
    let config = LunConfig {
        lun: 1,
        file: "x".into(),
        read_only: false,
        block_size: 512,
        physical_block_size: 4096,
        removable: false,
        write_cache: true,
        thin: true,
    };
    let state = Path::new("/nonexistent");
    let name = "iqn.2026-01.com.example:x";
    Unit::new(name, &config, disk, state).unwrap()
}

#[test]
fn reads_stop_where_the_initiator_has_no_more_room() {
    let (unit, memory) = unit(false);
    let read = Action::Read {
        lba: 2,
        blocks: 2,
        force_unit_access: false,
    };
    let response = unit.carry_out(read.clone(), &[], 700);
    assert_eq!(response.data, [vec![2; 512], vec![3; 188]].concat());
    assert_eq!(response.moved, 1024);
    assert_eq!(unit.carry_out(read, &[], 4096).data.len(), 1024);
    assert_eq!(*memory.flushes.lock().unwrap(), 0);
}

#[test]
fn what_the_initiator_has_is_written_and_fua_flushes() {
    let (unit, memory) = unit(false);
    let write = |force_unit_access| Action::Write {
        lba: 1,
        blocks: 2,
        force_unit_access,
    };
    assert_eq!(
        unit.carry_out(write(false), &[9; 700], 0),
        Response::good(1024)
    );
    assert_eq!(
        memory.bytes.lock().unwrap()[512..1536],
        [vec![9; 700], vec![2; 324]].concat()
    );
    assert_eq!(*memory.flushes.lock().unwrap(), 0);
    unit.carry_out(write(true), &[8; 1024], 0);
    assert_eq!(memory.bytes.lock().unwrap()[512..1536], [8; 1024]);
    assert_eq!(*memory.flushes.lock().unwrap(), 1);
    unit.carry_out(Action::Flush { immediate: true }, &[], 0);
    assert_eq!(*memory.flushes.lock().unwrap(), 2);
}

#[test]
fn a_difference_is_told_with_its_offset() {
    let (unit, _) = unit(false);
    let compare = |one_block| Action::Compare {
        lba: 3,
        blocks: 2,
        one_block,
    };
    let mut data = [[3; 512], [4; 512]].concat();
    assert_eq!(
        unit.carry_out(compare(false), &data, 0),
        Response::good(1024)
    );
    data[600] = 0;
    assert_eq!(
        unit.carry_out(compare(false), &data, 0).sense,
        Some(Sense::MISCOMPARE.with_information(600))
    );
    assert_eq!(
        unit.carry_out(compare(true), &[3; 512], 0).sense,
        Some(Sense::MISCOMPARE.with_information(0))
    );
}

#[test]
fn failures_become_sense_data() {
    let (unit, _) = unit(true);
    for (action, sense) in [
        (
            Action::Verify { lba: 0, blocks: 8 },
            Sense::UNRECOVERED_READ_ERROR,
        ),
        (
            Action::Read {
                lba: 0,
                blocks: 1,
                force_unit_access: false,
            },
            Sense::UNRECOVERED_READ_ERROR,
        ),
        (
            Action::Write {
                lba: 0,
                blocks: 1,
                force_unit_access: false,
            },
            Sense::WRITE_ERROR,
        ),
        (Action::Flush { immediate: false }, Sense::WRITE_ERROR),
    ] {
        let response = unit.carry_out(action, &[0; 512], 512);
        assert_eq!(
            (response.status, response.sense),
            (Status::CHECK_CONDITION, Some(sense))
        );
        assert!(response.data.is_empty());
    }
}

#[test]
fn serial_numbers_stay_and_differ() {
    assert_eq!(
        serial("iqn.2026-01.com.example:disk1", 1),
        "2e8922c89d336bd2"
    );
    assert_ne!(
        serial("iqn.2026-01.com.example:disk1", 2),
        "2e8922c89d336bd2"
    );
}
