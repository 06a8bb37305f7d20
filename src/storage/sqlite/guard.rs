//! Rows of `purchases`, `refused_attempts` and `blocks`.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::tx::SqliteTx;
use crate::domain::budget::Charge;
use crate::domain::guard::{Block, Counts, Excess, Place, Scope, Sends, Standing, Windows};
use crate::domain::{ChallengeId, PhoneNumber, Timestamp};
use crate::storage::columns::units;
use crate::storage::guard::{
    CountryFigures, Horizons, Payment, Purchase, ReadGuard, Verifications, WriteGuard,
};
use crate::storage::maintenance::OLDEST;
use crate::storage::{PurgeHorizon, StoreError, StoreResult};

macro_rules! blocks {
    ($condition:literal) => {
        concat!(
            "SELECT scope, key, since, until, probe_at, times, rule, counted, allowed FROM blocks WHERE ",
            $condition
        )
    };
}

const BLOCKS_AT: &str = blocks!(
    "(scope = 'network' AND key = ?1) OR (scope = 'range' AND key = ?2) \
     OR (scope = 'country' AND key = ?3) OR (scope = 'world' AND key = '')"
);

const BLOCKS_AFTER: &str = blocks!("until > ?1 ORDER BY since, scope, key");

const COUNTS: &str = "SELECT known.n, known.longer, net.unconverted, net.converted, nums.unconverted, nums.converted, \
     land.burst - land.burst_converted, land.burst_converted, land.hour - land.hour_converted, land.hour_converted, \
     land.day - land.day_converted, land.day_converted, \
     world.burst - world.burst_converted, world.burst_converted, world.hour - world.hour_converted, world.hour_converted \
     FROM (SELECT count(*) AS n, count(*) FILTER (WHERE converted_at <= ?12) AS longer FROM \
         (SELECT converted_at FROM purchases WHERE network = ?1 AND at > ?4 AND at <= ?13 AND converted_at IS NOT NULL \
         ORDER BY at LIMIT 2) AS oldest) AS known, \
     (SELECT count(*) - count(converted_at) AS unconverted, count(converted_at) AS converted FROM purchases \
         WHERE network = ?1 AND at > ?5 AND at <= ?13 AND standing <> 'known') AS net, \
     (SELECT count(*) - count(converted_at) AS unconverted, count(converted_at) AS converted FROM purchases \
         WHERE range = ?2 AND at > ?6 AND at <= ?13 AND standing <> 'known') AS nums, \
     (SELECT count(*) FILTER (WHERE at > ?7) AS burst, \
         count(converted_at) FILTER (WHERE at > ?7) AS burst_converted, \
         count(*) FILTER (WHERE at > ?8) AS hour, count(converted_at) FILTER (WHERE at > ?8) AS hour_converted, \
         count(*) AS day, count(converted_at) AS day_converted FROM purchases \
         WHERE country = ?3 AND at > ?9 AND at <= ?13 AND standing = 'stranger') AS land, \
     (SELECT count(*) FILTER (WHERE at > ?10) AS burst, \
         count(converted_at) FILTER (WHERE at > ?10) AS burst_converted, \
         count(*) AS hour, count(converted_at) AS hour_converted FROM purchases \
         WHERE at > ?11 AND at <= ?13 AND standing = 'stranger') AS world";

const STRANGERS_OF: &str = "SELECT count(*) - count(converted_at), count(converted_at) FROM purchases \
     WHERE country = ?1 AND at > ?2 AND at <= ?3 AND standing = 'stranger'";

const STRANGERS: &str = "SELECT count(*) - count(converted_at), count(converted_at) FROM purchases \
     WHERE at > ?1 AND at <= ?2 AND standing = 'stranger'";

const LATEST_OF: &str =
    "SELECT max(at) FROM purchases WHERE country = ?1 AND at <= ?2 AND standing = 'stranger'";

const LATEST: &str = "SELECT max(at) FROM purchases WHERE at <= ?1 AND standing = 'stranger'";

const REFUSED: &str =
    "SELECT count(*) FROM refused_attempts WHERE scope = ?1 AND key = ?2 AND at > ?3 AND at <= ?4";

