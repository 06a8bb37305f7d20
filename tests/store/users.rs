//! Users.

use freshk::domain::session::EndReason;
use freshk::domain::{Attributes, Exchange, PhoneNumber, Registration, User, UserId};
use freshk::random::{Random as _, SeededRandom};
use freshk::storage::users::{ImportedUser, UserSearch};

use crate::support::{Bed, Fixture, START, after, phone, session};

fn imported(id: Option<i64>, username: Option<&str>, phone: PhoneNumber) -> ImportedUser {
    ImportedUser {
        id: id.map(UserId),
        username: username.map(str::to_owned),
        phone,
        role: "staff".into(),
        is_active: true,
        phone_verified: true,
        joined_at: START,
        attributes: Attributes::default(),
    }
}

pub(crate) async fn users_are_read_as_they_were_written<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let new = bed.user(1).await;
    assert_eq!((new.username.as_str(), new.role.as_str()), ("user_15550000001", "retailer"));
    assert_eq!((new.phone.clone(), new.joined_at), (Some(phone(1)), START));
    assert!(new.is_active && !new.phone_verified && !new.has_foreign_tokens && !new.is_testing_only);
    assert!(new.attributes.is_empty() && !bed.read(|view| view.have_attributes()).await);
    let (id, written) = (new.id, new.clone());
    assert_eq!(bed.read(move |view| view.user(id)).await, Some(written));
    let mut changed = User {
        is_active: false,
        phone_verified: true,
        role: "admin".into(),
        joined_at: after(1),
        has_foreign_tokens: true,
        is_testing_only: true,
        attributes: Attributes::parse(r#"{"plan":"gold"}"#).unwrap(),
        ..new
    };
    let changed = bed.write(move |tx| tx.update_user(&mut changed).map(|()| changed)).await;
    assert_eq!(bed.read(|view| view.user_by_phone(&phone(1))).await, Some(changed.clone()));
    assert_eq!(bed.read(|view| view.user_by_username("user_15550000001")).await, Some(changed));
    assert!(bed.read(|view| view.have_attributes()).await);
    assert_eq!(bed.read(|view| view.user_by_phone(&phone(2))).await, None);
    assert_eq!(bed.read(|view| view.user_by_username("nobody")).await, None);
}

pub(crate) async fn a_name_that_is_taken_gets_a_number_and_a_phone_has_one_user<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    for (number, name) in [(7, "user_15550000001"), (8, "user_15550000001_2")] {
        let mut user = bed.user(number).await;
        user.username = name.into();
        bed.write(move |tx| tx.update_user(&mut user)).await;
    }
    assert_eq!(bed.user(1).await.username, "user_15550000001_3");
    bed.broken(|tx| tx.insert_user(&phone(1), "retailer", START)).await;
    assert_eq!(bed.read(|view| view.users_after(UserId(0), 10)).await.len(), 3);
}

pub(crate) async fn only_an_import_that_brings_the_id_makes_foreign_tokens_good<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (theirs, ours) = bed
        .write(|tx| {
            let attributes = Attributes::parse(r#"{"seats":3}"#).unwrap();
            let with_attributes = ImportedUser { attributes, ..imported(Some(57), None, phone(1)) };
            let theirs = tx.import_user(&with_attributes, START)?;
            Ok((theirs.unwrap(), tx.import_user(&imported(None, Some("anna"), phone(2)), START)?.unwrap()))
        })
        .await;
    let (theirs, ours) =
        bed.read(move |view| Ok((view.user(theirs)?.unwrap(), view.user(ours)?.unwrap()))).await;
    assert_eq!(
        (theirs.id, theirs.username.as_str(), theirs.role.as_str()),
        (UserId(57), "user_15550000001", "staff")
    );
    assert!(theirs.has_foreign_tokens && theirs.phone_verified);
    assert_eq!(theirs.attributes.as_json(), r#"{"seats":3}"#);
    assert!(ours.attributes.is_empty());
    assert_eq!(ours.username, "anna");
    assert!(!ours.has_foreign_tokens, "the id was given here");
    assert!(!bed.user(3).await.has_foreign_tokens);
}

pub(crate) async fn an_import_gives_way_to_whoever_has_the_id_the_name_or_the_phone<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await;
    let written = bed
        .write(move |tx| {
            Ok([
                tx.import_user(&imported(Some(user.id.0), None, phone(2)), START)?,
                tx.import_user(&imported(None, Some(&user.username), phone(2)), START)?,
                tx.import_user(&imported(None, None, phone(1)), START)?,
                // What was refused ends nothing.
                tx.import_user(&imported(None, None, phone(2)), START)?,
            ])
        })
        .await;
    assert_eq!(written.map(|id| id.is_some()), [false, false, false, true]);
}

