//! What costs no write, because there is nothing to be done.

use super::*;

const DAY: Duration = Duration::from_hours(24);

/// Has the write after so many others fail, if there is one before [`no_more`].
fn writes(bed: &Bed, most: usize) {
    bed.faults.plan(most, 1);
}

/// There was no write after those.
fn no_more(bed: &Bed) {
    assert!(!bed.faults.are_over());
    bed.faults.plan(0, 0);
}

#[tokio::test]
async fn a_round_writes_its_clock_and_nothing_for_a_registration_that_still_waits_for_its_code() {
    let bed = Bed::with(|policy| policy.retention.unverified = DAY).await;
    bed.request(1).await.result.unwrap();
    bed.clock.advance(DAY);
    bed.request(1).await.result.unwrap();
    bed.clock.advance(SECOND);
    bed.auth.maintain().await.unwrap();
    writes(&bed, 1);
    bed.auth.maintain().await.unwrap();
    no_more(&bed);
    assert!(bed.user(1).await.is_some());
}

#[tokio::test]
async fn a_login_with_a_number_that_nobody_changes_is_one_write() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    writes(&bed, 1);
    bed.verify(1, &bed.code()).await.result.unwrap();
    no_more(&bed);
}

#[tokio::test]
async fn a_login_that_proves_nothing_new_leaves_the_row_of_its_user_alone() {
    let bed = Bed::open().await;
    let first = bed.log_in(1).await.user;
    assert_eq!(bed.log_in(1).await.user, first);
    assert_eq!(bed.user(1).await, Some(first));
}
