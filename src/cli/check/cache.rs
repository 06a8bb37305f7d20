//! The cache that several servers share: without it each counts by itself, so it only warns.

use std::net::IpAddr;
use std::time::Duration;

use super::line::Line;
use crate::config::Config;
use crate::limits::redis::{CacheSettings, probe};

const WHAT: &str = "cache";

/// An answer that takes longer is not waited for by a server.
const SLOW: Duration = Duration::from_millis(20);

/// The line, where `cache.url` is set.
pub(super) fn line(config: &Config, offline: bool) -> Option<Line> {
    let cache = config.cache.url.as_ref()?;
    if offline && !is_here(cache) {
        return Some(Line::warn(WHAT, "not asked", "run `freshk check` without --offline"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer =
        runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(probe(cache)));
    Some(match answer {
        Err(reason) => Line::warn(
            WHAT,
            format!("{cache} cannot be used, so that each server limits by itself: {reason}"),
            "start it, or set cache.url right",
        ),
        Ok(took) if took >= SLOW => Line::warn(
            WHAT,
            format!("{cache} took {} ms for an answer; servers wait for 20 ms", took.as_millis()),
            "have it in the same data centre as the servers",
        ),
        Ok(took) if !cache.is_encrypted() && !is_here(cache) => Line::warn(
            WHAT,
            format!("{cache} answers in {} µs; the way to it is not encrypted", took.as_micros()),
            "set cache.url to rediss://, unless the network between them is yours alone",
        ),
        Ok(took) => Line::ok(WHAT, format!("{cache} answers in {} µs", took.as_micros())),
    })
}

/// Whether it is on this machine, as far as its name tells.
fn is_here(cache: &CacheSettings) -> bool {
    cache.host() == "localhost" || cache.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
