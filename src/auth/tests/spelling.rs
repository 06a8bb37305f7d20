//! Telephones whose users spell their number otherwise than the numbering plan.

use super::operating::with;
use super::*;
use crate::auth::operator::{Spellings, Telephone};

/// Two old spellings of one telephone in Mexico, and that of the plan.
const OLD: [&str; 2] = ["+5212221234567", "+52012221234567"];
const NEW: &str = "+522221234567";

fn number(text: &str) -> PhoneNumber {
    PhoneNumber::parse(text, 10).unwrap()
}

async fn act<T: Send + 'static>(
    bed: &Bed,
    act: impl Fn(&mut Operator<'_, '_>) -> StoreResult<T> + Send + 'static,
) -> T {
    let phones = OLD.into_iter().chain([NEW]).map(number);
    let phones: Vec<_> = phones.collect();
    let locks = Locks::none().test_numbers().phones(&phones).users(&[UserId(1), UserId(2), UserId(3)]);
    operator::act(&bed.store, locks, bed.clock.now(), bed.means.clone(), act).await.unwrap()
}

/// The one telephone that users spell otherwise.
async fn telephone(bed: &Bed) -> Telephone {
    let found = bed.read(|view| {
        let mut spellings = Spellings::default();
        for phone in OLD {
            spellings.take(view.user_by_phone(&number(phone))?.into_iter().collect());
        }
        spellings.telephones(view)
    });
    let [telephone] = found.await.try_into().unwrap();
    assert_eq!(telephone.phone, number(NEW));
    telephone
}

async fn respell(bed: &Bed, telephone: Telephone) -> bool {
    act(bed, move |operator| operator.respell(&telephone)).await
}

#[tokio::test]
async fn of_users_who_have_proven_a_telephone_in_other_spellings_the_active_one_gets_it() {
    let bed = Bed::open().await;
    let imported = OLD.into_iter().zip([1, 2]);
    let users: Vec<_> =
        imported.map(|(phone, id)| ImportedUser { is_active: id == 2, ..with(id, number(phone)) }).collect();
    act(&bed, move |operator| operator.import(&users).map(drop)).await;
    let telephone = telephone(&bed).await;
    let ids: Vec<_> = telephone.users.iter().map(|user| user.id).collect();
    assert_eq!(ids, [UserId(2), UserId(1)]);
    assert!(telephone.is_shared());
    assert!(respell(&bed, telephone).await);
    assert_eq!(bed.read(|view| view.user_by_phone(&number(NEW))).await.unwrap().id, UserId(2));
}

#[tokio::test]
async fn a_telephone_whose_first_user_has_it_in_the_plans_spelling_is_left_alone() {
    let bed = Bed::open().await;
    let users = [with(1, number(OLD[0])), with(2, number(NEW))];
    act(&bed, move |operator| operator.import(&users).map(drop)).await;
    let telephone = telephone(&bed).await;
    assert_eq!(telephone.users[0].id, UserId(2));
    assert!(!respell(&bed, telephone).await);
}

#[tokio::test]
async fn nobody_is_given_the_number_of_a_test_number_by_its_spelling() {
    let bed = Bed::open().await;
    let users = [with(1, number(OLD[0]))];
    act(&bed, move |operator| operator.import(&users).map(drop)).await;
    let telephone = telephone(&bed).await;
    let until = bed.clock.now() + HOUR;
    let new = NewTestNumber::new(number(NEW), Code::parse("604927", 6).unwrap(), until, true).unwrap();
    act(&bed, move |operator| operator.add_test_number(&new)).await.unwrap();
    assert!(!respell(&bed, telephone).await);
    assert_eq!(bed.read(|view| view.user_by_phone(&number(NEW))).await, None);
}

#[tokio::test]
async fn a_registration_takes_a_number_from_no_other_that_was_given_its_spelling_meanwhile() {
    let bed = Bed::open().await;
    for phone in OLD {
        bed.ask(CodeRequest { phone: number(phone), ..code_request(0) }).await.result.unwrap();
    }
    let telephone = telephone(&bed).await;
    let second = telephone.users[1].clone();
    let id = second.id;
    act(&bed, move |operator| operator.set_phone(&second, &number(NEW)).map(drop)).await;
    assert!(!respell(&bed, telephone).await);
    assert_eq!(bed.read(|view| view.user_by_phone(&number(NEW))).await.unwrap().id, id);
}
