//! Lines that are looked for, in a trail that may have ten million.

use std::ops::Range;
use std::time::Duration;

use super::Filter;
use crate::cli::CliError;
use crate::cli::admin::AdminContext;
use crate::cli::output::Listed;
use crate::domain::Timestamp;
use crate::domain::tally::{Span, Tally};
use crate::storage::audit::{AuditLine, AuditOf, AuditOrder, AuditSearch};

/// Lines beyond those that are shown are counted among so many: a few tenths of a second.
const COUNTED_AMONG: i64 = 1_000_000;

/// One statement looks through so many lines at most: well within the time that `PostgreSQL` gives it.
const LOOKED_THROUGH: i64 = 250_000;

/// Whether the clock was an hour behind is told by so many lines at once.
const PROBE: usize = 100;

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
        let mut rows = Vec::new();
        let step = if has_index(&wanted) { i64::MAX } else { LOOKED_THROUGH };
        for part in parts(ids, order, step) {
            let (asked, left) = (wanted.clone(), limit - rows.len());
            rows.extend(admin.read(move |view| view.search_audit(&asked, part, order, left))?);
            if rows.len() == limit {
                break;
            }
        }
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

/// What the trail tells of a span, by its lines up to `end`.
pub(in crate::cli) fn tally(admin: &AdminContext, span: Span, end: i64) -> Result<Tally, CliError> {
    let ids = first_since(admin, span.since, end)?..end.saturating_add(1);
    let mut tally = Tally::of(span);
    for part in parts(&ids, AuditOrder::OldestFirst, LOOKED_THROUGH) {
        tally.merge(&admin.read(move |view| view.tally_audit(span, part))?);
    }
    Ok(tally)
}

/// The ids, in parts that one statement takes, in the order in which they are looked through.
fn parts(ids: &Range<i64>, order: AuditOrder, step: i64) -> impl Iterator<Item = Range<i64>> {
    let mut rest = ids.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        Some(match order {
            AuditOrder::NewestFirst => {
                let part = rest.end.saturating_sub(step).max(rest.start)..rest.end;
                rest.end = part.start;
                part
            }
            AuditOrder::OldestFirst => {
                let part = rest.start..rest.start.saturating_add(step).min(rest.end);
                rest.start = part.end;
                part
            }
        })
    })
}

/// Lines of a user or of a phone are found without looking at others.
const fn has_index(wanted: &AuditSearch) -> bool {
    match wanted.of {
        AuditOf::Everybody => false,
        AuditOf::User(_) | AuditOf::Phone(_) => true,
    }
}

/// Among which ids lines are counted, and whether there may be more.
fn counted_among(wanted: &AuditSearch, ids: &Range<i64>, order: AuditOrder) -> (Range<i64>, bool) {
    if has_index(wanted) || ids.end.saturating_sub(ids.start) <= COUNTED_AMONG {
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
    Ok(from(admin, i64::MIN, 1)?.first().map_or(0, |line| line.id))
}

/// An id that no line from since then is below, found by halving; not much below the first of them, where there are many lines.
pub(super) fn first_since(admin: &AdminContext, since: Timestamp, end: i64) -> Result<i64, CliError> {
    let since = since - DISORDER;
    let (mut low, mut high) = (oldest(admin)?, end.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let probe = from(admin, middle, PROBE)?;
        match probe.last() {
            Some(last) if probe.iter().all(|line| line.at < since) => low = last.id + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// At most so many lines from an id on.
fn from(admin: &AdminContext, id: i64, rows: usize) -> Result<Vec<AuditLine>, CliError> {
    admin.read(move |view| view.audit_after(&AuditOf::Everybody, id.saturating_sub(1), rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;

    #[test]
    fn a_long_trail_is_looked_through_in_parts_from_either_end() {
        use AuditOrder::{NewestFirst, OldestFirst};
        let found: Vec<_> = parts(&(5..600_000), NewestFirst, LOOKED_THROUGH).collect();
        assert_eq!(found, [350_000..600_000, 100_000..350_000, 5..100_000]);
        let found: Vec<_> = parts(&(5..600_000), OldestFirst, LOOKED_THROUGH).collect();
        assert_eq!(found, [5..250_005, 250_005..500_005, 500_005..600_000]);
        assert_eq!(parts(&(7..7), NewestFirst, LOOKED_THROUGH).count(), 0);
        assert!(parts(&(5..600_000), OldestFirst, i64::MAX).eq(std::iter::once(5..600_000)));
    }

    #[test]
    fn of_a_long_trail_the_nearest_million_lines_are_counted() {
        use AuditOrder::{NewestFirst, OldestFirst};
        let everybody = AuditSearch::all(&AuditOf::Everybody);
        assert_eq!(counted_among(&everybody, &(5..1_000_005), NewestFirst), (5..1_000_005, false));
        assert_eq!(counted_among(&everybody, &(5..3_000_006), NewestFirst), (2_000_006..3_000_006, true));
        assert_eq!(counted_among(&everybody, &(5..3_000_006), OldestFirst), (5..1_000_005, true));
        let user = AuditSearch::all(&AuditOf::User(UserId(1)));
        assert_eq!(counted_among(&user, &(5..3_000_006), NewestFirst), (5..3_000_006, false));
    }
}
