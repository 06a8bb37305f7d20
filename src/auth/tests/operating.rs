//! What the operator does to users and numbers.

use super::*;
use crate::auth::operator::{Imported, TestNumberRefusal, find_user};
use crate::domain::test_number::{MAX_LIFETIME, MAX_TEST_NUMBERS};
use crate::domain::{TestNumber, Timestamp};

/// An act of the operator, about these numbers.
async fn operate<T, F>(bed: &Bed, numbers: std::ops::Range<u32>, act: F) -> T
where
    T: Send + 'static,
    F: Fn(&mut Operator<'_, '_>) -> StoreResult<T> + Send + 'static,
{
    let phones: Vec<_> = numbers.map(phone).collect();
    let locks = Locks::none().test_numbers().phones(&phones);
    operator::act(&bed.store, locks, bed.clock.now(), bed.means.clone(), act).await.unwrap()
}

/// A number as the operator names it, until then.
fn named(number: u32, until: Timestamp) -> NewTestNumber {
    NewTestNumber::new(phone(number), Code::parse("604927", 6).unwrap(), until, false).unwrap()
}

async fn add(bed: &Bed, number: u32, lifetime: Duration) -> Result<TestNumber, TestNumberRefusal> {
    let new = named(number, bed.clock.now() + lifetime);
    operate(bed, number..number + 1, move |operator| operator.add_test_number(&new)).await
}

/// Starts with a configuration that names these numbers; how many test numbers there are then.
async fn adopt(bed: &Bed, numbers: std::ops::Range<u32>) -> Result<usize, TestNumberRefusal> {
    let until = bed.clock.now() + HOUR;
    let configured: Vec<_> = numbers.clone().map(|number| named(number, until)).collect();
    let adopted = operate(bed, numbers, move |operator| operator.adopt_test_numbers(&configured)).await;
    adopted.map(|numbers| numbers.len()).map_err(|(_, refusal)| refusal)
}

/// A user as it is brought from elsewhere, with this id.
pub(super) fn with(id: i64, phone: PhoneNumber) -> ImportedUser {
    ImportedUser {
        id: Some(UserId(id)),
        username: None,
        phone,
        role: "retailer".to_owned(),
        is_active: true,
        phone_verified: true,
        joined_at: Timestamp::from_millis(0),
        attributes: Attributes::default(),
    }
}

async fn import(bed: &Bed, number: u32) -> Imported {
    let user = with(i64::from(number), phone(number));
    operate(bed, number..number + 1, move |operator| operator.import(std::slice::from_ref(&user))).await
}

#[tokio::test]
async fn a_configured_test_number_can_be_given_no_other_code_and_keeps_no_other_from_being_named() {
    let bed = Bed::new().await;
    assert_eq!(adopt(&bed, 1..2).await, Ok(1));
    assert_eq!(add(&bed, 1, HOUR).await, Err(TestNumberRefusal::Configured));
    add(&bed, 2, HOUR).await.unwrap();
}

#[tokio::test]
async fn a_number_that_commands_and_the_configuration_name_counts_once() {
    let bed = Bed::new().await;
    let most = u32::try_from(MAX_TEST_NUMBERS).unwrap();
    for number in 0..most {
        add(&bed, number, HOUR).await.unwrap();
    }
    assert_eq!(add(&bed, most, HOUR).await, Err(TestNumberRefusal::TooMany));
    assert_eq!(adopt(&bed, 0..1).await, Ok(MAX_TEST_NUMBERS));
    assert_eq!(
        adopt(&bed, most..most + 1).await,
        Ok(MAX_TEST_NUMBERS),
        "the one of the configuration before is gone"
    );
    assert_eq!(adopt(&bed, most..most + 2).await, Err(TestNumberRefusal::TooMany));
}

#[tokio::test]
async fn a_test_number_is_named_for_a_year_at_most() {
    let bed = Bed::new().await;
    add(&bed, 1, MAX_LIFETIME).await.unwrap();
    let longer = MAX_LIFETIME + Duration::from_millis(1);
    assert_eq!(add(&bed, 2, longer).await, Err(TestNumberRefusal::TooFar));
}

#[tokio::test]
async fn what_was_a_test_number_can_be_somebodys_and_is_none_again_without_a_word_of_that() {
    let bed = Bed::new().await;
    add(&bed, 7, HOUR).await.unwrap();
    let taken = import(&bed, 7).await;
    assert_eq!((taken.taken, taken.written.len()), (vec![0], 0), "its code would log in whoever had it");
    bed.clock.advance(HOUR);
    let written = import(&bed, 7).await;
    assert_eq!((written.taken.len(), written.written), (0, vec![(0, UserId(7))]));
    assert_eq!(add(&bed, 7, HOUR).await, Err(TestNumberRefusal::User(UserId(7))));
}

#[tokio::test]
async fn a_user_is_found_by_the_digits_of_the_id_alone() {
    let bed = Bed::new().await;
    bed.import(5, 7).await;
    for (name, is_found) in [("5", true), ("+5", false), ("+15550000007", true), ("user_15550000007", true)] {
        let found = bed.read(move |view| find_user(view, name, &PhonePolicy::lenient(10))).await;
        assert_eq!(found.map(|user| user.id), is_found.then_some(UserId(5)), "{name}");
    }
}

#[tokio::test]
async fn a_change_of_number_that_does_not_wait_is_not_taken_back_and_leaves_no_line() {
    let bed = Bed::new().await;
    bed.log_in(1).await;
    assert!(!bed.operate(1, |operator, user| operator.cancel_phone_change(user)).await);
    assert_eq!(bed.told(AuditEvent::PhoneChangeCancelled).await, [""; 0]);
}
