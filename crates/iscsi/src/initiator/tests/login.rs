//! Logins: every step, every refusal, and targets that cannot be believed.

use super::*;

#[test]
fn the_first_request_is_what_targets_expect() {
    let mut peer = Peer::new(initiator_config());
    let pdu = peer.receive_one();
    let request = LoginRequest::parse(&pdu.header);
    assert!(request.transit && !request.is_continued && pdu.header.is_immediate());
    assert_eq!(
        (request.current_stage, request.next_stage),
        (OPERATIONAL, FULL)
    );
    assert_eq!((request.tsih, request.cmd_sn), (0, 1));
    let keys = Pairs::parse(&pdu.data).unwrap();
    assert!(
        pdu.data
            .starts_with(b"InitiatorName=iqn.2000-01.com.example:host\0")
    );
    for (key, value) in [
        ("SessionType", "Normal"),
        ("TargetName", "iqn.2000-01.com.example:disk1"),
        ("HeaderDigest", "None"),
        ("MaxConnections", "1"),
        ("InitialR2T", "No"),
        ("ImmediateData", "Yes"),
        ("MaxRecvDataSegmentLength", "262144"),
        ("DefaultTime2Wait", "0"),
        ("ErrorRecoveryLevel", "0"),
    ] {
        assert_eq!(keys.get(key), Some(value));
    }
    assert_eq!(keys.get("AuthMethod"), None);
}

/// Drives mutual CHAP to the point where the target's proof is due, and returns its challenge.
fn up_to_the_proof(peer: &mut Peer) -> (u8, Vec<u8>) {
    let pdu = peer.receive_one();
    let keys = Pairs::parse(&pdu.data).unwrap();
    assert_eq!(keys.get("AuthMethod"), Some("CHAP"));
    assert!(!LoginRequest::parse(&pdu.header).transit);
    peer.answer_login(
        SECURITY,
        None,
        &[("AuthMethod", "CHAP"), ("TargetPortalGroupTag", "1")],
    );
    let pdu = peer.receive_one();
    assert_eq!(*pdu.data, *b"CHAP_A=8,6,5,7\0");
    assert!(!LoginRequest::parse(&pdu.header).transit);
    let challenge = [("CHAP_A", "7"), ("CHAP_I", "5"), ("CHAP_C", "0x010203")];
    peer.answer_login(SECURITY, None, &challenge);
    let pdu = peer.receive_one();
    let request = LoginRequest::parse(&pdu.header);
    assert!(request.transit && request.next_stage == OPERATIONAL);
    let keys = Pairs::parse(&pdu.data).unwrap();
    let expected = Algorithm::Sha256.response(5, &Secret::new(b"password"), &[1, 2, 3]);
    assert_eq!(keys.get("CHAP_N"), Some("user"));
    assert_eq!(keys.get("CHAP_R"), Some(chap::encode(&expected).as_str()));
    let identifier = keys.get("CHAP_I").unwrap().parse().unwrap();
    (
        identifier,
        chap::decode(keys.get("CHAP_C").unwrap()).unwrap(),
    )
}

#[test]
fn mutual_chap_goes_step_by_step() {
    let mut peer = Peer::new(chap_config(true));
    let (identifier, challenge) = up_to_the_proof(&mut peer);
    assert_eq!(challenge.len(), 32);
    let proof = Algorithm::Sha256.response(identifier, &Secret::new(b"secret"), &challenge);
    let keys = [("CHAP_N", "target"), ("CHAP_R", &*chap::encode(&proof))];
    peer.answer_login(SECURITY, Some(OPERATIONAL), &keys);
    let pdu = peer.receive_one();
    let request = LoginRequest::parse(&pdu.header);
    assert!(request.transit && request.current_stage == OPERATIONAL);
    assert!(
        Pairs::parse(&pdu.data)
            .unwrap()
            .get("MaxBurstLength")
            .is_some()
    );
    peer.answer_login(OPERATIONAL, Some(FULL), &[("InitialR2T", "Yes")]);
    let Some(Event::LoggedIn(login)) = peer.event() else {
        panic!()
    };
    assert_eq!(login.authentication, Authentication::Mutual);
    assert_eq!((login.tsih, login.portal_group_tag), (3, Some(1)));
}

/// A target that is not ready with its proof gets the word again (RFC 7143 section 6.2).
#[test]
fn a_target_may_prove_itself_and_go_on_later() {
    let mut peer = Peer::new(chap_config(true));
    let (identifier, challenge) = up_to_the_proof(&mut peer);
    let proof = Algorithm::Sha256.response(identifier, &Secret::new(b"secret"), &challenge);
    let keys = [("CHAP_N", "target"), ("CHAP_R", &*chap::encode(&proof))];
    peer.answer_login(SECURITY, None, &keys);
    let pdu = peer.receive_one();
    let request = LoginRequest::parse(&pdu.header);
    assert!(request.transit && request.current_stage == SECURITY && pdu.data.is_empty());
    peer.answer_login(SECURITY, Some(OPERATIONAL), &[]);
    let request = LoginRequest::parse(&peer.receive_one().header);
    assert!(request.transit && request.current_stage == OPERATIONAL);
}

