//! The trusted proxies, against what the log and the audit trail show.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::line::Line;
use super::monitoring::value;
use crate::cli::admin::PAGE;
use crate::config::Config;
use crate::config::server::Server;
use crate::domain::time::human;
use crate::domain::{ClientAddress, Mode, Timestamp};
use crate::http::client_ip::{WARNING_MEND, WARNING_TARGET, line_trusting};
use crate::metrics::{PROXY_FAULT, ProxyFault};
use crate::storage::audit::{AuditLine, AuditOf};
use crate::storage::sqlite;
use crate::telemetry;

const WHAT: &str = "trusted proxies";

/// What is older says little of the configuration that stands now.
const OF_LATE: Duration = Duration::from_hours(24);

/// As much of a day's log is read, from its end.
const TAIL: u64 = 4 * 1024 * 1024;

/// Fewer calls than this may well come from one and the same machine.
const CROWD: usize = 10;

pub(super) fn line(config: &Config, now: Timestamp, database_stands: bool, metrics: Option<&str>) -> Line {
    let server = &config.server;
    if let Some(everybody) = server.trusted_proxies.iter().find(|network| network.prefix_len() == 0) {
        return Line::fail(
            WHAT,
            format!(
                "{everybody} trusts everybody: whoever forges {} evades the limits",
                server.forwarded_header
            ),
            "name the proxy's own address in server.trusted_proxies",
        );
    }
    if let Some(warning) = config.log.file.as_deref().and_then(|file| in_log(file, now, server)) {
        return Line::warn(
            WHAT,
            format!("{} passes requests on and is not trusted, says the log", warning.peer),
            format!("if it is your proxy, {WARNING_MEND}{}", warning.mend),
        );
    }
    if let Some(line) = metrics.and_then(|page| seen_by_server(page, now, server)) {
        return line;
    }
    if database_stands && let Some((count, address)) = shared_address(config, now) {
        let mend = if trusts(server, address) {
            format!("have the proxy say in {} for whom it asks", server.forwarded_header)
        } else {
            let more = line_trusting(&server.trusted_proxies, address);
            format!("if it is your proxy, {WARNING_MEND}{more}")
        };
        return Line::warn(
            WHAT,
            format!("all of the latest {count} events come from {address}, and share its limits"),
            mend,
        );
    }
    let seen = match (&config.log.file, database_stands) {
        (Some(_), true) => "; no other in log and audit trail",
        (Some(_), false) => "; no other in the log",
        (None, true) => "; no other in the audit trail",
        (None, false) => "",
    };
    if server.trusted_proxies.is_empty() {
        return if server.listen.ip().is_loopback() {
            Line::warn(
                WHAT,
                format!("none, though only a proxy on this machine reaches {}", server.listen),
                format!(
                    "{WARNING_MEND}{}, or all clients share one quota",
                    line_trusting(&[], server.listen.ip())
                ),
            )
        } else {
            Line::ok(WHAT, format!("none named{seen}"))
        };
    }
    let named: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    Line::ok(WHAT, format!("{}{seen}", named.join(", ")))
}

/// What the running server has seen of late.
fn seen_by_server(page: &str, now: Timestamp, server: &Server) -> Option<Line> {
    let ago = |fault: ProxyFault| {
        let at =
            value(page, &format!("{PROXY_FAULT}{{fault=\"{}\"}}", fault.as_str())).filter(|at| *at > 0)?;
        Some(Timestamp::from_millis(at.saturating_mul(1000)).until(now)).filter(|ago| *ago <= OF_LATE)
    };
    if let Some(ago) = ago(ProxyFault::Untrusted) {
        return Some(Line::warn(
            WHAT,
            format!("one that is not trusted passed a request on {} ago, says the server", human(ago)),
            "if it is your proxy, add it to server.trusted_proxies: a warning in the log has the line to write",
        ));
    }
    ago(ProxyFault::Silent).map(|ago| {
        Line::warn(
            WHAT,
            format!("a request from one {} ago named no client, and counted as the proxy's own", human(ago)),
            format!(
                "have the proxy say in {} for whom it asks, unless you asked yourself",
                server.forwarded_header
            ),
        )
    })
}

fn trusts(server: &Server, address: IpAddr) -> bool {
    server.trusted_proxies.iter().any(|network| network.contains(&address))
}

/// The server's warning that a proxy is not trusted (S37), read back.
struct Warning {
    at: Timestamp,
    peer: IpAddr,
    mend: String,
}

