//! The server of a `PostgreSQL` database that is measured, asked by its own program, `psql`.

use std::process::Command;

/// The schema that the benchmark makes, and makes anew each time.
pub(crate) const SCHEMA: &str = "freshk_benchmark";

/// A database, by its URL.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    url: String,
    counts: bool,
}

impl Postgres {
    /// Empties the benchmark's schema. Statements are counted where the server has `pg_stat_statements` loaded.
    pub(crate) fn begin(url: &str) -> Self {
        let mut server = Self { url: url.to_owned(), counts: false };
        server.sql(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).expect("psql reaches the database");
        server.counts = server
            .sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT count(*) FROM pg_stat_statements")
            .is_some();
        server
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Begins to count.
    pub(crate) fn count_anew(&self) {
        if self.counts {
            self.sql("SELECT FROM pg_stat_statements_reset()").expect("the extension is there");
        }
    }

    /// How many statements the server has run since, and how many milliseconds that took; `None` where it does not count.
    pub(crate) fn counted(&self) -> Option<(f64, f64)> {
        const SUM: &str = "SELECT sum(calls) || ' ' || sum(total_exec_time) FROM pg_stat_statements";
        if !self.counts {
            return None;
        }
        let text = self.sql(SUM)?;
        let (calls, took) = text.trim().split_once(' ')?;
        Some((calls.parse().ok()?, took.parse().ok()?))
    }

    /// The statements that took the longest altogether, for whoever merges them.
    pub(crate) fn longest(&self, rows: usize) -> String {
        let sql = format!(
            "SELECT calls, round(total_exec_time::numeric, 1), left(regexp_replace(query, '\\s+', ' ', 'g'), 100) \
             FROM pg_stat_statements ORDER BY calls DESC LIMIT {rows}"
        );
        self.sql(&sql).unwrap_or_default()
    }

    /// What statements give; `None` where they fail.
    fn sql(&self, sql: &str) -> Option<String> {
        let output = Command::new("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.url])
            .output()
            .expect("psql is installed");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
