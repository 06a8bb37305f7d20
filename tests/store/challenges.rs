//! Challenges.

use freshk::domain::challenge::Use;
use freshk::domain::settled::{SendResult, Settled};
use freshk::domain::{
    Challenge, ChallengeId, ChallengeState, Channel, CodeHash, DeliveryId, Mode, NewChallenge, Purpose,
    RunId, SpendId, UserId,
};

use crate::support::{Bed, Fixture, START, after, new_challenge, new_message, phone, session, some_hash};

const PRODUCTION: Mode = Mode::Production;

fn ids(challenges: &[Challenge]) -> Vec<ChallengeId> {
    challenges.iter().map(|challenge| challenge.id).collect()
}

pub(crate) async fn challenges_are_read_as_they_were_written_newest_first<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let hash = |id: ChallengeId| CodeHash { key: u32::MAX, tag: id.0.to_be_bytes().to_vec() };
    let [first, _, _, last] = bed
        .write(move |tx| {
            let mut issue = |mode, number| Ok(tx.insert_challenge(new_challenge(mode, number), &hash)?.id);
            Ok([
                issue(PRODUCTION, 1)?,
                issue(Mode::Testing, 1)?,
                issue(PRODUCTION, 2)?,
                issue(PRODUCTION, 1)?,
            ])
        })
        .await;
    let found = bed.read(|view| view.challenges(PRODUCTION, &phone(1), Purpose::Login, 5)).await;
    assert_eq!(ids(&found), [last, first]);
    assert_eq!(found[0].hash, hash(last), "the hash holds the number of the row");
    assert_eq!((found[0].state, found[0].attempts), (ChallengeState::Sending, 0));
    assert_eq!((found[0].leader.clone(), found[0].settled), (RunId::new([7; 8]), None));
    assert_eq!(bed.read(|view| view.challenges(PRODUCTION, &phone(1), Purpose::Login, 1)).await.len(), 1);

    let used = Use { at: after(9), session: Some(session(1, UserId(1)).id), idempotency: Some(vec![3; 32]) };
    let mut challenge = found.into_iter().next().unwrap().guessed_wrong().consumed(used.clone());
    bed.write(move |tx| tx.update_challenge(&mut challenge)).await;
    let read = bed.read(move |view| view.challenge(last)).await.unwrap();
    assert_eq!((read.state, read.attempts, read.used), (ChallengeState::Used, 1, Some(used)));
    assert_eq!((read.created_at, read.expires_at), (START, after(600)));
    assert!(bed.read(|view| view.challenge(ChallengeId(99))).await.is_none());
}

pub(crate) async fn what_came_of_the_sending_is_read_as_it_was_written<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    for result in SendResult::ALL {
        let settled =
            Settled { at: after(3), result, retry_after: Some(std::time::Duration::from_millis(1500)) };
        let mut challenge = bed.challenge(1).await.lost(settled);
        let id = challenge.id;
        bed.write(move |tx| tx.update_challenge(&mut challenge)).await;
        let read = bed.read(move |view| view.challenge(id)).await.unwrap();
        assert_eq!((read.settled, read.state), (Some(settled), ChallengeState::Unknown));
    }
}

pub(crate) async fn a_challenge_is_found_by_the_id_of_its_delivery<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let ids = [DeliveryId::new([1; 16]), DeliveryId::new([2; 16])];
    let [first, second] = ids.clone();
    let write = |id: DeliveryId, asked| {
        let new = NewChallenge { delivery: Some(id), asked, ..new_challenge(PRODUCTION, 1) };
        bed.try_write(move |tx| tx.insert_challenge(new, &|_| some_hash()))
    };
    let written = write(first.clone(), Some(Channel::Voice)).await.unwrap();
    bed.challenge(1).await;
    let of = |id: DeliveryId| bed.read(move |view| view.challenge_by_delivery(&id));
    let found = of(first.clone()).await.unwrap();
    assert_eq!(
        (found.id, found.delivery, found.asked),
        (written.id, Some(first.clone()), Some(Channel::Voice))
    );
    assert!(of(second).await.is_none());
    assert!(write(first, None).await.is_err(), "none is given twice");
}

