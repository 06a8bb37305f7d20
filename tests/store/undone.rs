//! Writes whose transaction `PostgreSQL` undoes, for another one's sake or with its connection: they are run again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

use freshk::domain::guard::{Block, Excess, Place, Rule};
use freshk::storage::{Locks, StoreError, StoreResult};
use futures_util::future::join;

use crate::support::{Bed, START};
use crate::{Postgres, postgres};

/// The first block of a rule.
fn block(rule: Rule) -> Block {
    let place =
        Place { network: "203.0.113.0/24".to_owned(), range: "+49151".to_owned(), country: "DE".to_owned() };
    Block::begin(None, &place, Excess { rule, counted: 5, allowed: 5 }, START)
}

/// Writes two blocks in a transaction; what comes `between` is told the how manyth run it is.
async fn write(
    bed: &Bed<Postgres>,
    blocks: [Block; 2],
    between: impl Fn(u32) + Send + 'static,
) -> StoreResult<u32> {
    let runs = AtomicU32::new(0);
    let write = bed.store.write(Locks::none(), move |tx| {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        tx.replace_block(None, &blocks[0])?;
        between(run);
        tx.replace_block(None, &blocks[1])?;
        Ok(run)
    });
    write.await
}

async fn blocks(bed: &Bed<Postgres>) -> usize {
    bed.read(|view| view.blocks_after(START)).await.len()
}

/// Ends the connections that are about to write a block.
fn cut(schema: &postgres::Schema) {
    let cut = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks \
         WHERE relation = '\"{}\".blocks'::regclass AND mode = 'RowExclusiveLock'",
        schema.name()
    );
    assert_eq!(schema.sql(&cut).unwrap(), ["t"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_that_wait_for_each_other_are_both_done() {
    if postgres::server().is_none() {
        return;
    }
    let bed = Bed::<Postgres>::new().await;
    let (country, world) = (block(Rule::CountryHour), block(Rule::WorldHour));
    let both = Arc::new(Barrier::new(2));
    // Each has written what the other one is about to write.
    let wait = |both: Arc<Barrier>| {
        move |run| {
            if run == 1 {
                both.wait();
            }
        }
    };
    let one = write(&bed, [country.clone(), world.clone()], wait(both.clone()));
    let other = write(&bed, [world, country], wait(both));
    let (one, other) = join(one, other).await;
    assert!(one.unwrap() + other.unwrap() > 2, "one of the two was run again");
    assert_eq!(blocks(&bed).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_whose_connection_breaks_before_its_commit_is_done_over_another_one() {
    if postgres::server().is_none() {
        return;
    }
    let bed = Arc::new(Bed::<Postgres>::new().await);
    let broken = bed.clone();
    let cut_once = move |run| {
        if run == 1 {
            cut(&broken.fixture.schema);
        }
    };
    let both = [block(Rule::CountryHour), block(Rule::WorldHour)];
    assert_eq!(write(&bed, both, cut_once).await, Ok(2));
    assert_eq!(blocks(&bed).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_write_whose_connections_always_break_is_refused_and_leaves_nothing() {
    if postgres::server().is_none() {
        return;
    }
    let bed = Arc::new(Bed::<Postgres>::new().await);
    let (broken, runs) = (bed.clone(), Arc::new(AtomicU32::new(0)));
    let counted = runs.clone();
    let cut_always = move |run| {
        counted.store(run, Ordering::SeqCst);
        cut(&broken.fixture.schema);
    };
    let both = [block(Rule::CountryHour), block(Rule::WorldHour)];
    assert_eq!(write(&bed, both, cut_always).await, Err(StoreError::Unavailable));
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    assert_eq!(blocks(&bed).await, 0);
}

/// What a write gives may be a place that others could have.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_run_gave_whose_commit_was_undone_is_let_go_of_before_the_next() {
    if postgres::server().is_none() {
        return;
    }
    let bed = Bed::<Postgres>::new().await;
    let schema = &bed.fixture.schema;
    // The first commit of a block finds another transaction in its way.
    let once = format!(
        "CREATE SEQUENCE \"{0}\".once; CREATE FUNCTION \"{0}\".fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('\"{0}\".once') = 1 THEN RAISE EXCEPTION 'undone' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$; \
         CREATE CONSTRAINT TRIGGER fail_once AFTER INSERT ON \"{0}\".blocks DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION \"{0}\".fail_once()",
        schema.name()
    );
    schema.sql(&once).unwrap();
    let (place, block) = (Arc::new(()), block(Rule::CountryHour));
    let given = place.clone();
    let write = bed.store.write(Locks::none(), move |tx| {
        tx.replace_block(None, &block)?;
        Ok((Arc::strong_count(&given), given.clone()))
    });
    // The place itself and its closure.
    assert_eq!(write.await.unwrap().0, 2);
    assert_eq!(schema.words("SELECT last_value FROM once"), ["2"], "it ran twice");
    assert_eq!(blocks(&bed).await, 1);
}
