//! The database, opened beside a server that may be running: what every command of the operator begins with.

use std::sync::Arc;

use tokio::runtime::Runtime;

use super::{CliError, Global, wiring};
use crate::auth::operator::{Operator, find_user};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Faults, Sources, dev_secret};
use crate::domain::keys::KeyRing;
use crate::domain::phone::mask_name;
use crate::domain::{PhoneNumber, Timestamp, User};
use crate::storage::sqlite::SqliteStore;
use crate::storage::{Store, StoreResult, Tx, View};
use crate::telemetry;

/// Rows of a page: a page is read in a few milliseconds.
pub const PAGE: usize = 1000;

/// An open database with its configuration.
pub struct Beside {
    /// The configuration.
    pub config: Config,
    /// Hash phones.
    pub keys: KeyRing,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whether phones are shown in full.
    pub show_phones: bool,
    store: Store,
    runtime: Runtime,
}

impl Beside {
    /// Opens the database that is there.
    ///
    /// # Errors
    /// A faulty configuration, or a database that is missing or cannot be used.
    pub fn open(global: &Global) -> Result<Self, CliError> {
        Self::open_or(global, |config| Err(wiring::missing(config)))
    }

    /// Opens the database, or makes a new one.
    ///
    /// # Errors
    /// As [`Beside::open`].
    pub fn open_or_make(global: &Global) -> Result<Self, CliError> {
        Self::open_or(global, |_| Ok(()))
    }

    fn open_or(
        global: &Global,
        missing: impl FnOnce(&Config) -> Result<(), CliError>,
    ) -> Result<Self, CliError> {
        let config = load(&global.sources()?)?;
        // Without files there is nothing to hold. What becomes of a message its command tells itself.
        drop(telemetry::init("warn,freshk::sms=off", telemetry::Format::Pretty, None)?);
        let path = config.database.url.path();
        if wiring::is_missing(path) {
            missing(&config)?;
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let mut options = wiring::open_options(&config, &*clock);
        // A server of an older version may be running on the older schema.
        options.migrate = false;
        let store = Store::new(SqliteStore::open(options)?);
        // After the database, whose faults say more.
        let secret = super::secret(&config)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
        Ok(Self {
            keys: KeyRing::new(&secret, &config.secret_key_fallbacks),
            config,
            clock,
            show_phones: global.show_phones,
            store,
            runtime,
        })
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The operator, now.
    pub fn operator(&self) -> Operator {
        Operator::new(self.now(), self.keys.clone())
    }

    /// Reads on a snapshot that ends with the closure.
    ///
    /// # Errors
    /// [`CliError::Storage`]
    pub fn read<T, F>(&self, closure: F) -> Result<T, CliError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn View) -> StoreResult<T> + Send + 'static,
    {
        Ok(self.runtime.block_on(self.store.read(closure))?)
    }

    /// Writes in one transaction.
    ///
    /// # Errors
    /// [`CliError::Storage`]
    pub fn write<T, F>(&self, closure: F) -> Result<T, CliError>
    where
        T: Send + 'static,
        F: FnOnce(&mut dyn Tx) -> StoreResult<T> + Send + 'static,
    {
        Ok(self.runtime.block_on(self.store.write(closure))?)
    }

    /// Moves the write-ahead log into the database, which makes room in it.
    ///
    /// # Errors
    /// [`CliError::Storage`]
    pub fn checkpoint(&self) -> Result<(), CliError> {
        Ok(self.runtime.block_on(self.store.checkpoint())?)
    }

    /// Waits for a future, where a command has one of its own.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// The user whom the operator means by an id, a phone or a username.
    ///
    /// # Errors
    /// [`CliError::Refused`] where there is none.
    pub fn user(&self, name: &str) -> Result<User, CliError> {
        let (wanted, min_digits) = (name.to_owned(), self.config.phone.min_digits);
        self.read(move |view| find_user(view, &wanted, min_digits))?.ok_or_else(|| {
            CliError::Refused(format!(
                "there is no user {name:?}\ngive an id, a phone such as +1234567890 or a username; \
                 `freshk user list --search` finds one by a part of them"
            ))
        })
    }

    /// Reads a phone as the server would.
    ///
    /// # Errors
    /// [`CliError::Usage`]
    pub fn phone(&self, text: &str) -> Result<PhoneNumber, CliError> {
        PhoneNumber::parse(text, self.config.phone.min_digits)
            .map_err(|error| CliError::Usage(format!("{text:?} is {error}")))
    }

    /// A phone as the answer may show it.
    pub fn shown(&self, phone: &PhoneNumber) -> String {
        if self.show_phones { phone.as_str().to_owned() } else { phone.masked() }
    }

    /// A username as the answer may show it.
    pub fn shown_name(&self, username: &str) -> String {
        if self.show_phones { username.to_owned() } else { mask_name(username) }
    }
}

/// A process that ends does not wait for its threads, and the writer's last act is to leave no log behind.
impl Drop for Beside {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
    }
}

/// A configuration that only debug forgives, beside a database that keeps debug's own secret, is that of
/// `serve --dev`: no other server could run with it.
fn load(sources: &Sources) -> Result<Config, CliError> {
    match super::load(sources) {
        Err(CliError::Config(faults)) => developing(sources, faults),
        other => Ok(other?.config),
    }
}

fn developing(sources: &Sources, faults: Faults) -> Result<Config, CliError> {
    let Ok(loaded) = Config::load(&Sources { dev: true, ..sources.clone() }) else {
        return Err(faults.into());
    };
    let database = loaded.config.database.url.path();
    if dev_secret::exists(database) { Ok(loaded.config) } else { Err(faults.into()) }
}