const VERIFICATIONS: &str = "SELECT country, converted_at / 300000, count(*) FROM purchases \
     WHERE converted_at > ?1 AND converted_at <= ?2 GROUP BY 1, 2";

const FIGURES: &str = "SELECT country, count(*), count(network), count(converted_at), \
     count(*) FILTER (WHERE EXISTS (SELECT 1 FROM messages \
         WHERE messages.challenge_id = purchases.challenge_id AND messages.state = 'delivered')), \
     sum(cost) FROM purchases WHERE at > ?1 GROUP BY country ORDER BY 2 DESC, 1";

const INSERT: &str = "INSERT INTO purchases (challenge_id, at, country, standing, network, range, cost, charges) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const DELETE: &str = "DELETE FROM purchases WHERE challenge_id = ?1 RETURNING charges";

const PAYMENT: &str = "SELECT standing, cost, charges FROM purchases WHERE challenge_id = ?1";

const UPDATE_PAYMENT: &str = "UPDATE purchases SET cost = ?2, charges = ?3 WHERE challenge_id = ?1";

const CONVERT: &str = "UPDATE purchases SET converted_at = ?2 \
     WHERE challenge_id = ?1 AND standing <> 'known' AND converted_at IS NULL";

const EXCUSE: &str =
    "UPDATE purchases SET standing = 'known' WHERE challenge_id = ?1 AND converted_at IS NULL";

const NOTE_REFUSED: &str = "INSERT INTO refused_attempts (scope, key, at) VALUES (?1, ?2, ?3)";

const REPLACE: &str = "INSERT INTO blocks (scope, key, since, until, probe_at, times, rule, counted, allowed) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (scope, key) DO UPDATE SET since = excluded.since, \
     until = excluded.until, probe_at = excluded.probe_at, times = excluded.times, rule = excluded.rule, \
     counted = excluded.counted, allowed = excluded.allowed \
     WHERE blocks.until = ?10 AND blocks.probe_at = ?11";

const FORGET: &str = "UPDATE purchases SET range = NULL \
     WHERE challenge_id IN (SELECT id FROM challenges WHERE phone = ?1)";

const FORGET_REFUSED: &str = "DELETE FROM refused_attempts WHERE scope = 'range' AND key = ?1";

const FORGET_BLOCK: &str = "DELETE FROM blocks WHERE scope = 'range' AND key = ?1 AND until <= ?2";

const END: &str = "UPDATE blocks SET until = ?3 WHERE scope = ?1 AND key = ?2 AND until > ?3";

const PURGE: &str = "DELETE FROM purchases WHERE challenge_id IN (SELECT challenge_id FROM (SELECT challenge_id, at \
     FROM purchases WHERE at <= ?3 ORDER BY challenge_id LIMIT ?4) AS oldest WHERE at <= ?1 LIMIT ?2)";

const PURGE_RANGES: &str = "UPDATE purchases SET range = NULL WHERE challenge_id IN \
     (SELECT challenge_id FROM purchases WHERE range IS NOT NULL AND at <= ?1 LIMIT ?2)";

const PURGE_REFUSED: &str = "DELETE FROM refused_attempts WHERE id IN (SELECT id FROM (SELECT id, at \
     FROM refused_attempts WHERE at <= ?3 ORDER BY id LIMIT ?4) AS oldest WHERE at <= ?1 LIMIT ?2)";

const PURGE_BLOCKS: &str = "DELETE FROM blocks WHERE until <= ?1";

