//! Rows of `purchases`, `refused_attempts` and `blocks`.

use super::columns::Number;
use super::row::{Row, RowError};
use super::tx::{PostgresTx, first};
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
    "(scope = 'network' AND key = $1) OR (scope = 'range' AND key = $2) \
     OR (scope = 'country' AND key = $3) OR (scope = 'world' AND key = '')"
);

const BLOCKS_AFTER: &str = blocks!("until > $1 ORDER BY since, scope, key");

const COUNTS: &str = "SELECT known.n, known.longer, net.unconverted, net.converted, nums.unconverted, nums.converted, \
     land.burst - land.burst_converted, land.burst_converted, land.hour - land.hour_converted, land.hour_converted, \
     land.day - land.day_converted, land.day_converted, \
     world.burst - world.burst_converted, world.burst_converted, world.hour - world.hour_converted, world.hour_converted \
     FROM (SELECT count(*) AS n, count(*) FILTER (WHERE converted_at <= $12) AS longer FROM \
         (SELECT converted_at FROM purchases WHERE network = $1 AND at > $4 AND at <= $13 AND converted_at IS NOT NULL \
         ORDER BY at LIMIT 2) AS oldest) AS known, \
     (SELECT count(*) - count(converted_at) AS unconverted, count(converted_at) AS converted FROM purchases \
         WHERE network = $1 AND at > $5 AND at <= $13 AND standing <> 'known') AS net, \
     (SELECT count(*) - count(converted_at) AS unconverted, count(converted_at) AS converted FROM purchases \
         WHERE range = $2 AND at > $6 AND at <= $13 AND standing <> 'known') AS nums, \
     (SELECT count(*) FILTER (WHERE at > $7) AS burst, \
         count(converted_at) FILTER (WHERE at > $7) AS burst_converted, \
         count(*) FILTER (WHERE at > $8) AS hour, count(converted_at) FILTER (WHERE at > $8) AS hour_converted, \
         count(*) AS day, count(converted_at) AS day_converted FROM purchases \
         WHERE country = $3 AND at > $9 AND at <= $13 AND standing = 'stranger') AS land, \
     (SELECT count(*) FILTER (WHERE at > $10) AS burst, \
         count(converted_at) FILTER (WHERE at > $10) AS burst_converted, \
         count(*) AS hour, count(converted_at) AS hour_converted FROM purchases \
         WHERE at > $11 AND at <= $13 AND standing = 'stranger') AS world";

const STRANGERS_OF: &str = "SELECT count(*) - count(converted_at), count(converted_at) FROM purchases \
     WHERE country = $1 AND at > $2 AND at <= $3 AND standing = 'stranger'";

const STRANGERS: &str = "SELECT count(*) - count(converted_at), count(converted_at) FROM purchases \
     WHERE at > $1 AND at <= $2 AND standing = 'stranger'";

const LATEST_OF: &str =
    "SELECT max(at) FROM purchases WHERE country = $1 AND at <= $2 AND standing = 'stranger'";

const LATEST: &str = "SELECT max(at) FROM purchases WHERE at <= $1 AND standing = 'stranger'";

const REFUSED: &str =
    "SELECT count(*) FROM refused_attempts WHERE scope = $1 AND key = $2 AND at > $3 AND at <= $4";

const VERIFICATIONS: &str = "SELECT country, converted_at / 300000, count(*) FROM purchases \
     WHERE converted_at > $1 AND converted_at <= $2 GROUP BY 1, 2";

const FIGURES: &str = "SELECT country, count(*), count(network), count(converted_at), \
     count(*) FILTER (WHERE EXISTS (SELECT 1 FROM messages \
         WHERE messages.challenge_id = purchases.challenge_id AND messages.state = 'delivered')), \
     CAST(sum(cost) AS BIGINT) FROM purchases WHERE at > $1 GROUP BY country ORDER BY 2 DESC, 1";

const INSERT: &str = "INSERT INTO purchases (challenge_id, at, country, standing, network, range, cost, charges) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const DELETE: &str = "DELETE FROM purchases WHERE challenge_id = $1 RETURNING charges";

const PAYMENT: &str = "SELECT standing, cost, charges FROM purchases WHERE challenge_id = $1";

const UPDATE_PAYMENT: &str = "UPDATE purchases SET cost = $2, charges = $3 WHERE challenge_id = $1";

/// The others count as known where the first one is noted.
const CONVERT: &str = "UPDATE purchases SET converted_at = CASE WHEN challenge_id = $1 THEN $2::BIGINT END, \
     standing = CASE WHEN challenge_id = $1 THEN standing ELSE 'known' END \
     WHERE challenge_id = ANY ($3::BIGINT[]) AND converted_at IS NULL AND EXISTS (SELECT FROM purchases AS first \
     WHERE first.challenge_id = $1 AND first.standing <> 'known' AND first.converted_at IS NULL)";

const NOTE_REFUSED: &str = "INSERT INTO refused_attempts (scope, key, at) VALUES ($1, $2, $3)";