pub(crate) async fn those_that_are_not_settled_are_found_oldest_first<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| {
        for seconds in [30, 10, 20, 40] {
            let new = NewChallenge {
                created_at: after(seconds),
                spend: Some(SpendId(4)),
                ..new_challenge(PRODUCTION, 1)
            };
            let mut challenge = tx.insert_challenge(new, &|_| some_hash())?;
            if seconds == 20 {
                challenge = challenge.accepted(after(21));
            }
            if seconds == 10 {
                // Its code is used, and what came of its sending is not known all the same.
                challenge = challenge.consumed(Use { at: after(11), session: None, idempotency: None });
            }
            tx.update_challenge(&mut challenge)?;
        }
        Ok(())
    })
    .await;
    let ages = |limit| {
        let found = bed.read(move |view| view.unsettled_before(after(40), &[], limit));
        async { found.await.iter().map(|found| (found.created_at, found.spend)).collect::<Vec<_>>() }
    };
    assert_eq!(ages(10).await, [(after(10), Some(SpendId(4))), (after(30), Some(SpendId(4)))]);
    assert_eq!(ages(1).await, [(after(10), Some(SpendId(4)))]);
    let spared = [RunId::new([9; 8]), RunId::new([7; 8])];
    assert!(bed.read(move |view| view.unsettled_before(after(40), &spared, 10)).await.is_empty());
    let others = [RunId::new([9; 8])];
    assert_eq!(bed.read(move |view| view.unsettled_before(after(40), &others, 10)).await.len(), 2);
}

pub(crate) async fn challenges_are_paged_from_the_newest<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let mut issued = Vec::new();
    for number in 1..=3 {
        issued.insert(0, bed.challenge(number).await.id);
    }
    let page = |before| bed.read(move |view| view.challenges_before(before, 2));
    assert_eq!(ids(&page(ChallengeId(i64::MAX)).await), issued[..2]);
    assert_eq!(ids(&page(issued[1]).await), issued[2..]);
    assert_eq!(ids(&page(issued[2]).await), []);
}

pub(crate) async fn codes_that_are_over_are_deleted_a_page_at_a_time<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let issued = bed
        .write(|tx| {
            let mut issued = Vec::new();
            for (created, expires) in [(0, 600), (1, 2), (2, 600), (300, 301)] {
                let new = NewChallenge {
                    created_at: after(created),
                    expires_at: after(expires),
                    ..new_challenge(PRODUCTION, 1)
                };
                issued.push(tx.insert_challenge(new, &|_| some_hash())?);
            }
            tx.update_challenge(&mut issued[2].clone().superseded())?;
            Ok(ids(&issued))
        })
        .await;
    let purge = |from| bed.write(move |tx| tx.purge_codes(after(300), after(301), from, 3));
    let (deleted, next) = purge(ChallengeId(0)).await;
    assert_eq!((deleted, next), (2, Some(issued[2])), "one has expired and one is void");
    assert_eq!(purge(issued[2]).await, (0, None), "the last one is too young");
    let left = bed.read(|view| view.challenges(PRODUCTION, &phone(1), Purpose::Login, 9)).await;
    assert_eq!(ids(&left), [issued[3], issued[0]]);
}

pub(crate) async fn a_phone_is_left_without_challenges_and_messages<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    let (one, other) = (bed.challenge(1).await.id, bed.challenge(2).await.id);
    let [mine, theirs] = bed
        .write(move |tx| {
            Ok([
                tx.insert_message(new_message(one, 1, 1, START))?,
                tx.insert_message(new_message(other, 2, 1, START))?,
            ])
        })
        .await;
    assert_eq!(bed.write(|tx| tx.delete_challenges_of(&phone(1), Some(START))).await, 0);
    assert_eq!(bed.write(|tx| tx.delete_challenges_of(&phone(1), None)).await, 1);
    let left =
        bed.read(move |view| Ok((view.challenge(one)?.is_some(), view.message(mine)?.is_some()))).await;
    assert_eq!(left, (false, false));
    let kept =
        bed.read(move |view| Ok((view.challenge(other)?.is_some(), view.message(theirs)?.is_some()))).await;
    assert_eq!(kept, (true, true));
    let used = Use { at: START, session: None, idempotency: None };
    let read = bed.read(move |view| view.challenge(other)).await.unwrap();
    bed.write(move |tx| tx.update_challenge(&mut read.clone().consumed(used.clone()))).await;
    let third = bed.challenge(2).await;
    let delete = async |at| bed.write(move |tx| tx.delete_challenges_of(&phone(2), Some(at))).await;
    assert_eq!(delete(START).await, 1, "what was given is over");
    assert_eq!(delete(third.expires_at).await, 1);
}
