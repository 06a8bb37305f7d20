//! The database, whichever engine keeps it: what the commands and the server ask of an engine beyond the store.

use std::sync::Arc;

use super::CliError;
use super::database::{DatabaseFile, OpenError, ServeLock, SqliteStore};
use crate::clock::{Clock, Correction};
use crate::config::database::DatabaseUrl;
use crate::config::{Config, dev_secret};
use crate::domain::node::Node;
use crate::domain::{Help, Secret};
use crate::random::SystemRandom;
use crate::storage::postgres::{
    self, Membership, PostgresError, PostgresOptions, PostgresSettings, PostgresStore,
};
use crate::storage::{CommitWatch, Store, StoreError, StoreResult, View};

/// Where the data is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file on this machine.
    File(DatabaseFile),
    /// In a schema of a `PostgreSQL` database.
    Server(Box<PostgresSettings>),
}

/// An open database.
#[derive(Clone)]
pub enum Engine {
    /// One file.
    Sqlite(Arc<SqliteStore>),
    /// A schema on a server.
    Postgres(Arc<PostgresStore>),
}

/// Why a database cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The server or the schema cannot be used.
    #[error(transparent)]
    Server(#[from] PostgresError),
    /// A reading failed.
    #[error(transparent)]
    Reading(#[from] StoreError),
}

impl Help for LookError {
    fn help(&self) -> String {
        match self {
            Self::File(error) => error.help(),
            Self::Server(error) => error.help(),
            Self::Reading(_) => "look at the log of the database".to_owned(),
        }
    }
}

impl Place {
    /// What `database.url` names.
    pub fn of(config: &Config) -> Self {
        match &config.database.url {
            DatabaseUrl::Sqlite(path) => Self::File(DatabaseFile::new(path, config)),
            DatabaseUrl::Postgres(settings) => Self::Server(settings.clone()),
        }
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&DatabaseFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Server(_) => None,
        }
    }

    /// Refuses to go on without a file that is not there; a server is asked when it is opened.
    ///
    /// # Errors
    /// As [`DatabaseFile::missing`].
    pub fn refuse_missing(&self) -> Result<(), CliError> {
        match self.file() {
            Some(file) if file.is_missing() => Err(file.missing()),
            _ => Ok(()),
        }
    }

    /// Whether a server may be writing; if it cannot be told, it may.
    pub fn may_be_served(&self) -> bool {
        self.file().is_none_or(|file| !matches!(file.holder(), Ok(None)))
    }

    /// Takes the right to serve it, or says who has it. A server's database is served by several.
    ///
    /// # Errors
    /// [`CliError`]
    pub fn lock(&self) -> Result<Option<Arc<ServeLock>>, CliError> {
        Ok(match self {
            Self::File(file) => Some(Arc::new(file.lock()?)),
            Self::Server(_) => None,
        })
    }

    /// Enters among those that serve it; `clock` goes by the database's from now on.
    ///
    /// # Errors
    /// [`CliError`]
    pub fn enter(&self, node: Node, clock: Correction) -> Result<Option<Membership>, CliError> {
        Ok(match self {
            Self::File(_) => None,
            Self::Server(settings) => Some(Membership::enter(settings, node, clock)?),
        })
    }

    /// Reads something of it, without a server's caches or locks.
    ///
    /// # Errors
    /// [`LookError`]
    pub fn look<T: Send>(
        &self,
        read: impl FnOnce(&dyn View) -> StoreResult<T> + Send,
    ) -> Result<T, LookError> {
        match self {
            Self::File(file) => Ok(file.look(read)?),
            Self::Server(settings) => Ok(postgres::look(settings, read)??),
        }
    }

    /// The secret of debug: made once, and kept beside the file, or in the database.
    ///
    /// # Errors
    /// [`CliError`]
    pub fn dev_secret(&self) -> Result<Secret, CliError> {
        match self {
            Self::File(file) => {
                dev_secret::read_or_create(file.path(), &SystemRandom).map_err(CliError::DevSecret)
            }
            Self::Server(settings) => {
                Ok(postgres::dev_secret(settings, Some(&dev_secret::fresh(&SystemRandom)))?
                    .ok_or(StoreError::Broken)?)
            }
        }
    }

    /// Whether debug has made a secret for it.
    pub fn has_dev_secret(&self) -> bool {
        match self {
            Self::File(file) => dev_secret::exists(file.path()),
            // Where the server cannot be asked, opening the database says why.
            Self::Server(settings) => postgres::dev_secret(settings, None).is_ok_and(|kept| kept.is_some()),
        }
    }
}

impl Engine {
    /// Opens the database for a server: an older schema is brought up to date.
    ///
    /// # Errors
    /// [`CliError`]
    pub fn open(config: &Config, clock: &dyn Clock) -> Result<Self, CliError> {
        match Place::of(config) {
            Place::File(file) => Ok(Self::Sqlite(file.open(config, clock)?)),
            Place::Server(settings) => {
                let options = PostgresOptions {
                    principals: config.cache.sessions,
                    ..postgres_options(config, &settings, true)
                };
                Ok(Self::Postgres(PostgresStore::open(&options)?))
            }
        }
    }

    /// Opens the database for a command, beside a server that may be running: one of an older version knows the older schema
    /// alone.
    ///
    /// # Errors
    /// [`CliError`]
    pub fn open_beside_server(config: &Config, clock: &dyn Clock) -> Result<Self, CliError> {
        match Place::of(config) {
            Place::File(file) => Ok(Self::Sqlite(file.open_beside_server(config, clock)?)),
            Place::Server(settings) => {
                let mut options = postgres_options(config, &settings, false);
                // A few connections do for one command, beside a server that wants many.
                options.settings.writers = 2;
                Ok(Self::Postgres(PostgresStore::open(&options)?))
            }
        }
    }

    /// The store over it.
    pub fn store(&self) -> Store {
        match self {
            Self::Sqlite(store) => Store::new(Arc::<SqliteStore>::clone(store)),
            Self::Postgres(store) => Store::new(Arc::<PostgresStore>::clone(store)),
        }
    }

    /// Has every commit told to `watch` from now on; only the first call counts.
    pub fn watch_commits(&self, watch: CommitWatch) {
        match self {
            Self::Sqlite(store) => store.watch_commits(watch),
            Self::Postgres(store) => store.watch_commits(watch),
        }
    }

    /// How many writes wait for a writer, or for their commit.
    pub fn writes_waiting(&self) -> usize {
        match self {
            Self::Sqlite(store) => store.writes_waiting(),
            Self::Postgres(store) => store.writes_waiting(),
        }
    }

    /// The file, where it is one.
    pub fn sqlite(&self) -> Option<&SqliteStore> {
        match self {
            Self::Sqlite(store) => Some(store),
            Self::Postgres(_) => None,
        }
    }

    /// Which database is open: who hears the same of another process sees the same database.
    pub fn identity(&self) -> String {
        match self {
            Self::Sqlite(store) => store.identity(),
            Self::Postgres(store) => store.identity().to_owned(),
        }
    }
}

impl From<Arc<SqliteStore>> for Engine {
    fn from(store: Arc<SqliteStore>) -> Self {
        Self::Sqlite(store)
    }
}

impl From<Arc<PostgresStore>> for Engine {
    fn from(store: Arc<PostgresStore>) -> Self {
        Self::Postgres(store)
    }
}

/// What the configuration says of a server, for a command, which looks at no session twice.
pub fn postgres_options(config: &Config, settings: &PostgresSettings, migrate: bool) -> PostgresOptions {
    PostgresOptions { settings: settings.clone(), first_id: config.users.first(), principals: 0, migrate }
}
