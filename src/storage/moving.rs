//! Moving all rows from one database to another, table by table, whatever engine keeps them.

use serde_json::Value;

use super::error::StoreError;

/// A table, and the columns that no two rows have alike, by which its rows are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns of its primary key.
    pub key: &'static [&'static str],
}

const fn table(name: &'static str, key: &'static [&'static str]) -> Table {
    Table { name, key }
}

/// All tables that are moved; one that refers to another stands after it. What is left out belongs to one database alone: its
/// servers, their certificate, the steps of its schema, debug's own secret, the note of its backups.
pub const TABLES: &[Table] = &[
    table("users", &["id"]),
    table("challenges", &["id"]),
    table("sessions", &["id"]),
    table("rotations", &["session_id", "generation"]),
    table("exchanges", &["jti"]),
    table("devices", &["id"]),
    table("device_guesses", &["challenge_id", "device_id"]),
    table("phone_changes", &["user_id"]),
    table("spends", &["id"]),
    table("refusals", &["subject", "quota"]),
    table("messages", &["id"]),
    table("unsent", &["minute", "why"]),
    table("purchases", &["challenge_id"]),
    table("refused_attempts", &["id"]),
    table("blocks", &["scope", "key"]),
    table("budgets", &["budget", "share", "since"]),
    table("test_numbers", &["phone"]),
    table("token_names", &["claim"]),
    table("events", &["id"]),
    table("deliveries", &["event_id", "webhook"]),
    table("delivery_queues", &["webhook", "queue"]),
    table("webhooks_off", &["name"]),
    table("clock", &["id"]),
    table("audit", &["id"]),
    table("audit_retention", &["id"]),
];

/// Tables that have a row from the beginning, which the moved one replaces.
const SEEDED: &str = "audit_retention";

/// Rows that are read and written at once.
const PAGE: usize = 1000;

/// A row: numbers, texts and nulls by the names of the columns. Truth is 0 or 1, bytes are hexadecimal.
pub type Row = serde_json::Map<String, Value>;

/// A database to move from or to, in one transaction: what is read is of one instant, and what is written is there as a whole
/// or not at all.
pub trait Rows {
    /// The names of a table's columns.
    ///
    /// # Errors
    /// [`MoveError`]
    fn columns(&self, table: Table) -> Result<Vec<String>, MoveError>;
    /// At most `rows` rows behind the one with the key of `after`, in the order of their keys.
    ///
    /// # Errors
    /// [`MoveError`]
    fn page(&self, table: Table, after: Option<&Row>, rows: usize) -> Result<Vec<Row>, MoveError>;
    /// How many rows there are.
    ///
    /// # Errors
    /// [`MoveError`]
    fn count(&self, table: Table) -> Result<u64, MoveError>;
    /// Writes rows.
    ///
    /// # Errors
    /// [`MoveError`]
    fn append(&self, table: Table, rows: &[Row]) -> Result<(), MoveError>;
    /// Deletes all rows.
    ///
    /// # Errors
    /// [`MoveError`]
    fn clear(&self, table: Table) -> Result<(), MoveError>;
    /// The highest number that the table has given a row; none where it gives no numbers, or has given none.
    ///
    /// # Errors
    /// [`MoveError`]
    fn last_number(&self, table: Table) -> Result<Option<i64>, MoveError>;
    /// Rows get numbers above it from now on.
    ///
    /// # Errors
    /// [`MoveError`]
    fn set_last_number(&self, table: Table, number: i64) -> Result<(), MoveError>;
    /// Makes it durable.
    ///
    /// # Errors
    /// [`MoveError`]
    fn commit(self: Box<Self>) -> Result<(), MoveError>;
}

/// Why a database cannot be moved; nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// There are rows where it is to be moved to.
    #[error("there are rows in its table {0}")]
    NotEmpty(&'static str),
    /// The schemas differ, though both are of this version.
    #[error("the columns of the table {0} differ")]
    Columns(&'static str),
    /// What was written is not what was read.
    #[error("a row of the table {0} was not written as it was read")]
    Differs(&'static str),
    /// The database's own words.
    #[error("{0}")]
    Failed(String),
    /// A fault of the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How many rows all tables have.
///
/// # Errors
/// [`MoveError`]
pub fn count_all(from: &dyn Rows) -> Result<u64, MoveError> {
    TABLES.iter().map(|table| from.count(*table)).sum()
}

/// Moves all rows to an empty database, and compares each with what was written; `moved` is told of every page, once when it
/// is written and once when it is compared.
///
/// # Errors
/// [`MoveError`]; nothing is committed.
pub fn move_all(from: &dyn Rows, to: Box<dyn Rows>, moved: &mut dyn FnMut(usize)) -> Result<(), MoveError> {
    for table in TABLES {
        if table.name == SEEDED {
            to.clear(*table)?;
        } else if to.count(*table)? > 0 {
            return Err(MoveError::NotEmpty(table.name));
        }
        let (mut ours, mut theirs) = (from.columns(*table)?, to.columns(*table)?);
        ours.sort();
        theirs.sort();
        if ours != theirs {
            return Err(MoveError::Columns(table.name));
        }
    }
    for table in TABLES {
        each_page(from, *table, |page| {
            to.append(*table, page)?;
            moved(page.len());
            Ok(())
        })?;
        if let Some(number) = from.last_number(*table)? {
            to.set_last_number(*table, number)?;
        }
    }
    for table in TABLES {
        let mut last: Option<Row> = None;
        each_page(from, *table, |page| {
            if to.page(*table, last.as_ref(), page.len())? != page {
                return Err(MoveError::Differs(table.name));
            }
            last = page.last().cloned();
            moved(page.len());
            Ok(())
        })?;
        if !to.page(*table, last.as_ref(), 1)?.is_empty() {
            return Err(MoveError::Differs(table.name));
        }
    }
    to.commit()
}

fn each_page(
    from: &dyn Rows,
    table: Table,
    mut act: impl FnMut(&[Row]) -> Result<(), MoveError>,
) -> Result<(), MoveError> {
    let mut last: Option<Row> = None;
    loop {
        let page = from.page(table, last.as_ref(), PAGE)?;
        if page.is_empty() {
            return Ok(());
        }
        act(&page)?;
        last = page.into_iter().next_back();
    }
}
