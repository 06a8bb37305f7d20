//! File descriptors: the limit is raised as far as needed and allowed, and connections never take those that the database
//! and the operator need (S40).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::beside::CONNECTIONS;
use crate::auth::ASKED_AT_ONCE;
use crate::config::Config;
use crate::config::sms::Provider;

/// Descriptors for all that is there once: the writer, checkpoints and a backup with their files, the log, the lock, the
/// listeners, timers and signals, and a child of `backup.command`.
const ONCE: usize = 64;

/// Threads that read the database at once, at most.
const READERS: usize = 16;

/// A reader has the database and its log open.
const OF_A_READER: usize = 2;

/// A message under way may look a name up while it keeps an older connection.
const OF_A_SENDER: usize = 2;

/// Raises the limit, and gives how many connections of phones may be served at once: `server.max_connections`, or what the
/// system allows, with a warning.
pub(super) fn connections(config: &Config) -> usize {
    let wanted = config.server.max_connections;
    let kept = kept(config);
    let limit = raise(wanted.saturating_add(kept));
    let max = affordable(wanted, kept, limit);
    if max < wanted {
        tracing::warn!(
            limit,
            max,
            "the limit of open files allows fewer connections than server.max_connections = {wanted}: {max} are served at \
             once. Set LimitNOFILE={} in the service's unit, or lower server.max_connections",
            wanted.saturating_add(kept)
        );
    }
    max
}

fn kept(config: &Config) -> usize {
    // For operators, and where plain HTTP is redirected.
    let beside = 1 + usize::from(config.server.tls.redirect_listen.is_some());
    let messages = messages(config) + questions(config);
    ONCE + beside * CONNECTIONS + READERS * OF_A_READER + messages * OF_A_SENDER
}

/// How many messages are handed over at once.
fn messages(config: &Config) -> usize {
    match &config.sms.provider {
        Provider::Console => 0,
        Provider::Senders(senders) => senders.iter().map(|sender| sender.kind.max_in_flight()).sum(),
    }
}

/// How many messages are asked after at once.
fn questions(config: &Config) -> usize {
    match &config.sms.provider {
        Provider::Senders(senders) if senders.iter().any(|sender| sender.kind.is_asked()) => ASKED_AT_ONCE,
        Provider::Senders(_) | Provider::Console => 0,
    }
}

/// What is left for connections beside those kept; a quarter where the limit is too low for anything to be kept.
fn affordable(wanted: usize, kept: usize, limit: usize) -> usize {
    wanted.min(limit.saturating_sub(kept).max(limit / 4).max(1))
}

/// Raises the soft limit to what is needed, as far as the hard one allows; gives what holds then. No further than that: the
/// programs that we start inherit it, and some of them look at every descriptor that there could be.
fn raise(needed: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let size =
        |limit: Option<u64>| limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let (current, allowed) = (size(limit.current), size(limit.maximum).min(needed));
    if current >= allowed {
        return current;
    }
    let raised = Rlimit { current: Some(allowed as u64), ..limit };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => allowed,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s40_connections_leave_what_the_others_need() {
        assert_eq!(affordable(10_000, 320, 524_288), 10_000);
        assert_eq!(affordable(10_000, 320, 10_320), 10_000);
        assert_eq!(affordable(10_000, 320, 10_319), 9999);
        assert_eq!(affordable(10_000, 320, 1024), 704);
        assert_eq!(affordable(100, 320, 1024), 100);
        assert_eq!(affordable(10_000, 320, 256), 64);
        assert_eq!(affordable(10_000, 320, 0), 1);
    }
}
