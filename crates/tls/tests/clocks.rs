//! Verdicts by clocks that are not sure: what a lower bound, the network and a clock that is set
//! later may bring about.

mod common;

use bowline_tls::time::{Certainty, Clock, Reading, Source, TimePolicy, Timestamp};
use bowline_tls::verify::{Purpose, Reason};
use bowline_tls::{Client, Config, provider};
use common::*;
use rcgen::{CertificateParams, CertifiedIssuer, date_time_ymd};

const SERVER: Purpose<'_> = Purpose::Server { name: HOST };

fn at_least(time: Timestamp) -> Clock {
    Clock {
        time,
        certainty: Certainty::AtLeast,
        source: Source::Floor,
    }
}

#[test]
fn lower_bound_refuses_what_has_expired_and_nothing_for_being_new() {
    let root = root("Test Root");
    let ask = |params: &CertificateParams, clock| {
        let chain = Credentials::new(params, Algorithm::P256, &root).chain;
        verdict_at(clock, &chain, &anchors(&[&root]), SERVER)
    };
    let mut params = leaf_params(&[HOST]);
    params.not_before = date_time_ymd(2027, 7, 1);
    ask(&params, at_least(now())).unwrap();
    // Packed before even the root was made.
    let early = Timestamp::from_calendar((2026, 1, 1), (0, 0, 0)).unwrap();
    ask(&params, at_least(early)).unwrap();
    assert_eq!(
        ask(&params, Clock::at(early)).unwrap_err().reason,
        Reason::NotYetValid
    );
    params.not_before = date_time_ymd(2027, 1, 1);
    params.not_after = date_time_ymd(2027, 5, 1);
    let refusal = ask(&params, at_least(now())).unwrap_err();
    assert_eq!(refusal.reason, Reason::Expired);
    assert!(
        refusal
            .words
            .contains("no clock to rely on, but it is at least 2027-06-01"),
        "{refusal}"
    );
}

#[test]
fn no_moment_at_which_all_are_valid_is_a_refusal() {
    let root = root("Test Root");
    let mut params = authority_params("Old Intermediate");
    params.not_after = date_time_ymd(2027, 7, 1);
    let middle = CertifiedIssuer::signed_by(params, key(Algorithm::P256), &root).unwrap();
    let mut params = leaf_params(&[HOST]);
    params.not_before = date_time_ymd(2027, 8, 1);
    let chain = Credentials::new(&params, Algorithm::P256, &middle)
        .with(&[&middle])
        .chain;
    let refusal = verdict_at(at_least(now()), &chain, &anchors(&[&root]), SERVER).unwrap_err();
    assert_eq!(
        (refusal.reason, refusal.certificate.unwrap().index),
        (Reason::Expired, Some(1))
    );
}

#[test]
fn network_time_alone_never_revives_a_certificate() {
    let root = root("Test Root");
    let mut params = leaf_params(&[HOST]);
    params.not_after = date_time_ymd(2027, 5, 1);
    let chain = Credentials::new(&params, Algorithm::P256, &root).chain;
    let anchors = anchors(&[&root]);
    let before = Timestamp::from_calendar((2027, 4, 1), (0, 0, 0)).unwrap();
    for readings in [
        vec![Reading {
            time: before,
            source: Source::Network,
        }],
        vec![
            Reading {
                time: before,
                source: Source::Network,
            },
            Reading {
                time: now(),
                source: Source::Firmware,
            },
        ],
    ] {
        // Packed after the certificate expired, or a clock that says so.
        let floor = if readings.len() == 1 { now() } else { before };
        let clock = TimePolicy::new(floor).decide(&readings);
        let refusal = verdict_at(clock, &chain, &anchors, SERVER);
        assert_eq!(refusal.unwrap_err().reason, Reason::Expired);
    }
}

#[test]
fn clock_of_a_configuration_can_be_set() {
    let root = root("Test Root");
    let credentials = Credentials::for_host(Algorithm::P256, &root);
    seed();
    let early = Timestamp::from_calendar((1990, 1, 1), (0, 0, 0)).unwrap_or_default();
    let config = Config::builder(anchors(&[&root]), Clock::at(early)).build::<provider::Portable>();
    let attempt = || {
        let server = server(&credentials, &ServerOptions::default());
        Wire::new(Client::new(&config, HOST).unwrap(), server).run()
    };
    // At that time not even the root is valid.
    assert_eq!(attempt().unwrap_err().code(), "not-yet-valid");
    config.set_clock(clock());
    attempt().unwrap();
}
