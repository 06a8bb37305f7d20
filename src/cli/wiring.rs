//! Puts the concrete parts together; the sender is chosen here, the database in `engine`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use poem::endpoint::BoxEndpoint;
use poem::http::HeaderName;
use poem::{EndpointExt as _, Response};

use super::engine::Engine;
use super::error::WiringError;
use super::watching::Watching;
use super::{backups, disk, process, reports};
use crate::api;
use crate::api::account::AccountApi;
use crate::api::number::NumberApi;
use crate::api::otp::OtpApi;
use crate::api::sessions::SessionsApi;
use crate::api::testing::TestingApi;
use crate::api::webhook::{CallbackReader, WebhookApi};
use crate::auth::{self, Auth, Outbox, Parts};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::senders::SenderKind;
use crate::config::sms::Provider;
use crate::config::tokens::Signing;
use crate::domain::budget::Budget;
use crate::domain::guard::GuardMode;
use crate::domain::keys::{DerivedKeys, KeyRing};
use crate::domain::message::{MessageState, Unsent};
use crate::domain::{Channel, Secret, Via};
use crate::events::http::HttpTransport;
use crate::events::{self, Dispatcher, Transport};
use crate::http::health::Readiness;
use crate::http::server::ServerSettings;
use crate::http::{self, ClientIp, EdgeParts, EdgeSettings, ErrorCode, Jwks, ops};
use crate::limits::flood::FloodGuard;
use crate::limits::redis::RedisLimits;
use crate::limits::shared::{Pacing, SharedLimits};
use crate::metrics::Metrics;
use crate::random::{self, Random};
use crate::sms::SmsSender;
use crate::sms::console::ConsoleSender;
use crate::sms::http::HttpSender;
use crate::sms::route::{Member, Route};
use crate::sms::twilio::TwilioSender;
use crate::storage::{Locks, Store};
use crate::sync::{Live, lock};
use crate::tokens::keys::KeySet;
use crate::tokens::{DeviceTokens, Names, Tokens};
use crate::watch::Watch;
use crate::watch::notify::Notifier;

/// The program, put together but not yet listening.
pub struct Service {
    /// The flows.
    pub auth: Arc<Auth>,
    /// The database.
    pub store: Store,
    /// What answers requests.
    pub endpoint: BoxEndpoint<'static, Response>,
    /// What answers the operator's machines.
    pub operations: BoxEndpoint<'static, Response>,
    /// What looks after the server.
    pub watching: Arc<Watching>,
    /// What is counted.
    pub metrics: Metrics,
    /// The senders of production codes.
    pub(super) senders: Route,
    /// The guard against floods, which a reload replaces.
    pub(super) flood: Arc<Live<FloodGuard>>,
    /// Who is told of what.
    pub outbox: Outbox,
    /// What takes events to the webhooks.
    pub dispatcher: Dispatcher,
}

/// What stands before and behind a sender's name in the paths of callbacks.
const CALLBACKS: (&str, &str) = ("/api/mobile/auth/sms/", "/status");

/// What posts to webhooks.
pub fn transport() -> Arc<dyn Transport> {
    Arc::new(HttpTransport::default())
}

/// The senders of production codes, as configured; in debug codes are shown on `console`.
pub fn production_senders(config: &Config, clock: &Arc<dyn Clock>, console: Arc<dyn SmsSender>) -> Route {
    match &config.sms.provider {
        Provider::Console => console_alone(console),
        Provider::Senders(senders) => Route::new(senders.iter().map(|configured| {
            let sender: Arc<dyn SmsSender> = match &configured.kind {
                SenderKind::Twilio(settings) => {
                    Arc::new(TwilioSender::new((**settings).clone(), clock.clone()))
                }
                SenderKind::Http(settings) => Arc::new(HttpSender::new(settings.clone(), clock.clone())),
                SenderKind::Console => console.clone(),
            };
            Member {
                via: Via::new(configured.name.clone(), configured.kind.channel()),
                sender,
                countries: configured.countries.clone(),
                after: configured.after,
            }
        })),
    }
}

fn console_alone(console: Arc<dyn SmsSender>) -> Route {
    Route::single(Via::new("console", Channel::Sms), console)
}