/// The latest such warning of the last day that the configuration of now does not answer.
fn in_log(file: &Path, now: Timestamp, server: &Server) -> Option<Warning> {
    [now, now - OF_LATE].into_iter().find_map(|day| {
        let text = tail(&telemetry::of_day(file, telemetry::day(day))).ok()?;
        text.lines()
            .rev()
            .filter_map(Warning::read)
            .find(|warning| warning.at >= now - OF_LATE && !trusts(server, warning.peer))
    })
}

fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Warning {
    /// Reads a line of either form. A value of a client's can neither begin a line nor stand where the target does.
    fn read(line: &str) -> Option<Self> {
        let (at, target, message, peer) = if line.starts_with('{') {
            let record: Value = serde_json::from_str(line).ok()?;
            let text = |name: &str| record.get(name)?.as_str().map(str::to_owned);
            (text("timestamp")?, text("target")?, text("message")?, text("peer")?)
        } else {
            let (at, rest) = line.split_once(' ')?;
            let (target, rest) = rest.trim_start().strip_prefix("WARN ")?.split_once(": ")?;
            let (message, peer) = rest.rsplit_once(" peer=")?;
            (at.to_owned(), target.to_owned(), message.to_owned(), peer.to_owned())
        };
        let (_, mend) = message.split_once(WARNING_MEND).filter(|_| target == WARNING_TARGET)?;
        // In a line for eyes the fields of the request follow; the line to add ends with a bracket or a quotation mark.
        let mend = &mend[..=mend.rfind([']', '"'])?];
        let at: jiff::Timestamp = at.parse().ok()?;
        let peer: IpAddr = peer.parse().ok()?;
        Some(Self {
            at: Timestamp::from_millis(at.as_millisecond()),
            peer: peer.to_canonical(),
            mend: mend.to_owned(),
        })
    }
}

/// How many of the latest events, at most a day old, came from one neighbour, where all of them did.
fn shared_address(config: &Config, now: Timestamp) -> Option<(usize, IpAddr)> {
    let page = sqlite::look(config.database.url.path(), |view| {
        view.audit_before(&AuditOf::Everybody, i64::MAX, PAGE)
    });
    let is_a_call = |line: &AuditLine| {
        line.at >= now - OF_LATE && line.mode.as_deref() == Some(Mode::Production.as_str())
    };
    let lines = page.ok()?.into_iter().filter(is_a_call);
    let addresses: Vec<IpAddr> = lines.filter_map(|line| line.ip?.parse().ok()).collect();
    let one = *addresses.first()?;
    let is_everybodys = addresses.len() >= CROWD && addresses.iter().all(|address| *address == one);
    (is_everybodys && ClientAddress::new(one).is_neighbour()).then_some((addresses.len(), one))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "a proxy that is not trusted passes requests on; if it is yours, write under [server] in \
                           freshk.toml: trusted_proxies = [\"127.0.0.1/32\"] and forwarded_header = \"x-real-ip\"";

    fn pretty(target: &str) -> String {
        format!("2026-01-01T00:00:00Z  WARN {target}: {MESSAGE} request_id=00ff peer=::ffff:127.0.0.1")
    }

    #[test]
    fn s37_the_warning_is_read_back_from_either_form_of_the_log() {
        let json = serde_json::json!({
            "timestamp": "2026-01-01T00:00:00Z",
            "level": "WARN",
            "target": WARNING_TARGET,
            "message": MESSAGE,
            "peer": "127.0.0.1",
        });
        for line in [json.to_string(), pretty(WARNING_TARGET)] {
            let warning = Warning::read(&line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(warning.at, Timestamp::from_millis(1_767_225_600_000));
            assert_eq!(warning.peer, IpAddr::from([127, 0, 0, 1]));
            assert_eq!(
                warning.mend,
                "trusted_proxies = [\"127.0.0.1/32\"] and forwarded_header = \"x-real-ip\""
            );
        }
    }

    #[test]
    fn s34_what_others_write_is_not_taken_for_it() {
        let quoting =
            format!("2026-01-01T00:00:00Z  INFO freshk::http::edge: request a={}", pretty(WARNING_TARGET));
        for line in
            [&pretty("freshk::http::edge"), &quoting, "", "{", "{}", "x", "WARN ", "2026  WARN x: y peer=z"]
        {
            assert!(Warning::read(line).is_none(), "{line}");
        }
    }
}
