//! Who may do what under which reservation, and what each change tells the others.

use alloc::string::ToString as _;

use super::*;
use crate::cdb::Transfer;

const KINDS: [Kind; 6] = [
    Kind::WriteExclusive,
    Kind::ExclusiveAccess,
    Kind::WriteExclusiveRegistrantsOnly,
    Kind::ExclusiveAccessRegistrantsOnly,
    Kind::WriteExclusiveAllRegistrants,
    Kind::ExclusiveAccessAllRegistrants,
];

fn port(name: &str) -> InitiatorPort {
    InitiatorPort(name.to_string())
}

/// PERSISTENT RESERVE OUT of `who`.
fn out(
    reservations: &mut Reservations,
    who: &str,
    service_action: u8,
    kind: u8,
    (key, new_key): (u64, u64),
) -> Result<Outcome, Refusal> {
    let cdb = Cdb::PersistentReserveOut {
        service_action,
        scope: 0,
        kind,
        parameter_list_length: 24,
    };
    let mut data = [key.to_be_bytes(), new_key.to_be_bytes(), [0; 8]].concat();
    data[20] = 1; // APTPL
    reservations.change(&port(who), &cdb, &data)
}

/// `holder` (key 1) and `registrant` (key 2) are registered, the first holds the reservation.
fn reserved(kind: Kind) -> Reservations {
    let mut reservations = Reservations::default();
    out(&mut reservations, "holder", action::REGISTER, 0, (0, 1)).unwrap();
    out(&mut reservations, "registrant", action::REGISTER, 0, (0, 2)).unwrap();
    out(
        &mut reservations,
        "holder",
        action::RESERVE,
        kind as u8,
        (1, 0),
    )
    .unwrap();
    reservations
}

fn told(outcome: &Outcome) -> Vec<(&str, Sense)> {
    let told = outcome.attentions.iter();
    told.map(|(port, sense)| (port.0.as_str(), *sense))
        .collect()
}

#[test]
fn the_matrix_of_spc() {
    let start = |load_eject| Cdb::StartStopUnit {
        immediate: false,
        power_condition: 0,
        load_eject,
        start: true,
    };
    let free = [Cdb::TestUnitReady, Cdb::ReadCapacity10, start(false)];
    let reads = [
        Cdb::read(0, 1),
        Cdb::Verify(Transfer::new(0, 1), crate::cdb::ByteCheck::Medium),
        Cdb::GetLbaStatus {
            lba: 0,
            allocation_length: 24,
        },
    ];
    let writes = [
        Cdb::write(0, 1),
        Cdb::flush(),
        Cdb::CompareAndWrite(Transfer::new(0, 1)),
        Cdb::PreventAllowMediumRemoval { prevent: true },
        start(true),
    ];
    for (kind, registrant_may, others_may_read) in [
        (Kind::WriteExclusive, false, true),
        (Kind::ExclusiveAccess, false, false),
        (Kind::WriteExclusiveRegistrantsOnly, true, true),
        (Kind::ExclusiveAccessRegistrantsOnly, true, false),
        (Kind::WriteExclusiveAllRegistrants, true, true),
        (Kind::ExclusiveAccessAllRegistrants, true, false),
    ] {
        let reservations = reserved(kind);
        let may = |who: &str, cdb: &Cdb| !reservations.conflicts(&port(who), cdb);
        for cdb in free.iter().chain(&reads).chain(&writes) {
            assert!(may("holder", cdb), "{kind:?} {cdb:?}");
        }
        for (who, all) in [("registrant", registrant_may), ("stranger", false)] {
            for cdb in &free {
                assert!(may(who, cdb), "{kind:?} {who} {cdb:?}");
            }
            for cdb in &reads {
                assert_eq!(
                    may(who, cdb),
                    all || others_may_read,
                    "{kind:?} {who} {cdb:?}"
                );
            }
            for cdb in &writes {
                assert_eq!(may(who, cdb), all, "{kind:?} {who} {cdb:?}");
            }
        }
    }
}

