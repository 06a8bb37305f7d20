//! The operator's page: one HTML document without scripts, which asks for itself again every quarter of a minute.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::history::History;
use super::reading::{Reading, Wanted};
use super::rules::Severity;
use super::state::State;
use crate::domain::Timestamp;

mod html;

use html::{Escaped, WithCode, bytes, card, count, curve, lasting, latency, money, percent, table, texts};

/// What the page tells beside the metrics.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Now.
    pub now: Timestamp,
    /// When the server started.
    pub started: Timestamp,
    /// Which database is served: a path or a place, without a password.
    pub database: String,
    /// Whether the server can write.
    pub is_ready: bool,
    /// The servers of the database: host, version and since when each runs.
    pub nodes: Vec<[String; 3]>,
    /// The latest lines of the audit trail, the newest first: when, what, about whom, from where, and more. None where they could not
    /// be read.
    pub audit: Option<Vec<[String; 5]>>,
}

/// The counters whose course over the day the page draws.
pub const COURSES: &[&str] = &[CODES, JUDGED, MESSAGES, SEGMENTS, REFUSED, COST];

const CODES: &str = "freshk_otp_requests_total";
const JUDGED: &str = "freshk_authentications_total";
const MESSAGES: &str = "freshk_sms_deliveries_total";
const SEGMENTS: &str = "freshk_sms_segments_total";
const REFUSED: &str = "freshk_rate_limit_violations_total";
const COST: &str = "freshk_sms_cost_total";

const STYLE: &str = include_str!("page/style.css");

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

const SUCCESS: Wanted<'_> = ("outcome", &["success"]);
const INTENDED: Wanted<'_> = ("state", &["intended"]);
const DELIVERED: Wanted<'_> = ("state", &["delivered"]);
const LOST: Wanted<'_> = ("state", &["undelivered", "failed", "refused", "unknown"]);

/// Writes the page.
pub fn render(facts: &Facts, state: &State) -> String {
    let none = Reading::default();
    let now = state.history.latest().unwrap_or(&none);
    let open: Vec<_> = state.alarms.open().collect();
    let (class, title) = match (facts.is_ready, open.len()) {
        (false, _) => ("bad", "not ready: the database takes no writes".to_owned()),
        (true, 0) => ("good", "all is well".to_owned()),
        (true, 1) => ("warn", "1 alarm is open".to_owned()),
        (true, alarms) => ("warn", format!("{alarms} alarms are open")),
    };
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"15\"><title>FreshK: {title}</title><style>{STYLE}</style></head><body>\
         <header><h1>FreshK</h1><p class=\"verdict {class}\">{title}</p>\
         <p class=\"dim\">version {version}, serving {database} for {uptime}; as of {at}</p></header><main>",
        version = env!("CARGO_PKG_VERSION"),
        database = Escaped(&facts.database),
        uptime = lasting(facts.started.until(facts.now)),
        at = facts.now.iso(),
    );
    for (rule, since) in open {
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            page,
            "<section class=\"alarm {}\"><h2>{}</h2><p>{}</p><p class=\"dim\">{}, open for {}; runbook.md says more</p></section>",
            if rule.severity == Severity::Page { "bad" } else { "warn" },
            Escaped(rule.summary),
            WithCode(rule.description),
            rule.name,
            lasting(since.until(facts.now)),
        );
    }
    let _ = write!(page, "<div class=\"figures\">{}</div>", figures(&state.history));
    let _ = write!(page, "<div class=\"columns\">{}</div>", columns(facts, &state.history, now));
    let lines =
        facts.audit.as_deref().map(|lines| lines.iter().map(|line| line.to_vec()).collect::<Vec<_>>());
    let trail = match lines {
        Some(lines) => texts(&["when (UTC)", "what", "about", "from", "detail"], &lines),
        None => "<p class=\"bad\">it cannot be read now</p>".to_owned(),
    };
    page + &card("Audit trail", &trail, "freshk audit list --follow") + "</main></body></html>\n"
}

/// A figure of the last hour, what it was in the day, a remark, and its course.
fn figure(title: &str, hour: &str, day: &str, remark: &str, drawn: &str) -> String {
    let inner = format!(
        "<p class=\"big\">{}</p><p class=\"dim\">in the last hour; {} in the last day{}</p>{drawn}",
        Escaped(hour),
        Escaped(day),
        Escaped(remark)
    );
    card(title, &inner, "freshk stats")
}

