//! Rows of `events`, `deliveries`, `delivery_queues` and `webhooks_off`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::tx::SqliteTx;
use crate::domain::webhook::FEW;
use crate::domain::{Event, EventNumber, Timestamp, UserId};
use crate::storage::StoreResult;
use crate::storage::columns::count;
use crate::storage::events::{
    Backlog, Delivery, DeliveryState, Failed, QueueId, ReadEvents, Tried, Waiting, WriteEvents,
};

/// The first events of a webhook's queues.
macro_rules! heads {
    ($condition:literal) => {
        concat!(
            "SELECT e.id, e.name, e.kind, e.at, e.user_id, e.data, q.queue, q.attempts FROM delivery_queues AS q \
             JOIN events AS e ON e.id = (SELECT min(event_id) FROM deliveries AS d \
             WHERE d.webhook = q.webhook AND d.queue = q.queue AND d.state = 'waiting') WHERE q.webhook = ?1 AND ",
            $condition
        )
    };
}

pub(super) const DUE: &str = heads!("q.due_at <= ?2 ORDER BY q.due_at LIMIT ?3");

pub(super) const FAILED: &str =
    heads!("q.tried_at < ?2 AND (q.attempts <= ?4 OR q.tried_at < ?3) ORDER BY q.tried_at LIMIT ?5");

pub(super) const NEXT: &str = "SELECT min(due_at) FROM delivery_queues WHERE webhook = ?1";

const BEFORE: &str =
    "SELECT id, name, kind, at, user_id, data FROM events WHERE id < ?1 ORDER BY id DESC LIMIT ?2";

pub(super) const BEFORE_OF: &str = "SELECT id, name, kind, at, user_id, data FROM events \
     WHERE user_id = ?3 AND id < ?1 ORDER BY id DESC LIMIT ?2";

const OF_EVENT: &str = "SELECT webhook, state, attempts, answer, settled_at FROM deliveries \
     WHERE event_id = ?1 ORDER BY webhook";

const BACKLOGS: &str =
    "SELECT webhook, count(*), min(since) FROM deliveries WHERE state = 'waiting' GROUP BY webhook";

const OFF: &str = "SELECT since FROM webhooks_off WHERE name = ?1";

const INSERT: &str = "INSERT INTO events (name, kind, at, user_id, data) VALUES (?1, ?2, ?3, ?4, ?5)";

const INSERT_DELIVERY: &str =
    "INSERT INTO deliveries (event_id, webhook, queue, since) VALUES (?1, ?2, ?3, ?4)";

const QUEUE: &str = "INSERT INTO delivery_queues (webhook, queue, due_at) VALUES (?1, ?2, ?3) \
     ON CONFLICT DO NOTHING";

const NOTE: &str = "UPDATE deliveries SET state = ?3, attempts = ?4, answer = ?5, settled_at = ?6 \
     WHERE event_id = ?1 AND webhook = ?2 AND state = 'waiting'";

const AGAIN: &str =
    "UPDATE delivery_queues SET attempts = ?3, tried_at = ?4, due_at = ?5 WHERE webhook = ?1 AND queue = ?2";

const NEXT_OF_QUEUE: &str = "UPDATE delivery_queues SET attempts = 0, tried_at = NULL, due_at = ?3 \
     WHERE webhook = ?1 AND queue = ?2";

const CLOSE_QUEUE: &str = "DELETE FROM delivery_queues WHERE webhook = ?1 AND queue = ?2 AND NOT EXISTS \
     (SELECT 1 FROM deliveries AS d WHERE d.webhook = ?1 AND d.queue = ?2 AND d.state = 'waiting')";

const REPLAY: &str = "INSERT INTO deliveries (event_id, webhook, queue, since) \
     SELECT id, ?2, ifnull(user_id, -id), ?3 FROM events WHERE id = ?1 ON CONFLICT (event_id, webhook) DO UPDATE \
     SET state = 'waiting', since = excluded.since, attempts = 0, answer = NULL, settled_at = NULL RETURNING queue";

