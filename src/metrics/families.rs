//! Every family of metrics, by name.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::ProxyFault;
use super::process::Latest;

/// Seconds that requests take: a status from memory at one end, a slow provider at the other.
const LATENCY: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0];
/// Seconds that the provider takes for a message: some tenths when it is well, ten when it is given up.
const SEND: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];
/// Seconds that a commit takes, which is what the disk's sync takes.
const COMMIT: [f64; 10] = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0];
/// Writes in one commit.
const BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

type Whole = Gauge<u64, AtomicU64>;
type Fractional = Gauge<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

macro_rules! labels {
    ($($name:ident { $($label:ident: $type:ty),+ })+) => {
        $(
            #[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
            pub(super) struct $name { $(pub(super) $label: $type),+ }
        )+
    };
}

labels! {
    InChannel { channel: &'static str }
    InState { state: &'static str }
    Authentication { channel: &'static str, outcome: &'static str }
    Reason { channel: &'static str, reason: &'static str }
    OfRoute { route: String }
    Answered { route: String, class: &'static str }
    OfCode { code: &'static str }
    SmsError { code: String }
    OfKind { kind: &'static str }
    OfCountry { country: String }
    Purchased { country: String, number: &'static str }
    HeldBack { rule: &'static str, guard: &'static str }
    OfGuard { guard: &'static str }
    OfBudget { budget: &'static str }
    OfSender { sender: String }
    OfWay { sender: String, channel: &'static str }
    BySender { sender: String, channel: &'static str, outcome: &'static str }
    OfFault { fault: &'static str }
    Forwarding { peer: String, header: String }
    OfWebhook { webhook: String }
    CacheOutcome { outcome: &'static str }
    Build { version: &'static str }
}

/// All families, and the registry that writes them.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) logins: Logins,
    pub(super) http: Http,
    pub(super) sms: Sms,
    pub(super) storage: Storage,
    pub(super) events: Events,
    pub(super) cache: Cache,
    pub(super) clock_offset: Fractional,
    pub(super) scraped: Whole,
    pub(super) process: Latest,
}

/// Of codes, logins and sessions.
#[derive(Debug)]
pub(super) struct Logins {
    pub(super) otp_requests: Family<InChannel, Counter>,
    pub(super) authentications: Family<Authentication, Counter>,
    pub(super) failed_attempts: Family<Reason, Counter>,
    pub(super) token_reuse: Family<OfKind, Counter>,
    pub(super) sessions: Whole,
}

/// Of requests and answers.
#[derive(Debug)]
pub(super) struct Http {
    pub(super) violations: Family<OfRoute, Counter>,
    pub(super) latency: Histograms<OfRoute>,
    pub(super) answers: Family<Answered, Counter>,
    pub(super) in_flight: Gauge,
    pub(super) refusals: Family<OfCode, Counter>,
    pub(super) certificate: Fractional,
    pub(super) certificate_lifetime: Fractional,
    pub(super) proxy_fault: Family<OfFault, Whole>,
    pub(super) untrusted_proxy: Family<Forwarding, Whole>,
}

/// Of text messages.
#[derive(Debug)]
pub(super) struct Sms {
    pub(super) deliveries: Family<InState, Counter>,
    pub(super) send: Histogram,
    pub(super) errors: Family<SmsError, Counter>,
    pub(super) segments: Counter,
    pub(super) breaker: Whole,
    pub(super) bought: Family<Purchased, Counter>,
    pub(super) cost: Family<OfCountry, Counter<f64, AtomicU64>>,
    pub(super) converted: Family<OfCountry, Counter>,
    pub(super) delivered: Family<OfCountry, Counter>,
    pub(super) held_back: Family<HeldBack, Counter>,
    pub(super) unpaid: Family<OfBudget, Counter>,
    pub(super) blocks: Family<OfGuard, Counter>,
    pub(super) budget_warnings: Family<OfBudget, Counter>,
    pub(super) delivered_by: Family<OfWay, Counter>,
    pub(super) by_sender: Family<BySender, Counter>,
    pub(super) breakers: Family<OfSender, Whole>,
}

/// Of the database, its disk and its backups.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) writes_waiting: Whole,
    pub(super) batch: Histogram,
    pub(super) commit: Histogram,
    pub(super) database: Whole,
    pub(super) log: Whole,
    pub(super) disk: Whole,
    pub(super) backup_age: Fractional,
    pub(super) backup_failures: Counter,
    pub(super) backup_command_failures: Counter,
}

/// Of events on their way to webhooks.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) waiting: Family<OfWebhook, Whole>,
    pub(super) oldest: Family<OfWebhook, Fractional>,
    pub(super) delivered: Family<OfWebhook, Counter>,
    pub(super) failed: Family<OfWebhook, Counter>,
    pub(super) dropped: Family<OfWebhook, Counter>,
    pub(super) off: Family<OfWebhook, Whole>,
}

/// Of the cache that servers share.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) lost: Whole,
    pub(super) answers: Family<CacheOutcome, Counter>,
}

/// Enters metrics into a registry.
struct Book<'a>(&'a mut Registry);

impl Book<'_> {
    fn of<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.enter(name, help, None, M::default())
    }

    fn in_unit<M: Metric + Clone + Default>(&mut self, name: &str, unit: Unit, help: &str) -> M {
        self.enter(name, help, Some(unit), M::default())
    }

    fn enter<M: Metric + Clone>(&mut self, name: &str, help: &str, unit: Option<Unit>, metric: M) -> M {
        match unit {
            Some(unit) => self.0.register_with_unit(name, help, unit, metric.clone()),
            None => self.0.register(name, help, metric.clone()),
        }
        metric
    }
}

impl Families {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let mut book = Book(registry.sub_registry_with_prefix("freshk"));
        let (logins, http) = (Logins::enter(&mut book), Http::enter(&mut book));
        let (sms, storage) = (Sms::enter(&mut book), Storage::enter(&mut book));
        let (events, cache) = (Events::enter(&mut book), Cache::enter(&mut book));
        let clock_offset = book.in_unit(
            "clock_offset",
            Unit::Seconds,
            "By how much the clock of the system is ahead of the time that the server keeps",
        );
        let scraped = book.in_unit(
            "last_scrape_timestamp",
            Unit::Seconds,
            "When this page was last read, by another than freshk check; 0 where nobody has since the start",
        );
        let build: Family<Build, Whole> = book.of("build_info", "1, with the version as a label");
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        let process = Latest::default();
        registry.sub_registry_with_prefix("process").register_collector(Box::new(process.clone()));
        Self { registry, logins, http, sms, storage, events, cache, clock_offset, scraped, process }
    }
}

impl Logins {
    fn enter(book: &mut Book<'_>) -> Self {
        Self {
            otp_requests: book.of("otp_requests", "Codes asked for, by request/ and resend/"),
            authentications: book.of(
                "authentications",
                "Codes given to verify/ that were judged, by outcome: success or failure",
            ),
            failed_attempts: book.of(
                "failed_authentication_attempts",
                "Codes given to verify/ that opened no session, by reason",
            ),
            token_reuse: book.of(
                "token_reuse",
                "Refresh tokens presented again after they were rotated away: late (after the grace), late_elsewhere and \
                 prompt_elsewhere (from another network), ended (outside the rules, and the session ended)",
            ),
            sessions: book.of("sessions_live", "Sessions that have neither ended nor expired"),
        }
    }
}

impl Http {
    fn enter(book: &mut Book<'_>) -> Self {
        let proxy_fault = Family::<OfFault, Whole>::default();
        for fault in [ProxyFault::Untrusted, ProxyFault::Silent] {
            drop(proxy_fault.get_or_create(&OfFault { fault: fault.as_str() }));
        }
        let certificate = Fractional::default();
        certificate.set(f64::INFINITY);
        let certificate_lifetime = Fractional::default();
        certificate_lifetime.set(f64::INFINITY);
        Self {
            violations: book.of(
                "rate_limit_violations",
                "Requests refused with 429, by route; the flood guard refuses before a route is known",
            ),
            latency: book.enter(
                "http_request_duration",
                "How long requests take, by route",
                Some(Unit::Seconds),
                Family::new_with_constructor((|| Histogram::new(LATENCY)) as fn() -> Histogram),
            ),
            answers: book.of("http_responses", "Answers, by route and class of status"),
            in_flight: book.of("http_requests_in_flight", "Requests that have come and are not answered yet"),
            refusals: book.of("refusals", "Requests refused, by the code of the answer"),
            certificate: book.enter(
                "certificate_expires",
                "For how long the certificate of the server holds yet, 0 where it has none yet; infinite where the server has \
                 no TLS of its own",
                Some(Unit::Seconds),
                certificate,
            ),
            certificate_lifetime: book.enter(
                "certificate_lifetime",
                "For how long the certificate of the server holds in all; infinite where it has none",
                Some(Unit::Seconds),
                certificate_lifetime,
            ),
            proxy_fault: book.enter(
                "proxy_fault_timestamp",
                "When a request last came through a proxy that gives all its clients one address; 0 where none has: \
                 untrusted, it is not in server.trusted_proxies; silent, it names no client",
                Some(Unit::Seconds),
                proxy_fault,
            ),
            untrusted_proxy: book.enter(
                "untrusted_proxy_timestamp",
                "When a neighbour that is not in server.trusted_proxies last passed a request on; the latest one and its \
                 header alone",
                Some(Unit::Seconds),
                Family::default(),
            ),
        }
    }
}

impl Sms {
    fn enter(book: &mut Book<'_>) -> Self {
        Self {
            deliveries: book.of(
                "sms_deliveries",
                "Text messages that reached a state: intended, queued, sent, delivered, undelivered, failed and so on",
            ),
            send: book.enter(
                "sms_send_duration",
                "How long the SMS provider takes for a message, until it accepts or refuses it or is given up",
                Some(Unit::Seconds),
                Histogram::new(SEND),
            ),
            errors: book.of(
                "sms_errors",
                "Text messages that were not sent or did not arrive, by the error code of the provider; none where it \
                 gave none",
            ),
            segments: book.of("sms_segments", "Segments of the text messages that the provider accepted"),
            breaker: book.of(
                "sms_breaker_open",
                "1 while the SMS provider is left alone after failures, until a message goes through; of several, one of them",
            ),
            by_sender: book.of(
                "sms_sender_messages",
                "Messages by who has them or refused them, what they come by, and what came of the sending: accepted, unknown or \
                 refused",
            ),
            delivered_by: book.of("sms_sender_delivered", "Messages known to have arrived, by sender and channel"),
            breakers: book.of(
                "sms_sender_breaker_open",
                "1 for each sender that is left alone after failures, until a message goes through",
            ),
            bought: book.of(
                "sms_bought",
                "Text messages with codes that were intended, by country and whether the number had been verified before \
                 (known) or not (new)",
            ),
            cost: book.of("sms_cost", "What they cost by sms.price, by country, in the currency of that"),
            converted: book.of(
                "sms_converted",
                "Numbers that were verified for the first time, by country",
            ),
            delivered: book.of("sms_delivered", "Text messages reported as delivered, by country"),
            held_back: book.of(
                "sms_held_back",
                "Messages to numbers never verified before that the guard refused (on) or would have (monitor), by rule",
            ),
            unpaid: book.of("sms_unpaid", "Messages that were refused because a budget is spent, by budget"),
            blocks: book.of("sms_blocks", "How often the guard began to hold messages back (on), or would have (monitor)"),
            budget_warnings: book.of("sms_budget_warnings", "How often most of a budget was spent, by budget"),
        }
    }
}

impl Storage {
    fn enter(book: &mut Book<'_>) -> Self {
        let backup_age = Fractional::default();
        backup_age.set(f64::INFINITY);
        Self {
            writes_waiting: book
                .of("writer_queue_depth", "Writes that wait for the writer or for their commit"),
            batch: book.enter(
                "writer_batch_size",
                "Writes that one commit made durable",
                None,
                Histogram::new(BATCH),
            ),
            commit: book.enter(
                "writer_commit",
                "How long a commit takes",
                Some(Unit::Seconds),
                Histogram::new(COMMIT),
            ),
            database: book.in_unit("database_size", Unit::Bytes, "The database file"),
            log: book.in_unit("wal_size", Unit::Bytes, "The write-ahead log beside it"),
            disk: book.in_unit("disk_available", Unit::Bytes, "Room on the disk that holds the database"),
            backup_age: book.enter(
                "backup_age",
                "How long ago the latest backup was made, in backup.dir or as freshk db backup-stamp noted it; infinite where \
                 there is none",
                Some(Unit::Seconds),
                backup_age,
            ),
            backup_failures: book.of("backup_failures", "Backups that were due and could not be made"),
            backup_command_failures: book
                .of("backup_command_failures", "Backups that backup.command failed to take off the machine"),
        }
    }
}

impl Events {
    fn enter(book: &mut Book<'_>) -> Self {
        Self {
            waiting: book.of("events_waiting", "Events that wait for a webhook"),
            oldest: book.in_unit(
                "events_oldest",
                Unit::Seconds,
                "For how long the oldest event has waited for a webhook; 0 where none waits",
            ),
            delivered: book.of("events_delivered", "Events that a webhook has taken"),
            failed: book.of("event_failures", "Attempts to deliver an event that a webhook did not take"),
            dropped: book.of(
                "events_dropped",
                "Events that no webhook has taken within five days, or that were more than may wait",
            ),
            off: book.of("webhook_off", "1 while a webhook is switched off because it answered 410"),
        }
    }
}

impl Cache {
    fn enter(book: &mut Book<'_>) -> Self {
        Self {
            lost: book.of("cache_lost", "1 while cache.url is set and the cache there cannot be used"),
            answers: book.of(
                "cache_answers",
                "What came of asking the cache: good, late (after 20 ms), failed, or skipped while it is lost",
            ),
        }
    }
}
