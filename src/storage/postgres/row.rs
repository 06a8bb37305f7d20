//! A row of an answer, read by the place of its columns.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::DataRowBody;
use postgres_types::{FromSql, Type};

/// Why a column cannot be read; never with its value.
#[derive(Debug, thiserror::Error)]
#[error("column {column} cannot be read: {reason}")]
pub(super) struct RowError {
    column: usize,
    reason: Box<dyn Error + Send + Sync>,
}

/// One row.
pub(super) struct Row {
    body: DataRowBody,
    columns: Vec<Option<Range<usize>>>,
    types: Arc<[Type]>,
}

impl Row {
    /// With the types that the statement promised.
    pub(super) fn new(body: DataRowBody, types: &Arc<[Type]>) -> std::io::Result<Self> {
        let columns = body.ranges().collect()?;
        Ok(Self { body, columns, types: Arc::clone(types) })
    }

    /// A column, counted from 0.
    pub(super) fn try_get<'a, T: FromSql<'a>>(&'a self, column: usize) -> Result<T, RowError> {
        let told = |reason| RowError { column, reason };
        let (Some(range), Some(ty)) = (self.columns.get(column), self.types.get(column)) else {
            return Err(told("there is no such column".into()));
        };
        if !T::accepts(ty) {
            return Err(told(format!("it is {ty}").into()));
        }
        let raw = range.clone().and_then(|range| self.body.buffer().get(range));
        T::from_sql_nullable(ty, raw).map_err(told)
    }
}