const REPLACE: &str = "INSERT INTO blocks (scope, key, since, until, probe_at, times, rule, counted, allowed) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (scope, key) DO UPDATE SET since = excluded.since, \
     until = excluded.until, probe_at = excluded.probe_at, times = excluded.times, rule = excluded.rule, \
     counted = excluded.counted, allowed = excluded.allowed \
     WHERE blocks.until = $10 AND blocks.probe_at = $11";

const FORGET: &str = "UPDATE purchases SET range = NULL \
     WHERE challenge_id IN (SELECT id FROM challenges WHERE phone = $1)";

const FORGET_REFUSED: &str = "DELETE FROM refused_attempts WHERE scope = 'range' AND key = $1";

const FORGET_BLOCK: &str = "DELETE FROM blocks WHERE scope = 'range' AND key = $1 AND until <= $2";

const END: &str = "UPDATE blocks SET until = $3 WHERE scope = $1 AND key = $2 AND until > $3";

const PURGE: &str = "DELETE FROM purchases WHERE challenge_id IN (SELECT challenge_id FROM (SELECT challenge_id, at \
     FROM purchases WHERE at <= $3 ORDER BY challenge_id LIMIT $4) AS oldest WHERE at <= $1 LIMIT $2)";

const PURGE_RANGES: &str = "UPDATE purchases SET range = NULL WHERE challenge_id IN \
     (SELECT challenge_id FROM purchases WHERE range IS NOT NULL AND at <= $1 LIMIT $2)";

const PURGE_REFUSED: &str = "DELETE FROM refused_attempts WHERE id IN (SELECT id FROM (SELECT id, at \
     FROM refused_attempts WHERE at <= $3 ORDER BY id LIMIT $4) AS oldest WHERE at <= $1 LIMIT $2)";

const PURGE_BLOCKS: &str = "DELETE FROM blocks WHERE until <= $1";

impl ReadGuard for PostgresTx<'_> {
    fn blocks_at(&self, place: &Place) -> StoreResult<Vec<Block>> {
        self.rows(BLOCKS_AT, &[&place.network, &place.range, &place.country], block)
    }

    fn blocks_after(&self, at: Timestamp) -> StoreResult<Vec<Block>> {
        self.rows(BLOCKS_AFTER, &[&at], block)
    }

    fn payment(&self, challenge: ChallengeId) -> StoreResult<Option<Payment>> {
        let read = |row: &Row| -> Result<(String, i64, String), RowError> {
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))
        };
        let row = self.row(PAYMENT, &[&challenge], read)?;
        row.map(|(standing, cost, charges)| Payment::of_row(&standing, cost.unsigned_abs(), &charges))
            .transpose()
    }

    fn guard_counts(&self, place: &Place, horizons: &Horizons) -> StoreResult<Counts> {
        let Place { network, range, country } = place;
        let [burst, hour, day] = &horizons.country;
        let [world_burst, world_hour] = &horizons.world;
        let counted = self.row(
            COUNTS,
            &[
                network,
                range,
                country,
                &horizons.known,
                &horizons.network,
                &horizons.range,
                burst,
                hour,
                day,
                world_burst,
                world_hour,
                &horizons.known_longer,
                &horizons.until,
            ],
            counts,
        )?;
        counted.ok_or(StoreError::Broken)
    }

    fn sent_to_strangers(
        &self,
        country: Option<&str>,
        since: Timestamp,
        until: Timestamp,
    ) -> StoreResult<Sends> {
        let read = |row: &Row| sends(row, 0);
        let sent = match country {
            Some(country) => self.row(STRANGERS_OF, &[&country, &since, &until], read)?,
            None => self.row(STRANGERS, &[&since, &until], read)?,
        };
        sent.ok_or(StoreError::Broken)
    }

    fn latest_to_strangers(&self, country: Option<&str>, until: Timestamp) -> StoreResult<Option<Timestamp>> {
        let latest = match country {
            Some(country) => self.row(LATEST_OF, &[&country, &until], first::<Option<Timestamp>>)?,
            None => self.row(LATEST, &[&until], first::<Option<Timestamp>>)?,
        };
        Ok(latest.flatten())
    }

    fn refused_attempts(
        &self,
        scope: Scope,
        key: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> StoreResult<u32> {
        let refused = self.row(REFUSED, &[&scope, &key, &since, &until], first::<Number<u32>>)?;
        Ok(refused.map(|refused| refused.0).unwrap_or_default())
    }

    fn first_verifications(&self, since: Timestamp, until: Timestamp) -> StoreResult<Vec<Verifications>> {
        let read = |row: &Row| -> Result<_, RowError> {
            let count: Number<u32> = row.try_get(2)?;
            Ok(Verifications { country: row.try_get(0)?, bucket: row.try_get(1)?, count: count.0 })
        };
        self.rows(VERIFICATIONS, &[&since, &until], read)
    }

    fn figures_by_country(&self, since: Timestamp) -> StoreResult<Vec<CountryFigures>> {
        let read = |row: &Row| -> Result<_, RowError> {
            let number = |column| -> Result<u64, RowError> { Ok(row.try_get::<i64>(column)?.unsigned_abs()) };
            Ok(CountryFigures {
                country: row.try_get(0)?,
                sent: number(1)?,
                new: number(2)?,
                converted: number(3)?,
                delivered: number(4)?,
                cost: number(5)?,
            })
        };
        self.rows(FIGURES, &[&since], read)
    }
}

