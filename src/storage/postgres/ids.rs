//! Ids that are drawn before their rows are written, so that nobody waits for the server to tell them.

/// Draws some for units, and one each for a challenge and its message where `$2`.
pub(super) const DRAW: &str = "SELECT ARRAY(SELECT nextval('spends_id_seq') FROM generate_series(1, $1::BIGINT)), \
     CASE WHEN $2::BOOLEAN THEN nextval('challenges_id_seq') END, \
     CASE WHEN $2::BOOLEAN THEN nextval('messages_id_seq') END";

/// Where the ids of a table come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequence {
    Spends,
    Challenges,
    Messages,
    Audit,
}

/// Ids that were drawn and not given yet; they are for the transaction that drew them, under its locks, so that those of one phone
/// ascend.
#[derive(Debug, Default)]
pub(super) struct Drawn(Vec<(Sequence, i64)>);

impl Sequence {
    /// Draws one.
    pub(super) const fn next(self) -> &'static str {
        match self {
            Self::Spends => "SELECT nextval('spends_id_seq')",
            Self::Challenges => "SELECT nextval('challenges_id_seq')",
            Self::Messages => "SELECT nextval('messages_id_seq')",
            Self::Audit => "SELECT nextval('audit_id_seq')",
        }
    }
}

impl Drawn {
    /// Adds some, in the order in which they are to be given.
    pub(super) fn add(&mut self, sequence: Sequence, ids: impl IntoIterator<Item = i64>) {
        self.0.extend(ids.into_iter().map(|id| (sequence, id)));
    }

    /// The first that is left of a sequence.
    pub(super) fn take(&mut self, sequence: Sequence) -> Option<i64> {
        let first = self.0.iter().position(|(of, _)| *of == sequence)?;
        Some(self.0.remove(first).1)
    }
}