impl ReadGuard for SqliteTx<'_> {
    fn blocks_at(&self, place: &Place) -> StoreResult<Vec<Block>> {
        let Place { network, range, country } = place;
        let at = params![network, range, country];
        self.run(|conn| conn.prepare_cached(BLOCKS_AT)?.query_map(at, block)?.collect())
    }

    fn blocks_after(&self, at: Timestamp) -> StoreResult<Vec<Block>> {
        self.run(|conn| conn.prepare_cached(BLOCKS_AFTER)?.query_map([at], block)?.collect())
    }

    fn payment(&self, challenge: ChallengeId) -> StoreResult<Option<Payment>> {
        let read = |row: &Row<'_>| {
            let cost = row.get::<_, i64>(1)?.unsigned_abs();
            Ok((row.get::<_, String>(0)?, cost, row.get::<_, String>(2)?))
        };
        let row = self.run(|conn| conn.prepare_cached(PAYMENT)?.query_row([challenge], read).optional())?;
        row.map(|(standing, cost, charges)| Payment::of_row(&standing, cost, &charges)).transpose()
    }

    fn guard_counts(&self, place: &Place, horizons: &Horizons) -> StoreResult<Counts> {
        let Place { network, range, country } = place;
        let [burst, hour, day] = horizons.country;
        let [world_burst, world_hour] = horizons.world;
        let of = params![
            network,
            range,
            country,
            horizons.known,
            horizons.network,
            horizons.range,
            burst,
            hour,
            day,
            world_burst,
            world_hour,
            horizons.known_longer,
            horizons.until
        ];
        self.run(|conn| conn.prepare_cached(COUNTS)?.query_row(of, counts))
    }

    fn sent_to_strangers(
        &self,
        country: Option<&str>,
        since: Timestamp,
        until: Timestamp,
    ) -> StoreResult<Sends> {
        self.run(|conn| match country {
            Some(country) => conn
                .prepare_cached(STRANGERS_OF)?
                .query_row(params![country, since, until], |row| sends(row, 0)),
            None => conn.prepare_cached(STRANGERS)?.query_row([since, until], |row| sends(row, 0)),
        })
    }

    fn latest_to_strangers(&self, country: Option<&str>, until: Timestamp) -> StoreResult<Option<Timestamp>> {
        self.run(|conn| match country {
            Some(country) => {
                conn.prepare_cached(LATEST_OF)?.query_row(params![country, until], |row| row.get(0))
            }
            None => conn.prepare_cached(LATEST)?.query_row([until], |row| row.get(0)),
        })
    }

    fn refused_attempts(
        &self,
        scope: Scope,
        key: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> StoreResult<u32> {
        self.run(|conn| {
            conn.prepare_cached(REFUSED)?.query_row(params![scope, key, since, until], |row| row.get(0))
        })
    }

    fn first_verifications(&self, since: Timestamp, until: Timestamp) -> StoreResult<Vec<Verifications>> {
        let read = |row: &Row<'_>| {
            Ok(Verifications { country: row.get(0)?, bucket: row.get(1)?, count: row.get(2)? })
        };
        self.run(|conn| conn.prepare_cached(VERIFICATIONS)?.query_map([since, until], read)?.collect())
    }

    fn figures_by_country(&self, since: Timestamp) -> StoreResult<Vec<CountryFigures>> {
        let read = |row: &Row<'_>| {
            let number = |column| Ok::<_, rusqlite::Error>(row.get::<_, i64>(column)?.unsigned_abs());
            Ok(CountryFigures {
                country: row.get(0)?,
                sent: number(1)?,
                new: number(2)?,
                converted: number(3)?,
                delivered: number(4)?,
                cost: number(5)?,
            })
        };
        self.run(|conn| conn.prepare_cached(FIGURES)?.query_map([since], read)?.collect())
    }
}

