//! Where the database of a schedule is.

use std::collections::BTreeMap;
use std::path::Path;

use tempfile::TempDir;

use super::super::*;
use super::postgres;
use crate::clock::Correction;
use crate::domain::Timestamp;
use crate::domain::node::Node;
use crate::storage::Engine;
use crate::storage::postgres::{Membership, PostgresOptions, PostgresSettings, PostgresStore};
use crate::storage::users::FirstId;

/// A place for one database.
pub(super) struct Place {
    kind: Kind,
    /// Who sends for all that serve it: no two messages have one name.
    pub(super) sms: MemorySender,
}

enum Kind {
    /// A file, which one server serves at a time.
    Sqlite(TempDir),
    /// A schema, which any number of them serve.
    Postgres(PostgresSettings),
}

impl Place {
    /// In memory, where the machine has a folder for that.
    pub(super) fn sqlite() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = tempfile::Builder::new().prefix("freshk-model-").to_owned();
        let made = if memory.is_dir() { folder.tempdir_in(memory) } else { folder.tempdir() };
        Self::of(Kind::Sqlite(made.unwrap()))
    }

    /// A schema that nobody has used; none where there is no `PostgreSQL`.
    pub(super) fn postgres() -> Option<Self> {
        let server = postgres::server()?;
        let mut settings = PostgresSettings::parse(&server.url()).unwrap();
        server.schema().name().clone_into(&mut settings.schema);
        // A server of the schedules does one thing at a time, and each connection costs more than what it is used for.
        (settings.writers, settings.readers) = (1, 1);
        Some(Self::of(Kind::Postgres(settings)))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, sms: MemorySender::new() }
    }

    /// How many servers serve it at a time.
    pub(super) const fn nodes(&self) -> usize {
        match self.kind {
            Kind::Sqlite(_) => 1,
            Kind::Postgres(_) => 2,
        }
    }

    pub(super) fn open(&self, now: Timestamp) -> Arc<dyn Engine> {
        match &self.kind {
            Kind::Sqlite(dir) => {
                let options = OpenOptions::new(dir.path().join("freshk.db"), now);
                let engine = SqliteStore::open(options.with_read_wait(Duration::from_mins(1)));
                engine.unwrap()
            }
            Kind::Postgres(settings) => {
                // No session is kept in memory, for which the others' writes take effect up to two seconds late.
                let first_id = FirstId { id: 1, raises: true };
                let options =
                    PostgresOptions { settings: settings.clone(), first_id, principals: 0, migrate: true };
                PostgresStore::open(&options).unwrap()
            }
        }
    }

    /// Has the others know that a run lives.
    pub(super) fn enter(&self, run: &RunId, now: Timestamp) -> Option<Membership> {
        let Kind::Postgres(settings) = &self.kind else { return None };
        let node = Node {
            run: run.clone(),
            host: "here".to_owned(),
            version: "0".to_owned(),
            started_at: now,
            keys: vec![1],
            settings: BTreeMap::new(),
        };
        Some(Membership::enter(settings, node, Correction::default()).unwrap())
    }
}
