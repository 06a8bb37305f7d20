//! Every key, read and judged before anything starts: flags, environment, env file, `freshk.toml`, defaults.
//!
//! All that is wrong is told at once, with what to do, and no fault ever shows a secret. Nothing here reads the
//! environment of the process: that is an argument, as everything else is.

use crate::domain::policy::{OtpPolicy, Policy, Retention};
use crate::domain::{PhonePolicy, Secret, Webhook};

pub mod backup;
pub mod cache;
pub mod command_line;
pub mod database;
pub mod dev_secret;
pub mod events;
mod exposure;
pub mod fault;
mod file;
pub mod instant;
pub mod key;
pub mod keys;
mod layers;
pub mod limits;
pub mod log;
mod mode;
mod needs;
pub mod ops;
mod origin;
mod otp;
mod reader;
mod secrets;
pub mod senders;
pub mod sentry;
pub mod server;
pub mod show;
pub mod sms;
mod sources;
mod spending;
mod test_numbers;
mod texts;
pub mod tls;
pub mod tokens;
mod top;
pub mod twilio;
pub mod users;
mod value;
mod values;
mod variables;

pub use fault::{Fault, Faults, Warning};
pub use needs::Needs;
pub use secrets::Weakness;
pub use show::Setting;
pub use sources::Sources;

use backup::Backup;
use cache::Cache;
use database::Database;
use events::Events;
use fault::Findings;
use limits::Limits;
use log::{Audit, Log};
use ops::Ops;
use reader::Reader;
use sentry::Sentry;
use server::{Docs, Server};
use sms::Sms;
use test_numbers::Digits;
use tokens::Tokens;
use users::{Privacy, Users};
use values::Values;

