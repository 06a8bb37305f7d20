//! What a failure of `PostgreSQL` means to the flows.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::ErrorResponseBody;

use super::row::RowError;
use crate::storage::StoreError;

/// What went wrong with a statement.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused.
    Server {
        /// The five characters of its SQLSTATE.
        state: String,
        /// Its sentence, without the values that stand beside it.
        message: String,
    },
    /// The connection is gone.
    Lost(io::Error),
    /// The server said nothing for so long; the connection is given up.
    Silent(Duration),
    /// A value that cannot be sent.
    Value(String),
    /// A row that cannot be read.
    Row(RowError),
    /// A statement changed another number of rows than the one that it must.
    Rows(u64),
}

impl From<RowError> for Failure {
    fn from(error: RowError) -> Self {
        Self::Row(error)
    }
}

/// Never with the values that `PostgreSQL` adds to its messages: they may be somebody's phone.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server { state, message } => write!(f, "{message} ({state})"),
            Self::Lost(error) if error.kind() == ErrorKind::UnexpectedEof => {
                f.write_str("the server closed the connection")
            }
            Self::Lost(error) => error.fmt(f),
            Self::Silent(patience) => write!(f, "no answer within {patience:?}"),
            Self::Value(reason) => write!(f, "a value cannot be sent: {reason}"),
            Self::Row(error) => error.fmt(f),
            Self::Rows(rows) => write!(f, "{rows} rows were changed, not one"),
        }
    }
}

impl Failure {
    /// What the server says.
    pub(super) fn of_answer(body: &ErrorResponseBody) -> Self {
        let (mut state, mut message) = (String::new(), String::new());
        let mut fields = body.fields();
        while let Ok(Some(field)) = fields.next() {
            match field.type_() {
                b'C' => state = String::from_utf8_lossy(field.value_bytes()).into_owned(),
                b'M' => message = String::from_utf8_lossy(field.value_bytes()).into_owned(),
                _ => {}
            }
        }
        if state == DIVISION_BY_ZERO {
            return Self::Rows(0);
        }
        Self::Server { state, message }
    }

    /// What the system says of the connection.
    pub(super) fn of_connection(error: io::Error, patience: Duration) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent(patience),
            _ => Self::Lost(error),
        }
    }

    /// The server's SQLSTATE.
    pub(super) fn state(&self) -> Option<&str> {
        match self {
            Self::Server { state, .. } => Some(state),
            _ => None,
        }
    }

    /// Whether it says nothing of what the server has done: the connection is gone, or the server is on its way down.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            // A statement that took too long (57014) was cancelled, and its connection stands.
            Self::Server { state, .. } => {
                state.starts_with("57P") || matches!(self.class(), "08" | "58" | "XX")
            }
            Self::Lost(_) | Self::Silent(_) => true,
            Self::Value(_) | Self::Row(_) | Self::Rows(_) => false,
        }
    }

    /// Whether the transaction was undone for another one's sake, or because its connection broke, so that another run of it may
    /// succeed. Where the server says nothing, its caller has waited for long enough.
    pub(super) fn may_pass(&self) -> bool {
        self.is_for_another() || (self.is_lost() && !matches!(self, Self::Silent(_)))
    }

    /// Whether it was undone so that another transaction can go on.
    fn is_for_another(&self) -> bool {
        self.state().is_some_and(|state| state == DEADLOCK || state == SERIALIZATION)
    }

    /// A rule of ours that was broken is no reason to try again; everything else is the machines'.
    pub(super) fn meaning(&self) -> StoreError {
        let is_broken = match self {
            // Data, integrity, syntax and names, and what a trigger of ours refuses; of rights the server's operator must know.
            Self::Server { state, .. } => {
                matches!(self.class(), "21" | "22" | "23" | "42" | "P0") && state != INSUFFICIENT_PRIVILEGE
            }
            Self::Lost(_) | Self::Silent(_) => false,
            Self::Value(_) | Self::Row(_) | Self::Rows(_) => true,
        };
        if is_broken { StoreError::Broken } else { StoreError::Unavailable }
    }

    fn class(&self) -> &str {
        self.state().and_then(|state| state.get(..2)).unwrap_or_default()
    }
}

/// No statement of ours divides by anything but the number of rows that it has changed.
const DIVISION_BY_ZERO: &str = "22012";

/// Transactions waited for each other, and this one was undone for the others to go on.
const DEADLOCK: &str = "40P01";

/// What a transaction has read is no longer so.
const SERIALIZATION: &str = "40001";

/// The user may not do that.
pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Logs a failure, once and here, and says what it means. What was undone for another's sake runs again.
pub(super) fn fault(failure: &Failure) -> StoreError {
    let fault = failure.meaning();
    if failure.is_for_another() {
        tracing::warn!(error = %failure, "the database undid a transaction so that another one goes on");
    } else {
        tracing::error!(error = %failure, %fault, "the database failed");
    }
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_faults_pass_and_ours_stay() {
        let of = |state: &str| Failure::Server { state: state.to_owned(), message: String::new() }.meaning();
        for state in ["53100", "57P01", "55P03", "25006", "40P01", "42501", "08006"] {
            assert_eq!(of(state), StoreError::Unavailable, "{state}");
        }
        for state in ["23505", "22021", "42P01", "P0001"] {
            assert_eq!(of(state), StoreError::Broken, "{state}");
        }
        assert_eq!(Failure::Rows(0).meaning(), StoreError::Broken);
    }

    #[test]
    fn another_run_may_succeed_where_another_transaction_or_the_connection_was_the_reason() {
        let of = |state: &str| Failure::Server { state: state.to_owned(), message: String::new() }.may_pass();
        for state in ["40P01", "40001", "57P01", "08006"] {
            assert!(of(state), "{state}");
        }
        for state in ["23505", "40002", "53100", "55P03", "57014", "25006"] {
            assert!(!of(state), "{state}");
        }
        assert!(Failure::Lost(ErrorKind::UnexpectedEof.into()).may_pass());
        assert!(!Failure::Silent(Duration::ZERO).may_pass() && !Failure::Rows(0).may_pass());
    }

    #[test]
    fn only_a_lost_connection_leaves_a_commit_in_doubt() {
        let of = |state: &str| Failure::Server { state: state.to_owned(), message: String::new() }.is_lost();
        assert!(of("57P01") && Failure::Silent(Duration::ZERO).is_lost());
        assert!(!of("23505") && !of("53100") && !of("57014") && !Failure::Rows(0).is_lost());
    }
}
