//! SIGHUP: the configuration is read and checked anew, and what can change while the server runs is replaced, as a whole or not
//! at all.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::certificate::Certificate;
use super::systemd::ServiceManager;
use super::test_numbers;
use crate::auth::{Auth, Outbox};
use crate::cli::{CliError, node, wiring};
use crate::clock::Clock;
use crate::config::tls::Source;
use crate::config::tokens::Signing;
use crate::config::{Config, Loaded, Needs, Setting, Sources};
use crate::domain::audit::AuditEvent;
use crate::domain::node::Node;
use crate::domain::{Algorithm, Help as _, Secret};
use crate::limits::flood::FloodGuard;
use crate::storage::Store;
use crate::sync::Live;
use crate::telemetry::Filter;

/// The keys that a running server takes over; all others need a restart.
pub(super) const RELOADED: Needs = Needs::Only(&[&[
    "secret_key",
    "secret_key_fallbacks",
    "otp",
    "limits",
    "tokens.key_file",
    "tokens.access_ttl",
    "tokens.refresh_ttl",
    "tokens.session_ttl",
    "tokens.reuse_grace",
    "tokens.max_sessions",
    "tokens.max_devices",
    "tokens.claims",
    "tokens.strict",
    "tokens.accept_foreign",
    "users.default_role",
    "users.unverified_retention",
    "users.phone_change_delay",
    "users.deletion_grace",
    "users.dormant_after",
    "phone.min_digits",
    "phone.allowed_countries",
    "phone.denied_countries",
    "privacy",
    "sms.brand",
    "sms.template",
    "sms.templates",
    "sms.webotp_domain",
    "sms.android_hash",
    "sms.test_numbers",
    "events.retention",
    "log.level",
    "audit",
    "server.tls.cert",
    "server.tls.key",
]]);

/// How long reading may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a reload reads, and what it replaces.
pub(super) struct Reload {
    /// Where the configuration comes from.
    pub(super) sources: Sources,
    /// What the server started with: by it the keys are found that need a restart.
    pub(super) started: Loaded,
    /// What is in force, with the last reload.
    pub(super) current: Loaded,
    /// The secret in force.
    pub(super) secret: Secret,
    pub(super) filter: Filter,
    pub(super) auth: Arc<Auth>,
    pub(super) store: Store,
    pub(super) flood: Arc<Live<FloodGuard>>,
    pub(super) outbox: Outbox,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) manager: Arc<ServiceManager>,
    pub(super) certificate: Option<Arc<Certificate>>,
    /// This server, as the other nodes of its database know it.
    pub(super) node: Node,
    pub(super) announcer: Option<Box<dyn Fn(Node) + Send + Sync>>,
}

impl Reload {
    /// Reloads at each signal, until `stop`.
    pub(super) async fn at_each(mut self, mut hangup: Signal, stop: CancellationToken) {
        while let Some(Some(())) = stop.run_until_cancelled(hangup.recv()).await {
            self.manager.reloading();
            match self.reload().await {
                Ok(()) => {}
                Err(CliError::Config(faults)) => {
                    for fault in faults.0 {
                        let from = fault.origin.unwrap_or_default();
                        tracing::error!(
                            key = fault.key,
                            from,
                            help = fault.help,
                            "a fault of the configuration: {}",
                            fault.problem
                        );
                    }
                    tracing::error!("the configuration was not reloaded; the one before stays in force");
                }
                Err(error) => tracing::error!(
                    %error,
                    help = error.help(),
                    "the configuration was not reloaded; the one before stays in force"
                ),
            }
            self.manager.ready();
        }
    }

    /// All that can fail comes before anything is replaced.
    async fn reload(&mut self) -> Result<(), CliError> {
        let (sources, running) = (self.sources.clone(), self.current.config.clone());
        let read = spawn_blocking(move || {
            let mut next = Config::load(&sources)?;
            keep_what_needs_a_restart(&mut next.config, &running)?;
            let secret = crate::cli::secret(&next.config)?;
            Ok::<_, CliError>((next, secret))
        });
        // A pipe that nobody writes, a disk of another machine that does not answer: the next reload must not wait for them.
        let read = timeout(PATIENCE, read).await.map_err(|_| {
            CliError::refused(
                format!("the configuration could not be read within {} s", PATIENCE.as_secs()),
                "see whether its files are files, and on a disk that answers; then reload again",
            )
        })?;
        let (next, secret) = read.map_err(|error| CliError::Runtime(error.into()))??;
        for warning in &next.warnings {
            tracing::warn!(help = warning.help, "{}", warning.problem);
        }
        self.refuse_a_lost_secret(&next.config, &secret)?;
        self.compare(&next, &secret).await?;
        let settings = wiring::settings(&next.config, &secret)?;
        let filter = self.filter.read(&next.config.log.level)?;
        test_numbers(&next.config, &secret, &self.outbox, (&self.store, &*self.clock)).await?;

        filter.set();
        self.flood.set(wiring::flood(&next.config));
        self.auth.adopt(settings);
        if let (Some(certificate), Some(Source::Files(files))) =
            (&self.certificate, &next.config.server.tls.source)
        {
            certificate.adopt(files);
        }
        self.announce(&next, &secret);
        self.report(&next);
        (self.current, self.secret) = (next, secret);
        if let Err(error) = self.auth.note(AuditEvent::Reloaded).await {
            tracing::error!(%error, "the audit trail has no line about it");
        }
        Ok(())
    }

