//! A schema as a place to move from or to. Rows travel as JSON, which the server reads and writes itself.

use std::time::Duration;

use postgres_types::ToSql;
use serde_json::Value;

use super::connection::Connection;
use super::fault::Failure;
use super::open::{self, PostgresOptions, told};
use super::open_error::PostgresError;
use super::settings::PostgresSettings;
use super::tx::first;
use super::{migrate, nodes};
use crate::domain::node::Node;
use crate::storage::moving::{MoveError, Row, Rows, Table};

/// A large table takes longer than any write of a server may.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0; \
     SET LOCAL idle_in_transaction_session_timeout = 0";

/// No statement takes longer.
const PATIENCE: Duration = Duration::from_hours(24);

const COLUMNS: &str = "SELECT column_name::text, data_type::text FROM information_schema.columns \
     WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position";

const SEQUENCE: &str = "SELECT pg_get_serial_sequence($1, 'id')";

/// A schema, in a transaction of its own.
pub struct MovingSchema(Connection);

impl MovingSchema {
    /// Opens the latest schema to read it, or a server that serves it.
    ///
    /// # Errors
    /// [`PostgresError`]
    pub fn read(settings: &PostgresSettings) -> Result<Result<Self, Node>, PostgresError> {
        let (conn, _) = open::connect(settings)?;
        migrate::run(&conn, settings, migrate::MIGRATIONS, false)?;
        let failed = |failure: Failure| told(settings, &failure);
        // Kept until the connection ends, so that no server enters meanwhile.
        migrate::lock(&conn, settings, conn.keys().entrance())?;
        if let Some(node) = nodes::live(&conn).map_err(failed)?.into_iter().next() {
            return Ok(Err(node));
        }
        begin(&conn).map_err(failed)?;
        Ok(Ok(Self(conn)))
    }

    /// Opens a schema to write into it; it is made where there is none.
    ///
    /// # Errors
    /// [`PostgresError`]
    pub fn write(options: &PostgresOptions) -> Result<Self, PostgresError> {
        let (conn, _) = open::connect(&options.settings)?;
        migrate::run(&conn, &options.settings, migrate::MIGRATIONS, true)?;
        begin(&conn).map_err(|failure| told(&options.settings, &failure))?;
        Ok(Self(conn))
    }

    fn texts(&self, sql: &str, of: &[&(dyn ToSql + Sync)]) -> Result<Vec<String>, MoveError> {
        let rows = self.0.rows(sql, of).map_err(failed)?;
        rows.iter().map(|row| first::<String>(row).map_err(|error| failed(Failure::Row(error)))).collect()
    }

    fn number(&self, sql: &str) -> Result<Option<i64>, MoveError> {
        let rows = self.0.rows(sql, &[]).map_err(failed)?;
        let number = rows.first().map(first::<Option<i64>>).transpose();
        Ok(number.map_err(|error| failed(Failure::Row(error)))?.flatten())
    }

    /// Columns with their types.
    fn typed(&self, table: Table) -> Result<Vec<(String, String)>, MoveError> {
        let rows = self.0.rows(COLUMNS, &[&table.name]).map_err(failed)?;
        let column = |row: &super::row::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(column).collect::<Result<_, _>>().map_err(|error| failed(Failure::Row(error)))
    }

    /// What counts the numbers of a table's rows.
    fn sequence(&self, table: Table) -> Result<Option<String>, MoveError> {
        if table.key != ["id"] || !self.typed(table)?.iter().any(|(name, ty)| name == "id" && ty == "bigint")
        {
            return Ok(None);
        }
        let rows = self.0.rows(SEQUENCE, &[&table.name]).map_err(failed)?;
        let name = rows.first().map(first::<Option<String>>).transpose();
        Ok(name.map_err(|error| failed(Failure::Row(error)))?.flatten())
    }
}

impl Rows for MovingSchema {
    fn columns(&self, table: Table) -> Result<Vec<String>, MoveError> {
        Ok(self.typed(table)?.into_iter().map(|(name, _)| name).collect())
    }

    fn page(&self, table: Table, after: Option<&Row>, rows: usize) -> Result<Vec<Row>, MoveError> {
        let (name, key) = (table.name, table.key.join(", "));
        let members = self.typed(table)?.into_iter().map(|(column, ty)| match ty.as_str() {
            "boolean" => format!("'{column}', {column}::int"),
            "bytea" => format!("'{column}', encode({column}, 'hex')"),
            _ => format!("'{column}', {column}"),
        });
        let object = members.collect::<Vec<_>>().join(", ");
        let sql = |behind: &str| {
            format!(
                "SELECT json_build_object({object})::text FROM {name} {behind} ORDER BY {key} LIMIT {rows}"
            )
        };
        let texts = match after {
            None => self.texts(&sql(""), &[])?,
            Some(row) => {
                let of: Row = table.key.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect();
                let behind = format!(
                    "WHERE ({key}) > (SELECT {key} FROM json_populate_record(NULL::{name}, $1::text::json))"
                );
                self.texts(&sql(&behind), &[&Value::from(of).to_string()])?
            }
        };
        let read =
            |text: &String| serde_json::from_str(text).map_err(|error| MoveError::Failed(error.to_string()));
        texts.iter().map(read).collect()
    }

    fn count(&self, table: Table) -> Result<u64, MoveError> {
        let count = self.number(&format!("SELECT count(*) FROM {}", table.name))?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }

    fn append(&self, table: Table, rows: &[Row]) -> Result<(), MoveError> {
        let typed = self.typed(table)?;
        let names = typed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let row = |row: &Row| {
            let value = |(name, ty): &(String, String)| {
                let value = match (ty.as_str(), &row[name]) {
                    ("boolean", Value::Number(truth)) => (truth.as_i64() != Some(0)).into(),
                    ("bytea", Value::String(digits)) => format!("\\x{digits}").into(),
                    (_, value) => value.clone(),
                };
                (name.clone(), value)
            };
            Value::from(typed.iter().map(value).collect::<Row>())
        };
        let rows = Value::from(rows.iter().map(row).collect::<Vec<_>>()).to_string();
        let sql = format!(
            "INSERT INTO {0} ({names}) SELECT {names} FROM json_populate_recordset(NULL::{0}, $1::text::json)",
            table.name
        );
        self.0.execute(&sql, &[&rows]).map(drop).map_err(failed)
    }

    fn clear(&self, table: Table) -> Result<(), MoveError> {
        self.0.execute(&format!("DELETE FROM {}", table.name), &[]).map(drop).map_err(failed)
    }

    fn last_number(&self, table: Table) -> Result<Option<i64>, MoveError> {
        let Some(sequence) = self.sequence(table)? else { return Ok(None) };
        let sql =
            format!("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}");
        Ok(self.number(&sql)?.filter(|number| *number > 0))
    }

    /// Undone with the transaction, as `setval` would not be.
    fn set_last_number(&self, table: Table, number: i64) -> Result<(), MoveError> {
        let Some(sequence) = self.sequence(table)? else { return Ok(()) };
        let next = number.saturating_add(1);
        self.0.batch(&format!("ALTER SEQUENCE {sequence} RESTART WITH {next}")).map_err(failed)
    }

    fn commit(self: Box<Self>) -> Result<(), MoveError> {
        self.0.batch("COMMIT").map_err(failed)
    }
}

fn begin(conn: &Connection) -> Result<(), Failure> {
    conn.wait_at_most(PATIENCE)?;
    conn.batch(BEGIN)
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn failed(failure: Failure) -> MoveError {
    MoveError::Failed(failure.to_string())
}