/// Puts the program together.
///
/// # Errors
/// [`WiringError`]
pub fn build(
    config: &Config,
    secret: &Secret,
    engine: impl Into<Engine>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Service, WiringError> {
    let engine = engine.into();
    let console: Arc<dyn SmsSender> = Arc::new(ConsoleSender::new(clock.clone()));
    let production = production_senders(config, &clock, console.clone());
    let callbacks = reports::reader(config, clock.clone());
    let senders = production.clone();
    let metrics = Metrics::new();
    let states = MessageState::ALL.map(MessageState::as_str).into_iter().chain([Unsent::STATE]);
    metrics.begin(ErrorCode::ALL.map(ErrorCode::as_str), states, auth::TOKEN_REUSES);
    metrics.begin_spending(
        Budget::ALL.map(Budget::as_str),
        [GuardMode::On, GuardMode::Monitor].map(GuardMode::as_str),
    );
    let counted = metrics.clone();
    engine.watch_commits(Box::new(move |writes, took| counted.committed(writes, took)));
    let store = engine.store();
    let run = random::run_id(&*random);
    let outbox = Outbox::new(&config.webhooks, random.clone());
    let dispatcher = Dispatcher::new(
        events::Parts {
            store: store.clone(),
            clock: clock.clone(),
            transport: transport(),
            metrics: metrics.clone(),
            run: run.clone(),
        },
        &config.webhooks,
        config.events.max_waiting,
        outbox.watch(),
    );
    let shared = config.cache.url.as_ref().map(|cache| -> Arc<dyn SharedLimits> {
        RedisLimits::start(cache, DerivedKeys::derive(secret), metrics.clone())
    });
    let parts = Parts {
        store: store.clone(),
        production,
        testing: console_alone(console),
        clock: clock.clone(),
        random: random.clone(),
        run,
        metrics: metrics.clone(),
        shared: shared.clone(),
        outbox: outbox.clone(),
    };
    let auth = Auth::new(parts, settings(config, secret)?);
    let database = engine.identity();
    let readiness = readiness(&store, clock.clone());
    let page = page(config, &metrics, engine, senders.clone(), clock.clone());
    let watching = Arc::new(Watching {
        watch: Watch::default(),
        metrics: page.clone(),
        readiness: readiness.clone(),
        store: store.clone(),
        clock: clock.clone(),
        notifier: Notifier::new(config.ops.alert_url.clone(), config.ops.heartbeat_url.clone()),
        command: config.ops.alert_command.clone(),
        started: clock.now(),
        database: config.database.url.to_string(),
        is_logged: !config.debug,
    });
    let operations = ops::endpoint(ops::Parts {
        overview: watching.overview(),
        metrics: page,
        readiness: readiness.clone(),
        random: random.clone(),
        database,
        hosts: config.server.allowed_hosts.clone(),
    });
    let flood = Arc::new(Live::new(flood(config)));
    let pacing = Pacing::new(flood.clone(), shared);
    let surroundings = Surroundings { readiness, clock, random, metrics: metrics.clone(), pacing };
    let endpoint = endpoint(config, &auth, callbacks, surroundings)?;
    Ok(Service { auth, store, endpoint, operations, watching, metrics, senders, flood, outbox, dispatcher })
}

/// What the flows go by, at the start and after each reload.
pub(super) fn settings(config: &Config, secret: &Secret) -> Result<auth::Settings, WiringError> {
    let keys = Arc::new(KeyRing::new(secret, &config.secret_key_fallbacks));
    Ok(auth::Settings {
        tokens: tokens(config, secret)?,
        devices: DeviceTokens::new(&keys),
        keys,
        texts: config.sms.texts.clone(),
        policy: Arc::new(config.policy()),
    })
}

/// The guard against floods, at the start and after each reload.
pub(super) fn flood(config: &Config) -> FloodGuard {
    FloodGuard::new(config.limits.flood_per_second, config.limits.flood_burst)
}

/// The page of metrics, with what is measured only when somebody looks.
fn page(
    config: &Config,
    metrics: &Metrics,
    engine: Engine,
    senders: Route,
    clock: Arc<dyn Clock>,
) -> ops::Page {
    let (metrics, backups) = (metrics.clone(), config.backup.dir.clone());
    let started = clock.wall();
    Arc::new(move |reader, format| {
        let (now, wall) = (clock.now(), clock.wall());
        // Of a server's disk its own monitoring tells.
        if let Some(file) = engine.sqlite() {
            let (database, log) = file.sizes();
            metrics.set_sizes(database, log);
            metrics.set_disk_available(disk::room(file.path()).map_or(0, |room| room.free));
            let latest = backups.as_deref().and_then(|dir| backups::until(dir, now).ok()?.into_iter().next());
            metrics.set_backup_age(latest.map(|(at, _)| at.until(now)));
        }
        metrics.set_breakers(senders.breakers());
        metrics.set_writes_waiting(engine.writes_waiting());
        metrics.set_clock_offset(now.until(wall).as_secs_f64() - wall.until(now).as_secs_f64());
        metrics.set_process(process::look(started));
        if reader == ops::Reader::Monitoring {
            metrics.scraped(u64::try_from(now.as_secs()).unwrap_or_default());
        }
        metrics.render(format)
    })
}

/// The settings of the listener for phones.
pub fn server_settings(config: &Config) -> ServerSettings {
    let server = &config.server;
    ServerSettings {
        request_timeout: server.request_timeout,
        keepalive_timeout: server.keepalive_timeout,
        max_connections: server.max_connections,
        max_connections_per_address: server.max_connections_per_address,
        trusted_proxies: server.trusted(),
        shutdown_timeout: server.shutdown_timeout,
    }
}

/// What the edge needs beside the flows.
struct Surroundings {
    readiness: Readiness,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    metrics: Metrics,
    pacing: Pacing,
}

/// How long the disk counts as having room once that was shown, unless a write fails meanwhile.
const ROOM_PROVEN: Duration = Duration::from_secs(30);

/// The server is ready while it can write. An empty transaction shows that, except for a full disk: only rows show that, so
/// some are written now and then.
fn readiness(store: &Store, clock: Arc<dyn Clock>) -> Readiness {
    let store = store.clone();
    // Until when there is room, and how many writes had failed when that was shown.
    let proven = Arc::new(Mutex::new(None));
    Arc::new(move || {
        let (store, proven, now) = (store.clone(), proven.clone(), clock.now());
        Box::pin(async move {
            let failed = store.failed_writes();
            let known = *lock(&proven);
            if known.is_some_and(|(until, before)| now < until && failed == before) {
                return store.write(Locks::none(), |_| Ok(())).await.is_ok();
            }
            let has_room = store.write(Locks::none(), |tx| tx.probe_writable()).await.is_ok();
            if has_room {
                *lock(&proven) = Some((now + ROOM_PROVEN, failed));
            }
            has_room
        })
    })
}

fn tokens(config: &Config, secret: &Secret) -> Result<Tokens, WiringError> {
    let access_ttl = config.tokens.lifetimes.access;
    let tokens = match &config.tokens.signing {
        Signing::Secret => Tokens::new(secret, &config.secret_key_fallbacks, access_ttl),
        Signing::KeyFile { algorithm, path, text } => {
            let keys = KeySet::parse(*algorithm, text.expose())
                .map_err(|error| WiringError::KeyFile { path: path.display().to_string(), error })?;
            Tokens::with_keys(keys, &KeyRing::new(secret, &config.secret_key_fallbacks), access_ttl)
        }
    };
    let names = Names { issuer: config.tokens.issuer.clone(), audience: config.tokens.audience.clone() };
    let tokens = tokens.naming(names).carrying(config.tokens.claims.clone());
    Ok(if config.tokens.accept_foreign {
        tokens.accepting_foreign(secret, &config.secret_key_fallbacks)
    } else {
        tokens
    })
}

fn endpoint(
    config: &Config,
    auth: &Arc<Auth>,
    callbacks: CallbackReader,
    surroundings: Surroundings,
) -> Result<BoxEndpoint<'static, Response>, WiringError> {
    let Surroundings { readiness, clock, random, metrics, pacing } = surroundings;
    let server = &config.server;
    let header: HeaderName = server.forwarded_header.parse().map_err(|_| WiringError::ForwardedHeader)?;
    let signing = auth.clone();
    let keys: Jwks = Arc::new(move || signing.settings().tokens.jwks().unwrap_or_default().to_owned());
    let parts = EdgeParts {
        random,
        clock: clock.clone(),
        flood: Arc::new(move |address| {
            let pacing = pacing.clone();
            async move { pacing.admit(address).await }.boxed()
        }),
        client_ip: ClientIp::new(server.trusted(), header, clock.clone(), metrics.clone()),
        readiness,
        jwks: auth.settings().tokens.jwks().map(|_| keys),
        metrics,
    };
    let settings = EdgeSettings {
        debug: config.debug,
        allowed_hosts: server.allowed_hosts.clone(),
        cors_origins: server.cors_origins.clone(),
        body_limit: server.body_limit,
        request_timeout: server.request_timeout,
        unfinished_bodies: server.max_connections_per_address,
        docs: config.docs.enabled,
        callbacks: CALLBACKS,
    };
    let otp = OtpApi::new(auth.clone());
    let (sessions, number) = (SessionsApi::new(auth.clone()), NumberApi::new(auth.clone()));
    let account = AccountApi::new(auth.clone());
    let webhook = WebhookApi::new(auth.clone(), callbacks, clock);
    // Outside debug the testing endpoints do not exist.
    Ok(if config.debug {
        let api: api::DebugApi = (otp, sessions, number, account, TestingApi::new(auth.clone()));
        http::assemble(api, webhook, parts, settings).boxed()
    } else {
        let api: api::ProductionApi = (otp, sessions, number, account);
        http::assemble(api, webhook, parts, settings).boxed()
    })
}
