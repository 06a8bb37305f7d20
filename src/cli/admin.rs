//! The database, opened beside a server that may be running: what every command of the operator begins with.

use std::fmt::Display;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::engine::{Engine, Place};
use super::{CliError, Global};
use crate::auth::Outbox;
use crate::auth::operator::{self, Means, Operator, Webhooks, find_user};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Faults, Needs, Sources};
use crate::domain::keys::KeyRing;
use crate::domain::phone::mask_name;
use crate::domain::{PhoneNumber, PhonePolicy, Timestamp, User, UserId};
use crate::random::SystemRandom;
use crate::storage::{Locks, Store, StoreResult, View};
use crate::telemetry;

/// Rows of a page: a page is read in a few milliseconds.
pub const PAGE: usize = 1000;

/// What opening the database and finding a user takes.
const DATABASE: &[&str] = &["database", "backup.dir", "users", "phone"];

/// What every act of the operator takes: the webhooks are told of it.
const WEBHOOKS: &[&str] = &["webhooks"];

/// What hashing phones and codes takes.
const SECRETS: &[&str] = &["secret_key", "secret_key_fallbacks"];

/// What a command that only reads uses.
pub const READING: Needs = Needs::Only(&[DATABASE]);

/// What a command that writes uses: the audit trail has the hashes of phones.
pub const WRITING: Needs = Needs::Only(&[DATABASE, SECRETS, WEBHOOKS]);

/// What a command about events uses.
pub const EVENTS: Needs = Needs::Only(&[DATABASE, WEBHOOKS]);

/// What a command that judges quotas uses.
pub const LIMITS: Needs = Needs::Only(&[DATABASE, &["limits", "otp"]]);

/// What a command that resets quotas or deletes codes uses.
pub const LIMITS_WRITING: Needs = Needs::Only(&[DATABASE, SECRETS, WEBHOOKS, &["limits", "otp"]]);

/// What a command that sends a message uses.
pub const SENDING: Needs =
    Needs::Only(&[DATABASE, SECRETS, WEBHOOKS, &["otp", "sms", "twilio", "server.public_url"]]);

/// An open database with its configuration.
pub struct AdminContext {
    /// The configuration; of it only what the command uses is good.
    pub config: Config,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whether phones are shown in full.
    pub show_phones: bool,
    keys: Option<Arc<KeyRing>>,
    outbox: Outbox,
    store: Store,
    runtime: Runtime,
}

impl AdminContext {
    /// Opens the database that is there.
    ///
    /// # Errors
    /// A faulty configuration, or a database that is missing or cannot be used.
    pub fn open(global: &Global, needs: Needs) -> Result<Self, CliError> {
        Self::open_or(global, needs, Place::refuse_missing)
    }

    /// Opens the database, or makes a new one.
    ///
    /// # Errors
    /// As [`AdminContext::open`].
    pub fn open_or_make(global: &Global, needs: Needs) -> Result<Self, CliError> {
        Self::open_or(global, needs, |_| Ok(()))
    }

    fn open_or(
        global: &Global,
        needs: Needs,
        missing: impl FnOnce(&Place) -> Result<(), CliError>,
    ) -> Result<Self, CliError> {
        let config = load(&global.sources()?, needs)?;
        // Without files there is nothing to hold. What becomes of a message its command tells itself.
        drop(telemetry::init("warn,freshk::sms=off", telemetry::Format::Pretty, None, None)?);
        missing(&Place::of(&config))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let store = Engine::open_beside_server(&config, &*clock)?.store();
        // After the database, whose faults say more.
        let keys = if needs.cover("secret_key") {
            Some(Arc::new(KeyRing::new(&super::secret(&config)?, &config.secret_key_fallbacks)))
        } else {
            None
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Runtime)?;
        let outbox = Outbox::new(&config.webhooks, Arc::new(SystemRandom));
        Ok(Self { config, clock, show_phones: global.show_phones, keys, outbox, store, runtime })
    }