/// The configuration; the keys for which it was loaded are without a fault.
#[derive(Clone, Debug)]
pub struct Config {
    /// Development.
    pub debug: bool,
    /// Signs the tokens. `None` only in debug: see [`dev_secret`].
    pub secret_key: Option<Secret>,
    /// Secrets before this one.
    pub secret_key_fallbacks: Vec<Secret>,
    /// `[server]`
    pub server: Server,
    /// `[ops]`
    pub ops: Ops,
    /// `[sentry]`
    pub sentry: Sentry,
    /// `[docs]`
    pub docs: Docs,
    /// `[database]`
    pub database: Database,
    /// `[cache]`
    pub cache: Cache,
    /// `[otp]`
    pub otp: OtpPolicy,
    /// `[limits]`
    pub limits: Limits,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[users]`
    pub users: Users,
    /// `[phone]`
    pub phone: PhonePolicy,
    /// `[privacy]`
    pub privacy: Privacy,
    /// `[events]`
    pub events: Events,
    /// `[[webhooks]]`
    pub webhooks: Vec<Webhook>,
    /// `[sms]` and `[twilio]`; the console where they are faulty and were not asked for.
    pub sms: Sms,
    /// `[log]`
    pub log: Log,
    /// `[audit]`
    pub audit: Audit,
    /// `[backup]`
    pub backup: Backup,
}

/// What is set, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Every key with its value, masked if secret, and its origin.
    pub settings: Vec<Setting>,
    /// What is not wrong, but should be told to the operator.
    pub warnings: Vec<Warning>,
    /// Everything that is wrong; perhaps nothing.
    pub faults: Faults,
}

struct Examined {
    config: Config,
    settings: Vec<Setting>,
    findings: Findings,
}

/// A configuration, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its value, masked if secret, and its origin.
    pub settings: Vec<Setting>,
    /// What is not wrong, but should be told to the operator.
    pub warnings: Vec<Warning>,
}

impl Loaded {
    /// The names of the keys that are set to something else here.
    pub fn differs_from<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'static str> + 'a {
        // Both have every key, in the order of the table.
        let both = self.settings.iter().zip(&other.settings);
        both.filter(|(ours, theirs)| ours.exact != theirs.exact).map(|(ours, _)| ours.key.name)
    }
}

impl Config {
    /// Reads all layers and judges all keys.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
        Self::load_for(sources, Needs::Everything)
    }

    /// Reads all layers and judges the keys that are used: others may be faulty or missing.
    ///
    /// # Errors
    /// Everything that is wrong with those keys, at once.
    pub fn load_for(sources: &Sources, needs: Needs) -> Result<Loaded, Faults> {
        let Examined { config, settings, mut findings } = Self::examine(sources);
        findings.keep(needs);
        let Findings { faults, warnings, .. } = findings;
        if faults.is_empty() { Ok(Loaded { config, settings, warnings }) } else { Err(Faults(faults)) }
    }

    /// Reads all layers and judges all keys, for whoever wants to see what is set although something is wrong.
    pub fn show(sources: &Sources) -> Shown {
        let Examined { settings, mut findings, .. } = Self::examine(sources);
        findings.keep(Needs::Everything);
        Shown { settings, warnings: findings.warnings, faults: Faults(findings.faults) }
    }

    fn examine(sources: &Sources) -> Examined {
        let mut findings = Findings::default();
        let above = layers::above_defaults(sources, &mut findings);
        let debug = layers::debug(&Values::lay(above.clone()));
        let values = Values::lay(std::iter::once(layers::defaults(debug)).chain(above));
        let mut reader = Reader::new(&values, debug, findings);
        let config = Self::read(&mut reader);
        Examined { config, settings: show::settings(&values), findings: reader.findings }
    }

    /// A faulty key gives its default: whoever uses it is refused by [`Config::load`].
    fn read(reader: &mut Reader<'_>) -> Self {
        let debug = reader.switch(&top::DEBUG);
        let (secret_key, secret_key_fallbacks) = top::read(reader);
        let server = server::read(reader);
        let ops = ops::read(reader);
        let sentry = sentry::read(reader);
        let docs = server::read_docs(reader);
        let database = database::read(reader);
        let cache = cache::read(reader, &database);
        let otp = otp::read(reader);
        let limits = limits::read(reader);
        let tokens = tokens::read(reader);
        let users = users::read(reader);
        let phone = users::read_phone(reader);
        let privacy = users::read_privacy(reader);
        let events = events::read(reader);
        let webhooks = events::read_webhooks(reader);
        let digits = Digits { code: otp.length, phones: &phone };
        let sms = sms::read(reader, digits, server.public_url.as_ref(), otp.ttl);
        exposure::check(reader, &server, &sms);
        exposure::check_socket(reader, &server);
        let log = log::read(reader);
        let audit = log::read_audit(reader);
        let backup = backup::read(reader);
        database::check_backups(reader, &database, &backup);
        tls::check_cache(reader, &server.tls, database.url.file().is_some());
        Self {
            debug,
            secret_key,
            secret_key_fallbacks,
            server,
            ops,
            sentry,
            docs,
            database,
            cache,
            otp,
            limits,
            tokens,
            users,
            phone,
            privacy,
            events,
            webhooks,
            sms,
            log,
            audit,
            backup,
        }
    }

    /// The numbers that the flows obey.
    pub fn policy(&self) -> Policy {
        let (budgets, guard) = self.sms.spending();
        Policy {
            otp: self.otp.clone(),
            limits: self.limits.policy.clone(),
            lifetimes: self.tokens.lifetimes,
            reuse_grace: self.tokens.reuse_grace,
            max_sessions: self.tokens.max_sessions,
            max_devices: self.tokens.max_devices,
            reads_every_bearer: self.tokens.strict,
            default_role: self.users.default_role.clone(),
            phones: self.phone.clone(),
            conceal_accounts: self.privacy.conceal_accounts,
            phone_change_delay: self.users.phone_change_delay,
            budgets,
            guard,
            retention: Retention {
                events: self.events.retention,
                audit: self.audit.retention,
                unverified: self.users.unverified_retention,
                deletion_grace: self.users.deletion_grace,
                dormant_after: self.users.dormant_after,
                takes_foreign_tokens: self.tokens.accept_foreign,
            },
        }
    }
}

#[cfg(test)]
mod tests;
