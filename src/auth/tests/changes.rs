//! Changes of number that wait: what ends them, what keeps them from being done, and what ends with the number before.

use super::console::{want, want_as};
use super::exchange::foreign;
use super::meanwhile::{AFTER_PURGE, british, due, meanwhile};
use super::*;
use crate::auth::phone_change::{Parties, Renumbering, WaitingChanges};
use crate::domain::audit::Actor;
use crate::domain::{PhoneChange, SessionId, Timestamp};

const DAY: Duration = Duration::from_hours(24);

/// Has a change of a user wait as a row, in place of any other.
async fn keep(bed: &Bed, user: UserId, to: PhoneNumber, effective_at: Timestamp) {
    let session = Some(SessionId::new(bed.clock.now(), [7; 10]));
    let change = PhoneChange { user, effective_at, session, ..PhoneChange::of_nobody(&to, &bed.means.keys) };
    bed.store.write(Locks::none(), move |tx| tx.keep_phone_change(&change)).await.unwrap();
}

async fn cancelled(bed: &Bed) -> Vec<String> {
    bed.told(AuditEvent::PhoneChangeCancelled).await
}

async fn wanted(bed: &Bed, user: UserId) -> Option<PhoneNumber> {
    bed.read(move |view| view.phone_change(user)).await.map(|change| change.phone)
}

#[tokio::test]
async fn other_locks_are_needed_once_either_number_has_another_user() {
    for is_own in [true, false] {
        let bed = Bed::open().await;
        let user = bed.log_in(1).await.user.id;
        let parties = bed.read(move |view| Parties::read(view, user, &phone(2))).await.unwrap();
        let fit = async || {
            let parties = parties.clone();
            bed.read(move |view| parties.locked(view)).await.is_some()
        };
        assert!(fit().await);
        if is_own {
            bed.operate(1, |operator, user| operator.set_phone(user, &phone(9)).map(drop)).await;
        } else {
            bed.request(2).await.result.unwrap();
        }
        assert!(!fit().await);
    }
}

#[tokio::test]
async fn what_is_due_about_a_number_is_found_in_any_spelling_where_telephones_have_one() {
    let bed = Bed::open().await;
    let now = bed.clock.now();
    let telephone = PhoneNumber::parse("+447400123456", 10).unwrap();
    for (id, to, at) in [(7, british(), now), (8, phone(2), now), (9, telephone.clone(), now + SECOND)] {
        bed.import(id, u32::try_from(id).unwrap()).await;
        keep(&bed, UserId(id), to, at).await;
    }
    let found = async |strict, at| {
        let (telephone, mut policy) = (telephone.clone(), policy());
        policy.phones.strict = strict;
        let due =
            bed.read(move |view| WaitingChanges::about(view, &telephone)?.due(view, &telephone, at, &policy));
        due.await.into_iter().map(|change| change.user.0).collect::<Vec<_>>()
    };
    assert_eq!(found(false, now).await, [0; 0]);
    assert_eq!(found(false, now + SECOND).await, [9]);
    assert_eq!(found(true, now).await, [7]);
    assert_eq!(found(true, now + SECOND).await, [9, 7]);
}

#[tokio::test]
async fn a_login_ends_the_change_of_its_user_and_that_of_anybody_else_to_its_number() {
    let bed = Bed::open().await;
    let (one, other) = (bed.log_in(1).await, bed.log_in(2).await);
    want(&bed, &one, 3).await;
    keep(&bed, other.user.id, phone(1), bed.clock.now() + DAY).await;
    bed.log_in(1).await;
    let mut ended = cancelled(&bed).await;
    ended.sort();
    assert_eq!(ended, ["login with the old number", "the number is somebody else's"]);
    for user in [one.user.id, other.user.id] {
        assert_eq!(wanted(&bed, user).await, None);
    }
}

