//! What has changed between the reading of a round of maintenance, or of a start, and its write.

use super::console::want;
use super::maintenance::{events, undelivered};
use super::*;
use crate::auth::operator::{Spellings, Telephone};

const DAY: Duration = Duration::from_hours(24);

/// Has a round do what is due, whose write comes after so many others of it, and `act` while that waits.
pub(super) async fn meanwhile(bed: &Bed, others: usize, act: impl AsyncFnOnce()) {
    bed.faults.keep(others);
    let auth = bed.auth.clone();
    let round = tokio::spawn(async move { auth.maintain().await });
    while !bed.faults.has_delayed() {
        tokio::task::yield_now().await;
    }
    act().await;
    bed.faults.free();
    bed.store.write(Locks::none(), |_| Ok(())).await.unwrap();
    round.await.unwrap().unwrap();
}

/// What is purged is written first.
pub(super) const AFTER_PURGE: usize = 1;

#[tokio::test]
async fn a_user_who_is_restored_or_renumbered_while_a_round_would_delete_is_not_deleted() {
    for is_restored in [true, false] {
        let bed = Bed::with(|policy| policy.retention.deletion_grace = DAY).await;
        let login = bed.log_in(1).await;
        let bearer = bed.bearer(&login).await;
        bed.request(1).await.result.unwrap();
        bed.auth.delete_account(&bearer, Some(bed.code()), None, origin(ADDRESS)).await.result.unwrap();
        bed.clock.advance(DAY);
        meanwhile(&bed, AFTER_PURGE, async || {
            bed.operate(1, move |operator, user| {
                if is_restored {
                    operator.restore(user).map(drop)
                } else {
                    operator.set_phone(user, &phone(9)).map(drop)
                }
            })
            .await;
        })
        .await;
        let user = bed.user(if is_restored { 1 } else { 9 }).await.unwrap();
        assert_eq!((user.id, user.deletes_at.is_some()), (login.user.id, !is_restored));
        // Under the locks of the new number it is.
        bed.auth.maintain().await.unwrap();
        assert_eq!(bed.user(9).await, None);
    }
}

#[tokio::test]
async fn a_deletion_that_was_taken_back_and_asked_for_again_has_its_own_day() {
    let bed = Bed::with(|policy| policy.retention.deletion_grace = DAY).await;
    let delete = async |login: &LoggedIn| {
        let bearer = bed.bearer(login).await;
        bed.request(1).await.result.unwrap();
        bed.auth.delete_account(&bearer, Some(bed.code()), None, origin(ADDRESS)).await.result.unwrap()
    };
    delete(&bed.log_in(1).await).await;
    bed.clock.advance(DAY);
    let mut due = None;
    meanwhile(&bed, AFTER_PURGE, async || {
        bed.operate(1, |operator, user| operator.restore(user)).await;
        bed.clock.advance(2 * HOUR);
        due = delete(&bed.log_in(1).await).await;
    })
    .await;
    assert_eq!(bed.user(1).await.unwrap().deletes_at, due);
}

#[tokio::test]
async fn a_registration_that_asks_for_a_code_while_a_round_would_forget_it_stays() {
    let bed = Bed::with(|policy| policy.retention.unverified = DAY).await;
    bed.request(1).await.result.unwrap();
    bed.clock.advance(2 * DAY);
    meanwhile(&bed, AFTER_PURGE, async || drop(bed.request(1).await.result.unwrap())).await;
    assert!(bed.user(1).await.is_some());
    bed.verify(1, &bed.code()).await.result.unwrap();
}

/// A user of number 1 whose change to number 2 is due.
pub(super) async fn due() -> (Bed, LoggedIn) {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    want(&bed, &login, 2).await;
    bed.clock.advance(DAY);
    (bed, login)
}

#[tokio::test]
async fn a_change_of_number_that_another_has_replaced_while_a_round_would_do_it_is_not_done() {
    for (number, is_due) in [(3, false), (2, false), (3, true)] {
        let (bed, login) = due().await;
        let user = login.user.id;
        meanwhile(&bed, AFTER_PURGE, async || {
            bed.operate(1, |operator, user| operator.cancel_phone_change(user)).await;
            let again = bed.log_in(1).await;
            want(&bed, &again, number).await;
            if is_due {
                bed.clock.advance(DAY);
            }
        })
        .await;
        assert_eq!(bed.user(1).await.map(|user| user.id), Some(user), "{number} {is_due}");
        let waiting = bed.read(move |view| view.phone_change(user)).await;
        assert_eq!(waiting.map(|change| change.phone), Some(phone(number)));
    }
}

