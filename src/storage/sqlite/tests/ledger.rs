use super::*;
use crate::domain::audit::{Actor, AuditEvent};
use crate::domain::message::Unsent;
use crate::domain::quota::{DAY, Endpoint, Quota};
use crate::storage::PurgeHorizon;
use crate::storage::sqlite::tx::SqliteTx;

const IP: Quota = Quota::Ip(Endpoint::Request);
const USER: Quota = Quota::User(Mode::Production);

fn horizon(now: Timestamp) -> PurgeHorizon {
    let spends = Quota::ALL.map(|quota| (quota, now - Duration::from_millis(1)));
    PurgeHorizon { now, spends, challenges: now, sessions: now, audit: now, unverified: now }
}

fn count(conn: &Connection, table: &str) -> i64 {
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn details(conn: &Connection) -> Vec<(Option<String>, Option<String>, Option<String>)> {
    let sql = "SELECT phone, ip, detail FROM audit WHERE event = 'excess_rate_limit_exceeded' ORDER BY id";
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn s19_spends_are_kept_by_subject_and_quota_and_given_back() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let late = tx.spend(IP, "203.0.113.7", after(50)).unwrap();
    tx.spend(IP, "203.0.113.7", after(10)).unwrap();
    tx.spend(USER, "203.0.113.7", after(20)).unwrap();
    tx.spend(IP, "203.0.113.8", after(20)).unwrap();
    assert_eq!(tx.spends(IP, "203.0.113.7", START).unwrap(), [after(10), after(50)]);
    assert_eq!(tx.spends(IP, "203.0.113.7", after(10)).unwrap(), [after(50)], "since means after");
    tx.clamp_future_spends(IP, "203.0.113.7", after(30)).unwrap();
    assert_eq!(tx.spends(IP, "203.0.113.7", START).unwrap(), [after(10), after(30)]);
    tx.unspend(IP, "203.0.113.7", late).unwrap();
    tx.unspend(IP, "203.0.113.7", late).unwrap();
    assert_eq!(tx.spends(IP, "203.0.113.7", START).unwrap(), [after(10)]);
    // A number that was given back is not given out again: a second give-back must hit nobody else.
    assert!(tx.spend(IP, "203.0.113.9", after(60)).unwrap() > late);
}

#[test]
fn s35_the_first_refusal_of_a_window_is_told_and_the_rest_are_summed_up() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let mut refuse =
        |quota, subject: &str, at, until, n| tx.count_refusals(quota, subject, at..until, n).unwrap();
    assert!(refuse(IP, "203.0.113.7", after(0), after(60), 1));
    assert!(!refuse(IP, "203.0.113.7", after(10), after(70), 1));
    assert!(!refuse(IP, "203.0.113.7", after(59), after(70), 15));
    assert!(refuse(IP, "203.0.113.8", after(10), after(60), 1));
    assert_eq!(details(&conn), []);
    assert!(refuse(IP, "203.0.113.7", after(60), after(120), 1), "the window has closed");
    assert!(refuse(IP, "203.0.113.8", after(60), after(120), 1), "one refusal was told already");
    assert!(refuse(USER, phone(1).as_str(), after(60), after(120), 3));
    let closed = PurgeHorizon { audit: START, ..horizon(after(120)) };
    assert!(tx.purge(&closed, 2).unwrap());
    assert!(!tx.purge(&closed, 2).unwrap());
    assert_eq!(count(&conn, "refusals"), 0);
    assert_eq!(
        details(&conn),
        [
            (None, Some("203.0.113.7".into()), Some("ip:request refused 17 times".into())),
            (Some("+15*****0001".into()), None, Some("user refused 3 times".into())),
        ]
    );
}

#[test]
fn codes_that_found_no_sender_are_counted_by_the_minute_and_kept_like_messages() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let mut count = |why, at| tx.count_unsent(why, at).unwrap();
    assert!(count(Unsent::BreakerOpen, after(0)));
    assert!(!count(Unsent::BreakerOpen, after(59)));
    assert!(count(Unsent::Overloaded, after(59)));
    assert!(count(Unsent::BreakerOpen, after(60)));
    let counted = |tx: &dyn Tx, since| {
        let minutes = tx.unsent_since(since).unwrap();
        minutes.into_iter().map(|of| (of.minute, of.why, of.count)).collect::<Vec<_>>()
    };
    let first = [(after(0), Unsent::BreakerOpen, 2), (after(0), Unsent::Overloaded, 1)];
    let second = (after(60), Unsent::BreakerOpen, 1);
    assert_eq!(counted(tx, after(30)), [first[0], first[1], second], "a minute is told as a whole");
    assert_eq!(counted(tx, after(60)), [second]);
    while tx.purge(&PurgeHorizon { audit: START, ..horizon(after(60)) }, 10).unwrap() {}
    assert_eq!(counted(tx, START), [second]);
}

#[test]
fn s35_the_trail_is_append_only_save_for_retention_and_erasure() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let actor = Actor::system(START).with_phone(&phone(1), [7; 16]);
    let later = Arc::new(Actor { at: after(100), ..actor.clone() }).did(AuditEvent::LoginFail);
    let first = Arc::new(actor).did(AuditEvent::LoginSuccess).user(UserId(3)).detail("as told");
    tx.audit(&[first, later]).unwrap();
    for tampering in [
        "UPDATE audit SET detail = 'otherwise'",
        "UPDATE audit SET at = 0",
        "UPDATE audit SET phone_hash = NULL",
        "UPDATE audit SET phone_hash = NULL, phone = NULL, user_id = 4",
        "DELETE FROM audit",
    ] {
        let refused = conn.execute_batch(tampering).unwrap_err().to_string();
        assert!(refused.contains("audit trail"), "{tampering}: {refused}");
    }
    assert!(tx.purge(&horizon(after(50)), 10).is_ok_and(|more| !more));
    assert_eq!(count(&conn, "audit"), 1);
    conn.execute_batch("UPDATE audit SET phone_hash = NULL, phone = NULL").unwrap();
    assert!(conn.execute_batch("DELETE FROM audit").is_err());
}

