//! The audit trail.

use std::sync::Arc;
use std::time::Duration;

use freshk::domain::audit::{Actor, AuditDetail, AuditEvent, AuditRecord, LoginFailure, RefusalSummary};
use freshk::domain::quota::Quota;
use freshk::domain::tally::{Span, Tally};
use freshk::domain::{Mode, Timestamp, UserId};
use freshk::random::{Random as _, SeededRandom};
use freshk::storage::PurgeHorizon;
use freshk::storage::audit::{AuditLine, AuditOf, AuditOrder, AuditSearch};

use crate::ledger::USER;
use crate::maintenance::horizon;
use crate::support::{ADDRESS, Bed, Fixture, START, after, phone, session};

fn actor(at: Timestamp) -> Arc<Actor> {
    let actor = Actor::system(at).with_phone(&phone(1), [7; 16]).in_mode(Mode::Testing);
    Arc::new(Actor { ip: Some(ADDRESS.into()), request_id: Some("r1".into()), ..actor })
}

fn whole() -> AuditRecord {
    let line = actor(START).did(AuditEvent::LoginSuccess).user(UserId(3)).session(&session(1, UserId(3)).id);
    line.detail(AuditDetail::TestNumber)
}

fn bare(seconds: u64) -> AuditRecord {
    Arc::new(Actor::system(after(seconds))).did(AuditEvent::Startup)
}

fn instants(lines: &[AuditLine]) -> Vec<Timestamp> {
    lines.iter().map(|line| line.at).collect()
}

pub(crate) async fn lines_are_read_as_they_were_written_in_both_directions<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    // More than one statement takes.
    let records: Vec<_> = std::iter::once(whole()).chain((1..20).map(bare)).collect();
    bed.write(move |tx| tx.audit(&records)).await;
    bed.write(|tx| tx.audit(&[])).await;
    let all = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 99)).await;
    assert_eq!(instants(&all), (0..20).map(after).collect::<Vec<_>>());
    assert!(all.is_sorted_by(|one, next| one.id < next.id));
    let AuditLine { at, event, mode, user, phone, ip, session: of, request_id, detail, .. } = all[0].clone();
    assert_eq!(
        (at, event, mode.as_deref(), user),
        (START, AuditEvent::LoginSuccess, Some("testing"), Some(UserId(3)))
    );
    assert_eq!((phone.as_deref(), ip.as_deref()), (Some("+15*****0001"), Some(ADDRESS)));
    assert_eq!(of.as_deref(), Some(session(1, UserId(3)).id.as_str()));
    assert_eq!((request_id.as_deref(), detail.as_deref()), (Some("r1"), Some("test number")));
    let AuditLine { mode, user, phone, ip, session, request_id, detail, .. } = all[1].clone();
    assert_eq!(
        (mode, user, phone, ip, session, request_id, detail),
        (None, None, None, None, None, None, None)
    );
    let (fifth, tenth) = (all[4].id, all[9].id);
    let forward = bed.read(move |view| view.audit_after(&AuditOf::Everybody, fifth, 2)).await;
    assert_eq!(instants(&forward), [after(5), after(6)]);
    let back = bed.read(move |view| view.audit_before(&AuditOf::Everybody, tenth, 2)).await;
    assert_eq!(instants(&back), [after(8), after(7)]);
}

pub(crate) async fn lines_are_found_by_user_and_by_phone<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let records = vec![
        whole(),
        actor(after(1)).did(AuditEvent::CodeRequested),
        bare(2).user(UserId(3)),
        bare(3).user(UserId(4)),
        actor(after(4)).did(AuditEvent::LoginFail).user(UserId(3)),
    ];
    bed.write(move |tx| tx.audit(&records)).await;
    for (of, found) in [
        (AuditOf::User(UserId(3)), vec![0, 2, 4]),
        (AuditOf::Phone([7; 16]), vec![0, 1, 4]),
        (AuditOf::Phone([8; 16]), vec![]),
    ] {
        let expected: Vec<_> = found.into_iter().map(after).collect();
        let (forward, back) = bed
            .read(move |view| Ok((view.audit_after(&of, 0, 9)?, view.audit_before(&of, i64::MAX, 9)?)))
            .await;
        assert_eq!(instants(&forward), expected);
        assert_eq!(instants(&back), expected.into_iter().rev().collect::<Vec<_>>());
    }
}

