//! Changes of number that wait, and the codes for them.

use freshk::domain::{CodeHash, Mode, NewChallenge, PhoneChange, Purpose, UserId};

use crate::support::{Bed, Fixture, after, new_challenge, new_message, phone, session, some_hash};

/// A change to a number that is due so many seconds after the start.
pub(crate) fn change(user: UserId, number: u32, seconds: u64) -> PhoneChange {
    PhoneChange {
        user,
        phone: phone(number),
        effective_at: after(seconds),
        session: Some(session(1, user).id),
        cancel: CodeHash { key: u32::MAX, tag: vec![4; 32] },
        wrong_cancels: 0,
    }
}

pub(crate) async fn changes_are_read_as_they_were_written_and_replaced_by_their_user<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, other) = (bed.user(1).await.id, bed.user(2).await.id);
    let [first, second, third] = [change(user, 3, 10), change(user, 4, 20), change(other, 3, 10)];
    let written = first.clone();
    bed.write(move |tx| tx.keep_phone_change(&written)).await;
    let read = bed.read(move |view| Ok((view.phone_change(user)?, view.phone_change_to(&phone(3))?))).await;
    assert_eq!(read, (Some(first.clone()), Some(first.clone())));
    let fourth = change(other, 1, 10);
    let written = fourth.clone();
    bed.write(move |tx| tx.keep_phone_change(&written)).await;
    for (number, about) in [(1, vec![fourth, first.clone()]), (3, vec![first]), (4, Vec::new())] {
        assert_eq!(bed.read(move |view| view.phone_changes_about(&phone(number))).await, about, "{number}");
    }
    bed.write(move |tx| tx.delete_phone_change(other, None)).await;
    bed.broken(move |tx| tx.keep_phone_change(&third)).await;
    let replaced = PhoneChange { session: None, wrong_cancels: 4, ..second };
    let written = replaced.clone();
    bed.write(move |tx| tx.keep_phone_change(&written)).await;
    let read = bed.read(move |view| Ok((view.phone_change(user)?, view.phone_change_to(&phone(3))?))).await;
    assert_eq!(read, (Some(replaced), None));
    assert_eq!(
        bed.write(move |tx| Ok([tx.delete_phone_change(user, None)?, tx.delete_phone_change(user, None)?]))
            .await,
        [true, false]
    );
    assert_eq!(bed.read(move |view| view.phone_change(user)).await, None);
}

/// Who proves a number ends the change of another user to it, who is not locked meanwhile.
pub(crate) async fn a_change_that_is_no_longer_to_that_number_is_left_alone_and_none_is_written_by_a_count<
    F: Fixture,
>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let waiting = change(user, 3, 10);
    let written = waiting.clone();
    bed.write(move |tx| tx.keep_phone_change(&written)).await;
    assert!(!bed.write(move |tx| tx.delete_phone_change(user, Some(&phone(4)))).await);
    let counted = PhoneChange { wrong_cancels: 2, ..waiting };
    let (here, elsewhere) = (counted.clone(), change(user, 4, 10));
    let counts = bed.write(move |tx| Ok([tx.count_wrong_cancel(&here)?, tx.count_wrong_cancel(&elsewhere)?]));
    assert_eq!(counts.await, [true, false]);
    assert_eq!(bed.read(move |view| view.phone_change(user)).await, Some(counted.clone()));
    assert!(bed.write(move |tx| tx.delete_phone_change(user, Some(&phone(3)))).await);
    assert!(!bed.write(move |tx| tx.count_wrong_cancel(&counted)).await);
    assert_eq!(bed.read(move |view| view.phone_change(user)).await, None);
}

pub(crate) async fn changes_that_are_due_are_paged_in_the_order_in_which_they_became_due<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let mut users = Vec::new();
    for (number, seconds) in [(1, 30), (2, 10), (3, 10), (4, 31)] {
        let user = bed.user(number).await.id;
        users.push(user);
        bed.write(move |tx| tx.keep_phone_change(&change(user, number + 4, seconds))).await;
    }
    let page = bed.read(|view| view.phone_changes_due(after(30), None, 2)).await;
    assert_eq!(page.iter().map(|change| change.user).collect::<Vec<_>>(), users[1..3]);
    let last = (page[1].effective_at, page[1].user);
    let page = bed.read(move |view| view.phone_changes_due(after(30), Some(last), 2)).await;
    assert_eq!(page.iter().map(|change| change.user).collect::<Vec<_>>(), users[..1]);
}

pub(crate) async fn what_belongs_to_a_change_goes_with_its_user<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let user = bed.user(1).await.id;
    let kept = bed.write(move |tx| {
        tx.keep_phone_change(&change(user, 3, 10))?;
        let new = NewChallenge { purpose: Purpose::PhoneChange(user), ..new_challenge(Mode::Production, 3) };
        let code = tx.insert_challenge(new, &|_| some_hash())?;
        tx.insert_message(new_message(code.id, 3, 1, after(0)))?;
        let login = tx.insert_challenge(new_challenge(Mode::Production, 3), &|_| some_hash())?;
        tx.delete_user(user)?;
        Ok((code.id, login.id))
    });
    let (code, login) = kept.await;
    let read = bed.read(move |view| {
        let codes = [view.challenge(code)?.is_some(), view.challenge(login)?.is_some()];
        Ok((view.phone_change(user)?, codes, view.messages_of(code)?.len()))
    });
    assert_eq!(read.await, (None, [false, true], 0));
}

pub(crate) async fn s4_codes_are_told_apart_by_their_purpose<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (user, other) = (bed.user(1).await.id, bed.user(2).await.id);
    let purposes = [Purpose::Login, Purpose::PhoneChange(user), Purpose::PhoneChange(other)];
    let ids = bed.write(move |tx| {
        let mut ids = Vec::new();
        for purpose in purposes {
            let new = NewChallenge { purpose, ..new_challenge(Mode::Production, 3) };
            ids.push(tx.insert_challenge(new, &|_| some_hash())?.id);
        }
        Ok(ids)
    });
    let ids = ids.await;
    for (purpose, id) in purposes.into_iter().zip(ids) {
        let read = bed.read(move |view| {
            let latest = view.challenges(Mode::Production, &phone(3), purpose, 9)?;
            let newest = view.newest_challenge(Mode::Production, &phone(3), purpose, false)?;
            Ok((latest, newest))
        });
        let (latest, newest) = read.await;
        assert_eq!(latest.iter().map(|found| (found.id, found.purpose)).collect::<Vec<_>>(), [(id, purpose)]);
        assert_eq!(newest.map(|found| found.id), Some(id));
    }
    let live = bed.read(|view| {
        let live = |mode, number, at| view.has_live_code(mode, &phone(number), at);
        Ok([
            live(Mode::Production, 3, after(599))?,
            live(Mode::Production, 3, after(600))?,
            live(Mode::Testing, 3, after(0))?,
            live(Mode::Production, 1, after(0))?,
        ])
    });
    assert_eq!(live.await, [true, false, false, false]);
}