#[test]
fn keys_are_asked_for() {
    let mut reservations = Reservations::default();
    let conflict = Err(Refusal::Conflict);
    assert_eq!(
        out(&mut reservations, "a", action::REGISTER, 0, (9, 1)),
        conflict
    );
    assert_eq!(
        out(&mut reservations, "a", action::RESERVE, 1, (0, 0)),
        conflict
    );
    out(&mut reservations, "a", action::REGISTER, 0, (0, 1)).unwrap();
    assert_eq!(
        out(&mut reservations, "a", action::REGISTER, 0, (0, 2)),
        conflict
    );
    for service_action in [action::RESERVE, action::RELEASE, action::CLEAR, 4, 5] {
        assert_eq!(
            out(&mut reservations, "a", service_action, 1, (2, 1)),
            conflict
        );
    }
    out(&mut reservations, "a", action::REGISTER, 0, (1, 2)).unwrap();
    let ignoring = action::REGISTER_AND_IGNORE_EXISTING_KEY;
    out(&mut reservations, "a", ignoring, 0, (77, 3)).unwrap();
    assert_eq!(reservations.registrations.get(&port("a")), Some(&3));
    assert_eq!(reservations.generation, 3);
    for (kind, scope) in [(0, 0), (2, 0), (9, 0), (1, 1)] {
        let cdb = Cdb::PersistentReserveOut {
            service_action: action::RESERVE,
            scope,
            kind,
            parameter_list_length: 24,
        };
        let data = [3_u64.to_be_bytes(), [0; 8], [0; 8]].concat();
        let invalid = Err(Refusal::Check(Sense::INVALID_FIELD_IN_CDB));
        assert_eq!(reservations.change(&port("a"), &cdb, &data), invalid);
    }
}

#[test]
fn parameters_have_one_length_and_no_other_initiators() {
    for len in 0..40 {
        let parsed = Parameters::parse(&alloc::vec![0; len]);
        assert_eq!(parsed.is_ok(), len == 24, "{len}");
    }
    let mut others = [0; 24];
    others[20] = 0x08;
    assert_eq!(
        Parameters::parse(&others).err(),
        Some(Sense::INVALID_FIELD_IN_PARAMETER_LIST)
    );
}

#[test]
fn a_release_is_told_to_those_whom_it_concerns() {
    for kind in KINDS {
        let mut reservations = reserved(kind);
        let wrong = if kind == KINDS[0] { KINDS[1] } else { KINDS[0] };
        assert_eq!(
            out(
                &mut reservations,
                "holder",
                action::RELEASE,
                wrong as u8,
                (1, 0)
            ),
            Err(Refusal::Check(Sense::INVALID_RELEASE))
        );
        if !kind.is_all_registrants() {
            let other = out(
                &mut reservations,
                "registrant",
                action::RELEASE,
                kind as u8,
                (2, 0),
            );
            assert_eq!(other, Ok(Outcome::default()));
            assert!(
                !reservations.is_idle(),
                "it was not the registrant's to release"
            );
        }
        let outcome = out(
            &mut reservations,
            "holder",
            action::RELEASE,
            kind as u8,
            (1, 0),
        )
        .unwrap();
        let expected = match kind.is_for_registrants() {
            true => alloc::vec![("registrant", Sense::RESERVATIONS_RELEASED)],
            false => Vec::new(),
        };
        assert_eq!(told(&outcome), expected, "{kind:?}");
        assert!(reservations.is_idle());
    }
}

#[test]
fn a_reservation_goes_with_its_last_holder() {
    for kind in KINDS {
        let mut reservations = reserved(kind);
        out(&mut reservations, "holder", action::REGISTER, 0, (1, 0)).unwrap();
        assert_eq!(
            reservations.is_idle(),
            !kind.is_all_registrants(),
            "{kind:?}"
        );
        out(&mut reservations, "registrant", action::REGISTER, 0, (2, 0)).unwrap();
        assert!(reservations.is_idle());
    }
}

#[test]
fn preempting_takes_registration_and_reservation() {
    for kind in KINDS {
        let mut reservations = reserved(kind);
        let key = if kind.is_all_registrants() { 0 } else { 1 };
        let new = Kind::ExclusiveAccess;
        let outcome = out(
            &mut reservations,
            "registrant",
            action::PREEMPT_AND_ABORT,
            new as u8,
            (2, key),
        );
        let outcome = outcome.unwrap();
        assert_eq!(
            told(&outcome),
            [("holder", Sense::REGISTRATIONS_PREEMPTED)],
            "{kind:?}"
        );
        assert_eq!(outcome.aborts, [port("holder")]);
        assert_eq!(reservations.reservation, Some((new, port("registrant"))));
        assert!(reservations.conflicts(&port("holder"), &Cdb::read(0, 1)));
    }
}

