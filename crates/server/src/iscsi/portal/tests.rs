//! Handles, reinstatement and resets, without connections.

use std::fs::File;

use bowline_iscsi::target::{Applicant, Directory as _};
use bowline_iscsi::{Authentication, LoginStatus, Parameters};
use bowline_scsi::Cdb;
use bowline_scsi::device::Action;

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
            physical_block_size: 4096,
            removable: false,
            write_cache: true,
            thin: true,
        };
        TargetConfig {
            name: name.into(),
            chap: None,
            initiators: Vec::new(),
            networks: Vec::new(),
            redirect: None,
            luns: vec![lun],
        }
    };
    let limits = Limits {
        connections_max,
        ..Limits::default()
    };
    let config = Config {
        listen: Vec::new(),
        targets: vec![target("a"), target("b")],
        discovery_chap: None,
        state: directory.path().join("state"),
        limits,
    };
    (Arc::new(Portal::open(&config).unwrap()), directory)
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

fn target(portal: &Portal, name: &str) -> Arc<Target> {
    portal.offer().targets[name].clone().unwrap()
}

fn establish(reservation: &Reservation, login: &Login, target: &Arc<Target>) -> Membership {
    let peer = "127.0.0.1:1024".parse().unwrap();
    let membership = reservation.establish(login, target, peer, Arc::default());
    membership.unwrap()
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
        let target = target(&portal, login.target_name.as_deref().unwrap());
        let membership = establish(&reservation, login, &target);
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
    let (_place, mut new) = hold(&login("host", 1, "a"));
    old.replaced.requested().await;
    let mut over = new.predecessor.take().unwrap();
    assert!(is_pending(&mut over), "the old session has not ended yet");
    drop(old);
    assert!(!is_pending(&mut over), "the old session has ended");
}

fn is_pending(shutdown: &mut Shutdown) -> bool {
    is_future_pending(std::pin::pin!(shutdown.requested()))
}

fn is_future_pending(future: std::pin::Pin<&mut dyn Future<Output = ()>>) -> bool {
    use std::task::{Context, Waker};
    let mut context = Context::from_waker(Waker::noop());
    future.poll(&mut context).is_pending()
}

#[tokio::test]
async fn a_reset_is_told_once_to_every_session_of_the_target() {
    let (portal, _directory) = portal(8);
    let session = |isid, name| {
        let (reservation, target) = (portal.reserve().unwrap(), target(&portal, name));
        let membership = establish(&reservation, &login("host", isid, name), &target);
        (reservation, membership, target)
    };
    let (one, mut two, other) = (session(1, "a"), session(2, "a"), session(3, "b"));
    let lun = Lun::new(1).unwrap();
    let ready = |(reservation, _, target): &(Reservation, Membership, Arc<Target>)| {
        let unit = target.unit(lun).unwrap();
        let nexus = NexusId::from(reservation.tsih);
        let ready = Cdb::TestUnitReady.to_bytes();
        unit.device().execute(nexus, &target.luns, &ready)
    };
    let settling = portal.reset(&one.2, Some(lun), one.0.tsih);
    // It is over when the other session has given up its commands.
    let mut settled = Box::pin(settling.settled());
    assert!(is_future_pending(settled.as_mut()));
    assert!(matches!(
        two.1.notices.try_recv(),
        Ok(Notice::Abort { lun: Some(of), .. }) if of == lun
    ));
    settled.await;
    for session in [&one, &two] {
        assert_eq!(ready(session), Action::Check(Sense::DEVICE_RESET));
        assert_eq!(ready(session), Action::Respond(Vec::new()));
    }
    assert_eq!(ready(&other), Action::Respond(Vec::new()));
    drop(portal.reset(&one.2, Lun::new(9), one.0.tsih));
    assert_eq!(ready(&one), Action::Respond(Vec::new()));
}

#[test]
fn names_from_the_network_cannot_forge_a_log() {
    let (portal, _directory) = portal(8);
    let entrance = Entrance::new(
        portal,
        "127.0.0.1:3260".parse().unwrap(),
        "127.0.0.1:1024".parse().unwrap(),
    );
    assert_eq!(entrance.applicant(), None);
    let applicant = Applicant {
        initiator_name: "host\n2026 INFO \x1b[2Jall is well",
        isid: Isid([0; 6]),
        target_name: Some("gone\r"),
    };
    assert_eq!(
        entrance.admit(&applicant).err(),
        Some(LoginStatus::NOT_FOUND)
    );
    let told = entrance.applicant().unwrap();
    assert_eq!(told, "host\\n2026 INFO \\u{1b}[2Jall is well at gone\\r");
}
