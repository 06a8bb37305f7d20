//! Rows of `events`, `deliveries`, `delivery_queues` and `webhooks_off`.

use super::columns::Number;
use super::row::{Row, RowError};
use super::tx::{PostgresTx, first};
use crate::domain::webhook::FEW;
use crate::domain::{Event, EventNumber, Timestamp, UserId};
use crate::storage::columns::count;
use crate::storage::events::{
    Backlog, Delivery, DeliveryState, Failed, QueueId, ReadEvents, Tried, Waiting, WriteEvents,
};
use crate::storage::{StoreError, StoreResult};

/// The first events of a webhook's queues.
macro_rules! heads {
    ($condition:literal) => {
        concat!(
            "SELECT e.id, e.name, e.kind, e.at, e.user_id, e.data, q.queue, q.attempts FROM delivery_queues AS q \
             JOIN events AS e ON e.id = (SELECT min(event_id) FROM deliveries AS d \
             WHERE d.webhook = q.webhook AND d.queue = q.queue AND d.state = 'waiting') WHERE q.webhook = $1 AND ",
            $condition
        )
    };
}

const DUE: &str = heads!("q.due_at <= $2 ORDER BY q.due_at LIMIT $3");

const FAILED: &str =
    heads!("q.tried_at < $2 AND (q.attempts <= $4 OR q.tried_at < $3) ORDER BY q.tried_at LIMIT $5");

const NEXT: &str = "SELECT min(due_at) FROM delivery_queues WHERE webhook = $1";

const BEFORE: &str =
    "SELECT id, name, kind, at, user_id, data FROM events WHERE id < $1 ORDER BY id DESC LIMIT $2";

const BEFORE_OF: &str = "SELECT id, name, kind, at, user_id, data FROM events \
     WHERE user_id = $3 AND id < $1 ORDER BY id DESC LIMIT $2";

const OF_EVENT: &str = "SELECT webhook, state, attempts, answer, settled_at FROM deliveries \
     WHERE event_id = $1 ORDER BY webhook";

const BACKLOGS: &str =
    "SELECT webhook, count(*), min(since) FROM deliveries WHERE state = 'waiting' GROUP BY webhook";

const OFF: &str = "SELECT since FROM webhooks_off WHERE name = $1";

const INSERT: &str =
    "INSERT INTO events (name, kind, at, user_id, data) VALUES ($1, $2, $3, $4, $5) RETURNING id";

const INSERT_DELIVERY: &str =
    "INSERT INTO deliveries (event_id, webhook, queue, since) VALUES ($1, $2, $3, $4)";

/// The row is locked where it is there already: whoever closes the queue meanwhile sees what stands in it.
const QUEUE: &str = "INSERT INTO delivery_queues (webhook, queue, due_at) VALUES ($1, $2, $3) \
     ON CONFLICT (webhook, queue) DO UPDATE SET queue = excluded.queue";

const NOTE: &str = "UPDATE deliveries SET state = $3, attempts = $4, answer = $5, settled_at = $6 \
     WHERE event_id = $1 AND webhook = $2 AND state = 'waiting'";

const AGAIN: &str =
    "UPDATE delivery_queues SET attempts = $3, tried_at = $4, due_at = $5 WHERE webhook = $1 AND queue = $2";

const NEXT_OF_QUEUE: &str = "UPDATE delivery_queues SET attempts = 0, tried_at = NULL, due_at = $3 \
     WHERE webhook = $1 AND queue = $2";

const CLOSE_QUEUE: &str = "DELETE FROM delivery_queues WHERE webhook = $1 AND queue = $2 AND NOT EXISTS \
     (SELECT FROM deliveries AS d WHERE d.webhook = $1 AND d.queue = $2 AND d.state = 'waiting')";

