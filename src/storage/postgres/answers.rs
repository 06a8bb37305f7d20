//! Answers to questions that were asked ahead, for whoever asks them later in the same transaction.

use std::collections::HashMap;

use postgres_types::ToSql;

use super::row::Row;

/// A question to ask ahead.
pub(super) struct Question {
    /// The statement.
    pub(super) sql: &'static str,
    params: Vec<Box<dyn ToSql + Sync>>,
    /// Whose rows it is about, where a row says so: what is written of others changes nothing.
    about: Option<Vec<String>>,
}

/// Answers that nobody has asked for yet, by the question as it is sent.
#[derive(Default)]
pub(super) struct Answers(HashMap<Box<[u8]>, Known>);

struct Known {
    sql: &'static str,
    about: Option<Vec<String>>,
    rows: Vec<Row>,
}

impl Question {
    /// What a statement gives with these parameters.
    pub(super) const fn new(sql: &'static str, params: Vec<Box<dyn ToSql + Sync>>) -> Self {
        Self { sql, params, about: None }
    }

    /// And that it is about the rows of these subjects alone.
    pub(super) fn about(self, subjects: Vec<String>) -> Self {
        Self { about: Some(subjects), ..self }
    }

    /// What the statement gets.
    pub(super) fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params.iter().map(|param| &**param).collect()
    }
}

impl Answers {
    /// Keeps an answer to a question, which is `sent` so.
    pub(super) fn keep(&mut self, sent: &[u8], question: &Question, rows: Vec<Row>) {
        let known = Known { sql: question.sql, about: question.about.clone(), rows };
        self.0.insert(sent.into(), known);
    }

    /// The answer to a question, once.
    pub(super) fn take(&mut self, sent: &[u8]) -> Option<Vec<Row>> {
        self.0.remove(sent).map(|known| known.rows)
    }

    /// Forgets what a statement may change: rows of its table, of `subject` where that is known, and whatever a deletion takes along.
    pub(super) fn forget(&mut self, written: &str, subject: Option<&str>) {
        if self.0.is_empty() {
            return;
        }
        let table = written.strip_prefix("INSERT INTO ").or_else(|| written.strip_prefix("UPDATE "));
        match table.and_then(|rest| rest.split_whitespace().next()) {
            Some(table) => {
                self.0.retain(|_, known| !known.sql.contains(table) || known.is_about_others(subject));
            }
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

impl Known {
    fn is_about_others(&self, subject: Option<&str>) -> bool {
        let own = self.about.as_ref().zip(subject);
        own.is_some_and(|(own, subject)| own.iter().all(|one| one != subject))
    }
}
