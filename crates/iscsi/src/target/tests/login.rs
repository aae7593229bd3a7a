//! Logins: in a hurry, without proof, in pieces, without end.

use super::*;

#[test]
fn only_algorithms_that_are_allowed_are_chosen() {
    use Algorithm::{Sha1, Sha3_256, Sha256};
    for (offered, chosen) in [
        ("5,6,7,8", Some("7")),
        ("8,7", Some("8")),
        ("5,6", None),
        ("5", None),
    ] {
        let admission = Admission {
            credentials: vec![Credentials::new("user", "password")],
            algorithms: vec![Sha3_256, Sha256],
            ..Admission::default()
        };
        assert!(!admission.algorithms.contains(&Sha1));
        let mut peer = Peer::new(Config::default(), admission);
        let keys = [
            ("InitiatorName", "iqn.a.b:c"),
            ("TargetName", TARGET),
            ("AuthMethod", "CHAP"),
        ];
        peer.login(SECURITY, None, &keys);
        let (response, keys) = peer.login(SECURITY, None, &[("CHAP_A", offered)]);
        assert_eq!(keys.get("CHAP_A"), chosen, "{offered}");
        let refused = response.status == LoginStatus::AUTHENTICATION_FAILURE;
        assert_eq!(refused, chosen.is_none(), "{offered}");
    }
}

#[test]
fn an_initiator_in_a_hurry_logs_in_with_mutual_chap() {
    // iPXE asks to go on at every step; the first answers must not let it.
    let admission = Admission {
        credentials: vec![Credentials::new("user", "password")],
        reverse: Some(Credentials::new("target", "secret")),
        ..Admission::default()
    };
    let mut peer = Peer::new(Config::default(), admission);
    let next = Some(OPERATIONAL);
    let (response, keys) = peer.login(
        SECURITY,
        next,
        &[
            ("InitiatorName", "iqn.a.b:c"),
            ("TargetName", TARGET),
            ("SessionType", "Normal"),
            ("AuthMethod", "CHAP"),
        ],
    );
    assert!(!response.transit && response.current_stage == SECURITY);
    assert_eq!(keys.get("AuthMethod"), Some("CHAP"));
    assert_eq!(keys.get("TargetPortalGroupTag"), Some("0"));
    let (response, keys) = peer.login(SECURITY, next, &[("CHAP_A", "5")]);
    assert!(!response.transit);
    assert_eq!(keys.get("CHAP_A"), Some("5"));
    let identifier: u8 = keys.get("CHAP_I").unwrap().parse().unwrap();
    let challenge = chap::decode(keys.get("CHAP_C").unwrap()).unwrap();
    let proof = Algorithm::Md5.response(identifier, &Secret::new(b"password"), &challenge);
    let (response, keys) = peer.login(
        SECURITY,
        next,
        &[
            ("CHAP_N", "user"),
            ("CHAP_R", &chap::encode(&proof)),
            ("CHAP_I", "9"),
            ("CHAP_C", "0b3q2+7w=="),
        ],
    );
    assert!(response.transit && response.next_stage == OPERATIONAL);
    let expected = Algorithm::Md5.response(9, &Secret::new(b"secret"), &[0xde, 0xad, 0xbe, 0xef]);
    assert_eq!(keys.get("CHAP_N"), Some("target"));
    assert_eq!(keys.get("CHAP_R"), Some(chap::encode(&expected).as_str()));
    let (response, keys) = peer.login(
        OPERATIONAL,
        Some(FULL),
        &[
            ("HeaderDigest", "None"),
            ("InitialR2T", "Yes"),
            ("X-new", "1"),
        ],
    );
    assert!(response.transit && response.next_stage == FULL && response.tsih == 7);
    assert_eq!(keys.get("InitialR2T"), Some("Yes"));
    assert_eq!(keys.get("X-new"), Some("NotUnderstood"));
    assert_eq!(keys.get("MaxRecvDataSegmentLength"), Some("262144"));
    let Some(Event::LoggedIn(login)) = peer.connection.poll_event() else {
        panic!()
    };
    assert_eq!(login.authentication, Authentication::Mutual);
}