const REPLAY: &str = "INSERT INTO deliveries (event_id, webhook, queue, since) \
     SELECT id, $2::text, coalesce(user_id, -id), $3::bigint FROM events WHERE id = $1 ON CONFLICT (event_id, webhook) DO UPDATE \
     SET state = 'waiting', since = excluded.since, attempts = 0, answer = NULL, settled_at = NULL RETURNING queue";

const OLDEST: &str = "SELECT event_id, queue FROM deliveries \
     WHERE webhook = $1 AND state = 'waiting' AND since < $2 ORDER BY since, event_id LIMIT $3";

const DROP: &str =
    "UPDATE deliveries SET state = 'dropped', settled_at = $3 WHERE event_id = $1 AND webhook = $2";

const SCRUB: &str = "UPDATE events SET data = NULL WHERE user_id = $1";

const SWITCH_OFF: &str = "INSERT INTO webhooks_off (name, since) VALUES ($1, $2) ON CONFLICT DO NOTHING";

const SWITCH_ON: &str = "DELETE FROM webhooks_off WHERE name = $1";

const PURGE: &str = "DELETE FROM deliveries WHERE (event_id, webhook) IN \
     (SELECT event_id, webhook FROM deliveries WHERE state <> 'waiting' AND settled_at < $1 LIMIT $2) \
     RETURNING event_id";

const FORGET: &str = "DELETE FROM events WHERE id = $1 AND NOT EXISTS \
     (SELECT FROM deliveries WHERE event_id = $1)";

impl ReadEvents for PostgresTx<'_> {
    fn due_events(&self, webhook: &str, now: Timestamp, rows: usize) -> StoreResult<Vec<Waiting>> {
        self.rows(DUE, &[&webhook, &now, &count(rows)], waiting)
    }

    fn failed_events(&self, webhook: &str, failed: &Failed, rows: usize) -> StoreResult<Vec<Waiting>> {
        self.rows(FAILED, &[&webhook, &failed.few, &failed.many, &Number(FEW), &count(rows)], waiting)
    }

    fn next_due(&self, webhook: &str) -> StoreResult<Option<Timestamp>> {
        Ok(self.row(NEXT, &[&webhook], first::<Option<Timestamp>>)?.flatten())
    }

    fn events_before(
        &self,
        before: EventNumber,
        of: Option<UserId>,
        rows: usize,
    ) -> StoreResult<Vec<(EventNumber, Event)>> {
        match of {
            Some(user) => self.rows(BEFORE_OF, &[&before, &count(rows), &user], numbered),
            None => self.rows(BEFORE, &[&before, &count(rows)], numbered),
        }
    }

    fn deliveries_of(&self, event: EventNumber) -> StoreResult<Vec<Delivery>> {
        self.rows(OF_EVENT, &[&event], delivery)
    }

    fn backlogs(&self) -> StoreResult<Vec<Backlog>> {
        self.rows(BACKLOGS, &[], backlog)
    }

    fn webhook_off(&self, webhook: &str) -> StoreResult<Option<Timestamp>> {
        self.row(OFF, &[&webhook], first)
    }
}

