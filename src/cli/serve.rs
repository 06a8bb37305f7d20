//! `freshk serve`: the server.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::wiring::{self, Service};
use super::{CliError, Global};
use crate::api::server::{self, ServerSettings};
use crate::auth::Auth;
use crate::clock::{Clock, SystemClock};
use crate::config::log::LogFormat;
use crate::config::sms::Provider;
use crate::config::{Config, dev_secret};
use crate::domain::Secret;
use crate::domain::audit::AuditEvent;
use crate::random::{Random, SystemRandom};
use crate::storage::sqlite::{ServeLock, SqliteStore};
use crate::telemetry;

/// Answer the phones
#[derive(Args, Clone, Debug)]
#[command(after_long_help = "\
Examples:
  freshk serve --dev                        try it out: codes on the console, a secret of its own
  freshk serve --listen 127.0.0.1:9000      behind a proxy, on another port")]
pub struct ServeArgs {
    /// The address and port to listen on [default: server.listen]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Development: debug on, everything else at its default unless set
    #[arg(long)]
    pub dev: bool,
}

/// How often the write-ahead log is moved into the database.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// After how many checkpoints the rest of upkeep comes round.
const UPKEEP_EVERY: u32 = 30;

/// Threads for reading, beside those for sending.
const READING_THREADS: usize = 16;

/// Serves until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting, each with its mend.
pub fn run(args: &ServeArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let mut sources = global.sources()?;
    sources.listen.clone_from(&args.listen);
    sources.dev = args.dev;
    let config = super::load(&sources)?.config;
    let format = match config.log.format {
        LogFormat::Pretty => telemetry::Format::Pretty,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::init(&config.log.level, format)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let path = config.database.url.path();
    // Held until the process ends.
    let _lock = ServeLock::acquire(path)?;
    let store = wiring::open_store(&config, &*clock)?;
    let secret = secret(&config, path)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(READING_THREADS + sending_threads(&config))
        .build()
        .map_err(CliError::Runtime)?;
    let outcome = runtime.block_on(serve(&config, &secret, store, clock, output));
    // A thread that still waits for Twilio would hold the end up for as long as Twilio likes.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    config: &Config,
    secret: &Secret,
    store: Arc<SqliteStore>,
    clock: Arc<dyn Clock>,
    output: &mut Output,
) -> Result<(), CliError> {
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let Service { auth, store, endpoint } = wiring::build(config, secret, store, clock.clone(), random)?;
    let stop = Stop::on_signals().map_err(CliError::Runtime)?;
    let listener = server::bind(config.server.listen).await?;
    auth.settle_after_restart().await.map_err(CliError::Database)?;
    auth.note(AuditEvent::Startup).await.map_err(CliError::Database)?;
    let address = listener.local_addr().map_err(CliError::Runtime)?;
    tracing::info!(%address, database = %config.database.url.path().display(), "serving");
    if config.debug {
        output.text(&banner(config, &address.to_string()))?;
    }
    let upkeep = tokio::spawn(keep_up(auth.clone(), stop.asked.clone()));
    let settings = ServerSettings {
        request_timeout: config.server.request_timeout,
        max_connections: config.server.max_connections,
        shutdown_timeout: config.server.shutdown_timeout,
    };
    let drained = async {
        server::serve(listener, endpoint, settings, clock, stop.asked.cancelled()).await;
        // A checkpoint under way would keep the writer from leaving an empty log behind.
        auth.finish(settings.shutdown_timeout).await && upkeep.await.is_ok()
    };
    if !stop.in_time(settings.shutdown_timeout, drained).await {
        tracing::warn!("some flows did not finish in time; the next start settles what they left");
    }
    if let Err(error) = auth.note(AuditEvent::Shutdown).await {
        tracing::warn!(%error, "the end could not be noted");
    }
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// The wish that the server stops: first in good order, then at once.
struct Stop {
    asked: CancellationToken,
    insisted: CancellationToken,
}

impl Stop {
    /// The first SIGTERM or SIGINT asks, the second insists.
    fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = Self { asked: CancellationToken::new(), insisted: CancellationToken::new() };
        let tokens = [stop.asked.clone(), stop.insisted.clone()];
        tokio::spawn(async move {
            for token in tokens {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("told to stop: no more connections are accepted");
                token.cancel();
            }
        });
        Ok(stop)
    }

    /// Lets `drained` finish until `timeout` after the wish, or until somebody insists; tells whether nothing is left.
    async fn in_time(&self, timeout: Duration, drained: impl Future<Output = bool>) -> bool {
        let deadline = async {
            self.asked.cancelled().await;
            tokio::time::sleep(timeout).await;
        };
        tokio::select! {
            done = drained => done,
            () = deadline => false,
            () = self.insisted.cancelled() => false,
        }
    }
}

/// Goes round until `stop`; a round that has begun is finished.
async fn keep_up(auth: Arc<Auth>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(CHECKPOINT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for round in (0..UPKEEP_EVERY).cycle() {
        if stop.run_until_cancelled(ticks.tick()).await.is_none() {
            return;
        }
        let mut done = auth.checkpoint().await;
        if round == 0 {
            done = done.and(auth.upkeep().await);
        }
        if let Err(error) = done {
            tracing::warn!(%error, "a round of upkeep failed; the next one tries again");
        }
    }
}

/// The configured secret; in debug, where it may be missing, one that is made once and kept beside the database.
fn secret(config: &Config, database: &Path) -> Result<Secret, CliError> {
    match &config.secret_key {
        Some(secret) => Ok(secret.clone()),
        None => dev_secret::read_or_create(database, &SystemRandom).map_err(CliError::DevSecret),
    }
}

fn sending_threads(config: &Config) -> usize {
    match &config.sms.provider {
        Provider::Console => 0,
        Provider::Twilio(twilio) => twilio.max_in_flight,
    }
}

fn banner(config: &Config, address: &str) -> String {
    let codes = match config.sms.provider {
        Provider::Console => "printed here, never sent",
        Provider::Twilio(_) => "sent by Twilio; those of the testing endpoints are printed here",
    };
    let docs = if config.docs.enabled { format!("http://{address}/docs") } else { "off".to_owned() };
    format!(
        "\n  FreshK, in debug: not for production\n\n  \
         API       http://{address}/api/mobile/auth/\n  \
         docs      {docs}\n  \
         database  {}\n  \
         codes     {codes}\n\n",
        config.database.url.path().display()
    )
}