#[tokio::test]
async fn a_login_with_a_number_that_was_somebody_elses_leaves_that_ones_change_to_a_third_number() {
    let bed = Bed::open().await;
    let (before, other) = (bed.log_in(1).await.user.id, bed.log_in(2).await.user.id);
    let at = bed.clock.now();
    keep(&bed, before, phone(3), at + DAY).await;
    keep(&bed, other, phone(1), at + DAY).await;
    let ending = bed.auth.write(Locks::none(), Actor::system(at), |tx| {
        WaitingChanges::about(&**tx, &phone(1))?.end_at_login(tx, UserId(99), &phone(1))
    });
    ending.await.unwrap();
    assert_eq!((wanted(&bed, before).await, wanted(&bed, other).await), (Some(phone(3)), None));
}

#[tokio::test]
async fn a_change_of_a_user_who_was_deactivated_is_not_done() {
    let (bed, login) = due().await;
    let user = login.user.id;
    let deactivated = bed.store.write(Locks::none().user(user), move |tx| {
        let user = tx.user(user)?.unwrap();
        tx.update_user(&mut User { is_active: false, ..user })
    });
    deactivated.await.unwrap();
    bed.auth.maintain().await.unwrap();
    assert_eq!(bed.user(1).await.map(|user| user.id), Some(user));
    assert_eq!((cancelled(&bed).await, wanted(&bed, user).await), (vec!["deactivated".to_owned()], None));
}

#[tokio::test]
async fn a_change_to_another_number_that_is_due_as_well_is_not_done_to_the_number_of_before() {
    let (bed, login) = due().await;
    let user = login.user.id;
    meanwhile(&bed, AFTER_PURGE, async || keep(&bed, user, phone(3), bed.clock.now()).await).await;
    assert_eq!(bed.user(1).await.map(|user| user.id), Some(user));
    assert_eq!(wanted(&bed, user).await, Some(phone(3)));
    bed.auth.maintain().await.unwrap();
    assert_eq!(bed.user(3).await.map(|user| user.id), Some(user));
}

#[tokio::test]
async fn who_has_the_number_that_is_wanted_is_not_deleted_for_it() {
    let bed = Bed::open().await;
    bed.request(2).await.result.unwrap();
    let user = bed.user(2).await.unwrap().id;
    keep(&bed, user, phone(2), bed.clock.now()).await;
    bed.auth.maintain().await.unwrap();
    assert_eq!(bed.user(2).await.map(|user| user.id), Some(user));
    assert_eq!(cancelled(&bed).await, ["the number is somebody else's"]);
}

#[tokio::test]
async fn a_change_that_is_not_due_costs_no_write_and_one_that_is_due_one() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    want(&bed, &login, 2).await;
    let bearer = bed.bearer(&login).await;
    bed.faults.plan(1, 1);
    bed.auth.keep_phone(&bearer, origin(ADDRESS)).await.unwrap();
    assert!(!bed.faults.are_over());

    let (bed, login) = due().await;
    bed.faults.plan(AFTER_PURGE + 1, 1);
    bed.auth.maintain().await.unwrap();
    assert!(!bed.faults.are_over());
    assert_eq!(bed.user(2).await.map(|user| user.id), Some(login.user.id));
}

#[tokio::test]
async fn without_a_change_none_is_taken_back() {
    let bed = Bed::open().await;
    bed.log_in(1).await;
    bed.operate(1, |operator, user| operator.deactivate(user)).await;
    assert_eq!(cancelled(&bed).await, [""; 0]);
}

#[tokio::test]
async fn with_the_number_before_all_sessions_end_but_the_one_that_asked_and_all_devices() {
    let bed = Bed::open().await;
    bed.log_in(1).await;
    let asking = bed.log_in(1).await;
    let (user, bearer) = (asking.user.id, bed.bearer(&asking).await);
    want(&bed, &asking, 2).await;
    bed.clock.advance(DAY);
    bed.auth.maintain().await.unwrap();
    let now = bed.clock.now();
    let live = bed.read(move |view| view.live_sessions(user, now)).await;
    assert_eq!(live.into_iter().map(|session| Some(session.id)).collect::<Vec<_>>(), [bearer.session]);
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await.len(), 1);
    assert_eq!(bed.read(move |view| view.devices_of(user)).await.len(), 0);
}

