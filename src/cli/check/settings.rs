//! What the settings alone show.

use super::line::Line;
use crate::acme::{CacheError, Renewal};
use crate::certificate::Pair;
use crate::cli::acme;
use crate::cli::engine::Place;
use crate::cli::output::counted;
use crate::config::tls::{Acme, Source};
use crate::config::{Config, Loaded, Warning, Weakness};
use crate::domain::Timestamp;
use crate::domain::time::humanize_wait;

pub(super) fn lines(loaded: &Loaded, place: &Place) -> Vec<Line> {
    let warned = |Warning { problem, help, .. }: &Warning| {
        Line::warn("configuration", problem.as_str(), help.as_str())
    };
    let mut lines: Vec<_> = loaded.warnings.iter().map(warned).collect();
    if lines.is_empty() {
        lines.push(Line::ok("configuration", "no fault"));
    }
    lines.push(debug(&loaded.config));
    lines.extend(secret(loaded, place));
    lines.push(limits(&loaded.config));
    lines
}

fn debug(config: &Config) -> Line {
    if config.debug {
        Line::warn(
            "debug",
            "on: codes are printed, the testing endpoints are open",
            "set debug = false in production",
        )
    } else {
        Line::ok("debug", "off")
    }
}

/// One that is too short or weak has not come this far; in debug a weak one is a warning of the configuration.
fn secret(loaded: &Loaded, place: &Place) -> Option<Line> {
    let Some(secret) = &loaded.config.secret_key else {
        let kept = match place {
            Place::File(_) => "debug's own, kept beside the database",
            Place::Server(_) => "debug's own, kept in the database",
        };
        return Some(Line::ok("secret", kept));
    };
    if Weakness::of(secret.expose()).is_some() {
        return None;
    }
    let origin = loaded.settings.iter().find(|setting| setting.key.name == "secret_key");
    let origin = origin.map_or("somewhere", |setting| setting.origin.as_str());
    let earlier = match loaded.config.secret_key_fallbacks.len() {
        0 => String::new(),
        count => format!(", and {} still accepted", counted(count, "earlier secret")),
    };
    Some(Line::ok("secret", format!("strong enough, from {origin}{earlier}")))
}

fn limits(config: &Config) -> Line {
    let limits = &config.limits;
    let off: Vec<_> = [
        ("limits.ip", limits.policy.ip),
        ("limits.user", limits.policy.user),
        ("limits.flood_per_second", limits.flood_per_second),
    ]
    .into_iter()
    .filter_map(|(key, units)| (units == 0).then_some(key))
    .collect();
    if !off.is_empty() {
        return Line::fail("rate limits", format!("off: {}", off.join(", ")), "give each a number above 0");
    }
    let window = humantime::format_duration(limits.policy.window);
    let (ip, user) = (limits.policy.ip, limits.policy.user);
    Line::ok("rate limits", format!("{ip} calls per address, {user} codes per phone, in {window}"))
}

const TLS: &str = "TLS";

/// Codes and tokens travel in clear unless the server or a proxy in front of it has TLS.
pub(super) fn tls(config: &Config, wall: Timestamp) -> Line {
    const WHAT: &str = TLS;
    match &config.server.tls.source {
        Some(Source::Files(files)) => {
            return certificate(&files.pair, &files.cert.display().to_string(), wall);
        }
        Some(Source::Acme(ordered)) => return kept(config, ordered, wall),
        None => {}
    }
    let server = &config.server;
    if !server.listen.is_local() && server.trusted_proxies.is_empty() {
        return Line::fail(
            WHAT,
            format!("{} can be reached without TLS", server.listen),
            "listen on 127.0.0.1 behind a proxy with TLS, and name it in server.trusted_proxies",
        );
    }
    match &server.public_url {
        Some(url) if !url.is_https() => Line::fail(
            WHAT,
            format!("{} has no TLS", url.as_str()),
            "set server.public_url to an https:// one, and give the proxy a certificate",
        ),
        Some(url) => Line::ok(WHAT, format!("reached through a proxy as {}", url.as_str())),
        None => Line::warn(
            WHAT,
            "server.public_url is not set, so TLS in front of the server cannot be judged",
            "set server.public_url to an https:// one; Twilio's delivery reports come in there too",
        ),
    }
}

/// The certificate that an authority has given.
fn kept(config: &Config, ordered: &Acme, wall: Timestamp) -> Line {
    let names = ordered.settings.domains.join(", ");
    let kept = match Renewal::kept_in(&*acme::cache(config, ordered)) {
        Ok(kept) => kept,
        Err(CacheError { place, reason }) => {
            return Line::fail(
                TLS,
                format!("{place}: {reason}"),
                "run this as the user that the server runs as",
            );
        }
    };
    match kept.as_deref().map(Renewal::parse) {
        None => Line::warn(
            TLS,
            format!("there is no certificate for {names} yet"),
            "start the server, which orders one; its log says what the authority answers",
        ),
        Some(Err(error)) => {
            Line::fail(TLS, format!("the certificate that is kept: {error}"), "the server orders another")
        }
        Some(Ok(pair)) => certificate(&pair, "the authority's", wall),
    }
}

/// Whether the server's own certificate holds long enough; whether it is for the right name, the configuration tells.
fn certificate(pair: &Pair, place: &str, wall: Timestamp) -> Line {
    const RENEW: &str = "renew it; the server reads the file again by itself";
    let left = wall.until(pair.ends);
    let ends = pair.ends.iso();
    if left.is_zero() {
        return Line::fail(
            TLS,
            format!("the certificate in {place} has expired: it held until {ends}"),
            RENEW,
        );
    }
    if wall < pair.begins {
        return Line::fail(
            TLS,
            format!("the certificate in {place} holds only from {} on", pair.begins.iso()),
            "look at the clock of this machine",
        );
    }
    let found = format!("{place}, for {}, holds for {}", pair.names().join(", "), humanize_wait(left));
    if pair.is_urgent(wall) {
        return Line::fail(TLS, found, RENEW);
    }
    if pair.is_overdue(wall) { Line::warn(TLS, found, RENEW) } else { Line::ok(TLS, found) }
}
