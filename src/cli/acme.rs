//! Where the certificate of an authority is kept: in a folder, or in the database that several servers have.

use std::sync::Arc;

use super::engine::Place;
use crate::acme::{Cache, CacheError, Folder};
use crate::config::Config;
use crate::config::tls::Acme;
use crate::domain::Timestamp;
use crate::files::random_name;
use crate::storage::postgres::{AcmeTable, PostgresError};

/// Where it is kept.
pub(super) fn cache(config: &Config, acme: &Acme) -> Arc<dyn Cache> {
    match (&acme.cache, Place::of(config)) {
        (Some(path), _) => Arc::new(Folder::new(path.clone())),
        (None, Place::Server(settings)) => {
            Arc::new(Shared { table: AcmeTable::new(settings), server: random_name() })
        }
        // The configuration is refused before.
        (None, Place::File(_)) => Arc::new(Folder::new("acme".into())),
    }
}

/// The database, for all its servers.
struct Shared {
    table: AcmeTable,
    /// This one, among them.
    server: String,
}

fn failed(error: &PostgresError) -> CacheError {
    CacheError { place: "the database".to_owned(), reason: error.to_string() }
}

impl Cache for Shared {
    fn read(&self, name: &str) -> Result<Option<String>, CacheError> {
        self.table.read(name).map_err(|error| failed(&error))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), CacheError> {
        self.table.write(name, text).map_err(|error| failed(&error))
    }

    fn lease(&self, _: Timestamp) -> Result<bool, CacheError> {
        self.table.lease(&self.server).map_err(|error| failed(&error))
    }

    fn release(&self) -> Result<(), CacheError> {
        self.table.release(&self.server).map_err(|error| failed(&error))
    }

    fn is_shared(&self) -> bool {
        true
    }
}