fn figures(history: &History) -> String {
    let of = |title: &str, name: &str, wanted: &[Wanted<'_>], remark: &str| {
        let within = |window| count(history.increase(name, wanted, window));
        let drawn = curve(
            &history.course(name, wanted),
            &format!("{title}, each quarter of an hour of the last day"),
        );
        figure(title, &within(HOUR), &within(DAY), remark, &drawn)
    };
    let right = percent(history.increase(JUDGED, &[SUCCESS], DAY), history.increase(JUDGED, &[], DAY));
    let sent = history.increase(MESSAGES, &[INTENDED], DAY);
    let conversion = percent(history.increase(JUDGED, &[SUCCESS], DAY), sent);
    let delivered = percent(history.increase(MESSAGES, &[DELIVERED], DAY), sent);
    let segments = count(history.increase(SEGMENTS, &[], DAY));
    [
        of("Codes asked for", CODES, &[], ""),
        of(
            "Logins",
            JUDGED,
            &[SUCCESS],
            &format!("; {right} of the codes given were right, {conversion} of the messages led to a login"),
        ),
        of(
            "Text messages",
            MESSAGES,
            &[INTENDED],
            &format!("; {segments} segments bought, {delivered} reported delivered"),
        ),
        spent(history),
        of("Messages lost", MESSAGES, &[LOST], ""),
        of("Refused by limits", REFUSED, &[], ""),
    ]
    .concat()
}

/// What the messages cost, in the currency of `sms.price`; nothing where no message had a price.
fn spent(history: &History) -> String {
    if history.latest().and_then(|now| now.sum(COST, &[])).is_none_or(|cost| cost <= 0.0) {
        return String::new();
    }
    let within = |window| money(history.increase(COST, &[], window));
    let drawn = curve(&history.course(COST, &[]), "Cost, each quarter of an hour of the last day");
    figure("Cost of messages", &within(HOUR), &within(DAY), "; by sms.price", &drawn)
}

fn columns(facts: &Facts, history: &History, now: &Reading) -> String {
    let nodes: Vec<_> = facts.nodes.iter().map(|node| node.to_vec()).collect();
    [
        card("Text messages since the start", &by_labels(now, MESSAGES), "freshk sms list"),
        card(
            "By sender, since the start",
            &by_labels(now, "freshk_sms_sender_messages_total"),
            "freshk stats",
        ),
        card("By country, since the start", &countries(now), "freshk stats"),
        card("Guard and budgets, since the start", &spending(now), "freshk limit show"),
        card(
            "Errors of the provider",
            &by_labels(now, "freshk_sms_errors_total"),
            "freshk sms list --state failed",
        ),
        card(
            "Refusals since the start",
            &by_labels(now, "freshk_refusals_total"),
            "freshk audit list --event excess_rate_limit_exceeded",
        ),
        card(
            "How long answers take, since the start",
            &routes(history, now),
            "freshk audit list --request ID",
        ),
        card("Machine and database", &machine(history, now), "freshk check"),
        card("Webhooks", &webhooks(now), "freshk webhook list"),
        card("Servers", &texts(&["host", "version", "since (UTC)"], &nodes), "freshk check"),
    ]
    .concat()
}

/// The series of a counter that are not zero, the greatest first, by all their labels.
fn by_labels(now: &Reading, name: &str) -> String {
    let mut found: Vec<_> = now.of(name).filter(|(_, value)| *value > 0.0).collect();
    found.sort_by(|one, other| other.1.total_cmp(&one.1));
    let rows = found.into_iter().map(|(series, value)| {
        let labels: Vec<_> =
            series.labels.iter().map(|(_, label)| label.as_str()).filter(|label| !label.is_empty()).collect();
        vec![labels.join(", "), count(value)]
    });
    table(&[], &rows.collect::<Vec<_>>())
}

/// The countries that messages went to, most first: how many were bought, arrived, led to a first login, and what they cost.
fn countries(now: &Reading) -> String {
    const BOUGHT: &str = "freshk_sms_bought_total";
    let names: BTreeSet<_> = now.of(BOUGHT).map(|(series, _)| series.label("country")).collect();
    let mut rows: Vec<_> = names
        .into_iter()
        .map(|country| {
            let country_alone = [country];
            let of = |name: &str| now.sum(name, &[("country", &country_alone)]).unwrap_or(0.0);
            let bought = of(BOUGHT);
            let rest =
                ["freshk_sms_delivered_total", "freshk_sms_converted_total"].map(|name| count(of(name)));
            let [delivered, verified] = rest;
            (bought, vec![country.to_owned(), count(bought), delivered, verified, money(of(COST))])
        })
        .collect();
    rows.sort_by(|one, other| other.0.total_cmp(&one.0));
    let rows: Vec<_> = rows.into_iter().take(12).map(|(_, row)| row).collect();
    table(&["country", "bought", "delivered", "verified", "cost"], &rows)
}

/// What the guard and the budgets held back.
fn spending(now: &Reading) -> String {
    let of = |name: &str| count(now.sum(name, &[]).unwrap_or(0.0));
    let row = |what: &str, name: &str| vec![what.to_owned(), of(name)];
    table(
        &[],
        &[
            row("messages held back by the guard", "freshk_sms_held_back_total"),
            row("blocks begun", "freshk_sms_blocks_total"),
            row("messages refused because a budget was spent", "freshk_sms_unpaid_total"),
            row("warnings of budgets", "freshk_sms_budget_warnings_total"),
        ],
    )
}