    /// What hashes phones and codes.
    ///
    /// # Errors
    /// [`CliError::Refused`] in a command that did not ask for the secret.
    pub fn keys(&self) -> Result<&Arc<KeyRing>, CliError> {
        self.keys.as_ref().ok_or_else(|| {
            CliError::refused("this command does not read the secret", "report this as a bug of freshk")
        })
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Acts as the operator, now and in one transaction; `locks` cover what the act reads and then replaces.
    ///
    /// # Errors
    /// As [`AdminContext::keys`], and [`CliError::Storage`].
    pub fn act<T, F>(&self, locks: Locks, act: F) -> Result<T, CliError>
    where
        T: Send + 'static,
        F: Fn(&mut Operator<'_, '_>) -> StoreResult<T> + Send + 'static,
    {
        let means = Means { keys: self.keys()?.clone(), outbox: self.outbox.clone() };
        Ok(self.runtime.block_on(operator::act(&self.store, locks, self.now(), means, act))?)
    }

    /// Acts on the webhooks, now and in one transaction.
    ///
    /// # Errors
    /// [`CliError::Storage`]
    pub fn act_on_webhooks<T, F>(&self, act: F) -> Result<T, CliError>
    where
        T: Send + 'static,
        F: Fn(&mut Webhooks<'_, '_>) -> StoreResult<T> + Send + 'static,
    {
        let acting = operator::act_on_webhooks(&self.store, self.now(), &self.outbox, act);
        Ok(self.runtime.block_on(acting)?)
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

    /// Gives new users ids above `id` from now on.
    ///
    /// # Errors
    /// [`CliError::Storage`]
    pub fn raise_user_ids(&self, id: UserId) -> Result<(), CliError> {
        let written = self.store.write(Locks::none(), move |tx| tx.raise_user_ids(id));
        Ok(self.runtime.block_on(written)?)
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
        let (wanted, phones) = (name.to_owned(), self.config.phone.clone());
        self.read(move |view| find_user(view, &wanted, &phones))?.ok_or_else(|| {
            CliError::refused(
                format!("there is no user {name:?}"),
                "give an id, a phone such as +1234567890 or a username; `freshk user list --search` finds one by a part \
                 of them",
            )
        })
    }

    /// Reads a phone as the server would.
    ///
    /// # Errors
    /// [`CliError::Usage`]
    pub fn phone(&self, text: &str) -> Result<PhoneNumber, CliError> {
        phone(text, &self.config.phone)
    }

    /// Reads a phone that rows are looked for by, which may be older than the configuration.
    ///
    /// # Errors
    /// [`CliError::Usage`]
    pub fn phone_to_find(&self, text: &str) -> Result<PhoneNumber, CliError> {
        self.config.phone.read_to_find(text).map_err(|error| not_taken(text, error))
    }

    /// What names a user in a sentence.
    pub fn named(&self, user: &User) -> String {
        let phone = self.shown_if_any(user).unwrap_or_else(|| "without a number".to_owned());
        format!("user {} ({phone})", user.id)
    }

    /// A phone as the answer may show it.
    pub fn shown(&self, phone: &PhoneNumber) -> String {
        if self.show_phones { phone.as_str().to_owned() } else { phone.masked() }
    }

    /// The phone of a user as the answer may show it; a dormant account may have lost its own.
    pub fn shown_if_any(&self, user: &User) -> Option<String> {
        user.phone.as_ref().map(|phone| self.shown(phone))
    }

    /// A username as the answer may show it.
    pub fn shown_name(&self, username: &str) -> String {
        if self.show_phones { username.to_owned() } else { mask_name(username) }
    }
}

/// Reads a phone number that an argument gives.
///
/// # Errors
/// [`CliError::Usage`]
pub fn phone(text: &str, phones: &PhonePolicy) -> Result<PhoneNumber, CliError> {
    phones.read(text).map_err(|error| not_taken(text, error))
}

fn not_taken(text: &str, error: impl Display) -> CliError {
    CliError::usage(format!("{text:?} is {error}"), "give it in international format, such as +1234567890")
}

/// A process that ends does not wait for its threads, and the writer moves the log into the database when it closes.
impl Drop for AdminContext {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close());
    }
}

/// A configuration that only debug forgives, beside a database that keeps debug's own secret, is that of
/// `serve --dev`: no other server could run with it.
fn load(sources: &Sources, needs: Needs) -> Result<Config, CliError> {
    match super::load(sources, needs) {
        Err(CliError::Config(faults)) => developing(sources, needs, faults),
        other => Ok(other?.config),
    }
}

fn developing(sources: &Sources, needs: Needs, faults: Faults) -> Result<Config, CliError> {
    let Ok(loaded) = Config::load_for(&Sources { dev: true, ..sources.clone() }, needs) else {
        return Err(faults.into());
    };
    if Place::of(&loaded.config).has_dev_secret() { Ok(loaded.config) } else { Err(faults.into()) }
}
