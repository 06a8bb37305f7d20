//! Which events set out, and when what came of them is noted.

use futures_util::FutureExt as _;

use super::*;
use crate::clock::Clock as _;
use crate::events::tests::{Bed, SHOP, rest, webhook};
use crate::telemetry::caught::Log;

const MINUTE: Duration = Duration::from_mins(1);

fn outlet(bed: &Bed) -> Outlet {
    Outlet::new(Arc::new(bed.parts()), webhook())
}

#[tokio::test]
async fn no_more_events_are_under_way_than_may_be_although_others_are_due_before_them() {
    let bed = Bed::new();
    let (mut outlet, now) = (outlet(&bed), bed.clock.now());
    bed.sink.hold();
    bed.tell(1..=10, now).await;
    outlet.begin().await.unwrap();
    assert_eq!(outlet.under_way.len(), 10);
    // By the clock of another server, say.
    bed.tell(11..=40, now - MINUTE).await;
    for _ in 0..2 {
        outlet.begin().await.unwrap();
        assert_eq!((outlet.under_way.len(), outlet.busy.len()), (IN_FLIGHT, IN_FLIGHT));
    }
}

#[tokio::test]
async fn which_server_sends_is_looked_at_again_after_a_second_and_not_before() {
    let bed = Bed::new();
    let mut outlet = outlet(&bed);
    bed.tell([1], bed.clock.now()).await;
    outlet.duty = Some((bed.clock.now(), false));
    for (millis, under_way) in [(0, 0), (999, 0), (1, 1)] {
        bed.clock.advance(Duration::from_millis(millis));
        outlet.begin().await.unwrap();
        assert_eq!(outlet.under_way.len(), under_way);
    }
    assert_eq!(outlet.duty, Some((bed.clock.now(), true)));
}

#[tokio::test]
async fn a_webhook_is_sent_nothing_at_once_after_what_came_of_an_event_could_not_be_written() {
    let bed = Bed::new();
    let mut outlet = outlet(&bed);
    bed.tell([1], bed.clock.now()).await;
    outlet.begin().await.unwrap();
    let ended = outlet.under_way.join_next().await.unwrap();
    bed.store.close().await;
    assert!(outlet.settle_or_log(ended).now_or_never().is_none(), "it may have taken the event");
}

#[tokio::test]
async fn what_came_of_events_is_written_in_the_order_of_their_queues_however_they_ended() {
    let bed = Bed::new();
    let mut outlet = outlet(&bed);
    bed.tell([2, 1], bed.clock.now()).await;
    let raw = bed.raw();
    raw.execute_batch(
        "CREATE TABLE noted (queue INTEGER); \
         CREATE TRIGGER note AFTER UPDATE ON deliveries BEGIN INSERT INTO noted VALUES (new.queue); END",
    )
    .unwrap();
    let [first, second] = <[Waiting; 2]>::try_from(bed.due().await).unwrap();
    outlet.under_way.spawn(std::future::ready((first, Answer::Status(200))));
    rest().await;
    outlet.settle(Ok((second, Answer::Status(200)))).await.unwrap();
    let mut noted = raw.prepare("SELECT queue FROM noted ORDER BY rowid").unwrap();
    let noted: Vec<i64> = noted.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(noted, [1, 2]);
}

#[tokio::test]
async fn what_is_under_way_when_the_server_stops_is_noted() {
    let bed = Bed::new();
    bed.tell([1], bed.clock.now()).await;
    bed.sink.hold();
    let (stop, (_writes, written)) = (CancellationToken::new(), watch::channel(0));
    let running = tokio::spawn(outlet(&bed).run(stop.clone(), written));
    bed.sink.received(1).await;
    stop.cancel();
    rest().await;
    bed.sink.release();
    running.await.unwrap();
    assert_eq!(bed.waiting().await, 0);
}

#[tokio::test]
async fn of_a_webhook_that_is_gone_and_of_no_other_the_log_says_how_it_is_switched_on_again() {
    let (log, _logging) = Log::catch();
    let bed = Bed::new();
    let mut outlet = outlet(&bed);
    bed.tell([1], bed.clock.now()).await;
    for (status, is_told) in [(404, false), (410, true)] {
        let waiting = bed.due().await.remove(0);
        outlet.settle(Ok((waiting, Answer::Status(status)))).await.unwrap();
        assert_eq!(log.count("`freshk webhook enable shop`"), usize::from(is_told));
        bed.clock.advance(MINUTE);
    }
}

/// How many a search finds at `now`.
async fn found(bed: &Bed, rows: usize, failed: bool, probes: bool) -> usize {
    let now = bed.clock.now();
    let failed = failed.then_some(Failed { few: now, many: now });
    let search = Search { webhook: Arc::new(webhook()), now, failed, probes, rows };
    bed.store.read(move |view| search.read(view)).await.unwrap().len()
}

#[tokio::test]
async fn what_failed_before_is_found_beside_what_is_due_in_as_many_places_as_are_left() {
    let bed = Bed::new();
    bed.tell(1..=5, bed.clock.now()).await;
    bed.fail(bed.clock.now() + 60 * MINUTE).await;
    bed.clock.advance(MINUTE);
    bed.tell(6..=7, bed.clock.now()).await;
    for (rows, expected) in [(1, 1), (2, 2), (4, 4), (9, 7)] {
        assert_eq!(found(&bed, rows, true, false).await, expected);
        assert_eq!(found(&bed, rows, false, false).await, expected.min(2));
    }
}

#[tokio::test]
async fn one_event_goes_to_see_whether_a_webhook_is_back_where_nothing_else_does_and_none_is_due_soon() {
    for (pause, expected) in [(REST, 0), (REST + Duration::from_millis(1), 1)] {
        let bed = Bed::new();
        bed.tell(1..=3, bed.clock.now()).await;
        bed.fail(bed.clock.now() + MINUTE + pause).await;
        bed.clock.advance(MINUTE);
        assert_eq!(found(&bed, 9, false, true).await, expected);
        assert_eq!(found(&bed, 9, false, false).await, 0);
        assert_eq!(found(&bed, 9, true, true).await, 3, "all of them go");
    }
    let bed = Bed::new();
    bed.store.write(Locks::none(), |tx| tx.switch_webhook(SHOP, None)).await.unwrap();
    assert_eq!(found(&bed, 9, false, true).await, 0, "none waits");
}