#[test]
fn purging_takes_slices_and_only_what_is_old() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    for seconds in 0..10 {
        tx.spend(IP, "203.0.113.7", after(seconds)).unwrap();
        let new = NewChallenge { created_at: after(seconds), ..new_challenge(Mode::Production, 1) };
        let challenge = tx.insert_challenge(new, &|_| some_hash()).unwrap();
        tx.insert_message(challenge.id, &phone(1), 1, after(seconds)).unwrap();
    }
    assert!(tx.purge(&horizon(after(7)), 5).unwrap());
    assert_eq!(count(&conn, "spends"), 5);
    while tx.purge(&horizon(after(7)), 5).unwrap() {}
    for table in ["spends", "challenges", "messages"] {
        assert_eq!(count(&conn, table), 3, "{table}");
    }
}

#[test]
fn a_spend_is_kept_as_long_as_its_own_quota_looks_back_whatever_lies_before_it() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    for seconds in 0..10 {
        tx.spend(Quota::Failures(Mode::Production), phone(1).as_str(), after(seconds)).unwrap();
    }
    for seconds in 0..10 {
        tx.spend(IP, "203.0.113.7", after(seconds)).unwrap();
    }
    let mut hour = horizon(START - Duration::from_hours(1));
    hour.spends = Quota::ALL.map(|quota| (quota, if quota == IP { after(6) } else { START - DAY }));
    while tx.purge(&hour, 5).unwrap() {}
    assert_eq!(tx.spends(IP, "203.0.113.7", START).unwrap(), [after(7), after(8), after(9)]);
    assert_eq!(count(&conn, "spends"), 13);
}

#[test]
fn sessions_go_when_they_are_over_and_users_who_never_verified_when_nothing_is_left_of_them() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let mut open = SqliteTx::new(&conn);
    let tx: &mut dyn Tx = &mut open;
    let mut joined = |number| tx.insert_user(&phone(number), "retailer", START).unwrap();
    let (gone, logged_in, waiting, verified) = (joined(1), joined(2), joined(3), joined(4));
    tx.update_user(&mut crate::domain::User { phone_verified: true, ..verified.clone() }).unwrap();
    tx.insert_session(&session(1, logged_in.id)).unwrap();
    let ended = session(2, verified.id).ended(after(5), crate::domain::session::EndReason::Logout);
    tx.insert_session(&ended).unwrap();
    conn.execute("INSERT INTO rotations VALUES (?1, 0, 0)", [&ended.id]).unwrap();
    tx.insert_challenge(new_challenge(Mode::Production, 3), &|_| some_hash()).unwrap();

    let early = PurgeHorizon { challenges: START, ..horizon(after(10)) };
    while tx.purge(&early, 2).unwrap() {}
    assert_eq!(tx.user(gone.id).unwrap(), None);
    assert!(tx.user(logged_in.id).unwrap().is_some());
    assert!(tx.user(waiting.id).unwrap().is_some(), "a code of theirs is on its way");
    assert_eq!((count(&conn, "sessions"), count(&conn, "rotations")), (1, 0));

    let later = PurgeHorizon { challenges: START, ..horizon(after(2 * 86_400)) };
    while tx.purge(&later, 2).unwrap() {}
    assert_eq!(count(&conn, "sessions"), 0, "its refresh token has expired");
    assert_eq!(tx.user(logged_in.id).unwrap(), None);
    assert_eq!(tx.user(waiting.id).unwrap(), None);
    assert!(tx.user(verified.id).unwrap().is_some());
    let touched = open.into_touched();
    assert!([gone.id, logged_in.id, waiting.id].iter().all(|id| touched.users.contains(id)));
    assert_eq!(touched.sessions.len(), 2);
}

#[test]
fn an_exchanged_token_is_remembered_until_it_has_expired_whatever_became_of_its_session() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let user = tx.insert_user(&phone(1), "retailer", START).unwrap();
    tx.update_user(&mut crate::domain::User { phone_verified: true, ..user.clone() }).unwrap();
    let open = session(1, user.id);
    tx.insert_session(&open).unwrap();
    tx.update_session(&mut open.clone().ended(START, crate::domain::session::EndReason::Logout)).unwrap();
    for seconds in 0..10 {
        tx.insert_exchange(&crate::domain::Exchange {
            jti: seconds.to_string(),
            user: user.id,
            session: Some(open.id.clone()),
            at: START,
            expires_at: after(seconds),
        })
        .unwrap();
    }
    assert!(tx.purge(&horizon(after(7)), 5).unwrap(), "a slice is a slice");
    assert_eq!((count(&conn, "exchanges"), count(&conn, "sessions")), (5, 0));
    while tx.purge(&horizon(after(7)), 5).unwrap() {}
    assert_eq!(count(&conn, "exchanges"), 3);
    assert!(tx.exchange("7").unwrap().is_some());
}

#[test]
fn a_deactivated_user_who_never_verified_stays_or_the_number_could_come_back_as_new() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let [shut_out, forgotten] = [1, 2].map(|n| tx.insert_user(&phone(n), "retailer", START).unwrap());
    tx.update_user(&mut crate::domain::User { is_active: false, ..shut_out.clone() }).unwrap();
    while tx.purge(&horizon(after(10)), 2).unwrap() {}
    assert!(tx.user(shut_out.id).unwrap().is_some());
    assert_eq!(tx.user(forgotten.id).unwrap(), None);
}
