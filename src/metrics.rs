//! Metrics for the operator's monitoring: counters, gauges and histograms, named as Prometheus recommends.
//!
//! The guide's five key metrics are the first five. Nothing here identifies a person: a label is one of a few words, never a
//! phone number, a client's address or a text of a client. Counting costs an atomic or a short lock and never blocks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

mod cache;
mod families;
mod format;
mod process;
mod spending;

pub use cache::CacheAnswer;
pub use format::Format;
pub use process::Process;

use families::{
    Answered, Authentication, BySender, Families, Forwarding, InChannel, InState, OfCode, OfFault, OfKind,
    OfRoute, OfSender, OfWebhook, Reason, SmsError,
};

/// The name of the metric: when a monitoring system last read the metrics.
pub const LAST_SCRAPE: &str = "freshk_last_scrape_timestamp_seconds";

/// The name of the metric: when a proxy last sent a request that shares its address with all clients behind it.
pub const PROXY_FAULT: &str = "freshk_proxy_fault_timestamp_seconds";

/// When a neighbour that is not in `server.trusted_proxies` last passed a request on: the latest one and its header alone,
/// in the labels `peer` and `header`, as it stands there.
pub const UNTRUSTED_PROXY: &str = "freshk_untrusted_proxy_timestamp_seconds";

/// The classes of answers; the server gives no others.
const CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// Everything that is counted; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Families>);

/// What is counted of one route; looked up once, when the route is made.
#[derive(Clone, Debug)]
pub struct RouteMeter {
    latency: Histogram,
    violations: Counter,
    answers: [Counter; 3],
}

/// A request under way; over when it is dropped.
#[derive(Debug)]
pub struct InFlight(Metrics);

/// Why everybody behind a proxy shares one address and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// The configuration does not name it.
    Untrusted,
    /// It does not name its client.
    Silent,
}

