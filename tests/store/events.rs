//! Events, and the queues in which they wait.

use freshk::domain::{Event, EventId, EventKind, EventNumber, Timestamp, UserId};
use freshk::storage::events::{Backlog, DeliveryState, Failed, Tried, Waiting};

use crate::maintenance::horizon;
use crate::support::{Bed, Fixture, START, after};

const NEWEST: EventNumber = EventNumber(i64::MAX);

fn event(number: u8, user: Option<i64>) -> Event {
    Event {
        id: EventId::new([number; 16], 0),
        kind: EventKind::UserUpdated,
        at: after(u64::from(number)),
        user: user.map(UserId),
        data: Some(format!("{{\"n\":{number}}}")),
    }
}

/// Three events of one user, one of another and one of nobody known, all for one webhook.
async fn written<F: Fixture>(bed: &Bed<F>) {
    bed.write(|tx| {
        for (number, user) in [(1, Some(7)), (2, Some(7)), (3, Some(8)), (4, None), (5, Some(7))] {
            tx.insert_event(&event(number, user), &["shop"])?;
        }
        Ok(())
    })
    .await;
}

async fn due<F: Fixture>(bed: &Bed<F>, at: Timestamp) -> Vec<Waiting> {
    bed.read(move |view| view.due_events("shop", at, 10)).await
}

fn ids(waiting: &[Waiting]) -> Vec<Event> {
    waiting.iter().map(|waiting| waiting.event.clone()).collect()
}

async fn settle<F: Fixture>(bed: &Bed<F>, waiting: &Waiting, at: Timestamp, again: Option<Timestamp>) {
    let (waiting, tried) = (waiting.clone(), Tried { at, answer: "503".to_owned(), again });
    bed.write(move |tx| tx.settle_event("shop", &waiting, &tried)).await;
}

pub(crate) async fn events_are_read_as_they_were_written_newest_first<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    written(&bed).await;
    let all = bed.read(|view| view.events_before(NEWEST, None, 10)).await;
    let found: Vec<_> = all.iter().map(|(_, event)| event.clone()).collect();
    assert_eq!(
        found,
        [event(5, Some(7)), event(4, None), event(3, Some(8)), event(2, Some(7)), event(1, Some(7))]
    );
    let before = all[1].0;
    let of = bed.read(move |view| view.events_before(before, Some(UserId(7)), 1)).await;
    assert_eq!(of, [all[3].clone()]);
}

pub(crate) async fn the_first_of_each_queue_is_due_and_the_next_after_it<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    written(&bed).await;
    let first = due(&bed, after(9)).await;
    assert_eq!(ids(&first), [event(1, Some(7)), event(3, Some(8)), event(4, None)]);
    assert_eq!(ids(&due(&bed, after(2)).await), [event(1, Some(7))]);
    assert!(bed.read(|view| view.due_events("other", after(9), 10)).await.is_empty());
    settle(&bed, &first[0], after(10), None).await;
    settle(&bed, &first[1], after(10), None).await;
    assert_eq!(ids(&due(&bed, after(10)).await), [event(4, None), event(2, Some(7))]);
    assert_eq!(bed.read(|view| view.next_due("shop")).await, Some(after(4)));
    for _ in 0..3 {
        for waiting in due(&bed, after(11)).await {
            settle(&bed, &waiting, after(11), None).await;
        }
    }
    assert_eq!(bed.read(|view| view.next_due("shop")).await, None);
    assert_eq!(bed.read(|view| view.backlogs()).await, []);
}

pub(crate) async fn a_failed_event_waits_and_can_be_found_by_when_it_was_tried<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    written(&bed).await;
    let first = due(&bed, after(9)).await;
    settle(&bed, &first[0], after(10), Some(after(100))).await;
    assert_eq!(ids(&due(&bed, after(99)).await), [event(3, Some(8)), event(4, None)]);
    let again = due(&bed, after(100)).await;
    assert_eq!(again.iter().map(|waiting| waiting.attempts).collect::<Vec<_>>(), [0, 0, 1]);
    let find = |few, many| bed.read(move |view| view.failed_events("shop", &Failed { few, many }, 10));
    assert_eq!(ids(&find(after(11), after(0)).await), [event(1, Some(7))]);
    assert!(find(after(10), after(0)).await.is_empty());
    for attempt in 1..4 {
        let waiting = Waiting { attempts: attempt, ..again[2].clone() };
        settle(&bed, &waiting, after(20), Some(after(100))).await;
    }
    assert!(find(after(21), after(20)).await.is_empty(), "tried more than a few times");
    assert_eq!(find(after(21), after(21)).await[0].attempts, 4);
    let (number, deliveries) = (again[2].number, DeliveryState::Waiting);
    let delivery = bed.read(move |view| view.deliveries_of(number)).await.remove(0);
    assert_eq!((delivery.state, delivery.attempts, delivery.answer.as_deref()), (deliveries, 4, Some("503")));
}

