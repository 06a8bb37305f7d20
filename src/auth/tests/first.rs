//! Two servers at one block of the guard: who is first with it.

use super::guard::{foreigner, guarded, is_held_back, join, prolonged, stranger};
use super::*;
use crate::domain::Timestamp;

/// Another server writes just before each such write of the bed's, which is in vain by that.
fn is_first(bed: &Bed, write: &str, writes: &str) {
    bed.elsewhere(&format!(
        "CREATE TRIGGER another BEFORE {write} BEGIN {writes}; SELECT raise(IGNORE); END"
    ));
}

/// Nothing that changes what this one reads of it.
const SOMETHING: &str = "SELECT 1";

/// A block that may let one message through.
async fn with_a_turn(strangers: fn(u32) -> CodeRequest) -> Bed {
    let bed = guarded(GuardMode::On).await;
    prolonged(&bed, (1..=19).map(strangers)).await;
    bed
}

#[tokio::test]
async fn a_message_that_another_server_was_let_through_with_is_the_only_one() {
    for strangers in [stranger, |number| if number % 2 == 0 { stranger(number) } else { foreigner(number) }] {
        let bed = with_a_turn(strangers).await;
        is_first(&bed, "UPDATE ON blocks", SOMETHING);
        assert!(is_held_back(&bed.ask(stranger(20)).await.result));
        assert_eq!(bed.counted("sms_blocks_total"), ["{guard=\"on\"} 1"], "which begins no block");
        assert_eq!(bed.sms.messages().len(), 10);
    }
}

#[tokio::test]
async fn a_block_that_another_server_ends_first_has_ended_for_both() {
    for ends in [
        // Because what it let through was answered, and because somebody had it end.
        "UPDATE blocks SET since = 1, until = 2",
        "UPDATE blocks SET until = 2",
        SOMETHING,
    ] {
        let bed = with_a_turn(stranger).await;
        join(&bed, stranger(20)).await;
        is_first(&bed, "UPDATE ON blocks", ends);
        bed.ask(stranger(21)).await.result.unwrap();
    }
}

#[tokio::test]
async fn whoever_would_be_let_through_by_a_block_that_has_ended_by_now_is_judged_without_it() {
    let bed = with_a_turn(stranger).await;
    is_first(&bed, "UPDATE ON blocks", "UPDATE blocks SET since = 1, until = 2");
    bed.ask(stranger(20)).await.result.unwrap();
}

#[tokio::test]
async fn a_block_that_changes_at_each_look_is_not_looked_at_forever() {
    let bed = with_a_turn(stranger).await;
    is_first(&bed, "UPDATE ON blocks", "UPDATE blocks SET since = since + 1");
    assert!(is_held_back(&bed.ask(stranger(20)).await.result));
}

#[tokio::test]
async fn a_block_that_another_server_begins_first_is_told_of_by_that_one_alone() {
    let bed = guarded(GuardMode::On).await;
    for number in 1..=10 {
        bed.ask(stranger(number)).await.result.unwrap();
    }
    is_first(&bed, "INSERT ON blocks", SOMETHING);
    assert!(is_held_back(&bed.ask(stranger(11)).await.result));
    assert_eq!(bed.counted("sms_blocks_total").len(), 0);
    assert_eq!(bed.told(AuditEvent::SmsBlocked).await.len(), 0);
}

#[tokio::test]
async fn of_two_blocks_neither_counts_as_having_let_through_what_the_other_did_not() {
    let bed = guarded(GuardMode::On).await;
    let both = |number| if number % 2 == 0 { stranger(number) } else { foreigner(number) };
    prolonged(&bed, (1..=19).map(both)).await;
    let blocks = |view: &dyn View| view.blocks_after(Timestamp::from_millis(0));
    // All countries are held back, and that of some of the numbers as well.
    let country = "(SELECT country FROM purchases WHERE network LIKE '10.2.%')";
    bed.elsewhere(
        &format!(
            "INSERT INTO blocks SELECT 'country', {country}, since, until, probe_at, times, 'country_burst', 11, 9 FROM blocks"
        ),
    );
    let before = bed.read(blocks).await;
    assert_eq!(before.len(), 2);
    is_first(&bed, "UPDATE ON blocks WHEN old.scope = 'world'", SOMETHING);
    assert!(is_held_back(&bed.ask(stranger(20)).await.result));
    assert_eq!(bed.read(blocks).await, before);
}

#[tokio::test]
async fn a_message_of_a_full_day_that_another_server_was_let_through_with_is_the_only_one() {
    for is_another_first in [false, true] {
        let bed = guarded(GuardMode::On).await;
        for number in 1..=20 {
            bed.ask(stranger(number)).await.result.unwrap();
            bed.clock.advance(10 * 60 * SECOND);
        }
        assert!(is_held_back(&bed.ask(stranger(21)).await.result));
        bed.clock.advance(16 * 60 * SECOND);
        if is_another_first {
            is_first(&bed, "UPDATE ON blocks", SOMETHING);
        }
        assert_eq!(is_held_back(&bed.ask(stranger(22)).await.result), is_another_first);
        assert_eq!(bed.counted("sms_blocks_total"), ["{guard=\"on\"} 1"]);
    }
}
