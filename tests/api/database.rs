//! The database of the tests, as another process sees it, on either engine.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::postgres::Schema;
use crate::support::App;

/// Whether these tests run on `PostgreSQL`, which `TEST_ENGINE=postgres` says.
pub(crate) fn is_postgres() -> bool {
    std::env::var("TEST_ENGINE").as_deref() == Ok("postgres")
}

/// Keeps everybody else from writing until it is dropped.
pub(crate) enum Holdup {
    File(rusqlite::Connection),
    Server(Child, ChildStdin),
}

impl App {
    /// Runs a statement; gives how many rows it changed.
    pub(crate) fn execute(&self, sql: &str) -> usize {
        match self.schema() {
            Some(schema) => schema.execute(sql),
            None => self.sqlite().execute(sql, []).unwrap(),
        }
    }

    /// Runs statements.
    pub(crate) fn batch(&self, sql: &str) {
        match self.schema() {
            Some(schema) => drop(schema.sql(sql).unwrap()),
            None => self.sqlite().execute_batch(sql).unwrap(),
        }
    }

    /// What the database says against a statement.
    pub(crate) fn refusal(&self, sql: &str) -> String {
        match self.schema() {
            Some(schema) => schema.sql(sql).unwrap_err(),
            None => self.sqlite().execute(sql, []).unwrap_err().to_string(),
        }
    }

    /// One number.
    pub(crate) fn count(&self, query: &str) -> i64 {
        match self.schema() {
            Some(schema) => schema.words(query)[0].parse().unwrap(),
            None => self.sqlite().query_row(query, [], |row| row.get(0)).unwrap(),
        }
    }

    /// One column, as text; an absent value is empty.
    pub(crate) fn words(&self, query: &str) -> Vec<String> {
        if let Some(schema) = self.schema() {
            return schema.words(query);
        }
        let connection = self.sqlite();
        let mut statement = connection.prepare(query).unwrap();
        let word = |row: &rusqlite::Row<'_>| {
            Ok(match row.get::<_, rusqlite::types::Value>(0)? {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                _ => String::new(),
            })
        };
        statement.query_map([], word).unwrap().map(Result::unwrap).collect()
    }

    /// The first of them.
    pub(crate) fn word(&self, query: &str) -> String {
        self.words(query).remove(0)
    }

    /// Rows, by the names of their columns.
    pub(crate) fn rows(&self, query: &str) -> Vec<Map<String, Value>> {
        if let Some(schema) = self.schema() {
            let rows = schema.sql(&format!("SELECT to_json(rows) FROM ({query}) AS rows")).unwrap();
            return rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        }
        let connection = self.sqlite();
        let mut statement = connection.prepare(query).unwrap();
        let names: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
        let row = |row: &rusqlite::Row<'_>| {
            let value = |at: usize| {
                Ok::<_, rusqlite::Error>(match row.get::<_, rusqlite::types::Value>(at)? {
                    rusqlite::types::Value::Integer(number) => number.into(),
                    rusqlite::types::Value::Text(text) => text.into(),
                    _ => Value::Null,
                })
            };
            names.iter().enumerate().map(|(at, name)| Ok((name.clone(), value(at)?))).collect()
        };
        statement.query_map([], row).unwrap().map(Result::unwrap).collect()
    }

    /// Bytes, as a statement has them.
    pub(crate) fn literal(&self, bytes: &[u8]) -> String {
        let digits = data_encoding::HEXLOWER.encode(bytes);
        if self.schema().is_some() { format!("'\\x{digits}'::bytea") } else { format!("x'{digits}'") }
    }

    /// The bytes in a column, in hexadecimal.
    pub(crate) fn hexadecimal(&self, column: &str) -> String {
        if self.schema().is_some() { format!("encode({column}, 'hex')") } else { format!("hex({column})") }
    }

    /// Has the database run `then` before each `act`, such as `INSERT ON users`, of which `when` holds.
    fn trigger(&self, act: &str, when: Option<&str>, then: &str) {
        let when = when.map(|when| format!("WHEN ({when})")).unwrap_or_default();
        self.batch(&if self.schema().is_some() {
            format!(
                "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {then} RETURN new; END $$;
                 CREATE TRIGGER broken BEFORE {act} FOR EACH ROW {when} EXECUTE FUNCTION broken();"
            )
        } else {
            format!("CREATE TRIGGER broken BEFORE {act} {when} BEGIN {then} END;")
        });
    }

    /// Lets an act, such as `INSERT ON users`, fail from now on, where `when` holds.
    pub(crate) fn break_when(&self, act: &str, when: Option<&str>) {
        let fail = if self.schema().is_some() { "RAISE EXCEPTION 'x';" } else { "SELECT raise(ABORT, 'x');" };
        self.trigger(act, when, fail);
    }

    /// The same always.
    pub(crate) fn break_all(&self, act: &str) {
        self.break_when(act, None);
    }

    /// Lets it succeed again.
    pub(crate) fn mend(&self) {
        let is_postgres = self.schema().is_some();
        self.batch(if is_postgres { "DROP FUNCTION broken CASCADE" } else { "DROP TRIGGER broken" });
    }

    /// Counts each act in a table `uses` from now on.
    pub(crate) fn count_uses(&self, act: &str) {
        self.batch("CREATE TABLE uses (n INTEGER)");
        self.trigger(act, None, "INSERT INTO uses VALUES (1);");
    }

    /// Keeps everybody else from writing.
    pub(crate) fn hold_up(&self) -> Holdup {
        let Some(schema) = self.schema() else {
            let connection = self.sqlite();
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            return Holdup::File(connection);
        };
        let mut child = schema.session();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let tables = schema.words("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()");
        let lock = tables.join(", ");
        writeln!(input, "BEGIN; LOCK TABLE {lock} IN EXCLUSIVE MODE; SELECT 'held';").unwrap();
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "held"));
        Holdup::Server(child, input)
    }

    /// All that is stored: the files of `SQLite`, the write-ahead log among them, or a dump.
    pub(crate) fn stored(&self) -> Vec<u8> {
        if let Some(schema) = self.schema() {
            return schema.dump();
        }
        let directory = self.database().parent().unwrap().to_owned();
        let (mut bytes, mut names) = (Vec::new(), Vec::new());
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.file_name().unwrap().to_string_lossy().into_owned());
            bytes.extend(std::fs::read(&path).unwrap());
        }
        assert!(["test.db", "test.db-wal"].iter().all(|name| names.iter().any(|found| found == name)));
        bytes
    }

    /// How much of a quota is spent, over all its subjects.
    pub(crate) fn spent(&self, quota: &str) -> i64 {
        self.count(&format!("SELECT count(*) FROM spends WHERE quota = '{quota}'"))
    }

    /// The file, on `SQLite`.
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.path().join("test.db")
    }

    /// The schema, where the tests run on `PostgreSQL`.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    fn sqlite(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON").unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection
    }
}

impl Drop for Holdup {
    fn drop(&mut self) {
        match self {
            Self::File(connection) => connection.execute_batch("COMMIT").unwrap(),
            Self::Server(child, input) => {
                writeln!(input, "COMMIT; \\q").unwrap();
                child.wait().unwrap();
            }
        }
    }
}
