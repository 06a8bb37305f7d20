//! The schema: made where there is none, brought up to date, or refused.
//!
//! A step expands: a server of the version before goes on beside it. What contracts comes a version later, so each step
//! says the oldest version of the schema whose binary stands it.

use std::thread;
use std::time::Duration;

use super::connection::Connection;
use super::fault::{Failure, INSUFFICIENT_PRIVILEGE};
use super::open_error::PostgresError;
use super::settings::PostgresSettings;

/// One step.
#[derive(Debug)]
pub(super) struct Migration {
    /// The version that it leads to: one more than the step before.
    pub(super) version: i64,
    /// A binary that knows this version, or a later one, stands the schema after the step.
    pub(super) stands: i64,
    /// What it does.
    pub(super) sql: &'static str,
}

/// All steps from the first schema on.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, stands: 1, sql: include_str!("migrations/1.sql") },
    Migration { version: 2, stands: 1, sql: include_str!("migrations/2.sql") },
    Migration { version: 3, stands: 1, sql: include_str!("migrations/3.sql") },
    Migration { version: 4, stands: 1, sql: include_str!("migrations/4.sql") },
];

const STEPS: &str = "CREATE TABLE freshk_schema (version BIGINT PRIMARY KEY, stands BIGINT NOT NULL, \
     applied_at TIMESTAMPTZ NOT NULL DEFAULT now())";

const HAS_SCHEMA: &str = "SELECT 1 FROM pg_namespace WHERE nspname = $1";

const TABLES: &str = "SELECT relname = 'freshk_schema' FROM pg_class AS c \
     JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE nspname = $1 AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')";

const REACHED: &str = "SELECT max(version), max(stands) FROM freshk_schema";

const REACH: &str = "INSERT INTO freshk_schema (version, stands) VALUES ($1, $2)";

/// How long another process may change the schema, and how often that is asked.
const LOOKS: u32 = 150;
/// The state of a statement that has waited `lock_timeout` for a table.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// No step takes longer.
const STEP: Duration = Duration::from_hours(24);

/// What stands in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// Its version; 0 where there is none.
    pub(super) version: i64,
    /// The oldest version whose binary stands it.
    pub(super) stands: i64,
}

/// Brings the schema up to date where `may_change` says so, and refuses one that will not do; gives what was before.
pub(super) fn run(
    conn: &Connection,
    settings: &PostgresSettings,
    migrations: &[Migration],
    may_change: bool,
) -> Result<Reached, PostgresError> {
    let told = |failure: Failure| PostgresError::of_statement(settings, &failure);
    let (place, schema) = (settings.to_string(), settings.schema.clone());
    let known = migrations.last().map_or(0, |last| last.version);
    let reached = look(conn, settings, known)?;
    if reached.version >= known {
        return Ok(reached);
    }
    if !may_change {
        return Err(PostgresError::Older { place, schema, found: reached.version, known });
    }
    let key = conn.keys().schema();
    lock(conn, settings, key)?;
    // A step on large tables takes its time.
    conn.wait_at_most(STEP).map_err(told)?;
    let changed = change(conn, settings, migrations);
    let unlocked = conn.unlock(key).map_err(told);
    changed.and(unlocked)?;
    Ok(reached)
}

/// What stands in the schema; refused where it is not ours, or a binary that knows the version `known` does not stand it.
pub(super) fn look(
    conn: &Connection,
    settings: &PostgresSettings,
    known: i64,
) -> Result<Reached, PostgresError> {
    let told = |failure: Failure| PostgresError::of_statement(settings, &failure);
    let tables = conn.rows(TABLES, &[&settings.schema]).map_err(told)?;
    if tables.is_empty() {
        return Ok(Reached { version: 0, stands: 0 });
    }
    let (place, schema) = (settings.to_string(), settings.schema.clone());
    let ours = tables.iter().any(|row| row.try_get(0).unwrap_or(false));
    if !ours {
        return Err(PostgresError::Foreign { place, schema });
    }
    let rows = conn.rows(REACHED, &[]).map_err(told)?;
    let number = |at: usize| {
        rows.first().and_then(|row| row.try_get::<Option<i64>>(at).ok().flatten()).unwrap_or_default()
    };
    let reached = Reached { version: number(0), stands: number(1) };
    if reached.stands > known {
        return Err(PostgresError::Newer { place, schema, found: reached.version, known });
    }
    Ok(reached)
}

/// Tries for the lock, and never waits for it in the server: a statement that waits keeps others from building an index.
pub(super) fn lock(conn: &Connection, settings: &PostgresSettings, key: i64) -> Result<(), PostgresError> {
    for _ in 0..LOOKS {
        let locked = conn.try_lock(key).map_err(|failure| PostgresError::of_statement(settings, &failure))?;
        if locked {
            return Ok(());
        }
        thread::sleep(LOOK_AGAIN);
    }
    Err(PostgresError::Migrating { place: settings.to_string(), schema: settings.schema.clone() })
}

/// Takes the steps that are missing, each in a transaction. If one fails it is undone, and those before it stand.
fn change(
    conn: &Connection,
    settings: &PostgresSettings,
    migrations: &[Migration],
) -> Result<(), PostgresError> {
    let told = |failure: Failure| PostgresError::of_statement(settings, &failure);
    let known = migrations.last().map_or(0, |last| last.version);
    // Another process may have been faster.
    let reached = look(conn, settings, known)?;
    if reached.version == 0 {
        create(conn, settings)?;
    }
    for step in migrations.iter().filter(|step| step.version > reached.version) {
        let mut looks = 0;
        while let Err(failure) = take(conn, step) {
            drop(conn.batch("ROLLBACK"));
            looks += 1;
            // Somebody reads a table of ours, as `pg_dump` does.
            if failure.state() != Some(LOCK_NOT_AVAILABLE) || looks >= LOOKS {
                return Err(told(failure));
            }
            thread::sleep(LOOK_AGAIN);
        }
        tracing::info!(schema = step.version, "the schema was brought up to date");
    }
    Ok(())
}

/// Takes a step. It waits a moment for a table that somebody reads, since whoever wants the table then waits behind it.
fn take(conn: &Connection, step: &Migration) -> Result<(), Failure> {
    conn.batch("BEGIN")?;
    conn.batch("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '200ms'")?;
    if step.version == 1 {
        conn.batch(STEPS)?;
    }
    conn.batch(step.sql)?;
    conn.execute(REACH, &[&step.version, &step.stands])?;
    conn.batch("COMMIT")
}

fn create(conn: &Connection, settings: &PostgresSettings) -> Result<(), PostgresError> {
    let told = |failure: Failure| PostgresError::of_statement(settings, &failure);
    let schema = &settings.schema;
    if !conn.rows(HAS_SCHEMA, &[schema]).map_err(told)?.is_empty() {
        return Ok(());
    }
    // A name of the configuration's own alphabet, which needs no quotes.
    conn.batch(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).map_err(|failure| match failure.state() {
        Some(INSUFFICIENT_PRIVILEGE) => PostgresError::MayNotCreate {
            place: settings.to_string(),
            schema: schema.clone(),
            user: settings.user.clone(),
        },
        _ => told(failure),
    })
}