impl ProxyFault {
    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Silent => "silent",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        Self(Arc::new(Families::new()))
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
            drop(self.0.http.refusals.get_or_create(&OfCode { code }));
        }
        for state in states {
            drop(self.0.sms.deliveries.get_or_create(&InState { state }));
        }
        for kind in reuses {
            drop(self.0.logins.token_reuse.get_or_create(&OfKind { kind }));
        }
    }

    /// A code was asked for.
    pub fn code_requested(&self, channel: &'static str) {
        self.0.logins.otp_requests.get_or_create(&InChannel { channel }).inc();
    }

    /// A text message reached a state.
    pub fn message_reached(&self, state: &'static str) {
        self.0.sms.deliveries.get_or_create(&InState { state }).inc();
    }

    /// The provider was asked to send a message, and has answered or not; `took` is how long it had.
    pub fn message_sent(&self, took: Duration) {
        self.0.sms.send.observe(took.as_secs_f64());
    }

    /// What came of sending a message, and with which sender.
    pub fn sender_answered(&self, sender: &str, channel: &'static str, outcome: &'static str) {
        let of = BySender { sender: sender.to_owned(), channel, outcome };
        self.0.sms.by_sender.get_or_create(&of).inc();
    }

    /// The provider accepted a message of so many segments.
    pub fn segments_bought(&self, segments: u32) {
        self.0.sms.segments.inc_by(u64::from(segments));
    }

    /// A message was not sent or did not arrive; `code` is the provider's, where it gave one.
    pub fn message_failed(&self, code: Option<i64>) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.0.sms.errors.get_or_create(&SmsError { code }).inc();
    }

    /// The right code was given.
    pub fn authenticated(&self, channel: &'static str) {
        self.0.logins.authentications.get_or_create(&Authentication { channel, outcome: "success" }).inc();
    }

    /// A code was refused; `reason` is the word of the error.
    pub fn authentication_failed(&self, channel: &'static str, reason: &'static str) {
        self.0.logins.authentications.get_or_create(&Authentication { channel, outcome: "failure" }).inc();
        self.0.logins.failed_attempts.get_or_create(&Reason { channel, reason }).inc();
    }

    /// A refresh token was presented again after it was rotated away.
    pub fn token_reused(&self, kind: &'static str) {
        self.0.logins.token_reuse.get_or_create(&OfKind { kind }).inc();
    }

    /// What counts for one route, named by its template.
    pub fn route(&self, template: &str) -> RouteMeter {
        let label = OfRoute { route: template.to_owned() };
        RouteMeter {
            latency: self.0.http.latency.get_or_create(&label).clone(),
            violations: self.0.http.violations.get_or_create(&label).clone(),
            answers: CLASSES.map(|class| {
                self.0.http.answers.get_or_create(&Answered { route: template.to_owned(), class }).clone()
            }),
        }
    }

    /// A request has come; it is under way until what this gives is dropped.
    pub fn request_begins(&self) -> InFlight {
        self.0.http.in_flight.inc();
        InFlight(self.clone())
    }

    /// A request was refused; `code` is the word of the answer.
    pub fn refused(&self, code: &'static str) {
        self.0.http.refusals.get_or_create(&OfCode { code }).inc();
    }

    /// A proxy sent a request at so many Unix seconds that shares its address with those of everybody behind it.
    pub fn proxy_faulted(&self, fault: ProxyFault, at: u64) {
        self.0.http.proxy_fault.get_or_create(&OfFault { fault: fault.as_str() }).set(at);
    }

    /// Such a proxy is this peer, which the configuration does not name and which forwards in `header`. Only the latest is
    /// kept: peers that come and go must not fill the page.
    pub fn proxy_untrusted(&self, peer: IpAddr, header: &str, at: u64) {
        let latest = &self.0.http.untrusted_proxy;
        let labels = Forwarding { peer: peer.to_string(), header: header.to_owned() };
        if latest.get(&labels).is_none() {
            latest.clear();
        }
        latest.get_or_create(&labels).set(at);
    }

    /// Begins to count for these webhooks.
    pub fn begin_webhooks<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let events = &self.0.events;
        for name in names {
            let label = OfWebhook { webhook: name.to_owned() };
            for counter in [&events.delivered, &events.failed, &events.dropped] {
                drop(counter.get_or_create(&label));
            }
            self.set_events_waiting(name, 0, Duration::ZERO);
            self.set_webhook_off(name, false);
        }
    }

    /// An event was tried, and the webhook has taken it or not.
    pub fn event_tried(&self, webhook: &str, is_delivered: bool) {
        let events = &self.0.events;
        let counter = if is_delivered { &events.delivered } else { &events.failed };
        counter.get_or_create(&OfWebhook { webhook: webhook.to_owned() }).inc();
    }

    /// So many events were dropped that a webhook has not taken.
    pub fn events_dropped(&self, webhook: &str, dropped: u64) {
        self.0.events.dropped.get_or_create(&OfWebhook { webhook: webhook.to_owned() }).inc_by(dropped);
    }

    /// How many events wait for a webhook, and for how long the oldest has.
    pub fn set_events_waiting(&self, webhook: &str, waiting: u64, oldest: Duration) {
        let label = OfWebhook { webhook: webhook.to_owned() };
        self.0.events.waiting.get_or_create(&label).set(waiting);
        self.0.events.oldest.get_or_create(&label).set(oldest.as_secs_f64());
    }

    /// Whether a webhook is switched off.
    pub fn set_webhook_off(&self, webhook: &str, is_off: bool) {
        self.0.events.off.get_or_create(&OfWebhook { webhook: webhook.to_owned() }).set(u64::from(is_off));
    }

    /// A commit made `writes` durable.
    pub fn committed(&self, writes: usize, took: Duration) {
        self.0.storage.batch.observe(f64::from(u32::try_from(writes).unwrap_or(u32::MAX)));
        self.0.storage.commit.observe(took.as_secs_f64());
    }

    /// How many writes wait for the writer, or for their commit.
    pub fn set_writes_waiting(&self, writes: usize) {
        self.0.storage.writes_waiting.set(writes as u64);
    }

    /// How many sessions live.
    pub fn set_live_sessions(&self, sessions: u64) {
        self.0.logins.sessions.set(sessions);
    }

    /// How large the database and its write-ahead log are, in bytes.
    pub fn set_sizes(&self, database: u64, log: u64) {
        self.0.storage.database.set(database);
        self.0.storage.log.set(log);
    }

    /// Free space on the database's disk, in bytes.
    pub fn set_disk_available(&self, bytes: u64) {
        self.0.storage.disk.set(bytes);
    }

    /// Whether the circuit breaker of each sender is open.
    pub fn set_breakers<'s>(&self, senders: impl Iterator<Item = (&'s str, bool)>) {
        let mut one = false;
        for (sender, is_open) in senders {
            one |= is_open;
            let of = OfSender { sender: sender.to_owned() };
            self.0.sms.breakers.get_or_create(&of).set(u64::from(is_open));
        }
        self.0.sms.breaker.set(u64::from(one));
    }

    /// By how many seconds the system's clock is ahead of the time that the server keeps; negative where it is behind.
    pub fn set_clock_offset(&self, seconds: f64) {
        self.0.clock_offset.set(seconds);
    }

    /// The page is read by the operator's monitoring, at so many Unix seconds.
    pub fn scraped(&self, at: u64) {
        self.0.scraped.set(at);
    }

    /// How old the latest backup is; `None` where there is none.
    pub fn set_backup_age(&self, age: Option<Duration>) {
        self.0.storage.backup_age.set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
    }

    /// For how long the server's certificate holds yet, and for how long it holds in all; `None`: there is none yet.
    pub fn set_certificate(&self, left: Duration, lifetime: Option<Duration>) {
        self.0.http.certificate.set(left.as_secs_f64());
        self.0
            .http
            .certificate_lifetime
            .set(lifetime.map_or(f64::INFINITY, |lifetime| lifetime.as_secs_f64()));
    }

    /// A backup that was due could not be made.
    pub fn backup_failed(&self) {
        self.0.storage.backup_failures.inc();
    }

    /// `backup.command` failed.
    pub fn backup_command_failed(&self) {
        self.0.storage.backup_command_failures.inc();
    }

    /// What the system says of this process.
    pub fn set_process(&self, process: Process) {
        self.0.process.set(process);
    }

    /// Everything, in `format`.
    pub fn render(&self, format: Format) -> String {
        format.render(&self.0.registry)
    }
}