    /// With a new secret and without the one in force among the fallbacks every session would end.
    fn refuse_a_lost_secret(&self, next: &Config, secret: &Secret) -> Result<(), CliError> {
        if *secret == self.secret || next.secret_key_fallbacks.contains(&self.secret) {
            return Ok(());
        }
        Err(CliError::refused(
            "secret_key has changed, and the one before is not in secret_key_fallbacks: everybody would be logged out",
            "put the one before into secret_key_fallbacks, or restart the server if that is what you want",
        ))
    }

    /// Refuses keys of which a living node has none, as a start does, and warns of settings in which one differs.
    async fn compare(&self, next: &Loaded, secret: &Secret) -> Result<(), CliError> {
        let own = self.as_of(next, secret);
        let mut nodes = self.store.read(|view| view.nodes()).await?;
        nodes.retain(|node| node.run != own.run);
        if let Some(stranger) = nodes.iter().find(|node| !node.shares_a_key_with(&own)) {
            return Err(CliError::refused(
                format!("the server on {} would have none of this one's keys", stranger.host),
                "keep the secret before in secret_key_fallbacks until all servers have the new one",
            ));
        }
        node::compare(&own, &nodes);
        Ok(())
    }

    /// Tells the other nodes what is in force here now.
    fn announce(&self, next: &Loaded, secret: &Secret) {
        if let Some(announce) = &self.announcer {
            announce(self.as_of(next, secret));
        }
    }

    /// This node with what is in force once `next` is.
    fn as_of(&self, next: &Loaded, secret: &Secret) -> Node {
        let both = next.settings.iter().zip(&self.started.settings);
        let in_force = both.map(|(new, old)| if RELOADED.cover(new.key.name) { new } else { old }.clone());
        let settings: Vec<Setting> = in_force.collect();
        let (run, started_at) = (self.node.run.clone(), self.node.started_at);
        node::of((&next.config, &settings), secret, run, started_at)
    }

    fn report(&self, next: &Loaded) {
        let in_force = |key: &&str| RELOADED.cover(key);
        let names = |keys: Vec<&'static str>| keys.join(", ");
        let changed = names(next.differs_from(&self.current).filter(in_force).collect());
        tracing::info!(changed, "the configuration was reloaded");
        let waiting = names(next.differs_from(&self.started).filter(|key| !in_force(key)).collect());
        if !waiting.is_empty() {
            tracing::warn!(keys = waiting, "these keys have changed, too, and need a restart");
        }
    }
}

/// How access tokens are signed; `None` by the secret.
fn algorithm(signing: &Signing) -> Option<Algorithm> {
    match signing {
        Signing::Secret => None,
        Signing::KeyFile { algorithm, .. } => Some(*algorithm),
    }
}

/// Takes what cannot change while the server runs from the configuration in force.
fn keep_what_needs_a_restart(next: &mut Config, running: &Config) -> Result<(), CliError> {
    if next.debug != running.debug {
        // Other defaults go with it.
        return Err(CliError::refused("debug has changed", "restart the server"));
    }
    let source = |config: &Config| config.server.tls.source.as_ref().map(mem::discriminant);
    if source(next) != source(running) {
        let problem = "TLS was turned on or off, or its certificate comes from elsewhere now";
        return Err(CliError::refused(problem, "restart the server"));
    }
    let (tokens, kept) = (&mut next.tokens, &running.tokens);
    tokens.issuer.clone_from(&kept.issuer);
    tokens.audience.clone_from(&kept.audience);
    next.phone.strict = running.phone.strict;
    if algorithm(&tokens.signing) != algorithm(&kept.signing) {
        tokens.signing = kept.signing.clone();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn what_is_taken_over_is_named_as_keys_or_sections_are() {
        let Needs::Only(groups) = RELOADED else { panic!("not every key") };
        for name in groups.iter().flat_map(|group| group.iter()) {
            let is_named = keys::all().any(|key| {
                key.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            assert!(is_named, "{name}");
        }
        assert!(RELOADED.cover("limits.ip") && !RELOADED.cover("server.listen"));
    }
}