#[test]
fn preempting_one_that_holds_nothing_leaves_the_reservation() {
    let mut reservations = reserved(Kind::WriteExclusive);
    let outcome = out(&mut reservations, "holder", 4, 3, (1, 2)).unwrap();
    assert_eq!(
        told(&outcome),
        [("registrant", Sense::REGISTRATIONS_PREEMPTED)]
    );
    assert_eq!(outcome.aborts, [], "PREEMPT aborts nothing");
    assert_eq!(
        reservations.reservation,
        Some((Kind::WriteExclusive, port("holder")))
    );
    assert_eq!(
        out(&mut reservations, "holder", 4, 3, (1, 2)),
        Err(Refusal::Conflict)
    );
    let no_key = Err(Refusal::Check(Sense::INVALID_FIELD_IN_PARAMETER_LIST));
    assert_eq!(out(&mut reservations, "holder", 4, 3, (1, 0)), no_key);
}

#[test]
fn clearing_leaves_nothing_and_is_told() {
    let mut reservations = reserved(Kind::ExclusiveAccess);
    let outcome = out(&mut reservations, "registrant", action::CLEAR, 0, (2, 0)).unwrap();
    assert_eq!(told(&outcome), [("holder", Sense::RESERVATIONS_PREEMPTED)]);
    assert_eq!(reservations.snapshot(), Snapshot::default());
    assert!(reservations.is_idle());
}

#[test]
fn what_is_kept_holds_after_a_restart() {
    for kind in KINDS {
        let reservations = reserved(kind);
        let again = Reservations::restore(reservations.snapshot());
        assert_eq!(again.snapshot(), reservations.snapshot());
        assert!(again.conflicts(&port("stranger"), &Cdb::write(0, 1)));
        assert!(!again.conflicts(&port("holder"), &Cdb::write(0, 1)));
    }
}

#[test]
fn reports_tell_keys_holder_and_names() {
    let reservations = reserved(Kind::ExclusiveAccess);
    let keys = reservations.report(0).unwrap();
    assert_eq!(keys[..8], [0, 0, 0, 2, 0, 0, 0, 16]);
    assert_eq!(keys[15], 1);
    let reservation = reservations.report(1).unwrap();
    assert_eq!(reservation[4..8], [0, 0, 0, 16]);
    assert_eq!((reservation[15], reservation[21]), (1, 3));
    let all = reserved(Kind::WriteExclusiveAllRegistrants)
        .report(1)
        .unwrap();
    assert_eq!(all[8..16], [0; 8], "no key where all hold it");
    let capabilities = reservations.report(2).unwrap();
    assert_eq!(capabilities, [0, 8, 0x15, 0x81, 0xea, 0x01, 0, 0]);
    let status = reservations.report(3).unwrap();
    assert_eq!((status[8 + 12], status[8 + 13]), (1, 3), "the holder");
    assert_eq!(status[32..36], [0x45, 0, 0, 20]);
    assert_eq!(&status[36..42], b"holder");
    assert_eq!(status.len(), 8 + 2 * (24 + 24));
    assert_eq!(reservations.report(4), Err(Sense::INVALID_FIELD_IN_CDB));
}

#[test]
fn reserve_is_for_one_and_not_beside_the_other_kind() {
    let mut reservations = Reservations::default();
    reservations.reserve(&port("a")).unwrap();
    reservations.reserve(&port("a")).unwrap();
    assert!(reservations.conflicts(&port("b"), &Cdb::TestUnitReady));
    assert!(reservations.conflicts(&port("b"), &Cdb::Reserve6));
    assert!(!reservations.conflicts(&port("b"), &Cdb::Release6));
    reservations.release(&port("b")).unwrap();
    assert!(reservations.conflicts(&port("b"), &Cdb::read(0, 1)));
    assert!(!reservations.conflicts(&port("a"), &Cdb::write(0, 1)));
    assert_eq!(
        out(&mut reservations, "a", action::REGISTER, 0, (0, 1)),
        Err(Refusal::Conflict)
    );
    reservations.lose(Some(&port("a")));
    assert!(reservations.is_idle());

    let mut reservations = reserved(Kind::WriteExclusive);
    assert_eq!(
        reservations.reserve(&port("stranger")),
        Err(Refusal::Conflict)
    );
    assert_eq!(reservations.reserve(&port("holder")), Ok(()));
    assert_eq!(
        reservations.legacy, None,
        "who holds it anyway reserves nothing more"
    );
}

#[test]
fn registrations_have_a_limit() {
    let mut reservations = Reservations::default();
    for n in 0..REGISTRATIONS_MAX {
        out(
            &mut reservations,
            &n.to_string(),
            action::REGISTER,
            0,
            (0, 1),
        )
        .unwrap();
    }
    assert_eq!(
        out(&mut reservations, "one more", action::REGISTER, 0, (0, 1)),
        Err(Refusal::Check(Sense::INSUFFICIENT_REGISTRATION_RESOURCES))
    );
}
