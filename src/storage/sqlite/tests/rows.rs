use super::*;
use crate::domain::challenge::Use;
use crate::domain::clock::StoredClock;
use crate::domain::message::MessageState;
use crate::domain::session::{EndReason, Repetition};
use crate::domain::{Challenge, ChallengeId, ChallengeState, Exchange, NameClaim, SpendId};
use crate::storage::StoreError;
use crate::storage::sqlite::tx::SqliteTx;
use crate::storage::users::ImportedUser;

#[test]
fn users_are_read_as_they_were_written() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let new = tx.insert_user(&phone(1), "retailer", START).unwrap();
    assert_eq!(new.username, "user_15550000001");
    assert!(new.is_active && !new.phone_verified);
    assert_eq!(tx.user(new.id).unwrap(), Some(new.clone()));
    let mut changed = crate::domain::User {
        is_active: false,
        phone_verified: true,
        role: "admin".into(),
        has_foreign_tokens: true,
        is_testing_only: true,
        ..new
    };
    tx.update_user(&mut changed).unwrap();
    assert_eq!(tx.user_by_phone(&phone(1)).unwrap(), Some(changed));
    assert_eq!(tx.user_by_phone(&phone(2)).unwrap(), None);
}

#[test]
fn the_clock_is_one_row_that_is_replaced() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    assert_eq!(tx.clock().unwrap(), None);
    let first = StoredClock { wall: after(9), retention: START, quiet: std::time::Duration::from_millis(7) };
    tx.store_clock(&first).unwrap();
    assert_eq!(tx.clock().unwrap(), Some(first));
    let next = StoredClock { wall: after(2), retention: after(1), ..first };
    tx.store_clock(&next).unwrap();
    assert_eq!(tx.clock().unwrap(), Some(next));
}

#[test]
fn a_name_that_is_taken_gets_a_number_and_a_phone_has_one_user() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    for (number, name) in [(7, "user_15550000001"), (8, "user_15550000001_2")] {
        let user = tx.insert_user(&phone(number), "retailer", START).unwrap();
        tx.update_user(&mut crate::domain::User { username: name.into(), ..user }).unwrap();
    }
    assert_eq!(tx.insert_user(&phone(1), "retailer", START).unwrap().username, "user_15550000001_3");
    assert_eq!(tx.insert_user(&phone(1), "retailer", START), Err(StoreError::Broken));
}

#[test]
fn challenges_are_read_as_they_were_written_newest_first() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let hash = |id: ChallengeId| CodeHash { key: u32::MAX, tag: id.0.to_be_bytes().to_vec() };
    let mut issue = |mode, number| tx.insert_challenge(new_challenge(mode, number), &hash).unwrap().id;
    let first = issue(Mode::Production, 1);
    issue(Mode::Testing, 1);
    issue(Mode::Production, 2);
    let last = issue(Mode::Production, 1);
    let found = tx.challenges(Mode::Production, &phone(1), 5).unwrap();
    assert_eq!(found.iter().map(|challenge| challenge.id).collect::<Vec<_>>(), [last, first]);
    assert_eq!(tx.challenges(Mode::Production, &phone(1), 1).unwrap().len(), 1);
    assert_eq!(found[0].hash, hash(last), "the hash holds the number of the row");

    let used = Use { at: after(9), session: Some(session(1, UserId(1)).id), idempotency: Some(vec![3; 32]) };
    let [challenge, _] = <[Challenge; 2]>::try_from(found).unwrap();
    let mut challenge = challenge.guessed_wrong().consumed(used.clone());
    tx.update_challenge(&mut challenge).unwrap();
    let read = tx.challenge(last).unwrap().unwrap();
    assert_eq!((read.state, read.attempts, read.used), (ChallengeState::Used, 1, Some(used)));
    assert_eq!((read.created_at, read.expires_at), (START, after(600)));
    assert_eq!(tx.challenge(ChallengeId(99)).unwrap().map(|c| c.id), None);
}

#[test]
fn what_is_still_sending_is_found_oldest_first() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    for seconds in [30, 10, 20, 40] {
        let new = NewChallenge {
            created_at: after(seconds),
            spend: Some(SpendId(4)),
            ..new_challenge(Mode::Production, 1)
        };
        let challenge = tx.insert_challenge(new, &|_| some_hash()).unwrap();
        if seconds == 20 {
            tx.update_challenge(&mut challenge.accepted(START)).unwrap();
        }
    }
    let ages = |found: Vec<Challenge>| found.iter().map(|c| c.created_at).collect::<Vec<_>>();
    assert_eq!(ages(tx.unsettled_before(after(40), 10).unwrap()), [after(10), after(30)]);
    assert_eq!(ages(tx.unsettled_before(after(40), 1).unwrap()), [after(10)]);
    assert_eq!(tx.unsettled_before(after(40), 1).unwrap()[0].spend, Some(SpendId(4)));
}

