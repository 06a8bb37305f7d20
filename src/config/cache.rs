//! `[cache]`: what a server keeps in memory, and what several servers count together.

use super::database::Database;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::limits::redis::CacheSettings;

/// `[cache]`
#[derive(Clone, Debug)]
pub struct Cache {
    /// Where it is; `None`: each server counts by itself.
    pub url: Option<CacheSettings>,
    /// How many sessions, and as many users, a server keeps in its own memory.
    pub sessions: u64,
}

pub(super) static URL: Key = Key::new(
    "cache.url",
    Kind::Text("redis://user:password@host:6379/0, or rediss:// for TLS"),
    "",
    "PostgreSQL only: a Redis or Valkey in which the servers of one database count requests a second and exhausted quotas together; \
     rediss:// is TLS. Without it, and while it does not answer, each server counts by itself.",
);

static SESSIONS: Key = Key::new(
    "cache.sessions",
    Kind::Number { min: 1_000, max: 10_000_000 },
    "20000",
    "How many sessions, and as many of their users, a server keeps in memory, those in use: a call with a token of one of them asks no \
     database. Each takes 1 KiB of memory, once it was used.",
);

pub(super) const SECTION: Section = Section {
    name: "cache",
    doc: "What a server keeps in memory, and what several servers count together.",
    keys: &[&SESSIONS, &URL],
};

/// A URL as it may be shown: without the password, and without what stands where one may.
pub(super) fn masked(url: &str) -> String {
    match CacheSettings::parse(url) {
        Ok(settings) if url.contains('@') => settings.to_string().replacen("//", "//********@", 1),
        Ok(settings) => settings.to_string(),
        Err(_) => "redis://********".to_owned(),
    }
}

pub(super) fn read(reader: &mut Reader<'_>, database: &Database) -> Cache {
    let sessions = reader.number(&SESSIONS);
    let url = reader.one(&URL, CacheSettings::parse);
    if url.is_some() && database.url.file().is_some() {
        reader.findings.warn(
            Some(URL.name),
            "cache.url is not used with SQLite, whose one server has nothing to share",
            "take it out, or move to PostgreSQL",
        );
        return Cache { url: None, sessions };
    }
    Cache { url, sessions }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s34_a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("rediss://user:hush@cache/2", "rediss://********@cache:6379/2"),
            ("redis://user:hush@", "redis://********"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
