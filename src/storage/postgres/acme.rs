//! What an ACME client keeps, for all servers of the database: certificate, account, and the questions that are open.

use super::fault::Failure;
use super::open::{on_a_thread, told};
use super::open_error::PostgresError;
use super::settings::PostgresSettings;
use super::tx::first;

/// How long a server may order alone before another one may.
const LEASE: &str = "INSERT INTO acme (name, text, until) \
     VALUES ('lease', $1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 600000) \
     ON CONFLICT (name) DO UPDATE SET text = EXCLUDED.text, until = EXCLUDED.until \
     WHERE acme.text = EXCLUDED.text OR acme.until < (extract(epoch FROM clock_timestamp()) * 1000)::bigint";

const RELEASE: &str = "DELETE FROM acme WHERE name = 'lease' AND text = $1";

const WRITE: &str =
    "INSERT INTO acme (name, text) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET text = EXCLUDED.text";

const READ: &str = "SELECT text FROM acme WHERE name = $1";

/// The table; each call makes a connection of its own, and blocks.
#[derive(Clone, Debug)]
pub struct AcmeTable(Box<PostgresSettings>);

impl AcmeTable {
    /// In the schema of the settings.
    pub const fn new(settings: Box<PostgresSettings>) -> Self {
        Self(settings)
    }

    /// The text of a name.
    ///
    /// # Errors
    /// [`PostgresError`]
    pub fn read(&self, name: &str) -> Result<Option<String>, PostgresError> {
        on_a_thread(&self.0, |conn, _| {
            let rows = conn.rows(READ, &[&name]).map_err(|failure| told(&self.0, &failure))?;
            let text = rows.first().map(first::<String>).transpose();
            text.map_err(|error| told(&self.0, &Failure::Row(error)))
        })
    }

    /// Keeps a text in place of the one before.
    ///
    /// # Errors
    /// [`PostgresError`]
    pub fn write(&self, name: &str, text: &str) -> Result<(), PostgresError> {
        on_a_thread(&self.0, |conn, _| {
            let written = conn.execute(WRITE, &[&name, &text]);
            written.map(drop).map_err(|failure| told(&self.0, &failure))
        })
    }

    /// Whether `server` may order now, and no other one for ten minutes.
    ///
    /// # Errors
    /// [`PostgresError`]
    pub fn lease(&self, server: &str) -> Result<bool, PostgresError> {
        on_a_thread(&self.0, |conn, _| {
            let taken = conn.execute(LEASE, &[&server]);
            taken.map(|rows| rows > 0).map_err(|failure| told(&self.0, &failure))
        })
    }

    /// Lets another server order, where `server` may.
    ///
    /// # Errors
    /// [`PostgresError`]
    pub fn release(&self, server: &str) -> Result<(), PostgresError> {
        on_a_thread(&self.0, |conn, _| {
            conn.execute(RELEASE, &[&server]).map(drop).map_err(|failure| told(&self.0, &failure))
        })
    }
}
