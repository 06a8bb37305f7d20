//! `[database]`: where the one file is.

use std::path::{Path, PathBuf};

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::reader::Reader;

/// `[database]`
#[derive(Clone, Debug)]
pub struct Database {
    /// The file.
    pub url: DatabaseUrl,
}

/// `sqlite://` and the path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseUrl(PathBuf);

pub(super) static URL: Key = Key::new(
    "database.url",
    Kind::Text("sqlite:// and the path of a file, such as sqlite:///var/lib/freshk/freshk.db"),
    "sqlite://freshk.db",
    "sqlite:// and a path: sqlite://freshk.db lies in the working directory, sqlite:///var/lib/freshk/freshk.db is \
     absolute; Django's four slashes do too.",
)
.guide("DATABASE_URL");

pub(super) const SECTION: Section =
    Section { name: "database", doc: "Everything is kept in one SQLite file.", keys: &[&URL] };

impl DatabaseUrl {
    /// Reads one. What is wrong never quotes the URL of another engine: that holds a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix("sqlite://") else {
            return Err(match text.split_once(':') {
                Some(("postgres" | "postgresql", _)) => {
                    "it is a PostgreSQL URL, and FreshK keeps its data in one \
                     SQLite file: PostgreSQL is not supported"
                        .to_owned()
                }
                Some(("sqlite", ":memory:")) => NO_MEMORY.to_owned(),
                Some((scheme, _)) if text.contains("://") => {
                    format!("{} databases are not supported", quoted(scheme))
                }
                _ => format!("{} does not begin with sqlite://", quoted(text)),
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
        Ok(Self(path.into()))
    }

    /// The file, relative to the working directory unless it is absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

const NO_MEMORY: &str = "a database in memory would forget every user at the first restart";

pub(super) fn read(reader: &mut Reader<'_>) -> Database {
    let url = reader.one(&URL, DatabaseUrl::parse).unwrap_or_else(|| DatabaseUrl(PathBuf::new()));
    Database { url }
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
            assert_eq!(DatabaseUrl::parse(url).unwrap().path(), Path::new(path));
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
            "postgres://user:hush@localhost:5432/freshk_production",
            "postgresql://user:hush@localhost/x",
        ] {
            assert!(!DatabaseUrl::parse(bad).unwrap_err().contains("hush"), "{bad}");
        }
    }
}