impl WriteEvents for PostgresTx<'_> {
    fn insert_event(&mut self, event: &Event, webhooks: &[&str]) -> StoreResult<EventNumber> {
        let Event { id, kind, at, user, data } = event;
        let inserted = self.returning(INSERT, &[id, kind, at, user, data], first)?;
        let number = inserted.into_iter().next().ok_or(StoreError::Broken)?;
        let queue = QueueId::of(number, event);
        for webhook in webhooks {
            self.append(INSERT_DELIVERY, &[&number, webhook, &queue, at])?;
            self.append(QUEUE, &[webhook, &queue, at])?;
        }
        Ok(number)
    }

    fn settle_event(&mut self, webhook: &str, waiting: &Waiting, tried: &Tried) -> StoreResult<()> {
        let Waiting { queue, number, attempts, .. } = waiting;
        let Tried { at, answer, again } = tried;
        let attempts = Number(attempts.saturating_add(1));
        let (state, settled) = match again {
            Some(_) => (DeliveryState::Waiting, None),
            None => (DeliveryState::Delivered, Some(*at)),
        };
        self.append(NOTE, &[number, &webhook, &state, &attempts, answer, &settled])?;
        match again {
            Some(due) => self.append(AGAIN, &[&webhook, queue, &attempts, at, due]),
            None => self.go_on(webhook, *queue, *at),
        }
    }

    fn replay_event(&mut self, webhook: &str, number: EventNumber, at: Timestamp) -> StoreResult<()> {
        for queue in self.returning(REPLAY, &[&number, &webhook, &at], first::<QueueId>)? {
            self.write(QUEUE, &[&webhook, &queue, &at])?;
        }
        Ok(())
    }

    fn drop_events(
        &mut self,
        webhook: &str,
        before: Timestamp,
        at: Timestamp,
        rows: usize,
    ) -> StoreResult<usize> {
        let place = |row: &Row| Ok((row.try_get::<EventNumber>(0)?, row.try_get::<QueueId>(1)?));
        let oldest = self.rows(OLDEST, &[&webhook, &before, &count(rows)], place)?;
        for (number, queue) in &oldest {
            self.write(DROP, &[number, &webhook, &at])?;
            self.go_on(webhook, *queue, at)?;
        }
        Ok(oldest.len())
    }

    fn scrub_events(&mut self, user: UserId) -> StoreResult<()> {
        self.append(SCRUB, &[&user])
    }

    fn switch_webhook(&mut self, webhook: &str, off: Option<Timestamp>) -> StoreResult<()> {
        match off {
            Some(since) => self.write(SWITCH_OFF, &[&webhook, &since]).map(drop),
            None => self.write(SWITCH_ON, &[&webhook]).map(drop),
        }
    }
}

impl PostgresTx<'_> {
    /// The next event of a queue is due; without one the queue is gone. The first statement locks the row, so that the second
    /// one sees an event that stands in it by then.
    fn go_on(&self, webhook: &str, queue: QueueId, at: Timestamp) -> StoreResult<()> {
        self.write(NEXT_OF_QUEUE, &[&webhook, &queue, &at])?;
        self.write(CLOSE_QUEUE, &[&webhook, &queue]).map(drop)
    }

    /// Deletes at most `limit` deliveries that were over before `before`, and their events where nothing else is left of them;
    /// gives how many deliveries.
    pub(super) fn purge_events(&self, before: Timestamp, limit: i64) -> StoreResult<usize> {
        let gone = self.returning(PURGE, &[&before, &limit], first::<EventNumber>)?;
        for event in &gone {
            self.write(FORGET, &[event])?;
        }
        Ok(gone.len())
    }
}

fn numbered(row: &Row) -> Result<(EventNumber, Event), RowError> {
    let event = Event {
        id: row.try_get(1)?,
        kind: row.try_get(2)?,
        at: row.try_get(3)?,
        user: row.try_get(4)?,
        data: row.try_get(5)?,
    };
    Ok((row.try_get(0)?, event))
}

fn waiting(row: &Row) -> Result<Waiting, RowError> {
    let (number, event) = numbered(row)?;
    Ok(Waiting { queue: row.try_get(6)?, number, event, attempts: row.try_get::<Number<u32>>(7)?.0 })
}

fn delivery(row: &Row) -> Result<Delivery, RowError> {
    Ok(Delivery {
        webhook: row.try_get(0)?,
        state: row.try_get(1)?,
        attempts: row.try_get::<Number<u32>>(2)?.0,
        answer: row.try_get(3)?,
        settled_at: row.try_get(4)?,
    })
}

fn backlog(row: &Row) -> Result<Backlog, RowError> {
    Ok(Backlog {
        webhook: row.try_get(0)?,
        waiting: row.try_get::<Number<u64>>(1)?.0,
        since: row.try_get(2)?,
    })
}
