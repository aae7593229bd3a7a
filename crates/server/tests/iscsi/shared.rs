//! What initiators share of a disk: reservations, and commands that nothing comes between.

use bowline_iscsi::initiator::Transfer;
use bowline_scsi::cdb::Transfer as Blocks;
use bowline_scsi::{Cdb, Sense, Status};

use crate::client::{Attempt, Client, Site, attempt};

fn other(site: &Site) -> Client {
    let other = Attempt {
        initiator: "iqn.2026-01.com.example:other",
        ..attempt("open")
    };
    other.login(site).unwrap().0
}

/// PERSISTENT RESERVE OUT, kept over a restart.
fn reserve_out(client: &mut Client, service_action: u8, key: u64, new_key: u64) -> Status {
    let cdb = Cdb::PersistentReserveOut {
        service_action,
        scope: 0,
        kind: 1,
        parameter_list_length: 24,
    };
    let mut data = [key.to_be_bytes(), new_key.to_be_bytes(), [0; 8]].concat();
    data[20] = 1;
    client.run(1, cdb, Transfer::Write(data)).status
}

fn write_status(client: &mut Client) -> Status {
    let write = Transfer::Write(vec![1; 512]);
    client.run(1, Cdb::write(0, 1), write).status
}

#[test]
fn a_persistent_reservation_holds_over_a_restart() {
    let site = Site::new();
    let (mut holder, _) = attempt("open").login(&site).unwrap();
    assert_eq!(reserve_out(&mut holder, 0, 0, 7), Status::GOOD);
    assert_eq!(reserve_out(&mut holder, 1, 7, 0), Status::GOOD);
    assert_eq!(
        write_status(&mut other(&site)),
        Status::RESERVATION_CONFLICT
    );
    drop(holder);

    let site = site.restart();
    let mut stranger = other(&site);
    assert_eq!(write_status(&mut stranger), Status::RESERVATION_CONFLICT);
    assert_eq!(stranger.read(0, 1), [0; 512]);
    let (mut holder, _) = attempt("open").login(&site).unwrap();
    assert_eq!(write_status(&mut holder), Status::GOOD);
    assert_eq!(reserve_out(&mut holder, 3, 7, 0), Status::GOOD);
    assert_eq!(write_status(&mut stranger), Status::GOOD);
    drop((holder, stranger));

    let site = site.restart();
    assert_eq!(write_status(&mut other(&site)), Status::GOOD);
}

#[test]
fn reserve_ends_with_its_session() {
    let site = Site::new();
    let (mut holder, _) = attempt("open").login(&site).unwrap();
    let mut stranger = other(&site);
    assert_eq!(
        holder.run(1, Cdb::Reserve6, Transfer::None).status,
        Status::GOOD
    );
    assert_eq!(write_status(&mut stranger), Status::RESERVATION_CONFLICT);
    holder.logout();
    // The session is over when the logout has been answered, or a moment later.
    let mut status = write_status(&mut stranger);
    for _ in 0..100 {
        if status == Status::GOOD {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        status = write_status(&mut stranger);
    }
    assert_eq!(status, Status::GOOD);
}

/// Two machines count in one block by COMPARE AND WRITE; none of the counts gets lost.
#[test]
fn compare_and_write_is_atomic() {
    const ROUNDS: u64 = 200;
    let site = Site::new();
    let count = |client: &mut Client| {
        let mut done = 0;
        while done < ROUNDS {
            let now = client.read(8, 1);
            let mut next = now.clone();
            let value = u64::from_be_bytes(now[..8].try_into().unwrap());
            next[..8].copy_from_slice(&(value + 1).to_be_bytes());
            let cdb = Cdb::CompareAndWrite(Blocks::new(8, 1));
            let completion = client.run(1, cdb, Transfer::Write([now, next].concat()));
            match completion.sense {
                None => done += 1,
                Some(sense) => assert_eq!(sense.key, Sense::MISCOMPARE.key),
            }
        }
    };
    let (mut one, _) = attempt("open").login(&site).unwrap();
    let mut two = other(&site);
    std::thread::scope(|scope| {
        scope.spawn(|| count(&mut one));
        scope.spawn(|| count(&mut two));
    });
    let end = one.read(8, 1);
    assert_eq!(end[..8], (2 * ROUNDS).to_be_bytes());
}
