//! Answers to questions that were asked ahead, for whoever asks them later in the same transaction.

use std::collections::HashMap;

use postgres_types::ToSql;

use super::row::Row;

/// A question to ask ahead.
pub(super) struct Question {
    /// The statement.
    pub(super) sql: &'static str,
    /// What it gets.
    pub(super) params: Vec<Box<dyn ToSql + Sync>>,
}

/// Answers that nobody has asked for yet, by the question as it is sent.
#[derive(Default)]
pub(super) struct Answers(HashMap<Box<[u8]>, (&'static str, Vec<Row>)>);

impl Answers {
    /// Keeps an answer.
    pub(super) fn keep(&mut self, question: &[u8], sql: &'static str, rows: Vec<Row>) {
        self.0.insert(question.into(), (sql, rows));
    }

    /// The answer to a question, once.
    pub(super) fn take(&mut self, question: &[u8]) -> Option<Vec<Row>> {
        self.0.remove(question).map(|(_, rows)| rows)
    }

    /// Forgets what a statement may change: rows of its table, and whatever a deletion takes along.
    pub(super) fn forget(&mut self, written: &str) {
        if self.0.is_empty() {
            return;
        }
        let table = written.strip_prefix("INSERT INTO ").or_else(|| written.strip_prefix("UPDATE "));
        match table.and_then(|rest| rest.split_whitespace().next()) {
            Some(table) => self.0.retain(|_, (sql, _)| !sql.contains(table)),
            None => self.0.clear(),
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
