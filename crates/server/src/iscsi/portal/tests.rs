//! Handles, reinstatement and resets, without connections.

use std::fs::File;

use bowline_iscsi::{Authentication, Parameters};
use bowline_scsi::Cdb;
use bowline_scsi::device::{Action, execute};

use super::*;
use crate::iscsi::LunConfig;

fn portal(connections_max: usize) -> (Arc<Portal>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let target = |name: &str| {
        let file = directory.path().join(name);
        File::create(&file).unwrap().set_len(4096).unwrap();
        let lun = LunConfig {
            lun: 1,
            file,
            read_only: false,
            block_size: 512,
        };
        TargetConfig {
            name: name.into(),
            chap: None,
            luns: vec![lun],
        }
    };
    let limits = Limits {
        connections_max,
        ..Limits::default()
    };
    (
        Arc::new(Portal::open(&[target("a"), target("b")], limits).unwrap()),
        directory,
    )
}

fn login(initiator: &str, isid: u8, target: &str) -> Login {
    Login {
        initiator_name: initiator.into(),
        isid: Isid([0x80, 0, 0, 0, 0, isid]),
        tsih: 1,
        target_name: Some(target.into()),
        initiator_alias: None,
        authentication: Authentication::None,
        algorithm: None,
        parameters: Parameters::default(),
    }
}

#[test]
fn handles_are_unique_and_given_back() {
    let (portal, _directory) = portal(3);
    let held: Vec<_> = (0..3).map(|_| portal.reserve().unwrap()).collect();
    let mut handles: Vec<_> = held.iter().map(|reservation| reservation.tsih).collect();
    handles.dedup();
    assert_eq!(handles.len(), 3);
    assert!(!handles.contains(&0));
    assert!(portal.reserve().is_none());
    drop(held);
    assert!(portal.reserve().is_some());
}

#[tokio::test]
async fn only_the_same_initiator_isid_and_target_is_replaced() {
    let (portal, _directory) = portal(8);
    let hold = |login: &Login| {
        let reservation = portal.reserve().unwrap();
        let membership = reservation.establish(login, &Nexuses::default()).unwrap();
        (reservation, membership)
    };
    let (_old_place, mut old) = hold(&login("host", 1, "a"));
    for other in [
        login("host", 2, "a"),
        login("host", 1, "b"),
        login("guest", 1, "a"),
    ] {
        assert!(hold(&other).1.predecessor.is_none());
    }
    let (_place, new) = hold(&login("host", 1, "a"));
    old.replaced.requested().await;
    let mut over = new.predecessor.unwrap();
    assert!(is_pending(&mut over), "the old session has not ended yet");
    drop(old);
    assert!(!is_pending(&mut over), "the old session has ended");
}

fn is_pending(shutdown: &mut Shutdown) -> bool {
    use std::task::{Context, Poll, Waker};
    let mut wait = std::pin::pin!(shutdown.requested());
    matches!(
        wait.as_mut().poll(&mut Context::from_waker(Waker::noop())),
        Poll::Pending
    )
}

#[test]
fn a_reset_is_told_once_to_every_session_of_the_target() {
    let (portal, _directory) = portal(8);
    let session = |isid, target| {
        let (reservation, nexuses) = (portal.reserve().unwrap(), Nexuses::default());
        let membership = reservation.establish(&login("host", isid, target), &nexuses);
        (reservation, membership, nexuses)
    };
    let (one, two, other) = (session(1, "a"), session(2, "a"), session(3, "b"));
    let lun = Lun::new(1).unwrap();
    portal.reset("a", Some(lun));
    let ready = |(_, _, nexuses): &(_, _, Nexuses), name| {
        let target = portal.target(name).unwrap();
        let unit = target.unit(lun).unwrap();
        let mut nexuses = nexuses.lock().unwrap();
        let nexus = nexuses.entry(lun).or_default();
        execute(
            Some(&unit.device),
            &target.luns,
            nexus,
            &Cdb::TestUnitReady.to_bytes(),
        )
    };
    for session in [&one, &two] {
        assert_eq!(ready(session, "a"), Action::Check(Sense::DEVICE_RESET));
        assert_eq!(ready(session, "a"), Action::Respond(Vec::new()));
    }
    assert_eq!(ready(&other, "b"), Action::Respond(Vec::new()));
    portal.reset("a", Lun::new(9));
    assert_eq!(ready(&one, "a"), Action::Respond(Vec::new()));
}
