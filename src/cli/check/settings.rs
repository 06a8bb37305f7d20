//! What the settings alone tell.

use super::Line;
use crate::config::Config;
use crate::config::sms::Provider;
use crate::sms::template::Template;

pub(super) fn lines(config: &Config) -> Vec<Line> {
    vec![debug(config), text(config), limits(config), logging(config), way_in(config), scraping(config)]
}

fn debug(config: &Config) -> Line {
    if config.debug {
        Line::warn(
            "debug",
            "on: codes are printed, the secret is the machine's own",
            "set debug = false in production",
        )
    } else {
        Line::ok("debug", "off, with a secret of its own")
    }
}

/// A text that parses fits into one segment.
fn text(config: &Config) -> Line {
    match Template::parse(&config.sms.template) {
        Ok(_) => Line::ok("SMS text", "one segment"),
        Err(error) => Line::fail("SMS text", error.to_string(), "correct sms.template"),
    }
}

fn limits(config: &Config) -> Line {
    let limits = &config.limits;
    let off: Vec<_> = [
        ("limits.ip", limits.policy.ip),
        ("limits.user", limits.policy.user),
        ("limits.flood_per_second", limits.flood_per_second),
        ("otp.max_failures_per_day", config.otp.max_failures_per_day),
    ]
    .into_iter()
    .filter_map(|(key, units)| (units == 0).then_some(key))
    .collect();
    if off.is_empty() {
        Line::ok("rate limits", format!("{} per address, {} per phone", limits.policy.ip, limits.policy.user))
    } else {
        Line::fail("rate limits", format!("off: {}", off.join(", ")), "give each a number above 0")
    }
}

fn logging(config: &Config) -> Line {
    match &config.log.file {
        None => Line::ok("logging", "on standard error; the service manager keeps it"),
        Some(file) if file.symlink_metadata().is_ok_and(|found| !found.is_symlink()) => Line::fail(
            "logging",
            format!("{} is a file that freshk did not make", file.display()),
            "move it away, or choose another log.file",
        ),
        Some(file) => Line::ok("logging", format!("on standard error and in {}", file.display())),
    }
}

/// Codes and tokens travel in clear unless somebody before us speaks TLS.
fn way_in(config: &Config) -> Line {
    let server = &config.server;
    if server.listen.ip().is_loopback() && server.trusted_proxies.is_empty() {
        return Line::warn(
            "TLS and proxy",
            "listens on this machine alone, and trusts no proxy",
            "name the proxy: server.trusted_proxies = [\"127.0.0.1\"], or all clients share one quota",
        );
    }
    if server.trusted_proxies.is_empty() {
        return Line::fail(
            "TLS and proxy",
            format!("{} is reached without TLS", server.listen),
            "listen on 127.0.0.1 behind a proxy that speaks TLS, and name it in server.trusted_proxies",
        );
    }
    match &server.public_url {
        Some(url) if !url.is_https() => Line::fail(
            "TLS and proxy",
            format!("{} has no TLS", url.as_str()),
            "give server.public_url with https://",
        ),
        Some(url) => Line::ok("TLS and proxy", format!("reached as {}", url.as_str())),
        None => Line::warn(
            "TLS and proxy",
            "a proxy is trusted, but no public URL is known",
            "set server.public_url, so that Twilio's delivery reports come in",
        ),
    }
}

fn scraping(config: &Config) -> Line {
    match (&config.ops.listen, &config.sms.provider) {
        (None, Provider::Twilio(_)) => Line::warn(
            "monitoring",
            "ops.listen is off",
            "set ops.listen, and have Prometheus read /metrics there",
        ),
        (None, Provider::Console) => Line::ok("monitoring", "off, in debug"),
        (Some(address), _) => Line::ok("monitoring", format!("http://{address}/metrics is there to be read")),
    }
}
