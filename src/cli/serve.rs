//! `freshk serve`: the server.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use poem::Response;
use poem::endpoint::BoxEndpoint;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::wiring::{self, Service};
use super::{CliError, Global, backups};
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
use crate::telemetry::{self, LogFile};

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

/// Connections of operators at once.
const OPERATORS: usize = 64;

/// How often the server looks whether a backup is due.
const BACKUP_ROUND: Duration = Duration::from_secs(30);

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
    let file = config.log.file.as_deref().map(|path| LogFile { path, keep: config.log.keep });
    // What waits for the disk is written when this is dropped, at the very end.
    let _logging = telemetry::init(&config.log.level, format, file)?;
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
    runtime.block_on(serve(&config, &secret, store, clock, output))
}

async fn serve(
    config: &Config,
    secret: &Secret,
    store: Arc<SqliteStore>,
    clock: Arc<dyn Clock>,
    output: &mut Output,
) -> Result<(), CliError> {
    let random: Arc<dyn Random> = Arc::new(SystemRandom);
    let Service { auth, store, endpoint, operations, .. } =
        wiring::build(config, secret, store, clock.clone(), random)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Runtime)?;
    let listener = server::bind(config.server.listen).await?;
    let operations = Operations::start(config, operations, clock.clone()).await?;
    auth.settle_after_restart().await.map_err(CliError::Database)?;
    auth.note(AuditEvent::Startup).await.map_err(CliError::Database)?;
    let address = listener.local_addr().map_err(CliError::Runtime)?;
    tracing::info!(%address, database = %config.database.url.path().display(), "serving");
    if config.debug {
        output.text(&banner(config, &address.to_string()))?;
    }
    let upkeep = tokio::spawn(keep_up(auth.clone()));
    let backing_up = tokio::spawn(back_up(config.clone(), clock.clone()));
    server::serve(listener, endpoint, settings(config), clock, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no more connections are accepted");
    })
    .await;
    upkeep.abort();
    backing_up.abort();
    if !auth.finish(config.server.shutdown_timeout).await {
        tracing::warn!("some flows did not finish in time; the next start settles what they left");
    }
    if let Err(error) = auth.note(AuditEvent::Shutdown).await {
        tracing::warn!(%error, "the end could not be noted");
    }
    // The last to go: until here the operator can look.
    operations.stop().await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// The operations listener.
struct Operations {
    stop: CancellationToken,
    served: Option<JoinHandle<()>>,
}

impl Operations {
    /// Listens, unless that is off. In debug, where several servers may run on one machine, an address that is taken is
    /// no reason to stop.
    async fn start(
        config: &Config,
        endpoint: BoxEndpoint<'static, Response>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CliError> {
        let stop = CancellationToken::new();
        let Some(address) = config.ops.listen else { return Ok(Self { stop, served: None }) };
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) if config.debug => {
                tracing::warn!(%address, %error, "no metrics: set ops.listen to a free address, or to off");
                return Ok(Self { stop, served: None });
            }
            Err(error) => return Err(CliError::Operations(address, error)),
        };
        let address = listener.local_addr().map_err(CliError::Runtime)?;
        tracing::info!(%address, "serving metrics and health to operators");
        let stopped = stop.clone();
        let settings = ServerSettings { max_connections: OPERATORS, ..settings(config) };
        let serving = server::serve(listener, endpoint, settings, clock, async move {
            stopped.cancelled().await;
        });
        Ok(Self { stop, served: Some(tokio::spawn(serving)) })
    }

    async fn stop(self) {
        self.stop.cancel();
        if let Some(served) = self.served
            && let Err(error) = served.await
        {
            tracing::error!(%error, "the operations listener did not end as it should");
        }
    }
}

fn settings(config: &Config) -> ServerSettings {
    ServerSettings {
        request_timeout: config.server.request_timeout,
        max_connections: config.server.max_connections,
        shutdown_timeout: config.server.shutdown_timeout,
    }
}

async fn keep_up(auth: Arc<Auth>) {
    let mut ticks = tokio::time::interval(CHECKPOINT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for round in (0..UPKEEP_EVERY).cycle() {
        ticks.tick().await;
        let mut done = auth.checkpoint().await;
        if round == 0 {
            done = done.and(auth.upkeep().await);
        }
        if let Err(error) = done {
            tracing::warn!(%error, "a round of upkeep failed; the next one tries again");
        }
    }
}

/// Makes the backups that are due; a task of its own, for a large copy must not keep upkeep waiting.
async fn back_up(config: Config, clock: Arc<dyn Clock>) {
    let mut rounds = tokio::time::interval(BACKUP_ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let (path, settings, now) =
            (config.database.url.path().to_owned(), config.backup.clone(), clock.now());
        let made = spawn_blocking(move || backups::make_if_due(&path, &settings, now)).await;
        match made {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::info!("the database was backed up"),
            Ok(Err(error)) => {
                tracing::error!(%error, "no backup was made; see that backup.dir exists and has room");
            }
            Err(error) => tracing::error!(%error, "a backup did not end as it should"),
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
