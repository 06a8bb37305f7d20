//! Lines that are looked for, in a trail that may have ten million.

use std::ops::Range;
use std::time::Duration;

use super::Filter;
use crate::cli::CliError;
use crate::cli::admin::AdminContext;
use crate::cli::output::Listed;
use crate::domain::Timestamp;
use crate::storage::audit::{AuditLine, AuditOf, AuditOrder, AuditSearch};

/// Lines beyond those that are shown are counted among so many: a few tenths of a second.
const COUNTED_AMONG: i64 = 1_000_000;

/// Lines stand in the order in which they were written, which is that of time but for commands whose clock is not the server's, and
/// transactions that overtake each other.
const DISORDER: Duration = Duration::from_hours(1);

/// At most `limit` lines with these ids, in this order, and how many there are.
pub(super) fn find(
    admin: &AdminContext,
    filter: &Filter,
    ids: &Range<i64>,
    order: AuditOrder,
    limit: usize,
) -> Result<Listed<AuditLine>, CliError> {
    let mut found = Listed::new();
    for wanted in filter.searches() {
        let (asked, within) = (wanted.clone(), ids.clone());
        let rows = admin.read(move |view| view.search_audit(&asked, within, order, limit))?;
        if rows.len() < limit {
            found.total += rows.len();
        } else {
            let (among, is_least) = counted_among(&wanted, ids, order);
            let counted = admin.read(move |view| view.count_audit(&wanted, among))?;
            found.total += counted.max(rows.len());
            found.is_least |= is_least;
        }
        found.rows.extend(rows);
    }
    match order {
        AuditOrder::NewestFirst => found.rows.sort_by_key(|line| std::cmp::Reverse(line.id)),
        AuditOrder::OldestFirst => found.rows.sort_by_key(|line| line.id),
    }
    found.rows.truncate(limit);
    Ok(found)
}

/// Among which ids lines are counted, and whether there may be more: those of a user or a phone have an index.
fn counted_among(wanted: &AuditSearch, ids: &Range<i64>, order: AuditOrder) -> (Range<i64>, bool) {
    if !matches!(wanted.of, AuditOf::Everybody) || ids.end.saturating_sub(ids.start) <= COUNTED_AMONG {
        return (ids.clone(), false);
    }
    let among = match order {
        AuditOrder::NewestFirst => ids.end - COUNTED_AMONG..ids.end,
        AuditOrder::OldestFirst => ids.start..ids.start + COUNTED_AMONG,
    };
    (among, true)
}

/// The id of the oldest line.
pub(super) fn oldest(admin: &AdminContext) -> Result<i64, CliError> {
    Ok(at_or_after(admin, i64::MIN)?.map_or(0, |line| line.id))
}

/// An id that no line from since then is below, found by halving; not much below the first of them, where there are many lines.
pub(super) fn first_since(admin: &AdminContext, since: Timestamp, end: i64) -> Result<i64, CliError> {
    let since = since - DISORDER;
    let (mut low, mut high) = (oldest(admin)?, end.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        match at_or_after(admin, middle)? {
            Some(line) if line.at < since => low = line.id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn at_or_after(admin: &AdminContext, id: i64) -> Result<Option<AuditLine>, CliError> {
    let read = admin.read(move |view| view.audit_after(&AuditOf::Everybody, id.saturating_sub(1), 1));
    Ok(read?.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;

    fn of(of: AuditOf) -> AuditSearch {
        AuditSearch { of, event: None, ip: None, request: None, since: None }
    }

    #[test]
    fn of_a_long_trail_the_nearest_million_lines_are_counted() {
        use AuditOrder::{NewestFirst, OldestFirst};
        let everybody = of(AuditOf::Everybody);
        assert_eq!(counted_among(&everybody, &(5..1_000_005), NewestFirst), (5..1_000_005, false));
        assert_eq!(counted_among(&everybody, &(5..3_000_006), NewestFirst), (2_000_006..3_000_006, true));
        assert_eq!(counted_among(&everybody, &(5..3_000_006), OldestFirst), (5..1_000_005, true));
        let user = of(AuditOf::User(UserId(1)));
        assert_eq!(counted_among(&user, &(5..3_000_006), NewestFirst), (5..3_000_006, false));
    }
}