impl WriteGuard for SqliteTx<'_> {
    fn insert_purchase(&mut self, purchase: &Purchase) -> StoreResult<()> {
        let Purchase { challenge, at, place, standing, cost, charges } = purchase;
        let is_new = *standing != Standing::Known;
        let (network, range) = (is_new.then_some(&place.network), is_new.then_some(&place.range));
        let charges = Charge::row(charges);
        let values =
            params![challenge, at, place.country, standing.as_str(), network, range, units(*cost), charges];
        self.run(|conn| conn.prepare_cached(INSERT)?.execute(values).map(drop))
    }

    fn delete_purchase(&mut self, challenge: ChallengeId) -> StoreResult<Vec<Charge>> {
        let row: Option<String> = self
            .run(|conn| conn.prepare_cached(DELETE)?.query_row([challenge], |row| row.get(0)).optional())?;
        Charge::parse_row(&row.unwrap_or_default()).ok_or(StoreError::Broken)
    }

    fn update_payment(&mut self, challenge: ChallengeId, payment: &Payment) -> StoreResult<()> {
        let values = params![challenge, units(payment.cost), Charge::row(&payment.charges)];
        self.run(|conn| conn.prepare_cached(UPDATE_PAYMENT)?.execute(values).map(drop))
    }

    fn convert(&mut self, used: ChallengeId, all: &[ChallengeId], at: Timestamp) -> StoreResult<()> {
        self.run(|conn| {
            if conn.prepare_cached(CONVERT)?.execute(params![used, at])? == 0 {
                return Ok(());
            }
            let mut excuse = conn.prepare_cached(EXCUSE)?;
            for code in all {
                excuse.execute([code])?;
            }
            Ok(())
        })
    }

    fn note_refused_attempt(&mut self, scope: Scope, key: &str, at: Timestamp) -> StoreResult<()> {
        self.run(|conn| conn.prepare_cached(NOTE_REFUSED)?.execute(params![scope, key, at]).map(drop))
    }

    fn replace_block(&mut self, before: Option<&Block>, new: &Block) -> StoreResult<bool> {
        let Block { scope, key, since, until, probe_at, times, excess } = new;
        let Excess { rule, counted, allowed } = excess;
        let (old_until, old_probe) = (before.map(|old| old.until), before.map(|old| old.probe_at));
        let values =
            params![scope, key, since, until, probe_at, times, rule, counted, allowed, old_until, old_probe];
        self.run(|conn| Ok(conn.prepare_cached(REPLACE)?.execute(values)? > 0))
    }

    fn forget_ranges_of(&mut self, phone: &PhoneNumber, at: Timestamp) -> StoreResult<()> {
        let range = Place::range_of(phone);
        self.run(|conn| {
            conn.prepare_cached(FORGET)?.execute([phone])?;
            conn.prepare_cached(FORGET_REFUSED)?.execute([range])?;
            conn.prepare_cached(FORGET_BLOCK)?.execute(params![range, at]).map(drop)
        })
    }

    fn end_block(&mut self, scope: Scope, key: &str, at: Timestamp) -> StoreResult<bool> {
        self.run(|conn| Ok(conn.prepare_cached(END)?.execute(params![scope, key, at])? > 0))
    }
}

/// Deletes at most `limit` of those bought at `before` or earlier, the oldest; gives how many.
pub(super) fn purge(conn: &Connection, horizon: &PurgeHorizon, limit: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(PURGE)?.execute(params![horizon.purchases, limit, horizon.now, OLDEST])
}

/// Forgets what only a day needs; gives how many rows of one kind there were at most.
pub(super) fn purge_day(conn: &Connection, horizon: &PurgeHorizon, limit: i64) -> rusqlite::Result<usize> {
    let before = horizon.guard;
    conn.prepare_cached(PURGE_BLOCKS)?.execute([before])?;
    let ranges = conn.prepare_cached(PURGE_RANGES)?.execute(params![before, limit])?;
    let attempts =
        conn.prepare_cached(PURGE_REFUSED)?.execute(params![before, limit, horizon.now, OLDEST])?;
    Ok(ranges.max(attempts))
}

fn sends(row: &Row<'_>, first: usize) -> rusqlite::Result<Sends> {
    Ok(Sends { unconverted: row.get(first)?, converted: row.get(first + 1)? })
}

fn counts(row: &Row<'_>) -> rusqlite::Result<Counts> {
    Ok(Counts {
        known: row.get(0)?,
        known_longer: row.get(1)?,
        network: sends(row, 2)?,
        range: sends(row, 4)?,
        country: Windows { burst: sends(row, 6)?, hour: sends(row, 8)? },
        country_day: sends(row, 10)?,
        world: Windows { burst: sends(row, 12)?, hour: sends(row, 14)? },
        ..Counts::default()
    })
}

fn block(row: &Row<'_>) -> rusqlite::Result<Block> {
    Ok(Block {
        scope: row.get(0)?,
        key: row.get(1)?,
        since: row.get(2)?,
        until: row.get(3)?,
        probe_at: row.get(4)?,
        times: row.get(5)?,
        excess: Excess { rule: row.get(6)?, counted: row.get(7)?, allowed: row.get(8)? },
    })
}