#[tokio::test]
async fn a_change_of_number_brings_no_foreign_tokens_back() {
    let bed = Bed::open().await;
    bed.import(57, 1).await;
    bed.operate(1, |operator, user| operator.log_out(user)).await;
    let (at, keys) = (bed.clock.now(), bed.means.keys.clone());
    let locks = Locks::none().test_numbers().phones([&phone(1), &phone(2)]).user(UserId(57));
    let done = bed.auth.write(locks, Actor::system(at), move |tx| {
        let user = tx.user(UserId(57))?.unwrap();
        Renumbering { phone: &phone(2), spared: None, live_at: at, keys: &keys }.carry_out(tx, &user)
    });
    assert!(!done.await.unwrap().has_foreign_tokens);
}

/// A user whom somebody with a foreign token gives number 2.
async fn asked_by_a_foreign_token() -> Bed {
    let bed = Bed::open().await;
    bed.import(57, 1).await;
    let bearer = bed.auth.authenticate(&foreign(&bed, "access", 57, 'a')).await.unwrap();
    want_as(&bed, bearer, 2).await;
    bed
}

#[tokio::test]
async fn a_change_that_a_foreign_token_asked_for_ends_with_all_of_them() {
    let bed = asked_by_a_foreign_token().await;
    let bearer = bed.auth.authenticate(&foreign(&bed, "access", 57, 'b')).await.unwrap();
    bed.auth.log_out_everywhere(&bearer, None, origin(ADDRESS)).await.unwrap();
    assert_eq!(cancelled(&bed).await, ["the session that asked was ended"]);
    assert_eq!(bed.told(AuditEvent::TokenRevoked).await, ["logout: foreign tokens"]);

    let bed = asked_by_a_foreign_token().await;
    bed.operate(1, |operator, user| operator.log_out(user)).await;
    assert_eq!(cancelled(&bed).await, ["the session that asked was ended"]);
    bed.clock.advance(DAY);
    bed.auth.maintain().await.unwrap();
    assert_eq!(bed.user(1).await.map(|user| user.id), Some(UserId(57)));

    let bed = asked_by_a_foreign_token().await;
    bed.clock.advance(DAY);
    bed.auth.maintain().await.unwrap();
    assert_eq!(bed.user(2).await.map(|user| user.id), Some(UserId(57)));
}

#[tokio::test]
async fn a_change_ends_with_the_session_that_asked_for_it_whoever_ends_that_and_with_no_other() {
    for how in 0..5 {
        let bed = Bed::open().await;
        let [thief, owner, other] = [bed.log_in(1).await, bed.log_in(1).await, bed.log_in(1).await];
        want(&bed, &thief, 2).await;
        let [asking, bearer, third] =
            [bed.bearer(&thief).await, bed.bearer(&owner).await, bed.bearer(&other).await];
        let id = |bearer: &Authenticated| bearer.session.clone().unwrap();
        let end = async |id: &SessionId| {
            bed.auth.end_session(&bearer, id.as_str(), origin(ADDRESS)).await.unwrap();
        };
        match how {
            0 => bed.auth.log_out_everywhere(&bearer, None, origin(ADDRESS)).await.unwrap(),
            1 => end(&id(&asking)).await,
            2 => drop(bed.operate(1, |operator, user| operator.log_out(user)).await),
            3 => {
                let session = id(&asking);
                let asked = bed.read(move |view| view.session(&session)).await.unwrap();
                bed.operate(1, move |operator, _| operator.revoke(asked.clone())).await;
            }
            _ => end(&id(&third)).await,
        }
        let has_ended = how != 4;
        assert_eq!(wanted(&bed, thief.user.id).await.is_none(), has_ended, "{how}");
        assert_eq!(cancelled(&bed).await.len(), usize::from(has_ended));
    }
}
