//! Logs, errors, and whether anything reads the metrics that could raise an alarm.

use std::net::SocketAddr;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};

use super::files::can_write;
use super::line::Line;
use super::room::{self, Need};
use crate::cli::database::{DatabaseFile, Holder};
use crate::cli::disk;
use crate::cli::engine::Place;
use crate::cli::http::{self, ANSWER_CAP};
use crate::config::Config;
use crate::config::sms::Provider;
use crate::domain::time::humanize_wait;
use crate::domain::{ClientAddress, Timestamp};
use crate::files;
use crate::http::ops::{CHECKER, DATABASE};
use crate::metrics::LAST_SCRAPE;
use crate::outgoing::words;

const MONITORING: &str = "monitoring";

/// A server on this machine answers in milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(3);

/// Prometheus reads every minute by default; so long without it is a fault.
const SCRAPE: Duration = Duration::from_mins(5);

/// What the running server says of itself.
pub(super) type Page = Result<String, NoPage>;

/// Why the server says nothing of itself.
#[derive(Debug)]
pub(super) enum NoPage {
    /// Nobody answers, for this reason.
    Silent(String),
    /// What answers is not the server of this database, but this.
    Stranger(&'static str),
}

/// Reads the running server's page of metrics.
pub(super) fn page(config: &Config, database: &Place, offline: bool) -> Option<Page> {
    let address = config.ops.listen.filter(|address| ClientAddress::new(address.ip()).is_neighbour())?;
    (!offline || address.ip().is_loopback()).then(|| read(address, database))
}

/// The value of a series on such a page.
pub(super) fn value(page: &str, series: &str) -> Option<i64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

pub(super) fn lines(config: &Config, database: &Place, now: Timestamp, page: Option<&Page>) -> Vec<Line> {
    let mut lines = vec![logging(config)];
    if let Some(file) = &config.log.file
        && !database.file().is_some_and(|own| disk::is_one(own.path(), file).unwrap_or(true))
    {
        lines.push(room::line("log disk", file, Need::Log));
    }
    lines.extend([errors(config), monitoring(config, database, now, page)]);
    lines
}

fn logging(config: &Config) -> Line {
    match &config.log.file {
        None => Line::ok("logging", "on standard error; the service manager keeps it"),
        Some(file) if file.symlink_metadata().is_ok_and(|found| !found.is_symlink()) => Line::fail(
            "logging",
            format!("{} is a file that freshk did not make", file.display()),
            "move it away, or choose another log.file",
        ),
        Some(file) => match disk::standing(files::directory(file)) {
            Ok(directory) if !can_write(&directory) => Line::fail(
                "logging",
                format!("this user cannot write log.file in {}", directory.display()),
                "give that folder to the user that the server runs as, or choose another log.file",
            ),
            _ => Line::ok("logging", format!("on standard error and in {}", file.display())),
        },
    }
}

/// An error is a line of the log, a number to raise an alarm on, and a report where there is an error tracker.
fn errors(config: &Config) -> Line {
    const WHAT: &str = "error tracking";
    let level = &config.log.level;
    let is_quiet = level.parse::<Targets>().is_ok_and(|targets| {
        let is_off =
            |(target, level): (&str, LevelFilter)| target.starts_with("freshk") && level == LevelFilter::OFF;
        !targets.would_enable("freshk", &Level::ERROR) || targets.iter().any(is_off)
    });
    if is_quiet {
        let found = format!("log.level = {level:?} hides errors");
        return Line::fail(
            WHAT,
            found,
            "let every module log at error or more, such as log.level = \"info\"",
        );
    }
    match &config.sentry.dsn {
        Some(dsn) => Line::ok(WHAT, format!("reported to {}, and in the log at level ERROR", dsn.host())),
        None => {
            Line::ok(WHAT, "level ERROR in the log; freshk_refusals_total{code=\"internal_error\"} counts")
        }
    }
}

fn monitoring(config: &Config, database: &Place, now: Timestamp, page: Option<&Page>) -> Line {
    const START: &str = "set ops.listen, and let Prometheus read /metrics there, with docs/alerts.yml";
    let Some(address) = config.ops.listen else {
        return match config.sms.provider {
            Provider::Senders(_) => Line::warn(MONITORING, "ops.listen is off", START),
            Provider::Console => Line::ok(MONITORING, "off, in debug"),
        };
    };
    if !ClientAddress::new(address.ip()).is_neighbour() {
        return Line::warn(
            MONITORING,
            format!("all who reach {address} can read the metrics"),
            "set ops.listen to 127.0.0.1:8001 or an address of a private network",
        );
    }
    match page {
        None => Line::warn(MONITORING, "not asked", "run `freshk check` without --offline"),
        Some(Err(NoPage::Silent(error))) => silent(database, address, error),
        Some(Err(NoPage::Stranger(what))) => Line::warn(
            MONITORING,
            format!("what answers on {address} {what}"),
            "restart the server after an update, or give each server an ops.listen of its own",
        ),
        Some(Ok(page)) => judged(page, address, now),
    }
}

/// What is served there; `Err` is why nothing is.
fn read(address: SocketAddr, database: &Place) -> Page {
    let silent = |error: &ureq::Error| NoPage::Silent(words(error));
    let call = http::agent(CONNECT, ANSWER).get(format!("http://{address}/metrics"));
    let mut answer = call.header("user-agent", CHECKER).call().map_err(|error| silent(&error))?;
    let served = answer.headers().get(DATABASE).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let text = answer.body_mut().with_config().limit(ANSWER_CAP).read_to_string();
    let text = text.map_err(|error| silent(&error))?;
    stranger(served.as_deref(), database).map_or(Ok(text), |what| Err(NoPage::Stranger(what)))
}

/// What answers with the identity of the database that it serves, if it is not the server of this one.
fn stranger(served: Option<&str>, database: &Place) -> Option<&'static str> {
    let Some(served) = served else { return Some("is not this freshk") };
    let is_ours = match database {
        Place::Server(settings) => settings.identity() == served,
        Place::File(file) => {
            // Whose database was replaced under it, it is still the server of this configuration.
            let holds = |holder: Holder| holder.served.as_deref() == Some(served);
            file.identity().as_deref() == Some(served) || file.holder().ok().flatten().is_some_and(holds)
        }
    };
    (!is_ours).then_some("is a freshk that serves another database")
}