#[test]
fn a_target_without_the_proof_is_not_believed() {
    let own = |identifier, challenge: &[u8]| {
        chap::encode(&Algorithm::Sha256.response(identifier, &Secret::new(b"password"), challenge))
    };
    let wrong = |_, _: &[u8]| "0x00".to_string();
    type Proof<'a> = Option<&'a dyn Fn(u8, &[u8]) -> String>;
    let cases: [(Proof<'_>, Error); 3] = [
        (None, Error::ReverseMissing),
        (Some(&wrong), Error::ReverseSecretMismatch),
        (Some(&own), Error::ReverseReflected),
    ];
    for (proof, error) in cases {
        for next in [None, Some(OPERATIONAL)] {
            let mut peer = Peer::new(chap_config(true));
            let (identifier, challenge) = up_to_the_proof(&mut peer);
            match proof {
                None => peer.answer_login(SECURITY, next, &[]),
                Some(proof) => {
                    let proof = proof(identifier, &challenge);
                    let keys = [("CHAP_N", "target"), ("CHAP_R", &*proof)];
                    peer.answer_login(SECURITY, next, &keys);
                }
            }
            assert_eq!(peer.failure(), error);
            assert!(peer.receive().is_empty());
        }
    }
}

#[test]
fn with_credentials_nothing_less_than_chap_is_accepted() {
    for (keys, next, error) in [
        (
            &[("AuthMethod", "None")][..],
            Some(OPERATIONAL),
            Some(Error::ChapRefused),
        ),
        (&[("AuthMethod", "None")], None, Some(Error::ChapRefused)),
        (&[], Some(FULL), Some(Error::ChapRefused)),
        (&[("AuthMethod", "Reject")], None, Some(Error::ChapRefused)),
        // Straight on, without the rest of CHAP.
        (&[("AuthMethod", "CHAP")], Some(OPERATIONAL), None),
        (&[("AuthMethod", "CHAP")], Some(FULL), None),
    ] {
        let mut peer = Peer::new(chap_config(false));
        peer.receive_one();
        peer.answer_login(SECURITY, next, keys);
        let failure = peer.failure();
        match error {
            Some(error) => assert_eq!(failure, error),
            None => assert!(matches!(failure, Error::Protocol(_))),
        }
    }
}

#[test]
fn a_target_that_picks_no_algorithm_or_a_foreign_one_is_refused() {
    for (keys, error) in [
        (&[("CHAP_A", "Reject")][..], Error::NoCommonAlgorithm),
        (
            &[("CHAP_A", "9")],
            Error::Negotiation {
                key: "CHAP_A".into(),
            },
        ),
        (
            &[("CHAP_A", "5")],
            Error::Negotiation {
                key: "CHAP_I".into(),
            },
        ),
        (
            &[("CHAP_A", "5"), ("CHAP_I", "256")],
            Error::Negotiation {
                key: "CHAP_I".into(),
            },
        ),
        (
            &[("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x")],
            Error::Negotiation {
                key: "CHAP_C".into(),
            },
        ),
    ] {
        let mut peer = Peer::new(chap_config(false));
        peer.receive_one();
        peer.answer_login(SECURITY, None, &[("AuthMethod", "CHAP")]);
        peer.receive_one();
        peer.answer_login(SECURITY, None, keys);
        assert_eq!(peer.failure(), error);
    }
}

#[test]
fn refusals_are_told_in_words() {
    for (status, error) in [
        (
            LoginStatus::AUTHENTICATION_FAILURE,
            Error::AuthenticationRequired,
        ),
        (LoginStatus::NOT_FOUND, Error::TargetNotFound),
        (
            LoginStatus::OUT_OF_RESOURCES,
            Error::LoginRefused(LoginStatus::OUT_OF_RESOURCES),
        ),
        (
            LoginStatus(0x0299),
            Error::LoginRefused(LoginStatus(0x0299)),
        ),
        // A redirection without an address.
        (
            LoginStatus::MOVED_PERMANENTLY,
            Error::LoginRefused(LoginStatus::MOVED_PERMANENTLY),
        ),
    ] {
        let mut peer = Peer::new(initiator_config());
        let response = LoginResponse {
            status,
            ..peer.login_response(OPERATIONAL, None)
        };
        peer.send(response.header(), &[]);
        assert_eq!(peer.failure(), error);
    }
    let words = Error::LoginRefused(LoginStatus(0x0302)).to_string();
    assert_eq!(
        words,
        "the login was refused: the target is out of resources (sessions, memory) \
         (login status 0302)"
    );
}

#[test]
fn a_moved_target_is_reported_with_its_address() {
    for (status, permanent) in [
        (LoginStatus::MOVED_TEMPORARILY, false),
        (LoginStatus::MOVED_PERMANENTLY, true),
    ] {
        let mut peer = Peer::new(initiator_config());
        let response = LoginResponse {
            status,
            ..peer.login_response(OPERATIONAL, None)
        };
        peer.send(response.header(), b"TargetAddress=[fe80::2]:3261,5\0");
        let address = "[fe80::2]:3261,5".parse().unwrap();
        assert_eq!(
            peer.event(),
            Some(Event::TargetMoved { address, permanent })
        );
        assert_eq!(peer.event(), Some(Event::Closed(Closed::Moved)));
    }
}

#[test]
fn a_login_response_in_pieces_is_put_together() {
    let mut peer = Peer::new(initiator_config());
    peer.receive_one();
    for piece in [&b"InitialR2T=N"[..], b"o\0MaxBurst"] {
        let response = LoginResponse {
            is_continued: true,
            ..peer.login_response(OPERATIONAL, None)
        };
        peer.send(response.header(), piece);
        let pdu = peer.receive_one();
        assert!(pdu.data.is_empty() && !LoginRequest::parse(&pdu.header).transit);
    }
    let response = peer.login_response(OPERATIONAL, None);
    peer.send(response.header(), b"Length=65536\0");
    // All is said: the next request asks to go on.
    assert!(LoginRequest::parse(&peer.receive_one().header).transit);
    peer.answer_login(OPERATIONAL, Some(FULL), &[]);
    let Some(Event::LoggedIn(login)) = peer.event() else {
        panic!()
    };
    assert_eq!(login.parameters.max_burst_length, 65_536);
    assert!(!login.parameters.initial_r2t);
}

#[test]
fn a_target_with_offers_of_its_own_gets_answers() {
    let mut peer = Peer::new(initiator_config());
    peer.receive_one();
    peer.answer_login(OPERATIONAL, None, &[("IFMarker", "Yes"), ("X-vendor", "1")]);
    let pdu = peer.receive_one();
    assert_eq!(*pdu.data, *b"IFMarker=No\0X-vendor=NotUnderstood\0");
    assert!(LoginRequest::parse(&pdu.header).transit);
}

#[test]
fn nonsense_during_login_ends_it() {
    for (keys, key) in [
        (&[("MaxBurstLength", "9999999")][..], "MaxBurstLength"),
        (&[("HeaderDigest", "CRC32C")], "HeaderDigest"),
        (&[("InitialR2T", "No"), ("InitialR2T", "No")], "InitialR2T"),
        (&[("TargetPortalGroupTag", "70000")], "TargetPortalGroupTag"),
    ] {
        let mut peer = Peer::new(initiator_config());
        peer.answer_login(OPERATIONAL, Some(FULL), keys);
        assert_eq!(peer.failure(), Error::Negotiation { key: key.into() });
    }
    let spoil: [fn(&mut LoginResponse); 4] = [
        |response| response.initiator_task_tag = 9,
        |response| response.current_stage = SECURITY,
        |response| response.next_stage = Stage(2),
        |response| response.is_continued = true,
    ];
    for spoil in spoil {
        let mut peer = Peer::new(initiator_config());
        let mut response = peer.login_response(OPERATIONAL, Some(FULL));
        spoil(&mut response);
        peer.send(response.header(), &[]);
        assert!(matches!(peer.failure(), Error::Protocol(_)));
    }
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    type Spoil = fn(&mut Config);
    let spoil: [(Spoil, ConfigError); 8] = [
        (
            |config| config.initiator_name = "Host 1".into(),
            ConfigError::InitiatorName,
        ),
        (
            |config| {
                config.session = SessionType::Normal {
                    target_name: String::new(),
                }
            },
            ConfigError::TargetName,
        ),
        (
            |config| config.credentials = None,
            ConfigError::ReverseWithoutCredentials,
        ),
        (
            |config| config.reverse = Some(chap("t", "password")),
            ConfigError::SameSecret,
        ),
        (
            |config| config.chap_algorithms.clear(),
            ConfigError::NoAlgorithms,
        ),
        (
            |config| config.max_recv_data_segment_length = 511,
            ConfigError::Lengths,
        ),
        (
            |config| config.first_burst_length = 2_000_000,
            ConfigError::Lengths,
        ),
        (|config| config.commands_max = 0, ConfigError::Lengths),
    ];
    for (spoil, error) in spoil {
        let mut config = chap_config(true);
        spoil(&mut config);
        assert_eq!(Initiator::new(config, Duration::ZERO).unwrap_err(), error);
    }
}

#[test]
fn a_target_may_be_silent_where_our_offer_decides() {
    let mut config = initiator_config();
    config.immediate_data = false;
    let mut peer = Peer::new(config);
    peer.receive_one();
    peer.answer_login(OPERATIONAL, Some(FULL), &[("TargetPortalGroupTag", "1")]);
    let Some(Event::LoggedIn(login)) = peer.initiator.poll_event() else {
        panic!("no login");
    };
    assert!(!login.parameters.immediate_data);
}