/// The routes that were called, the most called first, with the half and the hundredth of the answers that take longest.
fn routes(history: &History, now: &Reading) -> String {
    let mut called: Vec<_> =
        now.of("freshk_http_request_duration_seconds_count").filter(|(_, count)| *count > 0.0).collect();
    called.sort_by(|one, other| other.1.total_cmp(&one.1));
    let rows = called.into_iter().take(12).map(|(series, calls)| {
        let route = [series.label("route")];
        let wanted = [("route", &route[..])];
        let share =
            |share| latency(history.quantile("freshk_http_request_duration_seconds", &wanted, share, DAY));
        let short = series.label("route");
        let short = short.strip_prefix("/api/mobile/auth").unwrap_or(short);
        vec![short.to_owned(), count(calls), share(0.5), share(0.99)]
    });
    table(&["route", "calls", "p50", "p99"], &rows.collect::<Vec<_>>())
}

fn machine(history: &History, now: &Reading) -> String {
    let value = |name: &str| now.max(name);
    let size = |name: &str| value(name).map_or_else(|| "–".to_owned(), bytes);
    let commit = |share| latency(history.quantile("freshk_writer_commit_seconds", &[], share, HOUR));
    let backup = match value("freshk_backup_age_seconds") {
        Some(age) if age.is_finite() => {
            format!("{} ago", lasting(Duration::try_from_secs_f64(age).unwrap_or_default()))
        }
        _ => "none".to_owned(),
    };
    let breaker =
        if value("freshk_sms_breaker_open") == Some(1.0) { "open: nothing is sent" } else { "closed" };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    table(
        &[],
        &[
            row("sessions live", value("freshk_sessions_live").map_or_else(|| "–".to_owned(), count)),
            row("breaker of the SMS provider", breaker.to_owned()),
            row("requests under way", count(value("freshk_http_requests_in_flight").unwrap_or(0.0))),
            row("writes that wait", count(value("freshk_writer_queue_depth").unwrap_or(0.0))),
            row("a commit takes, half and hundredth", format!("{}, {}", commit(0.5), commit(0.99))),
            row("database", size("freshk_database_size_bytes")),
            row("write-ahead log", size("freshk_wal_size_bytes")),
            row("room on the disk", size("freshk_disk_available_bytes")),
            row("latest backup", backup),
            row("memory", size("process_resident_memory_bytes")),
            row("open files", count(value("process_open_fds").unwrap_or(0.0))),
        ],
    )
}

fn webhooks(now: &Reading) -> String {
    let rows = now.of("freshk_events_waiting").map(|(series, waiting)| {
        let name = [series.label("webhook")];
        let of = |metric: &str| now.sum(metric, &[("webhook", &name)]).unwrap_or(0.0);
        let is_off = of("freshk_webhook_off") > 0.0;
        let name = if is_off {
            format!("{} (off)", series.label("webhook"))
        } else {
            series.label("webhook").to_owned()
        };
        vec![
            name,
            count(waiting),
            count(of("freshk_events_delivered_total")),
            count(of("freshk_event_failures_total")),
        ]
    });
    table(&["webhook", "wait", "delivered", "failed"], &rows.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::Watch;

    fn facts(is_ready: bool) -> Facts {
        let now = Timestamp::from_millis(1_800_000_000_000);
        Facts {
            now,
            started: now - DAY,
            database: "sqlite:///var/lib/<b>.db".to_owned(),
            is_ready,
            nodes: vec![["host".to_owned(), "1.0".to_owned(), "now".to_owned()]],
            audit: Some(vec![
                ["at", "authn_login_fail", "user 7", "198.51.100.7", "<i>wrong</i>"].map(str::to_owned),
            ]),
        }
    }

    #[test]
    fn the_page_tells_how_it_stands_and_shows_no_markup_of_others() {
        let watch = Watch::default();
        let metrics = "freshk_otp_requests_total{channel=\"production\"} 1234\nfreshk_sms_breaker_open 1\n\
            freshk_sms_errors_total{code=\"21614\"} 3\nfreshk_events_waiting{webhook=\"<u>\"} 2\n\
            freshk_sms_bought_total{country=\"FR\",number=\"new\"} 40\nfreshk_sms_cost_total{country=\"FR\"} 1234.5\n";
        let start = facts(true).now - Duration::from_mins(3);
        for minute in 0..3 {
            watch.look(metrics, start + Duration::from_mins(minute));
        }
        let page = render(&facts(true), &watch.state(metrics, facts(true).now));
        for part in [
            "1 alarm is open",
            "FreshKSmsBreakerOpen",
            "<code>freshk check</code>",
            "1,234",
            "21614",
            "<td>FR</td><td class=\"n\">40</td>",
            "<td class=\"n\">1,234.50</td>",
            "Cost of messages",
            "&lt;i&gt;wrong",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for markup in ["<b>", "<i>", "<u>", "<script", "http://", "https://"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(render(&facts(false), &watch.state(metrics, facts(true).now)).contains("not ready"));
        assert!(render(&facts(true), &Watch::default().state("", facts(true).now)).contains("all is well"));
    }
}