pub(crate) async fn an_event_is_replayed_in_its_place_also_for_a_webhook_that_never_had_it<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    written(&bed).await;
    let first = due(&bed, after(9)).await;
    settle(&bed, &first[0], after(10), None).await;
    let number = first[0].number;
    bed.write(move |tx| {
        tx.replay_event("shop", number, after(20))?;
        tx.replay_event("late", number, after(20))?;
        tx.replay_event("late", EventNumber(999), after(20))
    })
    .await;
    assert_eq!(
        due(&bed, after(20)).await.iter().find(|found| found.queue == first[0].queue),
        Some(&first[0])
    );
    let late = bed.read(|view| view.due_events("late", after(20), 10)).await;
    assert_eq!(ids(&late), [event(1, Some(7))]);
    let states = bed.read(move |view| view.deliveries_of(number)).await;
    assert_eq!(states.iter().map(|state| state.webhook.as_str()).collect::<Vec<_>>(), ["late", "shop"]);
}

pub(crate) async fn the_oldest_are_dropped_and_their_queues_go_on<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    written(&bed).await;
    let first = due(&bed, after(9)).await;
    settle(&bed, &first[0], after(10), Some(after(10_000))).await;
    let backlog = |waiting, since| Backlog { webhook: "shop".to_owned(), waiting, since };
    assert_eq!(bed.read(|view| view.backlogs()).await, [backlog(5, after(1))]);
    assert_eq!(bed.write(|tx| tx.drop_events("shop", after(2), after(50), 10)).await, 1);
    assert_eq!(bed.read(|view| view.backlogs()).await, [backlog(4, after(2))]);
    assert!(ids(&due(&bed, after(50)).await).contains(&event(2, Some(7))), "its first attempt is due");
    assert_eq!(bed.write(|tx| tx.drop_events("shop", after(9), after(50), 3)).await, 3);
    assert_eq!(ids(&due(&bed, after(50)).await), [event(5, Some(7))]);
    assert_eq!(bed.write(|tx| tx.drop_events("other", after(9), after(50), 3)).await, 0);
}

pub(crate) async fn of_a_scrubbed_user_nothing_but_the_id_is_left<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    written(&bed).await;
    bed.write(|tx| tx.scrub_events(UserId(7))).await;
    let found = bed.read(|view| view.events_before(NEWEST, None, 10)).await;
    let left: Vec<_> = found.into_iter().filter_map(|(_, event)| event.data).collect();
    assert_eq!(left, ["{\"n\":4}", "{\"n\":3}"]);
}

pub(crate) async fn a_webhook_is_switched_off_and_on<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    for (off, expected) in
        [(Some(START), Some(START)), (Some(after(9)), Some(START)), (None, None), (None, None)]
    {
        bed.write(move |tx| tx.switch_webhook("shop", off)).await;
        assert_eq!(bed.read(|view| view.webhook_off("shop")).await, expected);
        assert_eq!(bed.read(|view| view.webhook_off("other")).await, None);
    }
}

pub(crate) async fn an_event_is_purged_once_every_webhook_has_had_it_for_long<F: Fixture>() {
    let bed = Bed::<F>::new().await;
    bed.write(|tx| tx.insert_event(&event(1, Some(7)), &["one", "shop"])).await;
    let left = || async { bed.read(|view| view.events_before(NEWEST, None, 10)).await.len() };
    let purge = || bed.write(|tx| tx.purge(&horizon(after(60)), 10));
    for waiting in due(&bed, after(9)).await {
        settle(&bed, &waiting, after(50), None).await;
    }
    purge().await;
    assert_eq!(left().await, 1, "it waits for the other one");
    bed.write(|tx| tx.drop_events("one", after(9), after(59), 10)).await;
    purge().await;
    assert_eq!(left().await, 0);
}
