//! `[database]`: where the data is.

use std::fmt;
use std::path::{Path, PathBuf};

use super::backup::{self, Backup};
use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::storage::postgres::{PostgresSettings, is_schema};

/// `[database]`
#[derive(Clone, Debug)]
pub struct Database {
    /// Where it is.
    pub url: DatabaseUrl,
}

/// The URL of a database, by its engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// `sqlite://` and the path of a file, relative to the working directory unless it is absolute.
    Sqlite(PathBuf),
    /// `postgres://`, as Django's `DATABASE_URL` has it.
    Postgres(Box<PostgresSettings>),
}

pub(super) static URL: Key = Key::new(
    "database.url",
    Kind::Text(
        "sqlite:// and the path of a file, such as sqlite:///var/lib/freshk/freshk.db, or \
         postgres://user:password@host:5432/database",
    ),
    "sqlite://freshk.db",
    "sqlite:// and a path: sqlite://freshk.db lies in the working directory, sqlite:///var/lib/freshk/freshk.db is \
     absolute; Django's four slashes do too. Or postgres://user:password@host:5432/database, with ?sslmode= and \
     &sslrootcert= as libpq has them.",
)
.guide("DATABASE_URL");

static SCHEMA: Key = Key::new(
    "database.schema",
    Kind::Text("a name of lower case letters, digits and _"),
    "freshk",
    "PostgreSQL only: the schema that holds the tables; made if it is not there.",
);

static MAX_CONNECTIONS: Key = Key::new(
    "database.max_connections",
    Kind::Number { min: 1, max: 200 },
    "16",
    "PostgreSQL only: how many connections write; four more read, and one holds the right to serve.",
);

pub(super) const SECTION: Section = Section {
    name: "database",
    doc: "Everything is kept in one SQLite file, or in a schema of a PostgreSQL database.",
    keys: &[&URL, &MAX_CONNECTIONS, &SCHEMA],
};

impl DatabaseUrl {
    /// Reads one. What is wrong never quotes the URL of another engine: that holds a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if PostgresSettings::is_url(text) {
            return PostgresSettings::parse(text).map(|settings| Self::Postgres(Box::new(settings)));
        }
        let Some(path) = text.strip_prefix("sqlite://") else {
            return Err(match text.split_once(':') {
                Some(("sqlite", ":memory:")) => NO_MEMORY.to_owned(),
                Some((scheme, _)) if text.contains("://") => {
                    format!("{} databases are not supported", quoted(scheme))
                }
                _ => format!("{} does not begin with sqlite:// or postgres://", quoted(text)),
            });
        };
        let path = match path.trim_start_matches('/') {
            absolute if path.starts_with('/') => format!("/{absolute}"),
            relative => relative.to_owned(),
        };
        if path == ":memory:" || path == "/:memory:" {
            return Err(NO_MEMORY.to_owned());
        }
        if path.is_empty() || path.ends_with('/') {
            return Err("it names no file".to_owned());
        }
        if path.contains(['?', '#', '\0']) {
            return Err(format!("{} has more than a path", quoted(text)));
        }
        Ok(Self::Sqlite(path.into()))
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

/// For people and logs: a file's path, or host, port and database, without user and password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(settings) => settings.fmt(f),
        }
    }
}

/// A URL as it may be shown: without the password, and without what stands where one may.
pub(super) fn masked(url: &str) -> String {
    if !PostgresSettings::is_url(url) {
        return url.to_owned();
    }
    match PostgresSettings::parse(url) {
        Ok(settings) => format!("postgres://{}:********@{settings}", settings.user),
        Err(_) => "postgres://********".to_owned(),
    }
}

const NO_MEMORY: &str = "a database in memory would forget every user at the first restart";

pub(super) fn read(reader: &mut Reader<'_>) -> Database {
    let mut url = reader.one(&URL, DatabaseUrl::parse).unwrap_or_else(|| DatabaseUrl::Sqlite(PathBuf::new()));
    let schema = reader.one(&SCHEMA, |text| {
        if is_schema(text) {
            Ok(text.to_owned())
        } else {
            Err(format!("{} is not such a name, or begins with pg_", quoted(text)))
        }
    });
    let writers = reader.number(&MAX_CONNECTIONS);
    if let DatabaseUrl::Postgres(settings) = &mut url {
        settings.writers = writers;
        if let Some(schema) = schema {
            settings.schema = schema;
        }
    }
    Database { url }
}

/// The server's own backups are copies of a file.
pub(super) fn check_backups(reader: &mut Reader<'_>, database: &Database, backup: &Backup) {
    if database.url.file().is_none() && backup.dir.is_some() {
        reader.fault(
            &backup::DIR,
            "the server makes no backups of a PostgreSQL database".to_owned(),
            "take the key out, and back the database up with pg_dump or as its host does",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_absolute_and_djangos_four_slashes() {
        for (url, path) in [
            ("sqlite://freshk.db", "freshk.db"),
            ("sqlite://data/freshk.db", "data/freshk.db"),
            ("sqlite:///var/lib/freshk/freshk.db", "/var/lib/freshk/freshk.db"),
            ("sqlite:////var/lib/freshk/freshk.db", "/var/lib/freshk/freshk.db"),
        ] {
            assert_eq!(DatabaseUrl::parse(url).unwrap().file(), Some(Path::new(path)));
        }
    }

    #[test]
    fn everything_else_is_refused_and_no_password_is_shown() {
        for bad in [
            "",
            "freshk.db",
            "sqlite:freshk.db",
            "sqlite://",
            "sqlite:///",
            "sqlite://data/",
            "sqlite::memory:",
            "sqlite://:memory:",
            "sqlite://freshk.db?mode=ro",
            "mysql://user:hush@localhost/x",
            "postgres://user:hush@localhost:5432",
            "postgresql://user:hush@/x",
        ] {
            assert!(!DatabaseUrl::parse(bad).unwrap_err().contains("hush"), "{bad}");
        }
    }

    #[test]
    fn s34_a_url_is_shown_without_its_password() {
        assert_eq!(masked("sqlite://freshk.db"), "sqlite://freshk.db");
        assert_eq!(masked("postgres://user:hush@h/d?sslmode=require"), "postgres://user:********@h:5432/d");
        assert_eq!(masked("postgres://user:hush@"), "postgres://********");
        let url = DatabaseUrl::parse("postgres://user:hush@h/d").unwrap();
        assert!(!format!("{url} {url:?}").contains("hush"));
    }
}
