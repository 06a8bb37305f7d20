//! The file as a place to move from or to.

use std::path::Path;

use rusqlite::types::{Value as Stored, ValueRef};
use rusqlite::{Connection, Row as Found, params_from_iter};
use serde_json::Value;

use super::admin::{BUSY, our_latest};
use super::connect::{self, Role};
use super::open_error::OpenError;
use crate::storage::moving::{MoveError, Row, Rows, Table};

/// A file, in a transaction of its own.
pub struct MovingFile(Connection);

impl MovingFile {
    /// Opens a file of the latest schema.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(database: &Path) -> Result<Self, OpenError> {
        let failed = |error: rusqlite::Error| OpenError::Failed {
            path: database.to_owned(),
            reason: error.to_string(),
        };
        let conn = connect::open(database, Role::Writer, BUSY).map_err(failed)?;
        our_latest(&conn, database)?;
        conn.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
        Ok(Self(conn))
    }

    /// Columns with their types.
    fn typed(&self, table: Table) -> Result<Vec<(String, String)>, MoveError> {
        let sql = "SELECT name, type FROM pragma_table_info(?1)";
        let column = |row: &Found<'_>| Ok((row.get(0)?, row.get(1)?));
        let read = || -> rusqlite::Result<_> {
            self.0.prepare_cached(sql)?.query_map([table.name], column)?.collect()
        };
        read().map_err(failed)
    }
}

impl Rows for MovingFile {
    fn columns(&self, table: Table) -> Result<Vec<String>, MoveError> {
        Ok(self.typed(table)?.into_iter().map(|(name, _)| name).collect())
    }

    fn page(&self, table: Table, after: Option<&Row>, rows: usize) -> Result<Vec<Row>, MoveError> {
        let (columns, key) = (self.columns(table)?, table.key.join(", "));
        let places = vec!["?"; table.key.len()].join(", ");
        let behind = if after.is_some() { format!("WHERE ({key}) > ({places})") } else { String::new() };
        let sql =
            format!("SELECT {} FROM {} {behind} ORDER BY {key} LIMIT {rows}", columns.join(", "), table.name);
        let of = after.into_iter().flat_map(|row| table.key.iter().map(|name| stored(&row[*name], "")));
        let read = || -> rusqlite::Result<Vec<Row>> {
            let mut statement = self.0.prepare_cached(&sql)?;
            let row = |found: &Found<'_>| {
                let value = |(at, name): (usize, &String)| Ok((name.clone(), value(found.get_ref(at)?)));
                columns.iter().enumerate().map(value).collect()
            };
            statement.query_map(params_from_iter(of), row)?.collect()
        };
        read().map_err(failed)
    }

    fn count(&self, table: Table) -> Result<u64, MoveError> {
        let sql = format!("SELECT count(*) FROM {}", table.name);
        let count: i64 = self.0.query_row(&sql, [], |row| row.get(0)).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    fn append(&self, table: Table, rows: &[Row]) -> Result<(), MoveError> {
        let typed = self.typed(table)?;
        let names: Vec<_> = typed.iter().map(|(name, _)| name.as_str()).collect();
        let places = vec!["?"; typed.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({places})", table.name, names.join(", "));
        let mut statement = self.0.prepare_cached(&sql).map_err(failed)?;
        for row in rows {
            let values = typed.iter().map(|(name, ty)| stored(&row[name], ty));
            statement.execute(params_from_iter(values)).map_err(failed)?;
        }
        Ok(())
    }

    fn clear(&self, table: Table) -> Result<(), MoveError> {
        self.0.execute(&format!("DELETE FROM {}", table.name), []).map(drop).map_err(failed)
    }

    fn last_number(&self, table: Table) -> Result<Option<i64>, MoveError> {
        let sql = "SELECT max(seq) FROM sqlite_sequence WHERE name = ?1";
        self.0.query_row(sql, [table.name], |row| row.get(0)).map_err(failed)
    }

    fn set_last_number(&self, table: Table, number: i64) -> Result<(), MoveError> {
        let set = || -> rusqlite::Result<()> {
            self.0.execute("DELETE FROM sqlite_sequence WHERE name = ?1", [table.name])?;
            self.0
                .execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (table.name, number))?;
            Ok(())
        };
        set().map_err(failed)
    }

    fn commit(self: Box<Self>) -> Result<(), MoveError> {
        self.0.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").map_err(failed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn failed(error: rusqlite::Error) -> MoveError {
    MoveError::Failed(error.to_string())
}

fn value(stored: ValueRef<'_>) -> Value {
    match stored {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => data_encoding::HEXLOWER.encode(bytes).into(),
    }
}

/// In a column of this type.
fn stored(value: &Value, ty: &str) -> Stored {
    match value {
        Value::String(text) if ty == "BLOB" => {
            Stored::Blob(data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap_or_default())
        }
        Value::String(text) => Stored::Text(text.clone()),
        value => value.as_i64().map_or(Stored::Null, Stored::Integer),
    }
}