impl RouteMeter {
    /// A request was answered with `status`.
    pub fn answered(&self, status: u16, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
        let [good, refused, failed] = &self.answers;
        match status {
            ..400 => good.inc(),
            400..500 => refused.inc(),
            500.. => failed.inc(),
        };
    }

    /// It was refused with 429.
    pub fn limited(&self) {
        self.violations.inc();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.http.in_flight.dec();
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
        metrics.route("/x/").answered(429, Duration::from_millis(2));
        metrics.committed(3, Duration::from_micros(200));
        let _under_way = metrics.request_begins();
        drop(metrics.request_begins());
        metrics.message_failed(Some(30_003));
        metrics.token_reused("ended");
        metrics.segments_bought(2);
        metrics.begin_spending(["hour"], ["on"]);
        metrics.begin_webhooks(["shop"]);
        metrics.set_process(Process { open_files: Some(17), ..Process::default() });
        let page = metrics.clone().render(Format::OpenMetrics);
        for line in [
            "freshk_otp_requests_total{channel=\"production\"} 1",
            "freshk_http_request_duration_seconds_count{route=\"/x/\"} 1",
            "freshk_http_request_duration_seconds_bucket{le=\"0.0025\",route=\"/x/\"} 1",
            "freshk_rate_limit_violations_total{route=\"/x/\"} 0",
            "freshk_writer_batch_size_sum 3.0",
            "freshk_writer_commit_seconds_count 1",
            "freshk_database_size_bytes 0",
            "freshk_http_responses_total{route=\"/x/\",class=\"4xx\"} 1",
            "freshk_http_responses_total{route=\"/x/\",class=\"5xx\"} 0",
            "freshk_http_requests_in_flight 1",
            "freshk_sms_errors_total{code=\"30003\"} 1",
            "freshk_token_reuse_total{kind=\"ended\"} 1",
            "freshk_sms_segments_total 2",
            "freshk_writer_queue_depth 0",
            "process_open_fds 17",
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
            .chain([LAST_SCRAPE, PROXY_FAULT])
            .collect();
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            let is_sample =
                |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
            assert!(page.lines().any(is_sample), "{name} is not in\n{page}");
        }
    }
}