pub(crate) async fn lines_are_searched_for_and_counted<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let from = |second: u64, ip: &str, request: &str| Actor {
        ip: Some(ip.to_owned()),
        request_id: Some(request.to_owned()),
        ..Actor::clone(&actor(after(second)))
    };
    let line = |actor: Actor, event| Arc::new(actor).did(event);
    let records = vec![
        line(from(0, "10.0.0.1", "r1"), AuditEvent::LoginFail).user(UserId(3)),
        line(from(1, "10.0.0.2", "r2"), AuditEvent::LoginFail),
        bare(2).user(UserId(3)),
        line(from(3, "10.0.0.1", "r2"), AuditEvent::CodeRequested),
        line(from(4, "10.0.0.1", "r3"), AuditEvent::LoginFail).user(UserId(4)),
    ];
    bed.write(move |tx| tx.audit(&records)).await;
    let all = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 9)).await;
    let (first, last) = (all[0].id, all[4].id);
    let wanted = AuditSearch { of: AuditOf::Everybody, event: None, ip: None, request: None, since: None };
    let fails = AuditSearch { event: Some(AuditEvent::LoginFail), ..wanted.clone() };
    let whole = first..last + 1;
    for (wanted, ids, found) in [
        (wanted.clone(), whole.clone(), vec![0, 1, 2, 3, 4]),
        (wanted.clone(), first + 1..last, vec![1, 2, 3]),
        (fails.clone(), whole.clone(), vec![0, 1, 4]),
        (AuditSearch { ip: Some("10.0.0.1".to_owned()), ..fails.clone() }, whole.clone(), vec![0, 4]),
        (AuditSearch { request: Some("r2".to_owned()), ..wanted.clone() }, whole.clone(), vec![1, 3]),
        (AuditSearch { since: Some(after(3)), ..wanted.clone() }, whole.clone(), vec![3, 4]),
        (AuditSearch { of: AuditOf::User(UserId(3)), ..wanted.clone() }, whole.clone(), vec![0, 2]),
        (AuditSearch { of: AuditOf::User(UserId(3)), ..fails.clone() }, whole.clone(), vec![0]),
        (AuditSearch { of: AuditOf::Phone([7; 16]), ..fails.clone() }, whole.clone(), vec![0, 1, 4]),
        (AuditSearch { of: AuditOf::Phone([8; 16]), ..wanted }, whole, vec![]),
    ] {
        let expected: Vec<_> = found.into_iter().map(after).collect();
        let (oldest, newest, one, counted) = bed
            .read(move |view| {
                let search = |order, rows| view.search_audit(&wanted, ids.clone(), order, rows);
                Ok((
                    search(AuditOrder::OldestFirst, 9)?,
                    search(AuditOrder::NewestFirst, 9)?,
                    search(AuditOrder::NewestFirst, 1)?,
                    view.count_audit(&wanted, ids.clone())?,
                ))
            })
            .await;
        assert_eq!(instants(&oldest), expected);
        assert_eq!(counted, expected.len());
        let expected: Vec<_> = expected.into_iter().rev().collect();
        assert_eq!(instants(&newest), expected);
        assert_eq!(instants(&one), expected.into_iter().take(1).collect::<Vec<_>>());
    }
}

/// A line of any kind, about as old as a span that ends at a minute is long.
fn any_line(chance: &SeededRandom) -> AuditRecord {
    let below = |below: usize| chance.below(below.try_into().unwrap()) as usize;
    // Also at the very instants at which parts begin, before the first and after the last.
    let at = after(0) + Duration::from_millis((below(80) * 1000 + below(3)) as u64) - Duration::from_secs(10);
    let quota = Quota::ALL[below(Quota::ALL.len())];
    let (event, detail) = match below(6) {
        0 => (AuditEvent::LimitExceeded, Some(AuditDetail::Refused(quota))),
        1 => {
            let summary = RefusalSummary { quota, count: below(50) as u64 };
            (AuditEvent::LimitExceeded, Some(AuditDetail::RefusalSummary(summary)))
        }
        2 => (AuditEvent::LimitExceeded, None),
        3 => (AuditEvent::LoginFail, Some(AuditDetail::LoginFailure(LoginFailure::Wrong))),
        4 => (Tally::EVENTS[below(Tally::EVENTS.len())], None),
        _ => (AuditEvent::ALL[below(AuditEvent::ALL.len())], None),
    };
    Arc::new(Actor::system(at)).did(event).detail(detail)
}