pub(crate) async fn ids_are_given_once_and_can_be_raised<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    assert_eq!(bed.read(|view| view.last_user_id()).await, None);
    let first = bed.user(1).await.id;
    assert_eq!(bed.write(move |tx| tx.delete_user(first)).await, Some(0));
    let second = bed.user(2).await.id;
    assert!(second > first, "{second} after {first}");
    bed.write(|tx| tx.raise_user_ids(UserId(5000))).await;
    assert_eq!(bed.read(|view| view.last_user_id()).await, Some(UserId(5000)));
    assert_eq!(bed.user(3).await.id, UserId(5001));
    bed.write(|tx| tx.raise_user_ids(UserId(9))).await;
    bed.write(|tx| tx.import_user(&imported(Some(6000), None, phone(4)), START)).await;
    assert_eq!(bed.user(5).await.id, UserId(6001), "an import raises them too, and nothing lowers them");
}

pub(crate) async fn users_are_paged_in_the_order_of_their_ids<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let mut ids = Vec::new();
    for number in [3, 1, 2] {
        ids.push(bed.user(number).await.id);
    }
    let page = |after| {
        bed.read(move |view| Ok(view.users_after(after, 2)?.iter().map(|user| user.id).collect::<Vec<_>>()))
    };
    assert_eq!(page(UserId(0)).await, ids[..2]);
    assert_eq!(page(ids[1]).await, ids[2..]);
    assert_eq!(page(ids[2]).await, []);
}

/// As it was once told of each user by itself.
fn is_wanted(wanted: &UserSearch, user: &User) -> bool {
    let holds = |text: &String| user.phone_text().contains(text) || user.username.contains(text);
    wanted.role.as_ref().is_none_or(|role| user.role == *role)
        && !(wanted.is_inactive && user.is_active)
        && wanted.text.as_ref().is_none_or(holds)
}

pub(crate) async fn users_are_searched_for_and_counted<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    assert_eq!(bed.read(|view| view.count_users(&UserSearch::default())).await, 0);
    let chance = SeededRandom::new(11);
    for number in 1..10 {
        let user = bed.user(number).await;
        let mut user = User {
            role: ["retailer", "staff"][chance.below(2) as usize].to_owned(),
            is_active: chance.below(3) > 0,
            phone: user.phone.filter(|_| number != 5),
            username: ["anna%", "Émile_2", "o'neil", "15550000003"]
                .get(number as usize)
                .map_or(user.username, |name| (*name).to_owned()),
            ..user
        };
        bed.write(move |tx| tx.update_user(&mut user)).await;
    }
    let all = bed.read(|view| view.users_after(UserId(0), 99)).await;
    assert_eq!(all.len(), 9);
    for role in [None, Some("staff"), Some("nobody's")] {
        for is_inactive in [false, true] {
            for text in [
                None,
                Some(""),
                Some("0000003"),
                Some("+1555"),
                Some("_"),
                Some("Émile"),
                Some("ANNA"),
                Some("'"),
            ] {
                let wanted =
                    UserSearch { role: role.map(Into::into), is_inactive, text: text.map(Into::into) };
                let found: Vec<_> = all.iter().filter(|user| is_wanted(&wanted, user)).cloned().collect();
                let after = found.first().map_or(UserId(0), |first| first.id);
                let asked = wanted.clone();
                let (searched, next, counted) = bed
                    .read(move |view| {
                        Ok((
                            view.search_users(&asked, UserId(0), 99)?,
                            view.search_users(&asked, after, 2)?,
                            view.count_users(&asked)?,
                        ))
                    })
                    .await;
                assert_eq!(next, found.iter().skip(1).take(2).cloned().collect::<Vec<_>>(), "{wanted:?}");
                assert_eq!(counted, found.len(), "{wanted:?}");
                assert_eq!(searched, found, "{wanted:?}");
            }
        }
    }
}

