//! The database where `PostgreSQL` keeps it: whether it can be used; its disk, its backups and its health are its own
//! operator's.

use std::collections::BTreeSet;
use std::time::Duration;

use super::files::user_ids;
use super::line::Line;
use crate::cli::engine::Place;
use crate::cli::node::hashes;
use crate::cli::output::counted;
use crate::config::Loaded;
use crate::domain::Timestamp;
use crate::domain::node::Node;
use crate::domain::time::humanize_wait;
use crate::storage::postgres::{self, PostgresSettings, TlsMode};

const DATABASE: &str = "database";

/// The lines, and whether the database can be read.
pub(super) fn lines(
    loaded: &Loaded,
    settings: &PostgresSettings,
    place: &Place,
    now: Timestamp,
) -> (Vec<Line>, bool) {
    let mut lines = Vec::new();
    let stands = match postgres::check(settings) {
        Err(error) => {
            lines.push(Line::told(DATABASE, &error));
            false
        }
        Ok(found) if found.schema == 0 => {
            let told = format!("there is no schema {} in {settings} yet", settings.schema);
            lines.push(Line::warn(DATABASE, told, "`freshk serve` makes it"));
            false
        }
        Ok(found) if found.schema < found.known => {
            let told = format!("{settings} has schema {}, this freshk needs {}", found.schema, found.known);
            lines.push(Line::fail(DATABASE, told, "run `freshk db migrate`"));
            false
        }
        Ok(found) => {
            lines.push(Line::ok(DATABASE, format!("{settings} answers, with schema {}", found.schema)));
            true
        }
    };
    if stands {
        lines.extend([user_ids(place, &loaded.config.users), nodes(loaded, place)]);
    }
    let noted = stands.then(|| place.look(|view| view.noted_backup()).ok().flatten()).flatten();
    lines.extend([encryption(settings), backups(settings, noted, now)]);
    (lines, stands)
}

/// The servers that live: all must have the settings of this configuration, or the same call is answered in two ways.
fn nodes(loaded: &Loaded, place: &Place) -> Line {
    const WHAT: &str = "servers";
    let nodes = match place.look(|view| view.nodes()) {
        Ok(nodes) => nodes,
        Err(error) => return Line::told(WHAT, &error),
    };
    let Some(first) = nodes.first() else {
        return Line::warn(WHAT, "none is running", "systemctl start freshk, or `freshk serve`");
    };
    let own = Node { settings: hashes(&loaded.settings), ..first.clone() };
    for node in &nodes {
        let keys = own.differs_in(node);
        if !keys.is_empty() {
            let told = format!(
                "the one on {} has other values than this configuration for {}",
                node.host,
                keys.join(", ")
            );
            return Line::fail(WHAT, told, "give all of them the same configuration, and restart them");
        }
    }
    let told = format!("{} running, with these settings", counted(nodes.len(), "server"));
    if nodes.iter().all(|node| node.version == first.version) {
        Line::ok(WHAT, told)
    } else {
        let versions: BTreeSet<_> = nodes.iter().map(|node| node.version.as_str()).collect();
        let versions = versions.into_iter().collect::<Vec<_>>().join(" and ");
        Line::warn(WHAT, format!("{told}, of the versions {versions}"), "finish the upgrade")
    }
}

/// A password and people's numbers go over this connection.
fn encryption(settings: &PostgresSettings) -> Line {
    const WHAT: &str = "way to it";
    let help = "set sslmode=verify-full in database.url, and sslrootcert if the authority is your own";
    match settings.tls {
        TlsMode::VerifyFull | TlsMode::VerifyCa => Line::ok(WHAT, "encrypted, and the server proves itself"),
        _ if settings.is_local() => Line::ok(WHAT, "within this machine"),
        TlsMode::Require => {
            Line::warn(WHAT, "encrypted, but a machine in between can pose as the server", help)
        }
        TlsMode::Prefer | TlsMode::Disable => {
            Line::warn(WHAT, "not encrypted, or only if the server wants it", help)
        }
    }
}

/// What `freshk db backup-stamp` has noted.
fn backups(settings: &PostgresSettings, noted: Option<Timestamp>, now: Timestamp) -> Line {
    const WHAT: &str = "backups";
    /// As the alert has it.
    const OLD: Duration = Duration::from_hours(48);
    let help = || {
        format!(
            "have the host of the database make them, or run `pg_dump --format=custom --schema={}` each night; run \
             `freshk db backup-stamp` after each that went well",
            settings.schema
        )
    };
    let Some(noted) = noted else {
        return Line::warn(WHAT, "FreshK makes none of PostgreSQL, and none was noted", help());
    };
    let age = noted.until(now);
    let found = format!("the latest was noted {} ago", humanize_wait(age));
    if age > OLD { Line::warn(WHAT, found, help()) } else { Line::ok(WHAT, found) }
}