pub(super) const OLDEST: &str = "SELECT event_id, queue FROM deliveries \
     WHERE webhook = ?1 AND state = 'waiting' AND since < ?2 ORDER BY since, event_id LIMIT ?3";

const DROP: &str =
    "UPDATE deliveries SET state = 'dropped', settled_at = ?3 WHERE event_id = ?1 AND webhook = ?2";

pub(super) const SCRUB: &str = "UPDATE events SET data = NULL WHERE user_id = ?1";

const SWITCH_OFF: &str = "INSERT INTO webhooks_off (name, since) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

const SWITCH_ON: &str = "DELETE FROM webhooks_off WHERE name = ?1";

pub(super) const PURGE: &str = "DELETE FROM deliveries WHERE (event_id, webhook) IN \
     (SELECT event_id, webhook FROM deliveries WHERE state <> 'waiting' AND settled_at < ?1 LIMIT ?2) \
     RETURNING event_id";

const FORGET: &str = "DELETE FROM events WHERE id = ?1 AND NOT EXISTS \
     (SELECT 1 FROM deliveries WHERE event_id = ?1)";

impl ReadEvents for SqliteTx<'_> {
    fn due_events(&self, webhook: &str, now: Timestamp, rows: usize) -> StoreResult<Vec<Waiting>> {
        let of = params![webhook, now, count(rows)];
        self.run(|conn| conn.prepare_cached(DUE)?.query_map(of, waiting)?.collect())
    }

    fn failed_events(&self, webhook: &str, failed: &Failed, rows: usize) -> StoreResult<Vec<Waiting>> {
        let of = params![webhook, failed.few, failed.many, FEW, count(rows)];
        self.run(|conn| conn.prepare_cached(FAILED)?.query_map(of, waiting)?.collect())
    }

    fn next_due(&self, webhook: &str) -> StoreResult<Option<Timestamp>> {
        self.run(|conn| conn.prepare_cached(NEXT)?.query_row([webhook], |row| row.get(0)))
    }

    fn events_before(
        &self,
        before: EventNumber,
        of: Option<UserId>,
        rows: usize,
    ) -> StoreResult<Vec<(EventNumber, Event)>> {
        let rows = count(rows);
        self.run(|conn| match of {
            Some(user) => {
                conn.prepare_cached(BEFORE_OF)?.query_map(params![before, rows, user], numbered)?.collect()
            }
            None => conn.prepare_cached(BEFORE)?.query_map(params![before, rows], numbered)?.collect(),
        })
    }

    fn deliveries_of(&self, event: EventNumber) -> StoreResult<Vec<Delivery>> {
        self.run(|conn| conn.prepare_cached(OF_EVENT)?.query_map([event], delivery)?.collect())
    }

    fn backlogs(&self) -> StoreResult<Vec<Backlog>> {
        self.run(|conn| conn.prepare_cached(BACKLOGS)?.query_map([], backlog)?.collect())
    }

    fn webhook_off(&self, webhook: &str) -> StoreResult<Option<Timestamp>> {
        self.run(|conn| conn.prepare_cached(OFF)?.query_row([webhook], |row| row.get(0)).optional())
    }
}

