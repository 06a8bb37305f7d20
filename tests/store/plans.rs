//! By which index `PostgreSQL` goes where a plan was made while the table was empty.

use freshk::domain::Mode;
use freshk::domain::quota::Quota;

use crate::Postgres;
use crate::postgres::Schema;
use crate::support::{Bed, Fixture as _, START, phone, until};

/// How often an index of the ledger was used.
fn scans(schema: &Schema, index: &str) -> usize {
    let name = schema.name();
    let query = format!(
        "SELECT coalesce(sum(idx_scan), 0) FROM pg_stat_user_indexes WHERE schemaname = '{name}' AND indexrelname = '{index}'"
    );
    schema.words(&query)[0].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_somebody_has_spent_is_found_by_that_subject_and_not_among_everybodys() {
    if !Postgres::is_here() {
        return;
    }
    let bed = Bed::<Postgres>::new().await;
    let quota = Quota::User(Mode::Production);
    let spent = bed
        .write(move |tx| {
            tx.spend(quota, phone(1).as_str(), START)?;
            tx.spends(quota, &[phone(2).as_str(), phone(1).as_str()], START - freshk::domain::quota::DAY)
        })
        .await;
    assert_eq!(spent, [START]);
    let schema = &bed.fixture.schema;
    until("the server has counted", async || scans(schema, "spends_subject") > 0).await;
    assert_eq!(scans(schema, "spends_at"), 0);
}