impl WriteGuard for PostgresTx<'_> {
    fn insert_purchase(&mut self, purchase: &Purchase) -> StoreResult<()> {
        let Purchase { challenge, at, place, standing, cost, charges } = purchase;
        let is_new = *standing != Standing::Known;
        let (network, range) = (is_new.then_some(&place.network), is_new.then_some(&place.range));
        let (standing, cost, charges) = (standing.as_str(), units(*cost), Charge::row(charges));
        self.append(INSERT, &[challenge, at, &place.country, &standing, &network, &range, &cost, &charges])
    }

    fn delete_purchase(&mut self, challenge: ChallengeId) -> StoreResult<Vec<Charge>> {
        let rows = self.returning(DELETE, &[&challenge], first::<String>)?;
        Charge::parse_row(rows.first().map_or("", String::as_str)).ok_or(StoreError::Broken)
    }

    fn update_payment(&mut self, challenge: ChallengeId, payment: &Payment) -> StoreResult<()> {
        let (cost, charges) = (units(payment.cost), Charge::row(&payment.charges));
        self.append(UPDATE_PAYMENT, &[&challenge, &cost, &charges])
    }

    fn convert(&mut self, used: ChallengeId, all: &[ChallengeId], at: Timestamp) -> StoreResult<()> {
        let all: Vec<_> = all.iter().chain(&[used]).copied().collect();
        self.append(CONVERT, &[&used, &at, &all])
    }

    fn note_refused_attempt(&mut self, scope: Scope, key: &str, at: Timestamp) -> StoreResult<()> {
        self.append(NOTE_REFUSED, &[&scope, &key, &at])
    }

    fn replace_block(&mut self, before: Option<&Block>, new: &Block) -> StoreResult<bool> {
        let Block { scope, key, since, until, probe_at, times, excess } = new;
        let Excess { rule, counted, allowed } = excess;
        let (times, counted, allowed) = (Number(*times), Number(*counted), Number(*allowed));
        let (old_until, old_probe) = (before.map(|old| old.until), before.map(|old| old.probe_at));
        let replaced = self.write(
            REPLACE,
            &[scope, key, since, until, probe_at, &times, rule, &counted, &allowed, &old_until, &old_probe],
        )?;
        Ok(replaced > 0)
    }

    fn forget_ranges_of(&mut self, phone: &PhoneNumber, at: Timestamp) -> StoreResult<()> {
        let range = Place::range_of(phone);
        self.write(FORGET, &[phone])?;
        self.write(FORGET_REFUSED, &[&range])?;
        self.write(FORGET_BLOCK, &[&range, &at]).map(drop)
    }

    fn end_block(&mut self, scope: Scope, key: &str, at: Timestamp) -> StoreResult<bool> {
        Ok(self.write(END, &[&scope, &key, &at])? > 0)
    }
}

impl PostgresTx<'_> {
    /// Deletes at most `limit` messages bought at `before` or earlier, the oldest; gives how many.
    pub(super) fn purge_purchases(&self, horizon: &PurgeHorizon, limit: i64) -> StoreResult<usize> {
        self.write(PURGE, &[&horizon.purchases, &limit, &horizon.now, &OLDEST])
    }

    /// Forgets what the guard needs for a day alone; gives how many rows of one kind there were at most.
    pub(super) fn purge_guard_day(&self, horizon: &PurgeHorizon, limit: i64) -> StoreResult<usize> {
        let before = horizon.guard;
        self.write(PURGE_BLOCKS, &[&before])?;
        let ranges = self.write(PURGE_RANGES, &[&before, &limit])?;
        Ok(ranges.max(self.write(PURGE_REFUSED, &[&before, &limit, &horizon.now, &OLDEST])?))
    }
}

fn number(row: &Row, column: usize) -> Result<u32, RowError> {
    Ok(row.try_get::<Number<u32>>(column)?.0)
}

fn sends(row: &Row, first: usize) -> Result<Sends, RowError> {
    Ok(Sends { unconverted: number(row, first)?, converted: number(row, first + 1)? })
}

fn counts(row: &Row) -> Result<Counts, RowError> {
    Ok(Counts {
        known: number(row, 0)?,
        known_longer: number(row, 1)?,
        network: sends(row, 2)?,
        range: sends(row, 4)?,
        country: Windows { burst: sends(row, 6)?, hour: sends(row, 8)? },
        country_day: sends(row, 10)?,
        world: Windows { burst: sends(row, 12)?, hour: sends(row, 14)? },
        ..Counts::default()
    })
}

fn block(row: &Row) -> Result<Block, RowError> {
    Ok(Block {
        scope: row.try_get(0)?,
        key: row.try_get(1)?,
        since: row.try_get(2)?,
        until: row.try_get(3)?,
        probe_at: row.try_get(4)?,
        times: number(row, 5)?,
        excess: Excess { rule: row.try_get(6)?, counted: number(row, 7)?, allowed: number(row, 8)? },
    })
}
