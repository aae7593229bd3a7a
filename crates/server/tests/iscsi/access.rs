//! Who may log in, and where to.

use bowline_iscsi::LoginStatus;
use bowline_iscsi::initiator::{Closed, Config, Error, Event, SessionType};
use bowline_iscsi::{Credentials, Isid};
use bowline_server::iscsi::ChapConfig;

use crate::client::{Attempt, Client, Site, attempt};

const FINDER: (&str, &str) = ("finder", "password of the finder");

fn discovery(credentials: Option<(&str, &str)>) -> Config {
    let isid = Isid::random([1, 2, 3], 9);
    let mut config = Config::new("iqn.2026-01.com.example:host", "", isid, [7; 33]);
    config.session = SessionType::Discovery;
    config.credentials = credentials.map(|(name, secret)| Credentials::new(name, secret));
    config
}

#[test]
fn a_target_has_its_initiators_and_networks() {
    let site = Site::new();
    let refused = |attempt: Attempt| match attempt.login(&site) {
        Err(Error::LoginRefused(status)) => status,
        other => panic!("{:?}", other.map(|(_, login)| login)),
    };
    let status = LoginStatus::AUTHORIZATION_FAILURE;
    assert_eq!(refused(attempt("named")), status);
    assert_eq!(refused(attempt("distant")), status);
    let friend = Attempt {
        initiator: "iqn.2026-01.com.example:friend",
        ..attempt("named")
    };
    let (client, _) = friend.login(&site).unwrap();
    assert_eq!(client.logout(), Closed::LoggedOut);
}

#[test]
fn targets_that_are_closed_to_an_initiator_are_not_listed() {
    let site = Site::new();
    let (mut client, _) = Client::login(site.address, discovery(None)).unwrap();
    let targets = client.targets();
    let has = |name: &str| targets.iter().any(|target| target.ends_with(name));
    assert!(has(":open") && has(":mutual"), "{targets:?}");
    assert!(!has(":named") && !has(":distant"), "{targets:?}");
}

#[test]
fn a_target_that_has_moved_tells_where_to() {
    let site = Site::new();
    let mut client = Client::connect(site.address, attempt("gone").config());
    let moved = client.wait(|event| matches!(event, Event::TargetMoved { .. }));
    let Event::TargetMoved { address, permanent } = moved else {
        panic!("{moved:?}")
    };
    assert_eq!(address.to_string(), "192.0.2.1:3260");
    assert!(!permanent);
    assert_eq!(client.closed(), Closed::Moved);
}

#[test]
fn who_asks_for_targets_may_have_to_prove_himself() {
    let site = Site::configured(|config| {
        let oneway = config.targets.iter().find_map(|target| target.chap.clone());
        let mut chap: ChapConfig = oneway.unwrap();
        chap.username = FINDER.0.into();
        config.discovery_chap = Some(chap);
    });
    assert!(Client::login(site.address, discovery(None)).is_err());
    let known = discovery(Some((FINDER.0, "password of the user")));
    let (mut client, _) = Client::login(site.address, known).unwrap();
    assert!(!client.targets().is_empty());
}