#[tokio::test]
async fn a_change_to_a_number_that_somebody_asks_a_code_for_meanwhile_is_done_under_its_locks() {
    let (bed, login) = due().await;
    meanwhile(&bed, AFTER_PURGE, async || {
        // Whoever asks for a code does what is due first: this one comes after that.
        let registered = move |tx: &mut dyn crate::storage::Tx| {
            tx.insert_user(&phone(2), "retailer", crate::domain::Timestamp::from_millis(0))
        };
        bed.store.write(Locks::none(), registered).await.unwrap();
    })
    .await;
    assert_eq!(bed.user(2).await.map(|user| user.id), Some(login.user.id));
}

/// A telephone of the operator's list, of a user whose number is spelled with the trunk zero.
async fn spelled_otherwise() -> (Bed, Telephone) {
    spelled_in(Bed::open().await).await
}

async fn spelled_in(bed: Bed) -> (Bed, Telephone) {
    let locks = Locks::none().phone(&british());
    let act = |operator: &mut Operator<'_, '_>| {
        let username = Some("a name of one's own".to_owned());
        operator.import(&[ImportedUser { username, ..super::operating::with(7, british()) }]).map(drop)
    };
    operator::act(&bed.store, locks, bed.clock.now(), bed.means.clone(), act).await.unwrap();
    let found = bed.read(|view| {
        let mut spellings = Spellings::default();
        spellings.take(view.user(UserId(7))?.into_iter().collect());
        spellings.telephones(view)
    });
    let telephone = found.await.remove(0);
    (bed, telephone)
}

pub(super) fn british() -> PhoneNumber {
    PhoneNumber::parse("+4407400123456", 10).unwrap()
}

async fn respell(bed: &Bed, telephone: Telephone) -> bool {
    let locks = Locks::none().test_numbers().phone(&telephone.phone).user(UserId(7));
    let act = move |operator: &mut Operator<'_, '_>| operator.respell(&telephone);
    operator::act(&bed.store, locks, bed.clock.now(), bed.means.clone(), act).await.unwrap()
}

#[tokio::test]
async fn a_number_is_respelled_unless_its_user_or_somebody_else_has_changed_meanwhile() {
    let (bed, telephone) = spelled_otherwise().await;
    assert!(respell(&bed, telephone.clone()).await);
    let user = async |bed: &Bed| bed.read(|view| view.user(UserId(7))).await.unwrap();
    let number = async |bed: &Bed| user(bed).await.phone;
    assert_eq!(number(&bed).await, Some(telephone.phone));
    assert_eq!(user(&bed).await.username, "a name of one's own");

    let (bed, telephone) = spelled_otherwise().await;
    let act = |operator: &mut Operator<'_, '_>| {
        let user = operator.view().user(UserId(7))?.unwrap();
        operator.set_phone(&user, &phone(9)).map(drop)
    };
    let locks = Locks::none().phones([&british(), &phone(9)]).user(UserId(7));
    operator::act(&bed.store, locks, bed.clock.now(), bed.means.clone(), act).await.unwrap();
    assert!(!respell(&bed, telephone).await);
    assert_eq!(number(&bed).await, Some(phone(9)));

    let (bed, telephone) = spelled_otherwise().await;
    bed.ask(CodeRequest { phone: telephone.phone.clone(), ..code_request(0) }).await.result.unwrap();
    assert!(!respell(&bed, telephone).await, "that registration is not locked");
    assert_eq!(number(&bed).await, Some(british()));
}

#[tokio::test]
async fn a_registration_makes_way_for_a_spelling_and_no_event_says_more_of_it_than_the_id() {
    let bed = Bed::open().await;
    let spelled = PhoneNumber::parse("+447400123456", 10).unwrap();
    undelivered(&bed, CodeRequest { phone: spelled.clone(), ..code_request(0) }).await;
    let (bed, telephone) = spelled_in(bed).await;
    let gone = telephone.users[1].id;
    assert_eq!(events(&bed, gone).await, (vec!["sms.undelivered"], true));
    let locks = Locks::none().test_numbers().phones([&british(), &spelled]).user(UserId(7)).user(gone);
    let act = move |operator: &mut Operator<'_, '_>| operator.respell(&telephone);
    assert!(operator::act(&bed.store, locks, bed.clock.now(), bed.means.clone(), act).await.unwrap());
    assert_eq!(events(&bed, gone).await, (vec!["sms.undelivered"], false));
}