pub(crate) async fn registrations_are_those_who_joined_here_and_never_verified_in_the_order_of_joining<
    F: Fixture,
>() {
    let bed = Bed::<F>::new().await;
    let [late, first, second] = bed
        .write(|tx| {
            let mut join = |number, seconds| tx.insert_user(&phone(number), "retailer", after(seconds));
            let users = [join(1, 9)?, join(2, 0)?, join(3, 0)?];
            let mut verified = User { phone_verified: true, ..join(4, 0)? };
            tx.update_user(&mut verified)?;
            tx.import_user(&ImportedUser { phone_verified: false, ..imported(None, None, phone(5)) }, START)?;
            Ok(users)
        })
        .await;
    let page = |last: Option<User>, rows| {
        let after_last = last.map(|user| (user.joined_at, user.id));
        let page = bed.read(move |view| view.registrations_after(after_last, after(10), rows));
        async { page.await.into_iter().map(|found| found.user).collect::<Vec<_>>() }
    };
    assert_eq!(page(None, 9).await, [first.clone(), second.clone(), late.clone()]);
    assert_eq!(page(None, 1).await, std::slice::from_ref(&first));
    assert_eq!(page(Some(first), 1).await, std::slice::from_ref(&second));
    assert_eq!(page(Some(second), 9).await, std::slice::from_ref(&late));
    assert_eq!(
        bed.read(|view| view.registrations_after(None, after(9), 9)).await.len(),
        2,
        "before means before"
    );
    let id = late.id;
    assert_eq!(bed.read(move |view| view.registration(id)).await.map(|found| found.user), Some(late));
    assert_eq!(bed.read(|view| view.registration(UserId(99))).await, None);
}

pub(crate) async fn a_registration_says_what_belongs_to_it<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await;
    let of = |user: User, has_sessions, code_until| Some(Registration { user, has_sessions, code_until });
    let id = user.id;
    let found = || bed.read(move |view| view.registration(id));
    assert_eq!(found().await, of(user.clone(), false, None));
    let mut void = bed.challenge(1).await.superseded();
    bed.write(move |tx| tx.update_challenge(&mut void)).await;
    bed.challenge(2).await;
    assert_eq!(found().await, of(user.clone(), false, None), "void, and another phone's");
    bed.challenge(1).await;
    assert_eq!(found().await, of(user.clone(), false, Some(after(600))));
    bed.write(move |tx| tx.insert_session(&session(1, id).ended(after(1), EndReason::Logout))).await;
    assert_eq!(found().await, of(user, true, Some(after(600))));
}

pub(crate) async fn a_user_is_deleted_with_its_sessions_and_exchanges<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, other) = (bed.user(1).await.id, bed.user(2).await.id);
    bed.write(move |tx| {
        tx.insert_session(&session(1, user))?;
        tx.insert_session(&session(2, user))?;
        tx.insert_session(&session(3, other))?;
        tx.insert_exchange(&Exchange {
            jti: "a".into(),
            user,
            session: None,
            at: START,
            expires_at: after(9),
        })
    })
    .await;
    assert_eq!(bed.write(move |tx| tx.delete_user(user)).await, Some(2));
    assert_eq!(bed.write(move |tx| tx.delete_user(user)).await, None);
    let left = bed.read(|view| Ok((view.sessions_after(None, 9)?, view.exchange("a")?))).await;
    assert_eq!(left, (vec![session(3, other)], None));
}

pub(crate) async fn users_who_are_to_be_deleted_are_found_the_longest_due_first<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let mut users = Vec::new();
    for (number, due) in [(1, Some(9)), (2, Some(3)), (3, None), (4, Some(3)), (5, Some(10))] {
        let mut user = User { deletes_at: due.map(after), ..bed.user(number).await };
        users.push(bed.write(move |tx| tx.update_user(&mut user).map(|()| user)).await);
    }
    let due = |rows| bed.read(move |view| view.users_to_delete(after(9), rows));
    assert_eq!(due(9).await, [users[1].clone(), users[3].clone(), users[0].clone()]);
    assert_eq!(due(1).await, [users[1].clone()]);
    let mut restored = User { deletes_at: None, ..users[1].clone() };
    bed.write(move |tx| tx.update_user(&mut restored)).await;
    assert_eq!(due(1).await, [users[3].clone()]);
}
