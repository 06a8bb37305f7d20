//! The connection: used while it answers in time, left alone while it does not, made again in the background.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError};
use tokio::time::{sleep, timeout};

use super::super::flood::Pace;
use super::CacheSettings;
use crate::clock::Stopwatch;
use crate::metrics::{CacheAnswer, Metrics};
use crate::sync::{lock, read, write};

/// How long an answer of the cache is waited for: it stands in the way of every request.
const PATIENCE: Duration = Duration::from_millis(20);

/// So many answers in a row that were late close it off: one alone may be the fault of this machine.
const LATE: u32 = 3;

/// How long a new connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// How long a lost cache is let alone at first, and at most.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// A cache that is lost this often is told of, though each time it comes back at once.
const TOLD_FROM: Duration = Duration::from_secs(1);

const LATE_ANSWER: &str = "it did not answer within 20 ms";
pub(super) const NONSENSE: &str = "its answer makes no sense";

/// A leaky bucket (GCRA) on the clock of the cache, in microseconds: gives the wait, 0 where there is none. What stands there
/// and cannot be is started anew.
const PACE: &str = "local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('GET', KEYS[1]) or '')
if not due or due < now or due > now + tolerance + interval + 1 then due = now end
if due > now + tolerance then return math.ceil(due - now - tolerance) end
due = due + interval
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return 0";

/// The way to the cache.
pub(super) struct Circuit {
    client: Client,
    place: String,
    metrics: Metrics,
    open: RwLock<Option<MultiplexedConnection>>,
    late: AtomicU32,
    retry: Mutex<Retry>,
}

/// How long a lost cache is let alone.
struct Retry {
    pause: Duration,
    /// Since the last connection was made.
    held: Stopwatch,
}

/// Counts a call of whom `key` names, and asks how long it has to wait.
pub(super) fn pace(key: &str, pace: Pace) -> Cmd {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mut script = Cmd::new();
    script.arg("EVAL").arg(PACE).arg(1).arg(key).arg(micros(pace.interval())).arg(micros(pace.tolerance()));
    script
}

/// The wait that an answer to [`pace`] tells; `None` where it makes no sense.
pub(super) fn wait(micros: i64, pace: Pace) -> Option<Duration> {
    let wait = Duration::from_micros(u64::try_from(micros).ok()?);
    (wait <= pace.interval() + Duration::from_micros(1)).then_some(wait)
}

/// Connects once and asks; how long the answer took.
///
/// # Errors
/// Why it cannot be used.
pub async fn probe(settings: &CacheSettings) -> Result<Duration, String> {
    let mut connection = connect(&settings.client).await?;
    let asked = Stopwatch::start();
    try_it(&mut connection, CONNECT).await?;
    Ok(asked.elapsed())
}

impl Circuit {
    /// Connects in the background.
    pub(super) fn start(settings: &CacheSettings, metrics: Metrics) -> Arc<Self> {
        metrics.set_cache_lost(true);
        let circuit = Arc::new(Self {
            client: settings.client.clone(),
            place: settings.to_string(),
            metrics,
            open: RwLock::new(None),
            late: AtomicU32::new(0),
            retry: Mutex::new(Retry { pause: Duration::ZERO, held: Stopwatch::start() }),
        });
        tokio::spawn(connect_again(Arc::downgrade(&circuit)));
        circuit
    }

    /// Asks the cache; `None` where it does not answer in time, or is closed off.
    pub(super) async fn ask<T: FromRedisValue>(self: &Arc<Self>, command: &Cmd) -> Option<T> {
        let Some(mut connection) = read(&self.open).clone() else {
            self.metrics.cache_answered(CacheAnswer::Skipped);
            return None;
        };
        match timeout(PATIENCE, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => {
                self.late.store(0, Ordering::Relaxed);
                self.metrics.cache_answered(CacheAnswer::Good);
                Some(answer)
            }
            Ok(Err(error)) => {
                self.lose(&words(&error));
                None
            }
            Err(_) => {
                self.metrics.cache_answered(CacheAnswer::Late);
                if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE {
                    self.close(LATE_ANSWER);
                }
                None
            }
        }
    }

    /// Closes it off after an answer that cannot be used.
    pub(super) fn lose(self: &Arc<Self>, why: &str) {
        self.metrics.cache_answered(CacheAnswer::Failed);
        self.close(why);
    }

    fn close(self: &Arc<Self>, why: &str) {
        if write(&self.open).take().is_none() {
            return;
        }
        tracing::debug!(why, "the connection to the cache is given up");
        self.metrics.set_cache_lost(true);
        let mut retry = lock(&self.retry);
        // One that is lost again and again is let alone for longer each time.
        let is_new = retry.held.elapsed() > 2 * LONGEST;
        retry.pause = if is_new { Duration::ZERO } else { longer(retry.pause) };
        tokio::spawn(connect_again(Arc::downgrade(self)));
    }

    fn pause(&self) -> Duration {
        lock(&self.retry).pause
    }

    fn opened(&self, connection: MultiplexedConnection) {
        self.late.store(0, Ordering::Relaxed);
        lock(&self.retry).held = Stopwatch::start();
        *write(&self.open) = Some(connection);
        self.metrics.set_cache_lost(false);
    }
}

/// Connects until it succeeds, or nobody has the circuit any more. One that is back at once is not told of.
async fn connect_again(circuit: Weak<Circuit>) {
    let mut is_told = false;
    while let Some(pause) = circuit.upgrade().map(|circuit| circuit.pause()) {
        sleep(pause).await;
        let Some(circuit) = circuit.upgrade() else { return };
        let made = open(&circuit.client).await;
        let place = &circuit.place;
        let reason = made.as_ref().err().map_or(LATE_ANSWER, String::as_str);
        if !is_told && (made.is_err() || pause >= TOLD_FROM) {
            is_told = true;
            tracing::warn!(%place, reason, "the cache is lost: until it is back each server limits by itself");
        }
        match made {
            Ok(connection) => {
                circuit.opened(connection);
                tracing::info!(%place, "the cache is in use");
                return;
            }
            Err(_) => lock(&circuit.retry).pause = longer(pause),
        }
    }
}

async fn open(client: &Client) -> Result<MultiplexedConnection, String> {
    let mut connection = connect(client).await?;
    try_it(&mut connection, PATIENCE).await?;
    Ok(connection)
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, String> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| words(&error))
}

/// Asks what is asked later, so that a cache that refuses that, as a full one does, counts as lost.
async fn try_it(connection: &mut MultiplexedConnection, patience: Duration) -> Result<(), String> {
    let often = Pace::new(1000, 1000).ok_or_else(String::new)?;
    let answer = timeout(patience, pace("freshk:probe", often).query_async(connection)).await;
    let micros = answer.map_err(|_| LATE_ANSWER.to_owned())?.map_err(|error| words(&error))?;
    wait(micros, often).map(drop).ok_or_else(|| NONSENSE.to_owned())
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST, LONGEST)
}

/// What is wrong, in one line whatever the other side has sent.
fn words(error: &RedisError) -> String {
    const LONGEST: usize = 200;
    error.to_string().chars().filter(|letter| !letter.is_control()).take(LONGEST).collect()
}
