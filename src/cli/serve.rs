//! `freshk serve`: the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::database::ServeLock;
use super::engine::{Engine, Place};
use super::node;
use super::output::Output;
use super::sms::test_number;
use super::wiring::{self, Service};
use super::{CliError, Global};
use crate::auth::operator::{self, Means};
use crate::auth::{ASKED_AT_ONCE, Outbox};
use crate::clock::{Clock, SystemClock};
use crate::config::log::LogFormat;
use crate::config::sms::Provider;
use crate::config::{Config, Loaded, Needs, Sources};
use crate::domain::Secret;
use crate::domain::audit::AuditEvent;
use crate::domain::keys::KeyRing;
use crate::domain::webhook::IN_FLIGHT;
use crate::http::server::{self, ServerSettings};
use crate::random::{Random, SystemRandom};
use crate::storage::postgres::Membership;
use crate::storage::{Locks, Store};
use crate::telemetry::tracker::Tracker;
use crate::telemetry::{self, Filter, LogFile};

mod activation;
mod background;
mod banner;
mod beside;
mod certificate;
mod descriptors;
mod operations;
mod plain;
mod reload;
mod spellings;
mod stop;
mod systemd;

use activation::Passed;
use certificate::Certificate;
use reload::Reload;
use stop::Stop;
use systemd::ServiceManager;

/// Run the server
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk serve --dev                       try it out: codes on the console
  freshk serve --dev --lan --no-limits     with a phone on the same network, again and again
  freshk serve --listen 127.0.0.1:9000     behind a proxy, on another port")]
pub struct ServeArgs {
    /// The address and port to listen on, or unix: and a path [default: server.listen]
    #[arg(long, value_name = "ADDRESS", value_parser = super::not_empty)]
    pub listen: Option<String>,
    /// Development: debug on, everything else at its default unless set
    #[arg(long)]
    pub dev: bool,
    /// With --dev: to be reached from the same network, too, by a phone
    #[arg(long, requires = "dev")]
    pub lan: bool,
    /// With --dev: without limits, unless Twilio sends
    #[arg(long, requires = "dev")]
    pub no_limits: bool,
}

/// Of the configuration, the port that `--lan` opens to the network.
const LISTEN: Needs = Needs::Only(&[&["server.listen"]]);

/// Threads for the server's own certificate: one looks at it, one orders another.
const CERTIFICATE_THREADS: usize = 2;

/// Threads for what waits now and then: moving the log of the database, backups, files, what is told to a provider afterwards. What
/// each call waits for has threads of its own.
const OTHER_THREADS: usize = 32;

/// Serves until a signal stops it.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn run(args: &ServeArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let mut sources = global.sources()?;
    sources.listen.clone_from(&args.listen);
    sources.dev = args.dev;
    sources.no_limits = args.no_limits;
    if args.lan {
        let listen = Config::load_for(&sources, LISTEN)?.config.server.listen;
        let Some(port) = listen.port().map(|address| address.port()) else {
            return Err(CliError::usage(
                format!("--lan: {listen} is not on the network"),
                "give --listen an address and a port",
            ));
        };
        sources.listen = Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).to_string());
    }
    let passed = Passed::take()?;
    if let Some(passed) = &passed {
        // What is judged is where it does listen.
        sources.listen = Some(passed.listen.to_string());
    }
    let loaded = super::load(&sources, Needs::Everything)?;
    let config = &loaded.config;
    if args.no_limits && matches!(config.sms.provider, Provider::Senders(_)) {
        return Err(CliError::usage(
            "--no-limits: Twilio sends, and every call could buy a message",
            "leave it out, or set sms.provider to console",
        ));
    }
    let format = match config.log.format {
        LogFormat::Pretty => telemetry::Format::Pretty,
        LogFormat::Json => telemetry::Format::Json,
    };
    let clock = Arc::new(SystemClock::new());
    let now: telemetry::Now = Arc::new({
        let clock = Arc::clone(&clock);
        move || clock.now()
    });
    let file = config.log.file.as_deref();
    let file = file.map(|path| LogFile { path, keep: config.log.keep, now: Arc::clone(&now) });
    let tracker = config.sentry.dsn.clone();
    let tracker = tracker.map(|dsn| Tracker { dsn, environment: config.sentry.environment.clone(), now });
    // What waits for the disk is written when this is dropped, at the very end.
    let logging = telemetry::init(&config.log.level, format, file, tracker)?;
    // Held until the process ends.
    let lock = Place::of(config).lock()?;
    let engine = Engine::open(config, &*clock)?;
    if let Some(lock) = &lock {
        lock.serve()?;
    }
    let secret = super::secret(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(
            OTHER_THREADS + CERTIFICATE_THREADS + ASKED_AT_ONCE + IN_FLIGHT * config.webhooks.len(),
        )
        .build()
        .map_err(CliError::Runtime)?;
    let start = Start { sources, loaded, secret, passed, filter: logging.filter.clone() };
    let begun = Begun { engine, lock: lock.clone(), clock };
    let outcome = runtime.block_on(serve(start, begun, output));
    // A thread that still waits for somebody must not delay the end.
    runtime.shutdown_background();
    outcome
}

