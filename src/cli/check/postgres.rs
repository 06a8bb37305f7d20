//! The database where `PostgreSQL` keeps it: whether it can be used; its disk, its backups and its health are its own
//! operator's.

use super::files::user_ids;
use super::line::Line;
use crate::cli::engine::Place;
use crate::config::Config;
use crate::storage::postgres::{self, PostgresSettings, TlsMode};

const DATABASE: &str = "database";

/// The lines, and whether the database can be read.
pub(super) fn lines(config: &Config, settings: &PostgresSettings, place: &Place) -> (Vec<Line>, bool) {
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
        lines.push(user_ids(place, &config.users));
    }
    lines.extend([encryption(settings), backups(settings)]);
    (lines, stands)
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

fn backups(settings: &PostgresSettings) -> Line {
    Line::warn(
        "backups",
        "FreshK makes none of PostgreSQL, and sees none",
        format!(
            "have the host of the database make them, or run `pg_dump --format=custom --schema={}` each night",
            settings.schema
        ),
    )
}