fn silent(database: &Place, address: SocketAddr, error: &str) -> Line {
    let found = format!("nothing to read on {address}: {error}");
    let help = match database.file().map(DatabaseFile::holder) {
        Some(Ok(Some(_))) => {
            "restart the server, so that it listens on ops.listen; its log says if it cannot"
        }
        _ => "start the server: systemctl start freshk, or `freshk serve`",
    };
    Line::warn(MONITORING, found, help)
}

fn judged(page: &str, address: SocketAddr, now: Timestamp) -> Line {
    let last = value(page, LAST_SCRAPE);
    let help = format!("let Prometheus read http://{address}/metrics, with the rules of docs/alerts.yml");
    match last {
        None => Line::warn(
            MONITORING,
            format!("what answers on {address} is not this freshk"),
            "restart the server after an update, or give it an ops.listen of its own",
        ),
        Some(0) => Line::warn(MONITORING, "/metrics has not been read since the server's start", help),
        Some(last) => {
            let ago = Timestamp::from_millis(last.saturating_mul(1000)).until(now);
            if ago > SCRAPE {
                let found = format!("/metrics has not been read for {}", humanize_wait(ago));
                Line::warn(MONITORING, found, help)
            } else {
                Line::ok(MONITORING, format!("http://{address}/metrics was read {} ago", humanize_wait(ago)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::line::Verdict;

    #[test]
    fn five_minutes_without_a_scrape_are_a_warning() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let verdict = |last: i64| {
            let page = format!("# TYPE x gauge\n{LAST_SCRAPE} {last}\n# EOF\n");
            judged(&page, SocketAddr::from(([127, 0, 0, 1], 8001)), now).verdict
        };
        assert_eq!(verdict(now.as_secs()), Verdict::Ok);
        assert_eq!(verdict(now.as_secs() - 300), Verdict::Ok);
        assert_eq!(verdict(now.as_secs() - 301), Verdict::Warn);
        assert_eq!(verdict(0), Verdict::Warn);
    }
}