/// What a server starts with, and a reload reads again.
struct Start {
    sources: Sources,
    loaded: Loaded,
    secret: Secret,
    passed: Option<Passed>,
    filter: Filter,
}

/// What there is once the database is open.
struct Begun {
    engine: Engine,
    lock: Option<Arc<ServeLock>>,
    clock: Arc<SystemClock>,
}

async fn serve(
    Start { sources, loaded, secret, passed, filter }: Start,
    Begun { engine, lock, clock }: Begun,
    output: &mut Output,
) -> Result<(), CliError> {
    let config = &loaded.config;
    let correction = clock.correction();
    let clock: Arc<dyn Clock> = clock;
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let stop = Stop::on_signals().map_err(CliError::Runtime)?;
    let hangup = signal(SignalKind::hangup()).map_err(CliError::Runtime)?;
    let settings = settings(config);
    let Service { auth, store, endpoint, operations, watching, metrics, senders, flood, outbox, dispatcher } =
        wiring::build(config, &secret, engine, clock.clone(), random)?;
    let certificate = Certificate::of(config, &clock, &metrics)?;
    let listener = match passed {
        Some(passed) => passed.into_listener()?,
        None => server::bind(&config.server.listen)?,
    };
    let listener = listener.with_tls(certificate.as_ref().map(|kept| kept.tls()));
    let operations = operations::start(config, operations, clock.clone())?;
    let address = listener.address().map_err(CliError::Runtime)?;
    let port = address.port().map_or(0, |address| address.port());
    let plain = plain::start(config, certificate.as_deref(), port, clock.clone(), stop.asked.child_token())?;
    let own = node::of((config, &loaded.settings), &secret, auth.run_id().clone(), clock.now());
    // Left once nothing is written any more.
    let membership = Place::of(config).enter(own.clone(), correction)?;
    let others = membership.as_ref().map_or(&[][..], Membership::others);
    node::refuse_other_spelling(&own, others)?;
    node::compare(&own, others);
    senders.share(u32::try_from(others.len() + 1).unwrap_or(u32::MAX));
    auth.settle_after_restart().await.map_err(CliError::Database)?;
    spellings::unify(config, &secret, &outbox, (&store, &*clock)).await?;
    test_numbers(config, &secret, &outbox, (&store, &*clock)).await?;
    auth.note(AuditEvent::Startup).await.map_err(CliError::Database)?;
    tracing::info!(%address, database = %config.database.url, "serving");
    if config.tokens.accept_foreign {
        tracing::info!(
            "tokens that simplejwt issued before the move are accepted: set tokens.accept_foreign to false when its \
             longest refresh lifetime has passed"
        );
    }
    if config.debug {
        output.text(&banner::text(config, &address))?;
    }
    let maintenance = tokio::spawn(background::maintain(auth.clone(), store.clone(), stop.asked.clone()));
    let backing_up =
        tokio::spawn(background::back_up(config.clone(), clock.clone(), metrics, stop.asked.clone()));
    let sending = tokio::spawn(background::send_again(auth.clone(), stop.asked.clone()));
    let sharing = membership
        .is_some()
        .then(|| tokio::spawn(background::share_pace(senders, store.clone(), stop.asked.clone())));
    let locking = lock.map(|lock| tokio::spawn(background::keep_lock(lock)));
    let dispatching = tokio::spawn(dispatcher.run(stop.asked.clone()));
    let watching = tokio::spawn(watching.run(stop.asked.clone()));
    let keeping = certificate.clone().map(|kept| tokio::spawn(kept.keep(stop.asked.clone())));
    let manager = Arc::new(ServiceManager::of_environment());
    let watched = tokio::spawn(background::report(manager.clone(), store.clone(), stop.asked.clone()));
    manager.ready();
    let reload = Reload {
        sources,
        started: loaded.clone(),
        current: loaded,
        secret,
        filter,
        auth: auth.clone(),
        store: store.clone(),
        flood,
        outbox,
        clock: clock.clone(),
        manager,
        certificate,
        node: own,
        announcer: membership.as_ref().map(|membership| Box::new(membership.announcer()) as _),
    };
    let reloading = tokio::spawn(reload.at_each(hangup, stop.asked.clone()));
    let patience = settings.shutdown_timeout;
    let drained = async {
        server::serve(listener, endpoint, settings, clock, stop.asked.cancelled()).await;
        // A checkpoint under way would keep the writer from leaving an empty log behind.
        auth.finish(patience).await && maintenance.await.is_ok() && dispatching.await.is_ok()
    };
    if !stop.in_time(patience, drained).await {
        tracing::warn!("some requests did not finish in time; the next start settles what they left");
    }
    let some = [keeping, locking, sharing].into_iter().flatten();
    for task in [sending, watched, reloading, watching].into_iter().chain(some) {
        task.abort();
    }
    if let Err(error) = auth.note(AuditEvent::Shutdown).await {
        tracing::warn!(%error, "the shutdown could not be written to the audit trail");
    }
    if let Err(error) = auth.store_clock().await {
        tracing::warn!(%error, "the clock could not be stored");
    }
    // It has ended, unless a command is being ended.
    drop(backing_up.await);
    for beside in [operations, plain].into_iter().flatten() {
        beside.stop().await;
    }
    store.close().await;
    drop(membership);
    tracing::info!("stopped");
    Ok(())
}