#[test]
fn without_the_proof_there_is_no_way_around_chap() {
    let admission = Admission {
        credentials: vec![Credentials::new("user", "password")],
        ..Admission::default()
    };
    let first = &[("InitiatorName", "iqn.a.b:c"), ("TargetName", TARGET)][..];
    let none = [first, &[("AuthMethod", "None")]].concat();
    let method = [first, &[("AuthMethod", "None,CHAP")]].concat();
    let wrong = [
        ("CHAP_N", "user"),
        ("CHAP_R", "0x00000000000000000000000000000000"),
    ];
    let reflected = [
        ("CHAP_N", "user"),
        ("CHAP_R", "0x00"),
        ("CHAP_I", "1"),
        ("CHAP_C", "0x00"),
    ];
    type Steps<'a> = &'a [(Stage, Option<Stage>, &'a [(&'a str, &'a str)])];
    let cases: [(Steps<'_>, LoginStatus); 8] = [
        (
            &[(OPERATIONAL, Some(FULL), first)],
            LoginStatus::AUTHENTICATION_FAILURE,
        ),
        (
            &[(SECURITY, Some(FULL), &none)],
            LoginStatus::AUTHENTICATION_FAILURE,
        ),
        (
            &[
                (SECURITY, Some(FULL), first),
                (OPERATIONAL, Some(FULL), &[]),
            ],
            LoginStatus::INVALID_DURING_LOGIN,
        ),
        (
            &[(SECURITY, None, &method), (SECURITY, None, &wrong)],
            LoginStatus::INITIATOR_ERROR,
        ),
        (
            &[
                (SECURITY, None, &method),
                (SECURITY, None, &[("CHAP_A", "1,2,99")]),
            ],
            LoginStatus::AUTHENTICATION_FAILURE,
        ),
        (
            &[
                (SECURITY, None, &method),
                (SECURITY, None, &[("CHAP_A", "5")]),
                (SECURITY, None, &wrong),
            ],
            LoginStatus::AUTHENTICATION_FAILURE,
        ),
        (
            &[
                (SECURITY, None, &method),
                (SECURITY, None, &[("CHAP_A", "5")]),
                (SECURITY, None, &reflected),
            ],
            LoginStatus::AUTHENTICATION_FAILURE,
        ),
        (
            &[
                (SECURITY, None, &method),
                (SECURITY, None, &[("AuthMethod", "None")]),
            ],
            LoginStatus::INITIATOR_ERROR,
        ),
    ];
    for (steps, expected) in cases {
        let mut peer = Peer::new(Config::default(), admission.clone());
        let mut status = LoginStatus::SUCCESS;
        for (stage, next, keys) in steps {
            assert_eq!(status, LoginStatus::SUCCESS);
            let (response, _) = peer.login(*stage, *next, keys);
            assert!(!response.transit);
            status = response.status;
        }
        assert_eq!(status, expected);
        assert!(matches!(
            peer.connection.poll_event(),
            Some(Event::Closed(Closed::LoginRefused { .. }))
        ));
    }
}

#[test]
fn requests_that_make_no_sense_are_refused_with_the_right_status() {
    let request = Peer::request(OPERATIONAL, Some(FULL));
    let good = names();
    let cases: &[(LoginRequest, &[u8], LoginStatus)] = &[
        (
            LoginRequest {
                version_min: 1,
                ..request
            },
            &good,
            LoginStatus::UNSUPPORTED_VERSION,
        ),
        (
            LoginRequest { tsih: 5, ..request },
            &good,
            LoginStatus::SESSION_DOES_NOT_EXIST,
        ),
        (
            LoginRequest {
                next_stage: Stage(2),
                ..request
            },
            &good,
            LoginStatus::INITIATOR_ERROR,
        ),
        (
            LoginRequest {
                current_stage: Stage(2),
                ..request
            },
            &good,
            LoginStatus::INITIATOR_ERROR,
        ),
        (
            LoginRequest {
                next_stage: OPERATIONAL,
                ..request
            },
            &good,
            LoginStatus::INITIATOR_ERROR,
        ),
        (
            LoginRequest {
                is_continued: true,
                ..request
            },
            &good,
            LoginStatus::INITIATOR_ERROR,
        ),
        (request, b"", LoginStatus::MISSING_PARAMETER),
        (
            request,
            b"InitiatorName=iqn.a\0",
            LoginStatus::MISSING_PARAMETER,
        ),
        (
            request,
            b"TargetName=iqn.a\0",
            LoginStatus::MISSING_PARAMETER,
        ),
        (
            request,
            b"InitiatorName=a\0TargetName=b\0",
            LoginStatus::NOT_FOUND,
        ),
        (
            request,
            b"InitiatorName=a\0SessionType=Other\0",
            LoginStatus::SESSION_TYPE_NOT_SUPPORTED,
        ),
        (
            request,
            b"InitiatorName=a\0InitiatorName=a\0",
            LoginStatus::INITIATOR_ERROR,
        ),
        (request, b"nonsense\0", LoginStatus::INITIATOR_ERROR),
    ];
    for (request, keys, expected) in cases {
        let mut peer = Peer::plain();
        assert_eq!(peer.login_status(*request, keys), *expected, "{request:?}");
        assert!(peer.connection.is_closed());
    }
}

#[test]
fn a_login_in_pieces_is_put_together() {
    let mut peer = Peer::plain();
    let keys = names();
    let piece = LoginRequest {
        transit: false,
        is_continued: true,
        ..Peer::request(OPERATIONAL, None)
    };
    for byte in &keys[..20] {
        peer.send(piece.header(), &[*byte]);
        let pdu = peer.receive_one();
        let response = LoginResponse::parse(&pdu.header);
        assert!(!response.transit && !response.is_continued && pdu.data.is_empty());
    }
    let request = Peer::request(OPERATIONAL, Some(FULL));
    peer.send(request.header(), &keys[20..]);
    assert!(LoginResponse::parse(&peer.receive_one().header).transit);
}

#[test]
fn an_endless_login_is_ended() {
    let mut peer = Peer::plain();
    let request = LoginRequest {
        is_continued: true,
        ..Peer::request(OPERATIONAL, None)
    };
    for _ in 0..1000 {
        peer.send(request.header(), b"x");
        let _ = peer.receive();
    }
    assert!(peer.connection.is_closed());
}

#[test]
fn nothing_but_login_before_full_feature_phase() {
    let mut peer = Peer::plain();
    peer.send(command(1, false, 0).header(), &[]);
    assert!(matches!(
        peer.connection.poll_event(),
        Some(Event::Closed(Closed::Protocol(_)))
    ));
    assert!(peer.receive().is_empty());
}
