//! What an administrator does while the target runs.

use bowline_iscsi::LoginStatus;
use bowline_iscsi::initiator::Error;
use bowline_server::ServeError;
use bowline_server::iscsi::{Config, Reloaded, TargetReport};

use super::*;

fn name(target: &str) -> String {
    format!("iqn.2026-01.com.example:{target}")
}

fn report(site: &Site, target: &str) -> TargetReport {
    let reports = site.handle().report();
    let report = reports.into_iter().find(|it| it.name == name(target));
    report.unwrap()
}

/// Does `what` beside the initiators, which have to be run by this thread meanwhile.
fn beside<T: Send + 'static>(
    site: &Site,
    what: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    site.runtime.spawn(what)
}

fn reload(site: &Site, config: &Config) -> tokio::task::JoinHandle<Result<Reloaded, ServeError>> {
    let (handle, config) = (site.handle(), config.clone());
    beside(site, async move { handle.reload(&config).await })
}

fn is_asked_to_leave(client: &mut Client) {
    client.wait(|event| matches!(event, Event::LogoutRequested(_)));
}

#[test]
fn sessions_are_listed_with_what_they_have_done() {
    let site = Site::new();
    assert_eq!(report(&site, "open").sessions, []);
    let (mut client, _) = attempt("open").login(&site).unwrap();
    client.write(0, &[1; 8192]);
    client.read(0, 64);
    let target = report(&site, "open");
    let session = &target.sessions[0];
    assert_eq!(session.initiator, "iqn.2026-01.com.example:host");
    assert_eq!(session.address.ip(), site.address.ip());
    // Each command has a header of 48 bytes, and so has each answer.
    assert!(session.counts.received > 8192 + 96, "{session:?}");
    assert!(session.counts.sent > 64 * 512 + 96, "{session:?}");
    assert!(session.counts.commands >= 2, "{session:?}");
    assert_eq!((target.sessions_total, target.counts), (1, session.counts));
    let before = target.counts;
    assert_eq!(client.logout(), Closed::LoggedOut);
    // What was done stays with the target.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !report(&site, "open").sessions.is_empty() {
        assert!(Instant::now() < deadline);
    }
    let target = report(&site, "open");
    assert_eq!(target.sessions_total, 1);
    assert!(target.counts.sent >= before.sent);
    assert_eq!(report(&site, "named").sessions_total, 0);
}

#[test]
fn a_session_is_kicked_and_another_is_not() {
    let site = Site::new();
    let (mut stays, _) = attempt("open").login(&site).unwrap();
    let (mut goes, _) = Attempt {
        isid: 1,
        initiator: "iqn.2026-01.com.example:guest",
        ..attempt("open")
    }
    .login(&site)
    .unwrap();
    let sessions = report(&site, "open").sessions;
    let guest = sessions.iter().find(|it| it.initiator.ends_with("guest"));
    let number = guest.unwrap().session;
    let handle = site.handle();
    let kicked = beside(&site, async move { handle.kick(number).await });
    is_asked_to_leave(&mut goes);
    // It does not go by itself, and is shown out.
    assert!(matches!(goes.closed(), Closed::Failed(_)));
    let kicked = site.runtime.block_on(kicked).unwrap().unwrap();
    assert_eq!(kicked.session, number);
    assert_eq!(stays.read(0, 1), [0; 512]);
    assert_eq!(report(&site, "open").sessions.len(), 1);
    let handle = site.handle();
    let nobody = beside(&site, async move { handle.kick(number).await });
    assert_eq!(site.runtime.block_on(nobody).unwrap(), None);
}

#[test]
fn targets_are_exchanged_and_others_do_not_notice() {
    let site = Site::new();
    let (mut stays, _) = attempt("open").login(&site).unwrap();
    let (mut changes, _) = attempt("named")
        .by("iqn.2026-01.com.example:friend")
        .login(&site)
        .unwrap();
    changes.write(5, &[7; 512]);

    let mut config = site.config.clone();
    let target = |config: &mut Config, wanted: &str| {
        let position = config.targets.iter().position(|it| it.name == name(wanted));
        position.unwrap()
    };
    let named = target(&mut config, "named");
    config.targets[named].initiators.clear();
    config.targets[named].luns[0].removable = true;
    // One takes over the image of another that goes.
    let oneway = target(&mut config, "oneway");
    let mut taker = config.targets.remove(oneway);
    taker.name = name("taker");
    taker.chap = None;
    config.targets.push(taker);
    let reloaded = reload(&site, &config);
    is_asked_to_leave(&mut changes);
    assert!(matches!(changes.closed(), Closed::Failed(_)));
    let reloaded = site.runtime.block_on(reloaded).unwrap().unwrap();
    assert_eq!(reloaded.changed, [name("named")]);
    assert_eq!(reloaded.added, [name("taker")]);
    assert_eq!(reloaded.removed, [name("oneway")]);
    assert_eq!(reloaded.unchanged.len(), 4);

    assert_eq!(stays.read(0, 1), [0; 512]);
    let (mut anybody, _) = attempt("named").login(&site).unwrap();
    assert_eq!(anybody.read(5, 1), [7; 512]);
    attempt("taker").login(&site).unwrap();
    let gone = attempt("oneway").login(&site);
    assert_eq!(gone.err(), Some(Error::TargetNotFound));
    assert_eq!(stays.logout(), Closed::LoggedOut);
}

#[test]
fn what_cannot_be_served_changes_nothing() {
    let site = Site::new();
    let (mut client, _) = attempt("open").login(&site).unwrap();
    let mut elsewhere = site.config.clone();
    elsewhere.listen = vec!["127.0.0.1:1".parse().unwrap()];
    let mut missing = site.config.clone();
    missing.targets.retain(|target| target.name != name("open"));
    missing.targets[1].luns[0].file = site.image("missing");
    for (config, told) in [(elsewhere, "restart"), (missing, "missing.img")] {
        let refused = site.runtime.block_on(reload(&site, &config)).unwrap();
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
    assert_eq!(client.read(0, 1), [0; 512]);
    assert_eq!(site.handle().report().len(), site.config.targets.len());
}

/// A target that is exchanged waits for the commands under way, and nobody gets in meanwhile by
/// the rules of before.
#[test]
fn a_login_meanwhile_is_put_off() {
    let site = Site::new();
    let (mut client, _) = attempt("open").login(&site).unwrap();
    let mut config = site.config.clone();
    for target in &mut config.targets {
        target.initiators = vec![name("nobody")];
    }
    let reloaded = reload(&site, &config);
    is_asked_to_leave(&mut client);
    let early = Attempt {
        isid: 1,
        ..attempt("open")
    };
    let refused = early.login(&site).err();
    assert!(
        matches!(
            refused,
            Some(Error::LoginRefused(LoginStatus::SERVICE_UNAVAILABLE))
        ),
        "{refused:?}"
    );
    assert_eq!(client.logout(), Closed::LoggedOut);
    site.runtime.block_on(reloaded).unwrap().unwrap();
    assert!(early.login(&site).is_err());
}