#[test]
fn sessions_are_read_as_they_were_written() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let user = tx.insert_user(&phone(1), "retailer", START).unwrap().id;
    let open = session(1, user);
    tx.insert_session(&open).unwrap();
    assert_eq!(tx.session(&open.id).unwrap(), Some(open.clone()));
    let mut ended = Session { generation: 3, generation_used: true, shared_key_until: Some(2), ..open }
        .repeated(Repetition::LateElsewhere, after(4))
        .0
        .repeated(Repetition::Late, after(4))
        .0
        .ended(after(5), EndReason::Logout);
    tx.update_session(&mut ended).unwrap();
    assert_eq!(tx.session(&ended.id).unwrap(), Some(ended));
    assert_eq!(tx.session(&session(2, user).id).unwrap(), None);
    assert_eq!(tx.insert_session(&session(3, UserId(99))), Err(StoreError::Broken), "nobody's session");
}

#[test]
fn exchanges_are_read_as_they_were_written_once_and_go_with_their_user() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let user = tx.insert_user(&phone(1), "retailer", START).unwrap().id;
    let exchange = Exchange {
        jti: "a".repeat(32),
        user,
        session: Some(session(1, user).id),
        at: after(1),
        expires_at: after(9),
    };
    tx.insert_exchange(&exchange).unwrap();
    let logged_out = Exchange { jti: "b".repeat(32), session: None, ..exchange.clone() };
    tx.insert_exchange(&logged_out).unwrap();
    for written in [&exchange, &logged_out] {
        assert_eq!(tx.exchange(&written.jti).unwrap().as_ref(), Some(written));
        assert_eq!(tx.insert_exchange(written), Err(StoreError::Broken), "a token is exchanged once");
    }
    assert_eq!(tx.exchange("c").unwrap(), None);
    tx.delete_user(user).unwrap();
    assert_eq!(tx.exchange(&exchange.jti).unwrap(), None);
}

#[test]
fn names_of_tokens_are_read_as_they_were_written_and_forgotten_where_there_is_none() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let [issuer, audience] = NameClaim::ALL;
    assert_eq!(tx.token_name(issuer).unwrap(), None);
    tx.store_token_name(issuer, Some("one"), after(1)).unwrap();
    tx.store_token_name(issuer, Some("two"), after(2)).unwrap();
    assert_eq!(tx.token_name(issuer).unwrap(), Some(("two".into(), after(2))));
    assert_eq!(tx.token_name(audience).unwrap(), None);
    tx.store_token_name(issuer, None, after(3)).unwrap();
    assert_eq!(tx.token_name(issuer).unwrap(), None);
}

#[test]
fn only_an_import_that_brings_the_id_makes_foreign_tokens_good() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let mut import = |id, number| {
        let user = ImportedUser {
            id,
            username: None,
            phone: phone(number),
            role: "retailer".into(),
            is_active: true,
            phone_verified: true,
            joined_at: START,
        };
        tx.import_user(&user, START).unwrap().unwrap()
    };
    let (theirs, ours) = (import(Some(UserId(57)), 1), import(None, 2));
    assert!(tx.user(theirs).unwrap().unwrap().has_foreign_tokens);
    assert!(!tx.user(ours).unwrap().unwrap().has_foreign_tokens, "the id was given here");
    assert!(!tx.insert_user(&phone(3), "retailer", START).unwrap().has_foreign_tokens);
}

#[test]
fn messages_are_read_as_they_were_written() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let hash = |_| some_hash();
    let challenge = tx.insert_challenge(new_challenge(Mode::Production, 1), &hash).unwrap().id;
    let id = tx.insert_message(challenge, &phone(1), 2, START).unwrap();
    let mut message = tx.message(id).unwrap().unwrap();
    assert_eq!((message.state, message.segments, message.sid.clone()), (MessageState::Intended, 2, None));
    assert_eq!((message.challenge, message.to.clone()), (challenge, phone(1)));
    message.sid = Some("SM1".into());
    message.state = MessageState::Failed;
    message.error_code = Some(21_610);
    message.updated_at = after(3);
    tx.update_message(&mut message).unwrap();
    let read = tx.message_by_sid("SM1").unwrap().unwrap();
    assert_eq!((read.id, read.state, read.error_code), (id, MessageState::Failed, Some(21_610)));
    assert_eq!((read.created_at, read.updated_at), (START, after(3)));
    assert!(tx.message_by_sid("SM2").unwrap().is_none());
}

#[test]
fn a_row_that_is_not_there_cannot_be_updated() {
    let bed = Bed::new();
    let conn = bed.transaction();
    let tx: &mut dyn Tx = &mut SqliteTx::new(&conn);
    let user = tx.insert_user(&phone(1), "retailer", START).unwrap();
    assert_eq!(tx.update_session(&mut session(1, user.id)), Err(StoreError::Broken));
    assert_eq!(tx.update_user(&mut crate::domain::User { id: UserId(99), ..user }), Err(StoreError::Broken));
}

#[test]
fn an_impossible_row_is_broken_and_tells_nothing_of_itself() {
    let bed = Bed::new();
    let conn = bed.transaction();
    conn.execute_batch("INSERT INTO users (username, phone, role, joined_at) VALUES ('x', 'secret', 'r', 0)")
        .unwrap();
    let tx: &dyn Tx = &SqliteTx::new(&conn);
    assert_eq!(tx.user(UserId(1)), Err(StoreError::Broken));
    let error = crate::storage::sqlite::users::by_id(&conn, UserId(1)).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
}
