//! The trusted proxies, against what the running server has seen and what the audit trail shows.

use std::net::IpAddr;
use std::time::Duration;

use super::line::Line;
use super::monitoring::value;
use crate::cli::admin::PAGE;
use crate::cli::engine::Place;
use crate::config::Config;
use crate::config::server::Server;
use crate::domain::time::humanize_wait;
use crate::domain::{ClientAddress, Mode, Timestamp};
use crate::http::client_ip::{HOW_TO_TRUST, lines_trusting};
use crate::metrics::{PROXY_FAULT, ProxyFault, UNTRUSTED_PROXY};
use crate::storage::audit::{AuditLine, AuditOf};

const WHAT: &str = "trusted proxies";

/// What is older says little of the configuration that stands now.
const OF_LATE: Duration = Duration::from_hours(24);

/// Fewer calls than this may well come from one and the same machine.
const CROWD: usize = 10;

pub(super) fn line(config: &Config, now: Timestamp, readable: Option<&Place>, metrics: Option<&str>) -> Line {
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
    if let Some(line) = metrics.and_then(|page| seen_by_server(page, now, server)) {
        return line;
    }
    if let Some((count, address)) = readable.and_then(|database| shared_address(database, now)) {
        let help = if trusts(server, address) {
            format!("have the proxy name its client in {}", server.forwarded_header)
        } else {
            trusting(server, address, &server.forwarded_header)
        };
        return Line::warn(
            WHAT,
            format!("all of the latest {count} events come from {address}, and share its limits"),
            help,
        );
    }
    let seen = match (metrics, readable.is_some()) {
        (Some(_), true) => "; the server and the audit trail show no other",
        (Some(_), false) => "; the server has seen no other",
        (None, true) => "; the audit trail shows no other",
        (None, false) => "",
    };
    if server.trusted_proxies.is_empty() {
        let Some(address) = server.listen.port() else {
            return Line::ok(WHAT, format!("whoever may open {}{seen}", server.listen));
        };
        return if address.ip().is_loopback() {
            Line::warn(
                WHAT,
                format!("none, though only a proxy on this machine can reach {}", server.listen),
                format!(
                    "{HOW_TO_TRUST}{}; without it all clients share one quota",
                    lines_trusting(&[], address.ip(), &server.forwarded_header, &server.forwarded_header)
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
    let known = Forwarder::read(page);
    let untrusted = ago(ProxyFault::Untrusted);
    match (known, untrusted) {
        (Some(known), Some(_)) if trusts(server, known.peer) => {}
        (Some(Forwarder { peer, header }), Some(ago)) => {
            let found = format!("{peer} passed a request on {} ago and is not trusted", humanize_wait(ago));
            return Some(Line::warn(WHAT, found, trusting(server, peer, &header)));
        }
        (None, Some(ago)) => {
            return Some(Line::warn(
                WHAT,
                format!("a proxy that is not trusted passed a request on {} ago", humanize_wait(ago)),
                "if it is your proxy, add it to server.trusted_proxies: a warning in the log has the line to write",
            ));
        }
        (_, None) => {}
    }
    ago(ProxyFault::Silent).map(|ago| {
        Line::warn(
            WHAT,
            format!(
                "a request from one {} ago named no client, and counted as the proxy's own",
                humanize_wait(ago)
            ),
            format!(
                "have the proxy name its client in {}, unless the request was your own",
                server.forwarded_header
            ),
        )
    })
}

/// What to do about a proxy that is not trusted.
fn trusting(server: &Server, peer: IpAddr, header: &str) -> String {
    let lines = lines_trusting(&server.trusted_proxies, peer, &server.forwarded_header, header);
    format!("if it is your proxy, {HOW_TO_TRUST}{lines}")
}

/// The latest proxy that the server does not trust.
struct Forwarder {
    peer: IpAddr,
    header: String,
}

impl Forwarder {
    fn read(page: &str) -> Option<Self> {
        let labels = page.lines().find_map(|line| line.strip_prefix(UNTRUSTED_PROXY)?.split_once('}'))?.0;
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            rest.split_once('"').map(|(value, _)| value)
        };
        Some(Self { peer: label("peer")?.parse().ok()?, header: label("header")?.to_owned() })
    }
}

fn trusts(server: &Server, address: IpAddr) -> bool {
    server.trusted_proxies.iter().any(|network| network.contains(&address))
}

/// How many of the latest events, at most a day old, came from one neighbour, where all of them did.
fn shared_address(database: &Place, now: Timestamp) -> Option<(usize, IpAddr)> {
    let page = database.look(|view| view.audit_before(&AuditOf::Everybody, i64::MAX, PAGE));
    let is_a_call = |line: &AuditLine| {
        line.at >= now - OF_LATE && line.mode.as_deref() == Some(Mode::Production.as_str())
    };
    let lines = page.ok()?.into_iter().filter(is_a_call);
    let addresses: Vec<IpAddr> = lines.filter_map(|line| line.ip?.parse().ok()).collect();
    let one = *addresses.first()?;
    let is_everybodys = addresses.len() >= CROWD && addresses.iter().all(|address| *address == one);
    (is_everybodys && ClientAddress::new(one).is_neighbour()).then_some((addresses.len(), one))
}
