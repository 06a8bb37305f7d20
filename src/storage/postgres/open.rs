//! Opening a database: what may stand in its schema, and what a person is told if it will not do.

use std::thread;

use super::connect::Connector;
use super::connection::Connection;
use super::fault::Failure;
use super::migrate::{self, MIGRATIONS};
use super::open_error::PostgresError;
use super::reader::BEGIN;
use super::settings::PostgresSettings;
use super::tx::{PostgresTx, first};
use crate::domain::Secret;
use crate::storage::users::{FirstId, ReadUsers as _, WriteUsers as _};
use crate::storage::{StoreError, StoreResult, View};

/// What is opened, and how.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Where.
    pub settings: PostgresSettings,
    /// From where new users' ids count.
    pub first_id: FirstId,
    /// Sessions in memory, and as many users; with none every session is read from the database, and nobody listens.
    pub principals: u64,
    /// Whether the schema is made or brought up to date, or refused.
    pub migrate: bool,
}

/// What a look at the schema found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkup {
    /// Its version; 0 where there is none yet.
    pub schema: i64,
    /// The version that this program writes.
    pub known: i64,
}

impl Checkup {
    /// Why a schema of an earlier version will not do.
    pub fn older(&self, settings: &PostgresSettings) -> PostgresError {
        let (place, schema) = (settings.to_string(), settings.schema.clone());
        PostgresError::Older { place, schema, found: self.schema, known: self.known }
    }
}

/// Puts everything in place, and gives the way to more connections.
pub(super) fn open(options: &PostgresOptions) -> Result<Connector, PostgresError> {
    on_a_thread(&options.settings, |conn, connector| {
        migrate::run(conn, &options.settings, MIGRATIONS, options.migrate)?;
        start_ids_at(conn, options)?;
        Ok(connector.clone())
    })
}

/// Looks which schema there is; changes nothing.
///
/// # Errors
/// [`PostgresError`], in words for the operator.
pub fn check(settings: &PostgresSettings) -> Result<Checkup, PostgresError> {
    let known = MIGRATIONS.last().map_or(0, |last| last.version);
    on_a_thread(settings, |conn, _| {
        let reached = migrate::look(conn, settings, known)?;
        Ok(Checkup { schema: reached.version, known })
    })
}

/// Reads on a snapshot, beside whoever uses the database.
///
/// # Errors
/// [`PostgresError`] where it cannot be read at all.
pub fn look<T: Send>(
    settings: &PostgresSettings,
    read: impl FnOnce(&dyn View) -> StoreResult<T> + Send,
) -> Result<StoreResult<T>, PostgresError> {
    on_a_thread(settings, |conn, _| {
        migrate::run(conn, settings, MIGRATIONS, false)?;
        conn.batch(BEGIN).map_err(|failure| told(settings, &failure))?;
        Ok(read(&PostgresTx::new(conn)))
    })
}

/// The secret that debug keeps in the database; `fresh` becomes it where there is none.
///
/// # Errors
/// [`PostgresError`], in words for the operator.
pub fn dev_secret(settings: &PostgresSettings, fresh: Option<&str>) -> Result<Option<Secret>, PostgresError> {
    const KEEP: &str = "INSERT INTO dev_secret VALUES (1, $1) ON CONFLICT DO NOTHING";
    const READ: &str = "SELECT secret FROM dev_secret";
    on_a_thread(settings, |conn, _| {
        let kept =
            fresh.map_or(Ok(0), |fresh| conn.execute(KEEP, &[&fresh])).and_then(|_| conn.rows(READ, &[]));
        let rows = kept.map_err(|failure| told(settings, &failure))?;
        let secret = rows.first().map(first::<String>).transpose();
        let secret = secret.map_err(|error| told(settings, &Failure::Row(error)))?;
        Ok(secret.map(Secret::new))
    })
}

/// A connection, and the way to more.
pub(super) fn connect(settings: &PostgresSettings) -> Result<(Connection, Connector), PostgresError> {
    let unfit = |reason| PostgresError::Tls { place: settings.to_string(), reason };
    let connector = Connector::new(settings).map_err(unfit)?;
    let conn = connector.connect().map_err(|refused| PostgresError::of_connection(settings, refused))?;
    Ok((conn, connector))
}

/// On a thread of its own, since a connection waits and the caller may be a task.
pub(super) fn on_a_thread<T: Send>(
    settings: &PostgresSettings,
    act: impl FnOnce(&Connection, &Connector) -> Result<T, PostgresError> + Send,
) -> Result<T, PostgresError> {
    let act = || {
        let (conn, connector) = connect(settings)?;
        act(&conn, &connector)
    };
    thread::scope(|scope| scope.spawn(act).join()).unwrap_or_else(|_| {
        Err(PostgresError::Failed { place: settings.to_string(), reason: "a thread ended".to_owned() })
    })
}

/// Raises the number from which users' ids are counted; it never goes back.
fn start_ids_at(conn: &Connection, options: &PostgresOptions) -> Result<(), PostgresError> {
    let settings = &options.settings;
    let uncounted = |error: StoreError| PostgresError::Failed {
        place: settings.to_string(),
        reason: format!("the ids of users cannot be counted from users.first_id: {error}"),
    };
    let mut tx = PostgresTx::new(conn);
    let reached = tx.last_user_id().map_err(uncounted)?;
    let Some(before) = options.first_id.raise_to(reached) else { return Ok(()) };
    conn.batch("BEGIN").map_err(|failure| told(settings, &failure))?;
    let raised = tx.raise_user_ids(before).and_then(|()| tx.raise_ids()).map_err(uncounted);
    let ended = conn.batch(if raised.is_ok() { "COMMIT" } else { "ROLLBACK" });
    raised.and(ended.map_err(|failure| told(settings, &failure)))
}

pub(super) fn told(settings: &PostgresSettings, failure: &Failure) -> PostgresError {
    PostgresError::of_statement(settings, failure)
}
