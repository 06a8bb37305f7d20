//! What is dropped of what waits, and what a stop waits for.

use super::*;
use crate::clock::Clock as _;
use crate::events::tests::{Bed, rest, webhook};
use crate::metrics::Format;

fn dispatcher(bed: &Bed, max_waiting: u64) -> Dispatcher {
    let (_, written) = watch::channel(0);
    Dispatcher::new(bed.parts(), &[webhook()], max_waiting, written)
}

#[tokio::test]
async fn of_what_is_too_much_exactly_that_is_dropped_in_however_many_writes() {
    let bed = Bed::new();
    bed.tell(1..=500, bed.clock.now()).await;
    dispatcher(&bed, 50).tidy().await.unwrap();
    assert_eq!(bed.waiting().await, 50);
    let page = bed.metrics.render(Format::Text);
    assert!(page.contains("freshk_events_dropped_total{webhook=\"shop\"} 450"), "{page}");
}

#[tokio::test]
async fn a_stop_waits_for_what_is_under_way_to_be_noted() {
    let bed = Bed::new();
    bed.tell([1], bed.clock.now()).await;
    bed.sink.hold();
    let stop = CancellationToken::new();
    let running = tokio::spawn(dispatcher(&bed, 50).run(stop.clone()));
    bed.sink.received(1).await;
    // The first round is over.
    while !bed.metrics.render(Format::Text).contains("freshk_events_waiting{webhook=\"shop\"} 1") {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    rest().await;
    bed.sink.release();
    running.await.unwrap();
    assert_eq!(bed.waiting().await, 0);
}