impl WriteEvents for SqliteTx<'_> {
    fn insert_event(&mut self, event: &Event, webhooks: &[&str]) -> StoreResult<EventNumber> {
        let Event { id, kind, at, user, data } = event;
        self.run(|conn| {
            let number = conn.prepare_cached(INSERT)?.insert(params![id, kind, at, user, data])?;
            let number = EventNumber(number);
            let queue = QueueId::of(number, event);
            for webhook in webhooks {
                conn.prepare_cached(INSERT_DELIVERY)?.execute(params![number, webhook, queue, at])?;
                conn.prepare_cached(QUEUE)?.execute(params![webhook, queue, at])?;
            }
            Ok(number)
        })
    }

    fn settle_event(&mut self, webhook: &str, waiting: &Waiting, tried: &Tried) -> StoreResult<()> {
        let Waiting { queue, number, attempts, .. } = waiting;
        let Tried { at, answer, again } = tried;
        let attempts = attempts.saturating_add(1);
        let (state, settled) = match again {
            Some(_) => (DeliveryState::Waiting, None),
            None => (DeliveryState::Delivered, Some(at)),
        };
        self.run(|conn| {
            let note = params![number, webhook, state, attempts, answer, settled];
            conn.prepare_cached(NOTE)?.execute(note)?;
            match again {
                Some(due) => {
                    let again = params![webhook, queue, attempts, at, due];
                    conn.prepare_cached(AGAIN)?.execute(again).map(drop)
                }
                None => go_on(conn, webhook, *queue, *at),
            }
        })
    }

    fn replay_event(&mut self, webhook: &str, number: EventNumber, at: Timestamp) -> StoreResult<()> {
        self.run(|conn| {
            let of = params![number, webhook, at];
            let queue: Option<QueueId> =
                conn.prepare_cached(REPLAY)?.query_row(of, |row| row.get(0)).optional()?;
            let Some(queue) = queue else { return Ok(()) };
            conn.prepare_cached(QUEUE)?.execute(params![webhook, queue, at]).map(drop)
        })
    }

    fn drop_events(
        &mut self,
        webhook: &str,
        before: Timestamp,
        at: Timestamp,
        rows: usize,
    ) -> StoreResult<usize> {
        self.run(|conn| {
            let place = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let oldest: Vec<(EventNumber, QueueId)> = conn
                .prepare_cached(OLDEST)?
                .query_map(params![webhook, before, count(rows)], place)?
                .collect::<Result<_, _>>()?;
            for (number, queue) in &oldest {
                conn.prepare_cached(DROP)?.execute(params![number, webhook, at])?;
                go_on(conn, webhook, *queue, at)?;
            }
            Ok(oldest.len())
        })
    }

    fn scrub_events(&mut self, user: UserId) -> StoreResult<()> {
        self.run(|conn| conn.prepare_cached(SCRUB)?.execute([user]).map(drop))
    }

    fn switch_webhook(&mut self, webhook: &str, off: Option<Timestamp>) -> StoreResult<()> {
        self.run(|conn| match off {
            Some(since) => conn.prepare_cached(SWITCH_OFF)?.execute(params![webhook, since]).map(drop),
            None => conn.prepare_cached(SWITCH_ON)?.execute([webhook]).map(drop),
        })
    }
}

/// The next event of a queue is due; without one the queue is gone.
fn go_on(conn: &Connection, webhook: &str, queue: QueueId, at: Timestamp) -> rusqlite::Result<()> {
    conn.prepare_cached(NEXT_OF_QUEUE)?.execute(params![webhook, queue, at])?;
    conn.prepare_cached(CLOSE_QUEUE)?.execute(params![webhook, queue]).map(drop)
}

/// Deletes at most `limit` deliveries that were over before `before`, and their events where nothing else is left of them;
/// gives how many deliveries.
pub(super) fn purge(conn: &Connection, before: Timestamp, limit: i64) -> rusqlite::Result<usize> {
    let gone: Vec<EventNumber> = conn
        .prepare_cached(PURGE)?
        .query_map(params![before, limit], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for event in &gone {
        conn.prepare_cached(FORGET)?.execute([event])?;
    }
    Ok(gone.len())
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<(EventNumber, Event)> {
    let event =
        Event { id: row.get(1)?, kind: row.get(2)?, at: row.get(3)?, user: row.get(4)?, data: row.get(5)? };
    Ok((row.get(0)?, event))
}

fn waiting(row: &Row<'_>) -> rusqlite::Result<Waiting> {
    let (number, event) = numbered(row)?;
    Ok(Waiting { queue: row.get(6)?, number, event, attempts: row.get(7)? })
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        webhook: row.get(0)?,
        state: row.get(1)?,
        attempts: row.get(2)?,
        answer: row.get(3)?,
        settled_at: row.get(4)?,
    })
}

fn backlog(row: &Row<'_>) -> rusqlite::Result<Backlog> {
    let waiting: i64 = row.get(1)?;
    Ok(Backlog {
        webhook: row.get(0)?,
        waiting: u64::try_from(waiting).unwrap_or_default(),
        since: row.get(2)?,
    })
}