/// Stores the test numbers of the configuration, and warns of each: it logs in with a code that somebody wrote down.
async fn test_numbers(
    config: &Config,
    secret: &Secret,
    outbox: &Outbox,
    (store, clock): (&Store, &dyn Clock),
) -> Result<(), CliError> {
    let now = clock.now();
    let keys = Arc::new(KeyRing::new(secret, &config.secret_key_fallbacks));
    let means = Means { keys: keys.clone(), outbox: outbox.clone() };
    let configured = config.sms.test_numbers.clone();
    for ended in configured.iter().filter(|number| number.until <= now) {
        tracing::warn!(
            phone = ended.phone.masked(),
            "a test number of the configuration has ended; take it out of sms.test_numbers"
        );
    }
    let kept = store.read(|view| view.test_numbers()).await?;
    let locks = Locks::none()
        .test_numbers()
        .phones(configured.iter().map(|new| &new.phone))
        .phones(kept.iter().map(|number| &number.phone));
    let adopted =
        operator::act(store, locks, now, means, move |operator| operator.adopt_test_numbers(&configured));
    let numbers = adopted.await?.map_err(|(phone, refusal)| {
        CliError::TestNumber(test_number::reason(
            refusal,
            &phone.masked(),
            "existing_user = true, or @existing_user in the environment",
        ))
    })?;
    for number in numbers {
        if number.is_guessable(&keys, config.otp.length) {
            tracing::error!(
                phone = number.phone.masked(),
                "the code of this test number is easily guessed; give it another with `freshk sms test-number add`"
            );
        }
        tracing::warn!(
            phone = number.phone.masked(),
            until = number.until.iso(),
            by = number.source.as_str(),
            "a test number logs in with a fixed code, without an SMS"
        );
    }
    Ok(())
}

/// The settings of the listener for phones, within the limits of the system.
fn settings(config: &Config) -> ServerSettings {
    let max_connections = descriptors::connections(config);
    ServerSettings {
        max_connections,
        // No address takes them all.
        max_connections_per_address: config
            .server
            .max_connections_per_address
            .min((max_connections / 2).max(1)),
        ..wiring::server_settings(config)
    }
}
