//! What the operator's monitoring reads: counters, gauges and histograms in the text of Prometheus.
//!
//! Whoever counts is handed a [`Metrics`]; there is none for the whole process. Labels are words of a few: never a phone,
//! an address, or text of a client's. Counting costs an atomic or a short lock, never a wait.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The media type of [`Metrics::render`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// When the page was last read, as it stands there.
pub const LAST_SCRAPE: &str = "freshk_last_scrape_timestamp_seconds";

/// Seconds that requests take: a status from memory at one end, a slow provider at the other.
const LATENCY: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0];
/// Seconds that a commit takes, which is what the disk's sync takes.
const COMMIT: [f64; 10] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
/// Writes in one commit.
const BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Everything that is counted; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    otp_requests: Family<InChannel, Counter>,
    sms_deliveries: Family<InState, Counter>,
    authentications: Family<Authentication, Counter>,
    failed_attempts: Family<Reason, Counter>,
    violations: Family<OfRoute, Counter>,
    latency: Family<OfRoute, Histogram>,
    refusals: Family<OfCode, Counter>,
    batch: Histogram,
    commit: Histogram,
    token_reuse: Family<OfKind, Counter>,
    sessions: Gauge<u64, AtomicU64>,
    database: Gauge<u64, AtomicU64>,
    log: Gauge<u64, AtomicU64>,
    disk: Gauge<u64, AtomicU64>,
    backup_age: Gauge<f64, AtomicU64>,
    breaker: Gauge<u64, AtomicU64>,
    scraped: Gauge<u64, AtomicU64>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct InChannel {
    channel: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct InState {
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Authentication {
    channel: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reason {
    channel: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfRoute {
    route: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfCode {
    code: &'static str,
}

/// What is counted of one route; looked up once, when the route is made.
#[derive(Clone, Debug)]
pub struct RouteMeter {
    latency: Histogram,
    violations: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("freshk");
        let otp_requests = counted(&mut registry, "otp_requests", "Codes asked for, by request/ and resend/");
        let sms_deliveries = counted(
            &mut registry,
            "sms_deliveries",
            "Text messages that reached a state: queued, sent, delivered, undelivered, failed and so on",
        );
        let authentications = counted(
            &mut registry,
            "authentications",
            "Codes given to verify/ that were judged, by outcome: success or failure",
        );
        let failed_attempts = counted(
            &mut registry,
            "failed_authentication_attempts",
            "Codes given to verify/ that opened no session, by reason",
        );
        let violations = counted(
            &mut registry,
            "rate_limit_violations",
            "Requests refused with 429, by route; the flood guard refuses before a route is known",
        );
        let latency = Family::new_with_constructor((|| Histogram::new(LATENCY)) as fn() -> Histogram);
        registry.register_with_unit(
            "http_request_duration",
            "How long requests take, by route",
            Unit::Seconds,
            latency.clone(),
        );
        let refusals = counted(&mut registry, "refusals", "Requests refused, by the code of the answer");
        let batch = Histogram::new(BATCH);
        registry.register("writer_batch_size", "Writes that one commit made durable", batch.clone());
        let commit = Histogram::new(COMMIT);
        registry.register_with_unit(
            "writer_commit",
            "How long a commit takes",
            Unit::Seconds,
            commit.clone(),
        );
        let token_reuse = counted(
            &mut registry,
            "token_reuse",
            "Refresh tokens presented again after they were rotated away: late (after the grace), late_elsewhere and \
             prompt_elsewhere (from another network), ended (outside the rules, and the session ended)",
        );
        let sessions = Gauge::default();
        registry.register("sessions_live", "Sessions that have neither ended nor expired", sessions.clone());
        let database = Gauge::default();
        registry.register_with_unit("database_size", "The database file", Unit::Bytes, database.clone());
        let log = Gauge::default();
        registry.register_with_unit("wal_size", "The write-ahead log beside it", Unit::Bytes, log.clone());
        let disk = Gauge::default();
        registry.register_with_unit(
            "disk_available",
            "Room on the disk that holds the database",
            Unit::Bytes,
            disk.clone(),
        );
        let backup_age = Gauge::<f64, AtomicU64>::default();
        backup_age.set(f64::INFINITY);
        registry.register_with_unit(
            "backup_age",
            "How long ago the latest backup in backup.dir was made; infinite where there is none",
            Unit::Seconds,
            backup_age.clone(),
        );
        let breaker = Gauge::default();
        registry.register(
            "sms_breaker_open",
            "1 while the SMS provider is left alone after failures, until a message goes through",
            breaker.clone(),
        );
        let scraped = Gauge::default();
        registry.register_with_unit(
            "last_scrape_timestamp",
            "When this page was last read, by another than `freshk check`; 0 where nobody has since the start",
            Unit::Seconds,
            scraped.clone(),
        );
        Self(Arc::new(Inner {
            registry,
            otp_requests,
            sms_deliveries,
            authentications,
            failed_attempts,
            violations,
            latency: latency.clone(),
            refusals,
            batch,
            commit,
            token_reuse,
            sessions,
            database,
            log,
            disk,
            backup_age,
            breaker,
            scraped,
        }))
    }

    /// Begins to count refusals of these codes, messages of these states and reuse of these kinds: what has a zero before
    /// its first one is seen to move by it.
    pub fn begin(
        &self,
        codes: impl IntoIterator<Item = &'static str>,
        states: impl IntoIterator<Item = &'static str>,
        reuses: impl IntoIterator<Item = &'static str>,
    ) {
        for code in codes {
            drop(self.0.refusals.get_or_create(&OfCode { code }));
        }
        for state in states {
            drop(self.0.sms_deliveries.get_or_create(&InState { state }));
        }
        for kind in reuses {
            drop(self.0.token_reuse.get_or_create(&OfKind { kind }));
        }
    }

    /// A code was asked for.
    pub fn code_requested(&self, channel: &'static str) {
        self.0.otp_requests.get_or_create(&InChannel { channel }).inc();
    }

    /// A text message reached a state.
    pub fn message_reached(&self, state: &'static str) {
        self.0.sms_deliveries.get_or_create(&InState { state }).inc();
    }

    /// The right code was given.
    pub fn authenticated(&self, channel: &'static str) {
        self.0.authentications.get_or_create(&Authentication { channel, outcome: "success" }).inc();
    }

    /// A code was judged and opened no session; `reason` is the word of the refusal.
    pub fn authentication_failed(&self, channel: &'static str, reason: &'static str) {
        self.0.authentications.get_or_create(&Authentication { channel, outcome: "failure" }).inc();
        self.0.failed_attempts.get_or_create(&Reason { channel, reason }).inc();
    }

    /// What counts for one route, named by its template.
    pub fn route(&self, template: &str) -> RouteMeter {
        let label = OfRoute { route: template.to_owned() };
        RouteMeter {
            latency: self.0.latency.get_or_create(&label).clone(),
            violations: self.0.violations.get_or_create(&label).clone(),
        }
    }

    /// A request was refused; `code` is the word of the answer.
    pub fn refused(&self, code: &'static str) {
        self.0.refusals.get_or_create(&OfCode { code }).inc();
    }

    /// A commit made `writes` durable.
    pub fn committed(&self, writes: usize, took: Duration) {
        self.0.batch.observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
        self.0.commit.observe(took.as_secs_f64());
    }

    /// A refresh token was presented again after it was rotated away.
    pub fn token_reused(&self, kind: &'static str) {
        self.0.token_reuse.get_or_create(&OfKind { kind }).inc();
    }

    /// How many sessions live.
    pub fn set_live_sessions(&self, sessions: u64) {
        self.0.sessions.set(sessions);
    }

    /// How large the database and its write-ahead log are, in bytes.
    pub fn set_sizes(&self, database: u64, log: u64) {
        self.0.database.set(database);
        self.0.log.set(log);
    }

    /// How much room there is beside the database, in bytes.
    pub fn set_disk_available(&self, bytes: u64) {
        self.0.disk.set(bytes);
    }

    /// Whether the SMS provider is left alone after failures.
    pub fn set_breaker_open(&self, is_open: bool) {
        self.0.breaker.set(u64::from(is_open));
    }

    /// The page is read by the operator's monitoring, at so many Unix seconds.
    pub fn scraped(&self, at: u64) {
        self.0.scraped.set(at);
    }

    /// How old the latest backup is; `None` where there is none.
    pub fn set_backup_age(&self, age: Option<Duration>) {
        self.0.backup_age.set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    }

    /// Everything, as text of [`MEDIA_TYPE`].
    pub fn render(&self) -> String {
        let mut page = String::new();
        // A string takes whatever is written to it, so half a page cannot be.
        if text::encode(&mut page, &self.0.registry).is_err() {
            page.clear();
        }
        page
    }
}

/// Counters of a name, one for each of its labels.
fn counted<L>(registry: &mut Registry, name: &'static str, help: &'static str) -> Family<L, Counter>
where
    L: Clone + fmt::Debug + EncodeLabelSet + Eq + Hash + Send + Sync + 'static,
{
    let counters = Family::default();
    registry.register(name, help, counters.clone());
    counters
}

impl RouteMeter {
    /// A request was answered.
    pub fn answered(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
    }

    /// It was refused with 429.
    pub fn limited(&self) {
        self.violations.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_prometheus_and_the_rules_for_alarms_have_them() {
        let metrics = Metrics::new();
        metrics.begin(["internal_error"], ["failed"], ["ended"]);
        metrics.code_requested("production");
        metrics.authentication_failed("production", "invalid_otp");
        metrics.route("/x/").answered(Duration::from_millis(2));
        metrics.committed(3, Duration::from_micros(200));
        let page = metrics.clone().render();
        for line in [
            "freshk_otp_requests_total{channel=\"production\"} 1",
            "freshk_http_request_duration_seconds_count{route=\"/x/\"} 1",
            "freshk_http_request_duration_seconds_bucket{le=\"0.0025\",route=\"/x/\"} 1",
            "freshk_rate_limit_violations_total{route=\"/x/\"} 0",
            "freshk_writer_batch_size_sum 3.0",
            "freshk_writer_commit_seconds_count 1",
            "freshk_database_size_bytes 0",
            "freshk_sms_deliveries_total{state=\"failed\"} 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        // What the rules for alarms name is there under that name.
        let rules = include_str!("../docs/alerts.yml");
        let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let named: Vec<_> = rules
            .split(|c| !is_of_a_name(c))
            .filter(|word| word.starts_with("freshk_"))
            .chain([LAST_SCRAPE])
            .collect();
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            let is_sample =
                |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            assert!(page.lines().any(is_sample), "{name} is not in\n{page}");
        }
    }
}