pub(crate) async fn what_lines_tell_of_a_span_is_what_each_tells_by_itself<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let chance = SeededRandom::new(5);
    let records: Vec<_> = (0..600).map(|_| any_line(&chance)).collect();
    bed.write(move |tx| tx.audit(&records)).await;
    let all = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 999)).await;
    let (first, last) = (all[0].id, all[599].id);
    for (since, until) in [(0, 60), (0, 12), (7, 61), (30, 30), (40, 20), (90, 99)] {
        let span = Span { since: after(since), until: after(until) };
        for ids in [first..last + 1, first + 100..first + 300, last + 1..i64::MAX] {
            let mut expected = Tally::of(span);
            for line in all.iter().filter(|line| ids.contains(&line.id)) {
                expected.note(line.event, line.at, line.detail.as_deref());
            }
            assert_eq!(bed.read(move |view| view.tally_audit(span, ids)).await, expected);
        }
    }
}

pub(crate) async fn s35_erasure_takes_the_phone_out_of_a_users_lines<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let records = vec![whole(), actor(after(1)).did(AuditEvent::CodeRequested), bare(2).user(UserId(3))];
    bed.write(move |tx| tx.audit(&records)).await;
    assert_eq!(
        bed.write(|tx| tx.forget_phone(UserId(3), &[[7; 16], [8; 16]], Some("+15*****0001"))).await,
        2
    );
    assert_eq!(bed.read(|view| view.audit_after(&AuditOf::Phone([7; 16]), 0, 9)).await.len(), 0);
    let left = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 9)).await;
    assert_eq!((left.len(), left.iter().all(|line| line.phone.is_none())), (3, true));
    assert_eq!(left[0].detail.as_deref(), Some("test number"), "the rest of a line stays");
}

/// The number before may be somebody else's by now, whose lines come later.
pub(crate) async fn s35_erasure_takes_numbers_before_out_of_lines_of_nobody_up_to_the_users_last<
    F: Fixture,
>() {
    let bed = Bed::<F>::new().await;
    let before = || actor(after(1)).did(AuditEvent::LoginFail);
    let records = vec![
        before(),
        before().user(UserId(4)),
        before().user(UserId(3)),
        before(),
        actor(after(1)).did(AuditEvent::LoginFail).user(UserId(5)),
    ];
    bed.write(move |tx| tx.audit(&records)).await;
    assert_eq!(bed.write(|tx| tx.forget_phone(UserId(3), &[[9; 16]], Some("+15*****0009"))).await, 2);
    let left = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 9)).await;
    let named: Vec<_> = left.iter().map(|line| line.phone.is_some()).collect();
    assert_eq!(named, [false, true, false, true, true]);
}

pub(crate) async fn s35_erasure_takes_the_phone_out_of_lines_that_sum_refusals_up<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        for number in [1, 2] {
            tx.count_refusals(USER, phone(number).as_str(), START..after(60), 3)?;
        }
        tx.purge(&PurgeHorizon { audit: START, ..horizon(after(60)) }, 9)
    })
    .await;
    let masked = |line: &AuditLine| line.phone.clone();
    let phones = || async {
        let lines = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 9)).await;
        lines.iter().map(masked).collect::<Vec<_>>()
    };
    assert_eq!(phones().await, [Some("+15*****0001".to_owned()), Some("+15*****0002".to_owned())]);
    assert_eq!(bed.write(|tx| tx.forget_phone(UserId(3), &[], Some("+15*****0001"))).await, 1);
    assert_eq!(phones().await, [None, Some("+15*****0002".to_owned())]);
}
