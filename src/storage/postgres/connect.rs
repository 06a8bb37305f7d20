//! How a connection to the server is opened, and what it is asked to be.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postgres_types::ToSql;

use super::connection::{Connection, Params};
use super::fault::Failure;
use super::keys::Keys;
use super::login::{NotIn, log_in};
use super::settings::PostgresSettings;
use super::tls::Tls;
use super::wire::{NoWay, Wire};

/// How long connecting may take: a server that is not there is told within five seconds.
const CONNECT: Duration = Duration::from_secs(4);

/// How long a statement may take before its connection is given up. The server gives up first, if it is alive.
const PATIENCE: Duration = Duration::from_secs(12);

/// Startup options. Plans made while the tables are empty must not stay; a transaction never lasts beyond ten seconds.
const OPTIONS: &[(&str, &str)] = &[
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("statement_timeout", "8s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10s"),
];

/// What to do about a pooler.
pub(super) const NO_POOLER: &str =
    "name the server itself, or a pool in session mode that passes `options` on";

/// The oldest server that will do.
const OLDEST: i32 = 13;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Refused {
    /// The server cannot be reached, or refuses.
    Server(Failure),
    /// TLS did not come about.
    Tls(String),
    /// What is at the other end will not do.
    Unfit {
        /// What is wrong.
        problem: String,
        /// What to do.
        help: String,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(failure) => failure.fmt(f),
            Self::Tls(problem) | Self::Unfit { problem, .. } => f.write_str(problem),
        }
    }
}

/// How to connect; cheap to hand to every thread.
#[derive(Clone)]
pub(super) struct Connector {
    settings: Arc<PostgresSettings>,
    tls: Tls,
    options: String,
    keys: Keys,
}

impl Connector {
    /// As the settings ask.
    ///
    /// # Errors
    /// What is wrong with the file of authorities.
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, String> {
        let mut options = format!("-c search_path={}", settings.schema);
        for (name, value) in OPTIONS {
            options = format!("{options} -c {name}={value}");
        }
        Ok(Self {
            tls: Tls::new(settings)?,
            keys: Keys::new(&settings.schema),
            settings: Arc::new(settings.clone()),
            options,
        })
    }

    /// The numbers of our locks.
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Refused`]
    pub(super) fn connect(&self) -> Result<Connection, Refused> {
        let mut wire = Wire::open(&self.settings, &self.tls, CONNECT).map_err(|no_way| match no_way {
            NoWay::Unreachable(failure) => Refused::Server(failure),
            NoWay::Tls(reason) => Refused::Tls(reason),
        })?;
        log_in(&mut wire, &self.settings, &self.options).map_err(|not_in| match not_in {
            NotIn::Failed(failure) => Refused::Server(failure),
            NotIn::Unfit { problem, help } => Refused::Unfit { problem, help: help.to_owned() },
        })?;
        let connection = Connection::new(wire, self.keys.clone());
        connection.wait_at_most(PATIENCE).map_err(Refused::Server)?;
        judge(&connection)?;
        Ok(connection)
    }
}

/// Refuses a server that will not do.
fn judge(connection: &Connection) -> Result<(), Refused> {
    // One that a server does not know is NULL, so that the version is judged first.
    const SETTING: &str = "SELECT current_setting($1, true)";
    const OURS: [&str; 4] = ["server_version_num", "server_version", "server_encoding", "synchronous_commit"];
    let names: Vec<&str> = OURS.into_iter().chain(OPTIONS.iter().map(|(name, _)| *name)).collect();
    let params: Vec<[&(dyn ToSql + Sync); 1]> =
        names.iter().map(|name| -> [&(dyn ToSql + Sync); 1] { [name] }).collect();
    let params: Vec<Params<'_>> = params.iter().map(|one| &one[..]).collect();
    let rows = connection.rows_of_all(SETTING, &params).map_err(Refused::Server)?;
    let setting = |name: &str| -> Result<String, Refused> {
        let at = names.iter().position(|known| *known == name);
        let value = at.and_then(|at| rows.get(at)).and_then(|row| row.try_get(0).ok());
        value
            .ok_or_else(|| unfit(format!("the server does not tell its {name}"), "see that it is PostgreSQL"))
    };
    let version: i32 = setting("server_version_num")?.parse().unwrap_or_default();
    if version / 10_000 < OLDEST {
        let found = setting("server_version")?;
        let problem = format!("it is PostgreSQL {found}, and FreshK needs {OLDEST} or later");
        return Err(unfit(problem, "upgrade the server"));
    }
    // Memory of sessions is told by the primary what ends; a standby may not know it yet.
    let rows = connection.rows("SELECT pg_is_in_recovery()", &[]).map_err(Refused::Server)?;
    if rows.first().and_then(|row| row.try_get(0).ok()) != Some(false) {
        let help = "name the primary in database.url, or a name that follows the primary";
        return Err(unfit("it is a standby, which only repeats another server".to_owned(), help));
    }
    for (name, value) in OPTIONS {
        if setting(name)? != *value {
            let problem = format!(
                "{name} was asked to be {value} and is not: a pooler stands before the server and drops what a \
                 session asks for"
            );
            return Err(unfit(problem, NO_POOLER));
        }
    }
    let encoding = setting("server_encoding")?;
    if encoding != "UTF8" {
        let problem = format!("the database is encoded as {encoding}");
        return Err(unfit(problem, "make one with the encoding UTF8"));
    }
    if setting("synchronous_commit")? == "off" {
        // What was acknowledged must be durable; a stronger setting than this stays as it is.
        connection.batch("SET synchronous_commit = on").map_err(Refused::Server)?;
    }
    Ok(())
}

fn unfit(problem: String, help: &str) -> Refused {
    Refused::Unfit { problem, help: help.to_owned() }
}
